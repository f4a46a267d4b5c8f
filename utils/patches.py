"""Images as tokens: digits cut into patches, and an encoder of tokens that are vectors."""
import functools

import torch
from torch import nn

from .labels import learn
from .transformer import Config, Stack


@functools.cache
def digit_images(test=0.3):
    """scikit-learn's 1,797 digits of 8 x 8 pixels from 0 to 1: ((x, y) to learn, (x, y) to test).

    x (N, 8, 8) float32, y (N,) labels 0..9; the parts hold the same share of every digit.
    Source: Alpaydin and Kaynak 1998, UCI.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    digits = load_digits()
    parts = train_test_split(digits.images, digits.target, test_size=test, random_state=0,
                             stratify=digits.target)
    x, x_test, y, y_test = map(torch.from_numpy, parts)
    return (x.float() / 16, y), (x_test.float() / 16, y_test)


def patchify(images, p):
    """Images (B, H, W) as tokens (B, H / p * W / p, p * p), row by row. Raises ValueError."""
    B, H, W = images.shape
    if H % p or W % p:
        raise ValueError(f"images of {H} x {W} pixels do not divide into patches of {p} x {p}")
    tiles = images.reshape(B, H // p, p, W // p, p)
    return tiles.transpose(2, 3).reshape(B, -1, p * p)


class Encoder(nn.Module):
    """Tokens that are vectors (B, n, size) -> logits (B, classes), by the course's own blocks.

    positions: a learned vector for each of the n places, or none. Source: Dosovitskiy 2020
    (2010.11929), with the mean of all tokens in place of a class token.
    """

    def __init__(self, n, size, classes, positions=True, d_model=32, n_layers=2, dropout=0.0):
        super().__init__()
        config = Config(1, d_model, n_layers, 4, kind="encoder", dropout=dropout)
        self.embed = nn.Linear(size, d_model)
        self.position = nn.Parameter(0.5 * torch.randn(n, d_model)) if positions else None
        self.blocks = Stack(config, causal=False)
        self.head = nn.Linear(d_model, classes)

    def forward(self, tokens):
        x = self.embed(tokens)                                      # (B, n, d_model)
        if self.position is not None:
            x = x + self.position
        return self.head(self.blocks(x).mean(1))


def teach(tokens, y, seed, epochs=12, lr=5e-3, batch=64, **shape):
    """An Encoder trained by AdamW with one cycle of the rate, in eval mode.

    tokens (N, n, size), y (N,) labels from 0; shape: what Encoder takes besides.
    """
    return learn(lambda: Encoder(*tokens.shape[1:], int(y.max()) + 1, **shape), tokens, y, seed,
                 epochs, lr, batch, fused=True)
