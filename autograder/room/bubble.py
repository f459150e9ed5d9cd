"""How the warm parent is started: the bubblewrap command line, or the best that there is without it.

Inside, the file system holds Python and its standard library, torch, numpy, IPython and what they need, and the files
of the room; all of it read-only, under ``/room``, wherever it lies on the grader's machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any

UID = 64512  # nobody's number on a Linux system: above every login, below systemd's and the overflow ids
PACKAGES = ("torch", "numpy", "ipython")
INSIDE = ("__init__", "wire", "frames", "packing", "confine", "cell", "inside", "warm")
BOOT = ("import json, sys; code, packages, number, limits = sys.argv[1:]; "
        "sys.path[:0] = [code]; sys.path += json.loads(packages); "
        "from autograder.room import warm; warm.main(int(number), json.loads(limits))")
SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
MODES = ("nested", "flat", "bare")


@cache
def packages(names: tuple[str, ...] = PACKAGES) -> dict[str, Path]:
    """The top-level entries of site-packages that ``names`` and whatever they require consist of, with their paths."""
    entries: dict[str, Path] = {}
    todo, seen = list(names), set()
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # required on another system only
            continue
        tops = {file.parts[0] for file in found.files or ()}
        tops |= set() if found.files else {*(found.read_text("top_level.txt") or name).split()}
        for top in tops - {"..", "__pycache__", "bin"}:
            path = Path(str(found.locate_file(top)))
            if path.exists() and path.suffix != ".pth":
                entries[top] = path
        todo += [re.match(r"[A-Za-z0-9._-]+", line)[0] for line in found.requires or () if "extra ==" not in line]
    return entries


def command(mode: str, number: int, limits: dict[str, Any]) -> tuple[list[str], dict[str, str], list[str], str]:
    """Arguments and environment that start the warm parent, what is not isolated, and a folder to delete afterwards.

    ``nested`` gives each room a /proc of its own, ``flat`` is for systems that refuse namespaces within namespaces, and
    ``bare`` does without bubblewrap. ``number`` is the inherited socket's file descriptor.
    """
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    env = {"PATH": "/room/python/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
           "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if mode == "bare":
        return _bare(number, limits, env, root)
    program, mounts, libraries = _python()
    env["LD_LIBRARY_PATH"] = libraries
    limits = {**limits, "uid": UID if root else 0, "code": "/room/code"}
    bwrap = [shutil.which("bwrap") or "bwrap", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
             "--hostname", "room", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if root:
        bwrap += [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
    else:
        bwrap += ["--unshare-user", "--uid", str(UID), "--gid", str(UID)]
    for folder in ("", "/python", "/python/bin", f"/python/{sys.platlibdir}", "/python/libraries", "/packages",
                   "/code", "/code/autograder", "/code/autograder/room"):
        bwrap += ["--dir", f"/room{folder}"]  # said one by one, or they would be open to root alone
    bwrap += mounts
    for name in INSIDE:
        bwrap += ["--ro-bind", str(Path(__file__).with_name(f"{name}.py")), f"/room/code/autograder/room/{name}.py"]
    for top, path in sorted(packages().items()):
        bwrap += ["--ro-bind", str(path), f"/room/packages/{top}"]
    bwrap += ["--perms", "1777", "--tmpfs", "/tmp", "--dev", "/dev", "--remount-ro", "/dev"]
    # A room may mount a /proc of its own only where one is visible in full, so the warm parent gets the machine's.
    bwrap += ["--bind", "/proc", "/proc"] if mode == "nested" else ["--proc", "/proc"]
    bwrap += ["--remount-ro", "/", "--chdir", "/", program, "-I", "-S", "-B", "-c", BOOT, "/room/code",
              json.dumps(["/room/packages"]), str(number), json.dumps(limits)]
    return bwrap, env, [], ""


def _python() -> tuple[str, list[str], str]:
    """The program inside, the mounts that Python needs, and the folder of its own shared libraries."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program, library = f"/room/python/bin/{version}", f"/room/python/{sys.platlibdir}/{version}"
    executable = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    standard = sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix})
    mounts = ["--ro-bind", executable, program, "--ro-bind", standard, library]
    for name in ("site-packages", "dist-packages", "test", "ensurepip"):
        if Path(standard, name).is_dir():
            mounts += ["--tmpfs", f"{library}/{name}", "--remount-ro", f"{library}/{name}"]
    libraries = "/room/python/libraries"
    if sys.base_prefix != "/usr":
        for path in sorted(Path(sys.base_prefix, "lib").glob("lib*.so*")):
            mounts += ["--ro-bind", os.path.realpath(path), f"{libraries}/{path.name}"]
    for place in SYSTEM:
        if os.path.islink(place):
            mounts += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            mounts += ["--ro-bind", place, place]
    if os.path.isdir("/usr/lib/python3") and not os.path.islink("/usr/lib"):
        mounts += ["--tmpfs", "/usr/lib/python3", "--remount-ro", "/usr/lib/python3"]
    mounts += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    return program, mounts, libraries


def _bare(number: int, limits: dict[str, Any], env: dict[str, str], root: bool,
          ) -> tuple[list[str], dict[str, str], list[str], str]:
    """A plain process with its own copy of the room's files."""
    folder = tempfile.mkdtemp(prefix="room-")
    os.chmod(folder, 0o755)
    package = Path(folder, "autograder", "room")
    package.mkdir(parents=True)
    for name in INSIDE:
        shutil.copy(Path(__file__).with_name(f"{name}.py"), package)
    sites = sorted({str(path.parent) for path in packages().values()})
    uid = UID if root and all(_open_to_all(place) for place in (sys.base_prefix, *sites, folder)) else 0
    lines = ["a student's code runs without bubblewrap, so it can read this machine's files"]
    limits = {**limits, "uid": uid, "code": folder}
    words = [sys.executable, "-I", "-S", "-B", "-c", BOOT, folder, json.dumps(sites), str(number), json.dumps(limits)]
    return words, {**env, "PATH": os.environ.get("PATH", "")}, lines, folder


def _open_to_all(place: str) -> bool:
    """Whether any user may walk into a folder."""
    path = Path(os.path.realpath(place))
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def start(mode: str, number: int, limits: dict[str, Any]) -> tuple[subprocess.Popen, list[str], IO[bytes], str]:
    """Start the warm parent; also what is not isolated, its error stream, and the folder to delete afterwards."""
    words, env, lines, folder = command(mode, number, limits)
    errors = tempfile.TemporaryFile()  # noqa: SIM115 (read by whoever asks why there is no room)
    try:
        process = subprocess.Popen(words, env=env, pass_fds=(number,), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True, cwd="/")
    except OSError:
        errors.close()
        raise
    return process, lines, errors, folder
