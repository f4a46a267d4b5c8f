"""The words of lecture 02: the small world, counts, neighbours and arrows."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.data import load_glove
from utils.explorers.words import AnalogyMachine, WordSpace
from utils.words import (
    PAIRS,
    agreement,
    answerable,
    arrow,
    cooccurrence,
    micro_questions,
    micro_world,
    neighbours,
    rank,
    solve,
    space,
)


def counted_by_loop(texts, index, window):
    counts = torch.zeros(len(index), len(index))
    for text in texts:
        for i, word in enumerate(text):
            for j, other in enumerate(text):
                if i != j and abs(i - j) <= window and word in index and other in index:
                    counts[index[word], index[other]] += 1
    return counts


@pytest.fixture(scope="module")
def glove():
    raw = load_glove()
    return space(raw.words, raw.vectors)


@given(st.lists(st.lists(st.sampled_from("abcdx"), max_size=7), min_size=1, max_size=4),
       st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_cooccurrence_equals_a_loop(texts, window):
    index = {"a": 0, "b": 1, "c": 2, "d": 3}            # x is unknown but keeps its place
    if any(texts):
        assert torch.equal(cooccurrence(texts, index, window),
                           counted_by_loop(texts, index, window))


def test_the_micro_world_has_30_words_and_one_seed_one_world():
    world = micro_world(400, seed=3)
    assert len({word for sentence in world for word in sentence}) == 30
    assert world == micro_world(400, seed=3) != micro_world(400, seed=4)


def test_partners_share_everything_but_their_pronouns():
    world = micro_world(2000, seed=0)
    for he, she in PAIRS:
        company = [{w for s in world if person in s for w in s} - {person} for person in (he, she)]
        assert company[0] ^ company[1] == {"he", "his", "she", "her"}


def test_every_micro_question_joins_two_pairs():
    index = {word: i for i, word in enumerate(w for pair in PAIRS for w in pair)}
    questions = micro_questions(index)
    assert questions.shape == (56, 4) and len({tuple(q) for q in questions.tolist()}) == 56
    assert bool((questions[:, 1] - questions[:, 0] == 1).all())
    assert bool((questions[:, 3] - questions[:, 2] == 1).all())


def test_space_rows_have_length_one_and_a_zero_row_is_named():
    made = space(["a", "b"], torch.tensor([[3.0, 4.0], [0.0, -2.0]]))
    torch.testing.assert_close(made.vectors, torch.tensor([[0.6, 0.8], [0.0, -1.0]]))
    with pytest.raises(ValueError, match="'b' has length 0"):
        space(["a", "b"], torch.tensor([[3.0, 4.0], [0.0, 0.0]]))


def test_neighbours_equal_gensims(glove):
    from gensim.models import KeyedVectors
    theirs = KeyedVectors(glove.vectors.shape[1])
    theirs.add_vectors(glove.words, glove.vectors.numpy())
    ours = neighbours(glove, glove["tuna"], 8, exclude=("tuna",))
    assert [w for w, _ in ours] == [w for w, _ in theirs.most_similar("tuna", topn=8)]
    point = arrow(glove, "man", "king", "woman")
    assert (neighbours(glove, point, 1, exclude=("king", "man", "woman"))[0][0]
            == theirs.most_similar(positive=["king", "woman"], negative=["man"])[0][0])


def test_excluded_words_never_answer_and_the_rest_may_run_out():
    small = space(list("abc"), torch.eye(3))
    assert [w for w, _ in neighbours(small, small["a"], 9, exclude=("a",))] == ["b", "c"]


def test_rank_counts_places_and_skips_what_is_excluded(glove):
    point = arrow(glove, "man", "king", "woman")
    assert [rank(glove, point, word) for word in ("king", "queen")] == [1, 2]
    assert rank(glove, point, "queen", exclude=("king", "man", "woman")) == 1
    assert rank(glove, point, "king", exclude=("king", "man", "woman")) == 1    # asked for: kept


def test_solve_agrees_with_asking_one_question_at_a_time(glove):
    questions = [("", "man", "king", "woman", "queen"), ("", "france", "paris", "italy", "rome"),
                 ("", "microsoft", "windows", "google", "android"),
                 ("", "no", "such", "word", "zq")]
    sections, rows = answerable(glove, questions)
    assert len(sections) == 3
    result = solve(glove, rows)
    for i, (_, a, b, c, d) in enumerate(questions[:3]):
        nearest = neighbours(glove, arrow(glove, a, b, c), 1)[0][0]
        allowed = neighbours(glove, arrow(glove, a, b, c), 1, exclude=(a, b, c))[0][0]
        assert bool(result.solved[i]) == (allowed == d)
        assert bool(result.solved_raw[i]) == (nearest == d)
        assert bool(result.input_nearest[i]) == (nearest in (a, b, c))


def test_planted_parallelograms_are_all_solved():
    base, step = torch.eye(8, 12), torch.eye(12)[10]
    names = [word for pair in PAIRS for word in pair]
    planted = space(names, torch.stack([base, base + step], 1).flatten(0, 1))
    result = solve(planted, micro_questions(planted.index))
    assert bool(result.solved.all())


def test_agreement_is_one_for_judgements_that_follow_the_cosine():
    angles = torch.tensor([0.0, 0.2, 0.7, 1.4])
    words = space(list("abcd"), torch.stack([angles.cos(), angles.sin()], 1))
    judged = [("a", "b", 9.0), ("a", "c", 6.0), ("a", "d", 1.0), ("a", "zebra", 5.0)]
    assert agreement(words, judged) == (pytest.approx(1.0), 3)


@pytest.mark.parametrize("explorer", [WordSpace, AnalogyMachine])
def test_explorers_hold_at_every_setting(explorer):
    assert explorer().selftest() > 5


@pytest.mark.parametrize("explorer, settings", [
    (WordSpace, {"word": "tunaa"}), (WordSpace, {"word": ""}),
    (AnalogyMachine, {"formula": "king - man + quen"})])
def test_an_unknown_word_is_explained_not_raised(explorer, settings):
    figure, sentence = explorer().show(**settings)
    assert "not among" in sentence and figure.data


@pytest.mark.parametrize("formula", ["", "king", "king + man - woman", "a - b + c + d", "- + "])
def test_a_formula_of_another_form_is_explained(formula):
    assert "three words" in AnalogyMachine().show(formula=formula)[1]


def test_turning_by_keys_and_by_dragging_moves_the_same_control():
    explorer = WordSpace()
    assert explorer.key("ArrowRight", **explorer.values | {"turn": 350}) == {"turn": 0}
    assert explorer.key("ArrowUp", **explorer.values) == {}
    grip = explorer.pointer("down", 0.5, 0.0, **explorer.values)["grip"]
    dragged = explorer.pointer("move", 1.0, 0.0, **explorer.values | {"grip": grip})["turn"]
    assert dragged == 70 and dragged in range(0, 351, 10)


def test_search_takes_capitals_and_spaces():
    assert WordSpace().show(word=" Tuna ")[1] == WordSpace().show(word="tuna")[1]


def test_the_switch_changes_king_into_queen():
    machine = AnalogyMachine()
    assert "king" in machine.show(exclude=False)[0].layout["title"]["text"]
    assert "queen" in machine.show(exclude=True)[0].layout["title"]["text"]
