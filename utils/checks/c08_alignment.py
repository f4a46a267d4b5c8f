"""The checks of lecture 08 for alignment: a reward with a leash, the loss of PPO, that of DPO."""
import math

import torch
import torch.nn.functional as F

from .c08_known import Judge, real
from .engine import exercise


def wrong_rewards(r, lp, lp_ref, beta, where):
    """{code: (rewards of a well-known mistake, what it is)}."""
    d = lp - lp_ref                                         # (B, T)
    drift = d.sum(-1)
    table = {
        "sign": ([r + beta * drift, r - beta * -drift], "the sign is flipped: beta now rewards "
                 "drifting away from the reference"),
        "no-beta": (r - drift, "beta has no effect"),
        "no-leash": (r, "the reference has no effect"),
        "beta-on-r": ([beta * r - drift, beta * (r - drift)], "beta multiplies the reward: it "
                      "belongs to the log-probabilities"),
        "divided": (r - drift / beta, "beta divides: it multiplies"),
        "blend": ((1 - beta) * r - beta * drift, "r is weighed by 1 - beta: it stands as it is"),
        "mean": ([r - beta * d.mean(-1), r - beta * d.mean()], "the mean over tokens: the log-"
                 "probability of an answer is the sum over its tokens"),
        "last-token": (r - beta * d[:, -1], "only the last token is compared: all of them count"),
        "first-token": (r - beta * d[:, 0], "only the first token is compared: all of them count"),
        "batch": ([r - beta * drift.mean(), r - beta * drift.sum()], "one penalty for the whole "
                  "batch: each answer has its own"),
        "ratio": ([r - beta * drift.exp(), r - beta * d.exp().sum(-1),
                   r - beta * (drift.exp() - 1)], "the ratio of the probabilities: the penalty is "
                  "its logarithm"),
        "log-ratio": ([r - beta * (lp / lp_ref).sum(-1), r - beta * lp.sum(-1) / lp_ref.sum(-1)],
                      "log-probabilities are divided: the log of a ratio is their difference"),
        "weighted": ([r - beta * (lp.exp() * d).sum(-1), r - beta * (lp_ref.exp() * d).sum(-1),
                      r - beta * (lp_ref.exp() * -d).sum(-1)], "the differences are weighted by "
                     "probabilities: the answers were drawn from the policy, so that their plain "
                     "average does that"),
        "absolute": ([r - beta * d.abs().sum(-1), r - beta * drift.abs()], "absolute values: the "
                     "penalty of an answer may be negative, only its mean is not"),
        "clamped": ([r - beta * d.clamp(min=0).sum(-1), r - beta * drift.clamp(min=0)], "negative "
                    "penalties are cut off: the penalty of an answer may be negative, only its "
                    "mean is not"),
        "squared": ([r - beta * k * s for k in (1, 0.5) for s in (d.square().sum(-1),
                                                                  drift.square())],
                    "the differences are squared: take them as they are"),
        "another-kl": ([r - beta * ((-d).exp() - 1 + d).sum(-1),
                        r - beta * ((-drift).exp() - 1 + drift)], "another estimate of the KL, one "
                       "that is never negative: here the plain difference is asked for"),
        "policy-alone": ([r - beta * lp.sum(-1), r + beta * lp.sum(-1)], "the reference is not "
                         "subtracted"),
        "bits": (r - beta * drift / math.log(2), "the penalty is in bits: use nats"),
        "r-each-token": (r * lp.shape[1] - beta * drift, "r is added once for each token: it is "
                         "the reward of the whole answer")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("08.3", hints=(
    "When the policy is the reference, the result is r, whatever beta. An answer that the policy "
    "finds likelier than the reference does must lose reward. Does yours lose or gain?",
    "The log-probability of an answer is the sum over its tokens. Subtract logarithms, do not "
    "divide or exponentiate; and beta multiplies what is subtracted from r, nothing else.",
    "for each answer: drift = sum over its tokens of (policy's minus reference's log-probability)\n"
    "    new reward = r, less beta times the drift\nresult: one number for each answer"))
def kl_reward(answer, probe):
    def reward(r, lp, lp_ref, beta):
        out = probe.call(answer, r, lp, lp_ref, beta)
        probe.shape(out, r.shape, "shape", f"{len(r)} answer(s) of {lp.shape[1]} token(s): one "
                    "reward for each answer")
        return out

    def given(B, T, beta):
        return probe.normal(B), *(probe.normal(B, T).abs().neg() for _ in range(2)), beta

    rich = [given(3, 4, 0.3), given(2, 6, 1.3), given(5, 3, 2.0)]
    judge = Judge(probe, reward, lambda r, lp, lp_ref, beta: r - beta * (lp - lp_ref).sum(-1),
                  wrong_rewards, rich)
    lp = probe.normal(2, 3).abs().neg()
    judge.compare(real([1.0, -2.0]), lp, lp.clone(), 0.5, code="equal", where="policy and "
                  "reference give the same log-probabilities, so the reward stays r")
    judge.compare(real([1.0]), real([[-1.0]]), real([[-3.0]]), 0.5, where="r = [1.], lp = [[-1.]], "
                  "lp_ref = [[-3.]], beta = .5. The policy likes its answer more than the "
                  "reference does, which costs .5 times 2")
    for some in [*rich, given(1, 2, 0.7), given(5, 1, 0.4)]:
        judge.compare(*some, where=f"{len(some[0])} answer(s) of {some[1].shape[1]} token(s), beta "
                      f"= {some[3]}")
    judge.compare(*given(2, 3, 0.0), code="beta-0", where="beta = 0, so the reward stays r")
    policy, ref = (probe.normal(2, 3).log_softmax(-1) for _ in range(2))    # 2 places, 3 ids
    i, j = torch.cartesian_prod(torch.arange(3), torch.arange(3)).T         # all 9 answers
    lp, lp_ref = (torch.stack([p[0, i], p[1, j]], 1) for p in (policy, ref))
    nine = "all 9 answers of two tokens, r = 0, beta = 1"
    out = judge.compare(probe.zeros(9), lp, lp_ref, 1.0, where=nine)
    kl = (policy.exp() * (policy - ref)).sum()
    probe.equal(-(lp.sum(1).exp() * out).sum(), kl, "kl", f"{nine}: averaged over what the policy "
                "says, the penalty is the KL divergence")
    judge.compare(real([0.0]), real([[-700.0, -700.0]]), real([[-1.0, -2.0]]), 1.0, code="overflow",
                  where="log-probabilities of -700: no exponential is needed")


def clipped(lp, lp_old, adv, eps):
    """The clipped objective of each sample, to be raised (Schulman et al. 2017, equation 7)."""
    ratio = (lp - lp_old).exp()
    return torch.minimum(ratio * adv, ratio.clamp(1 - eps, 1 + eps) * adv)


def wrong_ppo_losses(lp, lp_old, adv, eps, where):
    """{code: (loss of a well-known mistake, what it is)}."""
    ratio = (lp - lp_old).exp()
    near = ratio.clamp(1 - eps, 1 + eps)
    right = -torch.minimum(ratio * adv, near * adv)
    back = 1 / ratio

    def loss(values):
        return -values.mean()
    table = {
        "sign": (-right.mean(), "the sign is wrong: an optimiser goes down, the objective must go "
                 "up, so the loss is its negative"),
        "no-min": (loss(near * adv), "the clipped term alone: the smaller of the clipped and the "
                   "unclipped term counts, or a policy that went the wrong way gets no gradient "
                   "back"),
        "no-clip": (loss(ratio * adv), "nothing is clipped"),
        "max": (loss(torch.maximum(ratio * adv, near * adv)), "the larger of the two terms is "
                "taken: take the smaller, the pessimistic one"),
        "min-before": (loss(torch.minimum(ratio, near) * adv), "the minimum is taken of the "
                       "ratios: multiply both by the advantage first, which may be negative"),
        "min-of-means": (-torch.minimum((ratio * adv).mean(), (near * adv).mean()), "the minimum "
                         "of two means: take the minimum of each sample, then the mean"),
        "inverted": (loss(torch.minimum(back * adv, back.clamp(1 - eps, 1 + eps) * adv)), "the "
                     "ratio is upside down: new over old"),
        "no-exp": (loss(torch.minimum((lp - lp_old) * adv,
                                      (lp - lp_old).clamp(1 - eps, 1 + eps) * adv)), "a difference "
                   "of log-probabilities is the logarithm of the ratio: exp is missing"),
        "log-ratio": (loss(torch.minimum(lp / lp_old * adv,
                                         (lp / lp_old).clamp(1 - eps, 1 + eps) * adv)), "log-"
                      "probabilities are divided: the ratio is that of the probabilities"),
        "difference": (loss(torch.minimum((lp.exp() - lp_old.exp()) * adv, (
            lp.exp() - lp_old.exp()).clamp(-eps, eps) * adv)), "a difference of probabilities: "
            "take their ratio"),
        "log-clip": (loss(torch.minimum(ratio * adv, (lp - lp_old).clamp(-eps, eps).exp() * adv)),
                     "the logarithm of the ratio is clipped to -eps .. eps: clip the ratio to "
                     "1 - eps .. 1 + eps"),
        "clip-range": ([loss(torch.minimum(ratio * adv, ratio.clamp(a, b) * adv)) for a, b in (
            (-eps, eps), (0, eps), (eps, 1 + eps), (1 / (1 + eps), 1 + eps))], "clipped to another "
            "range than 1 - eps .. 1 + eps"),
        "one-side": ([loss(torch.minimum(ratio * adv, ratio.clamp(max=1 + eps) * adv)),
                      loss(torch.minimum(ratio * adv, ratio.clamp(min=1 - eps) * adv))], "only one "
                     "side of the range is clipped"),
        "clips-product": (loss(torch.minimum(ratio * adv, (ratio * adv).clamp(1 - eps, 1 + eps))),
                          "the product with the advantage is clipped: clip the ratio"),
        "clips-advantage": ([loss(ratio * adv.clamp(a, b)) for a, b in (
            (1 - eps, 1 + eps), (-eps, eps))], "the advantage is clipped: clip the ratio"),
        "no-ratio": ([loss(lp * adv), loss(lp.exp() * adv)], "the old policy has no effect: the "
                     "ratio of new to old probabilities weighs the advantage"),
        "absolute": (loss(torch.minimum(ratio * adv.abs(), near * adv.abs())), "the sign of the "
                     "advantage is lost"),
        "sum": (right.sum(), "this is the sum over the samples: take the mean")}
    spread = [adv.std(correction=c) + 1e-8 for c in (0, 1)] if len(adv) > 1 else []
    changed = [(adv - adv.mean()) / size for size in (*spread, 1.0)]
    table["normalised"] = ([loss(torch.minimum(ratio * z, near * z)) for z in changed],
                           "the advantages are standardised: they are used as they come")
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


CORNERS = (                                                 # ratio, advantage, code, may it move?
    (1.0, 1.5, "slope", True, "nothing is clipped: the plain policy gradient"),
    (1.0, -0.8, "slope", True, "nothing is clipped: the plain policy gradient"),
    (1.5, 1.0, "still-moves", False, "a good answer has become likely enough: no gradient"),
    (0.5, 1.0, "no-way-back", True, "a good answer has become unlikely: it needs its gradient to "
     "come back, and the clipped term alone has none"),
    (0.5, -1.0, "still-moves", False, "a bad answer has become unlikely enough: no gradient"),
    (1.5, -1.0, "no-way-back", True, "a bad answer has become likely: it needs its gradient to "
     "come back, and the clipped term alone has none"),
    (6.0, -1.0, "no-way-back", True, "a bad answer has become far likelier: nothing holds back "
     "the gradient that corrects it"))


@exercise("08.4", hints=(
    "A good answer (A > 0) whose probability fell to half: ratio .5, eps .2. The clipped term is "
    ".8 A wherever the ratio moves below .8, so its gradient is 0. Does your loss still push?",
    "Three questions: is the ratio exp of a difference? Is it the ratio that gets clipped, to "
    "1 - eps .. 1 + eps? Is the smaller of two products taken, sample by sample, before the mean?",
    "ratio = new probability over old, from the log-probabilities\n"
    "plain = ratio times advantage\n"
    "cautious = ratio held inside 1 - eps .. 1 + eps, times advantage\n"
    "objective of a sample = the smaller of the two\nresult: minus the mean objective"))
def ppo_clip(answer, probe):
    def loss(lp, lp_old, adv, eps):
        out = probe.call(answer, lp, lp_old, adv, eps)
        probe.shape(out, (), "shape", "one number for all samples, a tensor of shape ()")
        return out

    def right(lp, lp_old, adv, eps):
        return -clipped(lp, lp_old, adv, eps).mean()

    rich = []
    for n, eps in ((12, 0.2), (9, 0.1), (15, 0.35), (7, 0.2)):
        lp_old = -0.5 - probe.normal(n).abs()
        rich.append((lp_old + probe.normal(n, scale=0.5), lp_old, probe.normal(n), eps))
    judge = Judge(probe, loss, right, wrong_ppo_losses, rich)
    judge.compare(real([-1.0]), real([-1.0]), real([2.0]), 0.2, code="ratio-1", where="lp = lp_old "
                  "= [-1.], adv = [2.], so the ratio is 1 and the loss -2")
    for ratio, adv, code, moves, why in CORNERS:
        lp, lp_old = real([math.log(0.1 * ratio)]).requires_grad_(), real([math.log(0.1)])
        where = f"one sample, ratio {ratio:g}, advantage {adv:g}, eps = .2"
        judge.compare(lp.detach(), lp_old, real([adv]), 0.2, code="corner", where=where)
        out = loss(lp, lp_old, real([adv]), 0.2)
        if moves:
            probe.true(out.requires_grad, "detached", f"{where}: no gradient leaves the result: it "
                       "was made outside torch's graph (detach, item, no_grad)")
        grad = (torch.autograd.grad(out, lp, allow_unused=True)[0] if out.requires_grad else None)
        grad = lp.new_zeros(1) if grad is None else grad
        want = real([-ratio * adv if moves else 0.0])
        known = {} if torch.allclose(grad, want) else {judge.mistake(): ([grad], "")}
        why = f"{where}: {why}. The gradient for lp"
        known = {named: (grad, f"{wrong_ppo_losses(*rich[0], why)[named][1]}") for named in known
                 if named}
        probe.equal(grad, want, code, why, known=known)
    for some in rich:
        judge.compare(*some, where=f"{len(some[0])} samples, eps = {some[3]}")
    lp_old = -0.5 - probe.normal(9).abs()
    lp = (lp_old + probe.normal(9, scale=0.4)).requires_grad_()
    adv = probe.normal(9)
    probe.gradients(loss(lp, lp_old, adv, 0.25)[None], right(lp, lp_old, adv, 0.25)[None],
                    {"lp": lp})
    far = probe.zeros(2) - 900                              # whole answers: hundreds of tokens
    judge.compare(far + real([0.1, -0.3]), far, real([1.0, -2.0]), 0.2, code="overflow",
                  where="log-probabilities of -900, whose exponentials are 0 on a computer, while "
                  "the ratio is not")


def wrong_dpo_losses(win, lose, win_ref, lose_ref, beta, where):
    """{code: (loss of a well-known mistake, what it is)}."""
    up, down = win - win_ref, lose - lose_ref
    d = up - down
    right = F.softplus(-beta * d).mean()

    def loss(margin):
        return F.softplus(-margin).mean()
    table = {
        "swapped": (loss(-beta * d), "winner and loser are exchanged: this loss raises the loser"),
        "sign": (-right, "the sign is wrong: a loss is minus a log-probability, never negative"),
        "no-ref": (loss(beta * (win - lose)), "the reference has no effect"),
        "ref-added": ([loss(beta * ((win - lose) + (win_ref - lose_ref))),
                       loss(beta * (win + win_ref - lose + lose_ref))], "the reference's margin is "
                      "added: what counts is each answer's policy minus its own reference"),
        "ref-alone": (loss(beta * (win_ref - lose_ref)), "the policy has no effect"),
        "no-beta": (loss(d), "beta has no effect"),
        "beta-outside": ([beta * loss(d), loss(d) / beta], "beta stands outside the sigmoid: it "
                         "multiplies the margin inside"),
        "divided": (loss(d / beta), "beta divides: it multiplies"),
        "beta-once": ([loss(beta * (win - lose) - (win_ref - lose_ref)),
                       loss((win - lose) - beta * (win_ref - lose_ref)), loss(beta * up - down),
                       loss(up - beta * down)], "beta multiplies one part of the margin only: "
                      "it multiplies all of it"),
        "sum": (F.softplus(-beta * d).sum(), "this is the sum over the pairs: take the mean"),
        "bits": (right / math.log(2), "these are bits: use nats, the natural logarithm"),
        "no-log": ([s * torch.sigmoid(t * beta * d).mean() for s in (1, -1) for t in (1, -1)],
                   "the mean of probabilities: the loss is minus the mean of their logarithms"),
        "log-of-mean": (-torch.sigmoid(beta * d).mean().log(), "the logarithm of the mean "
                        "probability: take the logarithm of each pair first, then the mean"),
        "mean-inside": (loss(beta * d.mean()), "the margins are averaged first: the mean comes "
                        "last"),
        "winner-only": (loss(beta * up), "the loser has no effect"),
        "alone": ([(F.softplus(-beta * up) + F.softplus(beta * down)).mean() * k for k in (1, 0.5)],
                  "winner and loser are judged on their own: only their difference counts"),
        "ratio": ([loss(beta * (up.exp() - down.exp())), loss(beta * (up / down)),
                   loss(beta * (win / win_ref - lose / lose_ref))], "a ratio of probabilities, or "
                  "of log-probabilities: the margin is made of differences of logarithms"),
        "ipo": ([(d - 1 / (2 * beta)).square().mean(), (beta * d - 1).square().mean()], "a squared "
                "error: that is IPO's loss (Azar et al. 2023), here minus a log-sigmoid is asked"),
        "hinge": ([F.relu(m - beta * d).mean() for m in (0, 1)], "a hinge, flat beyond its margin"),
        "difference": ([-beta * d.mean(), beta * d.mean()], "the bare margin, which grows without "
                       "end: it needs a sigmoid and a logarithm")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("08.5", hints=(
    "Policy and reference equal: the loss is ln 2, whatever beta. Then let the policy raise the "
    "winner's log-probability by 1: the loss must fall. Does yours?",
    "It is bt_loss of 08.2, with a reward that each answer gets from two models. Which reward? "
    "Look at what is subtracted from what, and whether beta touches all of it.",
    "reward of an answer = beta times (policy's minus reference's log-probability)\n"
    "margin = winner's reward minus loser's\nresult: the loss of 08.2 on these margins"))
def dpo_loss(answer, probe):
    names = ("win", "lose", "win_ref", "lose_ref")

    def right(win, lose, win_ref, lose_ref, beta):
        return F.softplus(-beta * ((win - win_ref) - (lose - lose_ref))).mean()

    def loss(*given):
        out = probe.call(answer, *given)
        probe.shape(out, (), "shape", "one number for all pairs, a tensor of shape ()")
        return out

    rich = [(*(-4 - 1.5 * probe.normal(n) for _ in names), beta)
            for n, beta in ((4, 0.3), (6, 2.0), (7, 0.7))]
    judge = Judge(probe, loss, right, wrong_dpo_losses, rich)
    judge.compare(*map(real, ([-2.0], [-3.0], [-2.0], [-3.0])), 0.5, code="start", where="policy "
                  "and reference equal, win = [-2.], lose = [-3.], so the loss is ln 2")
    judge.compare(*map(real, ([-1.0], [-3.0], [-2.0], [-3.0])), 0.5, where="win = [-1.], win_ref = "
                  "[-2.], lose = lose_ref = [-3.], beta = .5, so the margin is .5 times 1")
    for some in rich:
        judge.compare(*some, where=f"{len(some[0])} pairs, beta = {some[4]}")
    given = [-4 - 1.5 * probe.normal(5) for _ in names]
    given[0].requires_grad_()
    given[1].requires_grad_()
    out = loss(*given, 0.4)
    probe.gradients(out[None], right(*given, 0.4)[None], dict(zip(names[:2], given)))
    for gap in (3000.0, -3000.0):
        given = [real([v, -7.0]) for v in (-4000 + gap, -4000, -4000, -4000)]
        given[0].requires_grad_()
        given[1].requires_grad_()
        out, want = loss(*given, 0.5), right(*given, 0.5)
        where = f"one margin of {0.5 * gap:g}"
        probe.finite(out.detach(), "overflow", f"{where}: the exponential or the logarithm ran out "
                     "of range: use a form that holds far from 0 too")
        probe.equal(out.detach(), want.detach(), "overflow", f"{where}: a large margin lost its "
                    "value, as when something is clamped or a small number added")
        probe.gradients(out[None], want[None], dict(zip(names[:2], given)))
