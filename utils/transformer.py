"""One Transformer block, from which GPT, BERT, Llama, T5's form and Whisper are all built."""
import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .attention import attention

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "relu2": lambda x: F.relu(x).square(),
               "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}
CHOICES = {"kind": ("decoder", "encoder", "encoder-decoder"),
           "position": ("learned", "sinusoidal", "rotary", "none"),
           "norm": ("layer", "rms", "none"), "activation": (*ACTIVATIONS, "swiglu")}


@dataclass(frozen=True)
class Config:
    """The shape of a Transformer; every field is a decision that some published model made.

    kind: what looks at what (decoder: only back; encoder: everywhere; or both with
    cross-attention, n_layers each). n_kv_heads < n_heads: grouped-query attention (Ainslie 2023).
    d_ff: width of the feed-forward part, 4 d_model unless given. norm_first: pre-norm (Xiong
    2020), else post-norm as in 2017. qk_norm: RMS norm of queries and keys (Henry 2020).
    hashed: rows of the table of hashed n-grams, 0 for none. skip: residual connections.
    """

    vocab_size: int
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int | None = None
    d_ff: int | None = None
    max_len: int = 256
    kind: str = "decoder"
    position: str = "learned"
    norm: str = "layer"
    norm_first: bool = True
    norm_embedding: bool = False
    activation: str = "gelu"
    bias: bool = True
    dropout: float = 0.0
    tied: bool = True
    scale_embedding: bool = False
    qk_norm: bool = False
    rotary_base: float = 10_000.0
    eps: float = 1e-5
    hashed: int = 0
    skip: bool = True

    def __post_init__(self):
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {allowed}")
        for name in ("vocab_size", "d_model", "n_layers", "n_heads", "max_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: 1 or more is needed")
        if self.d_model % self.n_heads or self.n_heads % self.kv_heads:
            raise ValueError(f"d_model={self.d_model}, n_heads={self.n_heads}, n_kv_heads="
                             f"{self.kv_heads}: each must be a multiple of the next")
        if self.position == "rotary" and self.d_head % 2:
            raise ValueError(f"rotary positions turn pairs, and d_head={self.d_head} is odd")

    @property
    def d_head(self):
        return self.d_model // self.n_heads

    @property
    def kv_heads(self):
        return self.n_kv_heads or self.n_heads

    @property
    def width(self):
        return self.d_ff or 4 * self.d_model

    def json(self):
        """All fields as a dict, to be stored beside the weights: Config(**dict) is the way back."""
        return asdict(self)


def sinusoidal(T, d):
    """Positions of Vaswani 2017, (T, d): column 2i is sin(t / 10000^(2i/d)), 2i + 1 its cosine."""
    angle = torch.arange(T)[:, None] / 10_000 ** (torch.arange(0, d, 2) / d)     # (T, d/2)
    return torch.stack([angle.sin(), angle.cos()], -1).reshape(T, -1)[:, :d]


def turns(T, d, base=10_000.0):
    """Angles of rotary positions (Su 2021): cosine and sine, each (T, d/2)."""
    angle = torch.arange(T)[:, None] * base ** (-torch.arange(0, d, 2) / d)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Turn the pair (x[i], x[i + d/2]) of every head by its position: x (..., T, d) -> same."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def make_norm(c):
    """The norm that the configuration names, over the last axis."""
    return {"layer": lambda: nn.LayerNorm(c.d_model, c.eps, bias=c.bias),
            "rms": lambda: nn.RMSNorm(c.d_model, c.eps), "none": nn.Identity}[c.norm]()


class Cache:
    """Keys and values of the tokens read so far, so that none is computed twice.

    Holds (B, n_kv_heads, size, d_head) twice for each layer; length: tokens read so far. Source:
    the memory whose cost Shazeer 2019 (1911.02150) counts.
    """

    def __init__(self, config, B, size, device=None, dtype=None):
        shape = (B, config.kv_heads, size, config.d_head)
        self.keys, self.values = ([torch.empty(shape, device=device, dtype=dtype)
                                   for _ in range(config.n_layers)] for _ in range(2))
        self.length, self.size = 0, size
        self.memory, self.joined, self.ids = {}, {}, None

    def extend(self, layer, k, v):
        """Append k, v (B, n_kv_heads, T, d_head) of a layer; returns all of that layer's."""
        T = k.shape[2]
        end = self.length + T
        if end > self.size:
            raise ValueError(f"the cache holds {self.size} tokens, and token {end} came")
        keys, values = self.keys[layer], self.values[layer]
        keys.narrow(2, self.length, T).copy_(k)         # narrow: slices cost Python's time
        values.narrow(2, self.length, T).copy_(v)
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def picked(self, config, rows, more):
        """A cache of these rows of this one, any of them several times, with room for more tokens.

        rows: list or tensor of row numbers.
        """
        first = self.keys[0]
        rows = torch.as_tensor(rows, device=first.device)
        out = Cache(config, len(rows), self.length + more, first.device, first.dtype)
        for mine, theirs in zip(out.keys + out.values, self.keys + self.values):
            mine[:, :, :self.length] = theirs[rows, :, :self.length]
        out.length = self.length
        out.ids = None if self.ids is None else self.ids[rows]
        return out


def join(*parts):
    """Weights and biases of linear maps below each other: one product instead of several.

    None where a part is no plain nn.Linear, such as one that LoRA stands in for.
    """
    if not all(type(part) is nn.Linear for part in parts):
        return None
    return (torch.cat([part.weight for part in parts]),
            None if parts[0].bias is None else torch.cat([part.bias for part in parts]))


class Attention(nn.Module):
    """Attention of lecture 05 with heads side by side; grouped keys, rotary, cache on demand."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        inner, shared = c.n_heads * c.d_head, c.kv_heads * c.d_head
        self.q = nn.Linear(c.d_model, inner, c.bias)
        self.k = nn.Linear(c.d_model, shared, c.bias)
        self.v = nn.Linear(c.d_model, shared, c.bias)
        self.out = nn.Linear(inner, c.d_model, c.bias)

    def split(self, x):
        """(B, T, heads * d_head) -> (B, heads, T, d_head)."""
        B, T, _ = x.shape
        return x.view(B, T, -1, self.c.d_head).transpose(1, 2)

    def project(self, x, source, cache, layer):
        """Queries of x, keys and values of x or of source, each (B, heads, T, d_head)."""
        if cache is not None and source is None:
            if layer not in cache.joined:
                cache.joined[layer] = join(self.q, self.k, self.v)
            if cache.joined[layer] is not None:
                heads = self.split(F.linear(x, *cache.joined[layer]))
                return heads.split_with_sizes(
                    (self.c.n_heads, self.c.kv_heads, self.c.kv_heads), 1)
        y = x if source is None else source
        return self.split(self.q(x)), self.split(self.k(y)), self.split(self.v(y))

    def forward(self, x, source=None, causal=False, blocked=None, turn=None, cache=None,
                layer=0, trace=None):
        """x (B, T, d_model) looks at itself, or at source (B, S, d_model); -> (B, T, d_model).

        blocked: bool, broadcast to (B, n_heads, T, S), True where a query may not look. turn: the
        cosines and sines of x's positions. trace: a list that gets the weights.
        """
        B, T, _ = x.shape
        if source is not None and cache is not None and layer in cache.memory:
            q, (k, v) = self.split(self.q(x)), cache.memory[layer]      # once for the encoder
        else:
            q, k, v = self.project(x, source, cache, layer)
            if self.c.qk_norm:
                k = F.rms_norm(k, k.shape[-1:])
            if turn is not None:
                k = rotate(k, *turn)
            if cache is not None and source is None:
                k, v = cache.extend(layer, k, v)
            elif cache is not None:
                cache.memory[layer] = k, v
        if self.c.qk_norm:
            q = F.rms_norm(q, q.shape[-1:])
        if turn is not None:
            q = rotate(q, *turn)
        if trace is not None:
            groups = self.c.n_heads // self.c.kv_heads
            if causal and blocked is None:
                blocked = torch.ones(T, k.shape[2], dtype=torch.bool, device=x.device).triu(
                    1 + k.shape[2] - T)
            z, weights = attention(q, k.repeat_interleave(groups, 1),
                                   v.repeat_interleave(groups, 1), blocked)
            trace.append(weights)
        else:
            z = F.scaled_dot_product_attention(
                q, k, v, None if blocked is None else ~blocked,
                is_causal=causal and blocked is None and T > 1,
                enable_gqa=self.c.kv_heads < self.c.n_heads)
        return self.out(z.transpose(1, 2).reshape(B, T, -1))


class FeedForward(nn.Module):
    """Two linear maps with a bend between, the same at every position; (..., d_model) -> same."""

    def __init__(self, c):
        super().__init__()
        self.bend = ACTIVATIONS.get(c.activation)
        self.gate = nn.Linear(c.d_model, c.width, c.bias) if c.activation == "swiglu" else None
        self.up = nn.Linear(c.d_model, c.width, c.bias)
        self.down = nn.Linear(c.width, c.d_model, c.bias)

    def forward(self, x):
        if self.gate is not None:                       # SwiGLU, Shazeer 2020 (2002.05202)
            return self.down(F.silu(self.gate(x)) * self.up(x))
        return self.down(self.bend(self.up(x)))


class Block(nn.Module):
    """Mix positions by attention, then think at each position; every part may be left out."""

    def __init__(self, c, cross=False):
        super().__init__()
        self.c = c
        self.attention, self.norm_attention = Attention(c), make_norm(c)
        self.cross = Attention(c) if cross else None
        self.norm_cross = make_norm(c) if cross else None
        self.feed_forward, self.norm_feed_forward = FeedForward(c), make_norm(c)
        self.dropout = nn.Dropout(c.dropout)

    def add(self, x, norm, part, **how):
        """x plus what the part makes of it, normed before (2020) or after (2017)."""
        inside = part(norm(x) if self.c.norm_first else x, **how)
        if self.training:
            inside = self.dropout(inside)
        total = x + inside if self.c.skip else inside
        return total if self.c.norm_first else norm(total)

    def forward(self, x, memory=None, memory_blocked=None, trace=None, **how):
        x = self.add(x, self.norm_attention, self.attention, trace=trace, **how)
        if self.cross is not None:
            x = self.add(x, self.norm_cross, self.cross, source=memory, blocked=memory_blocked,
                         cache=how.get("cache"), layer=how.get("layer", 0))
        return self.add(x, self.norm_feed_forward, self.feed_forward)


class Stack(nn.Module):
    """Blocks on top of each other: an encoder, or a decoder with or without a memory to look at."""

    def __init__(self, c, causal, cross=False):
        super().__init__()
        self.causal = causal
        self.blocks = nn.ModuleList(Block(c, cross) for _ in range(c.n_layers))
        self.norm = make_norm(c) if c.norm_first else nn.Identity()

    def forward(self, x, trace=None, **how):
        """x (B, T, d_model) -> (B, T, d_model); trace: a dict that gets hidden and weights."""
        weights = None if trace is None else trace.setdefault("weights", [])
        for layer, block in enumerate(self.blocks):
            if trace is not None:
                trace.setdefault("hidden", []).append(x)
            x = block(x, causal=self.causal, layer=layer, trace=weights, **how)
        return self.norm(x)


class Hashed(nn.Module):
    """A vector for each pair, triple and quadruple of tokens, found by a hash: (B, T) -> (B, T, d).

    What an n-gram model of lecture 01 counts, as an embedding; different n-grams may share a row.
    Source: hash embeddings, Svenstrup 2017 (1709.03933).
    """

    ORDERS = (2, 3, 4)

    def __init__(self, rows, d):
        super().__init__()
        self.table = nn.Embedding(rows, d)

    def forward(self, ids, before=None):
        """before: (B, n) ids already read, when ids goes on where they ended."""
        past = ids if before is None else torch.cat([before, ids], 1)
        total, code = 0, past
        for n in range(1, max(self.ORDERS)):
            code = code * 1_000_003 + F.pad(past, (n, 0), value=-1)[:, :past.shape[1]] + 1
            total = total + self.table((code ^ code >> 15) % self.table.num_embeddings)
        return total[:, -ids.shape[1]:]


class Transformer(nn.Module):
    """Ids (B, T) -> logits (B, T, vocab_size), whatever the configuration says lies between."""

    def __init__(self, config):
        super().__init__()
        self.config = c = config
        self.embedding = nn.Embedding(c.vocab_size, c.d_model)
        self.hashed = Hashed(c.hashed, c.d_model) if c.hashed else None
        self.position = nn.Embedding(c.max_len, c.d_model) if c.position == "learned" else None
        self.norm_embedding = make_norm(c) if c.norm_embedding else None
        self.dropout = nn.Dropout(c.dropout)
        self.encoder = Stack(c, causal=False) if c.kind != "decoder" else None
        self.decoder = None if c.kind == "encoder" else Stack(
            c, causal=True, cross=c.kind == "encoder-decoder")
        self.head = nn.Linear(c.d_model, c.vocab_size, bias=False)
        if c.position == "sinusoidal":
            self.register_buffer("waves", sinusoidal(c.max_len, c.d_model), persistent=False)
        if c.position == "rotary":
            for name, table in zip(("cos", "sin"), turns(c.max_len, c.d_head, c.rotary_base)):
                self.register_buffer(name, table, persistent=False)
        self.apply(self.start)
        for name, weight in self.named_parameters():    # Radford 2019: many sums, smaller terms
            if name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * c.n_layers))
        if c.tied:
            self.head.weight = self.embedding.weight

    @staticmethod
    def start(module):
        """GPT-2's start: small random weights, no bias."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)

    def embed(self, ids, positions, before=None):
        """Token, place and, where there is such a table, recent n-grams: (B, T, d_model)."""
        c = self.config
        x = self.embedding(ids.clamp(min=0))
        if c.scale_embedding:
            x = x * math.sqrt(c.d_model)
        if self.hashed is not None:
            x = x + self.hashed(ids, before)
        if c.position == "learned":
            x = x + self.position(positions)
        elif c.position == "sinusoidal":
            x = x + self.waves[positions]
        if self.norm_embedding is not None:
            x = self.norm_embedding(x)
        return self.dropout(x) if self.training else x

    def forward(self, ids, **how):
        """ids (B, T) -> logits (B, T, vocab_size); how: what `hidden` takes."""
        return self.head(self.hidden(ids, **how))

    def hidden(self, ids, memory=None, blocked=None, memory_blocked=None, cache=None, pad=None,
               trace=None):
        """ids (B, T) -> what the head reads, (B, T, d_model).

        memory: (B, S, d_model) from `encode`, for an encoder-decoder. blocked: bool, True where a
        query may not look, broadcast to (B, n_heads, T, S); it replaces the mask of the kind.
        cache: a Cache, to go on where the last call ended. pad (B,): so many first ids of a row,
        of all that were read, are -1 and count as absent. trace: a dict that gets "hidden" (the
        input of each block) and "weights" (B, n_heads, T, S) of each block.
        """
        c, T = self.config, ids.shape[1]
        first = cache.length if cache is not None else 0
        if first + T > c.max_len:
            raise ValueError(f"{first + T} tokens, and this model was built for {c.max_len}: "
                             "give it the last ones, or a larger max_len")
        positions = torch.arange(first, first + T, device=ids.device)           # (T,)
        if pad is not None:
            blocked = self.unseen(first, T, pad)
            positions = (positions - pad[:, None]).clamp(min=0)                 # (B, T)
        elif first and T > 1 and blocked is None:
            blocked = self.unseen(first, T, positions.new_zeros(1))
        turn = None
        if c.position == "rotary":
            turn = [table[positions] if pad is None else table[positions][:, None]
                    for table in (self.cos, self.sin)]
        before = None if cache is None else cache.ids
        x = self.embed(ids, positions, before)
        if c.kind == "encoder":
            return self.encoder(x, trace, blocked=blocked, turn=turn)
        x = self.decoder(x, trace, memory=memory, memory_blocked=memory_blocked, blocked=blocked,
                         turn=turn, cache=cache)
        if cache is not None:
            cache.length = first + T
            if self.hashed is not None:
                cache.ids = (ids if before is None else torch.cat([before, ids], 1))[:, -3:]
        return x

    def encode(self, ids, blocked=None, trace=None):
        """ids (B, S) -> memory (B, S, d_model) for the decoder to look at."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        turn = (self.cos[positions], self.sin[positions]) \
            if self.config.position == "rotary" else None
        return self.encoder(self.embed(ids, positions), trace, blocked=blocked, turn=turn)

    @staticmethod
    def unseen(first, T, pad):
        """What tokens first .. first + T - 1 may not see: later ones and padding, (B, 1, T, S)."""
        keys = torch.arange(first + T, device=pad.device)                               # (S,)
        queries = torch.arange(first, first + T, device=pad.device)[:, None]            # (T, 1)
        padding = (keys < pad[:, None, None]) & (keys != queries)       # a row sees itself at least
        return ((keys > queries) | padding)[:, None]

    def n_parameters(self):
        """How many numbers training may change; shared ones count once."""
        return sum(p.numel() for p in self.parameters())
