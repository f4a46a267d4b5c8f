"""From sound to letters on a small scale: digits spoken in a row, by voices never heard before."""
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import machine
from .audio import log_mel
from .data import load_speech
from .listener import Listener
from .recipe import Recipe
from .training import fit
from .transformer import Config

HELD_OUT = tuple(range(3, 60, 4))                       # 15 of the 60 voices
LETTERS = " efghinorstuvwxz"                            # all that the ten words need
STOP = len(LETTERS)                                     # before a text and after it
N_MELS, N_FFT, HOP = 32, 256, 160                       # at 8 kHz: 32 ms a frame, every 20 ms
WINDOW = 19200                                          # samples: 2.4 s, 120 frames
LONGEST = 40                                            # ids that the decoder has positions for
QUIET = 0.03                                            # below this a clip has not begun


@dataclass(frozen=True)
class Digits:
    """Ten digits by each of some voices, cut free of the silence around them.

    clips: dict of (voice, digit) -> wave (T,) at 8000 samples per second, between -1 and 1.
    words: ten str.
    """
    clips: dict
    words: list

    @property
    def voices(self):
        return sorted({voice for voice, _ in self.clips})

    def say(self, digits, voice, rng=None, stretch=0.0):
        """One voice says the digits, a pause of 0.05 s before each (with rng: 0.02 to 0.12 s).

        stretch: with rng, the wave gets up to this share longer and lower, or shorter and higher.
        Returns the wave (T,) and its text, the words with spaces between.
        """
        parts = []
        for digit in digits:
            pause = 400 if rng is None else int(torch.randint(160, 961, (), generator=rng))
            parts += [torch.zeros(pause), self.clips[voice, digit]]
        wave = torch.cat(parts)
        if rng is not None and stretch:
            scale = 1 + stretch * (2 * float(torch.rand((), generator=rng)) - 1)
            wave = F.interpolate(wave[None, None], scale_factor=scale, mode="linear")[0, 0]
        return wave, " ".join(self.words[digit] for digit in digits)

    def draw(self, count, least, most, rng, stretch=0.0):
        """So many rows of least to most random digits, each by a random voice: waves, texts.

        What would not fit into the window of 2.4 s is drawn anew.
        """
        voices, rows = self.voices, []
        while len(rows) < count:
            voice = voices[int(torch.randint(len(voices), (), generator=rng))]
            n = int(torch.randint(least, most + 1, (), generator=rng))
            digits = torch.randint(10, (n,), generator=rng).tolist()
            row = self.say(digits, voice, rng, stretch)
            rows += [row] if len(row[0]) <= WINDOW else []
        return [wave for wave, _ in rows], [text for _, text in rows]


def load_digits(held_out=HELD_OUT):
    """Digits to learn from and Digits of the voices held out: (Digits, Digits)."""
    speech, parts = load_speech(), ({}, {})
    for wave, voice, digit in zip(speech.digits, speech.voices.tolist(), speech.labels.tolist()):
        loud = (wave.abs() > QUIET).nonzero()[:, 0]
        parts[voice in held_out][voice, digit] = wave[loud[0]:loud[-1] + 1]
    return tuple(Digits(part, speech.words) for part in parts)


def features(waves):
    """Log-mels (B, 32, 120) of waves of 2.4 s at most, filled up with silence.

    Raises ValueError for a longer one.
    """
    if max(map(len, waves)) > WINDOW:
        raise ValueError(f"a wave of {max(map(len, waves))} samples came, and {WINDOW} fit (2.4 s "
                         "at 8000 a second): cut it into pieces")
    filled = torch.stack([F.pad(wave, (0, WINDOW - len(wave))) for wave in waves])      # (B, T)
    return log_mel(filled, 8000, N_MELS, N_FFT, HOP)


def targets(texts):
    """Ids (B, L) of texts, each with its stop; -100 after it, where nothing is to be learned."""
    rows = [torch.tensor([*map(LETTERS.index, text), STOP]) for text in texts]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)


def spelling_loss(model, mel, ids):
    """Mean nats per letter of targets (B, L), each predicted from the sound and those before."""
    before = F.pad(ids[:, :-1].clamp(min=0), (1, 0), value=STOP)
    return F.cross_entropy(model(mel, before).flatten(0, 1), ids.flatten())


def listener(seed=0, **shape):
    """An untrained Listener for letters; shape: fields of Config other than these."""
    shape = {"d_model": 64, "n_layers": 2, "n_heads": 4} | shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Listener(Config(len(LETTERS) + 1, max_len=LONGEST, kind="encoder-decoder", **shape),
                        N_MELS, WINDOW // HOP)


def masked(mel, rng, widest=8):
    """A log-mel with a random band of pitches silenced in each row, up to `widest` of them.

    Source: Park 2019 (1904.08779), without its masks over time.
    """
    B, n_mels, _ = mel.shape
    width = torch.randint(widest + 1, (B, 1), generator=rng)
    first = (torch.rand(B, 1, generator=rng) * (n_mels - width + 1)).long()
    band = torch.arange(n_mels)
    hit = (band >= first) & (band < first + width)                                      # (B, M)
    return torch.where(hit[..., None], mel.mean((1, 2), keepdim=True), mel)


def train_listener(digits, seed=0, most=3, recipe=None, watch=None, device=None, stretch=0.2,
                   widest=8, early=0.4, **shape):
    """A Listener that learned rows of one to `most` digits, and the Log of its training.

    The first 40 % of the steps are single digits. Every row is new: voices are stretched and
    bands of pitches masked at random. recipe: 300 steps of 32 rows unless given; watch: a Watcher;
    shape: fields of Config. About 25 s on one core.
    """
    recipe = recipe or Recipe(300, batch=32, lr=3e-3, muon_lr=0.02, warmup=30, decay="linear",
                              cooldown=0.6, final=0.02, seed=seed)
    model = listener(seed, **shape)

    def batches(step):
        rng = torch.Generator().manual_seed(seed * 1_000_003 + step)
        longest = 1 if step < early * recipe.steps else most
        waves, texts = digits.draw(recipe.batch, 1, longest, rng, stretch)
        return masked(features(waves), rng, widest), targets(texts)

    log = fit(model, batches, recipe, loss=spelling_loss, watch=watch,
              device=device or machine.device())
    return model.eval(), log


def transcribe(model, waves):
    """The texts that a Listener writes about waves at 8000 samples per second: list of str."""
    model.eval()
    with torch.inference_mode():
        memory = model.encode(features(waves).to(model.waves.device))
        rows = model.write(memory, (STOP,), STOP, LONGEST - 1)
    return ["".join(LETTERS[i] for i in row) for row in rows]


def edits(a, b):
    """The fewest letters to insert, delete or replace that turn text a into b: Levenshtein 1966."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def cer(refs, texts):
    """Character error rate: edits that the texts need, for each letter of the references.

    refs, texts: two str or two lists of str. More than 1 is possible. Raises ValueError for
    references without a letter, or lists of unequal length.
    """
    if isinstance(refs, str):
        refs, texts = [refs], [texts]
    if len(refs) != len(texts) or not any(refs):
        raise ValueError(f"{len(refs)} references with {sum(map(len, refs))} letters and "
                         f"{len(texts)} texts: as many texts are needed, and a letter at least")
    return sum(map(edits, refs, texts)) / sum(map(len, refs))
