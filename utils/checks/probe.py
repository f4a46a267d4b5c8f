"""What a check uses to try an answer: seeded inputs, guarded calls, and tests that explain."""
import copy
import inspect
import re
import types
import zlib

import torch

from . import sandbox


class Failure(Exception):
    """The first test that failed: its args are (code, message)."""


class Probe:
    """Random inputs, calls and tests of one check. Each test that fails ends the check.

    id: seeds the inputs, so that one answer always meets the same numbers. Inputs are float64.
    """

    def __init__(self, id):
        self.generator = torch.Generator().manual_seed(zlib.crc32(id.encode()))
        self.tests, self.last = 0, None                 # tests held so far; what came last

    def normal(self, *shape, scale=1.0):
        return scale * torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def uniform(self, *shape):
        return torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def ints(self, low, high, *shape):
        """Whole numbers low .. high - 1."""
        return torch.randint(low, high, shape, generator=self.generator)

    def ones(self, *shape):
        return torch.ones(*shape, dtype=torch.float64)

    def zeros(self, *shape):
        return torch.zeros(*shape, dtype=torch.float64)

    def one_hot(self, i, n):
        return torch.eye(n, dtype=torch.float64)[i]

    def call(self, answer, *args, **kw):
        """answer(*args, **kw) on copies. Codes: "type" (None, a generator), "crash", "mutates".

        A tensor that requires a gradient is passed as a clone in its graph, so that
        torch.autograd.grad(result, the probe's tensor) works.
        """
        if not callable(answer):
            self.fail("type", "pass the function itself, not what it returns: came "
                              f"{shown(answer)}")
        given, given_kw = copied(args), copied(kw)
        crash = None
        try:
            out = answer(*given, **given_kw)
        except (sandbox.Stopped, Failure):
            raise
        except BaseException as error:                  # also SystemExit and KeyboardInterrupt
            stub = type(error) is NotImplementedError and not safe(str, error)
            crash = "todo" if stub else "crash", crash_text(error, answer, args)
        if crash:
            self.fail(*crash)
        self.last = out
        if out is ...:
            self.fail("todo", f"{name_of(answer)} returns `...`: write its result there")
        if out is None:
            self.fail("type", f"{name_of(answer)} returned None: does its last line begin with "
                              "`return`?")
        if isinstance(out, types.GeneratorType | types.CoroutineType | types.AsyncGeneratorType):
            self.fail("type", f"{name_of(answer)} returned a {type(out).__name__}: it contains "
                              "`yield` or `async`; collect the results and `return` them")
        pairs = zip((*args, *kw.values()), (*given, *given_kw.values()), strict=True)
        for which, (before, after) in enumerate(pairs, start=1):
            if not same(before, after):
                self.fail("mutates", f"{name_of(answer)} changes its {nth(which)} argument "
                                     f"({shown(before)}), which its caller may need again: work "
                                     "on a copy, without x += y or methods that end in _")
        self.tests += 1
        return out

    def fail(self, code, message):
        raise Failure(code, message)

    def true(self, condition, code, message):
        if not bool(condition):
            self.fail(code, message)
        self.tests += 1

    def type(self, out, kinds, message=""):
        """Is out of a type (or one of a tuple of types)? Else code "type"."""
        if not isinstance(out, kinds) or (isinstance(out, bool) and kinds in (int, float)):
            wanted = " or ".join(k.__name__ for k in (kinds if type(kinds) is tuple else (kinds,)))
            self.fail("type", f"expected a {wanted}, came {shown(out)}"
                              + (f": {message}" if message else ""))
        self.tests += 1

    def shape(self, out, shape, code, message):
        """Is out a tensor ("type") of this shape (code)?"""
        self.type(out, torch.Tensor)
        if tuple(out.shape) != tuple(shape):
            self.fail(code, f"{message}: expected shape {tuple(shape)}, came {tuple(out.shape)}")
        self.tests += 1

    def finite(self, out, code, message):
        self.type(out, torch.Tensor)
        if not bool(torch.isfinite(out).all()):
            self.fail(code, f"{message}: came {numbers(out)}")
        self.tests += 1

    def equal(self, got, want, code, message, tol=1e-6, known=None):
        """Is got what is wanted: |got - want| <= tol * (1 + |want|), and the same shape?

        want: a tensor or anything == can compare. known: {code: (wrong value, message)}, or a list
        of wrong values; a result that is one of them gets that code and message instead.
        """
        if close(got, want, tol):
            self.tests += 1
            return
        for wrong, (values, why) in (known or {}).items():
            for value in values if isinstance(values, list) else [values]:
                if close(got, value, tol) and not close(want, value, tol):
                    self.fail(wrong, f"{why}. {difference(got, want, tol)}")
        if isinstance(want, torch.Tensor):
            self.type(got, torch.Tensor)
            if got.shape != want.shape:
                self.fail("shape", f"{message}: expected shape {tuple(want.shape)}, came "
                                   f"{tuple(got.shape)}")
            if got.is_floating_point() and got.dtype != want.dtype and close(got, want, 1e-4):
                self.fail("dtype", f"right, but rounded to {got.dtype}, while the inputs are "
                                   f"{want.dtype}: make new tensors with x.new_zeros(...)")
        self.fail(code, f"{message}. {difference(got, want, tol)}")

    def gradients(self, got, want, inputs):
        """Do the gradients of got reach all inputs {name: tensor}, with the values of want's?"""
        self.true(got.requires_grad, "detached", "no gradient leaves the result: it was made "
                  "outside torch's graph (detach, item, tolist, numpy, no_grad, a new tensor "
                  "from numbers)")
        upstream, tensors = self.normal(*got.shape), list(inputs.values())
        mine = torch.autograd.grad((got * upstream).sum(), tensors, allow_unused=True)
        theirs = torch.autograd.grad((want * upstream).sum(), tensors)
        for name, a, b in zip(inputs, mine, theirs, strict=True):
            self.true(a is not None, "detached", f"no gradient reaches {name}: something on the "
                      "way to it was detached")
            self.equal(a, b, "gradient", f"the values are right, the gradient of {name} is not")


def copied(value):
    """A copy that shares no memory with value. Functions and what cannot be copied pass as is."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).set_state(value.get_state())
    if type(value) in (list, tuple, set):
        return type(value)(copied(v) for v in value)
    if type(value) is dict:
        return {k: copied(v) for k, v in value.items()}
    try:
        return copy.deepcopy(value)
    except Exception:                                   # a lock, a file, a tensor inside a graph
        return value


def same(a, b):
    """Is b what a was? Used to see whether an input was changed."""
    if isinstance(a, torch.Tensor):
        return (isinstance(b, torch.Tensor) and a.shape == b.shape and a.dtype == b.dtype
                and bool(torch.allclose(a.detach(), b.detach(), rtol=0, atol=0, equal_nan=True)
                         if a.is_floating_point() else torch.equal(a, b)))
    if isinstance(a, torch.nn.Module):
        return same(list(a.state_dict().items()), list(b.state_dict().items()))
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is dict:
        return list(a) == list(b) and all(same(v, b[k]) for k, v in a.items())
    if type(a).__module__ == "numpy":
        return a.shape == b.shape and bool(((a == b) | (a != a)).all())
    if isinstance(a, str | bytes | bytearray | int | float | set):
        return a == b or a != a
    return True                                         # functions, generators: nothing to compare


def close(got, want, tol):
    if isinstance(want, torch.Tensor):
        if not isinstance(got, torch.Tensor) or got.shape != want.shape:
            return False
        got, want = (t.detach().to("cpu", torch.float64) for t in (got, want))
        return bool(torch.isclose(got, want, rtol=tol, atol=tol, equal_nan=True).all())
    if isinstance(want, float | int) and not isinstance(want, bool):
        if isinstance(got, torch.Tensor) and got.numel() == 1:
            got = got.item()
        return (isinstance(got, float | int) and not isinstance(got, bool)
                and (got == want or abs(got - want) <= tol * (1 + abs(want))))
    return type(got) is type(want) and bool(got == want)


def difference(got, want, tol):
    """'Expected ..., came ...': whole when small, else the first place where they differ."""
    if (isinstance(want, torch.Tensor) and isinstance(got, torch.Tensor)
            and got.shape == want.shape and want.numel() > 8):
        wrong = ~torch.isclose(got.detach().double(), want.detach().double(),
                               rtol=tol, atol=tol, equal_nan=True)
        if bool(wrong.any()):
            i = tuple(wrong.nonzero()[0].tolist())
            return (f"At {list(i)} expected {number(want[i])}, came {number(got[i])} "
                    f"({int(wrong.sum())} of {want.numel()} differ)")
    return f"Expected {numbers(want)}, came {numbers(got)}"


def number(value):
    value = value.item() if isinstance(value, torch.Tensor) else value
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def numbers(value):
    """A value as short text: up to 8 numbers, else type and shape."""
    if isinstance(value, torch.Tensor) and value.numel() <= 8:
        text = str([[number(v) for v in row] for row in value] if value.dim() == 2 else
                   [number(v) for v in value.flatten()] if value.dim() else number(value))
        return text.replace("'", "")
    return number(value) if isinstance(value, float) else shown(value)


def shown(value):
    """What a value is, in a few words: type and shape, or a short repr."""
    if isinstance(value, torch.Tensor):
        kind = "" if value.is_floating_point() else str(value.dtype)[6:] + " "
        return f"a {kind}tensor of shape {tuple(value.shape)}"
    if type(value) in (tuple, list) and any(isinstance(v, torch.Tensor) for v in value):
        some = ", ".join(map(shown, value[:3])) + ", ..." * (len(value) > 3)
        return f"a {type(value).__name__} of {len(value)} ({some})"
    if inspect.isroutine(value) or inspect.isclass(value):
        return f"the function {name_of(value)}"
    text = safe(repr, value)
    return f"{text[:80]}{'...' * (len(text) > 80)} ({type(value).__name__})"


def safe(convert, value):
    """str or repr of an object whose own method may fail."""
    try:
        return convert(value)
    except Exception:
        return object.__repr__(value)


def name_of(answer):
    name = getattr(answer, "__name__", type(answer).__name__)
    return "your function" if name == "<lambda>" else name


def nth(number):
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th')}"


def crash_text(error, answer, args):
    """The student's own line, the error and the shapes in play there."""
    trace, inner = error.__traceback__.tb_next, None    # tb_next: past the call in Probe.call
    while trace is not None:
        if sandbox.is_student(trace.tb_frame.f_code.co_filename):
            inner = trace
        trace = trace.tb_next
    what = f"{type(error).__name__}: {safe(str, error)[:300]}".rstrip(": ")
    if isinstance(error, RecursionError):
        what = "RecursionError: it calls itself without end"
    if inner is None:
        return (f"calling {name_of(answer)} with {', '.join(map(shown, args)) or 'no argument'} "
                f"failed. {what}")
    frame = inner.tb_frame
    line = sandbox.line_text(frame.f_code.co_filename, inner.tb_lineno)
    shapes = {k: str(tuple(v.shape)) for k, v in frame.f_locals.items()
              if isinstance(v, torch.Tensor)}
    named = {k: v for k, v in shapes.items() if re.search(rf"\b{re.escape(k)}\b", line)} or shapes
    text = ", ".join(f"{k} {v}" for k, v in list(named.items())[:8])
    return f"{line} raised {what}" + (f". Shapes there: {text}" if text else "")


def first_optimiser():
    """Made once in a process: the first of all imports torch's compiler, which takes seconds."""
    torch.optim.SGD([torch.zeros(1)])
