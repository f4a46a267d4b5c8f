"""The checks of lecture 05, second half: order, gradients, weights by hand, attention in blocks."""
import math

import torch
import torch.nn.functional as F

from .c05_blocks import MISTAKES, Memory, in_blocks
from .engine import exercise


def weighted(x):
    """Self-attention with fixed matrices: equivariant, up to rounding."""
    C = x.shape[1]
    A = torch.linspace(-1, 1, C * C).view(C, C).double()
    return (x @ A @ x.T).softmax(-1) @ x @ A.T


def average(x):
    return x.mean(0).expand_as(x)


def mirrored(x):
    """Adds a number per position that reads the same backwards."""
    T = len(x)
    return x + (torch.arange(T) - (T - 1) / 2).abs()[:, None]


def ring(x):
    return x + x.roll(1, 0)


def faint(x):
    """Causal, but only in the fourth digit."""
    return x + 1e-4 * x.cumsum(0)


def rank(x):
    """Each row times its place in the order of first entries; equal ones: who comes first."""
    return x * (1 + x[:, :1].argsort(dim=0, stable=True).argsort(dim=0, stable=True))


SIX = {                                                 # function: (is it equivariant?, code, why)
    weighted: (True, "exact", "self-attention is equivariant, yours says no: a sum in another "
               "order rounds differently, so compare with a tolerance"),
    average: (True, "exact", "the mean of all rows in every row is equivariant, yours says no: a "
              "sum in another order rounds differently, so compare with a tolerance"),
    mirrored: (False, "one-permutation", "f adds to each row its distance from the middle: "
               "reversing the rows does not show it, random orders do"),
    ring: (False, "one-permutation", "f adds to each row its neighbour, on a ring: shifting the "
           "rows round does not show it, random orders do"),
    faint: (False, "loose", "f adds 0.0001 times the sum of all rows so far: your tolerance is too "
            "wide to see it, rounding in float64 is near 1e-15"),
    rank: (False, "ties", "f multiplies each row by its rank, and gives equal rows different "
           "ranks: x has no equal rows, so make some, then try orders that exchange them")}

PATTERNS = (                                            # (code, answers to the six, what it means)
    ("always", [True] * 6, "True for all six functions: does it look at f?"),
    ("exact", [False] * 6, "False for all six functions, also for self-attention, which is "
     "equivariant: a sum in another order rounds differently, so compare with a tolerance"),
    ("invariance", [False, True, False, False, False, False], "this tests whether f(x[p]) is f(x), "
     "invariance: an equivariant f permutes its output as its input"),
    ("columns", [False, True, True, True, True, False], "this permutes the columns of x: a "
     "position is a row"),
    ("negated", [False, False, True, True, True, True], "True and False are exchanged"))


@exercise("05.5", hints=(
    "f is equivariant if permuting the rows before f gives what permuting them after f gives: "
    "f(x[p]) is f(x)[p]. For f(x) = x + row number that fails. Does your test say so?",
    "Compare with a tolerance near 1e-9: sums round differently in another order. One order is not "
    "enough: a reversal misses what is symmetric, a shift misses a ring. And is x general enough? "
    "Two of its rows may be equal.",
    "for x itself, and for x with one row copied onto another:\n"
    "    many times: p = a random order of the rows\n"
    "        not equivariant if f of the reordered x differs from the reordered f of x\n"
    "otherwise equivariant"))
def is_permutation_equivariant(answer, probe):
    for T, C in ((9, 5), (8, 4)):
        x, said = probe.normal(T, C), []
        for f in SIX:
            out = probe.call(answer, lambda x, f=f: f(x), x)    # the name tells nothing
            probe.type(out, bool, "use bool(...), or torch.allclose, which returns one")
            said.append(out)
        for code, pattern, why in PATTERNS:
            probe.true(said != pattern, code, f"x is ({T}, {C}): {why}")
        for (right, code, why), came in zip(SIX.values(), said, strict=True):
            probe.true(came == right, code, f"x is ({T}, {C}): {why}. Expected {right}, came "
                       f"{came}")


def backward(Q, K, V, dZ, mistake=""):
    """{"dQ": ..., "dK": ..., "dV": ...} of attention by hand, with one well-known mistake."""
    d_k = Q.shape[1]
    W = (Q @ K.T / math.sqrt(d_k)).softmax(-1)          # (T_q, T_k)
    dW = dZ @ V.T                                       # (T_q, T_k)
    mean = (W * dW).sum(-1, keepdim=True)               # (T_q, 1)
    dS = {"rank-one": W * dW, "diagonal": W * (1 - W) * dW, "no-softmax": dW, "outer": dW - mean,
          "unweighted": W * (dW - dW.sum(-1, keepdim=True)), "sign": W * (mean - dW),
          "mean": W * (dW - dW.mean(-1, keepdim=True)), "axis": W * (dW - (W * dW).sum(0)),
          }.get(mistake, W * (dW - mean))
    dS = dS / {"no-scale": 1, "scale-root": d_k}.get(mistake, math.sqrt(d_k))
    return {"dQ": dS @ K, "dK": dS.T @ Q, "dV": W.T @ dZ}


BACKWARD = {
    "rank-one": "the gradient of a softmax has two terms, and W * dW is the first: raising one "
                "share lowers all others of its row",
    "diagonal": "W (1 - W) is how a share changes with its own score: it depends on the others too",
    "no-softmax": "the gradient passes the softmax unchanged: its derivative is missing",
    "unweighted": "what is subtracted is the sum of W * dW over the row, not the sum of dW",
    "mean": "what is subtracted is the average of dW weighted by W, not the plain mean",
    "axis": "the sum that is subtracted runs over the keys of one query: along the row",
    "outer": "the difference is right, and must still be multiplied by W",
    "sign": "the sign of the two terms is exchanged",
    "no-scale": "the scores were divided by the root of d_k, so their gradient must be too",
    "scale-root": "divided by d_k: take its square root"}


@exercise("05.6", hints=(
    "Add the same number to every entry of a row of dW: as the weights of a row sum to 1, dQ must "
    "not change. Does yours?",
    "Walk the three lines backwards: Z = W V gives dV and dW, W = softmax(S) gives dS from dW, "
    "S = Q K^T / root gives dQ and dK. Check the shapes at each step: dS is (T_q, T_k).",
    "dV: each value collects dZ from all queries, by its weights\n"
    "dW[i, j] = dZ of query i . value j\n"
    "dS[i, j] = W[i, j] times (dW[i, j] minus the average of row i of dW, weighted by row i of W), "
    "over the root of d_k\n"
    "dQ[i] = sum over j of dS[i, j] key j; dK[j] = sum over i of dS[i, j] query i"))
def attention_backward(answer, probe):
    for T_q, T_k, d_k, d_v, big in ((2, 3, 4, 5, 1), (4, 6, 3, 5, 1), (5, 2, 7, 4, 1),
                                    (1, 1, 2, 3, 1), (3, 5, 4, 2, 1e3)):
        shapes = [(T_q, d_k), (T_k, d_k), (T_k, d_v)]
        Q, K, V = (probe.normal(*shape) for shape in shapes)
        Q, dZ = big * Q, probe.normal(T_q, d_v)
        given = [t.clone().requires_grad_() for t in (Q, K, V)]
        want = torch.autograd.grad(F.scaled_dot_product_attention(*given), given, dZ)
        with Memory(0) as seen:
            out = probe.call(answer, Q, K, V, dZ)
        probe.true(not seen.names & {"backward", "grad"}, "library", "it lets autograd find the "
                   "gradients: here you write them yourself")
        probe.type(out, (tuple, list), "return dQ, dK, dV")
        probe.true(len(out) == 3, "type", f"return three gradients, dQ, dK, dV; came {len(out)}")
        names = ("dQ", "dK", "dV")
        where = f"{T_q} queries, {T_k} keys, d_k = {d_k}, d_v = {d_v}" + ", large Q" * (big > 1)
        for name, got in zip(names, out, strict=True):
            probe.type(got, torch.Tensor, name)
        came = [tuple(got.shape) for got in out]
        probe.true(came == shapes or sorted(came) != sorted(shapes), "order", "return dQ, dK, dV "
                   f"in this order: their shapes are {came}, those of Q, K, V {shapes}")
        for name, got, shape in zip(names, out, shapes, strict=True):
            probe.shape(got, shape, "shape", f"{where}: {name}")
        for i in (2, 0, 1):                             # dV does not depend on the others
            wrong = {code: (backward(Q, K, V, dZ, code)[names[i]], f"{where}, {names[i]}: {why}")
                     for code, why in BACKWARD.items()}
            code = "overflow" if big > 1 else names[i]
            probe.equal(out[i], want[i], code, f"{where}: {names[i]} is not the gradient that "
                        "autograd finds", 1e-9, known=wrong)


@exercise("05.7", hints=(
    "Row i of softmax(Q K^T / root of d) must be nearly 1 at column i - 1, so that position 3 "
    "copies the letter at 2. Print that matrix: where is its largest number in row 3?",
    "A score is query i . key j. Which key should be nearly parallel to query 3, and which keys "
    "orthogonal to it? And how large must a score be, after the division, to take 99 %?",
    "keys: each position its own direction\n"
    "query of position i: the direction of the key of position i - 1, times a large number\n"
    "position 0 has nothing before it: any query will do"))
def hand_weights_shift(answer, probe):
    out = probe.call(answer)
    probe.type(out, (tuple, list), "return Q, K")
    probe.true(len(out) == 2, "type", f"return two matrices, Q and K; came {len(out)}")
    for name, matrix in zip("QK", out, strict=True):
        probe.type(matrix, torch.Tensor, name)
        probe.true(matrix.dim() == 2 and len(matrix) == 8, "shape", f"{name} has one row for each "
                   f"of 8 positions: expected shape (8, d), came {tuple(matrix.shape)}")
        probe.finite(matrix, "finite", f"{name} must hold finite numbers")
    Q, K = (matrix.detach().double() for matrix in out)
    probe.true(Q.shape == K.shape, "shape", f"queries and keys need the same length: Q is "
               f"{tuple(Q.shape)}, K is {tuple(K.shape)}")
    W = (Q @ K.T / math.sqrt(Q.shape[1])).softmax(-1)   # (8, 8)
    probe.finite(W, "finite", "scores that are not finite: the numbers are too large")
    probe.true(W.max() - W.min() > 1e-6, "uniform", "all scores are equal: each position looks "
               "everywhere")
    looks = W.argmax(-1)[1:7].tolist()                  # of positions 1 .. 6
    for code, wrong, why in (
            ("direction", [2, 3, 4, 5, 6, 7], "each position looks at the next: exchange Q and K"),
            ("identity", [1, 2, 3, 4, 5, 6], "each position looks at itself"),
            ("first", [0] * 6, "each position looks at position 0")):
        probe.true(looks != wrong, code, why)
    for i in range(1, 8):
        most = int(W[i].argmax())
        probe.true(most == i - 1, "shift", f"position {i} must look at {i - 1}, it looks most at "
                   f"{most} (weight {float(W[i, most]):.2f})")
        probe.true(float(W[i, i - 1]) >= 0.99, "soft", f"position {i} looks at {i - 1} with weight "
                   f"{float(W[i, i - 1]):.2f}: it needs .99, and larger numbers make it surer")
    letters = torch.eye(5).double()
    for _ in range(100):
        n = int(probe.ints(2, 9, 1))
        text = probe.ints(0, 5, n)                      # ids of the letters a .. e
        W = (Q[:n] @ K[:n].T / math.sqrt(Q.shape[1])).softmax(-1)
        got = (W @ letters[text]).argmax(-1)
        probe.true(torch.equal(got[1:], text[:-1]), "shift", f"{spelled(text)} must become ?"
                   f"{spelled(text[:-1])}, came {spelled(got)}")


def spelled(ids):
    return "".join("abcde"[i] for i in ids)


@exercise("05.8", hints=(
    "Q = [[1.]], K = [[0.], [10.]], V = [[0.], [1.]]: the second key's share is e^10 / (1 + e^10). "
    "The average of two softmaxes gives .5. What does yours give for block = 1 and block = 2?",
    "Keep three things for each query: the largest score so far, the sum of powers, the sum of "
    "powers times values. When the largest score grows, what was summed before is too large: by "
    "which factor?",
    "top = -inf, total = 0, summed = 0, for each query\n"
    "for each block of keys and values (the last may be shorter):\n"
    "    new = the larger of top and the block's largest score\n"
    "    shrink total and summed by e to the (top minus new)\n"
    "    add the block's powers, e to the (score minus new), and those times values\n"
    "    top = new\n"
    "result: summed over total"))
def online_attention(answer, probe):
    small = [torch.tensor(rows).double() for rows in ([[1]], [[0], [2], [1]], [[1], [3], [5]])]
    larger = probe.normal(5, 3), probe.normal(11, 3), probe.normal(11, 4)
    for (Q, K, V), name, blocks in (
            (small, "Q = [[1]], K = [[0], [2], [1]], V = [[1], [3], [5]]", (3, 1, 2, 4)),
            (larger, "5 queries, 11 keys, d_k = 3, d_v = 4", (11, 20, 4, 1, 2, 5, 10))):
        right, size = F.scaled_dot_product_attention(Q, K, V), (len(Q), V.shape[1])
        for block in blocks:
            out, where = probe.call(answer, Q, K, V, block), f"{name}, block = {block}"
            probe.shape(out, size, "shape", f"{where}: return Z alone, (T_q, d_v)")
            wrong = {code: ([in_blocks(Q, K, V, block, m) for m in mistakes], f"{where}: {why}")
                     for code, (mistakes, why) in MISTAKES.items()}
            wrong["no-scale"] = (Q @ K.T).softmax(-1) @ V, f"{where}: not divided by root d_k"
            probe.equal(out, right, "block" if block < len(K) else "value", f"{where}: the whole "
                        "row at once gives something else", known=wrong)
    for q, k, scores in ((1e4 * Q, K, "near 10000"), (100 * Q.abs(), -100 * K.abs(), "near -1e4")):
        right = F.scaled_dot_product_attention(q, k, V)
        probe.equal(probe.call(answer, q, k, V, 4), right, "overflow", f"scores {scores}, block = "
                    "4: subtract the largest score so far before exp")
    Q, K, V = probe.normal(2, 3), probe.normal(300, 3), probe.normal(300, 5)
    calls = []
    for block in (16, 10):
        with Memory(300) as memory:
            out = probe.call(answer, Q, K, V, block)
        calls.append(memory.calls)
        where = f"2 queries, 300 keys, block = {block}"
        probe.equal(out, F.scaled_dot_product_attention(Q, K, V), "value", where)
        probe.true(not memory.left, "leaves-torch", f"{where}: .{memory.left}() takes a whole "
                   "tensor out of torch, where no memory can be counted")
        ready = [name for name in memory.names if "attention" in name]
        probe.true(not ready, "library", f"it calls {ready}: write the blocks yourself")
        probe.true(not memory.rows, "rows", f"{where}: it made a tensor of shape {memory.rows}, "
                   "the scores of a query for all keys. Walk over blocks of keys, and never hold "
                   "more than `block` scores of a query")
    probe.true(calls[0] < calls[1], "ignores-block", "300 keys take as many steps in blocks of 16 "
               "as in blocks of 10: the size of the blocks is the argument `block`")
    T_q, T_k, block = 24, 384, 16
    with Memory(T_k) as memory:
        probe.call(answer, probe.normal(T_q, 2), probe.normal(T_k, 2), probe.normal(T_k, 2), block)
    probe.true(memory.peak < 0.75 * T_q * T_k, "memory", f"{T_q} queries, {T_k} keys, block = "
               f"{block}: it held {memory.peak} numbers at once. {T_q} x {T_k} scores are "
               f"{T_q * T_k}, a block has {T_q * block}: keep sums, not scores")
