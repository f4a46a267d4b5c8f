"""Explorers of fine-tuning: how many directions an update needs, and what memory it takes."""
import functools

import torch

from ..memory import GPUS, METHODS, MODELS, OPTIMISERS, PRECISIONS, planned, smallest_gpu
from ..show import COLOURS, DASHES, SYMBOLS, Figure, axis, brief, layout, numbers
from .base import Explorer, choice, slider

ROWS, COLUMNS = 16, 12
SPECTRA = {"four large, eight small": [8.0, 6.0, 4.0, 3.0] + [0.3] * 8,
           "each half of the last": [8.0 * 0.5 ** i for i in range(COLUMNS)],
           "falling slowly": [8.0 / (1 + i) ** 0.5 for i in range(COLUMNS)],
           "all equal": [3.0] * COLUMNS}


def with_spectrum(values, seed=0):
    """A matrix (ROWS, COLUMNS) with these singular values and random directions."""
    rng = torch.Generator().manual_seed(seed)
    U = torch.linalg.qr(torch.randn(ROWS, COLUMNS, generator=rng))[0]
    V = torch.linalg.qr(torch.randn(COLUMNS, COLUMNS, generator=rng))[0]
    return U * torch.tensor(values) @ V.T


@functools.cache
def trained_error(name, r, steps):
    """Squared error of B A against the matrix `name` after so many steps of Adam from B = 0."""
    delta, rng = with_spectrum(SPECTRA[name]), torch.Generator().manual_seed(1)
    A = (torch.randn(r, COLUMNS, generator=rng) / COLUMNS ** 0.5).requires_grad_()
    B = torch.zeros(ROWS, r, requires_grad=True)
    optimizer = torch.optim.Adam([A, B], lr=0.1)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
        optimizer.zero_grad()
        (delta - B @ A).square().sum().backward()
        optimizer.step()
    return float((delta - B @ A).detach().square().sum())


class RankDial(Explorer):
    """How many directions does this update need?"""

    controls = {"update": choice(SPECTRA, label="singular values"),
                "r": slider(1, COLUMNS, value=4, label="rank r"),
                "steps": slider(0, 400, value=300, step=50, label="steps of training")}

    def compute(self, update, r, steps):
        sizes = torch.linalg.svdvals(with_spectrum(SPECTRA[update]))        # (12,)
        energy = sizes.square()
        floor = energy.sum() - energy.cumsum(0)                             # (12,): r = 1 .. 12
        return {"sizes": sizes, "floor": floor.clamp(min=0), "total": float(energy.sum()),
                "r": r, "error": trained_error(update, r, steps)}

    def figure(self, result):
        r, sizes, at = result["r"], numbers(result["sizes"], 3), list(range(1, COLUMNS + 1))
        data = [{"type": "bar", "name": name, "x": at[part], "y": sizes[part],
                 "marker": {"color": COLOURS[i], "pattern": {"shape": ("", "/")[i]}}}
                for i, (name, part) in enumerate((("kept", slice(0, r)),
                                                  ("discarded", slice(r, None)))) if sizes[part]]
        data += [{"type": "scatter", "name": "floor", "x": [0, *at], "mode": "lines",
                  "y": numbers([result["total"], *result["floor"].tolist()], 3), "xaxis": "x2",
                  "yaxis": "y2", "line": {"color": COLOURS[2], "dash": DASHES[0], "width": 2}},
                 {"type": "scatter", "name": "trained B A", "x": [r], "xaxis": "x2", "yaxis": "y2",
                  "y": numbers([result["error"]], 3), "mode": "markers",
                  "marker": {"color": COLOURS[3], "symbol": SYMBOLS[1], "size": 10}}]
        kept = 1 - float(result["floor"][r - 1]) / result["total"]
        shape = layout(f"Rank {r} of {COLUMNS} can hold {kept:.0%} of the update", height=205,
                       barmode="overlay")
        shape["xaxis"] = axis("direction", domain=[0, 0.42], range=[0.4, COLUMNS + 0.6])
        shape["yaxis"] = axis("singular value")
        shape["xaxis2"] = axis("rank", domain=[0.54, 1], range=[-0.4, COLUMNS + 0.6], anchor="y2")
        shape["yaxis2"] = axis("squared error", anchor="x2", rangemode="tozero")
        shape["margin"] |= {"t": 34, "b": 44}
        return Figure(data, shape, "")

    def describe(self, result, update, r, steps):
        floor, error = float(result["floor"][r - 1]), result["error"]
        rest = "nothing is left out" if r == COLUMNS else \
            f"what is left out costs {floor:.3g} of {result['total']:.4g} at least (squared)"
        return (f"Rank {r}: {rest}; trained for {steps} steps, {error:.3g}. The factors hold "
                f"{r * (ROWS + COLUMNS)} numbers, the matrix {ROWS * COLUMNS}.")

    def invariants(self, result, update, r, steps):
        floor = result["floor"]
        assert floor.shape == (COLUMNS,) and bool((floor[:-1] >= floor[1:] - 1e-4).all())
        assert float(floor[-1]) < 1e-3 * result["total"]
        assert result["error"] >= float(floor[r - 1]) - 1e-3, "below the floor of Eckart and Young"
        if steps == 0:
            assert abs(result["error"] - result["total"]) < 1e-3 * result["total"]


class MemoryPlanner(Explorer):
    """Which GPU does this fine-tuning need, and what fills it?"""

    controls = {"model": choice(MODELS, "LLaMA 7B", "model"),
                "method": choice(METHODS, "full", "method"),
                "precision": choice(PRECISIONS, "mixed", "numbers"),
                "optimiser": choice(OPTIMISERS, label="optimiser"),
                "context": choice((256, 1024, 4096, 16384), 1024, "context"),
                "batch": slider(1, 16, value=1, label="batch")}

    def compute(self, model, **how):
        parts = planned(MODELS[model], **how)
        total = sum(parts.values())
        return {"parts": {name: gb for name, gb in parts.items() if gb}, "total": total,
                "gpu": smallest_gpu(total), "model": model}

    def figure(self, result):
        total = result["total"]
        rows = {f"{name}, {size}: {'fits' if total <= size else 'too small'}": size
                for name, size in reversed(GPUS.items())}
        data = [{"type": "bar", "orientation": "h", "name": f"{name}: {brief(gb)}",
                 "y": ["needed"], "x": numbers([gb], 3), "hoverinfo": "name",
                 "marker": {"color": COLOURS[i], "pattern": {"shape": ("", "/", ".", "x", "\\", "|",
                                                                       "-")[i]}}}
                for i, (name, gb) in enumerate(result["parts"].items())]
        data.append({"type": "bar", "orientation": "h", "showlegend": False, "y": list(rows),
                     "x": list(rows.values()), "marker": {"color": "#bbbbbb"}})
        shape = layout(f"{result['model']}: {brief(total)} GB, {self.verdict(result)}",
                       "GB", "", 195, barmode="stack")
        widest = max(total, GPUS[result["gpu"]] if result["gpu"] else 0, 48)
        shape["xaxis"]["range"] = [0, round(1.05 * widest, 2)]
        shape["yaxis"] = axis("", type="category", categoryorder="array",
                              categoryarray=[*rows, "needed"])
        shape["legend"] |= {"font": {"size": 11}, "traceorder": "normal"}
        shape["margin"] |= {"t": 30, "b": 40, "l": 150}
        return Figure(data, shape, "")

    @staticmethod
    def verdict(result):
        """Where it fits, in a few words."""
        if result["gpu"]:
            return f"fits {'an' if result['gpu'][0] in 'ARH' else 'a'} {result['gpu']}"
        return f"needs {-(-result['total'] // GPUS['H100']):.0f} H100s"

    def describe(self, result, model, method, precision, optimiser, context, batch):
        most = max(result["parts"], key=result["parts"].get)
        many = MODELS[model].parameters / 1e9
        way = method if method == "inference" else f"{method}, {optimiser}"
        return (f"{model} ({many:.3g} billion weights), {way}, {precision}, {batch} x {context} "
                f"tokens: {brief(result['total'])} GB, {self.verdict(result)}. Largest: "
                f"{most}, {result['parts'][most] / result['total']:.0%}.")

    def invariants(self, result, model, method, precision, optimiser, context, batch):
        assert abs(sum(result["parts"].values()) - result["total"]) < 1e-9
        assert all(gb > 0 for gb in result["parts"].values())
        how = dict(precision=precision, optimiser=optimiser, context=context, batch=batch)
        by_method = [sum(planned(MODELS[model], way, **how).values())
                     for way in ("QLoRA", "LoRA", "full")]
        assert by_method == sorted(by_method)
