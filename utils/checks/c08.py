"""The checks of lecture 08, first part: the loss on an answer, the loss of a reward model."""
import math

import torch
import torch.nn.functional as F

from . import c08_alignment, c08_equal_kl, c08_retrieval  # noqa: F401  the others
from .c08_known import Judge, real
from .engine import exercise


def answer_tokens(ids, prompt_len, early=0):
    """(B, T - 1) bool: whose target is a token of the answer, or `early` tokens before it."""
    place = torch.arange(1, ids.shape[1])                   # of the target, in ids
    return place >= (prompt_len - early)[:, None]


def wrong_sft_losses(logits, ids, prompt_len, where):
    """{code: (loss of a well-known mistake, what it is)}."""
    B, T, V = logits.shape
    guess, target = logits[:, :-1], ids[:, 1:]
    each = F.cross_entropy(guess.transpose(1, 2), target, reduction="none")     # (B, T - 1)
    counts = answer_tokens(ids, prompt_len)
    right = each[counts].mean()

    def over(mask):
        return each[mask].mean()

    def zeroed(mask):                                       # targets outside become id 0
        return F.cross_entropy(guess.transpose(1, 2), target * mask)
    at = torch.arange(T) >= prompt_len[:, None]             # (B, T)
    blind = torch.where(counts[..., None], guess, torch.zeros_like(guess))
    per_text = torch.stack([row[m].mean() for row, m in zip(each, counts)])
    table = {
        "no-shift": (F.cross_entropy(logits[at], ids[at]), "the logits at position t are compared "
                     "with the id at t: they predict the one at t + 1"),
        "prompt-counts": (each.mean(), "the tokens of the prompt count too: nobody asked the model "
                          "to write them"),
        "prompt-only": (over(~counts), "it is the prompt that counts here, and the answer that is "
                        "left out"),
        "first-missing": (over(answer_tokens(ids, prompt_len + 1)), "the first token of the answer "
                          "is left out"),
        "prompt-token": (over(answer_tokens(ids, prompt_len, 1)), "the last token of the prompt "
                         "counts as a target"),
        "one-length": ([over(answer_tokens(ids, n.expand(B))) for n in (
            prompt_len[0], prompt_len.min(), prompt_len.max(), prompt_len[-1])], "all texts are "
            "cut at one place: each has its own prompt_len"),
        "divides-all": ([(each * counts).sum() / n for n in (B * T, each.numel(),
                                                             (T - prompt_len + 1).sum())],
                        "the sum is right, but it is divided by more positions than count"),
        "mean-of-means": ([per_text.mean(), per_text.nan_to_num().mean(), per_text.nanmean()],
                          "each text got its own mean first, so that the tokens of a short answer "
                          "weigh more: take one mean over all tokens"),
        "sum": (each[counts].sum(), "this is the sum: take the mean over the answers' tokens"),
        "sum-of-texts": ((each * counts).sum() / B, "summed over each text: take the mean over "
                         "tokens"),
        "bits": (right / math.log(2), "these are bits: use nats, the natural logarithm"),
        "perplexity": (right.exp(), "this is the perplexity, e to the loss"),
        "sign": (-right, "the sign is wrong: a loss is minus a log-probability"),
        "softmax-twice": (F.cross_entropy(guess[counts].softmax(-1), target[counts]), "a softmax "
                          "before cross_entropy, which takes logits and has its own"),
        "no-softmax": (F.nll_loss(guess[counts], target[counts]), "the logits are taken as "
                       "log-probabilities: a log-softmax must come first"),
        "probability": ([s * (-each[counts]).exp().mean() for s in (1, -1)], "the mean of "
                        "probabilities: take logarithms first"),
        "blind": (F.cross_entropy(blind.transpose(1, 2), target), "the logits of the prompt are "
                  "set to 0, and then the blind guesses count: leave their positions out"),
        "zero-ids": ([zeroed(counts), zeroed(at[:, :-1])], "the ids of the prompt are set to 0, "
                     "and 0 is an id like any other: leave their positions out"),
        "id-0": (over(counts & (target != 0)) if (counts & (target != 0)).any() else right,
                 "tokens of the answer whose id is 0 are left out: 0 is an id like any other")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def heard(loss, logits, ids, prompt_len, b):
    """At which positions of text b do the logits matter for the loss?"""
    plain, places = loss(logits, ids, prompt_len).detach(), []
    for t in range(logits.shape[1]):
        other = logits.clone()
        other[b, t, 0] += 1
        if not torch.isclose(loss(other, ids, prompt_len).detach(), plain, rtol=0, atol=1e-12):
            places.append(t)
    return places


def look_at_positions(probe, loss, judge):
    """The loss must hear exactly the logits that predict a token of the answer."""
    ids = torch.tensor([[3, 1, 4, 2, 0, 3, 1, 2], [2, 4, 1, 3, 2, 1, 4, 3]])
    logits, lengths, T = probe.normal(2, 8, 5), torch.tensor([3, 6]), 8
    for b in (0, 1):
        n, other = int(lengths[b]), int(lengths[1 - b])
        got, want = heard(loss, logits, ids, lengths, b), list(range(n - 1, T - 1))
        where = (f"ids of shape (2, 8), prompt_len = [3, 6]. Text {b} has a prompt of {n} tokens, "
                 f"so its answer is ids[{b}, {n}:]")
        if got == want:
            probe.true(True, "positions", where)
            continue
        if T - 1 in got:
            code, why = "wraps", (f"The loss depends on the logits at position {T - 1}, the last, "
                                  "after which there is no token to predict")
        elif got == want[1:]:
            code, why = "first-missing", (
                f"The loss does not hear the logits at position {n - 1}: they predict ids[{b}, {n}]"
                ", the first token of the answer")
        elif got == [n - 2, *want]:
            code, why = "prompt-token", (
                f"The loss hears the logits at position {n - 2}: they predict ids[{b}, {n - 1}], "
                "the last token of the prompt")
        elif got == list(range(T - 1)):
            code, why = "prompt-counts", (
                "The loss hears the logits at all positions: those that predict tokens of the "
                "prompt must have no effect")
        elif got and got == list(range(other - 1, T - 1)):
            code, why = "one-length", f"It is cut where the other text's prompt ends: at {other}"
        elif got and max(got) < n - 1:
            code, why = "prompt-only", f"The loss hears positions {got}, which predict the prompt"
        else:
            code, why = "positions", (f"The loss hears the logits at positions {got}; those at "
                                      f"{want} predict a token of the answer")
        named = judge.mistake()
        if named in ("blind", "zero-ids", "id-0"):
            code, why = named, why + judge.wrong(logits, ids, lengths, "")[named][1]
        probe.fail(code, f"{where}. {why}")


@exercise("08.1", hints=(
    "One text, ids = [5, 7, 2], prompt_len = 2: the answer is the 2. Which position's logits "
    "predict it? Raise a logit at each position by one: the loss may move for that one alone.",
    "Logits at t predict the id at t + 1, as in 06.6. So where does the first token of the answer "
    "stand among the shifted targets: at prompt_len, or one to the left? And by how many tokens do "
    "you divide?",
    "guesses = logits of all positions but the last; targets = ids of all but the first\n"
    "place = where each target stands in ids: 1, 2, ..., T - 1\n"
    "keep the pairs whose place is prompt_len of their text, or later, over the whole batch\n"
    "result: mean of minus the log-softmax of each guess at its target"))
def sft_loss(answer, probe):
    def loss(logits, ids, prompt_len):
        out = probe.call(answer, logits, ids, prompt_len)
        probe.shape(out, (), "shape", "one number for the whole batch, a tensor of shape ()")
        return out

    def right(logits, ids, lengths):
        counts = answer_tokens(ids, lengths)
        return F.cross_entropy(logits[:, :-1][counts], ids[:, 1:][counts])

    rich = []
    for B, T, V, lengths in ((3, 9, 6, (5, 2, 7)), (2, 7, 4, (2, 4)), (4, 6, 5, (1, 4, 3, 4))):
        ids = probe.ints(0, V, B, T)
        ids[:, -1] = 0                                      # ends in the id 0, which counts
        rich.append((probe.normal(B, T, V), ids, torch.tensor(lengths)))
    judge = Judge(probe, loss, right, wrong_sft_losses, rich)
    judge.compare(probe.zeros(1, 3, 3), torch.tensor([[1, 2, 1]]), torch.tensor([1]),
                  code="uniform", where="ids = [[1, 2, 1]], prompt_len = [1], logits of 0 for V = "
                  "3, so a blind guess costs ln 3")
    ids, lengths = torch.tensor([[3, 1, 4, 2, 1, 3]]), torch.tensor([3])
    where, known = "ids = [[3, 1, 4, 2, 1, 3]], prompt_len = [3]", {
        "now": ("no-shift", "copies its input"), "before": ("backwards", "repeats the id before")}
    for name, shift in (("now", 0), ("before", 1)):
        sure = 50 * F.one_hot(ids.roll(shift, 1), 5).double()
        code, what = known[name]
        found = float(loss(sure, ids, lengths).detach())
        probe.true(abs(found) > 1, code, f"{where}: a model that {what} scored {found:.3g}: its "
                   "logits at position t must be compared with the id at t + 1")
    look_at_positions(probe, loss, judge)
    for given in [*rich, (probe.normal(1, 4, 5), probe.ints(0, 5, 1, 4), torch.tensor([1])),
                  (probe.normal(2, 9, 3), probe.ints(0, 3, 2, 9), torch.tensor([8, 3]))]:
        judge.compare(*given, where=f"ids of shape {tuple(given[1].shape)}, V = "
                      f"{given[0].shape[2]}, prompt_len = {given[2].tolist()}")
    lengths = torch.tensor([2, 5, 3])
    ids, logits = probe.ints(0, 7, 3, 5), probe.normal(3, 5, 7)
    judge.compare(logits, ids, lengths, code="no-answer", where="ids of shape (3, 5), prompt_len = "
                  "[2, 5, 3]: the second text has no answer, so it counts for nothing")
    logits.requires_grad_()
    out = loss(logits, ids, lengths)
    if out.requires_grad:
        grad = torch.autograd.grad(out, logits, retain_graph=True, allow_unused=True)[0]
        prompt = torch.ones(3, 5, dtype=torch.bool)
        prompt[:, :-1] = ~answer_tokens(ids, lengths)
        probe.true(grad is None or bool((grad[prompt] == 0).all()), "prompt-gradient", "a position "
                   "that predicts no token of an answer gets a gradient: it must be exactly 0")
    probe.gradients(out[None], right(logits, ids, lengths)[None], {"logits": logits})
    big = 1e4 * probe.normal(3, 5, 7)
    probe.equal(loss(big, ids, lengths).detach(), right(big, ids, lengths), "overflow", "logits "
                "around 10000: use a log-softmax that subtracts the largest, not the log of a "
                "softmax")


def wrong_bt_losses(win, lose, where):
    """{code: (loss of a well-known mistake, what it is)}."""
    d = win - lose
    right = F.softplus(-d).mean()
    table = {
        "swapped": (F.softplus(d).mean(), "this rewards the loser: r_win minus r_lose, not the "
                    "other way round"),
        "sign": (-right, "the sign is wrong: a loss is minus a log-probability, never negative"),
        "sum": (F.softplus(-d).sum(), "this is the sum over the pairs: take the mean"),
        "bits": (right / math.log(2), "these are bits: use nats, the natural logarithm"),
        "no-log": ([s * torch.sigmoid(t).mean() for s in (1, -1) for t in (d, -d)], "the mean of "
                   "probabilities: the loss is minus the mean of their logarithms"),
        "log-of-mean": (-torch.sigmoid(d).mean().log(), "the logarithm of the mean probability: "
                        "take the logarithm of each pair first, then the mean"),
        "mean-inside": (F.softplus(-d.mean()), "the rewards are averaged first: each pair has its "
                        "own loss, and the mean comes last"),
        "all-pairs": (F.softplus(lose[None, :] - win[:, None]).mean(), "every winner is compared "
                      "with every loser: row i of one belongs to row i of the other"),
        "alone": ([(F.softplus(-win) + F.softplus(lose)).mean() * k for k in (1, 0.5)], "winner "
                  "and loser are judged on their own: only their difference counts"),
        "winner-only": (F.softplus(-win).mean(), "the loser has no effect"),
        "mse": ([t.square().mean() for t in (d - 1, d, torch.sigmoid(d) - 1)],
                "a squared error: comparisons give no number to come close to, only who won"),
        "hinge": ([F.relu(m - d).mean() for m in (0, 1)], "a hinge, flat beyond its margin: "
                  "minus the log of a sigmoid never is"),
        "difference": ([-d.mean(), d.mean()], "the bare difference of the rewards, which grows "
                       "without end: it needs a sigmoid and a logarithm"),
        "ratio": (-(win / (win + lose)).abs().log().mean(), "a ratio of rewards, which may be "
                  "negative: exponentials first, then it is a sigmoid of the difference"),
        "twice": ([F.softplus(-2 * d).mean(), F.softplus(-d / 2).mean()], "the difference is "
                  "doubled or halved inside the sigmoid"),
        "accuracy": ([(d > 0).double().mean(), (d < 0).double().mean()], "a share of pairs in the "
                     "right order: it has no gradient to learn from")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("08.2", hints=(
    "Two equal rewards: the loss is ln 2, as for a coin. Add 5 to all rewards: the loss may not "
    "move, since only differences can be compared. What about rewards of 1000?",
    "Which way does the loss go when r_win rises? Take the logarithm of each pair, then the mean; "
    "and look for the function of torch that does sigmoid and logarithm in one.",
    "for each pair: margin = how far the winner is ahead\n"
    "    probability that the winner wins = sigmoid of the margin\n"
    "    loss of the pair = minus its logarithm, in one stable step\nresult: mean over the pairs"))
def bt_loss(answer, probe):
    def loss(win, lose):
        out = probe.call(answer, win, lose)
        probe.shape(out, (), "shape", "one number for all pairs, a tensor of shape ()")
        return out

    def right(win, lose):
        return F.softplus(lose - win).mean()

    rich = [(probe.normal(n, scale=1.5), probe.normal(n, scale=1.5)) for n in (5, 3, 8)]
    judge = Judge(probe, loss, right, wrong_bt_losses, rich)
    judge.compare(real([0.7]), real([0.7]), code="tie", where="r_win = [0.7], r_lose = [0.7]. A "
                  "coin decides, so the loss is ln 2")
    judge.compare(real([2.0]), real([0.5]), code="one-pair", where="r_win = [2.0], r_lose = [0.5], "
                  "so it is minus the logarithm of sigmoid(1.5)")
    for win, lose in [*rich, (probe.normal(1), probe.normal(1))]:
        judge.compare(win, lose, where=f"{len(win)} pair(s)")
    win, lose = rich[0]
    moved = loss(win + 5, lose + 5).detach()
    probe.equal(moved, loss(win, lose).detach(), "shift", "5 added to all rewards changed the "
                "loss: only the differences between two rewards count")
    win.requires_grad_()
    lose.requires_grad_()
    probe.gradients(loss(win, lose)[None], right(win, lose)[None], {"r_win": win, "r_lose": lose})
    for high, low in ((1000.0, 0.0), (0.0, 1000.0), (800.0, -800.0), (-40.0, -1000.0)):
        win, lose = real([high, 1.0]).requires_grad_(), real([low, 0.0]).requires_grad_()
        where = f"r_win = [{high:g}, 1], r_lose = [{low:g}, 0]"
        out, want = loss(win, lose), right(win, lose)
        probe.finite(out.detach(), "overflow", f"{where}: the exponential or the logarithm ran out "
                     "of range: use a form that holds far from 0 too")
        probe.equal(out.detach(), want.detach(), "overflow", f"{where}: a large margin lost its "
                    "value, as when something is clamped or a small number added")
        probe.gradients(out[None], want[None], {"r_win": win, "r_lose": lose})
