"""Is a model right as often as it is sure? Questions with a known answer, and how far it errs."""
import random
import re
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .data import load_factbook
from .transformer import Cache


class Question(NamedTuple):
    """A country and four capitals of its part of the world; options[0] is its own."""
    country: str
    options: list


def capitals(n=None, seed=0):
    """Questions from the Factbook, in the alphabet's order: list of Question.

    Left out are countries whose name is in their capital's or the other way round (Kuwait), and
    capitals that are not written in plain letters. n: so many, spread over the alphabet.
    """
    rng, found = random.Random(seed), {}
    for p in load_factbook():
        if p.field == "Capital, name":
            city = re.split(r"[;(]", p.text)[0].strip()
            if re.fullmatch(r"[A-Za-z' -]+", city) and city not in p.country \
                    and p.country not in city:
                found[p.country] = (city, p.region)
    questions = []
    for country, (city, region) in sorted(found.items()):
        others = sorted({c for c, r in found.values() if r == region} - {city})
        if len(others) >= 3:
            questions.append(Question(country, [city, *rng.sample(others, 3)]))
    n = n or len(questions)
    if n > len(questions):
        raise ValueError(f"{n} questions asked for, and the Factbook gives {len(questions)}")
    return [questions[i * len(questions) // n] for i in range(n)]


@torch.inference_mode()
def option_nats(model, prompts, options, batch=64):
    """Nats of each option after its prompt, (n, k), as tuning.answer_nats would find them.

    prompts: n lists of ids; options: n lists of k lists of ids. A prompt is read once for all of
    its options and nothing is padded, which takes less than half the time.
    """
    place, nats = model.embedding.weight.device, torch.zeros(len(prompts), len(options[0]))
    for length in sorted({len(p) for p in prompts}):
        same = [i for i, p in enumerate(prompts) if len(p) == length]
        cache = Cache(model.config, len(same), length, place)
        last = model.hidden(torch.tensor([prompts[i] for i in same], device=place),
                            cache=cache)[:, -1:]                                # (n, 1, d)
        rows = [(row, i, j) for row, i in enumerate(same) for j in range(nats.shape[1])]
        for T in sorted({len(options[i][j]) for _, i, j in rows}):
            alike = [r for r in rows if len(options[r[1]][r[2]]) == T]
            for some in (alike[at:at + batch] for at in range(0, len(alike), batch)):
                at = [row for row, _, _ in some]
                ids = torch.tensor([options[i][j] for _, i, j in some], device=place)   # (B, T)
                hidden = last[at]
                if T > 1:
                    many = cache.picked(model.config, at, T - 1)
                    hidden = torch.cat([hidden, model.hidden(ids[:, :-1], cache=many)], 1)
                each = F.cross_entropy(model.head(hidden).float().transpose(1, 2), ids,
                                       reduction="none")                        # (B, T)
                nats[[i for _, i, _ in some], [j for _, _, j in some]] = each.sum(1).cpu()
    return nats


class Bins(NamedTuple):
    """Answers sorted into equal bins of confidence: of each bin that is not empty, (b,)."""
    confidence: torch.Tensor                            # mean
    accuracy: torch.Tensor                              # share that is right
    share: torch.Tensor                                 # of all answers
    count: torch.Tensor                                 # how many


def binned(confidence, right, bins=10):
    """Sort answers (n,) by how sure the model was: Bins."""
    confidence, right = torch.as_tensor(confidence).float(), torch.as_tensor(right).float()
    at = (confidence * bins).long().clamp(0, bins - 1)
    count = torch.bincount(at, minlength=bins)
    full = count > 0
    mean = [torch.bincount(at, v, minlength=bins)[full] / count[full] for v in (confidence, right)]
    return Bins(*mean, count[full] / len(confidence), count[full])


def gap(confidence, right, bins=10):
    """Expected calibration error: how far confidence and accuracy lie apart, from 0 to 1.

    The mean over the bins, each by its share of the answers. Source: Naeini 2015, Guo 2017.
    """
    b = binned(confidence, right, bins)
    return float((b.share * (b.confidence - b.accuracy).abs()).sum())


def gap_interval(confidence, right, bins=10, times=1000, seed=0):
    """(low, high): the middle 95 % of `gap` over answers drawn again with replacement.

    A gap is never negative, so small samples of a perfect model have one too: the interval tells
    the spread and does not undo that.
    """
    rng = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(right), (times, len(right)), generator=rng)
    found = torch.tensor([gap(confidence[d], right[d], bins) for d in draws])
    low, high = found.quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def best_temperature(logits, targets):
    """The temperature at which logits (n, k) give the right options (n,) the fewest nats."""
    tried = torch.logspace(-1, 1.3, 116)                # 0.1 to 20, in steps of 4.7 %
    nats = torch.stack([F.cross_entropy(logits / t, targets) for t in tried])
    return float(tried[nats.argmin()])
