"""Byte pair encoding: a vocabulary that grows by joining the commonest pair of neighbours."""
import json
import re
import unicodedata
from collections import Counter, defaultdict
from heapq import heapify, heappop, heappush
from itertools import accumulate, chain
from operator import index
from pathlib import Path

import numpy as np

from . import store

# Where a text is cut before pairs are counted, so that no token holds parts of two words. The rule
# is GPT-2's (Radford 2019): an English ending such as 's; letters, digits or other signs, each
# with one space before; spaces. Control characters 1c to 1f are no spaces to Unicode; what is
# newer than Python's tables of Unicode, unicodedata.unidata_version, counts as a sign.
PATTERN = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|[_\x1c-\x1f])+"
    r"|[^\S\x1c-\x1f]+(?![\S\x1c-\x1f])|[^\S\x1c-\x1f]+")
# GPT-2's order of the 256 bytes, which settles ties: those that print come first.
ORDER = {chr(byte): place for place, byte in enumerate(sorted(range(256), key=lambda byte: (
    not (33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte), byte)))}
NEVER = 1 << 40                                         # the rank of a pair that no merge joins


def split(text):
    """Cut a text (str, or bytes of any kind) where no token may cross: list of str.

    A byte that is not UTF-8 becomes one lone surrogate (surrogateescape), a sign of its own.
    Raises UnicodeEncodeError for a str that holds half a surrogate pair.
    """
    if isinstance(text, bytes):
        text = text.decode("utf8", "surrogateescape")
    else:
        text.encode("utf8")
    if text.isascii():
        return PATTERN.findall(text)
    # Unicode counts ² and Ⅷ among the numbers, re among the letters: cut as if a 0 stood there.
    odd = {ord(c): "0" for c in set(text) if unicodedata.category(c) in ("Nl", "No")}
    pieces = PATTERN.findall(text.translate(odd))
    return [text[end - len(p):end] for p, end in zip(pieces, accumulate(map(len, pieces)))]


def _bytes(piece):
    return piece.encode("utf8", "surrogateescape")


def visible(token):
    """The bytes of a token as GPT-2 writes them, one letter that prints for each: str."""
    return "".join(chr(b) if ORDER[chr(b)] < 188 else chr(68 + ORDER[chr(b)]) for b in token)


def train(text, vocab_size):
    """Learn merges: list of pairs of ids, where merge i makes id 256 + i (0 to 255 are the bytes).

    text: str or bytes; vocab_size: 256 or more. Fewer merges come back when no pair is left.
    Each merge joins the pair with most occurrences within the pieces of split(text), overlapping
    ones counted ("aaa" has two); of equals the one with the smaller left id, then the smaller
    right id, the bytes in ORDER. Hugging Face's BpeTrainer decides alike, except that it gives two
    merges one id when they spell the same token. Raises ValueError below 256.
    Source: Gage 1994, A new algorithm for data compression; Sennrich 2016, arXiv 1508.07909.
    """
    if vocab_size < 256:
        raise ValueError(f"vocab_size {vocab_size} came: 256 or more is needed, a byte each")
    found = Counter(split(text))
    # A word is a str with one character per token, chr(id): so str.replace makes a merge in it.
    words, counts = [_bytes(piece).decode("latin1") for piece in found], list(found.values())
    pairs, where = Counter(), defaultdict(set)          # occurrences; in which words
    for w, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += counts[w]
            where[pair].add(w)
    order = ORDER.copy()
    heap = [(-n, order[a], order[b], (a, b)) for (a, b), n in pairs.items()]
    heapify(heap)                                       # the first is the next to merge
    merges = []
    while heap and len(merges) < vocab_size - 256:
        n, first, second, pair = heappop(heap)
        if -n != pairs[pair]:                           # counted before other merges took some
            if pairs[pair]:
                heappush(heap, (-pairs[pair], first, second, pair))
            continue
        token, both, born = chr(256 + len(merges)), "".join(pair), set()
        order[token] = ord(token)
        merges.append((ord(pair[0]), ord(pair[1])))
        for w in where.pop(pair):
            old = words[w]
            new = words[w] = old.replace(both, token)   # left to right: "aaa" becomes X a
            if len(new) < len(old):                     # else another merge took the pair
                for was in zip(old, old[1:]):
                    pairs[was] -= counts[w]
                for now in zip(new, new[1:]):
                    pairs[now] += counts[w]
                    if token in now:
                        where[now].add(w)
                        born.add(now)
        for a, b in born:
            heappush(heap, (-pairs[a, b], order[a], order[b], (a, b)))
    return merges


class BPE:
    """Text to ids and back by merges, a list as train() returns it.

    Raises ValueError when a merge joins ids that do not exist yet, or a pair comes twice.
    """

    def __init__(self, merges):
        self.merges = [(index(a), index(b)) for a, b in merges]
        self.tokens = {i: bytes([i]) for i in range(256)}           # id -> its bytes
        for new, (a, b) in enumerate(self.merges, start=256):
            if not (0 <= a < new and 0 <= b < new):
                raise ValueError(f"merge {new - 256} joins {a} and {b}: ids 0 to {new - 1} exist")
            self.tokens[new] = self.tokens[a] + self.tokens[b]
        self.vocab_size = len(self.tokens)
        if len(set(self.merges)) < len(self.merges):
            pair, times = Counter(self.merges).most_common(1)[0]
            raise ValueError(f"the pair {pair} comes {times} times: each pair merges once")
        base = self.vocab_size + 1                      # a pair as one number: left * base + right
        keys = np.array([a * base + b for a, b in self.merges] + [base * base])
        self._ranks = keys.argsort()                    # (merges + 1,): the last is no merge
        self._keys = keys[self._ranks]                  # ascending, to look up many at once
        self._seen = {}                                 # piece -> its ids

    def encode(self, text):
        """The ids of a str, or of bytes of any kind: list of int. Every piece is kept in memory.

        Raises UnicodeEncodeError for a str that holds half a surrogate pair.
        """
        pieces = split(text)
        new = [piece for piece in dict.fromkeys(pieces) if piece not in self._seen]
        if new:
            self._seen.update(zip(new, self._merge([_bytes(piece) for piece in new])))
        return list(chain.from_iterable(map(self._seen.__getitem__, pieces)))

    def decode(self, ids):
        """The bytes of ids (a list, a (T,) array or tensor). Raises ValueError for unknown ids."""
        try:
            ids = ids.tolist() if hasattr(ids, "tolist") else ids
            return b"".join([self.tokens[i] for i in ids])
        except KeyError as error:
            raise ValueError(f"id {error} came: this vocabulary has ids 0 to "
                             f"{self.vocab_size - 1}") from None

    def decode_text(self, ids):
        """The text of ids; each part that is no UTF-8, as in half a character, becomes U+FFFD."""
        return self.decode(ids).decode("utf8", "replace")

    def save(self, path):
        """Write the merges as JSON, whole or not at all."""
        kept = {"vocab_size": self.vocab_size, "merges": self.merges}
        store.write(Path(path), json.dumps(kept).encode())

    @classmethod
    def load(cls, path):
        """What save() wrote. Raises ValueError for a damaged file, OSError for a missing one."""
        try:
            kept = json.loads(Path(path).read_bytes())
            model = cls(kept["merges"])
            if model.vocab_size != kept["vocab_size"]:
                raise ValueError(f"{model.vocab_size} ids of {kept['vocab_size']}")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} holds no merges, or is damaged ({error}): save it anew or "
                             "train again") from error
        return model

    def _merge(self, pieces):
        """The ids of many pieces at once: list of bytes -> list of lists of int.

        In a round every piece makes the merge that was learned first, wherever it occurs in it.
        """
        end = self.vocab_size                           # closes a piece and joins with nothing
        ids = np.frombuffer(b"".join(pieces), np.uint8).astype(np.int64)
        ids = np.insert(ids, np.cumsum([len(piece) for piece in pieces], dtype=int), end)
        rank = self._rank(ids, np.roll(ids, -1))        # (T,): the merge that joins t and t + 1
        while True:
            piece = np.cumsum(ids == end) - (ids == end)            # (T,): whose id it is
            starts = np.searchsorted(piece, np.arange(len(pieces)))
            first = np.minimum.reduceat(rank, starts)[piece]     # (T,)
            at = np.flatnonzero((rank == first) & (rank < NEVER))   # the left ids
            if not len(at):
                break
            i = np.arange(len(at))                      # of a run, as in "aaaa", each second
            run = np.maximum.accumulate(np.where(np.diff(at, prepend=-2) > 1, i, 0))
            at = at[(i - run) % 2 == 0]
            ids[at] = 256 + rank[at]
            ids, rank = np.delete(ids, at + 1), np.delete(rank, at + 1)
            at -= np.arange(len(at))                    # where the new ids are now
            for t in (at - 1, at):
                rank[t] = self._rank(ids[t], ids[t + 1])
        stops, ids = np.flatnonzero(ids == end).tolist(), ids.tolist()
        return [ids[a + 1:b] for a, b in zip([-1, *stops], stops)]

    def _rank(self, left, right):
        """Which merge joins left and right, (n,) ids each: (n,), NEVER where none does."""
        key = left * (self.vocab_size + 1) + right
        place = np.searchsorted(self._keys, key)
        return np.where(self._keys[place] == key, self._ranks[place], NEVER)
