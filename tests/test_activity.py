"""Windows, the split by person, models and explorers of lecture 03, and what they refuse."""
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from utils import activity
from utils.explorers import activity as explorers
from utils.explorers.activity import SlidingKernel, WindowPlayer, weights
from utils.labels import guess


def recording(*segments, T=400):
    """A made data set: segments (start, stop, label, person), a signal that counts samples."""
    signal = torch.arange(T).float()[:, None].expand(T, 2)
    return SimpleNamespace(signal=signal, sampling_hz=50,
                           segments=[(a, b, y, p, i) for i, (a, b, y, p) in enumerate(segments)])


@pytest.mark.parametrize("size, stride", [(4, 4), (4, 2), (5, 3), (10, 1)])
def test_windows_stay_inside_their_segment(size, stride):
    data = recording((0, 10, 0, 1), (10, 31, 3, 2), (31, 60, 8, 2))     # label 8: no activity
    w = activity.windows(data, size, stride)
    assert len(w.x) == sum((n - size) // stride + 1 for n in (10, 21))
    assert torch.equal(w.x[:, 0, 0].long(), w.start) and w.x.shape[1:] == (2, size)
    assert bool((w.x[:, 0].diff(dim=-1) == 1).all())
    assert set(w.y[w.person == 1].tolist()) == {0} and set(w.y[w.person == 2].tolist()) == {3}
    assert int(w.x[w.person == 1].max()) < 10 and int(w.x[w.person == 2].max()) < 31


def test_a_recording_shorter_than_a_window_is_named():
    with pytest.raises(ValueError, match="person 7 holds 9 samples of sitting, a window needs 10"):
        activity.windows(recording((0, 40, 0, 1), (40, 49, 3, 7)), 10, 5)
    with pytest.raises(ValueError, match="no activity"):
        activity.windows(recording((0, 40, 9, 1)), 10, 5)


def test_a_split_by_person_shares_nobody_and_lacks_no_activity():
    w = activity.windows(stride=128)
    test = activity.by_person(w.person, w.y)
    assert set(w.person[test].tolist()) == set(activity.TEST_PEOPLE)
    assert not set(w.person[test].tolist()) & set(w.person[~test].tolist())
    assert not set(w.segment[test].tolist()) & set(w.segment[~test].tolist())
    person, y = torch.tensor([1, 1, 2, 2, 3]), torch.tensor([0, 1, 0, 1, 1])
    assert activity.by_person(person, y, [2]).tolist() == [False, False, True, True, False]
    with pytest.raises(ValueError, match="test part holds no window of walking"):
        activity.by_person(person, y, [3])
    with pytest.raises(ValueError, match="training part holds no window of walking"):
        activity.by_person(person, y, [1, 2])
    with pytest.raises(ValueError, match=r"no window of person \[9\]"):
        activity.by_person(person, y, [2, 9])


def test_zscore_leaves_no_level_and_no_spread():
    x = torch.randn(3, 2, 50, generator=torch.Generator().manual_seed(0)) * 1e-3 + 1
    x[0, 0] = 1.0                                           # a channel that does not move
    z = activity.zscore(x)
    assert bool((z[0, 0] == 0).all()) and bool(torch.isfinite(z).all())
    torch.testing.assert_close(z[1:].std(-1), torch.ones(2, 2))
    torch.testing.assert_close(z.mean(-1), torch.zeros(3, 2), atol=1e-4, rtol=0)


def test_shuffling_moves_all_channels_of_a_window_alike():
    x = torch.arange(60.0).view(2, 1, 30) + torch.tensor([0.0, 100.0])[:, None]
    mixed = activity.shuffled(x, seed=3)
    assert torch.equal(mixed.sort(-1).values, x) and not torch.equal(mixed, x)
    assert bool((mixed[:, 1] - mixed[:, 0] == 100).all())
    assert not torch.equal(mixed[0].argsort(-1), mixed[1].argsort(-1))
    assert torch.equal(mixed, activity.shuffled(x, seed=3))


def waves(n, T=64):
    """Two kinds of noisy windows (n, 2, T) that differ by rhythm only."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    t = torch.arange(T) + 20 * torch.rand(n, 1, generator=rng)
    x = torch.sin(t * (0.4 + 0.4 * y[:, None]))
    return torch.stack([x, x], 1) + 0.3 * torch.randn(n, 2, T, generator=rng), y


def test_the_cnn_learns_a_rhythm_and_the_same_seed_gives_the_same_model():
    x, y = waves(240)
    one, two = (activity.fit(x[:160], y[:160], seed=1, epochs=4, batch=32) for _ in range(2))
    assert torch.equal(one[0].weight, two[0].weight)
    assert activity.accuracy(guess(one, x[160:]), y[160:]) > 0.9


def test_minirocket_is_shares_of_responses_above_thresholds():
    x, y = waves(90, T=128)
    rocket = activity.MiniRocket(x[:60], thresholds=2)
    found = rocket(x)
    assert found.shape == (90, 840) and 0 <= float(found.min()) and float(found.max()) <= 1
    weights, gap = rocket.weights[2][5:6], activity.MiniRocket.dilations[2]
    response = F.conv1d(x[7:8], weights, padding=4 * gap, dilation=gap)[0, 0]
    above = float((response > rocket.thresholds[2][5, 1]).float().mean())
    assert above == pytest.approx(float(found[7, 2 * 168 + 84 + 5]))
    assert all(float(w.sum((1, 2)).abs().max()) == 0 for w in rocket.weights)   # blind to level
    again = activity.MiniRocket(x[:60], thresholds=2)(x)
    assert torch.equal(found, again)


def test_one_person_out_equals_a_fit_without_the_person():
    from sklearn.linear_model import Ridge
    rng = torch.Generator().manual_seed(1)
    person = torch.arange(80) % 4
    features, y = torch.randn(80, 5, generator=rng), torch.arange(80) // 4 % 3
    features[:, 0] += 2 * y
    guesses = activity.one_person_out(features, y, person, alpha=2.0)
    x = (features - features.mean(0)) / (features.std(0) + 1e-6)
    x = torch.cat([x, torch.ones(80, 1)], 1)
    for one in range(4):
        ridge = Ridge(2.0, fit_intercept=False).fit(x[person != one], 2.0 * F.one_hot(y)[
            person != one] - 1)
        theirs = ridge.predict(x[person == one]).argmax(-1)
        assert guesses[person == one].tolist() == theirs.tolist()
    with pytest.raises(ValueError, match="nobody is left"):
        activity.one_person_out(features, y, torch.zeros(80).long())


def test_the_sliding_kernel_holds_at_every_setting():
    assert SlidingKernel().selftest() >= 20


@pytest.mark.parametrize("k, layers, dilated, reach", [(3, 1, False, 3), (3, 4, False, 9),
                                                       (2, 5, True, 32), (1, 5, True, 1)])
def test_the_sliding_kernel_counts_what_it_sees(k, layers, dilated, reach):
    e = SlidingKernel()
    result = e.compute(**(e.values | {"kernel": "1 " * k, "layers": layers, "dilated": dilated}))
    assert result["reach"] == reach
    assert result["seen"][1] - result["seen"][0] + 1 == reach


def test_a_click_draws_the_kernel_backwards():
    e = SlidingKernel()
    result = e.compute(**(e.values | {"name": "a click", "kernel": "1, 2; 3"}))
    assert result["response"][62:67].tolist() == [0, 3, 2, 1, 0]


@pytest.mark.parametrize("typed, says", [("1 cat", "not a kernel"), ("", "0 weights"),
                                         ("1 " * 30, "30 weights"), ("nan", "too large"),
                                         ("1e999", "too large")])
def test_a_kernel_that_is_none_is_said(typed, says):
    assert says in weights(typed)
    assert says in SlidingKernel(kernel=typed).show()[1]


def test_the_window_player_shows_how_shuffling_moves_belief(monkeypatch):
    x, y = waves(240, T=128)
    model = activity.fit(x[:, :1].expand(-1, 6, -1), y * 5, seed=0, epochs=2, batch=64)
    parts = SimpleNamespace(x=x[:, :1].expand(-1, 6, -1), y=torch.arange(240) % 6,
                            person=torch.arange(240))
    monkeypatch.setattr(explorers, "listener", lambda: (model, parts))
    assert WindowPlayer().selftest() >= 10
    with_shuffle, without = (WindowPlayer(mixed=mixed).show()[1] for mixed in (True, False))
    assert "shuffled" in with_shuffle and "shuffled" not in without
