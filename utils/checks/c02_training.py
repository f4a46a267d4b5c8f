"""The checks of lecture 02 that train: word2vec on a small world, and what it converges to."""
import math

import torch
import torch.nn.functional as F

from ..words import micro_questions, micro_world, solve, space
from .c02_wrong import pairs_of, pmi
from .engine import exercise


def small_world(V, window=4, seed=7):
    """Pairs (n, 2), names and questions of a micro-world whose ids are shuffled among V."""
    world = micro_world(800, seed)
    words = sorted({w for sentence in world for w in sentence})
    places = torch.randperm(V, generator=torch.Generator().manual_seed(seed))[:len(words)].tolist()
    index = dict(zip(words, places))
    counts = pairs_of([[index[w] for w in sentence] for sentence in world], window)
    pairs = torch.tensor(list(counts)).repeat_interleave(torch.tensor(list(counts.values())), 0)
    return pairs, index, micro_questions(index)


def cells(pairs, V, K=5):
    """Shares of each pair and K times those of the noise, (V, V) each."""
    C = torch.zeros(V, V).index_put_(tuple(pairs.T), torch.ones(len(pairs)), accumulate=True)
    C = C / C.sum()
    return C, K * C.sum(1, keepdim=True) * F.normalize(C.sum(0) ** 0.75, p=1, dim=0)


def best_loss(E, pairs):
    """SGNS loss in nats that the best E_out reaches beside a fixed E (V, d)."""
    C, noise = cells(pairs, len(E))
    E = E.detach().double()
    E = E / E.square().mean().sqrt().clamp(min=1e-9)
    E_out = torch.zeros_like(E, requires_grad=True)
    adam = torch.optim.Adam([E_out], lr=0.1)
    for _ in range(150):
        scores = E @ E_out.T
        loss = -(C * F.logsigmoid(scores) + noise * F.logsigmoid(-scores)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return loss.item()


def least_loss(pairs, V):
    """SGNS loss in nats below which no vectors get: that of scores ln C / noise."""
    C, noise = cells(pairs, V)
    return float(-(torch.xlogy(C, C / (C + noise)) + torch.xlogy(noise, noise / (C + noise)))
                 .nan_to_num(0.0).sum())


def seeded(probe, answer, *arguments):
    """Two runs with one seed and one with another: reproducible, and not deaf to the seed."""
    one, again = (probe.call(answer, *arguments, 3) for _ in range(2))
    other = probe.call(answer, *arguments, 4)
    runs = [out[0] if isinstance(out, tuple | list) else out for out in (one, again, other)]
    for out in runs:
        probe.type(out, torch.Tensor)
    one, again, other = runs
    probe.true(torch.equal(one, again), "seed", "two runs with seed 3 differ: draw everything "
               "from one torch.Generator().manual_seed(seed)")
    probe.true(not torch.equal(one, other), "seed", "seeds 3 and 4 give the same: use the seed")


@exercise("02.7", hints=(
    "With no steps the vectors are noise; with 250, the pairs he : she of a small world must be "
    "parallel. If all words end in one place, nothing pushes them apart: what should?",
    "Two tables E_in and E_out, both with gradients, both given to the optimiser. A step draws "
    "some pairs, K noise words for each by count ** .75, and descends on your loss of 02.2.",
    "generator from seed; E_in small random, E_out zeros; Adam, learning rate about .05\n"
    "repeat steps times: draw some 500 pairs and 5 noise words each\n"
    "    loss of the pairs; gradients to zero; backward; step\n"
    "return E_in without its gradient"))
def train_sgns(answer, probe):
    torch.set_num_threads(1)                            # small tensors: two threads only wait
    V, d = 33, 16                                       # three ids never occur
    pairs, index, questions = small_world(V)
    start = probe.call(answer, pairs, V, d, 0, 1)
    probe.shape(start, (V, d), "shape", "one row a word, also for ids that never occur")
    seeded(probe, answer, pairs, V, d, 10)
    short = probe.call(answer, pairs, V, d, 10, 1)
    out = probe.call(answer, pairs, V, d, 250, 1)
    probe.shape(out, (V, d), "shape", "one row a word")
    probe.finite(out, "diverged", "the vectors are not finite: a smaller learning rate?")
    start, short, out = (t.detach().double() for t in (start, short, out))
    probe.true(not torch.allclose(out, start), "untrained", "250 steps leave the vectors where "
               "they were: is E_in given to the optimiser, and is .step() called?")
    probe.true(not torch.allclose(out, short), "steps", "10 and 250 steps give the same: use "
                                                        "`steps`")
    used = out[list(index.values())]
    probe.true(bool((used.norm(dim=1) > 0).all()), "untrained", "a word that occurs has a vector "
                                                                "of zeros")
    cosines = F.cosine_similarity(used[:, None], used[None], dim=-1)
    probe.true(cosines.mean() < 0.93, "collapse", f"all words point the same way (mean cosine "
               f"{float(cosines.mean()):.2f}): the noise words must push apart, with a minus")
    after, least = best_loss(out, pairs), least_loss(pairs, V)
    probe.true(after < least + 0.1, "loss", f"after 250 steps the loss is {after:.2f} nats at "
               f"best, {least:.2f} is possible. Do the two words of a pair stay together, has "
               f"each word a "
               "row in both tables, is the rate high enough?")
    names = {i: word for word, i in index.items()}
    words = [names.get(i, f"unused {i}") for i in range(V)]
    safe = torch.where(out.norm(dim=1, keepdim=True) > 0, out, 1e-6)
    solved = int(solve(space(words, safe), questions).solved.sum())
    probe.true(solved >= 51, "accuracy", f"after 250 steps {solved} of the 56 analogies of the "
                                         f"small "
               "world are solved, 51 are needed: is the learning rate high enough, and is the "
               "noise drawn by count ** .75?")


@exercise("02.8", hints=(
    "Take K = 1: ln 1 is 0, so E_in E_out^T must lie around PMI. With K = 5 all lies ln 5 lower.",
    "The theorem holds for noise drawn by the plain count (power 1). The scores need both "
    "tables, and a learning rate that falls to near 0, or the last steps blur them.",
    "scores = E_in times E_out transposed, after training as in 02.7 with K noise words, power 1\n"
    "C = how often each pair occurs, (V, V)\n"
    "target = log of C * sum(C) / (row sums * column sums), minus log K; -inf where C is 0"))
def sgns_and_pmi(answer, probe):
    torch.set_num_threads(1)
    V, d = 30, 16
    pairs, _, _ = small_world(V)
    C = torch.zeros(V, V).index_put_(tuple(pairs.T), torch.ones(len(pairs)), accumulate=True)
    seen, gaps = C > 0, {}
    seeded(probe, answer, pairs, V, d, 5, 10)
    for K in (5, 1):
        out = probe.call(answer, pairs, V, d, K, 500, 2)
        probe.type(out, (tuple, list), "return scores, target")
        probe.true(len(out) == 2, "type", f"return two tensors, scores and target; came {len(out)}")
        scores, target = out
        probe.shape(scores, (V, V), "shape", "scores has a row and a column a word")
        probe.shape(target, (V, V), "shape", "target has a row and a column a word")
        probe.finite(scores, "diverged", "a score is not finite")
        right = pmi(C) - math.log(K)
        probe.equal(torch.where(seen, target, 0), torch.where(seen, right, 0), "target",
                    f"K = {K}: the target of pairs that occur", known={
                        "unshifted": (torch.where(seen, pmi(C), 0), "this is PMI: subtract ln K"),
                        "shift-sign": (torch.where(seen, pmi(C) + math.log(K), 0), "ln K is "
                                       "subtracted, not added"),
                        "shift-base": (torch.where(seen, pmi(C) - math.log2(K), 0),
                                       "the logarithm of "
                                       "K must be natural too"),
                        "clipped": (torch.where(seen, pmi(C), 0).clamp(min=0) - math.log(K) * seen,
                                    "PPMI: the theorem speaks of PMI, keep negative values"),
                        "joint": (torch.where(seen, (C / C.sum(1, keepdim=True) / C.sum(0)).log()
                                              - math.log(K), 0), "P(w, c) is a count divided by "
                                  "the sum of all counts")})
        probe.true(bool((target[~seen] == -math.inf).all()), "unseen",
                   "a pair that never occurs has the target -inf")
        rank = int(torch.linalg.matrix_rank(scores.detach().double(), rtol=1e-4))
        probe.true(rank <= d, "rank", f"scores = E_in E_out^T with d = {d} has rank {d} at most, "
                   f"came {rank}: are these the scores of your two tables?")
        x, y = right[seen], scores.detach()[seen].double()
        fit = correlation(x, y)
        context = C.sum(0) ** 0.75
        smooth = (C / C.sum(1, keepdim=True) / (context / context.sum())).log()[seen]
        smoother = correlation(smooth, y)
        probe.true(smoother < max(0.8, fit + 0.03), "noise", "the scores follow PMI with "
                   "contexts to the power .75: draw the noise by plain counts")
        probe.true(fit > 0.8, "correlation", f"K = {K}: the correlation of scores and target over "
                   f"pairs that occur is {fit:.2f}, .8 is needed: more exact training, with a "
                   f"learning "
                   "rate that falls")
        gaps[K] = float((y - x).mean())
        probe.true(abs(gaps[K]) < 0.4, "gap", f"K = {K}: scores lie {gaps[K]:+.2f} from the "
                                              f"target on "
                   "average, within .4 is expected: are there K noise words for each pair, and "
                   "are the scores E_in times E_out transposed?")


def correlation(x, y):
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])
