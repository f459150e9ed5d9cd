"""One exercise, case after case: the steps are drawn, the reference answers, the student's code answers, and the two are
compared. A student's own check and the grader share this file; only the player differs.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from autograder.exercise import Exercise, Verdict
from autograder.steps import Player


def run_exercise(exercise: Exercise, player: Player, seed: bytes,
                 expected: MutableMapping[tuple[str, str, int], Any] | None = None, *,
                 show_inputs: bool = False) -> Verdict:
    """The verdict on one exercise: every draw of every case, played by ``player`` and held against the reference.

    ``seed`` (16 to 64 bytes) decides every draw. ``expected`` keeps what the reference answers, keyed by exercise, case and
    draw: pass one mapping for a whole class (one seed, one device). ``show_inputs`` puts drawn inputs and expected
    values into the messages: on the student's own machine only.
    """
    raise NotImplementedError
