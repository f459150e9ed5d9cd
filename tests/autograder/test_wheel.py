"""The wheel: pure, without dependencies, and enough for a student's machine that has torch and numpy only."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile

import pytest
import small_book

from autograder import wheel
from autograder.wheel import WheelError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    facts = small_book.make(tmp_path_factory.mktemp("wheel") / "book")
    data = facts.root / "_build" / "data"
    data.mkdir(parents=True)
    (data / "constructs.json").write_text('{"stem": "constructs", "stubs": ["double"]}', encoding="utf-8")
    return facts, wheel.build(facts)


def test_it_has_the_name_that_the_set_up_cell_asks_for(built):
    facts, path = built
    assert path == facts.root / "_build" / "wheels" / facts.wheel_name


def test_it_carries_the_packages_and_the_data_and_nothing_generated(built):
    names = zipfile.ZipFile(built[1]).namelist()
    wanted = ["exercise.py", "checks/__init__.py", "room/wire.py", "data/constructs.json"]
    assert {f"autograder/{name}" for name in wanted} | {"reference_impl/bigrams.py"} <= set(names)
    assert not [name for name in names if re.search(r"course/|\.pyc$|^tests/|^solutions/", name)]


def test_it_asks_for_no_other_package(built):
    archive = zipfile.ZipFile(built[1])
    metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    assert not [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert archive.testzip() is None


def test_the_same_sources_give_the_same_bytes(built):
    before = built[1].read_bytes()
    assert wheel.build(built[0]).read_bytes() == before


def test_an_earlier_version_stays(built):
    old = built[1].with_name("next_token_prediction-0.0.1-py3-none-any.whl")
    old.write_bytes(b"")
    wheel.build(built[0])
    assert old.is_file()


def test_missing_data_is_one_sentence(tmp_path):
    with pytest.raises(WheelError, match="run 'python -m autograder notebooks' first"):
        wheel.build(small_book.make(tmp_path / "book"))


def test_check_is_importable_from_the_wheel_alone(built, tmp_path):
    target = tmp_path / "site"
    zipfile.ZipFile(built[1]).extractall(target)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "for name in 'nbgrader nbformat jupytext sphinx yaml docutils IPython'.split(): sys.modules[name] = None\n"
        "import autograder\n"
        "from autograder import check, check_quiz, yours\n"
        "from autograder import chapterdata\n"
        "assert autograder.__file__.startswith(sys.argv[1]), autograder.__file__\n"
        "assert chapterdata.load('constructs')['stubs'] == ['double']\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
