"""The checks of lecture 05, first half: softmax, attention, the causal mask, several heads."""
import math

import torch
import torch.nn.functional as F

from . import c05_beyond  # noqa: F401  registers 05.5 to 05.8
from .engine import exercise

DECK = [1.3, 5.1, 2.2, 0.7, 1.1]
inf = math.inf


def real(rows):
    return torch.tensor(rows, dtype=torch.float64)


@exercise("05.1", hints=(
    "Shares add up to 1 along `dim`. Do they for [[1., 2., 3.], [4., 5., 6.]] with dim=0, and with "
    "dim=1? And softmax of [1000., 1001.] is that of [0., 1.]: what do you get?",
    "Two steps look along `dim` alone: the sum you divide by and the largest value you subtract. "
    "Both lose that dimension unless you keep it with size 1.",
    "top = largest of x along dim, dimension kept\n"
    "power = e to the (x minus top)\n"
    "result = power divided by its own sum along dim, dimension kept"))
def softmax(answer, probe):
    x = real(DECK)
    out = probe.call(answer, x, 0)
    probe.shape(out, (5,), "shape", "five scores give five shares")
    right, rounded = x.softmax(0), (x.softmax(0) * 100).round() / 100
    probe.equal(out, right, "value", f"softmax of {DECK}", known={
        "no-division": (x.exp(), "these are the powers of e: divide them by their sum"),
        "no-power": (x / x.sum(), "you divided the scores themselves: raise e to each first"),
        "log": (right.log(), "this is the logarithm of the softmax"),
        "base": ((x * math.log(2)).softmax(0), "these are powers of 2: the base is e"),
        "sign": ((-x).softmax(0), "the sign is wrong: the largest score gets the smallest share"),
        "sigmoid": (x.sigmoid(), "a sigmoid looks at one score alone: shares depend on all"),
        "hard": (probe.one_hot(1, 5), "the largest score takes all here: that is argmax"),
        "rounded": (rounded, "rounded: return all digits, and round when you print")})
    x = real([[1, 2, 3], [4, 5, 6]])
    for dim in (0, 1, -1):
        where = f"x = [[1, 2, 3], [4, 5, 6]], dim={dim}"
        probe.equal(probe.call(answer, x, dim), x.softmax(dim), "dim",
                    f"{where}: each slice along dim has its own sum", known={
                        "everything": (x.flatten().softmax(0).view(2, 3), f"{where}: you divided "
                                       "by the sum of all powers: sum along dim alone"),
                        "dim": (x.softmax(1 if dim == 0 else 0), f"{where}: the shares add up to 1 "
                                "along the other dimension")})
    x = probe.normal(2, 3, 4)
    for dim in (0, 1, 2):
        probe.equal(probe.call(answer, x, dim), x.softmax(dim), "dim",
                    f"x of shape (2, 3, 4), dim={dim}")
    for big in ([1e4, 1e4 - 1], [-1e4, -1e4 - 1], [1e4, 0.0, 0.0, 0.0]):
        x = real(big)
        probe.equal(probe.call(answer, x, 0), x.softmax(0), "overflow",
                    f"softmax of {big}: e to the 10000 is inf, e to the -10000 is 0. Adding one "
                    "number to all scores changes no share: use that")
    x = real([[0, 1], [1e4, 1e4 + 1]])
    probe.equal(probe.call(answer, x, 1), x.softmax(1), "global-max",
                "x = [[0, 1], [10000, 10001]], dim=1: each row needs its own largest value")
    x = real([0, -inf, 1])
    out = probe.call(answer, x, 0)
    probe.true(out[1] == 0, "minus-inf", "softmax of [0, -inf, 1]: a score of -inf must get a "
               f"share of exactly 0, came {float(out[1])}")
    probe.equal(out, x.softmax(0), "minus-inf", "softmax of [0, -inf, 1]")


def wrong_weights(S, d_k, d_v):
    """{code: (weights of a well-known mistake, what it is)} from unscaled scores S (T_q, T_k)."""
    T_q, T_k = S.shape
    scaled = S / math.sqrt(d_k)
    best = F.one_hot(S.argmax(-1), T_k).double()
    return {
        "no-scale": (S.softmax(-1), "the scores are not divided by the square root of d_k"),
        "scale-root": ((S / d_k).softmax(-1), "divided by d_k: take its square root"),
        "scale-size": ([(S / math.sqrt(n)).softmax(-1) for n in (d_v, T_k, T_q, T_k * T_q)],
                       "scaled by the root of another size: d_k is the length of a query"),
        "scale-fixed": ((S / 8).softmax(-1), "divided by 8, which is the root of d_k = 64 only"),
        "scale-times": ((S * math.sqrt(d_k)).softmax(-1), "multiplied by the root of d_k: divide"),
        "scale-late": (S.softmax(-1) / math.sqrt(d_k), "scaled after the softmax, so rows sum to "
                       "less than 1: scale the scores"),
        "axis": ([scaled.softmax(0), S.softmax(0)], "the softmax runs over the queries, so columns "
                 "of W sum to 1: each query shares out its attention among the keys"),
        "everything": (scaled.flatten().softmax(0).view(T_q, T_k), "one softmax over all of W: "
                       "each query needs its own, along the keys"),
        "no-softmax": ([scaled, S], "these are scores: a softmax turns each row into shares"),
        "no-division": (scaled.exp(), "powers of e, not yet divided by the sum of their row"),
        "no-power": (scaled / scaled.sum(-1, keepdim=True), "scores over their sum, without exp"),
        "average": (torch.full_like(S, 1 / T_k), "each key gets the same, whatever the query"),
        "hard": (best, "the best key takes all: that is argmax, not softmax"),
        "sigmoid": (scaled.sigmoid(), "a sigmoid looks at one score: shares of a row compete"),
        "sign": ((-scaled).softmax(-1), "the sign is wrong: the worst key gets the most")}


def wrong_masks(S, d_k):
    """{code: (weights of a well-known mistake with the mask, what it is)}."""
    T, S = len(S), S / math.sqrt(d_k)
    ones = torch.ones(T, T, dtype=torch.bool)
    future, diagonal = ones.triu(1), ones.triu()

    def hide(*masks):
        return [S.masked_fill(mask, v).softmax(-1) for mask in masks for v in (-inf, -1e9, -1e4)]

    return {
        "no-mask": (S.softmax(-1), "with causal=True these are the weights without a mask"),
        "mask-after": (S.softmax(-1).tril(), "the mask comes after the softmax, so rows no longer "
                       "sum to 1 and the future took its part in the sum: mask the scores"),
        "soft-mask": ([(S - future.double()).softmax(-1), S.masked_fill(future, -1).softmax(-1)],
                      "a score of -1 still gets a share, e to the -1 is .37: only -inf gives 0"),
        "zero-mask": (S.masked_fill(future, 0).softmax(-1), "a score of 0 still gets a share, e to "
                      "the 0 is 1: only -inf gives 0"),
        "diagonal": (hide(diagonal), "the diagonal is masked too: a position may look at itself, "
                     "and the first has nothing else"),
        "transposed": (hide(future.T, diagonal.T), "the mask is transposed or inverted: it hides "
                       "the past and shows the future"),
        "off-by-one": (hide(ones.triu(2)), "each position still sees the next one: the answer it "
                       "must predict"),
        "nan-mask": (torch.full_like(S, math.nan), "everything is nan, because 0 * -inf is nan: "
                     "fill the hidden places instead of multiplying")}


def pair(probe, out, Z_shape, W_shape):
    """Z and W of attention's result, after tests of type and shape."""
    probe.type(out, (tuple, list), "return Z, W: the averages and the weights")
    probe.true(len(out) == 2, "type", f"return two tensors, Z and W; came {len(out)}")
    Z, W = out
    probe.type(Z, torch.Tensor)
    probe.type(W, torch.Tensor)
    probe.true((tuple(Z.shape), tuple(W.shape)) != (W_shape, Z_shape), "order",
               "W and Z are swapped: return Z first")
    probe.shape(W, W_shape, "shape", "W has a row for each query and a column for each key")
    probe.shape(Z, Z_shape, "shape", "Z has a row for each query, as long as a value")
    return Z, W


def try_attention(probe, answer, Q, K, V, code, where, *causal):
    """Compare one call with torch's; where: what the inputs are, for the message."""
    (T_q, d_k), (T_k, d_v) = Q.shape, V.shape
    Z, W = pair(probe, probe.call(answer, Q, K, V, *causal), (T_q, d_v), (T_q, T_k))
    S = Q @ K.T
    free = (S / math.sqrt(d_k)).softmax(-1)             # without a mask
    right = F.scaled_dot_product_attention(Q, K, torch.eye(T_k).double(), is_causal=bool(causal))
    known = {wrong: (values, f"{where}: {why}") for wrong, (values, why) in
             (wrong_masks(S, d_k) if causal else wrong_weights(S, d_k, d_v)).items()}
    why, total = "the weights are wrong", W.sum(-1)     # (T_q,)
    if causal and bool((W.triu(1) != 0).any()):
        code, why = "leak", "a weight right of the diagonal is not 0: there is the future"
    if not torch.allclose(total, torch.ones_like(total)):
        code, why = "rows", f"each row of W must sum to 1, row 0 sums to {total[0]:.4g}"
    probe.equal(W, right, code, f"{where}: {why}", known=known)
    probe.equal(Z, right @ V, "values", f"{where}: W is right, but Z is not W @ V", known={
        "average": (V.mean(0).expand(T_q, -1), f"{where}: Z is the plain average of the values"),
        "no-mask": (free @ V, f"{where}: W has the mask, but Z comes from weights without it")})


SMALL_K = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]]
SMALL_V = [[1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 1]]


@exercise("05.2", hints=(
    "Each query shares out one whole: every row of W sums to 1. With one query and two equal keys "
    "W is [[.5, .5]]; with causal=True row 0 of W is [1, 0, 0, ...]. What are yours?",
    "Check in this order: the shape of the scores, (T_q, T_k); what they are divided by; along "
    "which dimension the softmax runs; whether the mask acts on scores or on weights; what is "
    "averaged.",
    "score[i, j] = query i . key j, divided by the root of the length of a key\n"
    "if causal: score[i, j] = minus infinity wherever j comes after i\n"
    "row i of W = softmax of row i of score (as in 05.1, safe for large scores)\n"
    "row i of Z = sum over j of W[i, j] times value j"))
def attention(answer, probe):
    K, V = real(SMALL_K), real(SMALL_V)
    for rows, causal in (([[2, 0, 0, 0], [0, 2, 2, 0]], ()),
                         ([[2, 0, 0, 0], [0, 2, 0, 0], [0, 2, 2, 0]], (True,))):
        if causal:                                      # all that needs no mask comes first
            without_mask(answer, probe)
        try_attention(probe, answer, real(rows), K, V, "mask" if causal else "weights",
                      f"Q = {rows}, K = {SMALL_K}" + ", causal=True" * bool(causal), *causal)
    Q, K, V = probe.normal(5, 3), probe.normal(5, 3), probe.normal(5, 4)
    try_attention(probe, answer, Q, K, V, "mask", "T = 5 and causal=True", True)
    try_attention(probe, answer, Q, K, V, "always-masked", "T = 5, causal left out: no mask")
    try_attention(probe, answer, Q[:1], K[:1], V[:1], "mask", "T = 1 and causal=True", True)
    for q, k, size in ((1e4 * Q, K, "around 10000"), (300 * Q.abs(), -300 * K.abs(), "near -1e5")):
        Z, W = pair(probe, probe.call(answer, q, k, V, True), (5, 4), (5, 5))
        probe.true(not bool((W.triu(1) > 0).any()), "soft-mask", f"with scores {size} the future "
                   "gets a share: -inf is the only score that hides at any scale")
        probe.equal(Z, F.scaled_dot_product_attention(q, k, V, is_causal=True), "overflow",
                    f"causal=True with scores {size}")


def without_mask(answer, probe):
    """The part of the check of attention that leaves causal out."""
    Q, K, V = probe.normal(5, 3), probe.normal(6, 3), probe.normal(6, 7)
    try_attention(probe, answer, Q, K, V, "sizes", "5 queries, 6 keys, d_k = 3, d_v = 7")
    Q, K, V = probe.normal(2, 7), probe.normal(5, 7), probe.normal(5, 4)
    try_attention(probe, answer, Q, K, V, "sizes", "2 queries, 5 keys, d_k = 7, d_v = 4")
    try_attention(probe, answer, Q[:1], K[:1], V[:1], "single", "one query and one key")
    _, W = pair(probe, probe.call(answer, 1e4 * Q, K, V), (2, 4), (2, 5))
    probe.equal(W, (1e4 * Q @ K.T / math.sqrt(7)).softmax(-1), "overflow", "scores around 10000: "
                "subtract the largest score of a row before exp, as in 05.1")
    Q, K, V = (t.requires_grad_() for t in (Q, K, V))
    Z, _ = pair(probe, probe.call(answer, Q, K, V), (2, 4), (2, 5))
    probe.gradients(Z, F.scaled_dot_product_attention(Q, K, V), {"Q": Q, "K": K, "V": V})


@exercise("05.3", hints=(
    "Position 0 may see only itself: row 0 of causal_mask(3) is [False, True, True]. Is yours?",
    "Say aloud what True means here: hidden. Row i is the one that looks, column j the one looked "
    "at. Which j lie in the future of i? Is i in its own future?",
    "for each row i and each column j: True if j comes after i, else False\n"
    "or: a matrix of True, of which only the part above the diagonal stays"))
def causal_mask(answer, probe):
    out = probe.call(answer, 3)
    probe.type(out, torch.Tensor)
    probe.true(out.dtype == torch.bool, "dtype", "a mask of True and False has dtype torch.bool, "
               f"yours is {out.dtype}")
    probe.shape(out, (3, 3), "shape", "T = 3: a row and a column for each position")
    ones = torch.ones(3, 3, dtype=torch.bool)
    probe.equal(out, ones.triu(1), "value", "T = 3, True means hidden", known={
        "inverted": (ones.tril(), "T = 3: True and False are exchanged, True means hidden here"),
        "transposed": (ones.tril(-1), "T = 3: this hides the past and shows the future"),
        "diagonal": (ones.triu(), "T = 3: the diagonal is hidden too, position 0 sees nothing"),
        "off-by-one": (ones.triu(2), "T = 3: each position still sees the next one, the answer it "
                       "must predict"),
        "open": (~ones, "T = 3: nothing is hidden")})
    for T in (1, 2, 7):
        probe.equal(probe.call(answer, T), torch.ones(T, T, dtype=torch.bool).triu(1), "size",
                    f"T = {T}: every size must work")
    Q, K, V = probe.normal(6, 3), probe.normal(6, 3), probe.normal(6, 4)
    late = V + torch.arange(6)[:, None].eq(5)           # the last value changes
    before, after = ((Q @ K.T).masked_fill(probe.call(answer, 6), -inf).softmax(-1) @ v
                     for v in (V, late))
    probe.equal(after[:5], before[:5], "leak", "the last value changed, and earlier results too")


def heads(x, Wq, Wk, Wv, Wo, h, split=1, merge=1, scale=0, dim=-1, hide=False):
    """Multi-head attention with the mistakes that split, merge, scale and dim select."""
    B, T, C = x.shape
    d = C // h

    def parts(y):                                       # (B, T, C) -> (B, h, T, d)
        return {1: y.view(B, T, h, d).transpose(1, 2), 0: y.reshape(B, h, T, d),
                2: y.view(B, T, d, h).permute(0, 3, 1, 2)}[split]
    S = parts(x @ Wq) @ parts(x @ Wk).mT / math.sqrt(scale or d)            # (B, h, T, T)
    S = S.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -inf) if hide else S
    z = S.softmax(dim) @ parts(x @ Wv)                                      # (B, h, T, d)
    joined = {1: z.transpose(1, 2), 0: z, 2: z.permute(0, 2, 3, 1)}[merge].reshape(B, T, C)
    return joined if Wo is None else joined @ Wo


def wrong_heads(x, w, h, where):
    """{code: (result of a well-known mistake, what it is)}."""
    (B, T, C), (Wq, Wk, Wv, Wo), turned = x.shape, w, [m.T for m in w]
    table = {
        "mixes": ([heads(x, *w, h, split=0, merge=m) for m in (0, 1, 2)], "heads mix positions, as "
                  "`view` to (B, h, T, d) without a transpose cuts across the rows of a position"),
        "merge": ([heads(x, *w, h, merge=m) for m in (0, 2)], "the heads are right, but glued "
                  "together in the wrong order: bring T before h again first"),
        "interleaved": ([heads(x, *w, h, split=2, merge=m) for m in (0, 1, 2)], "head 0 got "
                        "columns 0, h, 2h, ...: it owns the first C/h neighbouring columns"),
        "scale-model": (heads(x, *w, h, scale=C), "scores divided by the root of C: a key of one "
                        "head has only C/h numbers"),
        "no-scale": (heads(x, *w, h, scale=1), "the scores of a head are not scaled"),
        "one-head": (heads(x, *w, 1), "this is one head of size C: split Q, K and V first"),
        "axis": ([heads(x, *w, h, dim=d) for d in (-2, 1, 0)], "the softmax runs over the wrong "
                 "dimension: each query shares among the keys, the last one"),
        "no-output": (heads(x, Wq, Wk, Wv, None, h), "Wo is missing: it mixes the heads last"),
        "transposed": ([heads(x, *turned, h), heads(x, *turned[:3], Wo, h)],
                       "a matrix is transposed: here it is x @ W, not x @ W.T"),
        "swapped": ([heads(x, Wk, Wq, Wv, Wo, h), heads(x, Wq, Wv, Wk, Wo, h),
                     heads(x, Wv, Wk, Wq, Wo, h)], "two of Wq, Wk and Wv are exchanged"),
        "batch": (heads(x.reshape(1, B * T, C), *w, h).view(B, T, C), "texts of one batch see each "
                  "other"),
        "masked": (heads(x, *w, h, hide=True), "there is no mask here: each position sees all")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("05.4", hints=(
    "Head 0 uses columns 0 .. C/h - 1 of x @ Wq, x @ Wk and x @ Wv, at every position, and nothing "
    "else. With h = 1 your result is one attention followed by Wo. Is it?",
    "Print x @ Wq of one text as a (T, C) table and mark which numbers your head 0 gets. `view` "
    "never moves a number: to put h before T takes a transpose, and another on the way back.",
    "Q, K, V: from (B, T, C) to (B, T, h, C/h), then exchange T and h\n"
    "attention of each head alone, scores divided by the root of C/h\n"
    "exchange h and T again, glue the h parts of each position together: (B, T, C)\n"
    "last, the matrix Wo"))
def multi_head(answer, probe):
    def weights(C):
        return [probe.normal(C, C, scale=C ** -0.5) for _ in range(4)]

    rows = [[1, 0, 0, 1], [0, 2, 1, 0], [1, 1, 0, 2]]
    for x, w, h, where in (
            (probe.normal(2, 5, 12), weights(12), 3, "B = 2, T = 5, C = 12, h = 3"),
            (real([rows]), [torch.eye(4).double()] * 4, 2,
             f"x = [{rows}], h = 2, all four W = torch.eye(4)")):
        out = probe.call(answer, x, *w, h)
        probe.shape(out, x.shape, "shape", f"{where}: the result is as large as x")
        probe.equal(out, heads(x, *w, h), "value", where, known=wrong_heads(x, w, h, where))
    for B, T, C, h in ((1, 4, 6, 1), (3, 1, 6, 2), (2, 3, 10, 5)):
        x, w = probe.normal(B, T, C), weights(C)
        probe.equal(probe.call(answer, x, *w, h), heads(x, *w, h), "sizes",
                    f"B = {B}, T = {T}, C = {C}, h = {h}")
    x, w = probe.normal(2, 5, 12).requires_grad_(), weights(12)
    library = torch.nn.MultiheadAttention(12, 3, bias=False, batch_first=True).double()
    library.in_proj_weight.data.copy_(torch.cat([m.T for m in w[:3]]))
    library.out_proj.weight.data.copy_(w[3].T)
    want, _ = library(x, x, x, need_weights=False)
    out = probe.call(answer, x, *w, 3)
    probe.equal(out, want, "value", "nn.MultiheadAttention with 3 heads gives something else")
    probe.gradients(out, want, {"x": x})
    order = torch.tensor([8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7])            # heads 2, 0, 1
    moved = [m[:, order] for m in w[:3]] + [w[3][order]]
    probe.equal(probe.call(answer, x, *moved, 3), want, "heads", "the heads changed places, and "
                "the rows of Wo with them: the result must stay")
