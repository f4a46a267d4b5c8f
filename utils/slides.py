"""A lecture as a talk: JupyterLab in presentation, and the teacher's notes beside it."""
import html
import json
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

from .deck import LECTURES, ROOT

MINUTES = re.compile(r"\*\*Teacher, (\d+) minutes?\.\*\*\s*")
STYLE = """body { font: 16px/1.5 sans-serif; max-width: 46em; margin: 2em auto; color: #222 }
h2 { font-size: 1em; margin: 1.6em 0 .2em; border-top: 1px solid #999; padding-top: .6em }
p { margin: .3em 0 } .plan { color: #555 } @media print { h2 { break-after: avoid } }"""


def talk(path):
    """The slides of a lecture in order, as dicts: title, minutes, notes (list of texts)."""
    slides = []
    for cell in json.loads(Path(path).read_text(encoding="utf-8"))["cells"]:
        kind = cell["metadata"].get("slideshow", {}).get("slide_type")
        source = "".join(cell["source"])
        if kind in ("slide", "subslide") or not slides:
            slides.append({"title": heading(cell, source), "minutes": 0, "notes": []})
        if kind == "notes":
            found = MINUTES.match(source)
            slides[-1]["minutes"] += int(found[1]) if found else 0
            slides[-1]["notes"].append(MINUTES.sub("", source).replace("\n", " "))
    return slides


def heading(cell, source):
    """What a slide is called on the sheet: its heading, or its first line of code or prose."""
    lines = [line.strip("# *") for line in source.splitlines() if line.strip("# *")]
    if cell["cell_type"] == "code":
        lines = [line for line in lines if not line.startswith(("import ", "from "))] or lines
        return "code: " + (lines[0] if lines else "")
    return lines[0] if lines else ""


def notes_sheet(stem):
    """The teacher's sheet of one lecture as an HTML page: slide numbers, minutes, sentences."""
    slides = talk(ROOT / "lectures" / f"{stem}.ipynb")
    total = sum(slide["minutes"] for slide in slides)
    title = f"{stem[:2]} {LECTURES[stem[:2]][0]}: notes for the teacher"
    parts, clock = [], 0
    for number, slide in enumerate(slides, 1):
        if slide["notes"]:
            parts.append(f"<h2>Slide {number}: {html.escape(slide['title'])}</h2>")
            clock += slide["minutes"]
            parts += [f"<p>{html.escape(note)}</p>" for note in slide["notes"]]
            parts.append(f'<p class="plan">{slide["minutes"]} minutes, then {clock} of {total} '
                         "are over.</p>")
    return ('<!doctype html><html lang="en"><meta charset="utf-8">'
            f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>"
            f'<p class="plan">{len(slides)} slides, {total} minutes of talk. Right and left arrows '
            "move, Ctrl+Enter runs a cell and stays on its slide, Escape ends. Zoom the browser "
            f"to 150 %.</p>{''.join(parts)}</html>\n")


@contextmanager
def serve(stem):
    """JupyterLab that opens one lecture as slides; yields (address, notes sheet, process)."""
    from . import lab
    with tempfile.TemporaryDirectory(prefix="course-slides-") as folder:
        settings = Path(folder) / "jupyterlab-slideshow" / "plugin.jupyterlab-settings"
        settings.parent.mkdir()
        settings.write_text('{"active": true}', encoding="utf-8")
        sheet = Path(folder) / f"{stem}_notes.html"
        sheet.write_text(notes_sheet(stem), encoding="utf-8")
        with lab.server(f"--LabApp.user_settings_dir={folder}") as (url, token, child):
            yield f"{url}lab/tree/lectures/{stem}.ipynb?reset&token={token}", sheet, child


def present(stem):
    """Serve one lecture in presentation until Ctrl-C, its notes in a second page."""
    from . import lab
    try:
        with serve(stem) as (address, sheet, child):
            print(f"The slides are ready. Ctrl-C ends them.\n  slides: {address}\n"
                  f"  notes:  {sheet.as_uri()}  (a page to keep beside you, or to print)",
                  flush=True)
            lab.show(sheet.as_uri())
            lab.show(address)
            child.wait()
    except KeyboardInterrupt:
        print("\nThe slides have ended.", flush=True)
    return 0
