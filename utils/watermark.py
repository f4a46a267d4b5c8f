"""A watermark in a text: which tokens are green, which pairs count, and words in their place."""
import random
import re

import torch

from .words import neighbours

PRIME = 2 ** 31 - 1


def green(before, tokens, key, gamma=0.5):
    """Whether each token is green after the one before it: bool, shape of both broadcast.

    before, tokens: integers on any device; key: an integer that only the owner knows; gamma: the
    share of all tokens that is green. A hash, so that no list is stored (Kirchenbauer 2023).
    """
    x = (before * 2_654_435_761 + tokens * 40_503 + key * 2_246_822_519) % PRIME
    for times, shift in ((48_271, 15), (69_621, 13), (16_807, 17)):
        x = (x ^ (x >> shift)) * times % PRIME
    return x < gamma * PRIME


def pairs(ids):
    """The different pairs of neighbours of a text (n,), (m, 2): a pair said twice counts once."""
    ids = torch.as_tensor(ids)
    return torch.stack([ids[:-1], ids[1:]], 1).unique(dim=0)


def reworded(text, words, share, seed=0):
    """A text with a share of its known words replaced by their nearest neighbour.

    words: a space of utils.words, all lower case. What is no word of it stays. A stand-in for a
    paraphrase: the order and the other words are left as they are.
    """
    parts = re.split(r"(\W+)", text)
    known = [i for i, part in enumerate(parts) if part.lower() in words]
    for i in random.Random(seed).sample(known, round(share * len(known))):
        word = parts[i].lower()
        parts[i] = neighbours(words, words[word], 1, {word})[0][0]
    return "".join(parts)
