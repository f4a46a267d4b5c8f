"""Explorers of trust and cost: is a model as right as it is sure, and what does a run emit?"""
import functools

import torch

from ..calibration import binned, gap
from ..show import COLOURS, DASHES, SYMBOLS, Figure, axis, brief, layout, numbers
from .base import Explorer, choice, slider

# How much sharper a model's logits are than what it knows.
MODELS = {"overconfident": 4.0, "honest": 1.0, "shy": 0.4}
# Grams of CO2 (equivalent) a kWh: IPCC 2014 (AR5, annex III, table A.III.2, medians over the life
# of a plant), Ember 2024 for the world in 2023, Patterson 2021 for GPT-3.
GRIDS = {"wind on land": 11, "solar": 48, "GPT-3's": 429, "world, 2023": 480, "gas": 490,
         "coal": 820}
# kg: one passenger New York - San Francisco and back (Strubell 2019), a car with fuel over its
# life (there), GPT-3 (Patterson 2021).
KNOWN = {"one air passenger": 1_984 * 0.4536, "one car's life": 126_000 * 0.4536,
         "GPT-3": 552_000}
HOUSEHOLD = 10_791                                      # kWh a year, USA 2022 (EIA)


@functools.cache
def asked(n, options=4, seed=0):
    """What a model knows of n questions, logits (n, options), and answers drawn from that (n,)."""
    rng = torch.Generator().manual_seed(seed)
    knows = 1.5 * torch.randn(n, options, generator=rng)
    return knows, torch.multinomial(knows.softmax(1), 1, generator=rng)[:, 0]


class ReliabilityDiagram(Explorer):
    """How sure may this model be of what it says?"""

    controls = {"model": choice(MODELS, label="model"),
                "temperature": choice((0.25, 0.5, 1.0, 2.0, 4.0, 8.0), 1.0, "temperature"),
                "questions": choice((50, 200, 1000, 5000), 1000, "questions"),
                "bins": slider(2, 20, value=10, label="bins")}

    def compute(self, model, temperature, questions, bins):
        knows, truth = asked(questions)
        sure, said = (knows * MODELS[model] / temperature).softmax(1).max(1)
        right = said == truth
        return {"bins": binned(sure, right, bins), "gap": gap(sure, right, bins),
                "accuracy": float(right.float().mean()), "sure": float(sure.mean())}

    def figure(self, result):
        b = result["bins"]
        size = [8 + 24 * s for s in b.share.tolist()]
        data = [{"type": "scatter", "name": "as right as sure", "x": [0, 1], "y": [0, 1],
                 "mode": "lines", "line": {"color": COLOURS[6], "dash": DASHES[2], "width": 1}},
                {"type": "scatter", "name": "bins (size: share)", "x": numbers(b.confidence, 3),
                 "y": numbers(b.accuracy, 3), "mode": "lines+markers",
                 "line": {"color": COLOURS[0], "width": 2},
                 "marker": {"color": COLOURS[0], "symbol": SYMBOLS[0], "size": numbers(size, 3)}}]
        shape = layout(f"Right {result['accuracy']:.0%}, sure {result['sure']:.0%}: a gap of "
                       f"{result['gap']:.2f}", "confidence", "share that is right", 205)
        for side in ("xaxis", "yaxis"):
            shape[side]["range"] = [0, 1.05]
        shape["margin"] |= {"t": 30, "b": 44}
        return Figure(data, shape, "")

    def describe(self, result, model, temperature, questions, bins):
        lean = result["sure"] - result["accuracy"]
        word = "about as sure as right" if abs(lean) < 0.03 else \
            "surer than it is right" if lean > 0 else "less sure than it is right"
        return (f"The {model} model at temperature {temperature:g}, {questions} questions of four "
                f"options: right {result['accuracy']:.0%}, {word}, mean gap over {bins} bins "
                f"{result['gap']:.2f}.")

    def invariants(self, result, model, temperature, questions, bins):
        b = result["bins"]
        assert int(b.count.sum()) == questions and 0 <= result["gap"] <= 1
        assert result["gap"] >= abs(result["sure"] - result["accuracy"]) - 1e-5
        other = self.compute(model, 1.0, questions, bins)
        assert other["accuracy"] == result["accuracy"], "a temperature changes no answer"


class FootprintPlanner(Explorer):
    """What does this run use and emit?"""

    controls = {"gpus": choice((1, 8, 64, 1_000, 10_000), 10_000, "GPUs"),
                "hours": choice((1, 24, 79, 355, 2_000), 355, "hours"),
                "watts": slider(100, 1000, value=330, step=10, label="watts each"),
                "pue": slider(1.0, 2.0, value=1.1, step=0.05, label="PUE"),
                "grid": choice(GRIDS, "GPT-3's", "electricity")}

    def compute(self, gpus, hours, watts, pue, grid):
        kwh = gpus * hours * watts / 1000 * pue
        return {"kwh": kwh, "kg": kwh * GRIDS[grid] / 1000}

    def figure(self, result):
        rows = {"this run": result["kg"]} | KNOWN
        data = [{"type": "bar", "orientation": "h", "showlegend": False, "y": list(rows),
                 "x": numbers(list(rows.values()), 3), "text": [mass(kg) for kg in rows.values()],
                 "textposition": "auto",
                 "marker": {"color": [COLOURS[1]] + [COLOURS[0]] * len(KNOWN),
                            "pattern": {"shape": ["/"] + [""] * len(KNOWN)}}}]
        shape = layout(f"{energy(result['kwh'])} and {mass(result['kg'])} of CO2",
                       "kg of CO2 (equivalent), each line ten times the last", "", 190)
        shape["xaxis"] |= {"type": "log", "dtick": 1, "range": [-2, 7.5]}
        shape["yaxis"] = axis("", type="category", autorange="reversed")
        shape["margin"] |= {"t": 30, "b": 44, "l": 130}
        return Figure(data, shape, "")

    def describe(self, result, gpus, hours, watts, pue, grid):
        trips = result["kg"] / next(iter(KNOWN.values()))
        return (f"{gpus:,} GPUs of {watts} W for {hours:,} hours, PUE {pue:g}, electricity of "
                f"{GRIDS[grid]} g/kWh ({grid}): {energy(result['kwh'])}, "
                f"{brief(result['kwh'] / HOUSEHOLD)} years of a household in the USA, and "
                f"{mass(result['kg'])} of CO2, {brief(trips)} passengers New York - San Francisco.")

    def invariants(self, result, gpus, hours, watts, pue, grid):
        twice = self.compute(2 * gpus, hours, watts, pue, grid)
        assert abs(twice["kwh"] - 2 * result["kwh"]) < 1e-6 * result["kwh"]
        assert abs(1000 * result["kg"] / result["kwh"] - GRIDS[grid]) < 1e-6 * GRIDS[grid]


def energy(kwh):
    """An energy in the unit that fits it."""
    return f"{kwh / 1000:,.0f} MWh" if kwh >= 10_000 else f"{brief(kwh)} kWh"


def mass(kg):
    """A mass in the unit that fits it."""
    return f"{brief(kg / 1000)} t" if kg >= 1000 else f"{brief(kg)} kg"
