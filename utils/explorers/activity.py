"""Two explorers of signals: a kernel that slides, and a model that listens to windows."""
import functools
import re

import torch
import torch.nn.functional as F

from ..activity import ACTIVITIES, listener, shuffled, windows, zscore
from ..show import COLOURS, Figure, axis, layout, numbers, style
from .base import Explorer, choice, slider, switch, text

T = 128
HIGH, LOW = 230, 205                                    # pixels, beside 2 or 3 rows of controls
SIGNALS = ("walking", "upstairs", "standing", "a step", "a click")
KERNELS = ("-1 -1 -1 0 1 1 1", "1 1 1 1 1", "1 -2 1", "2 -1", "0", "1 cat", "", "1e999", "9 " * 40)
LONGEST = 15                                            # weights of a kernel


@functools.cache
def signal(name):
    """Vertical acceleration (T,) of the first window of an activity, or a made signal."""
    x = torch.zeros(T)
    if name == "a step":
        x[T // 2:] = 1
    elif name == "a click":
        x[T // 2] = 1
    else:
        w = windows()
        x = w.x[(w.y == ACTIVITIES.index(name)).nonzero()[0, 0], 0]
    return x


def weights(typed):
    """The numbers typed, or a sentence that says what is wrong with them."""
    try:
        found = [float(part) for part in re.split(r"[\s,;]+", typed.strip()) if part]
    except ValueError:
        return f"{typed!r} is not a kernel: type numbers with spaces between, such as 1 -2 1."
    if not 1 <= len(found) <= LONGEST:
        return f"A kernel of {len(found)} weights: type 1 to {LONGEST} numbers, such as 1 -2 1."
    if not all(abs(v) <= 100 for v in found):
        return "A weight is too large: type numbers from -100 to 100."
    return found


class SlidingKernel(Explorer):
    """Where does a kernel answer, and how far does a stack of them see?"""

    controls = {"place": slider(0, T - 1, value=50, label="place (sample)"),
                "layers": slider(1, 5, value=3, label="layers"),
                "dilated": switch(False, "double the gap at each layer (dilation)"),
                "name": choice(SIGNALS, "upstairs", "signal"),
                "kernel": text(KERNELS[0], "kernel", KERNELS[1:])}

    def compute(self, place, layers, dilated, name, kernel):
        x, found = signal(name), weights(kernel)
        if isinstance(found, str):
            return {"x": x, "wrong": found}
        k = len(found)
        left = (k - 1) // 2
        padded = F.pad(x[None, None], (left, k - 1 - left), mode="replicate")
        response = F.conv1d(padded, torch.tensor([[found]]))[0, 0]   # (T,), ends repeated
        gaps = [2 ** i if dilated else 1 for i in range(layers)]
        reach = 1 + (k - 1) * sum(gaps)
        low, high = place - left * sum(gaps), place + (k - 1 - left) * sum(gaps)
        return {"x": x, "wrong": "", "response": response, "reach": reach, "place": place,
                "seen": (max(0, low), min(T - 1, high)), "k": k}

    def figure(self, result):
        at = list(range(T))
        data = [{"type": "scatter", "name": "signal", "x": at, "y": numbers(result["x"]),
                 "mode": "lines", **style(0)}]
        if result["wrong"]:
            return Figure(data, layout("No kernel, no response", "sample", "g", LOW), "")
        response = result["response"]
        data.append({"type": "scatter", "name": "response", "x": at, "y": numbers(response),
                     "mode": "lines", "yaxis": "y2", **style(1)})
        place = result["place"]
        data.append({"type": "scatter", "name": "place", "x": [place], "mode": "markers",
                     "y": numbers(response[place:place + 1]), "yaxis": "y2", "showlegend": False,
                     "marker": {"size": 11, "symbol": "square", "color": COLOURS[1]}})
        shape = layout(f"Place {place} sees the shaded {result['reach']} samples",
                       "sample", "signal (g)", LOW, showlegend=True)
        shape["margin"] |= {"t": 34, "b": 40}
        shape["legend"] = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.3}
        shape["xaxis"] |= {"anchor": "y2"}
        shape["yaxis"] = axis("g", domain=[0.54, 1])
        shape["yaxis2"] = axis("response", domain=[0, 0.46], anchor="x")
        low, high = result["seen"]
        shape["shapes"] = [{"type": "rect", "x0": low - 0.5, "x1": high + 0.5, "y0": 0.54, "y1": 1,
                            "yref": "paper", "line": {"width": 1, "color": COLOURS[4]},
                            "fillcolor": COLOURS[4], "opacity": 0.25}]
        return Figure(data, shape, "")

    def describe(self, result, place, layers, dilated, name, kernel):
        if result["wrong"]:
            return result["wrong"]
        low, high = result["seen"]
        value = float(result["response"][place])
        many = "layer of this kernel sees" if layers == 1 else "layers of this kernel see"
        words = (f"At sample {place} the response is {value:.2f}. {layers} {many} "
                 f"{result['reach']} samples ({result['reach'] / 50:.2f} s), here {low} to {high}")
        return words + ("; the window has no more." if result["reach"] >= 2 * T else ".")

    def invariants(self, result, place, layers, dilated, name, kernel):
        if not result["wrong"]:
            low, high = result["seen"]
            assert 0 <= low <= place <= high < T and high - low < result["reach"]
            assert bool(torch.isfinite(result["response"]).all())


class WindowPlayer(Explorer):
    """What does a model believe of a walk whose samples were shuffled?"""

    controls = {"number": slider(1, 40, value=3, label="window"),
                "doing": choice(ACTIVITIES, "upstairs", "truth"),
                "mixed": switch(True, "shuffle the samples in time")}

    def compute(self, number, doing, mixed):
        model, test = listener()
        rows = (test.y == ACTIVITIES.index(doing)).nonzero().flatten()
        row = int(rows[(number - 1) * len(rows) // 40])     # 40 windows over all test people
        plain = zscore(test.x[row:row + 1])                 # (1, 6, T)
        other = shuffled(plain, seed=number)
        with torch.no_grad():
            beliefs = model(torch.cat([plain, other])).softmax(-1)              # (2, 6)
        return {"shown": (other if mixed else plain)[0, :3], "beliefs": beliefs, "mixed": mixed,
                "doing": doing, "person": int(test.person[row])}

    def figure(self, result):
        data = []
        for i, (name, values) in enumerate(zip("xyz", result["shown"])):
            data.append({"type": "scatter", "name": name, "mode": "lines", "showlegend": False,
                         "x": numbers(torch.arange(T) / 50), "y": numbers(values, 3), **style(i)})
        series = ["in order", "shuffled"] if result["mixed"] else ["in order"]
        for i, name in enumerate(series):
            heights = numbers(result["beliefs"][i], 2)
            data.append({"type": "bar", "name": name, "y": list(ACTIVITIES), "x": heights,
                         "orientation": "h", "xaxis": "x2", "yaxis": "y2",
                         "marker": {"color": COLOURS[3 + i], "pattern": {"shape": ("", "/")[i]}}})
        told = [ACTIVITIES[int(b.argmax())] for b in result["beliefs"]]
        title = (f"{result['doing']}: in order {told[0]!r}, shuffled {told[1]!r}" if result["mixed"]
                 else f"{result['doing']}: the model says {told[0]!r}")
        shape = layout(title, "", "", HIGH, showlegend=True)
        shape["margin"] |= {"t": 34, "b": 40}
        shape["legend"] = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.2}
        shape["xaxis"] = axis("seconds", domain=[0, 0.56])
        shape["yaxis"] = axis("z-score of x, y, z")
        shape["xaxis2"] = axis("belief", domain=[0.74, 1], anchor="y2", range=[0, 1])
        shape["yaxis2"] = axis("", anchor="x2", autorange="reversed")
        return Figure(data, shape, "")

    def describe(self, result, number, doing, mixed):
        def says(belief):
            top = int(belief.argmax())
            return f"{ACTIVITIES[top]!r} ({float(belief[top]):.0%})"
        words = f"Person {result['person']}, {doing}. Belief in order: {says(result['beliefs'][0])}"
        return words + (f", shuffled: {says(result['beliefs'][1])}." if mixed else ".")

    def invariants(self, result, **_):
        assert torch.allclose(result["beliefs"].sum(-1), torch.ones(2), atol=1e-5)
