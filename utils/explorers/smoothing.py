"""The explorer of the first page: a window that averages two steps into one."""
import numpy as np

from ..show import lines
from .base import Explorer, slider


class Smoothing(Explorer):
    """How wide may a window be before two steps count as one?"""

    controls = {"width": slider(1, 9, value=3, step=2, label="window (samples)"),
                "gap": slider(1, 6, value=2, label="gap between the steps (samples)")}

    def compute(self, width, gap):
        signal = np.zeros(21)                                       # (T,), in g
        signal[[8, 8 + gap]] = 3.0
        smooth = np.convolve(signal, np.full(width, 1 / width), "same")     # (T,)
        above = smooth > 0.99 * smooth.max()
        starts = above[1:] & ~above[:-1]
        return {"signal": signal, "smooth": smooth, "steps": int(starts.sum())}

    def figure(self, result):
        steps = result["steps"]
        return lines({"signal": result["signal"], "average": result["smooth"]}, x="sample",
                     y="acceleration (g)", height=250, yaxis_range=[-0.2, 3.3],
                     title=f"The average has {steps} highest {'place' if steps == 1 else 'places'}")

    def describe(self, result, width, gap):
        return (f"A window of {width} over two steps {gap} samples apart: {result['steps']} "
                f"counted, highest average {float(result['smooth'].max()):.1f} g.")

    def invariants(self, result, width, gap):
        assert np.isclose(result["smooth"].sum(), result["signal"].sum())
        assert 1 <= result["steps"] <= 2
