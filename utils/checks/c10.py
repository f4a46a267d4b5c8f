"""The checks of lecture 10, first part: associations, exposure and the footprint of a training."""
import math
from itertools import combinations

import torch
import torch.nn.functional as F

from . import c10_directions, c10_trust, c10_watermark      # noqa: F401  the others
from .c08_known import Judge, real
from .engine import exercise
from .probe import shown


def one_number(probe, value, where, what="the result"):
    """value as a float, after tests of its type."""
    probe.type(value, (float, int, torch.Tensor), f"{what} is a number")
    probe.true(not isinstance(value, torch.Tensor) or value.numel() == 1 and not
               value.is_complex() and value.dtype != torch.bool, "type",
               f"{where}: {what} is one real number, came {shown(value)}")
    probe.true(float(value) == float(value), "nan", f"{where}: {what} is not a number (nan): what "
               "is divided by 0, or averaged over nothing?")
    return float(value)


def two_numbers(probe, out, where, names):
    """A pair of results as floats."""
    probe.type(out, (tuple, list, torch.Tensor), f"return {' and '.join(names)}")
    probe.true(out.dim() == 1 if isinstance(out, torch.Tensor) else True, "type",
               f"{where}: return {' and '.join(names)}, came {shown(out)}")
    probe.true(len(out) == 2, "type", f"{where}: return two numbers, {' and '.join(names)}; came "
               f"{len(out)}")
    return [one_number(probe, value, where, name) for value, name in zip(out, names)]


# 10.1 ------------------------------------------------------------------------------------------
def association(W, A, B):
    """Mean cosine with the rows of A less that with the rows of B, for each row of W."""
    W, A, B = (F.normalize(M, dim=1) for M in (W, A, B))
    return (W @ A.T).mean(1) - (W @ B.T).mean(1)


def effect(s, n, correction=0):
    """(mean of the first n less mean of the others) over the spread of all."""
    return float((s[:n].mean() - s[n:].mean()) / s.std(correction=correction))


def splits(s, n):
    """Mean of the chosen less mean of the others, for all ways to choose n: (C,), as given first.

    Rounded to 12 digits, so that equal ones are equal.
    """
    rows = torch.tensor(list(combinations(range(len(s)), n)))
    chosen = s[rows].mean(1)
    others = (s.sum() - s[rows].sum(1)) / (len(s) - n)
    return ((chosen - others) * 1e12).round() / 1e12


def right_weat(X, Y, A, B):
    s, n = association(torch.cat([X, Y]), A, B), len(X)
    all_of_them = splits(s, n)
    return effect(s, n), float((all_of_them >= all_of_them[0] - 1e-9).double().mean())


def wrong_effects(X, Y, A, B, where):
    """{code: (d of a well-known mistake, what it is)}."""
    W, n = torch.cat([X, Y]), len(X)
    s = association(W, A, B)
    d, gap = effect(s, n), float(s[:n].mean() - s[n:].mean())
    U, (a, b) = F.normalize(W, dim=1), (F.normalize(M, dim=1) for M in (A, B))
    parts = s[:n].var(correction=1), s[n:].var(correction=1)
    table = {
        "swapped": (-d, "the sign is turned: mean over X less mean over Y, and cosine with A less "
                    "cosine with B"),
        "sample-sd": ([effect(s, n, 1), -effect(s, n, 1)], "the spread is divided by 2n - 1: "
                      "divide by 2n, all words that there are"),
        "no-sd": (gap, "this is the difference of the means: divide it by the standard deviation "
                  "of all 2n associations"),
        "variance": ([gap / float(s.var(correction=c)) for c in (0, 1)], "divided by the variance: "
                     "divide by its root"),
        "within": ([gap / float(((s[:n].var(correction=c) + s[n:].var(correction=c)) / 2).sqrt())
                    for c in (0, 1)] + [gap / float(sum(v.sqrt() for v in parts) / 2)],
                   "divided by the spread within X and Y (Cohen's d): take that of all 2n words "
                   "together"),
        "one-spread": ([gap / float(part.std(correction=c)) for part in (s[:n], s[n:])
                        for c in (0, 1)], "divided by the spread of one group: take that of all "
                       "2n words"),
        "standard-error": (gap / math.sqrt(float(sum(parts)) / n), "this is the t of a t-test: it "
                           "grows with n, an effect size does not"),
        "dot": (effect(W @ A.T.mean(1) - W @ B.T.mean(1), n), "these are dot products: long "
                "vectors weigh more. Take cosines"),
        "half-dot": ([effect(U @ A.T.mean(1) - U @ B.T.mean(1), n),
                      effect(W @ a.T.mean(1) - W @ b.T.mean(1), n)], "one side of the cosine is "
                     "not brought to length 1"),
        "mean-first": (effect(F.cosine_similarity(W, A.mean(0)[None])
                              - F.cosine_similarity(W, B.mean(0)[None]), n), "the words of A are "
                       "averaged before the cosine: take the cosine with each, then the mean"),
        "one-attribute": ([effect((U @ a.T).mean(1), n), effect(-(U @ b.T).mean(1), n),
                           effect((U @ b.T).mean(1), n)], "only one of A and B is used: take the "
                          "difference of the two"),
        "sum": ([effect((U @ a.T).sum(1) - (U @ b.T).sum(1), n)], "cosines are summed over A and "
                "over B: the longer list then weighs more. Take means"),
        "times-n": ([d * n, d * 2 * n], "sums over X and Y instead of means"),
        "largest": (effect((U @ a.T).amax(1) - (U @ b.T).amax(1), n), "the largest cosine with A "
                    "and B: take the mean"),
        "distance": ([effect((torch.cdist(M, C).mean(1) - torch.cdist(M, D).mean(1)) * k, n)
                      for k in (1, -1) for M, C, D in ((W, A, B), (U, a, b))], "these are "
                     "distances: take cosines"),
        "size-only": (abs(d), "the sign is lost: it says which way the association goes")}
    return {code: (values, f"{where}, d: {why}") for code, (values, why) in table.items()}


def wrong_p(X, Y, A, B, where):
    """{code: (p of a well-known mistake, what it is)}."""
    W, n = torch.cat([X, Y]), len(X)
    s = association(W, A, B)
    means = splits(s, n)
    first, count = means[0], len(means)
    p = float((means >= first - 1e-9).double().mean())
    both = torch.cat([A, B])
    rows = torch.tensor(list(combinations(range(len(both)), len(A))))
    cosine = F.normalize(W, dim=1) @ F.normalize(both, dim=1).T
    gaps = cosine[:n].mean(0) - cosine[n:].mean(0)          # of each attribute word
    dealt = gaps[rows].mean(1) - (gaps.sum() - gaps[rows].sum(1)) / len(B)
    flips = torch.cartesian_prod(*[real([1.0, -1.0])] * n).reshape(-1, n)
    paired = (flips * (s[:n] - s[n:])).mean(1)
    z = [float(first) / float(means.std(correction=c)) for c in (0, 1)]
    t = float(first) / math.sqrt(float(s[:n].var() + s[n:].var()) / n)
    from scipy.stats import norm, t as student
    tests = [float(f) for v in z for f in (norm.sf(v), 2 * norm.sf(abs(v)))]
    tests += [float(f) for df in (2 * n - 2,) for f in (student.sf(t, df),
                                                        2 * student.sf(abs(t), df))]
    table = {
        "two-sided": (float((means.abs() >= abs(first) - 1e-9).double().mean()), "both tails are "
                      "counted: only differences at least as large as the observed one, sign "
                      "included"),
        "wrong-tail": ([float((means <= first + 1e-9).double().mean()), 1 - p,
                        float((means <= first + 1e-9).double().mean()) - 1 / count],
                       "the other tail: count splits whose difference is as large or larger"),
        "not-itself": ([p - 1 / count, (p * count - 1) / (count - 1)], "the observed split is "
                       "missing: it is one of all the splits and at least as large as itself. Is "
                       "it > for >=, or does rounding hide it? The task leaves 1e-9 for that"),
        "added-one": ([(p * count + 1) / (count + 1), p + 1 / count], "one is added: that is for "
                      "drawn splits. Here all are there, the observed one too"),
        "count": ([p * count, p * count - 1], "this is a number of splits: divide by how many "
                  "there are"),
        "attributes": (float((dealt >= dealt.new_tensor(float(first)) - 1e-9).double().mean()),
                       "the words of A and B are dealt anew: it is X and Y whose labels are "
                       "in doubt"),
        "paired": (float((paired >= paired[0] - 1e-9).double().mean()), "only row i of X and row i "
                   "of Y change places: they are no pairs, any n of the 2n words may form X"),
        "formula": (tests, "this is a formula for many words (z or t): count the splits"),
        "is-d": (effect(s, n), "this is d")}
    return {code: (values, f"{where}, p: {why}") for code, (values, why) in table.items()}


@exercise("10.1", hints=(
    "X = [[1, 0], [2, 0]], Y = [[0, 1], [0, 3]], A = [[1, 0]], B = [[0, 1]]. Each word of X has the "
    "association 1, each of Y -1: the means are 2 apart, and so are d and 0. Of six splits, how "
    "many do as well?",
    "Length 1 first. One association for each of the 2n words; after that the vectors are no longer "
    "needed. Spread of which words, divided by what? And which splits count: larger only, or as "
    "large too? itertools.combinations lists them.",
    "s = for each of the 2n words: mean cosine with A, less mean cosine with B\n"
    "d = (mean of s over X, less mean over Y) over the spread of all 2n\n"
    "for each way to choose n of the 2n: mean of the chosen, less mean of the others\n"
    "p = share of these that are at least the first, less a hair for rounding"))
def weat(answer, probe):
    def ask(*given):
        return two_numbers(probe, probe.call(answer, *given), "", ("d", "p"))

    def lists(n, a, b, d, shift=0.6):
        lengths = 0.5 + 3 * probe.uniform(2 * n + a + b, 1)
        W = probe.normal(2 * n + a + b, d) * lengths
        X, Y, A, B = W.split([n, n, a, b])
        return X + shift * A.mean(0), Y, A, B

    rich = [lists(3, 4, 2, 6), lists(4, 3, 5, 4), lists(5, 2, 6, 7, -0.4)]
    judges = [Judge(probe, lambda *given, i=i: ask(*given)[i],
                    lambda *given, i=i: right_weat(*given)[i], wrong, rich)
              for i, wrong in ((0, wrong_effects), (1, wrong_p))]
    got, want = ([f(*given) for given in rich] for f in (ask, right_weat))
    probe.true(not all(abs(p - q[0]) < 1e-6 and abs(d - q[1]) < 1e-6
                       for (d, p), q in zip(got, want)), "order", "p came first: return d, then p")

    def compare(X, Y, A, B, where, p_code="p", d_code="d"):
        judges[0].compare(X, Y, A, B, where=f"{where}, d", code=d_code)
        p, right = ask(X, Y, A, B)[1], right_weat(X, Y, A, B)[1]
        if abs(p - right) > 1e-6 and not judges[1].mistake() and p_code == "p" and all(
                abs(g[1] - w[1]) < 0.1 for g, w in zip(got, want)):
            probe.fail("sampled", f"{where}, p: expected {right:.6g}, came {p:.6g}. Near, but not "
                       "the share among all splits: are some drawn at random, or left out?")
        judges[1].compare(X, Y, A, B, where=f"{where}, p", code=p_code)

    compare(real([[1, 0], [2, 0]]), real([[0, 1], [0, 3]]), real([[1, 0]]), real([[0, 1]]),
            "X = [[1, 0], [2, 0]], Y = [[0, 1], [0, 3]], A = [[1, 0]], B = [[0, 1]]")
    X, Y = real([[1, 0], [1, 0], [0, 1]]), real([[1, 0], [0, 1], [0, 1]])
    where = "X = [[1, 0], [1, 0], [0, 1]], Y = [[1, 0], [0, 1], [0, 1]], A = [[1, 0]], B = [[0, 1]]"
    p, want_p = ask(X, Y, real([[1, 0]]), real([[0, 1]]))[1], right_weat(
        X, Y, real([[1, 0]]), real([[0, 1]]))[1]
    probe.true(abs(p - 1 / 20) > 1e-6, "strict", f"{where}, p: expected {want_p:g}, came {p:g}: 9 "
               "of the 20 splits are as good as this one, 1 is better. At least as large: >=")
    compare(X, Y, real([[1, 0]]), real([[0, 1]]), where, "ties")
    for given in rich:
        n, a, b, d = len(given[0]), len(given[2]), *given[3].shape
        compare(*given, f"X, Y ({n}, {d}), A ({a}, {d}), B ({b}, {d})")
    X, Y, A, B = rich[1]
    probe.equal(ask(Y, X, A, B)[0], -ask(X, Y, A, B)[0], "swap", "X and Y exchanged: d must "
                "change its sign and nothing else")
    W, (_, _, A, B) = torch.cat([rich[0][0], rich[0][1]]), rich[0]
    found = []
    for rows in combinations(range(6), 3):
        others = [i for i in range(6) if i not in rows]
        found.append(ask(W[list(rows)], W[others], A, B)[1])
    probe.equal(real(sorted(found)), torch.arange(1, 21).double() / 20, "not-uniform", "6 words "
                "dealt into X and Y in all 20 ways: when labels mean nothing, each p from 1/20 to "
                "20/20 comes once")
    compare(*lists(7, 5, 3, 9, 0.3), "X, Y (7, 9): 3,432 splits")


# 10.3 ------------------------------------------------------------------------------------------
def wrong_exposures(rank, n, where):
    """{code: (bits of a well-known mistake, what it is)}."""
    r, bits = rank.double(), math.log2(n)
    right = bits - r.log2()
    table = {
        "nats": (right * math.log(2), "these are nats: bits come from the logarithm to base 2"),
        "base-10": (right * math.log10(2), "a logarithm to base 10: bits need base 2"),
        "sign": (-right, "the sign is turned: rank 1 is the most exposed and has the most bits"),
        "rank-only": ([r.log2(), -r.log2()], "the number of candidates has no effect"),
        "no-rank": (torch.full_like(r, bits), "the rank has no effect"),
        "no-log": ([n / r, r / n], "a share without its logarithm"),
        "ratio": ([bits / r.log2(), bits / r], "the logarithms are divided: subtract them"),
        "from-zero": ([(n / (r + 1)).log2(), bits - (r + 1).log2(), ((n + 1) / (r + 1)).log2()],
                      "ranks begin at 1, not at 0: nothing is added"),
        "from-one": ((n / (r - 1)).log2(), "ranks begin at 1: nothing is taken away"),
        "reversed": ([(n / (n - r + 1)).log2(), (n / (n + 1 - r)).log2() * -1, (n - r).log2(),
                      (n - r + 1).log2()], "the last rank came out as the most exposed: rank 1 has "
                     "the lowest loss"),
        "share-above": ([(1 - r / n).log2(), -(1 - r / n).log2()], "this is about the candidates "
                        "behind it: exposure asks what share stands before it, itself included"),
        "whole": ([right.floor(), right.round(), right.ceil(), (n // r).log2()], "rounded to "
                  "whole bits, or divided by //: keep the fraction"),
        "plus-one": (((n + 1) / r).log2(), "one candidate too many"),
        "half-rank": ((n / (r - 0.5)).log2(), "the rank itself counts, not its middle"),
        "relative": (right / bits, "divided by the bits of all candidates: this is no share"),
        "entropy": (-(r / n) * (r / n).log2(), "multiplied by the share: exposure is the logarithm "
                    "alone")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("10.3", hints=(
    "8 candidates. The secret has rank 1: by how many halvings do you get from 8 to 1? At rank 8 "
    "nothing sets it apart, so what must come?",
    "Base 2. Which share of all candidates does at least as well as the secret? Its logarithm is "
    "negative, the exposure is not.",
    "bits to name one of all candidates, less bits to name one of those up to the rank\n"
    "(one operation on the whole tensor, in float64)"))
def exposure(answer, probe):
    def ask(rank, n):
        out = probe.call(answer, rank, n)
        probe.shape(out, rank.shape, "shape", f"{len(rank)} ranks give {len(rank)} exposures")
        return out

    def right(rank, n):
        return math.log2(n) - rank.double().log2()

    rich = [(probe.ints(2, n - 1, k), n) for k, n in ((5, 40), (3, 1000), (8, 77))]
    judge = Judge(probe, ask, right, wrong_exposures, rich, tol=1e-9)
    judge.compare(torch.tensor([1]), 8, where="rank = [1], n_candidates = 8: the first of 8 takes "
                  "3 bits to find", code="first")
    judge.compare(torch.tensor([8, 4]), 8, where="rank = [8, 4], n_candidates = 8", code="last")
    for rank, n in (*rich, (torch.tensor([1]), 1)):
        judge.compare(rank, n, where=f"rank = {rank.tolist()}, n_candidates = {n}")
    rank = torch.arange(1, 513)
    mean = 9 - float(rank.double().log2().mean())
    probe.equal(ask(rank, 512).double().mean(), real(mean), "mean", "ranks 1 to 512, each once: a "
                f"model that knows nothing has the mean {mean:.3f} bits, near log2(e)", 1e-6)
    n = 10 ** 16                                            # card numbers: sixteen digits
    judge.compare(torch.tensor([1, 3, 10 ** 9, n - 1, n]), n, where="n_candidates = 10**16, rank = "
                  "[1, 3, 10**9, 10**16 - 1, 10**16]", code="large")


# 10.4 ------------------------------------------------------------------------------------------
def right_footprint(gpus, hours, watts, pue, g):
    energy = gpus * hours * watts / 1000 * pue
    return real([energy, energy * g / 1000])


def wrong_footprints(gpus, hours, watts, pue, g, where):
    """{code: (a pair of a well-known mistake, what it is)}."""
    kwh, kg = right_footprint(gpus, hours, watts, pue, g).tolist()
    table = {
        "order": ((kg, kwh), "kWh come first, then kg"),
        "wh": ([(kwh * 1e3, kg), (kwh * 1e3, kg * 1e3)], "these are watt-hours: a kWh has 1,000"),
        "mwh": ([(kwh / 1e3, kg), (kwh / 1e3, kg / 1e3)], "these are MWh: 1,000 kWh each"),
        "grams": ((kwh, kg * 1e3), "these are grams: return kg"),
        "tonnes": ((kwh, kg / 1e3), "these are tonnes: return kg"),
        "no-pue": ([(kwh / pue, kg / pue)], "`pue` is missing: the building draws that many times "
                   "what the GPUs draw"),
        "pue-energy": ((kwh / pue, kg), "`pue` is missing in the energy: cooling uses kWh too"),
        "pue-carbon": ([(kwh, kg / pue)], "`pue` is missing in the carbon: the energy for cooling "
                       "emits as well"),
        "pue-twice": ([(kwh, kg * pue), (kwh * pue, kg * pue), (kwh * pue, kg)], "`pue` is used "
                      "twice: carbon follows from the energy that holds it already"),
        "pue-divided": ([(kwh / pue ** 2, kg / pue ** 2)], "divided by `pue`: the building draws "
                        "more than its GPUs, not less"),
        "pue-only-extra": ([(k * (pue - 1) / pue, m * (pue - 1) / pue) for k, m in ((kwh, kg),)],
                           "`pue` less 1 is the overhead alone: the GPUs draw too"),
        "pue-added": ([(kwh * (1 + pue) / pue, kg * (1 + pue) / pue)], "1 + `pue`: it counts the "
                      "GPUs already, 1.1 means 10 % on top"),
        "one-gpu": ([(kwh / gpus, kg / gpus)], "the number of GPUs has no effect"),
        "one-hour": ([(kwh / hours, kg / hours)], "the hours have no effect: watts are not energy "
                     "yet"),
        "days": ([(kwh * 24, kg * 24), (kwh / 24, kg / 24)], "hours are hours here, not days"),
        "seconds": ([(kwh * 3600, kg * 3600), (kwh * 3.6e6, kg * 3.6e6), (kwh / 3600, kg / 3600)],
                    "3,600 does not belong here: a kWh is 1,000 W for an hour"),
        "per-gram": ([(kwh, kwh / g), (kwh, kwh / g * 1e3), (kwh, kwh / g / 1e3)], "divided by "
                     "`g_per_kwh`: each kWh emits that many grams"),
        "no-intensity": ((kwh, kwh), "`g_per_kwh` has no effect"),
        "tons": ([(kwh, kg / 0.45359237), (kwh, kg * 0.45359237)], "pounds: return kg"),
        "rounded": ([(f(kwh, k), f(kg, k)) for k in range(4) for f in (round, lambda v, _: int(v))]
                    + [(f(kwh), f(kg)) for f in (math.floor, math.ceil)], "it is rounded: keep "
                    "all digits")}
    return {code: ([real(v) for v in (values if isinstance(values, list) else [values])],
                   f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("10.4", hints=(
    "One GPU of 1,000 W for one hour, pue 1: one kWh. At 500 g a kWh that is half a kg. Which of "
    "the two do you miss? Then double one argument at a time: what should double?",
    "Two divisions by 1,000, for two different reasons. `pue` is the energy of the whole building "
    "over that of its computers: which of the two results does it touch?",
    "energy of the computers: how many x how long x watts, in thousands\n"
    "energy of the building: that x pue\ncarbon: each of these kWh emits g_per_kwh, in grams"))
def footprint(answer, probe):
    names = ("gpus", "hours", "watts", "pue", "g_per_kwh")

    def ask(*given):
        return real(two_numbers(probe, probe.call(answer, *given), "", ("kWh", "kg")))

    rich = [(3, 7.3, 410.7, 1.37, 268.1), (64, 2.1, 333.3, 1.12, 57.4), (7, 31.7, 91.3, 1.83, 611.9)]
    judge = Judge(probe, ask, right_footprint, wrong_footprints, rich, tol=1e-9)

    def compare(given, code="value", note=""):
        where = ", ".join(f"{name} = {v:,}" for name, v in zip(names, given))
        judge.compare(*given, where=f"{where}, [kWh, kg]{note}", code=code)

    compare((1, 1, 1000, 1, 500), "units", ": 1 kW for 1 hour")
    compare((2, 10, 500, 1.2, 100))
    for i, name in enumerate(names):
        given = list(rich[0])
        once = ask(*given)
        given[i] *= 2
        grew = (ask(*given) / once).tolist()
        want = [1.0 if name == "g_per_kwh" else 2.0, 2.0]
        if judge.mistake() == "":                           # else it has a better name below
            probe.equal(real(grew), real(want), "doubling", f"{name} doubled: kWh and kg must grow "
                        f"by {want[0]:g} and {want[1]:g}", 1e-6)
    for given in (*rich, (1, 0.05, 28, 1, 330), (0, 5, 300, 1.1, 400), (8, 0, 300, 1.1, 400),
                  (4, 5, 300, 1.1, 0)):
        compare(given)
    kwh, kg = ask(10_000, 390, 330, 1, 429).tolist()        # GPT-3: 1,287 MWh, about 552 t
    probe.true(abs(kwh - 1.287e6) < 1 and abs(kg - 552_123) < 1, "gpt-3", "10,000 GPUs of 330 W "
               f"for 390 hours at 429 g: expected 1,287 MWh and 552 t, came {kwh:g} kWh, {kg:g} kg")
    probe.equal(kg / kwh * 1000, 429.0, "gpt-3", "552 t over 1,287 MWh is 429 g for a kWh")
