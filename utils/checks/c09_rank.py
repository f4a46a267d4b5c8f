"""The checks of lecture 09 for low rank: the floor under rank r, and a budget of bits."""
import math

import torch

from .engine import exercise
from .probe import number, shown


def squares(delta):
    """Squared singular values, largest first."""
    return torch.linalg.svdvals(delta).square()


def floor(delta, r):
    return float(squares(delta)[r:].sum())


def wrong_floors(delta, r, where):
    """{code: (result of a well-known mistake, what it is)}."""
    q, right = squares(delta), floor(delta, r)
    total, n = float(q.sum()), len(q)
    best = torch.linalg.svd(delta, full_matrices=False)
    kept = best[0][:, :r] * best[1][:r] @ best[2][:r]
    side = torch.linalg.eigvals(delta).abs().sort(descending=True)[0] if (
        delta.shape[0] == delta.shape[1]) else q.sqrt()
    table = {
        "kept": (float(q[:r].sum()), "this is what the first r hold: the floor is what is lost"),
        "root": (math.sqrt(right), "this is the root: the sum of the squares is asked for"),
        "not-squared": (float(q[r:].sqrt().sum()), "the singular values are summed without "
                        "squaring them"),
        "one-early": (float(q[max(r - 1, 0):].sum()), "the value number r is counted as lost: a "
                      "matrix of rank r keeps r of them"),
        "one-late": (float(q[r + 1:].sum()), "one value too few is counted: r + 1 are kept"),
        "next-only": (float(q[r]) if r < n else 0.0, "this is the square of the next value alone"),
        "next-value": (float(q[r].sqrt()) if r < n else 0.0, "this is the next value alone, the "
                       "error in the largest direction: the sum over all entries is asked for"),
        "reversed": (float(q.flip(0)[r:].sum()), "the smallest values are kept: keep the largest"),
        "relative": ([right / total, math.sqrt(right / total), 1 - right / total] if total else [],
                     "this is a share of the whole: the sum itself is asked for"),
        "mean": ([right / delta.numel(), right / max(n - r, 1), right / n], "this is a mean: the "
                 "sum of the squared differences is asked for"),
        "fourth": (float(q[r:].square().sum()), "squared twice: the eigenvalues of the product "
                   "with the transpose are squares already"),
        "eigenvalues": (float(side[r:].square().sum()), "these are eigenvalues, whose squares do "
                        "not add up to the squared entries: take singular values"),
        "absolute": (float((delta - kept).abs().sum()), "the differences are summed without "
                     "squaring them"),
        "corner": ([float(delta[r:].square().sum()), float(delta[:, r:].square().sum())], "the "
                   "first r rows or columns are kept: a better matrix of rank r mixes all"),
        "everything": (total, "this is the sum of all squares, as if nothing were kept")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("09.6", hints=(
    "A diagonal matrix with 4, 2 and 1: the best matrix of rank 1 keeps the 4. Which entries "
    "differ then, and what is the sum of their squares?",
    "torch.linalg.svdvals gives the singular values, largest first, of any shape of matrix. How "
    "many does a matrix of rank r keep? What is lost is squared and summed.",
    "values = the singular values of delta, from large to small\n"
    "lost = all after the first r\nthe sum of their squares, as a plain number"))
def rank_floor(answer, probe):
    def compare(delta, r, code, where):
        where = f"{where}, r = {r}"
        out = probe.call(answer, delta, r)
        probe.type(out, (float, int, torch.Tensor), "the sum is one number")
        probe.true(not isinstance(out, torch.Tensor) or out.numel() == 1 and not out.is_complex(),
                   "type", f"{where}: the sum is one real number, came {shown(out)}")
        value = float(out)
        probe.equal(value, floor(delta, r), "nan" if value != value else code, where, 1e-9,
                    wrong_floors(delta, r, where) if code == "value" else {})
        return value

    diagonal = torch.diag(torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64))
    for r in (2, 1, 0, 3):
        compare(diagonal, r, "value", "delta = diagonal 4, 2, 1")
    compare(torch.tensor([[3.0, 1.0], [1.0, 3.0]], dtype=torch.float64), 1, "value",
            "delta = [[3, 1], [1, 3]]")
    compare(torch.diag(torch.tensor([1.0, -5.0, 3.0], dtype=torch.float64)), 1, "value",
            "delta = diagonal 1, -5, 3")
    for d_out, d_in in ((6, 4), (3, 8), (5, 5), (1, 7), (9, 1)):
        delta = probe.normal(d_out, d_in)
        for r in range(min(d_out, d_in) + 1):
            compare(delta, r, "value", f"delta ({d_out}, {d_in})")
    planted = probe.normal(12, 3) @ probe.normal(3, 10)
    for r in (2, 3, 4):
        compare(planted, r, "planted", "delta (12, 10) = (12, 3) @ (3, 10), of rank 3")
    compare(1e-4 * probe.normal(8, 6), 2, "small", "delta (8, 6), entries near .0001, as "
            "fine-tuning makes them")
    delta, r = probe.normal(7, 6), 2
    out = compare(delta, r, "value", "delta (7, 6)")
    for _ in range(200):                                    # no matrix of rank 2 comes nearer
        B = probe.normal(7, r)
        A = torch.linalg.lstsq(B, delta).solution           # the best A for this B
        lost = float((delta - B @ A).square().sum())
        probe.true(out <= lost + 1e-9, "too-high", f"delta (7, 6), r = 2: a product B A misses it "
                   f"by {lost:.4g} only, below your floor of {out:.4g}")


def nf4_levels():
    """The 16 levels of NF4: Dettmers et al. 2023 (arXiv:2305.14314), section 3 and appendix."""
    p = 1 - (1 / 32 + 1 / 30) / 2
    high, low = (torch.special.ndtri(torch.linspace(0.5, p, n, dtype=torch.float64))
                 for n in (9, 8))
    return torch.cat([-low.flip(0), high[1:]]) / high[-1]


def uniform_levels(n=7):
    return torch.arange(-n, n + 1, dtype=torch.float64) / n


def nearest(w, levels, block):
    """(codes, s): each weight over the largest |w| of its block becomes the nearest level."""
    rows = w.reshape(-1, block)
    s = rows.abs().amax(1, keepdim=True).clamp(min=1e-12)
    return ((rows / s)[..., None] - levels).abs().argmin(-1), s


def half(t):
    return t.detach().to(torch.float16).double()


def bits_of(parts, n):
    """Bits for each of n weights: codes as short as they can be, all other numbers in 16 bits."""
    levels, codes, *others = parts
    kept = sum(t.numel() for t in (levels, *others))
    return (math.ceil(math.log2(max(len(levels), 2))) * codes.numel() + 16 * kept) / n


def unpack(parts, shape):
    levels, codes, s, A, B = parts
    return (half(levels)[codes.long()] * half(s)).reshape(shape) + half(B) @ half(A)


def lost(parts, w):
    """Squared error over the sum of squares of w."""
    return float((unpack(parts, w.shape) - w).square().sum() / w.square().sum())


def plain(w, bits):
    """Error of the best that 15 even levels, a scale a block and no A, B reach within a budget."""
    none = w.new_zeros(0, w.shape[1]), w.new_zeros(w.shape[0], 0)
    levels, found = uniform_levels(), []
    for block in (b for b in range(2, w.numel() + 1) if w.numel() % b == 0):
        parts = levels, *nearest(w, levels, block), *none
        if bits_of(parts, w.numel()) <= bits:
            found.append(lost(parts, w))
    return min(found)


def matrices(probe):
    """(name, w, bits, the share of the plain error to reach)."""
    def directed(d_out, d_in, *strong):
        left, right = (torch.linalg.qr(probe.normal(d, len(strong)))[0] for d in (d_out, d_in))
        return probe.normal(d_out, d_in, scale=0.04) + left * torch.tensor(strong) @ right.T
    return (("normal numbers", probe.normal(96, 128, scale=0.04), 4.6, 0.9),
            ("three strong directions", directed(96, 128, 6.0, 5.0, 4.0), 5.1, 0.5),
            ("one strong direction", directed(64, 60, 4.0), 5.2, 0.6),
            ("two strong directions", directed(96, 80, 5.0, 5.0), 5.1, 0.5))


@exercise("09.8", hints=(
    "Levels first: are there 16, from -1 to 1, with a 0, denser near 0 than far out? Then the "
    "budget: what do scales cost with a block of 64, and what does a pair A, B of rank 1 cost?",
    "A few strong directions make every block's largest |w| large, and its steps wide. What if A "
    "and B take them out before anything is rounded? Which block and which rank fit the budget "
    "best? Nothing forbids trying them all.",
    "levels: torch.special.ndtri of 9 even steps from .5 to p, of 8 for the other sign\n"
    "for each rank, from 0 on: B A = the best of that rank; rest = w minus it\n"
    "    for each block: s = largest |rest|; codes = nearest level; bits and error of this\n"
    "return what has the smallest error among those within the budget"))
def pack(nf4, answer, probe):
    levels = probe.call(nf4)
    try_levels(probe, levels)
    for name, w, bits, share in matrices(probe):
        where, n = f"w {tuple(w.shape)} with {name}, {bits} bits a weight", w.numel()
        out = probe.call(answer, w, bits)
        probe.type(out, (tuple, list), "return levels, codes, s, A, B")
        probe.true(len(out) == 5, "type", f"return five tensors: levels, codes, s, A, B; came "
                   f"{len(out)}")
        for part, t in zip(("levels", "codes", "s", "A", "B"), out):
            probe.type(t, torch.Tensor, f"{part} is a tensor")
            probe.true(type(t) in (torch.Tensor, torch.nn.Parameter) and t.layout == torch.strided
                       and not t.is_complex(), "type", f"{where}: {part} is a plain tensor of real "
                       f"numbers, came {type(t).__name__}, {t.layout}, {t.dtype}")
        levels, codes, s, A, B = out
        probe.true(levels.dim() == 1 and len(levels) > 0, "shape", f"{where}: levels is a row of "
                   f"numbers, came {shown(levels)}")
        probe.true(codes.dim() == 2 and codes.numel() == n, "shape", f"{where}: codes has a row "
                   f"for each block, {n} in all, came {shown(codes)}")
        probe.true(not codes.is_floating_point(), "type", f"{where}: "
                   "codes are whole numbers of an integer type")
        probe.true(0 <= int(codes.min()) and int(codes.max()) < len(levels), "codes", f"{where}: a "
                   f"code says which level, 0 to {len(levels) - 1}, came {int(codes.min())} to "
                   f"{int(codes.max())}")
        probe.shape(s, (len(codes), 1), "shape", f"{where}: s has one scale for each row of codes")
        r = A.shape[0] if A.dim() == 2 else 0
        probe.shape(A, (r, w.shape[1]), "shape", f"{where}: A is (r, d_in), with r = 0 if unused")
        probe.shape(B, (w.shape[0], r), "shape", f"{where}: B is (d_out, r)")
        used = bits_of(out, n)
        probe.true(used <= bits + 1e-9, "budget", f"{where}: {used:.3f} bits are used: "
                   f"{math.ceil(math.log2(max(len(levels), 2)))} for each code, 16 for each of the "
                   f"{len(levels)} levels, {s.numel()} scales and {A.numel() + B.numel()} numbers "
                   "of A and B")
        e, base = lost(out, w), plain(w, bits)
        text = (f"{where}: the error is {number(e)} of the sum of squares; even levels without A "
                f"and B reach {number(base)} in the same memory")
        probe.true(e < 0.3, "broken", f"{text}. Does levels[codes] times s, plus B A, give back w?")
        probe.true(e < base * 1.02, "worse", f"{text}")
        probe.true(e <= share * base, "levels" if name == "normal numbers" else "directions",
                   f"{text}. Below {share:g} of that is possible: " + (
                       "where do most of the weights lie, and where do your levels?"
                       if name == "normal numbers" else
                       "what makes the scale of every block so large?"))


def try_levels(probe, levels):
    right = nf4_levels()
    probe.type(levels, torch.Tensor, "nf4_levels returns a tensor")
    probe.shape(levels, (16,), "nf4-count", "nf4_levels: 4 bits name 16 levels")
    levels = levels.detach().double()
    gaps = levels.sort()[0].diff()
    probe.true(bool((levels == 0).any()), "nf4-zero", "nf4_levels: one level must be exactly 0, so "
               "that a weight of 0 stays 0")
    probe.true(bool((levels.diff() > 0).all()), "nf4-order", "nf4_levels: from the smallest to the "
               "largest, all different")
    probe.true(abs(float(levels.abs().max()) - 1) < 1e-6, "nf4-scale", "nf4_levels: divided by the "
               f"largest, so that they end at 1, came {number(float(levels.abs().max()))}")
    probe.true(float(gaps.max() / gaps.min()) > 1.5, "nf4-even", "nf4_levels: these lie evenly: "
               "quantiles of the normal distribution are denser near 0")
    probe.equal(levels, right, "nf4-value", "nf4_levels", 1e-5, {
        "nf4-sides": (-right.flip(0), "nf4_levels: 8 levels lie above 0 and 7 below")})
