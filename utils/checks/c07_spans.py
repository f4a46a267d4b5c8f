"""The check of lecture 07 for spans hidden behind sentinels, as in T5."""
import torch

from .engine import exercise
from .probe import shown

TOP = 32_099                                            # sentinel 0; the words end at 31,999


def corrupted(ids, spans, mark=lambda k, n: TOP - k, end=True, cut=lambda *ends: ends):
    """(inp, tgt), or what comes out with one part of it replaced."""
    inp, tgt, last, n = [], [], 0, len(spans)
    for k, (start, stop) in enumerate(spans):
        start, stop = cut(start, stop)
        inp += [*ids[last:start], mark(k, n)]
        tgt += [mark(k, n), *ids[start:stop]]
        last = stop
    return inp + ids[last:], tgt + [mark(n, n)] * end


def restored(inp, tgt):
    """ids again, or None if inp and tgt do not fit."""
    pieces, key = {}, None
    for id in tgt:
        if id >= 32_000:
            if id in pieces:
                return None
            key, pieces[id] = id, []
        elif key is None:
            return None
        else:
            pieces[key].append(id)
    out = []
    for id in inp:
        if id >= 32_000 and id not in pieces:
            return None
        out += pieces.pop(id) if id >= 32_000 else [id]
    return out


def shifted(ids, spans):
    """Cut in a loop, with places that were right before the first cut."""
    inp = list(ids)
    for k, (start, stop) in enumerate(spans):
        inp[start:stop] = [TOP - k]
    return inp


def several(values):
    """A list of lists: what is wrong in one way or in several."""
    return values if values and isinstance(values[0], list) else [values]


def wrong_inputs(ids, spans, where):
    """{code: (inputs by a well-known mistake, what it is)}."""
    hidden = {i for start, stop in spans for i in range(start, stop)}
    firsts = {start: k for k, (start, _) in enumerate(spans)}
    plain, each, kept, n = [], [], [[], []], 0
    for i, id in enumerate(ids):
        k = max((k for start, k in firsts.items() if start <= i), default=0)
        plain += [id] * (i not in hidden)
        each.append(TOP - k if i in hidden else id)
        kept[0] += [TOP - k] * (i in firsts) + [id]
        kept[1] += [id] + [TOP - k] * any(i + 1 == stop for _, stop in spans)
    numbered = []
    for i, id in enumerate(ids):
        numbered.append(TOP - n if i in hidden else id)
        n += i in hidden
    table = {
        "swapped": ([corrupted(ids, spans)[1], corrupted(ids, spans, end=False)[1]], "this is the "
                    "target: return inp, tgt"),
        "no-sentinel": (plain, "nothing says where a span was: its sentinel takes its place"),
        "per-token": ([each, numbered], "one sentinel for each hidden id: a span has one, so that "
                      "its length is for the model to guess"),
        "kept": (kept, "the hidden ids are still there: the model could copy them"),
        "shifted": (shifted(ids, spans), "after the first span the places are wrong: a list that "
                    "was cut is shorter, and spans count in the original"),
        "nothing-done": (list(ids), "nothing is hidden"),
        **wrong_marks(ids, spans, 0)}
    return {code: (several(wrong), f"{where}, inp: {why}") for code, (wrong, why) in table.items()}


def wrong_marks(ids, spans, which):
    """Mistakes that show in inp (which = 0) and in tgt (1)."""
    def made(**how):
        return corrupted(ids, spans, **how)[which]
    table = {
        "same-sentinel": (made(mark=lambda k, n: TOP), "all sentinels are the same: nobody can "
                          "tell which piece belongs where"),
        "rising": ([made(mark=lambda k, n, base=base: base + k) for base in (TOP, 32_000, TOP + 1)],
                   "sentinels count down: 32099, 32098, 32097"),
        "from-one": (made(mark=lambda k, n: TOP - 1 - k), "spans count from 0: the first sentinel "
                     "is 32099"),
        "from-the-right": ([made(mark=lambda k, n: TOP - (n - 1 - k) % (n + 1)),
                            made(mark=lambda k, n: TOP - (n - 1 - k if k < n else n))],
                           "spans are numbered from the left"),
        "plain-numbers": (made(mark=lambda k, n: k), "the sentinel of span k is the id 32099 - k"),
        "negative": ([made(mark=lambda k, n: -k), made(mark=lambda k, n: -1 - k)], "the sentinel "
                     "of span k is the id 32099 - k"),
        "inclusive": (made(cut=lambda start, stop: (start, stop + 1)), "the id at stop is hidden "
                      "too: stop is the first that stays, as in a slice"),
        "one-early": (made(cut=lambda start, stop: (start - 1, stop - 1)), "places count from 0"),
        "one-late": (made(cut=lambda start, stop: (start + 1, stop + 1)), "places count from 0"),
        "short": ([made(cut=lambda start, stop: (start, stop - 1)),
                   made(cut=lambda start, stop: (start + 1, stop))], "an id at the edge of a span "
                  "is not hidden: it goes from start to stop, without stop"),
        "length": (made(cut=lambda start, stop: (start, start + stop)), "stop is a place, not a "
                   "length")}
    return {code: (values, why) for code, (values, why) in table.items()
            if values != corrupted(ids, spans)[which]}


def wrong_targets(ids, spans, where):
    """{code: (targets by a well-known mistake, what it is)}."""
    right = corrupted(ids, spans)[1]
    pieces = [ids[start:stop] for start, stop in spans]
    after, both = [], []
    for k, piece in enumerate(pieces):
        after += [*piece, TOP - k]
        both += [TOP - k, *piece, TOP - k]
    flat = [id for piece in pieces for id in piece]
    rest, _ = corrupted(ids, spans)
    table = {
        "no-end": (right[:-1], "the last sentinel is missing: it says where the last piece ends"),
        "end-repeated": ([right[:-1] + [right[-1] + 1], right[:-1] + [TOP]], "it must end with a "
                         "sentinel that was not used yet"),
        "end-token": ([right[:-1] + [0], right[:-1] + [1], right + [1], right + [0]], "it ends "
                      "with the next sentinel and nothing else"),
        "marks-after": ([after, after + [right[-1]]] if spans else [], "a sentinel stands before "
                        "its piece, not after it"),
        "nothing": ([[]], "it is empty"),
        "marks-twice": ([both, both + [right[-1]]], "each sentinel stands once, before its piece"),
        "no-marks": ([flat, flat + [right[-1]]], "the sentinels are missing: they say which piece "
                     "belongs where"),
        "whole": ([list(ids), list(ids) + [right[-1]]], "it holds all ids: only hidden ones"),
        "first-only": (right[:1 + len(pieces[0])] + right[-1:] if pieces else [], "only the first "
                       "span is there"),
        "swapped": (rest, "this is the input: return inp, tgt"),
        "marks-only": ([id for id in right if id > 32_000], "the hidden ids are missing"),
        **wrong_marks(ids, spans, 1)}
    return {code: (several(wrong), f"{where}, tgt: {why}") for code, (wrong, why) in table.items()}


@exercise("07.3", hints=(
    "ids [7, 8, 9, 6], spans [(1, 3)]: inp has 3 ids and tgt 4. Which id of inp stands for 8 and "
    "9, and how does one see in tgt that the piece has two?",
    "Walk from left to right and keep where the last span ended: what lies between there and the "
    "next start goes to inp. Count in ids, never in a list that was cut. What is left at the end?",
    "for each span k: inp gets what lies before it, then its sentinel\n"
    "    tgt gets its sentinel, then what it hides\n"
    "inp gets what follows the last span; tgt gets one more sentinel"))
def span_corrupt(answer, probe):
    def compare(ids, spans, code="", why=""):
        out = probe.call(answer, ids, spans)
        where = f"{ids if len(ids) < 16 else f'{len(ids)} ids'}, spans {spans}"
        probe.type(out, (tuple, list), "return inp, tgt")
        probe.true(len(out) == 2, "type", f"{where}: return inp and tgt; came {len(out)}")
        parts = []
        for name, part in zip(("inp", "tgt"), out):
            part = part.tolist() if isinstance(part, torch.Tensor) else part
            probe.type(part, (list, tuple), f"{where}: {name} is a list of ids")
            part = list(part)
            strange = [id for id in part if not isinstance(id, int) or isinstance(id, bool)]
            probe.true(not strange, "nested" if strange and isinstance(strange[0], (list, tuple))
                       else "type", f"{where}: {name} is one flat list of whole numbers, and holds "
                       f"{shown(strange[0]) if strange else ''}")
            parts.append(part)
        inp, tgt = corrupted(ids, spans)
        probe.equal(parts[0], inp, code or "input", f"{where}, inp{why}",
                    known=wrong_inputs(ids, spans, where))
        probe.equal(parts[1], tgt, code or "target", f"{where}, tgt{why}",
                    known=wrong_targets(ids, spans, where))
        probe.true(restored(*parts) == ids, "lost", f"{where}: put back together, inp and tgt "
                   "do not give ids")

    compare([*range(21, 32)], [(2, 4), (6, 7), (8, 10)])
    compare([7, 8, 9, 6], [(1, 3)])
    compare([5, 5, 5, 5, 5, 5], [(1, 2), (4, 6)])           # equal ids, a span at the end
    compare([11, 12, 13, 14, 15, 16], [(0, 2), (3, 4)])     # one at the start
    compare([11, 12, 13, 14, 15, 16], [(1, 2), (2, 4)], "touching", ": two spans that touch are "
            "two spans, with a sentinel each")
    compare([4, 3, 2], [(0, 3)], "all", ": a span may hide everything")
    compare([4, 3, 2], [], "none", ": without spans inp is ids, and tgt is [32099]")
    for length, most in ((12, 3), (40, 6), (300, 60)):
        ids = probe.ints(0, 32_000, length).tolist()
        edges = torch.randperm(length, generator=probe.generator)[:2 * most].sort().values.tolist()
        compare(ids, list(zip(edges[::2], edges[1::2])))
