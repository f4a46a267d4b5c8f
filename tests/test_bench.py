"""The benchmark: turns, medians, targets and exit codes with made-up sides; no long training."""
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from utils import bench
from utils.bench import bpe, engine, generate, gpu, lora, train
from utils.bench.engine import Clock, Missing, Row, Times, compare, exit_code, in_turns, table
from utils.installer import Trouble
from utils.training import Recipe


def test_sides_run_in_turns_and_every_second_turn_backwards():
    ran = []
    sides = {name: lambda name=name: ran.append(name) or len(ran) for name in "abc"}
    times = in_turns(sides, 3)
    assert "".join(ran) == "abc" + "abc" + "cba" + "abc", "warm-up, then three turns"
    assert [len(times[name].cpu) for name in "abc"] == [3, 3, 3]
    assert times["a"].result == 10, "the result of the last turn"
    ran.clear()
    in_turns(sides, 1, warm_up=False)
    assert ran == ["a", "b", "c"]


def test_the_clock_counts_work_and_not_sleep_as_processor_time():
    clock = Clock()
    for _ in range(2):
        with clock:
            time.sleep(0.05)
    assert clock.wall >= 0.1 and clock.cpu < 0.05
    before = clock.cpu
    with clock:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    assert clock.cpu - before >= 0.05


def test_the_ratio_is_the_median_over_turns_not_of_medians():
    ours, peer = Times([1.0, 4.0, 2.0], [9, 9, 9]), Times([3.0, 8.0, 2.0], [9, 9, 9])
    assert engine.times_less(ours, peer) == 2.0         # of 3, 2 and 1
    assert str(ours) == "2.0 s CPU, 9.0 s wall" and engine.seconds(0.0123) == "12 ms"


def test_a_target_is_met_at_its_edge_and_a_missed_one_gives_exit_code_1():
    good, bad, free = (Row("a", "1 s", "2 s", score, wanted) for score, wanted in
                       ((2.0, 2.0), (1.99, 2.0), (0.1, None)))
    assert exit_code([good, free]) == exit_code([]) == 0 and exit_code([good, bad]) == 1
    assert not Row("nan", "", "", float("nan"), 1.0).met
    lines = table([good, bad, free]).splitlines()
    assert len(lines) == 5 and len({line.count("|") for line in lines}) == 1
    assert lines[2].endswith("| 2.00 x | at least 2.00 x: met |")
    assert "MISSED" in lines[3] and "no target" in lines[4]


def test_different_results_are_no_comparison():
    assert compare("a", lambda: 1, lambda: 1, None, 1).met
    with pytest.raises(AssertionError, match="two results differ"):
        compare("a", lambda: 1, lambda: 2, None, 1)


def test_generation_writes_the_same_text_as_transformers():
    row = generate.one_size(2, 24, 3, 0.0, repeats=1, max_len=24, new=16)
    assert row.met and row.score > 0 and row.what.startswith("16 tokens, 2 layers of 24")


def test_the_heading_names_date_versions_and_threads(monkeypatch):
    assert f"torch {torch.__version__}" in engine.heading() and "threads" in engine.heading()
    monkeypatch.setattr(engine, "PEERS", ("no-such-library",))
    assert "no no-such-library" in engine.heading()


def test_a_missing_peer_is_told_with_the_command_and_is_no_failure(monkeypatch, capsys):
    with pytest.raises(Missing, match="-m pip install no_such_library"):
        engine.peer_library("no_such_library")
    monkeypatch.setattr(generate, "peer_library", lambda name: engine.peer_library("no_" + name))
    assert bench.main(["generate"]) == 0
    said = capsys.readouterr().out
    assert "generate was not measured: it compares with no_transformers" in said
    assert "| what |" not in said


def test_the_command_runs_what_is_named_and_hands_on_the_repeats(monkeypatch, capsys):
    asked = []

    def rows(repeats):
        asked.append(repeats)
        return [Row("made up", "1", "2", 1.0, 2.0)]
    monkeypatch.setattr(generate, "rows", rows)
    assert bench.main(["generate", "--repeats", "4"]) == 1 and bench.main(["generate"]) == 1
    assert asked == [4, generate.REPEATS] and "MISSED" in capsys.readouterr().out


@pytest.mark.parametrize("words, said", [
    (["speed"], "knows train, generate, bpe, lora, gpu"), (["--repeats"], "number of 1 or more"),
    (["--repeats", "0"], "'0' came"), (["train", "--repeats", "two"], "'two' came")])
def test_words_that_mean_nothing_are_named(words, said):
    with pytest.raises(Trouble, match=said):
        bench.asked(words)


def test_no_words_mean_everything():
    assert bench.asked([]) == (bench.NAMES, None)
    assert bench.asked(["--repeats", "3", "bpe"]) == (["bpe"], 3)


def tiny_race(**changes):
    shape = {"d_model": 8, "n_layers": 1, "n_heads": 2, "max_len": 8, "bias": False}
    peer = Recipe(steps=20, batch=2, context=8, warmup=2)
    return train.race(shape, Recipe(steps=99, batch=2, context=8, warmup=2, **changes), shape, peer,
                      "one cat ate tuna, one weird human ate a chicken. " * 20)


def test_a_race_gives_both_sides_their_processor_time(monkeypatch):
    monkeypatch.setattr(train, "cost_of_a_step", lambda sides: {"ours": 2.0, "peer": 1.0})
    found = tiny_race(lr=0.03)
    assert found["steps"] == 10, "half as many steps that cost twice as much"
    assert found["short"][1] == 2, "a quarter of them, a little less"
    again = tiny_race(lr=0.03)
    assert (found["loss"], found["peer_loss"]) == (again["loss"], again["peer_loss"])
    assert 0 < found["peer"] and 0 < found["cpu"]


def test_only_steps_count_and_every_held_out_window_is_read(monkeypatch):
    windows = []

    def slow(model, ids, context, most):
        windows.append(most >= len(ids))
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        return 1.0
    monkeypatch.setattr(train, "held_out", slow)
    monkeypatch.setattr(train, "cost_of_a_step", lambda sides: {"ours": 1.0, "peer": 1.0})
    began = time.process_time()
    found = tiny_race()
    looked = 0.2 * (train.LOOKS + 2)
    assert len(windows) == train.LOOKS + 2 and all(windows)
    assert found["peer"] + found["cpu"] + found["short"][0] < time.process_time() - began - looked


@pytest.mark.parametrize("until, score, met", [(2.0, 5.0, True), (2.6, 10 / 2.6, False),
                                               (None, 0.0, False)])
def test_a_race_in_words(until, score, met):
    first, second = train.in_words({"until": until, "step": until and 40, "short": (2.5, 50, 1.95),
                                    "peer": 10.0, "peer_loss": 1.9, "loss": 1.6, "cpu": 9.9,
                                    "steps": 200}, 2000)
    assert first.score == pytest.approx(score) and first.met == met
    assert second.score == pytest.approx(0.3) and second.met and second.unit == "nats"
    assert ("not reached" in first.ours) == (until is None)


def test_the_recipes_of_the_benchmark_can_be_read():
    for module in (train, gpu):
        settings = train.read(module.FILE)
        assert Recipe(**settings["recipe"]).context <= settings["model"]["max_len"]
        assert settings["data"]["text"] == "tiny shakespeare"


def test_bpe_waits_for_its_module_and_compares_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "utils.bpe", None)
    with pytest.raises(Missing, match="no utils.bpe"):
        bpe.ours()

    class Letters:
        def __init__(self, merges):
            assert merges == ["m"]

        def encode(self, text):
            return list(text.encode())
    monkeypatch.setattr(bpe, "ours", lambda: (lambda text, vocab_size: ["m"], Letters))
    rows = bpe.rows(1, "one cat ate tuna\n" * 50)
    assert [row.wanted for row in rows] == [pytest.approx(1 / 1.2), 2.0]
    assert "850 tokens" in rows[1].ours and all(row.score > 0 for row in rows)


def test_the_gpu_rows_need_a_gpu_and_know_its_peak(monkeypatch):
    assert gpu.peak("NVIDIA H100 80GB HBM3") == 989 and gpu.peak("NVIDIA GeForce RTX 4090") is None
    monkeypatch.setattr(gpu.machine, "device", lambda: torch.device("cpu"))
    with pytest.raises(Missing, match="no CUDA GPU"):
        gpu.rows(1)


def test_the_gpu_rows_do_their_sums_on_any_device(monkeypatch):
    """A tiny run on the processor that reaches its goal at the first look."""
    settings = {"data": {"text": "tiny shakespeare"}, "recipe": {
        "steps": 40, "batch": 2, "context": 8, "check_every": 10, "compile": False},
        "model": {"d_model": 8, "n_layers": 1, "n_heads": 2, "max_len": 8}}
    monkeypatch.setattr("utils.train.load_text", lambda name: "one cat ate tuna. " * 40)
    monkeypatch.setattr(gpu.machine, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(gpu, "GOAL_NATS", 9.0)
    took, val, speed, operations = gpu.one_run(settings, 0)
    assert 0 < took < 60 and val <= 9.0 and speed > 0 and operations > 0
    monkeypatch.setattr(gpu.machine, "device", lambda: SimpleNamespace(type="cuda"))
    monkeypatch.setattr(gpu.torch.cuda, "get_device_name", lambda: "NVIDIA A100-SXM4-40GB")
    monkeypatch.setattr(gpu, "one_run", lambda settings, seed: (90.0 + seed, 1.46, 2e6, 78e6))
    first, second, third = gpu.rows(3)
    assert first.score == pytest.approx(180 / 91) and second.score == pytest.approx(2)
    assert third.score == pytest.approx(100 * 2e6 * 78e6 / 312e12)
    monkeypatch.setattr(gpu, "GOAL_NATS", 1.45)
    assert gpu.rows(1)[0].score == 0, "the goal was not reached"


LLAMA = {"vocab_size": 61, "d_model": 24, "n_layers": 2, "n_heads": 6, "n_kv_heads": 2, "d_ff": 40}
TASK = {"B": 3, "T": 8, "r": 3, "alpha": 7, "names": ["q", "v", "down"]}


@pytest.mark.parametrize("silent", [0, 6])
def test_a_step_of_lora_moves_both_sides_alike(monkeypatch, silent):
    asked = []

    def alone(side, *how):
        asked.append((side, *how))
        return {"ours": 200.0, "peer": 220.0}[side], 4.0
    monkeypatch.setattr(lora, "alone", alone)
    first, second = lora.one_task("tiny", silent, 6, LLAMA, TASK)
    assert first.wanted == pytest.approx(1 / 0.97) and first.score > 0
    assert second.score == pytest.approx(1.1) and second.wanted == pytest.approx(1 / 0.95)
    assert (second.ours, second.peer) == ("200 MB", "220 MB") and second.met
    assert asked == [(side, LLAMA, TASK, silent) for side in ("ours", "peer")]


def test_the_loss_of_a_step_of_lora_falls_and_is_the_same_in_both():
    steps = [lora.stepper(side, LLAMA, TASK, 3) for side in ("ours", "peer")]
    seen = [[step() for _ in range(12)] for step in steps]
    assert seen[0] == pytest.approx(seen[1], rel=1e-5) and seen[0][-1] < seen[0][0]
    with pytest.raises(AssertionError, match="losses 1.0 and 1.1 differ"):
        lora.same("a", 1.0, 1.1)


def test_memory_is_measured_in_a_process_of_its_own():
    ours, loss = lora.alone("ours", LLAMA, TASK, 3)
    assert 0 < ours < 500 and 0 < loss < 20
    with pytest.raises(RuntimeError, match="(?s)the process of ours ended with .*d_model"):
        lora.alone("ours", LLAMA | {"d_model": 25}, TASK, 3)


def test_both_lora_tasks_are_asked_for(monkeypatch):
    monkeypatch.setattr(lora, "one_task", lambda *a: [a])
    assert [row[1:] for row in lora.rows(7)] == [(0, 7), (48, 7)]
