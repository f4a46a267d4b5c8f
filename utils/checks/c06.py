"""The checks of lecture 06, first part: layer norm, positions from waves, the loss of a model."""
import itertools
import math

import torch
import torch.nn.functional as F

from . import (  # noqa: F401  the others
    c06_block,
    c06_bpe,
    c06_cache,
    c06_cross,
    c06_generate,
    c06_training,
)
from .engine import exercise


def real(rows):
    return torch.tensor(rows, dtype=torch.float64)


def wrong_norms(x, g, b, eps, where):
    """{code: (result of a well-known mistake, what it is)} for x (..., C)."""
    C = x.shape[-1]
    away = x - x.mean(-1, keepdim=True)
    var = away.square().mean(-1, keepdim=True)
    h = away / (var + eps).sqrt()                           # right, before gain and bias
    size = x.square().mean(-1, keepdim=True)
    others = [dims for n in range(1, x.dim() + 1) for dims in itertools.combinations(
        range(x.dim()), n) if dims != (x.dim() - 1,)]

    def over(dims):
        mean = x.mean(dims, keepdim=True)
        return (x - mean) / ((x - mean).square().mean(dims, keepdim=True) + eps).sqrt() * g + b

    table = {
        "no-gain": ([h, h + b], "the gain g is missing"),
        "no-bias": (h * g, "the bias b is missing"),
        "swapped": (h * b + g, "g and b are exchanged: g multiplies, b is added"),
        "order": ((h + b) * g, "b is added before g multiplies: it comes last"),
        "unbiased": (away / (var * C / (C - 1) + eps).sqrt() * g + b, "the variance is divided by "
                     "C - 1: here it is the plain mean of the C squares"),
        "no-mean": (x / (size + eps).sqrt() * g + b, "the mean is not subtracted"),
        "mean-inside": (x / (var + eps).sqrt() * g + b, "the mean is missing in the numerator"),
        "no-root": (away / (var + eps) * g + b, "divided by the variance: take its root"),
        "no-division": (away * g + b, "the mean is gone, but nothing is divided by the spread"),
        "eps-outside": (away / (var.sqrt() + eps) * g + b, "eps is added outside the root: it "
                        "belongs to the variance"),
        "eps-fixed": ([away / (var + e).sqrt() * g + b for e in (0, 1e-5, 1e-6, 1e-8)],
                      "this is the result of another eps than the argument"),
        "length": (away / (var * C + eps).sqrt() * g + b, "the squares are summed: take their "
                   "mean"),
        "everything": ([over(dims) for dims in others if x.dim() - 1 in dims], "one mean for "
                       "several vectors: each vector along the last dimension has its own"),
        "batch": ([over(dims) for dims in others if x.dim() - 1 not in dims], "the mean runs "
                  "over other vectors, and not over the C numbers of one (batch norm)")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("06.1", hints=(
    "With g = 1 and b = 0 each vector comes out with mean 0 and mean square 1. [[1, 2, 6], "
    "[0, 4, 8]] has two rows: what are the means of yours, row by row?",
    "Five places: which dimension the mean runs over, the mean of the squares (over C, not C - 1), "
    "eps under the root, then g, then b. Keep the reduced dimension with size 1.",
    "away = x minus its mean along the last dimension\n"
    "spread = mean of the squares of away, along the same dimension\n"
    "result: away over the root of (spread plus eps), times g, plus b"))
def layer_norm(answer, probe):
    rows = [[1, 2, 6], [0, 4, 8]]
    x, one, zero = real(rows), probe.ones(3), probe.zeros(3)
    out = probe.call(answer, x, one, zero, 1e-5)
    probe.shape(out, (2, 3), "shape", "the result is as large as x")

    def compare(x, g, b, eps, code, where, tol=1e-6):
        known = wrong_norms(x, g, b, eps, where) if x.shape[-1] > 1 else {}
        probe.equal(probe.call(answer, x, g, b, eps), F.layer_norm(x, x.shape[-1:], g, b, eps),
                    code, where, tol, known)

    compare(x, one, zero, 1e-9, "value", f"x = {rows}, g = 1, b = 0, eps = 1e-9")
    compare(x[:1], real([1, 10, 100]), real([2, 3, 4]), 1e-9, "value",
            "x = [[1, 2, 6]], g = [1, 10, 100], b = [2, 3, 4]")
    compare(x[:1], one, zero, 6.0, "eps", "x = [[1, 2, 6]], g = 1, b = 0, eps = 6")
    compare(probe.ones(1, 3) * 5, one, real([2, 3, 4]), 1e-5, "constant", "x = [[5, 5, 5]], whose "
            "spread is 0, b = [2, 3, 4]")
    compare(1e-3 * x[:1], one, zero, 1e-9, "small", "x = [[.001, .002, .006]], eps = 1e-9: a small "
            "spread is raised to the same size")
    for shape in ((2, 5, 3), (4, 2, 6), (7,), (3, 2, 5, 4), (1, 2), (3, 1)):
        g, b = probe.normal(shape[-1]), probe.normal(shape[-1])
        compare(probe.normal(*shape), g, b, 0.1, "sizes", f"x of shape {shape}, eps = 0.1")
    compare(x + 1e8, one, zero, 1e-5, "cancellation", f"x = {rows} + 100000000: a number added to "
            "all changes nothing. Subtract the mean before you square, and stay in float64", 1e-4)
    x, g, b = probe.normal(2, 4, 5).requires_grad_(), probe.normal(5), probe.normal(5)
    g.requires_grad_(), b.requires_grad_()
    probe.gradients(probe.call(answer, x, g, b, 1e-3), F.layer_norm(x, (5,), g, b, 1e-3),
                    {"x": x, "g": g, "b": b})


def waves(T, d, power=lambda i, d: 2 * (i // 2) / d, base=1e4, first=0, unit=1.0, odd=torch.cos,
          even=torch.sin):
    """Sinusoidal positions (T, d), with the mistakes that the options select."""
    place = torch.arange(first, first + T).double()[:, None] * unit
    i = torch.arange(d)
    angle = place / base ** power(i, d).double()            # (T, d)
    return torch.where(i % 2 == 0, even(angle), odd(angle))


def wrong_waves(T, d, where):
    """{code: (table of a well-known mistake, what it is)}."""
    def halves(table):
        return torch.cat([table[:, 0::2], table[:, 1::2]], 1)
    right, pairs = waves(T, d), d // 2
    table = {
        "halves": (halves(right), "all sines come first, then all cosines: column 2i is a sine and "
                   "column 2i + 1 the cosine of the same angle"),
        "swapped": (waves(T, d, odd=torch.sin, even=torch.cos), "sine and cosine are exchanged: "
                    "even columns are sines"),
        "only-sine": (waves(T, d, odd=torch.sin), "all columns are sines: odd ones are cosines"),
        "degrees": ([waves(T, d, unit=u) for u in (math.pi / 180, 180 / math.pi)], "the angles "
                    "are taken in degrees: sin and cos of torch take radians"),
        "turns": (waves(T, d, unit=math.tau), "the angle is multiplied by 2 pi: position 1 has "
                  "the angle 1 in its first pair"),
        "exponent": ([waves(T, d, lambda i, d: i // 2 / d), waves(T, d, lambda i, d: i / d)],
                     "the exponent is not that of the pair: columns 2i and 2i + 1 share 2i / d"),
        "column": (waves(T, d, lambda i, d: 2 * i / d), "the exponent counts columns where it "
                   "should count pairs: column 2 is pair i = 1"),
        "stretched": ([waves(T, d, lambda i, d: i // 2 / max(pairs - 1, 1)),
                       waves(T, d, lambda i, d: (i // 2 + 1) / pairs)], "the exponents run over "
                      "another range: for i = 0, 1, ... they are 0, 2 / d, 4 / d, ..."),
        "grows": (waves(T, d, lambda i, d: -2 * (i // 2) / d), "the angle is multiplied by the "
                  "power, so later pairs turn faster: divide"),
        "base": ([waves(T, d, base=base) for base in (100, 1000, 1e5, 1e6, math.e, 2)],
                 "the base is not 10000"),
        "from-one": (waves(T, d, first=1), "positions are counted from 1: the first is 0"),
        "one-wave": (waves(T, d, lambda i, d: 0 * i), "all pairs turn equally fast")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("06.2", hints=(
    "sinusoidal(2, 4): row 0 is [0, 1, 0, 1], and row 1 begins with sin 1 = .84, cos 1 = .54. "
    "Then come sin and cos of .01. What is your row 1?",
    "Columns 2i and 2i + 1 are sine and cosine of one angle, so (cos, sin) turns by the same angle "
    "at every step. Print the angles as a (T, d/2) table: which power divides pair i?",
    "for each position p and each pair i = 0 .. d/2 - 1:\n"
    "    angle = p over 10000 to the power 2i / d\n"
    "    column 2i holds its sine, column 2i + 1 its cosine"))
def sinusoidal(answer, probe):
    for T, d in ((2, 4), (1, 4), (7, 10), (50, 6), (3, 2), (5, 64)):
        out, where = probe.call(answer, T, d), f"T = {T}, d = {d}"
        probe.type(out, torch.Tensor)
        probe.true(tuple(out.shape) != (d, T) or T == d, "transposed", f"{where}: the table is "
                   "transposed: a row is a position")
        probe.shape(out, (T, d), "shape", f"{where}: a row for each position")
        probe.true(out.is_floating_point(), "type", f"{where}: expected floats, came {out.dtype}")
        out, right = out.double(), waves(T, d)              # float32 is precise enough here
        known = wrong_waves(T, d, where)
        probe.finite(out, "value", where)
        code, why = "value", where
        if not torch.allclose(out[0], right[0], atol=1e-4):
            code, why = "row-0", f"{where}: at position 0 all angles are 0"
        elif out.abs().max() > 1 + 1e-6:
            code, why = "range", f"{where}: sines and cosines lie between -1 and 1"
        elif T > 3:
            for i in range(0, d, 2):
                now, then = out[:-1, i:i + 2], out[1:, i:i + 2]
                turn = torch.linalg.lstsq(now, then, driver="gelsd").solution
                if (now @ turn - then).abs().max() > 1e-3:
                    code, why = "rotation", (
                        f"{where}: no single 2 x 2 matrix takes columns {i} and {i + 1} of every "
                        "position to those of the next: are they sine and cosine of one angle "
                        "that grows evenly?")
        probe.equal(out, right, code, why, 1e-4, known if T > 1 else None)


def loss_of(logits, targets, counts):
    """Mean cross-entropy in nats over the positions where counts is True."""
    return F.cross_entropy(logits[counts], targets[counts])


def wrong_losses(logits, ids, pad, where):
    """{code: (loss of a well-known mistake, what it is)}."""
    B, T, V = logits.shape
    guess, target = logits[:, :-1], ids[:, 1:]
    real, all_ = target != pad, torch.ones_like(target, dtype=torch.bool)
    each = F.cross_entropy(guess.transpose(1, 2), target, reduction="none")     # (B, T - 1)
    right = each[real].mean()
    flat = ids.flatten()[1:]
    table = {
        "no-shift": ([loss_of(logits, ids, ids != pad), loss_of(logits, ids, ids >= 0)],
                     "logits at position t are compared with the id at t: they predict t + 1"),
        "backwards": ([loss_of(logits[:, 1:], ids[:, :-1], ids[:, :-1] != pad),
                       loss_of(logits[:, 1:], ids[:, :-1], all_)], "shifted the wrong way: "
                      "logits at position t predict the id at t + 1, not at t - 1"),
        "wraps": ([loss_of(logits, ids.roll(-1, 1), ids.roll(-1, 1) != pad),
                   loss_of(logits, ids.roll(-1, 1), ids >= 0)], "roll brings the first id back as "
                  "the target of the last position, which has none"),
        "crosses": ([loss_of(logits.flatten(0, 1)[:-1], flat, flat != pad),
                     loss_of(logits.flatten(0, 1)[:-1], flat, flat >= 0)], "the last position of a "
                    "text predicts the first id of the next text: shift each text on its own"),
        "pads": (each.mean(), "padding counts as a target: leave out where the target is pad"),
        "divides-all": ([(each * real).sum() / n for n in (B * T, each.numel())], "the sum is "
                        "right, but divided by all positions: divide by those that count"),
        "pad-input": (loss_of(guess, target, ids[:, :-1] != pad), "left out is where the input is "
                      "pad: what matters is the target"),
        "mean-of-means": (torch.stack([e[r].mean() for e, r in zip(each, real)]).nanmean(),
                          "each text got its own mean first: then tokens of short texts weigh "
                          "more"),
        "sum": (each[real].sum(), "this is the sum over positions: take the mean"),
        "sum-of-texts": ((each * real).sum() / B, "summed over a text: take the mean over tokens"),
        "bits": (right / math.log(2), "these are bits, from a logarithm to base 2: use nats"),
        "perplexity": (right.exp(), "this is the perplexity, e to the loss"),
        "sign": (-right, "the sign is wrong: a loss is minus a log-probability"),
        "softmax-twice": ([loss_of(guess.softmax(-1), target, real),
                           loss_of(guess.softmax(-1), target, all_)], "a softmax before "
                          "cross_entropy, which takes logits and has its own"),
        "no-softmax": (F.nll_loss(guess[real], target[real]), "the logits are taken as "
                       "log-probabilities: a log-softmax must come first"),
        "probability": ([s * guess[real].softmax(-1).gather(-1, target[real][:, None]).mean()
                         for s in (1, -1)], "the mean of probabilities: take logarithms first")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("06.6", hints=(
    "All logits 0, V = 3: the loss is ln 3. A model that puts all on the id it has just read must "
    "lose; one that puts all on the NEXT id scores 0. Which of the two scores 0 with you?",
    "Which position has no target, and which id is nobody's target? And when a text is shorter "
    "than T: where in the shifted ids are its pads, and by how many tokens do you divide?",
    "guesses = logits of all positions but the last\n"
    "targets = ids of all positions but the first, text by text\n"
    "keep the pairs whose target is not pad, over the whole batch\n"
    "result: mean of minus the log-softmax of each guess at its target"))
def lm_loss(answer, probe):
    def loss(logits, ids, pad):
        out = probe.call(answer, logits, ids, pad)
        probe.shape(out, (), "shape", "one number for the whole batch, a tensor of shape ()")
        return out

    small = torch.tensor([[1, 2]])
    logits, where = probe.zeros(1, 2, 3), "ids = [[1, 2]], pad = 0, logits of 0 for V = 3"
    probe.equal(loss(logits, small, 0).detach(), real(math.log(3)), "uniform", f"{where}: a blind "
                "guess costs ln 3", known=wrong_losses(logits, small, 0, where))
    ids = torch.tensor([[3, 1, 4, 2, 1], [2, 4, 1, 0, 0]])  # the second text ends with pads
    texts = "ids = [[3, 1, 4, 2, 1], [2, 4, 1, 0, 0]], pad = 0, V = 5"
    sure = {"now": ids, "next": ids.roll(-1, 1), "before": ids.roll(1, 1)}
    sure = {name: 50 * F.one_hot(seen, 5).double() for name, seen in sure.items()}
    found = {name: float(loss(logits, ids, 0).detach()) for name, logits in sure.items()}
    probe.true(found["now"] > 1, "no-shift", f"{texts}: a model that copies its input scored "
               f"{found['now']:.3g}: its logits at position t must be compared with the id at "
               "t + 1")
    probe.true(found["before"] > 1, "backwards", f"{texts}: a model that repeats the id before its "
               f"input scored {found['before']:.3g}: shifted the wrong way")
    probe.equal(found["next"], 0.0, "oracle", f"{texts}: a model that knows the next id loses "
                "nothing", 1e-6, {code: ([float(v) for v in values] if isinstance(values, list)
                                         else float(values), why) for code, (values, why) in
                                  wrong_losses(sure["next"], ids, 0, texts).items()})
    for B, T, V, pad in ((2, 5, 5, 0), (3, 6, 7, 6), (3, 4, 9, 2), (1, 3, 4, 0), (4, 2, 6, 1)):
        ids = probe.ints(0, V - 1, B, T)
        ids = ids + (ids >= pad)                            # every id but pad
        ends = torch.tensor([T, T - 2, 2, T])[:B]           # how long each text is
        ids = torch.where(torch.arange(T) < ends.clamp(min=2)[:, None], ids, pad)
        ids[0, 1] = 0 if pad else ids[0, 1]                 # an id that pads elsewhere
        logits, where = probe.normal(B, T, V), f"ids of shape ({B}, {T}), pad = {pad}, V = {V}"
        want = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=pad)
        known = wrong_losses(logits, ids, pad, where)
        if pad:
            zero = loss_of(logits[:, :-1], ids[:, 1:], ids[:, 1:] != 0)
            known["pad-fixed"] = zero, f"{where}: id 0 is left out, but pad is an argument"
        probe.equal(loss(logits, ids, pad).detach(), want, "value", where, known=known)
    ids = torch.tensor([[3, 1, 4, 2, 1, 3], [2, 4, 1, 0, 0, 0]])
    logits = probe.normal(2, 6, 5).requires_grad_()
    right = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0)
    out = loss(logits, ids, 0)
    if out.requires_grad:
        grad = torch.autograd.grad(out, logits, retain_graph=True, allow_unused=True)[0]
        probe.true(grad is None or bool((grad[:, -1] == 0).all() and (grad[1, 2:] == 0).all()),
                   "pad-gradient", "a position without a target gets a gradient")
    probe.gradients(out[None], right[None], {"logits": logits})
    big = 1e4 * probe.normal(2, 6, 5)
    want = F.cross_entropy(big[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0)
    probe.equal(loss(big, ids, 0), want, "overflow", "logits around 10000: use a log-softmax that "
                "subtracts the largest, not the log of a softmax")
