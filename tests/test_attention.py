"""Attention equals torch's, the deck's numbers come out, and both explorers hold."""
import pytest
import torch
import torch.nn.functional as F

from utils.attention import attention, causal, thinking_machines
from utils.explorers.attention import TOKENS, AttentionStepper, MaskPainter


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 4, 2), (7, 2, 8, 6)])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_torch(shape, masked):
    T_q, T_k, d_k, d_v = shape
    rng = torch.Generator().manual_seed(T_q)
    Q = torch.randn(2, T_q, d_k, generator=rng, dtype=torch.float64)
    K = torch.randn(2, T_k, d_k, generator=rng, dtype=torch.float64)
    V = torch.randn(2, T_k, d_v, generator=rng, dtype=torch.float64)
    blocked = torch.rand(T_q, T_k, generator=rng) < 0.4 if masked else None
    if masked:
        blocked[:, 0] = False                               # nobody sees nothing
    Z, weights = attention(Q, K, V, blocked)
    visible = None if blocked is None else ~blocked
    torch.testing.assert_close(Z, F.scaled_dot_product_attention(Q, K, V, attn_mask=visible))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, T_q, dtype=torch.float64))


def test_the_causal_mask_blocks_the_future_only():
    assert causal(1).tolist() == [[False]]
    assert causal(3).tolist() == [[False, True, True], [False, False, True], [False, False, False]]


@pytest.mark.parametrize("d_k", [16, 64, 100])
def test_thinking_machines_scores_as_on_the_deck(d_k):
    deck = thinking_machines(d_k)
    scores = deck.X @ deck.Wq @ (deck.X @ deck.Wk).T
    assert scores[0].tolist() == [112, 96]
    assert torch.equal(deck.Wk, deck.Wk.round())


@pytest.mark.parametrize("explorer", [AttentionStepper, MaskPainter])
def test_the_explorers_hold_at_every_setting(explorer):
    assert explorer().selftest() >= 8


def test_arrow_keys_move_the_chosen_vector_and_enter_changes_it():
    e = AttentionStepper()
    assert e.key("ArrowRight", **e.values) == {"q": (1.2, 1.0)}
    assert e.key("Enter", **e.values) == {"chosen": "cat"}
    moved = e.key("ArrowUp", **(e.values | {"chosen": "tuna"}))
    assert moved["keys"][2] == (0.5, -1.8) and moved["keys"][:2] == e.values["keys"][:2]


def test_dragging_takes_the_nearest_vector():
    e = AttentionStepper()
    assert e.pointer("down", -1.1, 1.9, **e.values) == {"chosen": "ate"}
    assert e.pointer("move", 9, 0, **e.values) == {"q": (3.8, 0)}


def test_one_open_cell_above_the_diagonal_is_a_leak():
    e = MaskPainter()
    assert "No word can see" in e.show()[1]
    painted = e.key("Enter", **(e.values | {"at": (1, 4)}))
    sentence = e.show(at=(1, 4), **painted)[1]
    assert "Leaks: 1" in sentence and repr(TOKENS[4]) in sentence
    again = e.key("Enter", **(e.values | {"at": (1, 4)} | painted))
    assert again["painted"][1] == frozenset()


def test_two_layers_leak_where_one_does_not():
    e = MaskPainter()
    painted = ("causal", frozenset({(1, 2), (2, 3)}))
    one, two = (e.compute(**(e.values | {"painted": painted, "layers": n}))["leaks"]
                for n in (1, 2))
    assert one == [(1, 2), (2, 3)] and (1, 3) in two


def test_a_row_that_sees_nothing_is_said():
    e = MaskPainter()
    sentence = e.show(painted=("causal", frozenset({(0, 0)})))[1]
    assert "'one' sees nothing" in sentence and "nan" in sentence
