"""Figures and sentences: valid for plotly, readable without colours, told in words."""
import json
import math
import subprocess
import sys

import plotly.graph_objects as go
import pytest
import torch

from figures import close
from utils import predict as predictions
from utils.predict import predict, reveal
from utils.show import COLOURS, DASHES, PLOTLY, SYMBOLS, bars, heat, lines, numbers, points, say

FIGURES = {
    "lines": lambda: lines({"a": torch.rand(5), "b": [1, 2, 3, 4, 5]}, x="t (s)", y="g", title="T"),
    "bars": lambda: bars({"a": 1.0, "b": 2500.0}, y="nats", title="T"),
    "groups": lambda: bars({"x": {"a": 1.0}, "y": {"a": 2.0}}, y="nats", title="T"),
    "heat": lambda: heat(torch.rand(3, 4), "T", rows="abc", columns="defg", x="key", y="query"),
    "points": lambda: points({"a": torch.rand(3, 2)}, "x", "y", "T", labels={"a": "pqr"}),
    "space": lambda: points({"a": torch.rand(3, 3)}, "x", "y", "T")}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_valid_small_and_told_in_words(name):
    figure = FIGURES[name]()
    go.Figure({"data": figure.data, "layout": figure.layout})       # plotly refuses unknown keys
    assert len(json.dumps(figure.json())) < 3000
    assert figure.alt.startswith("T") and len(figure.alt) > 10
    assert figure.table()


def test_series_differ_by_more_than_colour():
    assert len({*zip(DASHES, SYMBOLS)}) == len(COLOURS)
    first, second = FIGURES["lines"]().data
    assert first["line"]["dash"] != second["line"]["dash"]
    assert first["marker"]["symbol"] != second["marker"]["symbol"]
    first, second = FIGURES["groups"]().data
    assert first["marker"]["pattern"] != second["marker"]["pattern"]


def test_an_unknown_setting_is_an_error():
    with pytest.raises(TypeError, match="unknown setting 'colour'"):
        lines({"a": [1, 2]}, x="x", y="y", title="T", colour="red")


def test_numbers_are_rounded_to_what_is_claimed():
    assert numbers(torch.tensor([[1 / 3]]).double()) == [[0.3333]]
    assert numbers([1, 2.0]) == [1, 2.0]


def test_figures_are_compared_by_value():
    a = {"data": [{"y": [1.0, 2.0], "name": "a"}]}
    assert close(a, {"data": [{"y": [1.0 + 1e-5, 2.0], "name": "a"}]})
    assert not close(a, {"data": [{"y": [1.01, 2.0], "name": "a"}]})
    assert not close(a, {"data": [{"y": [1.0, 2.0], "name": "b"}]})
    assert not close(a, {"data": [{"y": [1.0], "name": "a"}]})
    assert not close([True], [1]) or close([1], [1.0])


def test_a_displayed_figure_has_its_words_beside_it(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **_: shown.append(thing))
    FIGURES["lines"]()._ipython_display_()
    assert shown[0][PLOTLY] and shown[0]["text/plain"].startswith("T.")
    assert "<details>" in shown[1].data and "Curves: a, b" in shown[1].data


def test_sentences_fit_a_slide(capsys):
    say("word " * 60)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 84


def test_a_prediction_is_locked_and_shown_beside_the_truth(capsys):
    asked = predict("t.1", "Heads or tails?", ["heads", "tails"])
    asked.lock("heads")
    asked.lock("tails")                                     # too late: the first answer stands
    reveal("t.1", "tails", "So it fell.")
    assert capsys.readouterr().out == ("Measured: tails. You predicted 'heads': not so.\n"
                                       "So it fell.\n")


def test_without_a_prediction_the_page_runs(capsys):
    predict("t.2", "Heads or tails?", ["heads", "tails"])
    reveal("t.2", "tails")
    assert capsys.readouterr().out == "Measured: tails. You made no prediction.\n"


def test_the_buttons_lock_and_close():
    asked = predict("t.3", "Heads or tails?", ["heads", "tails"])
    _, radio, row = asked.widget().children[:3]
    button = row.children[0]
    assert button.disabled and radio.value is None
    radio.value = "tails"
    assert not button.disabled
    button.click()
    assert radio.disabled and predictions._answers["t.3"] == "tails"


def test_a_prediction_that_cannot_be_right_is_an_error():
    predict("t.4", "?", ["a", "b"])
    with pytest.raises(ValueError, match="none of the options"):
        reveal("t.4", "c")
    with pytest.raises(KeyError, match="run the cell"):
        reveal("t.5", "a")
    with pytest.raises(ValueError, match="two or more"):
        predict("t.6", "?", ["a"])


def test_importing_utils_costs_nothing():
    code = ("import time; t = time.perf_counter(); import utils; "
            "d = time.perf_counter() - t; import sys; print(d, 'torch' in sys.modules)")
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                           check=True).stdout.split() for _ in range(3)]
    assert min(float(seconds) for seconds, _ in runs) < 0.01
    assert all(loaded == "False" for _, loaded in runs)
    assert math.isfinite(float(runs[0][0]))
