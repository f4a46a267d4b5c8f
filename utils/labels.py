"""A label for each example: a model trained with one cycle of the rate, and what it guesses."""
import math

import torch
import torch.nn.functional as F


def learn(build, x, y, seed, epochs, lr, batch, **adamw):
    """The model that build() makes, trained by AdamW with one cycle of the rate, in eval mode.

    x (N, ...), y (N,) labels from 0; adamw: what torch's AdamW takes besides. Random numbers by
    the seed alone. Source: Smith 2017 (1708.07120).
    """
    with torch.random.fork_rng(devices=[]):                 # dropout draws from the global one
        torch.manual_seed(seed)
        model = build()
        optimizer = torch.optim.AdamW(model.parameters(), lr, **adamw)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr,
                                                    epochs * math.ceil(len(x) / batch))
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(batch):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
                cycle.step()
    return model.eval()


def guess(model, x):
    """The model's label for each example: (N, ...) -> (N,)."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(-1) for part in x.split(512)])
