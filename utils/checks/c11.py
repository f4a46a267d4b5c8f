"""The checks of lecture 11, first part: images cut into patches, and put together again."""
import torch
import torch.nn.functional as F

from . import c11_encoder, c11_listening, c11_pairs, c11_sound  # noqa: F401  the others
from .c08_known import Judge
from .engine import exercise

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
                          (probe.normal(2, 3, 6, 6), 2, "image (2, 3, 6, 6), p = 2"),
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
    for rows, p, H, W in ((cut(small, 2), 2, 2, 6), *given, (probe.normal(2, 20, 3), 1, 5, 4),
                         (probe.normal(2, 9, 12), 2, 6, 6)):
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
