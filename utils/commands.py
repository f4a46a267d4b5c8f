"""What `python3 -m utils` can do: each command in the course's own environment."""
import os
import subprocess
import sys

from . import environment
from .installer import Trouble, system_trouble

NBVAL = ("--nbval", "--nbval-current-env", "--nbval-cell-timeout", "300",
         "--nbval-sanitize-with", "tests/sanitize.cfg")


def run(command, words):
    """Run one command and return its exit code; troubles are told in plain sentences."""
    try:
        environment.ensure()
        from .data import DataError
        try:
            return globals()[f"_{command}"](words) or 0
        except DataError as error:
            raise Trouble(error) from None
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except OSError as error:
        print(system_trouble(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again: it goes on where it stopped.",
              file=sys.stderr)
        return 130


def _none(words, command):
    if words:
        raise Trouble(f"`{command}` takes nothing more, and {' '.join(words)!r} came.")


def _lab(words):
    from . import lab
    if words not in ([], ["--no-browser"]):
        raise Trouble(f"`lab` takes --no-browser or nothing, and {' '.join(words)!r} came.")
    return lab.open_lab("lectures/00_start_here.ipynb", browser=not words)


def _data(words):
    from . import data, store
    _none(words, "data")
    code = store.repair_all(list(data.SOURCES.values()))
    data.prepare()
    return code


def _slides(words):
    from . import slides
    stems = sorted(p.stem for p in (environment.ROOT / "lectures").glob("[0-9]*.ipynb"))
    chosen = [stem for stem in stems if len(words) == 1 and stem.startswith(words[0].zfill(2))]
    if len(chosen) != 1:
        numbers = ", ".join(stem[:2] for stem in stems)
        raise Trouble(f"`slides` needs the number of one lecture: {numbers}.")
    return slides.present(chosen[0])


def _build(words):
    from . import notebooks
    return notebooks.main(words)


def _deck(words):
    from . import deck
    _none(words, "deck")
    return deck.main()


def _bench(words):
    from . import bench
    return bench.main(words)


def _test(words):
    """pytest over everything, or over what the words say, with the notebooks' settings."""
    if environment.browser() is None:
        get = ("sudo apt-get install chromium" if sys.platform == "linux" else
               "install Chrome from https://www.google.com/chrome/")
        message = f"No Chromium or Chrome was found; the browser tests need one ({get})."
        if os.environ.get("CI"):
            raise Trouble(message)
        print(f"{message} They are skipped.", flush=True)
    folders = ["tests", "lectures", "solutions", "exercises"]
    named = [word for word in words if not word.startswith("-")]
    chosen = words if any((environment.ROOT / word.split("::")[0]).exists() for word in named) \
        else [*folders, *words]
    variables = environment.THREADS | os.environ
    child = subprocess.Popen([sys.executable, "-m", "pytest", *NBVAL, *chosen],
                             cwd=environment.ROOT, env=variables)
    try:
        return child.wait()
    except KeyboardInterrupt:
        child.wait()
        raise
