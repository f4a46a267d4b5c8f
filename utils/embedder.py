"""Sentences as vectors: MiniLM, an encoder of BERT's kind, in the course's own Transformer."""
from dataclasses import dataclass

import torch

from . import data, machine
from .pretrained import assemble
from .transformer import Config, Transformer

# Where BERT's files keep what a block of this course holds; all have a weight and a bias.
IN_BERT = {"attention.q": "attention.self.query", "attention.k": "attention.self.key",
           "attention.v": "attention.self.value", "attention.out": "attention.output.dense",
           "norm_attention": "attention.output.LayerNorm",
           "feed_forward.up": "intermediate.dense", "feed_forward.down": "output.dense",
           "norm_feed_forward": "output.LayerNorm"}
HEADS, LONGEST = 12, 256                                # as MiniLM was trained: tokens of a text


@dataclass(eq=False, repr=False)
class Embedder:
    """An encoder and its tokenizer, which cuts a text after 256 tokens.

    model: a Transformer of kind "encoder" in eval mode; model.hidden(ids, blocked=..., trace={})
    gives the tokens' vectors and fills the dict as a decoder does.
    """
    model: Transformer
    tokenizer: object

    @torch.inference_mode()
    def embed(self, texts, batch=64):
        """The mean of a text's token vectors, of length 1: list of str -> (n, 384) on the CPU.

        So the product of two rows is their cosine. batch: texts computed together, the short with
        the short; what fills up the shorter ones is neither looked at nor averaged.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        rows = [e.ids for e in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        out = torch.zeros(len(rows), self.model.config.d_model)
        for first in range(0, len(order), batch):
            some = order[first:first + batch]
            out[some] = self.pooled([rows[i] for i in some]).cpu()
        return out

    def pooled(self, rows):
        """Lists of ids -> (B, d_model): means over what is there, scaled to length 1."""
        place = self.model.embedding.weight.device
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True,
                                              padding_value=-1).to(place)              # (B, T)
        absent = ids < 0
        hidden = self.model.hidden(ids, blocked=absent[:, None, None])                 # (B, T, d)
        mean = hidden.masked_fill(absent[..., None], 0).sum(1) / (~absent).sum(1)[:, None]
        return torch.nn.functional.normalize(mean, dim=-1)


def load_minilm(device=None):
    """all-MiniLM-L6-v2 on a device, the best there is unless given: Embedder, float32.

    6 layers, d_model 384, 22.7 million parameters, trained on a billion pairs of texts to bring
    those that belong together close (Reimers and Gurevych 2019, 1908.10084). Raises DataError,
    with the command for repair, when a file is missing or not the pinned one.
    """
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    files = data.minilm_files()
    model = from_bert(load_file(files["model.safetensors"]), HEADS)
    tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return Embedder(model.to(device or machine.device()), tokenizer)


def from_bert(theirs, n_heads):
    """A Transformer from the tensors of a BERT: post-norm, learned positions, everything biased.

    All tokens are of BERT's first type (it marks the second of two texts): that type's vector is
    the same for every token, so it is added to the positions'. Source: Devlin 2019 (1810.04805).
    """
    e = "embeddings."
    vocab_size, d_model = theirs[e + "word_embeddings.weight"].shape
    n_layers = 1 + max(int(name.split(".")[2]) for name in theirs if name.startswith("encoder."))
    config = Config(vocab_size, d_model, n_layers, n_heads,
                    d_ff=len(theirs["encoder.layer.0.intermediate.dense.bias"]),
                    max_len=len(theirs[e + "position_embeddings.weight"]), kind="encoder",
                    norm_first=False, norm_embedding=True, eps=1e-12)
    names = {"norm_embedding": e + "LayerNorm"} | {
        f"encoder.blocks.{i}.{ours}": f"encoder.layer.{i}.{their}"
        for i in range(n_layers) for ours, their in IN_BERT.items()}
    tensors = {f"{ours}.{kind}": theirs[f"{their}.{kind}"]
               for ours, their in names.items() for kind in ("weight", "bias")}
    tensors["embedding.weight"] = theirs[e + "word_embeddings.weight"]
    tensors["position.weight"] = (theirs[e + "position_embeddings.weight"]
                                  + theirs[e + "token_type_embeddings.weight"][0])
    return assemble(config, tensors)
