"""The checks of lecture 01, second half: the chain rule, perplexity, both directions."""
import itertools
import math

import torch

from .engine import exercise


def real(probe, out, where):
    """The float that came, after a test that it is one number."""
    probe.true(isinstance(out, float | int | torch.Tensor) and not isinstance(out, bool)
               and (not isinstance(out, torch.Tensor) or out.numel() == 1), "type",
               f"{where}: return one number, came {type(out).__name__}")
    return float(out)


@exercise("01.5", hints=(
    "With cond(context, symbol) = 1/2 for everything, a text of 3 symbols has ln(1/8) = -2.079, "
    "and the text '' has ln 1 = 0. What do you get?",
    "How many factors has a text of T symbols, and what is the context of the first? Which symbols "
    "may the context of symbol i hold? And what becomes of .5 to the 5,000th?",
    "total = 0\nfor each i: total += natural log of cond(all symbols before i, symbol i)"))
def chain_logprob(answer, probe):
    def attempt(seq, cond, where, code="value", known=None):
        out = real(probe, probe.call(answer, seq, cond), where)
        want = sum(math.log(cond(seq[:i], seq[i])) for i in range(len(seq)))
        logs = [math.log(cond(seq[:i], seq[i])) for i in range(len(seq))]
        probe.true(out > -math.inf, "underflow", f"{where}: -inf came, underflow: log(0). The "
                   "product of many probabilities is 0 for the computer: add logs instead")
        table = {
            "first": (sum(logs[1:]), f"{where}: you dropped P(w1), the first factor: its context "
                      "is the empty text"),
            "last": (sum(logs[:-1]), f"{where}: the last factor is missing"),
            "no-log": (math.exp(want), f"{where}: this is the probability: return its logarithm"),
            "sign": (-want, f"{where}: the sign is wrong: this is the loss, the log is negative"),
            "base": ([want / math.log(2), want / math.log(10)], f"{where}: the base is not e"),
            "mean": (want / max(len(seq), 1), f"{where}: this is the mean: the log of a product is "
                     "the sum of all logs"),
            "added": (math.log(sum(map(math.exp, logs)) or 1), f"{where}: probabilities were "
                      "added: the chain rule multiplies"),
            **(known or {})}
        table = {c: v for c, v in table.items() if seq}
        probe.equal(out, want, code, where, tol=1e-9, known=table)
        return out

    def half(context, symbol):
        return 0.5

    calls = []

    def recorded(context, symbol):
        calls.append((context, symbol))
        return 0.5
    probe.call(answer, "abc", recorded)
    wanted = [("", "a"), ("a", "b"), ("ab", "c")]
    probe.true(calls != [(s, c) for c, s in wanted], "swapped",
               "seq = 'abc': cond(context, symbol), the context first; came the other way round")
    probe.true(all(isinstance(c, str) and isinstance(s, str) and len(s) == 1 for c, s in calls),
               "type", "seq = 'abc': call cond with the text before (a str) and one symbol; came "
               f"{calls[:3]}")
    probe.true(set(calls) != {("a", "b"), ("ab", "c")}, "first", "seq = 'abc': you dropped P(w1), "
               "the first factor: cond('', 'a')")
    probe.true(set(calls) != {("", "a"), ("a", "b")}, "last",
               "seq = 'abc': the last factor is missing")
    probe.true(set(calls) != {("a", "a"), ("ab", "b"), ("abc", "c")}, "leak", "seq = 'abc': the "
               "context holds the symbol itself: it ends before it")
    probe.true(set(calls) != {("", "a"), ("a", "b"), ("b", "c")}, "bigram", "seq = 'abc': the "
               "context of 'c' is 'ab', all that came before; yours is the last symbol alone")
    probe.true(set(calls) != {("bc", "a"), ("c", "b"), ("", "c")}, "backwards", "seq = 'abc': "
               "these are contexts to the right; the context is what came before")
    probe.true(set(calls) != {("", "a"), ("", "b"), ("", "c")}, "no-context", "seq = 'abc': every "
               "context is empty, as if the symbols were independent")
    for call in wanted:
        probe.true(call in calls, "contexts", f"seq = 'abc': cond{call} was never asked; came "
                   f"{calls[:4]}")
    attempt("aba", half, "cond is always 1/2, seq = 'aba'")
    joint = probe.uniform(3, 3, 3) + 0.1
    joint = joint / joint.sum()                         # P(x1, x2, x3) of letters a, b, c

    def cond(context, symbol):
        p = joint
        for letter in context:
            p = p["abc".index(letter)]
        p = p.reshape(3, -1).sum(1) / p.sum()
        return float(p["abc".index(symbol)])

    total = 0.0
    for letters in itertools.product("abc", repeat=3):
        seq = "".join(letters)
        out = attempt(seq, cond, f"a joint distribution of three letters, seq = {seq!r}")
        i, j, k = ("abc".index(c) for c in letters)
        probe.equal(out, math.log(float(joint[i, j, k])), "joint", f"seq = {seq!r}: the chain "
                    "gives back the joint probability")
        total += math.exp(out)
    probe.equal(total, 1.0, "sum", "the probabilities of all 27 texts of three letters sum to 1")

    def coin(context, symbol):
        heads = (1 + context.count("1")) / (2 + len(context))   # Laplace's rule
        return heads if symbol == "1" else 1 - heads
    total = sum(math.exp(attempt("".join(s), coin, f"a coin that learns, seq = {''.join(s)!r}"))
                for s in itertools.product("01", repeat=4))
    probe.equal(total, 1.0, "sum", "the probabilities of all 16 texts of length 4 sum to 1")
    attempt("", half, "seq = ''", "empty")
    attempt("z", half, "seq = 'z'")
    attempt("ab" * 2500, half, "5,000 symbols, cond is always 1/2", "underflow")
    attempt("b", lambda context, symbol: 1e-300, "one symbol of probability 1e-300", "clipped")


@exercise("01.6", hints=(
    "A model that spreads evenly over 10 letters has log-probabilities of ln(1/10) everywhere, and "
    "a perplexity of 10. A model that is always certain and right has 1. What are yours?",
    "Three steps: which mean, which sign, which function undoes the natural log? Try it on "
    "[ln .5, ln .125]: the answer is 4.",
    "mean = sum of the log-probabilities over how many there are\n"
    "result = e to the power of minus that mean"))
def perplexity(answer, probe):
    def attempt(shares, where, code="value"):
        logs = [math.log(p) for p in shares]
        mean = sum(logs) / len(logs)
        out = real(probe, probe.call(answer, logs), where)
        average = sum(shares) / len(shares)
        probe.equal(out, math.exp(-mean), code, where, tol=1e-9, known={
            "sign": (math.exp(mean), f"{where}: the sign is wrong: below 1 it cannot be"),
            "mean-probability": ([1 / average, average], f"{where}: you took the mean of the "
                                 "probabilities: the mean of their logs is asked"),
            "mean-inverse": (sum(1 / p for p in shares) / len(shares), f"{where}: the mean of 1/p: "
                             "average the logs, then undo the log"),
            "sum": ([math.exp(-sum(logs)) if sum(logs) > -700 else math.inf, math.exp(sum(logs))],
                    f"{where}: the sum where the mean is due: a longer text would look worse"),
            "no-exp": ([-mean, mean], f"{where}: this is the loss in nats: undo the log"),
            "base": ([2 ** -mean, 10 ** -mean], f"{where}: the logs are natural: undo them with e"),
            "bits": (-mean / math.log(2), f"{where}: this is the loss in bits: undo the log"),
            "median": (math.exp(-sorted(logs)[len(logs) // 2]), f"{where}: a median: use the mean"),
            "n-1": (math.exp(-sum(logs) / max(len(logs) - 1, 1)), f"{where}: divided by one less "
                    "than there are"),
            "first": (math.exp(-logs[0]), f"{where}: only the first was used")})

    attempt([0.5, 0.25, 0.0625], "logs of [1/2, 1/4, 1/16]")
    attempt([0.1] * 7, "seven letters, each with probability 1/10", "uniform")
    attempt([1.0, 1.0, 1.0], "a model that is certain and right: 1", "certain")
    attempt([0.25], "one letter of probability 1/4")
    attempt((probe.uniform(9) * 0.9 + 0.05).tolist(), "nine random probabilities")
    attempt([0.1] * 5000, "5,000 letters of probability 1/10: the product is too small for a "
            "float, the mean of the logs is not", "underflow")
    out = real(probe, probe.call(answer, [math.log(0.5), -math.inf]), "one impossible letter")
    probe.true(out == math.inf, "impossible", "logs of [1/2, 0]: a letter came that the model held "
               f"for impossible, its perplexity is inf; came {out:.4g}")


def costs(text, held, n, alpha):
    """Bits of each letter of held from the n-th on, by the n-gram counts of text."""
    V = len(set(text))
    grams, before = {}, {}
    for i in range(len(text) - n + 1):
        gram = text[i:i + n]
        grams[gram] = grams.get(gram, 0) + 1
        before[gram[:-1]] = before.get(gram[:-1], 0) + 1
    return torch.tensor([-math.log2((grams.get(held[i:i + n], 0) + alpha)
                                    / (before.get(held[i:i + n - 1], 0) + alpha * V))
                         for i in range(len(held) - n + 1)])


@exercise("01.7", hints=(
    "Both lists have one number for each of the len(held) - n + 1 n-grams of held. On text = held "
    "= 'abc', n = 2 and alpha = 1 each number is -log2(2/4) = 1. What are yours?",
    "Mirror text and held, and the same code predicts from the right. In which order do its "
    "numbers come then? back[0] belongs to held[0].",
    "cost(text, held): count n-grams and their first n - 1 letters in text;\n"
    "    for each n-gram of held: -log2 of (count + alpha) / (count of its context + alpha V)\n"
    "there = cost(text, held)\n"
    "back = cost(mirrored text, mirrored held), turned round again"))
def letter_costs(answer, probe):
    def attempt(text, held, n, alpha, where):
        out = probe.call(answer, text, held, n, alpha)
        probe.type(out, (tuple, list), "return two lists: there, back")
        probe.true(len(out) == 2, "type", f"return two lists, there and back; came {len(out)}")
        size, got = len(held) - n + 1, []
        there, back = costs(text, held, n, alpha), costs(text[::-1], held[::-1], n, alpha).flip(0)
        for name, part in zip(("there", "back"), out):
            probe.type(part, (list, tuple, torch.Tensor), f"{name} is a list of numbers")
            probe.true(all(isinstance(v, float | int | torch.Tensor) for v in part), "type",
                       f"{name} is a list of numbers")
            probe.true(len(part) == size, "count", f"{where}: {name} has {len(part)} numbers, held "
                       f"has {size} {n}-grams")
            got.append(torch.tensor([float(v) for v in part]))
        swapped = torch.allclose(got[0], back) and torch.allclose(got[1], there)
        probe.true(not swapped or torch.allclose(there, back), "swapped", f"{where}: there and "
                   "back are exchanged")
        fixed, V = costs(text, held, n, 1.0), len(set(text))
        probe.equal(got[0], there, "there", f"{where}: there, left to right", known={
            "nats": (there * math.log(2), f"{where}: these are nats: bits have the base 2"),
            "sign": (-there, f"{where}: the sign is wrong: a cost is positive"),
            "shares": (2 ** -there, f"{where}: these are probabilities: -log2 of them is the cost"),
            "alpha": ([fixed, costs(text, held, n, alpha * 2)], f"{where}: another alpha"),
            "peeks": (costs(held, held, n, alpha), f"{where}: counted in held, not in text"),
            "V": (relative(text, held, n, alpha, len(set(held))),
                  f"{where}: V is the number of different letters in text, {V}"),
            "joint": (joint(text, held, n, alpha), f"{where}: divided by the number of all "
                      "n-grams, not by the count of the context")})
        mixed = costs(text, held[::-1], n, alpha)
        probe.equal(got[1], back, "back", f"{where}: back, right to left", known={
            "not-turned": (back.flip(0), f"{where}: the numbers of back come in the mirror's "
                           "order: back[0] belongs to held[0]"),
            "same": (there, f"{where}: back is there again: predict from the letters after"),
            "flipped": (there.flip(0), f"{where}: back is there, read from its end: the costs "
                        "themselves must be those of the mirrored text"),
            "half-mirrored": ([mixed, mixed.flip(0), costs(text[::-1], held, n, alpha)],
                              f"{where}: only one of text and held was mirrored")})
        return got

    attempt("aabacb", "aabcb", 2, 0.5, "text = 'aabacb', held = 'aabcb', n = 2, alpha = .5")
    letters = "".join("abcde"[i] for i in (probe.uniform(700) ** 2 * 5).long().tolist())
    for n in (1, 2, 3, 4):
        there, back = attempt(letters[:500], letters[500:590] + "a", n, 0.1,
                              f"five random letters, n = {n}, alpha = .1")
        gap = abs(float(there.sum() - back.sum()))
        probe.true(gap < 25, "sum", f"n = {n}: the two sums differ by {gap:.1f} bits")
    text = "the cat ate a tuna and the dog ate the cat " * 3
    attempt(text, "the dog ate a tuna", 4, 0.01, "a text of words, n = 4, alpha = .01")


def relative(text, held, n, alpha, V):
    """The costs with another V."""
    grams = [text[i:i + n] for i in range(len(text) - n + 1)]
    out = []
    for i in range(len(held) - n + 1):
        every = sum(g[:-1] == held[i:i + n - 1] for g in grams)
        top = grams.count(held[i:i + n])
        out.append(-math.log2((top + alpha) / (every + alpha * V)))
    return torch.tensor(out)


def joint(text, held, n, alpha):
    """The costs of whole n-grams, divided by how many there are."""
    grams = [text[i:i + n] for i in range(len(text) - n + 1)]
    total = len(grams) + alpha * len(set(text))
    return torch.tensor([-math.log2((grams.count(held[i:i + n]) + alpha) / total)
                         for i in range(len(held) - n + 1)])
