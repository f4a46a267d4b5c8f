"""The checks of lecture 10 that count: exposure in bits, and the footprint of a training."""
import math

import torch

from .c08_known import Judge, real
from .engine import exercise
from .probe import shown


def one_number(probe, value, where, what="the result"):
    """value as a float, after tests of its type. where: which input, or ""."""
    start = f"{where}: " if where else ""
    probe.type(value, (float, int, torch.Tensor), f"{what} is a number")
    probe.true(not isinstance(value, bool), "type", f"{start}{what} is a number, came {value}")
    probe.true(not isinstance(value, torch.Tensor) or value.numel() == 1 and not
               value.is_complex() and value.dtype != torch.bool, "type",
               f"{start}{what} is one real number, came {shown(value)}")
    probe.true(float(value) == float(value), "nan", f"{start}{what} is not a number (nan): what "
               "is divided by 0, or averaged over nothing?")
    return float(value)


def two_numbers(probe, out, where, names):
    """A pair of results as floats. where: which input, or ""."""
    start = f"{where}: " if where else ""
    probe.type(out, (tuple, list, torch.Tensor), f"return {' and '.join(names)}")
    probe.true(out.dim() == 1 if isinstance(out, torch.Tensor) else True, "type",
               f"{start}return {' and '.join(names)}, came {shown(out)}")
    probe.true(len(out) == 2, "type", f"{start}return two numbers, {' and '.join(names)}; came "
               f"{len(out)}")
    return [one_number(probe, value, where, name) for value, name in zip(out, names)]


def wrong_exposures(rank, n, where):
    """{code: (bits of a well-known mistake, what it is)}."""
    r, bits = rank.double(), math.log2(n)
    right = bits - r.log2()
    table = {
        "nats": (right * math.log(2), "these are nats: bits come from the logarithm to base 2"),
        "base-10": (right * math.log10(2), "a logarithm to base 10: bits need base 2"),
        "sign": (-right, "the sign is turned: rank 1 is the most exposed and has the most bits"),
        "rank-only": ([r.log2(), -r.log2()], "the number of candidates has no effect"),
        "no-rank": (torch.full_like(r, bits), "the rank has no effect"),
        "no-log": ([n / r, r / n], "a share without its logarithm"),
        "ratio": ([bits / r.log2(), bits / r], "the logarithms are divided: subtract them"),
        "from-zero": ([(n / (r + 1)).log2(), bits - (r + 1).log2(), ((n + 1) / (r + 1)).log2()],
                      "ranks begin at 1, not at 0: nothing is added"),
        "from-one": ((n / (r - 1)).log2(), "ranks begin at 1: nothing is taken away"),
        "reversed": ([(n / (n - r + 1)).log2(), (n / (n + 1 - r)).log2() * -1, (n - r).log2(),
                      (n - r + 1).log2()], "the last rank came out as the most exposed: rank 1 has "
                     "the lowest loss"),
        "share-above": ([(1 - r / n).log2(), -(1 - r / n).log2()], "this is about the candidates "
                        "behind it: exposure asks what share stands before it, itself included"),
        "whole": ([right.floor(), right.round(), right.ceil(), (n // r).log2()], "rounded to "
                  "whole bits, or divided by //: keep the fraction"),
        "plus-one": (((n + 1) / r).log2(), "one candidate too many"),
        "half-rank": ((n / (r - 0.5)).log2(), "the rank itself counts, not its middle"),
        "relative": (right / bits, "divided by the bits of all candidates: this is no share"),
        "entropy": (-(r / n) * (r / n).log2(), "multiplied by the share: exposure is the logarithm "
                    "alone")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("10.3", hints=(
    "8 candidates. The secret has rank 1: by how many halvings do you get from 8 to 1? At rank 8 "
    "nothing sets it apart, so what must come?",
    "Base 2. Which share of all candidates does at least as well as the secret? Its logarithm is "
    "negative, the exposure is not.",
    "bits to name one of all candidates, less bits to name one of those up to the rank\n"
    "(one operation on the whole tensor, in float64)"))
def exposure(answer, probe):
    def ask(rank, n):
        out = probe.call(answer, rank, n)
        probe.shape(out, rank.shape, "shape", "one exposure for each rank")
        return out

    def right(rank, n):
        return math.log2(n) - rank.double().log2()

    rich = [(probe.ints(2, n - 1, k), n) for k, n in ((5, 40), (3, 1000), (8, 77))]
    judge = Judge(probe, ask, right, wrong_exposures, rich, tol=1e-9)
    judge.compare(torch.tensor([1]), 8, where="rank = [1], n_candidates = 8: the first of 8 takes "
                  "3 bits to find", code="first")
    judge.compare(torch.tensor([8, 4]), 8, where="rank = [8, 4], n_candidates = 8", code="last")
    for rank, n in (*rich, (torch.tensor([1]), 1)):
        judge.compare(rank, n, where=f"rank = {rank.tolist()}, n_candidates = {n}")
    rank = torch.arange(1, 513)
    mean = 9 - float(rank.double().log2().mean())
    probe.equal(ask(rank, 512).double().mean(), real(mean), "mean", "ranks 1 to 512, each once: a "
                f"model that knows nothing has the mean {mean:.3f} bits, near log2(e)", 1e-6)
    n = 10 ** 16                                            # card numbers: sixteen digits
    judge.compare(torch.tensor([1, 3, 10 ** 9, n - 1, n]), n, where="n_candidates = 10**16, rank = "
                  "[1, 3, 10**9, 10**16 - 1, 10**16]", code="large")


# 10.4 ------------------------------------------------------------------------------------------
def right_footprint(gpus, hours, watts, pue, g):
    energy = gpus * hours * watts / 1000 * pue
    return real([energy, energy * g / 1000])


def wrong_footprints(gpus, hours, watts, pue, g, where):
    """{code: (a pair of a well-known mistake, what it is)}."""
    kwh, kg = right_footprint(gpus, hours, watts, pue, g).tolist()
    table = {
        "order": ((kg, kwh), "kWh come first, then kg"),
        "wh": ([(kwh * 1e3, kg), (kwh * 1e3, kg * 1e3)], "these are watt-hours: a kWh has 1,000"),
        "mwh": ([(kwh / 1e3, kg), (kwh / 1e3, kg / 1e3)], "these are MWh: 1,000 kWh each"),
        "grams": ((kwh, kg * 1e3), "these are grams: return kg"),
        "tonnes": ((kwh, kg / 1e3), "these are tonnes: return kg"),
        "no-pue": ([(kwh / pue, kg / pue)], "`pue` is missing: the building draws that many times "
                   "what the GPUs draw"),
        "pue-energy": ((kwh / pue, kg), "`pue` is missing in the energy: cooling uses kWh too"),
        "pue-carbon": ([(kwh, kg / pue)], "`pue` is missing in the carbon: the energy for cooling "
                       "emits as well"),
        "pue-twice": ([(kwh, kg * pue), (kwh * pue, kg * pue), (kwh * pue, kg)], "`pue` is used "
                      "twice: carbon follows from the energy that holds it already"),
        "pue-divided": ([(kwh / pue ** 2, kg / pue ** 2)], "divided by `pue`: the building draws "
                        "more than its GPUs, not less"),
        "pue-only-extra": ([(k * (pue - 1) / pue, m * (pue - 1) / pue) for k, m in ((kwh, kg),)],
                           "`pue` less 1 is the overhead alone: the GPUs draw too"),
        "pue-added": ([(kwh * (1 + pue) / pue, kg * (1 + pue) / pue)], "1 + `pue`: it counts the "
                      "GPUs already, 1.1 means 10 % on top"),
        "one-gpu": ([(kwh / gpus, kg / gpus)], "the number of GPUs has no effect"),
        "one-hour": ([(kwh / hours, kg / hours)], "the hours have no effect: watts are not energy "
                     "yet"),
        "days": ([(kwh * 24, kg * 24), (kwh / 24, kg / 24)], "hours are hours here, not days"),
        "seconds": ([(kwh * 3600, kg * 3600), (kwh * 3.6e6, kg * 3.6e6), (kwh / 3600, kg / 3600)],
                    "3,600 does not belong here: a kWh is 1,000 W for an hour"),
        "per-gram": ([(kwh, kwh / g), (kwh, kwh / g * 1e3), (kwh, kwh / g / 1e3)], "divided by "
                     "`g_per_kwh`: each kWh emits that many grams"),
        "no-intensity": ((kwh, kwh), "`g_per_kwh` has no effect"),
        "pounds": ([(kwh, kg / 0.45359237), (kwh, kg * 0.45359237)], "pounds: return kg"),
        "rounded": ([(f(kwh, k), f(kg, k)) for k in range(4) for f in (round, lambda v, _: int(v))]
                    + [(f(kwh), f(kg)) for f in (math.floor, math.ceil)], "it is rounded: keep "
                    "all digits")}
    return {code: ([real(v) for v in (values if isinstance(values, list) else [values])],
                   f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("10.4", hints=(
    "One GPU of 1,000 W for one hour, pue 1: one kWh. At 500 g a kWh that is half a kg. Which of "
    "the two do you miss? Then double one argument at a time: what should double?",
    "Two divisions by 1,000, for two different reasons. `pue` is the energy of the whole building "
    "over that of its computers: which of the two results does it touch?",
    "energy of the computers: how many x how long x watts, in thousands\n"
    "energy of the building: that x pue\ncarbon: each of these kWh emits g_per_kwh, in grams"))
def footprint(answer, probe):
    names = ("gpus", "hours", "watts", "pue", "g_per_kwh")

    def ask(*given):
        return real(two_numbers(probe, probe.call(answer, *given), "", ("kWh", "kg")))

    rich = [(3, 7.3, 410.7, 1.37, 268.1), (64, 2.1, 333.3, 1.12, 57.4),
            (7, 31.7, 91.3, 1.83, 611.9)]
    judge = Judge(probe, ask, right_footprint, wrong_footprints, rich, tol=1e-9)

    def compare(given, code="value", note=""):
        where = ", ".join(f"{name} = {v:,}" for name, v in zip(names, given))
        judge.compare(*given, where=f"{where}, [kWh, kg]{note}", code=code)

    compare((1, 1, 1000, 1, 500), "units", ": 1 kW for 1 hour")
    compare((2, 10, 500, 1.2, 100))
    for i, name in enumerate(names):
        given = list(rich[0])
        once = ask(*given)
        given[i] *= 2
        grew = (ask(*given) / once).tolist()
        want = [1.0 if name == "g_per_kwh" else 2.0, 2.0]
        if judge.mistake() == "":                           # else it has a better name below
            probe.equal(real(grew), real(want), "doubling", f"{name} doubled: kWh and kg must grow "
                        f"by {want[0]:g} and {want[1]:g}", 1e-6)
    for given in (*rich, (1, 0.05, 28, 1, 330), (0, 5, 300, 1.1, 400), (8, 0, 300, 1.1, 400),
                  (4, 5, 300, 1.1, 0)):
        compare(given)
    kwh, kg = ask(10_000, 390, 330, 1, 429).tolist()        # GPT-3: 1,287 MWh, about 552 t
    probe.true(abs(kwh - 1.287e6) < 1 and abs(kg - 552_123) < 1, "gpt-3", "10,000 GPUs of 330 W "
               f"for 390 hours at 429 g: expected 1,287 MWh and 552 t, came {kwh:g} kWh, {kg:g} kg")
    probe.equal(kg / kwh * 1000, 429.0, "gpt-3", "552 t over 1,287 MWh is 429 g for a kWh")
