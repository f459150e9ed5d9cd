"""What the kernel is asked to keep a student's code from. Each step says in one line what it could not do.

Only Linux has these walls; elsewhere the functions return the lines that say what is missing. Called before a byte of
the student is read. This file runs behind the wall and imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

LINUX = sys.platform.startswith("linux")
NEW_USER, NEW_PID, NEW_NET, NEW_IPC, NEW_UTS, NEW_NS = (
    0x10000000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x00020000)
NOSUID, NODEV, NOEXEC, REC, PRIVATE, RELATIME = 2, 4, 8, 0x4000, 0x40000, 0x200000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 4, 24, 38, 47
CAPABILITY_VERSION_3 = 0x20080522


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int = 0) -> int:
    return _libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def become(uid: int) -> None:
    """Turn from root into the unprivileged user ``uid``, for good; OSError where that user cannot be had."""
    if LINUX:
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        for capability in range(64):
            _prctl(PR_CAPBSET_DROP, capability)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if LINUX:
        _prctl(PR_SET_DUMPABLE, 1)  # else /proc/self belongs to root, and no user namespace can be mapped


def die_with_parent() -> None:
    """Ask to be killed when the parent process ends."""
    if LINUX:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def own_namespaces() -> list[str]:
    """Give this process's next child user, pid, mount, network, ipc and host-name namespaces of its own."""
    if not LINUX:
        return ["this system has no namespaces: a student's code shares processes, files and network with the grader"]
    uid, gid = os.getuid(), os.getgid()
    if _libc().unshare(NEW_USER | NEW_PID | NEW_NS | NEW_NET | NEW_IPC | NEW_UTS):
        why = os.strerror(ctypes.get_errno())
        return [f"rooms share one set of namespaces ({why}): submissions that are graded at once could meet"]
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    except OSError as error:
        return [f"a room's user id could not be mapped ({error.strerror})"]
    return []


def fresh_mounts(scratch_mb: int) -> list[str]:
    """Mount a /proc of this pid namespace, and empty scratch and /dev/shm; forbid further user namespaces."""
    if not LINUX:
        return []
    libc, lines = _libc(), []
    if libc.mount(b"none", b"/", None, ctypes.c_ulong(REC | PRIVATE), None):
        return [f"a room has no mounts of its own ({os.strerror(ctypes.get_errno())})"]
    flags = NOSUID | NODEV
    if libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(flags | NOEXEC | RELATIME), None) and \
            libc.mount(b"tmpfs", b"/proc", b"tmpfs", ctypes.c_ulong(flags | NOEXEC), b"size=4k"):
        lines.append("a room sees the processes of others in /proc")
    with contextlib.suppress(OSError):
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    for place in ("/tmp", "/dev/shm"):
        option = f"size={scratch_mb}m,nr_inodes=4096,mode=1777".encode()
        if os.path.isdir(place) and libc.mount(b"tmpfs", place.encode(), b"tmpfs", ctypes.c_ulong(flags), option):
            lines.append(f"{place} is shared between rooms ({os.strerror(ctypes.get_errno())})")
    return lines


def drop_everything() -> list[str]:
    """Give up every capability, now and for any program started later."""
    if not LINUX:
        return []
    libc = _libc()
    for capability in range(64):
        _prctl(PR_CAPBSET_DROP, capability)
    libc.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(4), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    failed = libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    failed |= _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_DUMPABLE, 0)  # so that nothing in the room may trace the process that keeps it
    return ["a room keeps capabilities it should not have"] if failed else []


def virtual_memory() -> tuple[int, int]:
    """Bytes of address space and of private data that this process has mapped; zeros where that is not known."""
    try:
        fields = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0, 0
    page = resource.getpagesize()
    return int(fields[0]) * page, int(fields[5]) * page


def set_limits(mapped: tuple[int, int], memory_mb: int, cpu_seconds: int, processes: int | None,
               file_mb: int) -> list[str]:
    """Resource limits of this process and all it starts; ``mapped`` is what torch itself has mapped already.

    ``processes`` is None where the limit would count every process of the grader's own user.
    """
    space, data = (amount + (memory_mb << 20) for amount in mapped)
    wanted = {"CORE": 0, "CPU": cpu_seconds, "FSIZE": file_mb << 20, "NOFILE": 128, "NPROC": processes,
              "MSGQUEUE": 1 << 16, "MEMLOCK": 1 << 16}
    if LINUX:
        wanted |= {"DATA": data, "AS": space + (1 << 30)}
    failed = ["NPROC"] if wanted["NPROC"] is None else []
    if failed:
        del wanted["NPROC"]
    for name, amount in wanted.items():
        number = getattr(resource, f"RLIMIT_{name}", None)
        try:
            if number is not None:
                hard = resource.getrlimit(number)[1]
                amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
                resource.setrlimit(number, (amount, amount))
        except (OSError, ValueError):
            failed.append(name)
    if not LINUX:
        failed += ["DATA", "AS"]
    return [f"the limits {', '.join(failed)} do not hold here"] if failed else []


def keep_only(*numbers: int) -> None:
    """Close every file descriptor but these; 0, 1 and 2 become /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    low = 3
    for number in sorted(numbers):
        os.closerange(low, number)
        low = number + 1
    os.closerange(low, max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0]) if not LINUX else 1 << 20)


def others(keep: set[int]) -> dict[int, tuple[bool, float]]:
    """Of every process of this pid namespace but ``keep``: whether it can still run, and its CPU seconds, with those
    of the children it has waited for.
    """
    found = {}
    tick = os.sysconf("SC_CLK_TCK")
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in keep:
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                found[int(entry)] = (fields[0] not in "ZX", sum(map(int, fields[11:15])) / tick)
    return found
