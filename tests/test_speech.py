"""Digits in a row: what is drawn, what is learned, how errors are counted."""
import functools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from utils.recipe import Recipe
from utils.speech import (HELD_OUT, LETTERS, STOP, WINDOW, cer, edits, features, listener,
                          load_digits, masked, spelling_loss, targets, train_listener, transcribe)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_voices_to_learn_from_are_never_heard_in_the_test(digits):
    learn, held = digits
    assert len(learn.voices) == 45 and held.voices == list(HELD_OUT)
    assert set(learn.voices).isdisjoint(held.voices)
    assert len(learn.clips) == 450 and len(held.clips) == 150
    assert set("".join(learn.words) + " ") == set(LETTERS) and len(LETTERS) == STOP
    for wave in held.clips.values():
        assert wave[0].abs() > 0.02 and wave[-1].abs() > 0.02 and len(wave) <= 6400


def test_a_row_of_digits_is_its_clips_with_pauses(digits):
    learn, _ = digits
    wave, text = learn.say([3, 0, 3], 8)
    assert text == "three zero three"
    three, zero = learn.clips[8, 3], learn.clips[8, 0]
    pause = torch.zeros(400)
    assert torch.equal(wave, torch.cat([pause, three, pause, zero, pause, three]))
    wave, _ = learn.say([3], 8, generator())
    assert 160 <= len(wave) - len(three) <= 960 and torch.equal(wave[-len(three):], three)
    lengths = [len(learn.say([3], 8, generator(seed), 0.2)[0]) for seed in range(20)]
    assert min(lengths) > 0.79 * len(three) and max(lengths) < 1.2 * (len(three) + 960)
    assert len(set(lengths)) > 15


def test_what_is_drawn_fits_and_depends_on_the_generator_alone(digits):
    _, held = digits
    before = torch.get_rng_state()
    waves, texts = held.draw(40, 2, 4, generator(5), 0.2)
    again, same = held.draw(40, 2, 4, generator(5), 0.2)
    assert texts == same and all(map(torch.equal, waves, again))
    assert len(waves) == 40 and max(map(len, waves)) <= WINDOW
    assert {len(text.split()) for text in texts} == {2, 3, 4}
    assert torch.equal(before, torch.get_rng_state())


def test_each_wave_fills_the_window_alone(digits):
    waves, _ = digits[0].draw(3, 1, 3, generator())
    mel = features(waves)
    assert mel.shape == (3, 32, 120)
    torch.testing.assert_close(mel[1:2], features(waves[1:2]))
    with pytest.raises(ValueError, match="19201 samples came, and 19200 fit"):
        features([waves[0], torch.zeros(WINDOW + 1)])


def test_targets_end_with_stop_and_count_nothing_after():
    ids = targets(["one", "two one"])
    assert ids.shape == (2, 8)
    assert "".join(LETTERS[i] for i in ids[1, :7]) == "two one" and ids[1, 7] == STOP
    assert ids[0].tolist() == [*map(LETTERS.index, "one"), STOP, -100, -100, -100, -100]


def test_loss_is_that_of_each_letter_after_those_before(digits):
    waves, texts = digits[0].draw(2, 1, 2, generator(1))
    model, mel = listener(3).eval(), features(waves)
    total = count = 0
    with torch.no_grad():
        for row, text in zip(mel, texts):
            ids = [*map(LETTERS.index, text), STOP]
            for t in range(len(ids)):
                before = torch.tensor([[STOP, *ids[:t]]])
                total -= model(row[None], before)[0, -1].log_softmax(-1)[ids[t]]
                count += 1
        loss = spelling_loss(model, mel, targets(texts))
    torch.testing.assert_close(loss, total / count, atol=1e-5, rtol=0)


def test_a_mask_silences_one_band_of_pitches():
    mel = torch.rand(50, 32, 6, generator=generator()) + 1
    out = masked(mel, generator(1), 8)
    changed = (out != mel).any(-1)                      # (50, 32)
    assert torch.equal((out != mel).all(-1), changed)
    assert set(changed.sum(1).tolist()) == set(range(9))
    assert ((changed[:, 1:] & ~changed[:, :-1]).sum(1) + changed[:, 0] <= 1).all()
    assert changed.any(0).all()                         # every band is hit in some row
    assert torch.equal(masked(mel, generator(), 0), mel)


@functools.cache
def slow_edits(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(slow_edits(a[1:], b) + 1, slow_edits(a, b[1:]) + 1,
               slow_edits(a[1:], b[1:]) + (a[0] != b[0]))


@given(a=st.text("abc", max_size=7), b=st.text("abc", max_size=7))
def test_edits_are_the_fewest(a, b):
    assert edits(a, b) == slow_edits(a, b) == edits(b, a)
    assert (edits(a, b) == 0) == (a == b)


def test_character_error_rate():
    assert cer("three", "tree") == 0.2 and cer("one", "one") == 0
    assert cer("one", "two three") > 1                  # more letters wrong than there are
    assert cer(["one", "three"], ["one", "thre"]) == 1 / 8
    for refs, texts in (("", "one"), (["one"], []), ([], [])):
        with pytest.raises(ValueError, match="letter at least"):
            cer(refs, texts)


def test_a_listener_learns_and_starts_from_its_seed(digits):
    learn, _ = digits
    one = type(learn)({(0, d): learn.clips[0, d] for d in range(10)}, learn.words)
    recipe = Recipe(30, batch=8, lr=3e-3, muon_lr=0.02, warmup=5)
    place = torch.device("cpu")
    model, log = train_listener(one, 4, most=1, recipe=recipe, device=place)
    again, same = train_listener(one, 4, most=1, recipe=recipe, device=place)
    assert log.column("loss") == same.column("loss") and not model.training
    first, last = log.rows[0]["loss"], log.rows[-1]["loss"]
    assert last < 0.6 * first, (first, last)
    waves, _ = learn.draw(3, 1, 2, generator())
    assert transcribe(model, waves)[1:2] == transcribe(again, waves[1:2])


def test_seeds_differ_and_leave_the_global_state():
    before = torch.get_rng_state()
    a, b, same = listener(0), listener(1), listener(0)
    assert torch.equal(before, torch.get_rng_state())
    weights = [F.normalize(m.near.weight.flatten(), dim=0) for m in (a, b, same)]
    assert torch.equal(weights[0], weights[2]) and weights[0] @ weights[1] < 0.5
