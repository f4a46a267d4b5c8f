"""How sure a measured share or mean is: Wilson's interval and the bootstrap."""
import torch


def wilson(successes, n, z=1.96):
    """The 95 % interval of a share, (low, high). Source: Wilson 1927, JASA 22(158)."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n}: from 0 to n of 1 or more are needed")
    p, w = successes / n, z * z / n
    middle, half = (p + w / 2) / (1 + w), (w * p * (1 - p) + w * w / 4) ** 0.5 / (1 + w)
    return middle - half, middle + half


def bootstrap(values, times=2000, seed=0):
    """(mean, low, high) of a sample (n,), the middle 95 % of resampled means (Efron 1979)."""
    values = torch.as_tensor(values, dtype=torch.float64)
    rng = torch.Generator().manual_seed(seed)
    means = values[torch.randint(len(values), (times, len(values)), generator=rng)].mean(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(values.mean()), low, high


def whiskers(heights, ends):
    """Intervals for bars of utils.show: settings for their trace, `figure.data[0] |= ...`.

    heights: numbers; ends: a (low, high) for each.
    """
    pairs = list(zip(heights, ends, strict=True))
    return {"textposition": "inside", "insidetextanchor": "start", "error_y": {
        "type": "data", "symmetric": False,
        "array": [round(high - y, 4) for y, (_, high) in pairs],
        "arrayminus": [round(y - low, 4) for y, (low, _) in pairs]}}
