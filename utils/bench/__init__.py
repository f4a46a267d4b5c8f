"""The course's code against its peers, measured: `python3 -m utils bench [names] [--repeats N]`."""
import os

from .. import environment
from ..installer import Trouble
from .engine import Missing, exit_code, heading, table

NAMES = ("train", "generate", "bpe", "lora", "gpu")


def asked(words):
    """(names, repeats) from the words of the command; repeats is None when it was not given."""
    words, repeats = list(words), None
    if "--repeats" in words:
        at = words.index("--repeats")
        number = words[at + 1] if at + 1 < len(words) else ""
        if not number.isdecimal() or int(number) < 1:
            raise Trouble(f"`--repeats` needs a number of 1 or more, and {number!r} came.")
        repeats = int(number)
        del words[at:at + 2]
    if unknown := [word for word in words if word not in NAMES]:
        raise Trouble(f"`bench` knows {', '.join(NAMES)}, and {', '.join(unknown)!r} came.")
    return words or NAMES, repeats


def main(words):
    """Measure what the words name, print one Markdown table; 1 when a target was missed."""
    names, repeats = asked(words)
    import importlib

    import torch
    torch.set_num_threads(int((environment.THREADS | os.environ)["OMP_NUM_THREADS"]))
    print(heading(), flush=True)
    rows = []
    for name in names:
        try:
            module = importlib.import_module(f".{name}", __name__)
            rows += module.rows(repeats or module.REPEATS)
        except Missing as missing:
            print(f"{name} was not measured: {missing}", flush=True)
    if rows:
        print("\n" + table(rows), flush=True)
    return exit_code(rows)
