"""Two explorers: which tokens a setting keeps, and how far a reward model may be trusted."""
import functools

import torch
import torch.nn.functional as F

from .. import alignment as al
from ..generate import sharpened
from ..prompting import next_logits, smollm2
from ..show import COLOURS, SYMBOLS, Figure, bars, layout, notice, numbers
from .base import Explorer, choice, slider, text

HIGH, SHOWN = 205, 10                                   # pixels; bars
ALL = "all"


@functools.lru_cache(64)
def distribution(prompt):
    """Logits of the next token after a prompt: (vocab_size,)."""
    return next_logits(smollm2(), prompt)


class SamplingBench(Explorer):
    """Which tokens may come next, and which does your setting leave?"""

    controls = {"prompt": text("I would like to drink a cup of", "prompt",
                               ("", "The capital of France is", "1 2 3 4", "é 東京 \u2603")),
                "temperature": slider(0.0, 2.0, value=1.0, step=0.1, label="temperature"),
                "top_k": choice((ALL, 1, 5, 20, 100), label="top-k"),
                "top_p": slider(0.1, 1.0, value=0.9, step=0.1, label="top-p")}

    def compute(self, prompt, temperature, top_k, top_p):
        if len(prompt) > 2000:
            return {"missing": f"The prompt has {len(prompt):,} letters: write 2,000 at most"}
        logits = distribution(prompt)
        cut = sharpened(logits, temperature, None if top_k == ALL else top_k,
                        None if top_p == 1 else top_p)
        likely = logits.topk(SHOWN).indices
        return {"missing": "", "model": logits.softmax(-1), "kept": cut, "likely": likely,
                "names": [repr(piece)[1:-1] for piece in smollm2().pieces(likely)],
                "alive": int((cut > 0).sum())}

    def figure(self, result):
        if result["missing"]:
            return notice("No prompt to read", "shorten the prompt", HIGH)
        ticks = [f"{i + 1} {name}" for i, name in enumerate(result["names"])]
        made = bars({name: dict(zip(ticks, result[part][result["likely"]].tolist()))
                     for name, part in (("the model", "model"), ("your setting", "kept"))},
                    "probability", self.verdict(result), height=HIGH)
        for trace in made.data:
            trace["text"] = None
        made.layout["xaxis"] |= {"tickvals": ticks, "tickangle": 0, "tickfont": {"size": 11},
                                 "ticktext": [name[:9] or "''" for name in result["names"]]}
        top = max(float(result["model"].max()), float(result["kept"].max()))
        made.layout["yaxis"]["range"] = [0, 1.1 * top]
        made.layout["legend"] = {"x": 0.98, "y": 0.98, "xanchor": "right"}
        made.layout["margin"] |= {"t": 34, "b": 30}
        return made

    @staticmethod
    def verdict(result):
        alive = result["alive"]
        return ("One token is left: every reader gets the same text" if alive == 1 else
                f"{alive:,} of {len(result['model']):,} tokens may come next")

    def describe(self, result, prompt, temperature, top_k, top_p):
        if result["missing"]:
            return result["missing"] + "."
        first = int(result["likely"][0])
        return (f"After {prompt[-40:]!r} the likeliest token is {result['names'][0]!r}: "
                f"{result['model'][first]:.0%} for the model, {result['kept'][first]:.0%} at "
                f"temperature {temperature:.1f}, top-k {top_k}, top-p {top_p:.1f}. "
                f"{result['alive']:,} tokens are left.")

    def invariants(self, result, prompt, temperature, top_k, top_p):
        if result["missing"]:
            return
        kept = result["kept"]
        assert abs(float(kept.sum()) - 1) < 1e-4 and bool((kept >= 0).all())
        assert int(kept.argmax()) == int(result["model"].argmax())
        if top_k != ALL and temperature:
            assert result["alive"] <= top_k


BETAS = (3.0, 2.0, 1.4, 1.0, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03)


@functools.cache
def start_policy():
    return al.reference()


def prefer(r_win, r_lose):
    """Bradley and Terry's loss, as the lecture writes it."""
    return -F.logsigmoid(r_win - r_lose).mean()


@functools.cache
def reward_weights(pairs, seed):
    """A reward model from so many comparisons: (V,)."""
    return al.fit_rewards(*al.comparisons(start_policy(), pairs, seed), prefer, start_policy())


@functools.cache
def over_beta(pairs, seed):
    """What the best policy for each of BETAS gets: a list of judge()s, the start first."""
    start, weights = start_policy(), reward_weights(pairs, seed)
    policies = [start] + [al.best_policy(start, weights, beta) for beta in BETAS]
    return [al.judge(policy, weights, start) for policy in policies]


class OveroptimisationDial(Explorer):
    """How hard may you optimise a reward model before people like the result less?"""

    controls = {"beta": slider(0.05, 2.0, value=0.2, step=0.05, label="beta, the price of KL"),
                "pairs": choice((50, 500, 2000, 10_000), 2000, "comparisons"),
                "seed": slider(0, 4, value=0, label="seed")}

    def compute(self, beta, pairs, seed):
        start, weights = start_policy(), reward_weights(pairs, seed)
        policy = al.best_policy(start, weights, beta)
        return {"path": over_beta(pairs, seed), "here": al.judge(policy, weights, start),
                "reply": al.text(al.sample(policy, 1, torch.Generator().manual_seed(3))[0])}

    def figure(self, result):
        path, here = result["path"], result["here"]
        data = []
        for i, (name, part) in enumerate((("reward model", "proxy"), ("people", "true"))):
            data.append({"type": "scatter", "mode": "lines", "name": name,
                         "x": numbers([p.kl for p in path], 3),
                         "y": numbers([getattr(p, part) for p in path], 3),
                         "line": {"color": COLOURS[i], "width": 2, "dash": ("dash", "solid")[i]}})
            data.append({"type": "scatter", "mode": "markers", "name": f"{name}, at this beta",
                         "x": [numbers(here.kl, 3)], "y": [numbers(getattr(here, part), 3)],
                         "showlegend": False,
                         "marker": {"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 12}})
        shape = layout(f"The reward model sees {here.proxy:+.1f}, people think {here.true:+.1f}",
                       "KL from the start (nats)", "mean reward", HIGH, showlegend=True)
        shape["yaxis"]["range"] = [-5, 7.5]
        shape["xaxis"]["range"] = [-0.5, 21]
        shape["legend"] = {"x": 0.02, "y": 0.04, "bgcolor": "rgba(255,255,255,0.7)"}
        shape["margin"] |= {"t": 34, "b": 44}
        return Figure(data, shape, "")

    def describe(self, result, beta, pairs, seed):
        path, here = result["path"], result["here"]
        best = max(path, key=lambda p: p.true)
        return (f"Beta {beta:.2f}, {here.kl:.1f} nats from the start: reward model "
                f"{here.proxy:.1f}, people {here.true:.1f}; people's best on this curve is "
                f"{best.true:.1f} at {best.kl:.1f} nats. It writes: {result['reply']}.")

    def invariants(self, result, beta, pairs, seed):
        path = result["path"]
        for before, after in zip(path, path[1:]):       # a lower price buys more KL and more proxy
            assert after.kl > before.kl - 1e-4 and after.proxy > before.proxy - 1e-4
        assert abs(path[0].proxy) < 1e-3 and path[0].kl < 1e-4
