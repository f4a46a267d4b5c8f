"""Weights in 8 or 4 bits: blocks of whole numbers with a scale each, made floats when needed."""
import torch
import torch.nn.functional as F
from torch import nn

from .lora import LoRALinear, put


def nf4_levels():
    """The 16 levels of NF4, from -1 to 1: quantiles of a normal distribution, 0 among them.

    Eight above 0 and seven below, at equal steps of probability up to where 1 / 32 and 1 / 30
    of the mass lie outside on average. Source: Dettmers 2023 (2305.14314), section 3, appendix E.
    """
    end = 1 - (1 / 32 + 1 / 30) / 2
    above, below = (torch.special.ndtri(torch.linspace(end, 0.5, n, dtype=torch.float64))[:-1]
                    for n in (9, 8))
    levels = torch.cat([-below, torch.zeros(1, dtype=torch.float64), above.flip(0)])
    return (levels / levels.max()).float()


def in_blocks(weight, block):
    """(d_out, d_in) -> (d_out, blocks, block), zeros behind the last column."""
    d_out, d_in = weight.shape
    return F.pad(weight, (0, -d_in % block)).view(d_out, -1, block)


def quantize(weight, bits=4, block=64):
    """(q, s): whole numbers (d_out, blocks, block), int8, and scales (d_out, blocks).

    weight: (d_out, d_in). q goes from -(2^(bits-1) - 1) to 2^(bits-1) - 1, and q * s differs from
    the weight by s / 2 at most: s is the block's largest number over the largest q. A block of
    zeros has s = 0. Raises ValueError unless bits is from 2 to 8 and block even.
    """
    if not 2 <= bits <= 8 or block < 2 or block % 2:
        raise ValueError(f"bits={bits}, block={block}: bits from 2 to 8 and an even block are "
                         "needed")
    parts, most = in_blocks(weight.float(), block), 2 ** (bits - 1) - 1
    s = parts.abs().amax(-1) / most
    q = (parts / s.where(s > 0, 1)[..., None]).round_().clamp_(-most, most)
    return q.to(torch.int8), s


def dequantize(q, s, d_in=None):
    """q * s as a matrix (d_out, d_in); d_in: columns of the weight, all of q's if not given."""
    return (q * s[..., None]).flatten(1)[:, :d_in]


class QuantisedLinear(nn.Module):
    """A frozen linear map in 4 or 8 bits; `weight` makes its matrix, which nothing keeps.

    linear: the nn.Linear to take over. levels: "even", or "nf4" for 4 bits. codes: uint8, two in
    a byte of 4 bits; scales: float32, one a block. Its output is that of an nn.Linear with
    `weight`. The backward pass makes the matrix again, and gives gradients to x alone. Source:
    Dettmers 2023 (2305.14314).
    """

    def __init__(self, linear, bits=4, block=64, levels="even"):
        super().__init__()
        if bits not in (4, 8) or levels not in ("even", "nf4") or (bits, levels) == (8, "nf4"):
            raise ValueError(f"bits={bits}, levels={levels!r}: 4 with even or nf4, 8 with even")
        self.bits, self.block, self.levels = bits, block, levels
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, self.bias = linear.weight.detach(), linear.bias
        if self.bias is not None:
            self.bias.requires_grad_(False)
        q, s = quantize(weight, bits, block)
        if levels == "nf4":
            s = s * 7                                   # the largest number itself
            q = nearest(in_blocks(weight.float(), block), s, nf4_levels().to(weight.device))
        if bits == 4:                                   # two neighbours in a byte
            q = (q + 8 if levels == "even" else q).to(torch.uint8)
            q = q[..., ::2] | q[..., 1::2] << 4
            each = nf4_levels() if levels == "nf4" else torch.arange(-8.0, 8.0)
            byte = torch.arange(256)
            pairs = each[torch.stack([byte & 15, byte >> 4], -1)]       # (256, 2): what each means
            self.register_buffer("pairs", pairs.view(torch.int64)[:, 0].to(weight.device),
                                 persistent=False)      # two floats as one number: one look-up
        self.register_buffer("codes", q.view(torch.uint8).contiguous())
        self.register_buffer("scales", s)

    @property
    def weight(self):
        """The matrix that the codes stand for, (d_out, d_in), made anew at each call."""
        if self.bits == 8:
            parts = self.codes.view(torch.int8) * self.scales[..., None]
        else:
            parts = self.pairs.index_select(0, self.codes.flatten().int()).view(torch.float32)
            parts = parts.view(*self.scales.shape, -1).mul_(self.scales[..., None])
        return parts.flatten(1)[:, :self.in_features]

    def forward(self, x):
        """(..., d_in) -> (..., d_out)."""
        return Product.apply(x, self)

    def extra_repr(self):
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bits={self.bits}, block={self.block}, levels={self.levels}")


def nearest(parts, s, levels):
    """The number of the level nearest to each part / s, uint8: parts (d_out, blocks, block)."""
    parts, found = parts / s.where(s > 0, 1)[..., None], torch.zeros_like(parts, dtype=torch.uint8)
    for border in (levels[1:] + levels[:-1]) / 2:       # faster than a search in 15 borders
        found += parts > border
    return found


class Product(torch.autograd.Function):
    """x W^T + b, where W is made for the product and forgotten, in both directions."""

    @staticmethod
    def forward(ctx, x, layer):
        ctx.layer = layer
        return F.linear(x, layer.weight.to(x.dtype),
                        None if layer.bias is None else layer.bias.to(x.dtype))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad @ ctx.layer.weight.to(grad.dtype), None


def quantise_model(model, bits=4, block=64, levels="even", skip=("head",)):
    """Replace every nn.Linear by a QuantisedLinear in place; returns how many.

    skip: ends of names that stay as they are. A matrix that another module holds too, such as a
    head tied to the embedding, stays in any case; LoRA stays, on a quantised base. Each matrix is
    freed as its codes are made.
    """
    held = {}
    for part in model.modules():
        for p in part.parameters(recurse=False):
            held[p] = held.get(p, 0) + 1
    done = 0
    for name, part in list(model.named_modules()):
        above, _, last = name.rpartition(".")
        of_lora = last == "base" and isinstance(model.get_submodule(above), LoRALinear)
        called = f".{above if of_lora else name}"
        if type(part) is nn.Linear and held[part.weight] == 1 and \
                not any(called.endswith(f".{end}") for end in skip):
            put(model, name, QuantisedLinear(part, bits, block, levels))
            done += 1
    return done


def size_bytes(model):
    """Bytes of a model's parameters and stored buffers; what is shared counts once."""
    kept = {tensor.data_ptr(): tensor for tensor in model.state_dict().values()}
    return sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
