"""Makes the course's own Python environment, once, and repairs it when a run was cut short."""
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

from . import installer
from .installer import Progress, Trouble

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}."
THREADS = {"OMP_NUM_THREADS": "1"}                      # small models: one is faster
NEED_GB = 3                                             # 1.7 GB installed, the rest passes through
CUDA_GB = 10                                            # PyTorch for Linux may bring CUDA
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
            "msedge", "microsoft-edge")
PLACES = ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
          "/Applications/Chromium.app/Contents/MacOS/Chromium",
          "C:/Program Files/Google/Chrome/Application/chrome.exe",
          "C:/Program Files (x86)/Google/Chrome/Application/chrome.exe",
          "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe")


def python():
    """The environment's own Python; it need not exist yet."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure():
    """Go on inside a complete environment: make it, repair it, or say in plain words why not.

    Returns when this process runs in it already; otherwise starts the same command there.
    """
    if not _complete():
        _check_machine()
        with installer.lock(VENV / ".lock", "setting up the course") as lock_file:
            if not _complete():                         # another run may have done it meanwhile
                _make(lock_file)
    if not _inside():
        _restart()


def _inside():
    return Path(sys.prefix).resolve() == VENV.resolve()


def _facts():
    """What the stamp must say for the environment to count as complete."""
    wanted = b"".join((ROOT / name).read_bytes() for name in ("requirements.txt", "pyproject.toml"))
    try:
        config = (VENV / "pyvenv.cfg").read_text(encoding="utf8")
    except (OSError, UnicodeDecodeError):
        config = ""
    version = re.search(r"^version(?:_info)?\s*=\s*([\d.]+)", config, re.MULTILINE)
    return {"requirements": hashlib.sha256(wanted).hexdigest(), "folder": str(VENV.resolve()),
            "python": version[1] if version else ""}


def _stamp():
    try:
        return json.loads((VENV / "complete.json").read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}


def _complete():
    if not python().exists() or _stamp() != _facts():
        return False
    return not _inside() or _stamp()["python"].startswith(_VERSION)


def _check_machine():
    for module in ("venv", "ensurepip"):
        try:
            importlib.import_module(module)
        except ImportError:
            raise Trouble(
                f"This Python lacks its module {module}: on Debian or Ubuntu run `sudo apt install "
                f"python3.{sys.version_info[1]}-venv`, elsewhere install Python from python.org; "
                "then run the same command again.") from None
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEED_GB and not python().exists():
        raise Trouble(f"The disk has {free:.1f} GB left where the course lies ({ROOT}); the "
                      f"environment needs about {NEED_GB} GB. Free some space, then run the same "
                      "command again.")
    if sys.platform == "linux" and NEED_GB <= free < CUDA_GB:
        print(f"Note: {free:.1f} GB are free. PyTorch for Linux may bring CUDA libraries, then "
              f"{CUDA_GB} GB are needed. PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu "
              "before the command lets pip take the smaller build.")


def _make(lock_file):
    log, temporary = VENV / "install.log", VENV / ".tmp"
    progress = Progress("Preparing the course")
    try:
        stamp, facts = _stamp(), _facts()
        moved = stamp and (stamp["folder"], stamp["python"]) != (facts["folder"], facts["python"])
        if moved or not _healthy():
            progress.show("making the environment (.venv)")
            _clear()
            command = [_base_python(), "-m", "venv", "--without-pip", VENV]
            _step(command, log, temporary, lambda text: None, lock_file)
            progress.show("adding pip")
            command = [python(), "-m", "ensurepip", "--default-pip"]
            _step(command, log, temporary, lambda text: None, lock_file)
        (VENV / "complete.json").unlink(missing_ok=True)
        _drop_halves()
        wanted = _facts()["requirements"]               # as pip reads them, should they change
        watcher = _Watcher(progress, temporary)
        command = [python(), "-m", "pip", "install", "--progress-bar", "off",
                   "--no-warn-script-location", "-r", "requirements.txt"]
        _step(command, log, temporary, watcher, lock_file)
        progress.show("trying the environment")
        command = [python(), "-c", "import jupyterlab, torch, utils.checks"]
        code, text = installer.run(command, log, temporary, lambda text: None, VENV, lock_file)
        if code:
            (VENV / "pyvenv.cfg").unlink(missing_ok=True)       # the next run starts afresh
            raise Trouble(f"The new environment does not work ({_last_line(text)}). Run the same "
                          f"command again: it starts afresh. Log: {log}")
        _write_stamp(wanted)
    except BaseException:
        progress.stop()
        raise
    progress.done("the environment is ready")


def _step(command, log, temporary, watch, lock_file):
    code, text = installer.run(command, log, temporary, watch, ROOT, lock_file)
    if code:
        raise Trouble(installer.explain(text, VENV, log))


def _last_line(text):
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "it gave no reason"


def _base_python():
    """The Python under a virtual environment, or the one that runs."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _healthy():
    """Whether .venv holds a Python that runs and has pip."""
    if not python().exists() or not (VENV / "pyvenv.cfg").exists():
        return False
    command = [python(), "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(command, env=installer.environ(VENV), timeout=60,
                              capture_output=True, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _clear():
    """Empty .venv, but for the lock that this run holds; first what makes it count as whole."""
    (VENV / "pyvenv.cfg").unlink(missing_ok=True)
    for item in VENV.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif item.name != ".lock":
            item.unlink()


def _packages():
    folder = VENV / "Lib" if os.name == "nt" else next((VENV / "lib").glob("python3*"), VENV)
    return folder / "site-packages"


def _drop_halves():
    """Remove what a killed pip left: it writes RECORD last, and parks old files under ~name."""
    for item in list(_packages().glob("*.dist-info")):
        if not (item / "RECORD").exists():
            shutil.rmtree(item)
    for item in list(_packages().glob("~*")):
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def _write_stamp(requirements):
    part = VENV / "complete.json.part"
    facts = _facts() | {"requirements": requirements}
    part.write_text(json.dumps(facts, indent=1), encoding="utf8")
    os.replace(part, VENV / "complete.json")


class _Watcher:
    """Turns pip's log into the words of the progress line."""

    def __init__(self, progress, temporary):
        self.progress, self.temporary = progress, temporary

    def __call__(self, text):
        total = re.findall(r"^Installing collected packages: (.*)$", text, re.MULTILINE)
        if total:
            want = len(total[-1].split(","))
            done = min(want, len(glob("*.dist-info/RECORD", root_dir=_packages())))
            self.progress.show("unpacking", f"{done} packages of {want}")
            return
        found = len(re.findall(r"^Collecting ", text, re.MULTILINE))
        last = re.findall(r"^(?:Collecting (\S+)|\s+Downloading (\S+)(?: \((.*)\))?|"
                          r"WARNING: (Retrying))", text, re.MULTILINE)
        name, file, size, retry = last[-1] if last else ("", "", "", "")
        if retry:
            self.progress.show("no answer from the package index, trying again")
        elif file and size.endswith("MB"):
            name = file.rsplit("/", 1)[-1].split("-")[0]
            self.progress.show("fetching packages", f"({found}) {name}, "
                               f"{installer.arriving(self.temporary):.0f} of {size}")
        else:
            count = f"({found})" if found else ""
            self.progress.show("fetching packages", f"{count} {name or file.split('-')[0]}")


def _restart():
    """The same command in the environment. Does not return."""
    if os.environ.get("COURSE_RESTARTED") == str(os.getpid()):
        raise Trouble(f"{python()} does not start in its own environment. Delete the folder "
                      f"{VENV} and run the same command again.")
    command = [str(python()), str(ROOT / "utils" / "__main__.py"), *sys.argv[1:]]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    variables["COURSE_RESTARTED"] = str(os.getpid())    # execve keeps the process's number
    variables["PATH"] = str(python().parent) + os.pathsep + variables.get("PATH", os.defpath)
    variables["VIRTUAL_ENV"] = str(VENV)
    sys.stdout.flush()
    if os.name == "posix":
        os.execve(command[0], command, variables)
    child = subprocess.Popen(command, env=variables)
    while True:                                         # Ctrl-C is the child's to answer
        try:
            sys.exit(child.wait())
        except KeyboardInterrupt:
            pass


def browser():
    """Path of a Chromium for the browser tests, or None. COURSE_BROWSER names another."""
    named = os.environ.get("COURSE_BROWSER")
    if named:
        return named if Path(named).exists() else None
    for name in BROWSERS:
        if shutil.which(name):
            return shutil.which(name)
    return next((place for place in PLACES if Path(place).exists()), None)
