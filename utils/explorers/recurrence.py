"""Two explorers of memory: where a decoder looks, step by step, and how far a gradient reaches."""
import torch

from ..recurrence import LETTERS, grad_by_lag, learn_reversal, read, recurrent, spell
from ..show import COLOURS, SYMBOLS, Figure, layout, numbers
from .base import Explorer, choice, slider, text

HIGH, LOW, LAGS = 250, 210, 30                          # two rows of controls: less height
RNN, GRU = "RNN (tanh)", "GRU"


class AlignmentSteps(Explorer):
    """The decoder writes letter i: which letter of the input does it look at?"""

    controls = {"step": slider(1, 10, value=1, label="letter written"),
                "word": text("dachbegfad", "a word of 4 to 14 letters, a to h",
                             ("abcd", "aaaaaaaaaa", "hgfedcbahgfedc", "tuna"))}

    def compute(self, step, word):
        word = word.strip().lower()
        try:
            source = read(word)                                     # (1, T)
        except ValueError as error:
            return {"missing": str(error)}
        if not 4 <= len(word) <= 14:
            return {"missing": f"the word {word!r} has {len(word)} letters: write 4 to 14"}
        written, weights = learn_reversal(10, True, 0).write(source)
        i = min(step, len(word)) - 1
        return {"missing": "", "word": word, "i": i, "written": spell(written[0]),
                "weights": weights[0].double()}                     # (T, T)

    def figure(self, result):
        if result["missing"]:
            shape = layout("No word to read", "", "", HIGH)
            return Figure([{"type": "scatter", "x": [0], "y": [0], "mode": "text",
                            "text": ["no such word"]}], shape, "")
        word, i, T = result["word"], result["i"], len(result["word"])
        seen = result["weights"].clone()
        seen[i + 1:] = 0                                            # not written yet
        grid = {"type": "heatmap", "z": numbers(seen, 3), "x": list(range(T)), "y": list(range(T)),
                "colorscale": "Cividis", "zmin": 0, "zmax": 1, "xgap": 1, "ygap": 1,
                "name": "weight", "colorbar": {"title": {"text": "weight"}, "thickness": 12}}
        j = int(seen[i].argmax())
        shape = layout(f"Writing letter {i + 1}, it looks at letter {j + 1} of {T}",
                       "input word", "written", HIGH)
        shape["margin"] |= {"t": 34, "b": 44}
        shape["xaxis"] |= {"tickvals": list(range(T)), "ticktext": list(word), "showgrid": False,
                           "zeroline": False}
        shape["yaxis"] |= {"tickvals": list(range(i + 1)),
                           "ticktext": list(result["written"][:i + 1]),
                           "showgrid": False, "zeroline": False, "range": [T - 0.5, -0.5]}
        shape["shapes"] = [{"type": "rect", "x0": -0.5, "x1": T - 0.5, "y0": i - 0.5,
                            "y1": i + 0.5, "line": {"color": COLOURS[1], "width": 3}}]
        return Figure([grid], shape, "")

    def describe(self, result, step, word):
        if result["missing"]:
            return result["missing"] + "."
        word, i = result["word"], result["i"]
        row = result["weights"][i]
        j, T = int(row.argmax()), len(word)
        wanted = word[::-1][i]
        verdict = "right" if result["written"][i] == wanted else f"not {wanted!r}"
        trained = "" if T == 10 else f" It was trained on 10 letters; this word has {T}."
        return (f"Letter {i + 1} written is {result['written'][i]!r} ({verdict}): it gives "
                f"{row[j]:.0%} of its attention to letter {j + 1}, {word[j]!r}. So far "
                f"{result['written'][:i + 1]!r}.{trained}")

    def invariants(self, result, step, word):
        if not result["missing"]:
            W = result["weights"]
            assert W.shape == (len(result["word"]),) * 2 and bool((W >= 0).all())
            assert torch.allclose(W.sum(-1), torch.ones(len(W)).double(), atol=1e-5)
            assert set(result["written"]) <= set(LETTERS)


class GradientReach(Explorer):
    """How much does the last state still feel of the letter read 30 steps before?"""

    controls = {"radius": slider(0.5, 1.5, value=0.5, step=0.1, label="RNN: size of Wh"),
                "kind": choice((RNN, GRU), RNN, "network"),
                "keep": slider(0, 6, value=0, label="GRU: bias of the update gate"),
                "loud": slider(0.0, 2.0, value=0.0, step=0.25, label="size of the inputs")}

    def compute(self, radius, kind, keep, loud):
        rng = torch.Generator().manual_seed(3)
        x = loud * torch.randn(LAGS + 1, 4, generator=rng, dtype=torch.float64)     # (T, d_in)
        net = recurrent("rnn", size=radius) if kind == RNN else recurrent("gru", bias=keep)
        reach = grad_by_lag(net, x)                                 # (31,): lag 0 .. 30
        rule = radius ** torch.arange(LAGS + 1).double()
        return {"reach": (reach / reach[0]).clamp_min(1e-16), "rule": rule, "kind": kind}

    def figure(self, result):
        curves = {result["kind"]: result["reach"]}
        if result["kind"] == RNN:
            curves["size of Wh to the power of the lag"] = result["rule"]
        data = [{"type": "scatter", "name": name, "x": list(range(LAGS + 1)), "y": numbers(ys),
                 "mode": "markers" if i == 0 else "lines",
                 "marker": {"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 7},
                 "line": {"color": COLOURS[i], "dash": "dash", "width": 2}}
                for i, (name, ys) in enumerate(curves.items())]
        last = float(result["reach"][-1])
        title = ("it is gone" if last < 1e-3 else "it explodes" if last > 1e3 else "it survives")
        shape = layout(f"Gradient of the letter {LAGS} steps back: {title}", "lag (steps)",
                       "gradient, lag 0 = 1", LOW, showlegend=True)
        shape["yaxis"] |= {"type": "log", "range": [-12, 6], "dtick": 3, "exponentformat": "power"}
        shape["legend"] = {"x": 0.02, "y": 0.04, "bgcolor": "rgba(255,255,255,0.7)"}
        shape["margin"] |= {"t": 34, "b": 44}
        return Figure(data, shape, "")

    def describe(self, result, radius, kind, keep, loud):
        last = float(result["reach"][-1])
        ratio = last ** (1 / LAGS)
        what = (f"RNN, Wh stretches by {radius:.1f}" if kind == RNN else
                f"GRU, gate bias + {keep}")
        return (f"{what}, inputs of size {loud:.2g}: {last:.1g} of the gradient comes from "
                f"{LAGS} steps back, a factor of {ratio:.2f} a step.")

    def invariants(self, result, radius, kind, keep, loud):
        reach = result["reach"]
        assert reach[0] == 1 and bool((reach > 0).all())
        if kind == RNN and loud == 0:                               # tanh' is 1 at 0
            assert torch.allclose(reach.log(), result["rule"].log(), atol=0.5 * LAGS ** 0.5 + 3)
