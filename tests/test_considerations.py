"""Lecture 10's helpers: associations, trust, secrets, watermark, and its two explorers."""
import math

import pytest
import torch
import torch.nn.functional as F

from utils import associations, calibration, canaries, watermark
from utils.batches import Characters
from utils.checkpoints import load_model
from utils.data import char_gpt_file, load_glove
from utils.explorers.considerations import GRIDS, MODELS, FootprintPlanner, ReliabilityDiagram
from utils.generate import generate
from utils.transformer import Config, Transformer
from utils.tuning import answer_nats
from utils.words import space


@pytest.fixture(scope="module")
def glove():
    words = load_glove()
    return space(words.words, words.vectors)


def test_the_published_lists_are_whole_and_lean_as_published(glove):
    for lists in associations.TESTS.values():
        X, Y, A, B = (associations.rows(glove, line) for line in lists)
        assert all(len(part) == 8 for part in (X, Y, A, B))
        lean = torch.cat([X, Y]) @ A.mean(0) - torch.cat([X, Y]) @ B.mean(0)
        assert (lean[:8].mean() - lean[8:].mean()) / lean.std() > 1.2


def test_a_direction_taken_out_is_gone_and_nothing_else_turns(glove):
    d = associations.main_direction(glove)
    assert float(d.norm()) == pytest.approx(1, abs=1e-5)
    assert (glove["she"] - glove["he"]) @ d > 0
    some = glove.vectors[:50]
    out = associations.without(some, d)
    torch.testing.assert_close(out @ d, torch.zeros(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(50))
    torch.testing.assert_close(associations.without(out, d), out, atol=1e-5, rtol=0)


def test_the_probe_finds_what_is_there_and_nothing_in_noise():
    rng = torch.Generator().manual_seed(0)
    noise, sides = torch.randn(800, 5, generator=rng), torch.arange(800) % 2
    assert 0.4 < float(associations.probe(noise, sides)[0].float().mean()) < 0.6
    right, w = associations.probe(noise + 3 * sides[:, None] * torch.eye(5)[2], sides)
    assert float(right.float().mean()) > 0.9 and len(right) == 400 and int(w.argmax()) == 2


def test_leaning_takes_both_ends_and_leaves_out_what_it_is_told():
    vectors = torch.arange(9.)[:, None]
    rows, sides = associations.leaning(vectors, torch.ones(1), 2, leave_out=[8, 0])
    assert rows.tolist() == [1, 2, 6, 7] and sides.tolist() == [0, 0, 1, 1]


def test_option_nats_are_those_of_whole_answers():
    torch.manual_seed(0)
    model = Transformer(Config(19, 24, 2, 4, 2, 40, 32, position="rotary", norm="rms",
                               activation="swiglu", bias=False)).eval()
    prompts = [[1, 2, 3], [4], [5, 6, 7], [8, 9]]
    options = [[[1], [2, 3, 4]], [[5, 6], [7]], [[8, 1], [9, 2, 2]], [[3], [4]]]
    flat = answer_nats(model, [p for p in prompts for _ in range(2)],
                       [o for two in options for o in two])
    torch.testing.assert_close(calibration.option_nats(model, prompts, options, batch=2),
                               flat.view(4, 2), atol=1e-5, rtol=1e-5)


def test_every_question_has_its_capital_first_and_no_option_twice():
    questions = calibration.capitals()
    assert len(questions) >= 200 and len(calibration.capitals(160)) == 160
    assert all(len(set(q.options)) == 4 for q in questions)
    assert next(q for q in questions if q.country == "France").options[0] == "Paris"
    with pytest.raises(ValueError, match="10000 questions"):
        calibration.capitals(10_000)


def test_the_gap_by_hand():
    assert calibration.gap(torch.full((10,), 0.9), torch.arange(10) < 6) == pytest.approx(0.3)
    assert calibration.gap(torch.ones(4), torch.ones(4)) == 0
    sure = torch.tensor([0.05, 0.95, 0.95, 1.0])
    right = torch.tensor([False, True, False, True])
    b = calibration.binned(sure, right)
    assert b.count.tolist() == [1, 3]
    assert calibration.gap(sure, right) == pytest.approx(0.25 * 0.05 + 0.75 * (2.9 / 3 - 2 / 3))
    low, high = calibration.gap_interval(sure.repeat(50), right.repeat(50))
    assert low < calibration.gap(sure, right) < high


@pytest.mark.parametrize("sharper", [0.5, 1.0, 3.0])
def test_the_temperature_finds_how_much_too_sharp_logits_are(sharper):
    rng = torch.Generator().manual_seed(1)
    knows = 1.5 * torch.randn(4000, 4, generator=rng)
    truth = torch.multinomial(knows.softmax(1), 1, generator=rng)[:, 0]
    found = calibration.best_temperature(knows * sharper, truth)
    assert found == pytest.approx(sharper, rel=0.12)


def test_all_secrets_are_what_the_whole_texts_say():
    model, about = load_model(char_gpt_file())
    letters = Characters(about["symbols"])
    start = letters.encode("the password of nora is ")
    logs = canaries.all_secrets(model, start, letters.encode(canaries.LETTERS))
    assert logs.shape == (26, 26, 26) and float(logs.exp().sum()) <= 1
    for secret in ("abc", "the", "zqx"):
        flat = answer_nats(model, [start], [letters.encode(secret)])
        own = logs[tuple(canaries.LETTERS.index(c) for c in secret)]
        assert float(own) == pytest.approx(-float(flat), abs=1e-3)
    order = logs.flatten().argsort(descending=True)
    best = "".join(canaries.LETTERS[i] for i in torch.unravel_index(order[0], (26, 26, 26)))
    assert canaries.rank(logs, best) == 1


def test_secrets_stand_as_often_as_they_should():
    text = "abcd " * 400
    secrets, windows = canaries.planted(text, (0, 1, 4), 2, seed=3, windows=40)
    assert len(windows) == 40 and {len(w) for w in windows} == {49} and len(secrets) == 6
    for times, start, secret in secrets:
        assert sum(start + secret + " " in w for w in windows) == times
    assert canaries.planted(text, (0, 1, 4), 2, seed=3, windows=40)[1] == windows
    with pytest.raises(ValueError, match="do not fit"):
        canaries.planted(text, (64,), 1, seed=0, windows=40)


@pytest.mark.parametrize("gamma", [0.25, 0.5])
def test_a_fair_share_is_green_and_no_key_knows_another(gamma):
    before, tokens = torch.arange(300)[:, None], torch.arange(2000)[None]
    one, two = (watermark.green(before, tokens, key, gamma) for key in (1, 2))
    assert float(one.float().mean()) == pytest.approx(gamma, abs=0.01)
    assert float((one & two).float().mean()) == pytest.approx(gamma ** 2, abs=0.01)
    rows = one.float().mean(1)                          # each list of its own, like coin tosses
    assert float(rows.std()) == pytest.approx(math.sqrt(gamma * (1 - gamma) / 2000), rel=0.35)
    beside = float((one[:-1] & one[1:]).float().mean())
    assert beside == pytest.approx(gamma ** 2, abs=0.01)
    assert int(watermark.green(torch.tensor(49_151), torch.tensor(49_151), 10 ** 6)) in (0, 1)


def test_pairs_count_once():
    assert watermark.pairs([1, 2, 1, 2, 3]).tolist() == [[1, 2], [2, 1], [2, 3]]


def test_rewording_changes_the_share_it_is_told(glove):
    text = "The old city lies on a river, and the people like it."
    assert watermark.reworded(text, glove, 0) == text
    changed = watermark.reworded(text, glove, 0.5, seed=1)
    assert len(changed.split()) == 12 and changed.endswith(".")
    words = list(zip(text.split(), changed.split()))
    assert sum(a.lower() != b.lower() for a, b in words) == 6


def test_generation_can_be_adjusted():
    torch.manual_seed(0)
    model = Transformer(Config(19, 24, 2, 4, max_len=32)).eval()
    seen = []

    def only_seven(last, logits):
        seen.append(last.tolist())
        return logits + 100 * F.one_hot(torch.tensor(7), 19)
    assert generate(model, [[1, 2], [3]], 4, adjust=only_seven) == [[7] * 4] * 2
    assert seen[0] == [2, 3] and seen[1] == [7, 7]


def test_the_reliability_diagram_is_repaired_by_the_right_temperature():
    assert ReliabilityDiagram().selftest() >= 15
    sharp = ReliabilityDiagram(questions=5000)
    by = {t: sharp.compute("overconfident", t, 5000, 10) for t in (1.0, 4.0)}
    assert by[1.0]["gap"] > 0.2 > 0.03 > by[4.0]["gap"]
    assert by[1.0]["accuracy"] == by[4.0]["accuracy"] and MODELS["overconfident"] == 4
    assert sharp.show()[0].layout["height"] <= 230


def test_the_footprint_planner_gives_what_the_paper_states():
    assert FootprintPlanner().selftest() >= 20
    result = FootprintPlanner().compute(10_000, 14.8 * 24, 330, 1.1, "GPT-3's")
    assert result["kwh"] == pytest.approx(1_287_000, rel=0.005)
    assert result["kg"] == pytest.approx(552_000, rel=0.005)
    assert GRIDS["GPT-3's"] == round(552e6 / 1_287e3)
    assert "MWh" in FootprintPlanner().show()[1]
