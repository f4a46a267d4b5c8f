"""Starts JupyterLab on a notebook of the course, and ends it cleanly at the first Ctrl-C."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from contextlib import contextmanager, suppress
from pathlib import Path

from .environment import ROOT, THREADS, VENV
from .installer import Trouble

START_SECONDS = 120
QUIET = ("--LabApp.news_url=None",
         "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
         "--ServerApp.answer_yes=True", "--ServerApp.log_level=WARN", "--no-browser")


# Lab's own questions on the first start (news? updates?) stay unasked.
CALM = {"@jupyterlab/apputils-extension:notification": {
    "fetchNews": "false", "checkForUpdates": False}}


@contextmanager
def server(*options):
    """A running JupyterLab on this machine only. Yields (its address, its token, the process).

    Raises Trouble, with the log's last line, when it does not start. Leaving ends the server
    and its kernels; SIGTERM and a closed terminal window count as Ctrl-C.
    """
    defaults = Path(sys.prefix) / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    defaults.parent.mkdir(parents=True, exist_ok=True)
    defaults.write_text(json.dumps(CALM), encoding="utf-8")
    log, runtime = VENV / "lab.log", tempfile.mkdtemp(prefix="course-lab-")
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--ServerApp.root_dir={ROOT}",
               *QUIET, *options]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    group = ({"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else
             {"start_new_session": True})               # Ctrl-C comes to this process alone
    variables = THREADS | os.environ | {
        "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_RUNTIME_DIR": runtime}
    with open(log, "wb") as output:
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT, env=variables, **group)
    found = None
    for name in ("SIGTERM", "SIGHUP"):                  # SIGHUP: the terminal window was closed
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        found = _wait(child, Path(runtime), log)
        yield found["url"], found["token"], child
    finally:
        _end(child, found)
        shutil.rmtree(runtime, ignore_errors=True)


def _wait(child, runtime, log):
    """The server's own account of itself: a dict with url and token among others."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        try:
            facts, = runtime.glob("jpserver-*.json")    # ValueError: not there yet
            found = json.loads(facts.read_text())
            with urllib.request.urlopen(f"{found['url']}api?token={found['token']}", timeout=5):
                return found
        except (OSError, ValueError):
            time.sleep(0.1)
    lines = log.read_text(errors="replace").strip().splitlines()
    cause = lines[-1] if lines else f"no answer for {START_SECONDS} s"
    raise Trouble(f"JupyterLab did not start ({cause[:200]}). Its log: {log}")


def _end(child, found):
    """Ask the server to stop its kernels and itself; a second Ctrl-C cannot cut that short."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if child.poll() is None and found:
            urllib.request.urlopen(urllib.request.Request(
                f"{found['url']}api/shutdown", method="POST",
                headers={"Authorization": f"token {found['token']}"}), timeout=5).close()
            child.wait(15)
    except (OSError, subprocess.TimeoutExpired):
        pass                                            # it does not answer: end it from outside
    finally:
        for stop in (child.terminate, child.kill):
            if child.poll() is None:
                stop()
                with suppress(subprocess.TimeoutExpired):
                    child.wait(5)
        signal.signal(signal.SIGINT, before)


def show(address):
    """Open a page in the reader's browser; without a screen Python would start a text browser."""
    named = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform != "linux" or any(os.environ.get(name) for name in named):
        webbrowser.open(address)


def open_lab(notebook, browser=True):
    """Fetch missing data, then serve JupyterLab with a notebook open until Ctrl-C."""
    from . import data, store
    missing = store.fetch_missing(list(data.SOURCES.values()))
    data.prepare()
    if missing:
        print("The lab opens all the same. Until then these do not load: "
              f"{', '.join(missing)}. `{store.COMMAND}` fetches them.", flush=True)
    try:
        with server() as (url, token, child):
            address = f"{url}lab/tree/{notebook}?token={token}"
            print(f"JupyterLab is ready. Ctrl-C ends it.\n  {address}", flush=True)
            if browser:
                show(address)
            if child.wait():
                raise Trouble(f"JupyterLab ended by itself. Its log: {VENV / 'lab.log'}")
    except KeyboardInterrupt:
        pass
    with suppress(OSError):                             # the terminal may be gone
        print("\nJupyterLab has ended.", flush=True)
    return 0
