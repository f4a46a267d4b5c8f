"""For the check of attention in blocks: its mistakes, and how much memory an answer takes."""
import math

import torch
from torch._C._functorch import is_functorch_wrapped_tensor as wrapped
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

MISTAKES = {                                            # code: (mistakes of in_blocks, what it is)
    "last-block": (["drop"], "the last, shorter block is left out"),
    "rescale": (["total", "summed", "both"], "a new largest score came, and what was collected "
                "before it was not made smaller to match"),
    "average": (["average"], "this is the mean of the blocks' own softmaxes: a block with small "
                "scores deserves less"),
    "first-block": (["first"], "only the first block is used")}


def in_blocks(Q, K, V, block, mistake=""):
    """Attention by blocks of keys, with one mistake: (T_q, d_v)."""
    top = Q.new_full((len(Q), 1), -math.inf)
    total, summed, means = Q.new_zeros(len(Q), 1), Q.new_zeros(len(Q), V.shape[1]), []
    for start in range(0, len(K), block):
        k, v = K[start:start + block], V[start:start + block]
        if len(k) < min(block, len(K)) and mistake == "drop" or start and mistake == "first":
            break
        S = Q @ k.T / math.sqrt(Q.shape[1])             # (T_q, block)
        means.append(S.softmax(-1) @ v)
        new = torch.maximum(top, S.amax(-1, keepdim=True))
        W, old = (S - new).exp(), (top - new).exp()
        total = total * (1 if mistake in ("total", "both") else old) + W.sum(-1, keepdim=True)
        summed = summed * (1 if mistake in ("summed", "both") else old) + W @ v
        top = new
    return torch.stack(means).mean(0) if mistake == "average" else summed / total


class Memory(TorchFunctionMode):
    """Counts the numbers that tensors made inside it hold at one time.

    peak: most numbers alive at once; calls: of functions in torch; names: theirs;
    left: name of a call that took a whole tensor out of torch, where nothing can be counted, or "";
    rows: shape of a tensor with one number for each of the `widest` keys of a few queries, or ().
    Source: torch.overrides.TorchFunctionMode sees each call (a TorchDispatchMode imports for 6 s).
    """

    def __init__(self, widest):
        super().__init__()
        self.alive, self.peak, self.names, self.left, self.rows = {}, 0, set(), "", ()
        self.widest, self.calls, self.total = widest, 0, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out, name = func(*args, **(kwargs or {})), getattr(func, "__name__", "")
        self.names.add(name)
        self.calls += 1
        if name in ("numpy", "tolist", "__array__") and args[0].numel() > self.widest:
            self.left = name
        for made in out if isinstance(out, tuple | list) else [out]:
            if type(made) is torch.Tensor and not wrapped(made):
                storage = made.untyped_storage()
                size = storage.nbytes() // made.element_size()
                if storage._cdata not in self.alive:
                    self.total += size
                self.alive[storage._cdata] = StorageWeakRef(storage), size
                if self.widest in made.shape and size <= 2 * self.widest:
                    self.rows = tuple(made.shape)
        if self.total > self.peak:                      # with those that have ended: count anew
            self.alive = {key: (storage, size) for key, (storage, size) in self.alive.items()
                          if not storage.expired()}
            self.total = sum(size for _, size in self.alive.values())
            self.peak = max(self.peak, self.total)
        return out
