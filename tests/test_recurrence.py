"""Memory: recall, gradients by lag, reversal with and without attention, and two explorers."""
import pytest
import torch
from torch import nn

from utils.explorers.recurrence import GRU, RNN, AlignmentSteps, GradientReach
from utils.recall import learn_recall, recall_batch
from utils.recurrence import (LETTERS, Reverser, grad_by_lag, learn_reversal, letters_right, read,
                              recurrent, reversal_batch, spell, turning)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("B, T, n_symbols", [(1, 1, 2), (5, 7, 3), (400, 16, 8)])
def test_recall_asks_for_the_first_symbol(B, T, n_symbols):
    ids, first = recall_batch(B, T, n_symbols, seeded())
    assert ids.shape == (B, T) and first.shape == (B,) and ids.dtype == torch.int64
    assert torch.equal(first, ids[:, 0]) and 0 <= int(ids.min()) <= int(ids.max()) < n_symbols
    again, _ = recall_batch(B, T, n_symbols, seeded())
    assert torch.equal(ids, again)
    first[0] = -1
    assert int(ids.min()) >= 0, "first is a view of ids"


def test_every_symbol_comes_first_equally_often():
    _, first = recall_batch(8000, 3, 8, seeded(1))
    share = first.bincount(minlength=8) / 8000
    assert (share - 1 / 8).abs().max() < 5 * (1 / 8 * 7 / 8 / 8000) ** 0.5


@pytest.mark.parametrize("B, T, n", [(0, 4, 8), (4, 0, 8), (4, 4, 1)])
def test_an_empty_recall_is_refused(B, T, n):
    with pytest.raises(ValueError, match=f"B={B} strings of T={T} from {n}"):
        recall_batch(B, T, n, seeded())


def test_a_model_that_sees_the_first_symbol_learns_recall_and_a_blind_one_does_not():
    class Sees(nn.Module):
        def __init__(self, place):
            super().__init__()
            self.place, self.table = place, nn.Embedding(8, 8)

        def forward(self, ids):
            return self.table(ids[:, self.place])
    scores = []
    for place in (0, 1):
        torch.manual_seed(0)
        scores.append(learn_recall(Sees(place), 5, 0, steps=150, lr=5e-2))
    assert scores[0] == 1.0 and scores[1] < 0.2


def test_read_and_spell_are_inverse_and_refuse_strange_letters():
    assert spell(read("dachbgefad")[0]) == "dachbgefad"
    assert read("a").shape == (1, 1)
    with pytest.raises(ValueError, match="'tuna' holds .*'n', 't', 'u'"):
        read("tuna")
    with pytest.raises(ValueError, match="no letter"):
        read("")


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_gradient_by_lag_is_the_jacobian_of_the_last_state(kind):
    net, x = recurrent(kind, size=0.9, d_in=3, d=5), torch.randn(7, 3, generator=seeded()).double()
    J = torch.autograd.functional.jacobian(lambda y: net(y[None])[0][0, -1], x)     # (d, T, d_in)
    torch.testing.assert_close(grad_by_lag(net, x), J.sum(0).norm(dim=1).flip(0))
    assert not x.requires_grad and all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("size", [0.5, 1.0, 1.5])
def test_a_rotation_times_size_stretches_every_vector_alike(size):
    x = torch.randn(4, 6, generator=seeded()).double()
    torch.testing.assert_close((x @ turning(size, 6, 1)).norm(dim=1), size * x.norm(dim=1))
    net = recurrent("rnn", size=size)
    reach = grad_by_lag(net, torch.zeros(41, 4).double())
    rate = float(reach[40] / reach[10]) ** (1 / 30)
    assert abs(rate - size) < 0.1 * size


def test_a_patient_gru_holds_where_a_fresh_one_forgets():
    x = torch.randn(31, 4, generator=seeded(3)).double()
    fresh, patient = (grad_by_lag(recurrent("gru", bias=b), x) for b in (0, 4))
    assert fresh[30] / fresh[0] < 1e-4 and patient[30] / patient[0] > 0.1


def test_reversal_is_backwards_and_refuses_nothing_to_reverse():
    source, target = reversal_batch(3, 5, seeded())
    assert torch.equal(target.flip(1), source) and source.shape == (3, 5)
    for B, T in ((0, 5), (3, 0)):
        with pytest.raises(ValueError, match=f"B={B} words of T={T}"):
            reversal_batch(B, T, seeded())


@pytest.mark.parametrize("attention", [False, True])
def test_writing_agrees_with_training_on_its_own_letters(attention):
    torch.manual_seed(0)
    model = Reverser(attention, d=12, n_letters=5).double()
    source, _ = reversal_batch(4, 6, seeded(), n_letters=5)
    written, weights = model.write(source)
    logits, taught = model(source, written)                 # fed with what it wrote itself
    assert torch.equal(logits.argmax(-1), written)
    if attention:
        torch.testing.assert_close(weights, taught)
        torch.testing.assert_close(weights.sum(-1), torch.ones(4, 6).double())
    else:
        assert weights is None and taught is None
    alone, _ = model.write(source[1:2])
    assert torch.equal(alone[0], written[1]), "a word depends on its neighbours"


def test_only_attention_sees_more_than_the_last_state():
    """Change the states that are not handed on: the bottleneck's answer stays."""
    for attention in (False, True):
        torch.manual_seed(0)
        model = Reverser(attention).double()
        source, target = reversal_batch(2, 5, seeded())
        H, vector = model.encode(source)
        S, _ = model.decoder(model.letter(target), vector)
        before, after = model.answer(S, H)[0], model.answer(S, H.flip(1) + 1)[0]
        assert torch.equal(before, after) != attention


def test_attention_learns_the_other_diagonal_and_the_bottleneck_lags_behind():
    model = learn_reversal(6, True, 0)
    assert model is learn_reversal(6, True, 0), "trained twice"
    source, _ = reversal_batch(300, 6, seeded(5))
    place = model.write(source)[1].argmax(-1)
    assert (torch.arange(6) + place - 5).abs().double().mean() < 0.5
    assert letters_right(model, 6) > letters_right(learn_reversal(6, False, 0), 6) + 0.05


def test_training_leaves_the_global_random_state():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    learn_reversal(2, False, 7, steps=2)
    recurrent("gru")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("explorer", [AlignmentSteps, GradientReach])
def test_the_explorers_hold_at_every_setting(explorer):
    assert explorer().selftest() >= 8


def test_the_alignment_explorer_opens_on_the_last_letter_and_names_bad_words():
    e = AlignmentSteps()
    assert "letter 10" in repr(e) and "(right)" in repr(e)
    for word, part in (("tuna", "holds"), ("", "no letter"), ("abc", "3 letters: write 4 to 14"),
                       ("a" * 15, "15 letters")):
        sentence = e.describe(e.compute(1, word), 1, word)
        assert part in sentence and sentence.endswith(".") and e.figure(e.compute(1, word)).data
    assert "trained on 10" in e.describe(e.compute(2, "abcde"), 2, "abcde")
    last = e.compute(10, "hgfe")
    assert last["i"] == 3, "a step beyond the word stays at its last letter"
    assert set(last["written"]) <= set(LETTERS)


def test_the_gradient_explorer_tells_dying_from_exploding():
    e = GradientReach()
    titles = [e.figure(e.compute(size, RNN, 0, 0.0)).layout["title"]["text"]
              for size in (0.5, 1.0, 1.5)]
    assert ["gone" in titles[0], "survives" in titles[1], "explodes" in titles[2]] == [True] * 3
    for keep, word in ((0, "gone"), (4, "survives")):
        assert word in e.figure(e.compute(1.0, GRU, keep, 1.0)).layout["title"]["text"]
    loud, quiet = (e.compute(1.5, RNN, 0, size)["reach"][30] for size in (1.0, 0.0))
    assert loud < quiet / 100, "tanh is flat where inputs drive it"
