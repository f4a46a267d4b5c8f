"""Words as rows of a matrix: a small world to learn from, neighbours, and arrows between words."""
import random
from typing import NamedTuple

import torch

from .data import WordVectors

ROLES = {("king", "queen"): ("crown", "throne"), ("prince", "princess"): ("crown", "toy"),
         ("man", "woman"): ("work", "home"), ("boy", "girl"): ("toy", "school"),
         ("father", "mother"): ("home", "child"), ("brother", "sister"): ("school", "child"),
         ("uncle", "aunt"): ("work", "child"), ("actor", "actress"): ("stage", "work")}
PAIRS = tuple(ROLES)                                    # eight pairs, he first

# Mikolov, Chen, Corrado and Dean 2013, table 8: what their model answered, right or wrong.
TABLE = tuple(tuple(tuple(pair.split()) for pair in row.split(", ")) for row in (
    "france paris, italy rome, japan tokyo, florida tallahassee",
    "big bigger, small larger, cold colder, quick quicker",
    "miami florida, baltimore maryland, dallas texas, kona hawaii",
    "einstein scientist, messi midfielder, mozart violinist, picasso painter",
    "sarkozy france, berlusconi italy, merkel germany, koizumi japan",
    "copper cu, zinc zn, gold au, uranium plutonium",
    "berlusconi silvio, sarkozy nicolas, putin medvedev, obama barack",
    "microsoft windows, google android, ibm linux, apple iphone",
    "microsoft ballmer, google yahoo, ibm mcnealy, apple jobs",
    "japan sushi, germany bratwurst, france tapas, usa pizza"))


def micro_world(sentences, seed):
    """Sentences of a world of 30 words: who has what, and is that a he or a she?

    Eight pairs of people share their two things; only he, his, she, her tell the two apart.
    Returns a list of lists of words. "the king has his crown", "she the aunt has the child".
    """
    rng, roles, out = random.Random(seed), list(ROLES.items()), []
    for _ in range(sentences):
        pair, things = rng.choice(roles)
        person, pronoun, owner = rng.choice(list(zip(pair, ("he", "she"), ("his", "her"))))
        thing = rng.choice(things)
        out.append(["the", person, "has", owner, thing] if rng.random() < 0.6 else
                   [pronoun, "the", person, "has", "the", thing])
    return out


def micro_questions(index):
    """The 56 analogies he : she = another he : another she, as rows: (56, 4).

    index: word -> row.
    """
    return torch.tensor([[index[w] for w in (*one, *other)]
                         for one in PAIRS for other in PAIRS if one != other])


def cooccurrence(texts, index, window):
    """How often word j stands at most `window` places from word i: (V, V) float32, symmetric.

    texts: lists of words; index: word -> row; a word that is not in it keeps its place but is not
    counted. No pair crosses the end of a text. Source: Lund and Burgess 1996 (HAL).
    """
    V = len(index)
    ids = [torch.tensor([index.get(word, -1) for word in text]) for text in texts if text]
    cells = []
    for far in range(1, window + 1):
        left = torch.cat([text[:-far] for text in ids])
        right = torch.cat([text[far:] for text in ids])
        known = (left >= 0) & (right >= 0)
        cells.append(left[known] * V + right[known])
    counts = torch.bincount(torch.cat(cells), minlength=V * V).float().view(V, V)
    return counts + counts.T


def space(words, vectors):
    """WordVectors whose rows have length 1, so that a dot product is a cosine.

    words: list of V words; vectors: (V, d) tensor, any length but 0.
    """
    lengths = vectors.norm(dim=1, keepdim=True)         # (V, 1)
    if not bool((lengths > 0).all()):
        empty = words[int((lengths[:, 0] <= 0).nonzero()[0])]
        raise ValueError(f"the vector of {empty!r} has length 0: it has no direction; leave it out")
    return WordVectors(list(words), vectors / lengths, {w: i for i, w in enumerate(words)})


def arrow(words, a, b, c):
    """The direction of b - a + c, for the question a : b = c : ?, a vector (d,) of length 1."""
    point = words[b] - words[a] + words[c]
    return point / point.norm().clamp(min=1e-12)


def neighbours(words, query, k, exclude=()):
    """The k words nearest to a point: list of (word, dot product), the nearest first.

    words: a space (rows of length 1); query: (d,); exclude: words that may not answer.
    """
    scores = words.vectors @ query                      # (V,)
    for word in exclude:
        scores[words.index[word]] = -torch.inf
    best, rows = scores.topk(min(k, len(scores) - len(set(exclude))))
    return [(words.words[i], score) for i, score in zip(rows.tolist(), best.tolist())]


def rank(words, query, word, exclude=()):
    """The place of a word among all, seen from a point: 1 is the nearest."""
    scores = words.vectors @ query                      # (V,)
    out = [words.index[other] for other in exclude if other != word]
    scores[out] = -torch.inf
    return 1 + int((scores > scores[words.index[word]]).sum())


class Analogies(NamedTuple):
    """Which of n questions were solved, three bools each, (n,)."""
    solved: torch.Tensor                                # d is nearest when a, b, c may not answer
    solved_raw: torch.Tensor                            # d is nearest of all words
    input_nearest: torch.Tensor                         # nearest of all words is a, b or c


def solve(words, questions):
    """Answer every question a : b = c : d by the word nearest to b - a + c.

    words: a space of V words; questions: (n, 4) rows of the matrix. Returns Analogies.
    """
    E, parts = words.vectors, []
    for asked in questions.split(512):
        a, b, c, d = asked.T
        scores = (E[b] - E[a] + E[c]) @ E.T             # (512, V)
        raw = scores.argmax(1)
        scores.scatter_(1, asked[:, :3], -torch.inf)
        parts.append((scores.argmax(1) == d, raw == d, (raw[:, None] == asked[:, :3]).any(1)))
    return Analogies(*map(torch.cat, zip(*parts)))


def answerable(words, questions):
    """The questions whose four words are all known: their sections, and rows (n, 4).

    questions: (section, a, b, c, d) as load_analogies() gives them.
    """
    known = [q for q in questions if all(word in words for word in q[1:])]
    return ([q[0] for q in known],
            torch.tensor([[words.index[word] for word in q[1:]] for q in known]).view(-1, 4))


def agreement(words, judged):
    """Rank correlation of cosine and people's judgement, and the number of pairs known.

    words: a space; judged: (a, b, score) as load_similarities() gives them. Spearman 1904.
    """
    from scipy.stats import spearmanr
    known = [(a, b, score) for a, b, score in judged if a in words and b in words]
    cosines = [float(words[a] @ words[b]) for a, b, _ in known]
    return float(spearmanr(cosines, [score for *_, score in known]).statistic), len(known)



def table_ranks(words, row):
    """Ranks of a row's three answers, its inputs barred: a list; None where a word is missing.

    row: four pairs (a, b), the first gives the relation.
    """
    (a, b), ranks = row[0], []
    for c, d in row[1:]:
        known = all(word in words for word in (a, b, c, d))
        ranks.append(rank(words, arrow(words, a, b, c), d, {a, b, c}) if known else None)
    return ranks
