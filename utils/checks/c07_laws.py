"""The checks of lecture 07 for laws of scaling: the best split of a budget, and a curve's floor."""
import math

import torch

from .engine import exercise
from .probe import close, number, shown

CHINCHILLA = 1.69, 406.4, 410.7, 0.34, 0.28             # Hoffmann 2022 (2203.15556), equation 10
REFIT = 1.8172, 482.01, 2085.43, 0.3478, 0.3658           # Besiroglu 2024 (2404.10102)


def split(C, A, B, a, b, six=6.0, ratio=None, power=None):
    """N and D of least loss, or what comes out with one part replaced."""
    ratio = (a * A / (b * B)) ** (1 / (a + b)) if ratio is None else ratio
    N = ratio * (C / six) ** (b / (a + b) if power is None else power)
    return N, C / six / N


def wrong_splits(C, A, B, a, b, where):
    """{code: (N by a well-known mistake, what it is)}."""
    s = a + b
    even = math.sqrt(C / 6)

    def N(**how):
        return split(C, A, B, a, b, **how)[0]
    table = {
        "exponents": (N(power=a / s), "N grows with the wrong power of C: the slower the loss "
                      "falls with N, the larger N must grow"),
        "ratio-inverse": (N(ratio=(b * B / (a * A)) ** (1 / s)), "the factor is upside down: a "
                          "larger A makes N larger"),
        "both-turned": (N(power=a / s, ratio=(b * B / (a * A)) ** (1 / s)), "these are tokens: "
                        "return N, D"),
        "equal-terms": (N(ratio=(A / B) ** (1 / s)), "this makes both terms equal: at the lowest "
                        "point their slopes cancel, and slopes have factors a and b"),
        "no-ratio": (N(ratio=1.0), "the factor from A, B, a and b is missing"),
        "ratio-power": ([N(ratio=a * A / (b * B)), N(ratio=(a * A / (b * B)) ** s), N(
            ratio=(a * A / (b * B)) ** (1 / a)), N(ratio=(a * A / (b * B)) ** (1 / b))], "the "
            "factor a A / (b B) has the power 1 / (a + b)"),
        "crossed": ([N(ratio=(b * A / (a * B)) ** (1 / s)), N(ratio=(a * B / (b * A)) ** (1 / s))],
                    "a belongs to A and b to B"),
        "even": (even, "N and D are equal: the law says how they differ"),
        "tokens": ([math.sqrt(C / 6 / k) for k in (20, 18.7, 21)], "a fixed number of tokens for "
                   "each parameter: use the law that is given"),
        "half-power": (N(power=0.5), "the power of C is not 1/2 for every law"),
        "seven-tenths": (N(power=0.73), "the power of C depends on the law"),
        "constants": ([split(C, *law[1:])[0] for law in (CHINCHILLA, REFIT)
                       if law[1:] != (A, B, a, b)], "this is the split of one paper's law: use the "
                      "constants that are given"),
        "all-in-model": (C / 6, "everything goes into the model"),
        "no-six": ([split(C, A, B, a, b, six=k)[0] for k in (1.0, 2.0, 36.0, 1 / 6)], "C is 6 N D")}
    return {code: (values, f"{where}, N: {why}") for code, (values, why) in table.items()}


def plain(probe, value, name, where):
    """A number as a float, or "type"."""
    probe.type(value, (int, float, torch.Tensor), f"{where}: {name} is a number")
    probe.true(not isinstance(value, torch.Tensor) or value.numel() == 1, "type", f"{where}: "
               f"{name} is one number, came {shown(value)}")
    probe.true(not (isinstance(value, bool) or isinstance(value, torch.Tensor) and (
        value.is_complex() or value.dtype == torch.bool)), "type",
               f"{where}: {name} came as {shown(value)}")
    return float(value)


@exercise("07.6", hints=(
    "A = B = 1, a = b = 1, C = 6: the loss is E + 1/N + 1/D with N D = 1. Which N? Now let A be "
    "4: try a few N and see where the loss is least, and where the two slopes cancel.",
    "Put D = C / (6 N) into B / D^b: which power of N comes out? Differentiate A / N^a and that by "
    "N, set the sum to 0 and bring all N to one side. E has no slope.",
    "with c = C / 6 the loss is A over N^a, plus B times (N / c)^b\n"
    "slope 0: a A over N^a equals b B times (N / c)^b\n"
    "so N to the power a + b is a A / (b B) times c to the power b\n"
    "N is a root of that; D is c over N"))
def optimal_split(answer, probe):
    laws = [(1e15, 1.5, 300.0, 900.0, 0.45, 0.25), (3.15e23, *CHINCHILLA), (3.15e23, *REFIT),
            (6e6, 0.0, 2.0, 2.0, 0.5, 0.5), (1e21, *CHINCHILLA)]
    for _ in range(12):
        u = probe.uniform(6).tolist()
        laws.append((10 ** (12 + 12 * u[0]), 3 * u[1], 10 ** (1 + 3 * u[2]), 10 ** (1 + 3 * u[3]),
                     0.15 + 0.4 * u[4], 0.15 + 0.4 * u[5]))
    for C, E, A, B, a, b in laws:
        where = f"C = {C:.3g}, E, A, B, a, b = {E:.3g}, {A:.4g}, {B:.4g}, {a:.3g}, {b:.3g}"
        out = probe.call(answer, C, E, A, B, a, b)
        probe.type(out, (tuple, list, torch.Tensor), "return N, D")
        probe.true(not isinstance(out, torch.Tensor) or out.dim() == 1, "type", "return N, D")
        probe.true(len(out) == 2, "type", f"{where}: return two numbers, came {len(out)}")
        N, D = (plain(probe, v, name, where) for v, name in zip(out, "ND"))
        probe.true(N > 0 and D > 0 and math.isfinite(N) and math.isfinite(D), "not-positive",
                   f"{where}: N = {N:.4g}, D = {D:.4g}: both are numbers above 0")
        right = split(C, A, B, a, b)
        swapped = abs(D / right[0] - 1) < 1e-3 and abs(N / right[1] - 1) < 1e-3
        if swapped and abs(N / D - 1) > 1e-2:
            probe.fail("swapped", f"{where}: return N, D; these are D, N")
        cost = 6 * N * D / C
        if abs(cost - 1) > 1e-3:
            code = "no-six" if min(abs(cost / k - 1) for k in (6, 1 / 6, 36, 3, 12)) < 1e-3 else \
                "budget"
            probe.fail(code, f"{where}: 6 N D = {6 * N * D:.4g}, but C is to be spent")
        known = wrong_splits(C, A, B, a, b, where)
        if not close(N, right[0], 1e-3):
            low = E + A / N ** a + B / D ** b
            best = E + A / right[0] ** a + B / right[1] ** b
            there = f"{where}: the loss at N = {N:.4g} is {low:.6g}, and {best:.6g} is possible"
            near = max(N / right[0], right[0] / N) < 1.6
            probe.equal(N, right[0], "coarse" if near else "split", there + (
                ": nearly. A search on a grid finds a neighbour of the best N; calculus finds it"
                if near else ""), 1e-3, {} if near and C < 1e7 else known)
        probe.tests += 1


def fitted(D, L, weight=None, floor=None, alphas=None):
    """(E, A, alpha, squares left): least squares; weight (n,): of each point; floor: a given E."""
    w = torch.ones_like(L) if weight is None else weight

    def line(alpha):
        x = D ** -alpha
        mean_x, mean_L = (w * x).sum() / w.sum(), (w * L).sum() / w.sum()
        top, bottom = (w * (x - mean_x) * (L - mean_L)).sum(), (w * (x - mean_x) ** 2).sum()
        A = max(float(top / bottom), 0.0) if float(bottom) else 0.0
        E = float(mean_L - A * mean_x)
        if floor is not None or E < 0:
            E = floor or 0.0
            A = max(float((w * x * (L - E)).sum() / (w * x * x).sum()), 0.0)
        return E, A, alpha, float((w * (E + A * x - L) ** 2).sum())
    if alphas:
        return min(map(line, alphas), key=lambda found: found[3])
    low, high = 1e-4, 1.0
    for _ in range(7):                                  # each time 12 times finer
        grid = [low + (high - low) * i / 24 for i in range(25)]
        lines = [line(alpha) for alpha in grid]
        best = min(range(25), key=lambda i: lines[i][3])
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 24)]
    return lines[best]


def straight(D, L):
    """E = 0 and the line through the logarithms: (A, alpha)."""
    x, y = D.log(), L.log()
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return math.exp(float(y.mean() - slope * x.mean())), -slope


def wrong_fits(D, L, right, where):
    """{code: (list of (E, A, alpha) by a well-known mistake, what it is)}."""
    E, A, alpha = right
    lowest = float(L.min())
    above = L > lowest
    line, last = straight(D, L), straight(D[above], L[above] - lowest)
    table = {
        "no-floor": ([(0.0, *line), fitted(D, L, floor=0.0)[:3]], "a straight line in logarithms "
                     "has no floor: it predicts 0 in the end"),
        "floor-is-lowest": ([(lowest, *last), fitted(D, L, floor=lowest)[:3]], "the floor is where "
                            "the curve would end, below the lowest loss that was seen"),
        "sign": ([(E, A, -alpha)], "alpha is positive: D ^ alpha stands below the line"),
        "log-A": ([(E, math.log(A), alpha), (E, math.log10(A), alpha)] if A > 0 else [], "this is "
                  "the logarithm of A"),
        "order": ([(A, E, alpha), (E, alpha, A), (alpha, A, E), (A, alpha, E), (alpha, E, A)],
                  "return E, A, alpha in this order"),
        "units": ([(E, A / float(unit) ** alpha, alpha) for unit in (
            D.min(), D.max(), D.mean(), 1e3, 1e6, 1e9, D[0], D.log().mean().exp())], "A belongs to "
            "D in another unit: D itself counts"),
        "inverse-alpha": ([(E, A, 1 / alpha)], "this is 1 / alpha"),
        "weighted": ([fitted(D, L, weight=w)[:3] for w in (L ** -2, L ** -1, 1 / D, D)], "some "
                     "points count more than others, as with residuals of log L: sum the squares "
                     "of L's differences"),
        "ends": ([(*fitted(D[k], L[k])[:3],) for k in (slice(0, 3), slice(-3, None), slice(1, None),
                                                       slice(None, -1))], "not all points count"),
        "fixed-alpha": ([fitted(D, L, alphas=[k])[:3] for k in (0.5, 0.34, 0.28, 1 / 3, 0.3, 1.0,
                                                              0.1, 0.25)], "alpha is to be found")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def alike(got, want, rough=1e-3):
    """Are two (E, A, alpha) the same fit?"""
    return (abs(got[0] - want[0]) <= rough * (1 + abs(want[0]))
            and abs(got[2] - want[2]) <= rough * (1 + abs(want[2]))
            and abs(got[1] - want[1]) <= 20 * rough * (1e-3 + abs(want[1])))


@exercise("07.7", hints=(
    "Losses 3, 2.5, 2.25, 2.125 at D = 1, 2, 4, 8: each step halves what is left. Towards which "
    "number do they go? Then E, A and alpha. What would a straight line in logarithms say at 10^6?",
    "With x = 1 / D^alpha the curve is E + A x, a straight line: slope and intercept have a "
    "formula. Which alpha leaves the smallest squares? A negative E is not allowed: what then? "
    "For the second: set the curve equal to the entropy, and ask first whether E is below.",
    "left(alpha): x = D to the minus alpha; A = covariance of x, L over variance of x;\n"
    "    E = mean of L less A times mean of x; if E < 0, E = 0 and A from the line through 0\n"
    "try many alphas from 0 to 1, then closer around the best, until nothing moves\n"
    "honest_until: E + A / D^alpha = entropy, solved for D; inf if E is not below the entropy"))
def fit_power(fit_power, honest_until, probe):
    def fit(D, L, where):
        out = probe.call(fit_power, D, L)
        probe.type(out, (tuple, list, torch.Tensor), "return E, A, alpha")
        probe.true(not isinstance(out, torch.Tensor) or out.dim() == 1, "type", where)
        probe.true(len(out) == 3, "type", f"{where}: return three numbers, came {len(out)}")
        got = [plain(probe, v, name, where) for v, name in zip(out, ("E", "A", "alpha"))]
        probe.true(all(map(math.isfinite, got)), "not-finite", f"{where}: came E, A, alpha = {got}")
        return got

    def compare(D, L, where, exact):
        got, best = fit(D, L, where), fitted(D, L)
        squares = float((got[0] + got[1] * D ** -got[2] - L).square().sum()) if got[2] > -3 else 1e9
        fine = squares <= 1.003 * best[3] + 1e-7 * len(D) and min(got) >= -1e-9
        if not fine or exact and not alike(got, best, 5e-3):
            shown_fit = f"E, A, alpha = {', '.join(number(float(v)) for v in got)}"
            for code, (values, why) in wrong_fits(D, L, best[:3], where).items():
                if any(alike(got, wrong) for wrong in values):
                    probe.fail(code, f"{why}. Came {shown_fit}")
            probe.true(got[0] >= -1e-9, "negative-floor", f"{where}: E is {number(got[0])}, and a "
                       "loss below 0 is impossible: where the line ends below 0, E = 0 is best")
            probe.true(got[0] > 1e-9 or best[0] > 1e-9, "cut-off", f"{where}: E = 0 is best, but "
                       f"then A and alpha are to be found anew: {shown_fit} leaves the squares "
                       f"{number(squares)}, and {number(best[3])} is possible")
            near = exact and abs(got[0] - best[0]) < 0.15 and abs(got[2] - best[2]) < 0.05
            probe.fail("coarse" if near else "fit", f"{where}: {shown_fit} leaves the squares "
                       f"{number(squares)}, and {number(best[3])} is possible" + (
                           ": nearly. Search closer around the best alpha" if near else ""))
        probe.tests += 1

    def world(n, low, high, E, A, alpha, noise=0.0, mixed=True):
        D = 10 ** (low + (high - low) * probe.uniform(n)) if mixed else torch.logspace(
            low, high, n, dtype=torch.float64)
        return D, E + A * D ** -alpha + noise * probe.normal(n)

    D = torch.tensor([1.0, 2, 4, 8, 16, 32, 64, 128], dtype=torch.float64)
    compare(D, 2 + D ** -1.0 * 4, "L = 2 + 4 / D at D = 1, 2, 4, ... 128", True)
    for n, low, high, E, A, alpha in ((9, 4, 9, 1.7, 40, 0.31), (12, 3, 7, 2.2, 60, 0.47),
                                      (7, 5, 10, 0.6, 12, 0.17), (15, 2, 8, 3.1, 9, 0.42)):
        where = f"points of {E} + {A} / D^{alpha}, D from 10^{low} to 10^{high}"
        compare(*world(n, low, high, E, A, alpha, mixed=n != 9), f"{where}, no noise", True)
        compare(*world(2 * n, low, high, E, A, alpha, 0.03), f"{where}, with noise", False)
    compare(*world(10, 4, 9, 0.0, 8, 0.1, mixed=False), "10 points of 8 / D^.1, no floor", True)
    D = torch.logspace(4, 8, 11, dtype=torch.float64)
    compare(D, 20 * D ** -0.15 - 0.4, "11 points that bend below every curve with a floor", False)
    until(honest_until, probe)
    D, L = world(10, 3, 6, 2.25, 40, 0.5, mixed=False)      # a source of entropy 2.232
    found = fit(D, L, "a source of entropy 2.232")
    probe.true(float(probe.call(honest_until, *found, 2.232)) == math.inf, "never", "a curve with "
               "its floor above the entropy stays honest: expected inf")
    A, alpha = straight(D, L)
    probe.equal(probe.call(honest_until, 0.0, A, alpha, 2.232), (A / 2.232) ** (1 / alpha), "until",
                "the straight line through the same points", 1e-6)


def until(answer, probe):
    for E, A, alpha, entropy in ((0.0, 8.0, 0.5, 2.0), (1.5, 40.0, 0.25, 1.9), (2.0, 7.0, 0.5, 2.0),
                                 (2.5, 7.0, 0.5, 2.0), (0.3, 12.0, 0.4, 2.232), (0, 5, 0.1, 2.232),
                                 (1.2, 0.5, 0.6, 2.1), (0.0, 30.0, 1.0, 4.0)):
        where = f"honest_until({E}, {A}, {alpha}, {entropy})"
        out = probe.call(answer, E, A, alpha, entropy)
        if isinstance(out, complex):
            probe.fail("never", f"{where}: came {out}: where E is not below the entropy the curve "
                       "never falls to it, so inf")
        value = plain(probe, out, "D", where)
        if E >= entropy:
            probe.true(value == math.inf, "never", f"{where}: the curve never falls to the "
                       f"entropy: expected inf, came {value}")
            continue
        right, gap = (A / (entropy - E)) ** (1 / alpha), entropy - E
        probe.true(value == value and value != math.inf, "flag", f"{where}: the curve falls to the "
                   f"entropy at D = {number(float(right))}, came {value}")
        table = {"no-floor-there": ([(A / entropy) ** (1 / alpha)] if E else [], "E is forgotten"),
                 "entropy-unused": ([(A / E) ** (1 / alpha)] if E else [], "the entropy is unused"),
                 "no-root": (A / gap, "the power is missing: solve for D"),
                 "power": ([(A / gap) ** alpha, (A / gap) ** -alpha], "D ^ alpha = ..., so D is "
                           "its root, the power 1 / alpha"),
                 "inverse": ([(gap / A) ** (1 / alpha), gap / A], "upside down: A / D^alpha = "
                             "entropy - E"),
                 "logarithm": ([math.log(right), math.log10(right)], "this is the logarithm of D"),
                 "rounded": ([float(round(right)), math.floor(right), math.ceil(right)],
                             "keep all digits")}
        probe.equal(value, right, "until", where, 1e-9, {code: (v, f"{where}: {why}") for code,
                                                         (v, why) in table.items()})
