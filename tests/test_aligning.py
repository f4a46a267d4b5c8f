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


def dpo_loss(win, lose, win_start, lose_start, beta):
    return -F.logsigmoid(beta * (win - win_start - lose + lose_start)).mean()


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
    near, far = (al.dpo(start, *pairs, beta, dpo_loss, torch.zeros(al.V))[1][-1]
                 for beta in (3.0, 0.3))
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


@pytest.mark.parametrize("budget", [0.2, 1.8, 9.0])
def test_beta_for_spends_the_budget(budget):
    start, weights = al.reference(), torch.tensor([0, 0, .6, .3, -.1, -.1, -.3, -1.0])
    policy = al.best_policy(start, weights, al.beta_for(start, weights, budget))
    assert al.kl(policy, start) == pytest.approx(budget, abs=1e-3)


def test_nothing_touches_the_global_random_state():
    before = torch.get_rng_state()
    al.ppo(al.reference(), torch.ones(al.V), 1.0, clip, steps=2)
    al.best_of(2, al.reference(), torch.ones(al.V), 0, prompts=3)
    assert torch.equal(before, torch.get_rng_state())


def prefer(r_win, r_lose):
    return -F.logsigmoid(r_win - r_lose).mean()


def test_the_reward_model_is_the_logistic_regression_without_intercept():
    from sklearn.linear_model import LogisticRegression
    start = al.reference()
    won, lost = al.comparisons(start, 3000, 0)
    found = al.fit_rewards(won, lost, prefer, start)
    apart = (al.counts(won) - al.counts(lost)).numpy()
    both, labels = [*apart, *-apart], [1] * len(apart) + [0] * len(apart)
    theirs = torch.tensor(LogisticRegression(C=1e6, fit_intercept=False, tol=1e-8)
                          .fit(both, labels).coef_[0]).float()
    torch.testing.assert_close(found - found.mean(), theirs - theirs.mean(), atol=2e-3, rtol=0)
    assert al.judge(start, found, start).proxy == pytest.approx(0, abs=1e-4)
    assert al.right_share(found, start) > 0.75 > 0.25 > al.right_share(
        found, al.best_policy(start, found, 0.15))


def test_the_dial_walks_all_its_controls():
    from utils.explorers.aligning import OveroptimisationDial
    assert OveroptimisationDial().selftest() > 8


def test_the_bench_walks_all_its_controls(wheels):
    from utils.explorers.aligning import SamplingBench
    assert SamplingBench().selftest() > 10
    assert SamplingBench(temperature=0.0).compute("1 2 3 4", 0.0, "all", 0.9)["alive"] == 1
    assert "2,000 at most" in SamplingBench().show(prompt="x" * 2001)[1]


def test_greedy_in_one_pass_equals_greedy_token_by_token(wheels):
    from utils import prompting
    lm = prompting.smollm2()
    shared, starts = "hot -> cold\nbig -> small\n", ["old ->", "up ->", "black ->", "rich ->"]
    written = lm.write([shared + s for s in starts], 1)
    answers = [written[0], " elephant", written[2], written[3]]
    assert prompting.continues(lm, shared, starts, answers).tolist() == [True, False, True, True]
    assert prompting.continues(lm, "", ["The capital of France is"], [" Paris"]).tolist() in (
        [True], [False])
    logits = prompting.next_logits(lm, shared + starts[0])
    assert lm.decode([int(logits.argmax())]) == written[0]


def test_examples_are_drawn_and_their_labels_moved():
    from utils import prompting
    pairs = prompting.word_pairs("comparative")
    assert len(pairs) == 37 and ("big", "bigger") in pairs
    some, rest = prompting.draw_examples(pairs, 8, 1)
    assert sorted(some + rest) == sorted(pairs) and len(some) == 8
    moved = prompting.shift_labels(some)
    assert {b for _, b in moved} == {b for _, b in some}
    assert not set(moved) & set(some)


def test_each_question_has_its_article_and_recall_counts_it():
    from utils import retrieval
    texts, articles = retrieval.wiki_passages()
    assert len(texts) == len(articles) and len({q[0] for q in retrieval.QUESTIONS}) == 20
    where = {n: " ".join(t for t, a in zip(texts, articles) if a == n)
             for n, *_ in retrieval.QUESTIONS}
    for number, own, _ in retrieval.QUESTIONS:          # the article's own words stand there
        long = [w for w in retrieval.words(own) if len(w) > 5]
        assert sum(w in where[number] for w in long) >= 0.7 * len(long), own
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    hits = retrieval.recall_at(scores, torch.tensor([7, 7, 9]), torch.tensor([9, 7]), 2)
    assert hits.tolist() == [False, True]
    assert retrieval.recall_at(scores, torch.tensor([7, 7, 9]), torch.tensor([9, 7]), 3).all()


@pytest.mark.parametrize("answer, height, right", [
    ("It is 7,492 metres.", "7,492", True), ("7.492 m", "7,492", True), ("7492", "7,492", True),
    ("17,492", "7,492", False), ("about 694.", "694", True), ("6940", "694", False),
    ("Noshak 7,", "7,492", False)])
def test_a_height_is_recognised_whatever_parts_its_thousands(answer, height, right):
    from utils.retrieval import says
    assert says(answer, height) == right


def test_country_passages_hold_a_height(wheels):
    from utils.retrieval import FIELDS, HIGH, country_passages, metres
    found = country_passages(20)
    assert len(found) == 20 * len(FIELDS)
    assert all(metres(t) for (_, field), t in found.items() if field == HIGH)
    with pytest.raises(ValueError, match="countries asked for"):
        country_passages(1000)
