"""How a step is taken: AdamW for tables and vectors, Muon for matrices, and the rate over time."""
import math

import torch

QUINTIC = (3.4445, -4.7750, 2.0315)                     # Jordan 2024: steep at 0, near 1 around 1


def orthogonal(X, steps=5):
    """Matrices (..., m, n) with m <= n, their singular values all moved near 1 (0.7 to 1.2).

    By `steps` rounds of aX + b(XX')X + c(XX')(XX')X, which needs no decomposition. Source: the
    Newton-Schulz iteration of Jordan 2024, https://kellerjordan.github.io/posts/muon/.
    """
    a, b, c = QUINTIC
    X = X / X.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = X @ X.mT
        X = a * X + (b * gram + c * gram @ gram) @ X
    return X


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal: every direction of a matrix learns equally fast.

    The rule of torch.optim.Muon, with matrices of one shape taken together and in float32 on a
    processor, where bfloat16 is slow. params: matrices only. lr: of a square matrix; a taller
    one gets sqrt(rows / columns) times as much. rounds: of `orthogonal`.
    """

    def __init__(self, params, lr=0.02, momentum=0.95, weight_decay=0.0, rounds=5):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.rounds = rounds
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ValueError(f"Muon takes matrices, and one has shape {tuple(p.shape)}")

    @torch.no_grad()
    def step(self):
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault((min(p.shape), max(p.shape)), []).append(p)
            for same in shapes.values():
                self._together(same, group["lr"], group["momentum"], group["weight_decay"])

    def _together(self, same, lr, momentum, weight_decay):
        flat = []
        for p in same:
            mean = self.state[p].setdefault("mean", torch.zeros_like(p))
            mean.lerp_(p.grad, 1 - momentum)
            ahead = p.grad.lerp(mean, momentum)             # Nesterov: where the mean is going
            flat.append(ahead if p.shape[0] <= p.shape[1] else ahead.mT)
        stacked = torch.stack(flat)                         # (matrices, m, n)
        low = stacked.bfloat16() if stacked.is_cuda else stacked
        for p, turned in zip(same, orthogonal(low, self.rounds).to(stacked.dtype)):
            p.mul_(1 - lr * weight_decay)
            p.add_(turned if p.shape[0] <= p.shape[1] else turned.mT,
                   alpha=-lr * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)


def optimizers(model, recipe):
    """AdamW for everything, or for what is no matrix of a block when the recipe has a muon_lr.

    Norms and biases are not decayed. Returns a list; each group keeps its full rate in "peak".
    """
    matrices, tables, vectors, hashed = [], [], [], []
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if recipe.muon_lr and p.dim() == 2 and "blocks." in name:
            matrices.append(p)
        else:
            (hashed if "hashed." in name else tables if p.dim() > 1 else vectors).append(p)
    groups = [{"params": tables, "lr": recipe.lr, "weight_decay": recipe.weight_decay},
              {"params": vectors, "lr": recipe.lr, "weight_decay": 0.0},
              {"params": hashed, "lr": recipe.hashed_lr or recipe.lr, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    made = [torch.optim.AdamW(groups, betas=recipe.betas, fused=True)] if groups else []
    if matrices:
        made.append(Muon(matrices, recipe.muon_lr, weight_decay=recipe.muon_decay,
                         rounds=recipe.muon_rounds))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return made


def share_of_rate(step, recipe):
    """Share of the full learning rate at a step from 0, in (0, 1]: up, then along or down.

    Linear over `warmup` steps; then "cosine" (Loshchilov 2017) down to `final`, or "linear" for
    the last `cooldown` share of the steps, or "constant".
    """
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    if recipe.decay == "constant":
        return 1.0
    if recipe.decay == "cosine":
        done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
        height = 0.5 * (1 + math.cos(math.pi * done))
    else:
        height = min(1.0, (recipe.steps - step) / max(1.0, recipe.cooldown * recipe.steps))
    return recipe.final + (1 - recipe.final) * height
