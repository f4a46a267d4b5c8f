"""How a comparison is measured: in turns, by the processor seconds of all threads, medians."""
import datetime
import importlib
import statistics
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from .. import machine

PEERS = ("transformers", "tokenizers", "peft")


class Missing(RuntimeError):
    """What a comparison needs and this machine lacks, in one sentence."""


@dataclass(frozen=True)
class Row:
    """One line of the table. score: what the target is set on, larger is better.

    ours, peer: the two measurements in words, with their unit. unit of the score: "x" (so many
    times less than the peer needs) or "nats". wanted: the least score, None where no target is
    set.
    """

    what: str
    ours: str
    peer: str
    score: float
    wanted: float | None
    unit: str = "x"

    @property
    def met(self):
        return self.wanted is None or self.score >= self.wanted

    def cells(self):
        """The line's texts."""
        wanted = "no target" if self.wanted is None else \
            f"at least {self.wanted:.2f} {self.unit}: {'met' if self.met else 'MISSED'}"
        return self.what, self.ours, self.peer, f"{self.score:.2f} {self.unit}", wanted


@dataclass
class Times:
    """Seconds of each repeat: of all the processor's cores together, and of the clock."""

    cpu: list
    wall: list
    result: object = None

    def __str__(self):
        return (f"{seconds(statistics.median(self.cpu))} CPU, "
                f"{seconds(statistics.median(self.wall))} wall")


def seconds(value):
    """A time in a unit that suits it."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


class Clock:
    """Adds up processor and clock seconds of what runs inside it: `with clock:`, often."""

    def __init__(self):
        self.cpu = self.wall = 0.0

    def __enter__(self):
        self.began = time.process_time(), time.perf_counter()

    def __exit__(self, *error):
        cpu, wall = self.began
        self.cpu += time.process_time() - cpu           # of every thread of this process
        self.wall += time.perf_counter() - wall


def in_turns(sides, repeats, warm_up=True):
    """Run each side `repeats` times, in turns, every second turn backwards; {name: Times}.

    sides: {name: function}. Whatever else the machine does then slows all of them alike.
    """
    if warm_up:
        for function in sides.values():
            function()
    times = {name: Times([], []) for name in sides}
    for turn in range(repeats):
        order = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        for name in order:
            clock = Clock()
            with clock:
                times[name].result = sides[name]()
            times[name].cpu.append(clock.cpu)
            times[name].wall.append(clock.wall)
    return times


def times_less(ours, peer):
    """How many times less processor time ours took: the median over turns of peer / ours."""
    return statistics.median(p / o for o, p in zip(ours.cpu, peer.cpu))


def compare(what, ours, peer, wanted, repeats):
    """A Row of two functions whose results must be equal: (ours, peer) measured in turns."""
    times = in_turns({"ours": ours, "peer": peer}, repeats)
    if times["ours"].result != times["peer"].result:
        raise AssertionError(f"{what}: the two results differ, so their times say nothing")
    return Row(what, str(times["ours"]), str(times["peer"]),
               times_less(times["ours"], times["peer"]), wanted)


def peer_library(name):
    """A library that only the benchmark needs. Raises Missing with the command that gets it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Missing(f"it compares with {name}, which is not installed; get it by "
                      f"`{sys.executable} -m pip install {name}`.") from None


def heading():
    """When, on what machine, with which versions and how many threads: one paragraph."""
    import torch
    parts = [f"{what} {value}" for what, value in machine.describe()]
    for name in PEERS:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"no {name}")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (f"Benchmark of {today}: {', '.join(parts)}, threads {torch.get_num_threads()}. CPU "
            "seconds count all threads; sides run in turns; medians.")


def table(rows):
    """The rows as one Markdown table."""
    lines = [("what", "ours", "peer", "ratio", "wanted"), ("---",) * 5, *(r.cells() for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def exit_code(rows):
    """0 when every target was met, else 1."""
    return 0 if all(row.met for row in rows) else 1
