"""A character GPT by the course's recipe against nanoGPT's settings for a processor."""
import dataclasses
import statistics
from pathlib import Path

import torch

from ..batches import Batches, Characters, held_out, lm_loss
from ..train import load_text, read
from ..training import Alone, Recipe, Run
from ..transformer import Config, Transformer
from .engine import Clock, Row, in_turns, seconds

REPEATS = 1                                             # about 10 minutes each
FILE = Path(__file__).parent.parent / "recipes" / "char_gpt_cpu.toml"
# The command for a processor in https://github.com/karpathy/nanoGPT (README) and, where it says
# nothing, config/train_shakespeare_char.py and train.py.
PEER_MODEL = {"d_model": 128, "n_layers": 4, "n_heads": 4, "max_len": 64, "bias": False}
PEER = Recipe(steps=2000, batch=12, context=64, lr=1e-3, weight_decay=0.1, betas=(0.9, 0.99),
              warmup=100, decay="cosine", final=0.1, clip=1.0)
SLICES, LOOKS = 20, 5           # runs move in turns, a slice each; the last slices are looked at


class Training:
    """One run that moves a slice at a time; its processor time is that of its steps alone."""

    def __init__(self, shape, recipe, learn, vocab_size):
        torch.manual_seed(recipe.seed)
        model = Transformer(Config(vocab_size, **shape))
        self.run = Run(model, recipe, None, torch.device("cpu"), Alone())
        self.batches = Batches(learn, recipe.context, recipe.batch, recipe.seed)
        self.recipe, self.clock = recipe, Clock()

    def advance(self, steps):
        with self.clock:
            for _ in range(steps):
                self.run.advance(self.batches, lm_loss)

    def to(self, part):
        """Go on until this share of the steps is done."""
        self.advance(round(part * self.recipe.steps) - self.run.step)

    def loss(self, held):
        """Nats per character on every window of the held-out text; its time does not count."""
        return held_out(self.run.inner, held, self.recipe.context, most=len(held))


def cost_of_a_step(sides, steps=10, repeats=5):
    """Median processor seconds of a step of each kind of training, measured in turns."""
    runs = {name: Training(*side) for name, side in sides.items()}
    times = in_turns({name: lambda run=run: run.advance(steps) for name, run in runs.items()},
                     repeats)
    return {name: statistics.median(time.cpu) / steps for name, time in times.items()}


def race(shape, recipe, peer_shape, peer, text, share=0.24):
    """(seconds until ours is as good, its step, peer's seconds, peer's loss, our loss at the end).

    Three runs in turns: the peer's; ours with as many steps as take the peer's processor time;
    ours with `share` of them, its schedule ending there. The first is None where the short run
    never is as good. The first 90 % of text are learnt, the rest is held out.
    """
    vocabulary = Characters(text)
    ids = torch.tensor(vocabulary.encode(text))
    learn, held = ids[:round(0.9 * len(ids))], ids[round(0.9 * len(ids)):]
    V = len(vocabulary)
    cost = cost_of_a_step({"ours": (shape, recipe, learn, V), "peer": (peer_shape, peer, learn, V)})
    whole = round(peer.steps * cost["peer"] / cost["ours"])
    long, short = (Training(shape, dataclasses.replace(recipe, steps=steps), learn, V)
                   for steps in (whole, max(1, round(share * whole))))
    theirs = Training(peer_shape, peer, learn, V)
    looks = []                                          # (seconds, step, loss) of the short run
    for part in range(1, SLICES + 1):
        for run in (theirs, long, short):
            run.to(part / SLICES)
        if part > SLICES - LOOKS:
            looks.append((short.clock.cpu, short.run.step, short.loss(held)))
    wanted = theirs.loss(held)
    reached = next(((cpu, step) for cpu, step, loss in looks if loss <= wanted), (None, None))
    return {"until": reached[0], "step": reached[1], "short": looks[-1], "peer": theirs.clock.cpu,
            "peer_loss": wanted, "loss": long.loss(held), "cpu": long.clock.cpu,
            "steps": long.recipe.steps}


def in_words(found, peer_steps):
    """The two rows of one race."""
    cpu, step, loss = found["short"]
    score = found["peer"] / found["until"] if found["until"] else 0.0
    ours = f"{seconds(found['until'])} CPU, step {found['step']} of {step}" if score else \
        f"not reached: {loss:.3f} after {seconds(cpu)} CPU"
    theirs = f"{seconds(found['peer'])} CPU, {peer_steps} steps"
    better = found["peer_loss"] - found["loss"]
    return [Row(f"character GPT to {found['peer_loss']:.3f} nats a character, rebuilt tiny "
                "Shakespeare, nanoGPT's settings as peer", ours, theirs, score, 4.0),
            Row("the same, validation loss at equal CPU seconds",
                f"{found['loss']:.3f} nats, {seconds(found['cpu'])} CPU, {found['steps']} steps",
                f"{found['peer_loss']:.3f} nats, {theirs}", better, 0.25, "nats")]


def rows(repeats):
    """The rows of the race whose gain is the median of `repeats` races, each with its own seed."""
    settings = read(FILE)
    recipe, text = Recipe(**settings["recipe"]), load_text(settings["data"]["text"])
    races = []
    for seed in range(recipe.seed, recipe.seed + repeats):
        races.append(race(settings["model"], dataclasses.replace(recipe, seed=seed), PEER_MODEL,
                          dataclasses.replace(PEER, seed=seed), text))
    races.sort(key=lambda found: found["peer_loss"] - found["loss"])
    return in_words(races[(len(races) - 1) // 2], PEER.steps)
