"""Two explorers of word vectors: a word's neighbours in space, and arrows between words."""
import difflib
import functools
import math

import torch

from ..data import load_glove, load_vec300
from ..show import Figure, bars, layout, points
from ..words import arrow, neighbours, space
from .base import Explorer, choice, slider, switch, text

SOURCES = {"GloVe, 50 numbers": load_glove, "spaCy, 300 numbers": load_vec300}
HIGH = 250                                              # pixels: a figure, controls, a sentence


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

    def compute(self, word, source, count, turn):
        words, word = load(source), clean(word)
        missing = unknown(words, word)
        if missing:
            return {"missing": missing}
        near = neighbours(words, words[word], count, exclude=(word,))
        around = torch.stack([words[other] for other, _ in near]) - words[word]   # (count, d)
        _, sizes, axes = torch.linalg.svd(around, full_matrices=False)
        flip = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()          # one sign, always
        seen = around @ (axes * flip)[:3].T                                       # (count, 3)
        kept = float((sizes[:3] ** 2).sum() / (sizes ** 2).sum())
        return {"missing": "", "word": word, "near": near, "seen": seen, "kept": kept,
                "turn": turn, "source": source}

    def figure(self, result):
        if result["missing"]:
            return empty(result["missing"])
        word, near, angle = result["word"], result["near"], math.radians(result["turn"])
        made = points({"the word": torch.zeros(1, 3), "neighbours": result["seen"]}, "", "",
                      f"Nearest to {word!r}: {near[0][0]}", height=HIGH,
                      labels={"the word": [f"<b>{word}</b>"], "neighbours": [w for w, _ in near]})
        for trace in made.data:
            trace["marker"] = trace["marker"] | {"size": 4}
            trace["hoverinfo"] = "text"
        eye = {"x": round(1.5 * math.cos(angle), 3), "y": round(1.5 * math.sin(angle), 3), "z": 0.5}
        sides = {f"{side}axis": {"title": {"text": f"direction {i}"}, "showticklabels": False}
                 for i, side in enumerate("xyz", start=1)}
        made.layout["scene"] = {"camera": {"eye": eye}, "aspectmode": "cube", **sides}
        made.layout["margin"] = {"l": 0, "r": 0, "t": 34, "b": 0}
        return made

    def describe(self, result, word, source, count, turn):
        if result["missing"]:
            return result["missing"]
        listed = ", ".join(f"{other} {cosine:.2f}" for other, cosine in result["near"][:6])
        return (f"Nearest to {result['word']!r} (cosine): {listed}. The three directions drawn keep "
                f"{result['kept']:.0%} of what tells the {count} neighbours from it.")

    def invariants(self, result, word, source, count, turn):
        if not result["missing"]:
            cosines = [cosine for _, cosine in result["near"]]
            assert len(cosines) == count and cosines == sorted(cosines, reverse=True)
            assert result["word"] not in [other for other, _ in result["near"]]
            assert 0 < result["kept"] <= 1.0001 and max(cosines) < 1.0001


class AnalogyMachine(Explorer):
    """King minus man plus woman: is queen the nearest word?"""

    controls = {"b": text("king", "", ("paris", "bigger", "doctor")),
                "a": text("man", "minus", ("france", "big")),
                "c": text("woman", "plus", ("italy", "small", "qqq")),
                "exclude": switch(False, "the three inputs may not answer"),
                "source": choice(SOURCES, label="vectors")}

    def compute(self, b, a, c, exclude, source):
        words, asked = load(source), [clean(word) for word in (a, b, c)]
        missing = next((m for w in asked if (m := unknown(words, w))), "")
        if missing:
            return {"missing": missing}
        best = neighbours(words, arrow(words, *asked), 8, exclude=set(asked) if exclude else ())
        return {"missing": "", "asked": asked, "best": best}

    def figure(self, result):
        if result["missing"]:
            return empty(result["missing"])
        (a, b, c), best = result["asked"], result["best"]
        groups = {"input": {w: s for w, s in best if w in result["asked"]},
                  "other word": {w: s for w, s in best if w not in result["asked"]}}
        made = bars({name: group for name, group in groups.items() if group}, height=HIGH,
                    y="cosine", title=f"{b} - {a} + {c} is nearest to {best[0][0]}")
        made.layout |= {"barmode": "overlay", "showlegend": len(made.data) > 1}
        made.layout["xaxis"] |= {"categoryorder": "array", "categoryarray": [w for w, _ in best]}
        return made

    def describe(self, result, b, a, c, exclude, source):
        if result["missing"]:
            return result["missing"]
        (word, score), (second, less) = result["best"][:2]
        kind = "one of the three inputs" if word in result["asked"] else "no input"
        rule = " The inputs were not allowed to answer." if exclude else ""
        return (f"Nearest: {word} (cosine {score:.2f}), {kind}; then {second} ({less:.2f})."
                f"{rule}")

    def invariants(self, result, b, a, c, exclude, source):
        if not result["missing"]:
            names = [word for word, _ in result["best"]]
            assert len(set(names)) == 8
            assert not exclude or not set(names) & set(result["asked"])
