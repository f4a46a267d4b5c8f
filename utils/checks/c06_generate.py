"""The check of lecture 06 for sampling: text drawn from a model, one id after the other."""
import math

import torch
from torch import nn

from .engine import exercise
from .probe import Failure, name_of, numbers

DRAWS = 600                                                 # of each of the two prompts in a test
RARE = 1e-10                                                # no right answer is as odd as that


class Model(nn.Module):
    """Logits (B, T, V) of ids (B, T), T up to max_len. A copy is the model itself."""

    def __init__(self, max_len):
        super().__init__()
        self.max_len, self.recorded = max_len, False        # was a gradient recorded?

    def __deepcopy__(self, memo):
        return self

    def forward(self, ids):
        if ids.shape[1] > self.max_len:
            raise Failure("not-cropped", f"the model was given {ids.shape[1]} ids, and its window "
                          f"max_len is {self.max_len}: hand it the last {self.max_len} only")
        self.recorded |= torch.is_grad_enabled()
        return self.logits(ids)


class Table(Model):
    """The logits after an id are its row of a table (V, V), whatever stands before."""

    def __init__(self, table, max_len=8):
        super().__init__(max_len)
        self.table = nn.Parameter(table.clone())

    def logits(self, ids):
        return self.table[ids]


class Reader(Model):
    """Looks at all ids it is given and at their order; almost sure of its next one."""

    def __init__(self, probe, max_len, V=11, C=8):
        super().__init__(max_len)
        self.ids, self.places = (nn.Parameter(probe.normal(n, C)) for n in (V, max_len))
        self.head = nn.Parameter(probe.normal(C, V, scale=2e6))

    def logits(self, ids):
        x = (self.ids[ids] + self.places[:ids.shape[1]]).sin()
        return x.cumsum(1) / torch.arange(1, ids.shape[1] + 1)[:, None] @ self.head


MISTAKES = {                                                # mistake of continued -> what it is
    "not-fed": "each step reads the prompt alone: what is new must be read too",
    "last-only": "only the last id is read: all that fit the window count",
    "new-only": "the prompt is forgotten once there are new ids",
    "wrong-end": "cropped from the wrong end: the first ids are read, where the last are due",
    "short": "one id too few is read: the window has room for max_len",
    "first-row": "the logits of the first position are used: the last one predicts",
    "first-text": "all texts get the id of the first: each has its own logits",
    "smallest": "the smallest logit is taken"}


@torch.no_grad()
def continued(model, ids, n, mistake=""):
    """The best ids after a prompt, with one known mistake."""
    W, T = model.max_len, ids.shape[1]
    for _ in range(n):
        seen = {"not-fed": ids[:, :T], "last-only": ids[:, -1:], "wrong-end": ids[:, :W],
                "short": ids[:, 1 - W:], "new-only": ids[:, T:] if ids.shape[1] > T else ids}.get(
                    mistake, ids)
        logits = model(seen[:, -W:])[:, 0 if mistake == "first-row" else -1]
        logits = logits[:1].expand_as(logits) if mistake == "first-text" else logits
        new = (-logits if mistake == "smallest" else logits).argmax(-1, keepdim=True)
        ids = torch.cat([ids, new], 1)
    return ids


def chances(logits, temperature=1.0, top_k=None, least=None, cut=-math.inf):
    """Probabilities (B, V) of logits at or above `least`, by default the k-th of each text."""
    k = min(top_k or logits.shape[-1], logits.shape[-1])
    least = logits.topk(k).values[:, -1:] if least is None else least
    return (logits / temperature).masked_fill(logits < least, cut).softmax(-1)


def wrong_chances(rows, last, temperature, top_k):
    """{code: (list of the probabilities (2, V) of a well-known mistake, what it is)}.

    rows: logits (2, T, V) of all positions; last: which of them counts.
    """
    logits, given = rows[:, last], (temperature, top_k)
    V, k = logits.shape[-1], min(top_k or logits.shape[-1], logits.shape[-1])
    kept = chances(logits, 1.0, top_k) > 0
    table = {
        "from-logits": ([logits.clamp(min=0) * kept], "drawn in proportion to the logits: a "
                        "softmax makes them probabilities"),
        "multiplied": ([chances(logits, 1 / temperature, top_k)], "the logits are multiplied by "
                       "the temperature: divide"),
        "no-temperature": ([chances(logits, 1.0, top_k)], "the temperature has no effect. It "
                           "divides the logits: after the softmax it would divide all chances "
                           "alike"),
        "uniform": ([kept.double()], "all ids are equally likely, whatever their logits"),
        "no-cut": ([chances(logits, temperature)], "top_k has no effect"),
        "keeps-smallest": ([chances(-logits, -temperature, top_k)], "the k smallest logits are "
                           "kept: keep the largest"),
        "zero-cut": ([chances(logits, *given, cut=0.0), chances(logits * kept, temperature)],
                     "a cut id gets the logit 0, and e^0 is 1: only -inf has no chance"),
        "rank": ([chances(logits, *given).sort(descending=True)[0]], "places in the sorted list "
                 "came back where ids were due: look up which id stands there"),
        "k-off": ([chances(logits, temperature, n) for n in (k - 1, k + 1, 1 if top_k else k)],
                  "another number of ids than top_k is left"),
        "batch-cut": ([chances(logits, *given, least=least) for kth in
                       [logits.topk(k).values[:, -1]] for least in (kth.min(), kth[0], kth[1])],
                      "one limit for all texts: each keeps its own k largest"),
        "softmax-twice": ([chances(chances(logits), *given), chances(chances(logits, *given)),
                           chances(chances(logits, *given), 1.0, top_k)],
                          "a softmax of a softmax, which makes all nearly alike"),
        "sign": ([chances(-logits, *given)], "the sign of the logits is turned"),
        "twice": ([chances(logits, temperature ** 2, top_k)], "the temperature divides twice"),
        "axis": ([logits.softmax(0) * kept, (logits / temperature).softmax(0) * kept], "the "
                 "softmax runs over the texts: each text has its own"),
        "first-row": ([chances(rows[:, i], *given) for i in range(rows.shape[1]) if i != last],
                      "the logits of another position are used: the last one predicts"),
        "first-text": ([chances(logits[i:i + 1].expand(2, V), *given) for i in (0, 1)], "all texts "
                       "draw from the logits of one: each has its own")}
    return table


def oddity(counts, chance):
    """How often counts would be this far from their chances, by a chi-square test: 0 to 1."""
    chance = chance / chance.sum(-1, keepdim=True)
    expected = chance * counts.sum(-1, keepdim=True)
    if bool(((expected == 0) & (counts > 0)).any()):
        return 0.0
    some = expected > 0
    chi2 = ((counts - expected).square() / expected.clamp(min=1))[some].sum()
    freedom = some.sum() - counts[..., 0].numel()
    return float(torch.special.gammaincc(freedom / 2, chi2 / 2)) if freedom else 1.0


@exercise("06.8", hints=(
    "Draw a thousand times after one prompt at temperature 2 and count. Ids with the logits 2 and "
    "0 must come e times as often as each other, as e^(2/2) : e^0. How often do yours?",
    "Which ids does the model see, and at which of its positions is the guess for the next one? "
    "Then the order: cut, divide, softmax, draw. What is read in the next step, and what when the "
    "text is longer than max_len?",
    "n times, recording no gradients:\n    logits of the last position, of the last max_len ids\n"
    "    all below the k-th largest of their own text: minus infinity\n"
    "    temperature 0: the best id; otherwise divide, softmax, and draw one id a text with rng\n"
    "    put the new ids behind all others\nreturn everything, the prompt first"))
def generate(answer, probe):
    rng = torch.Generator().manual_seed(int(probe.ints(0, 2 ** 31, 1)))

    def ask(model, ids, n, temperature, top_k, name="", problem=None):
        """Where, and all ids; rng goes on from call to call. problem: (code, why) of a crash."""
        (B, T), V = ids.shape, 11 if isinstance(model, Reader) else len(model.table)
        where = (f"prompt ({B}, {T}), n = {n}, temperature = {temperature:g}, top_k = {top_k}"
                 f"{name}")

        def generate(model, ids, n, temperature, top_k):
            return answer(model, ids, n, temperature, top_k, rng)
        generate.__name__ = name_of(answer)
        shared = torch.get_rng_state()
        try:
            out = probe.call(generate, model, ids, n, temperature, top_k)
        except Failure as failure:
            if problem and failure.args[0] == "crash":
                probe.fail(problem[0], f"{where}: {problem[1]}. {failure.args[1]}")
            raise
        probe.type(out, torch.Tensor, "the ids, (B, T + n)")
        shape = tuple(out.shape)
        probe.true(shape != (B, n), "no-prompt-back", f"{where}: the prompt is missing: return it "
                   "with the n new ids behind")
        probe.true(shape == (B, T + n) or shape not in [(B, model.max_len + i) for i in (0, 1)],
                   "cropped-result", f"{where}: {shape[-1]} ids came back, not {T + n}: crop what "
                   "the model reads, not what is returned")
        probe.shape(out, (B, T + n), "shape", f"{where}: the prompt and n ids more")
        probe.true(not out.is_floating_point(), "type", f"ids are whole numbers, came {out.dtype}")
        probe.true(torch.equal(out[:, :T], ids), "prompt", f"{where}: the result does not begin "
                   "with the prompt, unchanged")
        probe.true(bool(((out >= 0) & (out < V)).all()), "range", f"{where}: ids go from 0 to "
                   f"{V - 1}, came {int(out.min())} to {int(out.max())}")
        probe.true(torch.equal(torch.get_rng_state(), shared), "global-rng", f"{where}: the random "
                   "state that all of torch shares was used: draw with the generator `rng` that is "
                   "given")
        return where, out

    # One text, one id: where does the chance come from?
    table = torch.tensor([[0.6, 2.2, 0.3, 1.6, 1.0], [1.1, 0.4, 2.1, 0.7, 1.9], [1.7, 2.6, 1.1, 0.9,
                         2.2], [0.2, 1.4, 0.8, 2.0, 0.5], [2.3, 0.5, 1.2, 0.1, 1.5]]).double()
    model, one = Table(table), torch.tensor([[3, 1, 0]])
    before = rng.get_state()
    where, out = ask(model, one, 1, 1.0, None)
    after = rng.get_state()
    drawn = {int(ask(model, one, 1, 1.0, None)[1][0, -1]) for _ in range(60)}
    several = ask(model, one.repeat(60, 1), 1, 1.0, None)[1][:, -1]
    probe.true(drawn != {1} or bool((several != 1).any()), "greedy", f"{where}: id 1, the best, "
               "each time: a temperature above 0 draws")
    probe.true(not torch.equal(after, before), "rng-unused", f"{where}: the generator `rng` was "
               "not used: chance must come from it alone")
    probe.true(len(drawn) > 1, "reseeded", f"{where}: 60 calls with the same rng, one after the "
               "other, drew the same id: do not seed it, let it go on")
    kept = rng.get_state()
    twins = []
    for _ in range(2):
        rng.set_state(kept)
        where, out = ask(model, one.repeat(40, 1), 3, 1.0, None)
        twins.append(out)
    probe.true(torch.equal(*twins), "random", f"{where}: rng in the same state, two results: is "
               "there another source of chance?")
    probe.true(bool((twins[0] != twins[0][0]).any()), "one-draw", f"{where}: 40 texts that begin "
               "alike all went on alike: each text draws on its own")

    # Two prompts, many times: how often does each id come?
    pair = torch.tensor([[3, 1, 0], [1, 4, 2]])
    prompts = pair.repeat(DRAWS, 1)
    for temperature, top_k, scale, shift in ((2.0, None, 2, 0), (0.5, None, 0.6, -1),
                                             (1.0, 3, 1, 0), (1.5, 2, 2, -3), (1.0, 9, 1, 0)):
        tried = Table(scale * table + shift)
        rows = tried.table.detach()[pair]                   # (2, 3, 5)
        problem = {9: ("top-k-large", "a top_k above V = 5 keeps all")}.get(top_k) or (
            ("from-logits", "some logits are below 0, as logits may be") if shift else None)
        where, out = ask(tried, prompts, 1, temperature, top_k, problem=problem)
        new, right = out[:, -1].view(DRAWS, 2), chances(rows[:, -1], temperature, top_k)
        counts = torch.stack([new[:, i].bincount(minlength=5) for i in (0, 1)]).double()
        if oddity(counts, right) < RARE:
            i = min((0, 1), key=lambda i: oddity(counts[i], right[i]))
            told = (f"{where}, after {pair[i].tolist()} logits {numbers(rows[i, -1])}: of {DRAWS} "
                    f"draws expected about {(right[i] * DRAWS).round().int().tolist()}, came "
                    f"{counts[i].int().tolist()}")
            known = wrong_chances(rows, 2, temperature, top_k)
            fits = {code: max(oddity(counts, value) for value in values)
                    for code, (values, _) in known.items()}
            code = max(fits, key=fits.get)
            if fits[code] > 1e-4:
                probe.fail(code, f"{told}: {known[code][1]}")
            if bool((counts[right == 0] > 0).any()):
                probe.fail("top-k", f"{told}: not only the {top_k} largest are left")
            probe.fail("frequencies", told)
        probe.tests += 1

    # Without chance: top_k = 1, and temperatures down to 0.
    best = table[pair[:, -1]].argmax(-1).repeat(20)
    for temperature, top_k, code, why in (
            (3.0, 1, "top-1", "only the best is left"),
            (1e-3, None, "cold", "near 0 the best id takes all: divide before the softmax, which "
             "subtracts the largest"),
            (1e-3, 3, "cold", "near 0 the best id takes all"),
            (0.0, None, "zero", "temperature 0 takes the best id, and nothing can be divided by 0"),
            (0.0, 2, "zero", "temperature 0 takes the best id")):
        where, out = ask(model, pair.repeat(20, 1), 1, temperature, top_k, problem=(code, why))
        probe.true(torch.equal(out[:, -1], best), code, f"{where}: {why}: expected "
                   f"{best[:2].tolist()} after the two prompts, came {out[:2, -1].tolist()}")

    # What the model reads: texts shorter and longer than its window.
    for B, T, n, W in ((1, 3, 1, 8), (2, 3, 4, 9), (1, 1, 4, 6), (3, 4, 7, 6), (2, 6, 3, 6),
                       (3, 9, 4, 5), (2, 4, 3, 1)):
        for temperature, top_k in ((0.0, None), (1.0, None), (2.0, 1), (0.5, 3)):
            reader, ids = Reader(probe, W), probe.ints(0, 11, B, T)
            where, out = ask(reader, ids, n, temperature, top_k,
                             f", max_len = {W}, a model that is sure")
            known = {m: (continued(reader, ids, n, m), f"{where}: {why}")
                     for m, why in MISTAKES.items() if W > 1 or m != "short"}
            probe.equal(out, continued(reader, ids, n), "context", f"{where}: these are not the "
                        "best ids after the last max_len", known=known)

    # Each draw on its own: neighbours in the batch, neighbours in time.
    where, out = ask(Table(probe.zeros(3, 3), 4), probe.ints(0, 3, 200, 2), 8, 1.0, None,
                     ", all logits 0, V = 3")
    new, even = out[:, 2:], probe.ones(9)
    for code, a, b, why in (("same-steps", new[:, ::2], new[:, 1::2], "one step tells the next"),
                            ("same-rows", new[::2], new[1::2], "one text tells its neighbour")):
        together = (3 * a + b).flatten().bincount(minlength=9).double()
        probe.true(oddity(together, even) > RARE, code, f"{where}: {why}: of {a.numel()} pairs "
                   f"{int((a == b).sum())} are equal, expected a third: draw anew for each text "
                   "and each step, and let rng go on")

    # What a caller finds afterwards.
    for training in (False, True):
        model.train(training)
        where, _ = ask(model, one, 2, 1.0, None)
        probe.true(model.training == training, "mode", f"{where}: the model came in "
                   f"{'training' if training else 'eval'} mode and was left in the other")
    probe.true(torch.equal(model.table, table), "mutates", "the weights of the model changed")
    model.recorded = False
    where, _ = ask(model, one, 2, 1.0, None)
    probe.true(not model.recorded, "graph", f"{where}: the model ran with gradients switched on, "
               "and kept the memory a backward would need: nothing is learnt here")
