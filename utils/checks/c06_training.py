"""The check of lecture 06 for a loop of training: one batch, learnt by heart."""
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import optimizer as optimizers

from .engine import exercise
from .probe import first_optimiser, name_of


class Small(nn.Module):
    """A causal model of one layer that remembers what a loop of training did with it."""

    def __init__(self, probe, V, T, d=24):
        super().__init__()
        shapes = {"embedding": (V, d), "positions": (T, d), "queries": (d, d), "keys": (d, d),
                  "values": (d, d), "wide": (d, 2 * d), "narrow": (2 * d, d), "scores": (d, V)}
        for name, shape in shapes.items():
            scale = 0.5 if name in ("embedding", "positions") else shape[0] ** -0.5
            self.register_parameter(name, nn.Parameter(probe.normal(*shape, scale=scale)))

    def forward(self, ids):
        x = self.embedding[ids] + self.positions[:ids.shape[1]]
        q, k, v = (F.layer_norm(x, x.shape[-1:]) @ w for w in (self.queries, self.keys,
                                                               self.values))
        x = x + F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + F.gelu(F.layer_norm(x, x.shape[-1:]) @ self.wide) @ self.narrow
        return F.layer_norm(x, x.shape[-1:]) @ self.scores


class Watch:
    """What happens to a model inside `with`: its passes, its gradients, who steps."""

    def __init__(self, model):
        self.model, self.handles = model, []
        self.logits, self.fresh, self.held = [], [], []     # of each pass; of each gradient
        self.steppers, self.empty = [], []                  # optimisers; steps without a gradient

    def __enter__(self):
        def passed(module, given, out):
            if torch.is_grad_enabled():
                self.logits.append(out.detach().clone())

        def step(optimizer, args, kwargs):
            if not any(optimizer is known for known in self.steppers):
                self.steppers.append(optimizer)
            grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
            self.empty.append(all(g is None or not bool(g.any()) for g in grads))

        first = self.model.scores                           # it gets a gradient in every pass
        self.handles = [
            self.model.register_forward_hook(passed),
            first.register_hook(lambda g: self.fresh.append(g.detach().clone())),
            first.register_post_accumulate_grad_hook(lambda p: self.held.append(p.grad.clone())),
            optimizers.register_optimizer_step_pre_hook(step)]
        return self

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()


def cross_entropy(logits, targets):
    return F.cross_entropy(logits.detach().transpose(1, 2), targets).item()


def wrong_starts(logits, inputs, targets):
    """{code: (first loss of a well-known mistake, what it is)}."""
    B, T, V = logits.shape
    each = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")       # (B, T)
    table = {
        "inputs": (cross_entropy(logits, inputs), "the model is trained to repeat its input: "
                   "compare with the targets"),
        "shifted": ([cross_entropy(logits[:, :-1], targets[:, 1:]),
                     cross_entropy(logits[:, 1:], targets[:, :-1])], "the targets are shifted once "
                    "more: they come shifted already"),
        "mixed": (F.cross_entropy(logits.reshape(B, V, T), targets).item(), "view puts V before T "
                  "but moves no number: use transpose, or flatten batch and positions"),
        "last-only": (each[:, -1].mean().item(), "only the last position is trained"),
        "first-text": (each[0].mean().item(), "only the first text is trained"),
        "sum": (each.sum().item(), "the sum over the batch: take the mean over tokens"),
        "sum-of-texts": (each.sum().item() / B, "summed over a text: take the mean over tokens"),
        "softmax-twice": (cross_entropy(logits.softmax(-1), targets), "a softmax before "
                          "cross_entropy, which takes logits and has its own"),
        "bits": (each.mean().item() / math.log(2), "these are bits: use nats"),
        "rounded": ([round(each.mean().item(), k) for k in range(5)], "it is rounded: keep all "
                    "digits"),
        "sign": (-each.mean().item(), "the sign is wrong: a loss is minus a log-probability")}
    return {code: (values, f"the first loss: {why}") for code, (values, why) in table.items()}


def run(probe, answer, model, inputs, targets, steps):
    """(losses, Watch) of one call that may change the model, and nothing else."""
    def train(inputs, targets, steps):
        return answer(model, inputs, targets, steps)
    train.__name__ = name_of(answer)
    with Watch(model) as seen:
        out = probe.call(train, inputs, targets, steps)
    probe.type(out, list, "train returns the list of its losses")
    probe.true(len(out) == steps, "count", f"steps = {steps}: expected a loss for each step, came "
               f"{len(out)}")
    for loss in out:
        probe.true(not isinstance(loss, torch.Tensor) or not loss.requires_grad, "graph", "a loss "
                   "in the list still holds its graph, and with it the memory of its step: keep "
                   "the number, loss.item()")
        probe.true(isinstance(loss, float) or isinstance(loss, torch.Tensor) and loss.dim() == 0,
                   "type", f"a loss must be a float, among them came {loss!r:.60}")
    return [float(loss) for loss in out], seen


def one_optimiser(probe, seen, where):
    """Does each parameter belong to one optimiser only?"""
    owned = [id(p) for optimiser in seen.steppers for group in optimiser.param_groups
             for p in group["params"]]
    probe.true(len(set(owned)) == len(owned), "new-optimiser", f"{where}: {len(seen.steppers)} "
               "optimisers moved the same parameters: make one before the loop, as it remembers "
               "earlier steps")


@exercise("06.7", before=first_optimiser, hints=(
    "Print the norm of a weight's gradient for the first ten steps. If it grows while the loss "
    "does not, each step adds to the last one's gradient. Then print one weight before and after.",
    "The optimiser is made once, before the loop, from all parameters. A step has five parts: "
    "logits, loss, gradients cleared, backward, step. In which order do yours come?",
    "optimiser = Adam over the parameters, learning rate about .01\n"
    "repeat steps times:\n    logits of the inputs; mean cross-entropy with the targets\n"
    "    clear old gradients; backward; one step\n    keep the loss as a plain number\n"
    "return what was kept"))
def train(answer, probe):
    torch.set_num_threads(1)                                # small tensors: two threads only wait
    V, T, steps = 9, 7, 200
    start = Small(probe, V, T)
    ids = probe.ints(0, V, 4, T + 1)
    inputs, targets = ids[:, :-1], ids[:, 1:].contiguous()
    model, where = copy.deepcopy(start), "inputs (4, 7), V = 9, 3 steps"
    out, seen = run(probe, answer, model, inputs, targets, 3)
    probe.true(len(seen.logits) > 0, "untrained", f"{where}: the model was not asked with "
               "gradients switched on: train the one you are given, not a copy")
    begin = start(inputs).detach()
    probe.equal(out[0], cross_entropy(begin, targets), "first-loss", f"{where}: the first loss is "
                "that of the untrained model", 1e-6, wrong_starts(begin, inputs, targets))
    for k, (fresh, held) in enumerate(zip(seen.fresh, seen.held)):
        probe.true(torch.allclose(fresh, held), "zero-grad", f"{where}: in backward {k + 1} the "
                   f"gradient of the output matrix has the norm {float(fresh.norm()):.3g}, and "
                   f"what is stored grew to {float(held.norm()):.3g}: it still holds the "
                   "gradients of the steps before")
    probe.true(not any(seen.empty), "no-gradient", f"{where}: the optimiser steps when there is no "
               "gradient to follow: backward comes right before it, and clearing before backward")
    one_optimiser(probe, seen, where)
    moved = {name: not torch.equal(p, q) for (name, p), q in
             zip(model.named_parameters(), start.parameters())}
    probe.true(any(moved.values()), "untrained", f"{where}: no parameter of the model changed: is "
               "there a backward and a step, with a learning rate above 0, for the model that is "
               "given, not for a copy?")
    probe.true(all(moved.values()), "frozen", f"{where}: some parameters never change: "
               f"{', '.join(name for name in moved if not moved[name])}. Give all of them to the "
               "optimiser")
    again, twin = copy.deepcopy(start), None
    twin, _ = run(probe, answer, again, inputs, targets, 3)
    probe.equal(twin, out, "random", f"{where}: the same start and batch gave other losses the "
                "second time")
    model, where = copy.deepcopy(start), f"inputs (4, 7), V = 9, {steps} steps"
    out, seen = run(probe, answer, model, inputs, targets, steps)
    for k, (fresh, held) in enumerate(zip(seen.fresh, seen.held)):
        probe.true(torch.allclose(fresh, held), "zero-grad", f"{where}: in backward {k + 1} the "
                   "stored gradient still holds those of steps before")
    one_optimiser(probe, seen, where)
    probe.true(len(seen.fresh) == steps, "steps", f"{where}: expected one backward pass a "
               f"step, came {len(seen.fresh)}")
    if len(seen.logits) == steps:
        true = [cross_entropy(logits, targets) for logits in seen.logits]
        k = next((k for k in range(steps) if abs(true[k] - out[k]) > 1e-4), 0)
        probe.equal(out[k], true[k], "reported", f"{where}: loss {k} is not that of the whole "
                    "batch at that step", 1e-4)
    first, last = cross_entropy(begin, targets), cross_entropy(model(inputs), targets)
    probe.true(math.isfinite(last), "diverged", f"{where}: the loss is not finite in the end: a "
               "smaller learning rate?")
    probe.true(last < first, "ascent", f"{where}: the loss rose from {first:.3g} to {last:.3g}: "
               "downhill is minus the gradient, and too long a step jumps over the valley")
    probe.true(last < 0.05, "loss", f"{where}: the loss fell from {first:.3g} to {last:.3g}, below "
               ".05 is possible: is the learning rate too low or too high, does the optimiser "
               "adapt its steps as Adam does?")
    for B, length, V in ((1, 5, 6), (3, 2, 11)):            # other sizes, a few steps
        model, ids = Small(probe, V, length), probe.ints(0, V, B, length + 1)
        begin = model(ids[:, :-1]).detach()
        out, _ = run(probe, answer, model, ids[:, :-1], ids[:, 1:], 2)
        probe.equal(out[0], cross_entropy(begin, ids[:, 1:]), "first-loss", f"inputs ({B}, "
                    f"{length}), V = {V}: the first loss", 1e-6,
                    wrong_starts(begin, ids[:, :-1], ids[:, 1:]))
