"""Twenty published language models, 2017 to 2024: shape, size, tokens, and who says so."""
from dataclasses import dataclass

T, B, M = 10 ** 12, 10 ** 9, 10 ** 6


@dataclass(frozen=True)
class Model:
    """A model as its paper describes it.

    n_layers: of the decoder, or of the encoder alone in BERT; an encoder-decoder has as many in
    each. stated: parameters by the paper. tokens: seen in training (epochs count again), None
    where no source says. positions: rows of a learned table. gated: three maps in the
    feed-forward part (SwiGLU) and not two. extra: matrices of d_model^2 in a layer besides.
    source: arXiv number, or the report.
    """

    name: str
    year: int
    kind: str
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    vocab_size: int
    stated: float
    tokens: float | None
    source: str
    n_kv_heads: int | None = None
    d_head: int | None = None
    positions: int = 0
    tied: bool = True
    bias: bool = True
    gated: bool = False
    extra: int = 0

    @property
    def layers(self):
        """All layers: twice n_layers in an encoder-decoder."""
        return self.n_layers * (2 if self.kind == "encoder-decoder" else 1)


BOTH, ENCODER, DECODER = "encoder-decoder", "encoder", "decoder"
LLAMA = {"tied": False, "bias": False, "gated": True}
MODELS = (
    Model("Transformer base", 2017, BOTH, 6, 512, 2048, 8, 37_000, 65 * M, 5 * B, "1706.03762"),
    Model("Transformer big", 2017, BOTH, 6, 1024, 4096, 16, 37_000, 213 * M, 15 * B,
          "1706.03762"),
    Model("GPT", 2018, DECODER, 12, 768, 3072, 12, 40_478, 117 * M, None,
          "Radford 2018; size: Radford 2019, table 2", positions=512),
    Model("BERT large", 2018, ENCODER, 24, 1024, 4096, 16, 30_522, 340 * M, 128 * B,
          "1810.04805", positions=514),
    Model("GPT-2 XL", 2019, DECODER, 48, 1600, 6400, 25, 50_257, 1542 * M, None,
          "Radford 2019, table 2", positions=1024),
    Model("Megatron-LM", 2019, DECODER, 72, 3072, 12_288, 32, 51_200, 8.3 * B, None, "1909.08053",
          positions=1024),
    Model("T5-11B", 2019, BOTH, 24, 1024, 65_536, 128, 32_128, 11 * B, T, "1910.10683",
          d_head=128, bias=False),
    Model("GPT-3", 2020, DECODER, 96, 12_288, 49_152, 96, 50_257, 175 * B, 300 * B, "2005.14165",
          positions=2048),
    Model("Gopher", 2021, DECODER, 80, 16_384, 65_536, 128, 32_000, 280 * B, 300 * B,
          "2112.11446", extra=1),
    Model("MT-NLG", 2021, DECODER, 105, 20_480, 81_920, 128, 50_257, 530 * B, 270 * B,
          "2201.11990", positions=2048),
    Model("Chinchilla", 2022, DECODER, 80, 8192, 32_768, 64, 32_000, 70 * B, 1.4 * T,
          "2203.15556", extra=1),
    Model("PaLM", 2022, DECODER, 118, 18_432, 73_728, 48, 256_000, 540 * B, 780 * B, "2204.02311",
          n_kv_heads=1, d_head=256, bias=False, gated=True),
    Model("BLOOM", 2022, DECODER, 70, 14_336, 57_344, 112, 250_880, 176 * B, 366 * B,
          "2211.05100"),
    Model("LLaMA 7B", 2023, DECODER, 32, 4096, 11_008, 32, 32_000, 6.7 * B, T, "2302.13971",
          **LLAMA),
    Model("LLaMA 65B", 2023, DECODER, 80, 8192, 22_016, 64, 32_000, 65.2 * B, 1.4 * T,
          "2302.13971", **LLAMA),
    Model("Llama 2 70B", 2023, DECODER, 80, 8192, 28_672, 64, 32_000, 70 * B, 2 * T,
          "2307.09288", n_kv_heads=8, **LLAMA),
    Model("Mistral 7B", 2023, DECODER, 32, 4096, 14_336, 32, 32_000, 7 * B, None, "2310.06825",
          n_kv_heads=8, **LLAMA),
    Model("Llama 3 8B", 2024, DECODER, 32, 4096, 14_336, 32, 128_256, 8 * B, 15 * T,
          "2407.21783", n_kv_heads=8, **LLAMA),
    Model("Llama 3 405B", 2024, DECODER, 126, 16_384, 53_248, 128, 128_256, 405 * B, 15.6 * T,
          "2407.21783", n_kv_heads=8, **LLAMA),
    Model("SmolLM2 135M", 2024, DECODER, 30, 576, 1536, 9, 49_152, 135 * M, 2 * T, "2502.02737",
          n_kv_heads=3, bias=False, gated=True),
)


def parts(model):
    """Parameters by part, a dict: tables, attention, cross-attention, feed-forward, norms.

    Left out: what a task adds on top (BERT's pooling), relative position tables of a few hundred
    numbers. Norms are counted with a weight and, in models with biases, a bias.
    """
    d, L = model.d_model, model.layers
    d_head = model.d_head or d // model.n_heads
    inner = model.n_heads * d_head
    shared = (model.n_kv_heads or model.n_heads) * d_head
    attention = 2 * d * inner + 2 * d * shared + model.bias * (inner + 2 * shared + d)
    maps = 3 if model.gated else 2
    feed_forward = maps * d * model.d_ff + model.bias * ((maps - 1) * model.d_ff + d)
    crossed = model.n_layers if model.kind == BOTH else 0
    tables = (model.vocab_size * (1 if model.tied else 2) + model.positions) * d
    return {"tables": tables, "attention": L * (attention + model.extra * d * d),
            "cross-attention": crossed * attention, "feed-forward": L * feed_forward,
            "norms": (2 * L + crossed + 1) * d * (1 + model.bias)}


def count(model):
    """Parameters by formula, from the shape alone."""
    return sum(parts(model).values())


def rough(model):
    """12 L d_model^2: four square maps of attention and eight of the feed-forward part."""
    return 12 * model.layers * model.d_model ** 2


def why(model):
    """What 12 L d_model^2 does not know about this model: a few words, "" if nothing."""
    total, found = count(model), parts(model)
    d, reasons = model.d_model, []
    if found["tables"] > 0.04 * total:
        reasons.append(f"tables are {found['tables'] / total:.0%}")
    if found["cross-attention"]:
        reasons.append("cross-attention")
    if model.d_head and model.n_heads * model.d_head > d:
        reasons.append(f"heads {model.n_heads * model.d_head // d} x wider than d_model")
    if model.n_kv_heads:
        reasons.append(f"{model.n_heads // model.n_kv_heads} heads share keys and values")
    maps = (3 if model.gated else 2) * model.d_ff / d           # in squares of d_model
    if abs(maps - 8) > 0.2:
        reasons.append(f"feed-forward part {maps:.0f} d^2, not 8 d^2")
    if model.extra:
        reasons.append("a map for relative positions")
    return "; ".join(reasons)


def find(name):
    """The Model of that name. Raises KeyError with the names there are."""
    by = {model.name: model for model in MODELS}
    if name not in by:
        raise KeyError(f"no model {name!r}: there are {', '.join(by)}")
    return by[name]
