"""The checks of lecture 04, second part: weighted averages over states, and attention."""
import torch

from .engine import exercise


@exercise("04.4", hints=(
    "All weights equal: the result is the mean of the T states. One weight 1 and the rest 0: it is "
    "that state. And w * 7 gives what w gives. Which of the three fails?",
    "w is (B, T), H is (B, T, d). The weights of ONE row b must sum to one: along which dimension "
    "do you add them up, and along which the weighted states?",
    "share = w divided by the sum over its own row\n"
    "give share a third dimension of size 1\nmultiply with H, then add up over T"))
def weighted_average(answer, probe):
    H = probe.normal(2, 3, 4)
    picks = torch.stack([probe.one_hot(2, 3), probe.one_hot(0, 3)])
    out = probe.call(answer, picks, H)
    probe.shape(out, (2, 4), "shape", "B = 2, T = 3, d = 4: one average of length d a row")
    probe.equal(out, torch.stack([H[0, 2], H[1, 0]]), "pick", "one weight is 1, the others 0: the "
                "result must be that state", known={
                    "softmax": (torch.einsum("bt,btd->bd", picks.softmax(1), H), "w holds weights, "
                                "not scores: there is no softmax here"),
                    "plain-mean": (H.mean(1), "all states count alike: w has no influence"),
                    "batch": (torch.einsum("bt,btd->bd", picks / picks.sum(0), H), "the weights "
                              "are normalised over the batch: each row must sum to one along T"),
                    "count": (torch.stack([H[0, 2], H[1, 0]]) / 3, "divided by T, not by the sum "
                              "of the weights"),
                    "all": (torch.stack([H[0, 2], H[1, 0]]) / 2, "divided by the sum over the "
                            "whole batch: each row has weights of its own")})
    for B, T, d in ((3, 5, 4), (1, 4, 2), (4, 2, 3), (5, 1, 2)):
        w, H, where = probe.uniform(B, T) + 0.1, probe.normal(B, T, d), f"B = {B}, T = {T}, d = {d}"
        def mix(share, H=H):
            return torch.einsum("bt,btd->bd", share, H)
        out = probe.call(answer, w, H)
        probe.shape(out, (B, d), "shape", where)
        probe.equal(out, mix(w / w.sum(1, keepdim=True)), "value", where, known={
            "batch": (mix(w / w.sum(0)), f"{where}: the weights are normalised over the batch: "
                      "each row must sum to one along T"),
            "all": (mix(w / w.sum()), f"{where}: divided by the sum of all weights of the batch"),
            "no-division": (mix(w), f"{where}: the weights do not sum to one: divide by their sum"),
            "count": (mix(w) / T, f"{where}: divided by T, not by the sum of the weights"),
            "softmax": (mix(w.softmax(1)), f"{where}: w holds weights, not scores: no softmax"),
            "plain-mean": (H.mean(1), f"{where}: w has no influence"),
            "squared": (mix(w.square() / w.square().sum(1, keepdim=True)), f"{where}: squared"),
            "norm": (mix(w / w.norm(dim=1, keepdim=True)), f"{where}: divided by the length of w, "
                     "not by its sum")})
        probe.true(((H.amin(1) - 1e-9 <= out) & (out <= H.amax(1) + 1e-9)).all(), "hull",
                   f"{where}: an average lies between the smallest and the largest")
    w, H = probe.uniform(3, 5) + 0.1, probe.normal(3, 5, 4)
    w, H = w.requires_grad_(), H.requires_grad_()
    want = (w / w.sum(1, keepdim=True))[:, None] @ H
    probe.gradients(probe.call(answer, w, H), want[:, 0], {"w": w, "H": H})


@exercise("04.5", hints=(
    "Exchange two states of H: their weights change places and the context stays. If all states "
    "are equal, the context is that state, whatever the query. Which of these fails?",
    "The query only decides the weights: what is averaged are the states. One row of the batch "
    "must not see another: the softmax runs over the T states of its own row.",
    "score of state t: dot product of the query and that state, for each row\n"
    "weights: softmax of the scores over t\n"
    "context: the states, averaged with these weights\nreturn both, the context first"))
def attend(answer, probe):
    for B, T, d, big in ((3, 5, 4, 1), (1, 3, 2, 1), (2, 6, 3, 1), (4, 1, 3, 1), (2, 5, 3, 600)):
        q, H, where = big * probe.normal(B, d), probe.normal(B, T, d), f"B = {B}, T = {T}, d = {d}"
        out = probe.call(answer, q, H)
        probe.type(out, tuple, "return context, weights")
        probe.true(len(out) == 2, "type", f"expected two results, came {len(out)}")
        for part in out:
            probe.type(part, torch.Tensor)
        context, W = out
        if d != T:
            probe.true(tuple(W.shape) != (B, d) or tuple(context.shape) != (B, T), "order",
                       f"{where}: the two results change places: the context comes first")
        probe.shape(W, (B, T), "shape", f"{where}, the weights")
        probe.shape(context, (B, d), "shape", f"{where}, the context")
        S = torch.einsum("bd,btd->bt", q, H)
        right = S.softmax(1)
        cosine = torch.cosine_similarity(q[:, None], H, dim=-1)
        distance = -(q[:, None] - H).square().sum(-1)
        probe.equal(W, right, "overflow" if big > 1 else "weights",
                    f"{where}, scores in the thousands: use torch.softmax" if big > 1 else
                    f"{where}, the weights", known={
            "axis": (S.softmax(0), f"{where}: the softmax runs over the batch"),
            "all": (S.flatten().softmax(0).view(B, T), f"{where}: a softmax over the whole batch"),
            "scale": (([(S / d ** 0.5).softmax(1), (S / d).softmax(1)]),
                      f"{where}: the scores are divided: here they are plain dot products"),
            "no-softmax": ([S, S / S.sum(1, keepdim=True)], f"{where}: no softmax"),
            "hard": (torch.eye(T).double()[S.argmax(1)], f"{where}: the best takes all: that is no "
                     "average, and it has no gradient"),
            "mean": (torch.full_like(S, 1 / T), f"{where}: all weights are equal: the query has no "
                     "influence"),
            "cosine": (cosine.softmax(1), f"{where}: cosines, not dot products"),
            "distance": ([distance.softmax(1), (-S).softmax(1)], f"{where}: distances or a "
                         "turned sign: a score is the dot product"),
            "neighbour": (torch.einsum("d,btd->bt", q[0], H).softmax(1), f"{where}: all rows use "
                          "the query of the first")})
        probe.equal(context, (right[:, None] @ H)[:, 0], "context", f"{where}: the weights are "
                    "right, the average is not", known={
            "query": ([q, right.sum(1, keepdim=True) * q, q * right.amax(1, keepdim=True)],
                      f"{where}: the query itself came back: average the states H"),
            "added": ((right[:, None] @ H)[:, 0] + q, f"{where}: the query is added to it"),
            "plain-mean": (H.mean(1), f"{where}: the weights are not used"),
            "summed": (H.sum(1), f"{where}: the states are summed without weights"),
            "batch": ((right[:, None] @ H[:1])[:, 0], f"{where}: row 0 lends its states to all"),
            "best": (H[torch.arange(B), S.argmax(1)], f"{where}: the best state alone: use all "
                     "weights")})
    keys = torch.linalg.qr(probe.normal(6, 6))[0][:4][None]            # (1, 4, 6) orthonormal
    context, _ = probe.call(answer, 50 * keys[:, 2], keys)
    probe.equal(context, keys[:, 2], "lookup", "orthonormal states and a query of 50 times one of "
                "them: attention looks that state up")
    q, H = probe.normal(2, 3).requires_grad_(), probe.normal(2, 5, 3).requires_grad_()
    want = (torch.einsum("bd,btd->bt", q, H).softmax(1)[:, None] @ H)[:, 0]
    probe.gradients(probe.call(answer, q, H)[0], want, {"query": q, "H": H})
