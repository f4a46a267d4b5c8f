"""The checks of lecture 09 for adapters in a model: putting them in, saving, loading."""
import copy
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .engine import exercise
from .probe import name_of, shown


class Attention(nn.Module):
    """Attention in which two linear maps have names that end in q or begin with v."""

    def __init__(self, d):
        super().__init__()
        self.q, self.k, self.out, self.seq = (nn.Linear(d, d) for _ in range(4))
        self.v, self.values = nn.Linear(d, d, bias=False), nn.Linear(d, d)

    def forward(self, x):
        k, v = self.k(x), self.values(self.v(x))
        return self.out(F.scaled_dot_product_attention(self.seq(self.q(x)), k, v, is_causal=True))


class Block(nn.Module):
    """Attention, called so, and a feed-forward; a norm has the name v."""

    def __init__(self, d):
        super().__init__()
        self.Attention = Attention(d)
        self.norms = nn.ModuleDict({"v": nn.LayerNorm(d), "up": nn.LayerNorm(d)})
        self.equal = nn.ModuleDict({"up": nn.Linear(d, 2 * d), "down": nn.Linear(2 * d, d)})

    def forward(self, x):
        x = x + self.Attention(self.norms["v"](x))
        return x + self.equal["down"](F.gelu(self.equal["up"](self.norms["up"](x))))


class Model(nn.Module):
    """A small language model: ids (B, T) -> logits (B, T, V). A copy is the model itself."""

    def __init__(self, probe, V=11, d=6):
        super().__init__()
        self.embed, self.blocks = nn.Embedding(V, d), nn.ModuleList([Block(d), Block(d)])
        self.head = nn.Linear(d, V)
        for p in self.parameters():
            p.data = probe.normal(*p.shape, scale=p.shape[-1] ** -0.5)

    def __deepcopy__(self, memo):
        return self

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def twin(self):
        """A model with the same numbers that shares none of them."""
        made = object.__new__(type(self))
        made.__dict__ = copy.deepcopy(self.__dict__)
        return made


class Adapted(nn.Module):
    """A linear map with a LoRA adapter: base(x) + scale * x A^T B^T."""

    def __init__(self, base, A, B, scale=2.0):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), scale
        self.A, self.B = nn.Parameter(A), nn.Parameter(B)

    def forward(self, x):
        return self.base(x) + self.scale * x @ self.A.T @ self.B.T


def place(model, name):
    """The module of this name, or None."""
    for part in name.split("."):
        model = model._modules.get(part) if isinstance(model, nn.Module) else None
    return model


def last(name):
    return name.split(".")[-1]


@exercise("09.3", hints=(
    "Print [name for name, module in model.named_modules()]. Which end in a dot and `q`? Which "
    "end in the letter q and are something else? Which called `v` are no nn.Linear?",
    "First stop all gradients of the model. Then collect what is to be replaced, as a list, and "
    "replace afterwards. To replace blocks.0.attention.q you need its parent, blocks.0.attention, "
    "and the name q: setattr(parent, name, new).",
    "no parameter of the model needs a gradient\nfound = 0\n"
    "for each module of the model (a list, made before anything changes), each child and its name\n"
    "    if the name is in names and the child is a linear map\n"
    "        the child of that name becomes a LoRALinear around it; one more is found\n"
    "return how many"))
def inject(answer, probe):
    one_model(answer, probe, ("q",), 2)
    for names, r in ((("q", "v"), 3), (["up"], 1), ({"k", "down", "head"}, 2), (("nothing",), 2),
                     (("Attention", "equal", "0"), 2), ((), 1)):
        one_model(answer, probe, names, r)


def one_model(answer, probe, names, r):
    model, ids = Model(probe), probe.ints(0, 11, 2, 5)
    parts = dict(model.named_modules())
    wanted = [n for n, m in parts.items() if isinstance(m, nn.Linear) and last(n) in names]
    where = f"names = {names}, r = {r}"
    before, weights = model(ids).detach(), copy.deepcopy(list(model.parameters()))
    out = probe.call(answer, model, names, r)
    probe.type(out, int, "inject returns how many layers it wrapped")
    now = {n: place(model, n) for n in parts if n}
    gone = [n for n, m in now.items() if m is None]
    probe.true(not gone, "gone", f"{where}: the model has no {', '.join(gone[:3])} any more")
    inside = [n for n, m in parts.items() for w in wanted if n.startswith(w + ".")]
    changed = [n for n, m in now.items() if m is not parts[n] and n not in inside]
    probe.true(bool(changed) or not wanted, "nothing", f"{where}: the model is as it was, with no "
               "layer wrapped. Change the model you are given, not a copy, and put the new layer "
               "into its parent: a name in a loop that is assigned anew changes nothing")
    extra = [n for n in changed if n not in wanted]
    for n in extra:
        kind = type(parts[n]).__name__
        probe.true(last(n) not in names, "not-linear", f"{where}: {n} is wrapped, and it is a "
                   f"{kind}: only nn.Linear has a matrix that LoRA changes")
    probe.true(not extra, "substring", f"{where}: {', '.join(extra[:3])} is wrapped too. Compare "
               "the last part of the name as a whole, neither a part of it nor the whole path")
    missed = [n for n in wanted if n not in changed]
    probe.true(not missed, "missed", f"{where}: {', '.join(missed[:3])} is not wrapped. "
               f"{len(wanted)} layers have such a name: {', '.join(wanted[:4])}")
    for n in wanted:
        layer, linear = now[n], parts[n]
        for part in ("base", "A", "B"):
            probe.true(hasattr(layer, part), "wrap", f"{where}: {n} was replaced by a "
                       f"{type(layer).__name__} without `{part}`: wrap it in the LoRALinear of "
                       "09.1 (does that pass its check?)")
        probe.true(layer.base is linear, "base", f"{where}: the base inside {n} is not the layer "
                   "that was there" + (": it is wrapped twice" if hasattr(layer.base, "base")
                                       else ""))
        shapes = (r, linear.in_features), (linear.out_features, r)
        probe.true(tuple(layer.A.shape) == shapes[0] and tuple(layer.B.shape) == shapes[1], "rank",
                   f"{where}: A and B of {n} must be {shapes[0]} and {shapes[1]}, came "
                   f"{tuple(layer.A.shape)} and {tuple(layer.B.shape)}")
    numbers = sum(now[n].A.numel() + now[n].B.numel() for n in wanted)
    known = {"count-numbers": (numbers, f"{where}: this counts numbers that are trained: how many "
                               "layers were wrapped?"),
             "count-names": (len(names), f"{where}: this counts names: how many layers were "
                             "wrapped?"),
             "count-all": (len(parts), f"{where}: this counts all modules")}
    probe.equal(out, len(wanted), "count", f"{where}: the number of wrapped layers",
                known={} if len(wanted) in (numbers, len(names)) else known)
    probe.equal(probe.call(model, ids).detach(), before, "logits", f"{where}: with new adapters "
                "the logits must be those of before")
    old = [p for p in model.parameters() if not any(
        p is q for n in wanted for q in (now[n].A, now[n].B))]
    probe.true(len(old) == len(weights) and all(map(torch.equal, old, weights)), "weights",
               f"{where}: weights of the model are changed, or gone from its parameters")
    free = [n for n, p in model.named_parameters() if p.requires_grad and any(p is q for q in old)]
    probe.true(not free, "not-frozen", f"{where}: {', '.join(free[:3])} still requires a gradient: "
               "only A and B are trained, in all other layers too nothing is")
    dead = [n for n in wanted if not (now[n].A.requires_grad and now[n].B.requires_grad)]
    probe.true(not dead, "untrained", f"{where}: A and B of {', '.join(dead[:3])} do not require a "
               "gradient: stop the model's gradients before they are made")
    for n in wanted[:2]:
        layer, x = now[n], probe.normal(3, parts[n].in_features)
        for p in (layer.A, layer.B):
            p.data = probe.normal(*p.shape)
        y, d = parts[n](x).detach(), (x @ layer.A.T @ layer.B.T).detach()
        probe.equal(probe.call(layer, x).detach(), y + 2 * d, "alpha", f"{where}: alpha is 2 r, so "
                    f"that {n} adds 2 B A", known={"alpha-other": (
                        [y + v * d for v in (1, r, 1 / r, 2 * r, 16 / r, 8 / r, 32 / r, 16, 0.5)],
                        f"{where}: alpha is 2 r, so that B A is added twice: here it is added "
                        "with another factor")})
    again = probe.call(answer, model, names, r)
    probe.equal(again, 0, "wraps-again", f"{where}, called a second time: all layers of these "
                "names are wrapped already, so it returns")
    probe.true(all(place(model, n) is now[n] for n in wanted) and not any(
        hasattr(now[n].base, "A") for n in wanted), "wraps-again", f"{where}, called a second "
        "time: what is wrapped is wrapped again")


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
    probe.true(len(data) < 0.01 * size, "size", f"{where}: the file has {len(data)} bytes, and the "
               f"model {size}: below 1 % is asked for")
    target, _ = adapted(bare.twin(), probe, ("q", "v"), 2)
    old = target.twin()
    ask(probe, load, target, path)
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
    import safetensors.torch
    try:
        return safetensors.torch.load(data)
    except Exception as error:
        kind = type(error).__name__
    probe.true(data[:2] != b"PK" and data[:1] != b"\x80", "pickle", f"{where}: the file is a "
               "pickle, as torch.save writes it: loading one can run any code. Use safetensors' "
               "save_file")
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
