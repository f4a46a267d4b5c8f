"""The training loop: it watches, stops, saves, and goes on as if nothing had happened."""
import dataclasses
import math
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from . import checkpoints
from .batches import lm_loss
from .machine import device as best_device
from .machine import megabytes, precision
from .optimizers import optimizers, share_of_rate
from .recipe import Diverged, Log, Recipe, TooLarge, Watcher, write_log

__all__ = ["Diverged", "Log", "Recipe", "TooLarge", "Watcher", "fit"]


class Alone:
    """One process on one device. utils.parallel has the same for several."""

    rank, size = 0, 1

    def mean(self, loss):
        return loss

    def wrap(self, model, place):
        return model

    def last_piece_only(self, model, last):
        return nullcontext()


def fit(model, batches, recipe, validate=None, folder=None, watch=None, sample=None,
        loss=lm_loss, device=None, world=None):
    """Train a model in place and return its Log.

    batches: step -> (inputs, targets), the same at every call, sequences first, recipe.batch of
    them; loss: (model, inputs, targets) -> mean over the piece. validate: model -> nats per
    token; sample: model -> text to show. folder: where the run is kept; a run that began there
    with the same recipe goes on at its last checkpoint, to the very numbers it would have had.
    watch: a Watcher, such as utils.monitor.Monitor. Interrupting saves, then raises
    KeyboardInterrupt.
    Raises Diverged, TooLarge (with the batch that fits), CheckpointError.
    """
    run = Run(model, recipe, folder, device or best_device(), world or Alone())
    log, watch = Log(run.begin()), watch or Watcher()
    try:
        while run.step < recipe.steps and log.ended == "done":
            _one_step(run, log, batches, loss, validate, sample, watch)
    finally:
        watch.finished()
    return log


def _one_step(run, log, batches, loss, validate, sample, watch):
    recipe, text = run.recipe, None
    try:
        row = run.advance(batches, loss)
        last = run.step == recipe.steps
        if run.step % recipe.check_every == 0 or last:
            row["val"] = validate(run.inner) if validate else None
            text = sample(run.inner) if sample else None
        log.rows.append(row)
        watch(row, text)
        while watch.paused and not watch.stopped:
            time.sleep(0.05)
    except KeyboardInterrupt:
        run.save(log, "interrupted")
        raise
    if watch.stopped and not last:
        log.ended = "stopped"
    if log.ended == "stopped" or last or run.step % recipe.save_every == 0:
        run.save(log, log.ended)


class Run:
    """One training run: a model, its optimizers, and where they stand."""

    def __init__(self, model, recipe, folder, place, world):
        self.recipe, self.place, self.world = recipe, place, world
        self.folder = Path(folder) if folder else None
        self.inner = model.to(place)
        self.step, self.seconds, self.first_loss, self.recent = 0, 0.0, None, []
        self.torn = False
        self.number = precision(place, recipe.precision)
        self.model = world.wrap(self.inner, place)
        compiled = recipe.compile if recipe.compile is not None else \
            place.type == "cuda" and recipe.steps >= 1000
        if compiled:
            self.model = torch.compile(self.model)
        self.optimizers = optimizers(self.inner, recipe)

    # ---- the step ------------------------------------------------------------------------

    def advance(self, batches, loss):
        """Take one step; returns its row."""
        started = time.perf_counter()
        inputs, targets = batches(self.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share_of_rate(self.step, self.recipe)
            optimizer.zero_grad()
        self.model.train()
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.step) * self.world.size
                          + self.world.rank)                # dropout: by step, as the batch
        try:
            total = self.backward(inputs, targets, loss)
        except RuntimeError as error:
            if _out_of_memory(error):
                raise TooLarge(self.what_fits(inputs, targets, loss)) from None
            raise
        norm = torch.nn.utils.clip_grad_norm_(
            self.inner.parameters(), self.recipe.clip or math.inf)
        total, norm = float(total), float(checkpoints.whole(norm))
        self.must_be_sound(total, norm)
        self.torn = True                                # some weights moved, others not yet
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.torn = False
        took = time.perf_counter() - started
        self.seconds += took
        return {"step": self.step, "loss": total,
                "rate": share_of_rate(self.step - 1, self.recipe) * self.recipe.lr, "norm": norm,
                "tokens_per_second": inputs.numel() / took, "seconds": self.seconds,
                "memory_mb": megabytes(self.place)}

    def backward(self, inputs, targets, loss):
        """Gradients of the mean loss over this process's share of the batch; returns that mean."""
        world, pieces, total = self.world, self.recipe.accumulate, 0.0
        mine = [part[world.rank::world.size].to(self.place, non_blocking=True)
                for part in (inputs, targets)]
        for k, (x, y) in enumerate(zip(*(part.chunk(pieces) for part in mine))):
            with world.last_piece_only(self.model, k == pieces - 1), torch.autocast(
                    self.place.type, torch.bfloat16, enabled=self.number == torch.bfloat16):
                value = loss(self.model, x, y) / pieces
            value.backward()
            total = total + value.detach()
        return world.mean(total)

    def must_be_sound(self, total, norm):
        """Raise Diverged, with the step, the rate and what to try, before the weights are hurt."""
        rate = share_of_rate(self.step, self.recipe)
        rates = " and ".join(f"{name}={value * rate:.2g}" for name, value in (
            ("lr", self.recipe.lr), ("muon_lr", self.recipe.muon_lr)) if value)
        advice = ("Try a third of the learning rate, a longer warm-up"
                  + (", clip=1.0" if not self.recipe.clip else "") + ", or look at the batch of "
                  f"this step{self.kept()}.")
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise Diverged(f"The loss is {total} and the gradient's norm {norm} at step "
                           f"{self.step + 1}, with {rates}. {advice}")
        self.first_loss = self.first_loss or total
        self.recent = [*self.recent, total][-20:]
        mean = sum(self.recent) / len(self.recent)
        if len(self.recent) == 20 and mean > self.first_loss + 1:
            raise Diverged(f"The mean loss of 20 steps is {mean:.2f} at step {self.step + 1}, "
                           f"above the first, {self.first_loss:.2f}, with {rates}. {advice}")

    def kept(self):
        return f"; {self.folder} keeps the run as it was at its last checkpoint" \
            if self.folder and (self.folder / checkpoints.STATE).exists() else ""

    def what_fits(self, inputs, targets, loss):
        """After memory ran out: try ever smaller pieces and say which one went through."""
        whole = len(inputs) // self.recipe.accumulate // self.world.size
        size = whole
        while size > 1:
            size //= 2
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            if self.place.type == "cuda":
                torch.cuda.empty_cache()
            try:
                loss(self.model, inputs[:size].to(self.place),
                     targets[:size].to(self.place)).backward()
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
            else:
                pieces = next(n for n in range(1, len(inputs) + 1) if not len(inputs) % n
                              and len(inputs) // n <= size * self.world.size)
                return (f"A step on {whole} sequences of {inputs.shape[1]} tokens does not fit "
                        f"into the memory of {self.place}; {size} do. Use batch={size}, or "
                        f"accumulate={pieces} to keep the batch of {len(inputs)}.")
        return (f"Not even one sequence of {inputs.shape[1]} tokens fits into the memory of "
                f"{self.place}: use a shorter context or a smaller model.")

    # ---- keeping and going on ------------------------------------------------------------

    def identity(self):
        """What must agree for a run to go on: all but how often it looks and how it computes."""
        settings = dataclasses.asdict(self.recipe) | {"betas": list(self.recipe.betas)}
        free = {"check_every", "save_every", "compile", "precision", "accumulate"}
        return {"recipe": {k: v for k, v in settings.items() if k not in free},
                "parameters": sum(p.numel() for p in self.inner.parameters())}

    def begin(self):
        """Pick up the run in the folder, if there is one; returns the rows it had."""
        found = checkpoints.load_run(self.folder) if self.folder else None
        if found is None:
            return []
        tensors, state = found
        own = self.identity()
        if state["identity"] != own:
            was, now = ({"parameters": i["parameters"]} | i["recipe"]
                        for i in (state["identity"], own))
            apart = [f"{k} was {was.get(k)} and is {v}" for k, v in now.items() if was.get(k) != v]
            raise checkpoints.CheckpointError(
                f"The run in {self.folder} began with other settings: {'; '.join(apart)}. Name "
                "another folder, or delete this one.")
        checkpoints.fill(self.inner, {n.removeprefix("model."): t for n, t in tensors.items()
                                      if n.startswith("model.")}, self.folder)
        checkpoints.fill_optimizers(self.optimizers, self.inner, tensors)
        self.step, self.seconds = state["step"], state["seconds"]
        self.first_loss, self.recent = state["first_loss"], state["recent"]
        return state["rows"]

    def save(self, log, ended):
        """Keep model, optimizers and log; every process must call this.

        Interrupted in the middle of an update there is nothing whole to keep: the last checkpoint
        stays.
        """
        if self.folder is None or self.torn:
            return
        tensors = {f"model.{n}": t for n, t in checkpoints.weights(self.inner).items()} \
            | checkpoints.moments(self.optimizers, self.inner)
        if self.world.rank:
            return
        rows = log.rows
        checkpoints.save_run(self.folder, self.step, tensors, {
            "identity": self.identity(), "seconds": self.seconds, "ended": ended,
            "first_loss": self.first_loss, "recent": self.recent, "rows": rows})
        write_log(self.folder, rows)


def _out_of_memory(error):
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error) \
        or "not enough memory" in str(error)
