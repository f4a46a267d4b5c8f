"""The training loop: exact, resumable, and plain about what went wrong."""
import csv
import json
import os
import random
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from utils import checkpoints
from utils.batches import Batches, Characters, held_out, lm_loss
from utils.optimizers import Muon, orthogonal, share_of_rate
from utils.training import Diverged, Recipe, TooLarge, Watcher, fit
from utils.transformer import Config, Transformer

TEXT = torch.arange(400) * 7 % 11                       # a text with a rule: 0 7 3 10 6 ...
RECIPE = {"steps": 12, "batch": 4, "context": 8, "warmup": 3, "check_every": 5, "save_every": 3}
CPU = torch.device("cpu")


def small(seed=0, **shape):
    torch.manual_seed(seed)
    return Transformer(Config(**{"vocab_size": 11, "d_model": 16, "n_layers": 2, "n_heads": 2,
                                 "max_len": 8, "position": "rotary"} | shape))


def train(folder=None, watch=None, model=None, batches=None, **changes):
    recipe = Recipe(**RECIPE | changes)
    model = model or small(dropout=0.1, hashed=20)
    log = fit(model, batches or Batches(TEXT, recipe.context, recipe.batch), recipe,
              validate=lambda m: held_out(m, TEXT, 8), folder=folder, watch=watch, device=CPU)
    return model, log


def test_a_step_is_adamw_by_hand():
    """Two steps of fit equal two of a loop written out with torch alone."""
    model, log = train(model=small(), steps=2, decay="constant", warmup=0, lr=0.01)
    by_hand, batches = small(), Batches(TEXT, 8, 4)
    matrices = [p for p in by_hand.parameters() if p.dim() > 1]
    rest = [p for p in by_hand.parameters() if p.dim() < 2]
    adamw = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                               {"params": rest, "weight_decay": 0.0}], lr=0.01, betas=(0.9, 0.99))
    for step in range(2):
        x, y = batches(step)
        adamw.zero_grad()
        loss = F.cross_entropy(by_hand(x).flatten(0, 1), y.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
        adamw.step()
        assert log.rows[step]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(model.parameters(), by_hand.parameters()):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_a_batch_in_pieces_is_the_same_batch():
    (one, first), (two, second) = (train(model=small(), accumulate=n) for n in (1, 4))
    torch.testing.assert_close(torch.tensor(first.column("loss")[0]),
                               torch.tensor(second.column("loss")[0]), atol=1e-5, rtol=1e-5)
    assert [row["tokens_per_second"] > 0 for row in first.rows] == [True] * 12
    assert first.column("val")[1] == [5, 10, 12]


@pytest.mark.parametrize("muon_lr", [None, 0.02])
@pytest.mark.parametrize("stop", [1, 5, 6, 11])
def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path, stop, muon_lr):
    class Stopper(Watcher):
        def __call__(self, row, text=None):
            self.stopped = row["step"] == stop

    model, whole = train(muon_lr=muon_lr)
    _, part = train(tmp_path, Stopper(), muon_lr=muon_lr)
    assert (part.ended, len(part.rows)) == ("stopped", stop)
    resumed, rest = train(tmp_path, muon_lr=muon_lr)
    assert rest.ended == "done"
    assert rest.column("loss") == whole.column("loss")
    assert rest.column("val") == whole.column("val")
    for ours, theirs in zip(resumed.parameters(), model.parameters()):
        assert torch.equal(ours, theirs)
    assert [p.name for p in tmp_path.glob("step-*")] == ["step-0000012.safetensors"]
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [float(row["loss"]) for row in rows] == whole.column("loss")[0]


def test_an_interrupt_saves_before_it_ends(tmp_path):
    class Impatient(Watcher):
        def __call__(self, row, text=None):
            if row["step"] == 7:
                raise KeyboardInterrupt

        def finished(self):
            ends.append(1)
    ends = []
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Impatient())
    assert ends == [1]
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 7
    assert train(tmp_path)[1].column("loss") == train()[1].column("loss")


def test_an_interrupt_between_two_optimizers_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    """At step 8 AdamW has moved its weights and Muon not: that state belongs to no step."""
    step, calls = Muon.step, []

    def interrupted(self):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return step(self)
    monkeypatch.setattr(Muon, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, muon_lr=0.02)
    monkeypatch.setattr(Muon, "step", step)
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 6
    assert train(tmp_path, muon_lr=0.02)[1].column("loss") == train(muon_lr=0.02)[1].column("loss")


KILLED = """
import sys, time, torch
sys.path.insert(0, {tests!r})
from test_training import train
from utils.training import Watcher
class Slow(Watcher):
    def __call__(self, row, text=None): time.sleep(0.02)
train({folder!r}, Slow(), steps=60, save_every=1)
"""


def test_a_run_killed_ten_times_ends_like_one_left_alone(tmp_path):
    rng, kills = random.Random(5), 0
    code = KILLED.format(tests=os.path.dirname(__file__), folder=str(tmp_path / "run"))
    variables = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    while kills < 10:
        child = subprocess.Popen([sys.executable, "-c", code], env=variables)
        state, was = tmp_path / "run" / "state.json", None
        began = time.monotonic()
        while child.poll() is None and time.monotonic() - began < 60:   # until it saved once more
            try:
                now = state.read_bytes()
            except OSError:
                now = None
            was = was if was is not None else now or b""
            if now not in (None, was):
                time.sleep(rng.random() * 0.1)
                break
            time.sleep(0.01)
        ended = child.poll() is not None
        child.kill()
        child.wait()
        kills += 1
        if ended:
            break
    assert kills == 10, "it ended before it was killed ten times"
    _, rest = train(tmp_path / "run", steps=60, save_every=1)
    assert rest.column("loss") == train(steps=60)[1].column("loss")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    train(tmp_path, steps=12)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save_run(tmp_path, 13, {"x": torch.zeros(3)}, {})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_run_of_other_settings_or_a_damaged_one_is_refused(tmp_path):
    train(tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="lr was 0.001 and is 0.5"):
        train(tmp_path, lr=0.5)
    file, = tmp_path.glob("step-*")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(checkpoints.CheckpointError, match="damaged.*Delete the folder"):
        train(tmp_path)


def test_nan_stops_with_step_rate_and_advice(tmp_path):
    batches = Batches(TEXT, 8, 4)

    def loss(model, x, y):
        value = lm_loss(model, x, y)
        return value * float("nan") if calls.append(1) or len(calls) == 8 else value
    calls, model = [], small()
    with pytest.raises(Diverged, match=r"nan.*step 8, with lr=0\.00.*third.*keeps the run"):
        fit(model, batches, Recipe(**RECIPE), folder=tmp_path, loss=loss, device=CPU)
    assert all(p.isfinite().all() for p in model.parameters())
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 6


def test_a_loss_that_climbs_stops():
    with pytest.raises(Diverged, match="above the first, 2.4"):
        train(model=small(), steps=400, lr=30.0, clip=None, warmup=0)


LACKING = """
import resource, torch
torch.set_num_threads(1)
from utils.batches import Batches
from utils.training import Recipe, TooLarge, fit
from utils.transformer import Config, Transformer
model = Transformer(Config(5000, d_model=32, n_layers=1, n_heads=2, max_len=64))
batches = Batches(torch.arange(9000) % 5000, 64, 1024)
batches(0)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000, -1))
try:
    fit(model, batches, Recipe(2, batch=1024), device=torch.device("cpu"))
except TooLarge as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory so")
def test_out_of_memory_says_which_batch_fits():
    """1024 x 64 x 5000 logits in float32 take 1.3 GB, and the process may have 0.7 more."""
    done = subprocess.run([sys.executable, "-c", LACKING], capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=os.path.dirname(
                              os.path.dirname(__file__)))
    assert "1024 sequences of 64 tokens does not fit" in done.stdout, done.stderr
    fits = int(done.stdout.split("; ")[1].split()[0])
    assert 32 <= fits <= 512
    assert f"accumulate={1024 // fits}" in done.stdout


def test_too_large_is_an_error_of_its_own():
    def loss(model, x, y):
        if len(x) > 1:
            raise torch.OutOfMemoryError("no")
        return lm_loss(model, x, y)
    with pytest.raises(TooLarge, match="4 sequences of 8 tokens.*1 do.*accumulate=4"):
        fit(small(), Batches(TEXT, 8, 4), Recipe(**RECIPE), loss=loss, device=CPU)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_muon_moves_as_torch_says(shape):
    """torch.optim.Muon computes in bfloat16, so they agree to its three digits."""
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=rng)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = Muon([ours], lr=0.02, weight_decay=0.1)
    torchs = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1)
    for _ in range(4):
        gradient = torch.randn(shape, generator=rng)
        for p, optimizer in ((ours, mine), (theirs, torchs)):
            p.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=4e-3, rtol=0)
    assert (ours - start).abs().max() > 0.02


def test_orthogonal_moves_singular_values_near_one():
    X = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(X))
    assert 0.6 < values.min() and values.max() < 1.3
    U, _, V = torch.linalg.svd(X, full_matrices=False)
    turned = U.mT @ orthogonal(X) @ V.mT                    # the same directions
    off = turned - torch.diag_embed(turned.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-4
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))])


def test_the_rate_goes_up_and_down():
    recipe = Recipe(100, warmup=10, final=0.1)
    rates = [share_of_rate(s, recipe) for s in range(100)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and rates[55] == pytest.approx(0.55, abs=0.01)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    late = Recipe(100, warmup=10, decay="linear", cooldown=0.2, final=0.0)
    assert [share_of_rate(s, late) for s in (10, 79, 90)] == [1.0, 1.0, 0.5]


def test_batches_are_windows_and_their_next_tokens():
    batches = Batches(torch.arange(50), 8, 6, seed=3)
    x, y = batches(17)
    assert x.shape == y.shape == (6, 8)
    assert torch.equal(y, x + 1) and torch.equal(x, x[:, :1] + torch.arange(8))
    assert torch.equal(Batches(torch.arange(50), 8, 6, seed=3)(17)[0], x)
    assert not torch.equal(batches(18)[0], x)
    starts = torch.cat([batches(s)[0][:, 0] for s in range(300)])
    assert set(starts.tolist()) == set(range(42))           # each window, also the last
    with pytest.raises(ValueError, match="no window"):
        Batches(torch.arange(8), 8, 6)


def test_held_out_is_the_mean_over_all_targets():
    model = small()
    ids = TEXT[:65]
    want = lm_loss(model.eval(), ids[:-1].view(8, 8), ids[1:].view(8, 8)).item()
    assert held_out(model, ids, 8) == pytest.approx(want, rel=1e-5)


def test_characters_name_what_they_lack():
    vocabulary = Characters("hello\n")
    assert vocabulary.decode(vocabulary.encode("hole\n")) == "hole\n"
    assert vocabulary.symbols == ["\n", "e", "h", "l", "o"]
    with pytest.raises(ValueError, match="5 characters lacks 'x'"):
        vocabulary.encode("hex")


def test_a_model_file_is_the_model(tmp_path):
    model = small(hashed=20)
    checkpoints.save_model(tmp_path / "m.safetensors", model, made_by="a test")
    again, notes = checkpoints.load_model(tmp_path / "m.safetensors")
    assert notes["made_by"] == "a test" and again.config == model.config
    ids = torch.randint(11, (2, 8))
    assert torch.equal(again(ids), model.eval()(ids))
    assert again.head.weight is again.embedding.weight
    with pytest.raises(checkpoints.CheckpointError, match="not there"):
        checkpoints.load_model(tmp_path / "other")
    (tmp_path / "cut").write_bytes((tmp_path / "m.safetensors").read_bytes()[:-1])
    with pytest.raises(checkpoints.CheckpointError, match="damaged"):
        checkpoints.load_model(tmp_path / "cut")


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"decay": "step"}, {"batch": 5, "accumulate": 2}])
def test_a_recipe_that_cannot_be_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**RECIPE | wrong)


def test_a_monitor_says_where_the_run_stands():
    from utils.monitor import Monitor
    monitor = Monitor(12, {"6-gram": 2.0})
    kept = []
    monitor._handle = SimpleNamespace(update=lambda bundle, raw: kept.append(bundle))
    monitor.widget()
    train(watch=monitor)
    assert monitor.describe().startswith("Done: step 12 of 12, loss")
    assert "validation" in monitor.describe() and "0 s left" in monitor.describe()
    names = [trace["name"] for trace in monitor.figure().data]
    assert names == ["training", "validation", "6-gram"]
    assert monitor.figure().data[1]["x"] == [5, 10, 12]
    assert kept[0]["text/plain"] == monitor.describe()
    assert monitor._pause.disabled and monitor._stop.disabled


def test_the_buttons_of_a_monitor_pause_and_stop():
    from utils.monitor import Monitor
    monitor = Monitor(5000)
    monitor._handle = SimpleNamespace(update=lambda bundle, raw: None)
    monitor.widget()
    logs = []
    run = threading.Thread(target=lambda: logs.append(train(watch=monitor, steps=5000)[1]))
    run.start()
    while len(monitor.rows) < 3:
        time.sleep(0.01)
    monitor._pause.click()
    time.sleep(0.3)
    at = len(monitor.rows)
    time.sleep(0.3)
    assert len(monitor.rows) == at and "Paused" in monitor._words.value
    monitor._pause.click()
    while len(monitor.rows) < at + 3:
        time.sleep(0.01)
    monitor._stop.click()
    run.join(20)
    assert logs[0].ended == "stopped" and len(logs[0].rows) < 5000


def test_the_shipped_model_is_what_its_notes_say():
    from utils import data
    model, notes = checkpoints.load_model(data.char_gpt_file())
    vocabulary = Characters(notes["symbols"])
    text = data.rebuilt_tiny_shakespeare()
    assert vocabulary.symbols == sorted(set(text))
    ids = torch.tensor(vocabulary.encode(text[-60_000:]))       # of the tenth that was held out
    assert abs(held_out(model, ids, model.config.max_len) - float(notes["val"])) < 0.1
    assert notes["made_by"].endswith("utils/recipes/char_gpt.toml")
    assert data.char_gpt_file().stat().st_size < 8e6
