"""The recipe for one GPU: tokens a second, share of the peak, seconds to a good model."""
from pathlib import Path

import torch

from .. import machine
from ..batches import held_out
from ..train import Setup, flops_per_token, read
from ..training import Watcher, fit
from .engine import Missing, Row

REPEATS = 1
FILE = Path(__file__).parent.parent / "recipes" / "char_gpt_gpu.toml"
# Dense bfloat16, 10^12 operations a second: NVIDIA's data sheets "H100 Tensor Core GPU" and "H200
# Tensor Core GPU" (SXM; they print 1,979 with sparsity, twice the dense rate) and "A100" (312).
PEAK_TFLOPS = {"H100": 989, "H200": 989, "A100": 312}
# nanoGPT's README: "on one A100 GPU this training run takes about 3 minutes and the best
# validation loss is 1.4697".
GOAL_NATS, PEER_SECONDS = 1.47, 180


class UntilGood(Watcher):
    """Watches a run and ends it when the validation loss is good enough."""

    def __call__(self, row, text=None):
        self.stopped = row.get("val") is not None and row["val"] <= GOAL_NATS


def peak(name):
    """Peak of a device in 10^12 operations a second, or None where the table lacks it."""
    return next((value for key, value in PEAK_TFLOPS.items() if key in name), None)


def one_run(settings, seed):
    """(seconds of training, last validation loss, tokens a second, operations a token)."""
    setup = Setup({**settings, "recipe": {**settings["recipe"], "seed": seed}})
    recipe = setup.recipe
    log = fit(setup.model, setup.batches, recipe, device=machine.device(), watch=UntilGood(),
              validate=lambda m: held_out(m, setup.rest, recipe.context, len(setup.rest)))
    # the first quarter compiles and warms up: it counts as seconds, not for the speed
    first, last = log.rows[len(log.rows) // 4], log.rows[-1]
    tokens = (last["step"] - first["step"]) * recipe.batch * recipe.context
    return (log.seconds, log.val, tokens / (last["seconds"] - first["seconds"]),
            flops_per_token(setup.model, recipe.context))


def rows(repeats):
    """Three rows of one run per seed, of which the median in seconds is told."""
    if machine.device().type != "cuda":
        raise Missing("this machine has no CUDA GPU.")
    name, settings = torch.cuda.get_device_name(), read(FILE)
    found = sorted(one_run(settings, seed) for seed in range(repeats))
    took, val, speed, operations = found[(len(found) - 1) // 2]
    tflops, top = speed * operations / 1e12, peak(name)
    share = 100 * tflops / top if top else float("nan")
    return [Row(f"character GPT, 6 layers of 384, to {GOAL_NATS} nats on {name}",
                f"{took:.0f} s to {val:.3f} on rebuilt tiny Shakespeare",
                f"{PEER_SECONDS} s on an A100 (nanoGPT's README)",
                PEER_SECONDS / took if val <= GOAL_NATS else 0.0, None),
            Row("the same, speed", f"{speed:,.0f} tokens/s", "none", speed / 1e6, None,
                "million tokens/s"),
            Row("the same, model FLOPs utilisation in bfloat16", f"{tflops:.0f} Tflop/s",
                f"peak {top or 'unknown'} Tflop/s", share, None, "%")]
