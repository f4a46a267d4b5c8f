"""The checks of lecture 03, second half: convolutions, how far they see, a net that recalls."""
import math
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from ..recall import recall_batch
from .engine import exercise

BUDGET = 3600                                           # weights of the network of 03.7
LEARN_SECONDS = 7.0                                     # of the 10 that a check may take


class Named(TorchFunctionMode):
    """Notes the names of torch's functions that an answer calls."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def conv_mistakes(x, w, b, p):
    """{code: (result of a well-known mistake, what it is)}."""
    zero = torch.zeros_like(b)
    x1 = x[None]

    def run(x, w, b):
        return F.conv1d(x, w, b, padding=p)[0]
    one_sided = [F.conv1d(F.pad(x1, side), w, b)[0] for side in ((2 * p, 0), (0, 2 * p))]
    channels = [run(x1[:, :1], w[:, :1], b), run(x1.mean(1, True), w.mean(1, True), b),
                run(x1, w, zero) / x.shape[0] + b[:, None]]
    return {
        "flip": (run(x1, w.flip(-1), b), "the kernel is flipped: that is mathematical convolution; "
                 "torch uses cross-correlation, weight j meets sample t + j"),
        "no-bias": (run(x1, w, zero), "the bias is missing"),
        "bias-twice": ([run(x1, w, x.shape[0] * b), run(x1, w, w.shape[2] * b),
                        run(x1, w, x.shape[0] * w.shape[2] * b)],
                       "the bias was added more than once: once for each output"),
        "channels": (channels, "the sum runs over all channels of the input: here one is used "
                     "alone, or their mean is taken"),
        "one-sided": (one_sided, "all the padding is on one side: `padding` zeros on each"),
        "edge": (F.conv1d(F.pad(x1, (p, p), mode="replicate"), w, b)[0] if p else zero,
                 "the padding repeats the last sample: pad with zeros"),
        "circular": (F.conv1d(F.pad(x1, (p, p), mode="circular"), w, b)[0] if p else zero,
                     "the padding wraps around: pad with zeros"),
        "sign": (-run(x1, w, b), "the sign is wrong")}


@exercise("03.3", hints=(
    "x = [[0, 0, 1, 0, 0]], w = [[[1, 2, 3]]], b = [0], padding 0 gives [[3, 2, 1]]: at place 0 "
    "the last weight meets the 1. What do you get?",
    "Check in this order: how many places there are, T + 2 padding - k + 1; which sample meets "
    "which weight; that all input channels are summed; that the bias enters once.",
    "padded = x with `padding` zeros on each side of every channel\n"
    "for each output channel o and each place t:\n"
    "    result[o, t] = b[o] + sum over c and j of w[o, c, j] times padded[c, t + j]"))
def conv1d(answer, probe):
    click = torch.tensor([[0, 0, 1, 0, 0]]).double()
    w, b = torch.tensor([[[1, 2, 3]]]).double(), probe.zeros(1)
    out = probe.call(answer, click, w, b, 0)
    probe.type(out, torch.Tensor)
    probe.true(tuple(out.shape) != (1, 5), "length", "5 samples, k = 3, padding 0: the kernel "
               "stands whole in 3 places, 5 came")
    probe.shape(out, (1, 3), "length", "5 samples, k = 3, padding 0")
    probe.equal(out, torch.tensor([[3, 2, 1]]).double(), "value",
                "x = [[0, 0, 1, 0, 0]], w = [[[1, 2, 3]]]", known=conv_mistakes(click, w, b, 0))
    for C, size, D, k, p in ((3, 9, 4, 2, 0), (2, 7, 5, 3, 1), (4, 11, 3, 5, 3), (1, 4, 2, 4, 0),
                             (2, 3, 3, 1, 2), (3, 2, 2, 5, 2)):
        x, w, b = probe.normal(C, size), probe.normal(D, C, k), probe.normal(D)
        where = f"x {(C, size)}, w {(D, C, k)}, padding {p}"
        with Named() as called:
            out = probe.call(answer, x, w, b, p)
        ready = sorted(name for name in called.names if "conv" in name)
        probe.true(not ready, "library", f"it calls torch's {ready}: write the sums yourself")
        probe.type(out, torch.Tensor)
        length = size + 2 * p - k + 1
        probe.true(tuple(out.shape) != (D, C, length), "channels", f"{where}: a result for each "
                   "input channel came: sum over the channels")
        probe.true(p == 0 or tuple(out.shape) != (D, size - k + 1), "no-padding",
                   f"{where}: the length is that of no padding")
        probe.shape(out, (D, length), "length", f"{where}: T + 2 padding - k + 1 places")
        known = {code: (value, f"{where}: {why}")
                 for code, (value, why) in conv_mistakes(x, w, b, p).items()}
        probe.equal(out, F.conv1d(x[None], w, b, padding=p)[0], "value", where, known=known)
    x, w, b = 1000 + probe.normal(2, 8), probe.normal(3, 2, 4), probe.zeros(3)
    w = w - w.mean(-1, keepdim=True)                    # weights that sum to 0: digits cancel
    probe.equal(probe.call(answer, x, w, b, 0), F.conv1d(x[None], w, b)[0], "precision",
                "a signal near 1000 and weights that sum to 0: digits are lost, as in float32")
    x = torch.cat([probe.zeros(2, 3), probe.normal(2, 6), probe.zeros(2, 4)], 1)    # (2, 13)
    w, b = probe.normal(3, 2, 3), probe.normal(3)
    late = probe.call(answer, x.roll(1, 1), w, b, 1)
    probe.equal(late[:, 1:], probe.call(answer, x, w, b, 1)[:, :-1], "shift", "the signal came one "
                "sample later, so must the response: the weights are the same at every place")
    x, w, b = (t.requires_grad_() for t in (probe.normal(3, 8), probe.normal(2, 3, 4),
                                            probe.normal(2)))
    probe.gradients(probe.call(answer, x, w, b, 1), F.conv1d(x[None], w, b, padding=1)[0],
                    {"x": x, "w": w, "b": b})


def measured_reach(layers):
    """Samples that move one output of a stack of convolutions with positive weights."""
    size = 1 + sum((k - 1) * d * math.prod(s for _, s, _ in layers[:i])
                   for i, (k, _, d) in enumerate(layers))
    x = torch.ones(1, 1, size + 3 * math.prod(s for _, s, _ in layers)).double().requires_grad_()
    out = x
    for k, stride, dilation in layers:
        out = F.conv1d(out, torch.ones(1, 1, k).double(), stride=stride, dilation=dilation)
    out[0, 0, 0].backward()
    moved = x.grad[0, 0].nonzero().flatten()
    return int(moved[-1] - moved[0]) + 1


def counted(layers, stride=True, dilation=True, own=False, after=False):
    """The receptive field by formula, with a mistake switched on."""
    total = 1
    for i, (k, _, d) in enumerate(layers):
        steps = [s for _, s, _ in (layers[i + 1:] if after else layers[:i + own])]
        total += (k - 1) * (d if dilation else 1) * (math.prod(steps) if stride else 1)
    return total


@exercise("03.4", hints=(
    "Two layers of kernel 3 see 5 samples, not 6: neighbouring outputs share inputs. And no layer "
    "at all sees 1. What do you get?",
    "A step of one sample in layer 2 is a step of stride samples in the signal. Which layers' "
    "strides count for a layer: those below, its own, or those above?",
    "field = 1, jump = 1   (samples between neighbouring places)\n"
    "for each layer from the signal upwards:\n"
    "    field grows by (k minus one) times dilation times jump\n"
    "    jump is multiplied by the layer's stride"))
def receptive_field(answer, probe):
    for layers in ([(3, 1, 1)], [(3, 1, 1), (3, 1, 1)], [], [(1, 1, 1)], [(3, 1, 4)],
                   [(2, 1, 1), (2, 3, 1), (4, 3, 1)], [(3, 2, 1), (3, 1, 1)],
                   [(3, 1, 1), (3, 2, 1)], [(5, 3, 2), (2, 2, 3), (4, 1, 2)],
                   [(9, 4, 1), (5, 2, 1)], [(2, 1, 2 ** i) for i in range(6)],
                   [(2, 5, 1), (1, 2, 3), (3, 1, 1)]):
        out = probe.call(answer, layers)
        if isinstance(out, torch.Tensor) and out.numel() == 1:
            out = out.item()
        if isinstance(out, float) and out == int(out):
            out = int(out)
        probe.type(out, int, "a whole number of samples")
        want = measured_reach(layers) if layers else 1
        where = f"layers (k, stride, dilation) {layers}"
        probe.equal(out, want, "value", where, known={
            "ignores-stride": (counted(layers, stride=False), f"{where}: the strides below a layer "
                               "stretch what it sees"),
            "ignores-dilation": (counted(layers, dilation=False), f"{where}: dilation d puts the "
                                 "samples under a kernel d apart"),
            "ignores-both": (counted(layers, False, False), f"{where}: neither strides nor "
                             "dilations were counted"),
            "adds-kernels": ([sum(k for k, _, _ in layers), 1 + sum(k for k, _, _ in layers)],
                             f"{where}: kernels were added; neighbours share samples, so each "
                             "layer adds k - 1"),
            "kernel-times": ([1 + sum(k * d * math.prod(s for _, s, _ in layers[:i])
                              for i, (k, _, d) in enumerate(layers))],
                             f"{where}: a layer adds k - 1 steps, not k"),
            "no-one": (want - 1, f"{where}: one too few. Start from 1, the sample itself"),
            "own-stride": (counted(layers, own=True), f"{where}: a layer's own stride moves the "
                           "next place, it does not widen this one: count those below only"),
            "order": (counted(layers, after=True), f"{where}: the strides above a layer were "
                      "counted. The first of the list is next to the signal")})


def causal(x, w):
    return F.conv1d(F.pad(x, (w.shape[2] - 1, 0))[None], w)[0]


@exercise("03.5", hints=(
    "x = [[0, 0, 1, 0, 0]], w = [[[1, 2, 3]]]: the result is [[0, 0, 3, 2, 1]]. Nothing before the "
    "click may know of it. What do you get?",
    "How many zeros come before the first sample, and how many after the last? The output is as "
    "long as the input.",
    "padded = k minus one zeros before each channel, none after\n"
    "result[o, t] = sum over c and j of w[o, c, j] times padded[c, t + j]\n"
    "so the last weight meets the present sample, the first the oldest"))
def causal_conv1d(answer, probe):
    click = torch.tensor([[0, 0, 1, 0, 0]]).double()
    w = torch.tensor([[[1, 2, 3]]]).double()
    out = probe.call(answer, click, w)
    probe.shape(out, (1, 5), "length", "5 samples in, 5 out")
    probe.equal(out, causal(click, w), "value", "x = [[0, 0, 1, 0, 0]], w = [[[1, 2, 3]]]", known={
        "leak": ([F.conv1d(F.pad(click, (2 - a, a))[None], v)[0] for a in (1, 2)
                  for v in (w, w.flip(-1))], "output 1 already answers to the click at sample 2: "
                 "zeros stand behind the signal, and the kernel sees the future"),
        "flip": (causal(click, w.flip(-1)), "the first weight meets the present: it must be the "
                 "last"),
        "late": (F.pad(causal(click, w), (1, -1)), "one sample late: output t may see sample t")})
    for C, T, D, k in ((3, 9, 4, 2), (2, 7, 5, 4), (4, 3, 2, 5), (1, 6, 3, 1), (2, 12, 3, 3)):
        x, w = probe.normal(C, T), probe.normal(D, C, k)
        where = f"x {(C, T)}, w {(D, C, k)}"
        out = probe.call(answer, x, w)
        probe.type(out, torch.Tensor)
        probe.true(tuple(out.shape) != (D, C, T), "channels", f"{where}: sum over the channels")
        probe.shape(out, (D, T), "length", f"{where}: the output is as long as the input")
        for t in range(1, T):                           # what comes from t on must not matter
            other = x.clone()
            other[:, t:] += 1 + probe.normal(C, T - t).abs()
            moved = (probe.call(answer, other, w) - out).abs().amax(0)[:t]
            probe.true(bool((moved < 1e-12).all()), "leak", f"{where}: samples from {t} on "
                       f"changed, and output {int(moved.argmax())} with them: it sees the future")
        known = {
            "flip": (causal(x, w.flip(-1)), f"{where}: the kernel is flipped: its last weight "
                     "meets the present sample"),
            "late": (F.pad(causal(x, w), (1, -1)), f"{where}: one sample late"),
            "channels": ([causal(x[:1], w[:, :1]), causal(x, w) / C], f"{where}: sum over all "
                         "channels"),
            "edge": (F.conv1d(F.pad(x[None], (k - 1, 0), mode="replicate"), w)[0], f"{where}: the "
                     "first sample is repeated before the signal: put zeros there")}
        probe.equal(out, causal(x, w), "value", where, known=known)
    x, w = probe.normal(3, 8).requires_grad_(), probe.normal(2, 3, 4).requires_grad_()
    probe.gradients(probe.call(answer, x, w), causal(x, w), {"x": x, "w": w})


def sees(net, T, V, probe):
    """Positions (a set) of a string of T symbols that change the logits (B, V)."""
    ids = probe.ints(0, V, 24, T)
    with torch.no_grad():
        base, found = net(ids), set()
        for t in range(T):
            other = ids.clone()
            other[:, t] = (ids[:, t] + 1 + probe.ints(0, V - 1, 24)) % V
            if bool(((net(other) - base).abs() > 0).any()):
                found.add(t)
    return found


def learned(net, T, V, probe, steps=300):
    """Accuracy on 1,000 fresh strings after training, stopped when it has learned or is late."""
    adamw, end = torch.optim.AdamW(net.parameters(), lr=1e-2), time.monotonic() + LEARN_SECONDS
    streak = 0
    for _ in range(steps):
        ids, first = recall_batch(32, T, V, probe.generator)
        logits = net(ids)
        adamw.zero_grad()
        F.cross_entropy(logits, first).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adamw.step()
        streak = streak + 1 if bool((logits.argmax(-1) == first).double().mean() > 0.8) else 0
        if streak == 2 or time.monotonic() > end:
            break
    net.eval()
    ids, first = recall_batch(1000, T, V, probe.generator)
    with torch.no_grad():
        return float((net(ids).argmax(-1) == first).double().mean())


@exercise("03.7", hints=(
    "Change the first of 64 symbols: the logits must change. With four layers of kernel 3 they do "
    "not, by 03.4 they see 9 symbols. How far do yours see?",
    "Dilation widens the view at no cost in weights. Skip connections, which help elsewhere, "
    "drown the first symbol here: the last place hears its own symbol far louder.",
    "embed the ids: (B, d, T)\n"
    "a few causal convolutions of kernel k, dilations 1, k, k^2, ..., each followed by relu\n"
    "(so that 1 + (k - 1) times the sum of the dilations is 64 or more)\n"
    "the last place through a linear layer: (B, n_symbols)"))
def recall_net(answer, probe):
    V, T = 8, 64
    net = probe.call(answer, V)
    probe.type(net, nn.Module, "return the network itself, not its output")
    ids = probe.ints(0, V, 5, T)
    out = probe.call(net, ids)
    probe.true(isinstance(out, torch.Tensor) and tuple(out.shape) != (5, T, V), "every-place",
               "logits at every place came: return those of the last place, (B, n_symbols)")
    probe.shape(out, (5, V), "shape", "5 strings of 64 symbols out of 8: a row of logits each")
    size = sum(p.numel() for p in net.parameters())
    probe.true(size > 0, "budget", "a network without weights learns nothing: is each layer "
               "stored in self, lists of layers in nn.ModuleList?")
    probe.true(size <= BUDGET, "budget", f"{size:,} weights: stay within {BUDGET:,}, about what "
               "the lecture's CNN of four layers has. Dilation costs none")
    probe.true(out.requires_grad, "detached", "no gradient reaches the weights")
    net.eval()
    alone = torch.cat([probe.call(net, row[None]) for row in ids])
    probe.true(torch.allclose(alone, net(ids), atol=1e-4), "batch", "a string gets other logits "
               "when other strings stand beside it: mix along time, not along the batch")
    found = sees(net, T, V, probe)
    probe.true(found, "reach", "no symbol changes the logits")
    probe.true(0 in found, "reach", f"T = 64: the logits depend on the last {T - min(found)} "
               "symbols, the first is out of sight")
    probe.true(len(found) > T // 2, "shortcut", f"T = 64: the logits depend on {len(found)} of 64 "
               "symbols only: to pick the first by its index is no answer, let convolutions carry "
               "it")
    net.train()
    score = learned(net, T, V, probe)
    probe.true(score >= 0.5, "forgets", f"it sees all 64 symbols, but after 300 steps of AdamW "
               f"(rate .01, 32 strings each) it recalls the first in {score:.0%} of cases; a blind "
               "guess has 12 %")
