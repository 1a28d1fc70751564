"""Dates close behind others as the time since these, so that what begins ends after it."""

from __future__ import annotations

import dataclasses
import graphlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import NUMBER, NUMBERS, OBJECT, TEXT, check_object, or_null
from pipelines.tables.rhythm import DAYS, Rhythm

__all__ = ["Elapsed", "in_order"]

_CHECKS = {"since": TEXT, "day": NUMBER, "low": NUMBER, "high": NUMBER, "rhythm": or_null(OBJECT), "support": NUMBERS}


@dataclasses.dataclass(frozen=True)
class Elapsed:
    """How a column of dates is learnt as the time since another of the same row.

    Attributes:
        since: The other column.
        day: 0 if time counts from the moment there; else from the beginning of its day, and a day counts so much.
        low: The earliest date of the column itself that was seen, counted from 1970-01-01.
        high: The latest.
        rhythm: Which weekdays, hours and minutes the column itself has, if that is known.
        support: The dates of the column itself, if new rows are to have no others; else empty.
    """

    since: str
    day: float
    low: float
    high: float
    rhythm: Rhythm | None = None
    support: tuple[float, ...] = ()

    def start(self, earlier: np.ndarray) -> np.ndarray:
        """Returns what time counts from, float64 `[n]`, of the dates of the other column."""
        return np.floor(earlier / self.day) * self.day if self.day else earlier

    def is_beyond(self, moments: np.ndarray) -> np.ndarray:
        """Returns which dates of the column itself, bool `[n]`, are as none was, whatever the time since others."""
        is_beyond: np.ndarray = ~((moments >= self.low) & (moments <= self.high))
        if self.support:
            is_beyond |= ~np.isin(moments, self.support)
        if self.rhythm is not None:
            is_beyond |= self.rhythm.is_beyond(moments)
        return is_beyond

    def to_json(self) -> dict[str, Any]:
        """Returns this as a JSON value."""
        rhythm = None if self.rhythm is None else self.rhythm.to_json()
        return dataclasses.asdict(self) | {"rhythm": rhythm, "support": list(self.support)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Elapsed:
        """Returns what `to_json` wrote.

        Raises:
            AugmentError: If it is none such.
        """
        check_object("the time since another column", value, _CHECKS)
        rhythm = None if value["rhythm"] is None else Rhythm.from_json(value["rhythm"])
        day, low, high = (float(value[name]) for name in ("day", "low", "high"))
        found = cls(value["since"], day, low, high, rhythm, tuple(map(float, value["support"])))
        if not found.low <= found.high or found.day not in (0.0, *DAYS.values()):
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
