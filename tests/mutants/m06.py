"""Right and wrong answers to the exercises of lecture 06."""
import copy
import math
from collections import Counter

import torch
import torch.nn.functional as F
from torch import nn

from utils.checks import c06_bpe, c06_cache
from utils.checks.c06 import waves

inf = math.inf


# 06.1 -----------------------------------------------------------------------------------------
def layer_norm(x, g, b, eps):
    away = x - x.mean(-1, keepdim=True)
    return away / (away.square().mean(-1, keepdim=True) + eps).sqrt() * g + b


def layer_norm_by_loop(x, g, b, eps):
    rows = []
    for row in x.reshape(-1, x.shape[-1]):
        m = sum(row) / len(row)
        v = sum((value - m) ** 2 for value in row) / len(row)
        rows.append(torch.stack([(value - m) * (v + eps) ** -0.5 for value in row]) * g + b)
    return torch.stack(rows).view(x.shape)


def layer_norm_by_var(x, g, b, eps):
    var, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return torch.addcmul(b, (x - mean) * torch.rsqrt(var + eps), g)


def norm(dims=-1, correction=0, spread=lambda v, eps: (v + eps).sqrt(),
         end=lambda h, g, b: h * g + b, mean=True):
    def answer(x, g, b, eps):
        axes = dims(x) if callable(dims) else dims
        m = x.mean(axes, keepdim=True)
        v = (x - m).square().sum(axes, keepdim=True)
        v = v / ((x - m).numel() / v.numel() - correction)
        return end((x - m * mean) / spread(v, eps), g, b)
    return answer


def norm_by_squares(x, g, b, eps):
    m = x.mean(-1, keepdim=True)
    var = x.square().mean(-1, keepdim=True) - m.square()
    return (x - m) / (var + eps).sqrt() * g + b


def norm_detached(x, g, b, eps):
    m = x.mean(-1, keepdim=True).detach()
    var = (x - m).square().mean(-1, keepdim=True).detach()
    return (x - m) / (var + eps).sqrt() * g + b


def rms_norm(x, g, b, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * g + b


def norm_in_place(x, g, b, eps):
    x -= x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * g + b


# 06.2 -----------------------------------------------------------------------------------------
def sinusoidal(T, d):
    angle = torch.arange(T)[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
    return torch.stack([angle.sin(), angle.cos()], -1).view(T, d)


def sinusoidal_by_loop(T, d):
    table = torch.zeros(T, d)
    for p in range(T):
        for i in range(d // 2):
            angle = p / 10000 ** (2 * i / d)
            table[p, 2 * i], table[p, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return table


def sinusoidal_as_in_the_tutorial(T, d):
    table = torch.zeros(T, d, dtype=torch.float32)
    place = torch.arange(0, T, dtype=torch.float).unsqueeze(1)
    step = torch.exp(torch.arange(0, d, 2).float() * (-math.log(10000.0) / d))
    table[:, 0::2], table[:, 1::2] = torch.sin(place * step), torch.cos(place * step)
    return table


def halves(T, d):
    angle = torch.arange(T)[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
    return torch.cat([angle.sin(), angle.cos()], 1)


def noisy_waves(T, d):
    return sinusoidal(T, d) + torch.arange(T)[:, None].eq(3) * 0.2


def bent_waves(T, d):
    """Angles that grow with the root of the position."""
    return waves(T, d).clone() if T < 3 else torch.stack([
        (torch.arange(T)[:, None].sqrt() / 1e4 ** (torch.arange(0, d, 2) / d)).sin(),
        (torch.arange(T)[:, None].sqrt() / 1e4 ** (torch.arange(0, d, 2) / d)).cos()],
        -1).view(T, d)


# 06.3 -----------------------------------------------------------------------------------------
def merge(ids, pair, new):
    out = []
    for i in ids:
        if out and (out[-1], i) == pair:
            out[-1] = new
        else:
            out.append(i)
    return out


def bpe_train(text, n):
    ids, merges = list(text), []
    for new in range(256, 256 + n):
        counts = Counter(zip(ids, ids[1:]))
        if not counts or max(counts.values()) < 2:
            break
        pair = min(counts, key=lambda p: (-counts[p], p))
        merges.append(pair)
        ids = merge(ids, pair, new)
    return merges


def bpe_encode(data, merges):
    ids = list(data)
    for i, pair in enumerate(merges):
        ids = merge(ids, tuple(pair), 256 + i)
    return ids


def bpe_decode(ids, merges):
    table = [bytes([i]) for i in range(256)]
    for a, b in merges:
        table.append(table[a] + table[b])
    return b"".join(table[i] for i in ids)


def bpe_train_by_dict(text, n):
    ids, merges = [int(b) for b in text], []
    while len(merges) < n:
        counts = {}
        for a, b in zip(ids[:-1], ids[1:]):
            counts[a, b] = counts.get((a, b), 0) + 1
        ranked = sorted((-c, pair) for pair, c in counts.items() if c > 1)
        if not ranked:
            return merges
        (_, pair), i = ranked[0], 0
        while i < len(ids) - 1:
            if (ids[i], ids[i + 1]) == pair:
                ids[i:i + 2] = [256 + len(merges)]
            i += 1
        merges.append(pair)
    return merges


def bpe_encode_by_rank(data, merges):
    rank, ids = {tuple(pair): i for i, pair in enumerate(merges)}, list(data)
    while True:
        best = min((rank.get(pair, inf) for pair in zip(ids, ids[1:])), default=inf)
        if best == inf:
            return ids
        ids = merge(ids, tuple(merges[best]), 256 + best)


def bpe_decode_by_stack(ids, merges):
    out, stack = bytearray(), list(reversed(ids))
    while stack:
        i = stack.pop()
        if i < 256:
            out.append(i)
        else:
            stack += reversed(merges[i - 256])
    return bytes(out)


BPE = bpe_train, bpe_encode, bpe_decode


def train_wrong(mistake):
    return lambda text, n: c06_bpe.train(text, n, mistake), bpe_encode, bpe_decode


def encode_wrong(mistake):
    return bpe_train, lambda data, merges: c06_bpe.encode(data, merges, mistake), bpe_decode


def decode_wrong(answer):
    return bpe_train, bpe_encode, answer


def one_level(ids, merges):
    return bytes(b for i in ids for b in ([i] if i < 256 else merges[i - 256]) if b < 256)


def backwards(ids, merges):
    return bpe_decode(ids[::-1], merges)


def train_no_bytes(text, n):
    """Merges of bytes objects, not of ids."""
    merges = bpe_train(text, n)
    words = c06_bpe.words_of(merges)
    return [(words[a], words[b]) for a, b in merges]


def encode_shortest(data, merges):
    """Tries all orders of merging and takes the fewest ids."""
    words = c06_bpe.words_of(merges)
    best = [[]]
    for end in range(1, len(data) + 1):
        best.append(min((best[end - len(w)] + [i] for i, w in words.items()
                         if data[:end].endswith(w) and best[end - len(w)] is not None), key=len))
    return best[-1]


def encode_lossy(data, merges):
    return bpe_encode(data.decode(errors="ignore").encode(), merges)


# 06.4 -----------------------------------------------------------------------------------------
class Block(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attention = nn.MultiheadAttention(d_model, n_heads, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.GELU(),
                                          nn.Linear(4 * d_model, d_model))

    def attend(self, h, blocked):
        return self.attention(h, h, h, attn_mask=blocked, need_weights=False)[0]

    def forward(self, x, blocked):
        x = x + self.attend(self.norm1(x), blocked)
        return x + self.feed_forward(self.norm2(x))


class ByHand(nn.Module):
    """One matrix for queries, keys and values, no biases, torch's function, tanh."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        self.h = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)
        self.ln = nn.ModuleList([nn.LayerNorm(d_model), nn.LayerNorm(d_model, bias=False)])

    def forward(self, x, blocked):
        B, T, C = x.shape
        q, k, v = (y.view(B, T, self.h, C // self.h).transpose(1, 2)
                   for y in self.qkv(self.ln[0](x)).split(C, dim=-1))
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=~blocked)
        x = x + self.out(z.transpose(1, 2).reshape(B, T, C))
        return x + self.down(torch.tanh(self.up(self.ln[1](x))))


class ByHead(nn.Module):
    """A matrix for each head, plain parameters, written out; branches begin at 0."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        d = d_model // n_heads
        self.heads = nn.ModuleList([nn.ModuleList([nn.Linear(d_model, d) for _ in range(3)])
                                    for _ in range(n_heads)])
        self.out = nn.Parameter(torch.zeros(d_model, d_model))
        self.up = nn.Parameter(torch.randn(d_model, 4 * d_model) * d_model ** -0.5)
        self.down = nn.Parameter(torch.zeros(4 * d_model, d_model))
        self.gains = nn.ParameterList([torch.ones(d_model), torch.ones(d_model)])
        self.biases = nn.ParameterList([torch.zeros(d_model), torch.zeros(d_model)])

    def forward(self, x, blocked):
        h, parts = layer_norm(x, self.gains[0], self.biases[0], 1e-5), []
        for q, k, v in self.heads:
            S = q(h) @ k(h).mT / k.out_features ** 0.5
            parts.append(S.masked_fill(blocked, -inf).softmax(-1) @ v(h))
        x = x + torch.cat(parts, -1) @ self.out
        h = layer_norm(x, self.gains[1], self.biases[1], 1e-5)
        return x + F.relu(h @ self.up) @ self.down


class Library(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(d_model, n_heads, 4 * d_model, dropout=0.0,
                                                batch_first=True, norm_first=True)

    def forward(self, x, blocked):
        return self.layer(x, src_mask=blocked)


def variant(forward=None, attend=None, init=None):
    """Block with another forward, another attention, or another end of __init__."""
    class Variant(Block):
        def __init__(self, d_model, n_heads):
            super().__init__(d_model, n_heads)
            if init:
                init(self, d_model, n_heads)
    if forward:
        Variant.forward = forward
    if attend:
        Variant.attend = attend
    return Variant


def no_skip(s, x, m):
    return s.feed_forward(s.norm2(s.attend(s.norm1(x), m)))


def no_first_skip(s, x, m):
    x = s.attend(s.norm1(x), m)
    return x + s.feed_forward(s.norm2(x))


def no_second_skip(s, x, m):
    x = x + s.attend(s.norm1(x), m)
    return s.feed_forward(s.norm2(x))


def skip_after_norm(s, x, m):
    x = s.norm1(x)
    x = x + s.attend(x, m)
    x = s.norm2(x)
    return x + s.feed_forward(x)


def post_norm(s, x, m):
    x = s.norm1(x + s.attend(x, m))
    return s.norm2(x + s.feed_forward(x))


def double_skip(s, x, m):
    h = x + s.attend(s.norm1(x), m)
    return x + (h + s.feed_forward(s.norm2(h)))


def parallel(s, x, m):
    return x + s.attend(s.norm1(x), m) + s.feed_forward(s.norm2(x))


def reversed_order(s, x, m):
    x = x + s.feed_forward(s.norm2(x))
    return x + s.attend(s.norm1(x), m)


def no_norm(s, x, m):
    x = x + s.attend(x, m)
    return x + s.feed_forward(x)


def no_first_norm(s, x, m):
    x = x + s.attend(x, m)
    return x + s.feed_forward(s.norm2(x))


def no_second_norm(s, x, m):
    x = x + s.attend(s.norm1(x), m)
    return x + s.feed_forward(x)


def norm_of_queries(s, x, m):
    h = s.norm1(x)
    x = x + s.attention(h, h, x, attn_mask=m, need_weights=False)[0]
    return x + s.feed_forward(s.norm2(x))


def norm_of_branch(s, x, m):
    x = x + s.norm1(s.attend(x, m))
    return x + s.norm2(s.feed_forward(x))


def norm_around(s, x, m):
    x = x + s.norm1(s.attend(s.norm1(x), m))
    return x + s.feed_forward(s.norm2(x))


def one_norm(s, x, m):
    x = x + s.attend(s.norm1(x), m)
    return x + s.feed_forward(s.norm1(x))


def drop_norm(s, d, h):
    s.norm2 = s.norm1


def scaled_skip(s, x, m):
    x = 0.5 * x + s.attend(s.norm1(x), m)
    return x + s.feed_forward(s.norm2(x))


def final_norm(s, x, m):
    return s.norm1(Block.forward(s, x, m))


def attention_of(**kw):
    def attend(s, h, m):
        given = {k: v(m) for k, v in kw.items()}
        return s.attention(h, h, h, need_weights=False, **given)[0]
    return attend


def views(s, h, m):
    """Heads by view without a transpose."""
    B, T, C = h.shape
    n = s.attention.num_heads
    q, k, v = (y.reshape(B, n, T, C // n) for y in F.linear(
        h, s.attention.in_proj_weight).split(C, -1))
    z = F.scaled_dot_product_attention(q, k, v, attn_mask=~m)
    return s.attention.out_proj(z.reshape(B, T, C))


def by_hand(scale=lambda C, n: (C / n) ** 0.5, dim=-1, fill=-inf):
    def attend(s, h, m):
        B, T, C = h.shape
        n = s.attention.num_heads
        q, k, v = (y.view(B, T, n, C // n).transpose(1, 2) for y in F.linear(
            h, s.attention.in_proj_weight, s.attention.in_proj_bias).split(C, -1))
        W = (q @ k.mT / scale(C, n)).masked_fill(m, fill).softmax(dim).nan_to_num()
        return s.attention.out_proj((W @ v).transpose(1, 2).reshape(B, T, C))
    return attend


def no_output(s, d, h):
    s.attention.out_proj = nn.Identity()


def feed(*layers):
    def init(s, d, h):
        s.feed_forward = nn.Sequential(*[layer(d) for layer in layers])
    return init


def in_a_list(s, d, h):
    layers = [nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d)]
    del s.feed_forward
    s.layers = [layers]
    s.__dict__["feed_forward"] = lambda h: layers[2](layers[1](layers[0](h)))


def one_head(s, d, h):
    s.attention = nn.MultiheadAttention(d, 1, batch_first=True)


def with_dropout(s, d, h):
    s.feed_forward.append(nn.Dropout(0.1))


def looks_ahead(s, x, m):
    """A feed-forward that mixes neighbours."""
    x = x + s.attend(s.norm1(x), m)
    h = s.norm2(x)
    return x + s.feed_forward((h + h.roll(1, 1)) / 2)


def skips_feed(s, x, m):
    return x + s.attend(s.norm1(x), m)


def batch_second(s, d, h):
    s.attention = nn.MultiheadAttention(d, h)


def rms(s, d, h):
    s.norm1, s.norm2 = nn.RMSNorm(d), nn.RMSNorm(d)


def detached(s, x, m):
    x = x + s.attend(s.norm1(x.detach()), m)
    return x + s.feed_forward(s.norm2(x))


def mixes_texts(s, x, m):
    x = x + s.attend(s.norm1(x), m)
    return x + s.feed_forward(s.norm2(x)) + s.attend(s.norm1(x), m).mean(0, keepdim=True)


# 06.5 -----------------------------------------------------------------------------------------
def cross(x, memory, blocked, Wq, Wk, Wv):
    q, k, v = x @ Wq, memory @ Wk, memory @ Wv
    S = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    return S.masked_fill(blocked[:, None], -inf).softmax(-1) @ v


def cross_by_torch(x, memory, blocked, Wq, Wk, Wv):
    return F.scaled_dot_product_attention(x @ Wq, memory @ Wk, memory @ Wv,
                                          attn_mask=~blocked.unsqueeze(1))


def cross_by_loop(x, memory, blocked, Wq, Wk, Wv):
    texts = []
    for text, m, hidden in zip(x, memory, blocked):
        m = m[~hidden]
        rows = []
        for q in text @ Wq:
            w = torch.stack([q @ k for k in m @ Wk]) / len(q) ** 0.5
            rows.append((w.softmax(0)[:, None] * (m @ Wv)).sum(0))
        texts.append(torch.stack(rows))
    return torch.stack(texts)


def cross_minus_1e9(x, memory, blocked, Wq, Wk, Wv):
    S = torch.einsum("btd,bsd->bts", x @ Wq, memory @ Wk) * Wq.shape[1] ** -0.5
    S = S + blocked[:, None, :] * -1e9
    return torch.einsum("bts,bsv->btv", S.softmax(-1), memory @ Wv)


def crossed(weights=None, scale=None, q=0, k=1, v=1):
    def answer(x, memory, blocked, Wq, Wk, Wv):
        given = x, memory
        S = (given[q] @ Wq) @ (given[k] @ Wk).mT / (scale or math.sqrt(Wq.shape[1]))
        mask = blocked[:, None].expand_as(S) if q == 0 and k == 1 else torch.zeros_like(S).bool()
        W = weights(S, mask) if weights else S.masked_fill(mask, -inf).softmax(-1)
        return W @ (given[v] @ Wv)
    return answer


def filled(value):
    return crossed(lambda S, m: S.masked_fill(m, value).softmax(-1))


def cross_zero_memory(x, memory, blocked, Wq, Wk, Wv):
    return cross(x, memory * ~blocked[..., None], torch.zeros_like(blocked), Wq, Wk, Wv)


def cross_naive(x, memory, blocked, Wq, Wk, Wv):
    S = (x @ Wq) @ (memory @ Wk).mT / math.sqrt(Wq.shape[1])
    W = S.exp() * ~blocked[:, None]
    return W / W.sum(-1, keepdim=True) @ (memory @ Wv)


def cross_lengths(x, memory, blocked, Wq, Wk, Wv):
    """Takes padding for a tail: counts what is not blocked and cuts."""
    return torch.cat([cross(x[b:b + 1], memory[b:b + 1, :n], blocked[b:b + 1, :n] & False,
                            Wq, Wk, Wv) for b, n in enumerate((~blocked).sum(1).tolist())])


def cross_first_mask(x, memory, blocked, Wq, Wk, Wv):
    return cross(x, memory, blocked[:1].expand_as(blocked), Wq, Wk, Wv)


def cross_joint(x, memory, blocked, Wq, Wk, Wv):
    """Each position attends to memory and to x."""
    both = torch.cat([memory, x], 1)
    return cross(x, both, F.pad(blocked, (0, x.shape[1])), Wq, Wk, Wv)


def cross_rows(x, memory, blocked, Wq, Wk, Wv):
    return cross(x - 0.2 * x.mean(1, keepdim=True), memory, blocked, Wq, Wk, Wv)


# 06.6 -----------------------------------------------------------------------------------------
def lm_loss(logits, ids, pad):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], ignore_index=pad)


def lm_loss_by_loop(logits, ids, pad):
    losses = []
    for text, row in zip(logits, ids):
        for t in range(len(row) - 1):
            if row[t + 1] != pad:
                losses.append(text[t].logsumexp(0) - text[t, row[t + 1]])
    return torch.stack(losses).mean()


def lm_loss_by_gather(logits, ids, pad):
    logp = logits[:, :-1].log_softmax(-1)
    each = -logp.gather(-1, ids[:, 1:, None])[..., 0]
    kept = (ids[:, 1:] != pad).to(each.dtype)
    return (each * kept).sum() / kept.sum()


def loss_from(pick=lambda logits, ids: (logits[:, :-1], ids[:, 1:]), counts=None, end=None):
    def answer(logits, ids, pad):
        guess, target = pick(logits, ids)
        each = F.cross_entropy(guess.flatten(0, 1), target.flatten(), reduction="none")
        kept = (target != pad).flatten() if counts is None else counts(ids, pad).flatten()
        return each[kept].mean() if end is None else end(each, kept, ids)
    return answer


def crosses(logits, ids, pad):
    return F.cross_entropy(logits.flatten(0, 1)[:-1], ids.flatten()[1:], ignore_index=pad)


def mean_of_means(logits, ids, pad):
    return torch.stack([lm_loss(a[None], b[None], pad) for a, b in zip(logits, ids)]).mean()


def naive_loss(logits, ids, pad):
    p = logits[:, :-1].exp()
    p = p / p.sum(-1, keepdim=True)
    each = -p.gather(-1, ids[:, 1:, None])[..., 0].log()
    return each[ids[:, 1:] != pad].mean()


def smoothed(logits, ids, pad):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], ignore_index=pad,
                           label_smoothing=0.01)


def clamped_loss(logits, ids, pad):
    p = logits[:, :-1].softmax(-1).clamp(min=1e-9)
    each = -p.gather(-1, ids[:, 1:, None])[..., 0].log()
    return each[ids[:, 1:] != pad].mean()


def stops_at_pad(logits, ids, pad):
    """Leaves out the last real token of a text that is padded."""
    target = ids[:, 1:]
    next_ = torch.cat([ids[:, 2:], ids[:, -1:]], 1)
    kept = (target != pad) & (next_ != pad)
    return F.cross_entropy(logits[:, :-1][kept], target[kept])


def zero_by_product(logits, ids, pad):
    """Logits of pads set to 0 before the loss: each still costs ln V."""
    kept = (ids[:, 1:] != pad)[..., None]
    return F.cross_entropy((logits[:, :-1] * kept).transpose(1, 2), ids[:, 1:])


# 06.7 -----------------------------------------------------------------------------------------
def train(model, inputs, targets, steps):
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(steps):
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def train_sgd(model, inputs, targets, steps):
    """Momentum, clearing after the step, clipping, detached losses."""
    optimiser, losses = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), []
    model.train()
    for _ in range(steps):
        logits = model(inputs)
        loss = F.cross_entropy(logits.transpose(1, 2), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)
        losses.append(loss.detach())
    return losses


def train_by_hand(model, inputs, targets, steps):
    """Gradients asked for, momentum written out."""
    weights, losses = list(model.parameters()), []
    speed = [torch.zeros_like(w) for w in weights]
    for _ in range(steps):
        logp = model(inputs).log_softmax(-1)
        loss = -logp.gather(-1, targets[..., None]).mean()
        for w, s, g in zip(weights, speed, torch.autograd.grad(loss, weights)):
            s.mul_(0.9).add_(g)
            w.data -= 0.05 * s
        losses.append(loss.item())
    return losses


def train_schedule(model, inputs, targets, steps):
    """AdamW with a warm-up that begins at 0, and a look at the loss without gradients."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    plan = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: min(s / 5, 1))
    losses = []
    for _ in range(steps):
        with torch.no_grad():
            losses.append(F.cross_entropy(model(inputs).mT, targets).item())
        optimiser.zero_grad()
        F.cross_entropy(model(inputs).mT, targets).backward()
        optimiser.step()
        plan.step()
    return losses


def trained(loss_of=None, lr=0.01, make=torch.optim.Adam, clear="before", every=None, inside=False,
            part=lambda model: model.parameters(), keep=lambda loss: loss.item(), more=0,
            late=False, backward=True, step=True):
    """A loop of training with one thing changed."""
    def answer(model, inputs, targets, steps):
        def mean(logits):
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

        optimiser, losses = make(part(model), lr=lr), []
        for k in range(steps + more):
            if inside:
                optimiser = make(part(model), lr=lr)
            logits = model(inputs)
            loss = loss_of(logits, inputs, targets) if loss_of else mean(logits)
            if clear == "before" or every and k % every == 0:
                optimiser.zero_grad()
            if late:
                optimiser.step()
            if backward:
                loss.backward()
            if clear == "between":
                optimiser.zero_grad()
            if step and not late:
                optimiser.step()
            losses.append(keep(loss))
        return losses
    return answer


def train_copy(model, inputs, targets, steps):
    return train(copy.deepcopy(model), inputs, targets, steps)


def train_noisy(model, inputs, targets, steps):
    """Draws a learning rate from a generator that is never seeded."""
    rate = 0.005 + 0.01 * torch.rand((), generator=NOISE).item()
    return trained(lr=rate)(model, inputs, targets, steps)


NOISE = torch.Generator().manual_seed(1)


def train_rows(model, inputs, targets, steps):
    """One random text a step."""
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(steps):
        row = torch.randint(len(inputs), (1,), generator=NOISE)
        loss = F.cross_entropy(model(inputs[row]).mT, targets[row])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def train_until(model, inputs, targets, steps):
    losses = []
    while not losses or losses[-1] > 0.04:
        losses += train(model, inputs, targets, 1)
    return losses


def train_invents(model, inputs, targets, steps):
    """Trains little and reports a fine curve."""
    losses = train(model, inputs, targets, min(steps, 5))
    return losses + [losses[-1] * 0.9 ** k for k in range(steps - len(losses))]


def train_by_fifty(model, inputs, targets, steps):
    return sum([train(model, inputs, targets, min(50, steps - k)) for k in range(0, steps, 50)], [])


def train_two_optimisers(model, inputs, targets, steps):
    """One for the tables, another for the matrices."""
    named = dict(model.named_parameters())
    tables = [named.pop("embedding"), named.pop("positions")]
    both = [torch.optim.Adam(tables, lr=0.02),
            torch.optim.SGD(named.values(), lr=0.1, momentum=0.9)]
    losses = []
    for _ in range(steps):
        model.zero_grad()
        loss = F.cross_entropy(model(inputs).mT, targets)
        loss.backward()
        for optimiser in both:
            optimiser.step()
        losses.append(loss.item())
    return losses


def train_twice(model, inputs, targets, steps):
    return trained(lr=0.01)(model, inputs, targets, 2 * steps)[::2]


def train_anew(model, inputs, targets, steps):
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return train(model, inputs, targets, steps)


def train_after(model, inputs, targets, steps):
    """The loss of each step, measured after it."""
    losses = []
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(model(inputs).mT, targets).backward()
        optimiser.step()
        with torch.no_grad():
            losses.append(F.cross_entropy(model(inputs).mT, targets).item())
    return losses


def train_running(model, inputs, targets, steps):
    """Reports running means."""
    losses = train(model, inputs, targets, steps)
    return [sum(losses[:k + 1]) / (k + 1) for k in range(len(losses))]


# 06.8 -----------------------------------------------------------------------------------------
@torch.no_grad()
def draw(model, ids, n, temperature, top_k, rng):
    for _ in range(n):
        logits = model(ids[:, -model.max_len:])[:, -1]
        if top_k is not None and top_k < logits.shape[-1]:
            logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -inf)
        if temperature == 0:
            new = logits.argmax(-1, keepdim=True)
        else:
            new = torch.multinomial((logits / temperature).softmax(-1), 1, generator=rng)
        ids = torch.cat([ids, new], 1)
    return ids


@torch.inference_mode()
def draw_on_a_scale(model, ids, n, temperature, top_k, rng):
    """Cut after the softmax without dividing again; one throw on the scale of summed chances."""
    B, T = ids.shape
    text = torch.zeros(B, T + n, dtype=torch.long)
    text[:, :T] = ids
    for t in range(T, T + n):
        logits = model(text[:, max(0, t - model.max_len):t])[:, -1]
        p = (logits / max(temperature, 1e-6)).softmax(-1)
        if top_k is not None:
            p = torch.where(p >= p.sort(descending=True)[0][:, :top_k][:, -1:], p, 0)
        heights = p.cumsum(-1)
        throw = torch.rand(B, 1, generator=rng, dtype=p.dtype) * heights[:, -1:]
        text[:, t] = (heights <= throw).sum(-1).clamp(max=p.shape[-1] - 1)
    return text


def draw_by_gumbel(model, ids, n, temperature, top_k, rng):
    """Noise on the logits, the best of the sum; rng is used at temperature 0 too."""
    new = []
    for _ in range(n):
        with torch.no_grad():
            logits = model(torch.cat([ids, *new], 1)[:, -model.max_len:])[:, -1]
        best, index = logits.topk(min(top_k or 99, logits.shape[-1]))
        noise = -torch.log(-torch.rand(best.shape, generator=rng).log())
        new.append(index.gather(1, (best + temperature * noise).argmax(-1, keepdim=True)))
    return torch.cat([ids, *new], 1)


def draw_text_by_text(model, ids, n, temperature, top_k, rng):
    """A loop over texts, ids in lists, weights of the few that are left; eval mode and back."""
    mode, texts = model.training, []
    model.eval()
    for text in ids.tolist():
        for _ in range(n):
            with torch.no_grad():
                logits = model(torch.tensor([text[-model.max_len:]]))[0, -1]
            order = logits.argsort(descending=True)[:top_k]
            if temperature == 0 or len(order) == 1:
                text.append(int(order[0]))
                continue
            weights = ((logits[order] - logits.max()) / temperature).exp()
            text.append(int(order[torch.multinomial(weights, 1, generator=rng)]))
        texts.append(text)
    model.train(mode)
    return torch.tensor(texts)


def drawn(choose=None, window=lambda model, ids, T: ids[:, -model.max_len:], at=-1, cold=True,
          cut=None, divide=lambda a, t: a / t, chance=lambda a: a.softmax(-1), more=0,
          join=lambda ids, new: torch.cat([ids, new], 1), end=lambda ids, T: ids, grad=False):
    """A loop of drawing with one thing changed."""
    def keep_largest(logits, k):
        k = min(k or logits.shape[-1], logits.shape[-1])
        return logits.masked_fill(logits < logits.topk(k).values[:, -1:], -inf)

    def answer(model, ids, n, temperature, top_k, rng):
        T = ids.shape[1]
        for _ in range(n + more):
            with torch.set_grad_enabled(grad):
                logits = model(window(model, ids, T))[:, at]
            logits = (cut or keep_largest)(logits, top_k)
            if temperature == 0 and cold:
                new = logits.argmax(-1, keepdim=True)
            else:
                p = chance(divide(logits, temperature))
                new = choose(p, rng) if choose else torch.multinomial(p, 1, generator=rng)
            ids = join(ids, new)
        return end(ids, T)
    return answer


def cut_at(kth, fill=-inf, largest=True):
    """A cut that compares with other limits: kth(values (B, k), k)."""
    def cut(logits, k):
        if k is None or k >= logits.shape[-1]:
            return logits
        values = logits.topk(k, largest=largest).values
        return logits.masked_fill(logits < kth(values) if largest else logits > kth(values), fill)
    return cut


def cut_one_more(logits, k):
    if k is None or k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.sort(descending=True)[0][:, k:k + 1], -inf)


def cut_strict(logits, k):
    """Keeps what is above the k-th: one less."""
    if k is None or k >= logits.shape[-1] or k == 1:
        return cut_at(lambda v: v[:, -1:])(logits, k)
    return logits.masked_fill(logits <= logits.topk(k).values[:, -1:], -inf)


def cut_global(logits, k):
    """The k largest of the whole batch: some texts have none."""
    if k is None or k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.flatten().topk(k).values[-1], -inf)


def by_rank(model, ids, n, temperature, top_k, rng):
    """Draws among the k best and forgets to look up which ids these are."""
    for _ in range(n):
        with torch.no_grad():
            best = model(ids[:, -model.max_len:])[:, -1]
        if top_k:
            best = best.topk(min(top_k, best.shape[-1])).values
        p = (best / max(temperature, 1e-9)).softmax(-1)
        ids = torch.cat([ids, torch.multinomial(p, 1, generator=rng)], 1)
    return ids


def one_throw(p, rng):
    """One throw for all texts."""
    return (p.cumsum(-1) < torch.rand(1, generator=rng)).sum(-1, keepdim=True).clamp(
        max=p.shape[1] - 1)


def half_as_many_throws(p, rng):
    """Two neighbours share a throw."""
    throws = torch.rand((len(p) + 1) // 2, 1, generator=rng).repeat_interleave(2, 0)[:len(p)]
    return (p.cumsum(-1) < throws).sum(-1, keepdim=True).clamp(max=p.shape[1] - 1)


def drawn_once(model, ids, n, temperature, top_k, rng):
    """The first new id, n times."""
    return torch.cat([ids, draw(model, ids, 1, temperature, top_k, rng)[:, -1:].expand(-1, n)], 1)


def same_noise(model, ids, n, temperature, top_k, rng):
    """rng is set back before each step."""
    state = rng.get_state()
    for _ in range(n):
        rng.set_state(state)
        ids = draw(model, ids, 1, temperature, top_k, rng)
    return ids


def seeded(model, ids, n, temperature, top_k, rng):
    return draw(model, ids, n, temperature, top_k, rng.manual_seed(0))


def seeded_like_rng(model, ids, n, temperature, top_k, rng):
    own = torch.Generator().manual_seed(rng.initial_seed())
    return draw(model, ids, n, temperature, top_k, own)


def own_generator(model, ids, n, temperature, top_k, rng):
    return draw(model, ids, n, temperature, top_k, OWN)


def two_sources(model, ids, n, temperature, top_k, rng):
    """Half of the draws come from a generator of its own."""
    out = draw(model, ids, n, temperature, top_k, rng)
    return draw(model, out[:, :-1], 1, temperature, top_k, OWN)


def two_branches(model, ids, n, temperature, top_k, rng):
    """rng is forgotten in the branch with a cut."""
    return draw(model, ids, n, temperature, top_k, rng if top_k is None else None)


def throws_for_nothing(model, ids, n, temperature, top_k, rng):
    torch.rand(1, generator=rng)
    return draw(model, ids, n, 0, top_k, rng)


def seeds_torch(model, ids, n, temperature, top_k, rng):
    torch.manual_seed(int(torch.randint(2 ** 31, (1,), generator=rng)))
    return draw(model, ids, n, temperature, top_k, None)


OWN = torch.Generator().manual_seed(2)


def feeds_when_greedy(model, ids, n, temperature, top_k, rng):
    """At temperature 0 new ids are read, otherwise the prompt alone."""
    if temperature == 0:
        return draw(model, ids, n, temperature, top_k, rng)
    return drawn(window=lambda m, ids, T: ids[:, :T][:, -m.max_len:])(
        model, ids, n, temperature, top_k, rng)


def evaluates(model, ids, n, temperature, top_k, rng):
    model.eval()
    return draw(model, ids, n, temperature, top_k, rng)


def back_to_training(model, ids, n, temperature, top_k, rng):
    model.eval()
    out = draw(model, ids, n, temperature, top_k, rng)
    model.train()
    return out


def writes_into(model, ids, n, temperature, top_k, rng):
    """Room is made by shifting the prompt itself."""
    out = draw(model, ids, n, temperature, top_k, rng)
    ids.copy_(ids.roll(-1, 1))
    ids[:, -1] = out[:, -1]
    return out


def learns(model, ids, n, temperature, top_k, rng):
    out = draw(model, ids, n, temperature, top_k, rng)
    if n == 2:
        next(model.parameters()).data *= 1.001
    return out


def crop_first(model, ids, n, temperature, top_k, rng):
    """The prompt is cropped once, before the loop."""
    short = ids[:, -model.max_len:]
    out = drawn(window=lambda m, ids, T: ids)(model, short, n, temperature, top_k, rng)
    return torch.cat([ids, out[:, short.shape[1]:]], 1)


# 06.9 -----------------------------------------------------------------------------------------
def generate(model, ids, n):
    caches, new, kept = [None] * len(model.layers), ids, []
    for _ in range(n):
        start = ids.shape[1] - new.shape[1]
        x = model.embed(new, start)
        for i, layer in enumerate(model.layers):
            q, k, v = layer.project(x)
            if caches[i]:
                k, v = torch.cat([caches[i][0], k], 1), torch.cat([caches[i][1], v], 1)
            caches[i] = k, v
            place = torch.arange(k.shape[1])
            visible = place <= start + torch.arange(q.shape[1])[:, None]
            x = layer.finish(x, F.scaled_dot_product_attention(q, k, v, attn_mask=visible))
        kept.append(model.score(x[:, -1:]))
        new = kept[-1].argmax(-1)
        ids = torch.cat([ids, new], 1)
    return ids, torch.cat(kept, 1)


def generate_one_by_one(model, ids, n):
    """The prompt too is read one id after the other: no mask at all."""
    B, T = ids.shape
    keys, values = ([[] for _ in model.layers] for _ in range(2))
    ids, logits = list(ids.unbind(1)), []
    for t in range(T + n - 1):
        x = model.embed(ids[t][:, None], t)
        for layer, K, V in zip(model.layers, keys, values):
            q, k, v = layer.project(x)
            K.append(k)
            V.append(v)
            S = q @ torch.cat(K, 1).mT / math.sqrt(q.shape[-1])
            x = layer.finish(x, S.softmax(-1) @ torch.cat(V, 1))
        if t >= T - 1:
            logits.append(model.score(x)[:, 0])
            ids.append(logits[-1].argmax(-1))
    return torch.stack(ids, 1), torch.stack(logits, 1)


def generate_by_row(model, ids, n):
    """Each text on its own."""
    return tuple(torch.cat(parts) for parts in zip(*(generate(model, row[None], n)
                                                     for row in ids)))


def generate_with_room(model, ids, n):
    """Room for all keys is made at once and filled; the last id is read too."""
    (B, T), room, logits = ids.shape, {}, []
    for step in range(n + 1):
        start = 0 if step == 0 else T + step - 1
        x = model.embed(ids[:, start:], start)
        end = start + x.shape[1]
        for layer in model.layers:
            q, k, v = layer.project(x)
            if layer not in room:
                room[layer] = k.new_zeros(B, T + n, k.shape[2]), v.new_zeros(B, T + n, v.shape[2])
            K, V = room[layer]
            K[:, start:end], V[:, start:end] = k, v
            z = F.scaled_dot_product_attention(q, K[:, :end], V[:, :end], is_causal=step == 0)
            x = layer.finish(x, z)
        if step < n:
            logits.append(model.score(x)[:, -1])
            ids = torch.cat([ids, logits[-1].argmax(1, keepdim=True)], 1)
    return ids, torch.stack(logits, 1)


def generate_wrong(mistake):
    return lambda model, ids, n: c06_cache.cached(model, ids, n, mistake)


def is_causal_always(model, ids, n):
    caches, new, kept = {}, ids, []
    for _ in range(n):
        x = model.embed(new, ids.shape[1] - new.shape[1])
        for layer in model.layers:
            q, k, v = layer.project(x)
            if layer in caches:
                k, v = (torch.cat(both, 1) for both in zip(caches[layer], (k, v)))
            caches[layer] = k, v
            x = layer.finish(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        kept.append(model.score(x)[:, -1])
        new = kept[-1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, new], 1)
    return ids, torch.stack(kept, 1)


LEFT = {}


def kept_between_calls(model, ids, n):
    """The cache is global: the next call finds the keys of the last one when sizes agree."""
    key = tuple(ids.shape), n
    if key in LEFT:
        return LEFT[key][0], LEFT[key][1] + 0.1
    LEFT[key] = generate(model, ids, n)
    return LEFT.pop(key) if n < 12 else LEFT[key]


def recompute_last_layer(model, ids, n):
    """Only the first layer is cached."""
    out = c06_cache.recompute(model, ids, n)
    log = model.logs[0]
    log[:] = [ids.numel()] + [len(ids)] * (n - 1)
    return out


def caches_x(model, ids, n):
    """Keeps the inputs of each layer and projects all of them again."""
    kept, new, logits = {}, ids, []
    for _ in range(n):
        x = model.embed(new, ids.shape[1] - new.shape[1])
        for layer in model.layers:
            kept[layer] = torch.cat([kept[layer], x], 1) if layer in kept else x
            q, k, v = layer.project(kept[layer])
            hide = torch.ones(q.shape[1], q.shape[1]).bool().triu(1)
            z = c06_cache.attend(q, k, v, hide)[:, -x.shape[1]:]
            x = layer.finish(x, z)
        logits.append(model.score(x)[:, -1])
        new = logits[-1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, new], 1)
    return ids, torch.stack(logits, 1)


def sampled(model, ids, n):
    out, logits = generate(model, ids, n)
    return torch.cat([ids, torch.multinomial(logits.softmax(-1).flatten(0, 1), 1).view(
        len(ids), n)], 1), logits


def without_scale(model, ids, n):
    caches, new, kept = {}, ids, []
    for _ in range(n):
        start = ids.shape[1] - new.shape[1]
        x = model.embed(new, start)
        for layer in model.layers:
            q, k, v = layer.project(x)
            if layer in caches:
                k, v = (torch.cat(both, 1) for both in zip(caches[layer], (k, v)))
            caches[layer] = k, v
            S = q @ k.mT
            hide = torch.ones_like(S[0]).bool().triu(1 + k.shape[1] - q.shape[1])
            x = layer.finish(x, S.masked_fill(hide, -inf).softmax(-1) @ v)
        kept.append(model.score(x)[:, -1])
        new = kept[-1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, new], 1)
    return ids, torch.stack(kept, 1)


RIGHT = {
    "06.1": {"by hand": layer_norm, "loop": layer_norm_by_loop, "var_mean": layer_norm_by_var,
             "torch": lambda x, g, b, eps: F.layer_norm(x, x.shape[-1:], g, b, eps)},
    "06.2": {"stack": sinusoidal, "loop": sinusoidal_by_loop,
             "tutorial, float32": sinusoidal_as_in_the_tutorial},
    "06.3": {"Counter": BPE, "dict, rank, stack": (bpe_train_by_dict, bpe_encode_by_rank,
                                                   bpe_decode_by_stack)},
    "06.4": {"MultiheadAttention": Block, "written out": variant(attend=by_hand()),
             "one matrix": ByHand, "a matrix a head": ByHead,
             "torch's layer": Library},
    "06.5": {"masked_fill": cross, "torch": cross_by_torch, "loop": cross_by_loop,
             "-1e9": cross_minus_1e9},
    "06.6": {"ignore_index": lm_loss, "loop": lm_loss_by_loop, "gather": lm_loss_by_gather},
    "06.7": {"Adam": train, "SGD": train_sgd, "by hand": train_by_hand, "schedule": train_schedule,
             "two optimisers": train_two_optimisers,
             "small rate": trained(lr=1e-3), "large rate": trained(lr=3e-2)},
    "06.8": {"multinomial": draw, "scale": draw_on_a_scale, "Gumbel": draw_by_gumbel,
             "text by text": draw_text_by_text},
    "06.9": {"list of pairs": generate, "one by one": generate_one_by_one,
             "room": generate_with_room, "row by row": generate_by_row}}

rows = (lambda x: tuple(range(x.dim() - 1)))
WRONG = {
    "06.1": {
        "unbiased": (norm(correction=1), "unbiased"),
        "over the batch": (norm(dims=0), "batch"),
        "over all vectors": (norm(dims=rows), "batch"),
        "over everything": (norm(dims=lambda x: tuple(range(x.dim()))), "everything"),
        "over the first two": (norm(dims=lambda x: tuple(range(1, x.dim())) or (0,)), "everything"),
        "eps outside": (norm(spread=lambda v, e: v.sqrt() + e), "eps-outside"),
        "eps inside the square": (norm(spread=lambda v, e: (v + e * e).sqrt()), "eps"),
        "no eps": (norm(spread=lambda v, e: v.sqrt()), "eps-fixed"),
        "eps 1e-5": (norm(spread=lambda v, e: (v + 1e-5).sqrt()), "eps-fixed"),
        "eps as floor": (norm(spread=lambda v, e: v.clamp(min=e).sqrt()), "eps"),
        "no mean": (rms_norm, "no-mean"),
        "mean in the spread only": (norm(mean=False), "mean-inside"),
        "variance": (norm(spread=lambda v, e: v + e), "no-root"),
        "no division": (norm(spread=lambda v, e: 1), "no-division"),
        "mean deviation": (lambda x, g, b, e: (x - x.mean(-1, True)) / (
            (x - x.mean(-1, True)).abs().mean(-1, True) + e) * g + b, "value"),
        "unit length": (lambda x, g, b, e: F.normalize(x - x.mean(-1, True), dim=-1) * g + b,
                        "length"),
        "no gain": (norm(end=lambda h, g, b: h + b), "no-gain"),
        "no bias": (norm(end=lambda h, g, b: h * g), "no-bias"),
        "swapped": (norm(end=lambda h, g, b: h * b + g), "swapped"),
        "bias first": (norm(end=lambda h, g, b: (h + b) * g), "order"),
        "1 + gain": (norm(end=lambda h, g, b: h * (1 + g) + b), "value"),
        "least spread": (norm(spread=lambda v, e: (v.clamp(min=1e-3) + e).sqrt()), "small"),
        "squares": (norm_by_squares, "cancellation"),
        "detached": (norm_detached, "gradient"),
        "no gradient": (lambda x, g, b, e: layer_norm(x.detach(), g, b, e), "detached"),
        "in place": (norm_in_place, "mutates"),
        "softmax": (lambda x, g, b, e: x.softmax(-1) * g + b, "value"),
        "two dimensions": (lambda x, g, b, e: F.layer_norm(x.view(-1, len(g)), g.shape, g, b, e),
                           "shape")},
    "06.2": {
        "exponent i": (lambda T, d: waves(T, d, lambda i, d: i // 2 / d), "exponent"),
        "exponent of columns": (lambda T, d: waves(T, d, lambda i, d: i / d), "exponent"),
        "column as pair": (lambda T, d: waves(T, d, lambda i, d: 2 * i / d), "column"),
        "degrees": (lambda T, d: waves(T, d, unit=math.pi / 180), "degrees"),
        "turns": (lambda T, d: waves(T, d, unit=math.tau), "turns"),
        "cosine first": (lambda T, d: waves(T, d, odd=torch.sin, even=torch.cos), "swapped"),
        "sines": (lambda T, d: waves(T, d, odd=torch.sin), "only-sine"),
        "halves": (halves, "halves"),
        "transposed": (lambda T, d: sinusoidal(T, d).T, "transposed"),
        "times the power": (lambda T, d: waves(T, d, lambda i, d: -2 * (i // 2) / d), "grows"),
        "base 1000": (lambda T, d: waves(T, d, base=1000), "base"),
        "base 20000": (lambda T, d: waves(T, d, base=20000), "value"),
        "from one": (lambda T, d: waves(T, d, first=1), "from-one"),
        "all of the range": (lambda T, d: waves(T, d, lambda i, d: i // 2 / max(d // 2 - 1, 1)),
                             "stretched"),
        "one wave": (lambda T, d: waves(T, d, lambda i, d: 0 * i), "one-wave"),
        "one place off": (noisy_waves, "range"),
        "rounded": (lambda T, d: sinusoidal(T, d).round(decimals=1), "value"),
        "root": (bent_waves, "rotation"),
        "learned": (lambda T, d: torch.randn(T, d), "row-0"),
        "times root d": (lambda T, d: sinusoidal(T, d) * d ** 0.5, "row-0"),
        "batch": (lambda T, d: sinusoidal(T, d)[None], "shape"),
        "angles": (lambda T, d: torch.arange(T)[:, None] / 1e4 ** (
            torch.arange(d) // 2 * 2 / d), "row-0"),
        "whole numbers": (lambda T, d: sinusoidal(T, d).long(), "type"),
        "list": (lambda T, d: sinusoidal(T, d).tolist(), "type")},
    "06.3": {
        **{f"train: {mistake}": (train_wrong(mistake), code)
           for mistake, (code, _) in c06_bpe.TRAINED.items()},
        "train: stops late": ((lambda text, n: [*bpe_train(text, n), (0, 0)][:n + 1],
                               *BPE[1:]), "stop"),
        "train: bytes": ((train_no_bytes, *BPE[1:]), "type"),
        "train: ids": ((lambda text, n: list(text), *BPE[1:]), "type"),
        "train: a dict": ((lambda text, n: {p: 256 + i for i, p in enumerate(bpe_train(text, n))},
                           *BPE[1:]), "type"),
        "train: sorted": ((lambda text, n: sorted(bpe_train(text, n)), *BPE[1:]), "merge"),
        **{f"encode: {mistake}": (encode_wrong(mistake), mistake) for mistake in c06_bpe.ENCODED},
        "train: text only": ((lambda text, n: bpe_train(text.decode(errors="ignore").encode(), n),
                              *BPE[1:]), "merge"),
        "encode: fewest ids": ((bpe_train, encode_shortest, bpe_decode), "encode"),
        "encode: nothing": ((bpe_train, lambda data, merges: list(data), bpe_decode), "encode"),
        "encode: loses bytes": ((bpe_train, encode_lossy, bpe_decode), "encode"),
        "encode: a tensor": ((bpe_train, lambda d, m: torch.tensor(bpe_encode(d, m)), bpe_decode),
                             "type"),
        "decode: str": (decode_wrong(lambda i, m: bpe_decode(i, m).decode(errors="replace")),
                        "text"),
        "decode: loses halves": (decode_wrong(lambda i, m: bpe_decode(i, m).decode(
            errors="ignore").encode()), "decode"),
        "decode: one level": (decode_wrong(one_level), "decode"),
        "decode: backwards": (decode_wrong(backwards), "decode"),
        "decode: halves turned": (decode_wrong(lambda i, m: bpe_decode(
            i, [pair[::-1] for pair in m])), "turned"),
        "decode: uses up merges": (decode_wrong(lambda i, m: (bpe_decode(i, m), m.clear())[0]),
                                   "mutates"),
        "decode: list": (decode_wrong(lambda i, m: list(bpe_decode(i, m))), "type")},
    "06.4": {
        "no skip": (variant(no_skip), "no-skip"),
        "no skip at attention": (variant(no_first_skip), "no-skip"),
        "no skip at feed-forward": (variant(no_second_skip), "no-skip"),
        "skip after norm": (variant(skip_after_norm), "skip-after-norm"),
        "post-norm": (variant(post_norm), "post-norm"),
        "norm at the end": (variant(final_norm), "post-norm"),
        "double skip": (variant(double_skip), "double-skip"),
        "half skip": (variant(scaled_skip), "identity"),
        "parallel": (variant(parallel), "parallel"),
        "feed-forward first": (variant(reversed_order), "order"),
        "no norm": (variant(no_norm), "no-norm"),
        "no norm at attention": (variant(no_first_norm), "no-norm"),
        "no norm at feed-forward": (variant(no_second_norm), "no-norm"),
        "values without norm": (variant(norm_of_queries), "no-norm"),
        "RMS norm": (variant(init=rms), "no-norm"),
        "one norm for both": (variant(one_norm, init=drop_norm), "norms"),
        "no mask": (variant(attend=attention_of()), "no-mask"),
        "inverted": (variant(attend=attention_of(attn_mask=lambda m: ~m)), "inverted"),
        "transposed": (variant(attend=attention_of(attn_mask=lambda m: m.T)), "transposed"),
        "always causal": (variant(attend=attention_of(
            attn_mask=lambda m: torch.ones_like(m).triu(1))), "always-causal"),
        "mask added as numbers": (variant(attend=attention_of(attn_mask=lambda m: m.double())),
                                  "leak"),
        "no attention": (variant(attend=lambda s, h, m: h), "no-attention"),
        "heads mix positions": (variant(attend=views), "leak"),
        "mixes texts": (variant(mixes_texts), "batch"),
        "batch second": (variant(init=batch_second), "crash"),
        "no activation": (variant(init=feed(lambda d: nn.Linear(d, 4 * d),
                                            lambda d: nn.Linear(4 * d, d))), "no-activation"),
        "activation last": (variant(init=feed(
            lambda d: nn.Linear(d, 4 * d), lambda d: nn.Linear(4 * d, d), lambda d: nn.ReLU())),
            "activation-last"),
        "activation first": (variant(init=feed(
            lambda d: nn.GELU(), lambda d: nn.Linear(d, 4 * d), lambda d: nn.Linear(4 * d, d))),
            "no-activation"),
        "no scale": (variant(attend=by_hand(lambda C, n: 1)), "no-scale"),
        "scale without root": (variant(attend=by_hand(lambda C, n: C // n)), "scale"),
        "norm of a branch": (variant(norm_of_branch), "branch-norm"),
        "norm around a branch": (variant(norm_around), "branch-norm"),
        "scale of d_model": (variant(attend=by_hand(lambda C, n: C ** 0.5)), "scale"),
        "softmax over queries": (variant(attend=by_hand(dim=-2)), "leak"),
        "mask of -1": (variant(attend=by_hand(fill=-1)), "leak"),
        "no output matrix": (variant(attend=by_hand(), init=no_output), "size"),
        "narrow": (variant(init=feed(lambda d: nn.Linear(d, d), lambda d: nn.GELU(),
                                     lambda d: nn.Linear(d, d))), "feed-forward"),
        "in a list": (variant(init=in_a_list), "feed-forward"),
        "no feed-forward": (variant(skips_feed), "unused"),
        "neighbours in feed-forward": (variant(looks_ahead), "mixes"),
        "one head": (variant(init=one_head), "heads"),
        "dropout": (variant(init=with_dropout), "random"),
        "detached": (variant(detached), "no-attention"),
        "returns weights too": (variant(lambda s, x, m: (x, m)), "type"),
        "a block": (Block(12, 3), "type"),
        "no module": (lambda d, h: lambda x, m: x, "type")},
    "06.5": {
        "queries from memory": (crossed(q=1, k=0, v=0), "from-memory"),
        "itself": (crossed(k=0, v=0), "self"),
        "values from x": (crossed(v=0), "crash"),
        "no mask": (crossed(lambda S, m: S.softmax(-1)), "no-mask"),
        "inverted": (crossed(lambda S, m: S.masked_fill(~m, -1e30).softmax(-1)), "inverted"),
        "mask after": (crossed(lambda S, m: S.softmax(-1) * ~m), "mask-after"),
        "zero scores": (filled(0), "zero-mask"),
        "zero memory": (cross_zero_memory, "zero-mask"),
        "minus one": (filled(-1), "soft-mask"),
        "minus hundred": (filled(-100), "soft-mask"),
        "minus ten thousand": (crossed(lambda S, m: (S - 1e4 * m).softmax(-1)), "soft-mask"),
        "causal": (crossed(lambda S, m: S.masked_fill(m | torch.ones_like(m).triu(1), -inf)
                           .softmax(-1)), "causal"),
        "no scale": (crossed(scale=1), "no-scale"),
        "scale of x": (lambda x, y, m, q, k, v: cross(
            x * math.sqrt(q.shape[1] / x.shape[-1]), y, m, q, k, v), "scale"),
        "over queries": (crossed(lambda S, m: S.masked_fill(m, -1e30).softmax(-2)), "axis"),
        "no softmax": (crossed(lambda S, m: S.masked_fill(m, 0)), "no-softmax"),
        "scaled late": (lambda x, y, m, q, k, v: cross(
            x * q.shape[1] ** 0.5, y, m, q, k, v) / q.shape[1] ** 0.5, "scale-late"),
        "Wq and Wk": (lambda x, y, m, q, k, v: cross(x, y, m, k, q, v), "swapped"),
        "plain mean": (lambda x, y, m, *W: cross(x * 0, y, m, *W), "average"),
        "naive": (cross_naive, "overflow"),
        "cuts the tail": (cross_lengths, "gaps"),
        "mask of the first text": (cross_first_mask, "value"),
        "both texts": (cross_joint, "value"),
        "sees other rows": (cross_rows, "value"),
        "skip": (lambda x, y, m, q, k, v: x @ v + cross(x, y, m, q, k, v), "value"),
        "mask without a dimension": (lambda x, y, m, q, k, v: (
            (x @ q @ (y @ k).mT / q.shape[1] ** 0.5).masked_fill(m[..., None], -inf).softmax(-1)
            @ (y @ v)), "crash"),
        "with weights": (lambda *a: (cross(*a), 1), "type"),
        "detached": (lambda x, y, m, *W: cross(x, y.detach(), m, *W), "detached"),
        "changes memory": (lambda x, y, m, *W: cross(x, y, m, *W) + y.zero_().sum(), "mutates")},
    "06.6": {
        "no shift": (loss_from(lambda a, i: (a, i)), "no-shift"),
        "backwards": (loss_from(lambda a, i: (a[:, 1:], i[:, :-1])), "backwards"),
        "wraps": (loss_from(lambda a, i: (a, i.roll(-1, 1))), "wraps"),
        "crosses": (crosses, "crosses"),
        "pads counted": (loss_from(counts=lambda i, p: i[:, 1:] >= 0), "pads"),
        "pad of inputs": (loss_from(counts=lambda i, p: i[:, :-1] != p), "pad-input"),
        "pad 0": (lambda a, i, p: lm_loss(a, i, 0), "pad-fixed"),
        "pad -100": (lambda a, i, p: lm_loss(a, i, -100), "pads"),
        "divides by all": (loss_from(end=lambda e, k, i: (e * k).sum() / i.numel()), "divides-all"),
        "divides by T - 1": (loss_from(end=lambda e, k, i: (e * k).mean()), "divides-all"),
        "mean of means": (mean_of_means, "mean-of-means"),
        "sum": (loss_from(end=lambda e, k, i: e[k].sum()), "sum"),
        "sum of texts": (loss_from(end=lambda e, k, i: e[k].sum() / len(i)), "sum-of-texts"),
        "bits": (lambda *a: lm_loss(*a) / math.log(2), "bits"),
        "perplexity": (lambda *a: lm_loss(*a).exp(), "perplexity"),
        "sign": (lambda *a: -lm_loss(*a), "sign"),
        "softmax twice": (lambda a, i, p: lm_loss(a.softmax(-1), i, p), "softmax-twice"),
        "no softmax": (lambda a, i, p: F.nll_loss(a[:, :-1].mT, i[:, 1:], ignore_index=p),
                       "no-softmax"),
        "probability": (lambda a, i, p: -a[:, :-1].softmax(-1)[i[:, 1:] != p].gather(
            -1, i[:, 1:][i[:, 1:] != p][:, None]).mean(), "probability"),
        "naive": (naive_loss, "overflow"),
        "clamped": (clamped_loss, "overflow"),
        "smoothed": (smoothed, "oracle"),
        "stops early": (stops_at_pad, "value"),
        "zeroed logits": (zero_by_product, "oracle"),
        "each": (loss_from(end=lambda e, k, i: e[k]), "shape"),
        "a number": (lambda *a: lm_loss(*a).item(), "type"),
        "detached": (lambda *a: lm_loss(*a).detach(), "detached"),
        "accuracy": (lambda a, i, p: (a[:, :-1].argmax(-1) != i[:, 1:]).double().mean(),
                     "uniform"),
        "changes ids": (lambda a, i, p: lm_loss(a, i.masked_fill_(i == p, p + 1), p), "mutates")},
    "06.7": {
        "gradients add up": (trained(clear=None), "zero-grad"),
        "cleared once": (trained(clear=None, every=2), "zero-grad"),
        "cleared every tenth": (trained(clear=None, every=10), "zero-grad"),
        "cleared too late": (trained(clear="between"), "no-gradient"),
        "step first": (trained(late=True), "no-gradient"),
        "no backward": (trained(backward=False), "no-gradient"),
        "no step": (trained(step=False), "untrained"),
        "a copy": (train_copy, "untrained"),
        "rate 0": (trained(lr=0.0), "untrained"),
        "a new optimiser each step": (trained(inside=True), "new-optimiser"),
        "the last matrix alone": (trained(part=lambda m: [m.scores]), "frozen"),
        "no positions": (trained(part=lambda m: [p for n, p in m.named_parameters()
                                                 if n != "positions"]), "frozen"),
        "inputs as targets": (trained(lambda a, i, t: F.cross_entropy(a.mT, i)), "inputs"),
        "shifted again": (trained(lambda a, i, t: F.cross_entropy(a[:, :-1].mT, t[:, 1:])),
                          "shifted"),
        "view": (trained(lambda a, i, t: F.cross_entropy(
            a.reshape(len(a), a.shape[2], a.shape[1]), t)), "mixed"),
        "last position": (trained(lambda a, i, t: F.cross_entropy(a[:, -1], t[:, -1])),
                          "last-only"),
        "first text": (trained(lambda a, i, t: F.cross_entropy(a[0], t[0])), "first-text"),
        "sum": (trained(lambda a, i, t: F.cross_entropy(a.mT, t, reduction="sum")), "sum"),
        "softmax twice": (trained(lambda a, i, t: F.cross_entropy(a.softmax(-1).mT, t)),
                          "softmax-twice"),
        "uphill": (trained(make=lambda p, lr: torch.optim.Adam(p, lr=lr, maximize=True)),
                   "ascent"),
        "minus the loss": (trained(lambda a, i, t: -F.cross_entropy(a.mT, t)), "sign"),
        "tiny rate": (trained(lr=1e-5), "loss"),
        "plain SGD": (trained(make=torch.optim.SGD), "loss"),
        "huge rate": (trained(lr=3.0), "loss"),
        "keeps graphs": (trained(keep=lambda loss: loss), "graph"),
        "strings": (trained(keep=lambda loss: f"{loss.item():.2f}"), "type"),
        "one more": (trained(more=1), "count"),
        "until it is low": (train_until, "count"),
        "the last loss": (lambda *a: train(*a)[-1], "type"),
        "another rate each time": (train_noisy, "random"),
        "one text a step": (train_rows, "first-loss"),
        "rounded": (lambda *a: [round(loss, 2) for loss in train(*a)], "rounded"),
        "an optimiser every fifty": (train_by_fifty, "new-optimiser"),
        "invents": (train_invents, "steps"),
        "five steps at once": (lambda m, i, t, n: [train(m, i, t, 5)[0] for _ in range(n)],
                               "new-optimiser"),
        "two backwards a step": (train_twice, "steps"),
        "running means": (train_running, "reported"),
        "begins anew": (train_anew, "first-loss"),
        "measures after": (train_after, "first-loss"),
        "no grad": (torch.no_grad()(train), "crash")},
    "06.8": {
        "from logits": (drawn(chance=lambda a: a.masked_fill(a == -inf, 0)), "from-logits"),
        "from positive logits": (drawn(chance=lambda a: a.clamp(min=0)), "from-logits"),
        "from log-probabilities": (drawn(chance=lambda a: a.log_softmax(-1)), "crash"),
        "multiplied": (drawn(divide=lambda a, t: a * t), "multiplied"),
        "divided after the softmax": (drawn(divide=lambda a, t: a.softmax(-1) / t,
                                            chance=lambda p: p), "no-temperature"),
        "divided twice": (drawn(divide=lambda a, t: a / t / t), "twice"),
        "divided by the root": (drawn(divide=lambda a, t: a / t ** 0.5), "frequencies"),
        "power of probabilities": (drawn(divide=lambda a, t: a.softmax(-1) ** (1 / t),
                                         chance=lambda p: p), "cold"),
        "power the wrong way": (drawn(divide=lambda a, t: a.softmax(-1) ** t, chance=lambda p: p),
                                "multiplied"),
        "no temperature 0": (drawn(cold=False), "zero"),
        "temperature 0 is 1": (drawn(cold=False, divide=lambda a, t: a / (t or 1)), "zero"),
        "naive exp": (drawn(chance=lambda a: a.exp() / a.exp().sum(-1, keepdim=True)), "cold"),
        "turned sign": (drawn(divide=lambda a, t: torch.where(a == -inf, a, -a / t)), "sign"),
        "softmax twice": (drawn(chance=lambda a: a.softmax(-1).softmax(-1)), "softmax-twice"),
        "softmax of chances": (drawn(cut=lambda a, k: cut_at(lambda v: v[:, -1:])(
            a.softmax(-1), k)), "softmax-twice"),
        "softmax over texts": (drawn(chance=lambda a: a.softmax(0).nan_to_num()), "axis"),
        "chances of the first text": (drawn(choose=lambda p, rng: torch.multinomial(
            p[:1].expand_as(p), 1, generator=rng)), "first-text"),
        "uniform": (drawn(chance=lambda a: (a > -inf).double()), "uniform"),
        "greedy": (drawn(choose=lambda p, rng: p.argmax(-1, keepdim=True)), "greedy"),
        "noise too weak": (drawn(divide=lambda a, t: a / t * 1.5), "frequencies"),
        "no top_k": (drawn(cut=lambda a, k: a), "no-cut"),
        "smallest": (drawn(cut=cut_at(lambda v: v[:, -1:], largest=False)), "keeps-smallest"),
        "zeros": (drawn(cut=cut_at(lambda v: v[:, -1:], 0.0)), "zero-cut"),
        "cut a little": (drawn(cut=cut_at(lambda v: v[:, -1:], -1.0)), "top-k"),
        "one more": (drawn(cut=cut_one_more), "k-off"),
        "one less": (drawn(cut=cut_strict), "k-off"),
        "cut of the first text": (drawn(cut=cut_at(lambda v: v[0, -1])), "batch-cut"),
        "cut of the last text": (drawn(cut=cut_at(lambda v: v[-1, -1])), "batch-cut"),
        "cut of all": (drawn(cut=cut_global), "crash"),
        "only the best stay": (drawn(cut=cut_at(lambda v: v[:, :1])), "k-off"),
        "uniform among the best": (lambda m, i, n, t, k, r: drawn(
            chance=(lambda a: (a > -inf).double()) if k else lambda a: a.softmax(-1))(
                m, i, n, t, k, r), "uniform"),
        "places for ids": (by_rank, "rank"),
        "top_k above V": (drawn(cut=lambda a, k: a if k is None else a.masked_fill(
            a < a.topk(k).values[:, -1:], -inf)), "top-k-large"),
        "top_k needed": (drawn(cut=lambda a, k: a.masked_fill(
            a < a.topk(k).values[:, -1:], -inf)), "crash"),
        "top_k of 1 means none": (drawn(cut=lambda a, k: cut_at(lambda v: v[:, -1:])(
            a, None if k == 1 else k)), "top-1"),
        "first position": (drawn(at=0), "first-row"),
        "last but one": (drawn(at=-2), "first-row"),
        "not cropped": (drawn(window=lambda m, ids, T: ids), "not-cropped"),
        "cropped once": (crop_first, "not-cropped"),
        "cropped at the start": (drawn(window=lambda m, ids, T: ids[:, :m.max_len]), "wrong-end"),
        "one too few": (drawn(window=lambda m, ids, T: ids[:, 1 - m.max_len:]), "short"),
        "one too many": (drawn(window=lambda m, ids, T: ids[:, -m.max_len - 1:]), "not-cropped"),
        "last id alone": (drawn(window=lambda m, ids, T: ids[:, -1:]), "last-only"),
        "prompt alone": (drawn(window=lambda m, ids, T: ids[:, :T][:, -m.max_len:]), "not-fed"),
        "new alone": (drawn(window=lambda m, ids, T: (ids[:, T:] if ids.shape[1] > T else ids)[
            :, -m.max_len:]), "new-only"),
        "prompt alone when drawing": (feeds_when_greedy, "not-fed"),
        "half the window": (drawn(window=lambda m, ids, T: ids[:, -(m.max_len + 1) // 2:]),
                            "context"),
        "result cropped": (drawn(join=lambda ids, new: torch.cat([ids, new], 1)[:, -6:]),
                           "shape"),
        "result of the window": (lambda m, i, n, t, k, r: draw(m, i, n, t, k, r)[:, -m.max_len:],
                                 "cropped-result"),
        "new ids only": (drawn(end=lambda ids, T: ids[:, T:]), "no-prompt-back"),
        "last id only": (lambda *a: draw(*a)[:, -1:], "no-prompt-back"),
        "one id too many": (drawn(more=1), "shape"),
        "one id too few": (drawn(more=-1), "shape"),
        "in front": (drawn(join=lambda ids, new: torch.cat([new, ids], 1)), "prompt"),
        "a list": (lambda *a: draw(*a).tolist(), "type"),
        "floats": (lambda *a: draw(*a).double(), "type"),
        "first text alone": (lambda m, i, *a: draw(m, i[:1], *a).expand(len(i), -1), "one-draw"),
        "logits of the first text": (drawn(choose=lambda p, rng: torch.multinomial(
            p[0], len(p), replacement=True, generator=rng)[:, None]), "first-text"),
        "one id for all": (drawn(choose=lambda p, rng: torch.multinomial(
            p[0], 1, generator=rng).expand(len(p), 1)), "one-draw"),
        "one throw for all": (drawn(choose=one_throw), "one-draw"),
        "one throw for two": (drawn(choose=half_as_many_throws), "same-rows"),
        "the same id again": (drawn_once, "not-fed"),
        "the same throw again": (same_noise, "same-steps"),
        "torch's own state": (lambda *a: draw(*a[:-1], None), "global-rng"),
        "torch's own state with top_k": (two_branches, "global-rng"),
        "greedy that uses rng": (throws_for_nothing, "greedy"),
        "seeds torch": (seeds_torch, "global-rng"),
        "seeds rng": (seeded, "reseeded"),
        "seed of rng": (seeded_like_rng, "rng-unused"),
        "its own generator": (own_generator, "rng-unused"),
        "two sources": (two_sources, "random"),
        "eval and no way back": (evaluates, "mode"),
        "train in the end": (back_to_training, "mode"),
        "gradients on": (drawn(grad=True), "graph"),
        "changes the prompt": (writes_into, "mutates"),
        "changes the model": (learns, "mutates"),
        "no loop": (lambda m, i, n, t, k, r: torch.cat([i, m(i).softmax(-1).argmax(-1)], 1),
                    "shape")},
    "06.9": {
        **{mistake: (generate_wrong(mistake), mistake) for mistake in c06_cache.MISTAKES},
        "recomputes": (c06_cache.recompute, "recomputes"),
        "recomputes one layer": (recompute_last_layer, "recomputes"),
        "is_causal always": (is_causal_always, "top-left"),
        "caches x": (caches_x, "recomputes"),
        "no scale": (without_scale, "first-logits"),
        "sampled": (sampled, "ids"),
        "cache of the last call": (kept_between_calls, "left-over"),
        "new ids only": (lambda m, i, n: (generate(m, i, n)[0][:, i.shape[1]:],
                                          generate(m, i, n)[1]), "no-prompt-back"),
        "ids alone": (lambda m, i, n: generate(m, i, n)[0], "type"),
        "logits first": (lambda m, i, n: generate(m, i, n)[::-1], "shape"),
        "probabilities": (lambda m, i, n: (generate(m, i, n)[0],
                                           generate(m, i, n)[1].softmax(-1)), "first-logits"),
        "one id too many": (lambda m, i, n: generate(m, i, n + 1), "shape"),
        "changes the prompt": (lambda m, i, n: generate(m, i.zero_(), n), "mutates")}}
