"""The checks of lecture 04, first part: one step, a loop of steps, gradients by lag."""
import torch
from torch import nn

from . import c04_averages, c04_decoding  # noqa: F401  registers 04.4 to 04.7
from .engine import exercise


@exercise("04.1", hints=(
    "With x = 0 and b = 0 the result is tanh(Wh h), with h = 0 and b = 0 it is tanh(Wx x). Set all "
    "but one to 0 and see which part of yours is off.",
    "Three terms are added first; then tanh is taken once. x is (B, d_in), one row a text, and Wx "
    "is (d, d_in): which of the two must be turned so that the result is (B, d)?",
    "from the input:  every row of x times the rows of Wx\n"
    "from the state:  every row of h times the rows of Wh\n"
    "result: tanh of (input part plus state part plus bias)"))
def rnn_step(answer, probe):
    for B, d_in, d in ((1, 2, 3), (3, 4, 2), (2, 5, 6)):
        x, h = probe.normal(B, d_in), probe.normal(B, d)
        Wx, Wh = probe.normal(d, d_in, scale=0.6), probe.normal(d, d, scale=0.6)
        b, where = probe.normal(d), f"B = {B}, d_in = {d_in}, d = {d}"
        a, c = x @ Wx.T, h @ Wh.T                           # (B, d) each
        out = probe.call(answer, x, h, Wx, Wh, b)
        probe.shape(out, (B, d), "shape", f"{where}: one new state a row")
        probe.equal(out, (a + c + b).tanh(), "value", where, known={
            "no-tanh": (a + c + b, f"{where}: tanh is missing"),
            "two-tanh": ([(a + c + b).tanh().tanh(), a.tanh() + c.tanh() + b, a.tanh() + c.tanh(),
                          a.tanh() + (c + b).tanh(), (a + b).tanh() + c.tanh(),
                          (a.tanh() + c + b).tanh(), (a + c.tanh() + b).tanh(),
                          (x @ Wx.T + h.tanh() @ Wh.T + b).tanh()],
                         f"{where}: tanh is taken more than once, or too early: add all three "
                         "terms, then take it once"),
            "no-bias": ([(a + c).tanh(), (a + c).tanh() + b], f"{where}: the bias is outside tanh"),
            "two-bias": ((a + c + 2 * b).tanh(), f"{where}: the bias is added twice"),
            "no-state": ([(a + b).tanh(), a.tanh()], f"{where}: the old state has no influence: a "
                         "network without memory"),
            "no-input": ([(c + b).tanh(), c.tanh()], f"{where}: the input has no influence"),
            "transposed": ((a + h @ Wh + b).tanh(), f"{where}: Wh is turned the wrong way; it is "
                           "square, so no error tells you"),
            "kept": ((a + c + b).tanh() + h, f"{where}: the old state is added outside tanh too"),
            "squash": ([(a + c + b).sigmoid(), (a + c + b).relu()],
                       f"{where}: that is not tanh, which lies between -1 and 1")})
    x, h = probe.normal(3, 4).requires_grad_(), probe.normal(3, 6).requires_grad_()
    cell = nn.RNNCell(4, 6).double()
    parts = {"x": x, "h": h, "Wx": cell.weight_ih, "Wh": cell.weight_hh, "b": cell.bias_ih}
    cell.bias_hh.data.zero_()
    out = probe.call(answer, *parts.values())
    probe.equal(out, cell(x, h), "value", "nn.RNNCell gives something else")
    probe.gradients(out, cell(x, h), parts)


@exercise("04.2", hints=(
    "The states of a prefix are a prefix of the states: after one symbol your first state must be "
    "step(xs[0], h0), whatever follows. With step(x, h) = h + 1 the states count 1, 2, 3.",
    "Which state does step get at time 2? And what do you keep: each state after its step, T of "
    "them, the first one not being h0?",
    "h is h0 at first\nfor each x of xs, in order:\n    h becomes step of x and h\n"
    "    keep h\nstack all that was kept along a new first dimension"))
def unroll(answer, probe):
    def count(x, h):
        return h + 1 + 0 * x.sum()

    T, B, d_in, d = 4, 2, 3, 5
    out = probe.call(answer, probe.normal(T, B, d_in), probe.zeros(B, d), count)
    probe.type(out, torch.Tensor, "stack the states into one tensor")
    probe.true(tuple(out.shape) != (B, d), "last", "only one state came back: return those of all "
               "T steps, (T, B, d)")
    probe.true(tuple(out.shape) != (T + 1, B, d), "count", f"T = {T} symbols gave {T + 1} states: "
               "h0 is not one of them")
    probe.true(tuple(out.shape) not in ((B, T, d), (T * B, d)), "axis", "the states are stacked "
               "the wrong way: time is the first dimension, (T, B, d)")
    probe.shape(out, (T, B, d), "shape", "T = 4, B = 2, d = 5")
    ones = probe.ones(T, B, d)
    steps = torch.arange(1, T + 1).double().view(T, 1, 1) * ones
    probe.equal(out, steps, "value", "step adds one to a state of 0", known={
        "reuses": (ones, "step adds one, and all states are 1: each step starts from h0 again, "
                   "not from the state before"),
        "late": (steps - 1, "step adds one, and the first state is 0: you keep the state before "
                 "its step"),
        "reversed": (steps.flip(0), "the states count down: the first one is that of xs[0]"),
        "aliased": (T * ones, "all states are the last one: one tensor is kept T times"),
        "summed": (steps.cumsum(0), "the states are added up")})
    for T, B, d_in, d in ((1, 1, 2, 3), (5, 2, 3, 4), (3, 4, 6, 2)):
        Wx, Wh = probe.normal(d_in, d), probe.normal(d, d)

        def step(x, h, Wx=Wx, Wh=Wh):
            return (x @ Wx + h @ Wh).tanh()

        def right(xs, h):
            states = []
            for x in xs:
                h = step(x, h)
                states.append(h)
            return torch.stack(states)
        xs, h0 = probe.normal(T, B, d_in).requires_grad_(), probe.normal(B, d).requires_grad_()
        out, want = probe.call(answer, xs, h0, step), right(xs, h0)
        where = f"T = {T}, B = {B}, d_in = {d_in}, d = {d}"
        probe.shape(out, (T, B, d), "shape", where)
        probe.equal(out, want, "value", where, known={
            "h0": (right(xs, 0 * h0), f"{where}: h0 has no influence, you start from 0"),
            "backwards": ([right(xs.flip(0), h0), right(xs.flip(0), h0).flip(0)],
                          f"{where}: the symbols are read from the last to the first")})
        prefix = probe.call(answer, xs[:1 + T // 2], h0, step)
        probe.equal(prefix, want[:1 + T // 2], "prefix", f"{where}: the states of a prefix differ "
                    "from the prefix of the states, so a state depends on what comes later")
        probe.gradients(out, want, {"xs": xs, "h0": h0})


class Net(nn.Module):
    """states (T, d) of a recurrent network over x (T, d_in), linear or with tanh."""

    def __init__(self, Wx, Wh, linear):
        super().__init__()
        self.Wx, self.Wh, self.linear = nn.Parameter(Wx), nn.Parameter(Wh), linear

    def forward(self, x):
        h, states = x.new_zeros(len(self.Wh)), []
        for row in x:
            h = self.Wx @ row + self.Wh @ h
            h = h if self.linear else h.tanh()
            states.append(h)
        return torch.stack(states)


def gradient(net, x, goal):
    """d goal(states) / d x, (T, d_in)."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(goal(net(x)), x)[0]


@exercise("04.3", hints=(
    "For a linear network whose Wh is half a rotation, each lag is half of the one before: entry 0 "
    "belongs to the last input and is the largest. Is it, in yours?",
    "Which number do you send backwards? The sum of the LAST state alone. Then x has a gradient of "
    "its own shape (T, d_in): what makes one number of each row, and which row has lag 0?",
    "a copy of x that wants a gradient\nstates = what the model makes of it\n"
    "gradient, for the copy, of the sum of the last state\n"
    "length (root of the sum of squares) of each row, last row first"))
def grad_by_lag(answer, probe):
    for T, d_in, d, size, linear in ((6, 3, 4, 0.5, True), (25, 2, 5, 1.5, True),
                                     (1, 3, 2, 1.0, False), (9, 3, 5, 0.9, False),
                                     (12, 4, 3, 1.5, False)):
        rotation = torch.linalg.qr(probe.normal(d, d))[0]
        net = Net(probe.normal(d, d_in), size * rotation, linear)
        x, kind = probe.normal(T, d_in), "a linear network" if linear else "a network with tanh"
        where = f"T = {T}, {kind} whose Wh stretches by {size}"
        out = probe.call(answer, net, x)
        probe.shape(out, (T,), "shape", f"{where}: one number a lag, from 0 to T - 1")
        g = gradient(net, x, lambda s: s[-1].sum())         # (T, d_in)
        every, first = gradient(net, x, lambda s: s.sum()), gradient(net, x, lambda s: s[0].sum())
        norm, one = g.norm(dim=1), gradient(net, x, lambda s: s[-1, 0])
        length = gradient(net, x, lambda s: s[-1].norm())

        def both(v):
            return [v.flip(0), v]
        probe.equal(out, norm.flip(0), "value", where, known={
            "order": (norm, f"{where}: the lags run backwards: entry 0 is the last input"),
            "squared": (both(g.square().sum(1)), f"{where}: these are squares: take the root"),
            "absolute": (both(g.abs().sum(1)) + both(g.sum(1)) + both(g.sum(1).abs())
                         + both(g.abs().amax(1)) + both(g.abs().mean(1)) + both(g.mean(1)),
                         f"{where}: sums, means or maxima of components: the length of a row is "
                         "the root of its sum of squares"),
            "all-states": (both(every.norm(dim=1)), f"{where}: this is the gradient of all states: "
                           "take the last alone"),
            "first-state": (both(first.norm(dim=1)), f"{where}: this is the first state's"),
            "mean": (both(norm / d), f"{where}: this is the mean of the last state, not its sum"),
            "one-unit": (both(one.norm(dim=1)), f"{where}: one number of the last state, not all"),
            "length": (both(length.norm(dim=1)), f"{where}: the gradient of the state's length: "
                       "take its sum"),
            "ratio": ([norm.flip(0) / s for s in (norm[-1], norm.sum(), norm.max())],
                      f"{where}: divided by the first or by all: return the lengths themselves")})
