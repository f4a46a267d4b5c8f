"""LoRA: a frozen matrix, plus a product of two thin ones that learns (Hu 2021, 2106.09685)."""
import math

import torch
import torch.nn.functional as F
from torch import nn


class LoRALinear(nn.Module):
    """base(x) + alpha / r * x A^T B^T: a linear map that is frozen, and a correction of rank r.

    base: an nn.Linear, or a map of utils.quantised; its `weight` is (d_out, d_in). A: (r, d_in),
    uniform in +-1 / sqrt(d_in); B: (d_out, r), zero, so that nothing changes before the first
    step. Both float32 on the base's device. rng: draws A. Raises ValueError for r < 1.
    """

    def __init__(self, base, r, alpha=None, rng=None):
        super().__init__()
        if not isinstance(r, int) or r < 1:
            raise ValueError(f"rank r={r}: a whole number of 1 or more is needed")
        self.base, self.r, self.alpha = base.requires_grad_(False), r, alpha or r
        self.in_features, self.out_features = base.in_features, base.out_features
        self.scaling = self.alpha / r
        place = next(iter(base.state_dict().values())).device
        A = torch.empty(r, base.in_features)
        nn.init.kaiming_uniform_(A, a=math.sqrt(5),
                                 generator=rng or torch.Generator().manual_seed(0))
        self.A = nn.Parameter(A.to(place))
        self.B = nn.Parameter(torch.zeros(base.out_features, r, device=place))
        self.register_buffer("merged", None, persistent=False)

    def delta(self):
        """The change of the matrix, (d_out, d_in): alpha / r * B A."""
        return self.B @ self.A * self.scaling

    def forward(self, x):
        """(..., d_in) -> (..., d_out)."""
        if self.merged is not None:
            return F.linear(x, self.merged, self.base.bias)
        y = self.base(x)
        thin = F.linear(x, self.A.to(x.dtype))          # (..., r)
        rows = y.view(-1, self.out_features), thin.view(-1, self.r)
        return torch.addmm(*rows, self.B.T.to(y.dtype), alpha=self.scaling).view(y.shape)

    @torch.no_grad()
    def merge(self):
        """Compute with one matrix from here on, as fast as without LoRA; base, A and B stay.

        A second merge changes nothing. What is merged does not learn, until `unmerge`.
        """
        if self.merged is None:
            weight = self.base.weight                   # (d_out, d_in)
            self.merged = (weight.float() + self.delta()).to(weight.dtype)
        return self

    def unmerge(self):
        """Compute with base, A and B again: to the bit what it was before `merge`."""
        self.merged = None
        return self

    def extra_repr(self):
        return f"r={self.r}, alpha={self.alpha}, merged={self.merged is not None}"


def is_map(module):
    """Whether LoRA can stand on a module: an nn.Linear or a map of utils.quantised."""
    return type(module) is nn.Linear or hasattr(module, "codes")


def lora_layers(model):
    """{name: LoRALinear} of a model, from the bottom up."""
    return {name: part for name, part in model.named_modules() if isinstance(part, LoRALinear)}


def put(model, name, part):
    """Let another module stand where the one of this name stood."""
    above, _, last = name.rpartition(".")
    setattr(model.get_submodule(above), last, part)


def matched(model, names, layers=None):
    """Names of the linear maps whose name, or its end, is one of `names`.

    layers: numbers of the blocks to look in, all of them when not given. Raises ValueError when
    a name fits no map, or with LoRA there already.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    if lora_layers(model):
        raise ValueError("this model has LoRA already: remove_lora(model) first")
    maps = [name for name, part in model.named_modules() if is_map(part)]
    for name in names:
        if not any(f".{full}".endswith(f".{name}") for full in maps):
            known = sorted({full.rpartition(".")[2] for full in maps})
            raise ValueError(f"no linear map of this model is called {name!r}: it has "
                             f"{', '.join(known) or 'none'}")
    found = [full for full in maps if any(f".{full}".endswith(f".{name}") for name in names)]
    if layers is not None:
        wanted = {str(layer) for layer in layers}
        found = [full for full in found
                 if next((part for part in full.split(".") if part.isdecimal()), "") in wanted]
    if not found:
        raise ValueError(f"none of the maps {', '.join(names)} lies in the layers {layers}")
    return found


def add_lora(model, names, r=8, alpha=None, layers=None, seed=0):
    """Put LoRA on every linear map of these names, freeze all else; returns how many it stands on.

    model: a Transformer of this course, or any nn.Module. names: such as ("q", "v"), compared with
    the end of each map's name. alpha: r when not given, which scales by 1. layers: numbers of
    the blocks, such as range(22, 30). Raises ValueError for a name that is no linear map's.
    """
    found, rng = matched(model, names, layers), torch.Generator().manual_seed(seed)
    made = {name: LoRALinear(model.get_submodule(name), r, alpha, rng) for name in found}
    model.requires_grad_(False)
    for name, part in made.items():
        put(model, name, part)
        part.A.requires_grad_(), part.B.requires_grad_()
    return len(made)


@torch.no_grad()
def remove_lora(model, merge=False):
    """Take LoRA off again; merge: into one nn.Linear each, otherwise the base is as it was.

    Returns the model. What is trainable stays as it is: nothing, after add_lora.
    """
    for name, part in lora_layers(model).items():
        plain = part.base
        if merge:
            weight, bias = part.merge().merged, part.base.bias
            plain = nn.Linear(part.in_features, part.out_features, bias is not None,
                              device="meta")
            plain.weight = nn.Parameter(weight, requires_grad=False)
            plain.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        put(model, name, plain)
    return model


def lora_state(model):
    """{"NAME.A": (r, d_in), "NAME.B": (d_out, r)}: a copy of all that LoRA learnt."""
    return {f"{name}.{letter}": getattr(part, letter).detach().clone()
            for name, part in lora_layers(model).items() for letter in "AB"}


@torch.no_grad()
def fill_lora(model, state):
    """Copy what `lora_state` kept into a model with the same LoRA: another adapter, one base.

    Raises ValueError, before it changes anything, where a name or a shape differs.
    """
    own = {f"{name}.{letter}": getattr(part, letter)
           for name, part in lora_layers(model).items() for letter in "AB"}
    if wrong := sorted(own.keys() ^ state.keys()):
        raise ValueError(f"the state is of LoRA on other maps: {', '.join(wrong[:3])}")
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)} in the model and "
                             f"{tuple(state[name].shape)} in the state")
    for name, tensor in own.items():
        tensor.copy_(state[name])
    for part in lora_layers(model).values():
        if part.merged is not None:                     # what is merged follows its A and B
            part.unmerge().merge()
