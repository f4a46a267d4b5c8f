"""Scaled dot-product attention, and two words whose scores come out as on the deck."""
import math
from types import SimpleNamespace

import torch


def attention(Q, K, V, blocked=None):
    """Weighted averages of V, weighted by how well each query fits each key.

    Q: (..., T_q, d_k); K: (..., T_k, d_k); V: (..., T_k, d_v); blocked: (T_q, T_k) bool, True
    where a query may not look. Returns Z (..., T_q, d_v) and the weights (..., T_q, T_k), whose
    rows sum to 1. A row with everything blocked is nan, as in torch. Source: Vaswani et al. 2017.
    """
    scores = Q @ K.transpose(-2, -1) / math.sqrt(Q.shape[-1])
    if blocked is not None:
        scores = scores.masked_fill(blocked, -math.inf)
    weights = scores.softmax(-1)
    return weights @ V, weights


def causal(T):
    """The mask of a language model, (T, T) bool: True where a later position is blocked."""
    return torch.ones(T, T, dtype=torch.bool).triu(1)


def thinking_machines(d_k=64):
    """Embeddings and weights of the two words "Thinking Machines", as whole numbers.

    Returns words, X (2, 3), Wq (3, d_k), Wk (3, d_k), Wv (3, 4), float64, such that
    q1 . k1 = 112 and q1 . k2 = 96, the scores of Alammar 2018, "The illustrated Transformer".
    """
    generator = torch.Generator().manual_seed(0)
    X = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    Wq, Wk = (torch.randint(-2, 3, (3, d_k), generator=generator).double() for _ in range(2))
    Wv = torch.tensor([[1, 0, 2, 1], [0, 3, -1, 1], [1, 1, 0, -1]], dtype=torch.float64)
    query = X[0] @ Wq                                       # (d_k,)
    for row, target in ((0, 112), (1, 96)):                 # row r of Wk enters key r alone
        for j in torch.arange(d_k).repeat(8).tolist():
            missing = float(target - query @ (X[row] @ Wk))
            step = float(query[j].sign()) * (1 if missing > 0 else -1)
            if query[j] and abs(float(query[j])) <= abs(missing):
                Wk[row, j] += step
        assert query @ (X[row] @ Wk) == target
    return SimpleNamespace(words=["Thinking", "Machines"], X=X, Wq=Wq, Wk=Wk, Wv=Wv)
