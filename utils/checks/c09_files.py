"""The check of lecture 09 for adapters in files: saving them, loading them, refusing others."""
import copy
import tempfile
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from .c09_adapters import Model
from .engine import exercise
from .probe import name_of, shown


class Adapted(nn.Module):
    """A linear map with a LoRA adapter: base(x) + scale * x A^T B^T."""

    def __init__(self, base, A, B, scale=2.0):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), scale
        self.A, self.B = nn.Parameter(A), nn.Parameter(B)

    def forward(self, x):
        return self.base(x) + self.scale * x @ self.A.T @ self.B.T


def adapted(model, probe, names, r):
    """The model's layers of these names with adapters of random numbers, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in names and isinstance(child, nn.Linear):
                A, B = probe.normal(r, child.in_features), probe.normal(child.out_features, r)
                setattr(parent, name, Adapted(child, A, 0.3 * B))
    return model.requires_grad_(False), [p.requires_grad_() for n, p in model.named_parameters()
                                         if n.endswith((".A", ".B"))]


def ask(probe, answer, *args):
    """A call that may return nothing."""
    def call(*given):
        answer(*given)
        return True
    call.__name__ = name_of(answer)
    probe.call(call, *args)


def refused(answer, model, path):
    try:
        answer(model, path)
    except Exception:
        return True
    return False


@exercise("09.7", hints=(
    "Print the names in model.state_dict(). Those of the adapter end in `.A` and `.B`. How many "
    "bytes do they hold, and how many does your file?",
    "Saving: a dict from names to tensors, then save_file(dict, path). Loading: compare the names "
    "in the file with the names the model has, and the shapes, before anything is copied: "
    "strict=False and copy_ keep silent about what does not fit.",
    "save: of the model's named parameters those whose name ends in .A or .B, to the file\n"
    "load: read the file; own = the model's tensors with such names\n"
    "    if the two sets of names differ, or a shape does: raise ValueError\n"
    "    without gradients: copy each tensor of the file into its own"))
def save_adapter(save, load, probe):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        round_trip(save, load, probe, Path(folder))


def round_trip(save, load, probe, folder):
    bare, ids = Model(probe, 3000, 8), probe.ints(0, 3000, 2, 5)
    model, trained = adapted(bare.twin(), probe, ("q", "v"), 2)
    want, size = model(ids).detach(), sum(p.numel() * 8 for p in model.parameters())
    state = copy.deepcopy(model.state_dict())
    path, where = folder / "adapter.safetensors", "a model with adapters in q and v, r = 2"
    ask(probe, save, model, path)
    same = all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    probe.true(same and len(state) == len(model.state_dict()), "mutates", f"{where}: save_adapter "
               "changes the model")
    others = [p.name for p in folder.iterdir() if p != path]
    probe.true(path.is_file(), "no-file", f"{where}: nothing was written at the path that was "
               f"given, adapter.safetensors; the folder holds {others or 'no file'}")
    data, count = path.read_bytes(), sum(p.numel() for p in trained)
    tensors = read(probe, data, where)
    saved = sum(t.numel() for t in tensors.values())
    probe.true(saved <= count, "base-too", f"{where}: the file holds {saved} numbers, the adapter "
               f"has {count}: among them are {', '.join(list(tensors)[:3])}. Of names such as "
               "blocks.0.Attention.q.A only the end tells what belongs to an adapter")
    probe.true(saved == count, "missing", f"{where}: the file holds {saved} numbers, A and B of "
               f"all layers are {count}")
    kinds = {t.dtype for t in tensors.values()} - {torch.float64}
    probe.true(not kinds, "rounded", f"{where}: A and B are float64, and the file holds {kinds}: "
               "keep the digits they have")
    probe.true(len(data) < 0.01 * size, "size", f"{where}: the file has {len(data)} bytes, and the "
               f"model {size}: below 1 % is asked for")
    target, _ = adapted(bare.twin(), probe, ("q", "v"), 2)
    old, before = target.twin(), dict(target.named_parameters())
    ask(probe, load, target, path)
    new = [n for n, p in target.named_parameters() if before.get(n) is not p]
    probe.true(not new, "new-parameter", f"loaded into a model: {', '.join(new[:2])} is a new "
               "object, and an optimiser made before still holds the old one: copy into the "
               "parameter that is there")
    try_loaded(probe, target, model, ids, want, old)
    probe.true(path.is_file() and path.read_bytes() == data, "file", "load_adapter changes the "
               "file")
    moved = next(p for n, p in target.named_parameters() if n.endswith("q.B"))
    moved.data.add_(1)
    other = folder / "second.safetensors"
    ask(probe, save, target, other)
    third, _ = adapted(bare.twin(), probe, ("q", "v"), 2)
    ask(probe, load, third, other)
    probe.equal(third(ids).detach(), target(ids).detach(), "second", "a second adapter, saved "
                "beside the first and loaded: logits")
    ask(probe, load, third, path)
    probe.equal(third(ids).detach(), want, "swap", "the first adapter loaded again, over the "
                "second: logits")
    for code, names, r, why in (
            ("more-in-file", ("q", "v", "k"), 2, "the file has layers that the model lacks"),
            ("fewer-in-file", ("q",), 2, "the file lacks layers that the model has"),
            ("misplaced", ("q", "k"), 2, "the file's layers are q and k, the model's q and v"),
            ("broadcast", ("q", "v"), 1, "the file's r is 1, the model's 2, and copy_ stretches "
             "what has one row")):
        source, _ = adapted(bare.twin(), probe, names, r)
        path = folder / f"{code}.safetensors"
        ask(probe, save, source, path)
        target, _ = adapted(bare.twin(), probe, ("q", "v"), 2)
        probe.true(refused(load, target, path), code, f"an adapter that does not fit must raise "
                   f"an error, as it else gives a wrong model in silence: {why}")


def read(probe, data, where):
    """The tensors in the bytes of a safetensors file."""
    try:
        return safetensors.torch.load(data)
    except Exception as error:
        kind = type(error).__name__
    probe.true(data[8:9] == b"{" or data[:1] not in (b"P", b"\x80"), "pickle", f"{where}: the file "
               "is a pickle, as torch.save writes it: loading one can run any code. Use "
               "safetensors' save_file")
    probe.fail("format", f"{where}: the file cannot be read as safetensors ({kind}), it begins "
               f"with {shown(data[:20])}")


def mixed(old, model, end):
    """A model like old in which what ends so comes from model."""
    made, source = old.twin(), dict(model.named_parameters())
    for n, p in made.named_parameters():
        if n.endswith(end):
            p.data = source[n].detach().clone()
    return made


def try_loaded(probe, target, model, ids, want, old):
    """Is the adapter in target that of model, on a base that stayed as it was?"""
    where = "loaded into a model with the same base and other adapters"
    for n, p in target.named_parameters():
        adapter = n.endswith((".A", ".B"))
        right = dict(model.named_parameters()).get(n)
        probe.true(right is not None and right.shape == p.shape, "structure", f"{where}: {n} is "
                   "new or has another shape")
        probe.true(adapter or torch.equal(p, right), "base-changed", f"{where}: {n} is changed: "
                   "only A and B come from the file")
        probe.true(not adapter or p.requires_grad and p.is_leaf, "untrained", f"{where}: {n} does "
                   "not require a gradient any more: copy into the parameter that is there, "
                   "inside torch.no_grad()")
        probe.true(p.dtype == right.dtype, "dtype", f"{where}: {n} is {p.dtype}, it was "
                   f"{right.dtype}")
    probe.true(len(list(target.parameters())) == len(list(model.parameters())), "structure",
               f"{where}: parameters are gone")
    probe.equal(target(ids).detach(), want, "loaded", f"{where}: the logits must be those of the "
                "model that was saved", known={
                    "unloaded": (old(ids).detach(), f"{where}: the logits are as before: the "
                                 "numbers of the file never reached the model's own A and B"),
                    "half-loaded": ([mixed(old, model, end)(ids).detach() for end in (".A", ".B")],
                                    f"{where}: only A, or only B, came from the file")})
