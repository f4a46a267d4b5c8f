"""What the checks promise for an answer of any kind, produced for real."""
import _thread
import functools
import gc
import json
import os
import random
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch

import utils.checks
from utils.checks import check, engine, hint, probe, progress, record, sandbox

ID = "99.1"


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(sandbox, "LIMIT", 0.5)
    monkeypatch.setattr(engine, "SHOWN", {})
    yield
    engine.EXERCISES.pop(ID, None)


@pytest.fixture
def task():
    """Register a check as exercise 99.1; returns a function of its trial."""
    return lambda trial: engine.exercise(ID, ("one", "two", "three"))(trial)


@pytest.fixture
def identity(task):
    """An exercise that wants its tensor back."""
    @task
    def same(answer, probe):
        x = probe.normal(2, 3)
        probe.equal(probe.call(answer, x), x, "value", "give back x")


def ran(answer):
    started = time.monotonic()
    found = check(ID, answer)
    return found, time.monotonic() - started


def workers():
    return [thread for thread in threading.enumerate() if thread.name == sandbox.WORKER]


# time ------------------------------------------------------------------------------------------
def test_what_comes_before_a_check_does_not_count_as_its_time():
    @engine.exercise(ID, ("one", "two", "three"), before=lambda: time.sleep(0.6))
    def trial(answer, probe):
        probe.equal(probe.call(answer, 1), 1, "value", "give back 1")

    found, seconds = ran(lambda x: x)
    assert found.ok and seconds > 0.6 > sandbox.LIMIT, found


def endless(x):
    while True:
        pass


def swallows(x):
    while True:
        try:
            x = x + 0
        except:                                         # noqa: E722  as students write it
            pass


def swallows_inside(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue


def sleeps(x):
    time.sleep(1e6)


def prints_on(x):
    while True:
        print("again and again")


def multiplies(x):
    big = torch.ones(300, 300)
    while True:
        big = big @ big


class Endless:
    def __repr__(self):
        while True:
            pass


def endless_equality(x):
    return Endless()                                    # shown in the verdict of a wrong type


@pytest.mark.parametrize("answer", [endless, swallows, swallows_inside, sleeps, prints_on,
                                    multiplies, endless_equality])
def test_what_never_ends_is_stopped_and_named(identity, answer):
    found, seconds = ran(answer)
    assert found.code == "slow" and "0.5 s" in found.message and "line " in found.message
    assert seconds < 0.5 + sandbox.PATIENCE
    assert not workers()


def test_an_endless_print_keeps_its_end_only(identity):
    found, _ = ran(prints_on)
    assert len(found.printed) < sandbox.PRINTED + 100 and "again and again" in found.printed
    assert "left out" in found.printed


def test_the_limit_is_for_all_calls_together(task):
    @task
    def many(answer, probe):
        for _ in range(100):
            probe.call(answer)
    found, seconds = ran(lambda: time.sleep(0.1) or 1)
    assert found.code == "slow" and seconds < 1


def test_the_limit_of_the_course_is_ten_seconds():
    source = open(sandbox.__file__, encoding="utf-8").read()
    assert "\nLIMIT = 10.0 " in source


def test_what_cannot_be_stopped_is_left_alone_with_a_word(identity, monkeypatch):
    monkeypatch.setattr(sandbox, "PATIENCE", 0.3)
    lock = threading.Lock()
    lock.acquire()
    found, seconds = ran(lambda x: lock.acquire())
    assert found.code == "slow" and "restart it" in found.message and seconds < 2
    lock.release()                                      # let its thread end
    workers()[0].join(2)
    assert not workers()


def test_an_interrupt_stops_the_function_and_passes_on(identity, monkeypatch):
    monkeypatch.setattr(sandbox, "LIMIT", 30)
    started = []

    def interrupted(x):                                 # once it runs, however slow the machine
        started.append(time.monotonic())
        threading.Timer(0.1, _thread.interrupt_main).start()
        swallows(x)

    with pytest.raises(KeyboardInterrupt, match="stopped"):
        check(ID, interrupted)
    assert time.monotonic() - started[0] < 4 and not workers()
    assert check(ID, lambda x: x).ok


# exceptions ------------------------------------------------------------------------------------
def multiply(x):
    y = x.new_zeros(4, 2)
    return helper(x, y)


def helper(a, b):
    return a @ b                                        # (2, 3) @ (4, 2)


def test_a_crash_names_the_line_the_error_and_the_shapes(identity):
    found, _ = ran(multiply)
    line = helper.__code__.co_firstlineno + 1
    assert found.code == "crash"
    assert f"line {line}, `return a @ b" in found.message
    assert "RuntimeError: mat1 and mat2" in found.message
    assert "a (2, 3), b (4, 2)" in found.message


def test_a_crash_inside_a_library_names_the_students_line(identity):
    def inside(x):
        return json.loads("{")
    found, _ = ran(inside)
    assert "json.loads" in found.message and "JSONDecodeError" in found.message


def test_a_wrong_signature_says_how_it_was_called(identity):
    found, _ = ran(lambda a, b: a)
    assert found.code == "crash" and "a tensor of shape (2, 3)" in found.message


def recursive(x):
    return recursive(x)


def recursive_in_c(x):
    return sorted([x, x], key=recursive_in_c)


def recursive_without_limit(x):
    sys.setrecursionlimit(10 ** 6)
    try:
        return recursive_until(x, 15_000)
    finally:
        sys.setrecursionlimit(1000)


def recursive_until(x, depth):
    return list(map(lambda y: recursive_until(y, depth - 1), [x]))[0] if depth else x


@pytest.mark.parametrize("answer", [recursive, recursive_in_c])
def test_recursion_without_end_is_a_crash(identity, answer):
    found, _ = ran(answer)
    assert found.code == "crash" and "without end" in found.message


def test_deep_recursion_has_a_deep_stack(identity, monkeypatch):
    monkeypatch.setattr(sandbox, "LIMIT", 20)
    assert ran(recursive_without_limit)[0].ok


def test_a_high_recursion_limit_of_the_notebook_is_capped_and_restored(identity, monkeypatch):
    monkeypatch.setattr(sandbox, "LIMIT", 20)
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(10 ** 8)
        assert ran(recursive_in_c)[0].code == "crash"
        assert sys.getrecursionlimit() == 10 ** 8
    finally:
        sys.setrecursionlimit(before)


class Strange(Exception):
    def __str__(self):
        raise ValueError("no text either")


@pytest.mark.parametrize("error", [
    SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError(), StopIteration(), Strange(),
    BaseException("<b>bold</b>")])
def test_no_exception_escapes(identity, error):
    def raises(x):
        raise error
    found, _ = ran(raises)
    assert found.code == "crash" and type(error).__name__ in found.message
    assert "<b>" not in found._repr_html_().replace("<b>99.1", "")


def test_sys_exit_and_input_do_not_end_or_wait(identity):
    assert ran(lambda x: sys.exit())[0].code == "crash"
    found, seconds = ran(lambda x: input("a number, please"))
    assert found.code == "crash" and "cannot read input()" in found.message and seconds < 0.5
    assert ran(lambda x: sys.stdin.readline())[0].code in ("type", "value")


def test_not_implemented_is_a_stub_only_when_it_says_no_more(identity):
    def beyond(x):
        raise NotImplementedError("this layout is not supported")
    assert ran(beyond)[0].code == "crash"


def test_an_answer_may_be_a_class_a_method_a_partial_or_a_module(identity):
    class Double:
        def __call__(self, x):
            return x

        def method(self, x):
            return x
    for answer in (Double(), Double().method, functools.partial(lambda k, x: x, 3),
                   torch.nn.Identity(), functools.lru_cache(lambda x: x)):
        assert ran(answer)[0].ok


def test_a_check_inside_an_answer_works(identity):
    def asks(x):
        assert check("00.1", len).code == "crash"
        print("after")
        return x
    found, _ = ran(asks)
    assert found.ok and "after" in found.printed


def test_no_frame_of_a_crash_is_kept(identity):
    class Big:
        alive = 0

        def __init__(self):
            Big.alive += 1

        def __del__(self):
            Big.alive -= 1

    def raises(x):
        big = Big()
        raise ValueError(big is None)
    ran(raises)
    gc.collect()
    assert Big.alive == 0


# what comes back -------------------------------------------------------------------------------
@pytest.mark.parametrize("answer, words", [
    (lambda x: [x, 1][2:] or None, "return"), (lambda x: (y for y in x), "generator"),
    (lambda x: "text", "str"), (lambda x: (x, x), "tuple"), (lambda x: 3, "int"),
    (torch.ones(2, 3), "itself"), (3, "itself"), (None, "itself"), ("f", "itself")])
def test_a_wrong_type_is_named(identity, answer, words):
    found, _ = ran(answer)
    assert found.code == "type" and words in found.message


async def later(x):
    return x


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_coroutine_is_a_wrong_type(identity):
    assert ran(later)[0].code == "type"


def test_a_result_in_float32_or_of_another_shape_is_named(identity):
    assert ran(lambda x: x[:1])[0].code == "shape"
    assert ran(lambda x: x.clone() * (1 + 1e-5))[0].code == "value"
    assert ran(lambda x: x.float() * (1 + 2e-6))[0].code == "dtype"
    assert ran(lambda x: x * torch.nan)[0].code == "value"


CHANGES = {
    "tensor": (torch.arange(6.0), lambda t: t.mul_(2)),
    "shape": (torch.arange(6.0), lambda t: t.resize_(2, 3)),
    "tensor in a list": ([torch.zeros(2), 1], lambda t: t[0].add_(1)),
    "list": ([3, 1, 2], lambda t: t.sort()),
    "nested list": ([[1, 2], [3]], lambda t: t[1].append(4)),
    "dict": ({"a": 1}, lambda t: t.update(b=2)),
    "order of a dict": ({"a": 1, "b": 2}, lambda t: t.update(a=t.pop("a"))),
    "set": ({1, 2}, lambda t: t.add(3)),
    "bytearray": (bytearray(b"ab"), lambda t: t.append(1)),
    "array": (np.arange(3), lambda t: t.sort() or t.__setitem__(0, 9)),
    "module": (torch.nn.Linear(2, 2), lambda t: t.weight.data.zero_())}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_input_is_told_and_the_next_call_gets_a_fresh_one(task, name):
    value, change = CHANGES[name]

    @task
    def passes(answer, probe):
        probe.call(lambda v: 1, value)
        probe.call(answer, value)
    before = str(value if not isinstance(value, torch.nn.Module) else value.state_dict())

    def changes(v):
        change(v)
        return 1
    found = check(ID, changes)
    assert found.code == "mutates" and "1st argument" in found.message
    assert str(value if not isinstance(value, torch.nn.Module) else value.state_dict()) == before
    assert check(ID, lambda v: 1).ok


def test_a_generator_may_advance_and_starts_anew(task):
    seen = []

    @task
    def draws(answer, probe):
        for _ in range(2):
            seen.append(float(probe.call(answer, torch.Generator().manual_seed(7))))
    assert check(ID, lambda g: torch.rand(1, generator=g)).ok
    assert seen[0] == seen[1]


def test_a_gradient_reaches_the_tensor_of_the_check(task):
    @task
    def slope(answer, probe):
        x = probe.normal(3).requires_grad_()
        probe.equal(torch.autograd.grad(probe.call(answer, x).sum(), x)[0], 2 * x, "slope", "2 x")
    assert check(ID, lambda x: x * x).ok


# what is printed and what is left --------------------------------------------------------------
def test_what_the_function_prints_is_shown_below(identity, capsys):
    def talks(x):
        print("shape", tuple(x.shape), "<i>")
        print("and a warning", file=sys.stderr)
        return x + 1
    found, _ = ran(talks)
    assert "shape (2, 3)" in repr(found) and "and a warning" in found.printed
    assert "&lt;i&gt;" in found._repr_html_()
    assert capsys.readouterr() == ("", "")


def test_the_state_of_the_notebook_is_as_before(identity):
    def meddles(x):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        random.random(), np.random.rand(), torch.rand(1)
        torch.set_default_dtype(torch.float16)
        torch.set_num_threads(1 if before[4] > 1 else 2)
        torch.set_grad_enabled(False)
        sys.setrecursionlimit(5000)
        warnings.simplefilter("ignore")
        sys.stdout = sys.stderr = None
        return x

    def state():
        return (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(),
                torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
                sys.getrecursionlimit(), list(warnings.filters), sys.stdout, sys.stderr, sys.stdin,
                input, time.sleep, threading.stack_size(), sys.getswitchinterval())
    before = state()
    assert ran(meddles)[0].ok and state() == before
    ran(endless)
    assert state() == before
    ran(multiply)
    assert state() == before


def test_a_check_meets_the_same_numbers_each_time(identity):
    torch.manual_seed(0)
    first = check(ID, lambda x: x + torch.rand(()) + random.random())
    torch.manual_seed(1)
    assert check(ID, lambda x: x + torch.rand(()) + random.random()) == first


def test_new_tensors_are_float64_inside_a_check(identity):
    assert ran(lambda x: torch.zeros(2, 3) + x)[0].ok
    assert ran(lambda x: torch.tensor(x.tolist()))[0].ok


# stubs -----------------------------------------------------------------------------------------
def with_docstring(x):
    """Nothing but this."""


def with_dots(x):
    """And dots."""
    ...


def with_pass(x):
    pass


def returns_dots(x):
    return ...


def not_implemented(x):
    raise NotImplementedError


def half_written(x):
    y = x + 1                                           # noqa: F841
    ...


def half_written_crash(x):
    ...
    return y                                            # noqa: F821


class Half:
    def __init__(self, x):
        self.x = x

    def forward(self):
        ...


@pytest.mark.parametrize("answer", [
    ..., with_docstring, with_dots, with_pass, returns_dots, not_implemented, half_written,
    half_written_crash, Half, lambda x: ..., lambda x: None])
def test_a_stub_is_to_do(identity, answer):
    assert ran(answer)[0].code == "todo"


@pytest.mark.parametrize("answer", [lambda x: 0, lambda x: x, lambda x: x is None, len, torch.sum,
                                    torch.nn.Linear, 3, lambda x: False, lambda x: "..."])
def test_a_short_answer_is_no_stub(answer):
    assert not engine.is_stub(answer)


# the check itself ------------------------------------------------------------------------------
def test_a_mistake_of_the_check_is_loud_here_and_plain_for_students(task, monkeypatch):
    @task
    def broken(answer, probe):
        return probe.call(answer, 1).no_such_thing
    with pytest.raises(AttributeError):
        check(ID, lambda x: (x, "pair"))
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    found = check(ID, lambda x: (x, "pair"))
    assert found.code == "internal" and "(1, 'pair')" in found.message and not found.ok
    assert not record.path().exists()


def test_an_unknown_id_and_a_missing_answer_get_a_plain_verdict():
    for id in ("05.99", "12.1", "attention", 5.2, None):
        found = check(id, len)
        assert not found.ok and found.code == "unknown" and "05.2" in found.message
        assert "05.2" in repr(hint(id))
    found = check("05.2")
    assert found.code == "answers" and 'check("05.2", attention)' in found.message
    assert check("05.2", len, len).code == "answers"


def test_importing_checks_costs_no_torch():
    code = "import sys, utils.checks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_three_functions_stay_functions_after_a_check(identity):
    check(ID, lambda x: x)
    progress()
    assert all(callable(getattr(utils.checks, name)) for name in ("check", "hint", "progress"))


def test_another_shape_is_never_equal_even_if_it_could_be_stretched():
    p, ones = probe.Probe("x"), torch.ones(2, 3)
    for got in (torch.ones(1, 3), torch.ones(3), torch.tensor(1.0), torch.ones(2, 3, 1), 1.0):
        with pytest.raises(probe.Failure):
            p.equal(got, ones, "value", "wrong")
    p.equal(torch.tensor(2.0), 2, "value", "a 0-d tensor counts as its number")


def test_known_mistakes_are_named_in_their_order_and_never_hide_a_right_answer():
    p, x = probe.Probe("x"), torch.ones(2)
    table = {"twice": (2 * x, "doubled"), "either": ([3 * x, x], "one of two")}
    p.equal(x, x, "value", "", known=table)
    for factor, code in ((2, "twice"), (3, "either"), (4, "value")):
        with pytest.raises(probe.Failure) as failure:
            p.equal(factor * x, x, "value", "wrong", known=table)
        assert failure.value.args[0] == code and "xpected [1, 1]" in failure.value.args[1]


# verdicts, hints, progress ---------------------------------------------------------------------
def test_a_verdict_reads_without_colour(identity):
    good, bad = ran(lambda x: x)[0], ran(lambda x: -x)[0]
    assert repr(good).startswith("99.1 passed") and "99.1 passed" in good._repr_html_()
    assert repr(bad).startswith("99.1 not yet (value)") and 'hint("99.1")' in repr(bad)
    assert "99.1 not yet" in bad._repr_html_() and good.hint == ""


def test_three_hints_one_at_a_time(identity):
    assert [hint(ID).level for _ in range(4)] == [1, 2, 3, 3]
    assert "hint 1 of 3" in repr(hint(ID, 1)) and hint(ID, 2).text == "two"
    assert hint(ID, 1)._repr_html_().count("1 of 3") == 1
    with pytest.raises(ValueError, match="1, 2 or 3"):
        hint(ID, 4)
    assert json.loads(record.path().read_text())[ID]["hints"] == 3


def test_progress_counts_tries_until_the_first_pass(identity):
    for answer in (..., lambda x: -x, lambda x: x, lambda x: -x):
        check(ID, answer)
    entry = json.loads(record.path().read_text())[ID]
    assert entry["tries"] == 2 and entry["passed"][:2] == "20"
    table = progress()
    assert f"{ID} same" in repr(table) and "tries 2" in repr(table) and "passed 20" in repr(table)
    assert "1 of " in repr(table) and "<th scope='col'" in table._repr_html_()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"05.2": 3}', b"null",
                                  b'{"05.2": {"tries": "many", "hints": 0, "passed": ""}}'])
def test_a_damaged_file_is_set_aside_and_said(identity, text, tmp_path):
    for number in (1, 2):
        record.path().write_bytes(text)
        found = check(ID, lambda x: x)
        assert found.ok and f"damaged-{number}" in found.note and found.note in repr(found)
        assert (tmp_path / f"progress.json.damaged-{number}").read_bytes() == text
    assert check(ID, lambda x: x).note == ""


def test_where_nothing_can_be_written_the_verdict_still_comes(identity, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file" / "progress.json", tmp_path):
        monkeypatch.setenv("COURSE_PROGRESS", str(place))
        found = check(ID, lambda x: x)
        assert found.ok and "could not be saved" in found.note and "\n" not in found.note
        assert hint(ID).level and repr(progress())


def test_two_kernels_at_once_lose_nothing(tmp_path):
    code = ("import sys; from utils.checks import record\n"
            "for i in range(60): record.record_try(f'{sys.argv[1]}.{i % 20}', False)")
    runs = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("01", "02", "03")]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    entries = json.loads(record.path().read_text())
    assert len(entries) == 60 and all(entry["tries"] == 3 for entry in entries.values())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["progress.json", "progress.json.lock"]


def test_without_a_name_progress_lies_in_the_users_data_folder(monkeypatch):
    monkeypatch.delenv("COURSE_PROGRESS")
    assert record.path().name == "progress.json" and record.path().is_absolute()


# a real kernel ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    from jupyter_client.manager import start_new_kernel
    env = os.environ | {"COURSE_PROGRESS": str(tmp_path_factory.mktemp("kernel") / "p.json")}
    manager, client = start_new_kernel(kernel_name="python3", env=env)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def execute(client, code, after=lambda: None):
    """Run code in the kernel: (status, text of the result or error name)."""
    texts = []

    def collect(message):
        content = message["content"]
        texts.append(content.get("data", {}).get("text/plain") or content.get("text", ""))
    after()
    reply = client.execute_interactive(code, output_hook=collect, timeout=60, allow_stdin=False)
    return reply["content"]["status"], "".join(texts) or reply["content"].get("ename", "")


def test_a_kernel_survives_exit_and_names_the_line_of_a_cell(kernel):
    _, client = kernel
    execute(client, "from utils.checks import check\ndef leave(x, k):\n    exit()\n    return x")
    status, text = execute(client, 'check("00.1", leave)')
    assert status == "ok" and "(crash)" in text and "line 3, `exit()`" in text
    status, text = execute(client, "leave")
    assert status == "ok" and "leave" in text


def test_a_kernel_can_be_interrupted_during_a_check(kernel, tmp_path):
    manager, client = kernel
    runs, interrupted = tmp_path / "runs", []

    def interrupt():                                    # once it runs, however slow the machine
        while not runs.exists():
            time.sleep(0.05)
        interrupted.append(time.monotonic())
        manager.interrupt_kernel()
    execute(client, "from utils.checks import check\ndef loop(x, k):\n"
                    f"    open({str(runs)!r}, 'w').close()\n    while True: pass")
    status, _ = execute(client, 'check("00.1", loop)', threading.Thread(
        target=interrupt, daemon=True).start)
    assert status == "error" and time.monotonic() - interrupted[0] < 5
    code = "import threading; print([t.name for t in threading.enumerate() if 'course' in t.name])"
    assert execute(client, code) == ("ok", "[]\n")
