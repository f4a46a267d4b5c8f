"""Two explorers of tokens that are no words: an image in patches, a sound in frames."""
import functools

import torch

from ..audio import hz_to_mel, log_mel, mel_to_hz, resample
from ..data import load_speech
from ..patches import digit_images, patchify, teach
from ..show import COLOURS, Figure, axis, layout, numbers
from .base import Explorer, choice, slider, switch

HIGH, LOW, EXAMPLES = 205, 155, 40                      # pixels, beside a player; images
RATE, SECONDS, DIGITS = 16000, 0.8, ("zero", "three", "six", "seven", "nine")
MADE = {"tone of 440 Hz": 440.0, "tone of 3,000 Hz": 3000.0}
RISING, NOISE = "a tone that rises", "noise"


@functools.cache
def trained(p, positions):
    """An encoder that reads digits in patches of p x p, trained in some seconds."""
    (x, y), _ = digit_images()
    return teach(patchify(x, p), y, seed=0, epochs=8, positions=positions, n_layers=1)


class PatchCutter(Explorer):
    """What is left of a digit when its patches are shuffled, and who notices?"""

    controls = {"number": slider(1, EXAMPLES, value=4, label="image"),
                "p": choice((2, 4, 8), 2, "patch (pixels)"),
                "mixed": switch(True, "shuffle the patches"),
                "positions": switch(True, "positions")}

    def compute(self, number, p, mixed, positions):
        _, (x, y) = digit_images()
        tokens = patchify(x[number - 1:number], p)                          # (1, n, p * p)
        n = tokens.shape[1]
        order = torch.randperm(n, generator=torch.Generator().manual_seed(number))
        shown = tokens[:, order] if mixed else tokens
        model = trained(p, positions)
        with torch.no_grad():
            belief = model(torch.cat([tokens, shown])).softmax(-1)          # (2, 10)
        side = 8 // p
        image = shown.view(side, side, p, p).transpose(1, 2).reshape(8, 8)
        return {"image": image, "tokens": shown[0], "belief": belief, "p": p,
                "truth": int(y[number - 1]), "mixed": mixed}

    def figure(self, result):
        p, belief, tokens = result["p"], result["belief"], result["tokens"]
        grey = {"type": "heatmap", "colorscale": "Greys", "zmin": 0, "zmax": 1, "showscale": False}
        data = [grey | {"name": "image", "z": numbers(result["image"], 3), "x": list(range(8)),
                        "y": list(range(8))},
                grey | {"name": "tokens", "z": numbers(tokens, 3), "xaxis": "x2", "yaxis": "y2",
                        "x": list(range(tokens.shape[1])), "y": list(range(len(tokens))),
                        "ygap": 2}]
        names = ("in order", "shuffled")[:1 + result["mixed"]]
        data += [{"type": "bar", "name": name, "x": list(range(10)), "y": numbers(row, 3),
                  "xaxis": "x3", "yaxis": "y3",
                  "marker": {"color": COLOURS[i], "pattern": {"shape": ("", "/")[i]}}}
                 for i, (name, row) in enumerate(zip(names, belief))]
        before, after = belief.argmax(-1).tolist()
        title = f"A {result['truth']}: read as {before}"
        shape = layout(title + (f", shuffled as {after}" if result["mixed"] else ""), height=HIGH)
        plain = {"showgrid": False, "zeroline": False, "constrain": "domain"}
        shape["xaxis"] = axis("image", domain=[0, 0.2], showticklabels=False, **plain)
        shape["yaxis"] = axis("", autorange="reversed", showticklabels=False, scaleanchor="x",
                              **plain)
        shape["xaxis2"] = axis("number in the token", domain=[0.3, 0.52], anchor="y2",
                               showgrid=False, zeroline=False, nticks=5)
        shape["yaxis2"] = axis("token", anchor="x2", autorange="reversed", showgrid=False,
                               zeroline=False, nticks=5)
        shape["xaxis3"] = axis("digit", domain=[0.64, 1], anchor="y3", dtick=1)
        shape["yaxis3"] = axis("belief", anchor="x3", range=[0, 1])
        edges = [i - 0.5 for i in range(0, 9, p)]
        shape["shapes"] = [{"type": "line", "line": {"color": COLOURS[1], "width": 2}, **ends}
                           for e in edges for ends in (
                               {"x0": e, "x1": e, "y0": -0.5, "y1": 7.5},
                               {"y0": e, "y1": e, "x0": -0.5, "x1": 7.5})]
        shape["legend"] = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.28}
        shape["margin"] |= {"t": 40, "b": 44}
        return Figure(data, shape, "")

    def describe(self, result, number, p, mixed, positions):
        n, belief = len(result["tokens"]), result["belief"]
        before, after = belief.argmax(-1).tolist()
        words = (f"{n} token{'s' * (n > 1)} of {p * p} numbers, positions "
                 f"{'on' if positions else 'off'}: the {result['truth']} is read as {before} "
                 f"({belief[0, before]:.0%})")
        if not mixed:
            return words + "."
        moved = float((belief[1] - belief[0]).abs().max())
        return words + (f"; shuffled as {after} ({belief[1, after]:.0%}). No belief moves by more "
                        f"than {100 * moved:.0f} points.")

    def invariants(self, result, number, p, mixed, positions):
        belief = result["belief"]
        assert torch.allclose(belief.sum(-1), torch.ones(2), atol=1e-5)
        if not (mixed and positions and p < 8):
            assert torch.allclose(belief[0], belief[1], atol=1e-4), "without positions no order"


def made(name):
    """A sound (T,) at RATE by its name: a digit of one voice, or computed."""
    if name in DIGITS:
        speech = load_speech()
        row = int((speech.labels == speech.words.index(name)).nonzero()[0, 0])
        return resample(speech.digits[row], speech.digit_hz, RATE)
    t = torch.arange(int(SECONDS * RATE), dtype=torch.float64) / RATE           # (T,) seconds
    if name == NOISE:
        rng = torch.Generator().manual_seed(0)
        return 0.1 * torch.randn(len(t), generator=rng)
    hz = torch.full_like(t, MADE[name]) if name in MADE else 200 * 20 ** (t / SECONDS)
    return (0.3 * (2 * torch.pi * hz.cumsum(0) / RATE).sin()).float()


class LogMelBench(Explorer):
    """What does a model see of what you hear?"""

    controls = {"name": choice((*DIGITS, *MADE, RISING, NOISE), "seven", "sound"),
                "n_mels": choice((10, 20, 40, 80), 40, "bands"),
                "hop": choice((5, 10, 20, 40), 10, "hop (ms)"),
                "gain": slider(-40, 20, value=0, step=10, label="gain (dB)")}

    def compute(self, name, n_mels, hop, gain):
        loud = made(name) * 10 ** (gain / 20)
        wave = loud.clamp(-1, 1)
        mel = 4 * log_mel(wave, RATE, n_mels, hop=hop * RATE // 1000) - 4
        top = hz_to_mel(torch.tensor(RATE / 2, dtype=torch.float64))
        hz = mel_to_hz(top * torch.arange(1, n_mels + 1) / (n_mels + 1))        # middles of bands
        return {"mel": mel, "wave": wave, "hz": hz, "hop": hop, "name": name,
                "cut": float((loud.abs() > 1).double().mean())}

    def sound(self, result):
        return result["name"], result["wave"], RATE

    def figure(self, result):
        mel, hz = result["mel"], result["hz"]
        n_mels, frames = mel.shape
        at = [round(i * result["hop"] / 1000, 3) for i in range(frames)]
        data = [{"type": "heatmap", "name": "log-mel", "z": numbers(mel, 2), "x": at,
                 "y": list(range(n_mels)), "colorscale": "Cividis",
                 "colorbar": {"title": {"text": "log10"}, "thickness": 12}}]
        shape = layout(f"{result['name']}: {frames} tokens of {n_mels} numbers", "seconds",
                       "middle (Hz)", LOW)
        ticks = list(range(0, n_mels, max(1, n_mels // 5)))
        shape["yaxis"] |= {"tickvals": ticks, "ticktext": [f"{hz[i]:,.0f}" for i in ticks],
                           "showgrid": False}
        shape["margin"] |= {"t": 34, "b": 44}
        return Figure(data, shape, "")

    def describe(self, result, name, n_mels, hop, gain):
        mel, hz = result["mel"], result["hz"]
        band = int(mel.mean(1).argmax())
        words = (f"{name}, {gain:+d} dB: {mel.shape[1]} frames of {n_mels} bands, "
                 f"{mel.numel():,} numbers where the wave has {len(result['wave']):,}. Loudest "
                 f"band: around {hz[band]:,.0f} Hz; mean {mel.mean():.2f}.")
        if result["cut"] > 0:
            words += f" {result['cut']:.0%} of the samples are cut off: new pitches appear."
        return words

    def invariants(self, result, name, n_mels, hop, gain):
        mel = result["mel"]
        assert mel.shape == (n_mels, len(result["wave"]) // (hop * RATE // 1000))
        assert mel.max() - mel.min() <= 8 + 1e-4 and bool(torch.isfinite(mel).all())
        if name in MADE and gain <= 0:
            nearest = int((result["hz"] - MADE[name]).abs().argmin())
            assert abs(int(mel.mean(1).argmax()) - nearest) <= 1, "a tone fills its own band"
