"""The check of lecture 06 for cross-attention: a text that looks at another."""
import math

import torch
import torch.nn.functional as F

from .engine import exercise

inf = math.inf


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
        "scale-late": (cross(*given, *weights, scale=1) / math.sqrt(d), "scaled after the softmax, "
                       "so shares sum to less than 1: scale the scores"),
        "swapped": (cross(*given, Wk, Wq, Wv), "Wq and Wk are exchanged"),
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
    x, memory = torch.ones(1, 3, 3).tril().double(), torch.tensor([[[2.0, 0, 0], [0, 1, 0]]])
    for mask, name in ((hide, "blocked = [[False, True]]"), (one, "nothing blocked")):
        compare(probe, answer, (x, memory.double(), mask, eye, eye, eye), "value", "x = [[[1, 0, 0]"
                ", [1, 1, 0], [1, 1, 1]]], memory = [[[2, 0, 0], [0, 1, 0]]], all W = torch.eye(3)"
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
