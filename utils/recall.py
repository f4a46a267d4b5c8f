"""A test of memory: read T symbols, then say which one came first."""
import torch
import torch.nn.functional as F


def recall_batch(B, T, n_symbols, rng):
    """Random strings and their first symbols.

    B: strings; T: length of each; n_symbols: size of the alphabet; rng: a torch.Generator.
    Returns ids (B, T), integers from 0 to n_symbols - 1, every one equally likely, and
    first (B,) = ids[:, 0]. A blind guess is right once in n_symbols.
    Raises ValueError for an empty string or fewer than two symbols (nothing to remember).
    """
    if B < 1 or T < 1 or n_symbols < 2:
        raise ValueError(f"recall of B={B} strings of T={T} from {n_symbols} symbols: "
                         "need B and T of 1 or more and at least 2 symbols")
    ids = torch.randint(n_symbols, (B, T), generator=rng)
    return ids, ids[:, 0].clone()


def learn_recall(model, T, seed, steps=300, B=64, n_symbols=8, lr=3e-3):
    """Train a model on recall and return its accuracy on 1000 fresh strings, from 0 to 1.

    model: ids (B, T) -> logits (B, n_symbols), made by the caller (seed it too: torch.manual_seed);
    trained in place for `steps` steps of AdamW on fresh batches, drawn by a generator of `seed`.
    """
    rng = torch.Generator().manual_seed(seed)
    adamw = torch.optim.AdamW(model.parameters(), lr=lr, fused=True)
    for _ in range(steps):
        ids, first = recall_batch(B, T, n_symbols, rng)
        adamw.zero_grad()
        F.cross_entropy(model(ids), first).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
    ids, first = recall_batch(1000, T, n_symbols, rng)
    with torch.no_grad():
        return (model(ids).argmax(-1) == first).double().mean().item()
