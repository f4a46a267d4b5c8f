"""The check of lecture 09 for adapters in a model: wrapping its layers by name."""
import copy

import torch
import torch.nn.functional as F
from torch import nn

from .engine import exercise


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
    again = [one_model(answer, probe, names, r) for names, r in (
        (("q",), 2), (("q", "v"), 3), (["up"], 1), ({"k", "down", "head"}, 2), (("nothing",), 2),
        (("Attention", "equal", "0"), 2), ((), 1))]
    for model, names, r, now in again:
        where = f"names = {names}, r = {r}, called a second time"
        probe.equal(probe.call(answer, model, names, r), 0, "wraps-again", f"{where}: all layers "
                    "of these names are wrapped already, so it returns 0")
        probe.true(all(place(model, n) is layer and not hasattr(layer.base, "A")
                       for n, layer in now.items()), "wraps-again", f"{where}: what is wrapped "
                   "is wrapped again")


def one_model(answer, probe, names, r):
    """One call on a fresh model: (model, names, r, what is wrapped now {name: layer})."""
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
    probe.true(not extra, "substring", f"{where}: wrapped too: {', '.join(extra[:3])}. Compare "
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
    held = {id(p) for n in wanted for p in (now[n].A, now[n].B)}
    probe.true(len(held) == 2 * len(wanted), "shared", f"{where}: {len(wanted)} layers share "
               f"{len(held)} matrices A and B: each needs its own two")
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
    return model, names, r, {n: now[n] for n in wanted}
