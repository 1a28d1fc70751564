"""Dates as a day of the week or month, an hour of the day, a minute of the hour, and a number that goes on beside."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import NUMBER, NUMBERS, check_object, list_of, up_to

__all__ = ["DAYS", "Rhythm", "days_of", "month_starts", "months_of"]

DAYS = {"date": 1.0, "datetime": 86_400.0}  # what a day counts, by kind of column

_MINUTE, _HOUR = 60.0, 3_600.0  # seconds
_SIZES = {"weekday": 7, "monthday": 31, "monthend": 31, "hour": 24, "minute": 60}
_THURSDAY = 3  # 1970-01-01 was one; Mondays are 0
_CALENDAR = 146_097  # days, after which weekdays and months come again
_FAR = 1e11  # months from 1970, beyond which nobody asks for the day
# So many rows tell phases apart, and so many days those that come again from those that were there once.
_MIN_ROWS, _MIN_DAYS = 1_000, 14
_MIN_SPAN = {"weekday": 70, "monthday": 730, "monthend": 730}
# Days of the month are told apart if they tell so many nats of a row, and more than weekdays do; fewer rows have one of
# these only if it tells more.
_MIN_GAIN, _FEW_ROWS, _MIN_GAIN_OF_FEW = 0.05, 100, 0.1
# Pearson's statistic of minutes that are equally frequent is 59 on average, and by chance hardly ever more than this.
_UNEVEN = 150.0
# Where new rows are to have no other moments than old ones, rows of others are drawn again, if they are not more: they
# would be those of days of the month that are rare.
_MAX_OTHERS = {None: 0.2, "weekday": 0.2, "monthday": 0.05, "monthend": 0.05}
_CHECKS = {
    "low": NUMBER,
    "high": NUMBER,
    "day": NUMBER,
    **{name: list_of(up_to(size - 1)) for name, size in _SIZES.items()},
    "support": NUMBERS,
}


@dataclasses.dataclass(frozen=True)
class Rhythm:
    """Which phases of dates come again: days of the week or of the month, hours of the day, minutes of the hour.

    A moment is its phases, which are classes, and the time of a shorter calendar, which goes on: its weeks (or months)
    have one day, if weekdays (or days of the month) are told apart, its days one hour, its hours one minute. Nothing is
    lost, and a second is a second, so densities stay as they are.

    Attributes:
        low: The earliest moment that was seen, counted from 1970-01-01.
        high: The latest.
        day: What a day counts: 1 for dates, 86,400 for dates with times.
        weekday: The days of the week that were seen, from 0, a Monday, to 6; empty if they are not told apart.
        monthday: The days of the month that were seen, from 0, the first; likewise.
        monthend: The same, from 0, the last. One of the three is there at most.
        hour: The hours of the day that were seen, from 0 to 23; likewise.
        minute: The minutes of the hour that were seen; likewise.
        support: The moments that were seen, if new rows are to have no others; else empty.
    """

    low: float
    high: float
    day: float
    weekday: tuple[int, ...] = ()
    monthday: tuple[int, ...] = ()
    monthend: tuple[int, ...] = ()
    hour: tuple[int, ...] = ()
    minute: tuple[int, ...] = ()
    support: tuple[float, ...] = ()

    @classmethod
    def learn(cls, moments: np.ndarray, day: float, support: np.ndarray) -> Rhythm | None:
        """Learns from moments; None if they can hardly show a rhythm.

        Weekdays are told apart, or days of the month if these say more. Hours are told apart if there are several,
        minutes if all are whole ones and some are more frequent, as where they are scheduled.

        Args:
            moments: float64 `[n]` with n > 0, counted from 1970-01-01.
            day: What a day counts.
            support: The distinct ones, if new rows are to have no others; else empty.
        """
        low, high = float(moments.min()), float(moments.max())
        if high - low < _MIN_DAYS * day:
            return None
        told: list[str] = []
        within = moments % day
        if len(moments) >= _MIN_ROWS and len(np.unique(np.floor_divide(within, _HOUR))) > 1:
            told.append("hour")
            counts, mean = np.bincount((within % _HOUR // _MINUTE).astype(int), minlength=60), len(moments) / 60
            is_uneven = ((counts - mean) ** 2).sum() / mean > _UNEVEN
            if is_uneven and counts[0] < len(moments) and not (within % _MINUTE).any():
                told.append("minute")
        choices = [[*told, of_days] for of_days in _days_told(np.floor(moments / day))] or [told]
        for names in filter(None, choices):
            whole = cls(low, high, day, **{name: tuple(range(size)) for name, size in _SIZES.items() if name in names})
            folded, phases = whole.fold(moments)
            if not len(support) or _others(folded, phases) <= _MAX_OTHERS[whole.of_days]:
                break
        else:
            return None
        seen = dict(zip(whole.names, (tuple(np.unique(phase).tolist()) for phase in phases.T), strict=True))
        return cls(low, high, day, **seen, support=tuple(support.tolist()))

    @property
    def _seen(self) -> dict[str, tuple[int, ...]]:
        return {name: getattr(self, name) for name in _SIZES if getattr(self, name)}

    @property
    def names(self) -> tuple[str, ...]:
        """What is told apart: some of "weekday", "monthday", "monthend", "hour" and "minute"."""
        return tuple(self._seen)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many phases each has, counted from 0; the next number is that of a cell without."""
        return tuple(_SIZES[name] for name in self._seen)

    def fold(self, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the time of the shorter calendar, float64 `[n]`, and the phases, int32 `[n, P]`."""
        cycles = np.floor(moments / self.day)
        within = moments - cycles * self.day
        phases = []
        if self.of_days is not None:
            cycles, phase = days_of(self.of_days, cycles)
            phases.append(phase)
        for unit in self._units:
            phases.append(np.floor(within / unit))
            within = within - phases[-1] * unit
        return cycles * self._shortest + within, np.stack(phases, axis=1).astype(np.int32)

    def unfold(self, folded: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Returns the moments, float64 `[n]`, NaN where a cell is without a phase."""
        cycles = np.floor(folded / self._shortest)
        found: np.ndarray = folded - cycles * self._shortest
        for unit, phase in zip(reversed(self._units), phases.T[::-1], strict=False):
            found = found + phase * unit
        if self.of_days == "weekday":
            cycles = cycles * 7 + phases[:, 0] - _THURSDAY
        elif self.of_days is not None:
            first, last = month_starts(cycles), month_starts(cycles + 1) - 1  # which some phases are beyond
            is_start = self.of_days == "monthday"
            cycles = np.minimum(first + phases[:, 0], last) if is_start else np.maximum(last - phases[:, 0], first)
        return np.where((phases < np.array(self.sizes)).all(axis=1), found + cycles * self.day, np.nan)

    def nearest(self, moments: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Returns the nearest moments that have phases, int32 `[n, P]`; float64 `[n]`, NaN where there is no moment."""
        is_there = np.isfinite(moments)
        folded, _ = self.fold(np.where(is_there, moments, self.low))
        near = np.stack([self.unfold(folded + by * self._shortest, phases) for by in (-1, 0, 1)])
        distance = np.abs(near - np.where(is_there, moments, 0.0))
        chosen = np.argmin(np.where(np.isnan(distance), np.inf, distance), axis=0)
        return np.where(is_there, np.take_along_axis(near, chosen[np.newaxis], axis=0)[0], np.nan)

    @property
    def of_days(self) -> str | None:
        """What of days is told apart: "weekday", "monthday", "monthend", or nothing."""
        return next((name for name in _MIN_SPAN if name in self._seen), None)

    @property
    def _units(self) -> list[float]:
        """What an hour and a minute count, if they are told apart."""
        return [unit for name, unit in (("hour", _HOUR), ("minute", _MINUTE)) if name in self._seen]

    @property
    def _shortest(self) -> float:
        """What a day of the shorter calendar counts."""
        return [self.day, *self._units][-1]

    def is_beyond(self, moments: np.ndarray) -> np.ndarray:
        """Returns which moments, bool `[n]`, are before or after all that were seen, or else as none was."""
        is_inside = (moments >= self.low) & (moments <= self.high)
        if self.support:
            return ~(is_inside & np.isin(moments, self.support))
        _, phases = self.fold(np.where(is_inside, moments, self.low))
        for seen, phase in zip(self._seen.values(), phases.T, strict=True):
            is_inside &= np.isin(phase, seen)
        return ~is_inside

    def to_json(self) -> dict[str, Any]:
        """Returns the rhythm as a JSON value."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rhythm:
        """Returns the rhythm that `to_json` wrote.

        Raises:
            AugmentError: If it is none.
        """
        check_object("a rhythm", value, _CHECKS, optional=("monthday", "monthend"))  # a model may be older
        low, high, day = (float(value[name]) for name in ("low", "high", "day"))
        lists = {name: tuple(value.get(name, ())) for name in _SIZES}
        found = cls(low, high, day, **lists, support=tuple(map(float, value["support"])))
        if not found.low <= found.high or not all(map(_increase, (*found._seen.values(), found.support))):
            raise AugmentError("the range, the phases or the moments of a rhythm do not increase")
        if sum(name in found._seen for name in _MIN_SPAN) > 1:
            raise AugmentError("a rhythm has days of weeks and of months")
        if not (found.of_days or found.hour) or (found.minute and not found.hour):
            raise AugmentError("a rhythm has no phases")
        if found.day not in DAYS.values() or (found.day == DAYS["date"] and found.hour):
            raise AugmentError("a rhythm has a day of another length")
        return found


def months_of(days: np.ndarray) -> np.ndarray:
    """Returns the months, float64 `[n]`, that days are of, both counted from 1970."""
    found: np.ndarray = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64).astype(np.float64)
    return found


def month_starts(months: np.ndarray) -> np.ndarray:
    """Returns the first days of months, float64 `[n]`, both counted from 1970; NaN where there is no month."""
    is_there = np.abs(months) < _FAR
    whole = np.where(is_there, months, 0.0).astype(np.int64).astype("datetime64[M]")
    return np.where(is_there, whole.astype("datetime64[D]").astype(np.int64), np.nan)


def days_of(name: str, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weeks or months of days, float64 `[n]`, counted from 1970, and which of theirs the days are.

    Args:
        name: "weekday", or "monthday" or "monthend", from the first day of a month or from its last.
        days: Whole days from 1970-01-01, float64 `[n]`.
    """
    if name == "weekday":
        return np.divmod(days + _THURSDAY, 7)
    months = months_of(days)
    return months, days - month_starts(months) if name == "monthday" else month_starts(months + 1) - 1 - days


def _days_told(days: np.ndarray) -> Iterator[str]:
    """Which days may be told apart: of the month, from its beginning or end, if these tell more; and of the week."""
    span = days.max() - days.min()
    names = [name for name, least in _MIN_SPAN.items() if span >= least and len(days) >= _FEW_ROWS]
    gains = {name: _gain(name, days) for name in names}
    if gains:
        best = max(gains, key=lambda name: gains[name])
        is_told = gains[best] > (_MIN_GAIN if len(days) >= _MIN_ROWS else _MIN_GAIN_OF_FEW)
        if is_told:
            yield best
        if len(days) >= _MIN_ROWS and not (is_told and best == "weekday"):
            yield "weekday"


def _gain(name: str, days: np.ndarray) -> float:
    """By how many nats a row's day is likelier, given the shares of the days in the other half of weeks or months."""
    every, size = days.min() + np.arange(min(days.max() - days.min() + 1, _CALENDAR)), _SIZES[name]
    usual = np.bincount(days_of(name, every)[1].astype(int), minlength=size) / len(every)
    cycles, phases = days_of(name, days)
    phases, half = phases.astype(int), np.unique(cycles, return_inverse=True)[1].reshape(-1) % 2
    gained = np.empty(len(days))
    for own in (0, 1):
        counts = np.bincount(phases[half != own], minlength=size) + usual
        gained[half == own] = np.log(counts / counts.sum() / usual)[phases[half == own]]
    return float(gained.mean())


def _others(folded: np.ndarray, phases: np.ndarray) -> float:
    """The share of moments that were not seen, if the phases of each had nothing to do with how far time went on."""
    (_, cycles), (_, phase) = (np.unique(part, axis=0, return_inverse=True) for part in (folded, phases))
    seen = np.zeros((cycles.max() + 1, phase.max() + 1))
    np.add.at(seen, (cycles.reshape(-1), phase.reshape(-1)), 1 / len(folded))
    expected = np.outer(seen.sum(axis=1), seen.sum(axis=0))
    return float(expected[seen == 0].sum())


def _increase(numbers: Sequence[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(numbers))
