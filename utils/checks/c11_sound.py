"""The checks of lecture 11 for sound: the log-mel spectrogram, and the character error rate."""
import itertools
import math

import torch

from ..audio import mel_filters
from .c08_known import Judge
from .engine import exercise

FLOOR = 1e-10


def frames(wave, n_fft, hop, mode="reflect", centred=True, last=False):
    """(frames, n_fft) samples, one row for each hop."""
    if centred:
        side = n_fft // 2
        wave = torch.nn.functional.pad(wave[None, None], (side, side), mode=mode)[0, 0] if (
            mode != "zeros") else torch.nn.functional.pad(wave, (side, side))
    rows = wave.unfold(0, n_fft, hop)
    return rows if last or not centred else rows[:(len(wave) - 2 * (n_fft // 2)) // hop]


def mel(wave, sr, n_mels, hop, n_fft=None, periodic=True, window=1, power=2.0, last=False,
        mode="reflect", centred=True, filters=None, log=lambda m: m.clamp(min=FLOOR).log10(),
        first=lambda s: s):
    """The log-mel spectrogram (n_mels, frames), or what comes out with one part replaced."""
    n_fft = n_fft or sr // 40
    rows = frames(wave, n_fft, hop, mode, centred, last)
    rows = rows * torch.hann_window(n_fft, periodic, dtype=wave.dtype) ** window
    spectrum = first(torch.fft.rfft(rows).abs().pow(power))             # (frames, n_fft // 2 + 1)
    filters = mel_filters(n_mels, n_fft, sr) if filters is None else filters
    return log(spectrum @ filters.to(spectrum).T).T


def whisper(m):
    m = m.clamp(min=FLOOR).log10()
    return (torch.maximum(m, m.max() - 8) + 4) / 4


def wrong_mels(wave, sr, n_mels, hop, where):
    """{code: (result of a well-known mistake, what it is)}."""
    given, n_fft = (wave, sr, n_mels, hop), sr // 40
    right, filters = mel(*given), mel_filters(n_mels, n_fft, sr)
    peak = filters / filters.amax(1, keepdim=True)
    step = n_fft // 2 // n_mels
    even = torch.zeros_like(filters)
    for m in range(n_mels):
        even[m, m * step:(m + 1) * step] = 1 / step
    table = {
        "no-window": (mel(*given, window=0), "the Hann window is missing: the edges of a frame "
                      "smear a tone over all bands"),
        "window-ends": (mel(*given, periodic=False), "the window is symmetric: torch.hann_window "
                        "is periodic unless told otherwise"),
        "window-twice": (mel(*given, window=2), "the window is applied twice"),
        "amplitude": (mel(*given, power=1.0), "the size of each frequency, not its square"),
        "natural-log": (right * math.log(10), "the natural logarithm: the decimal one is asked "
                        "for"),
        "base-two": (right / math.log10(2), "the logarithm to base 2: the decimal one is asked "
                     "for"),
        "decibel": (10 * right, "these are decibels: without the factor 10"),
        "no-log": (10 ** right, "the logarithm is missing"),
        "log-one-plus": (mel(*given, log=lambda m: torch.log1p(m)), "log(1 + power) is no "
                         "logarithm for small powers: a louder wave would not shift it"),
        "log-first": (mel(*given, first=lambda s: s.clamp(min=FLOOR).log10(), log=lambda m: m),
                      "the logarithm comes before the filters: they add powers"),
        "zero-padded": (mel(*given, mode="zeros"), "beyond its ends the wave is zero: mirror it"),
        "repeated": ([mel(*given, mode="replicate"), mel(*given, mode="circular")], "beyond its "
                     "ends the wave repeats: mirror it"),
        "other-frame": ([mel(*given, n_fft=n) for n in (2 * hop, 4 * hop, sr // 50, 400, 512)
                         if hop <= n < 2 * len(wave) and n // 2 > n_mels],
                        "frames have another length than sr // 40 samples"),
        "peaks": (mel(*given, filters=peak), "the filters are scaled to a peak of 1: use them as "
                  "they come"),
        "filters-mean": ([mel(*given, filters=filters / filters.sum(1, keepdim=True)),
                          mel(*given, filters=filters / filters.shape[1])], "the filters are "
                         "scaled: use them as they come"),
        "no-mel": (mel(*given, filters=even), "bands of equal width in Hz: the mel filters are not "
                   "used"),
        "whisper": (mel(*given, log=whisper), "this has Whisper's last step too, the range of 8 "
                    "below the loudest: stop at the logarithm"),
        "normalised": ([mel(wave / wave.abs().max(), sr, n_mels, hop), right - right.max(),
                        right - right.mean(), (right - right.mean()) / right.std(),
                        right - right.mean(1, keepdim=True)], "a wave ten times louder must give "
                       "results larger by 2: here loudness is taken out"),
        "divided": ([right - math.log10(n) for n in (n_fft, n_fft ** 2, n_fft / 2, float(
            torch.hann_window(n_fft).square().sum()), float(torch.hann_window(n_fft).sum()) ** 2)],
            "the power is divided by a constant: take it as it comes"),
        "upside-down": (right.flip(0), "the bands run from high to low"),
        "backwards": (right.flip(1), "time runs backwards"),
        "first-missing": (mel(*given, last=True)[:, 1:] if mel(*given, last=True).shape[1] ==
                          right.shape[1] + 1 else right + 1e3, "the first frame was dropped: drop "
                          "the last, so that frame i is centred on sample i * hop"),
        "late": (mel(torch.nn.functional.pad(wave, (0, n_fft)), sr, n_mels, hop, centred=False)[
            :, :right.shape[1]], "frame i begins at sample i * hop: it is centred there"),
        "sign": (-right, "the sign is wrong")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("11.5", hints=(
    "A pure tone must be loudest in one band, and ten times the wave must add 2 everywhere: the "
    "power is 100 times larger. 30 s at 16000 Hz with a hop of 160 give 3000 frames. Which of the "
    "three fails?",
    "Print shapes on the way: padded wave, frames (count, n_fft), spectrum (count, n_fft // 2 + "
    "1), bands. torch.stft does the first steps at once if you give it the window. Is the spectrum "
    "squared before the filters and the logarithm taken after them?",
    "a frame is a fortieth of a second; half of one, mirrored, goes before and after the wave\n"
    "frames, a new one every hop; as many as T // hop\n"
    "each times the Hann window; rfft; squared size\n"
    "mel filters times this; nothing below 1e-10; log10"))
def log_mel(answer, probe):
    def call(wave, sr, n_mels, hop):
        out = probe.call(answer, wave, sr, n_mels, hop)
        where, count = f"wave of {len(wave)} samples, sr = {sr}, hop = {hop}", len(wave) // hop
        probe.type(out, torch.Tensor)
        came, n_fft = tuple(out.shape), sr // 40
        probe.true(came != (count, n_mels) or count == n_mels, "transposed", f"{where}: bands come "
                   f"first: expected {(n_mels, count)}, came {came}")
        probe.true(came not in ((n_fft // 2 + 1, count), (n_fft // 2 + 1, count + 1)), "no-mel",
                   f"{where}: all {n_fft // 2 + 1} frequencies came: the filters gather them into "
                   f"{n_mels} bands")
        probe.true(came[:1] != (n_mels,) or len(came) != 2 or came[1] != count + 1, "one-more",
                   f"{where}: {count + 1} frames came: drop the last, so that T // hop = {count} "
                   "are left")
        probe.true(came[:1] != (n_mels,) or len(came) != 2 or came[1] != max(
            0, (len(wave) - n_fft) // hop + 1), "not-centred", f"{where}: {came[-1]} frames came, "
            f"those that fit inside: mirror n_fft // 2 samples at both ends, so that {count} fit")
        probe.shape(out, (n_mels, count), "frames" if came[:1] == (n_mels,) else "shape",
                    f"{where}: {n_mels} bands, T // hop frames")
        probe.true(not out.is_complex(), "type", f"{where}: real numbers, came {out.dtype}")
        return out
    sizes = ((1600, 8000, 12, 80), (2205, 16000, 20, 160), (1703, 8000, 9, 100),
             (1000, 12000, 14, 75))
    rich = [(probe.normal(T, scale=0.3), sr, n, hop) for T, sr, n, hop in sizes]
    judge = Judge(probe, call, mel, wrong_mels, rich, 1e-4)
    zeros = probe.call(answer, probe.zeros(800), 8000, 12, 80)
    probe.finite(zeros, "silence", "800 zeros: the logarithm of 0 is not finite: nothing below "
                 "1e-10 enters it")
    call(probe.normal(30 * 16000), 16000, 40, 160)
    for wave, sr, n_mels, hop in rich:
        judge.compare(wave, sr, n_mels, hop, where=f"noise of {len(wave)} samples, sr = {sr}, "
                      f"n_mels = {n_mels}, hop = {hop}")
    probe.equal(call(probe.zeros(800), 8000, 12, 80), torch.full((12, 10), -10.0).double(),
                "silence-value", "800 zeros: 1e-10 is the least that enters the logarithm, which "
                "is -10 then", 1e-6)
    quiet = probe.normal(800, scale=1e-5)
    probe.equal(call(quiet, 8000, 12, 80), mel(quiet, 8000, 12, 80), "floor", "noise near the "
                "floor: powers above 1e-10 stay as they are, smaller ones become 1e-10", 1e-3)
    probe.true(torch.equal(call(quiet, 8000, 12, 80), call(quiet, 8000, 12, 80)), "random", "twice "
               "the same wave, two results: nothing random enters")
    for hz in (250.0, 700.0, 1500.0, 3000.0):
        wave = 0.5 * torch.sin(2 * math.pi * hz * torch.arange(4000).double() / 8000)
        want, where = mel(wave, 8000, 16, 80), f"a tone of {hz:.0f} Hz, sr = 8000, n_mels = 16"
        out = call(wave, 8000, 16, 80)
        middle = slice(5, 45)
        probe.equal(out[:, middle].argmax(0), want[:, middle].argmax(0), "tone", f"{where}: the "
                    "loudest band in each frame")
        known = {"range": (torch.maximum(want, want.max() - 8), f"{where}: what is more than 8 "
                           "below the loudest was cut off, as Whisper does: here it stays")}
        probe.equal(out, want, "tone-value", where, 1e-3, known)
        probe.equal(call(10 * wave, 8000, 16, 80), mel(10 * wave, 8000, 16, 80), "gain", f"{where},"
                    " ten times louder: larger by 2 where it is above the floor", 1e-3)


def distance(a, b, swap=1, transpose=False):
    """Fewest insertions, deletions and substitutions that turn a into b (Levenshtein 1966)."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + swap * (x != y))
            if transpose and i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def free(a, b, start=False, end=False):
    """Edit distance whose first row costs nothing, or whose last may be left early."""
    row = [0] * (len(b) + 1) if start else list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (x != y)))
        row = new
    return min(row) if end else row[-1]


def wrong_distances(a, b, where):
    """{code: (result of a well-known mistake, what it is)}."""
    def greedy(a, b):
        i = j = cost = 0
        while i < len(a) and j < len(b):
            if a[i] == b[j]:
                i, j = i + 1, j + 1
            else:
                cost += 1
                i, j = ((i, j + 1) if len(a) - i < len(b) - j else (i + 1, j)
                        if len(a) - i > len(b) - j else (i + 1, j + 1))
        return cost + len(a) - i + len(b) - j
    zipped, bag = sum(x != y for x, y in zip(a, b)), sum(
        abs(a.count(c) - b.count(c)) for c in set(a + b))
    common = (len(a) + len(b) - distance(a, b, swap=2)) // 2
    last = distance(a[:-1], b[:-1])
    words = distance(a.split(), b.split())
    table = {
        "position": ([zipped + abs(len(a) - len(b)), zipped, sum(
            x != y for x, y in itertools.zip_longest(a, b))], "letters are compared place by "
            "place: after one missing letter all others would be wrong"),
        "length": (abs(len(a) - len(b)), "this is the difference of the lengths"),
        "bag": ([bag, (bag + 1) // 2, len(set(a) ^ set(b)), len(set(a) - set(b)), bag // 2,
                 (bag + abs(len(a) - len(b))) // 2],
                "letters are counted: their order matters"),
        "substitution": (distance(a, b, swap=2), "a substitution costs 2: it is one edit"),
        "common": ([common, max(len(a), len(b)) - common], "the letters that both have in order "
                   "are counted: count edits"),
        "one-way": ([len(b) - common, len(a) - common], "insertions or deletions cost nothing: "
                    "each is one edit"),
        "transposition": (distance(a, b, transpose=True), "two neighbours that change places count "
                          "once: that takes two edits"),
        "free-start": ([free(a, b, start=True), free(b, a, start=True)], "the first row, or "
                       "column, of the table is 0: to turn nothing into j letters takes j edits"),
        "free-end": ([free(a, b, end=True), free(b, a, end=True), free(a, b, True, True),
                      free(b, a, True, True)], "the smallest number of the last row: the "
                     "distance stands in its last place"),
        "one-early": (last, "the last letters are left out"),
        "first-missing": (distance(a[1:], b[1:]), "the first letters are left out"),
        "greedy": (greedy(a, b), "the first difference decides at once: the table tries all ways"),
        "words": (words, "words are compared: here letters are, the space among them"),
        "normalised": ([distance(a.lower(), b.lower()), distance(a.strip(), b.strip()), distance(
            a.replace(" ", ""), b.replace(" ", "")), distance(a.lower().strip(), b.lower().strip())
            ], "capital letters and spaces count as they are"),
        "same-or-not": (int(a != b), "1 for any difference: count the edits"),
        "divided": ([distance(a, b) / max(len(a), 1), distance(a, b) / max(len(b), 1)],
                    "the number of edits: cer divides"),
        "similarity": (max(len(a), len(b)) - distance(a, b), "this counts what is equal")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def wrong_rates(ref, hyp, where):
    """{code: (result of a well-known mistake, what it is)}, with n letters in ref, m in hyp."""
    d, n, m = distance(ref, hyp), max(len(ref), 1), max(len(hyp), 1)
    words = distance(ref.split(), hyp.split()) / max(len(ref.split()), 1)
    table = {
        "by-hyp": (d / m, "divided by the letters of hyp: by those of ref, which does not depend "
                   "on what a model says"),
        "by-longest": ([d / max(n, m), 2 * d / (n + m), d / (n + m)], "divided by the longer of "
                       "the two, or by both: by the letters of ref, so that it may pass 1"),
        "clipped": (min(d / n, 1.0), "cut off at 1: a model that says too much may pass it"),
        "accuracy": ([1 - d / n, max(0.0, 1 - d / n)], "this is 1 minus the rate: 0 means no "
                     "error"),
        "percent": (100 * d / n, "in percent: a share is asked for"),
        "not-divided": (float(d), "the number of edits: divide by the letters of ref"),
        "words": (words, "the rate of words: here letters count"),
        "rounded": ([round(d / n, k) for k in range(4)] + [d // n], "rounded: keep all digits"),
        "plus-one": ([d / (n + 1), (d + 1) / n, (d + 1) / (n + 1)], "off by one"),
        "same-or-not": (float(ref != hyp), "1 for any difference")}
    return {code: (values, f"cer: {where}: {why}") for code, (values, why) in table.items()}


def garbled(probe, text, edits):
    """A text after some random edits."""
    letters = list(text)
    for _ in range(edits):
        kind, letter = int(probe.ints(0, 3)), "abcde "[int(probe.ints(0, 6))]
        place = int(probe.ints(0, len(letters) + (kind == 0) or 1))
        if kind == 0:
            letters.insert(place, letter)
        elif letters:
            letters[place:place + 1] = [letter] if kind == 1 else []
    return "".join(letters)


def spoken(probe, length):
    return "".join("abcde "[i] for i in probe.ints(0, 6, length))


@exercise("11.6", hints=(
    "'six' and 'sixes' are 2 apart, 'tuna' and 'una' 1, '' and 'ab' 2. Exchange the two texts: the "
    "distance stays, the rate does not. cer('no', 'nothing') is 2.5: more than 1 is possible.",
    "Fill a table: place i, j holds the distance of the first i letters of one and the first j of "
    "the other. Which three neighbours lead there, and what does each step cost? What stands in "
    "the first row and column? Calling yourself without a table takes ages for 200 letters.",
    "row 0 holds 0, 1, 2, ... up to the letters of b\n"
    "for each letter of a: a new row; its first number is one more than that above\n"
    "    then the least of: above plus 1, left plus 1, above left plus 1 if the letters differ\n"
    "the last number of the last row; cer divides it by the letters of ref"))
def error_rate(edit_distance, cer, probe):
    def apart(a, b):
        out = probe.call(edit_distance, a, b)
        if isinstance(out, torch.Tensor) and out.numel() == 1:
            out = out.item()
        probe.type(out, (int, float), "edit_distance gives a number")
        return out

    def rate(ref, hyp):
        out = probe.call(cer, ref, hyp)
        if isinstance(out, torch.Tensor) and out.numel() == 1:
            out = out.item()
        probe.type(out, (int, float), "cer gives a number")
        return float(out)
    texts = [("nine eight two", "nin eigth two o"), ("kitten", "sitting"), ("abcdef", "bcdefa"),
             ("Two six", " two  sax"), ("abab cab", "baba"), ("a cab", "cabbage bed"),
             ("one two", "two one"), ("abcabcabc", "cabcab")]
    for k in range(6):
        text = spoken(probe, 6 + k)
        texts.append((text, garbled(probe, text, 1 + k)))
    judge = Judge(probe, apart, distance, wrong_distances, texts)
    small = (("six", "six"), ("six", "sixes"), ("tuna", "una"), ("", "ab"), ("ab", ""), ("", ""),
             ("ab", "ba"))
    for a, b in (*small, *texts):
        judge.compare(a, b, where=f"{a!r} and {b!r}")
    for a, b in texts:
        probe.equal(apart(b, a), apart(a, b), "not-symmetric", f"{a!r} and {b!r}: the distance is "
                    "the same both ways")
    long = spoken(probe, 220)
    other = garbled(probe, long, 40)
    probe.equal(apart(long, other), distance(long, other), "long", "texts of 220 letters")
    far = spoken(probe, 130), "xyz" * 40
    probe.equal(apart(*far), distance(*far), "long", "texts that have no letter in common")
    for a, b in (("é☃", "e☃"), ("naïve 😀", "naïve :"), ("a\nb", "a b")):
        probe.equal(apart(a, b), 1, "unicode", f"{a!r} and {b!r}: a letter is a character, not a "
                    "byte")
    judge = Judge(probe, rate, lambda ref, hyp: distance(ref, hyp) / len(ref), wrong_rates,
                  [*texts, ("no", "nothing"), ("two", "six nine one")])
    for ref, hyp in (("six", "six"), ("no", "nothing"), ("six", "sixes"), ("six", ""), *texts,
                     ("two", "six nine one")):
        judge.compare(ref, hyp, where=f"ref {ref!r}, hyp {hyp!r}", code="rate")
    probe.equal(rate("", ""), 0.0, "empty", "cer: ref and hyp are both empty: nothing is wrong")
    probe.equal(rate("", "ab"), 2.0, "empty", "cer: ref is empty, hyp 'ab': an empty ref counts as "
                "one letter")
