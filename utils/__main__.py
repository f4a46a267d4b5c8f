"""The course's commands. This file must be readable by any old Python, to say so plainly."""
import sys

USAGE = """Commands of the course, from its folder:
  python3 -m utils lab [--no-browser]     make the environment once, open the first lecture
  python3 -m utils test [pytest's words]  run every test, or those named
  python3 -m utils data                   fetch, check and repair the data; print a table
  python3 -m utils slides 05              open lecture 05 as slides
  python3 -m utils build                  execute solutions, make exercises from them
  python3 -m utils deck                   which deck item is taught and exercised where
  python3 -m utils bench [--repeats N]    measure the code against its peers, or only
                                          train, generate, bpe or gpu where named
"""
COMMANDS = ("lab", "test", "data", "slides", "build", "deck", "bench")


def main(words):
    """Run one command; returns the exit code."""
    if sys.version_info < (3, 11):                      # noqa: UP036
        version = ".".join(str(number) for number in sys.version_info[:2])
        sys.stderr.write(
            "Python 3.11 or newer is needed, and this is Python " + version + ". Install a newer "
            "one from https://www.python.org/downloads/ and run the command with it, for example "
            "`python3.12 -m utils lab`.\n")
        return 1
    if not words or words[0] not in COMMANDS:
        asked = not words or words[0] in ("help", "-h", "--help")
        sys.stderr.write("" if asked else "There is no command " + words[0] + ".\n")
        (sys.stdout if asked else sys.stderr).write(USAGE)
        return 0 if asked else 2
    import os
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [root] + [p for p in sys.path if os.path.abspath(p) not in (here, root)]
    from utils import commands
    return commands.run(words[0], words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
