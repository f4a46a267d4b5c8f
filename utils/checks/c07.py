"""The checks of lecture 07, first part: the masks of the families, and words hidden as in BERT."""
import torch
import torch.nn.functional as F

from . import c07_counts, c07_isoflop, c07_laws, c07_spans  # noqa: F401  the others
from .engine import exercise
from .probe import name_of

KINDS = ("encoder", "decoder", "prefix", "cross")


def mask(kind, Ts, Tt):
    """True where the token of a row may look at the token of a column."""
    rows, columns = {"encoder": (Ts, Ts), "decoder": (Tt, Tt), "cross": (Tt, Ts),
                     "prefix": (Ts + Tt, Ts + Tt)}[kind]
    free = {"decoder": 0, "prefix": Ts}.get(kind, columns)          # columns that all may see
    i, j = torch.arange(rows)[:, None], torch.arange(columns)
    return (j <= i) | (j < free)


def wrong_masks(kind, Ts, Tt, where):
    """{code: (a mask by a well-known mistake, what it is)}."""
    right = mask(kind, Ts, Tt)
    one, causal = torch.ones_like(right), torch.ones_like(right).tril()
    table = {"inverted": ([~right, causal.logical_not()],
                          "True and False are exchanged: True is where a token may look")}
    if kind in ("encoder", "cross"):
        table["causal"] = [causal, one.triu()], "the source is all there already: nobody has to " \
                                                "wait for it, all its tokens may be seen"
    else:
        table |= {"no-mask": (one, "every token sees every other: a target token sees the answer "
                              "it is to predict"),
                  "turned": ([right.T, one.triu(), one.triu(1)], "rows and columns are exchanged: "
                             "a row looks, a column is looked at")}
    if kind == "decoder":
        table |= {"diagonal": (one.tril(-1), "a token may look at itself; the first one would "
                               "have nothing to look at"),
                  "peek": (one.tril(1), "each token sees the next one: the answer")}
    if kind == "prefix":
        alone, blind, off = right.clone(), right.clone(), right.clone()
        alone[:Ts, Ts:], blind[Ts:, :Ts] = True, False
        off[Ts:, Ts:] = one[Ts:, Ts:].tril(-1)
        swapped = mask(kind, Tt, Ts)
        table |= {"source-causal": (causal, "the source is masked as if it were a target: its "
                                    "tokens may look at all of the source"),
                  "source-sees-target": (alone, "the source looks at the target: through it a "
                                         "target token learns what comes later"),
                  "blind": ([blind, blind & causal], "the target cannot see the source"),
                  "peek": (right | one.tril(1) & (torch.arange(Ts + Tt) >= Ts), "a token sees the "
                           "next one of the target: the answer"),
                  "diagonal": (off, "a target token may look at itself"),
                  "target-first": (right.flip(0, 1).T, "the source comes first, then the target"),
                  "exchanged": (swapped, "Ts and Tt are exchanged")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def reach(probe, seen):
    """(rows, columns) bool: whose change changes what a row of a random attention gives."""
    rows, columns = seen.shape
    q, k, v = probe.normal(rows, 3), probe.normal(columns, 3), probe.normal(columns, 2)
    before = F.scaled_dot_product_attention(q, k, v, seen)          # (rows, 2)
    moved = []
    for j in range(columns):
        other = v.clone()
        other[j] += 1
        moved.append((F.scaled_dot_product_attention(q, k, other, seen) - before).abs().amax(1))
    return torch.stack(moved, 1) > 1e-9


@exercise("07.1", hints=(
    "Two source tokens, two target tokens: draw the four masks on paper, a row for who looks. In "
    "the prefix's mask, what do rows 0 and 1 hold? And row 2, the first of the target?",
    "Three questions for each kind: how many rows (who looks), how many columns (at whom), and "
    "which columns may be seen by all. Only target tokens have to wait for target tokens.",
    "encoder: all true. cross: a row for each target token, all true\n"
    "decoder: true on and below the diagonal\n"
    "prefix: as a decoder over source and target together; then the source's columns all true"))
def family_mask(answer, probe):
    for Ts, Tt in ((3, 4), (5, 2), (1, 3), (4, 1), (6, 6), (1, 1), (7, 11)):
        for kind in KINDS:
            where = f'family_mask("{kind}", {Ts}, {Tt})'
            out, right = probe.call(answer, kind, Ts, Tt), mask(kind, Ts, Tt)
            probe.type(out, torch.Tensor, where)
            if tuple(out.shape) == tuple(right.shape[::-1]) != tuple(right.shape):
                probe.fail("turned", f"{where}: a row for each token that looks, a column for each "
                           f"that is looked at: expected shape {tuple(right.shape)}, came "
                           f"{tuple(out.shape)}")
            probe.shape(out, right.shape, "shape", where)
            probe.true(out.dtype == torch.bool, "dtype", f"{where}: a mask of True and False is "
                       f"asked for, came {out.dtype}")
            out = out.cpu()
            if not torch.equal(out, right):
                known = wrong_masks(kind, Ts, Tt, where)
                i, j = (out != right).nonzero()[0].tolist()
                seen = f"row {i} {'sees' if out[i, j] else 'does not see'} column {j}"
                for code, (values, why) in known.items():
                    if any(torch.equal(out, v) for v in (values if isinstance(values, list)
                                                         else [values])):
                        probe.fail(code, f"{why}. Here {seen}")
                moved = reach(probe, out)               # a random attention with this mask
                leaks, i, j = moved & ~right, *(moved != right).nonzero()[0].tolist()
                if bool(leaks.any()):
                    i, j = leaks.nonzero()[0].tolist()
                    probe.fail("leak", f"{where}: in a random attention with your mask, changing "
                               f"token {j} changes what position {i} gives, which must not see it")
                probe.fail("unseen", f"{where}: in a random attention with your mask, changing "
                           f"token {j} changes nothing at position {i}, which may see it")
            probe.true(torch.equal(reach(probe, out), right), "leak", f"{where}: a random "
                       "attention with your mask sees other tokens than it may")


def text(probe, B, T, V):
    """(ids, mask_id): rows of common and rare words between V and V + 1, padded with V + 2."""
    common = (1 / torch.arange(1, V + 1).double()).expand(B, V)
    ids = torch.multinomial(common, T, True, generator=probe.generator)
    ids[:, 0] = V
    length = probe.ints(T * 2 // 3, T + 1, B)[:, None]
    place = torch.arange(T)
    ids = torch.where(place == length - 1, V + 1, ids)
    return torch.where(place >= length, V + 2, ids), V + 3


def rng(seed):
    return torch.Generator().manual_seed(seed)


SHARES = {                                              # (masked, another word, as it was)
    "all-masked": ((1, 0, 0), "every chosen word is masked: .8 of them are to be"),
    "nothing-done": ((0, 0, 1), "no chosen word is changed"),
    "no-mask": ((0, 1, 0), "no chosen word is masked"),
    "none-kept": ((0.8, 0.2, 0), "no chosen word stays as it is: .1 do, so that the model cannot "
                  "trust what it sees"),
    "none-random": ((0.8, 0, 0.2), "no chosen word becomes another word: .1 do"),
    "nine-tenths": ((0.9, 0.1, 0), "masked are .9 and none stays"),
    "tenth-of-rest": ((0.8, 0.02, 0.18), "a tenth of those that are not masked become another "
                      "word: it is half of them, a tenth of all chosen"),
    "overwritten": ((0.72, 0.1, 0.18), "a second draw overwrites some of the masks: each chosen "
                    "word has one fate"),
    "exchanged": ((0.1, 0.8, 0.1), "masked and random are exchanged: .8 are masked"),
    "turned": ((0.1, 0.1, 0.8), "masked and kept are exchanged: .8 are masked"),
    "thirds": ((1 / 3, 1 / 3, 1 / 3), "the three fates are not equally likely"),
    "one-draw": ((0.15, 0, 0.85), "the draw that chooses is used again for what happens")}


def off(count, of, chance):
    """Is a count of so many tries more than 5 standard deviations from its mean?"""
    return abs(count - of * chance) > 5 * (of * chance * (1 - chance)) ** 0.5 + 1


@exercise("07.2", hints=(
    "Give it 10,000 copies of word 3 and count: 1,500 labels that are not -100. Of these 1,500, "
    "how many read mask_id, how many another word, how many still 3? Is each of these a label?",
    "Two draws for each word: is it chosen, and what becomes of it? A third for which word. "
    "Labels come from the first alone, and from ids. Specials: which ids are below V?",
    "chosen = a chance of .15 for each place, and it holds a word\n"
    "fate = one more number in [0, 1) for each place\n"
    "chosen and fate below .8: the mask; chosen and fate in the last tenth: a random word below V\n"
    "labels: the original where chosen, else -100"))
def mlm_corrupt(answer, probe):
    def ask(ids, mask_id, V, seed, where):
        out = probe.call(answer, ids, mask_id, V, rng(seed))
        probe.type(out, (tuple, list), "return inp, labels")
        probe.true(len(out) == 2, "type", f"return two tensors, inp and labels, came {len(out)}")
        for name, t in zip(("inp", "labels"), out):
            probe.type(t, torch.Tensor, f"{where}: {name} is a tensor")
            probe.shape(t, ids.shape, "shape", f"{where}: {name}")
            probe.true(t.dtype == torch.int64, "dtype", f"{where}: {name} holds ids, int64, came "
                       f"{t.dtype}")
        return out

    ids, mask_id = text(probe, 1200, 60, 30)
    V, where = 30, "30 words, specials 30 to 33, mask_id = 33, ids (1200, 60)"
    inp, labels = ask(ids, mask_id, V, 1, where)
    read_labels(probe, ids, inp, labels, V, mask_id, where)
    chance(answer, probe, ask, ids, mask_id, where, inp, labels)
    choice(probe, ids, labels != -100, V, where)
    fates(probe, ids, inp, labels != -100, V, mask_id, where)
    V, where = 4, "4 words, ids (900, 40), mask_id = 7"
    ids, mask_id = text(probe, 900, 40, V)
    inp, labels = ask(ids, mask_id, V, 2, where)
    read_labels(probe, ids, inp, labels, V, mask_id, where)
    changed, n = int(((inp != ids) & (inp != mask_id)).sum()), int((labels != -100).sum())
    probe.true(off(changed, n, 0.1) or not off(changed, n, 0.075), "never-itself", f"{where}: a "
               f"random word is any of the {V}, so one in {V} is the original again; yours never "
               "is")
    fates(probe, ids, inp, labels != -100, V, mask_id, where)
    for shape, ids in (("(3, 4) of specials alone", torch.full((3, 4), 9)),
                       ("(1, 1)", torch.tensor([[2]]))):
        for seed in range(3, 9):
            inp, labels = ask(ids, 9, 9, seed, f"ids {shape}, V = mask_id = 9")
            read_labels(probe, ids, inp, labels, 9, 9, f"ids {shape}, V = mask_id = 9", few=True)


def read_labels(probe, ids, inp, labels, V, mask_id, where, few=False):
    """Do labels and inp agree about which places were chosen?"""
    marked, changed, word = labels != -100, inp != ids, ids < V
    rare = marked.double().mean() < 0.9
    probe.true(few or bool(marked.any()), "no-labels", f"{where}: all labels are -100: at a "
               "chosen place the label is the original id")
    if bool((inp == -100).any()) and not bool((labels == -100).any()):
        probe.fail("swapped", f"{where}: inp holds -100 and labels does not: return inp, labels")
    if not rare and not few:
        fill = labels[~changed & (labels != ids)]
        probe.true(len(fill) > 0, "labels-everywhere", f"{where}: every place has its id for a "
                   "label, so that the model is paid for copying: -100 where nothing is chosen")
        probe.fail("filler", f"{where}: places that are not chosen have the label {int(fill[0])}: "
                   "-100 is what cross_entropy leaves out")
    if bool((changed & ~marked).any()):
        both = bool((changed & marked).any())
        i, j = (changed & ~marked).nonzero()[0].tolist()
        code = "unlabelled" if both or float(marked.double().mean()) < 0.5 else "inverted"
        probe.fail(code, f"{where}: at [{i}, {j}] the word is changed, and its label is -100" + (
            ": labels and -100 are exchanged" if code == "inverted" else
            ": every chosen word is to be guessed, whatever became of it"))
    if not torch.equal(labels[marked], ids[marked]):
        corrupt = torch.equal(labels[marked], inp[marked])
        i, j = (marked & (labels != ids)).nonzero()[0].tolist()
        probe.fail("labels-corrupted" if corrupt else "labels", f"{where}: at [{i}, {j}] stood "
                   f"{int(ids[i, j])}, the label is {int(labels[i, j])}" + (
                       ", what the model reads: it is to say what was there" if corrupt else ""))
    probe.true(not bool((marked & ~word).any()), "special", f"{where}: special tokens (ids from "
               f"{V} on) are chosen too: only words are")


def chance(answer, probe, ask, ids, mask_id, where, inp, labels):
    """Does all chance come from rng, and go on where it stopped?"""
    def twice(ids, mask_id, V, generator):
        return [answer(ids, mask_id, V, generator) for _ in range(2)]
    twice.__name__ = name_of(answer)
    again = ask(ids, mask_id, 30, 1, where)
    probe.true(torch.equal(again[0], inp) and torch.equal(again[1], labels), "seed", f"{where}: "
               "two calls with generators in the same state differ: every draw takes "
               "generator=rng")
    other = ask(ids, mask_id, 30, 2, where)
    probe.true(not torch.equal(other[1], labels), "rng-unused", f"{where}: another generator, the "
               "same places: draw with the rng that is given")
    probe.true(not torch.equal(other[1].sum(0), labels.sum(0)), "rng-unused", where)
    first, second = probe.call(twice, ids, mask_id, 30, rng(5))
    probe.true(not torch.equal(first[1], second[1]), "rng-copied", f"{where}: two calls one after "
               "the other with one generator hide the same words: draw from rng itself, not from "
               "a copy or a new one with its seed")


def choice(probe, ids, marked, V, where):
    """Is each word chosen with .15, independently?"""
    word = ids < V
    n, hit = int(word.sum()), int((marked & word).sum())
    rows, columns = marked.sum(1).double(), (marked & word).double().sum(0) / word.sum(0).clamp(1)
    per_word = torch.stack([marked[ids == v].double().mean() for v in range(V)])
    busy = word.sum(0) > 400
    spread = float((marked & word).double().sum(1).var() / (word.sum(1) * 0.15 * 0.85).mean())
    probe.true(float(per_word.min()) > 0 or float(per_word.max()) < 0.9, "by-word", f"{where}: all "
               "places of one word are chosen together: each place has its own draw")
    probe.true(not (float(columns[busy].max()) > 0.9), "same-columns", f"{where}: all rows "
               "have the same places chosen: each place of each row has its own draw")
    told = f"{where}: {hit / n:.4f} of the words are chosen, expected .15"
    probe.true(0.1 < hit / n < 0.2, "rate", told)
    uneven = (f"{where}: some rows have far more chosen words than others ({int(rows.min())} to "
              f"{int(rows.max())}): each word has its own draw")
    probe.true(spread < 6, "rows", uneven)
    probe.true(not off(hit, n, 0.15), "rate", told)
    probe.true(spread > 0.6, "fixed-count", f"{where}: the number of chosen words hardly differs "
               "from row to row: each word is chosen by a draw of its own")
    pairs = word[:, 1:] & word[:, :-1]
    both = int((marked[:, 1:] & marked[:, :-1] & pairs).sum())
    probe.true(not off(both, int(pairs.sum()), 0.0225), "neighbours", f"{where}: a word beside a "
               f"chosen one is chosen {both / max(int((marked[:, :-1] & pairs).sum()), 1):.2f} of "
               "the times, expected .15: places are independent")
    probe.true(spread < 1.6, "rows", uneven)
    probe.true(all(not off(float(columns[j] * word[:, j].sum()), int(word[:, j].sum()), 0.15)
                   for j in busy.nonzero()[:, 0].tolist()), "columns", f"{where}: some "
               "columns are chosen more often than others")
    for v in (0, 1):
        probe.true(not off(int(marked[ids == v].sum()), int((ids == v).sum()), 0.15), "words",
                   f"{where}: word {v} is chosen {float(per_word[v]):.3f} of the times, expected "
                   ".15 for each word")


def fates(probe, ids, inp, marked, V, mask_id, where):
    """Are .8 masked, .1 another word, .1 as they were?"""
    n = int(marked.sum())
    masked = marked & (inp == mask_id)
    random = marked & (inp != ids) & ~masked
    got = [int(part.sum()) / n for part in (masked, random, marked & (inp == ids))]
    same = 0.1 / V                                      # a random word may be the original
    want = (0.8, 0.1 - same, 0.1 + same)
    told = (f"{where}: of the chosen words {got[0]:.3f} are masked, {got[1]:.3f} are other words, "
            f"{got[2]:.3f} as they were; expected .8, {want[1]:.3f}, {want[2]:.3f}")
    new = inp[random]
    strange = new[(new >= V) | (new < 0)]
    probe.true(not len(strange), "random-special", f"{where}: a random word came out as id "
               f"{int(strange[0]) if len(strange) else ''}: the words are 0 to {V - 1}")
    if any(off(share * n, n, chance) for share, chance in zip(got, want)):
        for code, ((a, b, c), why) in SHARES.items():
            if not any(off(share * n, n, chance) for share, chance in zip(
                    got, (a, b - b / V, c + b / V))):
                probe.fail(code, f"{told}: {why}")
        probe.fail("shares", told)
    probe.true(len(new.unique()) > 2 or V < 4, "one-word", f"{where}: all random words of a call "
               "are the same: each place draws its own")
    expected = torch.stack([(ids[random] != v).double().sum() / (V - 1) for v in range(V)])
    counts = torch.bincount(new, minlength=V).double()
    if float(((counts - expected) ** 2 / expected).sum()) > V - 1 + 8 * (2 * V - 2) ** 0.5:
        lacking = (counts == 0).nonzero()[:, 0].tolist()
        probe.true(not lacking, "random-range", f"{where}: word {lacking[0] if lacking else ''} "
                   f"never comes as a random word: each of 0 to {V - 1} is equally likely")
        probe.fail("random-uneven", f"{where}: some random words come more often than others "
                   f"(word {int(counts.argmax())} {int(counts.max())} times, expected "
                   f"{float(expected[counts.argmax()]):.0f}): draw from all words evenly, not from "
                   "the text")
    first = masked[marked]                              # in reading order
    row = torch.arange(len(ids))[:, None].expand_as(ids)[marked]
    near = row[1:] == row[:-1]
    both = int((first[1:] & first[:-1] & near).sum())
    probe.true(not off(both, int(near.sum()), 0.64), "fate-by-row", f"{where}: two chosen words of "
               f"a row are both masked {both / max(int(near.sum()), 1):.3f} of the times, expected "
               ".64: each has its own fate")
