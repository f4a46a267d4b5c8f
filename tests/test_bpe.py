"""Any bytes come back, ids and merges equal Hugging Face's, and the explorer holds."""
import json
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from utils import store
from utils.bpe import BPE, ORDER, split, train, visible
from utils.data import rebuilt_tiny_shakespeare
from utils.explorers.bpe import Merges, learned, shrinking

CUT = pre_tokenizers.ByteLevel(add_prefix_space=False)
PLAY = rebuilt_tiny_shakespeare()[:60_000]
MERGES = train(PLAY, 600)
# Signs that both Python and tokenizers know: nothing newer than Unicode 12, of 2019.
KNOWN = st.characters(exclude_categories=("Cs", "Cn")).filter(
    lambda c: unicodedata.ucd_3_2_0.category(c) != "Cn")
FEW = st.text(st.sampled_from("aab 'é\n"), max_size=60)


def theirs(merges):
    """The same merges in Hugging Face's tokenizers, its ids numbered as ours."""
    model = BPE(merges)
    names = [visible(model.tokens[i]) for i in range(model.vocab_size)]
    pairs = [(names[a], names[b]) for a, b in merges]
    made = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, pairs))
    made.pre_tokenizer = CUT
    return made


def their_merges(text, vocab_size):
    """What BpeTrainer learns, as pairs of visible tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = CUT
    made.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=vocab_size, show_progress=False, initial_alphabet=CUT.alphabet()))
    return [tuple(pair) for pair in json.loads(made.to_str())["model"]["merges"]]


def spelled(merges):
    """Merges as pairs of visible tokens, up to the first that spells a token made before."""
    tokens, pairs = BPE(merges).tokens, []
    known = set()
    for new, (a, b) in enumerate(merges, start=256):
        if tokens[new] in known:
            break
        known.add(tokens[new])
        pairs.append((visible(tokens[a]), visible(tokens[b])))
    return pairs


def slow_train(text, vocab_size):
    """The rule by its definition, everything counted anew: (merges, occurrences of each)."""
    words = Counter(tuple(piece.encode()) for piece in split(text))
    merges, counts = [], []
    while len(merges) < vocab_size - 256:
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], [ORDER.get(chr(i), i) for i in p]))
        merges.append(best)
        counts.append(pairs[best])
        words, old = Counter(), words
        for word, n in old.items():
            new, rest = [], list(word)
            while rest:
                joins = tuple(rest[:2]) == best
                new.append(255 + len(merges) if joins else rest[0])
                del rest[:1 + joins]
            words[tuple(new)] += n
    return merges, counts


# ---- cutting -----------------------------------------------------------------------------


@given(st.text(KNOWN) | FEW)
@settings(max_examples=300, deadline=None)
def test_text_is_cut_as_gpt_2_cuts_it(text):
    assert [visible(piece.encode()) for piece in split(text)] == [
        piece for piece, _ in CUT.pre_tokenize_str(text)]
    assert "".join(split(text)) == text


@pytest.mark.parametrize("text", [
    "e\u0301te\u0301 nai\u0308ve", "x² + y³ = ½ and Ⅷ", "٣٤٥ ३४ 12", "👩‍💻 🇳🇱 ok",
    "snake_case __x_1", "\ta\t\tb", "a\u00a0b\u00a0\u00a0c", "I'll it's 'tis WE'LL ''s",
    "a\x1cb\x1f c", "一二三 四", "a  \n\n b  ",
    "〇 ௧ ①", "a\u200bb", "\ufeffx", "ª º", "", " ", "\u2028 x", "ﷺ", "\x00\x00"])
def test_tricky_signs_are_cut_as_gpt_2_cuts_them(text):
    assert [visible(piece.encode()) for piece in split(text)] == [
        piece for piece, _ in CUT.pre_tokenize_str(text)]


def test_each_sign_that_is_no_ideograph_is_cut_as_gpt_2_cuts_it():
    codes = [*range(0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0x17000),
             *range(0x1E000, 0x20000)]
    signs = [c for c in map(chr, codes) if unicodedata.category(c) not in ("Cn", "Co", "Cs")]
    for start in range(0, len(signs), 2000):
        text = "".join(f"a{c}1{c}, {c}  {c}" for c in signs[start:start + 2000])
        assert [visible(piece.encode()) for piece in split(text)] == [
            piece for piece, _ in CUT.pre_tokenize_str(text)], f"from {signs[start]!r}"


# ---- the round trip ------------------------------------------------------------------------


@given(st.text() | FEW)
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back(text):
    model = BPE(MERGES)
    ids = model.encode(text)
    assert model.decode_text(ids) == text and model.decode(ids) == text.encode()
    assert ids == model.encode(text.encode()) == model.encode(text)     # the last from memory


@given(st.binary())
@settings(max_examples=300, deadline=None)
def test_any_bytes_come_back(raw):
    model = BPE(MERGES)
    assert model.decode(model.encode(raw)) == raw
    assert BPE(train(raw + raw, 300)).decode(model.encode(b"")) == b""


def test_all_256_bytes_come_back_and_half_a_character_is_marked():
    model = BPE(train(bytes(range(256)) * 3, 400))
    assert model.decode(model.encode(bytes(range(256)))) == bytes(range(256))
    assert BPE([]).encode("é") == [0xc3, 0xa9] and BPE([]).decode_text([0xc3]) == "\ufffd"


def test_ids_may_come_as_an_array():
    model = BPE(MERGES)
    ids = model.encode("the tuna")
    assert model.decode(np.array(ids)) == b"the tuna"


# ---- training --------------------------------------------------------------------------------


def test_merges_equal_hugging_face():
    merges = train(PLAY, 700)
    assert len(merges) == 444 == len(spelled(merges))
    assert spelled(merges) == their_merges(PLAY, 700)


@given(FEW, st.integers(256, 290))
@settings(max_examples=300, deadline=None)
def test_merges_of_small_texts_equal_hugging_face_and_the_definition(text, vocab_size):
    merges = train(text, vocab_size)
    assert merges == slow_train(text, vocab_size)[0] == train(text.encode(), vocab_size)
    ours = spelled(merges)
    assert ours == their_merges(text, vocab_size)[:len(ours)]


def test_ties_go_to_the_byte_that_prints_and_then_to_the_smaller():
    assert train("ba", 257) == [(98, 97)]
    assert train("dc ba", 257) == [(98, 97)]                # (b, a) = (d, c): the smaller left
    assert train("ac ab", 257) == [(97, 98)]                # the smaller right
    assert train(" b cb", 257) == [(99, 98)]                # (32, ..) prints nothing: c before it


def test_a_merge_takes_no_more_than_the_one_before():
    merges, counts = slow_train(PLAY[:8000], 400)
    assert merges == train(PLAY[:8000], 400)
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]


def test_each_merge_leaves_fewer_tokens():
    lengths = [len(BPE(MERGES[:n]).encode(PLAY)) for n in range(0, len(MERGES) + 1, 43)]
    assert lengths[0] == len(PLAY.encode())
    assert all(a > b for a, b in zip(lengths, lengths[1:]))


@pytest.mark.parametrize("length", range(1, 10))
def test_a_run_of_equal_bytes_is_joined_from_the_left(length):
    model = BPE([(97, 97), (256, 256), (257, 97)])
    two, one = divmod(length, 2)
    assert BPE([(97, 97)]).encode("a" * length) == [256] * two + [97] * one
    assert model.encode("a" * length) == theirs(model.merges).encode("a" * length).ids


def test_merges_go_by_their_order_not_by_length():
    a, b, c, d = b"abcd"
    model = BPE([(b, c), (a, b), (257, c), (c, d), (258, d)])
    assert model.encode("abcd") == [a, 256, d] == theirs(model.merges).encode("abcd").ids
    assert model.encode("ab") == [257]                      # "abcd" is a token, yet never made


def test_training_ends_when_no_pair_is_left():
    assert train("", 999) == train("a", 999) == []
    assert train("abc", 999) == [(97, 98), (256, 99)]
    assert train("abc", 256) == []


def test_training_twice_gives_the_same():
    assert train(PLAY, 600) == MERGES == train(PLAY.encode(), 600)


# ---- ids ---------------------------------------------------------------------------------------


def test_ids_equal_hugging_face():
    text = rebuilt_tiny_shakespeare()[500_000:600_000] + "Ünïcode 🐟 ² 12,345 é\u0301  "
    assert BPE(MERGES).encode(text) == theirs(MERGES).encode(text).ids


@given(FEW, FEW)
@settings(max_examples=300, deadline=None)
def test_ids_of_small_texts_equal_hugging_face(seen, text):
    merges = train(seen, 290)
    merges = merges[:len(spelled(merges))]
    assert BPE(merges).encode(text) == theirs(merges).encode(text).ids


# ---- errors and files --------------------------------------------------------------------------


@pytest.mark.parametrize("make, cause", [
    (lambda: train("abc", 255), "vocab_size 255 came: 256 or more"),
    (lambda: BPE([(97, 256)]), "merge 0 joins 97 and 256: ids 0 to 255"),
    (lambda: BPE([(-1, 97)]), "merge 0 joins -1"),
    (lambda: BPE([(97, 98), (98, 97), (97, 98)]), r"\(97, 98\) comes 2 times"),
    (lambda: BPE([]).decode([97, 256]), "id 256 came: this vocabulary has ids 0 to 255"),
    (lambda: BPE([]).decode([-1]), "id -1 came"),
    (lambda: BPE([]).encode("a\ud800"), "surrogates not allowed"),
    (lambda: train("\udc80", 300), "surrogates not allowed")])
def test_bad_input_gets_a_plain_error(make, cause):
    with pytest.raises(ValueError, match=cause):
        make()


def test_a_saved_model_is_the_same_model(tmp_path):
    BPE(MERGES).save(tmp_path / "play.json")
    model = BPE.load(str(tmp_path / "play.json"))
    assert model.merges == MERGES and model.vocab_size == 600
    assert model.encode("to be or not") == BPE(MERGES).encode("to be or not")
    assert [path.name for path in tmp_path.iterdir()] == ["play.json"]


@pytest.mark.parametrize("keep", [0, 1, 20, -20, -1])
def test_a_truncated_file_is_named(tmp_path, keep):
    path = tmp_path / "play.json"
    BPE(MERGES).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="play.json holds no merges, or is damaged"):
        BPE.load(path)


@pytest.mark.parametrize("content", [
    b"\xff\xfe", b"[]", b"3", b'{"merges": []}', b'{"merges": [[97, 98]], "vocab_size": 300}',
    b'{"merges": [[97, 98.5]], "vocab_size": 257}', b'{"merges": [[97]], "vocab_size": 257}',
    b'{"merges": [[97, 300]], "vocab_size": 257}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "play.json").write_bytes(content)
    with pytest.raises(ValueError, match="play.json holds no merges, or is damaged"):
        BPE.load(tmp_path / "play.json")
    with pytest.raises(FileNotFoundError):
        BPE.load(tmp_path / "missing.json")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "play.json"
    BPE(MERGES).save(path)
    monkeypatch.setattr(store.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        BPE([]).save(path)
    assert BPE.load(path).merges == MERGES and len(list(tmp_path.iterdir())) == 1


# ---- the explorer ------------------------------------------------------------------------------


def test_the_explorer_holds_at_every_setting():
    assert Merges().selftest() >= 8


def test_the_explorer_draws_each_token_once_and_names_it():
    figure, words = Merges(merges=0, line="a é").show()
    assert figure.data[0]["text"] == ["a", "·", "c3", "a9"] and "4 bytes in 4 tokens" in words
    figure, words = Merges(merges=800, line="the lord").show()
    assert figure.data[0]["text"] == ["the", "·lord"] and figure.data[0]["base"] == [0, 3]
    assert "One token each: the, lord." in words and figure.layout["height"] <= 300


def test_what_the_explorer_cannot_draw_it_says():
    assert "No text" in Merges(line="").show()[1]
    figure, words = Merges(merges=0, line="x" * 200).show()
    assert "Only the first 132 are drawn" in words and len(figure.data[0]["x"]) == 132
    assert "no word among them" in Merges(line="1, 2").show()[0].layout["title"]["text"]


@pytest.mark.parametrize("line", ["to be, or not to be", " a  é ", "🐟"])
def test_the_curve_of_the_explorer_is_the_length_of_the_encoding(line):
    pairs = learned()[0]
    want = [len(BPE(pairs[:n]).encode(line)) for n in range(0, 801, 100)]
    assert shrinking(line, pairs)[::100] == want
