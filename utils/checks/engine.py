"""The exercises, what a check answers, and their hints."""
import ast
import dataclasses
import dis
import functools
import html
import importlib
import inspect
import os
import pathlib
import textwrap
import traceback

from . import record, sandbox
from .probe import Failure, Probe, shown

EXERCISES = {}                                          # id -> Exercise, filled by c00.py and so on
SHOWN = {}                                              # id -> hints shown by this kernel
LEVELS = ("what must hold", "where to look", "pseudo-code")
SILENT = {"RESUME", "NOP", "CACHE", "PRECALL", "COPY_FREE_VARS", "MAKE_CELL", "EXTENDED_ARG",
          "RETURN_GENERATOR", "POP_TOP", "NOT_TAKEN"}


@dataclasses.dataclass(frozen=True)
class Exercise:
    id: str
    name: str
    hints: tuple
    trial: object                                       # trial(*answers, probe)
    answers: int
    before: object = None                               # before(), when the clock does not run yet


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check found. ok: bool; code: a slug; message and hint: plain words."""
    ok: bool
    code: str
    message: str
    hint: str = ""
    id: str = ""
    printed: str = ""
    note: str = ""

    @property
    def title(self):
        return f"{self.id} passed" if self.ok else f"{self.id} not yet ({self.code})"

    def __repr__(self):
        parts = [f"{self.title}: {self.message}", self.hint, self.note]
        if self.printed:
            parts += ["Your function printed:", textwrap.indent(self.printed.rstrip(), "    ")]
        return "\n".join(part for part in parts if part)

    def _repr_html_(self):
        more = "".join(f"<br>{html.escape(part)}" for part in (self.hint, self.note) if part)
        if self.printed:
            more += ("<br>Your function printed:<pre style='max-height:12em;overflow:auto'>"
                     f"{html.escape(self.printed)}</pre>")
        return boxed(self.title, html.escape(self.message) + more,
                     "4px solid #009E73" if self.ok else "4px dashed #D55E00")


@dataclasses.dataclass(frozen=True)
class Hint:
    """One of three levels of help."""
    id: str
    level: int
    text: str

    @property
    def title(self):
        if not self.level:
            return "No hint"
        last = ", the last" if self.level == 3 else ""
        return f"{self.id} hint {self.level} of 3, {LEVELS[self.level - 1]}{last}"

    def __repr__(self):
        return f"{self.title}: {self.text}"

    def _repr_html_(self):
        text = f"<span style='white-space:pre-wrap'>{html.escape(self.text)}</span>"
        return boxed(self.title, text, "4px dotted #0072B2")


def boxed(title, body, border):
    return (f"<div role='status' style='border-left:{border};padding:.3em .8em'>"
            f"<b>{html.escape(title)}</b>: {body}</div>")


def exercise(id, hints, before=None):
    """Register a check: a function of the answers and a Probe, with three hints.

    before: called without arguments ahead of each check, where its time is not the student's.
    """
    if len(hints) != 3:
        raise ValueError(f"exercise {id} has {len(hints)} hints: it needs 3")

    def register(trial):
        answers = len(inspect.signature(trial).parameters) - 1
        EXERCISES[id] = Exercise(id, trial.__name__, tuple(hints), trial, answers, before)
        return trial
    return register


def names():
    """Every exercise there is: {id: name}, in order."""
    for path in sorted(pathlib.Path(__file__).parent.glob("c[0-9][0-9].py")):
        importlib.import_module(f".{path.stem}", __package__)
    return {id: EXERCISES[id].name for id in sorted(EXERCISES)}


def find(id):
    """The exercise of this id, or None; imports only the checks of its lecture."""
    module = f"c{id[:2]}" if isinstance(id, str) and id[:2].isdecimal() else ""
    if module and (pathlib.Path(__file__).parent / f"{module}.py").exists():
        importlib.import_module(f".{module}", __package__)
    return EXERCISES.get(id) if isinstance(id, str) else None


def unknown(id):
    return f"there is no exercise {id!r}. There are: {', '.join(names())}"


def check(id, *answers):
    """See utils.checks.check."""
    task = find(id)
    if task is None:
        return Verdict(False, "unknown", unknown(id), id=str(id))
    if len(answers) != task.answers:
        return Verdict(False, "answers", f"it takes {task.answers} answer(s), came {len(answers)}: "
                       f'check("{id}", {task.name}{", ..." * (task.answers > 1)})', id=id)
    stubs = [answer for answer in answers if is_stub(answer)]
    if stubs:
        name = getattr(stubs[0], "__name__", "the answer")
        return verdict(task, False, "todo", f"nothing written yet in {name}: replace the `...` and "
                       "run the cell again")
    if task.before:
        task.before()
    state, found, printed, line = sandbox.run(functools.partial(examine, task, answers))
    if state == "slow" or state == "stuck":
        message = f"stopped after {sandbox.LIMIT:g} s" + (f" in {line}" if line else "") + (
            ": is there a loop that never ends, or one that a tensor operation could replace?")
        if state == "stuck":
            message += " It could not be stopped: if the kernel stays busy, restart it."
        found = False, "slow", message
    elif state == "raised":                             # only in tests, see examine
        raise found
    ok, code, message = found
    if code in ("crash", "type") and any(map(has_dots, answers)):
        code, message = "todo", f"there is still a `...` to replace. Until then: {message}"
    return verdict(task, ok, code, message, printed)


def examine(task, answers):
    """Run a check in the thread of the answer: (ok, code, message)."""
    probe = Probe(task.id)
    try:
        task.trial(*answers, probe)
    except Failure as failure:
        return False, *failure.args
    except sandbox.Stopped:
        raise
    except BaseException as error:
        if "PYTEST_CURRENT_TEST" in os.environ:         # a mistake of ours: loud in the tests
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{pathlib.Path(where.filename).name} line {where.lineno}"
        return False, "internal", (
            f"the check stumbled ({type(error).__name__}: {error}, {place}) over what came: "
            f"{shown(probe.last)}. Is that what the task asks for? If so, the check has a mistake: "
            "please report it")
    return True, "ok", f"all {probe.tests} tests hold"


def verdict(task, ok, code, message, printed=""):
    note = record.record_try(task.id, ok) if code not in ("todo", "internal") else ""
    hint = "" if ok else f'Stuck? hint("{task.id}")'
    return Verdict(ok, code, message, hint, task.id, printed, note)


def hint(id, level=None):
    """See utils.checks.hint."""
    task = find(id)
    if task is None:
        return Hint(str(id), 0, unknown(id))
    if level is None:
        SHOWN[id] = SHOWN.get(id, 0) + 1
        level = min(SHOWN[id], 3)
    if level not in (1, 2, 3):
        raise ValueError(f"there is no level {level!r} of hints: take 1, 2 or 3")
    record.record_hint(id, level)
    return Hint(id, level, task.hints[level - 1])


def is_stub(answer):
    """Is this `...`, or a function (or a class with a method) that has nothing but `...` inside?"""
    if answer is ...:
        return True
    if inspect.isclass(answer):
        return any(is_stub(getattr(part, "__func__", part)) for part in vars(answer).values()
                   if inspect.isroutine(part))
    answer = inspect.unwrap(getattr(answer, "func", answer) if isinstance(answer, functools.partial)
                            else answer) if callable(answer) else answer
    code = getattr(answer, "__code__", None)
    if code is None:
        return False
    steps = [step for step in dis.get_instructions(code) if step.opname not in SILENT]
    if steps and steps[-1].opname == "RETURN_VALUE" and len(steps) > 1:
        steps = steps[:-1]                              # the step before loads the result
    return (len(steps) == 1 and steps[0].opname.startswith(("LOAD_CONST", "RETURN_CONST"))
            and steps[0].argval in (None, ...))


def has_dots(answer):
    """Does the source of an answer still hold a statement `...`?"""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    except Exception:                                   # no source: a lambda in a call, a builtin
        return False
    return any(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
               and node.value.value is ... for node in ast.walk(tree))
