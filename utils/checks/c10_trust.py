"""The checks of lecture 10 for trust: calibration, and the risk at each coverage."""
import torch

from .c08_known import Judge, real
from .c10_numbers import one_number
from .engine import exercise


def binned(conf, correct, place, bins):
    """(weight, mean confidence, accuracy) of each bin; 0 for an empty one."""
    count = torch.zeros(bins).double().index_add(0, place, torch.ones_like(conf))
    sure = torch.zeros(bins).double().index_add(0, place, conf)
    hits = torch.zeros(bins).double().index_add(0, place, correct.double())
    return count / len(conf), sure / count.clamp(min=1), hits / count.clamp(min=1)


def place_of(conf, bins):
    """The bin of each confidence: [0, 1/bins), ..., the last one closed."""
    return (conf * bins).long().clamp(max=bins - 1)


def gap(conf, correct, place, bins):
    weight, sure, hits = binned(conf, correct, place, bins)
    return float((weight * (sure - hits).abs()).sum())


def right_ece(conf, correct, bins):
    return gap(conf, correct, place_of(conf, bins), bins)


def wrong_eces(conf, correct, bins, where):
    """{code: (ECE of a well-known mistake, what it is)}."""
    n, place, right = len(conf), place_of(conf, bins), right_ece(conf, correct, bins)
    weight, sure, hits = binned(conf, correct, place, bins)
    full, each = weight > 0, (sure - hits).abs()
    middle = (torch.arange(bins) + 0.5) / bins
    y = correct.double()
    ranks = conf.argsort().argsort()
    low, high, ends = conf.min(), conf.max(), torch.arange(bins) / bins
    spread = place_of((conf - low) / (high - low).clamp(min=1e-12), bins)
    table = {
        "unweighted": ([float(each[full].mean()), float(each.sum() / bins)], "all bins weigh the "
                       "same: weight each by its share of the answers"),
        "sum": ([float(each.sum()), float((weight * n * each).sum())], "this is a sum over the "
                "bins: weight each by its share of the answers"),
        "largest": (float(each.max()), "the largest gap (MCE): take the weighted mean of all"),
        "squared": ([float((weight * each ** 2).sum()), float((weight * each ** 2).sum()) ** 0.5],
                    "the gaps are squared: take their size"),
        "signed": ([float((weight * (sure - hits)).sum() * k) for k in (1, -1)], "this is the gap "
                   "of all answers together: doubt in one bin and boasting in another must not "
                   "cancel, take the size of each bin's gap first"),
        "centre": ([float((weight * (point - hits).abs()).sum())
                    for point in (middle, ends, ends + 1 / bins)], "the middle or an edge of the "
                   "bin stands for its confidences: take their mean"),
        "empty": ([float((weight * each).sum() + (middle * ~full).sum() / bins),
                   float((torch.where(full, each, middle)).mean())], "an empty bin counts: it has "
                  "no answers and must add nothing"),
        "brier": ([float((conf - y).square().mean()), float((conf - y).abs().mean())], "each "
                  "answer is compared with its own 0 or 1 (Brier): take the mean of a bin first"),
        "inverted": ([gap(conf, ~correct.bool(), place, bins)], "right and wrong are exchanged"),
        "overall": (float((weight * (sure - y.mean()).abs()).sum()), "every bin is compared with "
                    "the accuracy of all answers: take that of the bin"),
        "nearest": ([gap(conf, correct, (conf * bins).round().long().clamp(max=bins - 1), bins),
                     gap(conf, correct, (conf * bins).round().long(), bins + 1),
                     gap(conf, correct, (conf * (bins - 1)).round().long(), bins)], "confidences "
                    "are rounded to the nearest edge: cut them down to the lower one"),
        "one-too-few": ([gap(conf, correct, place_of(conf, b), b) for b in (bins - 1, bins + 1)
                         if b > 0], "one bin too few or too many: `bins` bins have `bins` + 1 "
                        "edges"),
        "fixed-bins": ([right_ece(conf, correct, b) for b in (10, 15, 20, 5, 100) if b != bins],
                       "`bins` has no effect: the number of bins is fixed"),
        "equal-mass": ([gap(conf, correct, (ranks * bins // n).long(), bins),
                        gap(conf, correct, (ranks // -(-n // bins)).long().clamp(max=bins - 1),
                            bins)], "bins of equal numbers of answers: here all are equally wide"),
        "range": (gap(conf, correct, spread, bins), "the bins run from the smallest to the largest "
                  "confidence: they run from 0 to 1"),
        "percent": (100 * right, "this is in percent: return a share"),
        "complement": (1 - right, "this is 1 less the error"),
        "accuracy": ([float(y.mean()), float(1 - y.mean()), float(conf.mean())], "this is a mean "
                     "of all answers, without bins and gaps")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


def wrong_edges(conf, correct, bins, where):
    """The same for mistakes that only a confidence on the edge of a bin reveals."""
    n, place = len(conf), place_of(conf, bins)
    upper = ((conf * bins).ceil().long() - 1).clamp(min=0)      # bins closed on the right
    edge = conf * bins == (conf * bins).round()
    inner, kept, positive = edge & (conf > 0) & (conf < 1), conf < 1, conf > 0

    def part(mask, where_to):
        return gap(conf[mask], correct[mask], where_to[mask], bins) if mask.any() else 0.0
    both = torch.cat([torch.arange(n), inner.nonzero()[:, 0]])
    twice = torch.cat([place, place[inner] - 1])
    table = {
        "top-dropped": ([part(kept, place) * int(kept.sum()) / n, part(kept, place)],
                        "a confidence of exactly 1 falls out: the last bin includes it"),
        "zero-dropped": ([part(positive, upper) * int(positive.sum()) / n, part(positive, upper)],
                         "a confidence of exactly 0 falls out, and a bin begins after its lower "
                         "edge: it includes that"),
        "edges": (gap(conf, correct, upper, bins), "a confidence on an edge is counted in the bin "
                  "below: a bin includes its lower edge"),
        "edge-twice": (gap(conf[both], correct[both], twice, bins) * len(both) / n, "a confidence "
                       "on an edge is counted in two bins: a bin includes its lower edge alone"),
        "edge-lost": (part(~edge, place) * int((~edge).sum()) / n, "a confidence on an edge is in "
                      "no bin: a bin includes its lower edge")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("10.2", hints=(
    "Ten answers, each with confidence .9, six right: the one bin that is not empty has a gap of "
    ".3, and holds all answers. What do you get? And if four of the ten bins were never used?",
    "Three means: confidence in a bin, accuracy in a bin, and the gaps over the bins, in which a "
    "full bin weighs more. Where does a confidence of exactly 1 go, and one on an edge?",
    "place of an answer: conf times bins, cut down to a whole number; 1 belongs to the last\n"
    "for each place that has answers:\n"
    "    gap = distance of their mean conf from their share of right ones\n"
    "result: sum of gap times the share of all answers that lie there"))
def ece(answer, probe):
    def ask(conf, correct, bins):
        out = probe.call(answer, conf, correct, bins)
        return one_number(probe, out, f"conf of shape {tuple(conf.shape)}, bins = {bins}")

    def answers(n, low, high, skill):
        conf = low + (high - low) * probe.uniform(n)
        return conf, probe.uniform(n) < skill(conf)

    rich = [(*answers(37, 0.35, 0.99, lambda c: c * 0.7), 7),
            (*answers(53, 0.05, 0.9, lambda c: 0.3 + c * 0.3), 6),
            (*answers(29, 0.5, 1.0, lambda c: 1.5 - c), 12)]
    judge = Judge(probe, ask, right_ece, wrong_eces, rich)

    def compare(conf, correct, bins, where, code="value"):
        got, want = ask(conf, correct, bins), right_ece(conf, correct, bins)
        if abs(got - want) > 1e-6 and not judge.mistake():
            table = wrong_edges(conf, correct, bins, where)
            first = {code: table[code]} if code in table else {}
            probe.equal(got, want, code, where, 1e-6, first | table)
        judge.compare(conf, correct, bins, where=where, code=code)

    def right(*marks):
        return torch.tensor(marks).bool()

    compare(real([0.9] * 10), right(*[1] * 6, *[0] * 4), 10, "ten answers of confidence .9, six "
            "right, bins = 10", "constant")
    compare(real([0.75] * 4), right(1, 0, 1, 1), 10, "four answers of confidence .75, three right: "
            "this is perfect", "perfect")
    compare(real([0.95, 0.15]), right(0, 1), 10, "conf = [.95, .15], correct = [0, 1]")
    compare(real([0.6, 0.6, 0.9]), right(1, 0, 1), 4, "conf = [.6, .6, .9], correct = [1, 0, 1], "
            "bins = 4")
    for conf, correct, bins in rich:
        compare(conf, correct, bins, f"{len(conf)} answers, bins = {bins}")
    compare(real([1.0, 1.0, 0.9]), right(0, 1, 1), 5, "conf = [1, 1, .9], correct = [0, 1, 1], "
            "bins = 5", "top-dropped")
    compare(real([0.0, 0.0, 0.1]), right(1, 0, 0), 5, "conf = [0, 0, .1], correct = [1, 0, 0], "
            "bins = 5", "zero-dropped")
    compare(real([0.25, 0.3, 0.5, 0.2, 0.75]), right(1, 0, 0, 1, 1), 4, "conf = [.25, .3, .5, .2, "
            ".75], correct = [1, 0, 0, 1, 1], bins = 4: .25, .5 and .75 are edges", "edges")
    compare(real([0.4]), right(1), 1, "one answer of confidence .4, right, bins = 1")
    conf, correct = answers(300, 0.0, 1.0, lambda c: c ** 2)
    for bins in (1, 3, 16):
        compare(conf, correct, bins, f"300 answers, bins = {bins}")
    order = torch.randperm(300, generator=probe.generator)
    probe.equal(ask(conf[order], correct[order], 9), ask(conf, correct, 9), "order", "300 answers "
                "in another order: the result must not change")


def shared(conf, error):
    """Each answer's error, replaced by the mean of those with the same confidence."""
    same = (conf[:, None] == conf[None, :]).double()
    return same @ error / same.sum(1)


def running(values):
    return values.cumsum(0) / torch.arange(1, len(values) + 1)


def right_curve(conf, correct):
    error = shared(conf, 1 - correct.double())
    return running(error[conf.argsort(descending=True)])


def wrong_curves(conf, correct, where):
    """{code: (curve of a well-known mistake, what it is)}."""
    n, error = len(conf), 1 - correct.double()
    order, right = conf.argsort(descending=True, stable=True), right_curve(conf, correct)
    fair, k = shared(conf, error), torch.arange(1, n + 1)
    sorted_ties = []                                        # right ones first, wrong ones first
    for turn in (False, True):
        first = error.argsort(descending=turn, stable=True)
        sorted_ties.append(first[conf[first].argsort(descending=True, stable=True)])
    at_least = (conf[None, :] >= conf[order][:, None]).double()     # (n, n): kept at a threshold
    above = (conf[None, :] > conf[order][:, None]).double()
    rest = torch.stack([fair[order][i:].mean() for i in range(n)])
    table = {
        "ascending": (running(fair[conf.argsort()]), "the least confident come first: begin with "
                      "the surest"),
        "accuracy": (1 - right, "this is the share of right answers: risk is that of wrong ones"),
        "counts": (fair[order].cumsum(0), "these are numbers of errors: divide by how many are "
                   "answered"),
        "of-all": (fair[order].cumsum(0) / n, "divided by all n: of k answers, the share among "
                   "these k"),
        "one-late": ([fair[order].cumsum(0) / (k + 1), fair[order].cumsum(0) / (k - 1)], "the "
                     "number of answers is off by one: the first value is about one answer"),
        "unsorted": ([running(fair), running(error)], "the answers stand in the order given: sort "
                     "them by confidence"),
        "oracle": (running(error.sort()[0]), "sorted by right and wrong, which nobody knows "
                   "beforehand: sort by confidence"),
        "backwards": (right.flip(0), "the curve begins with all answers: value k is about the k "
                      "surest"),
        "rest": ([rest, torch.cat([rest[1:], rest.new_zeros(1)])], "this is the risk of the "
                 "answers that are left out"),
        "believed": ([running((1 - conf)[order]), running(conf[order])], "this is what the model "
                     "believes: count what was wrong"),
        "weighted": ([(conf * fair)[order].cumsum(0) / conf[order].cumsum(0)], "errors are "
                     "weighted by confidence: each answer counts once"),
        "each": (fair[order], "these are the single errors: value k is the mean of the first k"),
        "ties-order": ([running(error[order]), running(error.flip(0)[conf.flip(0).argsort(
            descending=True, stable=True)])], "among equal confidences the order of the tensor "
            "decides: each of them counts as the mean error of its group"),
        "ties-sorted": ([running(error[rows]) for rows in sorted_ties],
                        "among equal confidences right or wrong ones come first: each counts as "
                        "the mean error of its group"),
        "above": (((above @ error) / above.sum(1)).nan_to_num(), "only answers above a confidence "
                  "are counted: the one that has it is answered too"),
        "ties-curve": (shared(conf[order], running(error[order])), "the curve is averaged within a "
                       "group: it is the errors that are, before the running mean"),
        "ties-whole": ((at_least @ error) / at_least.sum(1), "equal confidences are "
                       "taken all at once: within a group value k is about k answers, each with "
                       "the group's mean error"),
        "percent": (100 * right, "these are percent: return shares")}
    return {code: (values, f"{where}: {why}") for code, (values, why) in table.items()}


@exercise("10.5", hints=(
    "conf = [.9, .5, .7], the .9 wrong, the others right: answering only the surest is always "
    "wrong, two of them half, all three a third. What do you get, and in which order?",
    "Sort by confidence, the surest first; a running mean of errors. Then ties: exchange two "
    "answers of equal confidence, one right, one wrong. Does your curve move?",
    "error of each answer: 1 if wrong\n"
    "replace it by the mean error of all answers with the same confidence\n"
    "put them in order, the surest first\nvalue k: mean of the first k"))
def risk_coverage(answer, probe):
    def ask(conf, correct):
        out = probe.call(answer, conf, correct)
        if isinstance(out, torch.Tensor) and out.dim() == 1:
            probe.true(len(out) != len(set(conf.tolist())) or len(out) == len(conf), "groups",
                       f"conf = {conf.tolist()}: a value for each different confidence came; "
                       "value k is about k answers, so there are n")
            probe.true(len(out) != len(conf) + 1, "extra", f"{len(conf)} answers gave "
                       f"{len(out)} values: there is none for no answer at all")
        probe.shape(out, conf.shape, "shape", f"{len(conf)} answers give a value for each k from 1")
        probe.finite(out, "nan", f"conf of shape {tuple(conf.shape)}: a value is not a number")
        return out

    def answers(n, levels=0):
        conf = probe.uniform(n)
        if levels:
            conf = (conf * levels).floor() / levels
        return conf, probe.uniform(n) < 0.25 + 0.6 * conf

    rich = [answers(17, 4), answers(23, 5), answers(31, 8)]
    judge = Judge(probe, ask, right_curve, wrong_curves, rich)
    simple = Judge(probe, ask, right_curve, wrong_curves, [answers(n) for n in (9, 14, 20)])

    def right(*marks):
        return torch.tensor(marks).bool()

    simple.compare(real([0.9, 0.5, 0.7]), right(0, 1, 1), where="conf = [.9, .5, .7], correct = "
                   "[0, 1, 1]", code="curve")
    for conf, correct in simple.rich:
        simple.compare(conf, correct, where=f"{len(conf)} answers, all confidences different")
        overall = 1 - float(correct.double().mean())
        probe.equal(float(ask(conf, correct)[-1]), overall, "end", "the last value is about all "
                    "answers: their share of errors")
    judge.compare(real([0.8, 0.8]), right(1, 0), where="conf = [.8, .8], correct = [1, 0]: one of "
                  "two equals is as likely as the other", code="ties")
    judge.compare(real([0.8, 0.8]), right(0, 1), where="conf = [.8, .8], correct = [0, 1]",
                  code="ties")
    judge.compare(real([0.2, 0.8, 0.5, 0.8, 0.8, 0.2]), right(0, 1, 0, 0, 1, 1), where="conf = "
                  "[.2, .8, .5, .8, .8, .2], correct = [0, 1, 0, 0, 1, 1]", code="ties")
    for conf, correct in (*rich, answers(1), answers(40, 2), answers(6, 1)):
        judge.compare(conf, correct, where=f"{len(conf)} answers, {len(set(conf.tolist()))} "
                      "different confidences", code="ties")
    for conf, correct in (*simple.rich, *rich):
        lowest = ask(correct.double(), correct)             # an oracle: sure of what is right
        probe.true(bool((lowest <= ask(conf, correct) + 1e-9).all()), "oracle-bound", "a curve "
                   "runs below that of an oracle, which is sure of the right answers only")
    conf, correct = rich[2]
    order = torch.randperm(31, generator=probe.generator)
    probe.equal(ask(conf[order], correct[order]), ask(conf, correct), "moves", "31 answers in "
                "another order: the curve must not move")
