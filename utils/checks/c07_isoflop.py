"""The check of lecture 07 for a scaling law of one's own, found within a budget of runs."""
import math
import zlib

import torch

from .engine import exercise
from .probe import Failure

MOST = 12                                               # runs for each budget


class World:
    """Sizes, budgets, and what a run loses: a law with noise. Counts what is spent."""

    def __init__(self, name, law, sizes, budgets, noise=0.0):
        self.name, self.law, self.sizes, self.noise = name, law, sizes, noise
        self.budgets, self.runs, self.problem = budgets, {C: {} for C in budgets}, None
        self.calls = dict.fromkeys(budgets, 0)

    def best(self, C):
        E, A, B, a, b = self.law
        return (a * A / (b * B)) ** (1 / (a + b)) * (C / 6) ** (b / (a + b))

    def refuse(self, code, message):
        self.problem = self.problem or (code, f"{self.name}: {message}")
        raise Failure(*self.problem)

    def train(self, N, D):
        """The loss of N parameters after D tokens."""
        N, D = float(N), float(D)
        size = min(self.sizes, key=lambda size: abs(size - N))
        if not (math.isfinite(N) and abs(size - N) <= 1e-6 * size):
            self.refuse("size", f"train was called with N = {N:.6g}, which is not one of the sizes")
        C = min(self.budgets, key=lambda C: abs(C - 6 * N * D))
        if not abs(6 * N * D / C - 1) <= 1e-3:
            cost = 6 * N * D
            if any(abs(cost / 6 / other - 1) < 1e-3 for other in self.budgets):
                self.refuse("no-six", f"N D was {N * D:.4g}: a run of N on D tokens costs 6 N D")
            self.refuse("budget", f"a run cost 6 N D = {cost:.4g}; the budgets are "
                        f"{', '.join(f'{C:.3g}' for C in self.budgets)}")
        self.calls[C] += 1
        if self.calls[C] > MOST:
            self.refuse("too-many", f"run {MOST + 1} of the budget {C:.3g}: {MOST} may be trained")
        E, A, B, a, b = self.law
        state = zlib.crc32(f"{self.name} {size:.6g} {C:.6g}".encode())
        luck = torch.randn(1, generator=torch.Generator().manual_seed(state)).item()
        loss = E + A / size ** a + B / (C / 6 / size) ** b + self.noise * luck
        self.runs[C][size] = loss
        return loss


def parabola(points, power=math.log):
    """Lowest place of the parabola through {N: loss}, in log N or another scale."""
    middle = min(points, key=points.get)
    x = torch.tensor([power(N) - power(middle) for N in points], dtype=torch.float64)
    x_max = float(x.abs().max()) or 1.0
    x = x / x_max
    y = torch.tensor(list(points.values()), dtype=torch.float64)
    _, slope, bend = torch.linalg.lstsq(torch.stack([x ** 0, x, x * x], 1),
                                        y[:, None]).solution[:, 0].tolist()
    place = power(middle) - slope / (2 * bend) * x_max if bend else math.nan
    return math.exp(min(place, 700)) if power is math.log else place


def slope(x, y):
    x, y = (torch.tensor([math.log(v) for v in values], dtype=torch.float64) for values in (x, y))
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def worlds(probe):
    """Three laws without noise, three with; the best size lies anywhere but at the edges."""
    for i, (law, step, n, first, ratio, k, noise) in enumerate((
            ((1.7, 400.0, 900.0, 0.34, 0.31), 1.25, 40, 2e4, 4.0, 3, 0.0),
            ((1.0, 120.0, 900.0, 0.28, 0.40), 1.30, 36, 1e4, 5.0, 4, 0.0),
            ((2.0, 900.0, 90.0, 0.42, 0.25), 1.20, 45, 5e4, 3.0, 5, 0.0),
            ((1.7, 400.0, 400.0, 0.34, 0.34), 1.25, 40, 2e4, 6.0, 5, 0.02),
            ((1.4, 150.0, 600.0, 0.30, 0.37), 1.30, 36, 1e4, 5.0, 4, 0.02),
            ((2.1, 700.0, 150.0, 0.40, 0.28), 1.25, 40, 3e4, 5.0, 6, 0.02))):
        shifts = (0.97 + 0.06 * probe.uniform(n)).tolist()
        sizes = [round(first * step ** j * shift) for j, shift in enumerate(shifts)]
        E, A, B, a, b = law
        share = 0.25 + 0.15 * float(probe.uniform(1))       # where the first best size lies
        N = sizes[int(share * n)]
        C = 6 * (N / (a * A / (b * B)) ** (1 / (a + b))) ** ((a + b) / b)
        C = float(f"{C:.3g}")
        name = f"world {i + 1}, {n} sizes, {k} budgets" + (f", noise of {noise:g}" if noise else "")
        yield World(name, law, sizes, [C * ratio ** j for j in range(k)], noise)


@exercise("07.8", hints=(
    "One budget first: 12 runs. Print N, D, 6 N D and the loss of each. Does the loss fall and "
    "rise again? How far from the lowest are your outermost runs, as a factor of N?",
    "Look with a few runs spread over all sizes, then halve the steps around the lowest. In the "
    "parabola: which runs may take part, and is x the logarithm of N? Its lowest point is at minus "
    "slope over twice the bend.",
    "for each budget: train every k-th size; then, around the lowest so far, at half the step,\n"
    "    until neighbours are tried; spend what is left on sizes near the lowest\n"
    "    fit a parabola in log N through the runs within a factor of 3 to 6 of the lowest\n"
    "    best N = where it is lowest\n"
    "exponent: slope of log of the best N over log C, by least squares"))
def approach_2(answer, probe):
    for world in worlds(probe):
        def train(N, D, world=world):               # a method would be copied with its world
            return world.train(N, D)
        out = probe.call(answer, train, world.sizes, world.budgets, MOST)
        if world.problem:                                   # it was caught on its way here
            probe.fail(*world.problem)
        where, k = world.name, len(world.budgets)
        probe.type(out, (tuple, list), "return the best sizes and the exponent")
        probe.true(len(out) == 2, "type", f"{where}: return two things, came {len(out)}")
        best, exponent = out
        best = best.tolist() if isinstance(best, torch.Tensor) else best
        probe.type(best, (list, tuple), f"{where}: the best N, one a budget, as a list of floats")
        probe.true(len(best) == k, "count", f"{where}: one best N for each of {k} budgets, came "
                   f"{len(best)}")
        best = [number(probe, N, f"{where}: a best N") for N in best]
        exponent = number(probe, exponent, f"{where}: the exponent")
        for C in world.budgets:
            probe.true(len(world.runs[C]) >= 3, "untrained", f"{where}: for the budget {C:.3g} "
                       f"{len(world.runs[C])} sizes were trained: a parabola needs three")
        sizes(probe, world, best)
        right = slope(world.budgets, best)
        D = [C / 6 / N for C, N in zip(world.budgets, best)]
        ends = math.log(best[-1] / best[0]) / math.log(world.budgets[-1] / world.budgets[0])
        probe.equal(exponent, right, "exponent", f"{where}: the slope of log of your best N over "
                    "log C, by least squares", 1e-6, known={
                        "of-tokens": (slope(world.budgets, D), f"{where}: that is how D grows"),
                        "inverse": ([1 / right, slope(best, world.budgets)], f"{where}: this is "
                                    "how C grows with N"),
                        "ends": (ends, f"{where}: only the first and the last budget count: take "
                                 "least squares over all"),
                        "fixed": ([0.5, 0.49, 0.46, 0.73], f"{where}: this is a number from a "
                                  "paper: measure it here"),
                        "mean-ratio": (sum(math.log(N) / math.log(C) for N, C in zip(
                            best, world.budgets)) / k, f"{where}: a line through the logarithms "
                            "has an intercept too")})


def number(probe, value, what):
    probe.type(value, (int, float, torch.Tensor), f"{what} is a number")
    probe.true(not isinstance(value, torch.Tensor) or value.numel() == 1 and not value.is_complex(),
               "type", f"{what} is one number")
    value = float(value)
    probe.true(math.isfinite(value), "not-finite", f"{what} is {value}")
    return value


def sizes(probe, world, best):
    """Is each best N where the law says, as closely as 12 runs can tell?"""
    truth = [world.best(C) for C in world.budgets]
    far = 1.25 if world.noise else 1.15
    if all(N > 0 and max(N / T, T / N) <= far for N, T in zip(best, truth)):
        probe.tests += 1
        return
    i = next(i for i, (N, T) in enumerate(zip(best, truth)) if N <= 0 or max(N / T, T / N) > far)
    C, N = world.budgets[i], best[i]
    runs = world.runs[C]
    low, high = min(runs), max(runs)
    told = f"{world.name}, budget {C:.3g}: the best N is {truth[i]:.4g}, came {N:.4g}"

    def all_near(values):
        return all(value and abs(mine / value - 1) < 1e-3 for mine, value in zip(best, values))
    if all(mine < 60 and max(math.exp(mine) / T, T / math.exp(mine)) < 2
           for mine, T in zip(best, truth)):
        probe.fail("logarithms", f"{told}, its logarithm")
    if all(max(mine * T * 6 / C, C / 6 / T / mine) < 1.4 for mine, T, C in zip(
            best, truth, world.budgets) if mine > 0):
        probe.fail("tokens", f"{told}, which is a number of tokens")
    if all(mine in list(world.sizes) for mine in best):
        probe.fail("best-run", f"{told}, the size of the best run: the lowest point of the "
                   "parabola lies between sizes, and noise decides which run is lowest")
    if all_near([parabola(world.runs[C], float) for C in world.budgets]):
        probe.fail("not-log", f"{told}: the parabola is in N: in log N the curve is nearly one")
    if N < low * 0.999 or N > high * 1.001:
        probe.fail("outside", f"{told}, outside all sizes you trained ({low} to {high}): an end of "
                   "a parabola says nothing about what lies beyond; train where it points")
    lowest = min(runs, key=runs.get)
    if len(runs) > 3 and lowest in (low, high):
        probe.fail("one-sided", f"{told}: your runs lie on one side of the lowest point ({low} to "
                   f"{high}): train beyond")
    if all_near([parabola(world.runs[C]) for C in world.budgets]):
        probe.fail("wide" if high / low > 12 else "few", f"{told}: the parabola goes through all "
                   f"{len(runs)} runs, from {low} to {high}" + (
                       ": those far from the lowest pull it aside" if high / low > 12 else ""))
    probe.fail("noisy" if world.noise else "far", told + (
        ": with this noise the parabola needs more runs, further apart" if world.noise else
        f"; you trained from {low} to {high}"))
