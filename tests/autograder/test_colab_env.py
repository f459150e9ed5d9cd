"""Where there is no Python of Colab's version, the Colab tests say so in one sentence."""

from __future__ import annotations

import json
import sys

import pytest

from autograder import colab_env
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
