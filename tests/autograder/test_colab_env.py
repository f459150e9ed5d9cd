"""The environments of the Colab tests: what they hold, and one sentence where there is no Python for one."""

from __future__ import annotations

import json
import sys

import pytest

from autograder import colab_env, settings
from autograder.colab_env import NoEnvironment


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine on which no Python can be found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "executable", None)
    return tmp_path


def program(path, answer: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
    path.chmod(0o755)


def test_no_python_3_13_is_one_sentence(bare, capsys, monkeypatch):
    with pytest.raises(NoEnvironment, match=r"There is no Python 3\.13 here"):
        colab_env.find_python()
    monkeypatch.setattr(colab_env.make, "__defaults__", (bare / "env",))
    assert colab_env.main() == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_shim_that_only_fails_is_passed_over(bare):
    program(bare / "python3.13", "exit 127")
    program(bare / "versions" / "3.13.0" / "bin" / "python", "echo '[3, 13]'")
    assert colab_env.find_python() == str(bare / "versions" / "3.13.0" / "bin" / "python")


def test_an_environment_with_the_same_versions_is_not_made_again(bare):
    program(bare / "env" / "bin" / "python", "exit 0")
    (bare / "env" / "versions.json").write_text(json.dumps(colab_env.PACKAGES), encoding="utf-8")
    assert colab_env.make(bare / "env") == bare / "env" / "bin" / "python"


def base_python(path, version: tuple[int, int], made: str) -> None:
    """A Python of that version; the Python of an environment that it makes is the script ``made``."""
    inside = path.parent / "inside"
    program(inside, made)
    make = f'/bin/mkdir -p "$3/bin" && /bin/cp {inside} "$3/bin/python"'  # of: -m venv FOLDER
    program(path, f'if [ "$1" = -c ]; then echo "{list(version)}"; else {make}; fi')


@pytest.mark.parametrize("name", colab_env.ENVIRONMENTS)
def test_each_environment_is_made_of_its_own_python_and_packages(bare, name):
    environment, installed = colab_env.ENVIRONMENTS[name], bare / "installed"
    other = {(3, 12): (3, 13), (3, 13): (3, 12)}[environment.python]
    base_python(bare / "python{}.{}".format(*other), other, "exit 1")
    with pytest.raises(NoEnvironment, match=r"There is no Python {}\.{} here".format(*environment.python)):
        colab_env.make(bare / "env", name=name)
    base_python(bare / "python{}.{}".format(*environment.python), environment.python, f'echo "$*" > {installed}')
    assert colab_env.make(bare / "env", name=name) == bare / "env" / "bin" / "python"
    assert installed.read_text().split()[-len(environment.packages):] == list(environment.packages)
    installed.unlink()
    colab_env.make(bare / "env", name=name)
    assert not installed.exists()  # the same versions again: nothing to do


def test_a_pip_that_fails_is_one_sentence_and_leaves_no_stamp(bare):
    base_python(bare / "python3.13", (3, 13), "echo ERROR: no such version >&2; exit 1")
    with pytest.raises(NoEnvironment, match=r"^The versions of 'newest' could not be installed: ERROR: no such"):
        colab_env.make(bare / "env", name="newest")
    assert not (bare / "env" / "versions.json").exists()


def test_an_environment_that_is_not_in_the_table_is_one_sentence(capsys):
    assert colab_env.main(["nonsense"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(name in said for name in ("nonsense", *colab_env.ENVIRONMENTS))


def test_the_table_spans_the_versions_that_the_reference_is_promised_for():
    table = colab_env.ENVIRONMENTS.values()
    assert len({environment.folder for environment in table}) == len(table)
    lock = (settings.ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert set(colab_env.ENVIRONMENTS["newest"].packages) <= set(lock)
    for environment in table:
        assert set(colab_env.TESTS) <= set(environment.packages)
        assert [item.split("==")[0] for item in environment.packages[:2]] == ["torch", "numpy"]
    found = {tuple(".".join(item.split("==")[1].split(".")[:2]) for item in one.packages[:2]) for one in table}
    assert {torch for torch, _ in found} == {"2.11", "2.13"}
    assert {numpy for _, numpy in found} >= {"2.0", "2.4"}
    assert {environment.python for environment in table} == {(3, 12), (3, 13)}
