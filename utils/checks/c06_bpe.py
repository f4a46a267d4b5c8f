"""The check of lecture 06 for byte pair encoding: train, encode, decode."""
from collections import Counter

from .engine import exercise


def replace(ids, pair, new, mistake=""):
    """ids with each `pair`, read from left to right, replaced by `new`."""
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i:i + 2]) == tuple(pair):
            out.append(new)
            i += 1 if mistake == "overlap" else 2
        else:
            out.append(ids[i])
            i += 1
    return out


def count(ids, mistake=""):
    """How often each pair of neighbours stands in ids."""
    if mistake == "count-apart":                            # as str.count does: without overlaps
        return {pair: len(ids) - len(replace(ids, pair, -1)) for pair in zip(ids, ids[1:])}
    return Counter(p for p in zip(ids, ids[1:]) if mistake != "words" or 32 not in p)


def train(text, n, mistake=""):
    """n merges of a text, fewer if no pair is left that stands there twice; one known mistake."""
    ids, merges = list(text.decode(errors="replace") if mistake == "str" else text), []
    ids = [ord(c) for c in ids] if mistake == "str" else ids
    counts = count(ids, mistake)
    for i in range(n - 256 if mistake == "vocab-size" else n):
        counts = count(ids, mistake) if mistake != "recount" else counts
        counts = {p: c for p, c in counts.items() if mistake != "recount" or p not in merges}
        most = (min if mistake == "rarest" else max)(counts.values(), default=0)
        if most < (1 if mistake in ("once", "rarest") else 2):
            break
        tied = [pair for pair, c in counts.items() if c == most]
        best = {"ties": tied[0], "ties-last": tied[-1], "ties-largest": max(tied)}.get(
            mistake, min(tied))
        merges.append(best)
        ids = replace(ids, best, {"ids": 257 + i, "ids-zero": i}.get(mistake, 256 + i), mistake)
    return merges


TRAINED = {                                                 # mistake -> (code, what it is)
    "str": ("str", "these are code points of characters: work on the bytes, 0 to 255"),
    "ties": ("ties", "two pairs stand there equally often: take the smaller pair, not the first "
             "one met"),
    "ties-last": ("ties", "two pairs stand there equally often: take the smaller pair, not the "
                  "last one met"),
    "ties-largest": ("ties", "two pairs stand there equally often: take the smaller, you took the "
                     "larger"),
    "recount": ("recount", "the counts are those of the bytes: after each merge the text has "
                "changed, replace the pair and count anew"),
    "overlap": ("overlap", "replacing went on one place after a pair, and used its second half "
                "again: a pair takes two places"),
    "count-apart": ("count-apart", "a pair is counted at each place where it stands: `aaa` holds "
                    "(97, 97) twice"),
    "words": ("words", "pairs with a space are left out: here the text is not split into words"),
    "once": ("once", "a pair that stands there once is merged: stop when none stands there twice"),
    "rarest": ("rarest", "the rarest pair is merged: take the most frequent"),
    "vocab-size": ("vocab-size", "n is the number of merges, not the size of the vocabulary"),
    "ids": ("new-id", "the first merge makes id 256, the next 257"),
    "ids-zero": ("new-id", "the first merge makes id 256: ids below are taken by the bytes")}


def words_of(merges):
    """{id: its bytes} of all bytes and merges."""
    words = {i: bytes([i]) for i in range(256)}
    for i, (a, b) in enumerate(merges):
        words[256 + i] = words[a] + words[b]
    return words


def encode(data, merges, mistake=""):
    """Ids of data, with one known mistake."""
    if mistake == "longest":
        words, out = sorted(words_of(merges).items(), key=lambda w: -len(w[1])), []
        while data:
            i, word = next(w for w in words if data.startswith(w[1]))
            out, data = [*out, i], data[len(word):]
        return out
    if mistake == "words":
        parts = [encode(word, merges) for word in data.split(b" ")]
        return [i for k, part in enumerate(parts) for i in [32] * (k > 0) + part]
    ids = list(data)
    if mistake == "one-pass":                               # left to right, whatever pair fits
        at = 0
        while at < len(ids) - 1:
            pair = ids[at], ids[at + 1]
            if pair in merges:
                ids[at:at + 2] = [256 + merges.index(pair)]
            else:
                at += 1
        return ids
    if mistake == "frequent":
        while True:
            counts = {p: c for p, c in count(ids).items() if p in merges}
            if not counts:
                return ids
            best = min(counts, key=lambda p: (-counts[p], p))
            ids = replace(ids, best, 256 + merges.index(best))
    order = list(enumerate(merges))
    for i, pair in reversed(order) if mistake == "last-first" else order:
        if mistake == "first-place":
            at = next((k for k, p in enumerate(zip(ids, ids[1:])) if p == pair), None)
            ids = ids if at is None else [*ids[:at], 256 + i, *ids[at + 2:]]
        elif mistake != "bytes-only" or max(pair) < 256:
            ids = replace(ids, pair, 256 + i, mistake)
    return ids


ENCODED = {
    "longest": "this takes the longest known piece from the left: encoding applies merges, the "
               "earliest first",
    "one-pass": "this goes through the text once and merges what fits: an earlier merge further "
                "right comes first",
    "frequent": "this merges what is frequent in the new text: only the order of training counts",
    "last-first": "the merges are applied last one first: earlier ones come first",
    "first-place": "a merge is applied at its first place only",
    "words": "the text is split at spaces: here a piece may hold one",
    "bytes-only": "only pairs of bytes are merged: pieces merge again",
    "overlap": "replacing went on one place after a pair, and used its second half again"}


def pairs_of(probe, out, where):
    """Merges as a list of tuples of two ints, after a test of their type."""
    probe.type(out, (list, tuple), f"{where}: bpe_train returns a list of pairs of ids")
    for pair in out:
        good = isinstance(pair, list | tuple) and len(pair) == 2 and all(
            hasattr(type(i), "__index__") for i in pair)
        probe.true(good, "type", f"{where}: bpe_train returns pairs of whole numbers, such as "
                   f"(97, 98); among them came {pair!r}")
    return [tuple(map(int, pair)) for pair in out]


def try_train(probe, answer, text, n, where=""):
    where = f"{where or text!r}, n = {n}"
    out = pairs_of(probe, probe.call(answer, text, n), where)
    right = train(text, n)
    for mistake, (code, why) in TRAINED.items() if out != right else ():
        wrong = right
        if mistake != "str" or max(text, default=0) > 127:
            wrong = train(text, n, mistake)
        probe.true(out != wrong or wrong == right, code, f"{where}: {why}. Expected {right[:6]}, "
                   f"came {out[:6]}")
    first = next((i for i, (a, b) in enumerate(zip(out, right)) if a != b), None)
    if first is not None:
        probe.fail("merge", f"{where}: merge {first} must be {right[first]}, came {out[first]}")
    probe.true(len(out) == len(right), "stop", f"{where}: expected {len(right)} merges (n, or "
               f"fewer when no pair is left that stands there twice), came {len(out)}")
    return out


def try_encode(probe, answer, data, merges, where):
    out = probe.call(answer, data, merges)
    probe.type(out, (list, tuple), "bpe_encode returns a list of ids")
    out, right = list(out), encode(data, merges)
    if out != right:
        at = next((i for i, (a, b) in enumerate(zip(out, right)) if a != b), min(len(out),
                                                                               len(right)))
        probe.fail("encode", f"{where}: from place {at} on expected {right[at:at + 9]}, came "
                   f"{out[at:at + 9]}")
    return out


def try_small(probe, answer):
    """Small cases; a mistake is named if it explains what came in all of them."""
    bc, ab, aa = (98, 99), (97, 98), (97, 97)
    cases = [(data, merges) for data, merges in (
        (b"abc", [bc, ab]), (b"abc", [ab, bc]), (b"abcab", [bc, ab]), (b"aaa", [aa]),
        (b"aaaaa", [aa, (256, 256)]), (b"abab", [ab, (256, 256)]), (b"bcabab", [bc, ab]),
        (b"ababcabab", [bc, ab, (97, 256)]), (b"abcd", [ab, (99, 100), (256, 257)]),
        (b"", [bc]), (b"cba", [bc, ab]), (b"abc", []), (b"abcabcab", [ab, bc, (256, 99)]),
        (b"a ba b", [(97, 32), (256, 98)]), (b"abcde", [ab, (256, 99), (99, 100), (258, 101)]))]
    came = []
    for data, merges in cases:
        out = probe.call(answer, data, merges)
        probe.type(out, (list, tuple), "bpe_encode returns a list of ids")
        came.append(list(out))
    right = [encode(*case) for case in cases]
    first = next((i for i, out in enumerate(came) if out != right[i]), None)
    if first is None:
        return
    data, merges = cases[first]
    code = next((m for m in ENCODED if came == [encode(*case, m) for case in cases]), "encode")
    why = f": {ENCODED[code]}" if code in ENCODED else ""
    probe.fail(code, f"{data!r} with merges {merges}{why}. Expected {right[first]}, came "
               f"{came[first][:9]}")


def try_decode(probe, answer, ids, merges, where):
    out = probe.call(answer, ids, merges)
    probe.true(not isinstance(out, str), "text", f"{where}: bpe_decode returned a str: return "
               "bytes. Some ids hold half a character, and only the whole is text")
    probe.type(out, (bytes, bytearray), "bpe_decode returns bytes")
    words = words_of(merges)
    right = b"".join(words[i] for i in ids)
    turned = {i: bytes([i]) for i in range(256)}
    for i, (a, b) in enumerate(merges):
        turned[256 + i] = turned[b] + turned[a]
    why = f"{where}: expected {right[:20]!r}, came {bytes(out)[:20]!r}"
    probe.true(out == right or out != b"".join(turned[i] for i in ids), "turned", f"{why}: the two "
               "halves of a merge are exchanged")
    probe.true(out == right, "decode", why)


@exercise("06.3", hints=(
    "Smallest cases: b'aaa' holds (97, 97) twice, and becomes [256, 97]. b'abc' with the merges "
    "[(98, 99), (97, 98)] becomes [97, 256], as the earlier merge comes first. Do yours?",
    "Train: count neighbours, take the most frequent (of equals the smaller pair), replace it from "
    "left to right, count anew. Encode: the same replacing, in the order of the merges. "
    "Decode: an id above 255 stands for two ids, which may stand for two each.",
    "train: ids = the bytes\n    up to n times: count the pairs of neighbours; stop if none stands "
    "there twice\n    best pair -> next free id, everywhere in ids; remember the pair\n"
    "encode: ids = the bytes; for each merge in order: replace its pair by its id\n"
    "decode: a table of bytes: 0 .. 255, then for each merge its two pieces; glue what ids name"))
def bpe(bpe_train, bpe_encode, bpe_decode, probe):
    for text, n in ((b"abab", 1), (b"aaa", 1), (b"baab", 3), (b"aaabcxbcy", 1),
                    (b"aaabdaaabac", 3), (b"zyzyaabb aabb", 2), (b"a b a b a b", 4), (b"aaaaa", 3),
                    (b"abcdab", 9), (b"", 4), (b"x", 4), (b"abab", 0)):
        try_train(probe, bpe_train, text, n)
    for text in ("\u00e9\u00e8\u00e9\u00e8", "\U0001f600 \U0001f601 \U0001f600"):
        try_train(probe, bpe_train, text.encode(), 5, f"the bytes of {text!r}")
    texts = [bytes((97 + probe.ints(0, k, length)).tolist()) for k, length in
             ((2, 40), (3, 90), (5, 300), (2, 7))]
    for text in texts:
        try_train(probe, bpe_train, text, 12, f"{len(text)} random letters, "
                  f"{len(set(text))} kinds, {text[:12]!r}...")
    try_small(probe, bpe_encode)
    d = (97, 98)
    for ids, merges in (([97, 98], []), ([256], [d]), ([257], [d, (256, 99)]), ([], [d]),
                        ([256, 97, 257, 257], [d, (256, 256)]), ([255, 0], []),
                        ([240, 159], [])):
        try_decode(probe, bpe_decode, ids, merges, f"ids {ids} with merges {merges}")
    for text in texts:
        merges = train(text, 12)
        other = bytes((97 + probe.ints(0, 4, 30)).tolist())
        ids = try_encode(probe, bpe_encode, other, merges, f"{other[:12]!r}..., {len(merges)} "
                         "merges of another text")
        try_decode(probe, bpe_decode, ids[::-1], merges, f"{len(ids)} ids in any order")
    whole = round_trips(bpe_train, bpe_encode, bpe_decode, probe)
    lengths = [len(probe.call(bpe_encode, *whole[:1], whole[1][:k])) for k in range(21)]
    rises = [k for k in range(20) if lengths[k + 1] >= lengths[k]]
    probe.true(not rises, "lengths", "each merge must shorten the text it was learnt from: "
               f"{lengths} ids with 0, 1, ... merges")


def round_trips(bpe_train, bpe_encode, bpe_decode, probe):
    """Any bytes go there and back with merges of their own; (text, merges) of the longest one."""
    sets = (range(32, 127), range(0xE0, 0x180), range(0x4E00, 0x4E40), range(0x1F600, 0x1F640))
    text = "".join(chr(int(probe.ints(s[0], s[-1] + 1, 1))) for s in sets for _ in range(20))
    text = (text + " to be or not to be, " * 3) * 2
    merges = try_train(probe, bpe_train, text.encode(), 20, "a text with letters, accents, "
                       "Chinese and emoji")
    strange = bytes(probe.ints(0, 256, 60).tolist())
    try_train(probe, bpe_train, strange * 2, 9, "60 random bytes, twice")
    for data, name in ((text.encode(), "the text it was trained on"), (b"", "nothing"),
                       ("\U0001f469\u200d\U0001f680 na\u00efve \u4e00".encode(), "an emoji of "
                        "three parts, an accent, Chinese"), (strange, "60 random bytes"),
                       (bytes(range(256)), "all 256 bytes")):
        ids = try_encode(probe, bpe_encode, data, merges, name)
        back = probe.call(bpe_decode, ids, merges)
        probe.true(back == data, "round-trip", f"{name}: encoded and decoded it is not what it was")
    return text.encode(), merges
