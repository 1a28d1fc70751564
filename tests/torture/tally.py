"""What `make torture` counts: faults tried, survived and lost, by the kind of harm."""

from __future__ import annotations

import dataclasses
import time

__all__ = ["Tally"]


@dataclasses.dataclass
class Tally:
    """Faults of one kind.

    Attributes:
        harm: What is done, in words, such as "fit killed while it trains".
        tried: How often it was done.
        survived: How often what was promised then held.
        lost: How often something was lost or left behind: rows, a model, a whole file, debris.
        failures: What went wrong, in words, each with what reproduces it.
        seconds: Wall time since the tally was made.
    """

    harm: str
    tried: int = 0
    survived: int = 0
    lost: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    _started: float = dataclasses.field(default_factory=time.monotonic)

    def record(self, problem: str | None, *, lost: bool = False) -> None:
        """Counts one fault: survived if there is no `problem`."""
        self.tried += 1
        self.survived += problem is None
        self.lost += lost
        if problem is not None:
            self.failures.append(problem)
        self.seconds = time.monotonic() - self._started

    @property
    def is_good(self) -> bool:
        """Whether something was tried and all of it survived."""
        return self.tried == self.survived > 0 and not self.lost
