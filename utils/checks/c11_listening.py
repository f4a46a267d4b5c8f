"""The check of lecture 11 for a model that hears letters, and the tones it hears."""
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from ..audio import log_mel
from .c11_sound import distance
from .engine import exercise
from .probe import first_optimiser

LETTERS, START, END, PAD = "abcde", 5, 6, 7             # ids 0 to 4 are letters
VOCAB = len(LETTERS) + 3
RATE, N_FFT, HOP, MELS, FRAMES, MOST = 8000, 200, 160, 20, 24, 3
HEARD, UNHEARD = ((0.90, 0.96), (1.04, 1.10)), ((0.96, 1.04),)
LEARN_SECONDS, STEPS, ENOUGH = 7.0, 400, 0.1


def voices(B, bands, generator):
    """(B, 1): how high each voice is, a factor of all its pitches, from one of some bands."""
    which = torch.randint(len(bands), (B,), generator=generator)
    low, high = torch.tensor(bands, dtype=torch.float32)[which].T
    return (low + (high - low) * torch.rand(B, generator=generator, dtype=torch.float32))[:, None]


def spoken_tones(B, generator, bands=HEARD):
    """B texts of 1 to 3 letters, each spoken in a voice: waves (B, T), ids (B, 5).

    A letter is a tone, 300 Hz for "a" and half as much again for each further letter, times the
    voice; it lasts .06 to .1 s, and .03 s of silence follow. ids: START, letters, END, PAD.
    """
    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float32)
    n = torch.randint(1, MOST + 1, (B, 1), generator=generator)
    letters = torch.randint(len(LETTERS), (B, MOST), generator=generator)
    lasts = uniform(0.06, 0.1, B, MOST)
    begins = (lasts + 0.03).cumsum(1) - lasts - 0.03 + uniform(0, 0.04, B, 1)       # (B, MOST) s
    pitch = 300 * 1.5 ** letters * voices(B, bands, generator)
    t = torch.arange(FRAMES * HOP, dtype=torch.float32) / RATE                      # (T,) s
    wave = 0.02 * torch.randn(B, len(t), generator=generator, dtype=torch.float32)
    loud = uniform(0.3, 1, B, 1)
    for k in range(MOST):
        since = t - begins[:, k:k + 1]
        sounds = (since >= 0) & (since < lasts[:, k:k + 1]) & (k < n)
        wave = wave + loud * sounds * torch.sin(2 * math.pi * pitch[:, k:k + 1] * t)
    ids = torch.full((B, MOST + 2), PAD)
    ids[:, 0], ids[:, 1:-1] = START, torch.where(torch.arange(MOST) < n, letters, PAD)
    return wave, ids.scatter(1, n + 1, END)


def heard_tones(B, generator, bands=HEARD):
    """The same as a model hears it: log-mels (B, 20, 24) and ids (B, 5)."""
    wave, ids = spoken_tones(B, generator, bands)
    return log_mel(wave, RATE, MELS, N_FFT, HOP), ids


def text_of(ids):
    """Ids, without START, up to END, as letters."""
    out = ""
    for i in ids:
        if int(i) == END:
            break
        out += LETTERS[int(i)] if 0 <= int(i) < len(LETTERS) else "?"
    return out


def moves(a, b, tol=1e-7):
    return bool(((a - b).abs() > tol).any())


def shaped(probe, made, mels, ids, where):
    """Shapes of encode and of the logits: returns both."""
    (B, _, T), L = mels.shape, ids.shape[1]
    rows = probe.call(made.encode, mels)
    probe.type(rows, torch.Tensor, "encode gives one tensor")
    came = tuple(rows.shape)
    probe.true(len(came) != 3 or came[:2] != (B, T), "stride", f"{where}: encode gives {T} places "
               f"for {T} frames: the second convolution goes in steps of 2")
    probe.true(len(came) == 3 and came[:2] == (B, T // 2), "encoded", f"{where}: encode gives "
               f"({B}, {T // 2}, d), came {came}")
    out = probe.call(made, mels, ids)
    probe.type(out, torch.Tensor, "forward gives logits")
    probe.shape(out, (B, L, VOCAB), "logits", f"{where}: logits for each id")
    return rows, out


def structure(answer, probe):
    """A model of random weights: who hears whom?"""
    B, L, T, where = 3, 5, FRAMES, "Listener(20, 8), mels (3, 20, 24), ids (3, 5)"
    made = probe.call(answer, MELS, VOCAB)
    probe.type(made, nn.Module, "Listener(...) makes a torch.nn.Module")
    probe.true(callable(getattr(made, "encode", None)), "type", "Listener needs a method `encode`")
    mels, ids = probe.normal(B, MELS, T), probe.ints(0, len(LETTERS), B, L)
    with torch.no_grad():
        made = made.double()
        _, out = shaped(probe, made, mels, ids, where)
        probe.true(bool((out < 0).any()) or moves(out.sum(-1), torch.ones(B, L), 1e-5), "softmax",
                   f"{where}: these are shares that sum to 1: logits come before the softmax")
        probe.true(torch.equal(out, probe.call(made, mels, ids)), "random", f"{where}: "
                   "twice the same input, two results: no dropout here")
        twin = probe.call(answer, MELS, VOCAB).double()
        probe.true(made.state_dict().keys() == twin.state_dict().keys(), "not-saved", f"{where}: "
                   "two such models hold weights of other names")
        twin.load_state_dict(made.state_dict())
        probe.true(not moves(twin(mels, ids), out, 1e-5), "not-saved", f"{where}: a second "
                   "model with all weights of the first gives other logits: something random is "
                   "neither nn.Parameter nor in a registered module, and would not be trained")
        for p in made.parameters():                         # as if trained a little
            p.data = p.data + probe.normal(*p.shape, scale=0.1)
        rows, out = shaped(probe, made, mels, ids, where)

        def again(mels=mels, ids=ids):
            return probe.call(made, mels, ids)
        probe.true(not moves(probe.call(made.encode, mels[1:2]), rows[1:2], 1e-6)
                   and not moves(again(mels[1:2], ids[1:2]), out[1:2], 1e-6), "batch", f"{where}: "
                   "sound 1 alone gives other logits than among others: what mixes the batch?")
        probe.true(moves(again(1.5 * mels), out) and moves(again(mels.roll(1, 0)), out), "deaf",
                   f"{where}: another sound, the same logits: the decoder must look at what encode "
                   "gives (`memory`)")
        for frame in (0, T // 2, T - 1):
            other = mels.clone()
            other[:, :, frame] += 1
            probe.true(moves(again(other), out), "half-deaf", f"{where}: frame {frame} of the "
                       "sound changes nothing")
        other = mels.clone()
        other[:, :, -1] += 1
        probe.true(moves(probe.call(made.encode, other)[:, 0], rows[:, 0]), "blind-encoder",
                   f"{where}: place 0 of encode does not know of the last frame: the encoder has "
                   "blocks, and no causal mask")
        remembers(probe, made, mels, ids, rows, where)
        for t in range(1, L):
            other = ids.clone()
            other[:, t] = (ids[:, t] + 1) % len(LETTERS)
            moved = (again(ids=other) - out).abs().amax((0, 2)) > 1e-7
            probe.true(not bool(moved[:t].any()), "leak", f"{where}: id {t} changed, and the "
                       f"logits at position {int(moved.int().argmax())} with it: the decoder sees "
                       "the future")
            probe.true(bool(moved[t:].all()), "forgets", f"{where}: id {t} changed, and the logits "
                       f"at position {t + int((~moved[t:]).int().argmax())} did not: each position "
                       "looks at all ids up to its own")
        other = ids.clone()
        other[:, 0], other[:, 1] = 1, 2
        swapped = other.clone()
        swapped[:, 0], swapped[:, 1] = 2, 1
        probe.true(moves(again(ids=other)[:, 3], again(ids=swapped)[:, 3]), "no-order", f"{where}: "
                   "two earlier ids exchanged, and nothing changed: the decoder needs positions")
        tone = mels.clone()
        tone[:, :, 4:] = mels[:, :, 4:5]                    # equal frames, away from the edges
        rows = probe.call(made.encode, tone)
        probe.true(moves(rows[:, 6], rows[:, 8], 1e-6), "no-time", f"{where}: in a steady tone "
                   "places 6 and 8 of encode are equal: add positions before the blocks, else an "
                   "early tone and a late one are the same to the decoder")
    probe.call(made, mels, ids).square().sum().backward()
    for name, p in made.named_parameters():
        probe.true(p.grad is not None, "unused", f"{where}: no gradient reaches the parameter "
                   f"{name}: what is not used must not be there")


def remembers(probe, made, mels, ids, rows, where):
    """Does the decoder look at all rows that encode gives, each by itself?"""
    asked = []

    def forward(memory):
        def encode(*given, **how):
            asked.append(given)
            return memory
        object.__setattr__(made, "encode", encode)
        try:
            return probe.call(made, mels, ids)
        finally:
            object.__delattr__(made, "encode")
    memory, other = probe.normal(*rows.shape), probe.normal(*rows.shape)
    base = forward(memory)
    probe.true(bool(asked), "encode-unused", f"{where}: forward does not call self.encode: one way "
               "for both, so that they cannot differ")
    for place, name in ((0, "first"), (-1, "last")):
        other[:, place] = memory[:, place]
        probe.true(moves(forward(other), base), "one-place", f"{where}: the decoder looks at the "
                   f"{name} place of what encode gives and at no other")
    even = memory - memory.mean(1, keepdim=True)
    probe.true(moves(forward(memory + 0.5 * even), base), "mean-of-sound", f"{where}: places of "
               "encode were changed so that their mean stayed, and the logits did not move: the "
               "decoder must look at each place, not at their mean")


class Script:
    """A model that says given texts, whatever comes, and END after them for ever.

    Row b is found by its sound, so that it may be asked alone or among others.
    """

    def __init__(self, texts, probe):
        self.texts, self.asked = texts, 0
        self.mels = torch.arange(len(texts)).float()[:, None, None].expand(-1, MELS, 4)
        self.noise = probe.uniform(200, VOCAB).float()

    def __call__(self, mels, ids):
        self.asked += 1
        B, L = ids.shape
        if len(mels) != B:
            raise ValueError(f"{len(mels)} sounds and {B} rows of ids")
        logits = self.noise[:B * L].view(B, L, VOCAB).clone()
        for b in range(B):
            said = [START, *self.texts[int(mels[b, 0, 0])], END]
            for t in range(L):
                if ids[b, :t + 1].tolist() == said[:t + 1] and t + 1 < len(said):
                    logits[b, t, said[t + 1]] += 1.2
                elif END in ids[b, :t + 1]:
                    logits[b, t, 0] += 1.2                  # what follows END is not text
                else:
                    logits[b, t, 1] += 1.2                  # lost the thread
        return logits

    def __deepcopy__(self, memo):
        return self

    def encode(self, mels):
        return mels

    def eval(self):
        return self


def decoding(transcribe, probe):
    """Does transcribe follow a model that says given texts?"""
    texts = [[2, 0, 4], [], [4], [3, 3, 0, 1, 1], [0]]
    for which, most, where in (([0], 8, "one sound"), ([2], 8, "one sound of one letter"),
                               ([0, 1, 2, 3, 4], 8, "five sounds"), ([3, 0], 3, "most = 3"),
                               ([3], 5, "most = 5, 5 letters"), ([1], 4, "no letter"),
                               ([4, 4], 1, "most = 1")):
        model = Script(texts, probe)
        out = probe.call(transcribe, model, model.mels[which], most)
        probe.type(out, (list, tuple), "transcribe gives a list with a list of ids for each sound")
        where = f"transcribe, a scripted model, {where}"
        probe.true(len(out) == len(which), "decode-count", f"{where}: expected a list for each "
                   f"sound, {len(which)}, came {len(out)}")
        probe.true(len(out) == 1 or list(out[0]) != list(out[1]) or texts[which[0]][:most] == texts[
            which[1]][:most], "one-text", f"{where}: two sounds, and the text {out[0]!r:.60} for "
            "both: each row of ids belongs to its own sound")
        for b, row in enumerate(out):
            row = row.tolist() if isinstance(row, torch.Tensor) else row
            probe.type(row, (list, tuple), f"{where}: the ids of a text, as a list")
            row, want = [int(i) for i in row], texts[which[b]][:most]
            for code, wrong, why in (
                    ("keeps-start", [START, *want], "START is no letter of the text: leave it out"),
                    ("keeps-both", [START, *want, END], "START and END are no letters of the text"),
                    ("keeps-end", [*want, END], "END is no letter of the text: leave it out"),
                    ("one-short", want[:-1], "the last letter is missing")):
                probe.true(row != wrong or row == want, code, f"{where}: {why}. Expected {want}, "
                           f"came {row}")
            probe.true(END not in row, "keeps-end", f"{where}: expected {want}, came {row}: a text "
                       "ends before END")
            probe.true(row[:len(want)] != want or len(row) == len(want), "goes-on" if len(
                texts[which[b]]) < most else "most", f"{where}: expected {want}, came {row}: a row "
                "ends at its END, or after `most` letters")
            probe.equal(row, want, "decode", where)
    probe.true(model.asked <= 2, "decode-steps", f"transcribe asked the model {model.asked} times "
               "for most = 1")


def trained(answer, transcribe, probe):
    """(error rate on unheard voices, that of guessing, steps taken) after training."""
    made = probe.call(answer, MELS, VOCAB).float()
    adam = torch.optim.AdamW(made.parameters(), lr=5e-3, betas=(0.9, 0.98), fused=True)
    mels, ids = heard_tones(600, probe.generator)
    begun, step, streak = time.monotonic(), 0, 0
    while step < STEPS and streak < 4 and time.monotonic() < begun + LEARN_SECONDS:
        for group in adam.param_groups:
            group["lr"] = 5e-3 * min(1, (step + 1) / 30)
        which = probe.ints(0, len(ids), 32)
        logits, targets = made(mels[which], ids[which, :-1]), ids[which, 1:]
        adam.zero_grad()
        F.cross_entropy(logits.mT, targets, ignore_index=PAD).backward()
        nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        adam.step()
        right = (logits.argmax(-1) == targets) | (targets == PAD)
        streak = streak + 1 if float(right.double().mean()) > 0.985 else 0
        step += 1
    mels, ids = heard_tones(100, probe.generator, UNHEARD)
    refs = [text_of(row[1:]) for row in ids]
    with torch.no_grad():
        said = [text_of(row) for row in probe.call(transcribe, made, mels, MOST + 1)]
    letters = sum(map(len, refs))
    guess = sum(distance(ref, other) for ref, other in zip(refs, refs[1:] + refs[:1]))
    return sum(map(distance, refs, said)) / letters, guess / letters, step


@exercise("11.7", before=first_optimiser, hints=(
    "Three questions to a model of random weights: do the logits change with the first and the "
    "last frame of the sound? Does an id change the logits before it? In a steady tone, are two "
    "places of encode different? Yes, no, yes.",
    "One Stack that is not causal hears; another, causal and with cross=True, writes, and takes "
    "memory=... Conv1d has channels before time, a Stack after it. Where are positions added, for "
    "the sound and for the text? If it does not learn, print the spread of what enters each Stack: "
    "torch's own start fits d = 32, one of .02 takes far longer.",
    "encode: first convolution, gelu; second, in steps of 2, gelu; exchange channels and time\n"
    "    add the waves of sinusoidal positions; through the Stack that hears\n"
    "forward: a vector for each id plus one for its place; through the Stack that writes, with\n"
    "    encode's rows as memory; a linear map to logits\n"
    "transcribe: ids = START for each sound; most times: the best next id of each, appended\n"
    "    cut each row at its first END, drop START"))
def listener(answer, transcribe, probe):
    torch.set_num_threads(1)                                # small tensors: two threads only wait
    probe.true(not isinstance(answer, nn.Module), "type", "pass the class Listener, not a model")
    structure(answer, probe)
    decoding(transcribe, probe)
    rate, guess, steps = trained(answer, transcribe, probe)
    probe.true(rate <= ENOUGH, "does-not-learn", f"after {steps} steps of training on spoken tones "
               f"the error rate on unheard voices is {rate:.2f}; below {ENOUGH} is possible, "
               f"guessing gives {guess:.2f}. Is it small enough to learn in {LEARN_SECONDS:g} s "
               "(d of 32, a layer each)? Are the first weights large enough, and sound, positions "
               "and ids of like size where they are added?")
