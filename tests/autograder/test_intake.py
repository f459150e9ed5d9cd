"""Intake takes what students really upload, writes nothing but notebooks and timestamps, and stops for nobody."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from autograder import intake, owners

ROOT = Path(__file__).resolve().parents[2]
STEMS = ("bigrams",)


def notebook(stem: str | None = "bigrams", text: str = "x = 1", **more) -> bytes:
    metadata = {"course": {"stem": stem}} if stem else {}
    cell = {"cell_type": "code", "metadata": {}, "source": text, "outputs": [], "execution_count": None, **more}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]}).encode()


def put(path: Path, data: bytes = b"", when: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if when is not None:
        os.utime(path, (when, when))
    return path


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in files.items():
            pack.writestr(name, data)
    return path


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def take(*arguments: Path, out: Path) -> intake.Report:
    return intake.intake(arguments, out, STEMS)


def said(report: intake.Report, name: str) -> str:
    return " ".join(sentence for who, sentence in report.odd if who == name)


def test_canvas_submissions_become_folders(tmp_path):
    inner = zip_of(tmp_path / "inner.zip", {"a/b/My bigrams (1).ipynb": notebook()})
    pack = zip_of(tmp_path / "submissions.zip", {
        "doejane_101_901_bigrams.ipynb": notebook(), "roejo_LATE_102_902_bigrams-2.ipynb": notebook(),
        "mueller_103_903_homework.zip": inner.read_bytes()})
    report = take(pack, out=tmp_path / "out")
    assert set(report.placed) == {("doejane", "bigrams"), ("roejo", "bigrams"), ("mueller", "bigrams")}
    assert files_in(tmp_path / "out") == {"names.csv", "intake.json"} | {
        f"{who}/bigrams/{name}" for who in ("doejane", "roejo", "mueller")
        for name in ("bigrams.ipynb", "timestamp.txt")}
    assert "renamed" in said(report, "roejo")


def test_moodle_names_with_spaces_accents_and_a_slash(tmp_path):
    pack = zip_of(tmp_path / "moodle.zip", {
        "Zoë O'Brien/Jr_2001_assignsubmission_file_/bigrams (1).ipynb": notebook(),
        "Łukasz Ærø_2002_assignsubmission_file_bigrams.ipynb": notebook()})
    report = take(pack, out=tmp_path / "out")
    assert set(report.placed) == {("Zoe-O-Brien-Jr", "bigrams"), ("Lukasz-Aero", "bigrams")}
    names = {row["id"]: row["name"] for row in csv.DictReader((tmp_path / "out/names.csv").open(encoding="utf-8"))}
    assert names["Zoe-O-Brien-Jr"] == "Zoë O'Brien/Jr"
    assert all(owners.ID.fullmatch(name) for name in names)


def test_two_students_of_one_name_stay_apart_and_keep_their_ids(tmp_path):
    first = zip_of(tmp_path / "a.zip", {"kimlee_1_10_bigrams.ipynb": notebook(text="1"),
                                        "kimlee_2_11_bigrams.ipynb": notebook(text="2")})
    out = tmp_path / "out"
    students = sorted(student for student, _ in take(first, out=out).placed)
    assert len(students) == 2
    assert students[0] == "kimlee"
    again = zip_of(tmp_path / "b.zip", {"kimlee_2_99_bigrams-1.ipynb": notebook(text="2, later")})
    assert [student for student, _ in take(again, out=out).placed] == [students[1]]


def test_nbgraders_exchange_gives_the_time(tmp_path):
    inbound = tmp_path / "inbound" / "ada+bigrams+2026-02-03 04:05:06.700000 UTC+abcdef"
    put(inbound / "bigrams.ipynb", notebook())
    put(inbound / "timestamp.txt", b"2026-02-03 04:05:06.700000 UTC")
    take(tmp_path / "inbound", out=tmp_path / "out")
    assert (tmp_path / "out/ada/bigrams/timestamp.txt").read_text() == "2026-02-03 04:05:06.700000 UTC"


def test_a_student_cannot_pack_a_timestamp(tmp_path):
    zip_of(tmp_path / "in/eve.zip", {"bigrams.ipynb": notebook(), "timestamp.txt": b"1999-01-01 00:00:00 UTC"})
    take(tmp_path / "in", out=tmp_path / "out")
    assert not (tmp_path / "out/eve/bigrams/timestamp.txt").read_text().startswith("1999")


def test_nbgraders_own_layout_keeps_its_times_and_leaves_side_files(tmp_path):
    put(tmp_path / "submitted/ada/bigrams/bigrams.ipynb", notebook())
    put(tmp_path / "submitted/ada/bigrams/timestamp.txt", b"2026-02-03 04:05:06 UTC")
    put(tmp_path / "submitted/ada/bigrams/evil.py", b"import os")
    take(tmp_path / "submitted", out=tmp_path / "out")
    assert "ada/bigrams/evil.py" not in files_in(tmp_path / "out")
    assert (tmp_path / "out/ada/bigrams/timestamp.txt").read_text().startswith("2026-02-03 04:05:06")


@pytest.mark.parametrize(("argument", "student"), [("ada/bigrams.ipynb", "ada"), ("ada", "ada"), ("all", "ada")])
def test_a_notebook_a_folder_and_a_class(tmp_path, argument, student):
    put(tmp_path / "ada/bigrams.ipynb", notebook())
    put(tmp_path / "all/ada_bigrams.ipynb", notebook())
    report = take(tmp_path / argument, out=tmp_path / "out")
    assert list(report.placed) == [(student, "bigrams")]


def test_two_notebooks_the_newest_is_taken_and_both_are_named(tmp_path):
    put(tmp_path / "in/ada/bigrams.ipynb", notebook(text="old"), when=1_700_000_000)
    put(tmp_path / "in/ada/bigrams (1).ipynb", notebook(text="new"), when=1_700_000_100)
    report = take(tmp_path / "in", out=tmp_path / "out")
    assert b"new" in (tmp_path / "out/ada/bigrams/bigrams.ipynb").read_bytes()
    assert "bigrams (1).ipynb, was taken, not bigrams.ipynb" in said(report, "ada")
    notes = json.loads((tmp_path / "out/intake.json").read_text("utf-8"))
    assert any("2 notebooks" in note for note in notes["ada"]["bigrams"])


def test_an_older_upload_does_not_replace_a_newer_one(tmp_path):
    put(tmp_path / "a/ada/bigrams.ipynb", notebook(text="new"), when=1_700_000_100)
    put(tmp_path / "b/ada/bigrams.ipynb", notebook(text="old"), when=1_700_000_000)
    take(tmp_path / "a", out=tmp_path / "out")
    report = take(tmp_path / "b", out=tmp_path / "out")
    assert "older" in said(report, "ada")
    assert b"new" in (tmp_path / "out/ada/bigrams/bigrams.ipynb").read_bytes()


def test_an_empty_folder_is_said_and_still_a_student(tmp_path):
    (tmp_path / "in/nina").mkdir(parents=True)
    put(tmp_path / "in/otto/essay.pdf", b"%PDF")
    put(tmp_path / "in/ada/bigrams.ipynb", notebook())
    report = take(tmp_path / "in", out=tmp_path / "out")
    assert set(report.placed) == {("ada", "bigrams")}
    for who in ("nina", "otto"):
        assert "nothing in this upload is a notebook" in said(report, who)
        assert (tmp_path / "out" / who).is_dir()


def test_a_notebook_of_another_assignment(tmp_path):
    put(tmp_path / "in/ada/bigrams.ipynb", notebook("chemistry"))
    put(tmp_path / "in/bob/notes.ipynb", notebook(None))
    put(tmp_path / "in/cy/notes.ipynb", notebook("bigrams"))
    report = take(tmp_path / "in", out=tmp_path / "out")
    assert set(report.placed) == {("cy", "bigrams")}
    assert "'chemistry', which is no assignment of this course" in said(report, "ada")
    assert "could be of any assignment" in said(report, "bob")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_text_that_is_no_utf8_becomes_utf8(tmp_path, encoding):
    text = notebook(text="# é").decode().replace("\\u00e9", "é")
    put(tmp_path / "in/ada/bigrams.ipynb", text.encode(encoding))
    report = take(tmp_path / "in", out=tmp_path / "out")
    stored = json.loads((tmp_path / "out/ada/bigrams/bigrams.ipynb").read_text("utf-8"))
    assert stored["cells"][0]["source"] == "# é"
    assert "UTF-8" in said(report, "ada")


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    put(tmp_path / "in/ada/bigrams.ipynb", notebook().replace(b"x = 1", b"x = '\\ud83d' '\\ud83d\\ude00'"))
    take(tmp_path / "in", out=tmp_path / "out")
    stored = json.loads((tmp_path / "out/ada/bigrams/bigrams.ipynb").read_text("utf-8"))
    assert stored["cells"][0]["source"] == "x = '\ufffd' '😀'"


def test_a_notebook_of_50_megabytes_loses_its_outputs_not_its_answers(tmp_path):
    output = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "A" * (50 << 20)}}
    put(tmp_path / "in/ada/bigrams.ipynb", notebook(text="def f(): pass", outputs=[output]))
    report = take(tmp_path / "in", out=tmp_path / "out")
    stored = (tmp_path / "out/ada/bigrams/bigrams.ipynb").read_bytes()
    assert len(stored) < 1000
    assert b"def f()" in stored
    assert "is large (50 MB)" in said(report, "ada")


def test_broken_json_is_kept_for_the_grader_to_say_so(tmp_path):
    put(tmp_path / "in/ada/bigrams.ipynb", notebook()[:50])
    put(tmp_path / "in/bob/bigrams.ipynb", b"[" * 100_000)
    put(tmp_path / "in/cy/bigrams.ipynb", b"")
    report = take(tmp_path / "in", out=tmp_path / "out")
    assert len(report.placed) == 3
    for who in ("ada", "bob", "cy"):
        assert "is no notebook that can be read" in said(report, who)


def test_links_and_devices_are_not_followed(tmp_path):
    secret = put(tmp_path / "secret.ipynb", notebook(text="secret"))
    (tmp_path / "in/ada").mkdir(parents=True)
    (tmp_path / "in/ada/bigrams.ipynb").symlink_to(secret)
    (tmp_path / "in/bob").symlink_to(tmp_path / "in/ada")
    os.mkfifo(tmp_path / "in/ada/bigrams (1).ipynb")
    report = take(tmp_path / "in", out=tmp_path / "out")
    assert not report.placed
    assert "is a link or no ordinary file" in said(report, "ada")
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_archives_with_escaping_paths_links_and_lies(tmp_path):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as pack:
        for name, kind in (("../../out.ipynb", tarfile.REGTYPE), ("/abs.ipynb", tarfile.REGTYPE), (
                "link.ipynb", tarfile.SYMTYPE), ("hard.ipynb", tarfile.LNKTYPE), ("dev.ipynb", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            pack.addfile(member, io.BytesIO())
    put(tmp_path / "in/eve.tar.gz", inner.getvalue())
    zip_of(tmp_path / "in/mal.zip", {"..\\..\\w.ipynb": notebook(), "C:\\w.ipynb": notebook()})
    put(tmp_path / "in/bad.zip", b"PK\x03\x04 not really")
    put(tmp_path / "in/rar.rar", b"Rar!")
    put(tmp_path / "in/ada.zip", zip_of(tmp_path / "x.zip", {"bigrams.ipynb": notebook()}).read_bytes())
    report = take(tmp_path / "in", out=tmp_path / "out")
    assert set(report.placed) == {("ada", "bigrams")}
    assert said(report, "eve").count("leads out of its archive") == 2
    assert said(report, "eve").count("is a link or no ordinary file") == 3
    assert said(report, "mal").count("leads out of its archive") == 2
    assert "cannot be read as an archive" in said(report, "bad")
    assert "is an archive of a kind that is not read" in " ".join(text for _, text in report.odd)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "x.zip"}


def test_names_that_are_formulas_are_safe_in_a_spreadsheet_and_found_again(tmp_path):
    pack = zip_of(tmp_path / "m.zip", {"=cmd|calc_7_assignsubmission_file_/bigrams.ipynb": notebook()})
    for _ in range(2):
        report = take(pack, out=tmp_path / "out")
        assert list(report.placed) == [("cmd-calc", "bigrams")]
    assert (tmp_path / "out/names.csv").read_text("utf-8").splitlines()[1].startswith('"cmd-calc","\'=cmd|calc"')


def run(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "autograder", "intake", *argv], cwd=ROOT, capture_output=True, text=True)


def test_the_command_line(tmp_path):
    missing = run(str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "there is no such file or folder" in missing.stderr
    put(tmp_path / "in/José\x1b[31m/bigrams (1).ipynb", notebook())
    done = run(str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "José" in done.stdout
    assert "\x1b" not in done.stdout
    assert "Took in 1 notebook(s) of 1 student(s)" in done.stdout


def as_nobody(main, argv: list[str]) -> tuple[int, str]:
    """The exit code and standard error of ``main(argv)`` in a process without root's rights, which ignore modes."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 99
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            sys.stderr = os.fdopen(writer, "w")
            code = main(argv)
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def test_no_write_permission_is_one_sentence(tmp_path):
    from autograder import settings

    put(tmp_path / "in/ada/bigrams.ipynb", notebook())
    (tmp_path / "locked").mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own are open to their owner alone
        folder.chmod(folder.stat().st_mode | 0o055)
        if folder.name.startswith("pytest-of-"):
            break
    settings.load()
    code, text = as_nobody(intake.main, [str(tmp_path / "in"), "--out", str(tmp_path / "locked/out")])
    assert (code, text.count("\n")) == (2, 1), text
    assert "ermission denied" in text
    assert str(tmp_path / "locked/out") in text
