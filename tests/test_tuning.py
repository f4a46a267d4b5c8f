"""Fine-tuning: what counts, the loss in parts against the loss at once, perplexity, and cost."""
import math
import time

import pytest
import torch
import torch.nn.functional as F

from utils import training, tuning
from utils.batches import Batches, lm_loss
from utils.bench.lora import course_model
from utils.lora import add_lora, lora_state
from utils.quantised import quantise_model
from utils.recipe import Watcher
from utils.tuning import (Answers, Peak, answer_nats, joined, padded, perplexity, tune,
                          tuning_loss, window_nats)

TINY = {"vocab_size": 37, "d_model": 24, "n_layers": 3, "n_heads": 6, "n_kv_heads": 2, "d_ff": 40}
CPU = torch.device("cpu")


def some(n, longest, seed=0):
    """n lists of ids of lengths from 1 to longest."""
    rng = torch.Generator().manual_seed(seed)
    return [torch.randint(37, (1 + i % longest,), generator=rng).tolist() for i in range(n)]


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


# ---- batches -----------------------------------------------------------------------------


def test_only_the_answer_counts_and_every_target_is_the_next_id():
    assert joined([1, 2, 3], [4, 5]) == ([1, 2, 3, 4], [-100, -100, 4, 5])
    assert joined([1], [4]) == ([1], [4])
    assert joined([1, 2, 3], [4, 5], everything=True) == ([1, 2, 3, 4], [2, 3, 4, 5])
    assert joined([1, 2, 3], [4, 5], context=2) == ([3, 4], [4, 5]), "the prompt's start goes"
    inputs, targets = padded([joined([1, 2], [3]), joined([5], [6])])
    assert inputs.tolist() == [[1, 2], [5, 0]] and targets.tolist() == [[-100, 3], [6, -100]]


def test_every_example_comes_once_an_epoch_and_a_step_is_always_the_same():
    prompts, answers = [[i] for i in range(37)], [[i] * (1 + i % 5) for i in range(37)]
    batches = Answers(prompts, answers, 4, seed=3)
    seen = [row[0] for step in range(9) for row in batches(step)[0].tolist()]
    assert len(set(seen)) == 36 and sorted(set(seen)) == sorted(seen)
    again = [row[0] for step in range(9, 18) for row in batches(step)[0].tolist()]
    assert len(set(again)) == 36 and again != seen
    assert all(torch.equal(a, b) for a, b in zip(batches(11), Answers(prompts, answers, 4,
                                                                     seed=3)(11)))
    widths = [batches(step)[0].shape[1] for step in range(9)]
    assert sum(widths) < 9 * 5, "those of like length come together"


@pytest.mark.parametrize("prompts, answers, said", [
    ([[1]], [[2], [3]], "1 prompts, 2 answers"), ([[1]], [[2]], "batches of 2"),
    ([[], [1]], [[2], [2]], "each prompt needs"), ([[1], [1]], [[], [2]], "from 1 to 6"),
    ([[1], [1]], [[2] * 7, [2]], "from 1 to 6")])
def test_examples_without_start_or_end_are_told(prompts, answers, said):
    with pytest.raises(ValueError, match=said):
        Answers(prompts, answers, 2, context=6)


# ---- the loss ----------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 4, 1000])
@pytest.mark.parametrize("lora", [False, True])
def test_the_loss_in_parts_has_the_value_and_gradients_of_the_loss_at_once(monkeypatch, rows, lora):
    monkeypatch.setattr(tuning, "ROWS", rows)
    model = course_model(TINY)
    if lora:
        add_lora(model, ("q", "v"), 2)
    inputs, targets = Answers(some(9, 6), some(9, 4, 1), 9)(0)
    want, own = lm_loss(model, inputs, targets), tuning_loss(model, inputs, targets)
    assert own.item() == pytest.approx(want.item(), rel=1e-5)
    want, own = gradients(model, 3 * want), gradients(model, 3 * own)
    assert want.keys() == own.keys()
    for name in want:
        torch.testing.assert_close(own[name], want[name], atol=1e-5, rtol=1e-4)


def test_a_head_with_lora_and_an_untied_head_alone_learn_too(monkeypatch):
    monkeypatch.setattr(tuning, "ROWS", 4)
    inputs, targets = Answers(some(9, 6), some(9, 4, 1), 9)(0)
    thin = course_model(TINY)
    add_lora(thin, "head", 2)
    thin.head.B.data.normal_(generator=torch.Generator().manual_seed(0))
    alone = course_model(TINY | {"tied": False}).requires_grad_(False)
    alone.head.requires_grad_()
    for model in (thin, alone):
        want = gradients(model, lm_loss(model, inputs, targets))
        own = gradients(model, tuning_loss(model, inputs, targets))
        assert want.keys() == own.keys() and len(own) in (1, 2)
        for name in want:
            torch.testing.assert_close(own[name], want[name], atol=1e-5, rtol=1e-4)


def test_large_logits_do_not_overflow():
    hidden, weight = torch.full((3, 2), 100.0), torch.eye(5, 2) * 10
    targets = torch.tensor([0, 1, 4])
    own = tuning.HeadLoss.apply(hidden.requires_grad_(), weight, targets)
    want = F.cross_entropy(hidden @ weight.T, targets)
    assert own.item() == pytest.approx(want.item(), rel=1e-6) and want > 300
    own.backward()
    assert hidden.grad.isfinite().all()


def test_no_more_logits_than_rows_exist_at_a_time(monkeypatch):
    monkeypatch.setattr(tuning, "ROWS", 4)
    made, softmax = [], torch.Tensor.exp_
    monkeypatch.setattr(torch.Tensor, "exp_", lambda t: made.append(t.shape) or softmax(t))
    inputs, targets = Answers(some(9, 6), some(9, 4, 1), 9)(0)
    tuning_loss(course_model(TINY), inputs, targets)
    counted = int((targets != -100).sum())
    assert sum(columns for _, columns in made) == counted < targets.numel()
    assert max(columns for _, columns in made) == 4


def test_the_backward_pass_ends_at_the_lowest_trained_layer():
    model = course_model(TINY)
    add_lora(model, "v", 2, layers=[1, 2])
    seen, reached = {}, []
    for i, block in enumerate(model.decoder.blocks):
        block.register_forward_pre_hook(lambda _, x, i=i: seen.update({i: x[0]}))
        block.feed_forward.register_full_backward_hook(lambda *_, i=i: reached.append(i))
    tuning_loss(model, *Batches(torch.arange(99) % 37, 8, 2)(0)).backward()
    assert not seen[1].requires_grad and seen[2].requires_grad and reached == [2, 1]


# ---- measures ----------------------------------------------------------------------------


def test_perplexity_is_the_exponential_of_the_mean_over_all_windows():
    model, ids = course_model(TINY), torch.arange(100) * 7 % 37
    nats = window_nats(model, ids, 16, tokens=40)
    assert nats.shape == (6,)
    with torch.no_grad():
        for i in range(6):
            part = ids[None, 16 * i:16 * i + 17]
            assert nats[i].item() == pytest.approx(
                lm_loss(model, part[:, :-1], part[:, 1:]).item(), rel=1e-5)
    assert perplexity(model, ids, 16) == pytest.approx(math.exp(nats.mean().item()))
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert perplexity(model, ids, 16) == pytest.approx(37, rel=1e-5), "it knows nothing"
    with pytest.raises(ValueError, match="100 tokens has no window of 100"):
        perplexity(model, ids, 100)


def test_an_answers_nats_do_not_depend_on_its_neighbours():
    model, prompts, answers = course_model(TINY), some(11, 5), some(11, 3, 1)
    nats = answer_nats(model, prompts, answers, batch=4)
    for i, (prompt, answer) in enumerate(zip(prompts, answers)):
        with torch.no_grad():
            log_p = model(torch.tensor([prompt + answer])).log_softmax(-1)[0, len(prompt) - 1:-1]
        want = -log_p[torch.arange(len(answer)), answer].sum()
        assert nats[i].item() == pytest.approx(want.item(), rel=1e-5)


# ---- the loop ----------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [None, 4])
def test_tuning_lowers_the_loss_and_moves_only_lora(bits):
    model, seen = course_model(TINY), []
    if bits:
        quantise_model(model, bits, 8)
    add_lora(model, ("q", "v", "gate", "up", "down"), 4)
    fixed = {n: p.clone() for n, p in model.state_dict().items() if not n.endswith((".A", ".B"))}
    state = torch.get_rng_state()

    class Watch(Watcher):
        def __call__(self, row, text=None):
            seen.append(row["step"])
    batches = Answers(some(8, 6), some(8, 4, 1), 8)
    log = tune(model, batches, 40, lr=0.03, watch=Watch(), check_every=10, device=CPU,
               validate=lambda m: float(len(seen)))
    assert log.rows[-1]["loss"] < 0.8 * log.rows[0]["loss"] and seen == list(range(1, 41))
    assert log.column("val") == ([9.0, 19.0, 29.0, 39.0], [10, 20, 30, 40])
    assert log.trainable == sum(t.numel() for t in lora_state(model).values())
    assert log.seconds > 0 and log.peak_mb > log.above_mb >= 0
    now = model.state_dict()
    assert all(torch.equal(now[n], t) for n, t in fixed.items())
    assert not model.training and all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_only_what_is_trained_has_an_optimizers_state(monkeypatch):
    made, own = [], training.optimizers
    monkeypatch.setattr(training, "optimizers", lambda *a: made.extend(own(*a)) or made)
    model = course_model(TINY)
    add_lora(model, "q", 2)
    tune(model, Answers(some(4, 3), some(4, 3, 1), 4), 2, device=CPU)
    kept = sum(t.numel() for state in made[0].state.values() for n, t in state.items()
               if n != "step")
    assert kept == 2 * sum(t.numel() for t in lora_state(model).values())


def test_a_model_with_nothing_to_train_is_told():
    with pytest.raises(ValueError, match="nothing of this model is trainable"):
        tune(course_model(TINY).requires_grad_(False), None, 1)


def test_the_peak_sees_what_is_gone_again():
    with Peak(CPU) as peak:
        held = torch.ones(20_000_000)                   # 80 MB
        held.sum()
        time.sleep(0.05)
        del held
    assert 70 < peak.mb - peak.before < 200
