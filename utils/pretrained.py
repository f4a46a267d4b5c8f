"""A language model that others trained, read into the course's own Transformer of lecture 06."""
import warnings
from dataclasses import dataclass

import torch
from torch.overrides import TorchFunctionMode

from . import data, machine
from .generate import generate
from .gguf import GGUF
from .transformer import Config, Transformer

# Where llama.cpp and Hugging Face keep what a block of this course holds.
IN_GGUF = {"norm_attention": "attn_norm", "attention.q": "attn_q", "attention.k": "attn_k",
           "attention.v": "attn_v", "attention.out": "attn_output",
           "norm_feed_forward": "ffn_norm", "feed_forward.gate": "ffn_gate",
           "feed_forward.up": "ffn_up", "feed_forward.down": "ffn_down"}
IN_LLAMA = {"norm_attention": "input_layernorm", "attention.q": "self_attn.q_proj",
            "attention.k": "self_attn.k_proj", "attention.v": "self_attn.v_proj",
            "attention.out": "self_attn.o_proj", "norm_feed_forward": "post_attention_layernorm",
            "feed_forward.gate": "mlp.gate_proj", "feed_forward.up": "mlp.up_proj",
            "feed_forward.down": "mlp.down_proj"}
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@dataclass(eq=False, repr=False)
class Pretrained:
    """A model with the tokenizer it was trained with.

    model: a decoder Transformer in eval mode; model(ids, trace={}) fills the dict with the hidden
    states and the attention weights of every block. tokenizer: of the package tokenizers.
    template: messages -> the text of a chat; stop: ids at which an answer ends.
    """
    model: Transformer
    tokenizer: object
    template: object
    stop: tuple

    def encode(self, text):
        """The ids of a text: list of int. A marker such as <|im_end|> becomes its own id.

        A character for whose bytes there are no tokens is left out: SmolLM2 lacks those of six
        control characters (4, 6, 13, 14, 16 and 1d) and of U+40000 to U+BFFFF, all unassigned.
        """
        return self.tokenizer.encode(text).ids

    def decode(self, ids):
        """The text of ids (list or 1-d tensor), with its markers; half a character is U+FFFD."""
        return self.tokenizer.decode(_list(ids), skip_special_tokens=False)

    def pieces(self, ids):
        """Each token as the text that it stands for: list of str."""
        return [self.decode([i]) for i in _list(ids)]

    def chat(self, question, system=None):
        """The text of a chat that waits for the model's answer, ready for encode.

        question: a text, or a list of {"role": "system", "user" or "assistant", "content": text}.
        system: the instruction that comes first; without one the template writes its own.
        """
        messages = [{"role": "user", "content": question}] if isinstance(question, str) \
            else list(question)
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        return self.template(messages)

    def write(self, prompts, max_new=40, temperature=0, seed=0, batch=16, **how):
        """What the model writes after a prompt, up to its stop: a text, or a list for a list.

        prompts: one text or several, batch of them at a time; prompt i draws with seed + i.
        how: what utils.generate.generate takes besides, such as top_p or on_token.
        """
        if isinstance(prompts, str):
            return self.write([prompts], max_new, temperature, seed, batch, **how)[0]
        texts, how = [], {"stop": self.stop} | how
        for first in range(0, len(prompts), batch):
            rows = generate(self.model, [self.encode(p) for p in prompts[first:first + batch]],
                            max_new, temperature, seed=seed + first, **how)
            texts += [self.decode(row[:-1] if row and row[-1] in self.stop else row)
                      for row in rows]
        return texts


def _list(ids):
    return ids.tolist() if hasattr(ids, "tolist") else list(ids)


def load_smollm2(device=None):
    """SmolLM2-135M-Instruct on a device, the best there is unless given: Pretrained, float32.

    30 layers, d_model 576, 134.5 million parameters, trained on 2 trillion tokens; the file holds
    its maps in 4 bits. Source: Allal et al. 2025 (2502.02737). Raises DataError, with the command
    for repair, when the file is missing or not the pinned one.
    """
    file = GGUF(data.smollm2_gguf())
    config = _config(file.facts)
    model = assemble(config, _weights(file, config)).to(device or machine.device())
    stop = [file.facts["tokenizer.ggml.tokens"].index(s) for s in ("<|im_end|>", "<|endoftext|>")]
    return Pretrained(model, _tokenizer(file.facts), chatml, tuple(stop))


def _config(facts):
    """The Config of a LLaMA whose facts a GGUF file states."""
    f = {key.removeprefix("llama."): value for key, value in facts.items()}
    return Config(len(facts["tokenizer.ggml.tokens"]), f["embedding_length"], f["block_count"],
                  f["attention.head_count"], f["attention.head_count_kv"],
                  f["feed_forward_length"], f["context_length"], position="rotary", norm="rms",
                  activation="swiglu", bias=False, rotary_base=f["rope.freq_base"],
                  eps=f["attention.layer_norm_rms_epsilon"])


def _weights(file, config):
    """The tensors of a GGUF file under the course's names, float32.

    llama.cpp turns the neighbours (x[2i], x[2i + 1]) by their position, this course and Hugging
    Face (x[i], x[i + d/2]): the rows of queries and keys change places.
    """
    found = {"embedding": "token_embd", "decoder.norm": "output_norm"} | {
        f"decoder.blocks.{i}.{ours}": f"blk.{i}.{theirs}"
        for i in range(config.n_layers) for ours, theirs in IN_GGUF.items()}
    tensors = {}
    for ours, theirs in found.items():
        w = torch.from_numpy(file.tensor(theirs + ".weight"))
        if ours.endswith(("attention.q", "attention.k")):
            w = w.view(-1, config.d_head // 2, 2, w.shape[1]).transpose(1, 2).reshape(w.shape)
        tensors[ours + ".weight"] = w
    return tensors


class Unfilled(TorchFunctionMode):
    """While this is active, torch.nn.init leaves tensors as they are: loaded ones need no start."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def assemble(config, tensors):
    """A Transformer in eval mode that owns the given tensors; no number is drawn at random.

    tensors: dict of name -> tensor, without the head where it is tied to the embedding.
    """
    with Unfilled():
        model = Transformer(config)
    tied = {"head.weight": tensors["embedding.weight"]} if config.tied else {}
    model.load_state_dict(tensors | tied, assign=True)
    if config.tied:
        model.head.weight = model.embedding.weight
    return model.requires_grad_().eval()


def _tokenizer(facts):
    """Byte pair encoding from a file's tokens and merges; digits stand alone, as in SmolLM2."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in facts["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    control = 3                                         # the kind of a marker in token_type
    tokenizer.add_special_tokens([
        AddedToken(token, normalized=False, special=True)
        for token, kind in zip(tokens, facts["tokenizer.ggml.token_type"]) if kind == control])
    return tokenizer


def chatml(messages):
    """Messages {"role", "content"} as SmolLM2 reads a chat, up to where its answer begins."""
    if messages and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": SYSTEM}, *messages]
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n"
                   for m in messages) + "<|im_start|>assistant\n"


def llama_names(config):
    """The course's name of every weight -> that of Hugging Face's LLaMA: dict of str."""
    names = {"embedding": "model.embed_tokens", "decoder.norm": "model.norm"}
    if not config.tied:
        names["head"] = "lm_head"
    names |= {f"decoder.blocks.{i}.{ours}": f"model.layers.{i}.{theirs}"
              for i in range(config.n_layers) for ours, theirs in IN_LLAMA.items()}
    return {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in names.items()}


def smollm2_transformers(device=None):
    """The same weights as transformers has them: (LlamaForCausalLM in eval mode, tokenizer)."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import logging
    file = GGUF(data.smollm2_gguf())
    c, facts = _config(file.facts), file.facts
    tensors, names = _weights(file, c), llama_names(c)
    special = {f"{name}_token_id": facts[f"tokenizer.ggml.{fact}_token_id"] for name, fact in
               (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))}
    config = LlamaConfig(
        vocab_size=c.vocab_size, hidden_size=c.d_model, intermediate_size=c.d_ff,
        num_hidden_layers=c.n_layers, num_attention_heads=c.n_heads,
        num_key_value_heads=c.n_kv_heads, max_position_embeddings=c.max_len, rms_norm_eps=c.eps,
        rope_parameters={"rope_type": "default", "rope_theta": c.rotary_base},
        tie_word_embeddings=True, **special)
    # peft 0.21 asks a model of transformers 5 by an old name, and says so at each call
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()                      # 0.1 s of it, printed as an error
    theirs = LlamaForCausalLM.from_pretrained(
        None, config=config, state_dict={names[ours]: w for ours, w in tensors.items()})
    if shown:
        logging.enable_progress_bar()
    words = {name.removesuffix("_id"): facts["tokenizer.ggml.tokens"][i]
             for name, i in special.items()}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(facts), padding_side="left",
        chat_template=facts["tokenizer.chat_template"], **words)
    return theirs.to(device or machine.device()).eval(), tokenizer
