"""Which activity a phone feels: windows of a recording, a split by person, models of both kinds."""
import functools
import itertools
import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from .data import load_hapt
from .labels import learn

ACTIVITIES = ("walking", "upstairs", "downstairs", "sitting", "standing", "lying")
TEST_PEOPLE = (2, 4, 9, 10, 12, 13, 18, 20, 24)         # the split of the data set's authors


def windows(data=None, size=128, stride=128):
    """Windows of one activity each, none across the border of a segment.

    data: as from load_hapt() (default: that). Returns x (N, C, size) float32, y (N,) labels 0..5,
    person (N,), segment (N,) and start (N,), the first sample in data.signal; sampling_hz.
    Raises ValueError for a segment shorter than a window.
    """
    data = data or load_hapt()
    parts = []
    for number, (start, stop, label, person, recording) in enumerate(data.segments):
        if label >= len(ACTIVITIES):                        # 6..11: a change of posture
            continue
        if stop - start < size:
            raise ValueError(f"recording {recording} of person {person} holds {stop - start} "
                             f"samples of {ACTIVITIES[label]}, a window needs {size}: take a "
                             "smaller size")
        first = torch.arange(start, stop - size + 1, stride)
        about = torch.tensor([label, person, number]).expand(len(first), 3)
        parts.append((data.signal[start:stop].unfold(0, size, stride), about, first))
    if not parts:
        raise ValueError("no activity among the segments: labels 0..5 are needed")
    x, about, start = (torch.cat(column) for column in zip(*parts))
    y, person, segment = about.T
    return SimpleNamespace(x=x, y=y, person=person, segment=segment, start=start,
                           sampling_hz=data.sampling_hz)


def by_person(person, y, people=TEST_PEOPLE):
    """A bool (N,), True where a window belongs to the test, which holds these people alone.

    Raises ValueError for a person who is not there, and for a part that lacks an activity.
    """
    if missing := set(people) - set(person.tolist()):
        raise ValueError(f"no window of person {sorted(missing)}: there are "
                         f"{sorted(set(person.tolist()))}")
    test = torch.isin(person, torch.tensor(sorted(people)))
    for part, rows in (("training", ~test), ("test", test)):
        if lacking := set(y.tolist()) - set(y[rows].tolist()):
            names = ", ".join(ACTIVITIES[label] for label in sorted(lacking))
            raise ValueError(f"the {part} part holds no window of {names}: move people between "
                             "the parts")
    return test


def zscore(x):
    """Each channel of each window to mean 0 and spread 1: (N, C, T) -> (N, C, T).

    No small number is added to the spread: it would let the spread of quiet windows shine through.
    A channel that does not move becomes 0.
    """
    return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True).clamp(min=1e-8)


def shuffled(x, seed):
    """The samples of each window in a random order, the same for its channels: (N, C, T)."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.rand(len(x), 1, x.shape[-1], generator=rng).argsort(-1)
    return x.gather(-1, order.expand_as(x))


def cnn(channels=6, classes=6):
    """Two convolutions, an average over time, one linear layer: (B, C, T) -> (B, classes)."""
    return nn.Sequential(nn.Conv1d(channels, 32, 9, stride=4), nn.BatchNorm1d(32), nn.ReLU(),
                         nn.Conv1d(32, 64, 5, stride=2), nn.BatchNorm1d(64), nn.ReLU(),
                         nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.3),
                         nn.Linear(64, classes))


def fit(x, y, seed, epochs=10, lr=3e-3, batch=128):
    """A cnn() trained by AdamW with one cycle of the rate; x (N, C, T), y (N,) 0 .. classes - 1."""
    return learn(lambda: cnn(x.shape[1], int(y.max()) + 1), x, y, seed, epochs, lr, batch)


def accuracy(guesses, y):
    """Share of guesses (N,) that equal y (N,), a float."""
    return float((guesses == y).double().mean())


class MiniRocket:
    """Fixed kernels, one number from each: how much of the response lies above a threshold.

    The 84 kernels of length 9 with three weights of 2 and six of -1, at five dilations, on random
    subsets of the channels; thresholds are quantiles of responses to training windows.
    MiniRocket((N, C, T) training windows)(x (N, C, T)) -> (N, 420 * thresholds) shares from 0 to 1.
    Source: Dempster, Schmidt and Webb 2021, arXiv:2012.08791, shortened.
    """

    dilations = (1, 2, 4, 8, 15)

    def __init__(self, train, thresholds=3, seed=0):
        rng = torch.Generator().manual_seed(seed)
        C = train.shape[1]
        kernels = torch.full((84, 1, 9), -1.0)
        for row, places in enumerate(itertools.combinations(range(9), 3)):
            kernels[row, 0, list(places)] = 2.0
        self.weights, self.thresholds = [], []
        shares = (torch.arange(1, 84 * thresholds + 1) * (math.sqrt(5) + 1) / 2 % 1).view(84, -1)
        for i in range(len(self.dilations)):
            count = (C ** torch.rand(84, 1, generator=rng)).long()              # 1 .. C channels
            heard = torch.rand(84, C, generator=rng).argsort(-1) < count        # (84, C)
            self.weights.append(kernels * heard[:, :, None])                    # (84, C, 9)
            some = train[torch.randint(len(train), (20,), generator=rng)]
            response = self._respond(some, i)                               # (20, 84, T)
            flat = response.transpose(0, 1).flatten(1)                          # (84, 20 * T)
            self.thresholds.append(torch.stack([r.quantile(q) for r, q in zip(flat, shares)]))

    def _respond(self, x, i):
        return F.conv1d(x, self.weights[i], dilation=self.dilations[i], padding="same")

    def __call__(self, x):
        parts = []
        for some in x.split(256):
            found = []
            for i, thresholds in enumerate(self.thresholds):                    # (84, thresholds)
                response = self._respond(some, i)                               # (n, 84, T)
                found += [(response > t[:, None]).float().mean(-1) for t in thresholds.T]
            parts.append(torch.cat(found, -1))
        return torch.cat(parts)


def one_person_out(features, y, person, alpha=100.0):
    """Guesses (N,) of a ridge classifier that never saw the window's own person.

    features (N, F), y (N,) labels, person (N,). The sums over all windows less those of one person
    give that person's classifier, one linear system each. Raises ValueError for a single person.
    """
    people = person.unique().tolist()
    if len(people) < 2:
        raise ValueError(f"all windows are of person {people}: nobody is left to learn from")
    x = (features - features.mean(0)) / (features.std(0) + 1e-6)
    x = torch.cat([x, torch.ones(len(x), 1)], 1)                                # (N, F + 1)
    target = 2.0 * F.one_hot(y) - 1                                             # (N, classes)
    gram, cross = x.T @ x + alpha * torch.eye(x.shape[1]), x.T @ target
    out = torch.empty_like(y)
    for one in people:
        rows = person == one
        mine = x[rows]
        root = torch.linalg.cholesky(gram - mine.T @ mine)
        out[rows] = (mine @ torch.cholesky_solve(cross - mine.T @ target[rows], root)).argmax(-1)
    return out


@functools.cache
def listener():
    """A small model for the window player: a cnn on z-scored windows, its test windows."""
    w = windows()
    test = by_person(w.person, w.y)
    model = fit(zscore(w.x[~test]), w.y[~test], seed=0, epochs=6)
    return model, SimpleNamespace(x=w.x[test], y=w.y[test], person=w.person[test])
