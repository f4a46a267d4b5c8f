"""The check of lecture 06 for a block: skips, norms, mask, order, whatever its parts are called."""
import copy

import torch
import torch.nn.functional as F
from torch import nn

from .engine import exercise


def prepare(block, probe, d):
    """Random matrices, biases of 0, gains of 1: a zero-initialised block shows what it does too."""
    for p in block.parameters():
        if p.dim() > 1:
            p.data = probe.normal(*p.shape, scale=d ** -0.5)
        elif not is_gain(p):
            p.data.zero_()


def is_gain(p):
    return p.dim() == 1 and bool((p == 1).all())


def is_level(x):
    """Has each vector mean 0 and mean square 1?"""
    return bool(x.mean(-1).abs().max() < 1e-3 and (x.square().mean(-1) - 1).abs().max() < 1e-2)


def without(block, part, d):
    """A copy whose feed-forward ("feed-forward") or all other matrices ("attention") are 0."""
    block = copy.deepcopy(block)
    for p in block.parameters():
        if p.dim() > 1 and part in ("all", "feed-forward" if 4 * d in p.shape else "attention"):
            p.data.zero_()
    return block


def influence(probe, block, x, blocked):
    """(T, T) bool, True where row j of text 0 changes row i of it; and (T,) for text 1."""
    x = x.clone().requires_grad_()
    out = probe.call(block, x, blocked)
    probe.true(out.requires_grad, "detached", "no gradient leaves the block")
    rows = [torch.autograd.grad((out[0, i] * probe.normal(x.shape[-1])).sum(), x,
                                retain_graph=True)[0] for i in range(x.shape[1])]
    seen = torch.stack(rows).abs().amax(-1) > 1e-12         # (T, B, T)
    return seen[:, 0], seen[:, 1:].any()


def row(pattern, i):
    return pattern[i].nonzero().flatten().tolist()


def try_mask(probe, block, x, blocked, where):
    """Does row i depend on itself and on what it may look at, and on nothing else?"""
    T = x.shape[1]
    seen, others = influence(probe, block, x, blocked)
    eye, all_ = torch.eye(T, dtype=torch.bool), torch.ones(T, T, dtype=torch.bool)
    want = ~blocked | eye
    i = int((seen != want).any(1).int().argmax())           # the first row that differs
    text = (f"{where}: position {i} may look at {row(want, i)} and is influenced by "
            f"{row(seen, i)}")
    probe.true(not others, "batch", f"{where}: the texts of a batch influence each other (does "
               "nn.MultiheadAttention have batch_first=True?)")
    free = torch.zeros_like(blocked)
    probe.true(torch.equal(seen, want) or not torch.equal(seen, all_) or not torch.equal(
        probe.call(block, x, blocked), probe.call(block, x, free)), "no-mask",
        f"{text}: `blocked` changes nothing")
    for code, pattern, why in (
            ("inverted", blocked | eye, "True means blocked here, as in nn.MultiheadAttention; in "
             "F.scaled_dot_product_attention True means visible"),
            ("transposed", ~blocked.T | eye, "the mask is transposed: row i is the one that looks"),
            ("always-causal", all_.tril(), "a mask of its own: use the argument `blocked`"),
            ("no-attention", eye, "no position learns anything from another")):
        probe.true(torch.equal(seen, want) or not torch.equal(seen, pattern), code,
                   f"{text}: {why}")
    probe.true(not bool((seen & ~want).any()), "leak", f"{text}: is a blocked score -inf, and does "
               "every head keep the positions apart? `view` alone moves no number")
    probe.true(torch.equal(seen, want), "blind", f"{text}: does every head get every position?")


@exercise("06.4", hints=(
    "Set all weight matrices of your block to 0: both branches then give 0, and the block must "
    "return x itself. Does it return 0, or a normalised x?",
    "Two lines, each x = x + something. The norm stands inside the branch, before attention and "
    "before the feed-forward, never on the way that x takes. And read what True means in the mask "
    "of the attention you call.",
    "init: two norms, an attention with n_heads heads, a feed-forward d -> 4 d -> d with GELU\n"
    "forward: h = first norm of x; x becomes x plus attention of h to h, where not blocked\n"
    "    h = second norm of x; x becomes x plus feed-forward of h\n    return x"))
def block(answer, probe):
    probe.true(not isinstance(answer, nn.Module), "type", "pass the class Block, not a block")
    d, T = 12, 5
    made = probe.call(answer, d, 3)
    probe.type(made, nn.Module, "Block(12, 3) makes a torch.nn.Module")
    x, causal = probe.normal(2, T, d), torch.ones(T, T, dtype=torch.bool).triu(1)
    where = "x of shape (2, 5, 12), a causal `blocked`"
    out = probe.call(made, x, causal)
    probe.shape(out, x.shape, "shape", f"{where}: a block returns what is as large as x")
    probe.true(torch.equal(out, probe.call(made, x, causal)), "random", f"{where}: twice the same "
               "x, two results: no dropout here")
    probe.true(not bool(out.isnan().any()), "inverted", f"{where}: nan, as the last position sees "
               "nothing: True means blocked, while F.scaled_dot_product_attention takes True for "
               "visible")
    matrices = [p for p in made.parameters() if p.dim() > 1]
    wide, size = (sum(p.numel() for p in ps) for ps in
                  ([p for p in matrices if 4 * d in p.shape], matrices))
    probe.true(wide == 8 * d * d, "feed-forward", "the two matrices of the feed-forward, 12 -> 48 "
               f"-> 12, hold {8 * d * d} numbers, {wide} were found among the parameters")
    probe.true(size == 12 * d * d, "size", f"the matrices of a block with d_model = 12 hold 12 d^2 "
               f"= {12 * d * d} numbers (attention 4 d^2, feed-forward 8 d^2), came {size}. Layers "
               "in a plain list are not found: nn.ModuleList")
    prepare(made, probe, d)
    mask = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 1, 0, 0], [1, 0, 0, 1, 1], [0, 1, 1, 0, 0],
                         [1, 0, 0, 0, 0]]).bool()
    seen, _ = influence(probe, without(made, "attention", d), x, mask)
    probe.true(torch.equal(seen, seen & torch.eye(T).bool()), "mixes", "with the matrices of "
               "attention set to 0 no position may influence another: the feed-forward works on "
               "each alone")
    try_mask(probe, made, x, mask, f"blocked = {mask.int().tolist()}")
    try_mask(probe, made, x, causal, "a causal `blocked`, T = 5")
    try_mask(probe, made, probe.normal(3, 4, d), torch.zeros(4, 4, dtype=torch.bool),
             "nothing blocked, T = 4")
    try_identity(probe, made, x, causal)
    try_branches(probe, made, x, mask, d)
    try_scale(probe, answer)
    gains = sum(is_gain(p) and len(p) == d for p in made.parameters())
    probe.true(gains >= 2, "norms", "the norm before attention and that before the feed-forward "
               f"have their own gains, vectors of 12 ones; {gains} found")
    many, few = probe.call(answer, d, 6), probe.call(answer, d, 2)
    shapes = [[tuple(p.shape) for p in b.parameters()] for b in (many, few)]
    if shapes[0] == shapes[1]:
        prepare(few, probe, d)
        for p, q in zip(many.parameters(), few.parameters()):
            p.data = q.data.clone()
        probe.true(not torch.allclose(probe.call(many, x, mask), probe.call(few, x, mask)), "heads",
                   "the same weights with 2 and with 6 heads give the same: n_heads is not used")
    for d, h, shape in ((8, 1, (1, 1, 8)), (6, 2, (3, 7, 6))):
        other, T = probe.call(answer, d, h), shape[1]
        hide = torch.ones(T, T, dtype=torch.bool).triu(1)
        out = probe.call(other, probe.normal(*shape), hide)
        probe.shape(out, shape, "shape", f"d_model = {d}, n_heads = {h}, x of shape {shape}")
    deep, first = [probe.call(answer, 12, 3) for _ in range(24)], x.clone().requires_grad_()
    y = first
    for layer in deep:
        y = layer(y, causal)
    y[..., 0].sum().backward()
    norm = float(first.grad.norm())
    probe.true(1e-3 < norm < 1e4, "gradient", "the gradient that comes back through 24 new blocks "
               f"has the norm {norm:.2g}: between .001 and 10000 is healthy")


def try_identity(probe, made, x, blocked):
    """With all matrices 0 a block returns x."""
    out, d = probe.call(without(made, "all", x.shape[-1]), x, blocked), x.shape[-1]
    raw, level = probe.call(made, x, blocked), F.layer_norm(x, (d,))
    where = "all matrices set to 0, so both branches give 0 and x must come back"
    wrong = ("post-norm", "the last step is a norm of the sum: that is post-LN; the norm belongs "
             "inside the branch") if is_level(raw) else (
        "skip-after-norm", "the norm lies on the way that x takes: add the branch to x itself, not "
        "to the normalised x")
    probe.true(not torch.allclose(out, level, atol=1e-3), wrong[0], f"{where}: a normalised x came "
               f"back, as {wrong[1]}")
    probe.equal(out, x, "identity", where, known={
        "no-skip": (torch.zeros_like(x), f"{where}: the identity test returned 0: a skip is "
                    "missing, x = x + branch"),
        "double-skip": ([2 * x, 4 * x, 3 * x], f"{where}: x was added more than once")})


def try_branches(probe, made, x, blocked, d):
    """A norm before each branch, attention before feed-forward, an activation between."""
    def attend(y):
        return probe.call(without(made, "feed-forward", d), y, blocked)

    def feed(y):
        return probe.call(without(made, "attention", d), y, blocked)

    for name, half in (("attention", attend), ("feed-forward", feed)):
        a, b = 100 * x, 500 * x + 300                       # large: eps does not matter
        one, two = half(a) - a, half(b) - b
        probe.true(one.abs().max() > 1e-6, "unused", f"the {name} changes nothing")
        probe.true(not is_level(one), "branch-norm", f"what the {name} adds is normalised: the "
                   "norm belongs before it, and none after it")
        probe.true(torch.allclose(one, two, atol=1e-5), "no-norm", f"what the {name} adds must not "
                   "change when x becomes 5 x + 3: its norm is missing, or is no layer norm")
    linear, plain = 0, feed(x) - x
    for i, p in enumerate(made.parameters()):               # act(x A) B is linear in B alone
        if p.dim() > 1 and 4 * d in p.shape:
            other = without(made, "attention", d)
            list(other.parameters())[i].data.mul_(-2)
            linear += torch.allclose(probe.call(other, x, blocked) - x, -2 * plain, atol=1e-9)
    probe.true(linear < 2, "no-activation", "two matrices of the feed-forward without an "
               "activation between them are one matrix")
    probe.true(linear > 0, "activation-last", "an activation comes after the second matrix of the "
               "feed-forward: it belongs between the two")
    out = probe.call(made, x, blocked)
    probe.equal(out, feed(attend(x)), "composition", "attention first, then the feed-forward on "
                "its result", known={
                    "order": (attend(feed(x)), "the feed-forward comes before the attention"),
                    "parallel": (attend(x) + feed(x) - x, "both branches read the same x: the "
                                 "feed-forward must read what attention has added to")})


def try_scale(probe, answer, d=128, h=8, B=8, T=64):
    """How even are the weights? With scores of spread 1 an average of T values has e / T of their
    square; with scores not scaled nearly all, with scores scaled down too far 1 / T."""
    made, x = probe.call(answer, d, h), probe.normal(B, T, d)
    prepare(made, probe, d)
    made = without(made, "feed-forward", d)
    alone, rows = torch.zeros(1, 1, dtype=torch.bool), x.view(B * T, 1, d)
    with torch.no_grad():
        average = probe.call(made, x, torch.zeros(T, T, dtype=torch.bool)) - x
        share = float(average.square().mean() / (probe.call(made, rows, alone) - rows)
                      .square().mean()) * T
    where = f"d_model = {d}, n_heads = {h}"
    probe.true(share < 5, "no-scale", f"{where}: the weights are far too uneven: are the scores "
               "divided by the root of the length of a head's key?")
    probe.true(share > 1.7, "scale", f"{where}: the weights are nearly equal: scores are divided "
               "by the root of d_model / n_heads = 16, by nothing larger")
