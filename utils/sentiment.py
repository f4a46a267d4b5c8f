"""Is a review for or against the film? Upper blocks, taught on what the lower ones found."""
import copy
import random
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .batches import epoch_rows
from .data import load_snippets
from .tuning import Peak, tune

SUFFIX, FOR, AGAINST = " It was", " wonderful", " awful"


def reviews(encode, n_train, n_test, most=16, seed=0):
    """(train, test): lists of Snippet of at most `most` tokens, no film in both.

    encode: text -> list of ids. A third of the films is kept for the test. Raises ValueError when
    so many cannot be had.
    """
    rng, snippets = random.Random(seed), load_snippets()
    films = sorted({s.film for s in snippets})
    held = set(rng.sample(films, len(films) // 3))
    rng.shuffle(snippets)
    parts = [[], []]
    for snippet in snippets:
        part = parts[snippet.film in held]
        if len(part) < (n_train, n_test)[snippet.film in held] and len(
                encode(snippet.text)) <= most:
            part.append(snippet)
    if (len(parts[0]), len(parts[1])) != (n_train, n_test):
        raise ValueError(f"{n_train} and {n_test} reviews of up to {most} tokens were asked for, "
                         f"and {len(parts[0])} and {len(parts[1])} are there")
    return parts


@dataclass
class Read:
    """Reviews as the lower blocks leave them: hidden (n, T, d_model), last (n,), fresh (n,)."""

    hidden: torch.Tensor
    last: torch.Tensor
    fresh: torch.Tensor


@torch.no_grad()
def read(pretrained, snippets, first, batch=32):
    """Run reviews, each with SUFFIX, through the blocks below number `first`, once: a Read.

    last: the position after which the verdict comes.
    """
    model = pretrained.model
    rows = [pretrained.encode(s.text + SUFFIX) for s in snippets]
    T, place = max(map(len, rows)), model.embedding.weight.device
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    hidden = torch.zeros(len(rows), T, model.config.d_model, device=place)
    below = model.decoder.blocks[:first]
    for some in (order[i:i + batch] for i in range(0, len(order), batch)):
        t = max(len(rows[i]) for i in some)
        ids = torch.tensor([rows[i] + [0] * (t - len(rows[i])) for i in some], device=place)
        x = model.embed(ids, torch.arange(t, device=place))
        for block in below:
            x = block(x, causal=True, turn=(model.cos[:t], model.sin[:t]))
        hidden[some, :t] = x
    return Read(hidden, torch.tensor([len(row) - 1 for row in rows], device=place),
                torch.tensor([float(s.fresh) for s in snippets], device=place))


class Upper(nn.Module):
    """A copy of the blocks from number `first` on, which say FOR or AGAINST: one logit a review.

    The logit is that of FOR less that of AGAINST under the model's own head, plus a bias.
    """

    def __init__(self, pretrained, first):
        super().__init__()
        model = pretrained.model
        words = [pretrained.encode(word) for word in (FOR, AGAINST)]
        assert all(len(ids) == 1 for ids in words)
        rows = model.head.weight.detach()[torch.tensor(words).flatten()]        # (2, d_model)
        self.blocks = copy.deepcopy(model.decoder.blocks[first:])
        self.norm = copy.deepcopy(model.decoder.norm)
        self.register_buffer("direction", rows[0] - rows[1])
        self.register_buffer("cos", model.cos)
        self.register_buffer("sin", model.sin)
        self.bias = nn.Parameter(torch.zeros((), device=rows.device))
        self.requires_grad_()                           # also where the model is frozen

    def state(self, hidden, last):
        """hidden (B, T, d_model), last (B,) -> what the head reads at `last`, (B, d_model)."""
        T = int(last.max()) + 1                         # what comes later is padding
        x = hidden[:, :T]
        for block in self.blocks:
            x = block(x, causal=True, turn=(self.cos[:T], self.sin[:T]))
        return self.norm(x[torch.arange(len(x), device=x.device), last])

    def forward(self, hidden, last):
        return self.state(hidden, last) @ self.direction + self.bias


def verdict_loss(model, hidden, targets):
    """Mean nats of the verdicts; targets (B, 2): the position to look at, and 1 for fresh."""
    logits = model(hidden, targets[:, 0].long())
    return F.binary_cross_entropy_with_logits(logits.float(), targets[:, 1])


def teach(upper, found, lr, batch=16, epochs=1, seed=0):
    """Train what requires gradients on a Read; returns what it cost, a dict.

    trainable: numbers that could move; seconds; peak_mb: memory of the training above what was
    there before; file_mb: a file of what was trained.
    """
    n = len(found.hidden)
    targets = torch.stack([found.last.float(), found.fresh], 1)                 # (n, 2)

    def batches(step):
        some = epoch_rows(n, batch, step, seed).to(targets.device)
        return found.hidden[some], targets[some]

    began = time.perf_counter()
    log = tune(upper, batches, epochs * (n // batch), lr, batch=batch, loss=verdict_loss)
    return cost(log.trainable, began, log.above_mb)


@torch.no_grad()
def states(upper, found, batch=64):
    """What the head reads of every review, (n, d_model)."""
    return torch.cat([upper.state(h, last) for h, last in
                      zip(found.hidden.split(batch), found.last.split(batch))])


@torch.no_grad()
def right(upper, found, batch=64):
    """Which verdicts are right: bool (n,)."""
    logits = torch.cat([upper(h, last) for h, last in
                        zip(found.hidden.split(batch), found.last.split(batch))])
    return (logits > 0) == (found.fresh > 0)


def head_only(upper, train, decay=0.01, steps=300):
    """A new linear head on the frozen states, logistic regression: (weights (d,), bias, cost).

    cost: a dict as `teach` returns it.
    """
    began = time.perf_counter()
    with Peak() as peak:
        x = states(upper, train)
        mean, spread = x.mean(0), x.std(0)
        w = torch.zeros(x.shape[1], device=x.device, requires_grad=True)
        b = torch.zeros((), device=x.device, requires_grad=True)
        optimizer = torch.optim.AdamW([w, b], lr=0.01, weight_decay=0.0)
        for _ in range(steps):
            optimizer.zero_grad()
            logits = (x - mean) / spread @ w + b
            loss = F.binary_cross_entropy_with_logits(logits, train.fresh)
            (loss + decay * w.square().sum()).backward()
            optimizer.step()
    w, b = w.detach() / spread, b.detach()
    return w, b - mean @ w, cost(len(w) + 1, began, peak.mb - peak.before)


def cost(trainable, began, peak_mb):
    """What a training took: numbers that could move, seconds, memory and file in MB."""
    return {"trainable": trainable, "seconds": time.perf_counter() - began, "peak_mb": peak_mb,
            "file_mb": trainable * 4 / 1e6}
