"""The small policy against enumeration and against its own closed form; retrieval by rank."""
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from utils import alignment as al


def every(policy, T):
    """All V^T replies of a shortened policy with their probabilities: (n, T), (n,)."""
    replies = torch.tensor(list(itertools.product(range(al.V), repeat=T)))
    before = torch.cat([torch.full_like(replies[:, :1], al.V), replies[:, :-1]], 1)
    return replies, policy.log_softmax(-1)[torch.arange(T), before, replies].sum(1).exp()


@pytest.fixture
def short(monkeypatch):
    """Replies of four words, few enough to write them all down."""
    monkeypatch.setattr(al, "T", 4)
    rng = torch.Generator().manual_seed(3)
    return al.reference(1), torch.randn(4, al.V + 1, al.V, generator=rng)


def test_kl_and_expectations_equal_the_sum_over_all_replies(short):
    start, policy = short
    replies, p = every(policy, 4)
    q = every(start, 4)[1]
    assert abs(float(p.sum()) - 1) < 1e-4
    assert al.kl(policy, start) == pytest.approx(float((p * (p / q).log()).sum()), abs=1e-4)
    assert al.kl(start, start) == pytest.approx(0, abs=1e-6)
    truth = al.true_reward(replies)
    assert al.expected(policy, al.worth()) == pytest.approx(float((p * truth).sum()), abs=1e-4)
    torch.testing.assert_close(al.log_probs(policy, replies).sum(1).exp(), p)


@pytest.mark.parametrize("beta", [0.2, 1.0, 5.0])
def test_the_closed_form_tilts_every_reply(short, beta):
    start, _ = short
    weights = torch.randn(al.V, generator=torch.Generator().manual_seed(4))
    replies, p = every(start, 4)
    wanted = p * (al.counts(replies) @ weights / beta).exp()
    found = every(al.best_policy(start, weights, beta), 4)[1]
    torch.testing.assert_close(found, wanted / wanted.sum(), atol=1e-6, rtol=1e-4)


def test_samples_have_the_policys_frequencies(short):
    policy = short[1]
    replies, p = every(policy, 4)
    drawn = al.sample(policy, 40_000, torch.Generator().manual_seed(5))
    code = (drawn * al.V ** torch.arange(3, -1, -1)).sum(1)
    share = torch.bincount(code, minlength=len(p)) / len(drawn)
    assert float((share - p).abs().max()) < 0.01


def test_a_person_prefers_the_better_reply_as_often_as_bradley_and_terry_say():
    start = al.reference()
    won, lost = al.comparisons(start, 20_000, 0)
    apart = al.true_reward(won) - al.true_reward(lost)
    for low, high in ((0.25, 1.25), (1.75, 2.25)):
        here = (apart.abs() > low) & (apart.abs() < high)
        chance = float(apart[here].abs().sigmoid().mean())
        assert float((apart[here] > 0).float().mean()) == pytest.approx(chance, abs=0.02)


def test_worth_rises_to_its_limit_and_falls_after():
    w = al.worth()
    assert w.shape == (al.V, al.T + 1) and bool((w[:, 0] == 0).all())
    fact, please = al.WORDS.index("fact"), al.WORDS.index("please")
    assert w[fact, :5].tolist() == [0, 1, 2, 3, 2] and w[please, :3].tolist() == [0, 1, 0]
    reply = torch.tensor([[fact] * al.T])
    assert al.true_reward(reply).item() == w[fact, al.T] == 3 - 7


def clip(log_p, old, advantage, eps):
    ratio = (log_p - old).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - eps, 1 + eps) * advantage).mean()


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_ppo_comes_near_the_best_policy(beta):
    start, weights = al.reference(), torch.tensor([0, 0, .6, .3, -.1, -.1, -.3, -1.0])
    _, path = al.ppo(start, weights, beta, clip)
    best = al.judge(al.best_policy(start, weights, beta), weights, start)
    gain = path[-1].proxy - beta * path[-1].kl
    assert best.proxy - beta * best.kl - 0.1 < gain < best.proxy - beta * best.kl + 1e-4


def test_ppo_without_a_price_ends_at_the_word_that_the_proxy_likes_most():
    start, weights = al.reference(), torch.tensor([0, 0, .6, .3, -.1, -.1, -.3, -1.0])
    policy, path = al.ppo(start, weights, 0.0, clip)
    assert path[-1].proxy > 5 and path[-1].true < path[0].true < max(p.true for p in path)
    again = al.ppo(start, weights, 0.0, clip)[0]
    assert torch.equal(policy, again)


def test_dpo_learns_from_comparisons_and_stays_near_at_a_large_beta():
    start = al.reference()
    pairs = al.comparisons(start, 4000, 0)
    loss = lambda w, l, w0, l0, beta: -F.logsigmoid(beta * (w - w0 - l + l0)).mean()
    near, far = (al.dpo(start, *pairs, beta, loss, torch.zeros(al.V))[1][-1] for beta in (3.0, 0.3))
    assert near.true > al.expected(start, al.worth()) + 0.5
    assert 0 < near.kl < far.kl


def test_best_of_n_raises_both_rewards_and_one_is_the_start():
    start, weights = al.reference(), torch.tensor([0, 0, .6, .3, -.1, -.1, -.3, -1.0])
    one, many = al.best_of(1, start, weights, 0), al.best_of(16, start, weights, 0)
    assert one.kl == 0 and many.kl == pytest.approx(math.log(16) - 15 / 16)
    assert one.true == pytest.approx(al.expected(start, al.worth()), abs=0.15)
    assert many.proxy > one.proxy + 1 and many.true > one.true + 1


def test_at_kl_reads_between_two_steps():
    path = [al.SimpleNamespace(kl=k, proxy=2 * k, true=1 - k) for k in (0.0, 1.0, 3.0)]
    assert al.at_kl(path, 2.0) == pytest.approx((4.0, -1.0))
    with pytest.raises(ValueError, match="ends at 3.00"):
        al.at_kl(path, 5.0)


def test_nothing_touches_the_global_random_state():
    before = torch.get_rng_state()
    al.ppo(al.reference(), torch.ones(al.V), 1.0, clip, steps=2)
    al.best_of(2, al.reference(), torch.ones(al.V), 0, prompts=3)
    assert torch.equal(before, torch.get_rng_state())
