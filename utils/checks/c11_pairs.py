"""The checks of lecture 11 for pairs of residues: outer product mean and triangle update."""
import torch

from .c08_known import Judge
from .engine import exercise

LETTERS = 5


def outer_mean(msa):
    """(S, L, c) -> (L, L, c, c): [i, j, a, b] is the mean over sequences of msa_i[a] msa_j[b]."""
    return torch.einsum("sia,sjb->ijab", msa, msa) / len(msa)


def wrong_means(msa, where):
    """{code: (result of a well-known mistake, what it is)}."""
    S, L, c = msa.shape
    right, mean = outer_mean(msa), msa.mean(0)
    apart = torch.einsum("ia,jb->ijab", mean, mean)
    half = right * torch.ones(L, L).triu()[:, :, None, None]
    table = {
        "sum": (right * S, "the sum over the sequences: take their mean"),
        "means-first": (apart, "the mean is taken before the product: that says how common the "
                        "letters are, not which come together"),
        "transposed": (right.transpose(2, 3), "the last two axes are exchanged: first the channel "
                       "at i, then that at j"),
        "centred": (right - apart, "the product of the means is subtracted: that comes in "
                    "contact_scores"),
        "one-less": (right * S / (S - 1), "divided by S - 1: by S is asked for"),
        "divisor": ([right * S / n for n in (L, L * L, c, S * L, S * c, c * c)] + [
            right * S / S ** 0.5], "divided by something else than the number of sequences"),
        "one-sequence": ([outer_mean(msa[s:s + 1]) for s in (0, S - 1)], "one sequence alone: all "
                         "of them count alike"),
        "neighbours": ([torch.einsum("sia,sjb->ijab", msa, msa.roll(k, 0)) / S for k in (1, -1)],
                       "channels of different sequences are multiplied: i and j of one belong "
                       "together"),
        "one-missing": ([outer_mean(msa[1:]), outer_mean(msa[:-1]), outer_mean(msa[1:]) * (S - 1)
                         / S, outer_mean(msa[:-1]) * (S - 1) / S], "a sequence is missing"),
        "half": ([half, half.transpose(0, 1), right - half, (right - half).transpose(0, 1)],
                 "only one half of the pairs is filled in"),
        "squared": (right.square(), "squared"),
        "no-diagonal": (right * (1 - torch.eye(L))[:, :, None, None], "a pair of a place with "
                        "itself counts too"),
        "shares": ([right / right.sum((2, 3), keepdim=True), right.flatten(2).softmax(-1).view(
            right.shape)], "each matrix is scaled: the mean is asked for as it is"),
        "power": (right.abs().sqrt(), "a root is taken")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def mean_shape(probe, out, msa, where):
    S, L, c = msa.shape
    came, want = tuple(getattr(out, "shape", ())), (L, L, c, c)
    probe.type(out, torch.Tensor, "one tensor for all pairs")
    for code, shapes, why in (
            ("no-mean", [(S, L, L, c, c), (S, L, c, L, c)], "the mean over the sequences is "
             "missing"),
            ("same-place", [(L, c, c)], "the products of a place with itself: of all pairs i, j"),
            ("elementwise", [(L, L, c)], "channel times the same channel: each channel at i meets "
             "each channel at j"),
            ("contracted", [(L, L)], "the channels are summed away: an outer product keeps both"),
            ("flat", [(L, L, c * c)], "the last two axes stay apart"),
            ("axes", [(L, c, L, c), (c, c, L, L)], "the order of the axes is i, j, a, b"),
            ("axis", [(S, S, c, c)], "pairs of sequences came: pairs of places are asked for")):
        probe.true(came not in shapes or came == want, code, f"{where}: {why}. Expected shape "
                   f"{want}, came {came}")
    probe.shape(out, want, "shape", where)


def family(probe, S=300, L=14, pairs=3):
    """(msa (S, L, 5) one-hot, planted (L, L) bool): some places change together, some never.

    In a planted pair the letter at j follows from that at i by a permutation, with some noise.
    Half of the other places are conserved: one letter in most sequences.
    """
    ids = probe.ints(0, LETTERS, S, L)
    order = torch.randperm(L, generator=probe.generator)
    planted = torch.zeros(L, L, dtype=torch.bool)
    for i, j in order[:2 * pairs].view(pairs, 2).tolist():
        table = (torch.arange(LETTERS) + int(probe.ints(1, LETTERS))) % LETTERS
        noisy = probe.uniform(S) < 0.25
        ids[:, j] = torch.where(noisy, ids[:, j], table[ids[:, i]])
        planted[i, j] = planted[j, i] = True
    for j in order[2 * pairs:2 * pairs + (L - 2 * pairs) // 2].tolist():
        ids[:, j] = torch.where(probe.uniform(S) < 0.9, int(probe.ints(0, LETTERS)), ids[:, j])
    return torch.nn.functional.one_hot(ids, LETTERS).double(), planted


def area(scores, planted):
    """Chance that a planted pair scores above another one: 1 perfect, .5 by chance (AUC)."""
    upper = torch.ones_like(planted).triu(1)
    yes, no = scores[upper & planted], scores[upper & ~planted]
    above = (yes[:, None] > no).double() + 0.5 * (yes[:, None] == no).double()
    return float(above.mean())


def wrong_scores(msa):
    """{code: (a score of a well-known mistake, why)}."""
    together, mean, ids = outer_mean(msa), msa.mean(0), msa.argmax(-1).double()
    L = len(mean)
    near = torch.arange(L)
    entropy = -torch.special.xlogy(mean, mean).sum(-1)
    cov = together - torch.einsum("ia,jb->ijab", mean, mean)
    return {
        "conserved": ([together.square().sum((2, 3)), together.square().sum((2, 3)).sqrt(),
                       together.amax((2, 3)), mean.amax(-1)[:, None] * mean.amax(-1),
                       (entropy[:, None] + entropy).neg()], "places that never change come first. "
                      "Subtract what the two would give if each went its own way: the product of "
                      "their means"),
        "variable": (entropy[:, None] + entropy, "places that change much come first, whether or "
                     "not they change together"),
        "cancels": ([cov.sum((2, 3)), together.sum((2, 3)), cov.mean((2, 3))], "the differences of "
                    "a pair sum to 0, positive and negative: take squares or sizes before summing"),
        "identity": ([torch.diagonal(together, dim1=2, dim2=3).sum(-1),
                      torch.diagonal(cov, dim1=2, dim2=3).sum(-1), (mean @ mean.T)],
                     "this looks for the same letter at both places: a pair may have any letters, "
                     "as long as one follows from the other"),
        "letters-as-numbers": ([torch.corrcoef(ids.T), torch.corrcoef(ids.T).abs(), torch.cov(
            ids.T), torch.cov(ids.T).abs()], "the letters are used as numbers: their names have "
            "no order"),
        "distance": ([-(near[:, None] - near).abs().double(), (near[:, None] - near).abs()
                      .double()], "this is how far apart two places stand"),
        "reversed": (-cov.square().sum((2, 3)), "the sign is wrong: a pair that changes together "
                     "scores high")}


def alike(a, b):
    """Do two scores order the pairs in the same way, or are both the same for all pairs?"""
    upper = torch.ones(a.shape, dtype=torch.bool).triu(1)
    a, b = a[upper].double(), b[upper].double()
    flat = [float(t.std()) < 1e-9 for t in (a, b)]
    return all(flat) if any(flat) else torch.equal(a.round(decimals=9).argsort(stable=True),
                                                   b.round(decimals=9).argsort(stable=True))


def find_pairs(probe, contacts, msa, planted, where):
    """Do the planted pairs score above the others?"""
    L = msa.shape[1]
    out = probe.call(contacts, msa)
    probe.type(out, torch.Tensor, "contact_scores gives one tensor")
    probe.shape(out, (L, L), "scores-shape", f"contact_scores, {where}: a number for each pair")
    probe.finite(out, "not-finite", f"contact_scores, {where}")
    out = out.detach()
    probe.true(torch.allclose(out, out.T, atol=1e-9), "not-symmetric", f"contact_scores, {where}: "
               "the pair i, j is the pair j, i")
    auc = area(out, planted)
    if auc <= 0.9:
        for code, (values, why) in wrong_scores(msa).items():
            for value in values if isinstance(values, list) else [values]:
                if alike(out, value):
                    probe.fail(code, f"contact_scores, {where}: {why}. AUC {auc:.2f}, chance .5")
    top = (out - 1e9 * torch.ones(L, L).tril()).argmax()
    i, j = int(top) // L, int(top) % L
    probe.true(auc > 0.9, "contacts", f"contact_scores, {where}: a planted pair scores above "
               f"another in {auc:.0%} of cases, more than 90 % is possible, chance is 50 %")
    probe.true(bool(planted[i, j]), "first", f"contact_scores, {where}: the highest score goes to "
               f"{i} and {j}, which do not change together")
    return out


@exercise("11.3", hints=(
    "Two sequences, three places, two letters: ABA and BAA. At the pair 0, 1 the result is "
    "[[0, .5], [.5, 0]]: never A with A, half the time A with B. What do you get?",
    "einsum says it in one line: which letters name the axes of msa at place i, which at place j, "
    "and which axis disappears? For the scores: if i and j went their own ways, what would the "
    "mean of the products be? How far is it from that, over all pairs of letters?",
    "mean: for each i, j, a, b: sum over s of msa[s, i, a] times msa[s, j, b], over S\n"
    "scores: alone = mean over s of msa (L, c); expected[i, j, a, b] = alone[i, a] alone[j, b]\n"
    "    difference = mean of products minus expected; the sum of its squares over a and b"))
def pairs(outer_product_mean, contact_scores, probe):
    def call(msa):
        out = probe.call(outer_product_mean, msa)
        mean_shape(probe, out, msa, f"msa {tuple(msa.shape)}")
        return out
    rich = [(probe.normal(S, L, c),) for S, L, c in ((5, 4, 3), (7, 3, 2), (3, 6, 4), (9, 2, 5))]
    judge = Judge(probe, call, outer_mean, wrong_means, rich)
    two = torch.tensor([[[1, 0], [0, 1], [1, 0]], [[0, 1], [1, 0], [1, 0]]]).double()
    for msa, where in ((two, "the sequences ABA and BAA"), *(
            (msa, f"msa {tuple(msa.shape)}") for msa, in rich),
            (probe.normal(1, 3, 2), "one sequence alone, msa (1, 3, 2)")):
        judge.compare(msa, where=where)
    msa = rich[0][0]
    given = msa.clone().requires_grad_()
    probe.gradients(call(given), outer_mean(given), {"msa": given})
    probe.true(call(msa).dtype == torch.float64, "dtype", "msa is float64, and the result is not")
    for k in range(3):
        msa, planted = family(probe)
        where = f"family {k} of 300 sequences, 14 places, 3 planted pairs"
        out = find_pairs(probe, contact_scores, msa, planted, where)
        probe.equal(probe.call(contact_scores, msa.flip(0)).detach(), out, "scores-order",
                    f"contact_scores, {where}: the sequences in another order must change nothing")
        order = torch.randperm(LETTERS, generator=probe.generator)
        probe.equal(probe.call(contact_scores, msa[:, :, order]).detach(), out,
                    "letters-as-numbers", f"contact_scores, {where}: other names for the letters "
                    "must change nothing")
        order = torch.randperm(14, generator=probe.generator)
        probe.equal(probe.call(contact_scores, msa[:, order]).detach(), out[order][:, order],
                    "places", f"contact_scores, {where}: the places in another order give the "
                    "scores in that order: what else is used?")


def triangles(z, Wa, Wb):
    """out[i, j] = sum over k of (z[i, k] Wa) * (z[j, k] Wb), by the channel: (L, L, d)."""
    return torch.einsum("ikd,jkd->ijd", z @ Wa, z @ Wb)


def wrong_triangles(z, Wa, Wb, where):
    """{code: (result of a well-known mistake, what it is)}."""
    a, b = z @ Wa, z @ Wb
    L, right = len(z), triangles(z, Wa, Wb)
    eye = torch.eye(L, dtype=z.dtype)[..., None]

    def product(names, a=a, b=b):
        return torch.einsum(names, a, b)
    ends = product("iid,jid->ijd") + product("ijd,jjd->ijd")
    both = ends - eye * product("iid,iid->id")[:, None]
    table = {
        "incoming": (product("kid,kjd->ijd"), "the edges run from k to i and to j (the incoming "
                     "update): here from i and from j to k"),
        "chain": (product("ikd,kjd->ijd"), "a path from i over k to j, as a product of matrices: "
                  "the second edge runs from j to k"),
        "chain-back": ([product("kid,jkd->ijd"), product("jkd,kid->ijd")], "the first edge runs "
                       "from i to k, not from k to i"),
        "exchanged": (right.transpose(0, 1), "i and j are exchanged: Wa belongs to the edge from "
                      "i, Wb to that from j"),
        "one-weight": ([triangles(z, Wa, Wa), triangles(z, Wb, Wb)], "one of Wa and Wb is used "
                       "for both edges"),
        "no-third": (a * b, "the edge i, j alone: the third corner k is missing"),
        "both-sums": ([a.sum(1)[:, None] * b.sum(1), a.sum(1)[:, None] * b.sum(1)[None] / L],
                      "each edge has a k of its own: the same k must stand in both"),
        "mean": (right / L, "the mean over k: the sum is asked for"),
        "scaled": ([right / L ** 0.5, right / Wa.shape[1] ** 0.5, right / Wa.shape[1]], "the sum "
                   "is scaled"),
        "no-ends": (right - both, "k runs over all L residues, i and j among them"),
        "one-missing": ([triangles(z[:, :-1], Wa, Wb), triangles(z[:, 1:], Wa, Wb)], "one k is "
                        "missing: it runs from 0 to L - 1"),
        "residual": ([right + z, right + a, right + b] if z.shape[2] == Wa.shape[1] else
                     [right + a, right + b], "something is added to the sum"),
        "symmetric": ([right + right.transpose(0, 1), (right + right.transpose(0, 1)) / 2],
                      "made symmetric: i, j and j, i may differ"),
        "no-diagonal": (right * (1 - eye), "the pair of a residue with itself counts too"),
        "adds": ([a.sum(1)[:, None] + b.sum(1), torch.einsum("ikd->id", a)[:, None] + torch.einsum(
            "jkd->jd", b)], "the two edges are added: they are multiplied"),
        "gated": ([triangles(z, Wa, Wb).sigmoid(), product("ikd,jkd->ijd", a.sigmoid(), b),
                   product("ikd,jkd->ijd", a.sigmoid(), b.sigmoid())], "there is a gate: here "
                  "without one"),
        "softmax": ([product("ikd,jkd->ijd", a.softmax(1), b), right.softmax(1)], "there is a "
                    "softmax: the update is a plain sum of products"),
        "maximum": ((a[:, None] * b[None]).amax(2), "the largest product: their sum is asked for"),
        "channels-mixed": (right.sum(-1, keepdim=True).expand_as(right), "all channels are summed: "
                           "each keeps to itself")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("11.4", hints=(
    "Take one channel, Wa = Wb = [[1]] and z with z[0, 2] = 2, z[1, 2] = 3, all else 0. Over k = 2 "
    "the pair 0, 1 gets 6, and the pair 0, 0 gets 4. What do you get, and where?",
    "First both linear maps, on all pairs at once: (L, L, d). Then one sum: which axis do the two "
    "edges share? In einsum it is the letter that stands in both and not in the result, while the "
    "channel stands in all three.",
    "first = z times Wa, second = z times Wb\n"
    "for all i, j, and each channel d:\n"
    "    result[i, j, d] = sum over k of first[i, k, d] times second[j, k, d]"))
def triangle_update(answer, probe):
    def call(z, Wa, Wb):
        out, L, d = probe.call(answer, z, Wa, Wb), len(z), Wa.shape[1]
        where, came = f"z {tuple(z.shape)}, Wa {tuple(Wa.shape)}", tuple(getattr(out, "shape", ()))
        probe.type(out, torch.Tensor)
        for code, shape, why in (("no-sum", (L, L, L, d), "the sum over k is missing"),
                                 ("contracted", (L, L), "the channels are summed away"),
                                 ("outer", (L, L, d, d), "each channel meets each other one: a "
                                  "channel meets itself")):
            probe.true(came != shape, code, f"{where}: {why}. Expected shape {(L, L, d)}, came "
                       f"{came}")
        probe.shape(out, (L, L, d), "shape", f"{where}: d channels for each pair")
        return out
    rich = [(probe.normal(L, L, c), probe.normal(c, d), probe.normal(c, d))
            for L, c, d in ((5, 3, 4), (4, 4, 2), (6, 2, 3), (3, 5, 5))]
    judge = Judge(probe, call, triangles, wrong_triangles, rich)
    z, one = probe.zeros(3, 3, 1), probe.ones(1, 1)
    z[0, 2], z[1, 2] = 2, 3
    judge.compare(z, one, one, where="z[0, 2] = 2, z[1, 2] = 3, all else 0, Wa = Wb = [[1]]")
    for z, Wa, Wb in (*rich, (probe.normal(1, 1, 2), probe.normal(2, 3), probe.normal(2, 3))):
        judge.compare(z, Wa, Wb, where=f"z {tuple(z.shape)}, Wa {tuple(Wa.shape)}")
    z, Wa, Wb = rich[0]
    judge.compare(100 * z, Wa, Wb, where="z (5, 5, 3), a hundred times larger")
    order = torch.tensor([3, 0, 4, 1, 2])
    probe.equal(call(z[order][:, order], Wa, Wb), call(z, Wa, Wb)[order][:, order], "relabelled",
                "the residues in another order give the result in that order")
    given = {name: t.clone().requires_grad_() for name, t in zip(("z", "Wa", "Wb"), rich[0])}
    probe.gradients(call(*given.values()), triangles(*given.values()), given)
