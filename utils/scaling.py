"""Loss by size at equal compute: many short training runs, their parabolas and exponents."""
import math
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import torch

from .batches import Batches, Characters, held_out, lm_loss
from .laws import parabola, power_fit
from .optimizers import optimizers, share_of_rate
from .recipe import Recipe
from .transformer import Config, Transformer

BUDGETS = (3e9, 9e9, 2.7e10)                    # operations of one run, 6 N D
WIDTHS = {3e9: (8, 12, 16, 20, 24, 32),         # d_model of the runs of each budget
          9e9: (12, 16, 20, 24, 32, 40),
          2.7e10: (16, 20, 24, 32, 40, 56)}
LAYERS, HEADS, CONTEXT, BATCH = 2, 2, 64, 4     # 256 characters a step, the same for all
HELD_OUT = 200                                  # windows of held-out text, the same for all
RATE, MUON_RATE = 0.02, 0.05                    # tables; matrices of the blocks, at any width
_text = {}


class Run(NamedTuple):
    """One training run. C: operations; N: parameters; D: characters; loss: nats on held-out text.

    N counts everything: the table of characters is the head too, and rotary positions need none.
    """

    C: float
    N: int
    D: int
    loss: float
    seed: int
    d_model: int
    steps: int


def cluster_flops(gpus, days, peak=312e12, used=1.0):
    """Operations that GPUs do in so many days. peak: of one a second (A100, bfloat16: 312e12).

    used: the share of the peak that training reaches; .21 for GPT-3's V100s, .46 for PaLM
    (Chowdhery 2022, table 3).
    """
    return gpus * days * 86_400 * peak * used


def shape(d_model, vocab_size=64):
    """The Config of a run: two blocks of any width, all else equal."""
    return Config(vocab_size, d_model=d_model, n_layers=LAYERS, n_heads=HEADS, bias=False,
                  position="rotary", max_len=CONTEXT)


def plan(C, d_model, vocab_size=64):
    """(N, steps) of a run that spends C."""
    with torch.device("meta"):
        N = Transformer(shape(d_model, vocab_size)).n_parameters()
    return N, max(5, round(C / (6 * N) / (BATCH * CONTEXT)))


def train_run(C, d_model, seed=0, train=None, val=None, vocab_size=64):
    """Train one model for C operations and return its Run; random numbers by seed alone.

    train, val: (n,) ids below vocab_size; those that isoflop shares unless given.
    Muon for matrices, so that one rate suits all widths (AdamW's best rate fell with the width).
    The rate rises for a twentieth of the run, whatever its length, and then falls to 0.
    """
    train, val = (_text[name] if ids is None else ids
                  for name, ids in (("train", train), ("val", val)))
    N, steps = plan(C, d_model, vocab_size)
    warmup = max(3, steps // 20)
    recipe = Recipe(steps=steps, batch=BATCH, context=CONTEXT, lr=RATE, muon_lr=MUON_RATE,
                    muon_rounds=3, warmup=warmup, decay="linear", cooldown=1 - warmup / steps,
                    final=0.0, weight_decay=0.0, seed=seed)
    batches = Batches(train, CONTEXT, BATCH, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Transformer(shape(d_model, vocab_size))
    both = optimizers(model, recipe)
    for step in range(steps):
        inputs, targets = batches(step)
        for optimizer in both:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share_of_rate(step, recipe)
            optimizer.zero_grad()
        lm_loss(model, inputs, targets).backward()
        for optimizer in both:
            optimizer.step()
    loss = held_out(model, val, CONTEXT, HELD_OUT)
    return Run(C, N, steps * BATCH * CONTEXT, loss, seed, d_model, steps)


def isoflop(budgets=BUDGETS, widths=None, seeds=(0,), workers=None, watch=None):
    """Runs of every budget, width and seed on the rebuilt tiny Shakespeare's characters.

    budgets: operations a run; widths: {budget: d_models}, WIDTHS unless given. workers: processes,
    one thread each; two where there are two cores. The numbers do not depend on it. Always on the
    processor: models this small keep no GPU busy. watch: (runs done, runs in all) is called
    after each; a line in the notebook unless given. Returns a list of Run, by budget, width, seed.
    """
    from .data import rebuilt_tiny_shakespeare
    text = rebuilt_tiny_shakespeare()
    characters = Characters(text)
    ids = torch.tensor(characters.encode(text), dtype=torch.uint8).numpy()
    tasks = [(C, d, seed) for C in budgets for d in (widths or WIDTHS)[C] for seed in seeds]
    train = partial(train_run, vocab_size=len(characters))
    waiting = sorted(tasks, key=lambda task: -_cost(*task[:2]))         # longest first
    workers = min(workers or min(2, os.cpu_count() or 1), len(tasks))
    watch, done = watch or Line(), {}

    def keep(task, run):
        done[task] = run
        watch(len(done), len(tasks))

    if workers > 1:
        with suppress(BrokenProcessPool):               # where no process may be started: here
            _by_processes(workers, ids, train, waiting, keep)
    threads = torch.get_num_threads()
    _share(ids)
    try:
        for task in [task for task in waiting if task not in done]:
            keep(task, train(*task))
    finally:
        torch.set_num_threads(threads)
    return [done[task] for task in tasks]


def _by_processes(workers, ids, train, tasks, keep):
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (ids,))
    try:
        futures = {pool.submit(train, *task): task for task in tasks}
        for future in as_completed(futures):
            keep(futures[future], future.result())
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _begin(ids):
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # the notebook's own process answers it
    _share(ids)


def _share(ids):
    torch.set_num_threads(1)
    ids, cut = torch.from_numpy(ids).long(), int(0.9 * len(ids))
    _text.update(train=ids[:cut], val=ids[cut:])


def _cost(C, d_model):
    return plan(C, d_model)[1] * (1 + d_model / 100)    # a step costs little more when wider


class Line:
    """A line in the notebook that counts runs; nothing elsewhere."""

    def __init__(self):
        self.handle, self.start = None, time.monotonic()

    def __call__(self, done, total):
        from IPython import get_ipython
        if get_ipython() is None:
            return
        from IPython.display import display
        left = (time.monotonic() - self.start) / done * (total - done)
        words = f"{done} of {total} runs trained" + (f", about {left:.0f} s left" if left else ".")
        bundle = {"text/plain": words}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)


def curves(runs):
    """{C: (sizes, mean losses over seeds)}, sizes rising."""
    found = {}
    for run in runs:
        found.setdefault(run.C, {}).setdefault(run.N, []).append(run.loss)
    return {C: (sorted(by), [sum(by[N]) / len(by[N]) for N in sorted(by)])
            for C, by in found.items()}


def optima(runs):
    """[(C, N_best, D_best, loss_best)] by the parabola of each budget; D_best = C / (6 N_best)."""
    found = [(C, *parabola(*curve)) for C, curve in curves(runs).items()]
    return [(C, N, C / (6 * N), loss) for C, N, loss in found]


def exponent(runs, times=1000, seed=0):
    """(a, low, high): N_best grows as C^a, with a 95 % interval; D_best grows as C^(1 - a).

    The interval resamples the distances of all runs from their parabolas (residual bootstrap,
    Efron 1979): it covers how the runs scatter, by seed and by size, and neither the choice of
    shapes and learning rates nor a bend beyond the parabola. Raises ValueError when more than
    one in twenty resampled parabolas has no lowest point.
    """
    by = curves(runs)
    rng = torch.Generator().manual_seed(seed)
    fits, apart = [], []
    for N, _ in by.values():
        x = torch.tensor([float(n) for n in N], dtype=torch.float64).log()
        fits.append([x - x.mean(), x.mean()])
    for fit, C in zip(fits, by):
        mine = [run for run in runs if run.C == C]
        x = torch.tensor([math.log(run.N) for run in mine], dtype=torch.float64) - fit[1]
        X = torch.stack([x ** 0, x, x * x], 1)
        y = torch.tensor([run.loss for run in mine], dtype=torch.float64)
        coefficients = torch.linalg.lstsq(X, y).solution
        rest = y - X @ coefficients
        apart.append(rest * (len(y) / max(1, len(y) - 3)) ** 0.5)
        fit += [X, X @ coefficients]
    apart = torch.cat(apart)
    logs, bad = [], 0
    for fit in fits:
        _, middle, X, smooth = fit
        drawn = apart[torch.randint(len(apart), (times, len(smooth)), generator=rng)]
        _, b, a = torch.linalg.lstsq(X, (smooth + drawn).T).solution
        bad += int((a <= 0).sum())
        logs.append(middle - b / (2 * a.clamp(min=1e-9)))
    if bad > times * len(fits) / 20:
        raise ValueError(f"{bad} of {times * len(fits)} resampled parabolas have no lowest point: "
                         "train more runs or spread the sizes wider")
    logs, c = torch.stack(logs), torch.tensor(list(by), dtype=torch.float64).log()
    c = c - c.mean()
    slopes = (c[:, None] * logs).sum(0) / c.square().sum()              # (times,)
    low, high = slopes.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    a = power_fit(list(by), [N for _, N, _, _ in optima(runs)])[1]
    return a, low, high
