"""Right and wrong answers to the exercise of lecture 00."""
import torch
import torch.nn.functional as F


def running_sum(x, k):
    total = F.pad(x.cumsum(0), (1, 0))                  # (T + 1,)
    return (total[k:] - total[:-k]) / k


RIGHT = {"00.1": {
    "loop": lambda x, k: torch.stack([x[t:t + k].mean() for t in range(len(x) - k + 1)]),
    "product": lambda x, k: torch.conv1d(x[None, None], x.new_full((1, 1, k), 1 / k))[0, 0],
    "running sum": running_sum}}

WRONG = {"00.1": {                                      # name: (answer, the code it must get)
    "sum": (lambda x, k: x.unfold(0, k, 1).sum(-1), "scale"),
    "padded": (lambda x, k: F.avg_pool1d(x[None], k, 1, k // 2)[0], "count"),
    "one window too few": (lambda x, k: x.unfold(0, k, 1).mean(-1)[:-1], "count"),
    "one late": (lambda x, k: x.roll(-1).unfold(0, k, 1).mean(-1), "window"),
    "median": (lambda x, k: x.unfold(0, k, 1).median(-1).values, "window"),
    "weighted": (lambda x, k: x.unfold(0, k, 1) @ torch.arange(1., k + 1) * 2 / (k * k + k),
                 "window"),
    "k fixed": (lambda x, k: x.unfold(0, 4, 1).mean(-1), "shape"),
    "a list": (lambda x, k: [x[t:t + k].mean() for t in range(len(x) - k + 1)], "type"),
    "changes x": (lambda x, k: x.div_(k).unfold(0, k, 1).sum(-1), "mutates")}}
