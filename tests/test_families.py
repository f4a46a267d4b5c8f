"""Families: masks against what a model feels, gaps, numerals, classification, and the explorer."""
import copy

import pytest
import torch
import torch.nn.functional as F

from utils.batches import padded
from utils.classify import Judge, Texts, fit_head, teach, through, upper
from utils.explorers.families import MaskFamilies
from utils.families import FAMILIES, Masked, family_mask, gap_scores
from utils.numerals import (END, Numerals, digits, dutch, english, exact, until_end)
from utils.transformer import Config, Transformer

SHAPE = {"d_model": 16, "n_heads": 2, "max_len": 12}


def made(kind, seed=0, **more):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Transformer(Config(11, n_layers=2, kind=kind, **SHAPE | more)).double().eval()


def felt(out_of, T):
    """(T, T) bool: whether output i feels input j, by gradient. out_of: states -> outputs."""
    x = torch.randn(1, T, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1),
                    requires_grad=True)
    out = out_of(x)
    return torch.stack([torch.autograd.grad(out[0, i].sum(), x, retain_graph=True)[0][0].abs()
                        .sum(-1) > 0 for i in range(T)])


# ---- masks -------------------------------------------------------------------------------


@pytest.mark.parametrize("family, kind", [("encoder", "encoder"), ("decoder", "decoder")])
def test_the_mask_of_a_kind_is_what_its_model_feels(family, kind):
    model = made(kind)
    stack = model.encoder if kind == "encoder" else model.decoder
    read = felt(lambda x: stack.blocks[0](x, causal=stack.causal) * torch.arange(1, 17), 5)
    assert torch.equal(read, family_mask(family, 3, 2))


@pytest.mark.parametrize("prefix", [0, 1, 3, 5])
def test_a_prefix_mask_given_to_a_decoder_is_what_it_feels(prefix):
    visible = family_mask("prefix", 3, 2, prefix)
    block = made("decoder").decoder.blocks[0]
    read = felt(lambda x: block(x, causal=True, blocked=~visible) * torch.arange(1, 17), 5)
    assert torch.equal(read, visible)
    assert torch.equal(family_mask("prefix", 3, 2, 0), family_mask("decoder", 3, 2))


def test_an_encoder_decoder_sees_the_source_across_and_its_own_past():
    visible, model = family_mask("encoder-decoder", 3, 2), made("encoder-decoder")
    ids = torch.tensor([[1, 2, 3, 4, 5]])

    def target(ids):
        return model(ids[:, 3:], memory=model.encode(ids[:, :3]))[0]

    for j in range(5):
        other = ids.clone()
        other[0, j] = 9
        moved = (target(other) - target(ids)).abs().sum(-1) > 0
        assert torch.equal(moved, visible[3:, j]), f"word {j}"
    assert not visible[:3, 3:].any(), "a source sees the target"


def test_an_unknown_family_is_named():
    with pytest.raises(ValueError, match="choose one of encoder, decoder"):
        family_mask("gpt", 2, 2)


# ---- gaps --------------------------------------------------------------------------------


def test_a_gap_is_scored_by_the_whole_text():
    model, windows = made("decoder"), torch.tensor([[1, 2, 3, 4, 5], [5, 5, 0, 1, 2]])
    scores = gap_scores(model, windows, at=2, symbols=7)
    for row, text in enumerate(windows):
        for symbol in range(7):
            whole = text.clone()
            whole[2] = symbol
            nats = F.cross_entropy(model(whole[None, :-1])[0], whole[1:], reduction="none")
            assert scores[row, symbol].item() == pytest.approx(-nats[1:].sum().item(), abs=1e-5)


def test_masked_batches_are_the_same_at_the_same_step():
    def batches(step):
        return torch.full((3, 4), step), None

    masked = Masked(batches, lambda ids, rng: (ids + torch.rand(3, 4, generator=rng), ids))
    assert torch.equal(masked(5)[0], masked(5)[0])
    assert not torch.equal(masked(5)[0] - 5, masked(6)[0] - 6)


# ---- numerals ----------------------------------------------------------------------------


@pytest.mark.parametrize("n, en, nl", [
    (0, "zero", "nul"), (7, "seven", "zeven"), (13, "thirteen", "dertien"),
    (20, "twenty", "twintig"),
    (42, "forty two", "twee en veertig"), (100, "one hundred", "honderd"),
    (215, "two hundred fifteen", "twee honderd vijftien"), (1000, "one thousand", "duizend"),
    (21_304, "twenty one thousand three hundred four",
     "een en twintig duizend drie honderd vier"),
    (999_999, "nine hundred ninety nine thousand nine hundred ninety nine",
     "negen honderd negen en negentig duizend negen honderd negen en negentig")])
def test_numbers_are_spoken(n, en, nl):
    assert english(n) == en.split() and dutch(n) == nl.split()
    assert "".join(digits(n)) == str(n)


@pytest.mark.parametrize("form", [english, dutch])
def test_no_two_numbers_are_spoken_alike(form):
    some = [*range(2000), *range(10_000, 1_000_000, 97)]
    assert len({tuple(form(n)) for n in some}) == len(some)
    for n in (-1, 1_000_000):
        with pytest.raises(ValueError, match="from 0 to 999,999"):
            form(n)


def test_no_number_is_in_training_and_test():
    made = Numerals(n_learn=400, n_test=20)
    assert len(made.learn) == 400 and set(made.test) == {2, 3, 4, 5, 6}
    held = {n for numbers in made.test.values() for n in numbers}
    assert not held & set(made.learn)
    assert all(len(str(n)) == k for k, numbers in made.test.items() for n in numbers)
    assert max(len(str(n)) for n in made.learn) == 5
    assert set(range(1, 10)) <= set(made.learn)
    assert all(len(numbers) >= 15 for numbers in made.test.values())
    again = Numerals(n_learn=400, n_test=20)
    assert again.learn == made.learn and again.test == made.test


def test_pairs_decode_to_what_they_mean():
    made = Numerals(n_learn=10, n_test=2)
    prompts, answers = made.pairs([42])
    assert [made.decode(p) for p in prompts] == ["digits: forty two", "Dutch: forty two"]
    assert [made.decode(a) for a in answers] == ["4 2 <end>", "twee en veertig <end>"]
    long = made.pairs(range(999_000, 1_000_000), ["Dutch:"])[1]
    assert max(max(row) for row in long) < len(made)


def test_rows_are_padded_cut_and_compared():
    assert padded([[5], [6, 7]], 9).tolist() == [[5, 9], [6, 7]]
    assert padded([[5]], 0, 3).tolist() == [[5, 0, 0]]
    assert until_end([4, END, 8]) == [4, END] and until_end([4, 8]) == [4, 8]
    assert exact([[1, 2], [3]], [[1, 2], [3, 4]]) == 0.5
    with pytest.raises(ValueError, match="as many are needed"):
        exact([[1]], [])


# ---- classification ----------------------------------------------------------------------


def texts(n=24, T=6, seed=0):
    """Ids of 1 .. 10 with ends of padding; for the film when a 10 is in it."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 11, (n, T), generator=rng)
    absent = torch.arange(T) >= torch.randint(3, T + 1, (n, 1), generator=rng)
    fresh = ((ids == 10) & ~absent).any(1).float()
    return Texts(ids.masked_fill(absent, 0), absent, fresh)


def test_the_upper_stack_ends_as_the_whole_encoder():
    model, some = made("encoder").float(), texts()
    states = through(model, some, below=1, batch=5)
    halves, whole = Judge(upper(model, 1), 16), Judge(model, 16)
    torch.testing.assert_close(halves.all(states, halves.mean),
                               whole.all(some, whole.mean, batch=7), atol=1e-5, rtol=1e-5)
    assert len(model.encoder.blocks) == 2, "the model itself was cut"


def test_padding_changes_no_verdict():
    model, some = made("encoder"), texts()
    judge = Judge(model, 16).double()
    with torch.no_grad():
        judge.head.weight.normal_()
    alone = torch.cat([judge(some[torch.tensor([i])]) for i in range(len(some.fresh))])
    torch.testing.assert_close(judge.all(some, judge, batch=10), alone)


def test_a_head_learns_what_the_states_hold_and_teaching_learns_more():
    model, some = made("encoder").float(), texts(96)
    head, whole = Judge(copy.deepcopy(model), 16), Judge(model, 16)
    fit_head(head, some, decay=1e-3)
    share = head.right(some).float().mean()
    assert share > max(some.fresh.mean(), 1 - some.fresh.mean())
    teach(whole, some, epochs=20, lr=3e-3)
    assert head.head.weight.abs().max() < 1e3
    assert whole.right(some).float().mean() > share and not whole.training


def test_a_dead_dimension_does_not_spoil_the_head():
    model, some = made("encoder").float(), texts(48)
    with torch.no_grad():
        model.encoder.norm.weight[3], model.encoder.norm.bias[3] = 1e-33, 0.0
    judge = Judge(model, 16)
    fit_head(judge, some)
    assert judge.head.weight.abs().max() < 1e3


# ---- the explorer ------------------------------------------------------------------------


def test_the_explorer_walks_its_controls():
    assert MaskFamilies().selftest() == 1 + len(FAMILIES) + 4 * 3
    figure = MaskFamilies().static()
    assert figure.data[0]["type"] == "heatmap" and figure.alt.endswith(".")


@pytest.mark.parametrize("family, writes", [("encoder", False), ("decoder", True),
                                            ("prefix", True), ("encoder-decoder", True)])
def test_the_explorer_says_who_can_write(family, writes):
    sentence = repr(MaskFamilies(family=family, prefix=4))
    assert ("it can be written word by word" in sentence) == writes
    opened = repr(MaskFamilies(family="prefix", source=2, prefix=4))
    assert "not write word by word" in opened, "a prefix that reaches into the target leaks"
