"""Several processes give what one gives; the command says what is wrong."""
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils import checkpoints, train
from utils.batches import held_out
from utils.generate import generate
from utils.training import Watcher, fit

ROOT = Path(__file__).parents[1]
CONFIG = """
[data]
text = "{text}"
held_out = 0.2
[model]
d_model = 16
n_layers = 2
n_heads = 2
position = "rotary"
hashed = 30
[recipe]
steps = 8
batch = 8
context = 16
warmup = 2
check_every = 4
save_every = 4
{recipe}
[run]
folder = "{folder}"
{run}
"""


class Until(Watcher):
    """Stops a training at a step, as the button does."""

    def __init__(self, step):
        self.step = step

    def __call__(self, row, text=None):
        self.stopped = row["step"] == self.step


@pytest.fixture
def config(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("One cat ate a tuna, one cat ate a chicken. " * 30, encoding="utf-8")

    def write(name, recipe="", run=""):
        path = tmp_path / f"{name}.toml"
        path.write_text(CONFIG.format(text=text.as_posix(), recipe=recipe, run=run,
                                      folder=(tmp_path / name).as_posix()), encoding="utf-8")
        return path
    return write


def losses(folder):
    rows = list(csv.DictReader((folder / "log.csv").open()))
    return [float(row["loss"]) for row in rows], [float(row["val"]) for row in rows if row["val"]]


def must_agree(one, two):
    """The runs in two folders have the same losses, and the same tensors at their end."""
    for a, b in zip(losses(one), losses(two)):
        assert len(a) == len(b) > 1
        assert max(abs(x - y) for x, y in zip(a, b)) < 1e-4
    first, second = (checkpoints.load_run(folder)[0] for folder in (one, two))
    assert first.keys() == second.keys()
    assert max((first[k] - second[k]).abs().max().item() for k in first) < 1e-3


def two_processes(path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--nnodes=1",
         "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "-m", "utils.train", str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="gloo over the loopback device `lo`")
@pytest.mark.parametrize("recipe, run", [("accumulate = 2", ""), ("muon_lr = 0.02", ""),
                                         ("accumulate = 2", "shard = true")])
def test_two_processes_give_the_losses_of_one(config, tmp_path, recipe, run):
    assert train.main([str(config("one", recipe))]) == 0
    said = two_processes(config("two", recipe, run))
    assert said.count("Done") == 1
    must_agree(tmp_path / "one", tmp_path / "two")


@pytest.mark.skipif(sys.platform != "linux", reason="gloo over the loopback device `lo`")
@pytest.mark.parametrize("run", ["", "shard = true"])
def test_a_run_begun_alone_goes_on_with_two(config, tmp_path, run):
    assert train.main([str(config("one"))]) == 0
    out = tmp_path / "model.safetensors"
    path = config("two", run=f'{run}\nexport = "{out.as_posix()}"')
    setup = train.Setup(train.read(path))
    assert fit(setup.model, setup.batches, setup.recipe, folder=tmp_path / "two",
               validate=lambda model: held_out(model, setup.rest, setup.recipe.context),
               watch=Until(4)).ended == "stopped"
    said = two_processes(path)
    assert ("without torchrun" in said) == bool(run)
    assert out.exists() != bool(run)
    assert train.main([str(path)]) == 0 and out.exists()    # nothing left to train
    must_agree(tmp_path / "one", tmp_path / "two")


def test_what_is_exported_writes(config, tmp_path):
    out = tmp_path / "model.safetensors"
    assert train.main([str(config("one", run=f'export = "{out.as_posix()}"'))]) == 0
    model, notes = checkpoints.load_model(out)
    assert notes["made_by"].startswith("python3 -m utils.train")
    symbols = notes["symbols"]
    text = generate(model, [[symbols.index("c")]], 5, seed=1)[0]
    assert len("".join(symbols[i] for i in text)) == 5


def test_a_dry_run_counts_and_trains_nothing(config, tmp_path, capsys):
    path = config("one")
    assert train.main([str(path), "--dry-run", "--devices", "2", "--tflops", "100"]) == 0
    said = capsys.readouterr().out
    setup = train.Setup(train.read(path))
    assert f"{setup.model.n_parameters():,}" in said
    assert "1,024 in 8 steps of 8 x 16" in said and "2 devices at 100 Tflop/s each" in said
    assert not (tmp_path / "one").exists()
    assert train.main([str(path), "--dry-run"]) == 0
    assert "measured now" in capsys.readouterr().out


def test_operations_follow_six_times_parameters():
    from utils.transformer import Config, Transformer
    model = Transformer(Config(50, d_model=64, n_layers=2, n_heads=2, position="none",
                               bias=False))
    blocks = 2 * 12 * 64 ** 2 + 5 * 64                      # and five norms
    assert train.flops_per_token(model, 32) == 6 * (blocks + 50 * 64) + 12 * 2 * 64 * 32


@pytest.mark.parametrize("text, said", [
    ("[recipe]\nsteps = 3\nlearning_rate = 1", r"has no learning_rate; it knows .*lr"),
    ("[model]\nd_model = 4", "must say how many steps"), ("steps = ", "no TOML"),
    ("[recipes]\nsteps = 3\n[recipe]\nsteps = 3", "unknown table recipes"),
    ('[recipe]\nsteps = 3\n[data]\ntext = "gone.txt"', "gone.txt.*cannot be read"),
    ("[recipe]\nsteps = -3", "more than 0"), ("[recipe]\nsteps = 3\n[model]\nnorm = 1", "norm=1")])
def test_a_wrong_file_is_answered_in_a_sentence(tmp_path, capsys, text, said):
    import re
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    assert train.main([str(path)]) == 1
    assert re.search(said, capsys.readouterr().err)


def test_the_shipped_recipes_are_sound():
    found = list((ROOT / "utils" / "recipes").glob("*.toml"))
    assert found
    for path in found:
        setup = train.Setup(train.read(path))
        assert setup.model.n_parameters() > 0
        assert json.dumps(setup.config.json())
