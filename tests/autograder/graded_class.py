"""One demo class, made and graded once for all the tests that look at it (a pytest plugin: tests name it)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import small_course

from autograder import demo_class


@dataclass(frozen=True)
class GradedClass:
    """Where the class is: its course root, what grading left, and what was not as deserved."""

    course: Path
    out: Path
    wrong: list[str]


@pytest.fixture(scope="session")
def graded(tmp_path_factory) -> GradedClass:
    base = tmp_path_factory.mktemp("demo")
    course = small_course.make(base / "course")
    return GradedClass(course, base / "class", demo_class.run(base / "class", course))
