"""LoRA on disk, in the format of the library peft: what one of the two writes, both read."""
import json
import math
from pathlib import Path

import torch
from safetensors.torch import save as save_bytes

from .checkpoints import CheckpointError, read
from .lora import LoRALinear, is_map, lora_layers, put, remove_lora
from .pretrained import IN_LLAMA
from .store import write
from .transformer import Transformer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
# What peft can do and this course's LoRALinear does not: (setting, the value that means "not so").
BEYOND = (("use_dora", False), ("bias", "none"), ("modules_to_save", None), ("lora_bias", False),
          ("fan_in_fan_out", False), ("target_parameters", None),
          ("trainable_token_indices", None))
SAMPLE = 32             # numbers of a base's matrix that are kept to know it again
ALIKE = 0.8             # their correlation with another base's: 4-bit rounding leaves 0.99


def peft_names(model):
    """{name in the model: name that peft writes} of all its linear maps."""
    maps = [n for n, part in model.named_modules() if is_map(part) or isinstance(part, LoRALinear)]
    maps = [n for n in maps if not n.endswith(".base")]
    if not isinstance(model, Transformer):
        return {name: name for name in maps}
    names = {}
    for name in maps:
        place, _, last = name.partition(".blocks.")
        layer, _, rest = last.partition(".")
        names[name] = "lm_head" if name == "head" else \
            f"model.layers.{layer}.{IN_LLAMA[rest]}" \
            if place == "decoder" and rest in IN_LLAMA else name
    return names


def targets(names, chosen):
    """peft's target_modules: last parts where these choose exactly the maps, else whole names."""
    short = {name.rpartition(".")[2] for name in chosen}
    by_end = {name for name in names if name.rpartition(".")[2] in short}
    return sorted(short if by_end == set(chosen) else chosen)


def sample(part):
    """A few numbers of a map's matrix, spread evenly: (SAMPLE,) float32."""
    flat = getattr(part, "base", part).weight.detach().flatten()
    return flat[torch.linspace(0, len(flat) - 1, SAMPLE).long().to(flat.device)].float().cpu()


def save(model, folder):
    """Write a model's LoRA into a folder, as two files that peft reads too.

    adapter_config.json tells rank, alpha and where; adapter_model.safetensors holds A and B, and
    a few numbers of the base's matrices, by which `load` knows the base again. Neither is ever
    half written. A Transformer's maps get the names of the same maps in transformers' LLaMA.
    Returns the bytes of the two files. Raises ValueError where there is no LoRA.
    """
    layers, names = lora_layers(model), peft_names(model)
    if not layers:
        raise ValueError("this model has no LoRA to save: add_lora(model, names) first")
    shapes = {(part.r, part.alpha) for part in layers.values()}
    r, alpha = next(iter(layers.values())).r, next(iter(layers.values())).alpha
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": None,
              "r": r, "lora_alpha": alpha, "lora_dropout": 0.0, "bias": "none",
              "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True,
              "target_modules": targets(names.values(), [names[name] for name in layers])}
    if len(shapes) > 1:
        config |= {"rank_pattern": {names[n]: part.r for n, part in layers.items()},
                   "alpha_pattern": {names[n]: part.alpha for n, part in layers.items()}}
    tensors = {f"{PREFIX}{names[name]}.lora_{letter}.weight":
               getattr(part, letter).detach().cpu().contiguous()
               for name, part in layers.items() for letter in "AB"}
    told = {"format": "pt", "lora": json.dumps([r, alpha]), "base": json.dumps(
        {names[name]: [round(v, 6) for v in sample(layers[name]).tolist()]
         for name in {min(layers), max(layers)}})}
    contents = {WEIGHTS: save_bytes(tensors, told),
                CONFIG: json.dumps(config, indent=2).encode()}
    for name, content in contents.items():
        write(Path(folder) / name, content)
    return sum(map(len, contents.values()))


def load(model, folder):
    """Put the adapter in a folder on a model, in place of any LoRA there; returns how many maps.

    Reads what `save` or peft wrote. As after add_lora, A and B are trainable and all else frozen.
    Raises CheckpointError, before the model changes, when a file is missing, damaged, of
    something else, or of a base with other maps, shapes or numbers.
    """
    folder = Path(folder)
    config, (tensors, told) = read_config(folder / CONFIG), read(folder / WEIGHTS)
    if "lora" in told and json.loads(told["lora"]) != [config["r"], config["lora_alpha"]]:
        raise CheckpointError(f"{folder}: its two files are of different adapters.")
    theirs, made = {peft: name for name, peft in peft_names(model).items()}, {}
    maps = dict.fromkeys(_map_of(key, folder) for key in tensors)
    if strange := [peft for peft in maps if peft not in theirs]:
        raise CheckpointError(f"{folder} is for another model: this one has no linear map "
                              f"{strange[0]}.")
    for peft, name in theirs.items():                   # as they stand in the model
        if peft in maps:
            part = model.get_submodule(name)
            made[name] = _layer(getattr(part, "base", part), peft, tensors, config, folder)
    _same_base(model, told, theirs, folder)
    remove_lora(model).requires_grad_(False)
    for name, part in made.items():
        put(model, name, part)
        part.A.requires_grad_(), part.B.requires_grad_()
    return len(made)


def read_config(path):
    """adapter_config.json as a dict. Raises CheckpointError for what is no plain LoRA."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = config["peft_type"]
        int(config["r"]), float(config["lora_alpha"])
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there: an adapter is a folder with {CONFIG} and "
                              f"{WEIGHTS}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} describes no adapter ({error!r}).") from None
    if kind != "LORA":
        raise CheckpointError(f"{path} is of the kind {kind}, and LORA is needed.")
    for name, plain in BEYOND:
        if config.get(name, plain) not in (plain, None, [], {}):
            raise CheckpointError(f"{path} says {name}={config[name]!r}, which this course's "
                                  "LoRALinear cannot do: use peft for it.")
    return config


def _map_of(key, folder):
    """The map's name in a tensor's name."""
    for letter in "AB":
        end = f".lora_{letter}.weight"
        if key.startswith(PREFIX) and key.endswith(end):
            return key.removeprefix(PREFIX).removesuffix(end)
    raise CheckpointError(f"{folder / WEIGHTS} holds {key}, which is no tensor of LoRA.")


def _layer(base, peft, tensors, config, folder):
    """A LoRALinear on a base with the file's A and B."""
    A, B = (tensors.get(f"{PREFIX}{peft}.lora_{letter}.weight") for letter in "AB")
    if A is None or B is None:
        raise CheckpointError(f"{folder / WEIGHTS} lacks half of {peft}: A and B are needed.")
    r = _pattern(config.get("rank_pattern"), peft, config["r"])
    wanted = [(r, base.in_features), (base.out_features, r)]
    if [tuple(A.shape), tuple(B.shape)] != wanted:
        raise CheckpointError(
            f"{folder} does not fit {peft}: A {tuple(A.shape)} and B {tuple(B.shape)} came, and "
            f"rank {r} on this model needs {wanted[0]} and {wanted[1]}.")
    alpha = _pattern(config.get("alpha_pattern"), peft, config["lora_alpha"])
    if config.get("use_rslora"):                        # alpha / sqrt(r), Kalajdzievski 2023
        alpha = alpha * math.sqrt(r)
    part = LoRALinear(base, r, alpha)
    with torch.no_grad():
        part.A.copy_(A), part.B.copy_(B)
    return part


def _pattern(pattern, name, usual):
    """The value of the first key in peft's pattern that is the name's end, else the usual one."""
    return next((value for key, value in (pattern or {}).items()
                 if f".{name}".endswith(f".{key}")), usual)


def _same_base(model, told, theirs, folder):
    """Raise CheckpointError when the file's notes speak of a base with other numbers."""
    for peft, numbers in json.loads(told.get("base", "{}")).items():
        pair = torch.stack([torch.tensor(numbers), sample(model.get_submodule(theirs[peft]))])
        if float(torch.corrcoef(pair)[0, 1]) < ALIKE:
            raise CheckpointError(f"{folder} was trained on another base: {peft} holds other "
                                  "numbers there.")
