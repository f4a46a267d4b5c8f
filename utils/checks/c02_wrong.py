"""The formulas of lecture 02, right and as they often go wrong."""
import math
from collections import Counter

import torch
import torch.nn.functional as F


def pairs_of(sents, window):
    """Every (word, neighbour) at most `window` places apart, as a Counter."""
    return Counter((a, b) for sent in sents for i, a in enumerate(sent)
                   for j, b in enumerate(sent) if 0 < abs(i - j) <= window)


def sgns(c, o, neg, near=1.0, far=-1.0):
    """Loss of each pair, (B,); near and far are the signs, to make well-known mistakes."""
    return -(F.logsigmoid(near * (c * o).sum(-1))
             + F.logsigmoid(far * (neg @ c[:, :, None])[..., 0]).sum(-1))


def wrong_losses(c, o, neg):
    """{code: (wrong value, what it is)}."""
    near, far = (c * o).sum(-1), (neg @ c[:, :, None])[..., 0]      # (B,), (B, K)
    right, K = sgns(c, o, neg), neg.shape[1]
    return {
        "negatives": (sgns(c, o, neg, far=1.0).mean(), "no minus on the negatives: they are being "
                      "pulled closer, like neighbours"),
        "positive": ([sgns(c, o, neg, near=-1.0).mean(), sgns(c, o, neg, -1.0, 1.0).mean()],
                     "the true neighbour is pushed away: its score enters with a plus"),
        "sign": (-right.mean(), "this is the log-likelihood: the loss is minus that"),
        "mean-k": ([(-F.logsigmoid(near) - F.logsigmoid(-far).mean(-1)).mean(),
                    right.mean() / (K + 1)],
                   "averaged over the K noise words: each is a question of its own, add them"),
        "batch": (right.sum(), "summed over the batch: return the mean over its B pairs"),
        "no-log": ([-(near.sigmoid() + (-far).sigmoid().sum(-1)).mean(),
                    (near.sigmoid() + (-far).sigmoid().sum(-1)).mean()],
                   "sigmoids without the logarithm"),
        "no-sigmoid": ((-near + far.sum(-1)).mean(), "scores without log sigmoid: this has no "
                                                     "minimum"),
        "no-positive": ((-F.logsigmoid(-far).sum(-1)).mean(), "the true neighbour is missing"),
        "no-negatives": ((-F.logsigmoid(near)).mean(), "the noise words are missing: with "
                         "neighbours alone all words end in one place"),
        "centre": ([(-F.logsigmoid(near) - F.logsigmoid(-(neg @ o[:, :, None])[..., 0]).sum(-1))
                    .mean()], "the noise words are scored against o: they belong to the centre c"),
        "base": (right.mean() / math.log(2), "in bits: use the natural logarithm")}


def by_cosine(E, q, k, exclude=(), score=None):
    """The k best ids by cosine, or by another score (V,)."""
    score = F.cosine_similarity(E, q[None], dim=-1) if score is None else score
    order = score.argsort(descending=True).tolist()
    return [i for i in order if i not in exclude][:k]


def nearest_answers(E, q, k):
    """{name: answer} of the cosine and of well-known mistakes."""
    right, cosine = by_cosine(E, q, k), F.cosine_similarity(E, q[None])
    return {"right": right, "dot": by_cosine(E, q, k, score=E @ q),
            "euclid": by_cosine(E, q, k, score=-torch.cdist(E, q[None])[:, 0]),
            "abs": by_cosine(E, q, k, score=cosine.abs()), "farthest": by_cosine(E, -q, k),
            "columns": by_cosine(E, q, k, score=F.normalize(E, dim=0) @ q),
            "reversed": right[::-1], "sorted": sorted(right),
            "dropped": by_cosine(E, q, k, exclude=right[:1])}


MISSED = {"dot": "long vectors win: frequency, not meaning. Divide by the length of each row",
          "euclid": "these are nearest by distance: compare directions",
          "abs": "an opposite direction counts as near: keep the sign of the cosine",
          "farthest": "these are the farthest: largest cosine first",
          "columns": "the columns of E were normalised: each word is a row",
          "reversed": "the right rows, but the nearest must come first",
          "sorted": "the right rows, but sorted by number: the nearest first",
          "dropped": "the nearest row itself is missing: leave out what `exclude` names, no more"}


def arrow_answers(E, a, b, c, inputs_out):
    """{name: answer} of the right formula and of well-known mistakes."""
    U, out = F.normalize(E, dim=1), (a, b, c) if inputs_out else ()

    def best(matrix, query, out=out, dot=False):
        score = matrix @ query if dot else F.cosine_similarity(matrix, query[None])
        return by_cosine(matrix, query, 1, out, score)[0]

    return {"right": best(U, U[b] - U[a] + U[c]), "sign": best(U, U[a] - U[b] + U[c]),
            "order": best(U, U[a] + U[b] - U[c]), "sum": best(U, U[a] + U[b] + U[c]),
            "neighbour": best(U, U[c]), "unnormalised": best(E, E[b] - E[a] + E[c]),
            "dot": best(E, E[b] - E[a] + E[c], dot=True),
            "euclid": by_cosine(E, U[c], 1, out, -(E - (E[b] - E[a] + E[c])).norm(dim=1))[0],
            "raw": best(U, U[b] - U[a] + U[c], ()),
            "out": best(U, U[b] - U[a] + U[c], (a, b, c))}


WHY = {"sign": "this is the answer to a - b + c: the arrow from a to b is b - a",
       "order": "this is the answer to a + b - c: subtract a, add b and c",
       "sum": "this is the answer to a + b + c: subtract a",
       "neighbour": "this is the nearest word to c alone: the arrow from a to b is missing",
       "unnormalised": "rows of unequal length were added: bring every row to length 1 first",
       "dot": "long rows win: bring every row to length 1 first",
       "euclid": "this is the row at the smallest distance: bring rows to length 1, then compare "
                 "directions"}


def pmi(C):
    return (C * C.sum() / (C.sum(1, keepdim=True) * C.sum(0, keepdim=True))).log()


def wrong_ppmi(C):
    """{code: (wrong value, what it is)} of counts C."""
    rows, columns, total = C.sum(1, keepdim=True), C.sum(0, keepdim=True), C.sum()
    right = pmi(C)
    table = {
        "negative": (right, "negative values are kept: this is PMI, take the positive part"),
        "joint": ([(C / (rows * columns)).log(), (C / (rows * columns)).log().clamp(min=0),
                   (C * total ** 2 / (rows * columns)).log().clamp(min=0)],
                  "the counts are not all turned into probabilities: P(w, c), P(w) and P(c) each "
                  "need a division by the sum of C"),
        "base": ((right / math.log(2)).clamp(min=0), "in bits: use the natural logarithm"),
        "no-log": ([right.exp(), right.exp().clamp(min=0), (right.exp() - 1).clamp(min=0)],
                   "the ratio without its logarithm"),
        "conditional": ([(C / rows).log().clamp(min=0), C / rows], "P(c | w): divide by P(c) too"),
        "log1p": (right.exp().log1p(), "log(1 + ratio) is not 0 at independence: use log"),
        "absolute": (right.abs(), "the absolute value makes rare company look frequent"),
        "smoothed": (pmi(C + 1).clamp(min=0), "1 was added to the counts: use them as they are")}
    if C.shape[0] == C.shape[1]:
        table["transposed"] = (right.clamp(min=0).T, "transposed: rows are words as in C")
        table["margins"] = ([(C * total / (rows * rows.T)).log().clamp(min=0),
                             (C * total / (columns * columns.T)).log().clamp(min=0),
                             (C * total / rows ** 2).log().clamp(min=0),
                             (C * total / columns ** 2).log().clamp(min=0)],
                            "the same margin is used twice: one sums over rows, one over columns")
    return table
