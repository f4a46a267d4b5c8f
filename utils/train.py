"""Training outside a notebook: `python3 -m utils.train CONFIG`, or by torchrun on many devices."""
import argparse
import dataclasses
import sys
import time
import tomllib
from pathlib import Path

import torch

from . import checkpoints, data
from .batches import Batches, Characters, held_out, lm_loss
from .machine import device, precision
from .parallel import processes
from .training import Diverged, Recipe, TooLarge, Watcher, fit
from .transformer import Config, Transformer

TABLES = {"data": {"text", "held_out"}, "run": {"folder", "shard", "export"},
          "model": {f.name for f in dataclasses.fields(Config)} - {"vocab_size"},
          "recipe": {f.name for f in dataclasses.fields(Recipe)}}


class ConfigError(ValueError):
    """What is wrong in a configuration file, and what it may say."""


def read(path):
    """The tables of a configuration file, with every name checked; missing ones are empty."""
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}.") from None
    for table, known in TABLES.items():
        unknown = set(found.setdefault(table, {})) - known
        if unknown:
            raise ConfigError(f"{path}: [{table}] has no {', '.join(sorted(unknown))}; it knows "
                              f"{', '.join(sorted(known))}.")
    if unknown := set(found) - set(TABLES):
        raise ConfigError(f"{path}: unknown table {', '.join(sorted(unknown))}; known are "
                          f"{', '.join(TABLES)}.")
    if "steps" not in found["recipe"]:
        raise ConfigError(f"{path}: [recipe] must say how many steps.")
    return found


def load_text(name):
    """The text to learn from: "tiny shakespeare" (rebuilt) or the path of a UTF-8 file."""
    if name == "tiny shakespeare":
        return data.rebuilt_tiny_shakespeare()
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The text {name!r} cannot be read: {error}. It is the path of a UTF-8 "
                          'file, or "tiny shakespeare".') from None


class Setup:
    """What a configuration file describes: vocabulary, data, model and recipe, all built."""

    def __init__(self, settings):
        text = load_text(settings["data"].get("text", "tiny shakespeare"))
        self.vocabulary = Characters(text)
        ids = torch.tensor(self.vocabulary.encode(text))
        cut = round(len(ids) * (1 - settings["data"].get("held_out", 0.1)))
        self.learn, self.rest = ids[:cut], ids[cut:]
        self.recipe = Recipe(**settings["recipe"])
        self.config = Config(len(self.vocabulary), **(
            {"max_len": self.recipe.context} | settings["model"]))
        self.batches = Batches(self.learn, self.recipe.context, self.recipe.batch,
                               self.recipe.seed)
        torch.manual_seed(self.recipe.seed)
        self.model = Transformer(self.config)


class Printer(Watcher):
    """Says once in a while how far the training is."""

    def __init__(self, steps, every=10.0):
        self.steps, self.every, self.said = steps, every, 0.0

    def __call__(self, row, text=None):
        if row.get("val") is None and time.monotonic() - self.said < self.every:
            return
        self.said = time.monotonic()
        left = row["seconds"] / row["step"] * (self.steps - row["step"])
        val = "" if row.get("val") is None else f", validation {row['val']:.4f}"
        print(f"step {row['step']} of {self.steps}: loss {row['loss']:.4f}{val} nats per token, "
              f"{row['tokens_per_second']:,.0f} tokens/s, {row['memory_mb']:,.0f} MB, about "
              f"{left / 60:.0f} min left", flush=True)


def flops_per_token(model, context):
    """Floating-point operations to train on one token: 6 a weight that multiplies, and attention.

    Source: Chowdhery 2022 (PaLM, 2204.02311), appendix B.
    """
    c = model.config
    looked_up = sum(m.weight.numel() for m in (model.embedding, model.position,
                                               model.hashed and model.hashed.table) if m)
    weights = model.n_parameters() - looked_up + c.vocab_size * c.d_model      # and the head
    return 6 * weights + 12 * c.n_layers * c.d_model * context


def plan(setup, devices, shard, tflops=None):
    """Lines about a run that has not been started: parameters, memory, operations, hours.

    tflops: what one device sustains; measured here on a small piece when it is None.
    """
    model, r, c = setup.model, setup.recipe, setup.config
    place = device()
    n, tokens = model.n_parameters(), r.steps * r.batch * r.context
    bytes_each = 4 if precision(place, r.precision) == torch.float32 else 2
    state = n * (4 + 4 + 8)                             # weights, gradients, two moments: float32
    at_once = r.batch // r.accumulate // devices * r.context
    kept = at_once * (17 * bytes_each * c.d_model * c.n_layers + 2 * 4 * c.vocab_size)
    memory = (state / (devices if shard else 1) + kept) / 1e9
    operations = flops_per_token(model, r.context) * tokens
    source = "as given"
    if tflops is None:
        tflops, source = measured_tflops(setup, place), f"measured now on {place}"
    hours = operations / (tflops * 1e12 * devices) / 3600
    return [f"parameters         {n:,}",
            f"tokens             {tokens:,} in {r.steps:,} steps of {r.batch} x {r.context}",
            f"memory per device  {memory:.2f} GB: {state / 1e9:.2f} of weights, gradients and "
            f"moments{' shared by all' if shard else ''}, {kept / 1e9:.2f} of activations",
            f"operations         {operations:.3g} floating-point operations",
            f"expected           {hours:.2f} hours on {devices} device"
            f"{'s' * (devices > 1)} at {tflops:.3g} Tflop/s each ({source})"]


def measured_tflops(setup, place):
    """What this device sustains on one piece of the batch, in 10^12 operations a second."""
    r, model = setup.recipe, setup.model.to(place)
    inputs, targets = (part[:max(1, r.batch // r.accumulate)].to(place)
                       for part in setup.batches(0))
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        with torch.autocast(place.type, torch.bfloat16,
                            enabled=precision(place, r.precision) == torch.bfloat16):
            value = lm_loss(model, inputs, targets)
        value.backward()
        value.item()
        seconds.append(time.perf_counter() - started)
    model.zero_grad()
    return flops_per_token(model, r.context) * inputs.numel() / min(seconds) / 1e12


def main(words):
    """Train as a configuration file says; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m utils.train", description="Train a character model as a TOML file says; "
        "run again, it goes on. On N devices: torchrun --nproc-per-node=N -m utils.train CONFIG")
    parser.add_argument("config", type=Path)
    parser.add_argument("--dry-run", action="store_true",
                        help="print parameters, memory, operations and hours, and end")
    parser.add_argument("--devices", type=int, default=1, help="for --dry-run: how many")
    parser.add_argument("--tflops", type=float,
                        help="for --dry-run: what one device sustains (an H100 about 400 in "
                        "bfloat16); measured here when not given")
    asked = parser.parse_args(words)
    try:
        settings = read(asked.config)
        setup = Setup(settings)
        if asked.dry_run:
            print("\n".join(plan(setup, asked.devices, settings["run"].get("shard", False),
                                 asked.tflops)))
            return 0
        return train(settings, setup, asked.config)
    except (ConfigError, Diverged, TooLarge, checkpoints.CheckpointError, data.DataError,
            ValueError, TypeError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped and saved. Run the same command again: it goes on from here.",
              file=sys.stderr)
        return 130


def train(settings, setup, path):
    """Train, keep the run in its folder, export the model; returns the exit code."""
    recipe, run = setup.recipe, settings["run"]
    folder = run.get("folder", f"runs/{path.stem}")
    with processes(run.get("shard", False)) as (world, place):
        if world is not None and recipe.batch % (world.size * recipe.accumulate):
            raise ConfigError(f"batch={recipe.batch} cannot be shared equally by {world.size} "
                              f"processes in {recipe.accumulate} pieces.")
        if world is not None and world.shard and recipe.muon_lr:
            raise ConfigError("Muon needs whole matrices, and shard = true cuts them: leave one.")
        alone = world is None or world.rank == 0
        log = fit(setup.model, setup.batches, recipe, folder=folder, device=place, world=world,
                  validate=lambda m: held_out(m, setup.rest, recipe.context),
                  watch=Printer(recipe.steps) if alone else None)
        if alone:
            print(f"Done in {log.seconds / 60:.1f} min: validation {log.val:.4f} nats per "
                  f"token. The run is in {folder}.")
            if "export" in run and world is not None and world.shard:
                print(f"Each process holds a part of the model: to write {run['export']}, run "
                      f"`python3 -m utils.train {path}` once, without torchrun.")
            elif "export" in run:
                setup.model.half()
                checkpoints.save_model(run["export"], setup.model.cpu(), val=f"{log.val:.4f}",
                                       symbols="".join(setup.vocabulary.symbols),
                                       made_by=f"python3 -m utils.train {path.as_posix()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
