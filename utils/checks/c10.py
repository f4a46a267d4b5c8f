"""The checks of lecture 10, first part: associations between lists of words."""
import math
from itertools import combinations

import torch
import torch.nn.functional as F

from . import c10_directions, c10_trust, c10_watermark      # noqa: F401  the others
from .c08_known import Judge, real
from .c10_numbers import two_numbers
from .engine import exercise


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


def tail(x, df):
    """Chance of more than x by Student's t, or by the normal distribution if df is 0."""
    if not df:
        return 0.5 * math.erfc(float(x) / math.sqrt(2))
    at = torch.linspace(0, min(float(x.abs()), 1e3), 20001, dtype=torch.float64)
    log = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    inside = float(torch.trapezoid((1 + at ** 2 / df) ** (-(df + 1) / 2), at)) * math.exp(log)
    return 0.5 - inside if x > 0 else 0.5 + inside


def right_weat(X, Y, A, B):
    s, n = association(torch.cat([X, Y]), A, B), len(X)
    all_of_them = splits(s, n)
    return effect(s, n), float((all_of_them >= all_of_them[0] - 1e-9).double().mean())


def wrong_effects(X, Y, A, B, where):
    """{code: (d of a well-known mistake, what it is)}."""
    W, n = torch.cat([X, Y]), len(X)
    s = association(W, A, B)
    d, gap = effect(s, n), s[:n].mean() - s[n:].mean()
    U, (a, b) = F.normalize(W, dim=1), (F.normalize(M, dim=1) for M in (A, B))
    parts = s[:n].var(correction=1), s[n:].var(correction=1)
    table = {
        "swapped": (-d, "the sign is turned: mean over X less mean over Y, and cosine with A less "
                    "cosine with B"),
        "sample-sd": ([effect(s, n, 1), -effect(s, n, 1)], "the spread is divided by 2n - 1: "
                      "divide by 2n, all words that there are"),
        "no-sd": (float(gap), "this is the difference of the means: divide it by the standard "
                  "deviation of all 2n associations"),
        "variance": ([float(gap / s.var(correction=c)) for c in (0, 1)], "divided by the variance: "
                     "divide by its root"),
        "within": ([float(gap / ((s[:n].var(correction=c) + s[n:].var(correction=c)) / 2).sqrt())
                    for c in (0, 1)] + [float(gap / sum(v.sqrt() for v in parts) * 2)],
                   "divided by the spread within X and Y (Cohen's d): take that of all 2n words "
                   "together"),
        "one-spread": ([float(gap / part.std(correction=c)) for part in (s[:n], s[n:])
                        for c in (0, 1)], "divided by the spread of one group: take that of all "
                       "2n words"),
        "standard-error": (float(gap / (sum(parts) / n).sqrt()), "this is the t of a t-test: it "
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
        "no-sign": (effect((U @ a.T).abs().mean(1) - (U @ b.T).abs().mean(1), n), "the cosines "
                    "have lost their sign"),
        "median": (effect((U @ a.T).median(1)[0] - (U @ b.T).median(1)[0], n), "medians of "
                   "cosines: take means"),
        "distance": ([effect((torch.cdist(M, C).mean(1) - torch.cdist(M, D).mean(1)) * k, n)
                      for k in (1, -1) for M, C, D in ((W, A, B), (U, a, b))], "these are "
                     "distances: take cosines"),
        "size-only": (abs(d), "the sign is lost: it says which way the association goes")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


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
    t = first / ((s[:n].var() + s[n:].var()) / n).sqrt()
    tails = [tail(first / means.std(correction=c), 0) for c in (0, 1)] + [tail(t, 2 * n - 2)]
    tests = [f for p_one in tails for f in (p_one, 2 * min(p_one, 1 - p_one))]
    table = {
        "two-sided": (float((means.abs() >= abs(first) - 1e-9).double().mean()), "both tails are "
                      "counted: only differences at least as large as the observed one, sign "
                      "included"),
        "chosen-side": ([float((means * first.sign() >= abs(first) - 1e-9).double().mean()),
                         float((means >= abs(first) - 1e-9).double().mean())], "the tail follows "
                        "the sign that was found, or the sign is lost: it is always the upper one"),
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
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("10.1", hints=(
    "X = [[1, 0], [2, 0]], Y = [[0, 1], [0, 3]], A = [[1, 0]], B = [[0, 1]]. Each word of X has "
    "the association 1, each of Y -1: the means are 2 apart, and so are d and 0. Of six splits, "
    "how many do as well?",
    "Length 1 first. One association for each of the 2n words; after that the vectors have done "
    "their part. Spread of which words, divided by what? And which splits count: larger only, or "
    "as large too? itertools.combinations lists them.",
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

    compare(real([[1, 0], [3, 4]]), real([[0, 1], [-4, 3]]), real([[2, 0]]), real([[0, 1]]),
            "X = [[1, 0], [3, 4]], Y = [[0, 1], [-4, 3]], A = [[2, 0]], B = [[0, 1]]")
    X, Y = real([[1, 0], [1, 0], [0, 1]]), real([[1, 0], [0, 1], [0, 1]])
    where = "X = [[1, 0], [1, 0], [0, 1]], Y = [[1, 0], [0, 1], [0, 1]], A = [[1, 0]], B = [[0, 1]]"
    p, want_p = ask(X, Y, real([[1, 0]]), real([[0, 1]]))[1], right_weat(
        X, Y, real([[1, 0]]), real([[0, 1]]))[1]
    probe.true(min(abs(p - 1 / 20), abs(p - 2 / 20)) > 1e-6, "strict", f"{where}, p: expected "
               f"{want_p:g}, came {p:g}: 9 of the 20 splits are as good as this one, 1 is better. "
               "At least as large: >=")
    compare(X, Y, real([[1, 0]]), real([[0, 1]]), where, "ties")
    for given in rich:
        n, a, b, d = len(given[0]), len(given[2]), *given[3].shape
        compare(*given, f"X, Y ({n}, {d}), A ({a}, {d}), B ({b}, {d})")
    compare(real([[1, 0], [2, 0]]), real([[0, 1], [0, 3]]), real([[1, 0]]), real([[0, 1]]),
            "X = [[1, 0], [2, 0]], Y = [[0, 1], [0, 3]], A = [[1, 0]], B = [[0, 1]]: no list leans "
            "more, so d = 2", d_code="bound")
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
