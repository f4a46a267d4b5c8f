"""A training run on disk: weights as safetensors, where it stands as JSON, never half written."""
import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes

from .store import write

STATE = "state.json"


class CheckpointError(RuntimeError):
    """A file of a run or a model that cannot be used, why, and what to do."""


def weights(model):
    """The model's tensors by name, on the processor; a shared one once, a sharded one whole."""
    kept = {name for name, _ in model.named_parameters()} | {n for n, _ in model.named_buffers()}
    return {name: whole(tensor) for name, tensor in model.state_dict().items() if name in kept}


def whole(tensor):
    """A tensor gathered from all devices, on the processor, contiguous."""
    tensor = tensor.detach()
    if hasattr(tensor, "full_tensor"):                  # FSDP: every process must call this
        tensor = tensor.full_tensor()
    return tensor.cpu().contiguous()


def into(target, source):
    """Copy a whole tensor into a model's, which may be sharded or on another device."""
    with torch.no_grad():
        if hasattr(target, "device_mesh"):
            from torch.distributed.tensor import distribute_tensor
            source = distribute_tensor(source.to(target.device), target.device_mesh,
                                       target.placements)
        target.copy_(source)


def save_model(path, model, **notes):
    """Write a Transformer's weights, its configuration and notes (texts) into one file."""
    told = {"config": json.dumps(model.config.json())} | {k: str(v) for k, v in notes.items()}
    write(Path(path), save_bytes(weights(model), told))


def load_model(path, device="cpu", dtype=torch.float32):
    """(model in eval mode, notes) from a file that save_model wrote.

    Raises CheckpointError when the file is missing, damaged or of something else.
    """
    from .transformer import Config, Transformer
    tensors, notes = read(path)
    try:
        model = Transformer(Config(**json.loads(notes.pop("config"))))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds no model of this course ({error}). Make it again, or "
                              "name another file.") from None
    fill(model, tensors, path)
    return model.to(device, dtype).eval(), notes


def fill(model, tensors, path):
    """Copy tensors into a model by name. Raises CheckpointError where names or shapes differ."""
    own = model.state_dict()
    expected = set(weights(model))
    wrong = sorted(expected ^ set(tensors)) or sorted(
        name for name in expected if own[name].shape != tensors[name].shape)
    if wrong:
        raise CheckpointError(f"{path} is of another model: {', '.join(wrong[:3])} "
                              f"{'differs' if len(wrong) == 1 else 'differ'} in name or shape.")
    for name, tensor in tensors.items():
        into(own[name], tensor)


def moments(optimizers, model):
    """What the optimizers remember, as tensors "optimizer.NUMBER.PARAMETER.MOMENT"."""
    names = {p: name for name, p in model.named_parameters()}
    return {f"optimizer.{k}.{names[p]}.{moment}": whole(value)
            for k, optimizer in enumerate(optimizers)
            for p, kept in optimizer.state.items() for moment, value in kept.items()}


def fill_optimizers(optimizers, model, tensors):
    """Give fresh optimizers what `moments` kept."""
    parameters = dict(model.named_parameters())
    for key in tensors:
        if not key.startswith("optimizer."):
            continue
        k, name, moment = re.fullmatch(r"optimizer\.(\d+)\.(.+)\.(\w+)", key).groups()
        p = parameters[name]
        kept = optimizers[int(k)].state[p]
        if moment == "step":                            # a single number, not one per weight
            kept[moment] = tensors[key]
        else:
            kept[moment] = torch.zeros_like(p)
            into(kept[moment], tensors[key])


def read(path):
    """(tensors, notes) of a safetensors file, checked for being whole.

    Tensors come by name, in every process in the same order: the library's own changes from call
    to call, and processes that share a model must hand out its tensors in step.
    """
    try:
        content = Path(path).read_bytes()
        tensors = dict(sorted(load_bytes(content).items()))
        header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there.") from None
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it; what made it can make it "
                              "again.") from None
    return tensors, header.get("__metadata__", {})


def save_run(folder, step, tensors, state):
    """Keep a run at a step: the tensors first, then the small file that points at them.

    Killed anywhere in between, the folder still holds the run as it was before.
    """
    folder = Path(folder)
    name = f"step-{step:07}.safetensors"
    write(folder / name, save_bytes(tensors))
    write(folder / STATE, json.dumps({"step": step, "tensors": name} | state, indent=1).encode())
    for old in folder.glob("step-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def load_run(folder):
    """(tensors, state) of the run in a folder, or None when none began there."""
    path = Path(folder) / STATE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return read(Path(folder) / state["tensors"])[0], state
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, CheckpointError) as error:
        raise CheckpointError(f"The run in {folder} cannot go on: {error} Delete the folder to "
                              "start again.") from None
