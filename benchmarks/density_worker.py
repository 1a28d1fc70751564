"""What every run of the density benchmark shares, whatever its library: one core, one clock, one training loop.

A worker is a script that is called with one argument, a job as JSON, and prints a report as JSON. It needs numpy only,
besides the library it measures, and has to call `start` before it imports that library.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

WARM_UP = 0.02
VALIDATIONS = 50


@dataclass
class Job:
    """One run.

    Attributes
    ----------
    method : str
    arrays : str
        Path of an .npz file with ``train``, ``valid`` and ``test``, float32 ``[n, D]``.
    seed : int
    seconds : float
        Wall time for building, compiling and training; imports and the test come on top.
    core : int
        The only processor core that the process may use.
    recipe : dict
        The method's settings.
    """

    method: str
    arrays: str
    seed: int
    seconds: float
    core: int
    recipe: dict[str, Any]


@dataclass
class Fitted:
    """A model after training.

    Attributes
    ----------
    log_prob : callable
        From float32 rows ``[n, D]`` to their log-densities ``[n]``, nats.
    steps : int
        Optimizer steps done.
    parameters : int
        Trainable numbers.
    """

    log_prob: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    steps: int
    parameters: int


def start() -> Job:
    """Reads the job and binds the process to its core, before any library makes its threads."""
    job = Job(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {job.core})
    for name in ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
        os.environ[f"{name}_THREADS"] = "1"
    os.environ |= {
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    return job


def finish(job: Job, fit: Callable[[Job, "Clock", dict[str, NDArray[np.float32]]], Fitted], *packages: str) -> None:
    """Loads the rows, starts the clock, fits, tests and prints the report. Call it when all imports are done."""
    with np.load(job.arrays) as file:
        rows = {name: file[name] for name in ("train", "valid", "test")}
    clock = Clock(job.seconds)
    fitted = fit(job, clock, rows)
    elapsed, busy = clock.elapsed(), clock.busy()
    values = {name: _log_prob(fitted, rows[name]) for name in rows}
    report = {
        **{name: float(value.mean()) for name, value in values.items()},
        "test_error": float(values["test"].std(ddof=1) / math.sqrt(len(values["test"]))),
        "elapsed": elapsed,
        "busy": busy,
        "steps": fitted.steps,
        "parameters": fitted.parameters,
        "versions": {name: version(name) for name in packages},
    }
    print(json.dumps(report))


def _log_prob(fitted: Fitted, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    chunks = [rows[i : i + 2000] for i in range(0, len(rows), 2000)]
    return np.concatenate([np.asarray(fitted.log_prob(chunk), np.float64) for chunk in chunks])


class Clock:
    """Wall time since it was made, and how much of the budget is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.started, self.cpu_started = seconds, time.monotonic(), time.process_time()

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def busy(self) -> float:
        """Seconds of processor time since the start: less than `elapsed` if others used the core."""
        return time.process_time() - self.cpu_started

    def left(self) -> float:
        """Seconds until the end of the budget."""
        return self.seconds - self.elapsed()


def batches(rows: NDArray[np.float32], batch_size: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Endless batches: one random order of all rows after another; the rest of each that fills no batch is left out."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(rows))
        for i in range(0, len(rows) - batch_size + 1, batch_size):
            yield rows[order[i : i + batch_size]]


def train(
    clock: Clock, step: Callable[[float], None], validate: Callable[[], float], keep: Callable[[], None], peak: float
) -> int:
    """Calls ``step`` until the time is over, with a learning rate that falls from ``peak`` to zero by then.

    The rate rises linearly for the first 2 % of the time that compilation leaves and then follows half a cosine.
    Every 2 % of the time (less often if it is slow), and at the end, ``validate`` gives the mean log-likelihood of the
    validation rows; ``keep`` is called whenever it is the best so far. Both functions are called once before the
    schedule starts, which compiles them.

    Returns
    -------
    int
        The number of steps.
    """
    step(0.0)  # compiles
    best = validate()
    keep()
    began = clock.elapsed()
    best = max(best, validate())
    validation_seconds = clock.elapsed() - began
    began, steps = clock.elapsed(), 0
    span = clock.seconds - validation_seconds - began
    next_validation = span / VALIDATIONS
    while (spent := clock.elapsed() - began) < span:
        if spent >= next_validation:
            next_validation = spent + max(span / VALIDATIONS, 20 * validation_seconds)
            if (value := validate()) > best:
                best = value
                keep()
        progress = (clock.elapsed() - began) / span
        rise, fall = progress / WARM_UP, (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        step(peak * min(rise, fall))
        steps += 1
    if validate() > best:
        keep()
    return steps
