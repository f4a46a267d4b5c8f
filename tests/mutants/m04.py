"""Right and wrong answers to the exercises of lecture 04."""
import functools

import torch

from utils.recurrence import Reverser


# 04.1 -----------------------------------------------------------------------------------------
def step(x, h, Wx, Wh, b):
    return (x @ Wx.T + h @ Wh.T + b).tanh()


def step_by_loop(x, h, Wx, Wh, b):
    return torch.stack([torch.tanh(Wx @ one + Wh @ state + b) for one, state in zip(x, h)])


def step_side_by_side(x, h, Wx, Wh, b):
    return torch.tanh(torch.cat([x, h], 1) @ torch.cat([Wx, Wh], 1).T + b)


def step_in_place(x, h, Wx, Wh, b):
    h.copy_((x @ Wx.T + h @ Wh.T + b).tanh().detach())
    return h


# 04.2 -----------------------------------------------------------------------------------------
def unroll(xs, h0, step):
    h, states = h0, []
    for x in xs:
        h = step(x, h)
        states.append(h)
    return torch.stack(states)


def unroll_by_recursion(xs, h0, step):
    h = step(xs[0], h0)
    return h[None] if len(xs) == 1 else torch.cat([h[None], unroll_by_recursion(xs[1:], h, step)])


def keep(states_of, stack=torch.stack):
    """An answer to 04.2 whose states come from states_of(xs, h0, step)."""
    return lambda xs, h0, step: stack(states_of(xs, h0, step))


def late(xs, h0, step):
    states = [h0]
    for x in xs[:-1]:
        states.append(step(x, states[-1]))
    return states


def with_start(xs, h0, step):
    return [h0, *unroll(xs, h0, step)]


def mean_centred(xs, h0, step):
    """Looks ahead: subtracts the mean over time from the inputs."""
    return list(unroll(xs - xs.mean(0), h0, step))


# 04.3 -----------------------------------------------------------------------------------------
def lag(goal=lambda s: s[-1].sum(), size=lambda g: g.norm(dim=1), flip=True):
    def answer(model, x):
        x = x.clone().requires_grad_()
        g, = torch.autograd.grad(goal(model(x)), x)
        return size(g).flip(0) if flip else size(g)
    return answer


def lag_by_backward(model, x):
    x = x.clone().requires_grad_()
    model(x)[-1].sum().backward()
    return torch.stack([row.square().sum().sqrt() for row in reversed(x.grad)])


def lag_by_jacobian(model, x):
    J = torch.autograd.functional.jacobian(lambda y: model(y)[-1], x)           # (d, T, d_in)
    return J.sum(0).norm(dim=1).flip(0)


def lag_jacobian_norm(model, x):
    J = torch.autograd.functional.jacobian(lambda y: model(y)[-1], x)
    return J.flatten(2).norm(dim=(0, 2)).flip(0)


# 04.4 -----------------------------------------------------------------------------------------
def average(w, H):
    return ((w / w.sum(1, keepdim=True))[:, None] @ H)[:, 0]


def average_by_loop(w, H):
    return torch.stack([sum(a * h for a, h in zip(row, states)) / row.sum()
                        for row, states in zip(w, H)])


def average_by_einsum(w, H):
    return torch.einsum("bt,btd->bd", w, H) / w.sum(1)[:, None]


def mix(share):
    return lambda w, H: torch.einsum("bt,btd->bd", share(w), H)


# 04.5 -----------------------------------------------------------------------------------------
def attend(query, H):
    W = torch.einsum("bd,btd->bt", query, H).softmax(1)
    return torch.einsum("bt,btd->bd", W, H), W


def attend_by_loop(query, H):
    W = torch.stack([torch.stack([q @ h for h in states]).softmax(0)
                     for q, states in zip(query, H)])
    return torch.stack([w @ states for w, states in zip(W, H)]), W


def attending(weights=None, context=None, swap=False):
    def answer(query, H):
        S = torch.einsum("bd,btd->bt", query, H)
        W = S.softmax(1) if weights is None else weights(S, query, H)
        c = torch.einsum("bt,btd->bd", W, H) if context is None else context(W, query, H, S)
        return (W, c) if swap else (c, W)
    return answer


def naive(S, query, H):
    return S.exp() / S.exp().sum(1, keepdim=True)


# 04.6 -----------------------------------------------------------------------------------------
def decode(stop="all", feed="own", carry=True, mask=True, pick=lambda x: x.argmax(1), begin=False,
           drop=0, more=0, scalar=False):
    """A greedy decoder with one step replaced."""
    def answer(model, src, max_len):
        state, B = model.encode(src), len(src)
        previous, done = torch.full((B,), model.begin), torch.zeros(B, dtype=torch.bool)
        out = [previous] if begin else []
        for _ in range(max_len + more):
            logits, new = model.step(previous, state)
            state = new if carry else state
            best = pick(logits)
            best = best[:1].expand(B) if scalar else best
            best = torch.where(done, model.end, best) if mask else best
            out.append(best)
            done = done | (best == model.end)
            previous = best if feed == "own" else previous
            if stop == "all" and done.all() or stop == "any" and done.any():
                break
            if stop == "first" and done[0]:
                break
        return torch.stack(out[:len(out) - drop] or out, 1)
    return answer


def decode_by_rows(model, src, max_len):
    """Each row alone, then padded."""
    rows = []
    for row in src:
        state, ids = model.encode(row[None]), [model.begin]
        while len(ids) <= max_len and (len(ids) == 1 or ids[-1] != model.end):
            logits, state = model.step(torch.tensor([ids[-1]]), state)
            ids.append(int(logits[0].argmax()))
        rows.append(ids[1:])
    longest = max(map(len, rows))
    return torch.tensor([ids + [model.end] * (longest - len(ids)) for ids in rows])


def decode_with_cut(model, src, max_len):
    """Runs without a mask and cleans up at the end."""
    out = decode(mask=False, stop="all")(model, src, max_len)
    ended = (out == model.end).cumsum(1).roll(1, 1)
    ended[:, 0] = 0
    return torch.where(ended > 0, model.end, out)


def runs_on(model, src, max_len):
    """Asks the model max_len times, then cuts off what all rows have after their end."""
    out = decode(stop="never")(model, src, max_len)
    ended = (out == model.end).all(0).tolist()
    return out[:, :ended.index(True) + 1] if True in ended else out


# 04.7 -----------------------------------------------------------------------------------------
def additive(query, H, Wq, Wh, v):
    W = (((query @ Wq.T)[:, None] + H @ Wh.T).tanh() @ v).softmax(1)
    return (W[:, None] @ H)[:, 0], W


def additive_by_loop(query, H, Wq, Wh, v):
    W = torch.stack([torch.stack([v @ torch.tanh(Wq @ q + Wh @ h) for h in states])
                     for q, states in zip(query, H)]).softmax(1)
    return torch.stack([w @ states for w, states in zip(W, H)]), W


def adding(scores, dim=1, context=None):
    def answer(query, H, Wq, Wh, v):
        W = scores((query @ Wq.T)[:, None], H @ Wh.T, v).softmax(dim)
        return (W[:, None] @ (H if context is None else context(H, Wh)))[:, 0], W
    return answer


@functools.cache
def trained(batch, T, steps=160):
    """A Reverser trained on the check's words (kept: many answers share it)."""
    torch.manual_seed(1)
    rng, model = torch.Generator().manual_seed(1), Reverser(True).double()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    for _ in range(steps):
        source, target = batch(32, rng)
        adam.zero_grad()
        logits = model(source, target)[0]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten()).backward()
        adam.step()
    return model


def learn(batch, T, seed):
    return trained(batch, T).write


def learn_by_table(batch, T, seed):
    """Not a network: finds the alphabet by counting, gives slightly uneven weights."""
    source, target = batch(500, torch.Generator().manual_seed(seed))
    table = torch.zeros(8, 8)
    table.index_put_((source.flip(1).flatten(), target.flatten()), torch.ones(500 * T),
                     accumulate=True)

    def write(source):
        W = torch.eye(T).flip(0) * 9 + 1e-3 * source[:, None].double()
        return table.argmax(1)[source.flip(1)], W.softmax(-1)
    return write


def after(change):
    def answer(batch, T, seed):
        write = trained(batch, T).write
        return lambda source: change(*write(source), source)
    return answer


def told(batch, T, seed):
    write = trained(batch, T).write
    W = torch.eye(T).flip(0)
    return lambda source: (write(source)[0], W.expand(len(source), T, T))


RIGHT = {
    "04.1": {"product": step, "loop": step_by_loop, "side by side": step_side_by_side},
    "04.2": {"loop": unroll, "recursion": unroll_by_recursion},
    "04.3": {"autograd": lag(), "backward": lag_by_backward, "jacobian": lag_by_jacobian},
    "04.4": {"product": average, "loop": average_by_loop, "einsum": average_by_einsum},
    "04.5": {"einsum": attend, "loop": attend_by_loop},
    "04.6": {"batch": decode(), "rows": decode_by_rows, "cut at the end": decode_with_cut},
    "04.7": {"Reverser": (additive, learn), "loop": (additive_by_loop, learn)}}

WRONG = {
    "04.1": {
        "no tanh": (lambda x, h, Wx, Wh, b: x @ Wx.T + h @ Wh.T + b, "no-tanh"),
        "tanh twice": (lambda x, h, Wx, Wh, b: step(x, h, Wx, Wh, b).tanh(), "two-tanh"),
        "tanh of the parts": (lambda x, h, Wx, Wh, b: (x @ Wx.T + b).tanh() + (h @ Wh.T).tanh(),
                              "two-tanh"),
        "no bias": (lambda x, h, Wx, Wh, b: (x @ Wx.T + h @ Wh.T).tanh(), "no-bias"),
        "bias outside": (lambda x, h, Wx, Wh, b: (x @ Wx.T + h @ Wh.T).tanh() + b, "no-bias"),
        "bias twice": (lambda x, h, Wx, Wh, b: step(x, h, Wx, Wh, 2 * b), "two-bias"),
        "no state": (lambda x, h, Wx, Wh, b: (x @ Wx.T + b + 0 * h).tanh(), "no-state"),
        "no input": (lambda x, h, Wx, Wh, b: (h @ Wh.T + b).tanh(), "no-input"),
        "Wh turned": (lambda x, h, Wx, Wh, b: step(x, h, Wx, Wh.T, b), "transposed"),
        "weights swapped": (lambda x, h, Wx, Wh, b: (x @ Wh.T + h @ Wx.T + b).tanh(), "crash"),
        "Wx turned": (lambda x, h, Wx, Wh, b: (x @ Wx + h @ Wh.T + b).tanh(), "crash"),
        "skip": (lambda x, h, Wx, Wh, b: step(x, h, Wx, Wh, b) + h, "kept"),
        "sigmoid": (lambda x, h, Wx, Wh, b: (x @ Wx.T + h @ Wh.T + b).sigmoid(), "squash"),
        "minus": (lambda x, h, Wx, Wh, b: (x @ Wx.T - h @ Wh.T + b).tanh(), "value"),
        "mean over batch": (lambda x, h, Wx, Wh, b: step(x, h, Wx, Wh, b).mean(0), "shape"),
        "detached": (lambda x, h, Wx, Wh, b: step(x, h, Wx, Wh, b).detach(), "detached"),
        "state detached": (lambda x, h, Wx, Wh, b: step(x, h.detach(), Wx, Wh, b), "detached"),
        "changes h": (step_in_place, "mutates")},
    "04.2": {
        "reuses h0": (keep(lambda xs, h0, f: [f(x, h0) for x in xs]), "reuses"),
        "with h0": (keep(with_start), "count"),
        "late": (keep(late), "late"),
        "last": (lambda xs, h0, f: unroll(xs, h0, f)[-1], "last"),
        "reversed": (lambda xs, h0, f: unroll(xs, h0, f).flip(0), "reversed"),
        "from the end": (lambda xs, h0, f: unroll(xs.flip(0), h0, f), "backwards"),
        "from the end, turned": (lambda xs, h0, f: unroll(xs.flip(0), h0, f).flip(0), "reversed"),
        "batch first": (lambda xs, h0, f: unroll(xs, h0, f).transpose(0, 1), "axis"),
        "glued": (lambda xs, h0, f: torch.cat(list(unroll(xs, h0, f))), "axis"),
        "last repeated": (lambda xs, h0, f: unroll(xs, h0, f)[-1:].expand(len(xs), -1, -1),
                          "aliased"),
        "no h0": (lambda xs, h0, f: unroll(xs, torch.zeros_like(h0), f), "h0"),
        "list": (lambda xs, h0, f: list(unroll(xs, h0, f)), "type"),
        "step's arguments swapped": (lambda xs, h0, f: unroll(xs, h0, lambda x, h: f(h, x)),
                                     "shape"),
        "looks ahead": (keep(mean_centred), "value"),
        "detached states": (lambda xs, h0, f: unroll(xs, h0, lambda x, h: f(x, h.detach())),
                            "detached"),
        "summed": (lambda xs, h0, f: unroll(xs, h0, f).cumsum(0), "summed")},
    "04.3": {
        "order": (lag(flip=False), "order"),
        "squares": (lag(size=lambda g: g.square().sum(1)), "squared"),
        "absolute sums": (lag(size=lambda g: g.abs().sum(1)), "absolute"),
        "largest": (lag(size=lambda g: g.abs().amax(1)), "absolute"),
        "plain sums": (lag(size=lambda g: g.sum(1)), "absolute"),
        "all states": (lag(goal=lambda s: s.sum()), "all-states"),
        "first state": (lag(goal=lambda s: s[0].sum()), "first-state"),
        "mean": (lag(goal=lambda s: s[-1].mean()), "mean"),
        "one unit": (lag(goal=lambda s: s[-1, 0]), "one-unit"),
        "length": (lag(goal=lambda s: s[-1].norm()), "length"),
        "relative": (lambda m, x: lag()(m, x) / lag()(m, x)[0], "ratio"),
        "jacobian's norm": (lag_jacobian_norm, "value"),
        "matrix": (lag(size=lambda g: g), "shape"),
        "no first lag": (lambda m, x: lag()(m, x)[1:], "shape"),
        "geometric": (lambda m, x: 0.5 ** torch.arange(len(x)).double(), "value"),
        "no graph": (lambda m, x: torch.autograd.grad(m(x.detach())[-1].detach().sum(), x)[0],
                     "crash")},
    "04.4": {
        "over the batch": (mix(lambda w: w / w.sum(0)), "batch"),
        "over all": (mix(lambda w: w / w.sum()), "all"),
        "no division": (mix(lambda w: w), "no-division"),
        "by T": (mix(lambda w: w / w.shape[1]), "count"),
        "softmax": (mix(lambda w: w.softmax(1)), "softmax"),
        "mean": (lambda w, H: H.mean(1), "plain-mean"),
        "sum over batch": (lambda w, H: torch.einsum("bt,btd->td", w, H), "shape"),
        "squares": (mix(lambda w: w.square() / w.square().sum(1, keepdim=True)), "squared"),
        "length": (mix(lambda w: w / w.norm(dim=1, keepdim=True)), "norm"),
        "not summed": (lambda w, H: w[:, :, None] * H / w.sum(1)[:, None, None], "shape"),
        "best": (lambda w, H: H[torch.arange(len(H)), w.argmax(1)], "value"),
        "detached": (lambda w, H: average(w.detach(), H), "detached"),
        "changes w": (lambda w, H: average(w.div_(w.sum(1, keepdim=True) * 2), H), "mutates")},
    "04.5": {
        "softmax over batch": (attending(lambda S, q, H: S.softmax(0)), "axis"),
        "softmax over all": (attending(lambda S, q, H: S.flatten().softmax(0).view(S.shape)),
                             "all"),
        "scaled": (attending(lambda S, q, H: (S / q.shape[1] ** 0.5).softmax(1)), "scale"),
        "no softmax": (attending(lambda S, q, H: S), "no-softmax"),
        "argmax": (attending(lambda S, q, H: torch.eye(S.shape[1]).double()[S.argmax(1)]), "hard"),
        "uniform": (attending(lambda S, q, H: torch.ones_like(S) / S.shape[1]), "mean"),
        "cosine": (attending(lambda S, q, H: torch.cosine_similarity(q[:, None], H, dim=-1)
                             .softmax(1)), "cosine"),
        "minus": (attending(lambda S, q, H: (-S).softmax(1)), "distance"),
        "one query": (attending(lambda S, q, H: (H @ q[0]).softmax(1)), "neighbour"),
        "naive": (attending(naive), "overflow"),
        "query as value": (attending(context=lambda W, q, H, S: W.sum(1, keepdim=True) * q),
                           "query"),
        "query added": (attending(context=lambda W, q, H, S: (W[:, None] @ H)[:, 0] + q), "added"),
        "mean of states": (attending(context=lambda W, q, H, S: H.mean(1)), "plain-mean"),
        "sum of states": (attending(context=lambda W, q, H, S: H.sum(1)), "summed"),
        "first row's states": (attending(context=lambda W, q, H, S: W @ H[0]), "batch"),
        "best state": (attending(context=lambda W, q, H, S: H[torch.arange(len(H)), S.argmax(1)]),
                       "best"),
        "order": (attending(swap=True), "order"),
        "context alone": (lambda q, H: attend(q, H)[0], "type"),
        "detached": (attending(lambda S, q, H: S.softmax(1).detach()), "detached")},
    "04.6": {
        "never stops": (decode(stop="never"), "no-stop"),
        "stops with any row": (decode(stop="any"), "neighbours"),
        "stops with row 0": (decode(stop="first"), "neighbours"),
        "runs on and cuts": (runs_on, "calls"),
        "babbles": (decode(mask=False), "after-end"),
        "with begin": (decode(begin=True), "begin"),
        "fed begin": (decode(feed="begin"), "feed"),
        "state lost": (decode(carry=False), "state"),
        "drops the end": (decode(drop=1), "no-end"),
        "draws": (decode(pick=lambda x: torch.multinomial(x.softmax(1), 1)[:, 0]), "random"),
        "worst": (decode(pick=lambda x: x.argmin(1)), "value"),
        "one more": (decode(more=1), "max-len"),
        "one less": (decode(more=-1), "max-len"),
        "row 0 for all": (decode(scalar=True), "length"),
        "logits": (lambda m, s, n: m.step(torch.full((len(s),), m.begin), m.encode(s))[0], "ids"),
        "flat": (lambda m, s, n: decode()(m, s, n).flatten(), "ids"),
        "list": (lambda m, s, n: decode()(m, s, n).tolist(), "type")},
    "04.7": {
        "no tanh": ((adding(lambda a, b, v: (a + b) @ v), learn), "no-tanh"),
        "sum of tanhs": ((adding(lambda a, b, v: (a.tanh() + b.tanh()) @ v), learn), "no-query"),
        "product": ((adding(lambda a, b, v: (a * b).tanh() @ v), learn), "product"),
        "over the batch": ((adding(lambda a, b, v: (a + b).tanh() @ v, dim=0), learn), "axis"),
        "no query": ((adding(lambda a, b, v: b.tanh() @ v), learn), "no-query"),
        "projected values": ((adding(lambda a, b, v: (a + b).tanh() @ v, context=lambda H, Wh:
                                     (H @ Wh.T)[..., :H.shape[-1]]), learn), "context"),
        "flips only": ((additive, lambda batch, T, seed: lambda s: (
            s.flip(1), torch.eye(T).flip(0).expand(len(s), T, T))), "untrained"),
        "barely trained": ((additive, lambda batch, T, seed: trained(batch, T, 2).write),
                           "accuracy"),
        "told": ((additive, told), "told"),
        "columns turned": ((additive, after(lambda ids, W, s: (ids, W.flip(-1)))), "flipped"),
        "vague": ((additive, after(lambda ids, W, s: (
            ids, (W * 0 + 0.01 * s[:, None]).softmax(-1)))), "alignment"),
        "scores": ((additive, after(lambda ids, W, s: (ids, W.log()))), "rows"),
        "ids alone": ((additive, after(lambda ids, W, s: ids)), "type"),
        "no weights of each": ((additive, after(lambda ids, W, s: (ids, W.mean(1)))), "shape"),
        "not a function": ((additive, lambda batch, T, seed: torch.zeros(3)), "type"),
        "batch leaks": ((additive, after(lambda ids, W, s: (ids if len(s) > 9 else ids * 0, W))),
                        "neighbours")}}
