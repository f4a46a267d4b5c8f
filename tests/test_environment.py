"""The two commands from a bare Python: made once, repaired when cut short, plain when stuck."""
import ast
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest
from utils import __main__ as entry
from utils import commands, environment, installer

BOOT = ("__init__", "__main__", "commands", "environment", "installer")
TOY = {"torch.py": "", "jupyterlab.py": "", "utils/__init__.py": "", "utils/checks.py": ""}
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


def toy_wheel(folder, name, version, files):
    """A wheel that pip installs without building anything; returns its path."""
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/METADATA",
                         f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL",
                         "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in files))
    return path


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone with the real bootstrap and a toy course; its folder has a space and an accent."""
    root = tmp_path_factory.mktemp("a clone é")
    (root / "utils").mkdir()
    (root / "wheels").mkdir()
    for name in BOOT:
        shutil.copy(environment.ROOT / "utils" / f"{name}.py", root / "utils")
    (root / "utils" / "data.py").write_text("class DataError(Exception): pass\n")
    (root / "utils" / "deck.py").write_text("import sys\ndef main(): print('in', sys.prefix)\n")
    (root / "requirements.txt").write_text("toy==1\n")
    (root / "pyproject.toml").write_text("")
    toy_wheel(root / "wheels", "toy", "1", TOY)
    toy_wheel(root / "wheels", "toy", "2", TOY | {"toy2.py": ""})
    return root


def start(root, folder=None, **variables):
    """`python utils/__main__.py deck` from `folder`, with the toy's wheels as the only index."""
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": (root / "wheels").as_uri(),
             "PIP_CONFIG_FILE": os.devnull}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.Popen([environment._base_python(), root / "utils" / "__main__.py", "deck"],
                            cwd=folder or root, env=kept | index | variables, text=True,
                            encoding="utf8", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def command(root, folder=None, **variables):
    """(exit code, what was printed) of the same."""
    child = start(root, folder, **variables)
    return (*reversed((child.communicate(timeout=120)[0], child.returncode)),)


def site(root):
    return next((root / ".venv").glob("[lL]ib*/**/site-packages"))


def test_first_run_makes_the_environment_and_goes_on_inside_it(clone, tmp_path):
    code, text = command(clone, tmp_path)               # called from another folder
    assert code == 0, text
    assert text.splitlines()[-1] == f"in {clone / '.venv'}"
    assert "Preparing the course" in text and "Traceback" not in text
    assert len(text.splitlines()) < 10                  # one line a step, no wall of text


def test_next_run_takes_a_second_and_touches_nothing(clone):
    command(clone)
    before = (clone / ".venv" / "install.log").stat().st_mtime_ns
    started = time.perf_counter()
    code, text = command(clone, PIP_FIND_LINKS="", PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert (code, text) == (0, f"in {clone / '.venv'}\n")
    assert time.perf_counter() - started < 5
    assert (clone / ".venv" / "install.log").stat().st_mtime_ns == before


def test_changed_requirements_are_installed(clone):
    command(clone)
    (clone / "requirements.txt").write_text("toy==2\n")
    assert command(clone)[0] == 0 and (site(clone) / "toy2.py").exists()
    (clone / "requirements.txt").write_text("toy==1\n")
    assert command(clone)[0] == 0 and not (site(clone) / "toy2.py").exists()


def test_requirements_changed_during_the_install_are_not_forgotten(clone):
    command(clone)
    (clone / ".venv" / "complete.json").unlink()
    child = start(clone)
    while "trying the environment" not in child.stdout.readline():      # pip has read them
        assert child.poll() is None
    (clone / "requirements.txt").write_text("toy==2\n")
    child.communicate(timeout=120)
    assert command(clone)[0] == 0 and (site(clone) / "toy2.py").exists()
    (clone / "requirements.txt").write_text("toy==1\n")


def test_what_a_killed_pip_left_is_repaired(clone):
    command(clone)
    (clone / ".venv" / "complete.json").unlink()
    (site(clone) / "toy-1.dist-info" / "RECORD").unlink()
    (site(clone) / "torch.py").unlink()                 # half unpacked
    (site(clone) / "~oy").mkdir()
    code, text = command(clone)
    assert code == 0, text
    assert (site(clone) / "torch.py").exists() and not (site(clone) / "~oy").exists()


@posix
def test_moved_clone_is_made_anew(clone, tmp_path):
    command(clone)
    moved = clone.rename(tmp_path / "moved")
    child = start(moved)
    assert "making the environment" in child.stdout.readline()
    assert "adding pip" in child.stdout.readline()
    child.kill()                                        # and the next run makes it from this
    child.wait()
    moved.rename(clone)
    code, text = command(clone)
    assert code == 0 and "making the environment" in text, text


def test_environment_that_does_not_import_is_named_and_made_anew(clone):
    command(clone)
    (clone / ".venv" / "complete.json").unlink()
    (site(clone) / "torch.py").write_text("raise OSError('libfoo.so.1 is missing')")
    code, text = command(clone)
    assert code == 1 and "libfoo.so.1 is missing" in text and "Traceback" not in text
    code, text = command(clone)
    assert code == 0 and "making the environment" in text, text


def test_environment_without_pip_or_with_a_dead_python_is_not_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    assert not environment._healthy()
    subprocess.run([environment._base_python(), "-m", "venv", "--without-pip", tmp_path / ".venv"],
                   check=True)
    assert environment.python().exists() and not environment._healthy()
    environment.python().unlink()
    environment.python().write_text("no program")
    assert not environment._healthy()


@posix
def test_run_killed_during_the_install_is_taken_over_by_the_next(clone):
    (clone / "requirements.txt").write_text("toy==2\n")
    child = start(clone)
    while "fetching" not in child.stdout.readline():
        assert child.poll() is None
    child.kill()
    child.wait()
    assert not (clone / ".venv" / "complete.json").exists()
    code, text = command(clone)
    assert code == 0 and (site(clone) / "toy2.py").exists(), text
    (clone / "requirements.txt").write_text("toy==1\n")


def test_second_run_waits_for_the_first(clone):
    command(clone)
    stamp = clone / ".venv" / "complete.json"
    content = stamp.read_text()
    stamp.unlink()
    with installer.lock(clone / ".venv" / ".lock", "testing"):
        child = start(clone)
        assert f"process {os.getpid()}" in child.stdout.readline()
        assert child.poll() is None
        stamp.write_text(content)                       # the first has finished the work
    assert child.communicate(timeout=60)[0] == f"in {clone / '.venv'}\n"


@posix
def test_lock_of_a_dead_process_is_free(tmp_path):
    code = ("import os, signal, sys; from pathlib import Path; from utils import installer\n"
            "with installer.lock(Path(sys.argv[1]), ''): os.kill(os.getpid(), signal.SIGKILL)")
    subprocess.run([sys.executable, "-c", code, tmp_path / "lock"], check=False, timeout=30)
    started = time.perf_counter()
    with installer.lock(tmp_path / "lock", "testing"):
        assert time.perf_counter() - started < 1


def test_interrupted_install_ends_pip_too(tmp_path):
    seen, started = [], time.perf_counter()

    def stop(text):
        seen.append(text)
        if "pid" in text:
            raise KeyboardInterrupt
    code = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        installer.run([sys.executable, "-c", code], tmp_path / "log", tmp_path / "tmp", stop)
    if os.name == "posix":
        with pytest.raises(ProcessLookupError):
            os.kill(int(seen[-1].split()[1]), 0)
    assert not (tmp_path / "tmp").exists() and time.perf_counter() - started < 8


def test_unreachable_index_is_said_plainly(clone):
    command(clone)
    (clone / ".venv" / "complete.json").unlink()
    (clone / "requirements.txt").write_text("toy==3\n")
    code, text = command(clone, PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_RETRIES="0",
                         PIP_INDEX_URL="http://127.0.0.1:9/simple")
    (clone / "requirements.txt").write_text("toy==1\n")
    assert code == 1 and "could not be reached" in text and "Traceback" not in text
    assert str(clone / ".venv" / "install.log") in text


def test_missing_release_is_said_plainly(clone):
    command(clone)
    (clone / "requirements.txt").write_text("toy==3\n")
    code, text = command(clone)
    (clone / "requirements.txt").write_text("toy==1\n")
    assert code == 1 and "no fitting release" in text and "toy==3" in text


@pytest.mark.parametrize("text, word", [
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
     "disk is full"),
    ("WARNING: Retrying ... NewConnectionError(...)\nERROR: No matching distribution found for x",
     "could not be reached"),
    ("ERROR: [Errno 13] Permission denied: '/course/.venv/lib'", "not allowed"),
    ("ERROR: No matching distribution found for torch==2.13.0", "Python 3.11"),
    ("ERROR: the wheel is crooked", "the wheel is crooked")])
def test_each_failure_of_pip_has_one_sentence(text, word, tmp_path):
    told = installer.explain(text, tmp_path, tmp_path / "pip.log")
    assert word in told and "same command again" in told and str(tmp_path / "pip.log") in told
    assert "\n" not in told


def test_full_disk_is_told_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: type("usage", (), {"free": 5e8}))
    with pytest.raises(installer.Trouble, match=r"0\.5 GB left .* about 3 GB"):
        environment.ensure()
    assert not list(tmp_path.iterdir())


def test_missing_ensurepip_names_debian_s_package(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(installer.Trouble, match=r"apt install python3\.\d+-venv"):
        environment.ensure()


@pytest.mark.parametrize("number, word", [(errno.ENOSPC, "disk is full"), (errno.EACCES, "allowed"),
                                          (errno.EROFS, "allowed"), (errno.EIO, "Input/output")])
def test_errors_of_the_system_are_sentences(monkeypatch, capsys, number, word):
    def fail():
        raise OSError(number, os.strerror(number), "/course/.venv")
    monkeypatch.setattr(environment, "ensure", fail)
    assert commands.run("deck", []) == 1
    told = capsys.readouterr().err
    assert word in told and "/course/.venv" in told and "Traceback" not in told


def test_old_python_is_told_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
    assert entry.main(["lab"]) == 1
    assert "3.11 or newer is needed, and this is Python 3.8." in capsys.readouterr().err


def test_entry_can_be_read_by_any_python_3():
    tree = ast.parse(Path(entry.__file__).read_text(encoding="utf8"), feature_version=(3, 4))
    modern = (ast.JoinedStr, ast.NamedExpr, ast.Match, ast.AnnAssign, ast.Starred)
    assert not [node for node in ast.walk(tree) if isinstance(node, modern)]


def test_bootstrap_needs_the_standard_library_only():
    for name in BOOT:
        tree = ast.parse((environment.ROOT / "utils" / f"{name}.py").read_text(encoding="utf8"))
        for node in tree.body:                          # at the top; functions import later
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert all(name.split(".")[0] in sys.stdlib_module_names for name in names), names


@pytest.mark.parametrize("words, code", [([], 0), (["help"], 0), (["nonsense"], 2)])
def test_unknown_commands_show_the_list(words, code, capsys):
    assert entry.main(words) == code
    assert "python3 -m utils lab" in "".join(capsys.readouterr())


def test_missing_browser_fails_in_ci_and_is_noted_elsewhere(monkeypatch, capsys):
    monkeypatch.setattr(environment, "ensure", lambda: None)
    monkeypatch.setattr(environment, "browser", lambda: None)
    monkeypatch.setenv("CI", "true")
    assert commands.run("test", ["--version"]) == 1
    assert "No Chromium or Chrome" in capsys.readouterr().err
    monkeypatch.delenv("CI")
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: type("P", (), {"wait": lambda s: 0})())
    assert commands.run("test", []) == 0
    assert "skipped" in capsys.readouterr().out


@posix
@pytest.mark.skipif(not environment._inside(), reason="runs in the course's environment")
def test_lab_prints_its_address_keeps_its_token_and_ends_at_the_first_ctrl_c():
    def heed():                                         # a job of a script ignores Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [sys.executable, environment.ROOT / "utils" / "__main__.py", "lab", "--no-browser"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf8", preexec_fn=heed)
    text, found = "", None
    while not found:
        line = child.stdout.readline()
        assert line, text
        text += line
        found = re.search(r"(http://127\.0\.0\.1:\d+/)lab/tree/(\S+)\?token=(\w{20,})", text)
    assert found[2] == "lectures/00_start_here.ipynb"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{found[1]}api/kernels")
    start_kernel = urllib.request.Request(f"{found[1]}api/kernels", b'{"name": "python3"}',
                                          {"Authorization": f"token {found[3]}"})
    urllib.request.urlopen(start_kernel).close()
    started = time.perf_counter()
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate(timeout=30)
    assert child.returncode == 0 and "Traceback" not in rest and "[y" not in rest
    assert time.perf_counter() - started < 15
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{found[1]}api", timeout=2)


def test_ci_calls_exactly_the_documented_command():
    script = (environment.ROOT / ".ci" / "run").read_text()
    assert textwrap.dedent(script).rstrip().splitlines()[-1] == \
        "exec python3 -m utils test </dev/null"
