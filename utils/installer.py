"""Runs pip with one line of progress, and says in one sentence what went wrong."""
import errno
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from glob import glob

CAUSES = (                                              # what pip writes -> what it means
    (r"No space left on device|Errno 28|not enough space on the disk|Disk quota exceeded", "full"),
    (r"DO NOT MATCH THE HASHES", "hash"),
    (r"requires? a different Python", "version"),
    ((r"NewConnectionError|ConnectTimeout|ConnectionError|Failed to establish|ProxyError|"
      r"SSLError|CERTIFICATE_VERIFY_FAILED|Read timed out|ReadTimeout|IncompleteRead|"
      r"Connection (refused|reset|aborted)|Network is unreachable|Max retries exceeded|"
      r"name resolution|getaddrinfo failed|50\d Server Error|from versions: none"), "network"),
    (r"Permission denied|Errno 13|Access is denied|Read-only file system", "rights"),
    (r"from versions:|No matching distribution", "version"))


class Trouble(Exception):
    """Something the reader can put right: the message says what, in one sentence or two."""


class Progress:
    """One line on the terminal that is written over; in a log, a line for each new step."""

    def __init__(self, title):
        self.title, self.start, self.step, self.wide = title, time.monotonic(), None, 0
        self.live = sys.stdout.isatty()

    def show(self, step, detail=""):
        """step names what is going on; detail counts and changes often (terminals only)."""
        seconds = int(time.monotonic() - self.start)
        if self.live:
            room = shutil.get_terminal_size().columns - 1
            line = f"{self.title}: {step} {detail}".rstrip()
            clock = f" [{seconds // 60}:{seconds % 60:02d}]"
            line = line[:room - len(clock)] + clock
            print("\r" + line.ljust(self.wide), end="", flush=True)
            self.wide = len(line)
        elif step != self.step:
            print(f"{self.title}: {step}", flush=True)
        self.step = step

    def done(self, text):
        """Replace the line by what was reached."""
        seconds = int(time.monotonic() - self.start)
        line = f"{self.title}: {text} ({seconds} s)"
        print(("\r" if self.live else "") + line.ljust(self.wide), flush=True)

    def stop(self):
        """Leave the line as it stands, so that a message begins on a line of its own."""
        if self.live and self.step:
            print(flush=True)


def cause(text):
    """The kind of failure in a text of pip's or the system's, or ""."""
    return next((kind for pattern, kind in CAUSES if re.search(pattern, text, re.IGNORECASE)), "")


def explain(text, place, log):
    """One plain sentence, with the way out, for what pip wrote. place: the folder written to."""
    errors = [line.strip() for line in text.splitlines() if re.match(r"\s*ERROR:", line)]
    last = errors[-1].removeprefix("ERROR:").strip() if errors else "it gave no reason"
    sentence = {
        "full": f"The disk is full: free about 3 GB for {place}.",
        "hash": "What the package index sent is not the pinned file, so it was thrown away.",
        "network": "The package index could not be reached: check the network, or set "
                   "HTTPS_PROXY or PIP_INDEX_URL where your place needs them.",
        "rights": f"Writing in {place} is not allowed: copy the course into a folder of your own.",
        "version": f"The package index has no fitting release ({last[:160]}): "
                   "Python 3.11 to 3.13 on a 64-bit system is needed."}
    kind = cause(text) or ("full" if shutil.disk_usage(place).free < 1e8 else "")
    return (f"{sentence.get(kind, f'pip failed: {last[:200]}.')} "
            f"Then run the same command again: it goes on where it stopped. pip's log: {log}")


def system_trouble(error):
    """The Trouble for an OSError that the reader can put right."""
    place = error.filename or "a file"
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return Trouble(f"The disk is full, so {place} was not written: free about 3 GB, then run "
                       "the same command again: it goes on where it stopped.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Trouble(f"Writing to {place} is not allowed: copy the course into a folder of "
                       "your own, or correct the rights of this one, and run the command again.")
    return Trouble(f"The system answered {error.strerror!r} for {place}.")


@contextmanager
def lock(path, what):
    """Only one process at a time. The system frees the lock when its holder ends, however.

    Yields a file whose handle is given to pip, so that the lock also outlasts a killed parent
    for as long as pip still writes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        told = False
        while not _try_lock(file):
            if not told:
                file.seek(1)
                holder = file.read(20).decode(errors="replace").strip() or "unknown"
                print(f"Another run (process {holder}) is {what}; waiting for it.", flush=True)
                told = True
            time.sleep(0.5)
        file.truncate(1)                                # byte 0 is what Windows locks
        file.seek(1)
        file.write(str(os.getpid()).encode())
        file.flush()
        try:
            yield file
        finally:
            _unlock(file)


def _try_lock(file):
    file.seek(0)
    try:
        if sys.platform == "win32":
            import msvcrt
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.ENOLCK, errno.ENOTSUP)     # a disk without locks: go on
    return True


def _unlock(file):
    try:
        if sys.platform == "win32":
            import msvcrt
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_UN)
    except OSError:
        pass


def environ(temporary):
    """The variables for a Python of the course: none that would lead pip elsewhere."""
    names = ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX",
             "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_QUIET", "PIP_REQUIRE_HASHES")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    place = str(temporary)                              # /tmp is often small: use the same disk
    return kept | {"TMPDIR": place, "TEMP": place, "TMP": place, "PYTHONNOUSERSITE": "1",
                   "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0",
                   "PIP_NO_COLOR": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def run(command, log, temporary, watch, cwd=None, lock_file=None):
    """Run a command with its output in the file log; watch(text so far) is called often.

    Returns (exit code, output). The child ends with this process on Ctrl-C.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    handles = {"pass_fds": (lock_file.fileno(),)} if lock_file and os.name == "posix" else {}
    start = log.stat().st_size if log.exists() else 0
    with open(log, "ab") as output:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, cwd=cwd,
                                 stderr=subprocess.STDOUT, env=environ(temporary), **handles)
        try:
            while child.poll() is None:
                watch(_tail(log, start))
                try:
                    child.wait(0.2)
                except subprocess.TimeoutExpired:
                    pass
        except BaseException:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return child.returncode, _tail(log, start)


def _tail(log, start):
    with open(log, "rb") as stream:
        stream.seek(start)
        return stream.read().decode("utf8", "replace")


def arriving(temporary):
    """Megabytes of the file that pip is downloading right now, 0.0 for none."""
    sizes = [0]
    for name in glob("pip-*/*", root_dir=temporary):    # unlike pathlib's, no error when pip
        with suppress(OSError):                         # has moved a folder or a file away
            sizes.append((temporary / name).stat().st_size)
    return max(sizes) / 1e6
