"""The checks of lecture 01, first half: vocabulary, one-hot, brackets, n-grams."""
import math
import random

import torch

from ..sequences import follow
from . import c01_chain  # noqa: F401  registers 01.5 to 01.7
from .engine import exercise


@exercise("01.1", hints=(
    "The ids of V different tokens are 0 .. V - 1, by first appearance: build_vocab(['b', 'a', "
    "'b']) is {'b': 0, 'a': 1}. What is yours?",
    "Which id is free when a new token comes? It is as large as the number of tokens that you have "
    "already. And what must happen when a token comes again?",
    "start with an empty dict\n"
    "for each token, in order: if it is not in the dict, its id is the present size of the dict"))
def build_vocab(answer, probe):
    def attempt(tokens, code="value"):
        out = probe.call(answer, tokens)
        probe.type(out, dict, "a dict from token to id")
        first = list(dict.fromkeys(tokens))
        right = {token: i for i, token in enumerate(first)}
        where = f"tokens = {tokens if len(tokens) < 12 else str(tokens[:6])[:-1] + ', ...]'}"
        if set(out) == set(range(len(first))) and first and first[0] not in out:
            probe.fail("inverse", f"{where}: keys and values are exchanged: a token gives its id")
        probe.true(set(out) == set(first), "keys", f"{where}: the keys must be the different "
                   f"tokens as they are, {first[:8]}; came {list(out)[:8]}")
        probe.true(all(type(v) is int for v in out.values()), "type", f"{where}: ids are whole "
                   f"numbers (int); came {list(out.values())[:8]}")
        tables = {
            "from-one": ({t: i + 1 for t, i in right.items()}, "your ids begin at 1: row V of an "
                         "embedding table with V rows does not exist, the first row is row 0"),
            "counts": ({t: tokens.count(t) for t in first}, "these are counts: an id names a "
                       "token, ids, not frequencies"),
            "positions": ([{t: tokens.index(t) for t in first},
                           {t: i for i, t in enumerate(tokens)}],
                          "these are places in the text: V tokens need the ids 0 .. V-1"),
            "sorted": ({t: i for i, t in enumerate(sorted(first))}, "alphabetical: ids go by first "
                       "appearance here"),
            "frequency": ({t: i for i, t in enumerate(sorted(
                first, key=lambda t: -tokens.count(t)))},
                          "the frequent tokens come first: ids go by first appearance here"),
            "last": ({t: i for i, t in enumerate(reversed(list(dict.fromkeys(reversed(tokens)))))},
                     "ordered by last appearance: a token keeps the id that it got first"),
            "backwards": ({t: len(first) - 1 - i for t, i in right.items()},
                          "the order is reversed")}
        for wrong, (values, why) in tables.items():
            values = values if isinstance(values, list) else [values]
            probe.true(out == right or out not in values, wrong, f"{where}: {why}")
        probe.true(len(set(out.values())) == len(first), "double", f"{where}: two tokens share an "
                   f"id: {list(out.items())[:8]}")
        if sorted(out.values()) == list(range(len(first))):
            probe.true(out == right, "order", f"{where}: the ids are 0 .. V-1, but not in the "
                       "order first appearance. A set has another order in each run of Python, so "
                       "that the order changes between runs")
        probe.equal(out, right, code, where)

    attempt("the cat ate the one tuna a tuna tuna weird human".split())
    attempt("One cat , one Cat .".split(), "case")
    attempt([f"w{i}" for i in probe.ints(0, 40, 300).tolist()])
    attempt(["tuna"])
    attempt([])


@exercise("01.2", hints=(
    "Each row has one 1, at the place of its id, and V columns: one_hot(torch.tensor([1]), 3) is "
    "[[0., 1., 0.]]. Is yours as wide, even though id 2 is absent?",
    "How many rows, how many columns? Compare row t with `ids[t]`. Print the result for "
    "ids = [2, 0, 2] and V = 5.",
    "a (T, V) table of zeros\nfor each t: the entry at row t, column ids[t] becomes 1"))
def one_hot(answer, probe):
    for ids, V in (([2, 0, 2, 1], 6), ([0], 1), ([4, 4], 5), (probe.ints(0, 7, 30).tolist(), 9)):
        where = f"ids = {ids if len(ids) < 9 else '30 numbers'}, V = {V}"
        given, T = torch.tensor(ids), len(ids)
        right = torch.eye(V).double()[given]
        out = probe.call(answer, given, V)
        probe.type(out, torch.Tensor)
        width = max(ids) + 1
        probe.true(out.shape != (T, width) or width == V, "absent", f"{where}: {width} columns, as "
                   "many as the largest id + 1. The last words of the vocabulary may be absent: V "
                   "columns")
        probe.true(out.shape != (V, T) or T == V, "transposed", f"{where}: shape (V, T), came "
                   "transposed: a row for each token, a column for each word")
        probe.true(out.shape != (V,) or T == 1, "bag", f"{where}: one row for the whole text: each "
                   "token needs its own")
        probe.shape(out, (T, V), "shape", where)
        probe.true(out.is_floating_point(), "dtype", f"{where}: the dtype is {out.dtype}. Times a "
                   "matrix of real numbers it must be a float type")
        probe.equal(out.double(), right, "value", where, known={
            "inverted": (1 - right, f"{where}: 0 and 1 are exchanged"),
            "shifted": ([right.roll(1, 1), right.roll(-1, 1)], f"{where}: the 1 is one column off: "
                        "id 0 is the first column"),
            "ids": (right * given[:, None], f"{where}: the entry is the id itself: write 1, or id "
                    "0 would vanish"),
            "share": (right / T, f"{where}: divided by T: each row sums to 1"),
            "step": (right.cumsum(1), f"{where}: ones from the id on: only one 1 a row")})
        E = probe.normal(V, 3)
        probe.equal(out.double() @ E, E[given], "look-up", f"{where}: one_hot(ids) @ E is E[ids]")


def wrap(text):
    return repr(text) if len(text) < 40 else f"{text[:20]!r} ... ({len(text)} signs)"


def mixed(rng, pairs, shape=0.5):
    """A random balanced string of ( ) [ ] with so many pairs."""
    out, stack = "", ""
    while pairs or stack:
        if pairs and (not stack or rng.random() < shape):
            stack += rng.choice("([")
            out, pairs = out + stack[-1], pairs - 1
        else:
            out, stack = out + {"(": ")", "[": "]"}[stack[-1]], stack[:-1]
    return out


@exercise("01.3", hints=(
    "A closing bracket must fit the last one that is still open: '([])' is balanced, '([)]' is "
    "not. And nothing stays open at the end: '(' is not balanced, '' is. Which of the four fails?",
    "What do you remember after '(['? A number is not enough: you need the open brackets and their "
    "order. What happens when a bracket closes and nothing is open?",
    "stack = empty\n"
    "for each sign: if it opens, put it on the stack\n"
    "    else: the stack must have a top, and it must be the partner; take it off\n"
    "    if not: the answer is False\n"
    "at the end: True if the stack is empty"))
def accepts_dyck(answer, probe):
    def attempt(text, code, why):
        out = probe.call(answer, text)
        probe.type(out, bool, "return True or False")
        right = follow(text)[-1] == ""
        probe.true(out == right, code, f"{wrap(text)} is {'' if right else 'not '}balanced, you "
                   f"say {out}: {why}")

    attempt("()", "simple", "the smallest pair")
    attempt("[]", "kinds", "there are two kinds, ( ) and [ ]")
    attempt("", "empty", "nothing is open, so all is closed")
    attempt("(", "open", "at the end something is still open")
    attempt("[[]", "open", "at the end something is still open")
    attempt(")", "early", "it closes what was never opened")
    attempt(")(", "early", "it closes before it opens, so equal numbers are not enough")
    attempt("())(", "early", "the third sign closes what is not open")
    attempt("()[]", "side", "two pairs side by side")
    attempt("()()", "side", "two pairs side by side")
    attempt("([])", "nested", "the last opened closes first")
    attempt("(]", "partner", "( is not closed by ]")
    attempt("([)]", "order", "you count brackets; you must remember their order")
    attempt("[(])()", "order", "you count brackets; you must remember their order")
    attempt("([]]", "partner", "the last ] meets an open (")
    attempt("(()[[]])", "nested", "it nests and goes on")
    attempt("(" * 3000 + ")" * 3000, "deep", "any depth must work")
    attempt("([" * 20 + "])" * 20, "deep", "any depth must work")
    rng = random.Random(int(probe.ints(0, 1000, 1)))
    for _ in range(500):
        text = mixed(rng, rng.randint(1, 12), rng.choice((0.3, 0.5, 0.8)))
        attempt(text, "random", "opened and closed in order")
        at = rng.randrange(len(text))
        other = rng.choice([b for b in "()[]" if b != text[at]])
        attempt(text[:at] + other + text[at + 1:], "corrupted", f"sign {at + 1} was {text[at]!r} "
                f"in a balanced string, and no single sign can be changed")
        attempt(text[:at] + text[at + 1:], "corrupted", "one sign was taken out")


TEXT = "one cat ate a tuna one cat ate a chicken one weird cat ate a human ooo"


@exercise("01.4", hints=(
    "After any context the probabilities of all V letters sum to 1, also after one never seen, "
    "where each is 1 / V. Add up exp(ngram_logprob(m, ctx, ch, alpha, V)) over the alphabet: what "
    "do you get for a context that you know, and for 'zz'?",
    "Numerator: the count of context and letter, plus alpha. Denominator: how often the context "
    "had any letter after it, plus alpha once for each of the V letters. Look at the context that "
    "ends the text, and at 'aaa', which holds 'aa' twice.",
    "fit: for each place i from n - 1 to the end: count (the n - 1 letters before i, letter i)\n"
    "logprob: top = count of (ctx, ch), 0 if never; all = sum of the counts of ctx, 0 if never\n"
    "    natural log of (top + alpha) / (all + alpha V)"))
def ngram(fit, logprob, probe):
    letters = "abcdefghijklmnopqrstuvwxyz "
    for text, n in (("abacab", 2), ("aab", 1), ("aaaa", 3), (TEXT, 3), (TEXT, 2), ("a", 3)):
        try_ngram(fit, logprob, probe, text, n, letters)


def wrong_logs(text, n, ctx, ch, alpha, V):
    """{code: (log of a well-known mistake, what it is)}."""
    seen, top, every = counts(text, n, ctx, ch)
    total = sum(text[i:i + n - 1] == ctx for i in range(len(text) - n + 2))
    right = (top + alpha) / (every + alpha * V)
    table = {
        "no-log": (right, "this is the probability: return its logarithm"),
        "sign": (-math.log(right), "the sign is wrong: the log of a probability is never positive"),
        "base": ([math.log2(right), math.log10(right)], "the base is not e: use the natural log"),
        "sum": ((top + alpha) / (every + alpha) if every else 1, "the denominator adds alpha once: "
                "each of the V letters got it"),
        "last-context": ((top + alpha) / (total + alpha * V), "the context at the end of the text "
                         "has no letter after it: it must not count in the denominator"),
        "alpha-fixed": ((top + 1) / (every + V), "alpha is always 1 here: use the argument"),
        "joint": ((top + alpha) / (max(len(text) - n + 1, 0) + alpha * V), "divided by the number "
                  "of all n-grams: divide by those that begin with the context"),
        "V": ((top + alpha) / (every + alpha * len(set(text))), "alpha was given to the letters of "
              "the text only: there are V, use the argument"),
        "contexts": ((top + alpha) / (every + alpha * max(seen, 1)), "alpha times the number "
                     "of contexts: it is V letters that may come")}
    if every:
        table["sum"] = ([table["sum"][0], (top + alpha) / every], table["sum"][1])
        if top:
            table["no-alpha"] = (top / every, "alpha is not used")
    as_is = ("no-log", "sign", "base")
    return {code: (values if code in as_is else [math.log(v) for v in (
        values if isinstance(values, list) else [values])], why) for code, (values, why) in
        table.items()}


def counts(text, n, ctx, ch):
    """How many contexts there are, how often ctx came before ch, and before any letter."""
    pairs = [(text[i:i + n - 1], text[i + n - 1]) for i in range(len(text) - n + 1)]
    return (len({c for c, _ in pairs}), sum(p == (ctx, ch) for p in pairs),
            sum(c == ctx for c, _ in pairs))


def try_ngram(fit, logprob, probe, text, n, letters):
    """Fit one text and compare known, new and final contexts with the counts."""
    model, size = probe.call(fit, text, n), n - 1
    if n == 1:
        contexts = [""]
    else:
        contexts = list(dict.fromkeys([text[:size], text[2:2 + size], text[-size:], "z" * size]))
    contexts = [c for c in contexts if len(c) == size]
    for ctx in contexts:
        for alpha, V in ((0.37, 29), (2.3, 40), (1e-3, 27), (1e9, 27)):
            for ch in dict.fromkeys([text[0], text[-1], "q"]):
                _, top, every = counts(text, n, ctx, ch)
                where = (f"text = {wrap(text)}, n = {n}, ctx = {ctx!r}, ch = {ch!r}, alpha = "
                         f"{alpha:g}, V = {V}")
                out = probe.call(logprob, model, ctx, ch, alpha, V)
                probe.true(isinstance(out, float | int | torch.Tensor), "type",
                           f"{where}: return one number, came {type(out).__name__}")
                code = ("unigram" if n == 1 else "unseen" if not every else "overlap"
                        if len(set(text)) == 1 else "value")
                why = {"unigram": "with n = 1 the context is '' and all letters count",
                       "unseen": "a context never seen leaves all V letters equal, ln(1 / V)",
                       "overlap": "'aaaa' holds 'aaa' twice: n-grams overlap, str.count skips some",
                       "value": "ln of (count of ctx and ch + alpha) / (count of ctx before any "
                                "letter + alpha V)"}[code]
                probe.equal(out, math.log((top + alpha) / (every + alpha * V)), code,
                            f"{where}: {why}", tol=1e-9, known={
                    c: (v, f"{where}: {w}") for c, (v, w) in
                    wrong_logs(text, n, ctx, ch, alpha, V).items()})
        total = sum(math.exp(float(probe.call(logprob, model, ctx, c, 0.5, len(letters))))
                    for c in letters)
        probe.true(abs(total - 1) < 1e-6, "sum", f"text = {wrap(text)}, n = {n}: after {ctx!r} the "
                   f"probabilities of the {len(letters)} letters sum to {total:.4g}, not to 1")


