"""The checks of lecture 02: pairs, the loss, noise, neighbours, arrows and PPMI."""
import math
from collections import Counter

import torch

from . import c02_training  # noqa: F401   02.7 and 02.8
from .c02_wrong import (MISSED, WHY, arrow_answers, by_cosine, nearest_answers, pairs_of, pmi, sgns,
                        wrong_losses, wrong_ppmi)
from .engine import exercise
from .probe import close


def pairs_list(probe, out):
    """out as a Counter of pairs, after tests of its type."""
    probe.type(out, list, "return a list of pairs; a set would lose how often each occurs")
    for pair in out:
        probe.type(pair, tuple, "each pair is a tuple (word, neighbour)")
        probe.true(len(pair) == 2 and all(type(part) is int for part in pair), "type",
                   f"each pair holds two ids, whole numbers; came {pair!r}")
    return Counter(out)


@exercise("02.1", hints=(
    "In [[7, 8]] with window 1, 7 has the neighbour 8, and 8 has the neighbour 7: two pairs. How "
    "many do you get? And from [[1, 2], [3, 4]]?",
    "Which places j are at most `window` from i and still inside the same sentence? Places below 0 "
    "count from the end in Python. Compare places, not words.",
    "for each sentence, for each place i in it:\n"
    "    for each place j from max(0, i - window) to min(last, i + window):\n"
    "        if j is not i: note the pair (word at i, word at j)"))
def skipgram_pairs(answer, probe):
    got = pairs_list(probe, probe.call(answer, [[5]], 2))
    probe.true(not got, "self", f"[[5]] is one word, it has no neighbour: came {list(got)}")
    got = pairs_list(probe, probe.call(answer, [[7, 8]], 1))
    probe.true((7, 7) not in got and (8, 8) not in got, "self",
               "[[7, 8]], window 1: a place is no neighbour of itself, yet (7, 7) or (8, 8) came")
    probe.true(set(got) != {(7, 8)} and set(got) != {(8, 7)}, "one-sided",
               f"[[7, 8]], window 1: only {list(got)} came. Both words have a neighbour: look left "
               "and right")
    probe.true(got != {(7, 8): 2, (8, 7): 1}, "wraps",
               "[[7, 8]], window 1: (7, 8) came twice. The place before the first is -1, and "
               "Python counts from the end there")
    probe.true(got == {(7, 8): 1, (8, 7): 1}, "pairs",
               f"[[7, 8]], window 1: expected (7, 8) and (8, 7) once each, came {dict(got)}")
    got = pairs_list(probe, probe.call(answer, [[1, 2], [3, 4]], 1))
    probe.true((2, 3) not in got and (3, 2) not in got, "crosses",
               "[[1, 2], [3, 4]]: 2 and 3 stand in different sentences, yet they came as a pair")
    got = pairs_list(probe, probe.call(answer, [[0, 1, 2, 3, 4, 5]], 2))
    probe.true((0, 5) not in got and (0, 4) not in got, "wraps",
               "[[0, 1, 2, 3, 4, 5]], window 2: 0 came with 5 or 4. Place i - window may be "
               "below 0, and Python then counts from the end")
    far = max((abs(a - b) for a, b in got), default=0)
    probe.true(far == 2, "window", "[[0, 1, 2, 3, 4, 5]], window 2: the farthest pair must be 2 "
                                   f"places apart, came {far}")
    probe.true(sum(got.values()) == 18, "count",
               "6 words, window 2: 5 pairs of neighbours and 4 at distance two, each in both "
               "orders, "
               f"make 18; came {sum(got.values())}")
    got = pairs_list(probe, probe.call(answer, [[5, 5]], 1))
    probe.true(got == {(5, 5): 2}, "same-word",
               "[[5, 5]]: the same word in two places makes (5, 5) twice. Compare places, not "
               "words; "
               f"came {dict(got)}")
    for window in (1, 3, 9):
        sents = [probe.ints(0, 6, length).tolist() for length in (7, 0, 1, 4, 5)]
        got = pairs_list(probe, probe.call(answer, sents, window))
        want = pairs_of(sents, window)
        probe.true(set(got) != set(want) or got == want, "multiset",
                   "the right pairs, but not as often as they occur: keep every occurrence")
        probe.true(got == want, "value", f"{sents}, window {window}: missing {dict(want - got)}, "
                                         f"too many {dict(got - want)}")


@exercise("02.2", hints=(
    "All vectors 0: every sigmoid is 1/2, so each of the K + 1 questions costs ln 2. Do you get "
    "(K + 1) ln 2?",
    "Two signs: the score of a neighbour enters with plus, those of noise words with minus. And "
    "the logarithm of a sigmoid that has become 0: torch.nn.functional has a function for the "
    "two at once.",
    "near = dot products of each c with its o, (B,)\n"
    "far = dot products of each c with each of its K noise words, (B, K)\n"
    "result = mean over B of: minus log-sigmoid of near, minus the sum over K of log-sigmoid of "
    "-far"))
def sgns_loss(answer, probe):
    B, K, d = 3, 4, 5
    c, o, neg = probe.zeros(B, d), probe.zeros(B, d), probe.zeros(B, K, d)
    out = probe.call(answer, c, o, neg)
    if isinstance(out, float):
        probe.type(out, torch.Tensor, "a float has no gradient: do without .item()")
    probe.type(out, torch.Tensor)
    probe.true(out.shape != (B,), "batch", f"the loss of each of the {B} pairs came: return "
                                           f"their mean")
    probe.shape(out, (), "shape", "the loss is one number")
    c, o, neg = probe.normal(B, d), probe.normal(B, d), probe.normal(B, K, d)
    known, got = wrong_losses(c, o, neg), probe.call(answer, c, o, neg)
    for wrong, why in known.values():                   # a mistake with a name is named first
        if any(close(got, value, 1e-6) for value in (wrong if type(wrong) is list else [wrong])):
            probe.equal(got, sgns(c, o, neg).mean(), "value", why, known=known)
    probe.equal(out, torch.tensor((K + 1) * math.log(2)), "zero",
                f"all vectors are 0 and K is {K}: K + 1 questions at ln 2 each")
    for B, K, d in ((1, 1, 2), (3, 4, 5), (4, 2, 3), (2, 6, 2)):
        c, o, neg = probe.normal(B, d), probe.normal(B, d), probe.normal(B, K, d)
        probe.equal(probe.call(answer, c, o, neg), sgns(c, o, neg).mean(), "value",
                    f"B = {B}, K = {K}, d = {d}", known=wrong_losses(c, o, neg))
    for x in (100.0, -100.0, 1000.0, -1000.0):
        c, o = torch.tensor([[1.0]]), torch.tensor([[x]])
        neg = torch.tensor([[[-x], [x]]])
        probe.equal(probe.call(answer, c, o, neg), sgns(c, o, neg).mean(), "overflow",
                    f"scores of {x:.0f} and {-x:.0f}: the sigmoid becomes exactly 0 or 1, and its "
                    "logarithm -inf or wrong. Take both in one step, without a small number added")
    tensors = [t.requires_grad_() for t in (probe.normal(3, 5), probe.normal(3, 5),
                                            probe.normal(3, 4, 5))]
    out = probe.call(answer, *tensors)
    probe.true(out.requires_grad, "detached", "no gradient reaches the vectors: stay with torch's "
               "operations, without .item(), .detach() or torch.tensor(...) of a result")
    got = torch.autograd.grad(out, tensors, allow_unused=True)
    want = torch.autograd.grad(sgns(*tensors).mean(), tensors)
    for name, g, w in zip(("c", "o", "neg"), got, want):
        probe.true(g is not None, "detached", f"no gradient reaches {name}")
        probe.equal(g, w, "gradient", f"the value is right, the gradient for {name} is not")


@exercise("02.3", hints=(
    "Shares sum to 1. Counts 1 and 16: their powers of .75 are 1 and 8, so the shares are 1/9 "
    "and 8/9.",
    "What do you divide by: the sum of the counts, or the sum of their powers?",
    "weight = each count to the power\nresult = weight divided by the sum of the weights"))
def noise_dist(answer, probe):
    counts = torch.tensor([1, 16])
    out = probe.call(answer, counts)
    probe.shape(out, (2,), "shape", "one share a word")
    p = counts / counts.sum()
    probe.equal(out, torch.tensor([1.0, 8.0]) / 9, "value",
                "counts 1 and 16, power .75", known={
                    "renormalise": (p ** 0.75, "the power was taken after dividing, so the "
                                               "shares no "
                                    f"longer sum to 1 but to {float((p ** 0.75).sum()):.2f}"),
                    "sum": (counts ** 0.75, "these are weights: divide them by their sum"),
                    "sum-counts": (counts ** 0.75 / counts.sum(), "divided by the sum of the "
                                   "counts: divide by the sum of their powers"),
                    "no-power": (p, "these are the plain shares: raise the counts to the power "
                                    ".75"),
                    "inverse": (torch.tensor([8.0, 1.0]) / 9, "rare words get the most: the "
                                "power is positive"),
                    "root": (counts ** (4 / 3) / (counts ** (4 / 3)).sum(), "the power was 4/3: "
                             "frequent words gain, they should lose"),
                    "log": (counts.log() / counts.log().sum(), "logarithms: use the power"),
                    "largest": (counts ** 0.75 / 8, "divided by the largest: divide by the sum"),
                    "softmax": ([(counts ** 0.75).softmax(0), (counts * 0.75).softmax(0),
                                 p.softmax(0)], "a softmax raises e to the counts: divide powers "
                                "by their sum")})
    counts = probe.ints(1, 50, 6)
    equal_shares = torch.full((6,), 1 / 6)
    probe.equal(probe.call(answer, counts, 0), equal_shares, "power", "power 0: all words are "
                                                                      "equal",
                known={"fixed-power": (counts ** 0.75 / (counts ** 0.75).sum(),
                                       "power=0 was asked, .75 was used: use the argument")})
    probe.equal(probe.call(answer, counts, 1), counts / counts.sum(), "power",
                "power 1: the plain shares of the words")
    for power in (0.5, 0.9, 2.0):
        out = probe.call(answer, counts, power)
        probe.equal(out, counts ** power / (counts ** power).sum(), "power", f"power {power}",
                    known={"renormalise": ((counts / counts.sum()) ** power,
                                           "shares raised to the power no longer sum to 1")})
    counts = torch.tensor([0, 3, 5])
    out = probe.call(answer, counts)
    probe.true(out[0] == 0, "smoothed", "a word that never comes (count 0) is never drawn: its "
                                        "share "
               f"is 0, came {float(out[0]):.3g}")
    probe.equal(out, counts ** 0.75 / (counts ** 0.75).sum(), "value", "counts 0, 3 and 5")
    many = torch.tensor([10.0 ** 9, 1.0, 10.0])
    probe.equal(probe.call(answer, many), many ** 0.75 / (many ** 0.75).sum(), "value",
                "counts from 1 to a billion, as float64", tol=1e-9)


def ids(probe, out):
    """out as a list of ints, after tests of its type."""
    probe.type(out, list, "return a list of row numbers: a tensor becomes one by .tolist()")
    for one in out:
        probe.type(one, int, "each is a row number, a whole number")
    return out


@exercise("02.4", hints=(
    "q = [1, 0.2]; row 0 = [1, 0] points almost the same way, row 1 = [10, 10] is longer but "
    "points elsewhere. Who is nearest? Ten times longer rows must not change the answer.",
    "Divide each row by its own length before you multiply by q. Set excluded rows so low that "
    "they cannot win, and see that fewer than k may be left.",
    "score = dot product of each row with q, divided by the row's length\n"
    "walk through the rows from the highest score down, skip the excluded, stop after k"))
def nearest(answer, probe):
    E = torch.tensor([[1.0, 0.0], [10.0, 10.0], [-1.0, 3.0], [-4.0, -1.0]])
    cases = [(E, torch.tensor([1.0, 0.2]), 2)]
    for V, d, k in ((9, 4, 3), (12, 2, 5), (7, 6, 7), (5, 3, 1), (10, 3, 4)):
        cases.append((probe.normal(V, d) * (0.2 + 3 * probe.uniform(V, 1)), probe.normal(d), k))
    fits, wrong = set(MISSED), ()
    for E, q, k in cases:                               # which formula gives all answers?
        got = ids(probe, probe.call(answer, E, q, k))
        known = nearest_answers(E, q, k)
        fits = {name for name in fits if got == known[name]}
        where = E.tolist() if len(E) == 4 else f"(a tensor {tuple(E.shape)})"
        wrong = wrong or (() if got == known["right"] else (where, q, k, known["right"], got))
    if wrong:
        code = min(fits, default="value", key=list(MISSED).index)
        where, q, k, right, got = wrong
        code = "count" if code == "value" and len(got) != k else code
        why = MISSED.get(code, "not the k rows of largest cosine")
        probe.fail(code, f"{why}. For rows {where}, q = {[round(v, 2) for v in q.tolist()]} and "
                         f"k = {k} expected {right}, came {got}")
    for E, q, k in cases:
        longer = E * (0.1 + 5 * probe.uniform(len(E), 1))
        for rows, point in ((longer, q), (E, 7 * q)):
            probe.equal(ids(probe, probe.call(answer, rows, point, k)), by_cosine(E, q, k), "scale",
                        "the same directions with other lengths must give the same rows")
    E = probe.normal(8, 3)
    for exclude in ((2,), (2, 5), [2, 0, 7], {2}):
        got = ids(probe, probe.call(answer, E, E[2], 3, exclude))
        probe.true(not set(got) & set(exclude), "exclude",
                   f"q is row 2, exclude = {exclude}: an excluded row came back in {got}")
        probe.equal(got, by_cosine(E, E[2], 3, exclude), "exclude", f"q is row 2, exclude = "
                                                                    f"{exclude}")
    probe.equal(ids(probe, probe.call(answer, E, E[4], 2)), by_cosine(E, E[4], 2), "dropped",
                "q is row 4 and nothing is excluded: row 4 is its own nearest")
    got = ids(probe, probe.call(answer, E, E[1], 6, (1, 2, 3, 4)))
    probe.equal(got, by_cosine(E, E[1], 6, (1, 2, 3, 4)), "few",
                "8 rows, 4 of them excluded, k = 6: only 4 can come")
    E = torch.cat([probe.zeros(1, 3), probe.uniform(5, 3)])
    q = probe.uniform(3)
    probe.equal(ids(probe, probe.call(answer, E, q, 3)), by_cosine(E, q, 3), "zero-row",
                "row 0 is all zeros: it has no direction (0 / 0 is nan, and nan sorts first)")


@exercise("02.5", hints=(
    "a = king, b = queen, c = uncle: the arrow from king to queen, put at uncle, ends at aunt. "
    "In a planted parallelogram you must land on it; with b = a you must land on c.",
    "b - a is the arrow. Bring all rows to length 1 before anything else. Only with exclude_inputs "
    "may a, b and c not win.",
    "U = rows of E, each divided by its length\n"
    "query = U[b] - U[a] + U[c]\n"
    "answer = the row of U with the largest dot product with query, without a, b, c if asked"))
def analogy(answer, probe):
    base, step = torch.eye(4, 6, dtype=torch.float64), probe.one_hot(5, 6)
    E = torch.stack([base, base + step], 1).flatten(0, 1)       # (8, 6): two rows a pair
    for a, c in ((0, 2), (4, 0), (6, 4)):
        got = probe.call(answer, E, a, a + 1, c)
        probe.type(got, int, "return one row number, an int: .item() makes one of a tensor")
        probe.true(got not in (a, a + 1, c), "exclude", f"rows {a}, {a + 1} and {c} are the "
                   f"question: they may not answer, yet {got} came")
        known = arrow_answers(E, a, a + 1, c, True)
        probe.equal(got, c + 1, "value", f"rows {a} and {a + 1} differ by the same arrow as {c} "
                    f"and {c + 1}", known={k: (known[k], WHY[k]) for k in WHY})
    fits, wrong = set(WHY), ()
    for _ in range(40):                                         # which formula gives all answers?
        E = probe.normal(12, 4) * (0.3 + 3 * probe.uniform(12, 1))
        a, b, c = torch.randperm(12, generator=probe.generator)[:3].tolist()
        known = arrow_answers(E, a, b, c, True)
        got = probe.call(answer, E, a, b, c)
        probe.type(got, int, "return one row number, an int")
        probe.true(got not in (a, b, c), "exclude", "an input came back, though exclude_inputs "
                                                    "is True")
        fits = {name for name in fits if got == known[name]}
        wrong = wrong or (() if got == known["right"] else (known["right"], got))
    if wrong:
        code = min(fits, default="value", key=list(WHY).index)
        probe.fail(code, f"rows of unequal lengths: "
                         f"{WHY.get(code, 'not the answer to b - a + c')}. Expected row "
                         f"{wrong[0]}, came {wrong[1]}")
    E = probe.normal(9, 5)
    E[1] = E[0] + 0.01 * probe.normal(5)                        # a tiny arrow
    got = probe.call(answer, E, 0, 1, 4, False)
    probe.equal(got, 4, "always-excludes", "the arrow is tiny and exclude_inputs is False: the "
                "nearest row is c itself, and that is the right answer")
    for inputs_out in (True, False, True, False):
        E = probe.normal(15, 4) * (0.3 + 3 * probe.uniform(15, 1))
        a, b, c = torch.randperm(15, generator=probe.generator)[:3].tolist()
        known = arrow_answers(E, a, b, c, inputs_out)
        probe.equal(probe.call(answer, E, a, b, c, inputs_out), known["right"], "value",
                    f"exclude_inputs={inputs_out}", known={
                        "never-excludes": (known["raw"], "an input came back"),
                        "always-excludes": (known["out"], "exclude_inputs is False: inputs may "
                                                          "win")})


@exercise("02.6", hints=(
    "If a count is what chance gives, row total times column total over the sum of all, PMI is "
    "0. Try an outer product of two vectors: all must be 0.",
    "Three divisions turn counts into P(w, c), P(w) and P(c). What is the logarithm of a count "
    "of 0, and what is 0 / 0 for a word never seen?",
    "joint = C over the sum of all\nrow, column = sums of joint along each side, dimension kept\n"
    "ratio = joint over row times column\nresult = log of ratio where the ratio is above 1, else "
    "0"))
def ppmi(answer, probe):
    C = torch.tensor([[2.0, 1.0], [1.0, 4.0]])
    out = probe.call(answer, C)
    probe.shape(out, (2, 2), "shape", "one number a pair")
    wrongs = wrong_ppmi(C)
    probe.equal(out, pmi(C).clamp(min=0), "value", f"C = {C.tolist()}", known=wrongs)
    C = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    out = probe.call(answer, C)
    probe.finite(out, "minus-inf", "C = [[2, 0], [0, 2]]: a pair never seen has the value 0, not "
                                   "-inf")
    probe.equal(out, math.log(2) * torch.eye(2), "value", f"C = {C.tolist()}")
    C = probe.uniform(4, 1) * probe.uniform(1, 4) * 10
    probe.equal(probe.call(answer, C), probe.zeros(4, 4), "independence",
                "counts exactly as chance gives (an outer product): all values are 0",
                known=wrong_ppmi(C))
    for shape in ((5, 5), (3, 6), (6, 2)):
        C = probe.ints(0, 9, *shape).double()
        C[:, 0] += 1
        C[0] += 1
        out = probe.call(answer, C)
        probe.shape(out, shape, "shape", f"C is {shape}, words and contexts may differ in number")
        probe.finite(out, "minus-inf", "some counts are 0: their value is 0, not -inf")
        probe.true((out >= 0).all(), "negative", "a negative value came: keep the positive part "
                                                 "only")
        probe.equal(out, pmi(C).clamp(min=0), "value", f"C is {shape}", known=wrong_ppmi(C))
        probe.equal(probe.call(answer, 10 * C), pmi(C).clamp(min=0), "scale",
                    "ten times as much text with the same proportions: the same values")
    C = probe.ints(1, 9, 5, 5).double()
    out = probe.call(answer, C + C.T)
    probe.equal(out, out.T, "symmetry", "C is symmetric, so PPMI is")
    C[2] = 0
    out = probe.call(answer, C)
    probe.finite(out, "empty-row", "a word that was never seen has a row of zeros: 0 / 0 is nan, "
                 "its values are 0")
    probe.equal(out, pmi(C).nan_to_num(0.0).clamp(min=0), "empty-row", "row 2 of C is all 0")
