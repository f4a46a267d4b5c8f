"""Whisper's form: two convolutions turn sound into positions, a Transformer writes the text."""
import math

import torch
import torch.nn.functional as F
from torch import nn

from .transformer import Cache, Transformer


def waves(T, d):
    """Positions as Whisper has them, (T, d): sines in the first half, cosines in the second.

    Their periods go from 2 pi to 20,000 pi, both included; Vaswani's (utils.transformer.sinusoidal)
    alternate, and stop one step short.
    """
    step = math.log(10_000) / (d // 2 - 1)
    angle = torch.arange(T)[:, None] * (-step * torch.arange(d // 2)).exp()         # (T, d/2)
    return torch.cat([angle.sin(), angle.cos()], -1)


class Listener(nn.Module):
    """A log-mel (B, n_mels, frames) and ids (B, T) -> logits (B, T, vocab_size).

    config: a Config of kind "encoder-decoder", whose encoder never sees a token: it reads the
    positions that the second convolution makes, one of every two frames. max_len counts ids,
    max_frames frames. Source: Radford 2022 (2212.04356).
    """

    def __init__(self, config, n_mels=80, max_frames=3000, transformer=None):
        super().__init__()
        self.near = nn.Conv1d(n_mels, config.d_model, 3, padding=1)
        self.halve = nn.Conv1d(config.d_model, config.d_model, 3, stride=2, padding=1)
        self.register_buffer("waves", waves((max_frames + 1) // 2, config.d_model), False)
        self.transformer = transformer or Transformer(config)

    @property
    def config(self):
        return self.transformer.config

    def encode(self, mel, trace=None):
        """mel (B, n_mels, frames) -> what the decoder looks at, (B, frames / 2, d_model)."""
        x = F.gelu(self.halve(F.gelu(self.near(mel)))).transpose(1, 2)              # (B, S, d)
        if x.shape[1] > len(self.waves):
            raise ValueError(f"{mel.shape[2]} frames came, and this model was built for "
                             f"{2 * len(self.waves)}: cut the sound into pieces")
        return self.transformer.encoder(x + self.waves[:x.shape[1]], trace)

    def forward(self, mel, ids, **how):
        """how: what Transformer.hidden takes besides, such as trace."""
        return self.transformer(ids, memory=self.encode(mel), **how)

    @torch.inference_mode()
    def write(self, memory, start, stop, most, never=(), not_first=()):
        """The likeliest id at each step, up to stop: a list of ids per row, without start or stop.

        memory: (B, S, d_model) from encode; start: the ids each row begins with; most: ids at
        most. never, not_first: ids that may not come, or not as the first. A row's ids do not
        depend on the other rows.
        """
        model, B = self.transformer, len(memory)
        never, not_first = list(never), list(not_first)
        cache = Cache(model.config, B, len(start) + most, memory.device, memory.dtype)
        given = torch.tensor([list(start)] * B, device=memory.device)               # (B, T)
        ended, rows = torch.zeros(B, dtype=torch.bool, device=memory.device), []
        for step in range(most):
            logits = model.head(model.hidden(given, memory=memory, cache=cache)[:, -1])
            logits[:, never] = -math.inf
            if step == 0:
                logits[:, not_first] = -math.inf
            found = logits.argmax(-1).masked_fill(ended, stop)                      # (B,)
            ended |= found == stop
            if bool(ended.all()):
                break
            rows.append(found)
            given = found[:, None]
        columns = torch.stack(rows, 1).tolist() if rows else [[] for _ in range(B)]
        return [row[:row.index(stop)] if stop in row else row for row in columns]
