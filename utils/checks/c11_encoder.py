"""The check of lecture 11 for an encoder that reads rows of numbers, of images or of motion."""
import time

import torch
import torch.nn.functional as F
from torch import nn

from .engine import exercise
from .probe import first_optimiser

LEARN_SECONDS = 5.0                                     # of the 10 that a check may take


def shifted(x, row):
    """x (B, T, d) with another row."""
    other = x.clone()
    other[:, row] = 1 - 2 * other[:, row]
    return other


def moves(a, b, tol=5e-6):
    return bool(((a - b).abs() > tol).any())


def tries(answer, probe, position, d_in, T, n_classes, B):
    """Does the model read all rows, each image by itself, and no more of their order than asked?"""
    where = f"TinyViT({d_in}, {T}, {n_classes}, position={position}), x ({B}, {T}, {d_in})"
    made = probe.call(answer, d_in, T, n_classes, position)
    probe.type(made, nn.Module, "TinyViT(...) makes a torch.nn.Module")
    probe.true(callable(getattr(made, "encode", None)), "type", "TinyViT needs a method `encode`")
    x = probe.normal(B, T, d_in)
    with torch.no_grad():
        first = probe.call(made.double(), x)
        probe.type(first, torch.Tensor)
        probe.true(tuple(first.shape) != (B, T, n_classes), "every-row", f"{where}: logits of each "
                   "row came: average the rows first")
        probe.shape(first, (B, n_classes), "logits", f"{where}: one logit for each class")
        probe.true(bool((first < 0).any()) or moves(first.sum(-1), torch.ones(B)), "softmax",
                   f"{where}: these are shares that sum to 1: logits come before the softmax, "
                   "which the loss has of its own")
        probe.true(torch.equal(first, probe.call(made, x)), "random", f"{where}: twice the "
                   "same x, two results: no dropout here")
        twin = probe.call(answer, d_in, T, n_classes, position).double()
        probe.true(made.state_dict().keys() == twin.state_dict().keys(), "not-saved", f"{where}: "
                   "two such models hold weights of other names")
        twin.load_state_dict(made.state_dict())
        probe.true(not moves(probe.call(twin, x), first), "not-saved", f"{where}: a second "
                   "model with all weights of the first gives other logits: something random is "
                   "neither nn.Parameter nor in a registered module, and would not be trained")
        for p in made.parameters():                         # as if trained a little
            p.data = p.data + probe.normal(*p.shape, scale=0.1)
        rows = probe.call(made.encode, x)
        probe.type(rows, torch.Tensor)
        probe.true(rows.dim() == 3 and rows.shape[:2] == (B, T), "rows", f"{where}: encode gives "
                   f"({B}, {T}, d), a row for each row of x, came {tuple(rows.shape)}")
        probe.true(not moves(probe.call(made.encode, x[1:2]), rows[1:2]), "batch", f"{where}: "
                   "image 1 alone is encoded in another way than among others: does attention run "
                   "along the batch? Is the batch the first axis for every part?")
        back, ahead = (probe.call(made.encode, shifted(x, row)) - rows for row in (0, T - 1))
        probe.true(bool((back[:, -1].abs() > 1e-9).any()) or bool((ahead[:, 0].abs() > 1e-9).any()),
                   "no-mixing", f"{where}: row 0 of the result does not know of row {T - 1} of x, "
                   f"nor row {T - 1} of row 0: attention lets every row look at every other")
        probe.true(bool((ahead[:, 0].abs() > 1e-9).any())
                   and bool((back[:, -1].abs() > 1e-9).any()), "causal", f"{where}: rows look "
                   "to one side only, as in a decoder: an encoder has no causal mask")
        logits = probe.call(made, x)
        probe.true(not moves(probe.call(made, x[1:2]), logits[1:2]), "batch", f"{where}: image 1 "
                   "alone gets other logits than among others: each image counts for itself")
        pooled(probe, made, x, rows, where)
        order = torch.arange(T).roll(1)
        again = probe.call(made.encode, x[:, order])
        if not position:
            probe.true(not moves(again, rows[:, order]), "position-anyway", f"{where}: with "
                       "position=False, rows of x in another order must give the same rows in "
                       "that order: what else knows where a row stands?")
            probe.true(not moves(probe.call(made, x[:, order]), probe.call(made, x)),
                       "position-anyway", f"{where}: with position=False, rows of x in another "
                       "order must give the same logits")
        else:
            probe.true(moves(again, rows[:, order]), "no-position", f"{where}: with position=True "
                       "rows of x in another order give the same rows: each of the T places needs "
                       "a vector of its own, added to the embedded rows")
            pairs = [(i, j) for i in range(T) for j in range(i)]
            for i, j in pairs:
                order = torch.arange(T)
                order[i], order[j] = j, i
                probe.true(moves(probe.call(made.encode, x[:, order]), rows[:, order], 1e-7),
                           "twins", f"{where}: places {j} and {i} cannot be told apart: each needs "
                           "a vector of its own")
            probe.true(moves(probe.call(made, x[:, order]), probe.call(made, x), 1e-7),
                       "late-position", f"{where}: the encoded rows know their places, the logits "
                       "do not: places must enter before attention, not after it")
    x = x.requires_grad_()
    probe.call(made, x).square().sum().backward()
    probe.true(x.grad is not None and bool((x.grad != 0).any(-1).all()), "detached", f"{where}: no "
               "gradient reaches some rows of x")
    for name, p in made.named_parameters():
        probe.true(p.grad is not None, "unused", f"{where}: no gradient reaches the parameter "
                   f"{name}: every one must take part, and what is not used must not be there")


def pooled(probe, made, x, rows, where):
    """Are the logits a function of the mean of what encode returns?"""
    B, T, d = rows.shape
    asked = []

    def forward(rows, x=x):
        def encode(*given, **how):
            asked.append(given)
            return rows
        object.__setattr__(made, "encode", encode)
        try:
            return probe.call(made, x)
        finally:
            object.__delattr__(made, "encode")
    given = probe.normal(B, T, d)
    base = forward(given)
    probe.true(bool(asked), "encode-unused", f"{where}: forward does not call self.encode: one way "
               "for both, so that they cannot differ")
    probe.true(moves(forward(probe.normal(B, T, d)), base), "constant", f"{where}: the logits do "
               "not depend on what encode gives")
    for kept, code in ((0, "first-row"), (T - 1, "last-row")):
        other = probe.normal(B, T, d)
        other[:, kept] = given[:, kept]
        probe.true(moves(forward(other), base), code, f"{where}: the logits depend on row {kept} "
                   "of what encode gives and on no other: take the mean over all")
    even = given + (torch.arange(T) - (T - 1) / 2)[:, None] * probe.normal(d)
    probe.true(not moves(forward(even), base), "pooling", f"{where}: what encode gives was changed "
               "so that its mean over the rows stayed, and the logits moved: they come from the "
               "mean over rows")
    twice = forward(given.repeat(1, 2, 1), x.repeat(1, 2, 1))
    probe.true(not moves(twice, base), "sum", f"{where}: each encoded row twice, and the logits "
               "moved: a mean does not grow with the number of rows")


def learned(answer, probe, T=3, d_in=5, steps=150):
    """Accuracy in finding the loud row after training, stopped when it has learned or is late."""
    made = probe.call(answer, d_in, T, T, True).float()
    adam, begun, streak = torch.optim.Adam(made.parameters(), lr=0.01), time.monotonic(), 0

    def batch(B):
        place = probe.ints(0, T, B)
        return (probe.normal(B, T, d_in) + 3 * F.one_hot(place, T)[..., None]).float(), place
    for _ in range(steps):
        x, place = batch(32)
        logits = made(x)
        adam.zero_grad()
        F.cross_entropy(logits, place).backward()
        adam.step()
        streak = streak + 1 if float((logits.argmax(-1) == place).double().mean()) > 0.9 else 0
        if streak == 3 or time.monotonic() > begun + LEARN_SECONDS:
            break
    x, place = batch(500)
    with torch.no_grad():
        return float((made(x).argmax(-1) == place).double().mean())


@exercise("11.2", before=first_optimiser, hints=(
    "Without positions an encoder sees a bag of patches. Swap two rows of x with position=False: "
    "the encoded rows must swap, and the logits stay. With position=True they must not. Which of "
    "the three do you get?",
    "Five parts: a linear map for each row; a table (T, d) of places, added before the blocks; "
    "blocks without a causal mask, batch first, without dropout; the mean over rows; a linear map "
    "to classes. All are made in __init__ and are attributes, so that torch finds them.",
    "__init__: embed from d_in to d; if position, a parameter (T, d), small and random;\n"
    "    a Stack of two blocks that is not causal; head from d to n_classes\n"
    "encode: embed each row; add the places, if there are any; through the blocks\n"
    "forward: encode, the mean over axis 1, the head"))
def tiny_vit(answer, probe):
    torch.set_num_threads(1)                                # small tensors: two threads only wait
    probe.true(not isinstance(answer, nn.Module), "type", "pass the class TinyViT, not a model")
    for position in (False, True):
        for d_in, T, n_classes, B in ((4, 6, 10, 3), (24, 3, 5, 2), (7, 9, 4, 5)):
            tries(answer, probe, position, d_in, T, n_classes, B)
    share = learned(answer, probe)
    probe.true(share > 0.6, "does-not-learn", f"trained to say which of 3 rows is loud, it finds "
               f"{share:.0%} after 150 steps of Adam at a rate of .01, chance is 33 %: does every "
               "part train, the places too? Are the embedded rows and the places of like size?")
