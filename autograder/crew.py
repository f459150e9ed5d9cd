"""Who does the examining: this process, or several. Each has an examiner of its own; results come as they are ready.

A submission on which the grader itself fails is tried once more, alone; what fails twice is told, never scored.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from autograder.marking import Examined, Examiner, load

Job = tuple[str, "Path | None", str]  # stem, file, the key that is known
Suspect = tuple[tuple[int, Job], "Examined | None"]
AHEAD = 4  # jobs that wait for each process
_examiner: Examiner | None = None


def _start(stems: Sequence[str], course: Path, seeds: Mapping[str, bytes], require_isolation: bool, turns: str) -> None:
    global _examiner
    _examiner = Examiner({stem: load(stem, course) for stem in stems}, seeds, require_isolation, turns).__enter__()


def _work(job: Job) -> Examined:
    assert _examiner is not None
    return _examiner.examine(*job)


def in_doubt(examined: Examined) -> bool:
    """Whether the grader itself failed on a submission, or on an exercise of it."""
    verdict = examined.verdict
    return bool(examined.fault) or bool(verdict and any(e["status"] == "grader" for e in verdict["exercises"]))


def alone(examiner: Examiner, jobs: Sequence[Job]) -> Iterator[tuple[int, Examined]]:
    """Each job's number and result, one after the other, in this process."""
    for number, job in enumerate(jobs):
        examined = examiner.examine(*job)
        yield number, examiner.examine(*job) if in_doubt(examined) else examined


def together(start: tuple, jobs: Sequence[Job], workers: int) -> Iterator[tuple[int, Examined]]:
    """Each job's number and result, in the order in which ``workers`` processes finish them.

    ``start`` are the arguments of :func:`_start`. A process that dies takes its pool with it: what was under way is
    tried again one by one, so the submission that ends processes costs no other one anything.
    """
    queue = deque(enumerate(jobs))
    while queue:
        suspects: list[Suspect] = []
        yield from _pool(start, queue, workers, suspects)
        for item, _ in suspects:
            again: list[Suspect] = []
            yield from _pool(start, deque([item]), 1, again)
            for (number, _), examined in again:
                yield number, examined or Examined("", None, {}, "the process that examined it ended, twice")


def _pool(start: tuple, queue: deque, workers: int, suspects: list[Suspect]) -> Iterator[tuple[int, Examined]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(queue)), context, _start, start) as pool:
        running: dict[Future, tuple[int, Job]] = {}
        broken = False
        while running or (queue and not broken):
            while queue and not broken and len(running) < workers * AHEAD:
                try:
                    running[pool.submit(_work, queue[0][1])] = queue[0]
                    queue.popleft()
                except BrokenProcessPool:
                    broken = True
            for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                item = running.pop(future)
                try:
                    examined = future.result()
                except BrokenProcessPool:
                    broken = True
                    suspects.append((item, None))
                    continue
                if in_doubt(examined):
                    suspects.append((item, examined))
                else:
                    yield item[0], examined
