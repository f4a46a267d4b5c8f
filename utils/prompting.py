"""Examples in a prompt, and whether the model then goes on as it should."""
import functools

import torch

from .data import load_analogies
from .pretrained import load_smollm2
from .transformer import Cache

# Sections of Google's analogies (Mikolov 2013) that hold pairs of words under one rule.
RULES = {"comparative": "gram3-comparative", "past tense": "gram7-past-tense"}


@functools.cache
def smollm2():
    """SmolLM2, loaded once for all that a notebook does with it."""
    return load_smollm2()


@torch.inference_mode()
def next_logits(lm, text):
    """What a Pretrained expects after a text: logits (vocab_size,) on the CPU."""
    ids = torch.tensor([lm.encode(text) or [lm.stop[-1]]], device=lm.model.embedding.weight.device)
    return lm.model.head(lm.model.hidden(ids)[0, -1]).float().cpu()


def word_pairs(rule):
    """The different pairs of a rule, such as (big, bigger), in the file's order: list of tuples."""
    pairs = {}
    for section, a, b, c, d in load_analogies():
        if section == RULES[rule]:
            pairs |= {(a, b): None, (c, d): None}
    return list(pairs)


def draw_examples(pairs, n, seed):
    """(n pairs drawn at random, the others in their order)."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(pairs), generator=rng).tolist()
    return [pairs[i] for i in order[:n]], [pairs[i] for i in sorted(order[n:])]


def shift_labels(examples):
    """The same left and right sides, each right side beside the wrong left one."""
    return [(a, b) for (a, _), (_, b) in zip(examples, examples[1:] + examples[:1])]


@torch.inference_mode()
def continues(lm, shared, starts, answers):
    """Whether greedy decoding after shared + start would write the answer: bool (n,).

    lm: a Pretrained. shared: a text read once for all, then starts: n texts, each with one answer.
    An answer counts when each of its tokens is the likeliest after those before it: what greedy
    decoding would write, found in one pass instead of one per token.
    """
    model, place = lm.model, lm.model.embedding.weight.device
    prefix = lm.encode(shared) or [lm.stop[-1]]             # a text needs one token to begin with
    asked, wanted = [lm.encode(s) for s in starts], [lm.encode(a) for a in answers]
    rows = [s + a for s, a in zip(asked, wanted)]
    B, longest = len(rows), max(map(len, rows))
    one = Cache(model.config, 1, len(prefix), place)
    model.hidden(torch.tensor([prefix], device=place), cache=one)
    many = Cache(model.config, B, len(prefix) + longest, place)
    for mine, theirs in zip(many.keys + many.values, one.keys + one.values):
        mine[:, :, :len(prefix)] = theirs
    many.length = len(prefix)
    ids = torch.zeros(B, longest, dtype=torch.long, device=place)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row, device=place)
    hidden = model.hidden(ids, cache=many)                              # (B, longest, d_model)
    right = []
    for i, (s, a) in enumerate(zip(asked, wanted)):
        likeliest = model.head(hidden[i, len(s) - 1:len(s) + len(a) - 1]).argmax(-1)
        right.append(likeliest.tolist() == a)
    return torch.tensor(right)
