"""Explorer of scaling laws: how a budget of compute is best split into size and data."""
import math

from ..laws import CHINCHILLA, REFIT, train_flops
from ..published import find
from ..show import COLOURS, DASHES, SYMBOLS, Figure, axis, brief, layout, numbers
from .base import Explorer, choice, slider

LAWS = {"Chinchilla, refitted 2024": REFIT, "Chinchilla, as printed 2022": CHINCHILLA}
# Peak operations a second in 16 bits with 32-bit sums, and watts: NVIDIA's data sheets.
HARDWARE = {"A100": (312e12, 400), "H100": (989e12, 700), "V100": (125e12, 300),
            "RTX 4090": (165e12, 450)}
USED = 0.4                  # share of the peak that training reaches; PaLM .46 (2204.02311)
SHOWN = {"GPT-3": "bottom right", "Chinchilla": "top center", "LLaMA 7B": "bottom center",
         "Llama 3 405B": "top center", "SmolLM2 135M": "top center"}


def in_words(value):
    """A large number with its name: 53 billion."""
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if value >= 0.9995 * size:
            return f"{brief(value / size)} {name}"
    return brief(value)


class ComputePlanner(Explorer):
    """How large a model, on how many tokens, for this much compute?"""

    controls = {"budget": slider(18.0, 26.0, value=23.5, step=0.5,
                                 label="operations, 10 to the"),
                "law": choice(LAWS, label="law"),
                "hardware": choice(HARDWARE, label="GPU")}

    def compute(self, budget, law, hardware):
        C, rule = 10.0 ** budget, LAWS[law]
        N, D = rule.optimal(C)
        sizes = [N * 10 ** (k / 10) for k in range(-15, 16)]
        peak, watts = HARDWARE[hardware]
        hours = C / (USED * peak) / 3600
        return {"C": C, "N": N, "D": D, "loss": rule.loss(N, D), "sizes": sizes,
                "losses": [rule.loss(n, C / (6 * n)) for n in sizes], "hours": hours,
                "kwh": hours * watts / 1000,
                "best": [rule.optimal(10.0 ** k) for k in range(18, 27)]}

    def figure(self, result):
        def curve(name, x, y, i, mode="lines", **more):
            return {"type": "scatter", "name": name, "x": numbers(x), "y": numbers(y),
                    "mode": mode, "line": {"color": COLOURS[i], "dash": DASHES[i], "width": 2},
                    "marker": {"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 9}, **more}
        right = {"xaxis": "x2", "yaxis": "y2"}
        N, D, C, models = result["N"], result["D"], result["C"], [find(name) for name in SHOWN]
        ends = [1e8, 1e13]
        data = [curve("equal compute", result["sizes"], result["losses"], 0),
                curve("lowest loss", [N], [result["loss"]], 1, "markers"),
                curve("equal compute", ends, [C / 6 / n for n in ends], 0, showlegend=False,
                      **right),
                curve("best for each budget", *zip(*result["best"]), 2, **right),
                curve("lowest loss", [N], [D], 1, "markers", showlegend=False, **right),
                curve("trained", [m.stated for m in models], [m.tokens for m in models], 3,
                      "markers+text", text=[m.name.split(" 1")[0] for m in models],
                      textposition=list(SHOWN.values()), textfont={"size": 10}, **right)]
        shape = layout(f"Best for {C:.1e} operations: {in_words(N)} parameters, {in_words(D)} "
                       "tokens", height=180)
        powers = {"type": "log", "exponentformat": "power", "dtick": 1}
        shape["xaxis"] = axis("parameters", domain=[0, 0.38], **powers)
        shape["yaxis"] = axis("loss (nats)", nticks=5)
        shape["xaxis2"] = axis("parameters", domain=[0.5, 1], anchor="y2", range=[7.6, 12.6],
                               **powers)
        shape["yaxis2"] = axis("tokens", anchor="x2", range=[9, 15.2], **powers | {"dtick": 2})
        shape["legend"] |= {"font": {"size": 11}}
        shape["margin"] |= {"t": 34, "b": 44}
        return Figure(data, shape, "")

    def describe(self, result, budget, law, hardware):
        N, D = result["N"], result["D"]
        words = (f"{result['C']:.1e} operations, {law}: {in_words(N)} parameters on {in_words(D)} "
                 f"tokens ({brief(D / N)} each), loss {result['loss']:.2f} nats; "
                 f"{in_words(result['hours'])} {hardware}-hours at {USED:.0%} of the peak, "
                 f"{in_words(result['kwh'])} kWh.")
        if budget == 23.5:
            gpt3 = find("GPT-3")
            words += (f" GPT-3 spent as much on {in_words(gpt3.stated)} and "
                      f"{in_words(gpt3.tokens)}: {LAWS[law].loss(gpt3.stated, gpt3.tokens):.2f}.")
        return words

    def invariants(self, result, budget, law, hardware):
        assert math.isclose(train_flops(result["N"], result["D"]), result["C"], rel_tol=1e-9)
        assert result["loss"] <= min(result["losses"]) + 1e-12, "another size has a lower loss"
        assert LAWS[law].E < result["loss"] < max(result["losses"])
        sizes, data = zip(*result["best"])
        assert list(sizes) == sorted(sizes) and list(data) == sorted(data)
