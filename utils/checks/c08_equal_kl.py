"""The check of lecture 08 for three ways to follow a reward, compared at one distance."""
import math

import torch
import torch.nn.functional as F

from .c08_known import real
from .engine import exercise
from .probe import first_optimiser

NAMES = ("best-of-n", "PPO", "DPO")
NEAR = 1e-4                                                 # nats, for the distance
SAME = 1e-3                                                 # for a probability


def distance(p, q):
    """KL(p || q) in nats; a share of 0 costs nothing."""
    return float(torch.where(p > 0, p * (p.clamp(min=1e-300) / q).log(), 0 * p).sum())


def best_of(ref, reward, n):
    """The distribution of the best of n draws, for any real n."""
    order = reward.argsort()
    below = ref[order].cumsum(0)
    share = below ** n - (below - ref[order]).clamp(min=0) ** n
    return torch.zeros_like(ref).scatter(0, order, share)


def tilted(ref, reward, strength):
    """ref times exp(strength * reward), normalised."""
    return (ref.log() + strength * reward).softmax(0)


def at_distance(family, ref, kl):
    """The member of a family that grows away from ref at exactly this KL, by bisection."""
    low, high = 0.0, 1.0
    while distance(family(high), ref) < kl and high < 1e9:
        high *= 2
    for _ in range(50):
        mid = (low + high) / 2
        low, high = (mid, high) if distance(family(mid), ref) < kl else (low, mid)
    return family(high)


def counted(pairs, V):
    """(V, V): how often row was preferred to column."""
    return torch.zeros(V, V).double().index_put((pairs[:, 0], pairs[:, 1]), real(1.0),
                                                accumulate=True)


def fitted(pairs, V):
    """The rewards that explain comparisons best (Bradley-Terry), with mean 0, by Newton."""
    wins, r = counted(pairs, V), torch.zeros(V, dtype=torch.float64)
    both = wins + wins.T
    for _ in range(60):
        p = torch.sigmoid(r[:, None] - r[None, :])
        grad = (wins - both * p).sum(1)
        weight = both * p * (1 - p)
        step = torch.linalg.pinv(torch.diag(weight.sum(1)) - weight) @ grad
        r = r + step.clamp(-1, 1)
    return r - r.mean()


def three(ref, reward, pairs, kl):
    """What at_equal_kl must return."""
    r = fitted(pairs, len(ref))
    return (at_distance(lambda n: best_of(ref, reward, 1 + n), ref, kl),
            at_distance(lambda s: tilted(ref, reward, s), ref, kl),
            at_distance(lambda s: tilted(ref, r, s), ref, kl))


def wrong_policies(ref, reward, pairs, kl):
    """For each of the three: {code: (a policy of a well-known mistake at the right KL, why)}."""
    V, right = len(ref), three(ref, reward, pairs, kl)
    even = torch.full_like(ref, 1 / V)
    wins = counted(pairs, V)
    rate = wins.sum(1) / (wins + wins.T).sum(1)
    r, top = fitted(pairs, V), F.one_hot(reward.argmax(), V).double()
    best, ppo, dpo = right

    def along(start, values):                               # start tilted by other rewards
        return at_distance(lambda s: tilted(start, values, s), ref, kl)
    mixed = at_distance(lambda a: (ref + a * top) / (1 + a), ref, kl)
    linear = reward - reward.min()
    return (
        {"worst-of-n": (at_distance(lambda n: best_of(ref, -reward, 1 + n), ref, kl), "the worst "
                        "of n answers is taken: sort the other way"),
         "best-is-ppo": (ppo, "this is the policy that PPO reaches: best-of-n knows only the order "
                         "of the rewards, not their size"),
         "best-by-pairs": (at_distance(lambda n: best_of(ref, r, 1 + n), ref, kl), "the answers "
                           "are ranked by the comparisons: best-of-n sees the reward"),
         "position": (at_distance(lambda n: best_of(ref, torch.arange(V).double(), 1 + n), ref, kl),
                      "the cumulative chances run over places, not over rewards: sort first"),
         "mixture": (mixed, "a mixture of the reference with its best answer: best-of-n moves the "
                     "chances of all answers"),
         "order": (dpo, "that is the policy of DPO: the order is best-of-n, PPO, DPO")},
        {"ppo-is-best": (best, "this is best-of-n, which knows only the order of the rewards: PPO "
                         "sees their size"),
         "mixture": (mixed, "a mixture of the reference with its best answer: PPO moves the "
                     "chances of all answers"),
         "no-ref": (along(even, reward), "the reference has no effect but on the distance: at "
                    "the same reward, answers keep the proportions they have in ref"),
         "sign": (along(ref, -reward), "the sign is wrong: low "
                  "rewards gain"),
         "ppo-by-pairs": (dpo, "this follows the comparisons: PPO sees the reward, DPO the pairs"),
         "not-exp": (at_distance(lambda s: ref * (1 + s * linear) / (1 + s * (ref * linear).sum()),
                                 ref, kl), "chances grow in proportion to the reward: with those, "
                     "reward less beta times KL is not at its highest")},
        {"dpo-by-reward": (ppo, "this follows the reward: DPO never sees it, only the pairs"),
         "swapped": (along(ref, -r), "winner and loser are "
                     "exchanged: pairs[i] is (winner, loser)"),
         "win-rate": ([along(ref, v) for v in (rate, wins.sum(1), wins.sum(1) - wins.sum(0))],
                      "this follows the number of wins, as do the first steps of training: who "
                      "won against strong answers deserves more. Go to the minimum of DPO's loss"),
         "no-ref": (along(even, r), "the reference has no effect but on the distance: it belongs "
                    "into DPO's loss"),
         "order": (best, "that is best-of-n: the order is best-of-n, PPO, DPO")})


def simulated(probe, reward, V, each, noise=1.0):
    """Comparisons by a person who errs: (m, 2); every two answers, each wins at least once."""
    rows = []
    for i in range(V):
        for j in range(i):
            p = float(torch.sigmoid(noise * (reward[i] - reward[j])))
            n = each * int(probe.ints(1, 6, 1))             # unequal: some meet more often
            won = min(max(int((probe.uniform(n) < p).sum()), 1), n - 1)
            rows += [(i, j)] * won + [(j, i)] * (n - won)
    rows = torch.tensor(rows)
    return rows[torch.randperm(len(rows), generator=probe.generator)]


@exercise("08.8", before=first_optimiser, hints=(
    "Two answers: at a given KL only one policy prefers the better one, so all three must agree "
    "there. Print the KL of each of your three from ref, KL(p || ref), before you look further.",
    "Each method is a family with one dial: n, beta, beta. Each dial moves the KL one way only, so "
    "halve an interval until it fits. What do the pairs say about rewards (08.2), and what does "
    "DPO's best policy make of them (08.5)?",
    "best-of-n: sort by reward; F = chance of a draw at most this good, G = of a worse one;\n"
    "    an answer's share is F to the n less G to the n, for any real n from 1 on\n"
    "PPO: the best policy under reward less beta KL is ref times e to the (reward / beta)\n"
    "DPO: rewards that minimise the loss of 08.2 over the pairs, then as PPO with these\n"
    "each: double the dial until the KL is too large, then halve the interval 60 times"))
def at_equal_kl(answer, probe):
    def ask(ref, reward, pairs, kl, where):
        out = probe.call(answer, ref, reward, pairs, kl)
        probe.type(out, (tuple, list, torch.Tensor), "three policies")
        probe.true(len(out) == 3, "count", f"{where}: expected three policies, came {len(out)}")
        for name, p in zip(NAMES, out):
            probe.shape(p, ref.shape, "shape", f"{where}: {name}, a chance for each answer")
            probe.finite(p, "not-finite", f"{where}: the policy of {name}")
            probe.true(bool((p >= -1e-9).all()) and abs(float(p.sum()) - 1) < 1e-5, "not-chances",
                       f"{where}: the policy of {name} sums to {float(p.sum()):.6g}, its smallest "
                       f"chance is {float(p.min()):.3g}")
        return [p.detach().double().clamp(min=0) for p in out]

    def compare(ref, reward, pairs, kl, where):
        got = ask(ref, reward, pairs, kl, where)
        for name, p in zip(NAMES, got):
            found = distance(p, ref)
            if abs(found - kl) > NEAR:
                turned = float((ref * (ref / p.clamp(min=1e-300)).log()).sum())
                code, why = "kl", f"is {found:.4f} nats from ref"
                if distance(p, ref) < 1e-9:
                    code, why = "unmoved", "is ref itself"
                elif abs(turned - kl) < NEAR:
                    code, why = "kl-direction", (f"has KL(ref || p) = {turned:.4f}, but the "
                                                 f"distance asked for is KL(p || ref), {found:.4f}")
                elif abs(found / math.log(2) - kl) < NEAR:
                    code, why = "bits", f"is {kl:g} bits from ref, {found:.4f} nats"
                elif name == "best-of-n" and abs(formula(ref, reward, p) - kl) < 5e-3:
                    code, why = "kl-formula", (
                        f"is {found:.4f} nats from ref: ln n - (n - 1) / n holds for answers that "
                        "never repeat, here it is too much")
                probe.fail(code, f"{where}: the policy of {name} {why}. Expected {kl:g}")
        want = three(ref, reward, pairs, kl)
        fine = all(torch.allclose(p, right, rtol=SAME, atol=SAME) for p, right in zip(got, want))
        table = [{}] * 3 if fine else wrong_policies(ref, reward, pairs, kl)    # takes a second
        for name, p, right, known in zip(NAMES, got, want, table):
            known = {code: (values, f"{where}, {name}: {why}") for code, (values, why)
                     in known.items()}
            code = {"best-of-n": "best-of-n", "PPO": "ppo", "DPO": "dpo"}[name]
            reason = {"DPO": ". The KL fits, but another policy at this KL makes DPO's loss least "
                      "for some beta. Was training stopped on its way"}.get(name, "")
            probe.equal(p, right, code, f"{where}: the policy of {name}{reason}", SAME, known)

    two = torch.tensor([(1, 0)] * 3 + [(0, 1)])
    compare(real([0.5, 0.5]), real([0.0, 1.0]), two, 0.2, "ref = [.5, .5], reward = [0, 1], 1 won "
            "3 of 4, kl = .2")
    ref, reward = real([0.4, 0.1, 0.3, 0.2]), real([0.5, 1.3, -0.7, 0.1])
    pairs = simulated(probe, reward, 4, 6)
    for kl in (0.3, 0.05):
        compare(ref, reward, pairs, kl, f"4 answers, {len(pairs)} pairs, kl = {kl}")
    for V, each, kl in ((7, 5, 0.8), (5, 9, 0.5)):
        ref, reward = probe.normal(V, scale=0.6).softmax(0), probe.normal(V)
        reward[1] = reward.max() + 0.3                      # the best is not the last
        pairs = simulated(probe, reward, V, each, 0.8)
        compare(ref, 3 * reward + 5, pairs, kl, f"{V} answers, {len(pairs)} pairs, kl = {kl}")


def formula(ref, reward, p):
    """ln n - (n - 1) / n of the n whose best-of-n is nearest to p."""
    best = ref[reward.argmax()]
    n = math.log1p(-min(float(p[reward.argmax()]), 1 - 1e-12)) / math.log1p(-float(best))
    return math.log(n) - (n - 1) / n if n > 0 else math.inf
