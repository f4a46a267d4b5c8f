"""Larger models of LLaMA's shape, by their name on the Hugging Face hub: needs a network once."""
import torch

from . import machine
from .pretrained import Pretrained, assemble, llama_names
from .transformer import Config


class HubError(RuntimeError):
    """A model that cannot be had or cannot be held, why, and what to do."""


def load_hub(name, device=None, dtype=None):
    """A model such as "HuggingFaceTB/SmolLM2-1.7B-Instruct", or of a folder: Pretrained.

    dtype: torch.float32 unless the device is a CUDA GPU (utils.machine.precision). The first call
    fetches the files into the hub's own cache, later ones need no network. Only safetensors is
    read, and no code from the hub is run. Raises HubError without a network, for a name the hub
    does not know, and for a model of another shape.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    device = torch.device(device or machine.device())
    safe = {"trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(name, **safe)
        shape = shape_of(config, name)
        tokenizer = AutoTokenizer.from_pretrained(name, **safe)
        theirs = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype or machine.precision(device), use_safetensors=True, **safe)
    except (OSError, ValueError, ImportError) as error:
        raise HubError(
            f"{name} could not be loaded: {str(error).strip().splitlines()[0]} Check the name at "
            "https://huggingface.co/models and the network, or give the folder of a model that "
            "you have; a model behind a licence needs `hf auth login` first. Without a network "
            "load_smollm2() of utils.pretrained works.") from None
    return from_llama(theirs, shape, tokenizer, device)


def shape_of(config, name="this model"):
    """The Config for a configuration of transformers. Raises HubError where it is no LLaMA."""
    get = vars(config).get
    heads = get("num_attention_heads")
    odd = [what for what, wrong in (
        (f"it is of type {config.model_type!r}", config.model_type != "llama"),
        ("its maps have biases", get("attention_bias") or get("mlp_bias")),
        ("its positions are stretched", (get("rope_parameters") or {}).get("rope_type")
         not in (None, "default")),
        ("its heads do not divide its width", heads and get("head_dim") not in
         (None, config.hidden_size / heads)),
        ("its gate is no SiLU", get("hidden_act") != "silu")) if wrong]
    if odd:
        raise HubError(f"{name} is not of LLaMA's plain shape: {', '.join(odd)}. Choose one such "
                       "as HuggingFaceTB/SmolLM2-360M-Instruct, or use transformers itself.")
    rope = config.rope_parameters["rope_theta"]
    return Config(config.vocab_size, config.hidden_size, config.num_hidden_layers, heads,
                  config.num_key_value_heads, config.intermediate_size,
                  config.max_position_embeddings, position="rotary", norm="rms",
                  activation="swiglu", bias=False, tied=bool(config.tie_word_embeddings),
                  rotary_base=float(rope), eps=config.rms_norm_eps)


def from_llama(theirs, shape, tokenizer, device):
    """A transformers LlamaForCausalLM and its tokenizer as Pretrained; the weights are shared."""
    found = theirs.state_dict()
    model = assemble(shape, {ours: found[name] for ours, name in llama_names(shape).items()})
    ends = theirs.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    first = tokenizer.bos_token or ""
    adds = bool(first) and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id

    def template(messages):
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text.removeprefix(first) if adds else text       # encode puts it there again
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return Pretrained(model.to(device), backend, template,
                      tuple(end for end in ends if end is not None))
