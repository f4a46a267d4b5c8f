"""GPT-2 of Hugging Face as a model of this course: the same weights, the same numbers."""
import torch

from .transformer import Config, Transformer


def from_gpt2(theirs):
    """A Transformer in eval mode with the weights of a transformers GPT2LMHeadModel.

    Its logits agree up to rounding. Their maps are stored as (in, out), ours as (out, in), and
    they keep queries, keys and values in one matrix. Source: Radford 2019.
    Raises ValueError for a variant that computes something else than GPT-2.
    """
    c, g = theirs.config, theirs.transformer
    if c.activation_function != "gelu_new" or c.scale_attn_by_inverse_layer_idx:
        raise ValueError("this is a variant of GPT-2: the course's model has its tanh form of GELU "
                         "and one scale for all layers")
    ours = Transformer(Config(c.vocab_size, c.n_embd, c.n_layer, c.n_head, d_ff=c.n_inner,
                              max_len=c.n_positions, activation="gelu_tanh",
                              eps=c.layer_norm_epsilon)).eval()
    stack = ours.decoder
    pairs = [(ours.embedding.weight, g.wte.weight), (ours.position.weight, g.wpe.weight),
             (stack.norm.weight, g.ln_f.weight), (stack.norm.bias, g.ln_f.bias)]
    for block, h in zip(stack.blocks, g.h):
        a, f = block.attention, block.feed_forward
        for part, weight, bias in zip((a.q, a.k, a.v), h.attn.c_attn.weight.chunk(3, 1),
                                      h.attn.c_attn.bias.chunk(3)):
            pairs += [(part.weight, weight.T), (part.bias, bias)]
        for part, conv in ((a.out, h.attn.c_proj), (f.up, h.mlp.c_fc), (f.down, h.mlp.c_proj)):
            pairs += [(part.weight, conv.weight.T), (part.bias, conv.bias)]
        for norm, ln in ((block.norm_attention, h.ln_1), (block.norm_feed_forward, h.ln_2)):
            pairs += [(norm.weight, ln.weight), (norm.bias, ln.bias)]
    with torch.no_grad():
        for mine, their in pairs:
            mine.copy_(their)
    return ours
