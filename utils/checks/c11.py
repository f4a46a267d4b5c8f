"""The checks of lecture 11, first part: images cut into patches, and an encoder that reads them."""
import time

import torch
import torch.nn.functional as F
from torch import nn

from . import c11_listening, c11_pairs, c11_sound  # noqa: F401  the others
from .c08_known import Judge
from .engine import exercise
from .probe import first_optimiser

LEARN_SECONDS = 5.0                                     # of the 10 that a check may take
LAYOUTS = {                                             # axes: 0 B, 1 C, 2 h, 3 p, 4 w, 5 p
    "right": ((0, 2, 4, 1, 3, 5), ""),
    "columns": ((0, 4, 2, 1, 3, 5), "the patches go down the columns: from left to right, then "
                "the next row of patches"),
    "channels-last": ((0, 2, 4, 3, 5, 1), "the channels of a pixel stand together: all of channel "
                      "0 comes first, then channel 1"),
    "turned": ((0, 2, 4, 1, 5, 3), "inside each patch rows and columns are exchanged"),
    "interleaved": ((0, 2, 4, 3, 1, 5), "inside a patch the row comes before the channel"),
    "columns-turned": ((0, 4, 2, 1, 5, 3), "rows and columns are exchanged, of patches and inside "
                       "them"),
    "reshaped": ((0, 1, 2, 3, 4, 5), "a reshape alone moves no number: the rows of the image are "
                 "cut into strips. Split H and W in two axes each, then bring the axes in order")}


def cut(img, p, layout="right"):
    B, C, H, W = img.shape
    parts = img.reshape(B, C, H // p, p, W // p, p).permute(LAYOUTS[layout][0])
    return parts.reshape(B, (H // p) * (W // p), C * p * p)


def join(patches, p, H, W, layout="right"):
    axes = LAYOUTS[layout][0]
    B, N, D = patches.shape
    sizes = (B, D // p ** 2, H // p, p, W // p, p)
    parts = patches.reshape([sizes[a] for a in axes]).permute([axes.index(a) for a in range(6)])
    return parts.reshape(B, sizes[1], H, W)


def wrong_cuts(img, p, where):
    """{code: (patches of a well-known mistake, what it is)}."""
    B, C, H, W = img.shape
    h, w, right = H // p, W // p, cut(img, p)
    snake = right.view(B, h, w, -1).clone()
    snake[:, 1::2] = snake[:, 1::2].flip(2)
    table = {name: (cut(img, p, name), why) for name, (_, why) in LAYOUTS.items() if why}
    table |= {
        "strided": (img.reshape(B, C, p, h, p, w).permute(0, 3, 5, 1, 2, 4).reshape(right.shape),
                    "the pixels of a patch lie apart in the image: an axis of H pixels splits "
                    "into (H / p, p), in this order"),
        "sizes-swapped": (img.reshape(B, C, w, p, h, p).permute(0, 2, 4, 1, 3, 5).reshape(
            right.shape), "H and W are exchanged"),
        "unfold": (F.unfold(img, p, stride=p).reshape(right.shape), "a reshape in the place of a "
                   "transposition: patches and their pixels are mixed up"),
        "reversed": ([right.flip(1), right.flip(2), right.flip(1, 2)], "patches, or the pixels in "
                     "them, come in reverse"),
        "snake": (snake.reshape(right.shape), "every second row of patches runs backwards"),
        "batch": ([right.transpose(0, 1).reshape(right.shape), right[:1].expand(right.shape)],
                  "images are mixed: patches of image b belong to row b"),
        "scaled": ([right / 255, (right - right.mean()) / right.std(), right / right.amax()],
                   "the numbers are scaled: a patch holds those of the image")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def wrong_joins(patches, p, H, W, where):
    table = {f"back-{name}": (join(patches, p, H, W, name), f"unpatchify: {why}")
             for name, (_, why) in LAYOUTS.items() if why and name != "reshaped"}
    right = join(patches, p, H, W)
    B, N, D = patches.shape
    table |= {
        "back-reshaped": (patches.reshape(right.shape), "unpatchify: a reshape alone moves no "
                          "number: pixels of one patch lie side by side in the image"),
        "back-strided": (patches.reshape(B, H // p, W // p, -1, p, p).permute(0, 3, 4, 1, 5, 2)
                         .reshape(right.shape), "unpatchify: (H / p, p) joins to H, in this order"),
        "back-fold": (F.fold(patches.reshape(B, D, N), (H, W), p, stride=p), "unpatchify: a "
                      "reshape in the place of a transposition"),
        "back-reversed": ([right.flip(2), right.flip(3), right.flip(2, 3)],
                          "unpatchify: the image is mirrored"),
        "back-batch": (right[:1].expand(right.shape), "unpatchify: all images are the first"),
        "back-mean": (right / N, "unpatchify: divided by the number of patches: nothing overlaps")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def patch_shape(probe, out, img, p, where):
    """Is out (B, N, C p p)? Else say what it is."""
    B, C, H, W = img.shape
    N, D, came = (H // p) * (W // p), C * p * p, tuple(getattr(out, "shape", ()))
    probe.type(out, torch.Tensor, "one tensor with all patches")
    more = (H - p + 1) * (W - p + 1)
    for code, shapes, why in (
            ("overlap", [(B, more, D), (B, D, more)], "the patches overlap: the next one begins "
             "p pixels on"),
            ("grid", [(B, p * p, C * H * W // p ** 2)], "p x p patches came: p is the side of one"),
            ("per-channel", [(B, C * N, p * p), (B, C, N, p * p), (B, N, C, p * p)], "a patch "
             "holds all channels, in one row"),
            ("not-flat", [(B, N, C, p, p), (B, H // p, W // p, D), (B, H // p, W // p, C, p, p),
                          (B, C, H // p, W // p, p, p), (B, N, p, p, C)], "one row of numbers for "
             "each patch, one axis of patches"),
            ("no-batch", [(N, D), (B * N, D), (1, N, D), (1, B * N, D)], "the images of a batch "
             "stay apart"),
            ("mean", [(B, N, C), (B, N)], "a patch keeps all its numbers"),
            ("transposed", [(B, D, N)], "patches lie along the last axis: bring them to axis 1")):
        probe.true(came not in shapes or came == (B, N, D), code, f"{where}: {why}. Expected "
                   f"shape {(B, N, D)}, came {came}")
    probe.shape(out, (B, N, D), "shape", where)


def same_numbers(probe, out, want, where):
    """Right shape, wrong result, no known mistake: other numbers, or another order?"""
    probe.true(torch.allclose(out.double().flatten().sort()[0], want.flatten().sort()[0]), "value",
               f"{where}: the patches hold other numbers than the image: each pixel comes once")


@exercise("11.1", hints=(
    "The image [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]] with p = 2 has three patches, the first "
    "0, 1, 6, 7. What do you get? A reshape alone gives 0, 1, 2, 3.",
    "H is H / p rows of patches times p rows of pixels, and so for W: six axes in all, in which "
    "nothing has moved. In which order must they stand before patches are joined to one axis and "
    "the numbers of a patch to another? unpatchify goes the same way back.",
    "patchify: split H and W: axes B, C, rows of patches, p, columns of patches, p\n"
    "    new order of axes: B, rows of patches, columns of patches, C, p, p; join 2 and 3, 4 to 6\n"
    "unpatchify: split them again; C is what is left of the last axis after p and p\n"
    "    order B, C, rows of patches, p, columns of patches, p; join 3 and 4, 5 and 6"))
def patches(patchify, unpatchify, probe):
    def forth(img, p):
        out = probe.call(patchify, img, p)
        patch_shape(probe, out, img, p, f"image {tuple(img.shape)}, p = {p}")
        return out

    def back(rows, p, H, W):
        out = probe.call(unpatchify, rows, p, H, W)
        size = (rows.shape[0], rows.shape[2] // p ** 2, H, W)
        probe.type(out, torch.Tensor)
        probe.true(H == W or tuple(out.shape) != (*size[:2], W, H), "back-sizes-swapped",
                   f"unpatchify: expected shape {size}, came {tuple(out.shape)}: H comes before W")
        probe.shape(out, size, "back-shape", f"unpatchify of {tuple(rows.shape)}, p = {p}, H = "
                    f"{H}, W = {W}")
        return out
    sizes = ((2, 3, 6, 8, 2), (1, 2, 4, 10, 2), (3, 2, 9, 6, 3), (2, 4, 8, 12, 4))
    rich = [(probe.normal(B, C, H, W), p) for B, C, H, W, p in sizes]
    judge = Judge(probe, forth, cut, wrong_cuts, rich)
    forth(probe.normal(2, 3, 6, 10), 2)                     # its shape: no two sizes are equal
    small = torch.arange(12).double().reshape(1, 1, 2, 6)
    shown = "the image [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]], p = 2"
    for img, p, where in ((small, 2, shown),
                          *((img, p, f"image {tuple(img.shape)}, p = {p}") for img, p in rich),
                          (probe.normal(2, 3, 5, 4), 1, "image (2, 3, 5, 4), p = 1"),
                          (probe.normal(1, 1, 6, 6), 6, "image (1, 1, 6, 6), p = 6")):
        out, want = forth(img, p), cut(img, p)
        if not torch.allclose(out.double(), want) and not judge.mistake():
            same_numbers(probe, out, want, where)
        judge.compare(img, p, where=where, code="order")
    out = forth(probe.zeros(1, 3, 224, 224), 16)
    probe.true(out.shape[1] == 196, "shape", "224 x 224 with p = 16 has 196 patches")
    given = [(cut(img, p), p, *img.shape[2:]) for img, p in rich]
    judge = Judge(probe, back, join, wrong_joins, given)
    for rows, p, H, W in ((cut(small, 2), 2, 2, 6), *given, (probe.normal(2, 20, 3), 1, 5, 4)):
        judge.compare(rows, p, H, W, where=f"unpatchify of {tuple(rows.shape)}, p = {p}, H = {H}, "
                      f"W = {W}", code="back-order")
    probe.true(forth(*rich[0]).dtype == torch.float64 == back(*given[0]).dtype, "dtype", "the "
               "image is float64, its patches or the image made of them are not: numbers move, "
               "none changes")
    for img, p in rich:
        probe.true(torch.equal(back(forth(img, p), p, *img.shape[2:]), img), "inexact",
                   f"image {tuple(img.shape)}: unpatchify(patchify(img)) must be img to the last "
                   "bit: numbers move, none is computed")
    img, p = rich[0][0].clone().requires_grad_(), rich[0][1]
    probe.gradients(forth(img, p), cut(img, p), {"img": img})
    rows = given[0][0].clone().requires_grad_()
    probe.gradients(back(rows, p, 6, 8), join(rows, p, 6, 8), {"patches": rows})


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
