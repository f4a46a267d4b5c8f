"""A protein in small: planted families whose touching sites change together, and distances."""
import torch
import torch.nn.functional as F
from torch import nn

LETTERS = 8                                             # of a planted protein; nature has 20


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


def teach_distances(triangles, seed, steps=250, lr=5e-3, batch=16):
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
