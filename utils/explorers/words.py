"""Two explorers of word vectors: a word's neighbours in space, and arrows between words."""
import difflib
import functools
import math
import re

import torch

from ..data import load_glove, load_vec300
from ..show import Figure, bars, layout, numbers, points
from ..words import arrow, neighbours, space
from .base import Explorer, choice, slider, switch, text

SOURCES = {"GloVe, 50 numbers": load_glove, "spaCy, 300 numbers": load_vec300}
HIGH = 225                                              # pixels: a figure, controls, a sentence


@functools.cache
def load(source):
    """The word vectors of this name, with rows of length 1."""
    raw = SOURCES[source]()
    return space(raw.words, raw.vectors)


def unknown(words, typed):
    """What to say of a word that has no vector: "" if it has one."""
    if typed in words:
        return ""
    known = [w for w in words.words if w[:1] == typed[:1]]
    close = difflib.get_close_matches(typed, known, 3) if typed else []
    more = f" Close spellings: {', '.join(close)}." if close else " Try tuna, bank or paris."
    return f"{typed!r} is not among the {len(words):,} words of these vectors.{more}"


def clean(typed):
    return typed.strip().lower()


def empty(sentence):
    """A figure that says why it is empty."""
    note = {"type": "scatter", "x": [0], "y": [0], "mode": "text", "text": ["no such word"]}
    shape = layout("A word without a vector", "", "", HIGH)
    shape["xaxis"] |= {"visible": False}
    shape["yaxis"] |= {"visible": False}
    return Figure([note], shape, sentence)


class WordSpace(Explorer):
    """Is the nearest word always one that means the same?"""

    controls = {"word": text("buy", "search a word", ("tuna", "bank", "jaguar", "xyzzy")),
                "source": choice(SOURCES, label="vectors"),
                "count": slider(4, 24, value=8, step=2, label="neighbours"),
                "turn": slider(0, 350, value=40, step=10, label="turn (degrees)")}
    hidden = {"grip": (0.0, 0)}                         # where a drag began: x, turn

    def compute(self, word, source, count, turn, grip):
        words, word = load(source), clean(word)
        missing = unknown(words, word)
        if missing:
            return {"missing": missing}
        near = neighbours(words, words[word], count, exclude=(word,))
        spread = torch.stack([words[word], *(words[other] for other, _ in near)])   # (count + 1, d)
        spread = spread - spread.mean(0)
        _, sizes, axes = torch.linalg.svd(spread, full_matrices=False)
        flip = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()        # one sign, always
        seen = spread @ (axes * flip)[:3].T                                     # (count + 1, 3)
        kept = float((sizes[:3] ** 2).sum() / (sizes ** 2).sum())
        return {"missing": "", "word": word, "near": near, "seen": seen, "kept": kept,
                "turn": turn}

    def figure(self, result):
        if result["missing"]:
            return empty(result["missing"])
        word, near = result["word"], result["near"]
        seen = result["seen"]
        flat, depth = view(seen, result["turn"])                    # (count + 1, 2), (count + 1,)
        names = [name for name, _ in near]
        made = points({"neighbours": flat[1:], "the word": flat[:1]}, "", "",
                      f"Nearest to {word!r}: {names[0]}", height=HIGH - 20,
                      labels={"neighbours": names, "the word": [f"<b>{word}</b>"]})
        made.data[0]["marker"] = made.data[0]["marker"] | {
            "size": numbers(8 + 5 * depth[1:] / seen.abs().max(), 3)}           # nearer, larger
        made.data[1]["marker"] = made.data[1]["marker"] | {"size": 11}
        x0, y0 = numbers(flat[0])
        rays = [{"type": "scatter", "mode": "lines", "x": [x0, x], "y": [y0, y],
                 "showlegend": False, "hoverinfo": "skip",
                 "line": {"color": "#bbbbbb", "width": 1}}
                for x, y in numbers(flat[1:])]
        wide, high = seen[:, :2].norm(dim=1).max(), seen[:, 2].abs().max()
        for side, reach in (("xaxis", wide * 1.3), ("yaxis", high + 0.5 * wide)):
            made.layout[side] |= {"showticklabels": False, "showgrid": False, "zeroline": False,
                                  "range": numbers([-float(reach), float(reach)])}
        made.layout["margin"] = {"l": 10, "r": 10, "t": 34, "b": 6}
        return Figure(rays + made.data, made.layout, "")

    def describe(self, result, word, source, count, turn, grip):
        if result["missing"]:
            return result["missing"]
        listed = ", ".join(f"{other} {cosine:.2f}" for other, cosine in result["near"][:5])
        return (f"Nearest to {result['word']!r} (cosine): {listed}. The three directions drawn "
                f"hold {result['kept']:.0%} of how these words differ.")

    def invariants(self, result, word, source, count, turn, grip):
        if not result["missing"]:
            cosines = [cosine for _, cosine in result["near"]]
            assert len(cosines) == count and cosines == sorted(cosines, reverse=True)
            assert result["word"] not in [other for other, _ in result["near"]]
            assert 0 < result["kept"] <= 1.0001 and max(cosines) < 1.0001
            flat, depth = view(result["seen"], turn)                # turning keeps all distances
            length = torch.cat([flat, depth[:, None]], 1).norm(dim=1)
            assert torch.allclose(length, result["seen"].norm(dim=1), atol=1e-5)

    def key(self, name, turn, **_):
        step = {"ArrowLeft": -10, "ArrowRight": 10}.get(name, 0)
        return {"turn": (turn + step) % 360} if step else {}

    def pointer(self, kind, x, y, turn, grip, **_):
        if kind == "down":
            return {"grip": (x, turn)}
        return {"turn": 10 * round(grip[1] / 10 + 6 * (x - grip[0])) % 360}


def view(seen, turn):
    """Points (n, 3) seen after a turn in degrees and a tilt: (n, 2) on the screen, (n,) depth."""
    a, tilt = math.radians(turn), math.radians(20)
    x = seen[:, 0] * math.cos(a) - seen[:, 1] * math.sin(a)
    away = seen[:, 0] * math.sin(a) + seen[:, 1] * math.cos(a)
    y = seen[:, 2] * math.cos(tilt) - away * math.sin(tilt)
    return torch.stack([x, y], 1), seen[:, 2] * math.sin(tilt) + away * math.cos(tilt)


class AnalogyMachine(Explorer):
    """King - man + woman: is queen the nearest word?"""

    controls = {"formula": text("king - man + woman", "question", (
                    "paris - france + italy", "doctor-man+woman", "king + queen", "qqq - a + b")),
                "source": choice(SOURCES, label="vectors"),
                "exclude": switch(False, "the inputs may not answer")}

    def compute(self, formula, source, exclude):
        words, asked = load(source), re.split("[-+]", clean(formula))
        asked = [clean(word) for word in asked]
        if len(asked) != 3 or not re.fullmatch("[^-+]+-[^-+]+[+][^-+]+", clean(formula)):
            return {"missing": "Write three words, as in: paris - france + italy."}
        missing = next((m for w in asked if (m := unknown(words, w))), "")
        if missing:
            return {"missing": missing}
        b, a, c = asked
        best = neighbours(words, arrow(words, a, b, c), 8, exclude=set(asked) if exclude else ())
        return {"missing": "", "asked": asked, "best": best}

    def figure(self, result):
        if result["missing"]:
            return empty(result["missing"])
        (b, a, c), best = result["asked"], result["best"]
        groups = {"input": {w: s for w, s in best if w in result["asked"]},
                  "other word": {w: s for w, s in best if w not in result["asked"]}}
        made = bars({name: group for name, group in groups.items() if group}, height=HIGH,
                    y="cosine", title=f"{b} - {a} + {c} is nearest to {best[0][0]}")
        made.layout |= {"barmode": "overlay", "showlegend": len(made.data) > 1}
        made.layout["margin"] = made.layout["margin"] | {"t": 34, "b": 30}
        made.layout["xaxis"] |= {"categoryorder": "array", "categoryarray": [w for w, _ in best]}
        return made

    def describe(self, result, formula, source, exclude):
        if result["missing"]:
            return result["missing"]
        (word, score), (second, less) = result["best"][:2]
        kind = "one of the three inputs" if word in result["asked"] else "no input"
        rule = " The inputs were not allowed to answer." if exclude else ""
        return (f"Nearest: {word} (cosine {score:.2f}), {kind}; then {second} ({less:.2f})."
                f"{rule}")

    def invariants(self, result, formula, source, exclude):
        if not result["missing"]:
            names = [word for word, _ in result["best"]]
            assert len(set(names)) == 8
            assert not exclude or not set(names) & set(result["asked"])
