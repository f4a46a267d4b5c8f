"""What a student has passed, kept in one JSON file of the user's own data folder."""
import contextlib
import dataclasses
import datetime
import html
import json
import os
import pathlib
import tempfile

import filelock
import platformdirs

WAIT = 5                                                # seconds for another kernel that writes


def path():
    """The file: COURSE_PROGRESS if set, else one in the user's data folder."""
    named = os.environ.get("COURSE_PROGRESS")
    folder = platformdirs.user_data_dir("language-modelling-course", appauthor=False)
    return pathlib.Path(named) if named else pathlib.Path(folder) / "progress.json"


def record_try(id, ok):
    """Count a try, and the time of the first pass. Returns "" or a sentence on what went wrong."""
    def change(entry):
        if not entry["passed"]:
            entry["tries"] += 1
            entry["passed"] = datetime.datetime.now().isoformat(" ", "minutes") if ok else ""
    return update(id, change)


def record_hint(id, level):
    """Remember the highest level of hint that was shown. Returns like record_try."""
    def change(entry):
        entry["hints"] = max(entry["hints"], level)
    return update(id, change)


def update(id, change):
    """Read, change and replace the file while no other kernel can."""
    file, said = path(), ""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{file}.lock", timeout=WAIT):
            entries, said = load(file)
            before = json.dumps(entries)
            change(entries.setdefault(id, {"tries": 0, "hints": 0, "passed": ""}))
            if json.dumps(entries) != before:
                save(file, entries)
    except (OSError, NotImplementedError) as error:
        return f"Your progress could not be saved in {file} ({type(error).__name__})."
    return said


def load(file):
    """The entries, and a sentence if the file was damaged: then it is set aside, not lost."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return {}, ""
    try:
        entries = json.loads(text)
        for id, entry in entries.items():
            if [type(entry[key]) for key in ("tries", "hints", "passed")] != [int, int, str]:
                raise ValueError(id)
        return entries, ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        number = 1
        while (aside := file.with_name(f"{file.name}.damaged-{number}")).exists():
            number += 1
        os.replace(file, aside)
        return {}, f"The progress file was damaged: kept as {aside}, and counting starts anew."


def save(file, entries):
    """Write all or nothing: a new file beside it, then one rename."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as new:
            json.dump(entries, new, indent=1, sort_keys=True)
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@dataclasses.dataclass(frozen=True)
class Table:
    """Progress to look at: rows of (exercise, state, tries, hints)."""
    rows: list
    note: str

    @property
    def title(self):
        passed = sum(state.startswith("passed") for _, state, _, _ in self.rows)
        return f"{passed} of {len(self.rows)} exercises passed"

    def __repr__(self):
        width = max([len(row[0]) for row in self.rows], default=0)
        lines = [f"{name:{width}}  {state:24}  tries {tries}  hints {hints}"
                 for name, state, tries, hints in self.rows]
        return "\n".join([self.title, *lines, *([self.note] if self.note else [])])

    def _repr_html_(self):
        head = "".join(f"<th scope='col' style='text-align:left'>{name}</th>"
                       for name in ("exercise", "state", "tries", "hints"))
        body = "".join("<tr>" + "".join(f"<td style='text-align:left'>{html.escape(str(cell))}</td>"
                                        for cell in row) + "</tr>" for row in self.rows)
        return (f"<table><caption>{self.title}</caption><thead><tr>{head}</tr></thead>"
                f"<tbody>{body}</tbody></table><p>{html.escape(self.note)}</p>")


def table(names):
    """The table of all exercises; names: {id: name}."""
    try:
        entries, note = load(path())
    except OSError as error:
        entries, note = {}, f"The progress file {path()} cannot be read ({type(error).__name__})."
    rows = []
    for id in sorted({*names, *entries}):
        entry = entries.get(id, {"tries": 0, "hints": 0, "passed": ""})
        state = (f"passed {entry['passed']}" if entry["passed"] else
                 "not yet" if entry["tries"] or entry["hints"] else "to do")
        rows.append((f"{id} {names.get(id, '')}".strip(), state, entry["tries"], entry["hints"]))
    return Table(rows, note)
