"""Every notebook keeps the frame: a lecture its parts, an exercise its source, outputs clean."""
import json
import re
import subprocess
import sys

import nbformat
import pytest

from utils import deck, slides
from utils.notebooks import BEGIN, END, FOLDERS, ROOT, VIEW, exercise_of, sources, stub

PATHS = {f"{folder}/{p.name}": p for folder in FOLDERS
         for p in sorted((ROOT / folder).glob("*.ipynb"))}
LECTURES = [name for name in PATHS if name.startswith("lectures/")]
SOLUTIONS = [name for name in PATHS if name.startswith("solutions/")]
WIDTH, LINES, WORDS = 84, 22, 120
TAUGHT = {"00": {"D01"}, "02": {f"D{i}" for i in range(10, 19)},
          "01": {"D01", "D02", "D03", "D04", "D07", "D08", "D10", "D11", "D12"},
          "03": {"D02", "D05", "D06", "D09"}, "04": {"D09", "D19", "D20", "D21", "D22"},
          "05": {"D20", "D21", "D23", "D24", "D25"}, "06": {"D22", "D26", "D29"},
          "07": {"D27", "D28", "D29", "D34", "D35", "D36", "D37"},
          "08": {"D30", "D31", "D32", "D33", "D38", "D39"},
          "09": {"D38", "D40", "D41", "D42", "D43", "D44", "D49"}, "10": {"D45"},
          "11": {"D01", "D02", "D46", "D47", "D48", "D49"}}


def read(name):
    return nbformat.read(PATHS[name], 4)


def prose(notebook):
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def kind(cell):
    return cell.metadata.get("slideshow", {}).get("slide_type")


def test_every_lecture_has_its_exercises_and_solutions():
    stems = [{p.name for p in (ROOT / folder).glob("*.ipynb")} for folder in FOLDERS]
    assert stems[0] and stems[0] == stems[1] == stems[2]


def test_the_top_level_holds_what_it_says_and_no_more():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout: the list of files is unknown")
    top = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert {t for t in top if not t.startswith(".")} <= {
        "README.md", "LICENSE", "requirements.txt", "pyproject.toml", "lectures", "exercises",
        "solutions", "utils", "tests"}
    names = [line.lower() for line in tracked.stdout.splitlines()]
    assert len(set(names)) == len(names), "two names differ only by case"
    assert not [n for n in names if re.search(r"[ &()\[\]]", n)]


@pytest.mark.parametrize("name", LECTURES)
def test_a_lecture_keeps_its_frame(name):
    notebook = read(name)
    first, text = notebook.cells[0].source, prose(notebook)
    assert kind(notebook.cells[0]) == "slide", "a talk starts on a blank screen"
    assert re.search(r"^# \S", first) and re.search(r"\*\*[^*]+\?\*\*", first), "the question"
    assert re.search(r"\*You will be able to\*(\n# )?\n- .+\n- .+\n- ", first), "three promises"
    assert re.search(r"\d+ minutes to read, \d+ s to run\. Builds on", first)
    assert "| What breaks if | you see |" in text and "**Keep:**" in text
    assert re.search(r"^## (Exercises and )?[Rr]eferences", text, re.M) or "## References" in text
    assert re.search(r"(arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4})", text), "a reference one can find"
    assert f"(../exercises/{PATHS[name].name})" in text, "the way to the exercises"
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    assert set(re.findall(r'predict\("([\d.p]+)"', code)) == set(
        re.findall(r'reveal\("([\d.p]+)"', code)) != set(), "each prediction is revealed"
    assert "assert " in code


@pytest.mark.parametrize("name", LECTURES)
def test_a_lecture_covers_its_deck_items(name):
    number = PATHS[name].name[:2]
    assert TAUGHT.get(number, set()) <= set(deck.marked(PATHS[name]))


@pytest.mark.parametrize("name", LECTURES)
def test_a_lecture_can_be_given_as_a_talk(name):
    kinds = [kind(c) for c in read(name).cells]
    assert set(kinds) <= {"slide", "subslide", "fragment", "notes", "skip", None}
    plan = slides.talk(PATHS[name])
    assert sum(s["minutes"] for s in plan) >= 5
    assert all(s["title"] for s in plan)
    sheet = slides.notes_sheet(PATHS[name].stem)
    assert "minutes of talk" in sheet and all(n for s in plan for n in s["notes"])


@pytest.mark.parametrize("name", PATHS)
def test_cells_fit_a_slide_and_a_reader(name):
    notebook = read(name)
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            assert max(map(len, lines)) <= WIDTH, f"cell {i}: a line over {WIDTH} characters"
            most = 60 if name.startswith("solutions") else LINES
            assert len(lines) <= most, f"cell {i}: over {most} lines"
        else:
            assert len(cell.source.split()) <= WORDS, f"cell {i}: over {WORDS} words"
    imports = [c.source for c in notebook.cells if c.cell_type == "code"][0]
    assert len(re.findall(r"^(?:import|from) ", imports, re.M)) <= 6


@pytest.mark.parametrize("name", PATHS)
def test_outputs_are_whole_and_clean(name):
    text = PATHS[name].read_text(encoding="utf-8")
    notebook = read(name)
    assert "widgets" not in notebook.metadata and VIEW not in text
    assert not re.search(r"(?<!\w)/(?:home|root|Users|tmp|work)/\w", text), "a path of a machine"
    assert len(text) < 3_000_000
    counts = [c.execution_count for c in notebook.cells if c.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "nbval would pass what never ran"
    for i, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            assert output.output_type != "error", f"cell {i} failed"
            assert output.get("name") != "stderr", f"cell {i} warns: {output.get('text', '')[:80]}"


@pytest.mark.parametrize("name", PATHS)
def test_prose_types_no_number_that_a_cell_should_compute(name):
    for i, cell in enumerate(read(name).cells):
        if cell.cell_type == "markdown" and "## References" not in cell.source:
            bare = re.sub(r"\$.*?\$|`.*?`|\]\(.*?\)", " ", cell.source, flags=re.S)
            assert not re.findall(r"(?<![\w.\-/])\d+\.\d{3,}(?![\w.])", bare), f"cell {i}"


@pytest.mark.parametrize("name", SOLUTIONS)
def test_exercises_are_made_from_solutions(name):
    path = PATHS[name.replace("solutions", "exercises")]
    assert sources(nbformat.read(path, 4)) == sources(exercise_of(read(name))), \
        "stale: run `python3 -m utils build`"


@pytest.mark.parametrize("name", SOLUTIONS)
def test_no_exercise_leaks_its_solution(name):
    solved, task = read(name), read(name.replace("solutions", "exercises"))
    text = json.dumps([c.source for c in task.cells])
    assert BEGIN not in text and END not in text
    for cell in solved.cells:
        inside = re.findall(rf"{BEGIN}\n(.*?){END}", cell.source, re.S)
        for line in "".join(inside).splitlines():
            if len(line.strip()) > 12 and not line.strip().startswith("#"):
                assert line.strip() not in "\n".join(c.source for c in task.cells)


@pytest.mark.parametrize("name", SOLUTIONS)
def test_each_solution_passes_and_each_stub_is_to_do(name):
    for folder, word in (("solutions", "passed"), ("exercises", "not yet")):
        for cell in read(name.replace("solutions", folder)).cells:
            if cell.cell_type == "code" and re.search(r"^check\(", cell.source, re.M):
                said = "".join(o.get("data", {}).get("text/plain", "") for o in cell.outputs)
                assert word in said, f"{folder}: {cell.source[-60:]!r} says {said[:120]!r}"


def test_the_generator_refuses_broken_markers():
    good = f"def f(x):\n    {BEGIN}\n    return x\n    {END}\n\nf(1)"
    assert stub(good) == "def f(x):\n    ...\n\nf(1)"
    for bad in (f"{BEGIN}\nx", f"x\n{END}", f"{BEGIN}\n{BEGIN}\n{END}"):
        with pytest.raises(ValueError, match="SOLUTION"):
            stub(bad)


def test_the_deck_is_a_map_of_all_items():
    assert list(deck.ITEMS) == [f"D{i:02d}" for i in range(1, 50)]
    for item, (taught, exercised) in deck.coverage().items():
        assert taught and exercised, f"{item}: taught in {taught}, exercised in {exercised}"


def test_the_deck_command_prints_every_item(capsys):
    assert deck.main() == 0
    out = capsys.readouterr().out
    assert all(item in out for item in deck.ITEMS) and "49 items taught" in out


def test_notebooks_pass_the_linter():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "utils", "tests",
                           *FOLDERS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_readme_lists_what_is_there():
    """Question, minutes and seconds of each lecture as in its first cell; every link works."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in LECTURES:
        first = read(name).cells[0].source
        number, title = PATHS[name].name[:2], first.splitlines()[0].strip("# ")
        assert title == deck.LECTURES[number][0]
        question = re.search(r"\*\*([^*]+\?)\*\*", first)[1]
        minutes, seconds = re.search(r"(\d+) minutes to read, (\d+) s to run", first).groups()
        row = f"| [{number} {title}]({name}) | {question} | {minutes} min | {seconds} s |"
        assert row in readme
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (ROOT / link).exists(), link
    assert len(LECTURES) == len(deck.LECTURES), "a lecture of the map is missing"
