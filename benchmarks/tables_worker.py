"""What the peers' workers of the tables benchmark share: the job, the cap on the fit, the two clocks and the report.

A worker is a script that is called with one argument, a job as JSON; it writes the rows that it made to a CSV file and
prints a report as JSON, as its last line. It runs in an environment of its own, where only pandas is sure to be.

The clock of the fit starts when the benchmark starts the process, so that imports and reading the table are within,
as they are in our command's time. The clock of the sample covers drawing the rows and writing them; for a peer it has
no start-up in it, for our second command it has.
"""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd


@dataclass
class Job:
    """One run.

    Attributes
    ----------
    method : str
    seed : int
    train : str
        Path of the CSV file to learn from.
    output : str
        Path of the CSV file to write, with as many rows.
    target : str
    task : str
        "regression", or any other word for classes.
    numeric, categorical : list of str
        Names of the columns by kind, for what cannot find them out.
    started : float
        When the process was started, in seconds since the epoch.
    max_fit_seconds : float
    recipe : dict
        The method's settings.
    """

    method: str
    seed: int
    train: str
    output: str
    target: str
    task: str
    numeric: list[str]
    categorical: list[str]
    started: float
    max_fit_seconds: float
    recipe: dict[str, Any]


@dataclass
class Fitted:
    """A model after training.

    Attributes
    ----------
    sample : callable
        From a number of rows to a data frame of as many new ones.
    is_finished : bool
        Whether it was trained to the end of its own schedule, and not stopped by the cap.
    epochs : int or None
        Whole passes over the rows, where they are counted.
    """

    sample: Callable[[int], pd.DataFrame]
    is_finished: bool = True
    epochs: int | None = None


class OutOfTime(BaseException):
    """The cap on the fit is reached. Not an Exception, as libraries catch those."""


class NotApplicableError(Exception):
    """The method is not made for such a table; the message says why."""


@contextmanager
def cap(job: Job) -> Iterator[None]:
    """Raises `OutOfTime` in the block when the job's time for the fit is over."""

    def stop(*_: Any) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(job.started + job.max_fit_seconds - time.time(), 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def read_job() -> Job:
    """The job that the command line gives."""
    return Job(**json.loads(sys.argv[1]))


def run(job: Job, fit: Callable[[Job, pd.DataFrame], Fitted], *packages: str) -> None:
    """Does the job with ``fit``, and prints the report, with the versions of ``packages``."""
    report: dict[str, Any] = {"versions": {name: version(name) for name in packages}}
    try:
        rows = pd.read_csv(job.train)
        fitted = fit(job, rows)
        report["fit_seconds"] = time.time() - job.started
        report |= {"status": "finished" if fitted.is_finished else "unfinished", "epochs": fitted.epochs}
        began = time.time()
        fitted.sample(len(rows)).to_csv(job.output, index=False)
        report["sample_seconds"] = time.time() - began
    except OutOfTime:
        report |= {"status": "unfinished", "fit_seconds": time.time() - job.started}
    except NotApplicableError as error:
        report |= {"status": "not applicable", "why": str(error)}
    print(json.dumps(report))
