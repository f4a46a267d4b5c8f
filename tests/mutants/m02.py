"""Right and wrong answers to the exercises of lecture 02."""
import math
import random

import numpy as np
import torch
import torch.nn.functional as F


# 02.1 -----------------------------------------------------------------------------------------
def pairs_by_loop(sents, window):
    pairs = []
    for sent in sents:
        for i, word in enumerate(sent):
            for j in range(max(0, i - window), min(len(sent), i + window + 1)):
                if i != j:
                    pairs.append((word, sent[j]))
    return pairs


def pairs_by_zip(sents, window):
    ahead = [pair for sent in sents for k in range(1, window + 1) for pair in zip(sent, sent[k:])]
    return ahead + [(b, a) for a, b in ahead]


def pairs_by_slices(sents, window):
    return [(word, other) for sent in sents for i, word in enumerate(sent)
            for other in sent[max(0, i - window):i] + sent[i + 1:i + 1 + window]]


def pairs_wrapping(sents, window):
    return [(sent[i], sent[i + k]) for sent in sents for i in range(len(sent))
            for k in range(-window, window + 1) if k and i + k < len(sent) and len(sent) > window]


def pairs_crossing(sents, window):
    return pairs_by_loop([[word for sent in sents for word in sent]], window)


def pairs_with_self(sents, window):
    return [(a, b) for sent in sents for i, a in enumerate(sent)
            for j, b in enumerate(sent) if abs(i - j) <= window]


def pairs_of_words(sents, window):
    return [(a, b) for a, b in pairs_with_self(sents, window) if a != b]


def pairs_shrunk(sents, window):
    rng = random.Random(0)
    return [pair for sent in sents for pair in pairs_by_loop([sent], rng.randint(1, window))]


def pairs_first_window(sents, window):
    return [(sent[i], sent[j]) for sent in sents for i in range(window, len(sent) - window)
            for j in range(i - window, i + window + 1) if i != j]


def pairs_pop(sents, window):
    out = pairs_by_loop(sents, window)
    sents.clear()
    return out


# 02.2 -----------------------------------------------------------------------------------------
def loss_vector(c, o, neg):
    near = (c * o).sum(-1)
    far = torch.einsum("bd,bkd->bk", c, neg)
    return -(F.logsigmoid(near) + F.logsigmoid(-far).sum(-1)).mean()


def loss_softplus(c, o, neg):
    total = 0.0
    for b in range(len(c)):
        total = total + F.softplus(-(c[b] @ o[b])) + F.softplus(neg[b] @ c[b]).sum()
    return total / len(c)


def loss_bce(c, o, neg):
    scores = torch.cat([o[:, None], neg], 1) @ c[:, :, None]
    truth = torch.zeros_like(scores)
    truth[:, 0] = 1
    return F.binary_cross_entropy_with_logits(scores, truth, reduction="sum") / len(c)


def terms(c, o, neg):
    return (c * o).sum(-1), (neg @ c[:, :, None])[..., 0]


def loss_like(form):
    return lambda c, o, neg: form(*terms(c, o, neg))


ls = F.logsigmoid


# 02.3 - 02.6 ----------------------------------------------------------------------------------
def noise_loop(counts, power=0.75):
    weights = [float(n) ** power for n in counts]
    return torch.tensor([w / sum(weights) for w in weights])


def over_sum(weights):
    return weights / weights.sum()


def nearest_vector(E, q, k, exclude=()):
    scores = F.normalize(E, dim=1) @ q
    scores[list(exclude)] = -math.inf
    k = min(k, len(E) - len(set(exclude)))
    return scores.topk(k).indices.tolist()


def nearest_loop(E, q, k, exclude=()):
    def cosine(i):
        return float(E[i] @ q) / (float(E[i].norm()) or math.inf)
    allowed = [i for i in range(len(E)) if i not in exclude]
    return sorted(allowed, key=cosine, reverse=True)[:k]


def nearest_by(score, drop=True):
    def nearest(E, q, k, exclude=()):
        order = score(E, q).argsort(descending=True).tolist()
        return [i for i in order if not drop or i not in exclude][:k]
    return nearest


def nearest_nan(E, q, k, exclude=()):
    scores = (E / E.norm(dim=1, keepdim=True)) @ q
    scores[list(exclude)] = -math.inf
    return scores.topk(min(k, len(E) - len(exclude))).indices.tolist()


def nearest_pads(E, q, k, exclude=()):
    scores = F.normalize(E, dim=1) @ q
    scores[list(exclude)] = -math.inf
    return scores.topk(k).indices.tolist()


def nearest_in_place(E, q, k, exclude=()):
    E /= E.norm(dim=1, keepdim=True)
    return nearest_vector(E, q, k, exclude)


def analogy_vector(E, a, b, c, exclude_inputs=True):
    U = F.normalize(E, dim=1)
    scores = U @ (U[b] - U[a] + U[c])
    if exclude_inputs:
        scores[[a, b, c]] = -math.inf
    return int(scores.argmax())


def analogy_loop(E, a, b, c, exclude_inputs=True):
    U = [row / row.norm() for row in E]
    query = U[b] - U[a] + U[c]
    barred = {a, b, c} if exclude_inputs else set()
    return max((i for i in range(len(E)) if i not in barred), key=lambda i: float(U[i] @ query))


def analogy_like(query, normal=True, barred=lambda a, b, c: [a, b, c], always=False, dot=False):
    def analogy(E, a, b, c, exclude_inputs=True):
        U = F.normalize(E, dim=1) if normal else E
        scores = U @ query(U, a, b, c)
        scores = scores if dot else scores / E.norm(dim=1) if not normal else scores
        if exclude_inputs or always:
            scores[barred(a, b, c)] = -math.inf
        return int(scores.argmax())
    return analogy


def arrow(U, a, b, c):
    return U[b] - U[a] + U[c]


def ppmi_probabilities(C):
    joint = C / C.sum()
    chance = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    ratio = torch.where(chance > 0, joint / chance.clamp(min=1e-300), 0)
    return torch.where(ratio > 1, ratio.clamp(min=1).log(), 0)


def ppmi_loop(C):
    out = torch.zeros_like(C)
    for i in range(C.shape[0]):
        for j in range(C.shape[1]):
            if C[i, j] > 0:
                ratio = C[i, j] * C.sum() / (C[i].sum() * C[:, j].sum())
                out[i, j] = max(0.0, math.log(ratio))
    return out


def ratio_of(C):
    return C * C.sum() / (C.sum(1, keepdim=True) * C.sum(0, keepdim=True))


# 02.7 and 02.8 --------------------------------------------------------------------------------
def train(pairs, V, d, steps, seed, K=5, power=0.75, far_sign=-1, rate=0.05, use_far=True,
          falls=True, tied=False, size=512, shuffle=False, start=0.1):
    rng = torch.Generator().manual_seed(seed)
    E_in = (start * torch.randn(V, d, generator=rng)).requires_grad_()
    E_out = E_in if tied else torch.zeros(V, d, requires_grad=True)
    noise = pairs[:, 1].bincount(minlength=V) ** power
    noise = torch.where(pairs[:, 1].bincount(minlength=V) > 0, noise, 0.0)
    adam = torch.optim.Adam([E_in] if tied else [E_in, E_out], lr=rate)
    for step in range(steps):
        batch = pairs[torch.randint(len(pairs), (size,), generator=rng)]
        other = batch[torch.randperm(size, generator=rng), 1] if shuffle else batch[:, 1]
        neg = torch.multinomial(noise, size * K, True, generator=rng).view(size, K)
        near, far = terms(E_in[batch[:, 0]], E_out[other], E_out[neg])
        loss = -(ls(near) + use_far * ls(far_sign * far).sum(-1)).mean()
        if falls:
            adam.param_groups[0]["lr"] = rate * (1 - 0.98 * step / steps)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return E_in.detach(), E_out.detach()


def train_by_hand(pairs, V, d, steps, seed):
    """Without autograd: the gradient of the loss, plain steps, averaged over a word's pairs."""
    rng = np.random.default_rng(seed)
    E_in, E_out = 0.1 * rng.standard_normal((V, d)), np.zeros((V, d))
    pairs = pairs.numpy()
    counts = np.bincount(pairs[:, 1], minlength=V)
    noise = np.where(counts > 0, counts ** 0.75, 0.0)
    noise = noise / noise.sum()
    for _ in range(steps):
        batch = pairs[rng.integers(len(pairs), size=2000)]
        c, o, n = batch[:, 0], batch[:, 1], rng.choice(V, (2000, 5), p=noise)
        near = 1 / (1 + np.exp(-(E_in[c] * E_out[o]).sum(-1))) - 1
        far = 1 / (1 + np.exp(-np.einsum("bd,bkd->bk", E_in[c], E_out[n])))
        to_in, to_out = np.zeros_like(E_in), np.zeros_like(E_out)
        np.add.at(to_in, c, near[:, None] * E_out[o] + np.einsum("bk,bkd->bd", far, E_out[n]))
        np.add.at(to_out, o, near[:, None] * E_in[c])
        np.add.at(to_out, n, far[..., None] * E_in[c][:, None])
        rate = 0.2 / np.maximum(np.bincount(c, minlength=V), 1)[:, None]
        E_in, E_out = E_in - rate * to_in, E_out - rate * to_out
    return torch.tensor(E_in)


def trainer(**settings):
    return lambda pairs, V, d, steps, seed: train(pairs, V, d, steps, seed, **settings)[0]


def train_global(pairs, V, d, steps, seed):
    return train(pairs, V, d, steps, random.randrange(10 ** 6))[0]


def count_matrix(pairs, V):
    return (pairs[:, 0] * V + pairs[:, 1]).bincount(minlength=V * V).double().view(V, V)


def theorem(change=lambda right, K, C: right, scores=lambda E_in, E_out: E_in @ E_out.T,
            power=1.0, noise_words=None, **settings):
    def sgns_and_pmi(pairs, V, d, K, steps, seed):
        C = count_matrix(pairs, V)
        tables = train(pairs, V, d, steps, seed, K=noise_words or K, power=power, **settings)
        return scores(*tables), change(ratio_of(C).log() - math.log(K), K, C)
    return sgns_and_pmi


def theorem_by_cells(pairs, V, d, K, steps, seed):
    """The expected loss over all cells, no drawing at all."""
    rng = torch.Generator().manual_seed(seed)
    C = torch.zeros(V, V)
    for (a, b), n in zip(*(t.tolist() for t in pairs.unique(dim=0, return_counts=True))):
        C[a, b] = n
    chance = C.sum(1, keepdim=True) * C.sum(0, keepdim=True) / C.sum()
    E_in = (0.1 * torch.randn(V, d, generator=rng)).requires_grad_()
    E_out = (0.1 * torch.randn(V, d, generator=rng)).requires_grad_()
    adam = torch.optim.Adam([E_in, E_out], lr=0.05)
    for _ in range(steps):
        scores = E_in @ E_out.T
        loss = -(C * ls(scores) + K * chance * ls(-scores)).sum() / C.sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return (E_in @ E_out.T).detach(), (C / chance).log() - math.log(K)


RIGHT = {
    "02.1": {"loop": pairs_by_loop, "zip": pairs_by_zip, "slices": pairs_by_slices},
    "02.2": {"vector": loss_vector, "softplus loop": loss_softplus, "cross-entropy": loss_bce},
    "02.3": {"vector": lambda counts, power=0.75: counts ** power / (counts ** power).sum(),
             "loop": noise_loop,
             "shares first": lambda counts, power=0.75: over_sum((counts / counts.sum()) ** power)},
    "02.4": {"topk": nearest_vector, "loop": nearest_loop},
    "02.5": {"vector": analogy_vector, "loop": analogy_loop},
    "02.6": {"probabilities": ppmi_probabilities, "loop": ppmi_loop,
             "nan_to_num": lambda C: ratio_of(C).log().nan_to_num(0.0).clamp(min=0)},
    "02.7": {"adam": trainer(), "constant rate": trainer(falls=False, rate=0.03),
             "by hand": train_by_hand},
    "02.8": {"drawn": theorem(), "all cells": theorem_by_cells}}

WRONG = {
    "02.1": {
        "self": (pairs_with_self, "self"),
        "right only": (lambda s, w: [(a, b) for t in s for k in range(1, w + 1)
                                     for a, b in zip(t, t[k:])], "one-sided"),
        "left only": (lambda s, w: [(b, a) for t in s for k in range(1, w + 1)
                                    for a, b in zip(t, t[k:])], "one-sided"),
        "twice": (lambda s, w: 2 * pairs_by_loop(s, w), "pairs"),
        "crosses": (pairs_crossing, "crosses"),
        "wraps": (pairs_wrapping, "wraps"),
        "window + 1": (lambda s, w: pairs_by_loop(s, w + 1), "window"),
        "window 1": (lambda s, w: pairs_by_loop(s, 1), "window"),
        "only at w": (
            lambda s, w: [p for t in s for p in [*zip(t, t[w:]), *zip(t[w:], t)]], "count"),
        "inner places": (pairs_first_window, "pairs"),
        "random window": (pairs_shrunk, "multiset"),
        "words compared": (pairs_of_words, "same-word"),
        "set": (lambda s, w: sorted(set(pairs_by_loop(s, w))), "same-word"),
        "set returned": (lambda s, w: set(pairs_by_loop(s, w)), "type"),
        "lists": (lambda s, w: [list(p) for p in pairs_by_loop(s, w)], "type"),
        "tensor": (lambda s, w: torch.tensor(pairs_by_loop(s, w)), "type"),
        "generator": (lambda s, w: (p for p in pairs_by_loop(s, w)), "type"),
        "no neighbours": (lambda s, w: [], "pairs"),
        "empties": (pairs_pop, "mutates")},
    "02.2": {
        "no minus on negatives": (
            loss_like(lambda n, f: -(ls(n) + ls(f).sum(-1)).mean()), "negatives"),
        "minus on the positive": (loss_like(lambda n, f: -(ls(-n) + ls(-f).sum(-1)).mean()),
                                  "positive"),
        "swapped": (loss_like(lambda n, f: -(ls(-n) + ls(f).sum(-1)).mean()), "positive"),
        "likelihood": (loss_like(lambda n, f: (ls(n) + ls(-f).sum(-1)).mean()), "sign"),
        "mean over K": (loss_like(lambda n, f: -(ls(n) + ls(-f).mean(-1)).mean()), "mean-k"),
        "mean of all": (loss_like(lambda n, f: -torch.cat([ls(n)[:, None], ls(-f)], 1).mean()),
                        "mean-k"),
        "sum over batch": (loss_like(lambda n, f: -(ls(n) + ls(-f).sum(-1)).sum()), "batch"),
        "no reduction": (loss_like(lambda n, f: -(ls(n) + ls(-f).sum(-1))), "batch"),
        "no noise": (loss_like(lambda n, f: -ls(n).mean()), "no-negatives"),
        "one noise word": (loss_like(lambda n, f: -(ls(n) + ls(-f[:, 0])).mean()), "zero"),
        "no positive": (loss_like(lambda n, f: -ls(-f).sum(-1).mean()), "no-positive"),
        "no log": (
            loss_like(lambda n, f: -(n.sigmoid() + (-f).sigmoid().sum(-1)).mean()), "no-log"),
        "no sigmoid": (loss_like(lambda n, f: (-n + f.sum(-1)).mean()), "no-sigmoid"),
        "bits": (loss_like(lambda n, f: -(ls(n) + ls(-f).sum(-1)).mean() / math.log(2)), "base"),
        "noise against o": (
            lambda c, o, neg: -(ls((c * o).sum(-1)) + ls(-(neg @ o[:, :, None])[..., 0])
                                                .sum(-1)).mean(), "centre"),
        "log of sigmoid": (
            loss_like(lambda n, f: -(n.sigmoid().log() + (-f).sigmoid().log().sum(-1))
                                     .mean()), "overflow"),
        "one minus sigmoid": (
            loss_like(lambda n, f: -(ls(n) + (1 - f.sigmoid()).log().sum(-1)).mean()),
                              "overflow"),
        "small number": (
            loss_like(lambda n, f: -((n.sigmoid() + 1e-12).log() + ((-f).sigmoid() + 1e-12)
                                                  .log().sum(-1)).mean()), "overflow"),
        "clamped": (loss_like(lambda n, f: -(ls(n.clamp(-50, 50)) + ls(-f.clamp(-50, 50)).sum(-1))
                              .mean()), "overflow"),
        "detached": (lambda c, o, neg: loss_vector(c, o, neg).detach(), "detached"),
        "frozen negatives": (lambda c, o, neg: loss_vector(c, o, neg.detach()), "detached"),
        "frozen half": (lambda c, o, neg: -(ls((c * o).sum(-1)) + ls(-(neg @ c.detach()[:, :, None])
                                                                    [..., 0]).sum(-1)).mean(),
                        "gradient"),
        "a float": (lambda c, o, neg: loss_vector(c, o, neg).item(), "type"),
        "first pair": (lambda c, o, neg: loss_vector(c[:1], o[:1], neg[:1]), "value")},
    "02.3": {
        "not renormalised": (lambda n, power=0.75: (n / n.sum()) ** power, "renormalise"),
        "not divided": (lambda n, power=0.75: n ** power, "sum"),
        "sum of counts": (lambda n, power=0.75: n ** power / n.sum(), "sum-counts"),
        "no power": (lambda n, power=0.75: n / n.sum(), "no-power"),
        "negative power": (lambda n, power=0.75: over_sum(n ** -float(power)), "inverse"),
        "root": (lambda n, power=0.75: over_sum(n ** (1 / power)) if power else n, "root"),
        "softmax": (lambda n, power=0.75: (n * power).softmax(0), "softmax"),
        "largest": (lambda n, power=0.75: n ** power / (n ** power).max(), "largest"),
        "fixed power": (lambda n, power=0.75: over_sum(n ** 0.75), "fixed-power"),
        "default 1": (lambda n, power=1.0: over_sum(n ** power), "no-power"),
        "add one": (lambda n, power=0.75: over_sum(torch.where(n > 0, n, 1) ** power), "smoothed"),
        "sorted": (lambda n, power=0.75: over_sum(n.sort().values ** power), "power"),
        "a list": (lambda n, power=0.75: over_sum(n ** power).tolist(), "type")},
    "02.4": {
        "dot": (nearest_by(lambda E, q: E @ q), "dot"),
        "distance": (nearest_by(lambda E, q: -(E - q).norm(dim=1)), "euclid"),
        "farthest": (nearest_by(lambda E, q: -F.normalize(E, dim=1) @ q), "farthest"),
        "reversed": (lambda E, q, k, exclude=(): nearest_vector(E, q, k, exclude)[::-1],
                     "reversed"),
        "drops the first": (lambda E, q, k, exclude=(): nearest_vector(E, q, k + 1, exclude)[1:],
                            "dropped"),
        "absolute": (nearest_by(lambda E, q: (F.normalize(E, dim=1) @ q).abs()), "abs"),
        "columns normalised": (nearest_by(lambda E, q: F.normalize(E, dim=0) @ q), "columns"),
        "one length": (nearest_by(lambda E, q: E / E.norm() @ q), "dot"),
        "ignores exclude": (
            nearest_by(lambda E, q: F.normalize(E, dim=1) @ q, drop=False), "exclude"),
        "only first excluded": (lambda E, q, k, exclude=(): nearest_vector(
            E, q, k, tuple(exclude)[:1]), "exclude"),
        "one too many": (lambda E, q, k, exclude=(): nearest_vector(E, q, k + 1, exclude), "count"),
        "k less excluded": (lambda E, q, k, exclude=(): [i for i in nearest_vector(E, q, k)
                                                         if i not in exclude], "exclude"),
        "fills up": (nearest_pads, "few"),
        "nan first": (nearest_nan, "zero-row"),
        "sorted ids": (
            lambda E, q, k, exclude=(): sorted(nearest_vector(E, q, k, exclude)), "sorted"),
        "query excluded": (
            lambda E, q, k, exclude=(): [i for i in nearest_vector(E, q, k + 1, exclude)
                          if not torch.equal(E[i], q)][:k], "dropped"),
        "tensor": (
            lambda E, q, k, exclude=(): torch.tensor(nearest_vector(E, q, k, exclude)), "type"),
        "changes E": (nearest_in_place, "mutates")},
    "02.5": {
        "a - b": (analogy_like(lambda U, a, b, c: U[a] - U[b] + U[c]), "sign"),
        "a + b - c": (analogy_like(lambda U, a, b, c: U[a] + U[b] - U[c]), "order"),
        "sum": (analogy_like(lambda U, a, b, c: U[a] + U[b] + U[c]), "sum"),
        "c alone": (analogy_like(lambda U, a, b, c: U[c]), "neighbour"),
        "unnormalised": (analogy_like(arrow, normal=False), "unnormalised"),
        "dot": (analogy_like(arrow, normal=False, dot=True), "dot"),
        "distance": (lambda E, a, b, c, exclude_inputs=True: int(
            (E - (E[b] - E[a] + E[c])).norm(dim=1).index_fill(0, torch.tensor(
                [a, b, c] if exclude_inputs else [], dtype=torch.long), math.inf).argmin()),
                     "euclid"),
        "only c barred": (analogy_like(arrow, barred=lambda a, b, c: [c]), "exclude"),
        "never bars": (analogy_like(arrow, barred=lambda a, b, c: []), "exclude"),
        "always bars": (analogy_like(arrow, always=True), "always-excludes"),
        "farthest": (lambda E, a, b, c, exclude_inputs=True: int(
            (F.normalize(E, dim=1) @ arrow(F.normalize(E, dim=1), a, b, c)).argmin()), "exclude"),
        "tensor": (lambda E, a, b, c, exclude_inputs=True: torch.tensor(
            analogy_vector(E, a, b, c, exclude_inputs)), "type")},
    "02.6": {
        "pmi": (lambda C: ratio_of(C).log(), "negative"),
        "minus inf": (lambda C: torch.where(C > 0, ratio_of(C).log().clamp(min=0), -math.inf),
                      "minus-inf"),
        "joint not divided": (
            lambda C: (C / (C.sum(1, keepdim=True) * C.sum(0))).log().clamp(min=0),
                              "joint"),
        "margins not divided": (lambda C: (C / C.sum() / (C.sum(1, keepdim=True) * C.sum(0))).log()
                                .clamp(min=0), "joint"),
        "bits": (lambda C: ratio_of(C).log2().nan_to_num(0.0).clamp(min=0), "base"),
        "ratio": (lambda C: ratio_of(C).nan_to_num(0.0), "no-log"),
        "conditional": (lambda C: C / C.sum(1, keepdim=True), "conditional"),
        "log1p": (lambda C: ratio_of(C).log1p().nan_to_num(0.0), "log1p"),
        "absolute": (lambda C: ratio_of(C).log().abs(), "absolute"),
        "add one": (lambda C: ratio_of(C + 1).log().clamp(min=0), "smoothed"),
        "same margin": (lambda C: (C * C.sum() / (C.sum(1, keepdim=True) * C.sum(1)))
                        .log().clamp(min=0).nan_to_num(0.0), "margins"),
        "empty row": (lambda C: ratio_of(C).log().clamp(min=0), "empty-row"),
        "transposed": (lambda C: ratio_of(C).log().clamp(min=0).T, "transposed")},
    "02.7": {
        "no minus": (trainer(far_sign=1), "collapse"),
        "no noise": (trainer(use_far=False), "collapse"),
        "ten steps": (
            lambda p, V, d, steps, seed: train(p, V, d, min(steps, 10), seed)[0], "steps"),
        "too slow": (trainer(rate=1e-4), "loss"),
        "shuffled pairs": (trainer(shuffle=True), "loss"),
        "noise returned": (lambda p, V, d, steps, seed: torch.randn(
            V, d, generator=torch.Generator().manual_seed(seed)), "untrained"),
        "seed ignored": (train_global, "seed"),
        "fixed seed": (lambda p, V, d, steps, seed: train(p, V, d, steps, 0)[0], "seed"),
        "one table": (trainer(tied=True), "loss"),
        "largest id": (lambda p, V, d, steps, seed: train(p, V, d, steps, seed)[0][:int(p.max())],
                       "shape"),
        "both tables": (lambda p, V, d, steps, seed: train(p, V, d, steps, seed), "type"),
        "half the width": (
            lambda p, V, d, steps, seed: train(p, V, d // 2, steps, seed)[0], "shape")},
    "02.8": {
        "unshifted": (theorem(lambda right, K, C: right + math.log(K)), "unshifted"),
        "shift added": (theorem(lambda right, K, C: right + 2 * math.log(K)), "shift-sign"),
        "shift in bits": (theorem(lambda right, K, C: right + math.log(K) - math.log2(K)),
                          "shift-base"),
        "ppmi": (theorem(lambda right, K, C: (right + math.log(K)).clamp(min=0) - math.log(K)),
                 "clipped"),
        "finite": (theorem(lambda right, K, C: right.clamp(min=-9)), "unseen"),
        "noise .75": (theorem(power=0.75), "noise"),
        "one noise word": (theorem(noise_words=1), "gap"),
        "untrained": (theorem(rate=1e-4), "correlation"),
        "E_in twice": (theorem(scores=lambda E_in, E_out: E_in @ E_in.T), "gap"),
        "target as scores": (lambda p, V, d, K, steps, seed: (
            lambda t: (t.nan_to_num(neginf=-9.0) + 0.001 * torch.randn(
                V, V, generator=torch.Generator().manual_seed(seed)), t))(
                    ratio_of(count_matrix(p, V)).log() - math.log(K)), "rank"),
        "only scores": (lambda *a: theorem()(*a)[0], "type"),
        "swapped": (lambda *a: theorem()(*a)[::-1], "seed")}}
