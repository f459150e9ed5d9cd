"""The player of this process: copies, devices, oracles, props, limits, and leaving everything as it was."""

from __future__ import annotations

import signal
import time

import pytest
import torch

from autograder.bounds import default_dtype, time_limit
from autograder.exercise import Oracle, Prop, Ref, Step
from autograder.steps import PRINT_LIMIT, LocalPlayer, fault_of


def test_inputs_are_copies():
    drawn = torch.ones(3)
    player = LocalPlayer({"spoil": lambda x: x.zero_()})
    player.play(Step("call", "spoil", (drawn,)))
    assert drawn.tolist() == [1, 1, 1]


def test_one_handle_is_one_object():
    player = LocalPlayer({"spoil": lambda x: x.zero_(), "same": lambda x: x})
    player.play(Step("put", args=([torch.ones(2)],), into="list"))
    player.play(Step("put", args=(torch.ones(2),), into="x"))
    player.play(Step("call", "spoil", (Ref("x"),)))
    assert player.play(Step("get", on="x")).fetch().tolist() == [0, 0]
    assert player.play(Step("call", "same", ([Ref("x"), 1],))).fetch()[0].tolist() == [0, 0]
    player.reset()
    assert player.play(Step("get", on="x")).fault.kind == "raised"


def test_an_oracle_sees_plain_copies_and_counts():
    seen = []

    def answer(x, scale=1):
        seen.append(x)
        return x * scale

    def student(ask, x):
        y = ask(x, scale=3)
        x.zero_()
        return y

    player = LocalPlayer({"student": student})
    reply = player.play(Step("call", "student", (Oracle("ask", answer), torch.ones(2))))
    assert reply.fetch().tolist() == [3, 3]
    assert seen[0].tolist() == [1, 1]
    bad = LocalPlayer({"student": lambda ask: ask({"a": [object()]})}).play(
        Step("call", "student", (Oracle("ask", answer),)))
    assert bad.fault.exception == "TypeError"
    assert "numbers" in bad.fault.message


def test_gradients_flow_through_a_prop():
    def student(loss, x):
        x.requires_grad_()
        loss(x).backward()
        return x.grad

    prop = Prop("cube", "def cube(x):\n    return (x ** 3).sum()\n")
    reply = LocalPlayer({"student": student}).play(Step("call", "student", (prop, torch.tensor([2.0]))))
    assert reply.fetch().tolist() == [12]


def test_the_value_comes_without_gradient_on_the_cpu_and_may_have_any_strides():
    reply = LocalPlayer({"f": lambda: torch.arange(6.0, requires_grad=True).reshape(2, 3).T}).play(Step("call", "f"))
    assert reply.header == ["tensor", "float32", [3, 2], "cpu"]
    assert reply.fetch().tolist() == [[0, 3], [1, 4], [2, 5]]


def test_double_computes_in_float64():
    player = LocalPlayer({"f": lambda x, n: x + torch.ones(n)}, double=True)
    assert player.play(Step("call", "f", (torch.ones(2), 2))).header[1] == "float64"
    assert torch.get_default_dtype() == torch.float32


def test_an_endless_loop_ends_even_inside_a_bare_except():
    def stubborn():
        while True:
            try:
                while True:
                    pass
            except:  # noqa: E722
                break
        return 3

    before = signal.getsignal(signal.SIGALRM)
    started = time.monotonic()
    endless = LocalPlayer({"f": lambda: sum(1 for _ in iter(int, 1))}, limit=0.2)
    assert endless.play(Step("call", "f")).fault.kind == "timeout"
    assert LocalPlayer({"f": stubborn}, limit=0.2).play(Step("call", "f")).seconds < 5
    assert time.monotonic() - started < 8
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_alarm_that_was_set_before_is_set_again():
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    signal.setitimer(signal.ITIMER_REAL, 30)
    try:
        with time_limit(5):
            pass
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_is_printed_is_kept_and_bounded(capsys):
    def chatty():
        for _ in range(10000):
            print("word " * 20)
        return 1

    player = LocalPlayer({"f": chatty}, quiet=True)
    assert player.play(Step("call", "f")).fetch() == 1
    assert len(player.printed) == PRINT_LIMIT
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("source", "kind", "exception", "line"), [
    ("def f():\n    raise NotImplementedError\n", "unwritten", "NotImplementedError", 2),
    ("def f():\n    raise NotImplementedError('later')\n", "raised", "NotImplementedError", 2),
    ("def f():\n    x = 1\n    return x / 0\n", "raised", "ZeroDivisionError", 3),
    ("def f():\n    return torch.ones(2) @ torch.ones(3)\n", "raised", "RuntimeError", 2),
    ("def f():\n    raise MemoryError\n", "memory", "MemoryError", 2),
    ("class Odd(Exception):\n    def __str__(self):\n        raise ValueError\ndef f():\n    raise Odd\n",
     "raised", "Odd", 5),
    ("def f():\n    raise SystemExit\n", "raised", "SystemExit", 2),
])
def test_faults_name_the_line_of_the_students_own_code(source, kind, exception, line):
    namespace = {"torch": torch}
    exec(compile(source, "<cell>", "exec"), namespace)
    fault = LocalPlayer(namespace).play(Step("call", "f")).fault
    assert (fault.kind, fault.exception, fault.line) == (kind, exception, line)


def test_an_interruption_by_the_student_is_not_swallowed():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalPlayer({"f": interrupted}).play(Step("call", "f"))


def test_default_dtype_comes_back_after_an_error():
    with pytest.raises(ValueError, match="x"), default_dtype(torch.float64):
        raise ValueError("x")
    assert torch.get_default_dtype() == torch.float32


def test_a_fault_without_a_frame_has_no_line():
    assert fault_of(ValueError("x")).line is None


def test_a_machine_that_is_busy_elsewhere_costs_nobody_anything():
    assert LocalPlayer({"f": lambda: time.sleep(0.6) or 1}, limit=0.2).play(Step("call", "f")).fetch() == 1
    started = time.monotonic()
    assert LocalPlayer({"f": lambda: time.sleep(60)}, limit=0.1).play(Step("call", "f")).fault.kind == "timeout"
    assert time.monotonic() - started < 20
