"""Right and wrong answers to the exercises of lecture 05."""
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils.checks.c05_blocks import in_blocks

inf = math.inf


def future(T, shift=1):
    return torch.ones(T, T, dtype=torch.bool).triu(shift)


# 05.1 -----------------------------------------------------------------------------------------
def softmax_by_hand(x, dim):
    power = (x - x.amax(dim, keepdim=True)).exp()
    return power / power.sum(dim, keepdim=True)


def softmax_by_log(x, dim):
    return (x - x.logsumexp(dim, keepdim=True)).exp()


def softmax_by_loop(x, dim):
    def one(row):
        top = max(row.tolist())
        powers = [math.exp(v - top) for v in row.tolist()]
        return torch.tensor([p / sum(powers) for p in powers])
    rows = x.movedim(dim, -1)
    shares = torch.stack([one(row) for row in rows.reshape(-1, rows.shape[-1])])
    return shares.view(rows.shape).movedim(-1, dim)


def softmax_in_place(x, dim):
    x -= x.amax(dim, keepdim=True)
    return x.exp() / x.exp().sum(dim, keepdim=True)


def softmax_mean(x, dim):
    power = (x - x.mean(dim, keepdim=True)).exp()
    return power / power.sum(dim, keepdim=True)


def softmax_clamped(x, dim):
    power = x.clamp(-700, 700).exp()
    return power / power.sum(dim, keepdim=True)


def softmax_global(x, dim):
    power = (x - x.max()).exp()
    return power / power.sum(dim, keepdim=True)


def softmax_eps(x, dim):
    power = softmax_by_hand(x, dim) + 1e-3
    return power / power.sum(dim, keepdim=True)


# 05.2 -----------------------------------------------------------------------------------------
def attention(Q, K, V, causal=False):
    S = Q @ K.T / math.sqrt(K.shape[1])
    if causal:
        S = S.masked_fill(future(len(Q)), -inf)
    W = S.softmax(-1)
    return W @ V, W


def attention_by_loop(Q, K, V, causal=False):
    rows = []
    for i, q in enumerate(Q):
        visible = i + 1 if causal else len(K)
        scores = torch.stack([(q * K[j]).sum() for j in range(visible)]) / len(q) ** 0.5
        power = (scores - scores.max()).exp()
        rows.append(torch.cat([power / power.sum(), power.new_zeros(len(K) - visible)]))
    W = torch.stack(rows)
    return torch.stack([sum(w * v for w, v in zip(row, V)) for row in W]), W


def attention_by_einsum(Q, K, V, causal=False):
    S = torch.einsum("id,jd->ij", Q, K) * Q.size(-1) ** -0.5
    if causal:
        S = S + torch.triu(torch.full_like(S, -inf), diagonal=1)
    W = F.softmax(S, dim=1)
    return torch.einsum("ij,jv->iv", W, V), W


def attention_minus_1e9(Q, K, V, causal=False):
    S = Q @ K.mT / Q.shape[-1] ** 0.5
    if causal:
        S = torch.where(future(len(Q)), torch.tensor(-1e9), S)
    return S.softmax(-1) @ V, S.softmax(-1)


def attend(scale=None, shares=None, mask=None, average=None, before=None):
    """An answer to 05.2 with one step replaced."""
    def answer(Q, K, V, causal=False):
        S = Q @ K.T
        S = S / math.sqrt(K.shape[1]) if scale is None else scale(S, Q, K, V)
        if causal:
            S = S.masked_fill(future(len(Q)), -inf) if mask is None else mask(S)
        W = S.softmax(-1) if shares is None else shares(S, causal)
        return (W @ V, W) if average is None else average(W, V, S)
    return answer


def naive(S, causal=False):
    return S.exp() / S.exp().sum(-1, keepdim=True)


def mask_after(Q, K, V, causal=False):
    W = (Q @ K.T / math.sqrt(K.shape[1])).softmax(-1)
    W = W.tril() if causal else W
    return W @ V, W


def scale_late(Q, K, V, causal=False):
    W = (Q @ K.T).softmax(-1) / math.sqrt(K.shape[1])
    return W @ V, W


def mask_returned_only(Q, K, V, causal=False):
    S = Q @ K.T / math.sqrt(K.shape[1])
    W = (S.masked_fill(future(len(Q)), -inf) if causal else S).softmax(-1)
    return S.softmax(-1) @ V, W


def always_causal(Q, K, V, causal=False):
    square = len(Q) == len(K)
    return attention(Q, K, V, square)


def no_grad(Q, K, V, causal=False):
    with torch.no_grad():
        return attention(Q, K, V, causal)


def scale_in_place(Q, K, V, causal=False):
    Q /= math.sqrt(Q.shape[1])
    return attention(Q * math.sqrt(Q.shape[1]), K, V, causal)


def mask_from_keys(Q, K, V, causal=False):
    """The window of two: hides the future and all but the last two positions."""
    S = Q @ K.T / math.sqrt(K.shape[1])
    if causal:
        S = S.masked_fill(future(len(Q)) | future(len(Q), 2).T, -inf)
    return S.softmax(-1) @ V, S.softmax(-1)


# 05.4 -----------------------------------------------------------------------------------------
def multi_head(x, Wq, Wk, Wv, Wo, h):
    B, T, C = x.shape
    q, k, v = ((x @ W).view(B, T, h, C // h).transpose(1, 2) for W in (Wq, Wk, Wv))
    z = F.scaled_dot_product_attention(q, k, v)
    return z.transpose(1, 2).reshape(B, T, C) @ Wo


def multi_head_by_loop(x, Wq, Wk, Wv, Wo, h):
    d, texts = x.shape[-1] // h, []
    for text in x:
        parts = [attention(text @ Wq[:, c:c + d], text @ Wk[:, c:c + d], text @ Wv[:, c:c + d])[0]
                 for c in range(0, h * d, d)]
        texts.append(torch.cat(parts, dim=1) @ Wo)
    return torch.stack(texts)


def multi_head_by_einsum(x, Wq, Wk, Wv, Wo, h):
    q, k, v = ((x @ W).unflatten(-1, (h, -1)) for W in (Wq, Wk, Wv))           # (B, T, h, d)
    W = (torch.einsum("bihd,bjhd->bhij", q, k) / q.shape[-1] ** 0.5).softmax(-1)
    return torch.einsum("bhij,bjhd->bihd", W, v).flatten(2) @ Wo


def split_wrong(split, merge, scale=None, dim=-1, output=True):
    def answer(x, Wq, Wk, Wv, Wo, h):
        B, T, C = x.shape
        q, k, v = (split(x @ W, B, T, C, h) for W in (Wq, Wk, Wv))
        S = q @ k.transpose(-2, -1) / (math.sqrt(C // h) if scale is None else scale(C, h))
        z = merge(S.softmax(dim) @ v, B, T, C)
        return z @ Wo if output else z
    return answer


def good_split(y, B, T, C, h):
    return y.view(B, T, h, C // h).transpose(1, 2)


def bad_split(y, B, T, C, h):
    return y.view(B, h, T, C // h)


def good_merge(z, B, T, C):
    return z.transpose(1, 2).reshape(B, T, C)


def bad_merge(z, B, T, C):
    return z.reshape(B, T, C)


def heads_but_first(x, Wq, Wk, Wv, Wo, h):
    """All heads use the weights of head 0."""
    d = x.shape[-1] // h
    z, _ = zip(*(attention(t @ Wq[:, :d], t @ Wk[:, :d], t @ Wv[:, :d]) for t in x))
    return torch.cat([torch.stack(z)] * h, -1) @ Wo


def heads_averaged(x, Wq, Wk, Wv, Wo, h):
    """One matrix of weights, the mean over the heads, for all values."""
    q, k, v = ((x @ W).unflatten(-1, (h, -1)) for W in (Wq, Wk, Wv))
    W = (torch.einsum("bihd,bjhd->bhij", q, k) / q.shape[-1] ** 0.5).softmax(-1).mean(1)
    return W @ v.flatten(2) @ Wo


# 05.5 -----------------------------------------------------------------------------------------
def equivariant(f, x):
    tied = x.clone()
    tied[-1] = tied[0]
    for y in (x, tied):
        for _ in range(20):
            p = torch.randperm(len(y))
            if not torch.allclose(f(y[p]), f(y)[p], rtol=0, atol=1e-9):
                return False
    return True


def equivariant_by_swaps(f, x):
    """Every order is made of swaps of two rows; swapping equal rows must change nothing."""
    y = torch.cat([x, x[:1]])
    for rows in (x, y):
        for i in range(len(rows)):
            for j in range(i):
                p = list(range(len(rows)))
                p[i], p[j] = j, i
                if (f(rows[p]) - f(rows)[p]).abs().max() > 1e-10:
                    return False
    return True


def tries(orders, same=lambda a, b: torch.allclose(a, b, rtol=0, atol=1e-9), tie=True, rows=True,
          after=True):
    def answer(f, x):
        tied = x.clone()
        tied[-1] = tied[0]
        for y in (x, tied) if tie else (x,):
            for p in orders(len(y) if rows else y.shape[1]):
                a, b = (f(y[p]), f(y)[p]) if rows else (f(y[:, p]), f(y)[:, p])
                if not same(a, b if after else f(y)):
                    return False
        return True
    return answer


def shuffles(n):
    return [torch.randperm(n) for _ in range(20)]


def reversal(n):
    return [torch.arange(n).flip(0)]


def shifts(n):
    return [torch.arange(n).roll(k) for k in range(n)]


# 05.6 -----------------------------------------------------------------------------------------
def backward(Q, K, V, dZ):
    root = math.sqrt(Q.shape[1])
    W = (Q @ K.T / root).softmax(-1)
    dW = dZ @ V.T
    dS = W * (dW - (W * dW).sum(-1, keepdim=True)) / root
    return dS @ K, dS.T @ Q, W.T @ dZ


def backward_by_loop(Q, K, V, dZ):
    W = attention(Q, K, V)[1]
    dQ, dK, dV = torch.zeros_like(Q), torch.zeros_like(K), torch.zeros_like(V)
    for i, w in enumerate(W):
        jacobian = torch.diag(w) - torch.outer(w, w)    # (T_k, T_k)
        ds = jacobian @ (V @ dZ[i]) / math.sqrt(K.shape[1])
        dQ[i] = ds @ K
        dK += torch.outer(ds, Q[i])
        dV += torch.outer(w, dZ[i])
    return dQ, dK, dV


def back(dS_of, scale=lambda d: math.sqrt(d), order=(0, 1, 2), dV_of=lambda W, dZ: W.T @ dZ):
    def answer(Q, K, V, dZ):
        W = (Q @ K.T / math.sqrt(Q.shape[1])).softmax(-1)
        dS = dS_of(W, dZ @ V.T) / scale(Q.shape[1])
        out = dS @ K, dS.T @ Q, dV_of(W, dZ)
        return tuple(out[i] for i in order)
    return answer


def full(W, dW):
    return W * (dW - (W * dW).sum(-1, keepdim=True))


def backward_naive(Q, K, V, dZ):
    W = naive(Q @ K.T / math.sqrt(Q.shape[1]))
    dS = full(W, dZ @ V.T) / math.sqrt(Q.shape[1])
    return dS @ K, dS.T @ Q, W.T @ dZ


def backward_float(Q, K, V, dZ):
    return tuple(t.float() for t in backward(Q, K, V, dZ))


def backward_by_autograd(Q, K, V, dZ):
    inputs = [t.requires_grad_() for t in (Q, K, V)]
    attention(*inputs)[0].backward(dZ)
    return tuple(t.grad for t in inputs)


def backward_by_differences(Q, K, V, dZ):
    """Finite differences: right to five digits."""
    def slope(which):
        inputs, out = [Q, K, V], torch.zeros_like((Q, K, V)[which])
        for place in np.ndindex(*out.shape):
            values = []
            for step in (1e-3, -1e-3):
                moved = [t.clone() for t in inputs]
                moved[which][place] += step
                values.append((attention(*moved)[0] * dZ).sum())
            out[place] = (values[0] - values[1]) / 2e-3
        return out
    return slope(0), slope(1), slope(2)


# 05.7 -----------------------------------------------------------------------------------------
def shift_one_hot():
    K = torch.eye(8)
    return 40 * K.roll(-1, 1), K


def shift_circle():
    """Positions on a circle, the query turned back by one step."""
    angle = torch.arange(8) * math.tau / 8
    return (500 * torch.stack([(angle - math.tau / 8).cos(), (angle - math.tau / 8).sin()], 1),
            torch.stack([angle.cos(), angle.sin()], 1))


def shift_by_loop():
    Q, K = torch.zeros(8, 8), torch.zeros(8, 8)
    for i in range(8):
        K[i, i] = 10
        if i > 0:
            Q[i, i - 1] = 10
    return Q, K


# 05.8 -----------------------------------------------------------------------------------------
def online(Q, K, V, block):
    top, total = Q.new_full((len(Q), 1), -inf), Q.new_zeros(len(Q), 1)
    summed = Q.new_zeros(len(Q), V.shape[1])
    for k, v in zip(K.split(block), V.split(block)):
        S = Q @ k.T / math.sqrt(Q.shape[1])
        new = torch.maximum(top, S.amax(1, keepdim=True))
        W, shrink = (S - new).exp(), (top - new).exp()
        total, summed, top = total * shrink + W.sum(1, keepdim=True), summed * shrink + W @ v, new
    return summed / total


def online_by_loop(Q, K, V, block):
    out = []
    for q in Q:
        top, total, summed = -inf, 0.0, torch.zeros(V.shape[1])
        for start in range(0, len(K), block):
            s = K[start:start + block] @ q / len(q) ** 0.5
            new = max(top, s.max().item())
            w = torch.exp(s - new)
            total = total * math.exp(top - new) + w.sum()
            summed = summed * math.exp(top - new) + w @ V[start:start + block]
            top = new
        out.append(summed / total)
    return torch.stack(out)


def online_by_logsumexp(Q, K, V, block):
    """Merges finished blocks by the logarithms of their sums."""
    Q = Q / math.sqrt(Q.shape[1])
    Z, size = None, None
    for k, v in zip(K.split(block), V.split(block)):
        S = Q @ k.T
        z, lse = S.softmax(-1) @ v, S.logsumexp(-1, keepdim=True)
        if Z is None:
            Z, size = z, lse
        else:
            both = torch.logaddexp(size, lse)
            Z, size = Z * (size - both).exp() + z * (lse - both).exp(), both
    return Z


def all_at_once(Q, K, V, block):
    return attention(Q, K, V)[0]


def by_query_blocks(Q, K, V, block):
    return torch.cat([attention(q, K, V)[0] for q in Q.split(block)])


def blocks_then_cat(Q, K, V, block):
    S = torch.cat([Q @ k.T for k in K.split(block)], 1)
    return (S / math.sqrt(Q.shape[1])).softmax(-1) @ V


def scores_in_list(Q, K, V, block):
    """Two passes: no T x T tensor, but all blocks of scores are kept."""
    scores = [Q @ k.T / math.sqrt(Q.shape[1]) for k in K.split(block)]
    top = torch.stack([S.amax(1) for S in scores]).amax(0)[:, None]
    powers = [(S - top).exp() for S in scores]
    total = sum(W.sum(1, keepdim=True) for W in powers)
    return sum(W @ v for W, v in zip(powers, V.split(block))) / total


def in_numpy(Q, K, V, block):
    S = Q.numpy() @ K.numpy().T / math.sqrt(Q.shape[1])
    W = np.exp(S - S.max(1, keepdims=True))
    return torch.from_numpy(W / W.sum(1, keepdims=True) @ V.numpy())


def naive_blocks(Q, K, V, block):
    total, summed = 0, 0
    for k, v in zip(K.split(block), V.split(block)):
        W = (Q @ k.T / math.sqrt(Q.shape[1])).exp()
        total, summed = total + W.sum(1, keepdim=True), summed + W @ v
    return summed / total


def top_of_first_block(Q, K, V, block):
    top, total, summed = None, 0, 0
    for k, v in zip(K.split(block), V.split(block)):
        S = Q @ k.T / math.sqrt(Q.shape[1])
        top = S.amax(1, keepdim=True) if top is None else top
        W = (S - top).exp()
        total, summed = total + W.sum(1, keepdim=True), summed + W @ v
    return summed / total


def top_from_zero(Q, K, V, block):
    top, total, summed = torch.zeros(len(Q), 1), 0, 0
    for k, v in zip(K.split(block), V.split(block)):
        S = Q @ k.T / math.sqrt(Q.shape[1])
        new = torch.maximum(top, S.amax(1, keepdim=True))
        W, old = (S - new).exp(), (top - new).exp()
        total, summed, top = total * old + W.sum(1, keepdim=True), summed * old + W @ v, new
    return summed / total


def blocks(mistake):
    return lambda Q, K, V, block: in_blocks(Q, K, V, block, mistake)


RIGHT = {
    "05.1": {"by hand": softmax_by_hand, "by logarithm": softmax_by_log, "loop": softmax_by_loop},
    "05.2": {"product": attention, "loop": attention_by_loop, "einsum": attention_by_einsum,
             "-1e9": attention_minus_1e9},
    "05.3": {"triu": future, "compare": lambda T: torch.arange(T)[None] > torch.arange(T)[:, None],
             "lists": lambda T: torch.tensor([[j > i for j in range(T)] for i in range(T)])},
    "05.4": {"transpose": multi_head, "loop": multi_head_by_loop, "einsum": multi_head_by_einsum},
    "05.5": {"random orders": equivariant, "swaps": equivariant_by_swaps},
    "05.6": {"product": backward, "loop": backward_by_loop},
    "05.7": {"one-hot": shift_one_hot, "circle": shift_circle, "loop": shift_by_loop},
    "05.8": {"product": online, "loop": online_by_loop, "logsumexp": online_by_logsumexp}}

WRONG = {
    "05.1": {
        "powers": (lambda x, dim: x.exp(), "no-division"),
        "scores over their sum": (lambda x, dim: x / x.sum(dim, keepdim=True), "no-power"),
        "log": (lambda x, dim: x.log_softmax(dim), "log"),
        "two": (lambda x, dim: 2 ** x / (2 ** x).sum(dim, keepdim=True), "base"),
        "minus": (lambda x, dim: (-x).softmax(dim), "sign"),
        "sigmoid": (lambda x, dim: x.sigmoid(), "sigmoid"),
        "argmax": (lambda x, dim: (x == x.amax(dim, keepdim=True)).double(), "hard"),
        "rounded": (lambda x, dim: x.softmax(dim).round(decimals=2), "rounded"),
        "tanh": (lambda x, dim: x.tanh(), "value"),
        "temperature": (lambda x, dim: (x / 2).softmax(dim), "value"),
        "always the last": (lambda x, dim: x.softmax(-1), "dim"),
        "always the first": (lambda x, dim: x.softmax(0), "dim"),
        "other dim": (lambda x, dim: x.softmax(x.dim() - 1 - dim % x.dim()), "dim"),
        "everything": (lambda x, dim: x.exp() / x.exp().sum(), "everything"),
        "largest of the first dim": (lambda x, dim: (x - x.amax(0)).softmax(dim), "dim"),
        "naive": (lambda x, dim: x.exp() / x.exp().sum(dim, keepdim=True), "overflow"),
        "less the mean": (softmax_mean, "overflow"),
        "clamped": (softmax_clamped, "overflow"),
        "largest of all": (softmax_global, "global-max"),
        "epsilon": (softmax_eps, "value"),
        "dimension lost": (lambda x, dim: x.exp() / x.exp().sum(dim), "crash"),
        "floor of -30": (lambda x, dim: (x - x.amax(dim, keepdim=True)).clamp(min=-30).softmax(dim),
                         "minus-inf"),
        "in place": (softmax_in_place, "mutates"),
        "a list": (lambda x, dim: x.softmax(dim).tolist(), "type")},
    "05.2": {
        "no scale": (attend(lambda S, Q, K, V: S), "no-scale"),
        "d_k": (attend(lambda S, Q, K, V: S / K.shape[1]), "scale-root"),
        "d_v": (attend(lambda S, Q, K, V: S / math.sqrt(V.shape[1])), "scale-size"),
        "T": (attend(lambda S, Q, K, V: S / math.sqrt(len(K))), "scale-size"),
        "times": (attend(lambda S, Q, K, V: S * math.sqrt(K.shape[1])), "scale-times"),
        "eight": (attend(lambda S, Q, K, V: S / 8), "scale-fixed"),
        "root of 4": (attend(lambda S, Q, K, V: S / 2), "sizes"),
        "late": (scale_late, "scale-late"),
        "over queries": (attend(shares=lambda S, causal: S.softmax(0)), "axis"),
        "over queries, no scale": (attend(lambda S, Q, K, V: S,
                                          lambda S, causal: S.softmax(0)), "axis"),
        "everything": (attend(shares=lambda S, causal: S.flatten().softmax(0).view(S.shape)),
                       "everything"),
        "no softmax": (attend(shares=lambda S, causal: S), "no-softmax"),
        "powers": (attend(shares=lambda S, causal: S.exp()), "no-division"),
        "no powers": (attend(shares=lambda S, causal: S / S.sum(-1, keepdim=True)), "no-power"),
        "average of keys": (attend(shares=lambda S, causal: torch.full_like(S, 1 / S.shape[1])),
                            "average"),
        "argmax": (attend(shares=lambda S, causal: F.one_hot(S.argmax(-1), S.shape[1]).double()),
                   "hard"),
        "sigmoid": (attend(shares=lambda S, causal: S.sigmoid()), "sigmoid"),
        "minus": (attend(shares=lambda S, causal: (-S).softmax(-1)), "sign"),
        "tanh": (attend(shares=lambda S, causal: S.tanh()), "rows"),
        "relu": (attend(shares=lambda S, causal: S.relu() / S.relu().sum(-1, keepdim=True)),
                 "no-power"),
        "two": (attend(shares=lambda S, causal: (S * math.log(2)).softmax(-1)), "weights"),
        "cosine": (attend(lambda S, Q, K, V: F.normalize(Q) @ F.normalize(K).T), "weights"),
        "distance": (attend(lambda S, Q, K, V: -torch.cdist(Q, K)), "weights"),
        "squared scores": (attend(shares=lambda S, causal: (S * S).softmax(-1)), "weights"),
        "linear": (attend(lambda S, Q, K, V: Q.softmax(-1) @ K.T), "weights"),
        "top two": (attend(shares=lambda S, causal: S.masked_fill(
            S < S.topk(2).values[:, -1:], -inf).softmax(-1) if S.shape[1] > 1 else S.softmax(-1)),
            "weights"),
        "position counts": (attend(lambda S, Q, K, V: S / math.sqrt(K.shape[1])
                                   - 0.01 * torch.arange(len(K))), "weights"),
        "dropout": (attend(shares=lambda S, causal: F.dropout(S.softmax(-1), 0.1)), "rows"),
        "swapped": (attend(average=lambda W, V, S: (W, W @ V)), "order"),
        "Z alone": (attend(average=lambda W, V, S: W @ V), "type"),
        "squeezed": (attend(average=lambda W, V, S: ((W @ V).squeeze(), W.squeeze())), "shape"),
        "transposed": (attend(average=lambda W, V, S: (W @ V, W.T)), "shape"),
        "plain average": (attend(average=lambda W, V, S: (
            torch.ones_like(W) @ V / W.shape[1], W)), "average"),
        "Z from scores": (attend(average=lambda W, V, S: (S @ V, W)), "values"),
        "best value": (attend(average=lambda W, V, S: (V[W.argmax(-1)], W)), "values"),
        "values in reverse": (attend(average=lambda W, V, S: (W @ V.flip(0), W)), "values"),
        "naive exp": (attend(shares=naive), "overflow"),
        "detached": (lambda Q, K, V, causal=False: attention(Q.detach(), K, V, causal), "detached"),
        "detached weights": (attend(average=lambda W, V, S: (W.detach() @ V, W)), "detached"),
        "no_grad": (no_grad, "detached"),
        "numpy": (lambda Q, K, V, causal=False: attention(*(
            torch.from_numpy(t.detach().numpy()) for t in (Q, K, V)), causal), "detached"),
        "half a gradient": (attend(lambda S, Q, K, V: (S + S.detach()) / 2 / K.shape[1] ** 0.5),
                            "gradient"),
        "no mask": (lambda Q, K, V, causal=False: attention(Q, K, V), "no-mask"),
        "mask after softmax": (mask_after, "mask-after"),
        "minus one": (attend(mask=lambda S: S - future(len(S)).double()), "soft-mask"),
        "filled with -1": (attend(mask=lambda S: S.masked_fill(future(len(S)), -1)), "soft-mask"),
        "minus hundred": (attend(mask=lambda S: S - 100 * future(len(S)).double()), "soft-mask"),
        "filled with -1e4": (attend(mask=lambda S: S.masked_fill(future(len(S)), -1e4)),
                             "soft-mask"),
        "minus twenty": (attend(mask=lambda S: S - 20 * future(len(S)).double()), "soft-mask"),
        "minus five": (attend(mask=lambda S: S - 5 * future(len(S)).double()), "leak"),
        "zeros": (attend(mask=lambda S: S.tril()), "zero-mask"),
        "diagonal too": (attend(mask=lambda S: S.masked_fill(future(len(S), 0), -inf)), "diagonal"),
        "diagonal, -1e9": (attend(mask=lambda S: S.masked_fill(future(len(S), 0), -1e9)),
                           "diagonal"),
        "mask transposed": (attend(mask=lambda S: S.masked_fill(future(len(S)).T, -inf)),
                            "transposed"),
        "mask inverted": (attend(mask=lambda S: S.masked_fill(~future(len(S)), -inf)),
                          "transposed"),
        "next one visible": (attend(mask=lambda S: S.masked_fill(future(len(S), 2), -inf)),
                             "off-by-one"),
        "last one visible": (attend(mask=lambda S: S.masked_fill(
            future(len(S)) & (torch.arange(len(S)) < len(S) - 1), -inf)), "leak"),
        "zero times inf": (attend(mask=lambda S: S + future(len(S)).double() * -inf), "nan-mask"),
        "window of two": (mask_from_keys, "mask"),
        "mask on W alone": (mask_returned_only, "no-mask"),
        "always masked": (always_causal, "always-masked"),
        "naive when causal": (attend(
            shares=lambda S, causal: naive(S) if causal else S.softmax(-1)), "overflow"),
        "changes Q": (scale_in_place, "mutates"),
        "keys not transposed": (lambda Q, K, V, causal=False: ((Q @ K).softmax(-1) @ V, Q @ K),
                                "crash")},
    "05.3": {
        "inverted": (lambda T: ~future(T), "inverted"),
        "transposed": (lambda T: future(T).T, "transposed"),
        "diagonal": (lambda T: future(T, 0), "diagonal"),
        "off by one": (lambda T: future(T, 2), "off-by-one"),
        "open": (lambda T: torch.zeros(T, T, dtype=torch.bool), "open"),
        "all": (lambda T: torch.ones(T, T, dtype=torch.bool), "value"),
        "floats": (lambda T: torch.ones(T, T).triu(1), "dtype"),
        "minus infinity": (lambda T: torch.full((T, T), -inf).triu(1), "dtype"),
        "integers": (lambda T: torch.ones(T, T, dtype=torch.long).triu(1), "dtype"),
        "three dimensions": (lambda T: future(T)[None], "shape"),
        "one short": (lambda T: future(T - 1), "shape"),
        "fixed size": (lambda T: future(3), "shape"),
        "a window": (lambda T: future(T) | future(T, 4).T, "size"),
        "anti-diagonal": (lambda T: future(T).flip(1), "value"),
        "lists": (lambda T: [[j > i for j in range(T)] for i in range(T)], "type"),
        "numpy": (lambda T: np.triu(np.ones((T, T), bool), 1), "type")},
    "05.4": {
        "view alone": (split_wrong(bad_split, good_merge), "mixes"),
        "view, and view back": (split_wrong(bad_split, bad_merge), "mixes"),
        "glued without transpose": (split_wrong(good_split, bad_merge), "merge"),
        "interleaved": (split_wrong(
            lambda y, B, T, C, h: y.view(B, T, C // h, h).permute(0, 3, 1, 2), good_merge),
                        "interleaved"),
        "interleaved and back": (split_wrong(
            lambda y, B, T, C, h: y.view(B, T, C // h, h).permute(0, 3, 1, 2),
            lambda z, B, T, C: z.permute(0, 2, 3, 1).reshape(B, T, C)), "interleaved"),
        "root of C": (split_wrong(good_split, good_merge, lambda C, h: math.sqrt(C)),
                      "scale-model"),
        "root of h": (split_wrong(good_split, good_merge, lambda C, h: math.sqrt(h)), "value"),
        "root of 2": (split_wrong(good_split, good_merge, lambda C, h: 2 ** 0.5), "value"),
        "no scale": (split_wrong(good_split, good_merge, lambda C, h: 1), "no-scale"),
        "no Wo": (split_wrong(good_split, good_merge, output=False), "no-output"),
        "over queries": (split_wrong(good_split, good_merge, dim=-2), "axis"),
        "over heads": (split_wrong(good_split, good_merge, dim=1), "axis"),
        "one head": (lambda x, Wq, Wk, Wv, Wo, h: multi_head(x, Wq, Wk, Wv, Wo, 1), "one-head"),
        "x @ W.T": (lambda x, Wq, Wk, Wv, Wo, h: multi_head(x, Wq.T, Wk.T, Wv.T, Wo.T, h),
                    "transposed"),
        "F.linear": (lambda x, Wq, Wk, Wv, Wo, h: multi_head(x, Wq.T, Wk.T, Wv.T, Wo, h),
                     "transposed"),
        "keys and values": (lambda x, Wq, Wk, Wv, Wo, h: multi_head(x, Wq, Wv, Wk, Wo, h),
                            "swapped"),
        "queries and keys": (lambda x, Wq, Wk, Wv, Wo, h: multi_head(x, Wk, Wq, Wv, Wo, h),
                             "swapped"),
        "batch as one text": (lambda x, Wq, Wk, Wv, Wo, h: multi_head(
            x.reshape(1, -1, x.shape[-1]), Wq, Wk, Wv, Wo, h).view(x.shape), "batch"),
        "first text only": (lambda x, Wq, Wk, Wv, Wo, h: multi_head(
            x[:1], Wq, Wk, Wv, Wo, h).expand_as(x), "value"),
        "three heads": (lambda x, Wq, Wk, Wv, Wo, h: multi_head(x, Wq, Wk, Wv, Wo, 3), "crash"),
        "head 0 thrice": (heads_but_first, "value"),
        "weights averaged": (heads_averaged, "value"),
        "residual": (lambda x, Wq, Wk, Wv, Wo, h: x + multi_head(x, Wq, Wk, Wv, Wo, h), "value"),
        "detached": (lambda x, *w: multi_head(x.detach(), *w), "detached"),
        "half detached": (lambda x, *w: multi_head((x + x.detach()) / 2, *w), "gradient"),
        "changes x": (lambda x, *w: multi_head(x, *w) + x.zero_(), "mutates"),
        "a new layer": (lambda x, Wq, Wk, Wv, Wo, h: nn.MultiheadAttention(
            x.shape[-1], h, batch_first=True)(x, x, x)[0], "value")},
    "05.5": {
        "yes": (lambda f, x: len(x) > 0, "always"),
        "no": (lambda f, x: len(x) < 0, "exact"),
        "exactly": (tries(shuffles, torch.equal), "exact"),
        "exactly, once": (lambda f, x: torch.equal(f(x.flip(0)), f(x).flip(0)), "exact"),
        "reversal": (tries(reversal), "one-permutation"),
        "shifts": (tries(shifts), "one-permutation"),
        "no ties": (tries(shuffles, tie=False), "ties"),
        "loose": (tries(shuffles, lambda a, b: torch.allclose(a, b, atol=1e-2)), "loose"),
        "invariance": (tries(shuffles, after=False), "invariance"),
        "columns": (tries(shuffles, rows=False), "columns"),
        "negated": (lambda f, x: not equivariant(f, x), "negated"),
        "a tensor": (lambda f, x: torch.tensor(equivariant(f, x)), "type"),
        "difference": (lambda f, x: float((f(x.flip(0)) - f(x).flip(0)).abs().max()), "type"),
        "identity": (tries(lambda n: [torch.arange(n)]), "always"),
        "sorted sums": (lambda f, x: bool((f(x).sum() - f(x.flip(0)).sum()).abs() < 1e-9),
                        "one-permutation"),
        "in place": (lambda f, x: bool(x.copy_(x.flip(0)).sum()) and equivariant(f, x), "mutates")},
    "05.6": {
        "no rank one": (back(lambda W, dW: W * dW), "rank-one"),
        "diagonal": (back(lambda W, dW: W * (1 - W) * dW), "diagonal"),
        "no softmax": (back(lambda W, dW: dW), "no-softmax"),
        "unweighted": (back(lambda W, dW: W * (dW - dW.sum(-1, keepdim=True))), "unweighted"),
        "mean": (back(lambda W, dW: W * (dW - dW.mean(-1, keepdim=True))), "mean"),
        "down the columns": (back(lambda W, dW: W * (dW - (W * dW).sum(0))), "axis"),
        "not multiplied": (back(lambda W, dW: dW - (W * dW).sum(-1, keepdim=True)), "outer"),
        "sign": (back(lambda W, dW: -full(W, dW)), "sign"),
        "no scale": (back(full, lambda d: 1), "no-scale"),
        "d_k": (back(full, lambda d: d), "scale-root"),
        "root of 3": (back(full, lambda d: math.sqrt(3)), "dQ"),
        "over everything": (back(lambda W, dW: W * (dW - (W * dW).sum())), "dQ"),
        "K, Q, V": (back(full, order=(1, 0, 2)), "order"),
        "V first": (back(full, order=(2, 0, 1)), "order"),
        "dV of scores": (back(full, dV_of=lambda W, dZ: W.T.softmax(-1) @ dZ), "dV"),
        "dV without W": (back(full, dV_of=lambda W, dZ: torch.ones_like(W).T @ dZ), "dV"),
        "naive": (backward_naive, "overflow"),
        "float32": (backward_float, "dtype"),
        "differences": (backward_by_differences, "dQ"),
        "autograd": (backward_by_autograd, "library"),
        "two": (lambda Q, K, V, dZ: backward(Q, K, V, dZ)[:2], "type"),
        "ones for dZ": (lambda Q, K, V, dZ: backward(Q, K, V, torch.ones_like(dZ)), "dV"),
        "rounded": (lambda *a: tuple(t.round(decimals=6) for t in backward(*a)), "dV"),
        "changes dZ": (lambda Q, K, V, dZ: backward(Q, K, V, dZ) if dZ.mul_(2) is dZ else 0,
                       "mutates")},
    "05.7": {
        "next": (lambda: (40 * torch.eye(8).roll(1, 1), torch.eye(8)), "direction"),
        "exchanged": (lambda: shift_one_hot()[::-1], "direction"),
        "itself": (lambda: (40 * torch.eye(8), torch.eye(8)), "identity"),
        "always first": (lambda: (torch.ones(8, 1), 40 * torch.eye(8)[:, :1]), "first"),
        "nothing": (lambda: (torch.zeros(8, 4), torch.zeros(8, 4)), "uniform"),
        "unsure": (lambda: (torch.eye(8).roll(-1, 1), torch.eye(8)), "soft"),
        "ninety": (lambda: (12 * torch.eye(8).roll(-1, 1), torch.eye(8)), "soft"),
        "two back": (lambda: (40 * torch.eye(8).roll(-2, 1), torch.eye(8)), "shift"),
        "random": (lambda: (torch.randn(8, 8) * 9, torch.randn(8, 8)), "shift"),
        "half": (lambda: (40 * torch.eye(8).roll(-1, 1) * (torch.arange(8) < 5)[:, None],
                          torch.eye(8)), "shift"),
        "infinite": (lambda: (torch.eye(8).roll(-1, 1) / torch.zeros(1), torch.eye(8)), "finite"),
        "too large": (lambda: (1e200 * torch.eye(8).roll(-1, 1), 1e200 * torch.eye(8)), "finite"),
        "four positions": (lambda: (40 * torch.eye(4).roll(-1, 1), torch.eye(4)), "shape"),
        "scores": (lambda: 40 * torch.eye(8).roll(-1, 1), "type"),
        "lengths": (lambda: (torch.eye(8), torch.ones(8, 3)), "shape"),
        "lists": (lambda: ([[1.0] * 8] * 8, [[1.0] * 8] * 8), "type")},
    "05.8": {
        "all at once": (all_at_once, "rows"),
        "queries in blocks": (by_query_blocks, "rows"),
        "blocks, then one": (blocks_then_cat, "rows"),
        "scores in a list": (scores_in_list, "memory"),
        "numpy": (in_numpy, "leaves-torch"),
        "torch's own": (lambda Q, K, V, block: F.scaled_dot_product_attention(Q, K, V), "library"),
        "drops the rest": (blocks("drop"), "last-block"),
        "total not rescaled": (blocks("total"), "rescale"),
        "sum not rescaled": (blocks("summed"), "rescale"),
        "nothing rescaled": (blocks("both"), "rescale"),
        "mean of blocks": (blocks("average"), "average"),
        "first block": (blocks("first"), "first-block"),
        "no scale": (lambda Q, K, V, block: online(Q * math.sqrt(Q.shape[1]), K, V, block),
                     "no-scale"),
        "scale by block": (lambda Q, K, V, block: online(
            Q * math.sqrt(Q.shape[1] / block), K, V, block), "value"),
        "no maximum": (naive_blocks, "overflow"),
        "maximum of the first": (top_of_first_block, "overflow"),
        "maximum from 0": (top_from_zero, "overflow"),
        "returns the sums": (lambda Q, K, V, block: (online(Q, K, V, block), 1), "type"),
        "a column": (lambda Q, K, V, block: online(Q, K, V[:, :1], block), "shape"),
        "blocks of 4": (lambda Q, K, V, block: online(Q, K, V, 4), "ignores-block"),
        "blocks of the root": (lambda Q, K, V, block: online(Q, K, V, math.isqrt(len(K))),
                               "ignores-block"),
        "block fixed": (lambda Q, K, V, block: attention(Q, K[:11], V[:11])[0], "value")}}
