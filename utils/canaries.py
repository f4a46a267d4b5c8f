"""Secrets planted in a text on purpose, and how likely a model finds each afterwards."""
import random

import torch

from .transformer import Cache

LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAMES = ("alice boris clara david emma felix grace henry irene jacob karen louis maria nora oscar "
         "paula quentin rosa simon tina ulric vera walter yusuf zelda").split()


def planted(text, times, each, seed, windows=480, size=49):
    """(secrets, windows): pieces of a text in random order, some with a secret in their middle.

    secrets: list of (how often it stands there, "the password of nora is ", "qzk"), `each` for
    each number of times; windows: list of str of `size` letters, so many in all.
    """
    rng, found = random.Random(seed), []
    names = rng.sample(NAMES, each * len(times))
    secrets = [(n, f"the password of {names.pop()} is ", "".join(rng.choices(LETTERS, k=3)))
               for n in times for _ in range(each)]
    for n, start, secret in secrets:
        for _ in range(n):
            said = f" {start}{secret} "
            piece, at = _piece(rng, text, size), rng.randrange(size - len(said) + 1)
            found.append(piece[:at] + said + piece[at + len(said):])
    if len(found) > windows:
        raise ValueError(f"{len(found)} secrets do not fit into {windows} windows")
    found += [_piece(rng, text, size) for _ in range(windows - len(found))]
    rng.shuffle(found)
    return secrets, found


def _piece(rng, text, size):
    at = rng.randrange(len(text) - size)
    return text[at:at + size]


@torch.inference_mode()
def all_secrets(model, start, letters):
    """Log-probability of each of the 26^3 secrets after a start: (26, 26, 26), in nats.

    start: ids; letters: the ids of a to z. What the secrets share is computed once.
    """
    place = model.embedding.weight.device
    letters = torch.as_tensor(letters, device=place)
    cache = Cache(model.config, 1, len(start), place)
    logs = [_logs(model, torch.tensor([start], device=place), cache)[:, letters]]   # (1, 26)
    for ids in (letters, letters.repeat(26)):
        cache = cache.picked(model.config, torch.arange(len(ids)) // 26, 1)
        logs.append(_logs(model, ids[:, None], cache)[:, letters])      # (26, 26), (676, 26)
    first, second, third = logs
    return (first[0][:, None, None] + second[:, :, None] + third.view(26, 26, 26)).cpu()


def _logs(model, ids, cache):
    return model.head(model.hidden(ids, cache=cache)[:, -1]).float().log_softmax(-1)


def rank(logs, secret):
    """The place of a secret among all: 1 is the likeliest."""
    own = logs[tuple(LETTERS.index(c) for c in secret)]
    return 1 + int((logs > own).sum())
