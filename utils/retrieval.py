"""Passages to search, and questions of which it is known where the answer stands."""
import re

import torch

from .data import load_factbook, load_wikipedia

# Number of the article in load_wikipedia(), a question in the article's own words, and the same
# question in other words. Written for this course from the first lines of the articles, before
# any search was tried, and not changed since.
QUESTIONS = (
    (0, "Which political philosophy advocates self governed societies?",
     "What do people call the wish to live without any government?"),
    (2, "What is the reflection coefficient of a surface called?",
     "How much of the light does snow send back?"),
    (5, "Who killed the Trojan hero Hector outside the gates of Troy?",
     "Which Greek fighter had a sea goddess for a mother?"),
    (8, "Which symphonic poem did George Gershwin compose about Paris?",
     "Which piece of music uses the sound of cabs from France?"),
    (10, "Which awards ceremony recognizes excellence in cinematic achievements?",
     "Which prize in Hollywood comes as a small golden man?"),
    (13, "Which time standard is the basis for coordinated universal time?",
     "What do very exact clocks all over the planet agree on?"),
    (14, "What is the principle or practice of concern for the welfare of others?",
     "What is the word for helping people and expecting nothing back?"),
    (22, "What aimed at the transmutation of base metals into gold?",
     "Who tried to make precious metal from cheap stuff in the Middle Ages?"),
    (25, "Which character encoding scheme was developed from telegraphic codes?",
     "How did early machines store letters as numbers of seven bits?"),
    (27, "How is the illusion of motion made by a rapid display of images?",
     "How do cartoons seem to move?"),
    (29, "Which retired American tennis player was a great service returner?",
     "Which sportsman with a racket dressed in a wild way in the nineties?"),
    (32, "Which principality lies in the eastern Pyrenees mountains?",
     "Which tiny country in the hills between two neighbours has two rulers?"),
    (35, "Which allegorical novella by George Orwell reflects the Russian revolution?",
     "In which book do pigs take over and stand for Stalin and his people?"),
    (51, "Which calculating tool, a counting frame, was in use in China and Russia?",
     "What did shopkeepers move beads on to do sums?"),
    (56, "Which spaceflight landed Neil Armstrong and Buzz Aldrin on the moon?",
     "When did someone first walk on another world?"),
    (59, "In which essay does Jonathan Swift suggest selling children as food?",
     "Which joke about eating babies mocks how the poor were treated?"),
    (68, "Which nocturnal burrowing mammal is native to Africa and eats ants?",
     "Which animal with a nose like a pig digs for insects at night?"),
    (70, "Which building material is made from earth and organic material?",
     "What are houses of dried mud and straw built of?"),
    (91, "Who developed the general theory of relativity?",
     "Which scientist found out that energy and mass are the same?"),
    (104, "What is the SI unit of electric current?",
     "In what do you measure how strongly electricity flows through a wire?"))
HIGH = "Elevation, highest point"
FIELDS = (HIGH, "Internet country code", "Capital, name", "Coastline",
          "Exchange rates, Currency", "Climate", "National holiday", "Natural hazards")


def words(text):
    """A text as lower-case words: list of str."""
    return re.findall(r"\w+", text.lower())


def wiki_passages(size=60, most=3):
    """The first `most` pieces of `size` words of each article: (texts, their articles' numbers)."""
    found = [(" ".join(article[start:start + size]), number)
             for number, article in enumerate(load_wikipedia())
             for start in range(0, min(most * size, len(article)), size)]
    texts, articles = zip(*found)
    return list(texts), torch.tensor(articles)


def recall_at(scores, articles, wanted, k):
    """Whether a passage of the wanted article is among the k best: bool (questions,).

    scores: (questions, passages); articles: (passages,); wanted: (questions,).
    """
    best = scores.topk(k, dim=1).indices                                # (questions, k)
    return (articles[best] == wanted[:, None]).any(1)


def metres(text):
    """The last height in metres that a text names, such as "7,492", or ""."""
    return (re.findall(r"([\d,]+) m\b", text) or [""])[-1]


def says(answer, height):
    """Whether an answer holds a height, whatever its thousands are parted with."""
    bare = re.compile(r"[,.](?=\d{3})")
    return bool(re.search(rf"(?<!\d){bare.sub('', height)}(?!\d)", bare.sub("", answer)))


def country_passages(n=24):
    """Short entries of the Factbook for n countries: dict of (country, field) -> text.

    The countries are spread over the alphabet, of those whose name is one plain word and that
    have an entry in each of FIELDS.
    """
    book = {}
    for p in load_factbook():
        if p.field in FIELDS and re.fullmatch("[A-Z][a-z]+", p.country):
            book.setdefault(p.country, {}).setdefault(p.field, p.text)
    whole = sorted(c for c, entries in book.items() if len(entries) == len(FIELDS)
                   and metres(entries[HIGH]))
    if n > len(whole):
        raise ValueError(f"{n} countries asked for, and {len(whole)} have all the entries")
    chosen = [whole[i * len(whole) // n] for i in range(n)]
    return {(c, f): f"{c}. {f}: {' '.join(book[c][f].split()[:40])}"
            for c in chosen for f in FIELDS}
