"""The check of lecture 00: a first exercise to see how checks and hints work."""
from .engine import exercise


@exercise("00.1", hints=(
    "Average a signal that is 1 everywhere. The mean of ones is one: what did you get?",
    "Which samples lie in the first window? How many windows of k fit into T samples?",
    "for each start 0 .. T - k: the mean of x[start], ..., x[start + k - 1]"))
def moving_average(answer, probe):
    x, k = probe.normal(9), 4                           # 9 samples, width 4, 6 results: unequal
    out = probe.call(answer, x, k)
    probe.shape(out, (6,), "count", "9 samples hold 6 windows of 4")
    probe.equal(probe.call(answer, probe.ones(9), k), probe.ones(6), "scale",
                "x is 1 everywhere and k is 4: the mean of ones is one, so divide by k")
    probe.equal(probe.call(answer, probe.one_hot(0, 9), k), probe.one_hot(0, 6) / k, "window",
                "x is 1 at sample 0 and 0 elsewhere: sample 0 belongs to the first window and to "
                "no other")
    probe.equal(out, x.unfold(0, k, 1).mean(-1), "value", "each result is its window's mean")
    for length, width in ((5, 1), (5, 5), (7, 2)):
        x = probe.normal(length)
        probe.equal(probe.call(answer, x, width), x.unfold(0, width, 1).mean(-1), "width",
                    f"T = {length}, k = {width}: every width from 1 to T must work")
