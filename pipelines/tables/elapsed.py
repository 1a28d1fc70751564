"""Dates close behind others as the time since these, so that what begins ends after it."""

from __future__ import annotations

import dataclasses
import graphlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import NUMBER, OBJECT, TEXT, check_object, or_null
from pipelines.tables.rhythm import Rhythm

__all__ = ["Elapsed", "in_order"]

_CHECKS = {"since": TEXT, "day": NUMBER, "low": NUMBER, "high": NUMBER, "seen": or_null(OBJECT)}


@dataclasses.dataclass(frozen=True)
class Elapsed:
    """How a column of dates is learnt as the time since another of the same row.

    Attributes:
        since: The other column.
        day: 0 if time counts from the moment there; else from the beginning of its day, and a day counts so much.
        low: The earliest date of the column itself that was seen, counted from 1970-01-01.
        high: The latest.
        seen: Which weekdays, hours and minutes the column itself has, if that is known.
    """

    since: str
    day: float
    low: float
    high: float
    seen: Rhythm | None = None

    def start(self, earlier: np.ndarray) -> np.ndarray:
        """Returns what time counts from, float64 `[n]`, of the dates of the other column."""
        return np.floor(earlier / self.day) * self.day if self.day else earlier

    def is_beyond(self, moments: np.ndarray) -> np.ndarray:
        """Returns which dates of the column itself, bool `[n]`, are as none was, whatever the time since others."""
        if self.seen is not None:
            return self.seen.is_beyond(moments)
        is_beyond: np.ndarray = ~((moments >= self.low) & (moments <= self.high))
        return is_beyond

    def to_json(self) -> dict[str, Any]:
        """Returns this as a JSON value."""
        return dataclasses.asdict(self) | {"seen": None if self.seen is None else self.seen.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Elapsed:
        """Returns what `to_json` wrote.

        Raises:
            AugmentError: If it is none such.
        """
        check_object("the time since another column", value, _CHECKS)
        seen = None if value["seen"] is None else Rhythm.from_json(value["seen"])
        found = cls(value["since"], float(value["day"]), float(value["low"]), float(value["high"]), seen)
        if not found.low <= found.high or found.day not in (0.0, 1.0, 86_400.0):
            raise AugmentError("the time since another column has no range, or days of another length")
        return found


def in_order(since: Mapping[str, str | None]) -> Iterable[str]:
    """Returns columns in an order in which each comes after the one it is learnt from.

    Args:
        since: Of each column this one, or None.

    Raises:
        graphlib.CycleError: If there is no such order.
    """
    return graphlib.TopologicalSorter({name: [other] if other else [] for name, other in since.items()}).static_order()
