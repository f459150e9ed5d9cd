"""What is in an upload: the notebooks of a folder or an archive, read with bounds and never unpacked.

Nothing here writes a file or follows a link. Whatever cannot be taken becomes a :class:`Refused` with its reason, so
one student's odd archive costs nobody else anything.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

NOTEBOOK = re.compile(r"\.ipynb(\.(txt|json|download))?$", re.IGNORECASE)
ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
UNREADABLE = re.compile(r"\.(rar|7z|gz|xz|bz2|zst)$", re.IGNORECASE)
NOISE = re.compile(r"^(\.|__MACOSX$|__pycache__$|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
ERRORS = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError,
          zipfile.BadZipFile, tarfile.TarError)


@dataclass(frozen=True)
class Bounds:
    """The most that is read: bytes of a notebook, bytes and entries of a student's archive, folders in each other."""

    notebook: int = 64 << 20
    archive: int = 256 << 20
    entries: int = 2_000
    depth: int = 12
    nested: int = 2  # an archive of the class that holds archives of its students


@dataclass(frozen=True)
class Found:
    """A file worth reading: a notebook, or a ``timestamp.txt`` that no student packed. ``parts`` is its path."""

    parts: tuple[str, ...]
    modified: datetime | None
    data: bytes


@dataclass(frozen=True)
class Seen:
    """A folder, or a file that is no notebook: it says that somebody handed in something."""

    parts: tuple[str, ...]
    folder: bool = False


@dataclass(frozen=True)
class Refused:
    """Something that was not taken, and why."""

    parts: tuple[str, ...]
    reason: str


Parts = tuple[str, ...]
Entry = Found | Seen | Refused
Open = Callable[[], BinaryIO]


class TooMuch(ValueError):
    """An archive gives more than its bounds allow."""


class Counted(io.RawIOBase):
    """A stream that ends in :class:`TooMuch` after ``most`` bytes, however little its archive says it holds."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self.stream, self.left = stream, most

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self.stream.read(self.left + 1 if size is None or size < 0 else min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise TooMuch
        return data


def mb(size: int) -> str:
    """A size as one says it.

    >>> mb(64 << 20)
    '64 MB'
    """
    return f"{size / (1 << 20):.0f} MB"


def take(parts: Parts, size: int, modified: datetime | None, opened: Open, inner: int,
         bounds: Bounds) -> Iterator[Entry]:
    """The entries that one regular file stands for: itself, or what is in it when it is an archive."""
    name = parts[-1]
    if any(NOISE.match(part) for part in parts):
        return
    if len(parts) > bounds.depth:
        yield Refused(parts, f"lies more than {bounds.depth} folders deep")
    elif NOTEBOOK.search(name) or (name == "timestamp.txt" and inner < bounds.nested):
        data = whole(opened, bounds.notebook) if size <= bounds.notebook else None
        if data is None:
            yield Refused(parts, f"has {mb(size)}, more than the {mb(bounds.notebook)} that are read")
        else:
            yield Found(parts, modified, data)
    elif ARCHIVE.search(name):
        if inner >= bounds.nested:
            yield Refused(parts, "is an archive inside a student's archive, which is not opened")
        elif not inner:
            yield from archive(parts, opened, 1, bounds)
        elif size > bounds.notebook or (data := whole(opened, bounds.notebook)) is None:
            yield Refused(parts, f"is an archive of {mb(size)}, more than the {mb(bounds.notebook)} that are read")
        else:
            yield from archive(parts, lambda: io.BytesIO(data), inner + 1, bounds)
    elif UNREADABLE.search(name):
        yield Refused(parts, "is an archive of a kind that is not read here; a .zip is")
    else:
        yield Seen(parts)


def whole(opened: Open, most: int) -> bytes | None:
    """All bytes of a file; None when it holds more than ``most``, whatever was said of its size."""
    with opened() as stream:
        data = stream.read(most + 1)
    return data if len(data) <= most else None


def split(name: str) -> tuple[str, ...] | None:
    """The parts of a path in an archive; None when it would leave the place it is unpacked in.

    >>> split("ada/bigrams.ipynb"), split("../../etc/passwd"), split("/etc/passwd")
    (('ada', 'bigrams.ipynb'), None, None)
    """
    name = name.replace("\\", "/")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name or not parts:
        return None
    return parts


def archive(parts: Parts, opened: Open, inner: int, bounds: Bounds) -> Iterator[Entry]:
    """The entries of a zip or tar archive. Those of a student's own (``inner`` of 2 or more) are bounded in all."""
    own = inner >= bounds.nested
    reader = zipped if parts[-1].lower().endswith(".zip") else tarred
    yield Seen(parts, folder=True)
    try:
        for count, entry in enumerate(reader(parts, opened, inner, bounds)):
            if own and count >= bounds.entries:
                yield Refused(parts, f"holds more than {bounds.entries} entries; the rest was not read")
                return
            yield entry
    except TooMuch:
        yield Refused(parts, f"unpacks to more than {mb(bounds.archive)}; the rest was not read")
    except ERRORS as error:
        yield Refused(parts, f"cannot be read as an archive ({type(error).__name__}: {str(error)[:80]})")


def zipped(parts: Parts, opened: Open, inner: int, bounds: Bounds) -> Iterator[Entry]:
    """The entries of a zip archive."""
    left = bounds.archive
    with opened() as stream, zipfile.ZipFile(stream) as pack:
        for info in pack.infolist():
            inside = split(info.filename)
            kind = info.external_attr >> 16
            if inside is None:
                yield Refused((*parts, info.filename[:100]), "has a path that leads out of its archive")
            elif info.is_dir():
                yield Seen((*parts, *inside), folder=True)
            elif stat.S_IFMT(kind) not in (0, stat.S_IFREG):
                yield Refused((*parts, *inside), "is a link or no ordinary file")
            elif info.flag_bits & 1:
                yield Refused((*parts, *inside), "is locked with a password")
            else:
                left -= info.file_size
                if left < 0 and inner >= bounds.nested:
                    raise TooMuch
                try:
                    when = datetime(*info.date_time, tzinfo=UTC)
                except ValueError:
                    when = None
                yield from guarded((*parts, *inside), info.file_size, when, lambda i=info: pack.open(i), inner, bounds)


def tarred(parts: Parts, opened: Open, inner: int, bounds: Bounds) -> Iterator[Entry]:
    """The entries of a tar archive, read as one stream whose bytes are counted after they are unpacked."""
    ending = parts[-1].lower()
    unpack = (gzip.open if ending.endswith(("gz", "tgz")) else bz2.open if ending.endswith(("bz2", "tbz", "tbz2"))
              else lzma.open if ending.endswith("xz") else None)
    with opened() as raw:
        stream = unpack(raw) if unpack else raw
        counted = Counted(stream, bounds.archive) if inner >= bounds.nested else stream
        with tarfile.open(fileobj=counted, mode="r|") as pack:
            for info in pack:
                inside = split(info.name)
                if inside is None:
                    yield Refused((*parts, info.name[:100]), "has a path that leads out of its archive")
                elif info.isdir():
                    yield Seen((*parts, *inside), folder=True)
                elif not info.isreg():
                    yield Refused((*parts, *inside), "is a link or no ordinary file")
                else:
                    when = datetime.fromtimestamp(max(0, min(info.mtime, 4e9)), UTC)
                    yield from guarded((*parts, *inside), info.size, when, lambda i=info: pack.extractfile(i), inner,
                                       bounds)


def guarded(parts: Parts, size: int, when: datetime | None, opened: Open, inner: int,
            bounds: Bounds) -> Iterator[Entry]:
    """:func:`take`, with a file that cannot be read refused alone; only an archive over its bounds ends its reading."""
    try:
        yield from take(parts, size, when, opened, inner, bounds)
    except TooMuch:
        raise
    except ERRORS as error:
        yield Refused(parts, f"cannot be read ({type(error).__name__}: {str(error)[:80]})")


def valid(name: str) -> str:
    """A file name as valid text: undecodable bytes become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def regular(path: str) -> BinaryIO:
    """A regular file, opened without following a link in its last part."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("no ordinary file")
    return os.fdopen(handle, "rb")


def read(path: Path, bounds: Bounds | None = None) -> Iterator[Entry]:
    """Every entry of one argument of ``intake``: a notebook, an archive, or a folder of anything.

    ``parts`` begin below a folder; a single file is its own only part. OSError when ``path`` itself cannot be read.
    """
    bounds = bounds or Bounds()
    if not path.is_dir():
        info = path.stat()
        when = datetime.fromtimestamp(info.st_mtime, UTC)
        yield from guarded((valid(path.name),), info.st_size, when, lambda: path.open("rb"), 0, bounds)
        return
    os.listdir(path)  # a folder that cannot be read at all is the instructor's to know
    for folder, folders, files in os.walk(path):
        inside = tuple(valid(part) for part in Path(folder).relative_to(path).parts)
        if inside:
            yield Seen(inside, folder=True)
        for name in sorted(folders):
            if os.path.islink(os.path.join(folder, name)):
                yield Refused((*inside, valid(name)), "is a link or no ordinary file")
        folders[:] = sorted(n for n in folders if not NOISE.match(n)) if len(inside) < bounds.depth else []
        for name in sorted(files):
            full, parts = os.path.join(folder, name), (*inside, valid(name))
            info = os.lstat(full)
            if not stat.S_ISREG(info.st_mode):
                yield Refused(parts, "is a link or no ordinary file")
                continue
            when = datetime.fromtimestamp(info.st_mtime, UTC)
            yield from guarded(parts, info.st_size, when, lambda p=full: regular(p), 0, bounds)
