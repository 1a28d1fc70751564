"""Dates close behind others as the time since these, so that what begins ends after it."""

from __future__ import annotations

import dataclasses
import graphlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.dates.rhythm import DAYS, Rhythm, month_starts, months_of
from pipelines.tables.entry_checks import NUMBER, NUMBERS, OBJECT, TEXT, Check, check_object, list_of, or_null

__all__ = ["MONTH", "WEEK", "Elapsed", "in_order", "in_own_unit"]

WEEK, MONTH = 7.0, 30.436875  # days, the latter on average
_UNITS = {0.0, *(unit * day for unit in (1.0, WEEK, MONTH) for day in DAYS.values())}
_LIMITS = Check(
    lambda value: isinstance(value, list) and len(value) == 3 and TEXT.holds(value[0]) and NUMBERS.holds(value[1:]),
    "a column and two numbers",
)

_CHECKS = {
    "since": TEXT,
    "unit": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "rhythm": or_null(OBJECT),
    "support": NUMBERS,
    "between": list_of(_LIMITS),
    "per": NUMBER,
}
_PER = {own / other for own in DAYS.values() for other in DAYS.values()}


@dataclasses.dataclass(frozen=True)
class Elapsed:
    """How a column of dates is learnt as the time since another of the same row.

    Attributes:
        since: The other column.
        per: How much of the other's unit one of the column's own is: 1, or 86,400 where this is of dates and the other
            has times, and the inverse where it is the other way round.
        unit: 0 if time counts from the moment there; else from the beginning of its day, week or month, which counts so
            much (a month on average).
        low: The earliest date of the column itself that was seen, counted from 1970-01-01.
        high: The latest.
        rhythm: Which weekdays, hours and minutes the column itself has, if that is known.
        support: The dates of the column itself, if new rows are to have no others; else empty.
        between: Columns of dates, that one and those that are always before or always after, each with the least and
            the greatest time since that was seen.
    """

    since: str
    unit: float
    low: float
    high: float
    rhythm: Rhythm | None = None
    support: tuple[float, ...] = ()
    between: tuple[tuple[str, float, float], ...] = ()
    per: float = 1.0

    def start(self, earlier: np.ndarray) -> np.ndarray:
        """Returns what time counts from, float64 `[n]`, of the dates of the other column."""
        earlier = in_own_unit(earlier, self.per)
        return self.beginning(self.count(earlier)) if self.unit else earlier

    def count(self, moments: np.ndarray) -> np.ndarray:
        """Returns how many days, weeks or months, float64 `[n]`, were before those of moments, from 1970-01-01."""
        day = self._day_of_months
        whole: np.ndarray = np.floor(moments / (day or self.unit))
        return months_of(whole) if day else whole

    def beginning(self, count: np.ndarray) -> np.ndarray:
        """Returns the moments, float64 `[n]`, after so many days, weeks or months."""
        day = self._day_of_months
        return month_starts(count) * day if day else count * self.unit

    @property
    def _day_of_months(self) -> float:
        """What a day counts if the unit is a month, else 0."""
        return next((day for day in DAYS.values() if self.unit == MONTH * day), 0.0)

    def is_beyond(self, moments: np.ndarray) -> np.ndarray:
        """Returns which dates of the column itself, bool `[n]`, are as none was, whatever the time since others."""
        is_beyond: np.ndarray = ~((moments >= self.low) & (moments <= self.high))
        if self.support:
            is_beyond |= ~np.isin(moments, self.support)
        if self.rhythm is not None:
            is_beyond |= self.rhythm.is_beyond(moments)
        return is_beyond

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest time since the other column."""
        return next(((least, most) for name, least, most in self.between if name == self.since), (-np.inf, np.inf))

    def to_json(self) -> dict[str, Any]:
        """Returns this as a JSON value."""
        rhythm = None if self.rhythm is None else self.rhythm.to_json()
        between = [list(entry) for entry in self.between]
        return dataclasses.asdict(self) | {"rhythm": rhythm, "support": list(self.support), "between": between}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Elapsed:
        """Returns what `to_json` wrote.

        Raises:
            AugmentError: If it is none such.
        """
        check_object("the time since another column", value, _CHECKS, optional=("per",))  # a model may be older
        rhythm = None if value["rhythm"] is None else Rhythm.from_json(value["rhythm"])
        unit, low, high = (float(value[name]) for name in ("unit", "low", "high"))
        between = tuple((name, float(least), float(most)) for name, least, most in value["between"])
        support, per = tuple(map(float, value["support"])), float(value.get("per", 1.0))
        found = cls(value["since"], unit, low, high, rhythm, support, between, per)
        if not found.low <= found.high or found.unit not in _UNITS or per not in _PER:
            raise AugmentError("the time since another column has no range, or days of another length")
        return found


def in_own_unit(earlier: np.ndarray, per: float) -> np.ndarray:
    """Returns moments of another column, float64 `[n]`, in the unit of one's own: of times, the day.

    Args:
        earlier: The moments.
        per: As `Elapsed.per`.
    """
    return np.floor(earlier / per) if per > 1 else earlier * np.rint(1 / per)


def in_order(since: Mapping[str, str | None]) -> Iterable[str]:
    """Returns columns in an order in which each comes after the one it is learnt from.

    Args:
        since: Of each column this one, or None.

    Raises:
        graphlib.CycleError: If there is no such order.
    """
    return graphlib.TopologicalSorter({name: [other] if other else [] for name, other in since.items()}).static_order()
