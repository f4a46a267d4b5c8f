"""The checks of lecture 06, second part: a block, and attention to another text."""
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from .engine import exercise

inf = math.inf


def prepare(block, probe):
    """Random matrices, biases of 0, gains of 1: a zero-initialised block shows what it does too."""
    for p in block.parameters():
        if p.dim() > 1:
            p.data = probe.normal(*p.shape, scale=p.shape[-1] ** -0.5)
        elif not is_gain(p):
            p.data.zero_()


def is_gain(p):
    return p.dim() == 1 and bool((p == 1).all())


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
    prepare(made, probe)
    mask = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 1, 0, 0], [1, 0, 0, 1, 1], [0, 1, 1, 0, 0],
                         [1, 0, 0, 0, 0]]).bool()
    seen, _ = influence(probe, without(made, "attention", d), x, mask)
    probe.true(not bool((seen & ~torch.eye(T, dtype=torch.bool)).any()), "mixes", "with the matrices of "
               "attention set to 0 no position may influence another: the feed-forward works on "
               "each alone")
    try_mask(probe, made, x, mask, f"blocked = {mask.int().tolist()}")
    try_mask(probe, made, x, causal, "a causal `blocked`, T = 5")
    try_mask(probe, made, probe.normal(3, 4, d), torch.zeros(4, 4, dtype=torch.bool),
             "nothing blocked, T = 4")
    try_identity(probe, made, x, causal)
    try_branches(probe, made, x, mask, d)
    gains = sum(is_gain(p) and len(p) == d for p in made.parameters())
    probe.true(gains >= 2, "norms", "the norm before attention and that before the feed-forward "
               f"have their own gains, vectors of 12 ones; {gains} found")
    many, few = probe.call(answer, d, 6), probe.call(answer, d, 2)
    shapes = [[tuple(p.shape) for p in b.parameters()] for b in (many, few)]
    if shapes[0] == shapes[1]:
        prepare(few, probe)
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
    flat = raw.mean(-1).abs().max() < 1e-3 and (raw.square().mean(-1) - 1).abs().max() < 1e-2
    wrong = ("post-norm", "the last step is a norm of the sum: that is post-LN; the norm belongs "
             "inside the branch") if flat else (
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
        probe.true(torch.allclose(one, two, atol=1e-5), "no-norm", f"what the {name} adds must not "
                   "change when x becomes 5 x + 3: its norm is missing, or is no layer norm")
    waves = torch.stack([(torch.arange(d) * k * math.tau / d).cos() for k in (1, 2)]).double()
    u, v = math.sqrt(2) * waves[:, None, None]              # (1, 1, d): mean 0, mean square 1
    one = torch.zeros(1, 1, dtype=torch.bool)
    parts = [probe.call(without(made, "attention", d), y, one) - y
             for y in (u, v, (u + v) / math.sqrt(2))]
    probe.true(not torch.allclose(parts[2], (parts[0] + parts[1]) / math.sqrt(2), atol=1e-3),
               "no-activation", "the feed-forward is linear: two matrices without an activation "
               "between them are one matrix")
    out = probe.call(made, x, blocked)
    probe.equal(out, feed(attend(x)), "composition", "attention first, then the feed-forward on "
                "its result", known={
                    "order": (attend(feed(x)), "the feed-forward comes before the attention"),
                    "parallel": (attend(x) + feed(x) - x, "both branches read the same x: the "
                                 "feed-forward must read what attention has added to")})


def cross(x, memory, blocked, Wq, Wk, Wv, hide=None, scale=None):
    """Cross-attention with a chosen way to hide and to scale."""
    S = (x @ Wq) @ (memory @ Wk).mT / (math.sqrt(Wq.shape[1]) if scale is None else scale)
    mask = blocked[:, None].expand_as(S)
    return (S.masked_fill(mask, -inf).softmax(-1) if hide is None else hide(S, mask)) @ (
        memory @ Wv)


def wrong_cross(x, memory, blocked, Wq, Wk, Wv, where):
    """{code: (result of a well-known mistake, what it is)}."""
    given, weights = (x, memory, blocked), (Wq, Wk, Wv)
    C, d, S = x.shape[-1], Wq.shape[1], memory.shape[1]
    free = torch.zeros_like(blocked)
    later = torch.ones(x.shape[1], S, dtype=torch.bool).triu(1)

    def hidden(fill):
        return cross(*given, *weights, hide=lambda s, m: fill(s, m).softmax(-1))
    table = {
        "no-mask": (cross(x, memory, free, *weights), "`blocked` is not used: padding of the "
                    "memory gets a share"),
        "inverted": (cross(x, memory, ~blocked, *weights), "the mask is inverted: True means "
                     "blocked"),
        "mask-after": (cross(*given, *weights, hide=lambda s, m: s.softmax(-1) * ~m), "the mask "
                       "comes after the softmax: shares no longer sum to 1"),
        "zero-mask": ([hidden(lambda s, m: s * ~m), cross(x, memory * ~blocked[..., None], free,
                                                          *weights)], "padding is set to 0, and a "
                      "score of 0 still gets a share: only -inf hides"),
        "soft-mask": ([hidden(lambda s, m: s - m.double()), hidden(lambda s, m: s.masked_fill(
            m, -1))], "a score of -1 still gets a share: only -inf hides"),
        "causal": (hidden(lambda s, m: s.masked_fill(m | later, -inf)), "a causal mask: the memory "
                   "is finished, and every position may read all of it"),
        "no-scale": (cross(*given, *weights, scale=1), "scores are not divided by the root of d"),
        "scale": ([cross(*given, *weights, scale=s) for s in (d, *(math.sqrt(n) for n in (
            C, S, Wv.shape[1], x.shape[1])))], "scores are divided by something else than the "
                  "root of the length of a query"),
        "axis": ([cross(*given, *weights, hide=lambda s, m: s.masked_fill(m, -1e30).softmax(-2)),
                  cross(*given, *weights, hide=lambda s, m: s.softmax(-2) * ~m)], "the softmax "
                 "runs over the queries: each query shares out its attention among the memory"),
        "no-softmax": (cross(*given, *weights, hide=lambda s, m: s.masked_fill(m, 0)), "these are "
                       "scores: the softmax is missing"),
        "average": (cross(x * 0, memory, blocked, *weights), "the plain average of the memory, "
                    "whatever the query"),
        "self": (F.scaled_dot_product_attention(x @ Wq, x @ Wk, x @ Wv), "this is the text's "
                 "attention to itself: keys and values come from the memory")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("06.5", hints=(
    "The result has a row for each position of x, T of them, not S. One query and a memory of two "
    "equal rows, the second blocked: all its attention goes to the first. Does it?",
    "Who asks, and who answers? Print the shapes of Q, K, V and of the scores: (B, T, S). Then "
    "give `blocked` (B, S) a dimension, so that it lies along the last one of the scores.",
    "queries from x, keys and values from memory\n"
    "score[b, t, s] = query t . key s of text b, over the root of the length of a query\n"
    "score = minus infinity for all t where s of text b is blocked\n"
    "softmax along s; averages of the values"))
def cross_attention(answer, probe):
    one, eye = torch.zeros(1, 2, dtype=torch.bool), torch.eye(3).double()
    hide = torch.tensor([[False, True]])
    x, memory = torch.ones(1, 3, 3).tril().double(), torch.tensor([[[1.0, 0, 0], [0, 2, 0]]])
    for mask, name in ((hide, "blocked = [[False, True]]"), (one, "nothing blocked")):
        compare(probe, answer, (x, memory.double(), mask, eye, eye, eye), "value", "x = [[[1, 0, 0]"
                ", [1, 1, 0], [1, 1, 1]]], memory = [[[1, 0, 0], [0, 2, 0]]], all W = torch.eye(3)"
                f", {name}")
    for B, T, S, C, d, d_v in ((2, 3, 4, 6, 5, 7), (3, 5, 2, 4, 3, 8), (1, 1, 6, 3, 2, 4),
                               (4, 4, 5, 6, 3, 2), (2, 6, 3, 5, 4, 4)):
        x, memory = probe.normal(B, T, C), probe.normal(B, S, C)
        W = [probe.normal(C, n, scale=C ** -0.5) for n in (d, d, d_v)]
        ends = 1 + probe.ints(0, S, B)                      # how long each text of the memory is
        ends[0] = max(S - 1, 1)
        blocked = torch.arange(S) >= ends[:, None]
        compare(probe, answer, (x, memory, blocked, *W), "value",
                f"x ({B}, {T}, {C}), memory ({B}, {S}, {C}), d = {d}, d_v = {d_v}, lengths "
                f"{ends.tolist()}")
    x, memory = probe.normal(2, 3, 6), probe.normal(2, 5, 6)
    W = [probe.normal(6, n, scale=0.4) for n in (4, 4, 7)]
    blocked = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 1, 0, 0]]).bool()
    want = compare(probe, answer, (x, memory, blocked, *W), "gaps", "padding in the middle")
    order = torch.tensor([3, 0, 4, 1, 2])
    probe.equal(probe.call(answer, x, memory[:, order], blocked[:, order], *W), want, "order",
                "memory and its mask in another order must change nothing")
    moved = x.clone()
    moved[:, 1] += 5
    probe.equal(probe.call(answer, moved, memory, blocked, *W)[:, [0, 2]], want[:, [0, 2]], "rows",
                "position 1 of x changed, and so did the results of others")
    big = 1e4 * x, memory, blocked, *W
    soft = [cross(*big, hide=lambda s, m, way=way, v=v: (
        s.masked_fill(m, -v) if way else s - v * m).softmax(-1))
        for way in (0, 1) for v in (10, 50, 100, 500, 1e3, 1e4)]
    probe.equal(probe.call(answer, *big), cross(*big), "overflow", "scores around 10000: a safe "
                "softmax subtracts the largest of a row", known={
                    "soft-mask": (soft, "scores around 10000, and padding gets a share: only a "
                                  "score of -inf hides at any scale")})
    loud = memory + 1e4 * memory.sign() * blocked[..., None]
    probe.equal(probe.call(answer, x, loud, blocked, *W), want, "soft-mask", "padding with numbers "
                "around 10000 gets a share: only a score of -inf hides at any scale")
    names = ("x", "memory", "Wq", "Wk", "Wv")
    inputs = dict(zip(names, (t.clone().requires_grad_() for t in (x, memory, *W))))
    given = [inputs["x"], inputs["memory"], blocked, *[inputs[n] for n in names[2:]]]
    probe.gradients(probe.call(answer, *given), cross(*given), inputs)


def compare(probe, answer, given, code, where):
    """One call against cross(): returns what is right."""
    x, memory, _, Wq, Wk, Wv = given
    out, want = probe.call(answer, *given), cross(*given)
    probe.type(out, torch.Tensor, "return the averages alone")
    asked = F.scaled_dot_product_attention(memory @ Wq, x @ Wk, x @ Wv)
    probe.true(out.shape != asked.shape or out.shape == want.shape, "from-memory", f"{where}: a "
               f"row for each of the {memory.shape[1]} positions of the memory: the queries come "
               f"from x, which has {x.shape[1]}")
    probe.shape(out, want.shape, "shape", f"{where}: a row for each position of x, as long as a "
                "value")
    probe.equal(out, want, code, where, known=wrong_cross(*given, where))
    return want
