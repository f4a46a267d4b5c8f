"""The check of lecture 10 for a direction that is taken out, and what a probe still reads."""
import contextlib
import functools

import torch
import torch.nn.functional as F

from .engine import exercise
from .probe import first_optimiser

PAIRS = tuple(pair.split() for pair in (
    "he she, him her, his hers, himself herself, man woman, men women, boy girl, boys girls, male "
    "female, son daughter, brother sister, father mother, husband wife, uncle aunt, nephew niece, "
    "grandfather grandmother, king queen, prince princess, actor actress").split(", "))
SIDE, COMMON = 500, 10_000                              # words on each side; of how many frequent


@functools.cache
def glove():
    """(E (10000, 50) in float64, rows of the pairs): the frequent words of GloVe."""
    from ..data import load_glove
    words = load_glove()
    rows = [[words.index[he], words.index[she]] for he, she in PAIRS
            if words.index.get(he, COMMON) < COMMON and words.index.get(she, COMMON) < COMMON]
    return words.vectors[:COMMON].double(), torch.tensor(rows)


def right_split(E, pairs):
    """(g (d,), what is left of E): the mean arrow from he to she, at length 1."""
    g = F.normalize((E[pairs[:, 1]] - E[pairs[:, 0]]).mean(0), dim=0)
    return g, E - (E @ g)[:, None] * g


def wrong_directions(E, pairs):
    """{code: (direction of a well-known mistake, what it is)}."""
    he, she = E[pairs[:, 0]], E[pairs[:, 1]]
    arrow = she - he
    unit, each = (functools.partial(F.normalize, dim=dim) for dim in (0, 1))
    middle = ((he + she) / 2)[:, None] - torch.stack([he, she], 1)
    axis = torch.linalg.svd(middle.flatten(0, 1))[2][0]
    plain = torch.linalg.svd(arrow)[2][0]
    table = {
        "reversed": (-unit(arrow.mean(0)), "it points from the second word of a pair to the first"),
        "not-unit": (arrow.mean(0), "the mean arrow is not brought to length 1: with another "
                     "length, another amount is taken out"),
        "sum": (arrow.sum(0), "the arrows are summed and not brought to length 1"),
        "one-pair": ([unit(a) for a in arrow] + list(arrow), "one pair alone gives it: take the "
                     "mean arrow of all"),
        "unit-arrows": ([unit(each(arrow).mean(0)), each(arrow).mean(0)], "each arrow is brought "
                        "to length 1 first: take the mean, then the length"),
        "unit-words": (unit((each(she) - each(he)).mean(0)), "the words are brought to length 1 "
                       "first: the vectors stay as they are"),
        "component": ([s * v for v in (axis, plain) for s in (1, -1)], "a principal component: "
                      "take the mean of the arrows"),
        "mean-word": ([unit((he + she).mean(0)), unit(she.mean(0)), unit(he.mean(0))], "words are "
                      "averaged: the direction is the difference, second less first")}
    return {code: (values, f"g, the direction: {why}") for code, (values, why) in table.items()}


def wrong_rests(E, pairs, g):
    """{code: (what is left after a well-known mistake, what it is)}."""
    rest, along = E - (E @ g)[:, None] * g, (E @ g)[:, None] * g
    rows = pairs.flatten().unique()
    some, others = E.clone(), E - E.mean(0)
    some[rows] = rest[rows]
    unpaired = rest.clone()
    unpaired[rows] = E[rows]
    cut = E.clone()
    cut[:, g.abs().argmax()] = 0
    raw = (E[pairs[:, 1]] - E[pairs[:, 0]]).mean(0)
    table = {
        "unchanged": (E, "nothing is taken out"),
        "kept": (along, "this is what was to go: return what is left"),
        "added": (E + along, "the part along g is added: take it away"),
        "reflected": (E - 2 * along, "taken away twice: every word is now on the other side"),
        "one-side": ([E - (E @ g).clamp(min=0)[:, None] * g, E - (E @ g).clamp(max=0)[:, None] * g,
                      E - (E @ g).abs()[:, None] * g], "the sign of the part along g is lost: a "
                     "word may lie on either side"),
        "shifted": ([E - g, E - raw], "the same vector is taken from each word: take from each as "
                    "much as it has"),
        "not-unit": (E - (E @ raw)[:, None] * raw, "the arrow used here has another length than 1: "
                     "the dot product then is not the part along it"),
        "half-unit": ([E - (E @ raw)[:, None] * g, E - (E @ g)[:, None] * raw], "one of the two "
                      "directions in the product is not of length 1"),
        "pairs-only": (some, "it is taken out of the words of the pairs only: take it out of all"),
        "not-pairs": (unpaired, "the words of the pairs are left as they were: take it out of all"),
        "coordinate": (cut, "a coordinate is set to 0: the direction lies across all of them"),
        "renormalised": (F.normalize(rest, dim=1), "rows are brought to length 1 afterwards: only "
                         "the part along g changes"),
        "unit-first": ([F.normalize(E, dim=1) - (F.normalize(E, dim=1) @ g)[:, None] * g], "rows "
                       "are brought to length 1: only the part along g changes"),
        "centred": ([others - (others @ g)[:, None] * g], "the mean of all words is taken away as "
                    "well"),
        "cosine": (E - (F.normalize(E, dim=1) @ g)[:, None] * g, "the cosine is taken for the part "
                   "along g: that is the dot product")}
    return {code: (values, f"what is left: {why}") for code, (values, why) in table.items()}


def look_at_directions(probe, split):
    def ask(E, pairs, where):
        out = probe.call(split, E, pairs)
        probe.type(out, (tuple, list), "return g and what is left")
        probe.true(len(out) == 2, "type", f"{where}: return two tensors, g and what is left; came "
                   f"{len(out)}")
        for t in out:
            probe.type(t, torch.Tensor, "g and what is left are tensors")
        g, rest = out
        probe.true(not (g.shape == E.shape and rest.dim() == 1), "split-order", "what is left came "
                   "first: return g, then what is left")
        probe.shape(g, (E.shape[1],), "g-shape", f"{where}: g is one direction")
        probe.shape(rest, E.shape, "rest-shape", f"{where}: every word stays, without its part "
                    "along g")
        return g, rest

    def compare(E, pairs, where):
        g, rest = ask(E, pairs, where)
        want_g, want = right_split(E, pairs)
        table = {code: (v, f"{where}, {why}") for code, (v, why) in wrong_directions(
            E, pairs).items()}
        probe.equal(g, want_g, "direction", f"{where}: g, the mean arrow at length 1", known=table)
        table = {code: (v, f"{where}, {why}") for code, (v, why) in wrong_rests(
            E, pairs, want_g).items()}
        probe.equal(rest, want, "rest", f"{where}: what is left", known=table)
        probe.equal(rest.detach().double() @ want_g, 0 * want[:, 0], "still-there", f"{where}: no "
                    "word may have a part along g", 1e-5)

    for V, d, n in ((12, 5, 3), (9, 4, 2), (20, 7, 5)):
        E = probe.normal(V, d) + 2 * probe.normal(d)
        pairs = torch.randperm(V, generator=probe.generator)[:2 * n].reshape(n, 2)
        compare(E, pairs, f"E ({V}, {d}), {n} pairs")
    compare(*glove(), "GloVe, 10,000 words")


def guesses(probe, train, X, y, test_X, test_y, where):
    out = probe.call(train, X, y)
    probe.type(out, (tuple, list), "probe returns w and b")
    probe.true(len(out) == 2, "type", f"{where}: probe returns w and b; came {len(out)} values")
    w, b = out
    probe.type(w, torch.Tensor, "w is a tensor")
    probe.true(w.dim() != 2, "w-shape", f"{where}: w is a row of {X.shape[1]} numbers, came "
               f"{tuple(w.shape)}")
    probe.shape(w, (X.shape[1],), "w-shape", f"{where}: w has a number for each of d")
    probe.type(b, (float, int, torch.Tensor), "b is one number")
    probe.true(not isinstance(b, torch.Tensor) or b.numel() == 1, "b-shape", f"{where}: b is one "
               "number")
    w, b = w.detach().double(), float(b.detach() if isinstance(b, torch.Tensor) else b)
    probe.true(bool(w.isfinite().all()) and abs(b) < float("inf"), "diverged", f"{where}: w or b "
               "is not finite: are the steps of training too large?")
    return test_X @ w, b, test_y


def judge_probe(probe, scores, b, y, least, where, code):
    """Is the share of right guesses at least `least`? Else why not."""
    right = float(((scores + b > 0) == y).double().mean())
    text = f"{where}: {right:.2f} of the new rows are right, {least:g} is within reach"
    if right < least:
        probe.true(1 - right < least, "turned", f"{text}: the sides are exchanged. X @ w + b > 0 "
                   "is to mean True")
        probe.true(float(scores.std()) > 0, "one-answer", f"{text}: all answers are the same")
        probe.true(b != 0, "no-offset", f"{text}. b is 0: what if both kinds of rows lie on one "
                   "side of the origin?")
        best = max(float(((scores > cut) == y).double().mean()) for cut in scores)
        probe.true(best < least, "offset", f"{text}. With your w and another b it would be "
                   f"{best:.2f}: is b trained, for long enough, and is the cut at 0?")
    probe.true(right >= least, code, f"{text}, chance is .5. Is it trained for long enough, on all "
               "of X?")


def look_at_probe(probe, train):
    def planted(n, d, shift, spread):
        w = F.normalize(probe.normal(d), dim=0)
        X, y = probe.normal(n, d, scale=spread), probe.ints(0, 2, n).bool()
        return X + spread * ((y.double() * 2 - 1)[:, None] * 1.6 + shift) * w, y

    for n, d, shift, spread in ((200, 3, 0.0, 1.0), (300, 6, 3.0, 0.5)):
        X, y = planted(2 * n, d, shift, spread)
        where = f"X ({n}, {d}), two clouds around {shift - 1.6:.1f} and {shift + 1.6:.1f} spreads"
        judge_probe(probe, *guesses(probe, train, X[:n], y[:n], X[n:], y[n:], where), 0.88, where,
                    "weak")


def ready():
    first_optimiser()
    with contextlib.suppress(Exception):                    # no data: the check itself says so
        glove()


@exercise("10.7", before=ready, hints=(
    "Two words, [0, 1] and [2, 1], one pair: g is [1, 0], and both words become [0, 1]. Print "
    "rest @ g of yours: is every number 0? Then train the probe on E itself, where it should find "
    "nearly all.",
    "The part of a word along g, if g has length 1, is a dot product times g. For the probe: which "
    "loss for a True or False? Is there a b, and does the loss still fall when you stop? 50 "
    "numbers and 500 words ask for a little weight decay or few steps.",
    "g = mean over the pairs of second less first, at length 1\n"
    "rest: from each word, its dot product with g, times g, is taken\n"
    "probe: start with w = 0 and b = 0; many times: score = X @ w + b,\n"
    "    loss = binary cross-entropy of score and y, plus a little of the square of w; one step\n"
    "(or the least squares that fit +1 and -1, with a column of ones for b)"))
def still_there(split, train, probe):
    look_at_directions(probe, split)
    look_at_probe(probe, train)
    E, pairs = glove()
    g, rest = right_split(E, pairs)
    along = E @ g
    along[pairs.flatten()] = 0                              # the pairs themselves do not count
    order = along.argsort()
    rows = torch.cat([order[:SIDE], order[-SIDE:]])
    y = torch.arange(2 * SIDE) >= SIDE
    order = torch.randperm(2 * SIDE, generator=probe.generator)
    rows, y = rows[order], y[order]
    for name, M, least in (("the words as they were", E, 0.97), ("what is left", rest, 0.65)):
        X, where = M[rows], f"GloVe, {name}"
        judge_probe(probe, *guesses(probe, train, X[:SIDE], y[:SIDE], X[SIDE:], y[SIDE:], where),
                    least, where, "underfit")
