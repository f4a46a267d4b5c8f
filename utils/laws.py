"""Scaling laws: loss as a function of size and data, fitted, inverted and extrapolated."""
import math
from dataclasses import dataclass

import torch

PER_TOKEN = 6               # operations a parameter and token: 2 forward, 4 backward (Kaplan 2020)


def train_flops(N, D):
    """Floating-point operations to train N parameters on D tokens: 6 N D (2001.08361).

    Attention's products of queries and keys are left out: about T / (6 d_model) more.
    """
    return PER_TOKEN * N * D


@dataclass(frozen=True)
class Law:
    """loss(N, D) = E + A / N^alpha + B / D^beta, in nats per token.

    E: what no model gets below, the entropy of the text. Source: Hoffmann 2022 (2203.15556).
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, N, D):
        """Nats per token of N parameters trained on D tokens; numbers or tensors."""
        return self.E + self.A / N ** self.alpha + self.B / D ** self.beta

    def optimal(self, C):
        """(N, D) of lowest loss with 6 N D = C operations: where dloss/dlog N is 0."""
        a, b, pairs = self.alpha, self.beta, C / PER_TOKEN
        ratio = (a * self.A / (b * self.B)) ** (1 / (a + b))
        return ratio * pairs ** (b / (a + b)), pairs ** (a / (a + b)) / ratio

    @property
    def exponents(self):
        """(a, b): the best N grows as C^a, the best D as C^b; their sum is 1."""
        return self.beta / (self.alpha + self.beta), self.alpha / (self.alpha + self.beta)


CHINCHILLA = Law(1.69, 406.4, 410.7, 0.34, 0.28)                # Hoffmann 2022, equation 10
REFIT = Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658)            # Besiroglu 2024 (2404.10102)


def fit_law(N, D, loss, delta=1e-3):
    """The Law through measured losses: Huber's loss of log loss, from many starts.

    N, D, loss: (n,) numbers, n of 6 or more. As Hoffmann 2022, section 3.3, with scipy's least
    squares for L-BFGS. Five numbers from few runs are not well known: say how far they move.
    """
    import numpy as np
    from scipy.optimize import least_squares
    N, D, loss = (np.asarray(v, dtype=float) for v in (N, D, loss))
    if not len(N) == len(D) == len(loss) >= 6:
        raise ValueError(f"{len(N)} sizes, {len(D)} data, {len(loss)} losses: 6 or more of each "
                         "are needed, as many of each")
    n, d = N / _middle(N), D / _middle(D)                       # so that starts suit any range

    def apart(p):
        predicted = np.exp(p[0]) + np.exp(p[1]) / n ** p[3] + np.exp(p[2]) / d ** p[4]
        return np.log(predicted) - np.log(loss)

    starts = [(math.log(share * loss.min()), math.log(0.3), math.log(0.3), alpha, beta)
              for share in (0.3, 0.9) for alpha in (0.2, 0.6) for beta in (0.2, 0.6)]
    found = [least_squares(apart, start, loss="huber", f_scale=delta,
                           bounds=([-9, -9, -9, 0, 0], [9, 9, 9, 3, 3])) for start in starts]
    E, A, B, alpha, beta = min(found, key=lambda fit: fit.cost).x
    alpha, beta = float(alpha), float(beta)
    return Law(math.exp(E), math.exp(A) * _middle(N) ** alpha, math.exp(B) * _middle(D) ** beta,
               alpha, beta)


def fit_floor(D, loss):
    """(E, A, alpha) of loss = E + A / D^alpha through measured losses, by least squares of logs.

    D, loss: (n,) numbers, n of 4 or more. For each alpha on a grid E and A follow by a linear
    fit (weighted so that logs count), and the best alpha is then refined.
    """
    D, loss = (torch.as_tensor(v, dtype=torch.float64) for v in (D, loss))
    if len(D) < 4 or len(D) != len(loss):
        raise ValueError(f"{len(D)} sizes and {len(loss)} losses: 4 or more of each are needed")

    def solve(alpha):
        columns = torch.stack([torch.ones_like(D), (D / D[0]) ** -alpha], 1) / loss[:, None]
        x = torch.linalg.lstsq(columns, torch.ones_like(D)).solution
        return float((columns @ x - 1).square().sum()), x

    grid = [0.02 * 1.1 ** i for i in range(50)]                 # 0.02 .. 2.1
    k = min(range(len(grid)), key=lambda i: solve(grid[i])[0])
    low, high = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
    for _ in range(60):                                         # halve towards the lowest
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if solve(left)[0] < solve(right)[0] else (left, high)
    E, A = solve(low)[1].tolist()
    return E, A * float(D[0]) ** low, low


def power_fit(x, y):
    """(factor, exponent) of y = factor x^exponent: the straight line through the logs."""
    x, y = (torch.as_tensor(v, dtype=torch.float64).log() for v in (x, y))
    if len(x) < 2 or len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} numbers: 2 or more pairs are needed")
    exponent = float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
    return math.exp(float(y.mean()) - exponent * float(x.mean())), exponent


def parabola(N, loss):
    """(N_best, loss_best): the lowest point of the parabola in log N through (n,) losses.

    Raises ValueError for fewer than 3 sizes, and when the parabola has no lowest point or has it
    outside the sizes tried: then the best size was not measured.
    """
    N, loss = (torch.as_tensor(v, dtype=torch.float64) for v in (N, loss))
    if len(N) < 3 or len(N) != len(loss):
        raise ValueError(f"{len(N)} sizes and {len(loss)} losses: 3 or more of each are needed")
    x = N.log() - N.log().mean()
    c, b, a = torch.linalg.lstsq(torch.stack([x ** 0, x, x * x], 1), loss).solution.tolist()
    if a <= 0 or not x.min() <= -b / (2 * a) <= x.max():
        raise ValueError("the lowest point of the parabola is not among the sizes tried: add "
                         "smaller or larger models")
    return math.exp(-b / (2 * a) + float(N.log().mean())), c - b * b / (4 * a)


def _middle(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))
