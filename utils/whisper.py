"""Whisper tiny.en, trained on 680,000 hours of speech, in the course's own Transformer."""
import json
from dataclasses import dataclass

import torch

from . import data, machine
from .audio import log_mel, resample
from .ctranslate2 import CTranslate2, CTranslate2Error
from .listener import Listener
from .pretrained import Unfilled, assemble
from .transformer import Config

SAMPLE_RATE, SECONDS = 16000, 30                        # what Whisper was trained on
N_MELS, N_FFT, HOP = 80, 400, 160                       # 25 ms a frame, one every 10 ms


@dataclass(eq=False, repr=False)
class Whisper:
    """The model with its tokenizer.

    model: a Listener in eval mode, model.transformer the Transformer in it. start: ids before the
    text; stop: the id after it; never, not_first: ids that it may not write, as published.
    """
    model: Listener
    tokenizer: object
    start: tuple
    stop: int
    never: tuple
    not_first: tuple

    def features(self, wave, sample_rate=SAMPLE_RATE, seconds=SECONDS):
        """The log-mel (1, 80, 100 * seconds) of a wave (T,), after which silence fills the time.

        Raises ValueError for a wave that is longer, empty, or not one channel.
        """
        if wave.ndim != 1 or not len(wave):
            raise ValueError(f"a wave of shape {tuple(wave.shape)} came: one channel (T,) is "
                             "needed, with a sample at least")
        wave = resample(wave.float(), sample_rate, SAMPLE_RATE)
        left = seconds * SAMPLE_RATE - len(wave)
        if left < 0:
            raise ValueError(f"{len(wave) / SAMPLE_RATE:.1f} s came, and {seconds} fit: cut the "
                             "sound into pieces")
        place = self.model.waves.device
        wave = torch.nn.functional.pad(wave, (0, left)).to(place)
        return log_mel(wave, SAMPLE_RATE, N_MELS, N_FFT, HOP)[None]

    @torch.inference_mode()
    def encode(self, mel, trace=None):
        """A log-mel (B, 80, frames) -> what the decoder looks at, (B, frames / 2, 384)."""
        return self.model.encode(mel, trace)

    def decode(self, memory, most=200):
        """What the model writes about each row of memory (B, S, 384): lists of ids."""
        return self.model.write(memory, self.start, self.stop, most, self.never, self.not_first)

    def pieces(self, ids):
        """Each token as the text that it stands for: list of str."""
        return [self.tokenizer.decode([i], skip_special_tokens=False) for i in ids]

    def transcribe(self, wave, sample_rate=SAMPLE_RATE, seconds=SECONDS, most=200):
        """The text that is spoken in a wave (T,) of 30 s at most, of so many tokens at most.

        Whisper always saw 30 s, filled up with silence; with fewer seconds the encoder works less
        and was not trained for what it sees: without silence after it a sentence comes again and
        again.
        """
        ids, = self.decode(self.encode(self.features(wave, sample_rate, seconds)), most)
        return self.tokenizer.decode(ids).strip()


def load_whisper(device=None):
    """Whisper tiny.en on a device, the best there is unless given: Whisper, float32.

    4 layers in the encoder and 4 in the decoder, d_model 384, 37.2 million parameters; the file
    holds them in 16 bits. Source: Radford 2022 (2212.04356). Raises DataError, with the command
    for repair, when a file is missing or not the pinned one.
    """
    from tokenizers import Tokenizer
    files = data.whisper_files()
    model = from_ctranslate2(CTranslate2(files["model.bin"]))
    tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
    how = json.loads(files["config.json"].read_text())
    start = [tokenizer.token_to_id(f"<|{name}|>") for name in ("startoftranscript", "notimestamps")]
    return Whisper(model.to(device or machine.device()), tokenizer, tuple(start),
                   tokenizer.token_to_id("<|endoftext|>"), tuple(how["suppress_ids"]),
                   tuple(how["suppress_ids_begin"]))


def from_ctranslate2(file):
    """A Listener in eval mode from an open file of CTranslate2 that holds a Whisper.

    The file keeps the maps of queries, keys and values below each other; keys have a bias of 0.
    Raises CTranslate2Error for a file of another model.
    """
    if file.spec != "WhisperSpec":
        raise CTranslate2Error(f"{file.path} holds a {file.spec}, no Whisper")
    theirs = {name: torch.from_numpy(file.tensor(name)) for name in file.names
              if not name.endswith(("activation", "alibi"))}
    vocab_size, d_model = theirs["decoder/embeddings/weight"].shape
    n_layers = sum(name.startswith("encoder/") and name.endswith("ffn/linear_0/weight")
                   for name in theirs)
    config = Config(vocab_size, d_model, n_layers, int(theirs["encoder/num_heads"]),
                    max_len=len(theirs["decoder/position_encodings/encodings"]),
                    kind="encoder-decoder")
    tensors = {"embedding.weight": theirs["decoder/embeddings/weight"],
               "position.weight": theirs["decoder/position_encodings/encodings"]}
    for side in ("encoder", "decoder"):
        tensors |= _norm(f"{side}.norm", theirs, f"{side}/layer_norm")
        for i in range(n_layers):
            tensors |= _block(f"{side}.blocks.{i}.", theirs, f"{side}/layer_{i}/")
    with Unfilled():
        model = Listener(config, transformer=assemble(config, tensors))
    for ours, name in ((model.near, "encoder/conv1/"), (model.halve, "encoder/conv2/")):
        ours.weight.data, ours.bias.data = theirs[name + "weight"], theirs[name + "bias"]
    model.waves = theirs["encoder/position_encodings/encodings"]
    return model.eval()


def _norm(ours, theirs, name):
    return {f"{ours}.weight": theirs[f"{name}/gamma"], f"{ours}.bias": theirs[f"{name}/beta"]}


def _block(ours, theirs, name):
    """The tensors of one block: the file keeps a norm with the part that it precedes."""
    parts = {"attention": ("self_attention/", ("q", "k", "v"), ("out",)),
             "feed_forward": ("ffn/", ("up",), ("down",))}
    if name.startswith("decoder"):
        parts["cross"] = ("attention/", ("q",), ("k", "v"), ("out",))
    tensors = {}
    for part, (place, *groups) in parts.items():
        tensors |= _norm(f"{ours}norm_{part}", theirs, f"{name}{place}layer_norm")
        for number, group in enumerate(groups):
            for kind in ("weight", "bias"):
                joined = theirs[f"{name}{place}linear_{number}/{kind}"]
                tensors |= {f"{ours}{part}.{one}.{kind}": rows
                            for one, rows in zip(group, joined.chunk(len(group)))}
    return tensors
