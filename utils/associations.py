"""Which words lean which way: published word lists, and directions taken out of a space."""
import torch
import torch.nn.functional as F

# Caliskan, Bryson and Narayanan 2017 (1608.07187), tests 6, 7 and 8 of eight words a list:
# targets X and Y, attributes A and B.
TESTS = {
    "names, career": (
        "john paul mike kevin steve greg jeff bill", "amy joan lisa sarah diana kate ann donna",
        "executive management professional corporation salary office business career",
        "home parents children family cousins marriage wedding relatives"),
    "math, arts": (
        "math algebra geometry calculus equations computation numbers addition",
        "poetry art dance literature novel symphony drama sculpture",
        "male man boy brother he him his son",
        "female woman girl sister she her hers daughter"),
    "science, arts": (
        "science technology physics chemistry einstein nasa experiment astronomy",
        "poetry art shakespeare dance literature novel symphony drama",
        "brother father uncle grandfather son he his him",
        "sister mother aunt grandmother daughter she hers her")}
# Bolukbasi et al. 2016 (1607.06520): pairs that differ in gender by their meaning.
PAIRS = tuple(pair.split() for pair in (
    "she he", "her his", "woman man", "mary john", "herself himself", "daughter son",
    "mother father", "gal guy", "girl boy", "female male"))


def rows(words, names):
    """The vectors of a line of words, (n, d)."""
    return torch.stack([words[name] for name in names.split()])


def main_direction(words, pairs=PAIRS):
    """The direction in which pairs of words differ most, (d,) of length 1, from second to first."""
    apart = torch.stack([words[a] - words[b] for a, b in pairs])            # (10, d)
    first = torch.linalg.svd(apart, full_matrices=False).Vh[0]
    return first * (apart @ first).sum().sign()


def without(vectors, direction):
    """Vectors (n, d) with a direction of length 1 taken out, scaled to length 1 again."""
    return F.normalize(vectors - (vectors @ direction)[:, None] * direction, dim=1)


def leaning(vectors, direction, n, leave_out=()):
    """The n rows that lie farthest to each side: (rows (2 n,), sides (2 n,) of 0 and 1)."""
    left_out = set(leave_out)
    order = [i for i in (vectors @ direction).argsort().tolist() if i not in left_out]
    return torch.tensor(order[:n] + order[-n:]), torch.arange(2 * n) // n


def probe(x, sides, seed=0, l2=1e-3):
    """A linear classifier taught on half of x (n, d): its right answers on the other half, and w.

    Logistic regression by Newton's method. Returns (bool (n - n // 2,), direction (d,)).
    """
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    learn, test = order[:len(x) // 2], order[len(x) // 2:]
    inputs = torch.cat([x, torch.ones(len(x), 1)], 1).double()              # (n, d + 1)
    w, a, y = torch.zeros(inputs.shape[1]).double(), inputs[learn], sides[learn].double()
    penalty = l2 * torch.eye(len(w)).double()
    for _ in range(25):
        p = (a @ w).sigmoid()
        hessian = (a * (p * (1 - p))[:, None]).T @ a / len(a) + penalty
        w = w - torch.linalg.solve(hessian, a.T @ (p - y) / len(a) + l2 * w)
    right = (inputs[test] @ w > 0) == (sides[test] > 0)
    return right, F.normalize(w[:-1].float(), dim=0)
