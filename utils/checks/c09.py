"""The checks of lecture 09, first part: a LoRA layer, and merging it into its base."""
import torch
import torch.nn.functional as F
from torch import nn

from . import c09_adapters, c09_files, c09_memory, c09_rank  # noqa: F401  the others
from .engine import exercise


def linear(probe, d_in, d_out, bias=True):
    """A frozen-to-be nn.Linear with weights of the probe."""
    base = nn.Linear(d_in, d_out, bias=bias)
    for p in base.parameters():
        p.data = probe.normal(*p.shape)
    return base


def fill(made, probe):
    """Random numbers in A and B, as if trained."""
    for p in (made.A, made.B):
        p.data = probe.normal(*p.shape)


def wrong_outputs(base, A, B, alpha, r, x, where):
    """{code: (output of a well-known mistake, what it is)}."""
    y, d, s = base(x).detach(), (x @ A.T @ B.T).detach(), alpha / r
    bias = 0 if base.bias is None else base.bias.detach()
    table = {
        "no-adapter": (y, "the output is that of the base: what A and B add is missing"),
        "no-base": (s * d, "the output of the base is missing: the adapter is added to it"),
        "no-scale": (y + d, "what A and B add is not scaled: it is multiplied by alpha / r"),
        "floor": (y + alpha // r * d, "alpha // r drops the fraction: divide with /"),
        "alpha-only": (y + alpha * d, "multiplied by alpha alone: it is alpha / r"),
        "one-over-r": (y + d / r, "divided by r, and alpha is not used"),
        "inverse": (y + r / alpha * d, "multiplied by r / alpha: it is alpha / r"),
        "times-r": (y + alpha * r * d, "multiplied by alpha times r: it is alpha / r"),
        "root": (y + alpha / r ** 0.5 * d, "divided by the root of r: here it is r itself"),
        "scale-twice": (y + s * s * d, "alpha / r is applied twice"),
        "all-scaled": ([s * (y + d), s * y + d], "the output of the base is scaled: alpha / r "
                       "belongs to what A and B add"),
        "sign": (y - s * d, "what A and B give is subtracted: it is added"),
        "no-bias": (y - bias + s * d, "the bias of the base is missing"),
        "bias-scaled": (y + s * (d + bias), "the bias is added once more, with the adapter"),
        "activation": ([y + s * (f(x @ A.T) @ B.T).detach() for f in (F.relu, F.gelu, torch.tanh)],
                       "there is an activation between A and B: the update B A is one matrix")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def matrix(probe, made, name, shape, where):
    """Is made.A (or B) a parameter of this shape that trains?"""
    value = getattr(made, name, None)
    probe.true(isinstance(value, torch.Tensor), "attributes", f"{where}: `{name}` must be an "
               f"attribute that holds a matrix of shape {shape}, came {type(value).__name__}")
    probe.true(shape[0] == shape[1] or tuple(value.shape) != shape[::-1], "transposed",
               f"{where}: `{name}` has the shape {shape[::-1]}, asked for is {shape}: A is (r, "
               "d_in), B is (d_out, r)")
    probe.shape(value, shape, "shape", f"{where}: `{name}`")
    probe.true(isinstance(value, nn.Parameter), "not-parameter", f"{where}: `{name}` is no "
               "nn.Parameter, so that model.parameters() and an optimiser never see it")
    probe.true(value.requires_grad, "untrained", f"{where}: `{name}` does not require a gradient, "
               "but it is what is trained")


@exercise("09.1", hints=(
    "A new layer must give exactly what its base gives: one of the two matrices starts at 0, the "
    "other does not. If both are 0, which gradients are left? Work it out for 1 x 1 matrices.",
    "Four places: the parameters of base stop training, A and B are nn.Parameter with the dtype "
    "and the device of base.weight, their shapes are (r, d_in) and (d_out, r), and alpha / r "
    "multiplies what they add. No torch.no_grad around base: layers below need its gradient.",
    "init: keep base and alpha / r; switch off the gradient of each parameter of base\n"
    "    A: small random numbers, B: zeros, both parameters, where base.weight lives\n"
    "forward: down = x through A, to r numbers; up = down through B, to d_out numbers\n"
    "    the output of base, plus alpha / r times up"))
def lora_linear(answer, probe):
    probe.true(not isinstance(answer, nn.Module), "type", "pass the class LoRALinear, not a layer")
    d_in, d_out, r, alpha = 5, 7, 3, 7
    base = linear(probe, d_in, d_out)
    made, where = probe.call(answer, base, r, alpha), "base 5 -> 7, r = 3, alpha = 7"
    probe.type(made, nn.Module, "LoRALinear(base, r, alpha) makes a torch.nn.Module")
    kept = getattr(made, "base", None)
    probe.true(isinstance(kept, nn.Linear), "attributes", f"{where}: `base` must be an attribute "
               f"that holds the nn.Linear, came {type(kept).__name__}")
    probe.equal(kept.weight.detach(), base.weight.detach(), "base", f"{where}: the weight in "
                "`base` is not that of the layer that was given")
    matrix(probe, made, "A", (r, d_in), where)
    matrix(probe, made, "B", (d_out, r), where)
    A, B = made.A.detach(), made.B.detach()
    probe.true(bool(A.any()) or bool(B.any()), "both-zero", f"{where}: A and B both start at 0. "
               "The gradient of A passes through B and that of B through A: both stay 0 for ever")
    probe.true(not bool(B.any()) or bool(A.any()), "exchanged", f"{where}: A starts at 0 and B at "
               "random: asked for is the other way round, as in the paper and in peft")
    probe.true(not bool(B.any()), "identity", f"{where}: B must start at 0, so that the new layer "
               "gives what its base gives and training starts from the pretrained model")
    probe.true(int(torch.linalg.matrix_rank(A)) == r, "same-rows", f"{where}: the {r} rows of A "
               f"span only {int(torch.linalg.matrix_rank(A))} direction(s), and training starts "
               "with no more: draw its numbers at random")
    probe.true(1e-3 < float(A.std()) < 3, "start", f"{where}: the numbers of A have the spread "
               f"{float(A.std()):.2g}: about 1 / root(d_in) = .45 is healthy")
    other = probe.call(answer, base, r, alpha)
    probe.true(not torch.equal(other.A, made.A), "seeded", f"{where}: two layers made one after "
               "the other have the same A: a seed belongs to the caller, not into the layer")
    for name, p in kept.named_parameters():
        probe.true(not p.requires_grad, "not-frozen", f"{where}: base.{name} still requires a "
                   "gradient: the base is frozen, only A and B are trained")
    count = sum(p.numel() for p in made.parameters() if p.requires_grad)
    probe.true(count == r * (d_in + d_out), "count", f"{where}: r (d_in + d_out) = 36 numbers are "
               f"trained, came {count}")
    size = sum(p.numel() for p in made.parameters()) - count
    probe.true(size == sum(p.numel() for p in base.parameters()), "size", f"{where}: besides A and "
               f"B the layer holds {size} numbers, the base has 42: is its weight there twice?")
    x = probe.normal(4, d_in)
    out = probe.call(made, x)
    probe.equal(out, base(x), "identity", f"{where}: a new layer must give what its base gives")
    trained(answer, probe)
    small = linear(probe, 4, 3).float()
    made = probe.call(answer, small, 2, 2)
    probe.true(made.A.dtype == made.B.dtype == torch.float32, "dtype", "the base is float32 while "
               f"new tensors are float64, as on a GPU in bfloat16: A came in {made.A.dtype}, B in "
               f"{made.B.dtype}. Make them like base.weight, which settles dtype and device")

def trained(answer, probe):
    """The same layer with random A and B: outputs, gradients, many sizes."""
    for d_in, d_out, r, alpha, shape, bias in (
            (5, 7, 3, 7, (4, 5), True), (5, 7, 2, 1, (5,), True), (6, 4, 1, 3, (2, 3, 6), False),
            (4, 4, 4, 2, (3, 4), True), (3, 9, 2, 5, (2, 1, 2, 3), True), (8, 2, 5, 0.5, (1, 8),
                                                                           False)):
        base = linear(probe, d_in, d_out, bias)
        made = probe.call(answer, base, r, alpha)
        where = (f"base {d_in} -> {d_out}{'' if bias else ' without bias'}, r = {r}, alpha = "
                 f"{alpha}, x {shape}, A and B random")
        for name, size in (("A", (r, d_in)), ("B", (d_out, r))):
            matrix(probe, made, name, size, where)
        fill(made, probe)
        x = probe.normal(*shape).requires_grad_()
        A, B = made.A, made.B
        want = base(x).detach() + alpha / r * (x @ A.T @ B.T)
        out = probe.call(made, x)
        probe.shape(out, (*shape[:-1], d_out), "shape", where)
        probe.equal(out.detach(), want.detach(), "value", where,
                    known=wrong_outputs(base, A, B, alpha, r, x, where))
        probe.true(torch.equal(out, probe.call(made, x)), "random", f"{where}: twice the same x, "
                   "two results: no dropout here")
        probe.true(torch.equal(out, probe.call(made.eval(), x)), "mode", f"{where}: after eval() "
                   "the output is another: the adapter counts in training and in use")
        want = F.linear(x, base.weight.detach(), base.bias) + alpha / r * (x @ A.T @ B.T)
        probe.gradients(out, want, {"A": A, "B": B, "x": x})
        made.base.weight.data.zero_()
        probe.equal(probe.call(made, x).detach(), (want - x @ base.weight.T).detach(),
                    "base-copied", f"{where}, base.weight set to 0: the output must follow. Call "
                    "`base` in forward, instead of a copy of its weight")


def act(probe, layer, name):
    """Call layer.merge() or layer.unmerge(), which may return nothing."""
    def method():
        getattr(layer, name)()
        return True
    method.__name__ = name
    probe.call(method)


def is_plain(probe, layer, frozen, where):
    """Is base.weight still a frozen parameter without a history?"""
    w = layer.base.weight
    probe.true(w.grad_fn is None, "graph", f"{where}: base.weight remembers how it was made, and "
               "with it A and B: change it inside torch.no_grad()")
    probe.true(isinstance(w, nn.Parameter), "not-parameter", f"{where}: base.weight is no "
               "nn.Parameter any more: add to the one that is there")
    probe.true(w.requires_grad == frozen, "unfrozen", f"{where}: base.weight requires a gradient "
               "now: nn.Parameter(...) switches it on. Add to the one that is there")


@exercise("09.2", hints=(
    "base 1 -> 1 with weight 2, A = B = [[3.]], scale .5: what is the weight after merge()? After "
    "a second merge()? After unmerge()? Print it each time, and layer(1) beside it.",
    "Each method asks first whether it has anything to do. The product of B and A has the shape "
    "of base.weight; add it inside torch.no_grad(). And what does forward do while the product is "
    "in the weight already?",
    "forward: the output of base; unless merged, plus scale times x through A, then B\n"
    "merge: if merged, nothing. Else base.weight grows by scale times (B times A); note it\n"
    "unmerge: if not merged, nothing. Else base.weight shrinks by as much; note it"))
def merging(answer, probe):
    probe.true(not isinstance(answer, nn.Module), "type", "pass the class MergingLoRA, not a layer")
    cycle(answer, probe, linear(probe, 5, 7), 3, 1.5, (4, 5))
    cycle(answer, probe, linear(probe, 6, 4, bias=False), 1, 0.5, (2, 3, 6))
    cycle(answer, probe, linear(probe, 4, 4), 2, 3, (4,))


def cycle(answer, probe, base, r, scale, shape):
    d_out, d_in = base.weight.shape
    where = f"base {d_in} -> {d_out}, r = {r}, scale = {scale}"
    A, B, x = probe.normal(r, d_in), probe.normal(d_out, r), probe.normal(*shape)
    base.requires_grad_(False)
    W = base.weight.clone()

    def fresh():
        layer = probe.call(answer, base, A, B, scale)
        probe.type(layer, nn.Module, "MergingLoRA(base, A, B, scale) makes a torch.nn.Module")
        return layer

    def compare(layer, code, when, known=()):
        wrong = wrong_outputs(base, A, B, scale, 1, x, f"{where}, {when}")
        names = ("no-adapter", "no-base", "no-scale", "sign", "scale-twice", "all-scaled")
        probe.equal(probe.call(layer, x).detach(), want, code, f"{where}, {when}: the output",
                    known={**dict(known), **{name: wrong[name] for name in names if name != code}})

    layer, delta = fresh(), B @ A
    want = base(x) + scale * (x @ A.T @ B.T)
    compare(layer, "value", "before merging")
    act(probe, layer, "merge")
    is_plain(probe, layer, False, f"{where}, after merge()")
    probe.equal(layer.base.weight.detach(), W + scale * delta, "weight",
                f"{where}, after merge(): base.weight", known={
                    "unmerged": (W, f"{where}: merge() leaves base.weight as it was: add scale "
                                 "times B A to it, in place"),
                    "weight-scale": ([W + delta, W + scale ** 2 * delta], f"{where}: merge() adds "
                                     "B A to base.weight without the right scale"),
                    "weight-sign": (W - scale * delta, f"{where}: merge() subtracts: it adds"),
                    "replaced": (scale * delta, f"{where}: merge() puts B A in the place of "
                                 "base.weight: add it to what is there")})
    for name, before in (("A", A), ("B", B)):
        probe.equal(getattr(layer, name).detach(), before, "adapter-changed", f"{where}: merge() "
                    f"changes {name}, which unmerge() needs again")
    compare(layer, "merged-value", "after merge()", {
        "twice": (want + scale * (x @ A.T @ B.T), f"{where}, after merge(): the adapter counts "
                  "twice, in base.weight and in forward")}.items())
    layer.A.data.fill_(torch.nan)
    probe.true(bool(probe.call(layer, x).isfinite().all()), "not-free", f"{where}, after merge(): "
               "forward still computes with A and B. Merged, a layer costs no more than its base")
    layer.A.data.copy_(A)
    act(probe, layer, "merge")
    probe.equal(layer.base.weight.detach(), W + scale * delta, "merge-twice",
                f"{where}: a second merge() must change nothing; base.weight")
    act(probe, layer, "unmerge")
    probe.equal(layer.base.weight.detach(), W, "unmerge", f"{where}, merge() then unmerge(): "
                "base.weight is not what it was before", 1e-9, {"still-merged": (
                    W + scale * delta, f"{where}: unmerge() leaves base.weight merged")})
    is_plain(probe, layer, False, f"{where}, after unmerge()")
    compare(layer, "unmerged-value", "after merge() and unmerge()")
    act(probe, layer, "unmerge")
    probe.equal(layer.base.weight.detach(), W, "unmerge-twice", f"{where}: a second unmerge() must "
                "change nothing; base.weight")
    first = fresh()
    act(probe, first, "unmerge")
    probe.equal(first.base.weight.detach(), W, "unmerge-first", f"{where}: unmerge() of a layer "
                "that was never merged must change nothing; base.weight")
    probe.true(layer.A.requires_grad and layer.B.requires_grad, "untrained", f"{where}, after "
               "unmerge(): A and B do not require a gradient any more")
    probe.gradients(probe.call(layer, x), base(x) + scale * (x @ layer.A.T @ layer.B.T),
                    {"A": layer.A, "B": layer.B})
    for p in (layer.A, layer.B):                            # trained on, merged again
        p.data.mul_(2)
    for _ in range(30):
        act(probe, layer, "merge")
        probe.equal(layer.base.weight.detach(), W + 4 * scale * delta, "stale", f"{where}: merged, "
                    "unmerged, A and B doubled by training, merged again: base.weight", known={
                        "merged-once": (W, f"{where}: after unmerge() a new merge() does nothing")})
        act(probe, layer, "unmerge")
    probe.equal(layer.base.weight.detach(), W, "drift", f"{where}: after 30 times merge() and "
                "unmerge() base.weight is not what it was", 1e-9)
