"""What a student's code can see, reach and leave behind from inside its room: nothing that is not its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toys import RIGHT, TOYS

from autograder.exercise import Oracle, Step
from autograder.judge import judge
from autograder.room import bubble, wire
from autograder.room.frames import Broken, Channel, Late
from autograder.room.outside import GraderFault, Limits, NotIsolated, Rooms
from autograder.room.player import build

ROOT = Path(__file__).parents[2]
needs_bubblewrap = pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")

PROBE = '''
import os, socket, ctypes, glob, resource

def attempt(work):
    try:
        return work()
    except BaseException as error:
        return type(error).__name__

def probe(paths, port):
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
    net = socket.socket()
    net.settimeout(2)
    return {
        "uid": os.getuid(), "groups": os.getgroups(), "root": sorted(os.listdir("/")),
        "seen": [path for path in paths if os.path.exists(path)],
        "environ": attempt(lambda: open("/proc/1/environ").read()), "own": dict(os.environ),
        "pids": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
        "capabilities": [status[key].strip() for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "connect": attempt(lambda: net.connect(("127.0.0.1", port))),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "unshare": ctypes.CDLL(None).unshare(0x10000000),
        "raise_limit": attempt(lambda: resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))),
        "write": [place for place in ("/", "/room", "/room/code", "/room/packages", "/usr", "/dev", "/proc/sys/kernel")
                  if os.access(place, os.W_OK)],
        "descriptors": sum(attempt(lambda: bool(os.fstat(fd))) is True for fd in range(256)),
        "modules": sorted(os.listdir("/room/code/autograder")),
        "scratch": sorted(os.listdir("/tmp") + os.listdir("/dev/shm")),
    }

def leave(name):
    for place in ("/tmp", "/dev/shm"):
        open(f"{place}/{name}", "w").write("x")
    global kept
    kept = socket.socket(socket.AF_UNIX)
    kept.bind("\\0" + name)
    kept.listen()
    return True

def find(name):
    other = socket.socket(socket.AF_UNIX)
    return [attempt(lambda: other.connect("\\0" + name)), glob.glob(f"/*/{name}") + glob.glob(f"/*/*/{name}")]

def outlive(name):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
            while True:
                pass
        os._exit(0)
    return True

def fill():
    with open("/tmp/full", "wb") as file:
        for _ in range(1000):
            file.write(b"x" * (1 << 20))

def count(step):
    total = 0
    while True:
        total += step(1)
'''
CELLS = [("the cell of imports", "import torch"), ("probe", PROBE)]


def ask(room, name: str, *args):
    """What a function of the room answers."""
    with room.player(name) as player:
        reply = player.play(Step("call", name, args))
        assert reply.fault is None, reply
        return reply.fetch()


@pytest.fixture
def isolated(rooms):
    if rooms.isolation:
        pytest.skip(f"this machine does not isolate in full: {rooms.isolation}")
    return rooms


@needs_bubblewrap
def test_a_room_sees_and_reaches_nothing_but_itself(isolated):
    with socket.create_server(("127.0.0.1", 0)) as server, isolated.open(CELLS) as room:
        hidden = [str(ROOT), str(Path.home()), "/root", "/home", "/etc/passwd", "/etc/shadow", "/var", "/work",
                  sys.prefix, "/run", "/sys"]
        seen = ask(room, "probe", hidden, server.getsockname()[1])
    assert seen["uid"] == bubble.UID
    assert set(seen["groups"]) <= {bubble.UID, 65534}
    assert set(seen["root"]) <= {"dev", "etc", "lib", "lib64", "proc", "room", "tmp", "usr"}
    assert seen["seen"] == []
    assert seen["environ"] in ("PermissionError", "FileNotFoundError")
    assert not [key for key in seen["own"] if key not in (
        "PATH", "HOME", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
        "LD_LIBRARY_PATH", "PWD") and not key.startswith(("KMP_", "TORCH", "PYTORCH"))]
    assert len(seen["pids"]) == 3
    assert seen["capabilities"] == ["0" * 16] * 5
    assert seen["no_new_privileges"] == "1"
    assert seen["connect"] in ("OSError", "ConnectionRefusedError")
    assert seen["interfaces"] == ["lo"]
    assert seen["unshare"] == -1
    assert seen["raise_limit"] in ("ValueError", "PermissionError")
    assert seen["write"] == []
    assert seen["descriptors"] <= 6  # 0, 1, 2, its own end, and the two that the probe has open
    assert seen["modules"] == ["room"]
    assert seen["scratch"] == []


@needs_bubblewrap
def test_two_rooms_do_not_meet_and_nothing_is_left_of_the_first(isolated):
    with isolated.open(CELLS) as one, isolated.open(CELLS) as two:
        player = one.player("leave")
        assert player.play(Step("call", "leave", ("mark",))).fetch()
        assert ask(two, "find", "mark")[1] == []
        assert ask(two, "find", "mark")[0] == "ConnectionRefusedError"
    with isolated.open(CELLS) as later:
        assert ask(later, "find", "mark") == ["ConnectionRefusedError", []]


def running(name: str) -> bool:
    """Whether a process of that name runs anywhere on this machine."""
    names = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.append(path.read_text().strip())
        except OSError:
            continue
    return name in names


@needs_bubblewrap
def test_what_a_room_started_dies_with_it(isolated):
    name = f"left{os.getpid()}"
    with isolated.open(CELLS) as room:
        player = room.player("outlive")
        assert player.play(Step("call", "outlive", (name,))).fetch()
        until = time.monotonic() + 5
        while not running(name) and time.monotonic() < until:
            time.sleep(0.02)
        assert running(name)
        room.close()
        until = time.monotonic() + 5
        while running(name) and time.monotonic() < until:
            time.sleep(0.02)
        assert not running(name)


def test_files_are_bounded(rooms):
    with rooms.open(CELLS) as room, room.player("fill") as player:
        fault = player.play(Step("call", "fill")).fault
    assert (fault.kind, fault.exception) in (("raised", "OSError"), ("crash", ""))


def test_calls_of_an_oracle_are_served_and_bounded(rooms, monkeypatch):
    monkeypatch.setattr("autograder.room.player.ORACLE_CALLS", 50)
    asked = []
    with rooms.open(CELLS) as room, room.player("count") as player:
        reply = player.play(Step("call", "count", (Oracle("step", lambda x: asked.append(x) or x),)))
    assert reply.fault.kind in ("crash", "timeout")
    assert len(asked) == 50


def test_a_value_is_read_once_and_only_until_the_next_step(rooms):
    with rooms.open([("f", "import torch\ndef f(x): return x + 1")]) as room, room.player("f") as player:
        reply = player.play(Step("call", "f", (torch.zeros(2),)))
        late = player.play(Step("call", "f", (torch.ones(2),)))
        with pytest.raises(ValueError, match="gone"):
            reply.fetch()
        assert late.fetch().tolist() == late.fetch().tolist() == [2, 2]
    assert player.play(Step("call", "f", (torch.zeros(2),))).fault is not None


def test_bools_from_a_room_are_zeros_and_ones():
    header = wire.describe([torch.zeros(2, dtype=torch.bool), 1])
    assert build(header, [b"\0\1"])[0].tolist() == [False, True]
    with pytest.raises(ValueError, match="neither True nor False"):
        build(header, [b"\0\2"])


@pytest.mark.parametrize("sent", [b"\xff" * 8, b"\0" * 7 + b"\2{}", b"\0" * 7 + b"\2[]", b"\0" * 7 + b"\5[NaN]",
                                  b"\0" * 6 + b"\x4e\x20" + b"[" * 20_000, b"\0" * 7 + b"\4\xff\xfe\0\0", b""])
def test_frames_that_are_none_are_refused(sent):
    ours, theirs = socket.socketpair()
    theirs.sendall(sent)
    theirs.close()
    with pytest.raises(Broken):
        Channel(ours).receive(time.monotonic() + 5)
    ours.close()


def test_nobody_is_waited_for_without_end():
    ours, theirs = map(Channel, socket.socketpair())
    with pytest.raises(Late):
        ours.receive(time.monotonic() + 0.05)
    with pytest.raises(Late):
        ours.send(["x", "y" * 10_000_000], deadline=time.monotonic() + 0.05)
    ours.close()
    theirs.close()


def test_only_what_torch_numpy_and_ipython_need_is_shown():
    names = set(bubble.packages())
    assert {"torch", "numpy", "IPython", "traitlets"} <= names
    assert not names & {"autograder", "reference_impl", "nbgrader", "notebook", "sqlalchemy", "sphinx", "pip"}


def test_without_bubblewrap_grading_goes_on_and_says_what_is_missing(isolated):
    limits = Limits(cpu=1.0, total_cpu=20.0)
    with Rooms(limits=limits, modes=("bare",)) as bare:
        assert any("without bubblewrap" in line for line in bare.isolation)
        cells = [CELLS[0], ("halves", RIGHT["halves"]), ("spread", "def spread(n):\n    while True: pass")]
        verdict = judge([*cells], [], [TOYS["halves"], TOYS["spread"]], b"s" * 32, bare, bank={})
        with pytest.raises(NotIsolated, match=r"^Full isolation is required, and here .*without bubblewrap.*\.$"):
            bare.demand_isolation()
    assert [v.status for v in verdict.exercises] == ["right", "wrong"]
    assert verdict.exercises[1].cases[0].status == "timeout"


def test_that_no_room_can_be_had_is_one_sentence_with_the_reason(monkeypatch):
    monkeypatch.setattr(bubble, "BOOT", "raise SystemExit('out of order')")
    with pytest.raises(GraderFault, match=r"^No room could be opened for a student's code: .*out of order.*\.$"):
        Rooms(modes=("bare",))


ORDINARY = '''
import json, sys
sys.path[:0] = [{root!r}, {tests!r}]
from toys import RIGHT, TOYS, STUBS
from autograder.judge import judge
from autograder.room.outside import Limits, Rooms
with Rooms(limits=Limits(cpu=1.0)) as rooms:
    cells = [("imports", "import torch"), *RIGHT.items()]
    cells[2] = ("tally", "def tally(*a, **k):\\n    import os\\n    return [os.getuid(), os.path.exists({root!r})]")
    with rooms.open(cells) as room, room.player("tally") as player:
        from autograder.exercise import Step
        seen = player.play(Step("call", "tally")).fetch()
    verdict = judge(cells, [], TOYS, b"s" * 32, rooms, bank={{}})
    print(json.dumps([rooms.isolation, seen, [v.status for v in verdict.exercises]]))
'''


@needs_bubblewrap
@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_gets_the_same_walls(isolated):
    program = [sys.executable, "-c", ORDINARY.format(root=str(ROOT), tests=str(ROOT / "tests" / "autograder"))]
    setpriv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run([*reachable(ROOT, Path(sys.prefix), Path(sys.base_prefix)), *setpriv, *program],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    isolation, (uid, repository), statuses = json.loads(done.stdout)
    assert isolation == []
    assert uid == bubble.UID
    assert not repository
    assert statuses == ["right", "wrong", "right", "right", "right", "right"]


def reachable(*places: Path) -> list[str]:
    """A bubblewrap that only opens folders under a closed home to other users, since Python may be installed there."""
    words = ["bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc"]
    closed = {parent for place in places for parent in place.resolve().parents if not parent.stat().st_mode & 1}
    for home in sorted(closed):
        words += ["--tmpfs", str(home)]
    for place in {place.resolve() for place in places}:
        inside = [parent for parent in reversed(place.parents) if any(home in parent.parents for home in closed)]
        words += [word for parent in inside for word in ("--dir", str(parent))]
        words += ["--ro-bind", str(place), str(place)] if any(home in place.parents for home in closed) else []
    return words
