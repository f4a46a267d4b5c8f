"""What lecture 11 plants and trains: digits in patches, protein families, distances to complete."""
import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from .transformer import Config, Stack

LETTERS = 8                                             # of a planted protein; nature has 20


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


def teach(tokens, y, seed, epochs=15, lr=5e-3, batch=64, **shape):
    """An Encoder trained by AdamW with one cycle of the rate, in eval mode.

    tokens (N, n, size), y (N,) labels from 0; shape: what Encoder takes besides.
    """
    with torch.random.fork_rng(devices=[]):     # dropout draws from it
        torch.manual_seed(seed)
        model = Encoder(*tokens.shape[1:], int(y.max()) + 1, **shape)
        adamw = torch.optim.AdamW(model.parameters(), lr, fused=True)
        cycle = torch.optim.lr_scheduler.OneCycleLR(adamw, lr, epochs * math.ceil(len(y) / batch))
        for _ in range(epochs):
            for rows in torch.randperm(len(y)).split(batch):
                adamw.zero_grad()
                F.cross_entropy(model(tokens[rows]), y[rows]).backward()
                adamw.step()
                cycle.step()
    return model.eval()


def guess(model, tokens):
    """The model's label for each row of tokens: (N, n, size) -> (N,)."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(-1) for part in tokens.split(512)])


# ---- planted families ----------------------------------------------------------------------


def family(seed, length=30, generations=8, pairs=6, mutation=0.1, follow=0.9):
    """Sequences of one planted family, and the pairs that touch: (S, length) ids, bool (L, L).

    One ancestor doubles in each generation: S = 2 ** generations. A site then mutates with
    probability `mutation` to a letter of its own taste; some sites have a strong one. The second
    site of a pair mutates with the first, and nine times of ten (`follow`) to the letter that fits
    it, by a table which differs from pair to pair.
    """
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(length, generator=rng)
    first, second = order[:pairs], order[pairs:2 * pairs]
    taste = 3 * torch.rand(length, 1, generator=rng)
    shares = (taste * torch.randn(length, LETTERS, generator=rng)).softmax(-1)
    fits = torch.rand(pairs, LETTERS, generator=rng).argsort(-1)

    def drawn(n):
        letters = torch.multinomial(shares, n, replacement=True, generator=rng).T.clone()
        fitting = fits[torch.arange(pairs), letters[:, first]]                      # (n, pairs)
        follows = torch.rand(n, pairs, generator=rng) < follow
        letters[:, second] = torch.where(follows, fitting, letters[:, second])
        return letters

    sequences = drawn(1)
    for _ in range(generations):
        sequences = sequences.repeat_interleave(2, 0)
        changed = torch.rand(sequences.shape, generator=rng) < mutation
        changed[:, second] = changed[:, first]
        sequences = torch.where(changed, drawn(len(sequences)), sequences)
    touch = torch.zeros(length, length, dtype=torch.bool)
    touch[first, second] = touch[second, first] = True
    return sequences, touch


def upper(matrix):
    """What stands above the diagonal of a square matrix, as one row: (L, L) -> (L (L - 1) / 2,)."""
    return matrix[torch.ones_like(matrix, dtype=torch.bool).triu(1)]


def auc(score, touch):
    """How often a pair that touches scores above one that does not: .5 is chance, 1 is all.

    score (L, L) numbers, touch (L, L) bool, both symmetric; ties count half.
    """
    score, touch = upper(score), upper(touch)
    gap = score[touch][:, None] - score[~touch]
    return float(((gap > 0).double() + 0.5 * (gap == 0)).mean())


# ---- distances to complete -----------------------------------------------------------------


def puzzles(n, rng, length=12, known=0.5, noise=0.1):
    """Points in space of which some distances are known, and those with noise.

    Returns pairs (n, L, L, 2): distance or 0, and whether it is known; distances (n, L, L) as they
    are; known (n, L, L) bool, the diagonal with it.
    """
    points = torch.randn(n, length, 3, generator=rng)
    distances = torch.cdist(points, points)
    above = torch.ones(length, length).triu(1)
    seen = (torch.rand(n, length, length, generator=rng) < known) * above
    error = noise * torch.randn(n, length, length, generator=rng) * above
    seen = seen + seen.mT + torch.eye(length)
    return torch.stack([(distances + error + error.mT) * seen, seen], -1), distances, seen > 0


class Triangle(nn.Module):
    """The triangle update with outgoing edges: pairs (B, L, L, c) -> same.

    z_ij gets a map of the sum over k of a_ik b_jk, both gated. Source: Jumper 2021, algorithm 11.
    """

    def __init__(self, c):
        super().__init__()
        self.norm, self.norm_out = nn.LayerNorm(c), nn.LayerNorm(c)
        self.a, self.b = nn.Linear(c, 2 * c), nn.Linear(c, 2 * c)           # value and gate
        self.out, self.gate = nn.Linear(c, c), nn.Linear(c, c)

    def forward(self, z):
        x = self.norm(z)
        a, b = (F.glu(side(x)).permute(0, 3, 1, 2) for side in (self.a, self.b))    # (B, c, L, L)
        met = (a @ b.mT).permute(0, 2, 3, 1)                                        # (B, L, L, c)
        return z + self.gate(x).sigmoid() * self.out(self.norm_out(met))


class Alone(nn.Module):
    """Each pair by itself: a feed-forward part of two layers, (B, L, L, c) -> same."""

    def __init__(self, c):
        super().__init__()
        self.part = nn.Sequential(nn.LayerNorm(c), nn.Linear(c, 2 * c), nn.ReLU(),
                                  nn.Linear(2 * c, c))

    def forward(self, z):
        return z + self.part(z)


class Completer(nn.Module):
    """Known distances (B, L, L, 2) -> all distances (B, L, L), by triangles or pair by pair."""

    def __init__(self, triangles, c=16, blocks=2):
        super().__init__()
        self.embed, self.out = nn.Linear(2, c), nn.Linear(c, 1)
        mix = Triangle if triangles else Alone
        self.blocks = nn.Sequential(*(part for _ in range(blocks) for part in (mix(c), Alone(c))))

    def forward(self, pairs):
        y = self.out(self.blocks(self.embed(pairs)))[..., 0]
        return F.softplus((y + y.mT) / 2) * (1 - torch.eye(y.shape[1]))


def teach_distances(triangles, seed, steps=300, lr=5e-3, batch=16):
    """A Completer trained on ever new puzzles, in eval mode."""
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Completer(triangles)
    adamw = torch.optim.AdamW(model.parameters(), lr, fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adamw, lr, steps)
    for _ in range(steps):
        pairs, distances, _ = puzzles(batch, rng)
        adamw.zero_grad()
        (model(pairs) - distances).abs().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        cycle.step()
    return model.eval()


def shortest_paths(pairs):
    """Known distances completed by the shortest way over others: (B, L, L, 2) -> (B, L, L).

    What the triangle inequality allows at most; the mean of the known where no way leads. Source:
    Floyd 1962, algorithm 97.
    """
    distances = torch.where(pairs[..., 1] > 0, pairs[..., 0], torch.inf)
    for k in range(distances.shape[1]):
        distances = torch.minimum(distances, distances[:, :, k:k + 1] + distances[:, k:k + 1])
    apart = distances.isinf()
    return torch.where(apart, distances[~apart].mean(), distances)


def broken_triangles(distances, slack=1e-3):
    """Share of triples i, j, k with d_ij > d_ik + d_kj: (B, L, L) -> a float."""
    L = distances.shape[1]
    over = distances[:, :, :, None] > distances[:, :, None] + distances[:, None] + slack
    return float(over.sum()) / (len(distances) * L * (L - 1) * (L - 2))
