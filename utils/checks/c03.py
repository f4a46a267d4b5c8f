"""The checks of lecture 03, first half: windows, the split by person, how sure a share is."""
import math

import torch

from . import c03_layers  # noqa: F401  registers 03.3, 03.4, 03.5 and 03.7
from .engine import exercise


def cut(x, size, stride):
    """All whole windows of x (C, T): (N, C, size), N is 0 if none fits."""
    if x.shape[1] < size:
        return x.new_zeros(0, x.shape[0], size)
    return x.unfold(1, size, stride).transpose(0, 1)


def numbered(first, T):
    """A recording (2, T) whose samples carry their number, in channel 1 with a minus."""
    number = torch.arange(first, first + T).double()
    return torch.stack([number, -number])


@exercise("03.1", hints=(
    "Ten samples hold three windows of 4 at stride 3: they begin at 0, 3 and 6. How many do you "
    "get? And from 3 samples?",
    "The last window may begin at T - size, and must if the stride leads there. None wraps around "
    "to the beginning, and a rest that fills no window is left.",
    "for each start 0, stride, 2 * stride, ... up to and including T - size:\n"
    "    the samples start .. start + size - 1 of every channel\n"
    "stack them: (N, C, size)"))
def make_windows(answer, probe):
    x = numbered(0, 10)
    out = probe.call(answer, x, 4, 3)
    probe.type(out, torch.Tensor, "stack the windows to one tensor (N, C, size)")
    where = "10 samples, size 4, stride 3"
    probe.true(tuple(out.shape) != (2, 2, 4) or out[1, 0, 0] == 3, "stride", f"{where}: the second "
               f"window begins at {float(out.flatten()[8 % max(1, out.numel())]):.0f}, not at 3")
    for wrong, shape, why in (("off-by-one", (2, 2, 4), "a window from 6 to 9 fits too"),
                              ("too-many", (4, 2, 4), "samples 9 to 12 do not exist"),
                              ("axes", (2, 3, 4), "windows first: (N, C, size)"),
                              ("axes", (3, 4, 2), "channels before time: (N, C, size)"),
                              ("stride", (7, 2, 4), "this many windows come at stride 1")):
        probe.true(tuple(out.shape) != shape, wrong, f"{where}: shape {shape} came; {why}")
    probe.shape(out, (3, 2, 4), "count", f"{where}: windows begin at 0, 3 and 6")
    probe.equal(out, cut(x, 4, 3), "value", f"{where}: sample t carries the number t", known={
        "mixed": (cut(x, 4, 3).transpose(1, 2).reshape(3, 2, 4), f"{where}: right numbers in the "
                  "wrong places: view mixes channels and time, transpose does not")})
    for T, size, stride in ((8, 4, 4), (4, 4, 1), (9, 4, 4), (7, 2, 5), (20, 3, 1), (13, 5, 2)):
        x, where = numbered(0, T), f"{T} samples, size {size}, stride {stride}"
        want, out = cut(x, size, stride), probe.call(answer, x, size, stride)
        probe.type(out, torch.Tensor)
        last = T - size - (T - size) % stride
        if out.shape[0] < len(want):
            probe.fail("off-by-one", f"{where}: expected {len(want)} windows, the last begins at "
                                     f"{last}; came {out.shape[0]}")
        if out.shape[0] > len(want):
            probe.fail("too-many", f"{where}: expected {len(want)} windows, the last begins at "
                                   f"{last}; came {out.shape[0]}: does one wrap or get padded?")
        probe.equal(out, want, "value", where)
    x = probe.normal(3, 11)
    probe.equal(probe.call(answer, x, 4, 2), cut(x, 4, 2), "value", "x of shape (3, 11)")
    out = probe.call(answer, numbered(0, 3), 4, 1)
    probe.shape(out, (0, 2, 4), "short", "3 samples hold no window of 4, and that is no error: N "
                "is 0")


def overlap(train, test):
    """Share of the test windows (N, 2, size) of numbered samples that share one with train."""
    met = torch.isin(test[:, 0], train[:, 0]).any(-1)
    return float(met.double().mean()) if len(test) else 0.0


@exercise("03.2", hints=(
    "Person 1 has samples 0 to 11, person 2 has 12 to 19. If person 2 is the test, no number below "
    "12 may come in a test window. Does one?",
    "First decide for each recording which part it goes to, then cut it. A window never begins in "
    "one recording and ends in another.",
    "for each (person, x) in recs:\n"
    "    its windows, as in 03.1\n"
    "    go to test if the person is among people, else to train\n"
    "each part: all its windows in one tensor (N, C, size), N may be 0"))
def split_then_window(answer, probe):
    lengths, who = (12, 9, 16, 3, 11, 10), (1, 2, 1, 3, 3, 2)
    firsts = [sum(lengths[:i]) for i in range(len(lengths))]
    recs = [(p, numbered(first, T)) for p, first, T in zip(who, firsts, lengths)]
    for people, size, stride in (({2}, 4, 2), ({1, 3}, 4, 2), ({3}, 5, 1), ([1], 4, 4),
                                 ({1, 2, 3}, 4, 2), (set(), 4, 2)):
        given = [rec for rec in recs if rec[1].shape[1] >= size]    # short ones: at the end
        one_split(answer, probe, given, people, size, stride)
    try:
        out = probe.call(answer, recs, {3}, 4, 2)
    except Exception as error:
        if getattr(error, "args", ("",))[0] == "crash":
            probe.fail("short", "a recording of 3 samples holds no window of 4: skip it. Your "
                                "function crashed on it")
        raise
    train, test = two_parts(probe, out)
    want = parts(recs, {3}, 4, 2)
    probe.true(len(test) == len(want[1]) and len(train) == len(want[0]), "short", "a recording of "
               f"3 samples holds no window of 4: expected {len(want[0])} and {len(want[1])} "
               f"windows, came {len(train)} and {len(test)}")


def parts(recs, people, size, stride):
    """Training and test windows as they should be."""
    found = [[cut(x, size, stride) for p, x in recs if (p in people) == test]
             for test in (False, True)]
    return [torch.cat([torch.zeros(0, 2, size).double(), *windows]) for windows in found]


def two_parts(probe, out):
    probe.type(out, (tuple, list), "return train, test")
    probe.true(len(out) == 2, "type", f"return two tensors, train and test; came {len(out)}")
    for part in out:
        probe.type(part, torch.Tensor, "each part is one tensor (N, C, size)")
    return out


def one_split(answer, probe, recs, people, size, stride):
    """Call with these people as the test, and find the first rule that broke."""
    where = f"test people {sorted(people)}, size {size}, stride {stride}"
    train, test = two_parts(probe, probe.call(answer, recs, people, size, stride))
    want = parts(recs, people, size, stride)
    for name, part in (("train", train), ("test", test)):
        probe.true(part.dim() == 3 and tuple(part.shape[1:]) == (2, size), "shape", f"{where}: "
                   f"{name} must have shape (N, 2, {size}), came {tuple(part.shape)}")
    if len(train) and len(test):
        shared = overlap(train, test)
        probe.true(shared == 0, "leak", f"{where}: {shared:.0%} of the test windows share samples "
                   "with a training window. Split people first, then cut")
    home = {int(t): (p, i) for i, (p, x) in enumerate(recs) for t in x[0]}
    rows = [part[:, 0].long().tolist() for part in (train, test)]
    in_train, in_test = ({home.get(t, (0,))[0] for row in part for t in row} for part in rows)
    others = {p for p, _ in recs} - set(people)
    probe.true(not in_test <= others or not in_train <= set(people) or not in_test | in_train,
               "swapped", f"{where}: train and test are exchanged, or `people` are taken for those "
               "to learn from")
    probe.true(not in_test & in_train, "person", f"{where}: person "
               f"{sorted(in_test & in_train)} is in both parts. No sample is shared, but a model "
               "that met this person in training is tested on an acquaintance")
    probe.true(in_test <= set(people) and in_train <= others, "person",
               f"{where}: test holds people {sorted(in_test)}, train {sorted(in_train)}")
    for name, part, windows, right in zip(("train", "test"), (train, test), rows, want):
        for row in windows:
            probe.true(len({home.get(t) for t in row}) == 1, "crosses", f"{where}: a window of "
                       f"{name} holds samples {row}: it begins in one recording and ends in "
                       "another")
        probe.true(len(part) == len(right), "count", f"{where}: {name} must hold {len(right)} "
                   f"windows, came {len(part)}")
        probe.equal(part[part[:, 0, 0].argsort()], right[right[:, 0, 0].argsort()], "value",
                    f"{where}: windows of {name}, sample t carries the number t")


def interval(k, n, z=1.959964):
    p, q = k / n, z * z / n
    half = z * math.sqrt(p * (1 - p) / n + q / (4 * n))
    return (p + q / 2 - half) / (1 + q), (p + q / 2 + half) / (1 + q)


def wrong_intervals(k, n):
    """{code: (a (2,) tensor or several, what it is)}."""
    z, p = 1.959964, k / n
    wald = z * math.sqrt(p * (1 - p) / n)
    center, more = (k + z * z / 2) / (n + z * z), n + z * z
    agresti = z * math.sqrt(center * (1 - center) / more)
    low, high = interval(k, n)
    pairs = {
        "wald": ([(p - wald, p + wald), (max(0, p - wald), min(1, p + wald))],
                 "this is p plus and minus 1.96 standard errors: its width is 0 when all are "
                 "right, as if so few cases proved perfection"),
        "agresti": ([(center - agresti, center + agresti),
                     (max(0, center - agresti), min(1, center + agresti))],
                    "this is the interval of Agresti and Coull, a simplification: it can leave 0 "
                    "to 1"),
        "level": ([interval(k, n, other) for other in (1.0, 1.644854, 2.575829, 3.0, 1.9)],
                  "this is another level: 95 % on two sides needs z = 1.96"),
        "not-divided": ([((low * (1 + z * z / n)), high * (1 + z * z / n))],
                        "centre and width must both be divided by 1 + z^2 / n"),
        "center": ([(p - (high - low) / 2, p + (high - low) / 2)],
                   "the width is Wilson's, the centre is not: it moves from p towards one half"),
        "percent": ([(100 * low, 100 * high)], "shares from 0 to 1, not per cent"),
        "order": ([(high, low)], "the lower end comes first")}
    return {code: ([torch.tensor(pair).double() for pair in found], why)
            for code, (found, why) in pairs.items()}


@exercise("03.6", hints=(
    "40 right of 40: the lower end is .912 and the upper 1. An interval of width 0 there would "
    "claim that the next 1,000 must all be right.",
    "The centre is not k/n: it moves towards one half, the more the smaller n. Both centre and "
    "half-width are divided by the same 1 + z^2 / n.",
    "p = k / n; q = z^2 / n with z = 1.96\n"
    "centre = (p + q / 2) / (1 + q)\n"
    "half = z / (1 + q) times the root of: p (1 - p) / n + q / (4 n)\n"
    "result = centre - half, centre + half"))
def wilson(answer, probe):
    for k, n in ((40, 40), (0, 40), (3, 7), (1, 1), (0, 1), (20, 40), (897, 1000), (999, 1000),
                 (1, 12), (5, 9)):
        out = probe.call(answer, k, n)
        probe.type(out, (tuple, list), "return lo, hi")
        probe.true(len(out) == 2, "type", f"return two numbers, lo and hi; came {len(out)}")
        low, high = (float(v) if isinstance(v, torch.Tensor) and v.numel() == 1 else v for v in out)
        for value in (low, high):
            probe.type(value, (float, int), "two numbers")
        where = f"{k} right of {n}"
        got, want = torch.tensor([low, high]).double(), torch.tensor(interval(k, n)).double()
        known = {code: (values, f"{where}: {why}")
                 for code, (values, why) in wrong_intervals(k, n).items()}
        if not torch.allclose(got, want, atol=1e-4, rtol=0):
            probe.equal(got, want, "value", where, tol=1e-4, known=known)
        probe.true(-1e-9 <= low <= high <= 1 + 1e-9, "outside", f"{where}: a share lies between 0 "
                   f"and 1, came {low:.4f} to {high:.4f}")
        probe.true(low - 1e-9 <= k / n <= high + 1e-9, "contains", f"{where}: the interval "
                   f"{low:.4f} to {high:.4f} does not contain {k / n:.4f}")
