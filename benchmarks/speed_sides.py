"""The sides of the speed benchmark as processes, measured in turn."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from commands import QUIET

ENVIRONMENT = QUIET | {"TF_USE_LEGACY_KERAS": "1", "JAX_PLATFORMS": "cpu"}
# Threads of the side before may spin a little before they sleep.
SETTLE_SECONDS = 0.1


def say(message: str) -> None:
    """A line of progress."""
    print(message, file=sys.stderr, flush=True)


class Side:
    """A process that measures; see `speed_worker`.

    Parameters
    ----------
    python : Path
        The interpreter.
    script : str
        The name of the side's file in this folder.
    job : dict

    Raises
    ------
    RuntimeError
        If it ends before it should; the message has the end of its standard error.
    """

    def __init__(self, python: Path, script: str, job: Mapping[str, Any]) -> None:
        self.name = str(job["side"])
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the side)
        self._process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name(script)), json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | ENVIRONMENT,
        )
        self.about: dict[str, Any] = {}

    def __enter__(self) -> "Side":
        self.about = self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def measure(self, measure: str, seconds: float) -> float:
        """The result of one round."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # reading the answer tells why
            print(measure, seconds, file=self._process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._errors.seek(0)
        raise RuntimeError(f"{self.name} ended:\n{self._errors.read().strip()[-2000:]}")


def measure_in_turn(
    sides: Sequence[Side], measures: Mapping[str, Sequence[str]], rounds: int, seconds: float
) -> dict[str, dict[str, list[float]]]:
    """The results of all rounds by side and measure.

    In each round all sides have their turn, so that a busy moment of the machine meets all alike. A round before the
    first, which is not counted, compiles.
    """
    results: dict[str, dict[str, list[float]]] = {side.name: {} for side in sides}
    asked = dict.fromkeys(measure for some in measures.values() for measure in some)
    for measure in asked:
        taking_part = [(side, m) for side in sides for m in measures[side.name] if m == measure]
        if measure != "first_step":  # whose compilation is what is measured
            for side, name in taking_part:
                side.measure(name, 0.0)
        for _ in range(rounds):
            for side, name in taking_part:
                time.sleep(SETTLE_SECONDS)
                results[side.name].setdefault(name, []).append(side.measure(name, seconds))
        for side, name in taking_part:
            say(f"  {name}, {side.name}: {statistics.median(results[side.name][name]):,.4g}")
    return results
