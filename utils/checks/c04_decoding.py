"""The checks of lecture 04, third part: writing one letter after the other, and aligning."""
import torch

from .engine import exercise


class Speller:
    """Writes its source letter by letter, if fed its own last letter; after an end it babbles."""

    begin, end, size = 7, 0, 8

    def __init__(self, log):
        self.log = log                                      # calls of step: its length counts them

    def __deepcopy__(self, memo):
        return Speller(self.log)

    def encode(self, src):
        return src, torch.zeros(len(src), dtype=torch.long)

    def step(self, previous, state):
        src, at = state
        self.log.append(tuple(previous.shape))
        rows = torch.arange(len(src))
        wanted = src[rows, at.clamp(max=src.shape[1] - 1)]
        before = src[rows, (at - 1).clamp(0, src.shape[1] - 1)]
        fed = torch.where(at == 0, self.begin, before)
        wanted = torch.where(at >= src.shape[1], 5, wanted)             # past its source: babble
        wanted = torch.where(previous == fed, wanted, (wanted + 3) % 6 + 1)     # fed wrongly: slips
        logits = torch.linspace(0, 1, self.size).expand(len(src), -1).clone()
        logits[rows, wanted] += 1.5                         # the best of all, by far from certain
        return logits, (src, at + 1)


@exercise("04.6", hints=(
    "Decode two rows together, then each alone: each row must come out the same, followed by the "
    "end sign where the other goes on. A row that ends at once must not end the other.",
    "Three things pass from one step to the next: the state, the letters just chosen, and which "
    "rows are done. The loop ends when ALL rows are done, or after max_len letters.",
    "state = encode; previous = the begin sign for each row; done = no row yet\n"
    "at most max_len times:\n    logits, state = one step\n    letters = best of each row\n"
    "    rows that are done write the end sign instead\n    keep the letters, feed them next\n"
    "    done: rows that wrote the end sign; if all are, stop\nstack what was kept: (B, L)"))
def greedy_decode(answer, probe):
    src = torch.tensor([[2, 0, 3, 4, 5, 6, 1], [4, 3, 6, 1, 0, 2, 2], [0, 5, 5, 5, 1, 1, 1]])
    want = torch.tensor([[2, 0, 0, 0, 0], [4, 3, 6, 1, 0], [0, 0, 0, 0, 0]])
    names = "rows that end after 2, 5 and 1 letters"

    def decode(src, max_len):
        log = []
        out = probe.call(answer, Speller(log), src, max_len)
        probe.type(out, torch.Tensor, "the ids, (B, L)")
        probe.true(not out.is_floating_point() and out.dim() == 2, "ids", "expected ids, whole "
                   f"numbers of shape (B, L), came {out.dtype} of shape {tuple(out.shape)}")
        return out, log

    one, _ = decode(src[1:2], 9)
    right = want[1:2]
    probe.true(bool((one[:, :1] != 7).all()), "begin", "the begin sign is part of the result: it "
               "is fed to the model, not written by it")
    probe.true(one.shape[1] < 6 or bool((one[0, 2:] != one[0, 1]).any()), "state", "from the "
               "second on the same letter comes again and again: the state that a step returns "
               "must go into the next")
    slips = torch.tensor([4, 1, 4, 5])                      # what the model writes when fed begin
    probe.true(one.shape[1] < 4 or not torch.equal(one[0, :4], slips), "feed", "after its first "
               "letter the model goes wrong: it must be fed the letter it just wrote")
    probe.true(one.shape[1] != 4 or not torch.equal(one, right[:, :4]), "no-end", "the end sign is "
               "missing: it is the last letter of the row")
    again, _ = decode(src[1:2], 9)
    probe.true(torch.equal(one, again), "random", "twice the same input, two results: greedy takes "
               "the best letter, it draws none")
    probe.true(one.shape[1] < 9, "no-stop", "one row, ended after 5 letters, max_len = 9: "
               f"{one.shape[1]} letters came back, so the loop went on")
    probe.true(torch.equal(one.long(), right), "value", "one row of a model that spells [4, 3, 6, "
               f"1] and ends with 0: expected {right.tolist()}, came {one.tolist()}")
    out, log = decode(src, 9)
    probe.true(out.shape[1] != 1 and not torch.equal(out.long(), want[:, :2]), "neighbours",
               f"{names}: it stopped when the first of them ended, and so cut off its neighbours")
    probe.true(out.shape[1] < 9, "no-stop", f"{names}, max_len = 9: the loop went on after all of "
               "them had ended")
    probe.shape(out, (3, 5), "length", f"{names}: as long as the longest, its end included")
    after = torch.tensor([[2, 0], [4, 3], [0, 0]])
    begun = torch.equal(out[1].long(), want[1]) and torch.equal(out[:2, :2].long(), after[:2])
    probe.true(not begun or torch.equal(out.long(), want), "after-end", f"{names}: after its end a "
               f"row must hold the end sign only. Expected {want.tolist()}, came {out.tolist()}")
    probe.true(torch.equal(out.long(), want), "value", f"{names}: expected {want.tolist()}, came "
               f"{out.tolist()}")
    probe.true(len(log) <= 8, "calls", f"{names}: 5 steps together, or 8 for one row after the "
               f"other, are enough: the model was asked {len(log)} times")
    for order in ([2, 1, 0], [1, 1], [0], [2, 0]):
        length = max(2 if r == 0 else 5 if r == 1 else 1 for r in order)
        out, _ = decode(src[order], 9)
        probe.true(torch.equal(out.long(), want[order][:, :length]), "neighbours", "a row changed "
                   "when its neighbours did: each must be decoded as if it were alone")
    endless = torch.tensor([[1, 2, 3, 4, 5, 6, 1, 2], [6, 5, 4, 3, 2, 1, 6, 5]])
    for limit in (4, 6, 1):
        out, log = decode(endless, limit)
        probe.shape(out, (2, limit), "max-len", f"two rows without an end, max_len = {limit}")
        probe.true(torch.equal(out.long(), endless[:, :limit]), "value", f"max_len = {limit}")
        probe.true(len(log) <= 2 * limit, "calls", f"max_len = {limit}: the model was asked "
                   f"{len(log)} times")


CODE = torch.tensor([5, 2, 7, 0, 3, 1, 6, 4])               # how the check's words are rewritten


def secret(B, rng, T=5):
    """B words of 5 letters, and the same backwards in a secret alphabet: two (B, T)."""
    source = torch.randint(8, (B, T), generator=rng)
    return source, CODE[source.flip(1)]


@exercise("04.7", hints=(
    "Additive score: if v is 0 all weights are equal. Training: the loss of a blind guess is ln 8; "
    "does yours fall below 0.3? If it falls and the letters are wrong, write() feeds them wrongly.",
    "The encoder must read in both directions, else the state that holds a letter is also the one "
    "after it and the alignment is off by one. Start the decoder from the encoder's last state.",
    "encode: states H of all letters, a GRU in both directions\n"
    "train: the decoder reads the letters before each one; each of its states looks over H;\n"
    "    state and context side by side go through a linear layer; cross-entropy; about 200 steps\n"
    "write: the same, but it reads its own letters; keep the weights of each step"))
def align(additive, learn, probe):
    for B, T, d_q, d_h, d in ((2, 5, 3, 4, 6), (1, 3, 4, 2, 5), (3, 1, 2, 3, 2)):
        q, H, v = probe.normal(B, d_q), probe.normal(B, T, d_h), probe.normal(d)
        Wq, Wh, where = probe.normal(d, d_q), probe.normal(d, d_h), f"additive, B = {B}, T = {T}"
        out = probe.call(additive, q, H, Wq, Wh, v)
        probe.type(out, tuple, "additive returns context, weights")
        probe.true(len(out) == 2, "type", f"additive: expected two results, came {len(out)}")
        context, W = out
        probe.shape(W, (B, T), "shape", f"{where}, the weights")
        probe.shape(context, (B, d_h), "shape", f"{where}, the context: an average of rows of H")
        a, b = (q @ Wq.T)[:, None], H @ Wh.T                # (B, 1, d), (B, T, d)
        S = (a + b).tanh() @ v
        probe.equal(W, S.softmax(1), "weights", f"{where}, the weights", known={
            "no-tanh": (((a + b) @ v).softmax(1), f"{where}: tanh is missing: then the query "
                        "changes nothing, the same number is added to all scores"),
            "product": ([((a * b).tanh() @ v).softmax(1), (a * b).sum(-1).softmax(1)],
                        f"{where}: query and state are added here, not multiplied"),
            "axis": (S.softmax(0), f"{where}: the softmax runs over the batch"),
            "no-softmax": (S, f"{where}: these are scores: the softmax is missing"),
            "no-query": ((b.tanh() @ v).softmax(1), f"{where}: the query has no influence, as "
                         "also when tanh is taken of each part and not of the sum")})
        probe.equal(context, (S.softmax(1)[:, None] @ H)[:, 0], "context",
                    f"{where}: the weights are right, the average of H is not")
    T, write = 5, probe.call(learn, secret, 5, 0)
    probe.true(callable(write), "type", "learn returns a function write(source)")
    source, target = secret(200, torch.Generator().manual_seed(77))
    out = probe.call(write, source)
    probe.type(out, tuple, "write returns ids, weights")
    probe.true(len(out) == 2, "type", f"write: expected two results, came {len(out)}")
    ids, W = out
    probe.shape(ids, (200, T), "shape", "write: one letter for each of the source")
    probe.shape(W, (200, T, T), "shape", "write: for each letter written a row of T weights")
    probe.finite(W, "rows", "write: the weights must be numbers")
    probe.true(bool(((W.sum(-1) - 1).abs() < 1e-4).all() and (W >= 0).all()), "rows", "write: the "
               "weights of each written letter are positive and sum to 1")
    right = (ids == target).double().mean().item()
    plain = (ids == source.flip(1)).double().mean().item()
    probe.true(plain < 0.9, "untrained", "write gives the word backwards, but the words of this "
               "check use another alphabet on the way back: it must be learned from batch(B, rng)")
    probe.true(right >= 0.75, "accuracy", f"{right:.0%} of the letters are right on fresh words: "
               "at least 75 % are needed, a blind guess gets 12 %")
    probe.true(not torch.allclose(W[0], W[1], atol=1e-12), "told", "two different words have the "
               "same weights to the last digit: they are to be what the model used, not a table")
    i, j = torch.arange(T), W.argmax(-1)                    # (T,), (200, T)
    gap = (i + j - (T - 1)).abs().double().mean().item()
    straight = (i - j).abs().double().mean().item()
    probe.true(straight >= 0.5, "flipped", "the weights lie on the other diagonal: column j "
               "belongs to letter j of the source as it was given")
    probe.true(gap < 0.5, "alignment", f"mean |i + j - (T - 1)| is {gap:.2f}, j where letter i "
               "looks most: it must be below 0.5")
    some, _ = probe.call(write, source[:3])
    probe.equal(some, ids[:3], "neighbours", "three of the words, written without the other 197, "
                "come out differently")
