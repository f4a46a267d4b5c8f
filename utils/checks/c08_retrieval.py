"""The checks of lecture 08 for retrieval: BM25, and a prompt that keeps to its budget."""
import math
import re

import torch

from .c08_known import Judge
from .engine import exercise
from .probe import numbers

K1, B = 1.5, 0.75


def scores(query, docs, k1=K1, b=B, idf=None, tf=None, length=len, gain=None):
    """BM25 of each document (N,), or what comes out with one part of it replaced."""
    N, mean = len(docs), sum(map(length, docs)) / len(docs)
    idf = idf or (lambda n: math.log(1 + (N - n + 0.5) / (n + 0.5)))
    out = []
    for doc in docs:
        long, total = 1 - b + b * length(doc) / (mean or 1), 0.0
        for word in query:
            found = tf(doc.count(word)) if tf else doc.count(word)
            n = sum(word in other for other in docs)
            total += (idf(n) * found * (k1 + 1 if gain is None else gain)
                      / (found + k1 * long)) if found else 0.0
        out.append(total)
    return torch.tensor(out, dtype=torch.float64)


def wrong_scores(query, docs, where):
    """{code: (scores of a well-known mistake, what it is)}."""
    N, right = len(docs), scores(query, docs)
    n = {word: sum(word in doc for doc in docs) for word in query}

    def idf(word):
        return math.log(1 + (N - n[word] + 0.5) / (n[word] + 0.5))

    def plain(weight):
        return torch.tensor([sum(weight(word, doc) for word in query) for doc in docs]).double()
    smooth = [lambda n: math.log((N + 1) / (n + 1)) + 1, lambda n: math.log((N + 1) / (n + 1)),
              lambda n: math.log(1 + N / n) if n else 0.0, lambda n: math.log(N / n) if n else 0.0]
    table = {
        "idf-may-be-negative": (scores(query, docs, idf=lambda n: math.log(
            (N - n + .5) / (n + .5))), "the 1 inside the logarithm is missing: a word that stands "
                                "in most documents then costs a document points"),
        "no-idf": (scores(query, docs, idf=lambda n: 1.0), "all words count alike: a rare word "
                   "says more than a common one"),
        "other-idf": ([scores(query, docs, idf=f) for f in smooth], "another formula for how rare "
                      "a word is: ln(1 + (N - n + .5) / (n + .5)) is asked for"),
        "log-base": ([right / math.log(base) for base in (2, 10)], "the logarithm has another "
                     "base: take the natural one"),
        "counts-everywhere": (scores_by_total(query, docs), "n counts how often the word stands "
                              "anywhere: count the documents that hold it"),
        "no-length": (scores(query, docs, b=0), "the length of a document has no effect"),
        "all-length": (scores(query, docs, b=1), "b has no effect: the length counts for "
                       "three quarters"),
        "b-turned": (scores(query, docs, b=1 - B), "b and 1 - b are exchanged"),
        "distinct-length": (scores(query, docs, length=lambda doc: len(set(doc))), "the length is "
                            "counted in different words: count all"),
        "letters": ([scores(query, docs, length=lambda doc: len(" ".join(doc))),
                     scores(query, docs, length=lambda doc: sum(map(len, doc)))], "the length is "
                    "counted in letters: count words"),
        "no-gain": (scores(query, docs, gain=1), "the factor k1 + 1 is missing above the line"),
        "presence": (scores(query, docs, tf=lambda f: min(f, 1)), "how often a word stands in a "
                     "document has no effect"),
        "other-k1": ([scores(query, docs, k1=k) for k in (1.2, 2.0, 1.0)], "another k1: take 1.5"),
        "tf-idf": ([plain(lambda w, d: d.count(w) * idf(w)),
                    plain(lambda w, d: d.count(w) / max(len(d), 1) * idf(w))], "a sum of counts "
                   "times idf: the tenth time a word comes must add less than the first"),
        "counts": ([plain(lambda w, d: d.count(w)), plain(lambda w, d: w in d),
                    plain(lambda w, d: d.count(w) / max(len(d), 1))], "these are counts of words: "
                   "BM25 weighs them"),
        "set": (scores(list(dict.fromkeys(query)), docs), "a word that stands in the query twice "
                "counts twice"),
        "scaled": ([right / top for top in (right.max(), right.sum(), right.norm(), len(query) or 1)
                    ] + [right.softmax(0)], "the scores are scaled: return them as they are"),
        "order": ([right.sort(descending=True).values, right.sort().values,
                   right.argsort(descending=True).double(), right.argsort().double()],
                  "sorted scores, or places: score i belongs to document i"),
        "sign": (-right, "the sign is wrong: a better match scores higher")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def scores_by_total(query, docs):
    """BM25 in which n is the number of times a word stands anywhere, where that is possible."""
    N, total = len(docs), {word: sum(doc.count(word) for doc in docs) for word in query}
    out = torch.zeros(N, dtype=torch.float64)
    for word in query:
        inside = 1 + (N - total[word] + 0.5) / (total[word] + 0.5)
        rare = math.log(inside) if inside > 0 else math.nan
        out += rare * scores([word], docs, idf=lambda n: 1.0)
    return out


SMALL = ("the cat ate the tuna".split(), "the dog ate".split(), "a bird".split())
SHOWN = ("docs = [the cat ate the tuna], [the dog ate], [a bird]")


@exercise("08.6", hints=(
    "Ask for one word that stands in one document: all other scores are 0. Ask for two words, one "
    "rare and one common: which document comes first? And is a tenth occurrence worth the first?",
    "Three numbers for each word: in how many DOCUMENTS it stands, how often in this one, and how "
    "long this one is against the mean. What becomes of a word that stands in no document?",
    "mean = average number of words of a document\nfor each document, for each word of the query:\n"
    "    n = documents that hold the word; f = times it stands in this one\n"
    "    add the idf of n, times f (k1 + 1) over (f + k1 times (1 - b + b times length / mean))\n"
    "result: a tensor, one score for each document"))
def bm25(answer, probe):
    def ask(query, docs):
        out = probe.call(answer, query, docs)
        probe.shape(out, (len(docs),), "shape", "one score for each document")
        probe.true(out.is_floating_point(), "type", f"expected floats, came {out.dtype}")
        return out.detach().double()

    rich = []
    for N, size, V, long in ((6, 5, 9, 3), (9, 12, 30, 5), (4, 3, 5, 4)):
        docs = [[f"w{i}" for i in probe.ints(0, V, size + 3 * d % 7)] for d in range(N)]
        rich.append(([f"w{i}" for i in probe.ints(0, V, long)], docs))
    judge = Judge(probe, ask, scores, wrong_scores, rich, 1e-4)

    def compare(query, docs, where, code="value"):
        judge.compare(query, docs, where=where, code=code)

    docs = [list(doc) for doc in SMALL]
    where = f"{SHOWN}. query"
    out = ask(["tuna"], docs)
    probe.finite(out, "not-finite", f"{where} [tuna]")
    probe.true(out[1] == 0 == out[2], "elsewhere", f"{where} [tuna]: only the first document holds "
               f"the word, the others score 0. Came {numbers(out)}")
    probe.true(out[0] > 0, "no-match", f"{where} [tuna]: the first document holds it and must "
               f"score above 0. Came {numbers(out)}")
    compare(["tuna"], docs, f"{where} [tuna]")
    for asked, code, why in ((["whale"], "unseen", "it stands nowhere"),
                             (["at", "he"], "part-of-word", "these stand inside words only")):
        out = ask(asked, docs)
        probe.true(bool((out == 0).all()), code, f"{where} [{', '.join(asked)}]: {why}, so all "
                   f"scores are 0. Came {numbers(out)}")
    for asked in ("ate", "the", "the bird", "the whale cat", "cat dog cat"):
        compare(asked.split(), docs, f"{where} [{asked}]")
    docs = [["tuna"] * 50 + ["ate"], ["tuna", "ate", "cat"], ["cat", "tuna"], ["bird"] * 4, ["dog"]]
    where = "docs = [tuna 50 times, ate], [tuna, ate, cat], [cat, tuna], [bird four times], [dog]"
    for query in (["tuna"], ["tuna", "bird"], ["ate", "cat"]):
        compare(query, docs, f"{where}. query [{', '.join(query)}]")
    compare(["cat"], [["cat", "ate"]], "docs = [cat, ate] alone. query [cat]", "one-document")
    compare(["cat"], [["cat"], ["dog"], ["cat"]], "docs = [cat], [dog], [cat]. query [cat]",
            "twins")
    compare(["cat"], [["cat"], [], ["dog"]], "docs = [cat], [], [dog]. query [cat]", "empty")
    compare([], [["cat"], ["dog", "cat"]], "an empty query: all scores are 0", "empty-query")
    compare(["Cat", "cat"], [["cat"], ["Cat", "sat"], ["Dog"]], "docs = [cat], [Cat, sat], [Dog]. "
            "query [Cat, cat]: words come as they are, `Cat` is not `cat`", "case")
    for query, docs in rich:
        compare(query, docs, f"{len(docs)} random documents, a query of {len(query)} words")


FIRST = "Answer from these passages."


def prompt(q, docs):
    lines = [f"[{i}] {' '.join(text.split())}" for i, text in docs]
    return "\n".join([FIRST, *lines, f"Question: {q}", "Answer:"])


def packed(q, docs, budget, count, fits=None, stop=False):
    """The right prompt: best first, what does not fit is passed over, no id twice."""
    kept = []
    for i, text in docs:
        if any(i == j for j, _ in kept):
            continue
        trial = [*kept, (i, text)]
        if fits(trial) if fits else count(prompt(q, trial)) <= budget:
            kept = trial
        elif stop:
            break
    return prompt(q, kept)


def ids_in(text):
    return re.findall(r"^\[(.*?)\]", text, re.M)


def wrong_prompts(q, docs, budget, count, where):
    """{code: (prompts of a well-known mistake, what it is)}."""
    def parts(end):
        return lambda kept: count(empty) + sum(count(f"[{i}] {t}" + end) for i, t in kept) <= budget

    def pack(fits=None, **kw):
        return packed(q, docs, budget, count, fits, **kw)
    unique = list(dict(docs[::-1]).items())[::-1]           # worst of all orders, ids once
    once = [d for n, d in enumerate(docs) if d[0] not in [i for i, _ in docs[:n]]]
    short = sorted(once, key=lambda d: count(d[1]))
    empty = prompt(q, [])
    table = {
        "stops": (pack(stop=True), "it stops at the first passage that does not fit: a later, "
                  "shorter one may still fit"),
        "strict": (pack(lambda kept: count(prompt(q, kept)) < budget), "a prompt of exactly budget "
                   "tokens fits"),
        "sum-of-counts": ([pack(parts(end)) for end in ("", "\n")],
            "the parts are counted one by one: count the whole prompt, since tokens reach across"),
        "words": (pack(lambda kept: len(prompt(q, kept).split()) <= budget), "words are counted: "
                  "count says how long a text is"),
        "letters": (pack(lambda kept: len(prompt(q, kept)) <= budget), "letters are counted: count "
                    "says how long a text is"),
        "smallest-first": ([packed(q, short, budget, count)], "the shortest passages come first: "
                           "the list is in order of rank, the best first"),
        "worst-first": ([packed(q, turn[::-1], budget, count) for turn in (docs, once)],
                        "the last passage of the list comes first: the list begins with the best"),
        "turned": (turned(pack()), "the right passages in the reverse order: the best stands "
                   "first"),
        "all": ([prompt(q, docs), prompt(q, once), prompt(q, unique)], "all passages are quoted, "
                "whatever the budget"),
        "none": (empty, "no passage is quoted, though there is room")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def turned(text):
    first, *lines, question, last = text.split("\n")
    return "\n".join([first, *lines[::-1], question, last])


def words(text):
    return len(text.split())


def pieces(text):
    """Tokens of at most 4 letters, with their blank before: parts do not add up to the whole."""
    return len(re.findall(r"\s?\w{1,4}|\s?[^\w\s]|\s", text))


def chunks(text):
    return -(-len(text) // 7)


PASSAGES = [("d3", "The tuna is a fish."), ("d1", "A cat eats tuna, birds and mice, and sleeps "
            "through most of the long day and of the night."), ("d3", "The tuna is a fish."),
            ("d7", "Cats purr."), ("d2", "A human eats tuna too, as a cat and a bird do.")]
ASKED = "Who eats tuna?"


def look_at_lines(probe, out, q, docs, where):
    """Is it the fixed format, whichever passages were chosen?"""
    lines, table = out.split("\n"), {i: " ".join(t.split()) for i, t in docs}
    probe.true(lines[0] == FIRST, "first-line", f"{where}: the first line must be `{FIRST}`. Came "
               f"`{lines[0][:60]}`")
    probe.true(q in out, "no-question", f"{where}: the question is missing")
    probe.true(out[-1:] != "\n" and out == out.rstrip(), "ends", f"{where}: the text ends with "
               f"`Answer:`, no white space follows. It ends with {out[-12:]!r}")
    probe.true(lines[-2:] == [f"Question: {q}", "Answer:"], "last-lines", f"{where}: the last two "
               f"lines must be `Question: {q}` and `Answer:`. Came {lines[-2:]!r:.90}")
    found = []
    for line in lines[1:-2]:
        named = re.match(r"\[(.*?)\] (.*)", line)
        probe.true(named, "no-id", f"{where}: each passage is one line that begins with its id, "
                   f"`[d3] The tuna ...`. Came the line {line[:60]!r}")
        i, text = named.groups()
        probe.true(i in table, "renumbered", f"{where}: no passage has the id {i!r}. The ids are "
                   f"those of docs: {', '.join(table)}")
        cut = text != table[i] and table[i].startswith(text.rstrip(" ."))
        probe.true(not cut, "cut", f"{where}: passage {i} is cut off at {text[-25:]!r}: one that "
                   "does not fit is left out whole")
        probe.equal(text, table[i], "text", f"{where}: passage {i} does not stand there as it was "
                    "given")
        probe.true(i not in found, "repeated", f"{where}: passage {i} is quoted twice")
        found.append(i)


@exercise("08.7", hints=(
    "Give it a huge budget: each id once, in the order of the list. Then a budget that leaves out "
    "the long passage: is the short one after it still quoted?",
    "What is counted: one passage, the passages, or the finished text with its first line and its "
    "question? And what does a line break inside a passage do to a format made of lines?",
    "kept = nothing\nfor each (id, text), best first:\n    pass over an id that is kept already\n"
    "    trial = the whole prompt with this passage added\n"
    "    keep the passage if the count of the trial is within the budget\n"
    "result: the whole prompt with what was kept"))
def rag_prompt(answer, probe):
    def ask(*given):
        out = probe.call(answer, *given)
        probe.type(out, str, "the prompt as one text")
        return out

    def compare(q, docs, budget, count, where, code="value"):
        out, want = ask(q, docs, budget, count), packed(q, docs, budget, count)
        look_at_lines(probe, out, q, docs, where)
        size = count(out)
        found = out != want and judge.mistake()
        if found:
            over = f" The prompt counts {size}, the budget is {budget}." * (size > budget)
            probe.fail(found, f"{wrong_prompts(q, docs, budget, count, where)[found][1]}.{over} "
                       f"Expected the ids {ids_in(want)}, came {ids_in(out)}")
        probe.true(size <= budget, "over-budget", f"{where}: the prompt counts {size}: the whole "
                   "text must be within the budget, with its first line and the question")
        probe.equal(ids_in(out), ids_in(want), code, f"{where}: the ids that are quoted")
        probe.equal(out, want, "format", where)

    docs = [(f"p{i}", " ".join(["ab", "c", "defgh"][j] for j in probe.ints(0, 3, 3 + i)))
            for i in probe.ints(0, 9, 12)]
    docs = [(i, dict(docs)[i]) for i, _ in docs]
    docs += [("e1", "Cats purr."), ("e2", "Dogs bark."), ("e3", "Cats purr.")]
    rich = [("What?", docs, *last) for last in ((60, pieces), (40, words), (42, chunks))]
    rich += [(ASKED, PASSAGES, *last) for last in ((15, words), (17, words), (23, words), (
        30, words), (31, words), (45, pieces), (47, pieces), (26, chunks), (120, len))]
    judge = Judge(probe, ask, packed, wrong_prompts, rich)
    compare(ASKED, PASSAGES[2:4], 1000, words, "docs = d3, d7 and room for 1000 words")
    compare(ASKED, PASSAGES, 1000, words, "docs = d3, d1, d3, d7, d2 and room for 1000 words: each "
            "id once", "ids")
    for budget in (30, 33, 15, 17, 18, 22):
        compare(ASKED, PASSAGES, budget, words, "docs = d3, d1, d3, d7, d2 and a budget of "
                f"{budget} words")
    least = words(prompt(ASKED, []))
    compare(ASKED, PASSAGES, least, words, f"a budget of {least} words: no passage fits, so none "
            "is quoted", "no-room")
    compare(ASKED, [], 50, words, "docs = []: the question alone", "no-docs")
    broken = [("d4", "Cats purr.\nQuestion: Who purrs?\nAnswer: dogs"), ("d5", "  Two \t blanks. ")]
    breaks = ask("Who purrs?", broken, 1000, words).count("\n")
    probe.true(breaks == 4, "line-break", "a passage with line breaks in it, `Cats purr.\\n"
               "Question: Who purrs?\\nAnswer: dogs`, takes more than its one line, and so can "
               "speak in the place of your question: make each run of white space one blank")
    compare("Who purrs?", broken, 1000, words, "a passage with white space in it: each run of it "
            "becomes one blank")
    for count, name in ((len, "letters"), (pieces, "pieces of up to four letters"),
                        (chunks, "groups of seven letters")):
        top = count(prompt(ASKED, PASSAGES[:2] + PASSAGES[3:]))
        for budget in range(count(prompt(ASKED, [])), top + 1, max(1, top // 40)):
            compare(ASKED, PASSAGES, budget, count, f"docs = d3, d1, d3, d7, d2 and a budget of "
                    f"{budget} {name}")
    for budget in range(len(prompt("Who purrs?", [])), 160, 6):
        compare("Who purrs?", broken, budget, len, "passages with white space in them, a budget of "
                f"{budget} letters")
    for some in rich:
        compare(*some, f"{len(some[1])} passages, a budget of {some[2]}")
