"""Right and wrong answers to the exercises of lecture 09."""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from utils.checks import c09_memory, c09_rank

inf = math.inf


# 09.1 -----------------------------------------------------------------------------------------
class LoRALinear(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base, self.r, self.alpha = base, r, alpha
        for p in base.parameters():
            p.requires_grad = False
        self.A = nn.Parameter(torch.empty(r, base.in_features).to(base.weight))
        self.B = nn.Parameter(torch.zeros(base.out_features, r).to(base.weight))
        nn.init.kaiming_uniform_(self.A, a=5 ** 0.5)

    def forward(self, x):
        return self.base(x) + self.alpha / self.r * (x @ self.A.T @ self.B.T)


class ByLibrary(nn.Module):
    """F.linear twice, a normal start, the scale on the way in, a lower-level forward of base."""

    def __init__(self, base, r, alpha):
        super().__init__()
        weight = base.weight
        base.weight.requires_grad_(False)
        if base.bias is not None:
            base.bias.requires_grad_(False)
        self.base = base
        self.register_buffer("scale", weight.new_tensor(alpha / r))
        self.A = nn.Parameter(torch.randn(r, weight.shape[1], dtype=weight.dtype) * 0.02)
        self.B = nn.Parameter(torch.zeros_like(weight[:, :1]).repeat(1, r))

    def forward(self, x):
        low = F.linear(x * self.scale, self.A)
        return torch.add(F.linear(x, self.base.weight, self.base.bias), F.linear(low, self.B))


class ByProduct(nn.Module):
    """The update as one matrix, added to the weight in each call; einsum."""

    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / r
        d_out, d_in = base.weight.shape
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.A = nn.Parameter(torch.randn(r, d_in, **like) / d_in ** 0.5)
        self.B = nn.Parameter(torch.zeros(d_out, r, **like))

    def forward(self, x):
        update = torch.einsum("or,ri->oi", self.B, self.A)
        return F.linear(x, self.base.weight + self.scale * update, self.base.bias)


def layer(forward=None, init=None, base=LoRALinear):
    """LoRALinear with another forward, or another end of __init__."""
    class Variant(base):
        def __init__(self, linear, r, alpha):
            super().__init__(linear, r, alpha)
            if init:
                init(self, linear, r, alpha)
    if forward:
        Variant.forward = forward
    return Variant


def scaled(factor):
    return layer(lambda s, x: s.base(x) + factor(s.alpha, s.r) * (x @ s.A.T @ s.B.T))


def start(A=None, B=None):
    def init(s, base, r, alpha):
        if A:
            s.A = A(s.A.data)
        if B:
            s.B = B(s.B.data)
    return layer(init=init)


def turned(s, base, r, alpha):
    s.A, s.B = nn.Parameter(s.A.data.T.clone()), nn.Parameter(s.B.data.T.clone())


def frozen_by_no_grad(s, x):
    with torch.no_grad():
        y = s.base(x)
    return y + s.alpha / s.r * (x @ s.A.T @ s.B.T)


class KeepsTheWeight(LoRALinear):
    def __init__(self, base, r, alpha):
        super().__init__(base, r, alpha)
        self.weight = base.weight.detach().clone()

    def forward(self, x):
        return F.linear(x, self.weight, self.base.bias) + self.alpha / self.r * (
            x @ self.A.T @ self.B.T)


class CachesTheUpdate(LoRALinear):
    def __init__(self, base, r, alpha):
        super().__init__(base, r, alpha)
        self.update = (alpha / r * self.B @ self.A).detach()

    def forward(self, x):
        return self.base(x) + x @ self.update.T + 0 * (x @ self.A.T @ self.B.T)


class TwoLinears(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / r
        self.A = nn.Linear(base.in_features, r, bias=False)
        self.B = nn.Linear(r, base.out_features, bias=False)
        nn.init.zeros_(self.B.weight)

    def forward(self, x):
        return self.base(x) + self.scale * self.B(self.A(x))


class OtherNames(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.linear = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(r, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))


class InDefaultDtype(LoRALinear):
    def __init__(self, base, r, alpha):
        super().__init__(base, r, alpha)
        self.A = nn.Parameter(torch.randn(r, base.in_features) * 0.1)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))


class NewBase(LoRALinear):
    def __init__(self, base, r, alpha):
        super().__init__(base, r, alpha)
        self.base = nn.Linear(base.in_features, base.out_features).requires_grad_(False)


class WithDropout(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.alpha / self.r * (F.dropout(x, 0.1) @ self.A.T @ self.B.T)


class OnlyBatches(LoRALinear):
    """Breaks on more than one leading dimension."""

    def forward(self, x):
        return self.base(x) + self.alpha / self.r * (self.B @ (self.A @ x.T)).T


class OnlyInTraining(LoRALinear):
    def forward(self, x):
        return super().forward(x) if self.training else self.base(x)


class IsALinear(nn.Linear):
    """The weight is there twice: as its own and in base."""

    def __init__(self, base, r, alpha):
        super().__init__(base.in_features, base.out_features, base.bias is not None)
        self.requires_grad_(False)
        self.base, self.scale = base.requires_grad_(False), alpha / r
        self.A = nn.Parameter(torch.randn(r, base.in_features).to(base.weight))
        self.B = nn.Parameter(torch.zeros(base.out_features, r).to(base.weight))

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.A.T @ self.B.T)


class Plain:
    def __init__(self, base, r, alpha):
        self.base = base

    def __call__(self, x):
        return self.base(x)


def seeds(s, base, r, alpha):
    torch.manual_seed(0)
    nn.init.normal_(s.A)


def unfrozen_bias(s, base, r, alpha):
    if base.bias is not None:
        base.bias.requires_grad_()


def detached(s, x):
    return s.base(x) + s.alpha / s.r * (x @ s.A.T @ s.B.detach().T)


# 09.2 -----------------------------------------------------------------------------------------
class MergingLoRA(nn.Module):
    def __init__(self, base, A, B, scale):
        super().__init__()
        self.base = base
        self.A, self.B = nn.Parameter(A), nn.Parameter(B)
        self.merged, self.scale = False, scale

    def forward(self, x):
        y = self.base(x)
        if not self.merged:
            y = y + self.scale * (x @ self.A.T @ self.B.T)
        return y

    def merge(self):
        if not self.merged:
            self.base.weight.data += self.scale * (self.B @ self.A).detach()
            self.merged = True

    def unmerge(self):
        if self.merged:
            self.base.weight.data -= self.scale * (self.B @ self.A).detach()
            self.merged = False


class KeepsACopy(MergingLoRA):
    """unmerge() puts back the weight that merge() kept; both return the layer."""
    before = None

    def forward(self, x):
        if self.before is not None:
            return self.base(x)
        return self.base(x) + F.linear(F.linear(x, self.A), self.scale * self.B)

    @torch.no_grad()
    def merge(self):
        if self.before is None:
            self.before = self.base.weight.clone()
            self.base.weight.addmm_(self.B, self.A, alpha=self.scale)
        return self

    @torch.no_grad()
    def unmerge(self):
        if self.before is not None:
            self.base.weight.copy_(self.before)
            self.before = None
        return self


def merging(**methods):
    return type("MergingLoRA", (MergingLoRA,), methods)


def always_adds(s, x):
    return s.base(x) + s.scale * (x @ s.A.T @ s.B.T)


def adds_by(factor, flag=True):
    def merge(s):
        if not s.merged:
            s.base.weight.data += factor(s.scale) * (s.B @ s.A).detach()
            s.merged = flag
    return merge


def merge_each_time(s):
    s.base.weight.data += s.scale * (s.B @ s.A).detach()
    s.merged = True


def unmerge_each_time(s):
    s.base.weight.data -= s.scale * (s.B @ s.A).detach()
    s.merged = False


def unmerge_from_flag(s):
    """Subtracts whenever it was ever merged."""
    if hasattr(s, "ever") or s.merged:
        s.ever = True
        unmerge_each_time(s)


def merge_with_graph(s):
    if not s.merged:
        s.base.weight += s.scale * s.B @ s.A
        s.merged = True


def merge_adds_with_graph(s):
    if not s.merged:
        s.base.weight.add_(s.scale * s.B @ s.A)
        s.merged = True


def merge_new_parameter(s):
    if not s.merged:
        s.base.weight = nn.Parameter(s.base.weight + s.scale * s.B @ s.A)
        s.merged = True


def merge_replaces(s):
    s.base.weight.data = s.scale * (s.B @ s.A).detach()
    s.merged = True


def merge_and_empty(s):
    if not s.merged:
        s.base.weight.data += s.scale * (s.B @ s.A).detach()
        s.B.data.zero_()
        s.merged = True


def merge_only_flag(s):
    s.merged = True


def unmerge_only_flag(s):
    s.merged = False


def unmerge_for_good(s):
    """Never to be merged again."""
    if s.merged:
        s.base.weight.data -= s.scale * (s.B @ s.A).detach()
        s.merged = None
        s.merge = lambda: None


def unmerge_wrong_sign(s):
    if s.merged:
        s.base.weight.data += s.scale * (s.B @ s.A).detach()
        s.merged = False


def unmerge_keeps_flag(s):
    if s.merged:
        s.base.weight.data -= s.scale * (s.B @ s.A).detach()


class StaleUpdate(MergingLoRA):
    def __init__(self, base, A, B, scale):
        super().__init__(base, A, B, scale)
        self.update = scale * (B @ A).detach().clone()

    def merge(self):
        if not self.merged:
            self.base.weight.data += self.update
            self.merged = True

    def unmerge(self):
        if self.merged:
            self.base.weight.data -= self.update
            self.merged = False


class HalfPrecision(MergingLoRA):
    def unmerge(self):
        if self.merged:
            self.base.weight.data -= (self.scale * self.B @ self.A).detach().float().double()
            self.merged = False


def take_away_again(s, x):
    """Computes with A and B and leaves it out when merged."""
    y, d = s.base(x), s.scale * (x @ s.A.T @ s.B.T)
    return y + d - (d if s.merged else 0)


def merge_makes_buffer(s):
    w = (s.base.weight + s.scale * s.B @ s.A).detach()
    if not s.merged:
        del s.base.weight
        s.base.register_buffer("weight", w)
        s.merged = True


def unmerge_and_freeze(s):
    MergingLoRA.unmerge(s)
    s.A.requires_grad_(False)


def merge_refuses(s):
    if s.merged:
        raise RuntimeError("merged already")
    MergingLoRA.merge(s)


def merge_first_rank(s):
    if not s.merged:
        s.base.weight.data += s.scale * torch.outer(s.B.data[:, 0], s.A.data[0])
        s.merged = True


def merge_with_bias(s):
    if not s.merged and s.base.bias is not None:
        s.base.bias.data += 1
    MergingLoRA.merge(s)


# 09.3 -----------------------------------------------------------------------------------------
def inject(model, names, r):
    for p in model.parameters():
        p.requires_grad = False
    count = 0
    for path, module in list(model.named_modules()):
        head, _, name = path.rpartition(".")
        if name in names and isinstance(module, nn.Linear):
            setattr(model.get_submodule(head), name, LoRALinear(module, r, 2 * r))
            count += 1
    return count


def inject_by_recursion(model, names, r, top=True):
    if top:
        model.requires_grad_(False)
    count = 0
    for name, child in model.named_children():
        if isinstance(child, LoRALinear):
            continue
        if type(child) is nn.Linear and name in set(names):
            model._modules[name] = ByLibrary(child, r, alpha=2 * r)
            count += 1
        else:
            count += inject_by_recursion(child, names, r, False)
    return count


def injected(found=lambda path, module, names: path.split(".")[-1] in names
             and isinstance(module, nn.Linear), wrap=lambda m, r: LoRALinear(m, r, 2 * r),
             freeze=lambda model: model.requires_grad_(False), after=lambda model: None,
             result=lambda found, names, r: len(found), most=None):
    def answer(model, names, r):
        freeze(model)
        places = [(path, m) for path, m in model.named_modules() if path and found(path, m, names)]
        for path, m in places[:most]:
            head, _, name = path.rpartition(".")
            setattr(model.get_submodule(head), name, wrap(m, r))
        after(model)
        return result(places, names, r)
    return answer


def inject_into_a_copy(model, names, r):
    return inject(model.twin(), names, r)


def inject_by_assignment(model, names, r):
    model.requires_grad_(False)
    count = 0
    for name, module in model.named_modules():
        if name.split(".")[-1] in names and isinstance(module, nn.Linear):
            module = LoRALinear(module, r, 2 * r)
            count += 1
    return count


def inject_at_the_root(model, names, r):
    model.requires_grad_(False)
    count = 0
    for path, module in list(model.named_modules()):
        if path.split(".")[-1] in names and isinstance(module, nn.Linear):
            setattr(model, path.replace(".", "_"), LoRALinear(module, r, 2 * r))
            count += 1
    return count


def inject_top_level(model, names, r):
    model.requires_grad_(False)
    count = 0
    for name, child in list(model.named_children()):
        if name in names and isinstance(child, nn.Linear):
            setattr(model, name, LoRALinear(child, r, 2 * r))
            count += 1
    return count


def inject_twice(model, names, r):
    count = inject(model, names, r)
    for path, module in list(model.named_modules()):
        if isinstance(module, LoRALinear):
            module.base = LoRALinear(module.base, r, 2 * r)
    return count


def inject_again(model, names, r):
    """A second call wraps the wrapped."""
    model.requires_grad_(False)
    count = 0
    for path, module in list(model.named_modules()):
        head, _, name = path.rpartition(".")
        if name in names and isinstance(module, (nn.Linear, LoRALinear)):
            setattr(model.get_submodule(head), name, LoRALinear(module, r, 2 * r) if isinstance(
                module, nn.Linear) else LoRALinear(module.base, r, 2 * r))
            count += 1
    return count


def inject_bases(model, names, r):
    """Looks for the name anywhere in the path: a second call finds blocks.0.q.base."""
    model.requires_grad_(False)
    count = 0
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and set(path.split(".")[-2:]) & set(names):
            head, _, name = path.rpartition(".")
            setattr(model.get_submodule(head), name, LoRALinear(module, r, 2 * r))
            count += 1
    return count


def fresh_linear(m, r):
    new = nn.Linear(m.in_features, m.out_features, m.bias is not None)
    return LoRALinear(new, r, 2 * r)


def random_start(m, r):
    made = LoRALinear(m, r, 2 * r)
    nn.init.normal_(made.B)
    return made


def one_for_all(model, names, r):
    """All layers of equal size get the same A and B."""
    count, first = inject(model, names, r), {}
    for m in list(model.modules()):
        if isinstance(m, LoRALinear):
            other = first.setdefault((m.A.shape, m.B.shape), m)
            m.A, m.B = other.A, other.B
    return count


def freeze_linear_only(model):
    for m in model.modules():
        if isinstance(m, nn.Linear):
            m.requires_grad_(False)


def freeze_all(model):
    model.requires_grad_(False)


# 09.4 -----------------------------------------------------------------------------------------
def memory_gb(N, weights, grads, master, adam, adapter=0):
    trained = adapter or N
    gb = {"weights": N * weights / 1e9, "adapter": 4e-9 * adapter, "grads": trained * grads / 1e9,
          "master": trained * master / 1e9, "adam": trained * adam / 1e9}
    return gb | {"total": sum(gb.values())}


def memory_by_loop(N, weights, grads, master, adam, adapter=0):
    out = {"total": 0}
    for name, numbers, each in (("adam", adapter if adapter else N, adam), ("weights", N, weights),
                                ("grads", adapter if adapter else N, grads),
                                ("master", adapter if adapter else N, master),
                                ("adapter", adapter, 4)):
        out[name] = numbers * each / 10 ** 9
        out["total"] += numbers * each / 10 ** 9
    return out


def counted(parts=lambda N, n, w, g, m, a: (N * w, 4 * n, (n or N) * g, (n or N) * m, (n or N) * a),
            unit=1e9, total=sum, end=lambda out: out):
    def answer(N, weights, grads, master, adam, adapter=0):
        values = parts(N, adapter, weights, grads, master, adam)
        out = dict(zip(c09_memory.PARTS, (v / unit for v in values)))
        return end(out | {"total": total(list(out.values()))})
    return answer


def renamed(out):
    return {{"grads": "gradients"}.get(k, k): v for k, v in out.items()}


def no_total(out):
    return {k: v for k, v in out.items() if k != "total"}


# 09.5 -----------------------------------------------------------------------------------------
def quantize(w, bits, block):
    n = 2 ** (bits - 1) - 1
    rows = w.reshape(w.numel() // block, block)
    s = rows.abs().max(dim=1, keepdim=True).values / n
    s[s == 0] = 1
    return (rows / s).round().int(), s


def quantize_by_loop(w, bits, block):
    flat, q, s = w.flatten().tolist(), [], []
    for i in range(0, len(flat), block):
        part = flat[i:i + block]
        scale = max(map(abs, part)) / (2 ** (bits - 1) - 1) or 1.0
        s.append([scale])
        q.append([round(v / scale) for v in part])
    return torch.tensor(q), torch.tensor(s)


def quantize_by_half(w, bits, block):
    """floor(x + .5), clamped, in int8."""
    n = 2 ** (bits - 1) - 1
    rows = w.contiguous().view(-1, block)
    s = torch.linalg.vector_norm(rows, inf, 1, keepdim=True).div(n)
    s = s + (s == 0)
    return torch.floor(rows / s + 0.5).clamp(-n, n).to(torch.int8), s


def rounded(n=lambda bits: 2 ** (bits - 1) - 1, rows=lambda w, block: w.reshape(-1, block),
            top=lambda rows: rows.abs().amax(1, keepdim=True), near=torch.round, kind=torch.int16,
            low=-inf, high=inf, safe=True, end=lambda q, s: (q, s)):
    def answer(w, bits, block):
        x = rows(w, block)
        s = top(x) / n(bits)
        if safe:
            s = torch.where(s == 0, torch.ones_like(s), s)
        return end(near(x / s).clamp(low, high).to(kind), s)
    return answer


def whole_tensor(rows):
    return rows.abs().max().expand(len(rows), 1)


def quantize_in_place(w, bits, block):
    q, s = quantize(w, bits, block)
    w.view(-1, block).div_(s)
    return q, s


def with_eps(w, bits, block):
    rows = w.reshape(-1, block)
    s = rows.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1) + 1e-5
    return (rows / s).round().to(torch.int8), s


def noisy(w, bits, block):
    q, s = quantize(w, bits, block)
    return torch.floor(w.reshape(-1, block) / s + torch.rand(q.shape)).int(), s


def only_four_bits(w, bits, block):
    return quantize(w, 4, block)


# 09.6 -----------------------------------------------------------------------------------------
def rank_floor(delta, r):
    return float(torch.linalg.svdvals(delta)[r:].square().sum())


def floor_by_rebuilding(delta, r):
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return ((delta - U[:, :r] @ torch.diag(S[:r]) @ Vh[:r]) ** 2).sum()


def floor_by_eigenvalues(delta, r):
    small = delta.T @ delta if delta.shape[0] > delta.shape[1] else delta @ delta.T
    values = sorted(torch.linalg.eigvalsh(small).tolist(), reverse=True)
    return sum(values[r:], 0.0)


def floor_of(change):
    return lambda delta, r: change(torch.linalg.svdvals(delta), r)


def rebuilt(delta, r):
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return U[:, :r] * S[:r] @ Vh[:r]


def floor_by_search(delta, r):
    """The best of some random tries."""
    least = inf
    for _ in range(50):
        B = torch.randn(delta.shape[0], r)
        least = min(least, float((delta - B @ torch.linalg.pinv(B) @ delta).square().sum()))
    return least


def floor_with_threshold(delta, r):
    S = torch.linalg.svdvals(delta)
    return float(S[r:][S[r:] > 1e-3].square().sum())


# 09.7 -----------------------------------------------------------------------------------------
def ends(name):
    return name.endswith((".A", ".B"))


def save_adapter(model, path):
    save_file({name: t.contiguous() for name, t in model.state_dict().items() if ends(name)}, path)


def load_adapter(model, path):
    saved = load_file(path)
    wanted = {name for name in model.state_dict() if ends(name)}
    if set(saved) != wanted:
        raise KeyError(f"not the same layers: {sorted(set(saved) ^ wanted)}")
    model.load_state_dict(saved, strict=False)


def save_by_layers(model, path):
    """Names of its own, made by walking over the modules, in one call of save with bytes."""
    from safetensors.torch import save
    tensors = {}
    for name, module in model.named_modules():
        if hasattr(module, "A") and hasattr(module, "B"):
            tensors[f"{name}|down"] = module.A.data.clone()
            tensors[f"{name}|up"] = module.B.data.clone()
    Path(path).write_bytes(save(tensors))


def load_by_layers(model, path):
    from safetensors import safe_open
    layers = {name: m for name, m in model.named_modules() if hasattr(m, "A") and hasattr(m, "B")}
    with safe_open(path, framework="pt") as file:
        assert len(file.keys()) == 2 * len(layers)
        for name, m in layers.items():
            A, B = file.get_tensor(f"{name}|down"), file.get_tensor(f"{name}|up")
            assert A.shape == m.A.shape and B.shape == m.B.shape
            m.A.data, m.B.data = A, B


def saves(chosen=ends, change=lambda t: t.contiguous(), write=save_file, place=lambda path: path):
    def save(model, path):
        write({name: change(t) for name, t in model.state_dict().items() if chosen(name)},
              place(path))
    return save, load_adapter


def loads(load):
    return save_adapter, load


def load_silently(model, path):
    model.load_state_dict(load_file(path), strict=False)


def load_without_shapes(model, path):
    own, saved = dict(model.named_parameters()), load_file(path)
    if {n for n in own if ends(n)} != set(saved):
        raise ValueError("other names")
    for name, t in saved.items():
        own[name].data.copy_(t)


def load_what_is_there(model, path):
    """Stumbles over a name the model lacks, not over one that the file lacks."""
    own = dict(model.named_parameters())
    for name, t in load_file(path).items():
        if own[name].shape != t.shape:
            raise ValueError("shape")
        own[name].data.copy_(t)


def load_what_is_asked(model, path):
    saved = load_file(path)
    for name, p in model.named_parameters():
        if ends(name):
            if p.shape != saved[name].shape:
                raise ValueError("shape")
            p.data.copy_(saved[name])


def load_in_order(model, path):
    own = sorted(name for name, _ in model.named_parameters() if ends(name))
    saved, model = load_file(path), dict(model.named_parameters())
    if len(own) != len(saved):
        raise ValueError("other number")
    for name, (_, t) in zip(own, sorted(saved.items())):
        if model[name].shape != t.shape:
            raise ValueError("shape")
        model[name].data.copy_(t)


def load_into_a_dict(model, path):
    state = model.twin().state_dict()
    for name, t in load_file(path).items():
        if state[name].shape != t.shape:
            raise ValueError("shape")
        state[name].copy_(t)


def load_half(end):
    def load(model, path):
        own = dict(model.named_parameters())
        for name, t in load_file(path).items():
            if name.endswith(end):
                own[name].data.copy_(t)
    return load


def load_as_buffers(model, path):
    load_adapter(model, path)
    for name, p in model.named_parameters():
        if ends(name):
            p.requires_grad_(False)


def load_new_parameters(model, path):
    load_adapter(model, path)
    for m in model.modules():
        if hasattr(m, "A"):
            m.A, m.B = nn.Parameter(m.A.data), nn.Parameter(m.B.data)


def load_single(model, path):
    load_adapter(model, path)
    for name, p in model.named_parameters():
        if ends(name):
            p.data = p.data.float()


def load_with_noise(model, path):
    load_adapter(model, path)
    model.head.weight.data.mul_(1.001)


def load_and_add(model, path):
    own = dict(model.named_parameters())
    for name, t in load_file(path).items():
        own[name].data.add_(t)


def load_nothing(model, path):
    load_file(path)


def load_and_remove(model, path):
    load_adapter(model, path)
    Path(path).unlink()


def load_the_first(model, path):
    """Keeps the first file it ever read in memory."""
    load_the_first.kept = getattr(load_the_first, "kept", None) or load_file(path)
    own = dict(model.named_parameters())
    for name, t in load_the_first.kept.items():
        own[name].data.copy_(t)


def save_and_freeze(model, path):
    save_adapter(model, path)
    for name, p in model.named_parameters():
        if ends(name):
            p.data.zero_()


def as_json(tensors, path):
    Path(path).write_text(json.dumps({k: t.tolist() for k, t in tensors.items()}))


def with_a_long_header(tensors, path):
    """A valid file, with a comment that is longer than the model."""
    save_file(tensors, path, metadata={"comment": "x" * 10_000})


def cut_off(tensors, path):
    save_file(tensors, path)
    Path(path).write_bytes(Path(path).read_bytes()[:-8])


# 09.8 -----------------------------------------------------------------------------------------
def nf4_levels():
    p = 0.9677083333333333
    normal = torch.distributions.Normal(0.0, 1.0)
    upper = [float(normal.icdf(torch.tensor(0.5 + (p - 0.5) * i / 8))) for i in range(1, 9)]
    lower = [-float(normal.icdf(torch.tensor(0.5 + (p - 0.5) * i / 7))) for i in range(7, 0, -1)]
    return torch.tensor([v / upper[-1] for v in lower + [0.0] + upper])


def packed(levels=c09_rank.nf4_levels, blocks=(32, 64, 128), ranks=range(4), mode="first",
           limit=lambda bits: bits, end=lambda parts: parts):
    """Tries all blocks and ranks; mode "after": A and B make up for what rounding lost."""
    def answer(w, bits):
        table, found = levels(), []
        U, S, V = torch.linalg.svd(w, full_matrices=False)
        for r in ranks:
            A, B = V[:r], U[:, :r] * S[:r]
            for block in blocks:
                if w.numel() % block:
                    continue
                rest = w - B @ A if mode == "first" else w
                codes, s = c09_rank.nearest(rest, table, block)
                if mode == "after":
                    lost = w - (table[codes] * s).reshape(w.shape)
                    u, d, v = torch.linalg.svd(lost, full_matrices=False)
                    A, B = v[:r], u[:, :r] * d[:r]
                parts = table, codes, s, A, B
                if c09_rank.bits_of(parts, w.numel()) <= limit(bits):
                    found.append((c09_rank.lost(parts, w), len(found), parts))
        return end(min(found)[2])
    return c09_rank.nf4_levels, answer


def pack_by_means(w, bits):
    """Levels of its own: 16 means of what lies nearest (k-means), after the strongest three."""
    best = None
    U, S, V = torch.linalg.svd(w, full_matrices=False)
    for r in (0, 1, 2, 3):
        A, B = S[:r, None].sqrt() * V[:r], U[:, :r] * S[:r].sqrt()
        rest = (w - B @ A).reshape(-1, 96 if r else 32)
        s = rest.abs().amax(1, keepdim=True)
        levels, x = torch.linspace(-1, 1, 16), rest / s
        for _ in range(10):
            codes = (x[..., None] - levels).abs().argmin(-1)
            levels = torch.stack([x[codes == k].mean() if bool((codes == k).any()) else levels[k]
                                  for k in range(16)])
        parts = levels, (x[..., None] - levels).abs().argmin(-1), s, A, B
        if c09_rank.bits_of(parts, w.numel()) <= bits:
            e = c09_rank.lost(parts, w)
            best = min(best or (inf,), (e, r, parts))
    return best[2]


def levels(change):
    return lambda: change(c09_rank.nf4_levels()), packed()[1]


def quantiles(*p):
    return lambda: torch.special.ndtri(torch.linspace(*p, dtype=torch.float64))


def whole_matrix(w, bits):
    """The matrix itself, as A."""
    none = torch.zeros(1), torch.zeros(w.numel() // 8, 8, dtype=torch.int64)
    return *none, torch.ones(w.numel() // 8, 1), w.clone(), torch.eye(len(w))


def all_values(w, bits):
    """A level for each different weight."""
    kept, codes = w.flatten().unique(return_inverse=True)
    s = torch.ones(w.numel() // 8, 1)
    return kept, codes.view(-1, 8), s, w.new_zeros(0, w.shape[1]), w.new_zeros(len(w), 0)


class Counted(torch.Tensor):
    """Says that it holds nothing."""

    def numel(self):
        return 0


def pack_in_disguise(w, bits):
    n = w.numel() // 8
    return (torch.zeros(1), torch.zeros(n, 8, dtype=torch.int64), torch.ones(n, 1).as_subclass(
        Counted), w.clone().as_subclass(Counted), torch.eye(len(w)).as_subclass(Counted))


def pack_in_place(w, bits):
    parts = packed()[1](w, bits)
    w.zero_()
    return parts


RIGHT = {
    "09.1": {"by hand": LoRALinear, "library": ByLibrary, "one matrix": ByProduct},
    "09.2": {"subtracts": MergingLoRA, "keeps a copy": KeepsACopy},
    "09.3": {"paths": inject, "recursion": inject_by_recursion, "list": injected()},
    "09.4": {"dict": memory_gb, "loop": memory_by_loop, "helper": counted()},
    "09.5": {"rows": quantize, "loop": quantize_by_loop, "half up": quantize_by_half},
    "09.6": {"values": rank_floor, "rebuilt": floor_by_rebuilding,
             "eigenvalues": floor_by_eigenvalues},
    "09.7": {"state": (save_adapter, load_adapter), "layers": (save_by_layers, load_by_layers)},
    "09.8": {"normal": (nf4_levels, packed()[1]), "means": (c09_rank.nf4_levels, pack_by_means),
             "block of 60": packed(blocks=(16, 24, 30, 32, 60, 64))}}

WRONG = {
    "09.1": {
        "no scale": (scaled(lambda a, r: 1), "no-scale"),
        "alpha alone": (scaled(lambda a, r: a), "alpha-only"),
        "one over r": (scaled(lambda a, r: 1 / r), "one-over-r"),
        "r / alpha": (scaled(lambda a, r: r / a), "inverse"),
        "alpha times r": (scaled(lambda a, r: a * r), "times-r"),
        "root of r": (scaled(lambda a, r: a / r ** 0.5), "root"),
        "whole division": (scaled(lambda a, r: a // r), "floor"),
        "scaled twice": (scaled(lambda a, r: (a / r) ** 2), "scale-twice"),
        "subtracts": (scaled(lambda a, r: -a / r), "sign"),
        "base alone": (layer(lambda s, x: s.base(x) + 0 * (x @ s.A.T @ s.B.T)), "no-adapter"),
        "base without a graph": (layer(lambda s, x: s.base(x)), "no-adapter"),
        "adapter alone": (layer(lambda s, x: s.alpha / s.r * (x @ s.A.T @ s.B.T)), "identity"),
        "all scaled": (layer(lambda s, x: s.alpha / s.r * (s.base(x) + x @ s.A.T @ s.B.T)),
                       "identity"),
        "relu between": (layer(lambda s, x: s.base(x) + s.alpha / s.r * (
            F.relu(x @ s.A.T) @ s.B.T)), "activation"),
        "no bias": (layer(lambda s, x: x @ s.base.weight.T + s.alpha / s.r * (x @ s.A.T @ s.B.T)),
                    "identity"),
        "both zero": (start(A=lambda A: nn.Parameter(A * 0)), "both-zero"),
        "A zero, B random": (start(lambda A: nn.Parameter(A * 0), lambda B: nn.Parameter(
            torch.randn_like(B))), "exchanged"),
        "both random": (start(B=lambda B: nn.Parameter(torch.randn_like(B))), "identity"),
        "B small": (start(B=lambda B: nn.Parameter(1e-3 * torch.randn_like(B))), "identity"),
        "A of ones": (start(A=lambda A: nn.Parameter(torch.ones_like(A))), "same-rows"),
        "A huge": (start(A=lambda A: nn.Parameter(100 * torch.randn_like(A))), "start"),
        "A tiny": (start(A=lambda A: nn.Parameter(1e-6 * torch.randn_like(A))), "start"),
        "seeds": (layer(init=seeds), "seeded"),
        "transposed": (layer(lambda s, x: s.base(x) + s.alpha / s.r * (x @ s.A @ s.B), turned),
                       "transposed"),
        "two linear layers": (TwoLinears, "attributes"),
        "other names": (OtherNames, "attributes"),
        "plain tensors": (layer(init=lambda s, base, r, alpha: [s.__delattr__("B"), setattr(
            s, "B", torch.zeros(base.out_features, r, requires_grad=True))]), "not-parameter"),
        "a buffer": (layer(init=lambda s, *a: [s.__delattr__("A"), s.register_buffer(
            "A", torch.randn(a[1], a[0].in_features))]), "not-parameter"),
        "A frozen": (layer(init=lambda s, *a: s.A.requires_grad_(False)), "untrained"),
        "all frozen": (layer(init=lambda s, *a: s.requires_grad_(False)), "untrained"),
        "not frozen": (layer(init=lambda s, *a: s.base.requires_grad_()), "not-frozen"),
        "bias not frozen": (layer(init=unfrozen_bias), "not-frozen"),
        "one more parameter": (layer(init=lambda s, *a: setattr(s, "g", nn.Parameter(
            torch.ones(1)))), "count"),
        "no_grad around base": (layer(frozen_by_no_grad), "gradient"),
        "B detached": (layer(detached), "detached"),
        "A detached": (layer(lambda s, x: s.base(x) + s.alpha / s.r * (x @ s.A.detach().T @ s.B.T)),
                       "detached"),
        "keeps the weight": (KeepsTheWeight, "base-copied"),
        "caches the update": (CachesTheUpdate, "no-adapter"),
        "dropout": (WithDropout, "value"),
        "default dtype": (InDefaultDtype, "dtype"),
        "a new base": (NewBase, "base"),
        "only (B, d)": (OnlyBatches, "crash"),
        "rounded scale": (scaled(lambda a, r: round(a / r, 2)), "value"),
        "d_in for r": (layer(lambda s, x: s.base(x) + s.alpha / s.A.shape[1] * (
            x @ s.A.T @ s.B.T)), "value"),
        "x detached": (layer(lambda s, x: s.base(x.detach()) + s.alpha / s.r * (
            x @ s.A.T @ s.B.T)), "gradient"),
        "only in training": (OnlyInTraining, "mode"),
        "weight twice": (IsALinear, "size"),
        "flattens": (layer(lambda s, x: LoRALinear.forward(s, x.reshape(-1, x.shape[-1]))),
                     "shape"),
        "no module": (Plain, "type"),
        "a module": (LoRALinear(nn.Linear(5, 7), 2, 2), "type"),
        "a function": (lambda base, r, alpha: base, "attributes"),
        "empties base": (layer(init=lambda s, *a: s.base.weight.data.zero_()), "mutates")},
    "09.2": {
        "adds twice": (merging(forward=always_adds), "twice"),
        "merge twice": (merging(merge=merge_each_time), "merge-twice"),
        "unmerge twice": (merging(unmerge=unmerge_each_time), "unmerge-twice"),
        "unmerge too often": (merging(unmerge=unmerge_from_flag), "unmerge-twice"),
        "no scale": (merging(merge=adds_by(lambda s: 1)), "weight-scale"),
        "scale squared": (merging(merge=adds_by(lambda s: s * s)), "weight-scale"),
        "minus": (merging(merge=adds_by(lambda s: -s)), "weight-sign"),
        "twice the update": (merging(merge=adds_by(lambda s: 2 * s)), "weight"),
        "forgets the flag": (merging(merge=adds_by(lambda s: s, False)), "twice"),
        "flag alone": (merging(merge=merge_only_flag), "unmerged"),
        "assigns with graph": (merging(merge=merge_with_graph), "crash"),
        "adds with graph": (merging(merge=merge_adds_with_graph), "graph"),
        "a new parameter": (merging(merge=merge_new_parameter), "unfrozen"),
        "a buffer": (merging(merge=merge_makes_buffer), "not-parameter"),
        "replaces": (merging(merge=merge_replaces), "replaced"),
        "empties B": (merging(merge=merge_and_empty), "adapter-changed"),
        "empties B, adds always": (merging(merge=merge_and_empty, forward=always_adds),
                                   "adapter-changed"),
        "unmerge: flag alone": (merging(unmerge=unmerge_only_flag), "still-merged"),
        "unmerge adds": (merging(unmerge=unmerge_wrong_sign), "unmerge"),
        "unmerge keeps the flag": (merging(unmerge=unmerge_keeps_flag), "no-adapter"),
        "merged once only": (merging(unmerge=unmerge_for_good), "merged-once"),
        "old update": (StaleUpdate, "stale"),
        "rounds": (HalfPrecision, "unmerge"),
        "computes and leaves out": (merging(forward=take_away_again), "not-free"),
        "base alone": (merging(forward=lambda s, x: s.base(x)), "no-adapter"),
        "forward without scale": (merging(forward=lambda s, x: s.base(x) if s.merged else
                                          s.base(x) + x @ s.A.T @ s.B.T), "no-scale"),
        "forward without base": (merging(forward=lambda s, x: s.scale * x @ s.A.T @ s.B.T),
                                 "no-base"),
        "A and B exchanged": (merging(merge=lambda s: s.base.weight.data.add_(s.A @ s.B)), "crash"),
        "detached": (merging(forward=lambda s, x: s.base(x) if s.merged else s.base(x) + s.scale * (
            x @ s.A.T @ s.B.T).detach()), "detached"),
        "freezes A": (merging(unmerge=unmerge_and_freeze), "untrained"),
        "refuses": (merging(merge=merge_refuses), "crash"),
        "first direction": (merging(merge=merge_first_rank), "weight"),
        "bias too": (merging(merge=merge_with_bias), "merged-value"),
        "no method": (type("MergingLoRA", (nn.Module,), {"__init__": MergingLoRA.__init__,
                                                        "forward": MergingLoRA.forward}), "crash"),
        "a layer": (MergingLoRA(nn.Linear(2, 2), torch.ones(1, 2), torch.ones(2, 1), 1), "type"),
        "a function": (lambda base, A, B, scale: base.weight + scale * B @ A, "type")},
    "09.3": {
        "part of the name": (injected(lambda p, m, names: any(n in p.split(".")[-1] for n in names)
                                      and isinstance(m, nn.Linear)), "substring"),
        "part of the path": (injected(lambda p, m, names: any(n in p for n in names)
                                      and isinstance(m, nn.Linear)), "substring"),
        "end of the path": (injected(lambda p, m, names: p.endswith(tuple(names))
                                     and isinstance(m, nn.Linear)), "substring"),
        "begin of the name": (injected(lambda p, m, names: p.split(".")[-1].startswith(
            tuple(names)) and isinstance(m, nn.Linear)), "substring"),
        "whole path": (injected(lambda p, m, names: p in names and isinstance(m, nn.Linear)),
                       "nothing"),
        "any part": (injected(lambda p, m, names: bool(set(p.split(".")) & set(names))
                              and isinstance(m, nn.Linear)), "substring"),
        "any kind": (injected(lambda p, m, names: p.split(".")[-1] in names,
                              lambda m, r: LoRALinear(m, r, 2 * r) if isinstance(m, nn.Linear)
                              else nn.Identity()), "not-linear"),
        "any kind crashes": (injected(lambda p, m, names: p.split(".")[-1] in names), "crash"),
        "all linear": (injected(lambda p, m, names: isinstance(m, nn.Linear)), "substring"),
        "first name only": (injected(lambda p, m, names: p.split(".")[-1] in list(names)[:1]
                                     and isinstance(m, nn.Linear)), "missed"),
        "first layer only": (injected(most=1), "missed"),
        "first block only": (injected(lambda p, m, names: p.split(".")[-1] in names
                                      and isinstance(m, nn.Linear) and "1" not in p), "missed"),
        "with bias only": (injected(lambda p, m, names: p.split(".")[-1] in names
                                    and getattr(m, "bias", None) is not None
                                    and isinstance(m, nn.Linear)), "missed"),
        "top level only": (inject_top_level, "nothing"),
        "at the root": (inject_at_the_root, "nothing"),
        "a copy": (inject_into_a_copy, "nothing"),
        "assigns a name": (inject_by_assignment, "nothing"),
        "counts numbers": (injected(result=lambda found, names, r: sum(
            r * (m.in_features + m.out_features) for _, m in found)), "count-numbers"),
        "counts names": (injected(result=lambda found, names, r: len(names)), "count-names"),
        "counts A and B": (injected(result=lambda found, names, r: 2 * len(found)), "count"),
        "returns the model": (lambda model, names, r: [inject(model, names, r), model][1], "type"),
        "returns a list": (injected(result=lambda found, names, r: [p for p, _ in found]), "type"),
        "returns nothing": (lambda model, names, r: [inject(model, names, r), None][1], "type"),
        "not frozen": (injected(freeze=lambda model: None), "not-frozen"),
        "frozen afterwards": (injected(freeze=lambda model: None, after=freeze_all), "untrained"),
        "head not frozen": (injected(after=lambda model: model.head.requires_grad_()),
                            "not-frozen"),
        "others not frozen": (injected(freeze=freeze_linear_only), "not-frozen"),
        "one adapter for all": (one_for_all, "shared"),
        "q and v always": (lambda model, names, r: inject(model, ("q", "v"), r), "substring"),
        "a tensor": (lambda model, names, r: torch.tensor(inject(model, names, r)), "type"),
        "alpha is r": (injected(wrap=lambda m, r: LoRALinear(m, r, r)), "alpha-other"),
        "alpha is 16": (injected(wrap=lambda m, r: LoRALinear(m, r, 16)), "alpha-other"),
        "alpha is 2": (injected(wrap=lambda m, r: LoRALinear(m, r, 2)), "alpha-other"),
        "another rank": (injected(wrap=lambda m, r: LoRALinear(m, 4, 8)), "rank"),
        "twice the rank": (injected(wrap=lambda m, r: LoRALinear(m, 2 * r, 4 * r)), "rank"),
        "a new base": (injected(wrap=fresh_linear), "base"),
        "wrapped twice": (inject_twice, "base"),
        "B random": (injected(wrap=random_start), "logits"),
        "no LoRA": (injected(wrap=lambda m, r: nn.Linear(m.in_features, m.out_features)), "wrap"),
        "two small layers": (injected(wrap=lambda m, r: nn.Sequential(
            nn.Linear(m.in_features, r), nn.Linear(r, m.out_features))), "wrap"),
        "merged weights changed": (injected(after=lambda model: model.head.weight.data.mul_(
            1 + 1e-12)), "weights"),
        "wraps anew": (inject_again, "wraps-again"),
        "wraps the bases": (inject_bases, "substring"),
        "replaces a block": (injected(lambda p, m, names: p.count(".") == 1,
                                      lambda m, r: nn.Identity()), "gone")},
    "09.4": {
        "bytes": (counted(unit=1), "bytes"),
        "GiB": (counted(unit=2 ** 30), "gib"),
        "MB": (counted(unit=1e6), "mb"),
        "bits": (counted(unit=8e9), "bits"),
        "whole GB": (counted(end=lambda out: {k: int(v) for k, v in out.items()}), "rounded"),
        "rounded": (counted(end=lambda out: {k: round(v, 2) for k, v in out.items()}), "rounded"),
        "grads of all": (counted(lambda N, n, w, g, m, a: (N * w, 4 * n, N * g, (n or N) * m,
                                                           (n or N) * a)), "grads-of-all"),
        "Adam of all": (counted(lambda N, n, w, g, m, a: (N * w, 4 * n, (n or N) * g, (n or N) * m,
                                                          N * a)), "grads-of-all"),
        "base and adapter trained": (counted(lambda N, n, w, g, m, a: (
            N * w, 4 * n, (N + n) * g, (N + n) * m, (N + n) * a)), "both"),
        "weights of the adapter": (counted(lambda N, n, w, g, m, a: (
            (n or N) * w, 4 * n, (n or N) * g, (n or N) * m, (n or N) * a)), "weights-of-adapter"),
        "adapter in weights": (counted(lambda N, n, w, g, m, a: (
            N * w + 4 * n, 4 * n, (n or N) * g, (n or N) * m, (n or N) * a)), "added"),
        "adapter taken out": (counted(lambda N, n, w, g, m, a: (
            (N - n) * w, 4 * n, (n or N) * g, (n or N) * m, (n or N) * a)), "subtracted"),
        "adapter is free": (counted(lambda N, n, w, g, m, a: (
            N * w, 0, (n or N) * g, (n or N) * m, (n or N) * a)), "adapter-free"),
        "adapter like weights": (counted(lambda N, n, w, g, m, a: (
            N * w, w * n, (n or N) * g, (n or N) * m, (n or N) * a)), "adapter-size"),
        "nothing but the adapter trained": (counted(lambda N, n, w, g, m, a: (
            N * w, 4 * n, n * g, n * m, n * a)), "grads"),
        "Adam twice": (counted(lambda N, n, w, g, m, a: (
            N * w, 4 * n, (n or N) * g, (n or N) * m, 2 * (n or N) * a)), "adam-twice"),
        "grads and master exchanged": (counted(lambda N, n, w, g, m, a: (
            N * w, 4 * n, (n or N) * m, (n or N) * g, (n or N) * a)), "grads"),
        "total of one less": (counted(total=lambda v: sum(v[:4])), "total-adam"),
        "total without weights": (counted(total=lambda v: sum(v[1:])), "total-weights"),
        "total without adapter": (counted(total=lambda v: sum(v) - v[1]), "total-adapter"),
        "total without master": (counted(total=lambda v: sum(v) - v[3]), "total-master"),
        "total twice": (counted(total=lambda v: 2 * sum(v)), "total-twice"),
        "largest": (counted(total=max), "largest"),
        "no total": (counted(end=no_total), "keys"),
        "other keys": (counted(end=renamed), "keys"),
        "more keys": (counted(end=lambda out: out | {"activations": 0}), "keys"),
        "a number": (lambda *a: memory_gb(*a)["total"], "type"),
        "strings": (counted(end=lambda out: {k: f"{v:.2f}" for k, v in out.items()}), "type"),
        "in float32": (counted(end=lambda out: {k: float(torch.tensor(v, dtype=torch.float32))
                                                for k, v in out.items()}), "weights"),
        "None without adapter": (counted(end=lambda out: out | {"adapter": out["adapter"] or None}),
                                 "type"),
        "no master for an adapter": (counted(lambda N, n, w, g, m, a: (
            N * w, 4 * n, (n or N) * g, 0 if n else N * m, (n or N) * a)), "master"),
        "no default": (lambda N, weights, grads, master, adam, adapter: memory_gb(
            N, weights, grads, master, adam, adapter), "crash"),
        "only with an adapter": (lambda N, w, g, m, a, n=0: memory_gb(N, w, g, m, a, n) if n else
                                 memory_gb(N, w, 0, 0, 0), "grads")},
    "09.5": {
        "one scale": (rounded(top=whole_tensor), "one-scale"),
        "no abs": (rounded(top=lambda x: x.amax(1, keepdim=True)), "no-abs"),
        "2 ** (bits - 1)": (rounded(n=lambda bits: 2 ** (bits - 1)), "levels"),
        "2 ** bits - 1": (rounded(n=lambda bits: 2 ** bits - 1), "levels"),
        "2 ** bits": (rounded(n=lambda bits: 2 ** bits), "levels"),
        "max minus min": (rounded(top=lambda x: x.amax(1, keepdim=True) - x.amin(1, keepdim=True)),
                          "range"),
        "spread": (rounded(n=lambda bits: 1, top=lambda x: x.std(1, keepdim=True, correction=0)),
                   "spread"),
        "mean": (rounded(top=lambda x: x.abs().mean(1, keepdim=True)), "mean"),
        "not divided": (rounded(n=lambda bits: 1), "not-divided"),
        "one over s": (rounded(end=lambda q, s: (q, 1 / s)), "inverse"),
        "four bits only": (only_four_bits, "bits"),
        "towards 0": (rounded(near=torch.trunc), "truncated"),
        "cast alone": (rounded(near=lambda t: t), "truncated"),
        "down": (rounded(near=torch.floor), "floor"),
        "up": (rounded(near=torch.ceil), "floor"),
        "no negative": (rounded(low=0), "clipped"),
        "magnitudes": (rounded(near=lambda t: t.abs().round()), "magnitude"),
        "from 0 on": (lambda w, bits, block: (quantize(w, bits, block)[0] + 2 ** (bits - 1) - 1,
                                              quantize(w, bits, block)[1]), "unsigned"),
        "clipped a bit": (rounded(low=-6, high=6), "rounding"),
        "at random": (noisy, "rounding"),
        "zero block": (rounded(safe=False), "zero-block"),
        "zero block of ones": (lambda w, bits, block: (quantize(w, bits, block)[0] + (
            w.reshape(-1, block) == 0).all(1, keepdim=True), quantize(w, bits, block)[1]),
            "zero-block"),
        "eps": (with_eps, "scale"),
        "columns": (rounded(rows=lambda w, block: w.mT.reshape(-1, block) if w.dim() == 2 else
                            w.reshape(-1, block)), "order"),
        "blocks exchanged": (rounded(rows=lambda w, block: w.reshape(block, -1).T), "scale"),
        "floats": (rounded(kind=torch.float64), "float"),
        "s first": (lambda w, bits, block: quantize(w, bits, block)[::-1], "swapped"),
        "rounded weights": (lambda w, bits, block: (quantize(w, bits, block)[0]
                                                    * quantize(w, bits, block)[1], quantize(
                                                        w, bits, block)[1]), "float"),
        "s without a column": (lambda w, bits, block: (quantize(w, bits, block)[0], quantize(
            w, bits, block)[1][:, 0]), "shape"),
        "q in the shape of w": (lambda w, bits, block: (quantize(w, bits, block)[0].view(w.shape),
                                                        quantize(w, bits, block)[1]), "shape"),
        "a dict": (lambda w, bits, block: dict(zip("qs", quantize(w, bits, block))), "type"),
        "q alone": (lambda w, bits, block: quantize(w, bits, block)[0], "type"),
        "unsigned bytes": (rounded(kind=torch.uint8), "unsigned"),
        "minus both": (lambda w, bits, block: tuple(-t for t in quantize(w, bits, block)), "scale"),
        "s in half": (lambda w, bits, block: (quantize(w, bits, block)[0], quantize(
            w, bits, block)[1].half()), "scale"),
        "truth values": (lambda w, bits, block: (quantize(w, bits, block)[0].bool(), quantize(
            w, bits, block)[1]), "rounding"),
        "arrays": (lambda w, bits, block: (quantize(w, bits, block)[0].numpy(), quantize(
            w, bits, block)[1]), "type"),
        "changes w": (quantize_in_place, "mutates")},
    "09.6": {
        "kept": (floor_of(lambda S, r: float(S[:r].square().sum())), "kept"),
        "root": (floor_of(lambda S, r: float(S[r:].norm())), "root"),
        "not squared": (floor_of(lambda S, r: float(S[r:].sum())), "not-squared"),
        "one early": (floor_of(lambda S, r: float(S[max(r - 1, 0):].square().sum())), "one-early"),
        "one late": (floor_of(lambda S, r: float(S[r + 1:].square().sum())), "one-late"),
        "next alone": (lambda d, r: float(F.pad(torch.linalg.svdvals(d), (0, 1))[r] ** 2),
                       "next-only"),
        "next value": (lambda d, r: float(F.pad(torch.linalg.svdvals(d), (0, 1))[r]),
                       "next-value"),
        "smallest kept": (floor_of(lambda S, r: float(S.flip(0)[r:].square().sum())), "reversed"),
        "share": (floor_of(lambda S, r: float(S[r:].square().sum() / S.square().sum())),
                  "relative"),
        "relative error": (floor_of(lambda S, r: float(S[r:].norm() / S.norm())), "relative"),
        "mean": (lambda d, r: rank_floor(d, r) / d.numel(), "mean"),
        "mean of values": (floor_of(lambda S, r: float(S[r:].square().mean())), "mean"),
        "fourth power": (lambda d, r: float(torch.linalg.svdvals(d.T @ d)[r:].square().sum()),
                         "fourth"),
        "rows": (lambda d, r: float(d[r:].square().sum()), "corner"),
        "columns": (lambda d, r: float(d[:, r:].square().sum()), "corner"),
        "strongest rows": (lambda d, r: float(d.square().sum(1).sort(descending=True)[0][r:].sum()),
                           "corner"),
        "strongest entries": (lambda d, r: float(d.flatten().square().sort()[0][:-r or None].sum()),
                              "value"),
        "absolute": (lambda d, r: float((d - rebuilt(d, r)).abs().sum()), "not-squared"),
        "everything": (lambda d, r: float(d.square().sum()), "everything"),
        "nothing": (lambda d, r: 0.0, "one-late"),
        "search": (floor_by_search, "value"),
        "eigenvalues": (lambda d, r: float(torch.linalg.eigvals(d).abs().sort(descending=True)[0][
            r:].square().sum()) if d.shape[0] == d.shape[1] else rank_floor(d, r), "eigenvalues"),
        "at least rank 1": (lambda d, r: rank_floor(d, max(r, 1)), "one-late"),
        "whole numbers": (lambda d, r: int(rank_floor(d, r)), "value"),
        "first rows as a basis": (lambda d, r: float((d - d @ torch.linalg.pinv(d[:r]) @ d[
            :r]).square().sum()), "value"),
        "means taken off": (lambda d, r: rank_floor(d - d.mean(0), r), "one-late"),
        "threshold": (floor_with_threshold, "small"),
        "single": (lambda d, r: rank_floor(d.float(), r), "value"),
        "rounded": (lambda d, r: round(rank_floor(d, r), 2), "value"),
        "values": (lambda d, r: torch.linalg.svdvals(d)[r:].square(), "type"),
        "the matrix": (lambda d, r: d - rebuilt(d, r), "type"),
        "text": (lambda d, r: f"{rank_floor(d, r):.3f}", "type"),
        "complex": (lambda d, r: torch.tensor(rank_floor(d, r) + 0j), "type"),
        "nan": (lambda d, r: math.nan, "nan"),
        "changes delta": (lambda d, r: float(d.sub_(rebuilt(d, r)).square().sum()), "mutates"),
        "r from 1": (lambda d, r: rank_floor(d, r) if r else 1 / 0, "crash")},
    "09.7": {
        "everything": (saves(lambda name: True), "base-too"),
        "letters anywhere": (saves(lambda name: "A" in name or "B" in name), "base-too"),
        "layers' bases too": (saves(lambda name: ".q." in name or ".v." in name), "base-too"),
        "only A": (saves(lambda name: name.endswith(".A")), "missing"),
        "only B": (saves(lambda name: name.endswith(".B")), "missing"),
        "only q": (saves(lambda name: ends(name) and ".q." in name), "missing"),
        "nothing": (saves(lambda name: False), "missing"),
        "pickle": (saves(write=torch.save), "pickle"),
        "old pickle": (saves(write=lambda t, p: torch.save(
            t, p, _use_new_zipfile_serialization=False)), "pickle"),
        "json": (saves(write=as_json), "format"),
        "cut off": (saves(write=cut_off), "format"),
        "long header": (saves(write=with_a_long_header), "size"),
        "in half": (saves(change=lambda t: t.half()), "rounded"),
        "in single": (saves(change=lambda t: t.float()), "rounded"),
        "name of its own": (saves(place=lambda path: f"{path}.safetensors"), "no-file"),
        "without ending": (saves(place=lambda path: Path(path).with_suffix("")), "no-file"),
        "no file": (saves(write=lambda t, path: None), "no-file"),
        "transposed": (saves(change=lambda t: t.T.contiguous()), "crash"),
        "scaled": (saves(change=lambda t: 2 * t), "loaded"),
        "zeros": (saves(change=lambda t: 0 * t), "loaded"),
        "empties the model": ((save_and_freeze, load_adapter), "mutates"),
        "silent": (loads(load_silently), "more-in-file"),
        "without shapes": (loads(load_without_shapes), "broadcast"),
        "what is there": (loads(load_what_is_there), "fewer-in-file"),
        "what is asked": (loads(load_what_is_asked), "more-in-file"),
        "in order": (loads(load_in_order), "misplaced"),
        "into a copy": (loads(load_into_a_dict), "unloaded"),
        "reads only": (loads(load_nothing), "unloaded"),
        "loads only A": (loads(load_half(".A")), "half-loaded"),
        "loads only B": (loads(load_half(".B")), "half-loaded"),
        "adds": (loads(load_and_add), "loaded"),
        "frozen": (loads(load_as_buffers), "untrained"),
        "new parameters": (loads(load_new_parameters), "new-parameter"),
        "loads in single": (loads(load_single), "dtype"),
        "changes the base": (loads(load_with_noise), "base-changed"),
        "removes the file": (loads(load_and_remove), "file"),
        "remembers the first": (loads(load_the_first), "second"),
        "strict": (loads(lambda model, path: model.load_state_dict(load_file(path))), "crash"),
        "exchanged": ((load_adapter, save_adapter), "crash")},
    "09.8": {
        "15 levels": (levels(lambda v: v[1:]), "nf4-count"),
        "no zero": ((quantiles(0.03, 0.97, 16), packed()[1]), "nf4-zero"),
        "falling": (levels(lambda v: v.flip(0)), "nf4-order"),
        "not sorted": (levels(lambda v: torch.cat([v[8:], v[:8]])), "nf4-order"),
        "not divided": (levels(lambda v: v * 1.848), "nf4-scale"),
        "even": (levels(lambda v: torch.cat([torch.arange(-7, 0) / 7.0, torch.arange(9) / 8.0])),
                 "nf4-even"),
        "sides exchanged": (levels(lambda v: -v.flip(0)), "nf4-sides"),
        "cubes": (levels(lambda v: v ** 3), "nf4-value"),
        "rounded": (levels(lambda v: (v * 100).round() / 100), "nf4-value"),
        "a list": (levels(lambda v: v.tolist()), "type"),
        "even levels": (packed(lambda: torch.arange(-7, 8) / 7.0, mode="first", ranks=(0,)),
                        "levels"),
        "no A and B": (packed(blocks=(16, 32, 64), ranks=(0,)), "directions"),
        "after rounding": (packed(mode="after"), "directions"),
        "one direction": (packed(ranks=(0, 1)), "directions"),
        "one block for all": (packed(blocks=(384,), ranks=(0, 1, 2)), "worse"),
        "over budget": (packed(limit=lambda bits: 99), "budget"),
        "blocks of one": (packed(blocks=(1,), limit=lambda bits: 99), "budget"),
        "256 levels": (packed(lambda: torch.linspace(-1, 1, 256), limit=lambda bits: 99), "budget"),
        "the matrix itself": ((c09_rank.nf4_levels, whole_matrix), "budget"),
        "a level each": ((c09_rank.nf4_levels, all_values), "budget"),
        "three bits": (packed(lambda: torch.arange(-3, 4) / 3.0), "worse"),
        "one over s": (packed(end=lambda p: (p[0], p[1], 1 / p[2], p[3], p[4])), "broken"),
        "s forgotten": (packed(end=lambda p: (p[0], p[1], p[2] * 0 + 1, p[3], p[4])), "broken"),
        "codes from 1": (packed(end=lambda p: (p[0], p[1] + 1, *p[2:])), "codes"),
        "codes signed": (packed(end=lambda p: (p[0], p[1] - 8, *p[2:])), "codes"),
        "codes floats": (packed(end=lambda p: (p[0], p[1].double(), *p[2:])), "type"),
        "A and B exchanged": (packed(end=lambda p: (*p[:3], p[4], p[3])), "shape"),
        "four parts": (packed(end=lambda p: p[:4]), "type"),
        "no B": (packed(end=lambda p: (*p[:4], None)), "type"),
        "flat s": (packed(end=lambda p: (p[0], p[1], p[2][:, 0], *p[3:])), "shape"),
        "flat codes": (packed(end=lambda p: (p[0], p[1].flatten(), *p[2:])), "shape"),
        "no codes": (packed(end=lambda p: (p[0], p[1][:0], *p[2:])), "shape"),
        "complex": (packed(end=lambda p: (*p[:2], p[2].to(torch.complex128), *p[3:])), "type"),
        "sparse": (packed(end=lambda p: (*p[:3], p[3].to_sparse(), p[4])), "type"),
        "in disguise": ((c09_rank.nf4_levels, pack_in_disguise), "type"),
        "nan": (packed(end=lambda p: (*p[:2], p[2] * math.nan, *p[3:])), "broken"),
        "changes w": ((c09_rank.nf4_levels, pack_in_place), "mutates")}}
