"""Replies of ten words whose true worth is known: the smallest place where alignment can fail.

A policy is a table of logits (T, V + 1, V): at place t, after word i (V: at the start), word j.
What is expected of it (KL, reward) is computed exactly, not sampled.
"""
from types import SimpleNamespace

import torch

WORDS = ("well", "so", "fact", "reason", "please", "thanks", "maybe", "rubbish")
T, V = 10, len(WORDS)                                   # words a reply, words there are
# How often a reply uses a word; what each use is worth, up to a limit, and what each one more.
OFTEN = (0.25, 0.22, 0.13, 0.11, 0.07, 0.07, 0.09, 0.06)
WORTH = (0.0, 0.0, 1.0, 1.0, 1.0, 1.0, -0.5, -1.5)
LIMIT = (T, T, 3, 2, 1, 1, T, T)
EXCESS = -1.0


def worth():
    """What n uses of a word are truly worth to a person: (V, T + 1), n from 0."""
    n = torch.arange(T + 1)
    value, limit = torch.tensor(WORTH)[:, None], torch.tensor(LIMIT)[:, None]
    return value * n.minimum(limit) + EXCESS * (n - limit).clamp(min=0) + 0.0    # no -0


def counts(replies):
    """How often each word stands in a reply: (n, T) ids -> (n, V) floats."""
    return torch.nn.functional.one_hot(replies, V).sum(1).float()


def true_reward(replies):
    """What a person truly thinks of each reply: (n, T) ids -> (n,)."""
    return worth()[torch.arange(V), counts(replies).long()].sum(-1)


def text(reply):
    """A reply (T,) as words."""
    return " ".join(WORDS[i] for i in reply.tolist())


def reference(seed=0):
    """The policy before alignment, the same at every place: logits (T, V + 1, V)."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.tensor(OFTEN).log() + 0.3 * torch.randn(V + 1, V, generator=rng)
    return logits.expand(T, -1, -1).clone()


def sample(policy, n, rng):
    """n replies drawn from a policy: (n, T) ids."""
    heights = policy.detach().softmax(-1).cumsum(-1)                    # (T, V + 1, V)
    u, word, replies = torch.rand(T, n, 1, generator=rng), torch.full((n,), V), []
    for t in range(T):
        word = (heights[t, word] < u[t]).sum(-1).clamp(max=V - 1)       # (n,)
        replies.append(word)
    return torch.stack(replies, 1)


def log_probs(policy, replies):
    """Log-probability of each word of each reply: (n, T) ids -> (n, T) nats."""
    before = torch.cat([torch.full_like(replies[:, :1], V), replies[:, :-1]], 1)
    return policy.log_softmax(-1)[torch.arange(T), before, replies]


def kl(policy, other):
    """Exact KL(policy || other) over whole replies, in nats: sum of p log(p / q)."""
    p, q = policy.log_softmax(-1), other.log_softmax(-1)
    at, total = torch.eye(V + 1)[V], 0.0                                # (V + 1,): the word before
    for t in range(T):
        step = p[t].exp()
        total += float((at[:, None] * step * (p[t] - q[t])).sum())
        at = torch.cat([at @ step, torch.zeros(1)])
    return total


def expected(policy, values):
    """Exact mean over a policy's replies of the sum over words v of values[v, uses of v].

    values: (V, T + 1), such as worth(), or weights[:, None] * torch.arange(T + 1).
    """
    words = torch.arange(V)
    at = torch.zeros(V, T + 1, V + 1)           # (v, uses of v so far, the word before)
    at[:, 0, V] = 1.0
    for step in policy.softmax(-1):                                     # (V + 1, V)
        moved = at @ step                                               # (V, T + 1, V)
        used = moved[words, :, words]                                   # (V, T + 1)
        moved[words, :, words] = torch.cat([torch.zeros(V, 1), used[:, :-1]], 1)
        at = torch.cat([moved, torch.zeros(V, T + 1, 1)], -1)
    return float((at.sum(-1) * values).sum())


def judge(policy, weights, start):
    """What there is to know of a policy: its KL from the start, proxy and true reward, all exact.

    weights: (V,) of a reward model that adds up a weight for each word.
    """
    proxy = weights[:, None] * torch.arange(T + 1)
    return SimpleNamespace(kl=kl(policy, start), proxy=expected(policy, proxy),
                           true=expected(policy, worth()))


def best_policy(start, weights, beta):
    """The policy that no other beats in proxy reward - beta KL, in closed form: (T, V + 1, V).

    It gives a reply the probability start * exp(reward / beta), scaled to sum to 1; the sum runs
    over all V^T replies, from the last word backwards.
    """
    p, ahead, logits = start.log_softmax(-1), torch.zeros(V), []
    for t in reversed(range(T)):
        logits.append(p[t] + weights / beta + ahead)                    # (V + 1, V)
        ahead = logits[-1].logsumexp(-1)[:V]
    return torch.stack(logits[::-1])


def beta_for(start, weights, budget):
    """The beta at which best_policy spends so many nats of KL, by halving the interval."""
    low, high = 0.01, 100.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        spends = kl(best_policy(start, weights, middle), start)
        low, high = (middle, high) if spends > budget else (low, middle)
    return middle


def comparisons(start, n, seed):
    """n pairs of replies from a policy, ordered by a person: (winners, losers), each (n, T).

    The person prefers the truly better one with probability sigmoid(difference), as Bradley and
    Terry (1952) assume.
    """
    rng = torch.Generator().manual_seed(seed)
    a, b = sample(start, n, rng), sample(start, n, rng)
    first = torch.rand(n, generator=rng) < (true_reward(a) - true_reward(b)).sigmoid()
    return torch.where(first[:, None], a, b), torch.where(first[:, None], b, a)


def fit_rewards(winners, losers, loss, start):
    """A weight for each word, (V,), so that winners add up to more than losers.

    loss(r_win, r_lose) -> scalar, of rewards (n,). All replies have T words, so a constant may be
    added to every weight: it is chosen to make the start's mean reward 0.
    """
    won, lost = counts(winners), counts(losers)                         # (n, V) each
    weights = torch.zeros(V, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        solver.zero_grad()
        value = loss(won @ weights, lost @ weights)
        value.backward()
        return value

    solver.step(closure)
    found = weights.detach()
    return found - judge(start, found, start).proxy / T


def right_share(weights, policy, seed=9, n=5000):
    """How often a reward model orders two replies of a policy as their true worth does.

    Of n pairs, those of equal worth are left out. Chance is one half.
    """
    rng = torch.Generator().manual_seed(seed)
    a, b = sample(policy, n, rng), sample(policy, n, rng)
    truly = true_reward(a) - true_reward(b)
    proxy = (counts(a) - counts(b)) @ weights
    return float((truly * proxy > 0)[truly != 0].float().mean())


def at_kl(path, budget):
    """(proxy, true) where a path of judge()s first spends so many nats of KL, by a straight line.

    Raises ValueError when the path never gets there.
    """
    for before, after in zip(path, path[1:]):
        if before.kl <= budget <= after.kl:
            share = (budget - before.kl) / max(after.kl - before.kl, 1e-12)
            return (before.proxy + share * (after.proxy - before.proxy),
                    before.true + share * (after.true - before.true))
    raise ValueError(f"this path ends at {path[-1].kl:.2f} nats, and {budget:.2f} are asked for")


def best_of(n, start, weights, seed, prompts=2000):
    """Mean true and proxy reward of the best of n replies by the proxy, and a bound of their KL.

    The bound log n - (n - 1) / n is exact where no two replies tie (Beirami et al. 2024).
    """
    rng = torch.Generator().manual_seed(seed)
    replies = sample(start, n * prompts, rng)                           # (prompts * n, T)
    score = (counts(replies) @ weights).view(prompts, n)
    chosen = replies.view(prompts, n, T)[torch.arange(prompts), score.argmax(1)]
    return SimpleNamespace(kl=float(torch.tensor(float(n)).log()) - (n - 1) / n,
                           proxy=float(score.amax(1).mean()),
                           true=float(true_reward(chosen).mean()))


def ppo(start, weights, beta, clip_loss, seed=0, steps=60, batch=256, rounds=4, lr=0.1, eps=0.2):
    """Raise the proxy reward by PPO (Schulman 2017); returns (policy, a judge() for each step).

    clip_loss(log_p, log_p_old, advantage, eps) -> scalar, all (batch, T). The reward of a word is
    its share of the KL penalty, -beta log(p / p_start), and for the last word the proxy as well;
    its advantage is what comes from there on, less the batch's mean at that place.
    """
    rng = torch.Generator().manual_seed(seed)
    policy = start.clone().requires_grad_()
    adam = torch.optim.Adam([policy], lr)
    path = [judge(start, weights, start)]
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * (1 - step / steps)
        replies = sample(policy, batch, rng)
        old = log_probs(policy, replies).detach()
        reward = -beta * (old - log_probs(start, replies))              # (batch, T)
        reward[:, -1] += counts(replies) @ weights
        ahead = reward.flip(1).cumsum(1).flip(1)                        # from here to the end
        advantage = ahead - ahead.mean(0)
        for _ in range(rounds):
            adam.zero_grad()
            clip_loss(log_probs(policy, replies), old, advantage, eps).backward()
            adam.step()
        path.append(judge(policy.detach(), weights, start))
    return policy.detach(), path


def dpo(start, winners, losers, beta, loss, weights, steps=60, lr=0.1):
    """Fit a policy to comparisons by DPO (Rafailov 2023); returns (policy, a judge() each step).

    loss(w, l, w_start, l_start, beta) -> scalar, of log-probabilities (n,) of whole replies.
    weights: of the reward model, only to be judged by: DPO does not see it.
    """
    policy = start.clone().requires_grad_()
    adam = torch.optim.Adam([policy], lr)
    fixed = [log_probs(start, r).sum(1) for r in (winners, losers)]
    path = [judge(start, weights, start)]
    for _ in range(steps):
        adam.zero_grad()
        loss(*(log_probs(policy, r).sum(1) for r in (winners, losers)), *fixed, beta).backward()
        adam.step()
        path.append(judge(policy.detach(), weights, start))
    return policy.detach(), path
