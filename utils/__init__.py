"""The course's shared code: data, checks, figures, explorers. Importing it costs nothing."""
