"""A source of symbols whose entropy is known exactly: what no model of it can get below."""
import bisect

import torch


class MarkovSource:
    """Symbols 0 .. S-1, each drawn by a planted matrix from the one before.

    P: (S, S), row i the probabilities after symbol i, random and uneven. stationary: (S,), how
    often each symbol comes in the long run. entropy: nats per symbol, the sum over i of
    stationary[i] times the entropy of row i. Source: Shannon 1948, section 7.
    """

    def __init__(self, symbols=32, seed=0):
        rng = torch.Generator().manual_seed(seed)
        raw = torch.rand(symbols, symbols, generator=rng, dtype=torch.float64)
        self.P = raw.log().square()                     # squares of exponential numbers: uneven
        self.P /= self.P.sum(1, keepdim=True)
        self.stationary = torch.full((symbols,), 1 / symbols, dtype=torch.float64)
        for _ in range(200):
            self.stationary = self.stationary @ self.P
        self.entropy = self.loss(self.P)

    def loss(self, Q):
        """Nats per symbol of a model Q (S, S) of the rows, exactly: no sample is drawn."""
        return -float((self.stationary[:, None] * self.P * Q.log()).sum())

    def walk(self, n, seed=0):
        """n symbols as a tensor (n,) of integers."""
        rng = torch.Generator().manual_seed(seed)
        steps, rows = torch.rand(n, generator=rng, dtype=torch.float64).tolist(), \
            self.P.cumsum(1).tolist()
        symbol, seen, last = 0, [], len(rows) - 1
        for u in steps:
            symbol = min(bisect.bisect(rows[symbol], u), last)
            seen.append(symbol)
        return torch.tensor(seen)

    def counted(self, ids, alpha=0.5):
        """The bigram model of lecture 01 on symbols (n,): counts plus alpha as shares, (S, S)."""
        S = len(self.P)
        pairs = torch.bincount(ids[:-1] * S + ids[1:], minlength=S * S).view(S, S) + alpha
        return pairs / pairs.sum(1, keepdim=True)

    def learning_curve(self, sizes, seed=0):
        """Exact losses of `counted` on the first symbols of one walk, one for each size."""
        ids = self.walk(max(sizes), seed)
        return [self.loss(self.counted(ids[:n])) for n in sizes]
