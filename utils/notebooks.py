"""Build the notebooks: exercises made from solutions, everything executed and cleaned."""
import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat

from .environment import THREADS, browser
from .show import PLOTLY

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("lectures", "solutions", "exercises")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
VIEW = "application/vnd.jupyter.widget-view+json"
SLIDE_WIDTH = 680                                       # page pixels at 1280 x 720 and zoom 150 %
CELL_SECONDS, NOTEBOOK_SECONDS = 300, 900


def stub(source):
    """A cell as the student gets it: the lines between the markers become `...`."""
    kept, inside = [], False
    for line in source.splitlines():
        mark = line.strip()
        if mark in (BEGIN, END):
            if inside == (mark == BEGIN):
                raise ValueError(f"{mark!r} where the other marker was due, in:\n{source}")
            inside = mark == BEGIN
            if inside:
                kept.append(line[:line.index("#")] + "...")
        elif not inside:
            kept.append(line)
    if inside:
        raise ValueError(f"{BEGIN!r} without {END!r} in:\n{source}")
    return "\n".join(kept)


def exercise_of(solution):
    """The student's notebook: stubs for solutions, no outputs; solution: a notebook node."""
    notebook = nbformat.from_dict(json.loads(json.dumps(solution)))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = stub(cell.source)
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = re.sub(r"<!-- solution.*?-->\n?", "", cell.source, flags=re.S).replace(
                "Solutions: ", "Exercises: ")
    return notebook


def clean(notebook):
    """Drop what changes from run to run: times, widget views and state, layout, versions."""
    notebook.metadata = nbformat.from_dict({
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python",
                       "name": "python3"},
        "language_info": {"name": "python"}})
    for cell in notebook.cells:
        for key in ("execution", "collapsed", "scrolled", "trusted"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(VIEW, None)
    return notebook


def execute(path):
    """Run a notebook in a fresh kernel from its own folder; the file changes only on success."""
    from nbclient import NotebookClient
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, timeout=CELL_SECONDS, startup_timeout=120, kernel_name="python3",
                   resources={"metadata": {"path": str(path.parent)}}).execute()
    write(clean(notebook), path)


def write(notebook, path):
    """Write a notebook atomically, with the newline that git expects."""
    nbformat.validate(notebook)
    new = path.with_name(path.name + ".new")
    new.write_text(nbformat.writes(notebook, 4) + "\n", encoding="utf-8", newline="\n")
    os.replace(new, path)


def add_pictures(paths):
    """Put a PNG beside each plotly figure, for GitHub and whoever runs no kernel."""
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    from .browser import launch
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page()
        page.set_content("<div></div>")
        page.add_script_tag(content=get_plotlyjs())
        for path in paths:
            notebook = nbformat.read(path, 4)
            for cell in notebook.cells:
                for output in cell.get("outputs", []):
                    figure = output.get("data", {}).get(PLOTLY)
                    if figure:
                        url = page.evaluate(
                            "([f, width]) => Plotly.toImage(f, {format: 'png', width, "
                            "height: f.layout.height})", [figure, SLIDE_WIDTH])
                        output["data"]["image/png"] = url.split(",", 1)[1] + "\n"
            write(notebook, path)
        browser.close()


def generate(solution_path):
    """Write exercises/NN_*.ipynb from solutions/NN_*.ipynb; an unchanged file is left alone."""
    path = ROOT / "exercises" / solution_path.name
    fresh = exercise_of(nbformat.read(solution_path, 4))
    if path.exists():
        old = nbformat.read(path, 4)
        if sources(old) == sources(fresh):
            return path
    path.parent.mkdir(exist_ok=True)
    write(clean(fresh), path)
    return path


def sources(notebook):
    """What a person typed: (type, source, metadata) of every cell."""
    return [(c.cell_type, c.source, {k: v for k, v in c.metadata.items() if k != "trusted"})
            for c in notebook.cells]


def main(arguments):
    """python3 -m utils build [NN ...] [--only FOLDER]: generate, execute, clean, picture."""
    parser = argparse.ArgumentParser(prog="python3 -m utils build", description=main.__doc__)
    parser.add_argument("numbers", nargs="*", help="lectures to build, such as 05 (default: all)")
    parser.add_argument("--only", choices=FOLDERS, help="build the notebooks of one folder")
    options = parser.parse_args(arguments)
    wanted = [p for folder in ("solutions", "lectures")
              for p in sorted((ROOT / folder).glob("*.ipynb"))
              if not options.numbers or p.name[:2] in options.numbers]
    if not wanted:
        print(f"No notebook begins with {' or '.join(options.numbers)}.")
        return 1
    wanted += [generate(p) for p in wanted if p.parent.name == "solutions"]
    if options.only:
        wanted = [p for p in wanted if p.parent.name == options.only]
    for path in wanted:
        print(f"{path.relative_to(ROOT).as_posix():44s}", end="", flush=True)
        started = time.time()
        code = ("import sys; from pathlib import Path; from utils.notebooks import execute; "
                "execute(Path(sys.argv[1]))")
        try:
            done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(path)],
                                  text=True, capture_output=True, timeout=NOTEBOOK_SECONDS,
                                  cwd=ROOT, env=THREADS | os.environ | {
                                      "COURSE_PROGRESS": str(ROOT / ".venv" / "build.json")})
        except subprocess.TimeoutExpired:
            print(f" stopped after {NOTEBOOK_SECONDS} s; the file is as it was")
            return 1
        if done.returncode:
            print(" failed; the file is as it was\n" + done.stderr[-3000:])
            return 1
        print(f"{time.time() - started:7.1f} s")
    if browser():
        add_pictures(wanted)
    else:
        print("No Chromium found: the notebooks have no pictures for readers without a kernel.")
    return 0
