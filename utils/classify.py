"""Sequence classification: an encoder, the mean of what it says of a text's tokens, and a head."""
import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .batches import epoch_rows, padded
from .training import Recipe, fit
from .transformer import Transformer


@dataclass
class Texts:
    """Texts for a Judge: inputs, ids (n, T) or states (n, T, d); absent (n, T) bool; fresh (n,).

    absent: True behind the end of the shorter texts. fresh: 1 where the review is for the film.
    """

    inputs: torch.Tensor
    absent: torch.Tensor
    fresh: torch.Tensor

    def __getitem__(self, some):
        """The chosen texts, cut behind the longest of them."""
        absent = self.absent[some]
        T = int((~absent).sum(1).max())
        return Texts(self.inputs[some, :T], absent[:, :T], self.fresh[some])


def as_ids(embedder, snippets):
    """Reviews (Snippets) as ids of an Embedder's tokens: Texts, on the device of its model."""
    place = embedder.model.embedding.weight.device
    ids = padded([embedder.tokenizer.encode(s.text).ids for s in snippets], -1).to(place)
    fresh = torch.tensor([float(s.fresh) for s in snippets], device=place)
    return Texts(ids.clamp(min=0), ids < 0, fresh)


@torch.no_grad()
def through(model, texts, below, batch=32):
    """Texts of ids, read once by the lower blocks of an encoder: Texts of states (n, T, d)."""
    n, T = texts.inputs.shape
    states = torch.zeros(n, T, model.config.d_model, device=texts.inputs.device)
    order = (~texts.absent).sum(1).argsort()            # the short with the short
    for some in order.split(batch):
        part = texts[some]
        x = model.embed(part.inputs, torch.arange(part.inputs.shape[1], device=texts.inputs.device))
        for block in model.encoder.blocks[:below]:
            x = block(x, blocked=part.absent[:, None, None])
        states[some, :x.shape[1]] = x
    return Texts(states, texts.absent, texts.fresh)


def upper(model, below):
    """A copy of an encoder's stack without its lower blocks; it reads what `through` made."""
    stack = copy.deepcopy(model.encoder)
    stack.blocks = stack.blocks[below:]
    return stack


class Judge(nn.Module):
    """A reader (a whole encoder, or an upper stack) and a linear head: one logit a text.

    Positive is for the film. The head reads the mean of the last states (Reimers 2019) and starts
    at zero.
    """

    def __init__(self, reader, d_model):
        super().__init__()
        self.reader, self.head = reader, nn.Linear(d_model, 1)
        nn.init.zeros_(self.head.weight), nn.init.zeros_(self.head.bias)

    def mean(self, texts):
        """What the head reads: (n, d_model)."""
        read = self.reader.hidden if isinstance(self.reader, Transformer) else self.reader
        x = read(texts.inputs, blocked=texts.absent[:, None, None])         # (n, T, d_model)
        return x.masked_fill(texts.absent[..., None], 0).sum(1) / (~texts.absent).sum(1)[:, None]

    def forward(self, texts):
        return self.head(self.mean(texts))[:, 0]

    @torch.no_grad()
    def all(self, texts, part, batch=64):
        """part(texts), a few texts at a time, the short with the short: (n, ...)."""
        order = (~texts.absent).sum(1).argsort()
        found = torch.cat([part(texts[some]) for some in order.split(batch)])
        return found[order.argsort()]

    def right(self, texts):
        """Which verdicts are right: bool (n,)."""
        return (self.all(texts, self) > 0) == (texts.fresh > 0)


def fit_head(judge, texts, decay=0.01):
    """Train the head alone, by logistic regression on states that are made once.

    decay: weight of the squared weights of standardised states against the mean loss.
    """
    x, y = judge.all(texts, judge.mean), texts.fresh
    mean, spread = x.mean(0), x.std(0).clamp(min=1e-3)      # some dimensions of MiniLM are dead
    z = (x - mean) / spread
    w = torch.zeros(x.shape[1] + 1, device=x.device, requires_grad=True)    # the bias is last
    optimizer = torch.optim.LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(z @ w[:-1] + w[-1], y)
        loss = loss + decay * w[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        judge.head.weight.copy_(w[:-1] / spread)
        judge.head.bias.copy_(w[-1] - mean @ judge.head.weight[0])


def teach(judge, texts, epochs, lr, batch=16, seed=0):
    """Train reader and head together, in place; returns the Log."""
    n, inputs = len(texts.fresh), texts.inputs

    def batches(step):
        part = texts[epoch_rows(n, batch, step, seed).to(inputs.device)]
        return part.inputs, torch.cat([part.absent, part.fresh[:, None]], 1)

    def loss(model, inputs, targets):
        judged = Texts(inputs, targets[:, :-1] > 0, targets[:, -1])
        return F.binary_cross_entropy_with_logits(model(judged).float(), judged.fresh)

    steps = epochs * (n // batch)
    log = fit(judge, batches, Recipe(steps, batch=batch, lr=lr, warmup=max(1, steps // 10),
                                     decay="linear", cooldown=0.9, final=0.0, weight_decay=0.01,
                                     check_every=steps, seed=seed), loss=loss,
              device=inputs.device)
    judge.eval()
    return log
