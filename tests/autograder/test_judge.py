"""The verdict on a submission: what it deserves, whatever it tries, and the same wherever its code runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from conftest import BANK
from toys import RIGHT, STUBS, TOYS, WRONG

from autograder.casework import run_exercise
from autograder.judge import Expected, SubmissionVerdict, judge
from autograder.rebuild import Cell, rebuild
from autograder.room.opened import GraderFault
from autograder.steps import LocalPlayer

SEED = b"s" * 32
PRELUDE = Cell("prelude", "the cell of imports", "import math\n\nimport torch")
FAST = {name: replace(exercise, cpu_seconds=0.6) for name, exercise in TOYS.items()}


@pytest.fixture(scope="module")
def expected():
    return Expected()


@pytest.fixture
def grade(rooms, expected):
    """Judge sources by exercise name, among exercises of these names only (and ``spread``, to show it is unharmed)."""
    def run(*added: str, **sources: str) -> SubmissionVerdict:
        cells = [PRELUDE, *(Cell("added", "a cell of their own", source) for source in added),
                 *(Cell("stub", name, source) for name, source in sources.items())]
        return judge(cells, [], [FAST[name] for name in sources], SEED, rooms, expected, bank={})
    return run


def first(verdict) -> str:
    """The status of the first case of an exercise that is not right."""
    return next((case.status for case in verdict.cases if case.status != "right"), "right")


def here(name: str, source: str):
    """The verdict of the same casework with the student's code in this process."""
    scope: dict = {}
    exec("import torch\n" + source, scope)
    return run_exercise(FAST[name], LocalPlayer(scope, limit=1.0, quiet=True), SEED)


def test_right_answers_get_everything(grade):
    verdict = grade(**RIGHT)
    assert [(v.exercise, v.status, v.points) for v in verdict.exercises] == [
        (name, "right", exercise.points) for name, exercise in TOYS.items()]
    assert verdict.points == verdict.max_points == 11
    assert not verdict.failed
    assert all(v.memory_mb > 20 for v in verdict.exercises)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_get_the_same_verdict_here_and_in_a_room(grade, name):
    for source, status in WRONG[name]:
        (verdict,) = grade(**{name: source}).exercises
        assert first(verdict) == status, source
        if status not in ("timeout", "missing", "raised"):
            local = here(name, source)
            assert [plain(case) for case in verdict.cases] == [plain(case) for case in local.cases], source


def plain(case) -> tuple:
    """What must not hang on where the code ran: all but the words of an exception, which stay at home."""
    return case.case, case.status, case.points, "" if case.status == "raised" else case.message


def body(text: str) -> str:
    """A definition of ``halves`` with these lines."""
    return "def halves(x):\n" + "".join(f"    {line}\n" for line in text.splitlines())


# What is tried, and the status that it deserves. None of them may cost the exercise beside it a point.
HOSTILE = {
    "leaves at once": (body("import os\nos._exit(0)"), "crash"),
    "sys.exit": (body("import sys\nsys.exit(0)"), "raised"),
    "segmentation fault": (body("import ctypes\nctypes.string_at(0)"), "crash"),
    "kills everything": (body("import os, signal\nos.kill(-1, signal.SIGKILL)\nos._exit(1)"), "crash"),
    "kills its parent": (body("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nwhile True: pass"), "crash"),
    "loops in C": (body("return 3 ** 10 ** 9"), "timeout"),
    "ignores its timer": (body("import signal\nsignal.setitimer(signal.ITIMER_PROF, 0)\nwhile True: pass"), "timeout"),
    "allocates without end": (body("return torch.ones(1 << 40)"), "memory"),
    "allocates little by little": (body("kept = []\nwhile True: kept.append(bytearray(1 << 24))"), "memory"),
    "recursion": (body("return halves(x)"), "raised"),
    "writes to every file descriptor": (
        body("import os\nfor fd in range(256):\n    try: os.write(fd, b'[\"done\",[\"none\"],0]' * 9)\n"
             "    except OSError: pass\nreturn x / 2"), "crash"),
    "closes every file descriptor": (body("import os\nos.closerange(0, 256)\nreturn x / 2"), "crash"),
    "forges a frame": (
        body("import os, json, struct\nm = json.dumps(['done', None, 0]).encode()\nfor fd in range(3, 64):\n"
             "    try: os.write(fd, struct.pack('>Q', len(m)) + m)\n    except OSError: pass\nos._exit(0)"), "crash"),
    "forges a header": (
        body("import os, json, struct\nm = json.dumps(['done', ['tensor', 'float32', [3, 4], 'cpu'], 0]).encode()\n"
             "for fd in range(3, 64):\n    try: os.write(fd, struct.pack('>Q', len(m)) + m)\n    except OSError: pass\n"
             "while True: pass"), "wrong"),
    "blames the grader": (
        body("import os, json, struct\nm = json.dumps(['fault', 'grader', '', 1, 0]).encode()\n"
             "for fd in range(3, 64):\n    try: os.write(fd, struct.pack('>Q', len(m)) + m)\n"
             "    except OSError: pass\nos._exit(0)"), "crash"),
    "announces an endless frame": (
        body("import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'\\x7f' * 8)\n    except OSError: pass\n"
             "while True: pass"), "crash"),
    "patched comparisons": (
        "import torch\nfor name in ('allclose', 'equal', 'isclose', 'eq'):\n"
        "    setattr(torch, name, lambda *a, **k: True)\n"
        "torch.Tensor.__eq__ = lambda *a: True\ntorch.testing.assert_close = lambda *a, **k: None\n"
        + body("return x"), "wrong"),
    "a subclass that equals everything": (
        "class Any(torch.Tensor):\n    def __eq__(self, other): return torch.tensor(True)\n"
        + body("return x.as_subclass(Any)"), "wrong"),
    "a class that lies about itself": (
        "class Liar:\n    __class__ = torch.Tensor\n    dtype, shape = torch.float32, (3, 4)\n"
        "    def __getattr__(self, name): return lambda *a, **k: self\n" + body("return Liar()"), "wrong"),
    "a float that equals everything": (
        "class Same(float):\n    def __eq__(self, other): return True\n    __hash__ = None\n" + body("return Same(1)"),
        "wrong"),
    "nested without end": (body("a = []\na.append(a)\nreturn a"), "wrong"),
    "a number of a million digits": (body("return 1 << 3_400_000"), "raised"),
    "a huge answer": (body("return ['x' * 1000] * 10_000"), "wrong"),
    "a shape nobody can multiply": (
        body("import os, struct\nn = ','.join(['1' + '0' * 4000] * 900)\n"
             "m = '[\"done\", [\"tensor\", \"float32\", [' + n + '], \"cpu\"], 0]'\n"
             "for fd in range(3, 64):\n    try: os.write(fd, struct.pack('>Q', len(m)) + m.encode())\n"
             "    except OSError: pass\nos._exit(0)"), "crash"),
    "a number beyond every float": ("def halves(x):\n    return [10 ** 4000] * 2\n", "wrong"),
    "a bool that is neither": (
        body("return torch.full((3, 4), 7, dtype=torch.uint8).view(torch.bool)"), "wrong"),
    "a sparse tensor": (body("return (x / 2).to_sparse()"), "wrong"),
    "a tensor on no device": (body("return (x / 2).to('meta')"), "wrong"),
}


@pytest.mark.parametrize("title", HOSTILE)
def test_what_is_tried_gets_what_it_deserves(grade, title):
    source, status = HOSTILE[title]
    verdict = grade(halves=source, spread=RIGHT["spread"])
    tried, beside = verdict.exercises
    assert (tried.points, first(tried)) == (0, status)
    assert (beside.status, beside.points) == ("right", 1.0)
    assert not verdict.failed


# What is done while the cells are loaded, beside right answers: it costs nothing, for it changes nothing.
HARMLESS = {
    "replaces what the room works with": (
        "import json, struct, os, socket, sys, time, signal\n"
        "json.dumps = json.loads = struct.pack = struct.unpack = None\n"
        "os.getpid = os.fork = os.write = os._exit = time.process_time = signal.setitimer = None"),
    "floods its output": "import sys\nfor i in range(20_000): print('x' * 100)\nsys.stderr.write('y' * 1_000_000)",
    "magics": "%pip install evil\n!rm -rf /\n%matplotlib inline\nget_ipython().system('ls')",
    "a default dtype": "torch.set_default_dtype(torch.float64)",
    "leaves": "import os\nos._exit(3)",
    "exits": "raise SystemExit",
    "raises something of its own": "class Mine(BaseException): pass\nraise Mine('secret')",
    "loops": "while True: pass",
    "loops and swallows": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "forks": "import os\nos.fork()",
    "is no Python": "def broken(:\n    pass",
    "is nested too deeply": "(" * 3000 + ")" * 3000,
    "asks for input": "name = input()",
    "imports what is not there": "import matplotlib.pyplot as plt\nfrom autograder import check\nimport reference_impl",
}


@pytest.mark.parametrize("title", HARMLESS)
def test_what_happens_beside_right_answers_costs_nothing(grade, title):
    verdict = grade(HARMLESS[title], halves=RIGHT["halves"], spread=RIGHT["spread"])
    assert [v.status for v in verdict.exercises] == ["right", "right"], verdict
    assert not any("secret" in remark or "Mine" in remark for remark in verdict.remarks)
    told = title not in ("replaces what the room works with", "floods its output", "magics", "a default dtype", "forks")
    assert bool(verdict.remarks) == told


def test_a_left_out_statement_is_named_with_its_line(grade):
    verdict = grade("\n\nx = 1\nx.missing", "import os\nos._exit(0)", spread=RIGHT["spread"])
    assert verdict.remarks == (
        "The statement in line 2 of a cell of their own was left out: it ended the process.",
        "The expression in line 4 of a cell of their own was left out: it raised AttributeError.")


def test_what_one_exercise_leaves_behind_does_not_reach_another(grade):
    spoil = ("def tally(words, limit=10):\n    global spread, halves\n    spread = halves = None\n"
             "    torch.set_default_dtype(torch.float64)\n    torch.Tensor.__mul__ = None\n    return None\n")
    verdict = grade(tally=spoil, halves=RIGHT["halves"], spread=RIGHT["spread"])
    assert [v.status for v in verdict.exercises] == ["wrong", "right", "right"]


def test_processes_left_behind_are_ended_before_the_next_exercise(grade):
    bomb = body("import os\nfor _ in range(100):\n    try:\n        if os.fork() == 0:\n            os.setsid()\n"
                "            while True: pass\n    except OSError: break\nreturn x / 3")
    verdict = grade(halves=bomb, spread=RIGHT["spread"])
    assert [(v.status, v.points) for v in verdict.exercises] == [("wrong", 0.0), ("right", 1.0)]


def test_a_submission_that_sleeps_is_tried_alone_and_then_called_late(rooms, expected):
    cells = [PRELUDE, Cell("stub", "halves", body("import time\ntime.sleep(1000)"))]
    quick = replace(TOYS["halves"], cpu_seconds=0.2)
    (verdict,) = judge(cells, [], [quick], SEED, rooms, expected, bank={}).exercises
    assert (first(verdict), verdict.points) == ("timeout", 0)


def test_the_time_of_a_whole_submission_is_bounded(rooms, expected):
    names = list(TOYS)[:3]
    cells = [PRELUDE, *(Cell("stub", name, f"def {name}(*a, **k):\n    while True: pass") for name in names)]
    limits, rooms.limits = rooms.limits, replace(rooms.limits, total_cpu=0.8)
    try:
        verdict = judge(cells, [], [FAST[name] for name in names], SEED, rooms, expected, bank={})
    finally:
        rooms.limits = limits
    assert verdict.points == 0
    assert any("used all the time" in note for note in verdict.exercises[-1].notes)


def test_the_grader_dying_costs_the_student_nothing(rooms, expected, monkeypatch):
    cells = [PRELUDE, Cell("stub", "spread", RIGHT["spread"])]
    rooms.warm.process.kill()
    (verdict,) = judge(cells, [], [TOYS["spread"]], SEED, rooms, expected, bank={}).exercises
    assert verdict.status == "right"  # a new parent was started

    def never(*args: object) -> None:
        raise GraderFault("There is no room.")

    monkeypatch.setattr(rooms, "open", never)
    verdict = judge(cells, [], [TOYS["spread"]], SEED, rooms, expected, bank=BANK)
    assert verdict.exercises[0].status == "grader"
    assert verdict.exercises[0].notes == ("There is no room.",)
    assert verdict.failed


def test_a_notebook_that_could_not_be_read_opens_no_room(released_notebook, expected):
    rebuilt = rebuild(released_notebook(), b"nonsense")
    verdict = judge(rebuilt.cells, rebuilt.remarks, TOYS, SEED, None, expected, bank=BANK)
    assert {v.status for v in verdict.exercises} == {"missing"}
    assert verdict.points == 0
    assert verdict.quiz["score"] == 0
    assert verdict.remarks == (rebuilt.broken,)


def test_a_whole_notebook_with_its_quiz(released_notebook, rooms, expected):
    mine = released_notebook(**{**RIGHT, "tally": STUBS["tally"], "quiz": 'answers = {"half": 1 / 2, "pick": "b"}'})
    rebuilt = rebuild(released_notebook(), json.dumps(mine))
    verdict = judge(rebuilt.cells, rebuilt.remarks, TOYS, SEED, rooms, expected, bank=BANK)
    assert [v.status for v in verdict.exercises] == ["right", "unwritten", "right", "right", "right", "right"]
    assert (verdict.quiz["score"], verdict.quiz["total"], verdict.quiz["complete"]) == (1, 2, False)
    assert verdict.remarks == ()
    read = SubmissionVerdict.from_json(json.loads(json.dumps(verdict.as_json())))
    assert read.exercises == verdict.exercises
    assert read.points == verdict.points


def test_an_integer_beyond_every_float_is_wrong(grade):
    source = "def tally(words, limit=10):\n    return {'counts': {}, 'most': 10 ** 4000, 'share': 10 ** 4000}\n"
    assert first(grade(tally=source).exercises[0]) == "wrong"
    assert first(grade(spread="def spread(n):\n    return [10 ** 4000]\n").exercises[0]) == "wrong"


@pytest.mark.parametrize("answers", ["answers = object()", "answers = [[]] * 9", "del answers", "answers = {1: {2: 3}}",
                                     "import os\nos._exit(0)"])
def test_strange_answers_to_the_quiz_are_no_answers(rooms, expected, answers):
    cells = [PRELUDE, Cell("quiz-answers", "the quiz", answers)]
    assert judge(cells, [], [TOYS["spread"]], SEED, rooms, expected, bank=BANK).quiz["score"] == 0
