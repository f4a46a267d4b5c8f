"""Every check rejects each known wrong answer under its code and accepts the right ones."""
import importlib.util
import pathlib
import re

import nbformat
import pytest
import torch

from utils.checks import check, engine
from utils.notebooks import stub

HERE = pathlib.Path(__file__).parent


def load(path):
    spec = importlib.util.spec_from_file_location(f"mutants_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RIGHT, WRONG = {}, {}
for path in sorted((HERE / "mutants").glob("m[0-9][0-9].py")):
    RIGHT |= load(path).RIGHT
    WRONG |= load(path).WRONG
NAMES = engine.names()
CELLS, BEFORE = {}, {}                                  # id -> source of its cell, of those above
for path in sorted((HERE.parent / "solutions").glob("*.ipynb")):
    above = []
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            source = re.sub(r"^(check|progress)\(.*\n?", "", cell.source, flags=re.M)
            for id in re.findall(r'^check\("(.*?)"', cell.source, re.M):
                CELLS[id], BEFORE[id] = cell.source, "\n".join(above)
            above.append(source)


@pytest.fixture(autouse=True)
def progress_file(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))


def verdict(id, answer):
    return check(id, *(answer if isinstance(answer, tuple) else (answer,)))


@pytest.mark.parametrize("id, name", [(id, name) for id in RIGHT for name in RIGHT[id]])
def test_a_right_answer_passes_in_silence(id, name):
    found = verdict(id, RIGHT[id][name])
    assert found.ok and found.code == "ok", found
    assert not found.printed and not found.note


@pytest.mark.parametrize("id, name", [(id, name) for id in WRONG for name in WRONG[id]])
def test_a_wrong_answer_gets_its_code(id, name):
    answer, code = WRONG[id][name]
    found = verdict(id, answer)
    assert not found.ok
    assert found.code == code, found
    assert len(found.message) > 20 and id in found.hint


@pytest.mark.parametrize("id", NAMES)
def test_an_exercise_has_right_and_wrong_answers_and_hints(id):
    assert len(RIGHT.get(id, {})) >= 2
    assert len(WRONG.get(id, {})) >= 3
    hints = engine.EXERCISES[id].hints
    assert len(hints) == len(set(hints)) == 3 and all(len(text) > 30 for text in hints)


@pytest.mark.parametrize("id", NAMES)
def test_a_stub_is_to_do(id):
    def written(*args):
        """Only a sentence so far."""
        ...
    answers = engine.EXERCISES[id].answers
    for answer in (..., written, lambda *args: ...):
        assert check(id, *[answer] * answers).code == "todo"


def run(id, source):
    """The verdict of the last line of an exercise's cell, after the cells above it."""
    space = {}
    exec(BEFORE[id], space)
    head, _, last = source.rstrip().rpartition("\ncheck(")
    exec(head, space)
    return eval(f"check({last}", space)


@pytest.mark.parametrize("id", NAMES)
def test_an_exercise_stands_in_solutions_and_its_stub_in_exercises(id):
    assert run(id, stub(CELLS[id])).code == "todo"
    found = run(id, CELLS[id])
    assert found.ok, found


@pytest.mark.parametrize("id", NAMES)
def test_no_hint_holds_a_line_of_the_solution(id):
    hints = "".join(" ".join(engine.EXERCISES[id].hints).split())
    solution = CELLS[id].split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
    for line in solution.splitlines():
        code = "".join(line.partition("#")[0].removeprefix("return").split()).removeprefix("return")
        assert len(code) < 12 or code not in hints, line


def test_a_wrong_answer_in_float32_is_no_excuse():
    """Inputs are float64: an answer that computes in float32 is told so where digits matter."""
    def half(Q, K, V, dZ):
        return tuple(t.float() for t in RIGHT["05.6"]["product"](Q, K, V, dZ))
    assert check("05.6", half).code == "dtype"
    assert torch.get_default_dtype() == torch.float32
