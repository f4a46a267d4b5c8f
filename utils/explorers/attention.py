"""Two explorers of attention: vectors to drag in a plane, and a mask to paint."""
import math

import torch

from ..attention import attention, causal
from ..show import COLOURS, SYMBOLS, Figure, axis, layout, numbers, style
from .base import Explorer, choice, switch

WORDS = ("cat", "ate", "tuna")
STEPS = ("1 score", "2 scale", "3 softmax", "4 sum")


class AttentionStepper(Explorer):
    """Where must the query point to take its answer from "tuna" alone?"""

    controls = {"step": choice(STEPS, STEPS[3], "step"),
                "chosen": choice(("q", *WORDS), "q", "arrow keys move")}
    hidden = {"q": (1.0, 1.0), "keys": ((2.0, 0.5), (-1.0, 2.0), (0.5, -2.0))}

    def compute(self, step, chosen, q, keys):
        Q, K = torch.tensor([q]).double(), torch.tensor(keys).double()      # (1, 2), (3, 2)
        V = torch.tensor([[3.0, 2.0], [-3.0, 2.0], [0.0, -3.0]]).double()   # (3, 2): fixed
        Z, weights = attention(Q, K, V)
        scores = (Q @ K.T)[0]
        bar = dict(zip(STEPS, (scores, scores / math.sqrt(2), weights[0], weights[0])))[step]
        return {"q": q, "K": K, "V": V, "z": Z[0], "weights": weights[0], "scores": scores,
                "bar": bar, "step": step}

    def figure(self, result):
        data, step = [], result["step"]
        ends = [("q", result["q"]), *zip(WORDS, result["K"].tolist())]
        for i, (name, end) in enumerate(ends):
            data.append({"type": "scatter", "x": numbers([0, end[0]]), "y": numbers([0, end[1]]),
                         "name": name, "mode": "lines+markers+text", "text": ["", f"<b>{name}</b>"],
                         "textposition": "top center", **style(i)})
            data[-1]["marker"] = {"size": [0, 11], "color": COLOURS[i], "symbol": SYMBOLS[i]}
        if step == STEPS[3]:
            V, z = result["V"], result["z"]
            corners = numbers(torch.cat([V, V[:1]]))
            data.append({"type": "scatter", "x": [c[0] for c in corners],
                         "y": [c[1] for c in corners], "mode": "lines+markers+text",
                         "name": "values", "text": [f"v {w}" for w in WORDS], "showlegend": False,
                         "textposition": "bottom center",
                         "line": {"color": "#999999", "dash": "dot", "width": 1},
                         "marker": {"color": "#999999", "size": 6}})
            data.append({"type": "scatter", "x": numbers(z[:1]), "y": numbers(z[1:]), "name": "z",
                         "mode": "markers+text", "text": ["<b>z</b>"],
                         "textposition": "middle right",
                         "marker": {"symbol": "star", "size": 15, "color": COLOURS[6]}})
        heights = numbers(result["bar"], 3)
        data.append({"type": "bar", "x": list(WORDS), "y": heights, "xaxis": "x2", "yaxis": "y2",
                     "text": [f"{h:.2f}" for h in heights], "textposition": "auto", "name": step,
                     "marker": {"color": list(COLOURS[1:4])}, "cliponaxis": False})
        most = WORDS[int(result["weights"].argmax())]
        shape = layout(f"The query takes most from {most!r}", "", "", 250, showlegend=False)
        shape["margin"] |= {"t": 34, "b": 24, "l": 30}
        shape["xaxis"] = axis("", domain=[0, 0.58], range=[-4, 4])
        shape["yaxis"] = axis("", range=[-4, 4])
        shape["xaxis2"] = axis("", domain=[0.7, 1], anchor="y2")
        top = [0, 1.05] if step in STEPS[2:] else [-9, 9]
        shape["yaxis2"] = axis({"1 score": "q · k", "2 scale": "q · k / √2"}.get(step, "weight"),
                               anchor="x2", range=top)
        return Figure(data, shape, "")

    def describe(self, result, step, chosen, q, keys):
        parts = ", ".join(f"{w} {v:.2f}" for w, v in zip(WORDS, result["bar"].tolist()))
        z = result["z"].tolist()
        names = ("Scores q · k", "Scores divided by √2", "Weights", "Weights")
        what = dict(zip(STEPS, names))[step]
        words = f"Query ({q[0]:.1f}, {q[1]:.1f}). {what}: {parts}"
        return words + (f"; their sum of values is z = ({z[0]:.2f}, {z[1]:.2f})."
                        if step == STEPS[3] else ".")

    def invariants(self, result, **_):
        assert torch.isclose(result["weights"].sum(), torch.ones(()).double())
        low, high = result["V"].min(0).values, result["V"].max(0).values
        assert bool(((low <= result["z"]) & (result["z"] <= high)).all())

    def key(self, name, step, chosen, q, keys):
        dx, dy = {"ArrowLeft": (-0.2, 0), "ArrowRight": (0.2, 0), "ArrowUp": (0, 0.2),
                  "ArrowDown": (0, -0.2), "Enter": (0, 0)}[name]
        if name == "Enter":                                 # the next vector takes the arrows
            order = ("q", *WORDS)
            return {"chosen": order[(order.index(chosen) + 1) % len(order)]}
        x, y = self._at(chosen, q, keys)
        return self._put(chosen, x + dx, y + dy, q, keys)

    def pointer(self, kind, x, y, step, chosen, q, keys):
        if kind == "down":
            near = min(("q", *WORDS), key=lambda n: math.dist(self._at(n, q, keys), (x, y)))
            return {"chosen": near}
        return self._put(chosen, x, y, q, keys)

    @staticmethod
    def _at(name, q, keys):
        return q if name == "q" else keys[WORDS.index(name)]

    @staticmethod
    def _put(name, x, y, q, keys):
        end = tuple(round(min(3.8, max(-3.8, v)), 2) for v in (x, y))
        if name == "q":
            return {"q": end}
        return {"keys": tuple(end if w == name else k for w, k in zip(WORDS, keys))}


TOKENS = ("one", "cat", "ate", "a", "tuna", ",")
PRESETS = ("causal", "nothing blocked", "last three only", "blocked but oneself")


class MaskPainter(Explorer):
    """Which cells must be blocked so that no word can see what comes after it?"""

    controls = {"preset": choice(PRESETS, PRESETS[0], "start from"),
                "layers": choice((1, 2), 1, "layers"),
                "exact": switch(False, "show weights as numbers")}
    hidden = {"at": (0, 0), "painted": (PRESETS[0], frozenset())}

    def compute(self, preset, layers, exact, at, painted):
        T = len(TOKENS)
        back = torch.arange(T)[:, None] - torch.arange(T)           # (T, T): how far back
        blocked = {"causal": causal(T), "nothing blocked": back > T, "last three only":
                   (back < 0) | (back > 2), "blocked but oneself": back != 0}[preset]
        for i, j in painted[1] if painted[0] == preset else ():
            blocked[i, j] = ~blocked[i, j]
        generator = torch.Generator().manual_seed(5)
        Q, K = (torch.randn(T, 4, generator=generator, dtype=torch.float64) for _ in range(2))
        _, weights = attention(Q, K, K, blocked)                    # (T, T); all blocked: nan
        sees = ~blocked
        reach = sees if layers == 1 else (sees.double() @ sees.double()) > 0
        leaks = [(i, j) for i in range(T) for j in range(i + 1, T) if reach[i, j]]
        return {"blocked": blocked, "weights": weights, "leaks": leaks, "at": at, "exact": exact,
                "empty": [i for i in range(T) if bool(blocked[i].all())]}

    def figure(self, result):
        T, blocked, weights = len(TOKENS), result["blocked"], result["weights"]
        seen = weights.masked_fill(blocked | weights.isnan(), 0)
        leak = set(result["leaks"])
        sign = [[("×" if blocked[i, j] else f"{seen[i, j]:.2f}" if result["exact"] else "")
                 + (" !" if (i, j) in leak else "") for j in range(T)] for i in range(T)]
        grid = {"type": "heatmap", "z": numbers(seen, 3), "x": list(range(T)), "y": list(range(T)),
                "colorscale": "Cividis", "zmin": 0, "zmax": 1, "xgap": 2, "ygap": 2, "text": sign,
                "texttemplate": "%{text}", "hoverinfo": "skip", "name": "weight",
                "colorbar": {"title": {"text": "weight"}, "thickness": 12}}
        i, j = result["at"]
        found = len(leak)
        title = (f"{found} leaks: a word sees its future" if found > 1 else
                 "1 leak: a word sees its future" if found else "No leak")
        shape = layout(title, "looks at", "", 240)
        shape["margin"] |= {"t": 34, "b": 44}
        shape["xaxis"] |= {"tickvals": list(range(T)), "ticktext": list(TOKENS), "showgrid": False,
                           "range": [-0.5, T - 0.5], "zeroline": False}
        shape["yaxis"] |= {"tickvals": list(range(T)), "ticktext": list(TOKENS), "showgrid": False,
                           "range": [T - 0.5, -0.5], "zeroline": False}
        shape["shapes"] = [{"type": "rect", "x0": j - 0.5, "x1": j + 0.5, "y0": i - 0.5,
                            "y1": i + 0.5, "line": {"color": COLOURS[1], "width": 3}}]
        return Figure([grid], shape, "")

    def describe(self, result, preset, layers, exact, at, painted):
        i, j = at
        state = "blocked" if result["blocked"][i, j] else "open"
        words = f"Cell ({TOKENS[i]} looks at {TOKENS[j]}) is {state}. "
        if result["empty"]:
            names = ", ".join(repr(TOKENS[r]) for r in result["empty"])
            words += f"{names} sees nothing: a softmax over nothing is undefined (nan). "
        if not result["leaks"]:
            return words + "No word can see a later one."
        first = result["leaks"][0]
        through = "" if layers == 1 else ", perhaps through another word"
        return words + (f"Leaks: {len(result['leaks'])}, the first lets {TOKENS[first[0]]!r} see "
                        f"{TOKENS[first[1]]!r}{through}.")

    def invariants(self, result, **_):
        rows = result["weights"].sum(-1)
        for i, row in enumerate(rows.tolist()):
            assert math.isnan(row) if i in result["empty"] else abs(row - 1) < 1e-9

    def key(self, name, preset, layers, exact, at, painted):
        i, j = at
        if name == "Enter":
            return self._toggle(i, j, preset, painted)
        di, dj = {"ArrowLeft": (0, -1), "ArrowRight": (0, 1), "ArrowUp": (-1, 0),
                  "ArrowDown": (1, 0)}[name]
        last = len(TOKENS) - 1
        return {"at": (min(last, max(0, i + di)), min(last, max(0, j + dj)))}

    def pointer(self, kind, x, y, preset, layers, exact, at, painted):
        i, j = round(y), round(x)
        if kind != "down" or not (0 <= i < len(TOKENS) and 0 <= j < len(TOKENS)):
            return {}
        return {"at": (i, j)} | self._toggle(i, j, preset, painted)

    @staticmethod
    def _toggle(i, j, preset, painted):
        cells = painted[1] if painted[0] == preset else frozenset()
        return {"painted": (preset, cells ^ {(i, j)})}
