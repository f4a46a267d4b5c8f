"""Explorers: one question, a few controls, a figure and a sentence that answer it live."""
