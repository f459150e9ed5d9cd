"""The first cell: nothing off Colab, nothing when run again, one clear sentence when something is in the way."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import types

import pytest

from autograder import settings, setup_cell

FACTS = settings.load()


class Machine:
    """Stands in for a Colab machine: which version is installed, and what pip does."""

    def __init__(self, installed: str | None = None, reachable: bool = True) -> None:
        self.installed, self.reachable, self.commands = installed, reachable, []

    def version(self, name: str) -> str:
        assert name == "next-token-prediction"
        if self.installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.installed

    def run(self, command, **options):
        self.commands.append(command)
        if self.reachable:
            self.installed = FACTS.version
        return types.SimpleNamespace(returncode=0 if self.reachable else 1)

    def play(self, monkeypatch, capsys, colab: bool = True, loaded: types.ModuleType | None = None) -> str:
        """What the cell prints."""
        with monkeypatch.context() as patch:
            patch.setattr(importlib.metadata, "version", self.version)
            patch.setattr(subprocess, "run", self.run)
            patch.delitem(sys.modules, "google.colab", raising=False)
            for name in ("autograder", "reference_impl"):
                patch.delitem(sys.modules, name, raising=False)
            if colab:
                patch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
            if loaded:
                patch.setitem(sys.modules, "autograder", loaded)
            exec(compile(setup_cell.source(FACTS), "<cell>", "exec"), {})
        return capsys.readouterr().out


def test_off_colab_it_does_nothing(monkeypatch, capsys):
    machine = Machine()
    assert machine.play(monkeypatch, capsys, colab=False) == ""
    assert machine.commands == []


def test_on_colab_it_installs_the_published_wheel_and_leaves_torch_alone(monkeypatch, capsys):
    machine = Machine()
    assert "is ready" in machine.play(monkeypatch, capsys)
    (command,) = machine.commands
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert "--no-deps" in command
    assert command[-1] == FACTS.wheel_url


def test_run_again_it_does_nothing(monkeypatch, capsys):
    machine = Machine(installed=FACTS.version)
    assert machine.play(monkeypatch, capsys, loaded=types.ModuleType("autograder")) == ""
    assert machine.commands == []


@pytest.mark.parametrize("version", ["0.0.1", "99.0"])
def test_another_version_is_replaced(monkeypatch, capsys, version):
    machine = Machine(installed=version)
    machine.play(monkeypatch, capsys)
    assert len(machine.commands) == 1


def test_a_wheel_that_cannot_be_reached_is_one_sentence(monkeypatch, capsys):
    said = Machine(reachable=False).play(monkeypatch, capsys)
    assert FACTS.wheel_url in said
    assert "could not be fetched" in said
    assert said.count("\n") == 1


def test_a_stale_module_asks_for_a_restart_until_there_was_one(monkeypatch, capsys):
    machine, stale = Machine(installed="0.0.1"), types.ModuleType("autograder")
    assert "Restart session" in machine.play(monkeypatch, capsys, loaded=stale)
    assert "Restart session" in machine.play(monkeypatch, capsys, loaded=stale)
    assert machine.play(monkeypatch, capsys, loaded=types.ModuleType("autograder")) == ""
    assert len(machine.commands) == 1


def test_it_leaves_one_name_behind_and_runs_on_colabs_python(monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    namespace: dict = {}
    exec(setup_cell.source(FACTS), namespace)
    assert set(namespace) - {"__builtins__"} == {"set_up_course"}
