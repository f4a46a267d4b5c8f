"""The checks of lecture 07 for sizes: parameters counted from a shape, and what training costs."""
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from .c08_known import Judge
from .engine import exercise
from .probe import Failure

NAMES = ("kind", "vocab_size", "d_model", "n_layers", "d_ff", "max_len", "tied", "norm_first")


def shape(*values):
    return dict(zip(NAMES, values))


SMALL = (
    shape("decoder", 7, 2, 1, 5, 3, True, False), shape("encoder", 7, 2, 1, 5, 0, True, False),
    shape("decoder", 11, 4, 3, 9, 6, True, True), shape("decoder", 11, 4, 3, 9, 6, False, True),
    shape("encoder", 13, 6, 2, 24, 5, False, False),
    shape("encoder-decoder", 7, 2, 1, 5, 0, True, False),
    shape("encoder-decoder", 9, 4, 3, 7, 5, True, True),
    shape("encoder-decoder", 9, 4, 2, 7, 0, False, True))
LARGE = {
    "base of 2017": shape("encoder-decoder", 37_000, 512, 6, 2_048, 0, True, False),
    "big of 2017": shape("encoder-decoder", 37_000, 1_024, 6, 4_096, 0, True, False),
    "BERT base, its blocks and tables": shape("encoder", 30_522, 768, 12, 3_072, 512, True, False),
    "GPT-2": shape("decoder", 50_257, 768, 12, 3_072, 1_024, True, True),
    "GPT-3": shape("decoder", 50_257, 12_288, 96, 49_152, 2_048, True, True)}


def counted(c):
    """The parameters of a small shape, counted in torch's own layers."""
    V, d = c["vocab_size"], c["d_model"]
    tables = [nn.Embedding(V, d), nn.Embedding(c["max_len"], d)]
    if not c["tied"]:
        tables.append(nn.Linear(d, V, bias=False))
    for layer in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)[
            :1 + (c["kind"] == "encoder-decoder")]:
        tables += [layer(d, 1, c["d_ff"]) for _ in range(c["n_layers"])]
        tables += [nn.LayerNorm(d)] * c["norm_first"]
    return sum(p.numel() for part in tables for p in part.parameters())


def formula(c, maps=4, map_bias=1, ff_bias=1, norms=1, norm_size=2, last=None, cross=1,
            cross_norm=1, tables=None, places=1, sides=2, width=None, head_bias=0, ff=2):
    """The same by arithmetic for any size, or what comes out with one part of it replaced."""
    V, d, L = c["vocab_size"], c["d_model"], c["n_layers"]
    w, both = width(c) if width else c["d_ff"], c["kind"] == "encoder-decoder"
    attention, norm = maps * (d * d + map_bias * d), norm_size * d
    block = attention + ff * d * w + ff_bias * (w + d) + 2 * norms * norm
    total = L * block
    if both:
        total += (sides - 1) * L * block + L * (cross * attention + cross_norm * norms * norm)
    stacks = sides if both else 1
    final = (c["norm_first"] if last is None else last) * stacks
    tables = tables(c) if tables else 1 if c["tied"] else 2
    return total + final * norm + tables * V * d + places * c["max_len"] * d + head_bias * V


def wrong_counts(c, where):
    """{code: (count by a well-known mistake, what it is)}."""
    d, L, both = c["d_model"], c["n_layers"], c["kind"] == "encoder-decoder"
    cross = 4 * (d * d + d) + 2 * d
    norms = L * (5 if both else 2) + c["norm_first"] * (2 if both else 1)
    table = {
        "twelve": ([12 * L * d * d, 12 * L * d * d + c["vocab_size"] * d], "12 L d^2 is the rule "
                   "of thumb for blocks with d_ff = 4 d: count all parts"),
        "no-bias": (formula(c, map_bias=0, ff_bias=0), "the biases are missing: all maps but "
                    "the head have one"),
        "no-attention-bias": (formula(c, map_bias=0), "the four biases of attention are missing"),
        "no-ff-bias": (formula(c, ff_bias=0), "the two biases of the feed-forward part are "
                       "missing"),
        "no-output": ([formula(c, maps=3), formula(c) - L * (3 if both else 1) * d], "attention "
                      "has four maps: queries, keys, values and the output"),
        "five-maps": (formula(c, maps=5), "attention has four maps"),
        "no-norms": ([formula(c, norms=0), formula(c, norms=0, last=0)], "layer norms have "
                     "parameters too"),
        "one-norm": ([formula(c, norms=0.5), formula(c, norms=0.5, cross_norm=2)], "each part of a "
                     "block has its norm"),
        "norm-size": (formula(c, norm_size=1), "a layer norm has a gain and a bias, 2 d numbers"),
        "norm-one": (formula(c) - (2 * d - 2) * norms, "a layer norm has a gain and a bias for "
                     "each of d numbers"),
        "no-last-norm": (formula(c, last=0), "with norm_first each stack ends in one more norm"),
        "always-last-norm": (formula(c, last=1), "only with norm_first a stack ends in one more "
                             "norm"),
        "one-last-norm": (formula(c) - 2 * d * (c["norm_first"] and both), "with norm_first the "
                          "encoder and the decoder end in one more norm each"),
        "norm-a-block": (formula(c) + 2 * d * c["norm_first"] * (L - 1) * (2 if both else 1),
                         "the last norm comes once a stack, not in each block"),
        "no-cross": (formula(c, cross=0, cross_norm=0), "each decoder block of an encoder-decoder "
                     "has a cross-attention too"),
        "no-cross-norm": (formula(c, cross_norm=0), "cross-attention has a norm too"),
        "cross-alone": (formula(c) + (c["kind"] == "decoder") * L * cross, "a decoder alone has "
                        "nothing to look across to"),
        "cross-in-encoder": (formula(c) + both * L * cross, "the encoder has no cross-attention"),
        "one-side": ([formula(c, sides=1), formula(c, sides=1, cross=0, cross_norm=0)], "an "
                     "encoder-decoder has n_layers of each"),
        "layers-halved": ([formula(c | {"n_layers": L // 2}) if both else formula(c)],
                          "an encoder-decoder has n_layers blocks of each kind"),
        "tied-twice": (formula(c, tables=lambda c: 2), "tied: the head is the table, counted once"),
        "always-tied": (formula(c, tables=lambda c: 1), "not tied: the head has V d numbers of its "
                        "own"),
        "tied-reversed": (formula(c, tables=lambda c: 2 if c["tied"] else 1), "tied means shared: "
                          "one table instead of two"),
        "two-tables": (formula(c, tables=lambda c: (1 if c["tied"] else 2) + both), "encoder and "
                       "decoder share their table"),
        "no-table": ([formula(c, tables=lambda c: 0), formula(c, tables=lambda c: 0, places=0)],
                     "the table of vectors is missing"),
        "no-places": (formula(c, places=0), "the learned positions are missing"),
        "places-twice": (formula(c, places=2), "the positions are counted twice"),
        "two-place-tables": (formula(c, places=1 + both), "both sides share the positions"),
        "four-d": ([formula(c, width=lambda c: 4 * c["d_model"])], "the width of the feed-forward "
                   "part is d_ff, which need not be 4 d"),
        "head-bias": (formula(c, head_bias=1), "the head has no bias"),
        "one-ff-map": (formula(c, ff=1), "the feed-forward part has two maps, to d_ff and back"),
        "gated": (formula(c, ff=3), "the feed-forward part has two maps, to d_ff and back"),
        "no-ff": (formula(c, ff=0, ff_bias=0), "the feed-forward part is missing"),
        "no-layers": ([formula(c | {"n_layers": 1})], "the blocks are counted once: there are "
                      "n_layers of them")}
    return {code: ([int(v) for v in (values if isinstance(values, list) else [values])],
                   f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("07.4", hints=(
    "Take d = 2, d_ff = 5, V = 7, one block, no positions. Attention: how many weights, how many "
    "biases? The feed-forward part? The norms? Write down five numbers and add.",
    "Seven parts: table, positions, attention, feed-forward, their norms, cross-attention with its "
    "norm, last norms. Which come once, which once a block, which once a stack? And the head?",
    "attention = 4 maps d to d with bias, and a norm; feed-forward = two maps with bias, and a "
    "norm\nblocks = n_layers times both; for an encoder-decoder twice, and one attention more a "
    "layer\nadd V d, once more if not tied; add max_len d; add 2 d a stack if norm_first"))
def count_params(answer, probe):
    def built(module, name, parameter):
        raise Failure("built", "count from the numbers in cfg: a model was built, and GPT-3 would "
                               "need 700 GB here")

    def ask(c):
        hook = register_module_parameter_registration_hook(built)
        try:
            out = probe.call(answer, c)
        finally:
            hook.remove()
        probe.type(out, int, f"{c}: a whole number of parameters")
        return out

    judge = Judge(probe, ask, formula, wrong_counts, [(c,) for c in SMALL], 1e-12)
    for c in SMALL:
        probe.equal(formula(c), counted(c), "internal", f"{c}: torch counts otherwise")
        judge.compare(c, where=", ".join(f"{k} {v}" for k, v in c.items()), code="count")
    for name, c in LARGE.items():
        judge.compare(c, where=name, code="large")
    for _ in range(20):
        n = [int(probe.ints(1, high, 1)) for high in (50, 20, 7, 40, 30)]
        kind = ("encoder", "decoder", "encoder-decoder")[int(probe.ints(0, 3, 1))]
        flags = [bool(v) for v in probe.ints(0, 2, 2)]
        c = shape(kind, *n, *flags)
        judge.compare(c, where=", ".join(f"{k} {v}" for k, v in c.items()), code="count")


A100 = 312e12                                           # operations a second, bfloat16


def share(N, D, gpus, days, peak):
    return 6 * N * D / (gpus * days * 86_400 * peak)


def wrong_flops(N, D, where):
    """{code: (operations by a well-known mistake, what it is)}."""
    table = {
        "forward-only": (2 * N * D, "that is the way forward: the way back costs twice as much"),
        "backward-only": (4 * N * D, "that is the way back: the way forward comes first"),
        "multiplications": ([3 * N * D, N * D], "an addition is an operation too: two for each "
                            "multiplication with a weight"),
        "recomputed": (8 * N * D, "that is with everything computed forward twice"),
        "per-token": (6 * N, "that is for one token: there are D"),
        "no-model": (6 * D, "each of N parameters takes part"),
        "squared": ([6 * N * N, 6 * D * D], "N times D"),
        "sum": (6 * (N + D), "N times D: every token meets every parameter")}
    return {code: (value, f"{where}: {why}") for code, (value, why) in table.items()}


def wrong_shares(N, D, gpus, days, peak, where):
    """{code: (share by a well-known mistake, what it is)}."""
    right = share(N, D, gpus, days, peak)
    table = {
        "inverse": (1 / right, "that is the inverse: needed operations over possible ones"),
        "hours": (right * 3_600, "days are counted as days of 24: a peak is for a second"),
        "minutes": (right * 60, "days are counted in minutes: a peak is for a second"),
        "days": (right * 86_400, "a peak is for a second: how many seconds has a day?"),
        "one-day": ([right * days, right * days * 86_400], "`days` is not used"),
        "one-gpu": (right * gpus, "`gpus` is not used: all compute at the same time"),
        "no-peak": (right * peak, "`peak` is not used"),
        "units": ([right * 10.0 ** k for k in (3, 6, 9, 12, -9, -12)], "`peak` is in operations "
                  "per second already, not in tera"),
        "percent": (right * 100, "that is in percent: the share itself is asked for"),
        "forward-share": ([right * k for k in (1 / 3, 2 / 3, 1 / 2, 1 / 6, 4 / 3)], "training "
                          "costs 6 operations for each parameter and token"),
        "capped": ([min(right, 1.0)] if right > 1 else [], "a share above 1 is cut off: it is what "
                   "tells that a claim cannot be true"),
        "rest": (1 - right, "that is what is left of the peak"),
        "rounded": ([round(right, k) for k in range(4)], "it is rounded: keep all digits")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("07.5", hints=(
    "One parameter, one token: a multiplication and an addition forward, twice as many backward: "
    "how many operations? One GPU of 6 operations a second: what share does it need in a second?",
    "Needed is what training takes, possible is what all GPUs together do at their peak in all the "
    "time. Which of the two is above the line? How many seconds has a day?",
    "operations = (2 forward + 4 backward) for each parameter and each token\n"
    "possible = gpus, times seconds in those days, times peak\n"
    "share = operations over possible"))
def train_flops(train_flops, utilisation, probe):
    def text(name, values, keys):
        return f"{name}({', '.join(f'{k} = {v:,}' for k, v in zip(keys, values))})"

    for N, D in ((1_000, 7), (1, 1), (175_000_000_000, 300_000_000_000), (175e9, 300e9), (1.5, 0.7),
                 (124_439_808, 10 ** 10)):
        where, out = text("train_flops", (N, D), "ND"), probe.call(train_flops, N, D)
        probe.type(out, (int, float, torch.Tensor), where)
        probe.equal(out, 6 * N * D, "flops", f"{where}: forward and backward", 1e-9,
                    wrong_flops(N, D, where) if N > 1.6 else {})
    keys = ("N", "D", "gpus", "days", "peak")
    for args in ((125e6, 300e9, 1, 90, A100), (7, 11, 3, 2, 1e-4), (175e9, 300e9, 1_000, 34, A100),
                 (70e9, 1.4e12, 2_048, 45, 989e12), (1.8e12, 1e12, 20_000, 90, A100),
                 (1.8e12, 13e12, 20_000, 90, A100), (1e6, 1e6, 5, 0.25, 1e9)):
        where, out = text("utilisation", args, keys), probe.call(utilisation, *args)
        probe.type(out, (int, float, torch.Tensor), where)
        probe.equal(out, share(*args), "share", f"{where}: needed operations over possible ones",
                    1e-9, wrong_shares(*args, where))
