"""The checks of lecture 09 for memory: counting bytes, and rounding weights to few bits."""
import torch

from .engine import exercise
from .probe import number, numbers

PARTS = ("weights", "adapter", "grads", "master", "adam")
LLAMA = 6_738_415_616                                     # parameters of LLaMA 7B


def memory(N, weights, grads, master, adam, adapter=0):
    """GB of each part, and "total"."""
    n = adapter or N
    parts = dict(zip(PARTS, (N * weights, 4 * adapter, n * grads, n * master, n * adam)))
    return {name: b / 1e9 for name, b in (parts | {"total": sum(parts.values())}).items()}


def wrong_memories(args, name, right, where):
    """{code: (value of one key by a well-known mistake, what it is)}."""
    N, weights, grads, master, adam, n = args
    each = dict(zip(PARTS, (weights, 4, grads, master, adam)))
    total, b = right["total"], right[name]
    table = {
        "bytes": (b * 1e9, "these are bytes: divide by 10^9"),
        "gib": (b * 1e9 / 2 ** 30, "divided by 2^30, which gives GiB: one GB is 10^9 bytes"),
        "mb": (b * 1e3, "these are MB: a GB is 10^9 bytes"),
        "bits": (b / 8, "divided by 8: the arguments are bytes, not bits")}
    if n and name in ("grads", "master", "adam"):
        table |= {"grads-of-all": (N * each[name] / 1e9, "the base is frozen: only the numbers of "
                                   "the adapter are trained and need it"),
                  "both": ((N + n) * each[name] / 1e9, "counted for the frozen base too: only the "
                           "adapter is trained")}
    if n and name == "weights":
        table |= {"weights-of-adapter": (n * weights / 1e9, "the base has to be in memory too, "
                                         "although it is not trained"),
                  "added": ([(N + n) * weights / 1e9, (N * weights + 4 * n) / 1e9], "the numbers "
                            "of the adapter have a key of their own"),
                  "subtracted": ((N - n) * weights / 1e9, "the adapter comes beside the base: the "
                                 "base stays whole")}
    if name == "adapter":
        table |= {"adapter-free": (0.0, "the numbers of the adapter need memory too, 4 bytes each"),
                  "adapter-size": ([n * k / 1e9 for k in (1, 2, 8, weights, weights + 4)],
                                   "the numbers of the adapter are kept in 4 bytes each")}
    if name == "adam":
        table |= {"adam-twice": (2 * b, "`adam` counts both moments already")}
    if name == "total":
        table |= {f"total-{part}": (total - right[part], f"the sum leaves out \"{part}\"")
                  for part in PARTS if right[part]}
        table |= {"total-twice": (2 * total, "the sum counts itself"),
                  "largest": (max(right[part] for part in PARTS), "this is the largest part, not "
                              "the sum")}
    table["rounded"] = [int(b), *(round(b, k) for k in range(4))], "it is rounded: keep all digits"
    return {code: (values, f"{where}, \"{name}\": {why}") for code, (values, why) in table.items()}


@exercise("09.4", hints=(
    "One parameter in 4 bytes: how many bytes? A billion of them: how many GB? Then train one of "
    "a billion: for how many numbers is a gradient kept, and how many are in memory?",
    "Which parts grow with N, and which with the number of trained numbers? That number is N when "
    "adapter is 0. All arguments after N and before adapter are bytes for one number.",
    "trained = adapter if there is one, else N\n"
    "bytes: weights for each of N; 4 for each of the adapter; grads, master, adam for each "
    "trained\ntotal: the sum of the five; all over a billion"))
def memory_gb(answer, probe):
    for args in ((1e9, 4, 0, 0, 0), (LLAMA, 4, 0, 0, 0), (LLAMA, 2, 0, 0, 0),
                 (LLAMA, 0.5, 0, 0, 0), (1e9, 2, 3, 5, 9), (LLAMA, 2, 2, 4, 8),
                 (1e9, 2, 3, 5, 9, 2e8), (LLAMA, 0.5, 4, 0, 8, 4e7), (135e6, 4, 4, 0, 8, 460800),
                 (7e9, 1, 2, 4, 8, 7e9), (10 ** 9, 2, 4, 0, 8, 1)):
        args = tuple(int(v) if v == int(v) else v for v in args)
        names = ("N", "weights", "grads", "master", "adam", "adapter")
        where = ", ".join(f"{k} = {v:,}" for k, v in zip(names, args))
        out, right = probe.call(answer, *args), memory(*args)
        probe.type(out, dict, "return a dict, with a key for each part and \"total\"")
        missing, more = [k for k in right if k not in out], [k for k in out if k not in right]
        probe.true(not missing, "keys", f"{where}: the dict has no key {missing}; its keys are "
                   f"{list(out)}")
        probe.true(not more, "keys", f"{where}: the dict has keys {more} that nobody asked for")
        args = (*args, 0)[:6]
        for name in (*PARTS, "total"):
            value = out[name]
            probe.type(value, (float, int, torch.Tensor), f"\"{name}\" is a number of GB")
            probe.equal(value, right[name], name, f"{where}, \"{name}\": {say(args, name)}", 1e-9,
                        wrong_memories(args, name, right, where))


def say(args, name):
    """What a part holds, in words."""
    if name == "total":
        return "it must be the sum of the five other parts"
    each = dict(zip(PARTS, (args[1], 4, *args[2:5])))[name]
    kind = ("weights of the base" if name == "weights" else "numbers of the adapter"
            if name == "adapter" else "numbers that are trained")
    return f"{number(each)} bytes for each of the {kind}"


def top(bits):
    return 2 ** (bits - 1) - 1


def quantized(w, bits, block):
    """(q, s) with one scale a block: the largest |w| over the largest whole number."""
    rows = w.reshape(-1, block)
    s = rows.abs().amax(1, keepdim=True) / top(bits)
    s = torch.where(s == 0, 1, s)
    return (rows / s).round().to(torch.int8), s


def wrong_scales(w, bits, block, where):
    rows = w.reshape(-1, block)
    large, n = rows.abs().amax(1, keepdim=True), top(bits)

    def per(value):
        return value.expand(len(rows), 1)
    table = {
        "one-scale": (per(w.abs().max() / n), "one scale for the whole tensor: each block has its "
                      "own, so that one large weight spoils its own block alone"),
        "not-divided": (large, f"the largest |w| of a block is to become {n}: divide by that"),
        "inverse": (n / large, "this is 1 / s: the weight is about q times s"),
        "no-abs": (rows.amax(1, keepdim=True) / n, "the largest w, not the largest |w|: a "
                   "negative weight may be larger"),
        "levels": ([large / v for v in (n + 1, 2 ** bits - 1, 2 ** bits, n + 0.5)],
                   f"with {bits} bits, whole numbers run from -{n} to {n}: the largest |w| "
                   f"becomes {n}"),
        "range": ([(rows.amax(1, keepdim=True) - rows.amin(1, keepdim=True)) / v
                   for v in (2 ** bits - 1, 2 * n, n)], "largest minus smallest: the whole numbers "
                  "lie evenly around 0 here, so take the largest |w|"),
        "spread": ([rows.std(1, correction=0, keepdim=True), rows.square().mean(1, keepdim=True)
                    .sqrt()], "this is a spread: take the largest |w|"),
        "mean": (rows.abs().mean(1, keepdim=True) / n, "this is the mean of |w|: take the largest"),
        "bits": ([large / top(b) for b in range(2, 9) if b != bits], "this is the scale of another "
                 "number of bits")}
    if w.dim() == 2:
        other = w.T.reshape(-1, block).abs().amax(1, keepdim=True) / n
        table["order"] = other, "blocks run along the columns: cut w in reading order, row by row"
    return {code: (values, f"{where}, s: {why}") for code, (values, why) in table.items()}


@exercise("09.5", hints=(
    "w = [1., -7., .4, 3.], 4 bits, one block: 15 whole numbers, -7 to 7. Which scale makes -7 of "
    "the largest |w|? Which whole number is .4 nearest to, and how far is it from it, in s?",
    "Where are the blocks: w cut in reading order. What is largest: |w| of each block, not of all. "
    "How is it rounded: to the nearest, not towards 0. And a block of zeros: 0 / 0 is nan.",
    "rows = w with one block a row\nlargest whole number = 2^(bits - 1) - 1\n"
    "s of a row: its largest |w| over that number; 1 where this is 0\n"
    "q: rows over s, to the nearest whole number, as integers"))
def quantize(answer, probe):
    def attempt(w, bits, block, where):
        out = probe.call(answer, w, bits, block)
        probe.type(out, (tuple, list), "return q, s")
        probe.true(len(out) == 2, "type", f"return two tensors, q and s; came {len(out)}")
        q, s = out
        n = w.numel() // block
        for name, t in (("q", q), ("s", s)):
            probe.type(t, torch.Tensor, f"{name} is a tensor")
        probe.true(not (q.is_floating_point() and not s.is_floating_point()), "swapped",
                   "the whole numbers come first: return q, s")
        probe.shape(q, (n, block), "shape", f"{where}: q has a row for each block")
        probe.shape(s, (n, 1), "shape", f"{where}: s has one number for each block, as a column "
                    "that stretches over q")
        probe.true(not q.is_floating_point(), "float", f"{where}: q came as {q.dtype}: whole "
                   "numbers need an integer type such as torch.int8, else nothing is saved")
        probe.true(s.is_floating_point(), "type", f"{where}: s came as {s.dtype}")
        probe.true(bool(s.isfinite().all()), "zero-block", f"{where}: s is not finite, "
                   f"came {numbers(s)}")
        return q, s

    def compare(w, bits, block, where):
        q, s = attempt(w, bits, block, where)
        right, scale = quantized(w, bits, block)
        used = right.bool().any(1, keepdim=True)            # of a block of zeros any s will do
        probe.equal(torch.where(used, s.double(), 1), torch.where(used, scale, 1), "scale",
                    f"{where}, s", known=wrong_scales(w, bits, block, where))
        exact, n = w.reshape(-1, block) / scale, top(bits)
        probe.equal(q.double(), right.double(), "rounding", f"{where}, q: the nearest whole "
                    "number to w / s", known={
                        "truncated": (exact.trunc(), f"{where}, q: rounded towards 0: take the "
                                      "nearest whole number"),
                        "floor": ([exact.floor(), exact.ceil()], f"{where}, q: always rounded "
                                  "down, or up: take the nearest whole number"),
                        "unsigned": ([right.double() + n, right.double() + n + 1,
                                      right.double() % 256], f"{where}, q: shifted to start at 0 "
                                     "or wrapped: whole numbers keep their sign here"),
                        "magnitude": (right.double().abs(), f"{where}, q: the sign is lost"),
                        "clipped": ([right.double().clamp(0, n), right.double().clamp(-n, 0)],
                                    f"{where}, q: one sign is cut off")})
        worst = ((q * s).reshape(w.shape) - w).abs().reshape(-1, block).amax(1, keepdim=True) / s
        probe.true(float(worst.max()) <= 0.5 + 1e-9, "error", f"{where}: |w - q s| is at most s / "
                   f"2, came {float(worst.max()):.3g} s")
        return q, s

    def real(*values):
        return torch.tensor(values, dtype=torch.float64)

    compare(real(1, -7, 0.4, 3), 4, 4, "w = [1, -7, .4, 3], bits = 4, block = 4")
    compare(real(1, 100, -0.6, 0.2, 0.3, -1), 4, 2, "w = [1, 100, -.6, .2, .3, -1], bits = 4, "
            "block = 2")
    q, s = attempt(real(0, 0, 0, 1), 4, 2, "w = [0, 0, 0, 1], block = 2")
    probe.true(not bool(q[0].any()) and float(s[0]) > 0, "zero-block", "w = [0, 0, 0, 1], block = "
               "2: the block of zeros must become q = 0 with s = 1, came q = "
               f"{q[0].tolist()}, s = {number(s[0])}. 0 / 0 is nan, and what that is as a whole "
               "number differs from machine to machine")
    for w, bits, block in ((probe.normal(6, 4), 4, 8), (probe.normal(4, 6), 8, 4),
                           (probe.normal(2, 3, 5), 3, 5), (probe.normal(7), 5, 1),
                           (probe.normal(9, 2), 6, 18), (1e-6 * probe.normal(24), 7, 6),
                           (probe.normal(30) ** 3, 2, 10)):
        where = f"w {tuple(w.shape)}, bits = {bits}, block = {block}"
        q, s = compare(w, bits, block, where)
        again, s_2 = compare((q * s).reshape(w.shape), bits, block, f"{where}, rounded once more")
        probe.true(torch.equal(again, q), "idempotent", f"{where}: weights that are rounded "
                   "already changed when rounded again")
    w, errors = probe.normal(40, 16), []
    for bits in range(2, 9):
        q, s = compare(w, bits, 32, f"w (40, 16), bits = {bits}, block = 32")
        errors.append(float(((q * s).reshape(w.shape) - w).square().mean()))
        probe.true(len(errors) < 2 or errors[-1] < errors[-2], "bits", f"{bits} bits leave a "
                   "larger error than one bit less")
