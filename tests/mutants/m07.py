"""Right and wrong answers to the exercises of lecture 07."""
import math

import numpy as np
import torch
from torch import nn

from utils.checks import c07, c07_isoflop, c07_laws, c07_spans

inf = math.inf


# 07.1 -----------------------------------------------------------------------------------------
family_mask = c07.mask


def by_blocks(kind, Ts, Tt):
    """Put together from four blocks."""
    causal = torch.tril(torch.ones(Tt, Tt)).bool()
    if kind == "decoder":
        return causal
    if kind in ("encoder", "cross"):
        return torch.full((Ts if kind == "encoder" else Tt, Ts), True)
    top = torch.cat([torch.full((Ts, Ts), True), torch.full((Ts, Tt), False)], 1)
    return torch.cat([top, torch.cat([torch.full((Tt, Ts), True), causal], 1)])


def by_loops(kind, Ts, Tt):
    rows = {"encoder": Ts, "decoder": Tt, "cross": Tt, "prefix": Ts + Tt}[kind]
    columns = {"encoder": Ts, "decoder": Tt, "cross": Ts, "prefix": Ts + Tt}[kind]
    seen = []
    for i in range(rows):
        row = []
        for j in range(columns):
            if kind in ("encoder", "cross"):
                row.append(True)
            elif kind == "decoder":
                row.append(j <= i)
            else:
                row.append(j < Ts or (i >= Ts and j <= i))
        seen.append(row)
    return torch.tensor(seen)


def masks(change=None, **kinds):
    """family_mask with some kinds made otherwise, or every result changed."""
    def made(kind, Ts, Tt):
        out = kinds[kind](Ts, Tt) if kind in kinds else family_mask(kind, Ts, Tt)
        return change(out) if change else out
    return made


def full(rows, columns):
    return torch.ones(rows, columns, dtype=torch.bool)


def prefix(change):
    def made(Ts, Tt):
        out = family_mask("prefix", Ts, Tt)
        change(out, Ts)
        return out
    return masks(prefix=made)


def put(rows, columns, value):
    def change(out, Ts):
        out[rows(Ts), columns(Ts)] = value
    return change


def after(Ts):
    return slice(Ts, None)


def before(Ts):
    return slice(None, Ts)


def peek_in_prefix(out, Ts):
    n = len(out)
    out |= full(n, n).tril(1) & (torch.arange(n) >= Ts)


def diagonal_in_prefix(out, Ts):
    out[Ts:, Ts:] = out[Ts:, Ts:].tril(-1)


def first_source_only(out, Ts):
    out[Ts:, 1:Ts] = False


def source_is_a_band(Ts, Tt):
    i = torch.arange(Ts)
    return (i[:, None] - i).abs() <= 2


def last_sees_first_only(Ts, Tt):
    out = full(Tt, Tt).tril()
    out[-1, 1:-1] = False
    return out


# 07.2 -----------------------------------------------------------------------------------------
def mlm(rate=0.15, shares=(0.8, 0.1), chosen=None, words=None, fate=None, label=None, end=None):
    """A right mlm_corrupt, or one with a part replaced."""
    def corrupt(ids, mask_id, V, rng):
        picked = (chosen(ids, V, rng) if chosen else
                  (torch.rand(ids.shape, generator=rng) < rate) & (ids < V))
        u = fate(ids, rng) if fate else torch.rand(ids.shape, generator=rng)
        new = (words(ids, mask_id, V, rng) if words else
               torch.randint(V, ids.shape, generator=rng))
        masked = picked & (u < shares[0])
        random = picked & (u >= shares[0]) & (u < sum(shares))
        inp = torch.where(masked, mask_id, torch.where(random, new, ids))
        if label:
            labels = label(ids, inp, picked, masked, random, mask_id)
        else:
            labels = torch.where(picked, ids, -100)
        return end(inp, labels) if end else (inp, labels)
    return corrupt


def mlm_one_number(ids, mask_id, V, rng):
    """One uniform number a place decides all."""
    u = torch.rand(ids.shape, generator=rng, dtype=torch.float64)
    u[ids >= V] = 1
    labels = torch.full_like(ids, -100)
    labels[u < 0.15] = ids[u < 0.15]
    inp = ids.clone()
    inp[u < 0.12] = mask_id
    place = (u >= 0.12) & (u < 0.135)
    inp[place] = torch.randint(0, V, (int(place.sum()),), generator=rng)
    return inp, labels


def mlm_by_bernoulli(ids, mask_id, V, rng):
    """As in a well-known library: half of what is not masked becomes random; returns a list."""
    labels, inp = ids.clone(), ids.clone()
    chance = torch.full(labels.shape, 0.15).masked_fill(ids >= V, 0.0)
    chosen = torch.bernoulli(chance, generator=rng).bool()
    labels[~chosen] = -100
    masked = torch.bernoulli(torch.full(labels.shape, 0.8), generator=rng).bool() & chosen
    inp[masked] = mask_id
    half = torch.bernoulli(torch.full(labels.shape, 0.5), generator=rng).bool() & chosen & ~masked
    inp[half] = torch.randint(V, labels.shape, generator=rng)[half]
    return [inp, labels]


def mlm_by_places(ids, mask_id, V, rng):
    """A list of chosen places, then a loop-free walk over them in numpy's way."""
    flat = ids.flatten()
    at = ((torch.rand(len(flat), generator=rng) < 0.15) & (flat < V)).nonzero()[:, 0]
    labels, inp = torch.full_like(flat, -100), flat.clone()
    labels[at] = flat[at]
    fate = torch.multinomial(torch.tensor([0.8, 0.1, 0.1]), len(at), True, generator=rng) \
        if len(at) else at
    inp[at[fate == 0]] = mask_id
    inp[at[fate == 1]] = torch.randint(V, (int((fate == 1).sum()),), generator=rng)
    return inp.view_as(ids), labels.view_as(ids)


def exact_count(ids, V, rng):
    """The same number in each row, as far as there are words."""
    score = torch.rand(ids.shape, generator=rng).masked_fill(ids >= V, 2.0)
    n = ((ids < V).sum(1, keepdim=True) * 0.15).round().long()
    return score.argsort(1).argsort(1) < n


def same_columns(ids, V, rng):
    return (torch.rand(ids.shape[1], generator=rng) < 0.15) & (ids < V)


def same_rows(ids, V, rng):
    return (torch.rand(len(ids), 1, generator=rng) < 0.15) & (ids < V)


def same_words(ids, V, rng):
    return (torch.rand(V, generator=rng) < 0.15)[ids.clamp(max=V - 1)] & (ids < V)


def pairs(ids, V, rng):
    """Every second draw counts for two neighbours."""
    draw = torch.rand(len(ids), (ids.shape[1] + 1) // 2, generator=rng) < 0.15
    return draw.repeat_interleave(2, 1)[:, :ids.shape[1]] & (ids < V)


def never_word_0(ids, V, rng):
    return (torch.rand(ids.shape, generator=rng) < 0.15) & (ids < V) & (ids > 0)


def never_early(ids, V, rng):
    chance = torch.linspace(0.058, 0.279, ids.shape[1])
    return (torch.rand(ids.shape, generator=rng) < chance) & (ids < V)


def specials_too(ids, V, rng):
    return torch.rand(ids.shape, generator=rng) < 0.15


def global_draw(ids, V, rng):
    return (torch.rand(ids.shape) < 0.15) & (ids < V)


def own_seed(ids, V, rng):
    return (torch.rand(ids.shape, generator=torch.Generator().manual_seed(0)) < 0.15) & (ids < V)


def copy_of_rng(ids, mask_id, V, rng):
    return mlm()(ids, mask_id, V, torch.Generator().set_state(rng.get_state()))


def seed_of_rng(ids, mask_id, V, rng):
    return mlm()(ids, mask_id, V, torch.Generator().manual_seed(rng.initial_seed()))


def overwriting(ids, mask_id, V, rng):
    inp, labels = mlm(shares=(0.8, 0.0))(ids, mask_id, V, rng)
    again = (labels != -100) & (torch.rand(ids.shape, generator=rng) < 0.1)
    return torch.where(again, torch.randint(V, ids.shape, generator=rng), inp), labels


def from_the_text(ids, mask_id, V, rng):
    words = ids[ids < V]
    return words[torch.randint(len(words), ids.shape, generator=rng)] if len(words) else ids


def another_word(ids, mask_id, V, rng):
    return (ids + torch.randint(1, max(V, 2), ids.shape, generator=rng)) % V


def one_word(ids, mask_id, V, rng):
    return torch.randint(V, (1,), generator=rng).expand_as(ids)


def drawn(low, high):
    return lambda ids, mask_id, V, rng: torch.randint(low(V), high(V, mask_id), ids.shape,
                                                      generator=rng)


def uneven_words(ids, mask_id, V, rng):
    return (torch.rand(ids.shape, generator=rng) ** 2 * V).long()


def in_place(ids, mask_id, V, rng):
    inp, labels = mlm()(ids, mask_id, V, rng)
    return ids.copy_(inp), labels


def fate_of_a_row(ids, rng):
    return torch.rand(len(ids), 1, generator=rng).expand(ids.shape)


def fate_of_a_call(ids, rng):
    return torch.rand(1, generator=rng).expand(ids.shape)


def drawn_once(ids, mask_id, V, rng):
    u = torch.rand(ids.shape, generator=rng)
    return mlm(chosen=lambda *a: (u < 0.15) & (ids < V), fate=lambda *a: u)(ids, mask_id, V, rng)


def labelled(label):
    return mlm(label=label)


# 07.3 -----------------------------------------------------------------------------------------
span_corrupt = c07_spans.corrupted


def spans_by_slices(ids, spans):
    """From the right, so that places stay right."""
    inp, tgt = list(ids), [32099 - len(spans)]
    for k in range(len(spans) - 1, -1, -1):
        start, stop = spans[k]
        tgt = [32099 - k] + inp[start:stop] + tgt
        inp[start:stop] = [32099 - k]
    return inp, tgt


def spans_by_ids(ids, spans):
    """One id at a time; tuples and tensors."""
    inp, tgt = [], []
    starts = {start: k for k, (start, _) in enumerate(spans)}
    hidden = {i for start, stop in spans for i in range(start, stop)}
    for i, id in enumerate(ids):
        if i in starts:
            inp.append(32099 - starts[i])
            tgt.append(32099 - starts[i])
        (tgt if i in hidden else inp).append(id)
    tgt.append(32099 - len(spans))
    return torch.tensor(inp), tuple(tgt)


def spans_offset(ids, spans):
    """Keeps count of how much shorter the list became."""
    inp, tgt, shorter = ids[:], [], 0
    for k, (start, stop) in enumerate(spans):
        tgt += [32099 - k, *ids[start:stop]]
        del inp[start - shorter + 1:stop - shorter]
        inp[start - shorter] = 32099 - k
        shorter += stop - start - 1
    return inp, [*tgt, 32099 - len(spans)]


def spans(**how):
    return lambda ids, given: span_corrupt(ids, given, **how)


def target(change):
    def made(ids, given):
        inp, tgt = span_corrupt(ids, given)
        return inp, change(tgt, ids, given)
    return made


def source(change):
    def made(ids, given):
        inp, tgt = span_corrupt(ids, given)
        return change(inp, ids, given), tgt
    return made


def touching_merged(ids, given):
    joined = []
    for start, stop in given:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return span_corrupt(ids, joined)


def marks_after(tgt, ids, given):
    return [id for k, (start, stop) in enumerate(given) for id in (*ids[start:stop], 32099 - k)] + [
        32099 - len(given)]


def no_marks(tgt, ids, given):
    return [id for id in tgt if id < 32000]


def per_token(inp, ids, given):
    out = list(ids)
    for k, (start, stop) in enumerate(given):
        out[start:stop] = [32099 - k] * (stop - start)
    return out


def new_for_each(inp, ids, given):
    out, n = list(ids), 0
    for start, stop in given:
        for i in range(start, stop):
            out[i], n = 32099 - n, n + 1
    return out


def kept_too(inp, ids, given):
    out = []
    for i, id in enumerate(ids):
        out += [32099 - k for k, (start, _) in enumerate(given) if start == i] + [id]
    return out


def by_value(ids, given):
    """Finds where a piece stands by its first id, which may stand elsewhere too."""
    inp, tgt = list(ids), []
    for k, (start, stop) in enumerate(given):
        at = inp.index(ids[start])
        tgt += [32099 - k, *ids[start:stop]]
        inp[at:at + stop - start] = [32099 - k]
    return inp, [*tgt, 32099 - len(given)]


def needs_a_span(ids, given):
    inp, tgt = span_corrupt(ids, given)
    return (inp, tgt) if given else (inp, [])


def cuts_the_original(ids, given):
    inp, tgt = span_corrupt(ids, given)
    ids[:] = inp
    return ids, tgt


def rest_lost(ids, given):
    inp, tgt = span_corrupt(ids, given)
    end = given[-1][1] if given else 0
    return inp[:len(inp) - (len(ids) - end)], tgt


def hundred_sentinels(ids, given):
    """Counts down from 32099 and starts again after ten."""
    return span_corrupt(ids, given, mark=lambda k, n: 32099 - k % 10)


# 07.4 -----------------------------------------------------------------------------------------
def count_params(c):
    """In the order of the task, part by part."""
    d, V, L, w = c["d_model"], c["vocab_size"], c["n_layers"], c["d_ff"]
    linear = {"attention": 4 * d * (d + 1), "norm": 2 * d, "ff": (d + 1) * w + (w + 1) * d}
    encoder = [linear["attention"], linear["norm"], linear["ff"], linear["norm"]]
    decoder = encoder + [linear["attention"], linear["norm"]]
    sides = {"encoder-decoder": [encoder, decoder]}.get(c["kind"], [encoder])
    total = sum(L * sum(side) + linear["norm"] * c["norm_first"] for side in sides)
    return total + V * d * (2 - c["tied"]) + c["max_len"] * d


def count_by_sum(c):
    """A list of shapes, multiplied out."""
    d, w, L = c["d_model"], c["d_ff"], c["n_layers"]
    shapes = [(c["vocab_size"], d), (c["max_len"], d)]
    if not c["tied"]:
        shapes += [(c["vocab_size"], d)]
    attention = [(d, d), (d,)] * 4 + [(d,)] * 2
    for stack in range(2 if c["kind"] == "encoder-decoder" else 1):
        for _ in range(L):
            shapes += attention * (stack + 1) + [(d, w), (w,), (w, d), (d,), (d,), (d,)]
        shapes += [(d,), (d,)] if c["norm_first"] else []
    return sum(map(math.prod, shapes))


def counts(change):
    """count_params of a changed cfg or with something added: change(c, right)."""
    return lambda c: change(c, count_params(c))


def blocks(c):
    return c["n_layers"] * (2 if c["kind"] == "encoder-decoder" else 1)


def attentions(c):
    return c["n_layers"] * (3 if c["kind"] == "encoder-decoder" else 1)


def norms(c):
    both = c["kind"] == "encoder-decoder"
    return c["n_layers"] * (5 if both else 2), c["norm_first"] * (2 if both else 1)


def both(c):
    return c["kind"] == "encoder-decoder"


def attention_of(c):
    return 4 * (c["d_model"] ** 2 + c["d_model"])


def built(c):
    """A model, counted: torch's own layers."""
    model = nn.ModuleList([nn.Embedding(c["vocab_size"], c["d_model"]),
                           nn.TransformerEncoderLayer(c["d_model"], 1, c["d_ff"])])
    return sum(p.numel() for p in model.parameters())


def forgets_cfg(c):
    c.pop("tied")
    return count_params(c | {"tied": True})


# 07.5 -----------------------------------------------------------------------------------------
def train_flops(N, D):
    return 6 * N * D


def utilisation(N, D, gpus, days, peak):
    return train_flops(N, D) / (gpus * days * 86400 * peak)


def flops(function):
    return function, lambda N, D, gpus, days, peak: utilisation(N, D, gpus, days, peak)


def shares(change):
    return train_flops, lambda *args: change(utilisation(*args), *args)


# 07.6 -----------------------------------------------------------------------------------------
def optimal_split(C, E, A, B, a, b):
    return c07_laws.split(C, A, B, a, b)


def split_in_logs(C, E, A, B, a, b):
    """Logarithms, as a tensor."""
    A, B, a, b, c = (torch.tensor(v, dtype=torch.float64) for v in (A, B, a, b, C / 6))
    log_N = (a.log() + A.log() - b.log() - B.log() + b * c.log()) / (a + b)
    return torch.stack([log_N.exp(), (c.log() - log_N).exp()])


def split_by_newton(C, E, A, B, a, b):
    """Where the slope in log N is 0, by bisection; a list."""
    low, high, c = 0.0, math.log(C / 6), C / 6
    low, high = low - 20, high + 20
    for _ in range(200):
        x = (low + high) / 2
        if -a * A * math.exp(-a * x) + b * B * math.exp(b * (x - math.log(c))) < 0:
            low = x
        else:
            high = x
    return [math.exp(x), c / math.exp(x)]


def splits(N, D=None):
    def made(C, E, A, B, a, b):
        n = N(C, E, A, B, a, b)
        return n, D(C, n) if D else C / 6 / n
    return made


def ratio_power(ratio, power=lambda a, b: b / (a + b)):
    return splits(lambda C, E, A, B, a, b: ratio(A, B, a, b) * (C / 6) ** power(a, b))


def on_a_grid(points):
    def search(C, E, A, B, a, b):
        grid = torch.logspace(0, math.log10(C / 6), points, dtype=torch.float64)
        loss = E + A / grid ** a + B / (C / 6 / grid) ** b
        return float(grid[loss.argmin()])
    return splits(search)


def with_E(C, E, A, B, a, b):
    return c07_laws.split(C, A + E, B + E, a, b)


# 07.7 -----------------------------------------------------------------------------------------
def fit_power(D, L):
    return c07_laws.fitted(D, L)[:3]


def fit_by_golden_section(D, L):
    """numpy, golden section on alpha; E and A by lstsq with the sign of E looked after."""
    d, y = D.numpy(), L.numpy()

    def line(alpha):
        x = d ** -alpha
        E, A = np.linalg.lstsq(np.stack([np.ones_like(x), x], 1), y, rcond=None)[0]
        if E < 0:
            E, A = 0.0, x @ y / (x @ x)
        return ((E + A * x - y) ** 2).sum(), E, A
    low, high, r = 1e-3, 1.0, (5 ** 0.5 - 1) / 2
    grid = np.linspace(low, high, 30)
    best = min(range(30), key=lambda i: line(grid[i])[0])
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, 29)]
    for _ in range(60):
        a, b = high - r * (high - low), low + r * (high - low)
        low, high = (low, b) if line(a)[0] < line(b)[0] else (a, high)
    _, E, A = line(low)
    return [float(E), float(A), float(low)]


def fit_all_at_once(D, L):
    """All alphas at once, twice; a tensor."""
    low, high = 0.001, 1.0
    for _ in range(4):
        alpha = torch.linspace(low, high, 400, dtype=torch.float64)
        x = D ** -alpha[:, None]
        m = x - x.mean(1, keepdim=True)
        A = ((m * L).sum(1) / (m * m).sum(1)).clamp(min=0)
        E = L.mean() - A * x.mean(1)
        A = torch.where(E < 0, (x * L).sum(1) / (x * x).sum(1), A)
        E = E.clamp(min=0)
        i = int((E[:, None] + A[:, None] * x - L).square().sum(1).argmin())
        low, high = float(alpha[max(i - 1, 0)]), float(alpha[min(i + 1, 399)])
    return torch.stack([E[i], A[i], alpha[i]])


def honest_until(E, A, alpha, entropy):
    return (A / (entropy - E)) ** (1 / alpha) if E < entropy else inf


def until_in_logs(E, A, alpha, entropy):
    gap = entropy - E
    return math.exp((math.log(A) - math.log(gap)) / alpha) if gap > 0 else float("inf")


def fits(change):
    return lambda D, L: change(*fit_power(D, L), D, L), honest_until


def untils(function):
    return fit_power, function


def no_floor(D, L):
    return (0.0, *c07_laws.straight(D, L))


def floor_is_lowest(D, L):
    above = L > L.min()
    return (float(L.min()), *c07_laws.straight(D[above], L[above] - L.min()))


def on_alphas(alphas, **how):
    return lambda D, L: c07_laws.fitted(D, L, alphas=alphas, **how)[:3]


def unbounded(D, L):
    """E may be negative."""
    def line(alpha):
        x = D ** -alpha
        m = x - x.mean()
        A = float((m * L).sum() / (m * m).sum())
        E = float(L.mean() - A * x.mean())
        return E, A, alpha, float((E + A * x - L).square().sum())
    low, high = 1e-3, 1.0
    for _ in range(6):
        grid = [low + (high - low) * i / 40 for i in range(41)]
        best = min(range(41), key=lambda i: line(grid[i])[3])
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 40)]
    return line(grid[best])[:3]


def clamped(D, L):
    E, A, alpha = unbounded(D, L)
    return max(E, 0.0), A, alpha


def three_points(D, L):
    order = D.argsort()
    D, L = D[order], L[order]
    i = torch.tensor([0, len(D) // 2, len(D) - 1])
    return c07_laws.fitted(D[i], L[i])[:3]


def takes_order_for_granted(D, L):
    return c07_laws.fitted(D.sort().values, L)[:3]


def complex_until(E, A, alpha, entropy):
    return (A / (entropy - E)) ** (1 / alpha) if E != entropy else inf


# 07.8 -----------------------------------------------------------------------------------------
def searcher(look=8, steps=(4, 2, 1), extra=(-3, 3, -4, 4), window=6.0, place=None, size=None,
             tokens=None, end=None, exponent=None, most=None):
    """A right approach_2 (coarse look, then closer), or one with a part replaced."""
    def search(train, sizes, budgets, allowed):
        best, limit = [], most or allowed
        for C in budgets:
            runs = {}

            def run(i, C=C, runs=runs):
                if 0 <= i < len(sizes) and sizes[i] not in runs and len(runs) < limit:
                    N = size(sizes[i]) if size else sizes[i]
                    D = tokens(C, N) if tokens else C / (6 * N)
                    runs[sizes[i]] = train(N, D)
                return sizes.index(min(runs, key=runs.get))
            for i in range(look // 2 - 1, len(sizes), look):
                low = run(i)
            for step in steps:
                for i in (low - step, low + step):
                    run(i)
                low = run(low)
            for k in extra:
                run(low + k)
            near = {N: loss for N, loss in runs.items()
                    if max(N / sizes[low], sizes[low] / N) < window}
            best.append((place or c07_isoflop.parabola)(near))
        a = (exponent or c07_isoflop.slope)(budgets, best)
        return end(best, a, budgets) if end else (best, a)
    return search


def by_polyfit(train, sizes, budgets, most):
    """A golden walk over the sizes and numpy's polyfit; a tensor of sizes."""
    best = []
    for C in budgets:
        runs = {}

        def loss(i, C=C, runs=runs):
            if i not in runs:
                runs[i] = train(sizes[i], C / 6 / sizes[i])
            return runs[i]
        stride = len(sizes) // 6
        for i in range(stride // 2, len(sizes), stride):
            loss(i)
        low = min(runs, key=runs.get)
        for k in (-3, 3, -5, 5, -2, 2, -1, 1):
            if len(runs) < most and 0 <= low + k < len(sizes):
                loss(low + k)
        low = min(runs, key=runs.get)
        near = [i for i in runs if abs(i - low) <= 6]
        x = np.log([sizes[i] for i in near])
        bend, slope, _ = np.polyfit(x - x.mean(), [runs[i] for i in near], 2)
        best.append(math.exp(x.mean() - slope / 2 / bend))
    a = np.polyfit(np.log(budgets), np.log(best), 1)[0]
    return torch.tensor(best), float(a)


def evenly(train, sizes, budgets, most):
    """All runs spread over all sizes, and one parabola through them."""
    best = []
    for C in budgets:
        places = torch.linspace(0, len(sizes) - 1, most).round().long().tolist()
        runs = {sizes[i]: train(sizes[i], C / 6 / sizes[i]) for i in places}
        best.append(c07_isoflop.parabola(runs))
    return best, c07_isoflop.slope(budgets, best)


def smallest_only(train, sizes, budgets, most):
    best = []
    for C in budgets:
        runs = {N: train(N, C / 6 / N) for N in sizes[:most]}
        best.append(c07_isoflop.parabola(runs))
    return best, c07_isoflop.slope(budgets, best)


def one_budget(train, sizes, budgets, most):
    """Measures the first budget and takes N as growing with its root."""
    first, _ = searcher()(train, sizes, budgets[:1], most)
    return [first[0] * (C / budgets[0]) ** 0.5 for C in budgets], 0.5


def swallows(train, sizes, budgets, most):
    """Goes on training until train refuses, and hides that."""
    best = []
    for C in budgets:
        runs = {}
        for N in sizes:
            try:
                runs[N] = train(N, C / 6 / N)
            except Exception:
                break
        best.append(c07_isoflop.parabola(runs))
    return best, c07_isoflop.slope(budgets, best)


def all_sizes(train, sizes, budgets, most):
    best = [c07_isoflop.parabola({N: train(N, C / 6 / N) for N in sizes}) for C in budgets]
    return best, c07_isoflop.slope(budgets, best)


def neighbours(runs):
    """Through the lowest and the two sizes beside it."""
    low = min(runs, key=runs.get)
    order = sorted(runs)
    i = min(max(order.index(low), 1), len(order) - 2)
    return c07_isoflop.parabola({N: runs[N] for N in order[i - 1:i + 2]})


def ends_only(budgets, best):
    return math.log(best[-1] / best[0]) / math.log(budgets[-1] / budgets[0])


def of_tokens(budgets, best):
    return c07_isoflop.slope(budgets, [C / 6 / N for C, N in zip(budgets, best)])


def lowest(runs):
    return float(min(runs, key=runs.get))


def empties(train, sizes, budgets, most):
    out = searcher()(train, sizes, budgets, most)
    budgets.clear()
    return out


def doubled_sign(runs):
    """plus slope over twice the bend."""
    low = min(runs, key=runs.get)
    return low * low / c07_isoflop.parabola(runs)


def half_bend(runs):
    low = min(runs, key=runs.get)
    return low * (c07_isoflop.parabola(runs) / low) ** 2


RIGHT = {
    "07.1": {"one formula": family_mask, "blocks": by_blocks, "loops": by_loops,
             "not triu": masks(decoder=lambda Ts, Tt: ~full(Tt, Tt).triu(1)),
             "a view": masks(cross=lambda Ts, Tt: torch.tensor(True).expand(Tt, Ts))},
    "07.2": {"where": mlm(), "one number": mlm_one_number, "bernoulli": mlm_by_bernoulli,
             "places": mlm_by_places},
    "07.3": {"loop": span_corrupt, "from the right": spans_by_slices, "by ids": spans_by_ids,
             "with an offset": spans_offset},
    "07.4": {"parts": count_params, "shapes": count_by_sum},
    "07.5": {"formula": (train_flops, utilisation),
             "floats": (lambda N, D: 2.0 * N * D + 4.0 * N * D,
                        lambda N, D, gpus, days, peak: N / gpus * 6 / peak * D / (days * 86400)),
             "a tensor": (lambda N, D: torch.tensor(6.0 * N * D), utilisation)},
    "07.6": {"formula": optimal_split, "logarithms": split_in_logs, "bisection": split_by_newton,
             "D first": lambda C, E, A, B, a, b: (
                 (C / 6) / ((b * B / (a * A)) ** (1 / (a + b)) * (C / 6) ** (a / (a + b))),
                 (b * B / (a * A)) ** (1 / (a + b)) * (C / 6) ** (a / (a + b)))},
    "07.7": {"grid": (fit_power, honest_until),
             "golden section": (fit_by_golden_section, until_in_logs),
             "all at once": (fit_all_at_once, honest_until)},
    "07.8": {"searcher": searcher(), "polyfit": by_polyfit,
             "wider": searcher(extra=(-5, 5, -3, 3), window=10.0)}}

WRONG = {                                               # name: (answer, the code it must get)
    "07.1": {
        "inverted": (masks(lambda m: ~m), "inverted"),
        "blocked": (masks(decoder=lambda Ts, Tt: full(Tt, Tt).triu(1)), "inverted"),
        "turned": (masks(lambda m: m.T), "turned"),
        "cross turned": (masks(cross=lambda Ts, Tt: full(Ts, Tt)), "turned"),
        "decoder triu": (masks(decoder=lambda Ts, Tt: full(Tt, Tt).triu()), "turned"),
        "encoder causal": (masks(encoder=lambda Ts, Tt: full(Ts, Ts).tril()), "causal"),
        "cross causal": (masks(cross=lambda Ts, Tt: full(Tt, Ts).tril()), "causal"),
        "decoder sees all": (masks(decoder=lambda Ts, Tt: full(Tt, Tt)), "no-mask"),
        "prefix sees all": (masks(prefix=lambda Ts, Tt: full(Ts + Tt, Ts + Tt)), "no-mask"),
        "without itself": (masks(decoder=lambda Ts, Tt: full(Tt, Tt).tril(-1)), "diagonal"),
        "peek": (masks(decoder=lambda Ts, Tt: full(Tt, Tt).tril(1)), "peek"),
        "prefix peeks": (prefix(peek_in_prefix), "peek"),
        "prefix without itself": (prefix(diagonal_in_prefix), "diagonal"),
        "causal source": (masks(prefix=lambda Ts, Tt: full(Ts + Tt, Ts + Tt).tril()),
                          "source-causal"),
        "source sees target": (prefix(put(before, after, True)), "source-sees-target"),
        "blind target": (prefix(put(after, before, False)), "blind"),
        "target first": (masks(prefix=lambda Ts, Tt: family_mask("prefix", Ts, Tt).flip(0, 1).T),
                         "target-first"),
        "exchanged": (masks(prefix=lambda Ts, Tt: family_mask("prefix", Tt, Ts)), "exchanged"),
        "all exchanged": (lambda kind, Ts, Tt: family_mask(kind, Tt, Ts), "shape"),
        "decoder of the source": (masks(decoder=lambda Ts, Tt: full(Ts, Ts).tril()), "shape"),
        "prefix of the target": (masks(prefix=lambda Ts, Tt: full(Tt, Tt)), "shape"),
        "first source token": (prefix(first_source_only), "unseen"),
        "a band": (masks(encoder=source_is_a_band), "unseen"),
        "gaps": (masks(decoder=last_sees_first_only), "unseen"),
        "two ahead": (masks(decoder=lambda Ts, Tt: full(Tt, Tt).tril(2)), "leak"),
        "floats": (masks(lambda m: m.double()), "dtype"),
        "added scores": (masks(lambda m: torch.zeros(m.shape).masked_fill(~m, -inf)), "dtype"),
        "integers": (masks(lambda m: m.long()), "dtype"),
        "a batch": (masks(lambda m: m[None]), "shape"),
        "lists": (masks(lambda m: m.tolist()), "type"),
        "numpy": (masks(lambda m: m.numpy()), "type"),
        "no prefix": (masks(prefix=lambda Ts, Tt: None), "type"),
        "unknown kind": (masks(prefix=lambda Ts, Tt: {}["prefix"]), "crash")},
    "07.2": {
        "rate .2": (mlm(0.2), "rate"),
        "rate .14": (mlm(0.14), "rate"),
        "rate .85": (mlm(0.85), "rate"),
        "specials too": (mlm(chosen=specials_too), "special"),
        "exact count": (mlm(chosen=exact_count), "fixed-count"),
        "same columns": (mlm(chosen=same_columns), "same-columns"),
        "same rows": (mlm(chosen=same_rows), "rows"),
        "same words": (mlm(chosen=same_words), "by-word"),
        "pairs": (mlm(chosen=pairs), "neighbours"),
        "never word 0": (mlm(0.15, chosen=never_word_0), "rate"),
        "more at the end": (mlm(chosen=never_early), "columns"),
        "global draw": (mlm(chosen=global_draw), "seed"),
        "global fate": (mlm(fate=lambda ids, rng: torch.rand(ids.shape)), "seed"),
        "own seed": (mlm(chosen=own_seed), "rng-unused"),
        "a copy of rng": (copy_of_rng, "rng-copied"),
        "the seed of rng": (seed_of_rng, "rng-copied"),
        "all masked": (mlm(shares=(1.0, 0.0)), "all-masked"),
        "none kept": (mlm(shares=(0.8, 0.2)), "none-kept"),
        "none random": (mlm(shares=(0.8, 0.0)), "none-random"),
        "none masked": (mlm(shares=(0.0, 1.0)), "no-mask"),
        "nothing done": (mlm(shares=(0.0, 0.0)), "nothing-done"),
        "exchanged": (mlm(shares=(0.1, 0.8)), "exchanged"),
        "mostly kept": (mlm(shares=(0.1, 0.1)), "turned"),
        "thirds": (mlm(shares=(1 / 3, 1 / 3)), "thirds"),
        "nine tenths": (mlm(shares=(0.9, 0.1)), "nine-tenths"),
        "a tenth of the rest": (mlm(shares=(0.8, 0.02)), "tenth-of-rest"),
        "overwritten": (overwriting, "overwritten"),
        "seventy": (mlm(shares=(0.7, 0.15)), "shares"),
        "one draw": (drawn_once, "all-masked"),
        "fate of a row": (mlm(fate=fate_of_a_row), "fate-by-row"),
        "fate of a call": (mlm(fate=fate_of_a_call), "all-masked"),
        "from the text": (mlm(words=from_the_text), "random-uneven"),
        "uneven": (mlm(words=uneven_words), "random-uneven"),
        "one word": (mlm(words=one_word), "one-word"),
        "specials as words": (mlm(words=drawn(lambda V: 0, lambda V, m: m + 1)), "random-special"),
        "never word 0 at random": (mlm(words=drawn(lambda V: 1, lambda V, m: max(V, 2))),
                                   "random-range"),
        "never the last word": (mlm(words=drawn(lambda V: 0, lambda V, m: max(V - 1, 1))),
                                "random-range"),
        "another word": (mlm(words=another_word), "never-itself"),
        "labels everywhere": (labelled(lambda ids, *rest: ids.clone()), "labels-everywhere"),
        "labels of the input": (labelled(lambda ids, inp, picked, *rest: torch.where(
            picked, inp, -100)), "labels-corrupted"),
        "labels where masked": (labelled(lambda ids, inp, picked, masked, *rest: torch.where(
            masked, ids, -100)), "unlabelled"),
        "labels where changed": (labelled(lambda ids, inp, picked, masked, random, m: torch.where(
            masked | random, ids, -100)), "rate"),
        "labels where different": (labelled(lambda ids, inp, *rest: torch.where(
            inp != ids, ids, -100)), "rate"),
        "labels inverted": (labelled(lambda ids, inp, picked, *rest: torch.where(
            picked, -100, ids)), "inverted"),
        "zeros": (labelled(lambda ids, inp, picked, *rest: torch.where(picked, ids, 0)), "filler"),
        "minus one": (labelled(lambda ids, inp, picked, *rest: torch.where(picked, ids, -1)),
                      "filler"),
        "the mask as label": (labelled(lambda ids, inp, picked, masked, random, m: torch.where(
            picked, ids, m)), "filler"),
        "shifted labels": (labelled(lambda ids, inp, picked, *rest: torch.where(
            picked, ids, -100).roll(-1, 1)), "unlabelled"),
        "next word": (labelled(lambda ids, inp, picked, *rest: torch.where(
            picked, ids.roll(-1, 1), -100)), "labels"),
        "no labels": (labelled(lambda ids, *rest: torch.full_like(ids, -100)), "no-labels"),
        "flags": (labelled(lambda ids, inp, picked, *rest: picked), "dtype"),
        "floats": (mlm(end=lambda inp, labels: (inp.double(), labels)), "dtype"),
        "labels first": (mlm(end=lambda inp, labels: (labels, inp)), "swapped"),
        "input alone": (mlm(end=lambda inp, labels: inp), "type"),
        "three": (mlm(end=lambda inp, labels: (inp, labels, labels != -100)), "type"),
        "flat": (mlm(end=lambda inp, labels: (inp.flatten(), labels.flatten())), "shape"),
        "lists": (mlm(end=lambda inp, labels: (inp.tolist(), labels.tolist())), "type"),
        "in place": (in_place, "mutates")},
    "07.3": {
        "same sentinel": (spans(mark=lambda k, n: 32099), "same-sentinel"),
        "rising": (spans(mark=lambda k, n: 32000 + k), "rising"),
        "rising from the top": (spans(mark=lambda k, n: 32099 + k), "rising"),
        "from one": (spans(mark=lambda k, n: 32098 - k), "from-one"),
        "from the right": (spans(mark=lambda k, n: 32099 - (n - 1 - k if k < n else n)),
                           "from-the-right"),
        "plain numbers": (spans(mark=lambda k, n: k), "plain-numbers"),
        "negative": (spans(mark=lambda k, n: -1 - k), "negative"),
        "inclusive": (spans(cut=lambda start, stop: (start, stop + 1)), "inclusive"),
        "places from 1": (spans(cut=lambda start, stop: (start - 1, stop - 1)), "one-early"),
        "one late": (spans(cut=lambda start, stop: (start + 1, stop + 1)), "one-late"),
        "short": (spans(cut=lambda start, stop: (start, stop - 1)), "short"),
        "late start": (spans(cut=lambda start, stop: (start + 1, stop)), "short"),
        "length": (spans(cut=lambda start, stop: (start, start + stop)), "length"),
        "swapped": (lambda ids, given: span_corrupt(ids, given)[::-1], "swapped"),
        "no sentinel": (source(lambda inp, *rest: [id for id in inp if id < 32000]), "no-sentinel"),
        "one for each id": (source(per_token), "per-token"),
        "a new one for each id": (source(new_for_each), "per-token"),
        "kept": (source(kept_too), "kept"),
        "shifted": (source(lambda inp, ids, given: c07_spans.shifted(ids, given)), "shifted"),
        "nothing hidden": (source(lambda inp, ids, given: list(ids)), "nothing-done"),
        "rest lost": (rest_lost, "input"),
        "by value": (by_value, "input"),
        "merged": (touching_merged, "touching"),
        "no last sentinel": (target(lambda tgt, *rest: tgt[:-1]), "no-end"),
        "last one repeated": (target(lambda tgt, *rest: tgt[:-1] + [tgt[-1] + 1]), "end-repeated"),
        "the first again": (target(lambda tgt, *rest: tgt[:-1] + [32099]), "end-repeated"),
        "an end token": (target(lambda tgt, *rest: tgt[:-1] + [1]), "end-token"),
        "an end token more": (target(lambda tgt, *rest: tgt + [1]), "end-token"),
        "marks after": (target(marks_after), "marks-after"),
        "no marks": (target(no_marks), "no-marks"),
        "marks alone": (target(lambda tgt, *rest: [id for id in tgt if id > 32000]), "marks-only"),
        "whole": (target(lambda tgt, ids, given: list(ids)), "whole"),
        "needs a span": (needs_a_span, "no-end"),
        "ten sentinels": (hundred_sentinels, "input"),
        "nested": (target(lambda tgt, ids, given: [[32099 - k, *ids[a:b]] for k, (a, b) in
                                                   enumerate(given)]), "nested"),
        "text": (target(lambda tgt, *rest: " ".join(map(str, tgt))), "type"),
        "floats": (target(lambda tgt, *rest: [float(id) for id in tgt]), "type"),
        "input alone": (source(lambda inp, *rest: inp) and (
            lambda ids, given: span_corrupt(ids, given)[0]), "type"),
        "cuts the original": (cuts_the_original, "mutates")},
    "07.4": {
        "12 L d^2": (counts(lambda c, n: 12 * c["n_layers"] * c["d_model"] ** 2), "twelve"),
        "no biases": (counts(lambda c, n: n - attentions(c) * 4 * c["d_model"] - blocks(c) * (
            c["d_ff"] + c["d_model"])), "no-bias"),
        "no attention bias": (counts(lambda c, n: n - attentions(c) * 4 * c["d_model"]),
                              "no-attention-bias"),
        "no feed-forward bias": (counts(lambda c, n: n - blocks(c) * (c["d_ff"] + c["d_model"])),
                                 "no-ff-bias"),
        "three maps": (counts(lambda c, n: n - attentions(c) * attention_of(c) // 4), "no-output"),
        "five maps": (counts(lambda c, n: n + attentions(c) * attention_of(c) // 4), "five-maps"),
        "no norms": (counts(lambda c, n: n - 2 * c["d_model"] * sum(norms(c))), "no-norms"),
        "no norms in blocks": (counts(lambda c, n: n - 2 * c["d_model"] * norms(c)[0]),
                               "no-norms"),
        "gain only": (counts(lambda c, n: n - c["d_model"] * sum(norms(c))), "norm-size"),
        "two numbers a norm": (counts(lambda c, n: n - (2 * c["d_model"] - 2) * sum(norms(c))),
                               "norm-one"),
        "no last norm": (counts(lambda c, n: n - 2 * c["d_model"] * norms(c)[1]), "no-last-norm"),
        "always a last norm": (counts(lambda c, n: count_params(c | {"norm_first": True})),
                               "always-last-norm"),
        "one last norm": (counts(lambda c, n: n - 2 * c["d_model"] * (both(c) and c["norm_first"])),
                          "one-last-norm"),
        "a last norm a block": (counts(lambda c, n: n + 2 * c["d_model"] * (
            c["norm_first"] * (blocks(c) - 1 - both(c)))), "norm-a-block"),
        "no cross": (counts(lambda c, n: n - both(c) * c["n_layers"] * (
            attention_of(c) + 2 * c["d_model"])), "no-cross"),
        "no cross norm": (counts(lambda c, n: n - both(c) * c["n_layers"] * 2 * c["d_model"]),
                          "no-cross-norm"),
        "cross in every decoder": (counts(lambda c, n: n + (c["kind"] == "decoder") * c[
            "n_layers"] * (attention_of(c) + 2 * c["d_model"])), "cross-alone"),
        "cross on both sides": (counts(lambda c, n: n + both(c) * c["n_layers"] * (
            attention_of(c) + 2 * c["d_model"])), "cross-in-encoder"),
        "one side": (counts(lambda c, n: count_params(c | {"kind": "decoder"})), "one-side"),
        "tied twice": (counts(lambda c, n: count_params(c | {"tied": False})), "tied-twice"),
        "always tied": (counts(lambda c, n: count_params(c | {"tied": True})), "always-tied"),
        "tied the other way": (counts(lambda c, n: count_params(c | {"tied": not c["tied"]})),
                               "tied-reversed"),
        "a table a side": (counts(lambda c, n: n + both(c) * c["vocab_size"] * c["d_model"]),
                           "two-tables"),
        "no table": (counts(lambda c, n: n - (2 - c["tied"]) * c["vocab_size"] * c["d_model"]),
                     "no-table"),
        "no positions": (counts(lambda c, n: n - c["max_len"] * c["d_model"]), "no-places"),
        "positions on both sides": (counts(lambda c, n: n + both(c) * c["max_len"] * c["d_model"]),
                                    "two-place-tables"),
        "d_ff = 4 d": (counts(lambda c, n: count_params(c | {"d_ff": 4 * c["d_model"]})), "four-d"),
        "bias of the head": (counts(lambda c, n: n + c["vocab_size"]), "head-bias"),
        "one map": (counts(lambda c, n: n - blocks(c) * c["d_model"] * c["d_ff"]), "one-ff-map"),
        "gated": (counts(lambda c, n: n + blocks(c) * c["d_model"] * c["d_ff"]), "gated"),
        "one block": (counts(lambda c, n: count_params(c | {"n_layers": 1})), "no-layers"),
        "layers shared out": (counts(lambda c, n: count_params(c | {
            "n_layers": c["n_layers"] // (1 + both(c))})), "layers-halved"),
        "millions": (counts(lambda c, n: n / 1e6), "type"),
        "a float": (counts(lambda c, n: float(n)), "type"),
        "off by one": (counts(lambda c, n: n + 1), "count"),
        "rounded when large": (counts(lambda c, n: n if n < 1e6 else round(n, -6)), "large"),
        "in single": (counts(lambda c, n: int(torch.tensor(n).float())), "large"),
        "in 32 bits": (counts(lambda c, n: (n + 2 ** 31) % 2 ** 32 - 2 ** 31), "large"),
        "a model": (built, "built"),
        "changes cfg": (forgets_cfg, "mutates")},
    "07.5": {
        "forward": (flops(lambda N, D: 2 * N * D), "forward-only"),
        "backward": (flops(lambda N, D: 4 * N * D), "backward-only"),
        "multiplications": (flops(lambda N, D: 3 * N * D), "multiplications"),
        "recomputed": (flops(lambda N, D: 8 * N * D), "recomputed"),
        "per token": (flops(lambda N, D: 6 * N), "per-token"),
        "no model": (flops(lambda N, D: 6 * D), "no-model"),
        "squared": (flops(lambda N, D: 6 * N * N), "squared"),
        "sum": (flops(lambda N, D: 6 * (N + D)), "sum"),
        "in 64 bits": (flops(lambda N, D: int(6 * torch.tensor(int(N)) * int(D))), "flops"),
        "billions": (flops(lambda N, D: 6 * N * D / 1e9), "flops"),
        "text": (flops(lambda N, D: f"{6 * N * D:.3g}"), "type"),
        "inverse": (shares(lambda u, *a: 1 / u), "inverse"),
        "days as hours": (shares(lambda u, *a: u * 3600), "hours"),
        "days as minutes": (shares(lambda u, *a: u * 60), "minutes"),
        "days as seconds": (shares(lambda u, *a: u * 86400), "days"),
        "one day": (shares(lambda u, N, D, gpus, days, peak: u * days), "one-day"),
        "one GPU": (shares(lambda u, N, D, gpus, days, peak: u * gpus), "one-gpu"),
        "no peak": (shares(lambda u, N, D, gpus, days, peak: u * peak), "no-peak"),
        "peak in tera": (shares(lambda u, *a: u / 1e12), "units"),
        "percent": (shares(lambda u, *a: 100 * u), "percent"),
        "forward share": (shares(lambda u, *a: u / 3), "forward-share"),
        "capped": (shares(lambda u, *a: min(u, 1.0)), "capped"),
        "the rest": (shares(lambda u, *a: 1 - u), "rest"),
        "rounded": (shares(lambda u, *a: round(u, 3)), "rounded"),
        "whole hours": ((train_flops, lambda N, D, gpus, days, peak: 6 * N * D / (
            gpus * int(days) * 86400 * peak) if days >= 1 else 1 / 0), "crash"),
        "nothing": (shares(lambda u, *a: None), "type"),
        "both": (shares(lambda u, *a: (u, 1 - u)), "type"),
        "exchanged": ((utilisation, train_flops), "crash")},
    "07.6": {
        "exponents": (ratio_power(lambda A, B, a, b: (a * A / (b * B)) ** (1 / (a + b)),
                                  lambda a, b: a / (a + b)), "exponents"),
        "ratio upside down": (ratio_power(lambda A, B, a, b: (b * B / (a * A)) ** (1 / (a + b))),
                              "ratio-inverse"),
        "D, N": (lambda *law: optimal_split(*law)[::-1], "swapped"),
        "tokens as N": (lambda *law: (optimal_split(*law)[1],) * 2, "budget"),
        "both turned": (ratio_power(lambda A, B, a, b: (b * B / (a * A)) ** (1 / (a + b)),
                                    lambda a, b: a / (a + b)), "swapped"),
        "equal terms": (ratio_power(lambda A, B, a, b: (A / B) ** (1 / (a + b))), "equal-terms"),
        "no ratio": (ratio_power(lambda A, B, a, b: 1.0), "no-ratio"),
        "bare ratio": (ratio_power(lambda A, B, a, b: a * A / (b * B)), "ratio-power"),
        "ratio to the sum": (ratio_power(lambda A, B, a, b: (a * A / (b * B)) ** (a + b)),
                             "ratio-power"),
        "crossed": (ratio_power(lambda A, B, a, b: (b * A / (a * B)) ** (1 / (a + b))), "crossed"),
        "even": (splits(lambda C, *law: math.sqrt(C / 6)), "even"),
        "20 tokens": (splits(lambda C, *law: math.sqrt(C / 120)), "tokens"),
        "half power": (ratio_power(lambda A, B, a, b: (a * A / (b * B)) ** (1 / (a + b)),
                                   lambda a, b: 0.5), "half-power"),
        "Kaplan": (ratio_power(lambda A, B, a, b: (a * A / (b * B)) ** (1 / (a + b)),
                               lambda a, b: 0.73), "seven-tenths"),
        "Chinchilla's": (splits(lambda C, *law: optimal_split(C, *c07_laws.CHINCHILLA)[0]),
                         "constants"),
        "all in the model": (splits(lambda C, *law: C / 6), "all-in-model"),
        "N D = C": (lambda C, *law: optimal_split(6 * C, *law), "no-six"),
        "half spent": (splits(lambda *law: optimal_split(*law)[0], lambda C, N: C / 12 / N),
                       "budget"),
        "six once": (splits(lambda *law: optimal_split(*law)[0], lambda C, N: C / N), "no-six"),
        "six in D only": (splits(lambda C, *law: optimal_split(6 * C, *law)[0]), "no-six"),
        "grid of 100": (splits(lambda *law: on_a_grid(100)(*law)[0]), "coarse"),
        "grid of 1000": (on_a_grid(1000), "coarse"),
        "with E": (with_E, "coarse"),
        "logarithms": (lambda *law: tuple(math.log(v) for v in optimal_split(*law)), "budget"),
        "N alone": (lambda *law: optimal_split(*law)[0], "type"),
        "three": (lambda *law: (*optimal_split(*law), 0.0), "type"),
        "negative": (lambda *law: tuple(-v for v in optimal_split(*law)), "not-positive"),
        "two digits": (lambda *law: tuple(float(f"{v:.1e}") for v in optimal_split(*law)),
                       "budget"),
        "text": (lambda *law: tuple(map(str, optimal_split(*law))), "type"),
        "one law": (lambda C, E, A, B, a, b: optimal_split(C, E, A, A, a, a), "even"),
        "squares": (splits(lambda *law: optimal_split(*law)[0] ** 0.5), "split")},
    "07.7": {
        "no floor": ((no_floor, honest_until), "no-floor"),
        "no floor, squares of L": ((lambda D, L: c07_laws.fitted(D, L, floor=0.0)[:3],
                                    honest_until), "no-floor"),
        "floor at the lowest": ((floor_is_lowest, honest_until), "floor-is-lowest"),
        "negative alpha": (fits(lambda E, A, alpha, D, L: (E, A, -alpha)), "sign"),
        "log A": (fits(lambda E, A, alpha, D, L: (E, math.log(A), alpha)), "log-A"),
        "A first": (fits(lambda E, A, alpha, D, L: (A, E, alpha)), "order"),
        "alpha first": (fits(lambda E, A, alpha, D, L: (alpha, A, E)), "order"),
        "in units of the largest": (fits(lambda E, A, alpha, D, L: (
            E, A / float(D.max()) ** alpha, alpha)), "units"),
        "in millions": (fits(lambda E, A, alpha, D, L: (E, A / 1e6 ** alpha, alpha)), "units"),
        "in logs of L": ((lambda D, L: c07_laws.fitted(D, L, weight=L ** -2)[:3], honest_until),
                         "weighted"),
        "weighted by D": ((lambda D, L: c07_laws.fitted(D, L, weight=D)[:3], honest_until),
                          "weighted"),
        "alpha of a half": ((on_alphas([0.5]), honest_until), "fixed-alpha"),
        "Chinchilla's alpha": ((on_alphas([0.28]), honest_until), "fixed-alpha"),
        "tenths": ((on_alphas([i / 10 for i in range(1, 11)]), honest_until), "fixed-alpha"),
        "hundredths": ((on_alphas([i / 100 + 0.004 for i in range(1, 100)]), honest_until),
                       "coarse"),
        "up to a half": ((on_alphas([i / 2000 for i in range(1, 1001)]), honest_until),
                         "fixed-alpha"),
        "negative floor": ((unbounded, honest_until), "negative-floor"),
        "floor cut off": ((clamped, honest_until), "cut-off"),
        "three points": ((three_points, honest_until), "fit"),
        "first three": ((lambda D, L: c07_laws.fitted(D[:3], L[:3])[:3], honest_until), "ends"),
        "without the last": ((lambda D, L: c07_laws.fitted(D[:-1], L[:-1])[:3], honest_until),
                             "ends"),
        "sorted D, not L": ((takes_order_for_granted, honest_until), "fit"),
        "1 / alpha": (fits(lambda E, A, alpha, D, L: (E, A, 1 / alpha)), "inverse-alpha"),
        "rounded": (fits(lambda E, A, alpha, D, L: (round(E, 1), round(A, 1), round(alpha, 1))),
                    "coarse"),
        "two numbers": (fits(lambda E, A, alpha, D, L: (E, A)), "type"),
        "a curve": (fits(lambda E, A, alpha, D, L: E + A * D ** -alpha), "type"),
        "not finite": (fits(lambda E, A, alpha, D, L: (E, A, math.nan)), "not-finite"),
        "changes L": ((lambda D, L: fit_power(D, L.sub_(0)) and fit_power(D, L.sub_(L.min())),
                       honest_until), "mutates"),
        "without E": (untils(lambda E, A, alpha, h: (A / h) ** (1 / alpha)), "no-floor-there"),
        "E for the entropy": (untils(lambda E, A, alpha, h: (A / (E or h)) ** (1 / alpha)),
                              "entropy-unused"),
        "no root": (untils(lambda E, A, alpha, h: A / (h - E) if h > E else inf), "no-root"),
        "power alpha": (untils(lambda E, A, alpha, h: (A / (h - E)) ** alpha if h > E else inf),
                        "power"),
        "upside down": (untils(lambda E, A, alpha, h: ((h - E) / A) ** (1 / alpha) if h > E
                               else inf), "inverse"),
        "logarithm": (untils(lambda E, A, alpha, h: math.log(A / (h - E)) / alpha if h > E
                             else inf), "logarithm"),
        "never inf": (untils(complex_until), "never"),
        "zero for never": (untils(lambda E, A, alpha, h: honest_until(E, A, alpha, h)
                                  if h > E else 0.0), "never"),
        "always inf": (untils(lambda E, A, alpha, h: inf), "flag"),
        "inf at once": (untils(lambda E, A, alpha, h: inf if E > 0 else honest_until(
            E, A, alpha, h)), "flag"),
        "equal": (untils(lambda E, A, alpha, h: honest_until(E, A, alpha, h) if E != h
                         else 1e300), "never"),
        "a flag": (untils(lambda E, A, alpha, h: E < h), "type"),
        "whole": (untils(lambda E, A, alpha, h: float(round(honest_until(E, A, alpha, h)))
                         if h > E else inf), "rounded"),
        "divides by 0": (untils(lambda E, A, alpha, h: abs(A / (h - E)) ** (1 / alpha)), "crash")},
    "07.8": {
        "another size": (searcher(size=lambda N: N + 1), "size"),
        "between sizes": (searcher(size=lambda N: 1.1 * N), "size"),
        "N D = C": (searcher(tokens=lambda C, N: C / N), "no-six"),
        "D = C / 6": (searcher(tokens=lambda C, N: C / 6), "budget"),
        "20 N": (searcher(tokens=lambda C, N: 20 * N), "budget"),
        "twice the budget": (searcher(tokens=lambda C, N: C / N / 3), "budget"),
        "all sizes": (all_sizes, "too-many"),
        "hides the refusal": (swallows, "too-many"),
        "thirteen": (searcher(look=4, most=99), "too-many"),
        "evenly": (evenly, "wide"),
        "everything in the parabola": (searcher(window=inf), "wide"),
        "smallest sizes": (smallest_only, "outside"),
        "one budget": (one_budget, "untrained"),
        "the best run": (searcher(place=lowest), "best-run"),
        "two neighbours": (searcher(place=neighbours), "noisy"),
        "narrow": (searcher(window=1.4), "noisy"),
        "in N": (searcher(place=lambda runs: c07_isoflop.parabola(runs, float), window=inf),
                 "not-log"),
        "sign": (searcher(place=doubled_sign), "far"),
        "bend": (searcher(place=half_bend), "far"),
        "logarithms": (searcher(end=lambda best, a, budgets: (list(map(math.log, best)), a)),
                       "logarithms"),
        "tokens": (searcher(end=lambda best, a, budgets: (
            [C / 6 / N for C, N in zip(budgets, best)], a)), "tokens"),
        "exponent of D": (searcher(exponent=of_tokens), "of-tokens"),
        "inverse": (searcher(exponent=lambda C, N: 1 / c07_isoflop.slope(C, N)), "inverse"),
        "turned": (searcher(exponent=lambda C, N: c07_isoflop.slope(N, C)), "inverse"),
        "two ends": (searcher(exponent=ends_only), "ends"),
        "a half": (searcher(exponent=lambda C, N: 0.5), "fixed"),
        "Chinchilla's": (searcher(exponent=lambda C, N: 0.49), "fixed"),
        "no intercept": (searcher(exponent=lambda C, N: sum(
            math.log(n) / math.log(c) for n, c in zip(N, C)) / len(C)), "mean-ratio"),
        "raw slope": (searcher(exponent=lambda C, N: float(np.polyfit(C, N, 1)[0])), "exponent"),
        "rounded": (searcher(exponent=lambda C, N: round(c07_isoflop.slope(C, N), 2)), "exponent"),
        "exponent alone": (searcher(end=lambda best, a, budgets: a), "type"),
        "best alone": (searcher(end=lambda best, a, budgets: best), "type"),
        "pairs": (searcher(end=lambda best, a, budgets: (list(zip(budgets, best)), a)), "type"),
        "one short": (searcher(end=lambda best, a, budgets: (best[1:], a)), "count"),
        "nan": (searcher(end=lambda best, a, budgets: (best, math.nan)), "not-finite"),
        "changes budgets": (empties, "mutates")}}
