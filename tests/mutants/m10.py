"""Right and wrong answers to the exercises of lecture 10."""
import math
import random
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import ttest_ind

from utils.checks.c10_watermark import green

inf = math.inf


# 10.1 -----------------------------------------------------------------------------------------
def unit(M):
    return F.normalize(M, dim=1)


def sums(X, Y, A, B):
    """Associations of the 2n words, and n."""
    W = unit(torch.cat([X, Y]))
    return (W @ unit(A).T).mean(1) - (W @ unit(B).T).mean(1), len(X)


def means_of_splits(s, n):
    rows = torch.tensor(list(combinations(range(2 * n), n)))
    return 2 * s[rows].mean(1) - s.sum() / n


def effect(s, n):
    return float((s[:n].mean() - s[n:].mean()) / s.std(correction=0))


def p_of(s, n):
    gaps = means_of_splits(s, n)
    return float((gaps >= gaps[0] - 1e-9).double().mean())


def weat(X, Y, A, B):
    s, n = sums(X, Y, A, B)
    return effect(s, n), p_of(s, n)


def weat_by_loop(X, Y, A, B):
    """Lists and floats of Python; sums instead of means for p, and sets of indices."""
    def cosine(v, w):
        return float(v @ w) / math.sqrt(float(v @ v) * float(w @ w))
    s = [sum(cosine(w, a) for a in A) / len(A) - sum(cosine(w, b) for b in B) / len(B)
         for w in [*X, *Y]]
    n, middle = len(X), sum(s) / len(s)
    sd = math.sqrt(sum((v - middle) ** 2 for v in s) / len(s))
    total, seen, count, every = sum(s), sum(s[:n]), 0, 0
    for chosen in combinations(range(2 * n), n):
        here = sum(s[i] for i in chosen)
        every += 1
        count += here - (total - here) >= seen - (total - seen) - 1e-9
    return (sum(s[:n]) / n - sum(s[n:]) / n) / sd, count / every


def weat_by_numpy(X, Y, A, B):
    X, Y, A, B = (M.numpy() / np.linalg.norm(M.numpy(), axis=1, keepdims=True)
                  for M in (X, Y, A, B))
    s = np.concatenate([X, Y]) @ (A.mean(0) - B.mean(0))
    n = len(X)
    d = (s[:n].mean() - s[n:].mean()) / s.std()
    marks = np.array([[i in c for i in range(2 * n)] for c in combinations(range(2 * n), n)])
    gaps = (marks * s).sum(1) / n - (~marks * s).sum(1) / n
    return d, np.mean(gaps >= s[:n].mean() - s[n:].mean() - 1e-9)


def weat_in_tensors(X, Y, A, B):
    """Cosine from torch, the split in which bits of numbers are set, a pair of tensors."""
    W = torch.cat([X, Y])
    s = (F.cosine_similarity(W[:, None], A[None], dim=2).mean(1)
         - F.cosine_similarity(W[:, None], B[None], dim=2).mean(1))
    n = len(X)
    bits = (torch.arange(4 ** n)[:, None] >> torch.arange(2 * n)) & 1
    bits = bits[bits.sum(1) == n].to(s)
    top = bits @ s
    return effect(s, n), (top >= s[:n].sum() - 1e-9).double().mean()


def d_is(f):
    """weat with another d: f(s, n, X, Y, A, B)."""
    def answer(X, Y, A, B):
        s, n = sums(X, Y, A, B)
        return f(s, n, X, Y, A, B), p_of(s, n)
    return answer


def p_is(f):
    """weat with another p: f(gaps, s, n, X, Y, A, B)."""
    def answer(X, Y, A, B):
        s, n = sums(X, Y, A, B)
        return effect(s, n), f(means_of_splits(s, n), s, n, X, Y, A, B)
    return answer


def s_is(f):
    """weat with another association of all words: f(W, A, B)."""
    def answer(X, Y, A, B):
        s = f(torch.cat([X, Y]), A, B)
        return effect(s, len(X)), p_of(s, len(X))
    return answer


def gap(s, n):
    return float(s[:n].mean() - s[n:].mean())


def p_of_drawn(gaps, s, n, X, Y, A, B, times=300):
    rng, hits = torch.Generator().manual_seed(1), 0
    for _ in range(times):
        rows = torch.randperm(2 * n, generator=rng)
        hits += float(s[rows[:n]].mean() - s[rows[n:]].mean()) >= float(gaps[0]) - 1e-9
    return hits / times


def p_drawn_plus_one(*given):
    return (p_of_drawn(*given) * 300 + 1) / 301


def p_by_flips(gaps, s, n, *_):
    flips = torch.cartesian_prod(*[torch.tensor([1.0, -1.0])] * n).reshape(-1, n)
    return float(((flips * (s[:n] - s[n:])).mean(1) >= float(gaps[0]) - 1e-9).double().mean())


def p_by_attributes(gaps, s, n, X, Y, A, B):
    both, hits = torch.cat([A, B]), []
    for c in combinations(range(len(both)), len(A)):
        rest = [i for i in range(len(both)) if i not in c]
        hits.append(gap(*sums(X, Y, both[list(c)], both[rest])) >= float(gaps[0]) - 1e-9)
    return sum(hits) / len(hits)


def p_chosen_side(gaps, *_):
    sign = 1 if gaps[0] >= 0 else -1
    return float((sign * gaps >= sign * gaps[0] - 1e-9).double().mean())


def weat_centred(X, Y, A, B):
    middle = torch.cat([X, Y, A, B]).mean(0)
    return weat(X - middle, Y - middle, A - middle, B - middle)


def p_by_t(gaps, s, n, *_):
    return float(ttest_ind(s[:n].numpy(), s[n:].numpy(), alternative="greater").pvalue)


def p_by_normal(gaps, *_):
    return 0.5 * math.erfc(float(gaps[0] / gaps.std(correction=0)) / math.sqrt(2))


def weat_hidden_by_rounding(X, Y, A, B):
    """Splits and the observed difference in two ways, without room for rounding."""
    s, n = sums(X, Y, A, B)
    return effect(s, n), float((means_of_splits(s, n) > gap(s, n) + 1e-12).double().mean())


def weat_in_place(X, Y, A, B):
    for M in (X, Y, A, B):
        M /= M.norm(dim=1, keepdim=True)
    return weat(X, Y, A, B)


# 10.2 -----------------------------------------------------------------------------------------
def ece(conf, correct, bins):
    place = (conf * bins).long().clamp(max=bins - 1)
    total = 0.0
    for i in range(bins):
        here = place == i
        if here.any():
            gap = conf[here].mean() - correct[here].double().mean()
            total += here.double().mean() * gap.abs()
    return float(total)


def ece_by_edges(conf, correct, bins):
    """Edges and masks; a tensor of shape ()."""
    edges = [i / bins for i in range(bins + 1)]
    total = conf.new_zeros(())
    for low, high in zip(edges, edges[1:]):
        here = (conf >= low) & ((conf < high) | (high == 1))
        if not here.any():
            continue
        total = total + here.sum() * (conf[here].mean() - correct[here].to(conf).mean()).abs()
    return total / len(conf)


def ece_by_numpy(conf, correct, bins):
    conf, correct = conf.numpy(), correct.numpy().astype(float)
    place = np.minimum(np.floor(conf * bins).astype(int), bins - 1)
    n = np.bincount(place, minlength=bins)
    sure, right = (np.bincount(place, weights=v, minlength=bins) for v in (conf, correct))
    with np.errstate(invalid="ignore"):
        each = np.abs(sure / n - right / n)
    return np.nansum(each * n) / n.sum()


def ece_by_dict(conf, correct, bins):
    found = {}
    for c, y in zip(conf.tolist(), correct.tolist()):
        found.setdefault(min(int(c * bins), bins - 1), []).append((c, y))
    return sum(abs(sum(c for c, _ in v) - sum(y for _, y in v)) for v in found.values()) / len(conf)


def ece_by_buckets(conf, correct, bins):
    edges = torch.linspace(0, 1, bins + 1)
    place = torch.bucketize(conf, edges[1:-1], right=True)
    marks = F.one_hot(place, bins).to(conf)
    return (marks.T @ (conf - correct.to(conf))).abs().sum().float() / len(conf)


def ece_is(f, place=None):
    """From weight, mean confidence, accuracy of the bins: f(weight, sure, hits)."""
    def answer(conf, correct, bins):
        where = (conf * bins).long().clamp(max=bins - 1) if place is None else place(
            conf, bins).clamp(0, bins - 1)
        n = torch.zeros(bins).double().index_add(0, where, torch.ones_like(conf))
        sure, hits = (torch.zeros(bins).double().index_add(0, where, v.double()) / n.clamp(min=1)
                      for v in (conf, correct))
        return float(f(n / len(conf), sure, hits))
    return answer


def ece_with_nan(conf, correct, bins):
    place = (conf * bins).long().clamp(max=bins - 1)
    return float(sum((place == i).double().mean() * (
        conf[place == i].mean() - correct[place == i].double().mean()).abs() for i in range(bins)))


def ece_without_top(conf, correct, bins):
    total = 0.0
    for i in range(bins):
        here = (conf >= i / bins) & (conf < (i + 1) / bins)
        if here.any():
            total += float(here.double().mean() * (conf[here].mean()
                                                   - correct[here].double().mean()).abs())
    return total


def ece_closed_right(conf, correct, bins, lowest=False):
    total = 0.0
    for i in range(bins):
        here = (conf > i / bins) & (conf <= (i + 1) / bins) | ((conf == 0) & (i == 0) & lowest)
        if here.any():
            total += float(here.double().mean() * (conf[here].mean()
                                                   - correct[here].double().mean()).abs())
    return total


def ece_by_masks(conf, correct, bins, low, high):
    total = 0.0
    for i in range(bins):
        here = low(conf, i / bins) & high(conf, (i + 1) / bins)
        if here.any():
            total += float(here.double().mean() * (conf[here].mean()
                                                   - correct[here].double().mean()).abs())
    return total


def ece_with_a_bin_more(conf, correct, bins):
    signed = torch.zeros(bins + 1).index_add(0, (conf * bins).long(), conf - correct.double())
    return float(signed.abs().sum()) / len(conf)


def weighted(weight, sure, hits):
    return (weight * (sure - hits).abs()).sum()


def ranks_of(conf, bins):
    return conf.argsort().argsort() * bins // len(conf)


def ranged(conf, bins):
    low, high = conf.min(), conf.max()
    return ((conf - low) / (high - low).clamp(min=1e-12) * bins).long()


# 10.3 -----------------------------------------------------------------------------------------
def exposure_by_loop(rank, n_candidates):
    return torch.tensor([math.log2(n_candidates) - math.log2(r) for r in rank.tolist()])


def exposure_by_numpy(rank, n_candidates):
    return torch.from_numpy(-np.log2(rank.numpy() / n_candidates))


def exposure_by_ln(rank, n_candidates):
    return torch.log(n_candidates / rank.double()) / math.log(2)


def bits(rank, n):
    return math.log2(n) - rank.double().log2()


# 10.4 -----------------------------------------------------------------------------------------
def footprint(gpus, hours, watts, pue, g_per_kwh):
    kwh = gpus * watts / 1e3 * hours * pue
    return kwh, kwh * g_per_kwh / 1e3


def footprint_in_joules(gpus, hours, watts, pue, g_per_kwh):
    joules = watts * gpus * hours * 3600 * pue
    return [joules / 3.6e6, joules / 3.6e6 * (g_per_kwh * 1e-3)]


def footprint_in_tensor(gpus, hours, watts, pue, g_per_kwh):
    return torch.tensor([1, g_per_kwh / 1000]).double() * (gpus * hours * watts * pue * 1e-3)


def scaled(kwh=1, kg=1):
    """The right pair times what two functions of the arguments give."""
    def answer(gpus, hours, watts, pue, g):
        factors = [f(gpus, hours, watts, pue, g) if callable(f) else f for f in (kwh, kg)]
        right = footprint(gpus, hours, watts, pue, g)
        return right[0] * factors[0], right[1] * factors[1]
    return answer


def pue(*given):
    return given[3]


def less_pue(*given):
    return 1 / given[3]


# 10.5 -----------------------------------------------------------------------------------------
def of_group(conf, error):
    same = (conf[:, None] == conf[None, :]).double()
    return same @ error / same.sum(1)


def running(values):
    return values.cumsum(0) / torch.arange(1, len(values) + 1)


def risk_coverage(conf, correct):
    error = of_group(conf, 1 - correct.double())
    return running(error[conf.argsort(descending=True)])


def curve_by_loop(conf, correct):
    """A dict of groups, the surest first."""
    groups = {}
    for c, y in zip(conf.tolist(), correct.tolist()):
        groups.setdefault(c, []).append(1 - y)
    curve, wrong, k = [], 0.0, 0
    for c in sorted(groups, reverse=True):
        for _ in groups[c]:
            wrong += sum(groups[c]) / len(groups[c])
            k += 1
            curve.append(wrong / k)
    return torch.tensor(curve)


def curve_by_numpy(conf, correct):
    levels, group, size = np.unique(-conf.numpy(), return_inverse=True, return_counts=True)
    wrong = np.bincount(group.reshape(-1), weights=1.0 - correct.numpy())
    error = np.repeat(wrong / size, size)
    return torch.from_numpy(np.cumsum(error) / np.arange(1, len(error) + 1))


def curve_by_steps(conf, correct):
    """Errors at whole groups, and a straight line of counts between them."""
    conf, order = conf.sort(descending=True)
    total = torch.cat([conf.new_zeros(1), (~correct.bool())[order].to(conf).cumsum(0)])
    ends = [i for i in range(len(conf) + 1)
            if i in (0, len(conf)) or bool(conf[i - 1] != conf[i])]
    k = np.arange(1, len(conf) + 1)
    return torch.from_numpy(np.interp(k, ends, total[ends].numpy()) / k)


def curve_is(f):
    """f(error of its group, sorted by confidence, k)."""
    def answer(conf, correct):
        error = of_group(conf, 1 - correct.double())
        order = conf.argsort(descending=True)
        return f(error[order], torch.arange(1, len(conf) + 1))
    return answer


def curve_by_position(conf, correct):
    return running((1 - correct.double())[conf.argsort(descending=True, stable=True)])


def sorted_within(first_wrong):
    def answer(conf, correct):
        pairs = sorted(zip((-conf).tolist(), ((1 - 2 * first_wrong) * (1 - correct.double()))
                           .tolist()))
        return running(torch.tensor([abs(e) for _, e in pairs]))
    return answer


def curve_by_threshold(conf, correct):
    return torch.stack([1 - correct[conf >= c].double().mean()
                        for c in conf.sort(descending=True)[0]])


def curve_above_threshold(conf, correct):
    return torch.stack([(1 - correct[conf > c].double().mean()).nan_to_num()
                        for c in conf.sort(descending=True)[0]])


def curve_by_shuffles(conf, correct):
    orders = [torch.randperm(len(conf)) for _ in range(50)]
    return sum(curve_by_position(conf[o], correct[o]) for o in orders) / 50


def curve_of_levels(conf, correct):
    return torch.stack([1 - correct[conf >= c].double().mean()
                        for c in conf.unique().flip(0)])


# 10.6 -----------------------------------------------------------------------------------------
def z_of(count, T, gamma):
    return (float(count) - gamma * T) / math.sqrt(T * gamma * (1 - gamma))


def pairs_of(tokens):
    return torch.stack([tokens[:-1], tokens[1:]]).unique(dim=1)


def watermark_z(tokens, key, gamma):
    a, b = pairs_of(tokens)
    return z_of(green(a, b, key, gamma).sum(), len(b), gamma)


def z_by_set(tokens, key, gamma):
    ids = tokens.tolist()
    pairs = set(zip(ids, ids[1:]))
    count = sum(green(a, b, key, gamma) for a, b in pairs)
    return z_of(count, len(pairs), gamma)


def z_by_dict(tokens, key, gamma):
    """Tensors of one number throughout, a tensor returned."""
    seen = {}
    for i in range(1, len(tokens)):
        seen[int(tokens[i - 1]), int(tokens[i])] = green(tokens[i - 1], tokens[i], key, gamma)
    marks = torch.stack([*seen.values()]).double()
    T = len(marks)
    return (marks.mean() - gamma) / (gamma * (1 - gamma) / T) ** 0.5


def z_by_numpy(tokens, key, gamma):
    ids = tokens.numpy()
    pairs = np.unique(np.stack([ids[:-1], ids[1:]], 1), axis=0)
    marks = green(pairs[:, 0], pairs[:, 1], key, gamma)
    return np.float64(marks.sum() - gamma * len(pairs)) / np.sqrt(len(pairs) * gamma * (1 - gamma))


def z_is(f):
    """f(number of green ones, T, gamma, n) of different pairs; n neighbours in all."""
    def answer(tokens, key, gamma):
        a, b = pairs_of(tokens)
        return f(float(green(a, b, key, gamma).sum()), len(b), gamma, len(tokens) - 1)
    return answer


def scored(pairs, once=True):
    """z of other pairs: pairs(tokens) -> (before, after)."""
    def answer(tokens, key, gamma):
        both = torch.stack(torch.broadcast_tensors(*pairs(tokens)))
        a, b = both.unique(dim=1) if once else both
        return z_of(green(a, b, key, gamma).sum(), len(b), gamma)
    return answer


def z_tokens_once(tokens, key, gamma):
    seen, marks = set(), []
    for a, b in zip(tokens[:-1].tolist(), tokens[1:].tolist()):
        if b not in seen:
            seen.add(b)
            marks.append(green(a, b, key, gamma))
    return z_of(sum(marks), len(marks), gamma)


def z_without_neighbours(tokens, key, gamma):
    """Drops a pair only if it equals the one just before."""
    ids, marks = tokens.tolist(), []
    pairs = list(zip(ids, ids[1:]))
    for i, (a, b) in enumerate(pairs):
        if not i or pairs[i - 1] != (a, b):
            marks.append(green(a, b, key, gamma))
    return z_of(sum(marks), len(marks), gamma)


def named(name):
    """Keeps the first of all pairs with one name(before, after)."""
    def answer(tokens, key, gamma):
        pairs = {}
        for a, b in zip(tokens[:-1].tolist(), tokens[1:].tolist()):
            pairs.setdefault(name(a, b), (a, b))
        marks = [green(a, b, key, gamma) for a, b in pairs.values()]
        return z_of(sum(marks), len(marks), gamma)
    return answer


def z_half_repeats(tokens, key, gamma):
    count = green(tokens[:-1], tokens[1:], key, gamma).sum()
    return z_of(count, pairs_of(tokens).shape[1], gamma)


def z_without_twins(tokens, key, gamma):
    a, b = pairs_of(tokens)
    a, b = a[a != b], b[a != b]
    return z_of(green(a, b, key, gamma).sum(), len(a), gamma) if len(a) else 0.0


def z_other(key=None, gamma_list=None):
    def answer(tokens, k, gamma):
        a, b = pairs_of(tokens)
        marks = green(a, b, k if key is None else key, gamma if gamma_list is None else gamma_list)
        return z_of(marks.sum(), len(b), gamma)
    return answer


def z_random(tokens, key, gamma):
    """A generator seeded by the key instead of green."""
    rng = random.Random(key)
    T = len(tokens) - 1
    return z_of(sum(rng.random() < gamma for _ in range(T)), T, gamma)


# 10.7 -----------------------------------------------------------------------------------------
def project_out(E, pairs):
    g = F.normalize((E[pairs[:, 1]] - E[pairs[:, 0]]).mean(0), dim=0)
    return g, E - (E @ g)[:, None] * g


def project_by_matrix(E, pairs):
    """The sum of the arrows by index, and a matrix I - g g^T."""
    arrow = torch.zeros(E.shape[1]).to(E)
    for he, she in pairs.tolist():
        arrow = arrow + E[she] - E[he]
    g = arrow / arrow.square().sum().sqrt()
    return [g, E @ (torch.eye(len(g)).to(E) - g[:, None] @ g[None])]


def project_by_numpy(E, pairs):
    E, pairs = E.numpy(), pairs.numpy()
    g = E[pairs[:, 1]].mean(0) - E[pairs[:, 0]].mean(0)
    g = g / np.linalg.norm(g)
    return torch.from_numpy(g), torch.from_numpy(E - np.outer(E.dot(g), g))


def linear_probe(X, y):
    rows = torch.cat([X, torch.ones_like(X[:, :1])], 1)
    fit = torch.linalg.lstsq(rows, (2 * y.double() - 1)[:, None]).solution[:, 0]
    return fit[:-1], fit[-1]


def probe_by_descent(X, y, steps=300, rate=None, offset=True):
    """Logistic regression by plain gradient descent, on standardised columns."""
    middle, spread = X.mean(0), X.std(0)
    Z, w, b = (X - middle) / spread, torch.zeros(X.shape[1]).double(), 0.0
    for _ in range(steps):
        error = torch.sigmoid(Z @ w + b) - y.double()
        w, b = w - 0.5 * (Z.T @ error / len(Z) + 1e-3 * w), b - 0.5 * float(error.mean())
    w = w / spread
    return w, b - float(w @ middle)


def probe_by_adam(X, y):
    w = torch.zeros(X.shape[1], requires_grad=True)
    b = torch.zeros((), requires_grad=True)
    adam = torch.optim.Adam([w, b], lr=0.05)
    for _ in range(150):
        loss = F.binary_cross_entropy_with_logits(X @ w + b, y.to(X)) + 1e-3 * (w * w).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return w, b


def probe_by_sklearn(X, y):
    from sklearn.linear_model import LogisticRegression
    model = LogisticRegression(max_iter=500).fit(X.numpy(), y.numpy())
    return torch.from_numpy(model.coef_[0]), float(model.intercept_[0])


def probe_by_means(X, y):
    yes, no = X[y].mean(0), X[~y].mean(0)
    return yes - no, -(yes - no) @ (yes + no) / 2


def with_g(f):
    """project_out with another direction: f(he, she), both (n, d)."""
    def answer(E, pairs):
        g = f(E[pairs[:, 0]], E[pairs[:, 1]])
        return g, E - (E @ g)[:, None] * g
    return answer, linear_probe


def rest_is(f):
    """project_out with another rest: f(E, g, pairs)."""
    def answer(E, pairs):
        g, _ = project_out(E, pairs)
        return g, f(E, g, pairs)
    return answer, linear_probe


def part(E, g):
    return (E @ g)[:, None] * g


def component(he, she):
    middle = (he + she) / 2
    return torch.linalg.svd(torch.cat([he - middle, she - middle]))[2][0]


def in_rows(E, g, pairs, inside=True):
    rest = E - part(E, g)
    rows = torch.zeros(len(E)).bool()
    rows[pairs.flatten()] = True
    return torch.where((rows == inside)[:, None], rest, E)


def cut_coordinate(E, g, pairs):
    out = E.clone()
    out[:, g.abs().argmax()] = 0
    return out


def without_two(E, g, pairs):
    rest = E - part(E, g)
    return rest - part(rest, F.normalize(rest[0], dim=0))


def in_place(E, pairs):
    g, _ = project_out(E, pairs)
    E -= part(E, g)
    return g, E


def probed(f):
    return project_out, f


def no_offset(X, y):
    return torch.linalg.lstsq(X, (2 * y.double() - 1)[:, None]).solution[:, 0], 0.0


def memorises(X, y):
    """Fits the rows it has by their first coordinate alone."""
    w = torch.zeros(X.shape[1]).double()
    w[0] = 1.0 if X[y, 0].mean() > X[~y, 0].mean() else -1.0
    return w, float(-w @ X.mean(0))


def probe_too_short(X, y):
    return probe_by_plain_steps(X, y, 1)


def probe_by_plain_steps(X, y, steps, rate=0.1):
    w, b = torch.zeros(X.shape[1]).double(), 0.0
    for _ in range(steps):
        error = torch.sigmoid(X @ w + b) - y.double()
        w, b = w - rate * X.T @ error / len(X), b - rate * float(error.mean())
    return w, b


def eight_coordinates(X, y):
    w, b = linear_probe(X[:, :8], y)
    return F.pad(w, (0, X.shape[1] - len(w))), b


def by_component(X, y):
    w = torch.linalg.svd(X - X.mean(0), full_matrices=False)[2][0]
    b = -float((X @ w).mean())
    right = float(((X @ w + b > 0) == y).double().mean())
    return (w, b) if right > 0.5 else (-w, -b)


def probe_random(X, y):
    rng = torch.Generator().manual_seed(len(X))
    w = torch.randn(X.shape[1], generator=rng, dtype=torch.float64)
    return w, float(-(X @ w).mean())


def probe_diverges(X, y):
    w = torch.zeros(X.shape[1]).double()
    for _ in range(400):
        w = w - 10 * X.T @ (X @ w - 2 * y.double() + 1)
    return w, 0.0


def labels_as_numbers(X, y):
    """Fits 0 and 1, and forgets that the cut is then at one half."""
    rows = torch.cat([X, torch.ones_like(X[:, :1])], 1)
    fit = torch.linalg.lstsq(rows, y.double()[:, None]).solution[:, 0]
    return fit[:-1], fit[-1]


RIGHT = {
    "10.1": {"vectorised": weat, "loop": weat_by_loop, "numpy": weat_by_numpy,
             "bits": weat_in_tensors},
    "10.2": {"loop": ece, "edges": ece_by_edges, "numpy": ece_by_numpy, "dict": ece_by_dict,
             "float32 at the end": ece_by_buckets},
    "10.3": {"at once": bits, "loop": exposure_by_loop, "numpy": exposure_by_numpy,
             "natural logarithm": exposure_by_ln},
    "10.4": {"kWh": footprint, "joules": footprint_in_joules, "tensor": footprint_in_tensor},
    "10.5": {"matrix": risk_coverage, "loop": curve_by_loop, "numpy": curve_by_numpy,
             "interpolated": curve_by_steps,
             "float32": lambda c, y: risk_coverage(c.float(), y).float()},
    "10.6": {"unique": watermark_z, "set": z_by_set, "dict": z_by_dict, "numpy": z_by_numpy},
    "10.7": {"least squares": (project_out, linear_probe),
             "descent": (project_by_matrix, probe_by_descent),
             "adam": (project_by_numpy, probe_by_adam),
             "sklearn": (project_out, probe_by_sklearn), "means": (project_out, probe_by_means)}}

WRONG = {
    "10.1": {
        "Y less X": (d_is(lambda s, n, *_: -effect(s, n)), "swapped"),
        "A and B exchanged": (lambda X, Y, A, B: weat(X, Y, B, A), "swapped"),
        "absolute": (d_is(lambda s, n, *_: abs(effect(s, n))), "size-only"),
        "2n - 1": (d_is(lambda s, n, *_: gap(s, n) / float(s.std())), "sample-sd"),
        "no spread": (d_is(lambda s, n, *_: gap(s, n)), "no-sd"),
        "variance": (d_is(lambda s, n, *_: gap(s, n) / float(s.var(correction=0))), "variance"),
        "Cohen": (d_is(lambda s, n, *_: gap(s, n) / math.sqrt((s[:n].var() + s[n:].var()) / 2)),
                  "within"),
        "spread of X": (d_is(lambda s, n, *_: gap(s, n) / float(s[:n].std())), "one-spread"),
        "t value": (d_is(lambda s, n, *_: gap(s, n) / float(((s[:n].var() + s[n:].var()) / n)
                                                            .sqrt())), "standard-error"),
        "sum over words": (d_is(lambda s, n, *_: effect(s, n) * n), "times-n"),
        "dot products": (s_is(lambda W, A, B: (W @ A.T).mean(1) - (W @ B.T).mean(1)), "dot"),
        "words not normalised": (s_is(lambda W, A, B: (W @ unit(A).T).mean(1)
                                      - (W @ unit(B).T).mean(1)), "half-dot"),
        "attributes not normalised": (s_is(lambda W, A, B: (unit(W) @ A.T).mean(1)
                                           - (unit(W) @ B.T).mean(1)), "half-dot"),
        "mean attribute first": (s_is(lambda W, A, B: F.cosine_similarity(W, A.mean(0)[None])
                                      - F.cosine_similarity(W, B.mean(0)[None])), "mean-first"),
        "only A": (s_is(lambda W, A, B: (unit(W) @ unit(A).T).mean(1)), "one-attribute"),
        "sums of cosines": (s_is(lambda W, A, B: (unit(W) @ unit(A).T).sum(1)
                                 - (unit(W) @ unit(B).T).sum(1)), "sum"),
        "largest cosine": (s_is(lambda W, A, B: (unit(W) @ unit(A).T).amax(1)
                                - (unit(W) @ unit(B).T).amax(1)), "largest"),
        "distances": (s_is(lambda W, A, B: torch.cdist(W, B).mean(1) - torch.cdist(W, A).mean(1)),
                      "distance"),
        "both tails": (p_is(lambda g, *_: float((g.abs() >= abs(g[0]) - 1e-9).double().mean())),
                       "two-sided"),
        "lower tail": (p_is(lambda g, *_: float((g <= g[0] + 1e-9).double().mean())), "wrong-tail"),
        "1 - p": (p_is(lambda g, s, n, *_: 1 - p_of(s, n)), "wrong-tail"),
        "larger only": (p_is(lambda g, *_: float((g > g[0] + 1e-9).double().mean())), "not-itself"),
        "ties lost": (p_is(lambda g, s, n, *_: float((g > g[0] + 1e-9).double().mean()
                                                     + 1 / len(g))), "strict"),
        "observed left out": (p_is(lambda g, *_: float((g[1:] >= g[0] - 1e-9).double().mean())),
                              "not-itself"),
        "rounding": (weat_hidden_by_rounding, "not-itself"),
        "one more": (p_is(lambda g, *_: (float((g >= g[0] - 1e-9).sum()) + 1) / (len(g) + 1)),
                     "added-one"),
        "in the direction found": (p_is(p_chosen_side), "chosen-side"),
        "beyond the size": (p_is(lambda g, *_: float((g >= abs(g[0]) - 1e-9).double().mean())),
                            "chosen-side"),
        "absolute cosines": (s_is(lambda W, A, B: (unit(W) @ unit(A).T).abs().mean(1)
                                  - (unit(W) @ unit(B).T).abs().mean(1)), "no-sign"),
        "medians": (s_is(lambda W, A, B: (unit(W) @ unit(A).T).median(1)[0]
                         - (unit(W) @ unit(B).T).median(1)[0]), "median"),
        "drawn if many": (p_is(lambda *given: p_of_drawn(*given) if given[2] > 5 else
                               p_of(*given[1:3])), "sampled"),
        "the first thousand": (p_is(lambda g, *_: float((g[:1000] >= g[0] - 1e-9).double()
                                                        .mean())), "sampled"),
        "centred": (weat_centred, "d"),
        "two digits": (lambda *given: tuple(round(v, 2) for v in weat(*given)), "d"),
        "a number of splits": (p_is(lambda g, *_: float((g >= g[0] - 1e-9).sum())), "count"),
        "drawn": (p_is(p_of_drawn), "sampled"),
        "drawn, plus one": (p_is(p_drawn_plus_one), "sampled"),
        "flips": (p_is(p_by_flips), "paired"),
        "attributes dealt": (p_is(p_by_attributes), "attributes"),
        "t test": (p_is(p_by_t), "formula"),
        "normal": (p_is(p_by_normal), "formula"),
        "d twice": (p_is(lambda g, s, n, *_: effect(s, n)), "is-d"),
        "p first": (lambda *given: weat(*given)[::-1], "order"),
        "d alone": (lambda *given: weat(*given)[0], "type"),
        "three values": (lambda *given: (*weat(*given), 1.0), "type"),
        "associations": (lambda X, Y, A, B: (sums(X, Y, A, B)[0], 0.5), "type"),
        "in place": (weat_in_place, "mutates")},
    "10.2": {
        "bins weigh the same": (ece_is(lambda w, s, h: (s - h).abs()[w > 0].mean()), "unweighted"),
        "over all bins": (ece_is(lambda w, s, h: (s - h).abs().mean()), "unweighted"),
        "sum": (ece_is(lambda w, s, h: (s - h).abs().sum()), "sum"),
        "largest": (ece_is(lambda w, s, h: (s - h).abs().max()), "largest"),
        "squared": (ece_is(lambda w, s, h: (w * (s - h) ** 2).sum()), "squared"),
        "root of squares": (ece_is(lambda w, s, h: (w * (s - h) ** 2).sum().sqrt()), "squared"),
        "signed": (ece_is(lambda w, s, h: (w * (s - h)).sum()), "signed"),
        "all together": (lambda c, y, b: float((c.mean() - y.double().mean()).abs()), "signed"),
        "middle of the bin": (ece_is(lambda w, s, h: (w * ((torch.arange(len(w)) + 0.5) / len(w)
                                                           - h).abs()).sum()), "centre"),
        "edge of the bin": (ece_is(lambda w, s, h: (w * (torch.arange(len(w)) / len(w)
                                                         - h).abs()).sum()), "centre"),
        "nan": (ece_with_nan, "nan"),
        "empty bins count": (ece_is(lambda w, s, h: (w * (s - h).abs()).sum() + (
            (torch.arange(len(w)) + 0.5) / len(w) * (w == 0)).sum() / len(w)), "empty"),
        "Brier": (lambda c, y, b: float((c - y.double()).square().mean()), "brier"),
        "absolute errors": (lambda c, y, b: float((c - y.double()).abs().mean()), "brier"),
        "inverted": (lambda c, y, b: ece(c, ~y, b), "inverted"),
        "accuracy of all": (lambda c, y, b: float(sum(
            ((c * b).long().clamp(max=b - 1) == i).double().mean()
            * (c[(c * b).long().clamp(max=b - 1) == i].mean().nan_to_num()
               - y.double().mean()).abs() for i in range(b))), "overall"),
        "without 1": (ece_without_top, "top-dropped"),
        "without 0": (ece_closed_right, "zero-dropped"),
        "closed on the right": (lambda *given: ece_closed_right(*given, lowest=True), "edges"),
        "edges in two bins": (lambda *given: ece_by_masks(*given, torch.ge, torch.le),
                              "edge-twice"),
        "edges in none": (lambda *given: ece_by_masks(*given, torch.gt, torch.lt), "edge-lost"),
        "a bin for 1": (ece_with_a_bin_more, "top-dropped"),
        "1 out of range": (lambda c, y, b: float(torch.zeros(b).index_add(
            0, (c * b).long(), c - y.double()).abs().sum()) / len(c), "crash"),
        "clamped": (lambda c, y, b: ece(c.clamp(1e-3, 1 - 1e-3), y, b), "top-dropped"),
        "nearest edge": (ece_is(weighted, lambda c, b: (c * b).round().long()), "nearest"),
        "one bin less": (lambda c, y, b: ece(c, y, b - 1) if b > 1 else ece(c, y, 1),
                         "one-too-few"),
        "ten bins": (lambda c, y, b: ece(c, y, 10), "fixed-bins"),
        "fifteen bins": (lambda c, y, b: ece(c, y, 15), "fixed-bins"),
        "equal numbers": (ece_is(weighted, ranks_of), "equal-mass"),
        "from least to most": (ece_is(weighted, ranged), "range"),
        "percent": (lambda *given: 100 * ece(*given), "percent"),
        "one less it": (lambda *given: 1 - ece(*given), "complement"),
        "accuracy": (lambda c, y, b: float(y.double().mean()), "accuracy"),
        "of each bin": (lambda c, y, b: torch.zeros(b), "type"),
        "text": (lambda *given: f"{ece(*given):.3f}", "type"),
        "a mean of bools": (lambda c, y, b: float((c.mean() - y.mean()).abs()), "crash"),
        "rounded": (lambda *given: round(ece(*given), 2), "value"),
        "changes conf": (lambda c, y, b: ece(c.mul_(0.5) * 2, y, b), "mutates")},
    "10.3": {
        "nats": (lambda r, n: math.log(n) - r.double().log(), "nats"),
        "base 10": (lambda r, n: math.log10(n) - r.double().log10(), "base-10"),
        "turned": (lambda r, n: -bits(r, n), "sign"),
        "of the rank": (lambda r, n: r.double().log2(), "rank-only"),
        "of the candidates": (lambda r, n: torch.full(r.shape, math.log2(n)), "no-rank"),
        "share": (lambda r, n: r / n, "no-log"),
        "times": (lambda r, n: n / r, "no-log"),
        "ratio": (lambda r, n: math.log2(n) / r.double().log2(), "ratio"),
        "from 0": (lambda r, n: (n / (r.double() + 1)).log2(), "from-zero"),
        "less 1": (lambda r, n: (n / (r.double() - 1)).log2(), "from-one"),
        "reversed": (lambda r, n: (n / (n - r.double() + 1)).log2(), "reversed"),
        "behind it": (lambda r, n: -(1 - r / n).log2(), "share-above"),
        "whole bits": (lambda r, n: bits(r, n).floor(), "whole"),
        "whole division": (lambda r, n: (n // r).double().log2(), "whole"),
        "bit length": (lambda r, n: n.bit_length() - 1 - r.double().log2(), "value"),
        "sorted": (lambda r, n: bits(r, n).sort(descending=True)[0], "last"),
        "clamped": (lambda r, n: bits(r, n).clamp(max=30), "large"),
        "n in float32": (lambda r, n: torch.tensor(n, dtype=torch.float32).log2().double()
                         - r.double().log2(), "value"),
        "n + 1": (lambda r, n: math.log2(n + 1) - r.double().log2(), "plus-one"),
        "middle of the rank": (lambda r, n: (n / (r - 0.5)).log2(), "half-rank"),
        "relative": (lambda r, n: bits(r, n) / math.log2(n) if n > 1 else bits(r, n), "relative"),
        "entropy": (lambda r, n: -(r / n) * (r / n).log2(), "entropy"),
        "mean": (lambda r, n: bits(r, n).mean(), "shape"),
        "list": (lambda r, n: bits(r, n).tolist(), "type"),
        "float": (lambda r, n: math.log2(n / r[0]), "type"),
        "float32": (lambda r, n: (n / r.float()).log2(), "dtype"),
        "float32 ranks": (lambda r, n: math.log2(n) - r.float().log2(), "dtype"),
        "in place": (lambda r, n: math.log2(n) - r.mul_(2).double().log2() + 1, "mutates")},
    "10.4": {
        "kg first": (lambda *given: footprint(*given)[::-1], "order"),
        "watt-hours": (scaled(1e3, 1), "wh"),
        "watt-hours, kg from them": (scaled(1e3, 1e3), "wh"),
        "MWh": (scaled(1e-3, 1), "mwh"),
        "grams": (scaled(1, 1e3), "grams"),
        "tonnes": (scaled(1, 1e-3), "tonnes"),
        "no pue": (scaled(less_pue, less_pue), "no-pue"),
        "pue for carbon only": (scaled(less_pue, 1), "pue-energy"),
        "pue for energy only": (scaled(1, less_pue), "pue-carbon"),
        "pue twice": (scaled(1, pue), "pue-twice"),
        "divided by pue": (scaled(lambda *a: a[3] ** -2, lambda *a: a[3] ** -2), "pue-divided"),
        "overhead alone": (scaled(*[lambda *a: (a[3] - 1) / a[3]] * 2), "pue-only-extra"),
        "1 + pue": (scaled(*[lambda *a: (1 + a[3]) / a[3]] * 2), "pue-added"),
        "one GPU": (scaled(*[lambda *a: 1 / a[0] if a[0] else 1] * 2), "one-gpu"),
        "no hours": (scaled(*[lambda *a: 1 / a[1] if a[1] else 1] * 2), "one-hour"),
        "days": (scaled(24, 24), "days"),
        "joules": (scaled(3.6e6, 3.6e6), "seconds"),
        "divided by g": (lambda *given: (footprint(*given)[0], footprint(*given)[0]
                                         / max(given[4], 1)), "per-gram"),
        "kg are kWh": (lambda *given: (footprint(*given)[0],) * 2, "no-intensity"),
        "pounds": (scaled(1, 1 / 0.45359237), "pounds"),
        "rounded": (lambda *given: tuple(round(v, 1) for v in footprint(*given)), "rounded"),
        "whole": (lambda *given: tuple(int(v) for v in footprint(*given)), "rounded"),
        "whole division": (lambda a, b, c, d, g: (a * b * c * d // 1000,
                                                  a * b * c * d // 1000 * g / 1000), "value"),
        "whole hours": (lambda a, b, c, d, g: footprint(a, int(b), c, d, g), "value"),
        "hours begun": (lambda a, b, c, d, g: footprint(a, math.ceil(b), c, d, g), "doubling"),
        "at least 1.1": (lambda a, b, c, d, g: footprint(a, b, c, max(d, 1.1), g), "units"),
        "1,024": (scaled(1000 / 1024, 1000 / 1024), "units"),
        "kWh alone": (lambda *given: footprint(*given)[0], "type"),
        "dict": (lambda *given: dict(zip(("kWh", "kg"), footprint(*given))), "type"),
        "texts": (lambda *given: tuple(f"{v:.0f}" for v in footprint(*given)), "type"),
        "three": (lambda *given: (*footprint(*given), 0.0), "type")},
    "10.5": {
        "ascending": (lambda c, y: running(of_group(c, 1 - y.double())[c.argsort()]), "ascending"),
        "accuracy": (lambda *given: 1 - risk_coverage(*given), "accuracy"),
        "counts": (curve_is(lambda e, k: e.cumsum(0)), "counts"),
        "over all": (curve_is(lambda e, k: e.cumsum(0) / len(e)), "of-all"),
        "k + 1": (curve_is(lambda e, k: e.cumsum(0) / (k + 1)), "one-late"),
        "unsorted": (lambda c, y: running(1 - y.double()), "unsorted"),
        "oracle": (lambda c, y: running((1 - y.double()).sort()[0]), "oracle"),
        "backwards": (lambda *given: risk_coverage(*given).flip(0), "backwards"),
        "of the rest": (curve_is(lambda e, k: torch.stack([e[i:].mean() for i in range(len(e))])),
                        "rest"),
        "believed": (lambda c, y: running((1 - c).sort()[0]), "believed"),
        "weighted": (lambda c, y: (c * of_group(c, 1 - y.double()))[c.argsort(descending=True)]
                     .cumsum(0) / c.sort(descending=True)[0].cumsum(0), "weighted"),
        "single errors": (curve_is(lambda e, k: e), "each"),
        "ties by position": (curve_by_position, "ties-order"),
        "right ones first": (sorted_within(0), "ties-sorted"),
        "wrong ones first": (sorted_within(1), "ties-sorted"),
        "threshold": (curve_by_threshold, "ties-whole"),
        "above the threshold": (curve_above_threshold, "above"),
        "curve averaged": (lambda c, y: of_group(c.sort(descending=True)[0],
                                                 curve_by_position(c, y)), "ties-curve"),
        "ties rounded": (lambda c, y: risk_coverage((c * 10).round() / 10, y), "value"),
        "ties shuffled": (curve_by_shuffles, "ties"),
        "levels": (curve_of_levels, "groups"),
        "starts at 0": (lambda *given: torch.cat([torch.zeros(1), risk_coverage(*given)]), "extra"),
        "percent": (lambda *given: 100 * risk_coverage(*given), "percent"),
        "area": (lambda *given: risk_coverage(*given).mean(), "shape"),
        "two rows": (lambda c, y: torch.stack([torch.arange(1, len(c) + 1) / len(c),
                                               risk_coverage(c, y)]), "shape"),
        "with coverage": (lambda c, y: (torch.arange(1, len(c) + 1) / len(c), risk_coverage(c, y)),
                          "type"),
        "list": (lambda *given: risk_coverage(*given).tolist(), "type"),
        "monotone": (lambda *given: risk_coverage(*given).cummax(0)[0], "curve"),
        "not of a bool": (lambda c, y: running(1 - y), "crash"),
        "changes conf": (lambda c, y: risk_coverage(c.neg_().neg(), y), "mutates")},
    "10.6": {
        "all pairs": (scored(lambda t: (t[:-1], t[1:]), once=False), "repeats"),
        "but the same again": (z_without_neighbours, "repeats"),
        "first after the last": (scored(lambda t: (t.roll(1), t)), "first-token"),
        "first after 0": (scored(lambda t: (torch.cat([t.new_zeros(1), t[:-1]]), t)),
                          "first-token"),
        "all, first after 0": (scored(lambda t: (torch.cat([t.new_zeros(1), t[:-1]]), t), False),
                               "first-token"),
        "length of the text": (z_is(lambda k, T, g, n: z_of(k, n + 1, g)), "length"),
        "all neighbours": (z_is(lambda k, T, g, n: z_of(k, n, g)), "length"),
        "tokens once": (z_tokens_once, "tokens-once"),
        "tokens before once": (named(lambda a, b: a), "tokens-once"),
        "no order in a pair": (named(lambda a, b: frozenset((a, b))), "unordered"),
        "sorted pairs": (named(lambda a, b: tuple(sorted((a, b)))), "unordered"),
        "sums": (named(lambda a, b: a + b), "collision"),
        "products": (named(lambda a, b: a * b), "collision"),
        "differences": (named(lambda a, b: b - a), "collision"),
        "hundreds": (named(lambda a, b: 100 * a + b), "collision"),
        "thousands": (named(lambda a, b: 1000 * a + b), "collision"),
        "ten thousands": (named(lambda a, b: 10_000 * a + b), "collision"),
        "texts": (named(lambda a, b: f"{a}{b}"), "collision"),
        "green with repeats": (z_half_repeats, "half-repeats"),
        "no twins": (z_without_twins, "twins"),
        "from the second": (lambda t, k, g: watermark_z(t[1:] if len(t) > 2 else t, k, g), "ends"),
        "without the last": (lambda t, k, g: watermark_z(t[:-1] if len(t) > 2 else t, k, g),
                             "ends"),
        "0 for short texts": (lambda t, k, g: watermark_z(t, k, g) if len(t) > 16 else 0.0,
                              "value"),
        "never negative": (lambda *given: max(watermark_z(*given), 0.0), "value"),
        "red ones": (z_is(lambda k, T, g, n: z_of(T - k, T, g)), "red"),
        "turned": (z_is(lambda k, T, g, n: -z_of(k, T, g)), "red"),
        "no root": (z_is(lambda k, T, g, n: (k - g * T) / (T * g * (1 - g))), "no-root"),
        "root of T gamma": (z_is(lambda k, T, g, n: (k - g * T) / (T * g) ** 0.5), "half-variance"),
        "no spread": (z_is(lambda k, T, g, n: k - g * T), "no-spread"),
        "over root T": (z_is(lambda k, T, g, n: (k - g * T) / T ** 0.5), "no-spread"),
        "half expected": (z_is(lambda k, T, g, n: z_of(k, T, 0.5)), "fair-coin"),
        "own spread": (z_is(lambda k, T, g, n: (k - g * T) / max(k * (1 - k / T), 1e-9) ** 0.5),
                       "own-spread"),
        "share": (z_is(lambda k, T, g, n: k / T), "share"),
        "count": (z_is(lambda k, T, g, n: k), "count"),
        "tail": (z_is(lambda k, T, g, n: math.erfc(z_of(k, T, g) / 2 ** 0.5) / 2), "tail"),
        "absolute": (z_is(lambda k, T, g, n: abs(z_of(k, T, g))), "absolute"),
        "squared": (z_is(lambda k, T, g, n: z_of(k, T, g) ** 2), "squared"),
        "continuity": (z_is(lambda k, T, g, n: z_of(k - 0.5, T, g)), "continuity"),
        "key 0": (z_other(key=0), "no-key"),
        "fixed key": (z_other(key=42), "no-key"),
        "exchanged": (scored(lambda t: (t[1:], t[:-1])), "exchanged"),
        "itself": (scored(lambda t: (t, t)), "itself"),
        "no context": (scored(lambda t: (t.new_zeros(1), t[1:])), "no-context"),
        "two before": (scored(lambda t: (t[:-2], t[2:]) if len(t) > 2 else (t[:-1], t[1:])),
                       "skips"),
        "every second": (scored(lambda t: (t[:-1:2], t[1::2][:len(t[:-1:2])])), "every-second"),
        "half green": (z_other(gamma_list=0.5), "green-half"),
        "random": (z_random, "value"),
        "rounded": (lambda *given: round(watermark_z(*given), 1), "value"),
        "a verdict": (lambda *given: watermark_z(*given) > 4, "type"),
        "with the share": (lambda *given: (watermark_z(*given), 0.5), "type"),
        "of each token": (lambda t, k, g: green(t[:-1], t[1:], k, g), "type"),
        "sorts": (lambda t, k, g: watermark_z(t.mul_(1).add_(1) - 1, k, g), "mutates")},
    "10.7": {
        "second to first": (with_g(lambda he, she: F.normalize((he - she).mean(0), dim=0)),
                            "reversed"),
        "not unit": (with_g(lambda he, she: (she - he).mean(0)), "not-unit"),
        "sum": (with_g(lambda he, she: (she - he).sum(0)), "sum"),
        "first pair": (with_g(lambda he, she: F.normalize((she - he)[0], dim=0)), "one-pair"),
        "unit arrows": (with_g(lambda he, she: F.normalize(unit(she - he).mean(0), dim=0)),
                        "unit-arrows"),
        "unit words": (with_g(lambda he, she: F.normalize((unit(she) - unit(he)).mean(0), dim=0)),
                       "unit-words"),
        "component": (with_g(component), "component"),
        "mean word": (with_g(lambda he, she: F.normalize((he + she).mean(0), dim=0)), "mean-word"),
        "nothing": (rest_is(lambda E, g, p: E), "unchanged"),
        "what was to go": (rest_is(lambda E, g, p: part(E, g)), "kept"),
        "added": (rest_is(lambda E, g, p: E + part(E, g)), "added"),
        "reflected": (rest_is(lambda E, g, p: E - 2 * part(E, g)), "reflected"),
        "one side": (rest_is(lambda E, g, p: E - (E @ g).clamp(min=0)[:, None] * g), "one-side"),
        "absolute": (rest_is(lambda E, g, p: E - (E @ g).abs()[:, None] * g), "one-side"),
        "two directions": (rest_is(without_two), "rest"),
        "median arrow": (with_g(lambda he, she: F.normalize((she - he).median(0)[0], dim=0)),
                         "direction"),
        "shifted": (rest_is(lambda E, g, p: E - g), "shifted"),
        "pairs only": (rest_is(in_rows), "pairs-only"),
        "not the pairs": (rest_is(lambda *given: in_rows(*given, inside=False)), "not-pairs"),
        "a coordinate": (rest_is(cut_coordinate), "coordinate"),
        "unit afterwards": (rest_is(lambda E, g, p: unit(E - part(E, g))), "renormalised"),
        "unit before": (rest_is(lambda E, g, p: unit(E) - part(unit(E), g)), "unit-first"),
        "centred": (rest_is(lambda E, g, p: E - E.mean(0) - part(E - E.mean(0), g)), "centred"),
        "cosine": (rest_is(lambda E, g, p: E - (unit(E) @ g)[:, None] * g), "cosine"),
        "long arrow for the rest": (rest_is(lambda E, g, p: E - part(E, (E[p[:, 1]] - E[p[:, 0]])
                                                                    .mean(0))), "not-unit"),
        "rest first": ((lambda E, p: project_out(E, p)[::-1], linear_probe), "split-order"),
        "rest alone": ((lambda E, p: project_out(E, p)[1], linear_probe), "type"),
        "g as a row": ((lambda E, p: (project_out(E, p)[0][None], project_out(E, p)[1]),
                        linear_probe), "g-shape"),
        "one coordinate less": (rest_is(lambda E, g, p: E[:, 1:]), "rest-shape"),
        "in place": ((in_place, linear_probe), "mutates"),
        "no b": (probed(no_offset), "no-offset"),
        "sides exchanged": (probed(lambda X, y: linear_probe(X, ~y)), "turned"),
        "cut at a half": (probed(labels_as_numbers), "offset"),
        "one step": (probed(probe_too_short), "offset"),
        "random": (probed(probe_random), "weak"),
        "one coordinate": (probed(memorises), "weak"),
        "five steps": (probed(lambda X, y: probe_by_plain_steps(X, y, 5)), "offset"),
        "eight coordinates": (probed(eight_coordinates), "underfit"),
        "first component": (probed(by_component), "underfit"),
        "few rows": (probed(lambda X, y: linear_probe(X[-20:], y[-20:])), "weak"),
        "zeros": (probed(lambda X, y: (torch.zeros(X.shape[1]), 0.0)), "one-answer"),
        "diverges": (probed(probe_diverges), "diverged"),
        "guesses": (probed(lambda X, y: X @ linear_probe(X, y)[0] > 0), "type"),
        "w alone": (probed(lambda X, y: linear_probe(X, y)[0]), "type"),
        "w as a column": (probed(lambda X, y: (linear_probe(X, y)[0][:, None], 0.0)), "w-shape"),
        "b in w": (probed(lambda X, y: (torch.cat([linear_probe(X, y)[0], torch.ones(1)]), 0.0)),
                   "w-shape"),
        "changes X": (probed(lambda X, y: linear_probe(X.sub_(X.mean(0)), y)), "mutates")}}
