"""Runs a student's function in a thread that can be stopped, and leaves the notebook as it was.

What it cannot stop is one call of a library that never returns (sorting an endless iterator, one
huge power): Python itself is held there, as it would be without a check. Restart the kernel then.
"""
import builtins
import contextlib
import ctypes
import functools
import io
import linecache
import pathlib
import random
import sys
import sysconfig
import threading
import time
import warnings

import torch

LIMIT = 10.0                                            # seconds for one check, all calls together
PATIENCE = 2.0                                          # seconds of trying to stop it after that
PRINTED = 2000                                          # characters of output that are kept
DEPTH = 20_000                                          # frames that fit the stack below
STACK = 64 * 2 ** 20                                    # bytes
WORKER = "course-check"
HERE = str(pathlib.Path(__file__).resolve().parent)
LIBRARY = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), HERE, "<frozen"})


class Stopped(BaseException):
    """Raised inside the student's function when its time is over.

    Python makes the exception in the thread that gets it: the chance to have it raised there again
    after each further line of the student's, so that no `except:` can swallow it for good.
    """

    def __init__(self):
        super().__init__()
        if sys.gettrace() is None and threading.current_thread().name == WORKER:
            again = functools.partial(raise_in, threading.get_ident(), Stopped)
            frame = sys._getframe(1)
            while frame is not None:
                if is_student(frame.f_code.co_filename):
                    frame.f_trace = again
                frame = frame.f_back
            sys.settrace(lambda frame, *_: again if is_student(frame.f_code.co_filename) else None)


# Raises a class in a thread before its next instruction of Python. It takes three more arguments,
# so that it can be a trace function: one written in Python would get the exception itself.
raise_in = ctypes.PYFUNCTYPE(None, ctypes.c_ulong, *[ctypes.py_object] * 4)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi))


class NoInput(EOFError):
    """Raised by input() inside a check."""


class Tail(io.TextIOBase):
    """A text stream that remembers its end only: an endless print cannot fill the memory."""

    def __init__(self):
        self.text, self.total = "", 0

    def writable(self):
        return True

    def write(self, text):
        text = str(text)
        self.text, self.total = (self.text + text[-PRINTED:])[-PRINTED:], self.total + len(text)
        return len(text)

    def kept(self):
        lost = self.total - len(self.text)
        return (f"[{lost} earlier characters left out]\n" if lost else "") + self.text


def run(work):
    """Run work() within the limit. Returns (state, result, printed, line).

    state: "done" with what work returned, "raised" with its exception, "slow" when it was stopped,
    "stuck" when it could not be. line: where a stopped one was, as text, or "".
    """
    box, place, over, running = {}, "", [], threading.Lock()

    def target():
        try:
            try:
                box["result"] = work()
            finally:
                sys.settrace(None)                      # a Stopped on its way comes here at last
        except BaseException as error:                  # the thread is ours: nothing may escape it
            box["error"] = error
        running.release()

    with guarded(over) as printed:
        running.acquire()
        worker = start(target)
        end = time.monotonic() + LIMIT
        try:
            while not (done := ended(worker, running)) and time.monotonic() < end:
                pass
            text = printed.kept()                       # before stopping it prints something
            if not done:
                place = student_line(sys._current_frames().get(worker.ident))
                state = "slow" if stop(worker, running, over) else "stuck"
        except KeyboardInterrupt:
            stopped = stop(worker, running, over)
            raise KeyboardInterrupt(
                "the check was interrupted, and what it ran is stopped" if stopped else
                "interrupted, but your function still runs: restart the kernel") from None
    if not done:
        return state, None, text, place
    state = "raised" if "error" in box else "done"
    return state, box.get("error", box.get("result")), text, ""


def start(target):
    """Start a daemon thread with a stack deep enough for DEPTH nested calls."""
    worker = threading.Thread(target=target, daemon=True, name=WORKER)
    before = threading.stack_size()
    with contextlib.suppress(ValueError, RuntimeError):     # a system may forbid this size
        threading.stack_size(STACK)
    try:
        worker.start()
    finally:
        threading.stack_size(before)
    return worker


def ended(worker, running):
    """Has it ended? Waits 50 ms for it: an interrupt is seen at once. (Thread.join is not for this:
    interrupted in Python 3.11, it takes a running thread for an ended one.)"""
    return running.acquire(timeout=0.05) or worker.ident not in sys._current_frames()


def stop(worker, running, over):
    """Raise Stopped in a thread until it ends (True) or patience does: it may be in a library."""
    over.append(True)                                   # ends its sleep
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        raise_in(worker.ident, Stopped, None, None, None)
        if ended(worker, running):
            return True
    return False


@contextlib.contextmanager
def guarded(over):
    """Catch what is printed; afterwards random states, dtype, threads and limits are as before."""
    nap = time.sleep

    def sleep(seconds):
        while threading.current_thread().name == WORKER:
            if over:
                raise Stopped
            if seconds <= 0.02:
                break
            nap(0.02)
            seconds -= 0.02
        nap(seconds)

    def no_input(prompt=""):
        raise NoInput("a checked function gets all it needs as arguments: it cannot read input()")

    def no_exit():
        raise SystemExit("a checked function cannot end the kernel")

    printed, np = Tail(), sys.modules.get("numpy")
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    cuda = torch.cuda.is_initialized() and torch.cuda.get_rng_state_all()
    states = random.getstate(), torch.get_rng_state(), np and np.random.get_state()
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    depth = sys.getrecursionlimit()
    read, stdin, sys.stdin, builtins.input = builtins.input, sys.stdin, io.StringIO(), no_input
    time.sleep = sleep
    try:
        random.seed(0)
        torch.default_generator.manual_seed(0)
        torch.set_default_dtype(torch.float64)          # torch.zeros(n) then fits the inputs
        sys.setrecursionlimit(min(depth, DEPTH))
        if shell:
            shell.ask_exit = no_exit                    # exit() in a notebook calls this
        if np:
            np.random.seed(0)
        with (warnings.catch_warnings(), contextlib.redirect_stdout(printed),
              contextlib.redirect_stderr(printed)):
            yield printed
    finally:
        sys.stdin, builtins.input, time.sleep = stdin, read, nap
        if shell:
            del shell.ask_exit
        random.setstate(states[0])
        torch.set_rng_state(states[1])
        if np:
            np.random.set_state(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        sys.setrecursionlimit(depth)


def is_student(filename):
    """Is this file the student's own: neither a library nor a check?"""
    inside = any(part in filename for part in ("site-packages", "dist-packages"))
    return not inside and not filename.startswith(LIBRARY)


def student_line(frame):
    """The innermost line of the student's among a frame and its callers: 'line 3, `x = y`'."""
    while frame is not None and not is_student(frame.f_code.co_filename):
        frame = frame.f_back
    return "" if frame is None else line_text(frame.f_code.co_filename, frame.f_lineno)


def line_text(filename, number):
    source = linecache.getline(filename, number).strip()
    return f"line {number}" + (f", `{source[:120]}`" if source else "")
