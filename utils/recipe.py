"""What a training run is told and what it tells: recipe, log, watcher, and what can go wrong."""
import csv
import io
from dataclasses import dataclass
from pathlib import Path

from .store import write


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a model is trained, apart from the model and its data.

    steps: updates; batch: sequences an update, over all devices; accumulate: pieces that a batch
    is cut into to fit in memory; muon_lr: rate of the blocks' matrices under Muon, AdamW for all
    without; decay: "cosine", "linear" (the last `cooldown` share of the steps) or "constant",
    down to `final` of the peak; clip: largest gradient norm; precision: "float32", "bfloat16" or
    what suits the device; compile: by torch.compile, or where it pays; check_every and save_every:
    steps between two looks at the validation loss, between two checkpoints.
    """

    steps: int
    batch: int = 12
    context: int = 64
    lr: float = 1e-3
    muon_lr: float | None = None
    muon_decay: float = 0.0
    muon_rounds: int = 5
    hashed_lr: float | None = None
    weight_decay: float = 0.1
    betas: tuple = (0.9, 0.99)
    warmup: int = 100
    decay: str = "cosine"
    cooldown: float = 0.5
    final: float = 0.1
    clip: float | None = 1.0
    accumulate: int = 1
    precision: str | None = None
    compile: bool | None = None
    check_every: int = 250
    save_every: int = 250
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch", "context", "lr", "accumulate", "check_every", "save_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: more than 0 is needed")
        if self.batch % self.accumulate:
            raise ValueError(f"batch={self.batch} cannot be cut into {self.accumulate} equal "
                             "pieces")
        if self.decay not in ("cosine", "linear", "constant"):
            raise ValueError(f"decay={self.decay!r}: choose cosine, linear or constant")
        object.__setattr__(self, "betas", tuple(self.betas))


class Diverged(RuntimeError):
    """The loss became nan or rose above where it began."""


class TooLarge(RuntimeError):
    """A step does not fit into memory; the text says what would."""


@dataclass
class Log:
    """What happened: rows (one a step), and why it ended: "done", "stopped" or "interrupted".

    A row has step, loss, rate, norm (of the gradient before clipping), tokens_per_second, seconds
    and, where it was looked at, val, all losses in nats per token.
    """

    rows: list
    ended: str = "done"

    def column(self, name):
        """The values of one column, and the steps they belong to."""
        found = [(row["step"], row[name]) for row in self.rows if row.get(name) is not None]
        return [value for _, value in found], [step for step, _ in found]

    @property
    def val(self):
        """The last validation loss, in nats per token."""
        return self.column("val")[0][-1]

    @property
    def seconds(self):
        """Seconds of training, without the validation and without pauses."""
        return self.rows[-1]["seconds"]


class Watcher:
    """What fit tells: each row as it comes, with a sample's text where one was made, and the end.

    Setting `paused` makes fit wait, setting `stopped` makes it save and end.
    """

    paused = stopped = False

    def __call__(self, row, text=None):
        """Look at a row of the Log."""

    def finished(self):
        """The run has ended, however it did."""


def write_log(folder, rows):
    """log.csv beside the checkpoint, one row a step, for any other tool."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]) + ["val"] * ("val" not in rows[0]), restval="",
                           lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write(Path(folder) / "log.csv", text.getvalue().encode())
