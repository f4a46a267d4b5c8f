"""What the checks of lecture 08 share: a small example that fails, and the mistake behind it."""
import contextlib

import torch

from .probe import Failure, close, difference


def real(rows):
    return torch.tensor(rows, dtype=torch.float64)


class Judge:
    """Compares an answer with the right formula, and a wrong one with the known mistakes.

    call(*given): the answer's result; right(*given): what is wanted; wrong(*given, where):
    {code: (value or list of values, what it is)}. On a small input many mistakes look alike, so one
    is named only if it explains the answer on all of `rich`, a list of inputs without that trouble.
    """

    def __init__(self, probe, call, right, wrong, rich, tol=1e-6):
        self.probe, self.call, self.right, self.wrong, self.rich = probe, call, right, wrong, rich
        self.tol = tol

    def mistake(self):
        """The code of the mistake that explains the answer on all rich inputs, or ''."""
        seen = []
        for given in self.rich:
            with contextlib.suppress(Failure):              # a crash on this one says nothing
                seen.append((plain(self.call(*given)), plain(self.right(*given)),
                             self.wrong(*given, "")))
        if all(close(got, want, self.tol) for got, want, _ in seen):
            return ""

        def explains(code):
            return all(any(close(got, value, self.tol) for value in (
                table[code][0] if isinstance(table[code][0], list) else [table[code][0]]))
                for got, _, table in seen)
        return next((code for code in seen[0][2] if explains(code)), "")

    def compare(self, *given, where, code="value"):
        """Is the answer right on this input? A known mistake gets its own code and words."""
        got, want = plain(self.call(*given)), plain(self.right(*given))
        if not close(got, want, self.tol):
            found = self.mistake()
            if found:
                self.probe.fail(found, f"{self.wrong(*given, where)[found][1]}. "
                                       f"{difference(got, want, self.tol)}")
        self.probe.equal(got, want, code, where, self.tol)
        return got


def plain(value):
    return value.detach() if isinstance(value, torch.Tensor) else value
