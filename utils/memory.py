"""How much memory a model takes to run and to fine-tune, part by part, before you rent a GPU."""
from dataclasses import dataclass

METHODS = ("inference", "full", "LoRA", "QLoRA")
PRECISIONS = ("float32", "mixed", "bfloat16")
OPTIMISERS = {"AdamW": 2, "SGD with momentum": 1, "SGD": 0}      # numbers kept per weight
GPUS = {"laptop GPU": 8, "T4": 16, "RTX 4090": 24, "A100": 40, "H100": 80, "H200": 141}    # GB
BLOCK = 64                  # weights that share one 16-bit scale in a 4-bit base


@dataclass(frozen=True)
class Shape:
    """A published decoder with SwiGLU and rotary positions; kv: width of its keys and values."""

    vocab_size: int
    d_model: int
    n_layers: int
    d_ff: int
    kv: int
    tied: bool = False

    @property
    def tables(self):
        """Numbers in the embedding, the head and the last norm."""
        return self.vocab_size * self.d_model * (1 if self.tied else 2) + self.d_model

    @property
    def blocks(self):
        """Numbers in all blocks: q, out; k, v; gate, up, down; two norms."""
        d = self.d_model
        return self.n_layers * (2 * d * d + 2 * d * self.kv + 3 * d * self.d_ff + 2 * d)

    @property
    def parameters(self):
        return self.tables + self.blocks

    def adapter(self, r):
        """Numbers that LoRA of rank r adds to q and v of every block."""
        return self.n_layers * r * (2 * self.d_model + self.d_model + self.kv)


# Shapes: Touvron 2023 (2302.13971), table 2; Allal 2025 (2502.02737).
MODELS = {"SmolLM2 135M": Shape(49_152, 576, 30, 1_536, 192, True),
          "LLaMA 7B": Shape(32_000, 4_096, 32, 11_008, 4_096),
          "LLaMA 13B": Shape(32_000, 5_120, 40, 13_824, 5_120),
          "LLaMA 65B": Shape(32_000, 8_192, 80, 22_016, 8_192)}


def activation_numbers(shape):
    """Numbers that one token leaves behind in one block for the backward pass.

    Inputs of the norms, of every map and of the attention: about 9 d + 2 kv + 4 d_ff. A test
    holds it against what autograd keeps. Source of the idea: Korthikanti 2022 (2205.05198).
    """
    return 9 * shape.d_model + 2 * shape.kv + 4 * shape.d_ff


def planned(shape, method="LoRA", precision="mixed", optimiser="AdamW", context=1024, batch=1,
            r=8, checkpointing=False):
    """Gigabytes (10^9 bytes) by part, a dict; its sum is what the GPU must hold at least.

    method: one of METHODS. precision: "float32" (4 bytes everywhere), "mixed" (bfloat16 to
    compute with, a float32 copy and float32 moments of what is trained) or "bfloat16" (2 bytes
    everywhere). QLoRA: blocks in 4 bits with a 16-bit scale per 64, tables in 2 bytes. context,
    batch: tokens a sequence, sequences a step. checkpointing: keep each block's input only and
    compute the rest again (Chen 2016). Left out: fragments, buffers, the CUDA context (about 1).
    """
    for value, allowed in ((method, METHODS), (precision, PRECISIONS), (optimiser, OPTIMISERS)):
        if value not in allowed:
            raise ValueError(f"{value!r} came: choose one of {tuple(allowed)}")
    if min(context, batch, r) < 1:
        raise ValueError(f"context={context}, batch={batch}, r={r}: each must be 1 or more")
    tokens, wide = context * batch, 4 if precision == "float32" else 2      # bytes a number
    if method == "QLoRA":
        weights = shape.blocks * (0.5 + 2 / BLOCK) + shape.tables * 2
    else:
        weights = shape.parameters * wide
    if method == "inference":
        parts = {"weights": weights,
                 "keys and values": 2 * shape.n_layers * shape.kv * tokens * wide}
        return {name: size / 1e9 for name, size in parts.items()}
    trained = shape.parameters if method == "full" else shape.adapter(r)
    moment = 2 if precision == "bfloat16" else 4
    parts = {"weights": weights, "adapter": 0 if method == "full" else trained * wide,
             "gradients": trained * wide, "master copy": trained * 4 * (precision == "mixed"),
             "optimiser": trained * moment * OPTIMISERS[optimiser]}
    a_block = activation_numbers(shape) * tokens * wide
    parts["activations"] = shape.n_layers * shape.d_model * tokens * wide + a_block \
        if checkpointing else shape.n_layers * a_block
    parts["logits"] = 2 * shape.vocab_size * tokens * 4         # and their gradient, in float32
    return {name: size / 1e9 for name, size in parts.items()}


def smallest_gpu(gb):
    """The name of the smallest of GPUS that holds so many GB, or None."""
    return next((name for name, size in GPUS.items() if gb <= size), None)
