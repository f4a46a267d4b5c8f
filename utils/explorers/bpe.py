"""An explorer of byte pair encoding: a line of text under more and more merges."""
import functools
import html

from ..bpe import BPE, split, train
from ..data import rebuilt_tiny_shakespeare
from ..show import COLOURS, Figure, axis, layout, notice, numbers, style
from .base import Explorer, slider, text

HIGH = 230                                              # pixels
MOST = 800                                              # merges
READ, HELD = 50_000, 20_000                             # letters to learn from, to measure on
ROW, ROWS = 44, 3                                       # bytes in a row of boxes, rows drawn


@functools.cache
def learned():
    """(merges from the first scenes, bytes per token of the last after 0, 1, ... merges)."""
    plays = rebuilt_tiny_shakespeare()
    merges, held = train(plays[:READ], 256 + MOST), plays[-HELD:]
    return merges, [len(held) / n for n in shrinking(held, merges)]


def shrinking(line, merges):
    """How many tokens a text takes after 0, 1, ... merges: list of merges + 1 ints."""
    pieces = [piece.encode().decode("latin1") for piece in split(line)]
    ids = chr(256 + len(merges)).join(pieces)           # a character is a token; pieces are parted
    taken = [len(ids)]
    for new, (a, b) in enumerate(merges, start=256):
        ids = ids.replace(chr(a) + chr(b), chr(new))
        taken.append(len(ids))
    return [n - len(pieces) + 1 for n in taken]


def shown(token):
    """A token as a label: a space as a dot, half a character as its bytes in base 16."""
    try:
        return token.decode().replace(" ", "·")
    except UnicodeDecodeError:
        return token.hex(" ")


class Merges(Explorer):
    """Which of your words become one token, and which fall to pieces?"""

    controls = {"merges": slider(0, MOST, value=300, label="merges"),
                "line": text("The king will not eat his tuna in a café, nor shall the queen.",
                             "text", ("", " ", "12,345 ate 日本 🐟 ²", "to be or not to be " * 9))}

    def compute(self, merges, line):
        if not line:
            return {"trouble": "No text: type a line"}
        pairs, held = learned()
        model = BPE(pairs[:merges])
        words = [(word, model.encode(word)) for word in split(line)]
        real = {}                                       # word -> tokens, where it first stands
        for word, made in words:
            if any(map(str.isalpha, word)):
                real.setdefault(word.strip(), len(made))
        ids = [i for _, made in words for i in made]
        last = [shown(model.tokens[i]) for i in pairs[merges - 1]] if merges else None
        curve = [len(line.encode()) / n for n in shrinking(line, pairs)]    # bytes per token
        return {"trouble": "", "words": real, "ids": ids, "merges": merges, "last": last,
                "tokens": [model.tokens[i] for i in ids], "curve": curve, "held": held,
                "whole": [word for word, n in real.items() if n == 1]}

    def figure(self, result):
        if result["trouble"]:
            return notice("Nothing to cut", result["trouble"], HIGH)
        boxes = placed(result["tokens"])
        tokens = [html.escape(shown(token)) for token, _, _ in boxes]
        fill = ["#ffffff" if i % 2 else "#cfe3f1" for i in range(len(boxes))]
        data = [{"type": "bar", "orientation": "h", "name": "tokens", "width": 0.8,
                 "x": [len(token) for token, _, _ in boxes], "base": [at for _, at, _ in boxes],
                 "y": [-row for _, _, row in boxes], "text": tokens, "textposition": "inside",
                 "insidetextanchor": "middle", "textangle": 0, "constraintext": "none",
                 "insidetextfont": {"size": 12, "color": "#000000"}, "showlegend": False,
                 "marker": {"color": fill, "line": {"color": "#333333", "width": 1}}}]
        n = result["merges"]
        for i, (name, curve) in enumerate((("your line", result["curve"]),
                                           ("plays not read", result["held"]))):
            some = [*range(0, 100, 4), *range(100, MOST + 1, 20)]   # steep first
            data.append({"type": "scatter", "name": name, "mode": "lines", "x": some, **style(i),
                         "y": numbers([curve[k] for k in some], 3), "xaxis": "x2", "yaxis": "y2"})
            data.append({"type": "scatter", "name": f"{name}, now", "mode": "markers", "x": [n],
                         "y": numbers([curve[n]], 3), "xaxis": "x2", "yaxis": "y2",
                         "showlegend": False, "marker": style(i)["marker"] | {"size": 11}})
        rows = 1 + boxes[-1][2]
        shape = layout(finding(result), height=HIGH, barmode="overlay")
        shape["margin"] |= {"t": 34, "b": 46, "l": 50}
        shape["xaxis"] = axis("", range=[0, ROW], visible=False, anchor="y")
        shape["yaxis"] = axis("", range=[0.5 - rows, 0.5], visible=False,
                              domain=[1 - 0.14 * rows, 1])
        shape["xaxis2"] = axis("merges", anchor="y2", range=[-8, MOST + 8])
        shape["yaxis2"] = axis("bytes per token", anchor="x2", domain=[0, 0.52], rangemode="tozero")
        shape["legend"] |= {"x": 1, "xanchor": "right", "y": 0.02, "yanchor": "bottom",
                            "orientation": "h"}
        shape["shapes"] = [{"type": "line", "xref": "x2", "yref": "y2 domain", "x0": n, "x1": n,
                            "y0": 0, "y1": 1, "line": {"color": COLOURS[6], "dash": "dot"}}]
        return Figure(data, shape, "")

    def describe(self, result, merges, line):
        if result["trouble"]:
            return result["trouble"] + "."
        size, taken = len(line.encode()), len(result["ids"])
        says = (f"{merges} merges: {size} bytes in {taken} tokens, {size / taken:.1f} bytes "
                f"per token (plays not read: {result['held'][merges]:.1f}).")
        if merges:
            first, second = result["last"]
            says += f" Merge {merges} joins '{first}' and '{second}'."
        if result["whole"]:
            says += f" One token each: {listed(result['whole'])}."
        if result["words"]:
            most = max(result["words"], key=result["words"].get)
            if result["words"][most] > 1:
                says += f" In most pieces: {most}, {result['words'][most]}."
        drawn = len(placed(result["tokens"]))
        return says + (f" Only the first {drawn} are drawn." if drawn < taken else "")

    def invariants(self, result, merges, line):
        if result["trouble"]:
            return
        assert b"".join(result["tokens"]) == line.encode()
        assert result["curve"][merges] == len(line.encode()) / len(result["ids"])
        assert result["curve"] == sorted(result["curve"]) and result["curve"][0] == 1
        assert all(0 <= i < 256 + merges for i in result["ids"])


def placed(tokens):
    """Where the boxes of tokens lie, as many as fit: list of (token, first byte, row)."""
    boxes, at, row = [], 0, 0
    for token in tokens:
        if at + len(token) > ROW:
            at, row = 0, row + 1
        if row == ROWS:
            break
        boxes.append((token, at, row))
        at += len(token)
    return boxes


def finding(result):
    whole, words = len(result["whole"]), len(result["words"])
    if not words:
        return f"{len(result['ids'])} tokens, no word among them"
    return f"{whole} of {words} words {'is' if whole == 1 else 'are'} one token"


def listed(words):
    return ", ".join(words[:8]) + (f" and {len(words) - 8} more" if len(words) > 8 else "")
