"""What the sides of the speed benchmark share: a process that builds once and then does one measured round a request.

`speed_sides.py` starts a side with one argument, a job as JSON, and writes it a line such as ``train 2.0`` for each
round: a measure's name and the seconds it should take. The side does that, answers with a line of JSON, and waits.
So one side works at a time, the orchestrator decides which, and nobody's start-up or compilation is in a round.

It needs numpy only, besides the library it measures.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

# What `fit` of tfp_realnvp does by default (docs/design.md, decision 16); the limit does the same, the peers have the
# same Adam in their library's usual way.
LEARNING_RATE, BETA_2, EPSILON, CLIP_NORM = 2e-3, 0.99, 1e-7, 1.0
CLAMP = 2.0  # nats: log_scale = CLAMP * tanh(s / CLAMP)
# Long enough that no run comes to the end of it.
SCHEDULE_STEPS = 1_000_000
DENSITY_ROWS = 100_000


@dataclass(frozen=True)
class Job:
    """One side at one size.

    Attributes
    ----------
    side : str
    entries : int
        D, the numbers in a row.
    couplings : int
    width : int
        Units of each of the two hidden layers.
    batch : int
        Rows in a step.
    rows : str
        Path of a .npy file, float32 ``[n, D]``.
    """

    side: str
    entries: int
    couplings: int
    width: int
    batch: int
    rows: str

    @property
    def kept(self) -> int:
        """Entries that a coupling leaves alone."""
        return self.entries // 2


class Rounds:
    """The talk with the orchestrator.

    Parameters
    ----------
    measures : dict
        By name: from seconds to the result of a round, as a rule something a second (`rate`).
    *packages : str
        Whose versions are reported.
    """

    def __init__(self, measures: dict[str, Callable[[float], float]], *packages: str) -> None:
        self._measures = measures
        # What libraries print must not get between the answers.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        versions = {name: version(name) for name in packages}
        self._say({"versions": versions, "cores": len(os.sched_getaffinity(0))})

    def _say(self, what: object) -> None:
        print(json.dumps(what), file=self._answers, flush=True)

    def wait_for(self, measure: str | None = None) -> float | None:
        """Does rounds until one of ``measure`` is asked for, whose seconds it returns; None when all is over.

        The caller does that round itself and gives its result to `answer`.
        """
        while line := sys.stdin.readline():
            word, seconds = line.split()
            if word == measure:
                return float(seconds)
            self.answer(self._measures[word](float(seconds)))
        return None

    def answer(self, result: float) -> None:
        """Tells the result of a round."""
        self._say(result)


def rate(work: Callable[[], int], seconds: float) -> float:
    """How much is done a second: calls ``work``, which returns how much it has done, until the seconds are over."""
    began, done = time.perf_counter(), 0
    while True:
        done += work()
        if (spent := time.perf_counter() - began) >= seconds:
            return done / spent


def rates(**work: Callable[[], int]) -> dict[str, Callable[[float], float]]:
    """The measures of `rate` by name."""
    return {name: partial(rate, function) for name, function in work.items()}


def read_job() -> tuple[Job, NDArray[np.float32]]:
    """The job that the command line gives, and its rows."""
    job = Job(**json.loads(sys.argv[1]))
    return job, np.load(job.rows)


def density_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """`DENSITY_ROWS` rows, those of ``rows`` again and again."""
    return np.resize(rows, (DENSITY_ROWS, rows.shape[1]))
