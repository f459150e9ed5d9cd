"""``python -m autograder intake UPLOAD... --out DIR``: what students uploaded, in nbgrader's layout.

Takes notebooks, folders and archives from Canvas, Moodle and nbgrader's exchange. For each student and assignment it
leaves ``DIR/STUDENT/STEM/STEM.ipynb`` and ``timestamp.txt`` and nothing else; beside them ``names.csv`` (id, shown
name) and ``intake.json`` (what was odd, which the feedback repeats). Whatever is odd is said with the student's name,
and stops nobody else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from autograder import owners, uploads
from autograder.owners import Owner, Roster
from autograder.received import UNREADABLE, clean, moment, stem_of

STAMP = "%Y-%m-%d %H:%M:%S.%f UTC"


@dataclass(frozen=True)
class Candidate:
    """A notebook that may be a student's submission; its content waits in the file ``kept``."""

    owner: Owner
    stem: str
    name: str
    when: datetime | None
    where: str
    kept: Path
    remarks: tuple[str, ...]


@dataclass
class Report:
    """What intake did: ``placed`` by student and stem, ``odd`` as (student's name, sentence)."""

    placed: dict[tuple[str, str], str] = field(default_factory=dict)
    odd: list[tuple[str, str]] = field(default_factory=list)
    notes: dict[str, dict[str, list[str]]] = field(default_factory=dict)


def gather(argument: Path, stems: Collection[str], keep: Path, report: Report) -> tuple[list[Candidate], set[Owner]]:
    """The candidates of one argument, and everybody who handed in anything."""
    top = argument.resolve()
    name = top.name if top.is_dir() or uploads.ARCHIVE.search(top.name) else top.parent.name
    drop = int(not top.is_dir() and bool(uploads.ARCHIVE.search(top.name)))
    found: list[tuple[tuple[str, ...], datetime | None, Path, str, list[str]]] = []
    stamps: dict[tuple[str, ...], str] = {}
    seen: list[uploads.Seen | uploads.Refused] = []
    for entry in uploads.read(top):
        parts = entry.parts[drop:]
        if not parts or (len(parts) == 1 and isinstance(entry, uploads.Seen) and not entry.folder):
            continue
        if not isinstance(entry, uploads.Found):
            seen.append(type(entry)(parts, entry.reason if isinstance(entry, uploads.Refused) else entry.folder))
        elif parts[-1] == "timestamp.txt":
            stamps[parts[:-1]] = entry.data[:200].decode("utf-8", "replace")
        else:
            data, inside, remarks = clean(entry.data)
            kept = keep / str(len(found))
            kept.write_bytes(data)
            found.append((parts, entry.modified, kept, inside, remarks))
    cut = owners.common_top([parts for parts, *_ in found] + [s.parts for s in seen if len(s.parts) > 1], name, stems)
    everyone, candidates = set(), []
    for item in seen:
        parts = item.parts[cut:]
        odd = isinstance(item, uploads.Refused)
        if not parts or (len(parts) == 1 and not odd and parts[0] in stems):
            continue
        owner = owners.whose((*parts, "") if isinstance(item, uploads.Seen) and item.folder else parts, name, stems)[0]
        everyone.add(owner)
        if odd:
            report.odd.append((owner.shown, f"{'/'.join(parts)} {item.reason}."))
    for parts, modified, kept, inside, remarks in found:
        owner, own, when = owners.whose(parts[cut:], name, stems)
        everyone.add(owner)
        stem, odd = stem_of(inside, own, stems)
        where = "/".join(parts)
        if odd:
            report.odd.append((owner.shown, f"{where} {odd}."))
        if stem:
            stamp = when or (stamps.get(parts[:-1], "") if len(parts) > 2 else "")
            if stamp and moment(stamp) is None:
                odd = f"{where} has a timestamp.txt that is no time; the file's own was taken."
                report.odd.append((owner.shown, odd))
            candidates.append(Candidate(owner, stem, own, moment(stamp) or modified, where, kept, tuple(remarks)))
    return candidates, everyone


def one_key(candidates: list[Candidate], everyone: set[Owner]) -> dict[Owner, Owner]:
    """Moodle numbers a student anew in each assignment: the number counts only where two students share a name."""
    numbers: dict[str, set[str]] = {}
    for owner in everyone | {c.owner for c in candidates}:
        if "\x1fmoodle:" in owner.key:
            numbers.setdefault(owner.shown, set()).add(owner.key)
    return {Owner(shown, key): Owner(shown, shown) for shown, keys in numbers.items() if len(keys) == 1 for key in keys}


def place(candidates: Iterable[Candidate], everyone: Iterable[Owner], out: Path, report: Report) -> None:
    """Write each student's newest notebook of each assignment to its place; the others are named in the report."""
    roster = Roster(out / "names.csv")
    groups: dict[tuple[Owner, str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.owner, candidate.stem), []).append(candidate)
    for owner in sorted(everyone):
        (out / roster.id_of(owner)).mkdir(exist_ok=True)
    handed_in = {owner for owner, _ in groups}
    for owner in sorted(set(everyone) - handed_in):
        report.odd.append((owner.shown, "nothing in this upload is a notebook of the course."))
    past = datetime(1970, 1, 1, tzinfo=UTC)
    for (owner, stem), group in sorted(groups.items(), key=lambda pair: pair[0]):
        group.sort(key=lambda c: (c.when or past, owners.version(c.name), c.name))
        last, student = group[-1], roster.id_of(owner)
        remarks = [f"{last.name} {remark}." for remark in last.remarks]
        if len({c.kept.read_bytes() for c in group}) > 1:
            others = ", ".join(c.name for c in group[:-1])
            remarks.append(f"{len(group)} notebooks were handed in; the newest, {last.name}, was taken, not {others}.")
        if last.name != f"{stem}.ipynb":
            remarks.append(f"{last.name} was renamed to {stem}.ipynb.")
        folder = out / student / stem
        stamp = folder / "timestamp.txt"
        before = moment(stamp.read_text("utf-8", "replace")) if stamp.is_file() else None
        if before and last.when and before > last.when:
            older = f"{last.where} is older than the {stem}.ipynb already taken in, which stays."
            report.odd.append((owner.shown, older))
            continue
        folder.mkdir(exist_ok=True)
        for name, data in ((f"{stem}.ipynb", last.kept.read_bytes()),
                           ("timestamp.txt", (last.when or datetime.now(UTC)).strftime(STAMP).encode())):
            part = folder / f"{name}.part"
            part.write_bytes(data)
            part.replace(folder / name)
        report.placed[student, stem] = last.where
        report.notes.setdefault(student, {})[stem] = [r for r in remarks if not r.endswith(UNREADABLE)]  # told anew
        report.odd += [(owner.shown, remark) for remark in remarks]
    roster.save()
    path = out / "intake.json"
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for student, by_stem in report.notes.items():
        known.setdefault(student, {}).update(by_stem)
    path.write_text(json.dumps(known, ensure_ascii=False, indent=1, sort_keys=True), "utf-8")


def intake(arguments: Collection[Path], out: Path, stems: Collection[str]) -> Report:
    """Bring uploads into ``out``. OSError when an argument cannot be read or ``out`` not be written."""
    out.mkdir(parents=True, exist_ok=True)
    report = Report()
    candidates: list[Candidate] = []
    everyone: set[Owner] = set()
    with tempfile.TemporaryDirectory(prefix=".intake-", dir=out) as scratch:
        for number, argument in enumerate(arguments):
            keep = Path(scratch, str(number))
            keep.mkdir()
            more, who = gather(argument, stems, keep, report)
            candidates += more
            everyone |= who
        keys = one_key(candidates, everyone)
        candidates = [replace(c, owner=keys.get(c.owner, c.owner)) for c in candidates]
        place(candidates, {keys.get(owner, owner) for owner in everyone}, out, report)
    return report


def main(argv: list[str]) -> int:
    """``intake``'s exit code: 0 when something was taken in, 1 when nothing was, 2 for arguments that cannot be."""
    from autograder import settings

    parser = argparse.ArgumentParser(
        prog="python -m autograder intake", description="Bring uploads into nbgrader's layout.")
    parser.add_argument(
        "uploads", nargs="+", type=Path, metavar="DIR_OR_ARCHIVE", help="a notebook, a folder or an archive")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="where DIR/STUDENT/STEM/STEM.ipynb is written")
    args = parser.parse_args(argv)
    try:
        for path in args.uploads:
            if not path.exists():
                raise FileNotFoundError(2, "there is no such file or folder", str(path))
        report = intake(args.uploads, args.out, settings.load().stems)
    except (OSError, settings.SettingsError) as error:
        where, why = getattr(error, "filename", None), getattr(error, "strerror", None)
        print(f"intake: {where}: {why}." if where else f"intake: {error}", file=sys.stderr)
        return 2
    for name, sentence in report.odd:
        print(f"{owners.readable(name)}: {owners.readable(sentence)}")
    students = len({student for student, _ in report.placed})
    print(f"Took in {len(report.placed)} notebook(s) of {students} student(s) into {args.out}{os.sep}.")
    return 0 if report.placed else 1
