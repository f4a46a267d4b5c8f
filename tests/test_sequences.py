"""The n-gram's shares sum to one, the game is fair, and both explorers hold."""
import math
import random

import pytest

from utils.explorers import sequences as explorers
from utils.explorers.sequences import AutomatonAndStack, ShannonGame, halves, passage, player
from utils.sequences import LETTERS, NGram, balanced, fold, follow, prices, ranks, replay

TEXT = "one cat ate a tuna one cat ate a chicken one weird cat ate a human"


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("alpha", [0.01, 1, 7.5])
def test_shares_sum_to_one_after_any_context(n, alpha):
    model = NGram(TEXT, n, alpha, LETTERS)
    for context in ("a tuna", "zzzzz", "one c"):
        shares = model.shares(context)
        assert set(shares) == set(LETTERS)
        assert math.isclose(sum(shares.values()), 1)


def test_a_share_is_a_count_over_a_count():
    model = NGram("abab", 2, alpha=0)
    assert model.prob("a", "b") == 1 and model.prob("b", "a") == 1
    model = NGram("aab", 2, alpha=1)
    assert model.prob("a", "a") == model.prob("a", "b") == 2 / 4


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("alpha", [0, 0.5])
def test_nats_are_logs_of_the_same_probabilities(n, alpha):
    model, text = NGram(TEXT, n, alpha), "one cat ate a tuna"
    want = [-math.log(model.prob(text[:i], text[i])) for i in range(n - 1, len(text))]
    assert model.nats(text) == pytest.approx(want)


def test_an_impossible_letter_costs_infinity_without_smoothing():
    assert NGram("abab", 2, alpha=0, alphabet="abc").nats("ac") == [math.inf]


@pytest.mark.parametrize("make, cause", [
    (lambda: NGram("", 1), "0 letters"), (lambda: NGram("ab", 3), "2 letters"),
    (lambda: NGram("abc", 0), "n = 0"), (lambda: NGram("abc", 2, -1), "not negative"),
    (lambda: NGram("abé", 2, alphabet="abc"), "'é' came"),
    (lambda: NGram("abc", 2).nats("abd"), "'d' came"),
    (lambda: NGram("abc", 2).prob("a", "ab"), "'ab' came"),
    (lambda: NGram("abc", 3).prob("a", "b"), "context of 1"),
    (lambda: NGram("abc", 3).nats("ab"), "too short"),
    (lambda: NGram("abc", 2, alpha=0).prob("c", "a"), "alpha is 0"),
    (lambda: follow("(a)"), "no bracket")])
def test_bad_input_gets_a_plain_error(make, cause):
    with pytest.raises(ValueError, match=cause):
        make()


def test_right_to_left_costs_the_same():
    read, held = halves()
    read, held = read[:60_000], held[:20_000]
    there = NGram(read, 4, alphabet=LETTERS).nats(held)
    back = NGram(read[::-1], 4, alphabet=LETTERS).nats(held[::-1])
    assert abs(sum(there) - sum(back)) < 30 and sum(there) > 20_000


def test_folding_keeps_27_letters():
    assert fold("It's  a\nTUNA, no?") == "its a tuna no"
    assert set(fold("Éa 7 b")) <= set(LETTERS) and fold("7!") == ""


def test_ranks_follow_the_counts():
    model = NGram(TEXT, 2, alphabet=LETTERS)
    assert model.ranking("one")[0] == " "
    assert list(ranks(model, "e ")) == [1]
    assert sorted(model.ranking("q")) == sorted(LETTERS)


def test_prices_are_a_code():
    price = prices([1, 1, 1, 2, 5], 27)
    assert sum(2 ** -bits for bits in price) == pytest.approx(1)
    assert price[0] < price[1] == price[4] < price[2] == price[26] < math.inf


@pytest.mark.parametrize("typed, needed, wrong", [
    ("", [], []), ("cat", [1, 1, 1], []), ("xca", [2, 1], []), ("xxcyz", [2], ["y", "z"]),
    ("catcat", [1, 1, 1], []), ("tac", [3], [])])
def test_the_game_counts_each_wrong_guess_once(typed, needed, wrong):
    assert replay("cat", typed) == (needed, wrong)


@pytest.mark.parametrize("pairs", [0, 1, 2, 7])
def test_random_brackets_balance(pairs):
    rng = random.Random(pairs)
    for _ in range(50):
        out = balanced(rng, pairs)
        assert len(out) == 2 * pairs and follow(out)[-1] == ""


def test_each_balanced_string_is_equally_likely():
    rng = random.Random(1)
    drawn = [balanced(rng, 3) for _ in range(5000)]
    assert len(set(drawn)) == 5                             # the third Catalan number
    assert all(900 < drawn.count(s) < 1100 for s in set(drawn))


def test_a_stack_knows_order_and_an_automaton_its_limit():
    assert follow("([)]") == ["", "(", "([", None, None]
    assert follow("(())", 1) == ["", "(", None, None, None]
    assert follow("()()", 1) == follow("()()")
    assert follow(")") == ["", None]


@pytest.mark.parametrize("explorer", [ShannonGame, AutomatonAndStack])
def test_the_explorers_hold_at_every_setting(explorer):
    assert explorer().selftest() >= 12


@pytest.mark.parametrize("name", explorers.PASSAGES)
def test_a_passage_is_new_to_the_model(name):
    lead, secret = passage(name)
    assert len(secret) == explorers.SECRET and lead + secret[:20] not in halves()[0]
    assert len(lead) >= 6


def test_the_game_ends_and_says_what_is_left_out():
    secret = passage("2")[1]
    _, words = ShannonGame(source="2", typed=secret + "7").show()
    assert "the game ends" in words and "60 found, at the first guess 60" in words
    assert "Left out, no letter of the game: 7" in words
    assert "Nothing found yet" in ShannonGame(typed="zz").show()[1]


def test_every_player_reads_prices_from_text_it_does_not_play_on():
    held = halves()[1]
    ends = [held.index(lead) + len(lead) + explorers.SECRET for lead in explorers.PASSAGES.values()]
    assert max(ends) < len(held) - 30_000
    assert len(player(2)[1]) == len(LETTERS)


def test_the_automaton_gets_lost_where_the_stack_goes_on():
    e = AutomatonAndStack()
    _, words = e.show()
    assert "the stack holds ([[" in words and "failed at sign 4" in words
    assert "all is closed" in AutomatonAndStack(step=16, limit=4).show()[1]
    assert "'x' is no bracket" in AutomatonAndStack(brackets="()x").show()[1]
    assert "No brackets" in AutomatonAndStack(brackets=" ").show()[1]


def test_a_wrong_guess_shows_what_it_will_cost():
    def heights(typed):
        return ShannonGame(typed=typed).show()[0].data[0]["y"]
    assert heights("fsbright_and_")[-1] == 0 < heights("fsbright_and_c")[-1]
    assert heights("zz")[-1] < heights("zzxwq")[-1]
