"""The check of lecture 06 for generation with a cache of keys and values."""
import math

import torch
import torch.nn.functional as F

from .engine import exercise

ROOM = 64                                                   # positions that a model has


class Layer:
    """One block in two halves: what goes into attention, and what follows it."""

    def __init__(self, probe, C, d, log):
        self.weights = [probe.normal(C, n, scale=2 * C ** -0.5) for n in (d, d, d + 1)]
        self.out, self.wide = probe.normal(d + 1, C, scale=0.6), probe.normal(C, C, scale=0.5)
        self.log = log                                      # B * T of each call of project

    def __deepcopy__(self, memo):
        return self

    def project(self, x):
        """Queries, keys, values: (B, T, C) -> (B, T, d), (B, T, d), (B, T, d_v)."""
        self.log.append(x.shape[0] * x.shape[1])
        return tuple(F.layer_norm(x, x.shape[-1:]) @ w for w in self.weights)

    def finish(self, x, z):
        """The rest of the block: x (B, T, C), z (B, T, d_v) from attention -> (B, T, C)."""
        x = x + z @ self.out
        return x + F.gelu(F.layer_norm(x, x.shape[-1:]) @ self.wide)


class Model:
    """A decoder whose attention is left to its caller; counts the positions it projects."""

    def __init__(self, probe, V=11, C=8, d=5, layers=2):
        self.ids, self.places = probe.normal(V, C), probe.normal(ROOM, C)
        self.head, self.logs = probe.normal(C, V), [[] for _ in range(layers)]
        self.layers = [Layer(probe, C, d, log) for log in self.logs]

    def __deepcopy__(self, memo):
        return self

    def embed(self, ids, start):
        """Vectors of ids that stand at positions start, start + 1, ...: (B, T) -> (B, T, C)."""
        if start + ids.shape[1] > ROOM:
            raise IndexError(f"position {start + ids.shape[1] - 1}: the model has 0 to {ROOM - 1}")
        return self.ids[ids] + self.places[start:start + ids.shape[1]]

    def score(self, x):
        """Logits of the next id at each position: (B, T, C) -> (B, T, V)."""
        return F.layer_norm(x, x.shape[-1:]) @ self.head


def attend(q, k, v, blocked=None):
    S = q @ k.mT / math.sqrt(q.shape[-1])
    return (S if blocked is None else S.masked_fill(blocked, -math.inf)).softmax(-1) @ v


def recompute(model, ids, n):
    """Greedy generation that starts afresh for each id: what a cache must equal."""
    kept = []
    for _ in range(n):
        T, x = ids.shape[1], model.embed(ids, 0)
        hide = torch.ones(T, T, dtype=torch.bool).triu(1)
        for layer in model.layers:
            x = layer.finish(x, attend(*layer.project(x), hide))
        kept.append(model.score(x)[:, -1])
        ids = torch.cat([ids, kept[-1].argmax(-1, keepdim=True)], 1)
    return ids, torch.stack(kept, 1)


def cached(model, ids, n, mistake=""):
    """Greedy generation with a cache and one known mistake."""
    caches, kept, new, T = [None] * len(model.layers), [], ids, ids.shape[1]
    for step in range(n):
        at = ids.shape[1] - new.shape[1]
        at = {"position": 0, "from-prompt": step, "one-early": at - 1, "one-late": at + 1}.get(
            mistake, at) if step else 0
        x = model.embed(new, at)
        for i, layer in enumerate(model.layers):
            q, k, v = layer.project(x)
            store = 0 if mistake == "shared" else i
            old = caches[store] if step or mistake == "shared" else None
            if old is not None and mistake != "forgets":
                drop = T if mistake == "no-prompt" and step == 1 else 0
                own = (k[:, :0], v[:, :0]) if mistake == "stale" else (k, v)
                k, v = (torch.cat([o[:, drop:], new_], 1) for o, new_ in zip(old, own))
            caches[store] = k, v
            t, s = q.shape[1], k.shape[1]
            hide = torch.ones(t, s, dtype=torch.bool).triu(1 + s - t)
            if mistake == "top-left":
                hide = torch.ones(t, s, dtype=torch.bool).triu(1)
            if mistake == "no-mask":
                hide = None
            x = layer.finish(x, attend(q, k, v, hide))
        kept.append(model.score(x)[:, 0 if mistake == "first-row" else -1])
        new = kept[-1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, new], 1)
    return ids, torch.stack(kept, 1)


MISTAKES = {                                                # mistake of cached -> what it is
    "no-mask": "the ids of the prompt see each other's future: a causal mask is needed while T "
               "positions are read at once",
    "first-row": "the logits of the first position of the prompt are used: the last one predicts",
    "position": "a new id is embedded at position 0: its place goes on from the prompt",
    "from-prompt": "positions are counted from the end of the prompt: count from its start",
    "one-early": "a new id is embedded one place too early, where the last one stands",
    "one-late": "a new id is embedded one place too late",
    "forgets": "a new id sees no key but its own: put the keys of before in front",
    "no-prompt": "the keys and values of the prompt are not in the cache",
    "stale": "keys and values of the new ids never enter the cache",
    "top-left": "the mask of one query over all keys hides all but the first (is_causal=True "
                "counts from the upper left corner): one new id may see the whole cache",
    "shared": "all layers share one cache: each needs its own"}


@exercise("06.9", hints=(
    "n = 1 needs no cache: does it hold? Then n = 2: the second id is read alone, as (B, 1), and "
    "must see T + 1 keys in each layer. How many does yours see, and at which position is it?",
    "Three things change between the first pass and the others: how many ids go in (T, then 1), "
    "where they stand (0, then T, T + 1, ...), and which mask they need. One thing grows: a pair "
    "of keys and values for each layer.",
    "caches: for each layer nothing yet; new = the prompt, at position 0\n"
    "n times: embed new where it stands\n    for each layer: project new; append its keys and "
    "values to that layer's cache\n        attend from new to the whole cache; the prompt's own "
    "future is hidden\n        finish the layer\n    logits of the last position; best id; keep "
    "both; new = that id alone"))
def generate_cached(answer, probe):
    model = Model(probe)
    for B, T, n in ((1, 3, 1), (2, 4, 1), (1, 3, 3), (2, 4, 2), (3, 5, 7), (1, 1, 4), (2, 3, 12)):
        prompt, where = probe.ints(0, 11, B, T), f"prompt ({B}, {T}), n = {n}"
        right = recompute(model, prompt, n)
        for log in model.logs:
            log.clear()
        out = probe.call(answer, model, prompt, n)
        probe.type(out, (tuple, list), "return ids, logits")
        probe.true(len(out) == 2, "type", f"return two tensors, ids and logits; came {len(out)}")
        used = [sum(log) // B for log in model.logs]
        ids, logits = out
        probe.type(ids, torch.Tensor, "ids first")
        probe.type(logits, torch.Tensor, "logits second")
        probe.true(tuple(ids.shape) != (B, n) or not torch.equal(ids, right[0][:, T:]), "no-prompt"
                   "-back", f"{where}: the prompt is missing: return it with the n new ids behind")
        probe.shape(ids, (B, T + n), "shape", f"{where}: ids are the prompt and n more")
        probe.true(not ids.is_floating_point(), "type", f"ids are whole numbers, came {ids.dtype}")
        probe.shape(logits, (B, n, 11), "shape", f"{where}: logits has a row for each new id")
        probe.true(torch.equal(ids[:, :T], prompt), "prompt", f"{where}: the prompt came back "
                   "changed")
        known = {}
        for mistake, why in MISTAKES.items():
            known[mistake] = cached(model, prompt, n, mistake)[1], f"{where}, logits: {why}"
        step = next((s for s in range(n) if not torch.allclose(logits[:, s].double(),
                                                               right[1][:, s])), n)
        probe.equal(logits, right[1], "logits" if step else "first-logits", f"{where}: from new id "
                    f"{step} on the logits are not those of reading everything again", 1e-5, known)
        probe.true(torch.equal(ids, right[0]), "ids", f"{where}: the logits are right, the ids are "
                   "not the best of them")
        for i, count in enumerate(used):
            probe.true(count >= T + n - 1, "skips", f"{where}: layer {i} projected {count} "
                       f"positions, {T + n - 1} are needed: `project` of each layer makes q, k, v")
            probe.true(count <= T + n, "recomputes", f"{where}: layer {i} projected {count} "
                       f"positions. With a cache each is projected once, {T + n - 1} in all; to "
                       "read everything anew takes " + str(sum(range(T, T + n))))
    again = probe.call(answer, model, prompt, n)
    probe.equal(again[1], right[1], "left-over", f"{where}: a second call gave something else: the "
                "cache belongs to one call")
