"""The house rules that no single room can see: who imports whom, one stem everywhere, sizes, nothing generated."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
STUDENT_SIDE = ["check", "exercise", "casework", "compare", "steps", "report", "quiz", "chapterdata", "answers",
                "bounds", "draws", "explain", "needed_names", "plain_math", "check_file", "check_cells"]


@cache
def tracked() -> tuple[str, ...]:
    """Every file that git knows or would add, so that the rules hold before a commit too."""
    out = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if out.returncode:
        pytest.fail(f"git could not list the files of this checkout: {out.stderr.strip()}")
    return tuple(line for line in out.stdout.splitlines() if (ROOT / line).exists())


def python_files(folder: str = "") -> list[Path]:
    return [ROOT / name for name in tracked() if name.endswith(".py") and name.startswith(folder)]


def imports(path: Path) -> set[str]:
    """The dotted names of the modules that a file imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def stems() -> list[str]:
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))["parts"]
    chapters = next(part for part in parts if part["caption"] == "Chapters")["chapters"]
    return [Path(entry["file"]).name for entry in chapters]


def test_the_reference_imports_only_torch_numpy_and_earlier_chapters():
    order = stems()
    for path in python_files("reference_impl/"):
        names = imports(path)
        allowed = {"torch", "numpy", "reference_impl", "__future__", ""} | set(sys.stdlib_module_names)
        if path.name == "figures.py":
            allowed |= {"matplotlib", "altair", "IPython", "vl_convert"}
        assert not top(names) - allowed, f"{path.name} imports {top(names) - allowed}"
        if path.stem in order:
            later = order[order.index(path.stem) + 1:]
            used = {name.split(".")[1] for name in names if name.startswith("reference_impl.")}
            assert not used & set(later), f"{path.name} imports a later chapter: {used & set(later)}"
            assert "figures" not in used, f"{path.name} imports figures, which only chapters may"


def test_chapters_of_the_reference_stand_on_earlier_chapters_and_on_no_demonstration():
    demonstrations = {"corpus", "parcels", "parcels_grammar", "truth", "figures", "gpt", "training", "sparse_ngrams"}
    used = {path.stem: {name.split(".")[1] for name in imports(path) if name.startswith("reference_impl.")}
            for path in python_files("reference_impl/")}
    for name in set(used) - demonstrations:
        assert not used[name] & demonstrations, f"{name} imports {used[name] & demonstrations}"
    assert tuple(TopologicalSorter(used).static_order())  # raises CycleError where modules import one another


def test_the_students_side_needs_torch_and_numpy_only():
    allowed = {"torch", "numpy", "autograder", "reference_impl", "IPython", "__future__"} | set(sys.stdlib_module_names)
    for path in python_files("autograder/"):
        name = path.relative_to(ROOT / "autograder").with_suffix("").as_posix()
        if name in STUDENT_SIDE or name.startswith("checks/"):
            assert not top(imports(path)) - allowed, f"{name} imports {top(imports(path)) - allowed}"


def test_what_runs_in_the_room_knows_nothing_of_the_grader():
    inside = [p for p in python_files("autograder/room/") if "autograder" not in top(imports(p))]
    assert ROOT / "autograder/room/wire.py" in inside
    for path in python_files("autograder/room/"):
        assert "reference_impl" not in top(imports(path)), f"{path.name} brings the reference into the room"


def test_the_book_is_not_imported_and_nobody_imports_tests():
    for path in python_files():
        if not path.is_relative_to(ROOT / "tests"):
            assert "tests" not in top(imports(path)), f"{path} imports tests"


@pytest.mark.parametrize("stem", stems())
def test_a_stem_names_its_chapter_everywhere(stem):
    wanted = [f"chapters/{stem}.md", f"chapters/quizzes/{stem}.yml", f"solutions/{stem}.md",
              f"reference_impl/{stem}.py", f"autograder/checks/{stem}.py", f"tests/reference_impl/test_{stem}.py"]
    assert not [name for name in wanted if name not in tracked()]


def test_no_stem_stands_outside_the_table_of_contents():
    for pattern in (r"chapters/quizzes/(\w+)\.yml", r"solutions/(\w+)\.md", r"autograder/checks/(\w+)\.py"):
        found = {m[1] for name in tracked() if (m := re.fullmatch(pattern, name))} - {"__init__"}
        assert found == set(stems()), pattern


def test_modules_are_small_and_no_room_is_a_grab_bag():
    for path in python_files():
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= 300, f"{path.relative_to(ROOT)} has {lines} lines; 300 is the most"
        assert path.stem not in {"utils", "common", "helpers", "misc"}, path


def test_nothing_generated_is_in_git():
    generated = re.compile(r"\.ipynb$|\.db$|\.pyc$|^_build/|^\.venv/|\.whl$|\.egg-info")
    assert not [name for name in tracked() if generated.search(name) and not name.endswith("grade_on_colab.ipynb")]


def test_requirements_lock_every_version_and_hold_what_the_project_asks_for():
    import tomllib

    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line) for line in lines), "a version is not exact"
    locked = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {re.split(r"[=<>~ ]", item)[0].lower() for items in extras.values() for item in items}
    assert not {re.sub(r"[-_.]+", "-", name) for name in asked} - locked


def test_code_is_clean_and_words_are_spelled():
    for command in (["ruff", "check", "--quiet", "."], ["codespell_lib"]):
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("argv", [[], ["nonsense"]])
def test_the_command_line_explains_itself(argv):
    run = subprocess.run([sys.executable, "-m", "autograder", *argv], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "notebooks" in run.stdout + run.stderr


def test_from_autograder_import_check_is_the_function_whatever_was_imported_before():
    code = "import autograder.{first}; from autograder import check; assert callable(check), check"
    for first in ("check", "casework", "checks"):
        subprocess.run([sys.executable, "-c", code.format(first=first)], cwd=ROOT, check=True)
