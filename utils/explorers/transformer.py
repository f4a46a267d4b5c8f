"""Explorers of the full Transformer: which part of a block lets the gradient through."""
import math

import torch
from torch import nn

from ..batches import Characters, lm_loss
from ..show import COLOURS, SYMBOLS, Figure, layout, numbers
from ..transformer import Config, Transformer
from .base import Explorer, choice, slider, switch

TEXT = "one cat ate tuna, one weird human ate a chicken."
NORMS = {"none": {"norm": "none"}, "before each part (2020)": {},
         "after each part (2017)": {"norm_first": False}}
NONE, BEFORE, AFTER = NORMS


def gradient_by_depth(depth, skip, norm, size=1.0):
    """How much the loss feels the input of each block, from the first to the last: (depth,).

    The norm of d loss / d input, in nats per unit, of an untrained Transformer of width 32 on one
    sentence. norm: a key of NORMS. size: a map from n numbers starts at random with spread
    size / sqrt(n); at 1 it keeps their size. In float64, so that 1e-90 does not become 0.
    """
    letters = Characters(TEXT)
    ids = torch.tensor([letters.encode(TEXT)])                              # (1, T)
    with torch.random.fork_rng(devices=[]):
        model = Transformer(Config(len(letters), d_model=32, n_layers=depth, max_len=len(TEXT),
                                   position="sinusoidal", tied=False, bias=False, skip=skip,
                                   **NORMS[norm])).double()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.embedding.weight.normal_(generator=rng)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0, size / module.in_features ** 0.5, generator=rng)
    trace = {}
    loss = lm_loss(lambda inputs: model(inputs, trace=trace), ids[:, :-1], ids[:, 1:])
    return torch.stack([g.norm() for g in torch.autograd.grad(loss, trace["hidden"])])


class BlockDissection(Explorer):
    """Which part of the block keeps the gradient alive?"""

    controls = {"depth": slider(1, 24, value=24, label="blocks"),
                "skip": switch(False, "skip connections"),
                "norm": choice(NORMS, NONE, "norm"),
                "size": slider(0.5, 1.5, value=1.0, step=0.25, label="size of the first weights")}

    def compute(self, depth, skip, norm, size):
        reach = gradient_by_depth(depth, skip, norm, size)                  # (depth,)
        return {"reach": reach, "ratio": float(reach[0] / reach[-1])}

    def figure(self, result):
        reach = result["reach"].clamp_min(1e-200)
        curve = {"type": "scatter", "name": "gradient", "x": list(range(1, len(reach) + 1)),
                 "y": numbers(reach, 3), "mode": "lines+markers",
                 "marker": {"color": COLOURS[0], "symbol": SYMBOLS[0], "size": 7},
                 "line": {"color": COLOURS[0], "width": 2}}
        low, high = float(reach.min().log10()), float(reach.max().log10())
        shape = layout(f"The gradient {self.verdict(result)}",
                       "block, from the embedding to the head",
                       "norm of the gradient", 205)
        shape["margin"] |= {"t": 34, "b": 44}
        shape["xaxis"]["range"] = [0.5, len(reach) + 0.5]
        shape["yaxis"] |= {"type": "log", "exponentformat": "power", "nticks": 7,
                           "range": [min(-4.0, math.floor(low)), max(4.0, math.ceil(high))]}
        return Figure([curve], shape, "")

    @staticmethod
    def verdict(result):
        """What happens to the gradient on its way down, in three or four words."""
        if len(result["reach"]) == 1:
            return "has one block to cross"
        return ("dies on its way down" if result["ratio"] < 1e-2 else
                "explodes on its way down" if result["ratio"] > 1e2 else "arrives at every block")

    def describe(self, result, depth, skip, norm, size):
        parts = (f"{depth} block{'s' * (depth > 1)}, skip connections {'on' if skip else 'off'}, "
                 f"norm {norm}, weights of size {size:.2f}")
        first = float(result["reach"][0])
        if depth == 1:
            return f"{parts}: the gradient at its input is {first:.2g}."
        rate = result["ratio"] ** (1 / (depth - 1))
        return (f"{parts}: the gradient {self.verdict(result)}. At the first block's input it is "
                f"{result['ratio']:.2g} times what it is at the last one's, a factor of "
                f"{rate:.2f} a block.")

    def invariants(self, result, depth, skip, norm, size):
        reach = result["reach"]
        assert reach.shape == (depth,) and bool(torch.isfinite(reach).all())
        assert bool((reach > 0).all()), "a gradient is exactly 0"
        if skip and norm == BEFORE and size <= 1:       # the sum lets every gradient through
            assert 0.1 < result["ratio"] < 100
