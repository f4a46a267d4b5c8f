"""Fine-tuning a language model: the loss on the answers, their logits only, and what it cost."""
import ctypes
import sys
import threading
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from .batches import padded as padded_rows
from .machine import device as best_device
from .machine import megabytes
from .training import Log, Recipe, fit

ROWS = 256              # tokens whose logits exist at a time: 50 MB for a vocabulary of 49,152
POOL = 8                # batches whose sequences are sorted by length together


class Answers:
    """Batches of prompts with their answers, of which only the answers count.

    prompts, answers: lists of lists of ids, none empty. Calling it with a step gives inputs and
    targets, both (batch, T): the text, and the same one token later, -100 where a target is of
    the prompt or behind the end. Every example comes once before any comes again, those of like
    length together. context: longer texts lose the first ids of their prompt. everything: the
    prompt counts too. Raises ValueError where there is nothing to learn or to start from.
    """

    def __init__(self, prompts, answers, batch, context=256, seed=0, everything=False):
        if len(prompts) != len(answers) or len(prompts) < batch:
            raise ValueError(f"{len(prompts)} prompts, {len(answers)} answers, and batches of "
                             f"{batch}: as many of both are needed, and no fewer than a batch")
        if not all(len(p) and 0 < len(a) <= context for p, a in zip(prompts, answers)):
            raise ValueError("each prompt needs one id or more, each answer from 1 to "
                             f"{context}")
        self.rows = [joined(p, a, context, everything) for p, a in zip(prompts, answers)]
        self.batch, self.seed = batch, seed

    def __call__(self, step):
        per_epoch = len(self.rows) // self.batch
        epoch, at = divmod(step, per_epoch)
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.rows), generator=rng).tolist()
        order = order[:per_epoch * self.batch]
        pool = self.batch * POOL
        for first in range(0, len(order), pool):
            order[first:first + pool] = sorted(order[first:first + pool],
                                               key=lambda i: len(self.rows[i][0]))
        place = int(torch.randperm(per_epoch, generator=rng)[at]) * self.batch
        return padded([self.rows[i] for i in order[place:place + self.batch]])


def joined(prompt, answer, context=256, everything=False):
    """(inputs, targets) of one example, lists of the same length, at most `context`."""
    text = [*prompt, *answer][-context - 1:]
    kept = len(text) - len(answer)                      # ids of the prompt that are left
    silent = 0 if everything else max(0, kept - 1)
    return text[:-1], [-100] * silent + text[1 + silent:]


def padded(rows):
    """(inputs, targets) of pairs of lists, both (B, T): 0 and -100 behind the shorter ones."""
    inputs, targets = zip(*rows)
    return padded_rows(inputs), padded_rows(targets, -100)


class HeadLoss(torch.autograd.Function):
    """Mean nats of targets (n,) under hidden (n, d) W^T, with ROWS columns of logits at a time.

    The gradient is made on the way forth, while the logits are there: W^T (p - one hot) / n, and p
    is divided by its sum in the product's few columns, not in its many rows. Source of the idea:
    Wijmans 2024 (2411.09009).
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets):
        needs, n = ctx.needs_input_grad, len(targets)
        nats = torch.empty(n, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if needs[0] else None
        grad_weight = torch.zeros_like(weight) if needs[1] else None
        for first in range(0, n, ROWS):
            part = slice(first, first + ROWS)
            h, target = hidden[part], targets[part]
            logits = (weight @ h.T).float()                             # (vocab_size, ROWS)
            wanted, top = logits.gather(0, target[None])[0], logits.amax(0)
            total = logits.sub_(top).exp_().sum(0)                      # (ROWS,)
            nats[part] = total.log() + top - wanted
            if needs[0]:
                grad_hidden[part] = (weight.T @ logits.to(h.dtype) / total).T - weight[target]
            if needs[1]:
                grad_weight.addmm_(logits.to(h.dtype), (h / total[:, None]).to(h.dtype))
                grad_weight.index_add_(0, target, -h)
        ctx.save_for_backward(*(None if g is None else g.div_(n) for g in (grad_hidden,
                                                                          grad_weight)))
        return nats.mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return *(None if g is None else g.mul_(grad) for g in ctx.saved_tensors), None


def tuning_loss(model, inputs, targets):
    """Mean nats of the targets (B, T) that are not -100; no other position gets logits.

    model: a Transformer. The same number and gradients as utils.batches.lm_loss, in less memory.
    """
    counts = targets != -100
    hidden, targets = model.hidden(inputs)[counts], targets[counts]     # (n, d_model), (n,)
    if type(model.head) is nn.Linear and model.head.bias is None:
        return HeadLoss.apply(hidden, model.head.weight, targets)
    parts = zip(hidden.split(ROWS), targets.split(ROWS))                # such as a head with LoRA
    return sum(checkpoint(_nats, model.head, h, t, use_reentrant=False).sum()
               for h, t in parts) / len(targets)


def _nats(head, hidden, targets):
    return F.cross_entropy(head(hidden).float(), targets, reduction="none")


@torch.no_grad()
def token_nats(model, inputs, targets):
    """Nats of each target (B, T), 0 where it is -100, in eval mode."""
    place, training = model.embedding.weight.device, model.training
    model.eval()
    inputs, targets = inputs.to(place), targets.to(place)
    counts = targets != -100
    hidden, wanted = model.hidden(inputs)[counts], targets[counts]
    nats = torch.zeros(targets.shape, device=place)
    nats[counts] = torch.cat([_nats(model.head, h, t) for h, t in
                              zip(hidden.split(ROWS), wanted.split(ROWS))])
    model.train(training)
    return nats


def answer_nats(model, prompts, answers, batch=16):
    """Nats of each whole answer after its prompt, (n,): the least is what the model says.

    prompts, answers: lists of lists of ids. Rows of like length are computed together.
    """
    rows = [joined(p, a, model.config.max_len) for p, a in zip(prompts, answers)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    nats = torch.zeros(len(rows))
    for first in range(0, len(order), batch):
        some = order[first:first + batch]
        nats[some] = token_nats(model, *padded([rows[i] for i in some])).sum(1).cpu()
    return nats


def window_nats(model, ids, length, tokens=1024):
    """Mean nats a token of each window of a text, (n // length,): windows do not overlap.

    ids: (n,). length: targets a window; the first has one token to go by, the last `length`.
    tokens: about so many are computed at a time.
    """
    ids = torch.as_tensor(ids)
    if len(ids) <= length:
        raise ValueError(f"a text of {len(ids)} tokens has no window of {length} and a next token")
    windows = ids.unfold(0, length + 1, length)         # (n // length, length + 1)
    return torch.cat([token_nats(model, part[:, :-1], part[:, 1:]).mean(1).cpu()
                      for part in windows.split(max(1, tokens // length))])


def perplexity(model, ids, length):
    """exp of the mean nats a token on a text: of so many equally likely tokens it chooses one."""
    return float(window_nats(model, ids, length).mean().exp())


@dataclass
class Tuned(Log):
    """A Log, with what the tuning cost: memory at its most, and how many numbers could move.

    peak_mb: of the process, or on a GPU of all tensors; above_mb: without what was there before.
    """

    peak_mb: float = 0.0
    above_mb: float = 0.0
    trainable: int = 0


def tune(model, batches, steps, lr=1e-3, validate=None, watch=None, check_every=None, device=None,
         loss=tuning_loss, **settings):
    """Train what requires gradients with AdamW in place; returns a Tuned.

    batches: step -> (inputs, targets), such as Answers or utils.batches.Batches. The rate rises
    for a tenth of the steps, then falls to 0 on a line. loss: as fit takes it. settings: of the
    Recipe. Only trained numbers get an optimizer's state, and the backward pass ends at the lowest
    of them. The model ends in eval mode without gradients. Raises what fit does.
    """
    place = device or best_device()
    recipe = Recipe(**{"steps": steps, "lr": lr, "weight_decay": 0.0, "betas": (0.9, 0.999),
                       "warmup": max(1, steps // 10), "decay": "linear", "cooldown": 0.9,
                       "final": 0.0, "check_every": check_every or steps} | settings)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if not trainable:
        raise ValueError("nothing of this model is trainable: add_lora, or requires_grad_()")
    try:
        with torch.random.fork_rng([place] * (place.type == "cuda")), Peak(place) as peak:
            log = fit(model, batches, recipe, validate=validate, watch=watch, loss=loss,
                      device=place)
    finally:
        model.zero_grad()
        model.eval()
    return Tuned(log.rows, log.ended, peak.mb, peak.mb - peak.before, trainable)


class Peak:
    """The most memory while it is open, in MB: `with Peak() as peak: ...; peak.mb - peak.before`.

    On a GPU the most that tensors took; elsewhere the process is looked at 200 times a second.
    """

    def __init__(self, place=None):
        self.place, self.mb = place or best_device(), 0.0

    def __enter__(self):
        if sys.platform == "linux":                     # give back what earlier work has left
            getattr(ctypes.CDLL(None), "malloc_trim", int)(0)           # musl has none
        if self.place.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.place)
        self.before, self.open = megabytes(self.place), True
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def _look(self):
        while self.open:
            self.mb = max(self.mb, megabytes(self.place))
            time.sleep(0.005)

    def __exit__(self, *error):
        self.open = False
        self.thread.join()
        self.mb = max(self.mb, megabytes(self.place))
