"""Right and wrong answers to the exercises of lecture 01."""
import math
import re
from collections import Counter, defaultdict

import torch
import torch.nn.functional as F


# 01.1 -----------------------------------------------------------------------------------------
def vocab_loop(tokens):
    vocab = {}
    for token in tokens:
        if token not in vocab:
            vocab[token] = len(vocab)
    return vocab


def vocab_emptying(tokens):
    vocab = {}
    while tokens:
        vocab.setdefault(tokens.pop(0), len(vocab))
    return vocab


def vocab_inverse(tokens):
    return dict(enumerate(dict.fromkeys(tokens)))


def vocab_last(tokens):
    vocab = {}
    for token in tokens:
        vocab.pop(token, None)
        vocab[token] = 0
    return {token: i for i, token in enumerate(vocab)}


def vocab_counting(tokens):
    vocab = {}
    for token in tokens:
        vocab[token] = len(vocab)
    return vocab


# 01.2 -----------------------------------------------------------------------------------------
def hot_loop(ids, V):
    out = torch.zeros(len(ids), V)
    for t, i in enumerate(ids.tolist()):
        out[t, i] = 1.0
    return out


def hot_bag(ids, V):
    out = torch.zeros(V)
    out[ids] = 1
    return out


# 01.3 -----------------------------------------------------------------------------------------
PARTNER = {")": "(", "]": "["}


def dyck_stack(s):
    stack = []
    for sign in s:
        if sign in "([":
            stack.append(sign)
        elif not stack or stack.pop() != PARTNER[sign]:
            return False
    return not stack


def dyck_erase(s):
    while "()" in s or "[]" in s:
        s = s.replace("()", "").replace("[]", "")
    return s == ""


def dyck_recursive(s):
    def read(i):                                        # one balanced run from i: where it ends
        while i < len(s) and s[i] in "([":
            close = read(i + 1)
            if close >= len(s) or PARTNER.get(s[close]) != s[i]:
                return -10 ** 9
            i = close + 1
        return i
    return read(0) == len(s)


def dyck_counter(s):
    depth = 0
    for sign in s:
        depth += 1 if sign in "([" else -1
        if depth < 0:
            return False
    return depth == 0


def dyck_two_counters(s):
    round_, square = 0, 0
    for sign in s:
        round_ += (sign == "(") - (sign == ")")
        square += (sign == "[") - (sign == "]")
        if min(round_, square) < 0:
            return False
    return round_ == square == 0


def dyck_never_asks(s):
    stack = []
    for sign in s:
        if sign in "([":
            stack.append(sign)
        elif not stack or stack.pop() != PARTNER[sign]:
            return False
    return True


def dyck_unguarded(s):
    stack = []
    for sign in s:
        if sign in "([":
            stack.append(sign)
        elif stack.pop() != PARTNER[sign]:
            return False
    return not stack


def dyck_queue(s):
    queue = []
    for sign in s:
        if sign in "([":
            queue.append(sign)
        elif not queue or queue.pop(0) != PARTNER[sign]:
            return False
    return not queue


def dyck_ignores_early(s):
    stack = []
    for sign in s:
        if sign in "([":
            stack.append(sign)
        elif stack and stack.pop() != PARTNER[sign]:
            return False
    return not stack


def dyck_mirror(s):
    return s[:1] not in (")", "]") and s[::-1].translate(str.maketrans("()[]", ")(][")) == s


def dyck_only_round(s):
    depth = 0
    for sign in s:
        if sign in "[]":
            return False
        depth += 1 if sign == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def dyck_any_partner(s):
    stack = 0
    for i, sign in enumerate(s):
        if sign in "([":
            stack += 1
        else:
            stack -= 1
            if stack < 0 or i and s[i - 1] in "([" and s[i - 1] != PARTNER[sign]:
                return False
    return stack == 0


def dyck_regex(s):
    for _ in range(5):
        s = re.sub(r"\(\)|\[\]", "", s)
    return s == ""


# 01.4 -----------------------------------------------------------------------------------------
def fit(text, n):
    model = defaultdict(Counter)
    for i in range(n - 1, len(text)):
        model[text[i - n + 1:i]][text[i]] += 1
    return model


def logprob(m, ctx, ch, alpha, V):
    seen = m[ctx]
    return math.log((seen[ch] + alpha) / (seen.total() + alpha * V))


def fit_pairs(text, n):
    grams = [text[i:i + n] for i in range(len(text) - n + 1)]
    return Counter(grams), Counter(g[:-1] for g in grams)


def logprob_pairs(m, ctx, ch, alpha, V):
    grams, contexts = m
    return math.log(grams[ctx + ch] + alpha) - math.log(contexts[ctx] + alpha * V)


def fit_text(text, n):
    return text, n


def logprob_text(m, ctx, ch, alpha, V):
    text, n = m
    places = range(len(text) - n + 1)
    top = sum(text[i:i + n] == ctx + ch for i in places)
    every = sum(text[i:i + n - 1] == ctx for i in places)
    return torch.tensor((top + alpha) / (every + alpha * V)).log()


def wrong_logprob(formula):
    def logprob(m, ctx, ch, alpha, V):
        seen = m.get(ctx, Counter())
        return formula(seen[ch], seen.total(), alpha, V)
    return fit, logprob


def logprob_unseen(m, ctx, ch, alpha, V):
    return logprob(m, ctx, ch, alpha, V) if ctx in m else -math.inf


def logprob_unseen_zero(m, ctx, ch, alpha, V):
    return logprob(m, ctx, ch, alpha, V) if ctx in m else 0.0


def fit_ends(text, n):
    return (Counter(text[i:i + n] for i in range(len(text) - n + 1)),
            Counter(text[i:i + n - 1] for i in range(len(text) - n + 2)))


def logprob_count(m, ctx, ch, alpha, V):
    text, _ = m
    every = sum(text.count(ctx + c) for c in set(text))
    return math.log((text.count(ctx + ch) + alpha) / (every + alpha * V))


def logprob_zeroes(m, ctx, ch, alpha, V):
    seen = m.setdefault(ctx, Counter())
    return math.log((seen[ch] + alpha) / (seen.total() + alpha * V))


def fit_dict(text, n):
    return dict(fit(text, n))


def fit_negative(text, n):
    model = defaultdict(Counter)
    for i in range(n - 1, len(text)):
        model[text[:i][-(n - 1):]][text[i]] += 1
    return model


def fit_too_long(text, n):
    return fit(text, n + 1)


def fit_late(text, n):
    model = defaultdict(Counter)
    for i in range(n, len(text)):
        model[text[i - n + 1:i]][text[i]] += 1
    return model


def logprob_own_letters(m, ctx, ch, alpha, V):
    letters = {c for seen in m.values() for c in seen}
    seen = m.get(ctx, Counter())
    return math.log((seen[ch] + alpha) / (seen.total() + alpha * len(letters)))


def logprob_no_alpha(m, ctx, ch, alpha, V):
    seen = m.get(ctx, Counter())
    return math.log(seen[ch] / seen.total()) if seen[ch] else logprob(m, ctx, ch, alpha, V)


def logprob_joint(m, ctx, ch, alpha, V):
    total = sum(seen.total() for seen in m.values())
    return math.log((m.get(ctx, Counter())[ch] + alpha) / (total + alpha * V))


# 01.5 -----------------------------------------------------------------------------------------
def chain(seq, cond):
    return sum(math.log(cond(seq[:i], symbol)) for i, symbol in enumerate(seq))


def chain_tensor(seq, cond):
    shares = [cond(seq[:i], seq[i]) for i in range(len(seq))]
    return torch.tensor(shares).log().sum()


def chain_product(seq, cond):
    p = math.prod(cond(seq[:i], seq[i]) for i in range(len(seq)))
    return math.log(p) if p else -math.inf


def chain_product_crash(seq, cond):
    return math.log(math.prod(cond(seq[:i], seq[i]) for i in range(len(seq))))


def chain_of(contexts, places=lambda seq: range(len(seq))):
    def chain(seq, cond):
        return sum(math.log(cond(contexts(seq, i), seq[i])) for i in places(seq))
    return chain


def chain_clipped(seq, cond):
    return sum(math.log(max(cond(seq[:i], seq[i]), 1e-12)) for i in range(len(seq)))


# 01.6 -----------------------------------------------------------------------------------------
def perplexity(logps):
    return math.exp(-sum(logps) / len(logps))


def perplexity_product(logps):
    return math.prod(map(math.exp, logps)) ** (-1 / len(logps))


def perplexity_no_product(logps):
    p = math.prod(map(math.exp, logps))
    return p ** (-1 / len(logps)) if p else math.inf


# 01.7 -----------------------------------------------------------------------------------------
def costs(text, held, n, alpha, V=None):
    V = V or len(set(text))
    grams = Counter(text[i:i + n] for i in range(len(text) - n + 1))
    contexts = Counter(text[i:i + n - 1] for i in range(len(text) - n + 1))
    return [-math.log2((grams[held[i:i + n]] + alpha) / (contexts[held[i:i + n - 1]] + alpha * V))
            for i in range(len(held) - n + 1)]


def both(text, held, n, alpha):
    return costs(text, held, n, alpha), costs(text[::-1], held[::-1], n, alpha)[::-1]


def both_without_mirror(text, held, n, alpha):
    V, there, back = len(set(text)), [], []
    grams = Counter(text[i:i + n] for i in range(len(text) - n + 1))
    before, behind = Counter(), Counter()
    for gram, many in grams.items():
        before[gram[:-1]] += many
        behind[gram[1:]] += many
    for i in range(len(held) - n + 1):
        gram = held[i:i + n]
        there.append(math.log2(before[gram[:-1]] + alpha * V) - math.log2(grams[gram] + alpha))
        back.append(math.log2(behind[gram[1:]] + alpha * V) - math.log2(grams[gram] + alpha))
    return torch.tensor(there), torch.tensor(back)


def wrong_both(there=costs, back=lambda t, h, n, a: costs(t[::-1], h[::-1], n, a)[::-1]):
    return lambda text, held, n, alpha: (there(text, held, n, alpha), back(text, held, n, alpha))


RIGHT = {
    "01.1": {"loop": vocab_loop,
             "dict.fromkeys": lambda tokens: {t: i for i, t in enumerate(dict.fromkeys(tokens))},
             "by index": lambda tokens: {t: i for i, t in enumerate(sorted(set(tokens),
                                                                           key=tokens.index))}},
    "01.2": {"eye": lambda ids, V: torch.eye(V)[ids], "loop": hot_loop,
             "library": lambda ids, V: F.one_hot(ids, V).float(),
             "compare": lambda ids, V: (ids[:, None] == torch.arange(V)).double()},
    "01.3": {"stack": dyck_stack, "erase pairs": dyck_erase},
    "01.4": {"counters": (fit, logprob), "two tables": (fit_pairs, logprob_pairs),
             "no table": (fit_text, logprob_text),
             "plain dict": (fit_dict, lambda m, ctx, ch, alpha, V: logprob(
                 defaultdict(Counter, m), ctx, ch, alpha, V))},
    "01.5": {"sum": chain, "tensor": chain_tensor},
    "01.6": {"mean": perplexity, "tensor": lambda logps: torch.tensor(logps).mean().neg().exp(),
             "geometric": lambda logps: 1 / math.exp(math.fsum(logps) / len(logps))
             if min(logps) > -math.inf else math.inf},
    "01.7": {"mirror": both, "behind": both_without_mirror}}

WRONG = {
    "01.1": {
        "set": (lambda tokens: {t: i for i, t in enumerate(set(tokens))}, "order"),
        "from one": (lambda tokens: {t: i for i, t in enumerate(dict.fromkeys(tokens), 1)},
                     "from-one"),
        "counts": (lambda tokens: dict(Counter(tokens)), "counts"),
        "a Counter": (Counter, "counts"),
        "sorted": (lambda tokens: {t: i for i, t in enumerate(sorted(set(tokens)))}, "sorted"),
        "frequent first": (lambda tokens: {t: i for i, (t, _) in enumerate(
            Counter(tokens).most_common())}, "frequency"),
        "inverse": (vocab_inverse, "inverse"), "last": (vocab_last, "last"),
        "places": (lambda tokens: {t: tokens.index(t) for t in tokens}, "positions"),
        "last places": (lambda tokens: {t: i for i, t in enumerate(tokens)}, "positions"),
        "no test": (vocab_counting, "double"),
        "all zero": (lambda tokens: dict.fromkeys(tokens, 0), "double"),
        "reversed": (lambda tokens: {t: i for i, t in enumerate(
            reversed(list(dict.fromkeys(tokens))))}, "backwards"),
        "lower case": (lambda tokens: vocab_loop([t.lower() for t in tokens]), "keys"),
        "a list": (lambda tokens: list(dict.fromkeys(tokens)), "type"),
        "floats": (lambda tokens: {t: float(i) for t, i in vocab_loop(tokens).items()}, "type"),
        "characters": (lambda tokens: vocab_loop("".join(tokens)), "keys"),
        "crashes on none": (lambda tokens: vocab_loop(tokens) if tokens[0] else {}, "crash"),
        "empties": (vocab_emptying, "mutates")},
    "01.2": {
        "transposed": (lambda ids, V: torch.eye(V)[:, ids], "transposed"),
        "by the largest": (lambda ids, V: torch.eye(int(ids.max()) + 1)[ids], "absent"),
        "library alone": (lambda ids, V: F.one_hot(ids).float(), "absent"),
        "whole numbers": (F.one_hot, "dtype"), "bag": (hot_bag, "bag"),
        "truth": (lambda ids, V: ids[:, None] == torch.arange(V), "dtype"),
        "inverted": (lambda ids, V: 1 - torch.eye(V)[ids], "inverted"),
        "one off": (lambda ids, V: torch.eye(V)[ids - 1], "shifted"),
        "ids inside": (lambda ids, V: torch.eye(V)[ids] * ids[:, None], "ids"),
        "shares": (lambda ids, V: torch.eye(V)[ids] / len(ids), "share"),
        "steps": (lambda ids, V: torch.eye(V)[ids].cumsum(1), "step"),
        "unique rows": (lambda ids, V: torch.eye(V)[ids.unique()], "shape"),
        "in order": (lambda ids, V: torch.eye(V)[ids.sort().values], "value"),
        "a list": (lambda ids, V: torch.eye(V)[ids].tolist(), "type")},
    "01.3": {
        "counter": (dyck_counter, "partner"), "two counters": (dyck_two_counters, "order"),
        "any partner": (dyck_any_partner, "partner"),
        "never looks at the end": (dyck_never_asks, "open"), "unguarded": (dyck_unguarded, "crash"),
        "queue": (dyck_queue, "nested"), "early ones": (dyck_ignores_early, "early"),
        "equal numbers": (lambda s: all(s.count(o) == s.count(c) for o, c in ("()", "[]")),
                          "early"),
        "mirror": (dyck_mirror, "side"), "round only": (dyck_only_round, "kinds"),
        "recursion": (dyck_recursive, "crash"), "five rounds": (dyck_regex, "deep"),
        "empty is not": (lambda s: bool(s) and dyck_stack(s), "empty"),
        "even length": (lambda s: len(s) % 2 == 0, "early"),
        "always": (lambda s: True, "open"), "never": (lambda s: False, "simple"),
        "a list": (lambda s: list(s), "type")},
    "01.4": {
        "alpha once": (wrong_logprob(lambda c, t, a, V: math.log((c + a) / (t + a))), "sum"),
        "alpha not below": (wrong_logprob(lambda c, t, a, V: math.log((c + a) / t) if t else
                                          -math.log(V)), "sum"),
        "unseen impossible": ((fit, logprob_unseen), "unseen"),
        "unseen certain": ((fit, logprob_unseen_zero), "sum"),
        "no log": (wrong_logprob(lambda c, t, a, V: (c + a) / (t + a * V)), "no-log"),
        "loss": (wrong_logprob(lambda c, t, a, V: -math.log((c + a) / (t + a * V))), "sign"),
        "bits": (wrong_logprob(lambda c, t, a, V: math.log2((c + a) / (t + a * V))), "base"),
        "one always": (wrong_logprob(lambda c, t, a, V: math.log((c + 1) / (t + V))),
                       "alpha-fixed"),
        "no alpha": ((fit, logprob_no_alpha), "no-alpha"),
        "no guard": (wrong_logprob(lambda c, t, a, V: math.log(c / t)), "crash"),
        "the end counts": ((fit_ends, logprob_pairs), "last-context"),
        "str.count": ((fit_text, logprob_count), "overlap"),
        "own letters": ((fit, logprob_own_letters), "V"), "joint": ((fit, logprob_joint), "joint"),
        "writes into the model": ((fit_dict, logprob_zeroes), "mutates"),
        "negative slice": ((fit_negative, logprob), "unigram"),
        "n too long": ((fit_too_long, logprob), "value"),
        "one too late": ((fit_late, logprob), "value"),
        "text as a dict": ((lambda text, n: dict(Counter(text)), logprob), "crash"),
        "a text": ((fit, lambda m, ctx, ch, alpha, V: "-1"), "type"),
        "no model": ((lambda text, n: print(end=""), logprob), "type")},
    "01.5": {
        "product": (chain_product, "underflow"), "product, crash": (chain_product_crash, "crash"),
        "first dropped": (chain_of(lambda s, i: s[:i], lambda s: range(1, len(s))), "first"),
        "last dropped": (chain_of(lambda s, i: s[:i], lambda s: range(len(s) - 1)), "last"),
        "leak": (chain_of(lambda s, i: s[:i + 1]), "leak"),
        "bigram": (chain_of(lambda s, i: s[max(i - 1, 0):i]), "bigram"),
        "from the right": (chain_of(lambda s, i: s[i + 1:]), "backwards"),
        "independent": (chain_of(lambda s, i: ""), "no-context"),
        "trigram": (chain_of(lambda s, i: s[max(i - 2, 0):i]), "value"),
        "mirrored context": (chain_of(lambda s, i: s[:i][::-1]), "contexts"),
        "list": (chain_of(lambda s, i: list(s[:i])), "type"),
        "exchanged": (lambda s, cond: sum(math.log(cond(s[i], s[:i])) for i in range(len(s))),
                      "swapped"),
        "probability": (lambda s, cond: math.exp(chain(s, cond)), "no-log"),
        "loss": (lambda s, cond: -chain(s, cond), "sign"),
        "bits": (lambda s, cond: chain(s, cond) / math.log(2), "base"),
        "mean": (lambda s, cond: chain(s, cond) / max(len(s), 1), "mean"),
        "sum of shares": (lambda s, cond: math.log(sum(cond(s[:i], s[i]) for i in range(len(s)))),
                          "added"),
        "each": (lambda s, cond: [math.log(cond(s[:i], s[i])) for i in range(len(s))], "type"),
        "clipped": (chain_clipped, "clipped"),
        "empty": (lambda s, cond: chain(s, cond) if s else -1.0, "empty")},
    "01.6": {
        "sign": (lambda x: math.exp(sum(x) / len(x)), "sign"),
        "mean of shares": (lambda x: len(x) / sum(map(math.exp, x)), "mean-probability"),
        "mean share": (lambda x: sum(map(math.exp, x)) / len(x), "mean-probability"),
        "mean of inverses": (lambda x: sum(math.exp(-v) for v in x) / len(x), "mean-inverse"),
        "sum": (lambda x: math.exp(-sum(x)), "sum"), "loss": (lambda x: -sum(x) / len(x), "no-exp"),
        "base 2": (lambda x: 2 ** (-sum(x) / len(x)), "base"),
        "bits": (lambda x: -sum(x) / len(x) / math.log(2), "bits"),
        "one less": (lambda x: math.exp(-sum(x) / max(len(x) - 1, 1)), "n-1"),
        "median": (lambda x: math.exp(-sorted(x)[len(x) // 2]), "median"),
        "first": (lambda x: math.exp(-x[0]), "first"), "V": (lambda x: float(len(x)), "value"),
        "product": (perplexity_product, "crash"),
        "product, inf": (perplexity_no_product, "underflow"),
        "skips impossible": (lambda x: perplexity([v for v in x if v > -math.inf]), "impossible"),
        "each": (lambda x: [math.exp(-v) for v in x], "type")},
    "01.7": {
        "not turned": (wrong_both(back=lambda t, h, n, a: costs(t[::-1], h[::-1], n, a)),
                       "not-turned"),
        "same": (wrong_both(back=costs), "same"),
        "flipped": (wrong_both(back=lambda t, h, n, a: costs(t, h, n, a)[::-1]), "flipped"),
        "half mirrored": (wrong_both(back=lambda t, h, n, a: costs(t, h[::-1], n, a)[::-1]),
                          "half-mirrored"),
        "swapped": (lambda t, h, n, a: both(t, h, n, a)[::-1], "swapped"),
        "nats": (lambda t, h, n, a: tuple([v * math.log(2) for v in part] for part in both(
            t, h, n, a)), "nats"),
        "sign": (lambda t, h, n, a: tuple([-v for v in part] for part in both(t, h, n, a)), "sign"),
        "shares": (lambda t, h, n, a: tuple([2 ** -v for v in part] for part in both(t, h, n, a)),
                   "shares"),
        "alpha one": (lambda t, h, n, a: both(t, h, n, 1), "alpha"),
        "peeks": (lambda t, h, n, a: both(h, h, n, a), "peeks"),
        "V of 27": (lambda t, h, n, a: (costs(t, h, n, a, 27), costs(t, h, n, a, 27)), "there"),
        "V of held": (lambda t, h, n, a: (costs(t, h, n, a, len(set(h))), costs(
            t[::-1], h[::-1], n, a, len(set(h)))[::-1]), "V"),
        "means": (lambda t, h, n, a: tuple(sum(part) / len(part) for part in both(t, h, n, a)),
                  "type"),
        "one short": (lambda t, h, n, a: tuple(part[1:] for part in both(t, h, n, a)), "count"),
        "one list": (lambda t, h, n, a: (costs(t, h, n, a),), "type"),
        "longer context": (wrong_both(back=lambda t, h, n, a: [v + 0.1 for v in both(
            t, h, n, a)[1]]), "back")}}
