"""Text from the same weights: the course's `generate` against Hugging Face's."""
import torch

from ..generate import generate
from ..gpt2 import from_gpt2
from .engine import compare, peer_library

REPEATS = 9
SIZES = ((4, 128, 4, 2.0), (6, 384, 6, 1.3))            # layers, d_model, heads, wanted


def pair(n_layers, d_model, n_heads, max_len=256, vocab_size=65):
    """(ours, theirs): two models with the same random weights."""
    transformers = peer_library("transformers")
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=vocab_size, n_positions=max_len, n_embd=d_model, n_layer=n_layers,
        n_head=n_heads, initializer_range=0.1, bos_token_id=None, eos_token_id=None)).eval()
    return from_gpt2(theirs), theirs


def one_size(n_layers, d_model, n_heads, wanted, repeats, max_len=256, new=200):
    """The row of one size: greedy, one text, keys and values kept by both; equal text or error."""
    ours, theirs = pair(n_layers, d_model, n_heads, max_len)
    prompt = list(range(1, 9))
    ids = torch.tensor([prompt])

    def peer():
        return theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new,
                               do_sample=False, pad_token_id=0)[0, len(prompt):].tolist()
    return compare(f"{new} tokens, {n_layers} layers of {d_model}, against transformers",
                   lambda: generate(ours, [prompt], new, temperature=0)[0], peer, wanted, repeats)


def rows(repeats):
    return [one_size(*size, repeats) for size in SIZES]
