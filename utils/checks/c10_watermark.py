"""The check of lecture 10 for a watermark: how many green tokens are too many."""
import math

import torch

from .c08_known import Judge
from .c10_numbers import one_number
from .engine import exercise

P = 2 ** 31 - 1                                         # a prime


def green(before, after, key, gamma):
    """Is a token green, given the one before it? The function that the task gives."""
    x = (before * 48271 + after * 69621 + key * 16807 + 1) % P
    for _ in range(2):
        y = x * x % P
        x = (y * y % P * x + 12345) % P
    return x < gamma * P


def z_of(count, T, gamma):
    return (float(count) - gamma * T) / math.sqrt(T * gamma * (1 - gamma)) if T > 0 else math.nan


def pairs_of(tokens):
    """Each different (token before, token) once: (before, after)."""
    return torch.stack([tokens[:-1], tokens[1:]]).unique(dim=1)


def right_z(tokens, key, gamma):
    before, after = pairs_of(tokens)
    return z_of(green(before, after, key, gamma).sum(), len(after), gamma)


def wrong_zs(tokens, key, gamma, where):
    """{code: (z of a well-known mistake, what it is)}."""
    before, after = pairs_of(tokens)
    marks = green(before, after, key, gamma)
    T, n, k = len(after), len(tokens) - 1, float(marks.sum())
    z, share, variance = z_of(k, T, gamma), k / T, T * gamma * (1 - gamma)
    every = green(tokens[:-1], tokens[1:], key, gamma)      # with repeats
    wrapped = green(tokens.roll(1), tokens, key, gamma)     # the last stands before the first
    zero = green(torch.cat([tokens.new_zeros(1), tokens[:-1]]), tokens, key, gamma)

    def count(values):
        return z_of(values.sum(), len(values), gamma)

    def once(before, after, key=key, gamma_list=gamma):
        rows = torch.stack([before, after]).unique(dim=1)
        return count(green(rows[0], rows[1], key, gamma_list))
    ends = torch.cat([tokens.new_zeros(1), tokens[:-1]])
    ids = tokens.unique()
    kept = torch.ones(n, dtype=torch.bool)
    kept[1:] = (tokens[1:-1] != tokens[:-2]) | (tokens[2:] != tokens[1:-1])
    pairs = list(zip(tokens[:-1].tolist(), tokens[1:].tolist()))

    def distinct(name):                                     # one pair for each different name
        rows = torch.tensor([*{name(a, b): (a, b) for a, b in pairs[::-1]}.values()])
        return count(green(rows[:, 0], rows[:, 1], key, gamma))
    twins = before != after
    table = {
        "repeats": ([count(every), count(every[kept])], "a pair that comes again is counted again, "
                    "although it is green for certain if it was before: count each different pair "
                    "once"),
        "first-token": ([count(wrapped), count(zero), once(tokens.roll(1), tokens),
                         once(ends, tokens)], "the first token is scored: nothing stands before "
                        "it, so it has no list"),
        "length": ([z_of(k, n, gamma), z_of(k, n + 1, gamma), z_of(every.sum(), n + 1, gamma),
                    z_of(k, T + 1, gamma), z_of(k, T - 1, gamma)], "T is the number of different "
                   "pairs that are scored, and not another length"),
        "tokens-once": ([distinct(lambda a, b: b), distinct(lambda a, b: a)], "each token is "
                        "scored once only: it is pairs (before, token) that may not be repeated"),
        "unordered": (distinct(lambda a, b: frozenset((a, b))), "(5, 8) and (8, 5) are taken for "
                      "one pair: the order counts"),
        "collision": ([distinct(name) for name in (
            lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a ^ b,
            lambda a, b: 10 * a + b, lambda a, b: 100 * a + b, lambda a, b: 1000 * a + b,
            lambda a, b: 10_000 * a + b, lambda a, b: f"{a}{b}")], "two different pairs are taken "
            "for one, as when a sum or a text stands for both ids"),
        "half-repeats": (z_of(every.sum(), T, gamma), "green ones are counted with repeats, T "
                         "without: leave repeats out of both"),
        "twins": (count(green(before[twins], after[twins], key, gamma)), "a token that follows "
                  "itself is left out: it is a pair like any other"),
        "ends": ([once(t[:-1], t[1:]) for t in (tokens[1:], tokens[:-1])], "the first or the last "
                 "pair is left out"),
        "red": ([-z, z_of(T - k, T, gamma)], "red tokens are counted, or the sign is turned: many "
                "green ones give a large z"),
        "no-root": ((k - gamma * T) / variance, "divided by the variance: divide by its root"),
        "half-variance": ([(k - gamma * T) / math.sqrt(T * g) for g in (gamma, 1 - gamma)],
                          "the variance of a count is T gamma (1 - gamma): one factor is missing"),
        "no-spread": ([k - gamma * T, (k - gamma * T) / T, (k - gamma * T) / math.sqrt(T)],
                      "not divided by the standard deviation of the count, the root of T gamma (1 "
                      "- gamma)"),
        "fair-coin": ([(k - T / 2) / math.sqrt(T / 4), (k - gamma * T) / math.sqrt(T / 4),
                       (k - T / 2) / math.sqrt(variance)], "a share of one half is expected: it is "
                      "gamma"),
        "own-spread": ([(k - gamma * T) / math.sqrt(v) for v in (
            T * share * (1 - share), T * share * (1 - share) * T / max(T - 1, 1)) if v > 0],
            "the spread comes from the green tokens found: under the null it is known, from gamma"),
        "share": ([share, k / (n + 1), share - gamma], "this is a share: z says by how many "
                  "standard deviations the count is above gamma T"),
        "count": ([k, float(every.sum())], "this is the number of green ones: compare it with "
                  "gamma T"),
        "tail": ([math.erfc(z / math.sqrt(2)) / 2, math.erfc(abs(z) / math.sqrt(2)),
                  1 - math.erfc(z / math.sqrt(2)) / 2], "this is a probability: z itself is asked"),
        "absolute": (abs(z), "the sign is lost: fewer green tokens than by chance give a negative "
                     "z"),
        "squared": ([z * z], "this is z squared"),
        "continuity": ([(k - gamma * T + s) / math.sqrt(variance) for s in (0.5, -0.5)], "a "
                       "correction of one half is made: do without"),
        "no-key": ([once(before, after, key=v) for v in (0, 1, 42)], "the key has no effect"),
        "exchanged": (once(after, before), "the two tokens are exchanged: the list comes from the "
                      "token before"),
        "itself": ([once(after, after), count(green(tokens, tokens, key, gamma)),
                    count(green(ids, ids, key, gamma))], "a token is paired with itself: its list "
                   "comes from the one before"),
        "no-context": ([once(0 * before, after), once(0 * after, tokens[0].expand(T)),
                        *[count(green(0, t, key, gamma)) for t in (tokens, tokens[1:], ids)]],
                       "the token before has no effect"),
        "skips": ([once(tokens[:-2], tokens[2:])], "the list comes from the token two places "
                  "before"),
        "every-second": ([once(tokens[:-1:2], tokens[1::2][:len(tokens[:-1:2])])], "pairs may "
                         "overlap: each token has one before it"),
        "green-half": ([once(before, after, gamma_list=g) for g in (0.5, 0.25, 1 - gamma)], "the "
                       "list is not of the share gamma")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("10.6", hints=(
    "tokens = [5, 8, 5, 8, 5] hold four neighbours but two different pairs, (5, 8) and (8, 5): T "
    "is 2. How many do you score? And one token alone stands for how many pairs?",
    "tokens[:-1] stand before tokens[1:]. Which operation of torch, or which Python type, leaves "
    "one of each pair? T is counted after that. What has a count of T coin throws with chance "
    "gamma as mean and as standard deviation?",
    "pairs = all (token, next token), each different one once; T = how many\n"
    "g = how many of them green(...) says yes to\n"
    "z = (g less its mean under chance) over its standard deviation under chance, a float"))
def watermark_z(answer, probe):
    def ask(tokens, key, gamma):
        out = probe.call(answer, tokens, key, gamma)
        return one_number(probe, out, f"tokens of shape {tuple(tokens.shape)}, gamma = {gamma}")

    rich = [(torch.cat([torch.tensor([V - 1]), probe.ints(0, V - 2, n), torch.tensor([V - 2])]),
             key, gamma) for V, n, key, gamma in (                      # ends that meet nowhere
                 (9, 41, 17, 0.3), (8, 29, 1234, 0.6), (11, 60, 99, 0.25), (10, 35, 7, 0.5),
                 (12, 50, 52, 0.4), (9, 45, 5, 0.7))]
    judge = Judge(probe, ask, right_z, wrong_zs, rich)
    for tokens, key, gamma in (([5, 8], 3, 0.5), ([5, 8], 4, 0.5), ([5, 8, 5, 8, 5], 3, 0.5),
                               ([2, 2, 2, 2], 11, 0.2), ([4, 0, 7, 1, 7, 1, 3], 25, 0.7)):
        judge.compare(torch.tensor(tokens), key, gamma, where=f"tokens = {tokens}, key = {key}, "
                      f"gamma = {gamma}", code="value")
    text = [1, 2000, 4, 2, 1000, 5, 1, 200, 6, 2, 100, 7, 1, 20_000, 8, 2, 10_000, 9, 12, 3, 0, 1,
            23]
    alike = Judge(probe, ask, right_z, wrong_zs, [(torch.tensor(text * 2), k, 0.4)
                                                  for k in (1, 2, 3)])
    alike.compare(*alike.rich[0], where=f"tokens = {text} twice, key = 1, gamma = .4")
    for tokens, key, gamma in (*rich, (probe.ints(0, 49152, 200), 2 ** 20 + 7, 0.25)):
        judge.compare(tokens, key, gamma, where=f"{len(tokens)} tokens, key = {key}, gamma = "
                      f"{gamma}")
    zs = torch.tensor([ask(probe.ints(0, 500, 31), int(probe.ints(1, 10 ** 6, 1)), 0.25)
                       for _ in range(60)]).double()
    probe.true(abs(float(zs.mean())) < 0.4, "null-mean", "60 texts without a watermark: the mean "
               f"of z must be near 0, came {float(zs.mean()):.2f}")
    probe.true(0.7 < float(zs.std()) < 1.3, "null-sd", "60 texts without a watermark: the "
               f"standard deviation of z must be near 1, came {float(zs.std()):.2f}")
    found = []
    for T in (25, 100, 400):                                # each token green, as if forced
        tokens = [1]
        while len(tokens) <= T:
            drawn = probe.ints(0, 2000, 64)
            tokens.append(int(drawn[green(tokens[-1], drawn, 5, 0.25)][0]))
        found.append(ask(torch.tensor(tokens), 5, 0.25))
    probe.true(all(1.9 < b / a < 2.1 for a, b in zip(found, found[1:])), "growth", "texts of 25, "
               "100 and 400 green tokens: z doubles each time, as the root of T, came "
               f"{', '.join(f'{z:.1f}' for z in found)}")
