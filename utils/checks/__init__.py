"""Checks, hints and progress: `check("05.2", attention)`, `hint("05.2")`, `progress()`."""


def check(exercise_id, *answers):
    """Try an answer and say what holds or which property fails first.

    exercise_id: "05.2" is the second exercise of lecture 05; answers: the function (or functions)
    the exercise asks for, not called. Returns a Verdict with ok, code, message and hint. A wrong
    answer of any kind gives a verdict: it never raises, and stops what runs longer than 10 s.
    """
    from . import engine                                # torch is imported by the first check
    return engine.check(exercise_id, *answers)


def hint(exercise_id, level=None):
    """Show the next of three hints (after the third, the third again), or the one of a level."""
    from . import engine
    return engine.hint(exercise_id, level)


def progress():
    """What you have passed, when, and with how many tries and hints, as a table."""
    from . import engine
    from .record import table
    return table(engine.names())
