"""Explorer of the families of Transformers: one block, and the mask that makes the family."""
import torch

from ..families import FAMILIES, family_mask
from ..show import Figure, layout, numbers
from .base import Explorer, choice, slider

SOURCE = ("seven", "hundred", "forty", "two", "thousand", "six")
TARGET = ("7", "4", "2", "0", "0", "6")
BLOCKED, SELF, CROSS = 0, 1, 2
SIGNS = ("×", "", "c")


class MaskFamilies(Explorer):
    """Which of the families can write, and what does each word see?"""

    controls = {"family": choice(FAMILIES, "prefix", "family"),
                "source": slider(1, len(SOURCE), value=4, label="source words"),
                "target": slider(1, len(TARGET), value=4, label="target words"),
                "prefix": slider(0, len(SOURCE), value=2, label="prefix"),
                "row": slider(1, len(SOURCE) + len(TARGET), value=3, label="look at word")}

    def compute(self, family, source, target, prefix, row):
        visible = family_mask(family, source, target, prefix)               # (T, T) bool
        cells = visible.long()
        if family == "encoder-decoder":
            cells[source:, :source] = CROSS
        words = [*SOURCE[:source], *TARGET[:target]]
        later = torch.ones_like(visible).triu(1)
        return {"visible": visible, "cells": cells, "words": words, "source": source,
                "writes": not bool((visible & later)[source - 1:].any()),
                "row": min(row, len(words)) - 1}

    def figure(self, result):
        words, row = result["words"], result["row"]
        T, cells = len(words), result["cells"]
        names = [f"{word} {i}" if words.count(word) > 1 else word for i, word in enumerate(words)]
        signs = [[SIGNS[int(cells[i, j])] for j in range(T)] for i in range(T)]
        grid = {"type": "heatmap", "z": numbers(cells), "x": list(range(T)), "y": list(range(T)),
                "colorscale": [[0, "#e8e8e8"], [0.5, "#56B4E9"], [1, "#E69F00"]], "zmin": 0,
                "zmax": 2, "xgap": 2, "ygap": 2, "text": signs, "texttemplate": "%{text}",
                "hoverinfo": "skip", "name": "0 blocked, 1 seen, 2 seen across",
                "showscale": False}
        seen, can = int(result["visible"].sum()), "can" if result["writes"] else "cannot"
        shape = layout(f"{seen} of {T * T} pairs see each other; it {can} write word by word",
                       "looks at", "", 178)
        shape["margin"] |= {"t": 34, "b": 44, "r": 200, "l": 84}
        for side, ends in (("xaxis", [-0.5, T - 0.5]), ("yaxis", [T - 0.5, -0.5])):
            shape[side] |= {"tickvals": list(range(T)), "ticktext": names, "showgrid": False,
                            "range": ends, "zeroline": False, "tickfont": {"size": 11}}
        cut = result["source"] - 0.5
        shape["shapes"] = [
            {"type": "rect", "x0": -0.5, "x1": T - 0.5, "y0": row - 0.5, "y1": row + 0.5,
             "line": {"color": "#D55E00", "width": 3}},
            *({"type": "line", **ends, "line": {"color": "#333333", "width": 2, "dash": "dot"}}
              for ends in ({"x0": cut, "x1": cut, "y0": -0.5, "y1": T - 0.5},
                           {"x0": -0.5, "x1": T - 0.5, "y0": cut, "y1": cut}))]
        shape["annotations"] = [{"text": "grey ×: blocked<br>blue: seen<br>orange c: seen across,"
                                 "<br>by cross-attention", "xref": "paper", "yref": "paper",
                                 "x": 1.02, "y": 1, "xanchor": "left", "yanchor": "top",
                                 "align": "left", "showarrow": False, "font": {"size": 12}}]
        return Figure([grid], shape, "")

    def describe(self, result, family, source, target, prefix, row):
        i, words, visible = result["row"], result["words"], result["visible"]
        before, after = int(visible[i, :i].sum()), int(visible[i, i + 1:].sum())
        T = len(words)
        sees = (f"Word {i + 1} of {T}, {words[i]!r}, sees itself, {before} of the {i} before it "
                f"and {after} of the {T - 1 - i} after it.")
        writes = ("No target word sees a later one: it can be written word by word."
                  if result["writes"] else "A target word sees later ones: it can fill gaps, not "
                  "write word by word.")
        return f"{FAMILIES[family].split(':')[0]}. {sees} {writes}"

    def invariants(self, result, family, source, target, prefix, row):
        T, visible = source + target, result["visible"]
        seen = {"encoder": T * T, "decoder": T * (T + 1) // 2,
                "prefix": T * (T + 1) // 2 + min(prefix, T) * max(0, min(prefix, T) - 1) // 2,
                "encoder-decoder": source * T + target * (target + 1) // 2}[family]
        assert bool(visible.diagonal().all()), "a word does not see itself"
        assert int(visible.sum()) == seen, f"{int(visible.sum())} cells are open, not {seen}"
        if family in ("decoder", "encoder-decoder"):
            assert result["writes"]
