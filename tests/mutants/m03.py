"""Right and wrong answers to the exercises of lecture 03."""
import math

import torch
import torch.nn.functional as F
from torch import nn

from utils.checks.c03 import interval
from utils.checks.c03_layers import causal, counted


# 03.1 -----------------------------------------------------------------------------------------
def windows_by_loop(x, size, stride):
    starts = [t for t in range(0, x.shape[1], stride) if t + size <= x.shape[1]]
    out = torch.zeros(len(starts), x.shape[0], size, dtype=x.dtype)
    for i, start in enumerate(starts):
        for j in range(size):
            out[i, :, j] = x[:, start + j]
    return out


def windows_by_unfold(x, size, stride):
    if x.shape[1] < size:
        return x[None, :, :0].expand(0, -1, size) if size == 0 else x.new_empty(0, len(x), size)
    return x.unfold(1, size, stride).permute(1, 0, 2)


def windows_by_index(x, size, stride):
    n = max(0, (x.shape[1] - size) // stride + 1)
    return x[:, torch.arange(n)[:, None] * stride + torch.arange(size)].transpose(0, 1)


def windows_short(x, size, stride):
    starts = range(0, x.shape[1] - size, stride)
    return torch.stack([x[:, s:s + size] for s in starts]) if starts else x.new_zeros(
        0, len(x), size)


def windows_wrapping(x, size, stride):
    twice = torch.cat([x, x], 1)
    return torch.stack([twice[:, s:s + size] for s in range(0, x.shape[1], stride)])


def windows_padded(x, size, stride):
    n = math.ceil(max(0, x.shape[1] - size) / stride) + 1
    return windows_by_loop(F.pad(x, (0, (n - 1) * stride + size - x.shape[1])), size, stride)


# 03.2 -----------------------------------------------------------------------------------------
def joined(parts, x, size):
    return torch.cat([x.new_zeros(0, x.shape[0], size), *parts])


def split_by_person(recs, people, size, stride):
    found = [[], []]
    for person, x in recs:
        found[person in people].append(windows_by_loop(x, size, stride))
    return tuple(joined(part, recs[0][1], size) for part in found)


def split_by_mask(recs, people, size, stride):
    cut = [(p, w) for p, x in recs for w in windows_by_unfold(x, size, stride)]
    train = [w[None] for p, w in cut if p not in people]
    test = [w[None] for p, w in cut if p in people]
    return joined(train, recs[0][1], size), joined(test, recs[0][1], size)


def window_then_split(recs, people, size, stride):
    every = joined([windows_by_loop(x, size, stride) for _, x in recs], recs[0][1], size)
    chosen = torch.rand(len(every)) < 0.3
    return every[~chosen], every[chosen]


def every_third(recs, people, size, stride):
    every = joined([windows_by_loop(x, size, stride) for _, x in recs], recs[0][1], size)
    chosen = torch.arange(len(every)) % 3 == 0
    return every[~chosen], every[chosen]


def split_in_time(recs, people, size, stride):
    first = [windows_by_loop(x[:, :len(x[0]) // 2], size, stride) for _, x in recs]
    last = [windows_by_loop(x[:, len(x[0]) // 2:], size, stride) for _, x in recs]
    return joined(first, recs[0][1], size), joined(last, recs[0][1], size)


def concatenated(recs, people, size, stride):
    C = recs[0][1].shape[0]
    whole = [torch.cat([recs[0][1].new_zeros(C, 0), *(x for p, x in recs if (p in people) == part)],
                       1) for part in (False, True)]
    return tuple(windows_by_loop(x, size, stride) for x in whole)


def first_recording_only(recs, people, size, stride):
    return split_by_person([rec for i, rec in enumerate(recs)
                            if rec[0] not in [p for p, _ in recs[:i]]], people, size, stride)


def crashing_on_short(recs, people, size, stride):
    found = [[], []]
    for person, x in recs:
        found[person in people].append(x.unfold(1, size, stride).transpose(0, 1))
    return tuple(joined(part, recs[0][1], size) for part in found)


def padding_short(recs, people, size, stride):
    long = [(p, F.pad(x, (0, max(0, size - x.shape[1])))) for p, x in recs]
    return split_by_person(long, people, size, stride)


# 03.3 -----------------------------------------------------------------------------------------
def conv_by_loop(x, w, b, padding=0):
    x = torch.cat([x.new_zeros(len(x), padding), x, x.new_zeros(len(x), padding)], 1)
    k = w.shape[2]
    return torch.stack([(w * x[:, t:t + k]).sum((1, 2)) + b
                        for t in range(x.shape[1] - k + 1)], 1)


def conv_by_shifts(x, w, b, padding=0):
    x, k = F.pad(x, (padding, padding)), w.shape[2]
    n = x.shape[1] - k + 1
    return sum(w[:, :, j] @ x[:, j:j + n] for j in range(k)) + b[:, None]


def conv_in_place(x, w, b, padding=0):
    x.mul_(1.0001)
    return conv_by_shifts(x, w, b, padding)


# 03.4 -----------------------------------------------------------------------------------------
def reach_backwards(layers):
    field = 1
    for k, stride, dilation in reversed(layers):
        field = (field - 1) * stride + (k - 1) * dilation + 1
    return field


# 03.5 -----------------------------------------------------------------------------------------
def causal_by_cut(x, w):
    k = w.shape[2]
    return F.conv1d(x[None], w, padding=k - 1)[0][:, :x.shape[1]]


def causal_by_loop(x, w):
    k, out = w.shape[2], []
    for t in range(x.shape[1]):
        out.append(sum(w[:, :, k - 1 - j] @ x[:, t - j] for j in range(min(k, t + 1))))
    return torch.stack(out, 1)


def causal_same(x, w):
    k = w.shape[2]
    return F.conv1d(F.pad(x, ((k - 1) // 2, k // 2))[None], w)[0]


# 03.6 -----------------------------------------------------------------------------------------
def wilson_by_roots(k, n):
    z = 1.96                            # (p - s)^2 n = z^2 s (1 - s), a quadratic equation in s
    a, b, c = n + z * z, -(2 * k + z * z), k * k / n
    root = math.sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def bound_of(p, n):
    """The largest share that does not surprise, by bisection."""
    low, high = p, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        far = middle - p > 1.96 * math.sqrt(middle * (1 - middle) / n)
        low, high = (low, middle) if far else (middle, high)
    return low


def wilson_two_sided(k, n):
    return 1 - bound_of(1 - k / n, n), bound_of(k / n, n)


def wald(k, n):
    p = k / n
    half = 1.96 * math.sqrt(p * (1 - p) / n)
    return p - half, p + half


def clopper_pearson(k, n):
    from scipy.stats import beta
    return (float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0,
            float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0)


def agresti(k, n):
    p, m = (k + 1.96 ** 2 / 2) / (n + 1.96 ** 2), n + 1.96 ** 2
    half = 1.96 * math.sqrt(p * (1 - p) / m)
    return p - half, p + half


# 03.7 -----------------------------------------------------------------------------------------
class Stack(nn.Module):
    """Causal convolutions with choices that go right or wrong."""

    def __init__(self, V, k=4, gaps=(1, 4, 16), d=16, skip=False, all_places=False, causal=True):
        super().__init__()
        self.symbol, self.head = nn.Embedding(V, d), nn.Linear(d, V)
        self.convs = nn.ModuleList(nn.Conv1d(d, d, k, dilation=gap) for gap in gaps)
        self.skip, self.all_places = skip, all_places

    def forward(self, ids):
        x = self.symbol(ids).transpose(1, 2)
        for conv in self.convs:
            left = (conv.kernel_size[0] - 1) * conv.dilation[0]
            y = F.relu(conv(F.pad(x, (left, 0))))
            x = x + y if self.skip else y
        out = self.head(x.transpose(1, 2))
        return out if self.all_places else out[:, -1]


class Sequential(nn.Module):
    """Three dilated layers, written without a loop."""

    def __init__(self, V):
        super().__init__()
        self.symbol = nn.Embedding(V, 14)
        self.layers = nn.Sequential(
            nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(14, 14, 5), nn.ReLU(),
            nn.ConstantPad1d((20, 0), 0.0), nn.Conv1d(14, 14, 5, dilation=5), nn.ReLU(),
            nn.ConstantPad1d((40, 0), 0.0), nn.Conv1d(14, 14, 3, dilation=20), nn.ReLU())
        self.head = nn.Linear(14, V)

    def forward(self, ids):
        return self.head(self.layers(self.symbol(ids).transpose(1, 2))[:, :, -1])


class Pooled(nn.Module):
    """The mean of all symbols, or the first by its index, or strings mixed with one another."""

    def __init__(self, V, how):
        super().__init__()
        self.symbol, self.head, self.how = nn.Embedding(V, 16), nn.Linear(16, V), how

    def forward(self, ids):
        x = self.symbol(ids)                                # (B, T, 16)
        x = {"mean": lambda: x.mean(1), "first": lambda: x[:, 0],
             "mixed": lambda: x.mean(1) + x.mean((0, 1))}[self.how]()
        return self.head(x)


def loose(V):
    """Layers in a plain list: torch does not find their weights."""
    net = nn.Module()
    layers = [nn.Embedding(V, 8), nn.Linear(8, V)]
    net.forward = lambda ids: layers[1](layers[0](ids).mean(1))
    return net


class Detached(Stack):
    def forward(self, ids):
        return super().forward(ids).detach()


RIGHT = {
    "03.1": {"loop": windows_by_loop, "unfold": windows_by_unfold, "index": windows_by_index},
    "03.2": {"person": split_by_person, "mask": split_by_mask,
             "a list": lambda *a: list(split_by_person(*a))},
    "03.3": {"loop": conv_by_loop, "shifts": conv_by_shifts},
    "03.4": {"upwards": counted, "backwards": reach_backwards,
             "float": lambda layers: float(counted(layers))},
    "03.5": {"padded": causal, "cut": causal_by_cut, "loop": causal_by_loop},
    "03.6": {"formula": interval, "roots": wilson_by_roots, "bisection": wilson_two_sided},
    "03.7": {"three layers": Stack, "a sequence": Sequential}}

WRONG = {
    "03.1": {
        "off by one": (windows_short, "off-by-one"),
        "wraps": (windows_wrapping, "too-many"),
        "padded": (windows_padded, "too-many"),
        "axes": (lambda *a: windows_by_loop(*a).transpose(0, 1), "axes"),
        "time first": (lambda *a: windows_by_loop(*a).transpose(1, 2), "axes"),
        "stride 1": (lambda x, size, stride: windows_by_loop(x, size, 1), "stride"),
        "no overlap": (lambda x, size, stride: windows_by_loop(x, size, size), "stride"),
        "view": (lambda x, s, st: windows_by_loop(x, s, st).transpose(1, 2).reshape(-1, len(x), s),
                 "mixed"),
        "late": (lambda x, s, st: windows_by_loop(x.roll(-1, 1), s, st), "value"),
        "reversed": (lambda x, s, st: windows_by_loop(x, s, st).flip(0), "value"),
        "every other": (lambda x, s, st: windows_by_loop(x, s, st)[:, :, ::2].repeat(1, 1, 2),
                        "value"),
        "at least one": (lambda x, s, st: windows_by_loop(F.pad(x, (0, max(0, s - x.shape[1]))),
                                                          s, st), "short"),
        "crashes if short": (lambda x, s, st: x.unfold(1, s, st).transpose(0, 1), "crash"),
        "a list": (lambda *a: list(windows_by_loop(*a)), "type"),
        "first channel": (lambda *a: windows_by_loop(*a)[:, :1], "count"),
        "changes x": (lambda x, s, st: windows_by_loop(x.mul_(1.5), s, st), "mutates")},
    "03.2": {
        "windows, then split": (window_then_split, "leak"),
        "every third": (every_third, "leak"),
        "split in time": (split_in_time, "person"),
        "concatenated": (concatenated, "crosses"),
        "swapped": (lambda *a: split_by_person(*a)[::-1], "swapped"),
        "first recording": (first_recording_only, "count"),
        "stride ignored": (lambda r, p, size, st: split_by_person(r, p, size, size), "count"),
        "crashes if short": (crashing_on_short, "short"),
        "pads short": (padding_short, "short"),
        "all in both": (lambda r, p, s, st: (split_by_person(r, set(), s, st)[0],) * 2, "leak"),
        "training only": (lambda *a: split_by_person(*a)[0], "type"),
        "lists": (lambda *a: tuple(list(part) for part in split_by_person(*a)), "type"),
        "axes": (lambda *a: tuple(part.transpose(1, 2) for part in split_by_person(*a)), "shape"),
        "test cut to one": (lambda *a: (split_by_person(*a)[0], split_by_person(*a)[1][:1]),
                            "count"),
        "repeated": (lambda *a: tuple(part.repeat(2, 1, 1) for part in split_by_person(*a)),
                     "count"),
        "pops": (lambda recs, *a: split_by_person([recs.pop(), *recs], *a), "mutates")},
    "03.3": {
        "flipped": (lambda x, w, b, p: conv_by_loop(x, w.flip(-1), b, p), "flip"),
        "no bias": (lambda x, w, b, p: conv_by_loop(x, w, b * 0, p), "no-bias"),
        "bias per channel": (lambda x, w, b, p: conv_by_loop(x, w, b * len(x), p), "bias-twice"),
        "first channel": (lambda x, w, b, p: conv_by_loop(x[:1], w[:, :1], b, p), "channels"),
        "mean of channels": (lambda x, w, b, p: conv_by_loop(x, w / len(x), b, p), "channels"),
        "channels kept": (lambda x, w, b, p: torch.stack([conv_by_loop(
            x[c:c + 1], w[:, c:c + 1], b, p) for c in range(len(x))], 1) if len(x) > 1
            else conv_by_loop(x, w, b, p), "channels"),
        "no padding": (lambda x, w, b, p: conv_by_loop(x, w, b), "no-padding"),
        "padding left": (lambda x, w, b, p: conv_by_loop(F.pad(x, (2 * p, 0)), w, b), "one-sided"),
        "repeats the edge": (lambda x, w, b, p: conv_by_loop(F.pad(
            x[None], (p, p), mode="replicate")[0], w, b), "edge"),
        "same": (lambda x, w, b, p: conv_by_loop(F.pad(x, (w.shape[2] // 2,) * 2), w, b), "length"),
        "one too few": (lambda *a: conv_by_loop(*a)[:, :-1], "length"),
        "torch's": (lambda x, w, b, p: F.conv1d(x[None], w, b, padding=p)[0], "library"),
        "torch's 2d": (lambda x, w, b, p: F.conv2d(
            F.pad(x, (p, p))[None, :, None], w[:, :, None], b)[0, :, 0], "library"),
        "sign": (lambda *a: -conv_by_loop(*a), "sign"),
        "detached": (lambda *a: conv_by_loop(*a).detach(), "detached"),
        "weights detached": (lambda x, w, b, p: conv_by_loop(x, w.detach(), b, p), "detached"),
        "float32": (lambda x, w, b, p: conv_by_loop(x.float(), w.float(), b.float(), p),
                    "precision"),
        "relu": (lambda *a: conv_by_loop(*a).relu(), "value"),
        "a list": (lambda *a: conv_by_loop(*a).tolist(), "type"),
        "in place": (conv_in_place, "mutates")},
    "03.4": {
        "adds kernels": (lambda layers: sum(k for k, _, _ in layers), "adds-kernels"),
        "ignores stride": (lambda layers: counted(layers, stride=False), "ignores-stride"),
        "ignores dilation": (lambda layers: counted(layers, dilation=False), "ignores-dilation"),
        "ignores both": (lambda layers: counted(layers, False, False), "ignores-dilation"),
        "own stride": (lambda layers: counted(layers, own=True), "own-stride"),
        "wrong order": (lambda layers: counted(layers, after=True), "order"),
        "one too few": (lambda layers: counted(layers) - 1, "no-one"),
        "kernel times": (lambda layers: 1 + sum(k * d * math.prod(s for _, s, _ in layers[:i])
                                                for i, (k, _, d) in enumerate(layers)),
                         "adds-kernels"),
        "fails on none": (lambda layers: counted(layers) if layers else 0, "adds-kernels"),
        "last stride": (lambda layers: 1 + sum((k - 1) * d * (layers[i - 1][1] if i else 1)
                                               for i, (k, _, d) in enumerate(layers)), "value"),
        "a text": (lambda layers: str(counted(layers)), "type"),
        "pops": (lambda layers: 1 if not layers else counted([layers.pop(0), *layers]),
                 "mutates")},
    "03.5": {
        "both sides": (causal_same, "leak"),
        "right side": (lambda x, w: F.conv1d(F.pad(x, (0, w.shape[2] - 1))[None], w)[0], "leak"),
        "flipped": (lambda x, w: causal(x, w.flip(-1)), "flip"),
        "strictly past": (lambda x, w: F.pad(causal(x, w), (1, -1)), "late"),
        "no padding": (lambda x, w: F.conv1d(x[None], w)[0], "length"),
        "too long": (lambda x, w: F.conv1d(x[None], w, padding=w.shape[2] - 1)[0], "length"),
        "wraps": (lambda x, w: F.conv1d(torch.cat([x.roll(w.shape[2] - 1, 1)[:, :w.shape[2] - 1],
                                                   x], 1)[None], w)[0][:, :x.shape[1]], "leak"),
        "repeats the edge": (lambda x, w: F.conv1d(F.pad(
            x[None], (w.shape[2] - 1, 0), mode="replicate"), w)[0], "edge"),
        "first channel": (lambda x, w: causal(x[:1], w[:, :1]), "channels"),
        "mean": (lambda x, w: causal(x, w) / len(x), "channels"),
        "normalised": (lambda x, w: causal(x - x.mean(), w) + w.sum((1, 2))[:, None] * x.mean(),
                       "value"),
        "detached": (lambda x, w: causal(x, w).detach(), "detached"),
        "a list": (lambda x, w: causal(x, w).tolist(), "type"),
        "in place": (lambda x, w: causal(x.sub_(1), w), "mutates")},
    "03.6": {
        "wald": (wald, "wald"),
        "wald, clipped": (lambda k, n: tuple(min(1.0, max(0.0, v)) for v in wald(k, n)), "wald"),
        "agresti": (agresti, "agresti"),
        "90 %": (lambda k, n: interval(k, n, 1.644854), "level"),
        "99 %": (lambda k, n: interval(k, n, 2.575829), "level"),
        "one sd": (lambda k, n: interval(k, n, 1.0), "level"),
        "not divided": (lambda k, n: tuple(v * (1 + 1.96 ** 2 / n) for v in interval(k, n)),
                        "not-divided"),
        "around p": (lambda k, n: (k / n - (interval(k, n)[1] - interval(k, n)[0]) / 2,
                                   k / n + (interval(k, n)[1] - interval(k, n)[0]) / 2), "center"),
        "per cent": (lambda k, n: tuple(100 * v for v in interval(k, n)), "percent"),
        "swapped": (lambda k, n: interval(k, n)[::-1], "order"),
        "exact": (clopper_pearson, "value"),
        "z = 2": (lambda k, n: interval(k, n, 2.0), "value"),
        "low end": (lambda k, n: interval(k, n)[0], "type"),
        "rounded": (lambda k, n: tuple(round(v, 2) for v in interval(k, n)), "value"),
        "texts": (lambda k, n: tuple(map(str, interval(k, n))), "type")},
    "03.7": {
        "four plain layers": (lambda V: Stack(V, 3, (1, 1, 1, 1)), "reach"),
        "dilated, one short": (lambda V: Stack(V, 3, (1, 3, 9, 16)), "reach"),
        "with skips": (lambda V: Stack(V, skip=True), "forgets"),
        "too many weights": (lambda V: Stack(V, d=24), "budget"),
        "one long kernel": (lambda V: Stack(V, 64, (1,)), "budget"),
        "no weights": (loose, "budget"),
        "mean": (lambda V: Pooled(V, "mean"), "forgets"),
        "first by index": (lambda V: Pooled(V, "first"), "shortcut"),
        "mixes strings": (lambda V: Pooled(V, "mixed"), "batch"),
        "every place": (lambda V: Stack(V, all_places=True), "every-place"),
        "detached": (Detached, "detached"),
        "other size": (lambda V: Stack(V + 1), "shape"),
        "a function": (lambda V: (lambda ids: F.one_hot(ids[:, 0], V).double()), "type")}}
