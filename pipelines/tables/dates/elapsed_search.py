"""Which columns of dates are better learnt as the time since another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipelines.tables.column_encoding import ColumnEncoding, step_of
from pipelines.tables.dates.elapsed import MONTH, WEEK, Elapsed, in_own_unit
from pipelines.tables.dates.rhythm import DAYS, Rhythm
from pipelines.tables.files.source import Source
from pipelines.tables.numbers.margins import Margin
from pipelines.tables.schema import Schema

__all__ = ["since_others"]

# The time since is learnt if it is so much narrower than the dates themselves; or less so, if all are in one order.
_MAX_WIDTH, _MAX_WIDTH_IN_ORDER = 0.25, 0.5
_MIN_ROWS = 100
_PROBE_ROWS = 20_000
# Where new rows are to have no other dates than old ones, rows of others are drawn again, if they are not more.
_MAX_OTHERS = 0.2
# Days of weeks and months stay if they are not as often, by total variation, as after any of the times that were seen.
_UNEVEN = {"weekday": 0.05, "monthday": 0.2, "monthend": 0.2}


def since_others(
    columns: Sequence[ColumnEncoding], source: Source, schema: Schema, rng: np.random.Generator
) -> tuple[ColumnEncoding, ...]:
    """Returns columns of which dates close behind others are learnt as the time since these.

    If the time is of some days and hours are told apart, it counts from the beginning of the other's day, and the hours
    remain the column's own; if it is of weeks, and weekdays are not as often as they would be after any time, from that
    of its week, and so do the weekdays; and days of the month, from that of its month.

    Args:
        columns: As they are learnt by themselves.
        source: The table.
        schema: Its columns.
        rng: Where the places within the cells of a lattice come from.
    """
    found = {column.name: column for column in columns}
    days = {
        column.name: DAYS[schema[column.name].kind]
        for column in columns
        if column.margin is not None and schema[column.name].kind in DAYS
    }
    moments = {}
    for name in days:
        _, numbers, is_there = found[name].encode(schema[name], source.table.column(name), source)
        assert numbers is not None
        assert is_there is not None
        moments[name] = np.where(is_there, numbers, np.nan)
    for name, since in _closest(moments, days).items():
        is_there, alone, per = np.isfinite(moments[name]), found[name], days[since] / days[name]
        own, earlier = moments[name][is_there], moments[since][is_there]
        between = own - in_own_unit(earlier, per)
        order = rng.permutation(len(own))
        unit, rhythm = _counted(between, own, own - between + between[order], alone.rhythm, per)
        limits = {other: theirs for other, theirs in moments.items() if days[other] == days[name]}
        limits[since] = in_own_unit(moments[since], per)
        column = dataclasses.replace(
            alone,
            elapsed=Elapsed(
                since,
                unit,
                *alone.bounds,
                alone.rhythm,
                tuple(alone.support.tolist()),
                tuple(_limits(name, since, limits)),
                per,
            ),
            rhythm=rhythm,
        )
        learnt, phases = column.learnt_of(own, earlier)
        others = ~np.isin(column.numbers_of(learnt[order], phases[order], earlier), alone.support)
        if not len(alone.support) or others.mean() <= _MAX_OTHERS:
            found[name] = dataclasses.replace(column, margin=Margin.learn(learnt, step_of(schema[name]), rng))
    return tuple(found.values())


def _counted(
    between: np.ndarray, own: np.ndarray, shuffled: np.ndarray, rhythm: Rhythm | None, per: float
) -> tuple[float, Rhythm | None]:
    """What time counts from, as `Elapsed.unit` says, and what of the column's own rhythm remains.

    Args:
        between: The times, float64 `[n]`.
        own: The dates of the column.
        shuffled: Those of another row's time since the other column.
        rhythm: The column's own, or None.
        per: As `Elapsed.per`: of a day, there is no hour that time could count from.
    """
    if rhythm is None:
        return 0.0, None
    day = rhythm.day
    if rhythm.of_days and _unlike(rhythm, own, shuffled) > _UNEVEN[rhythm.of_days]:
        if not rhythm.weekday:
            return MONTH * day, dataclasses.replace(rhythm, support=())
        if _width(between) >= 2 * WEEK * day:
            return WEEK * day, dataclasses.replace(rhythm, support=())
    if rhythm.hour and (_width(between) >= day or per < 1):
        return day, dataclasses.replace(rhythm, weekday=(), monthday=(), monthend=(), support=())
    return 0.0, None


def _closest(moments: Mapping[str, np.ndarray], days: Mapping[str, float]) -> dict[str, str]:
    """The column that each is close behind, if there is one.

    Args:
        moments: Of each column of dates, float64 `[n]`, NaN where there is none.
        days: What a day counts in each.
    """
    named = {name: own for name, own in moments.items() if np.isfinite(own).sum() >= _MIN_ROWS}
    # What is rarely missing comes first: it must be there wherever a date is that is learnt as the time since.
    order = sorted(named, key=lambda name: (np.isnan(named[name]).sum(), np.nanmean(named[name]) / days[name]))
    found = {}
    for place, name in enumerate(order):
        rows = np.flatnonzero(np.isfinite(named[name]))
        probe = rows[:: -(-len(rows) // _PROBE_ROWS)]
        own, widths = _width(named[name][probe]), {}
        for other in order[:place]:
            theirs = in_own_unit(named[other], days[other] / days[name])
            width = _width(named[name][probe] - theirs[probe])
            if not width <= _MAX_WIDTH_IN_ORDER * own:  # nor if it is NaN
                continue
            between = named[name][rows] - theirs[rows]
            is_ordered = between.min() >= 0 or between.max() <= 0
            if np.isfinite(between).all() and (is_ordered or width <= _MAX_WIDTH * own):
                widths[other] = width
        if widths:
            found[name] = min(widths, key=lambda other: widths[other])
    return found


def _unlike(rhythm: Rhythm, *moments: np.ndarray) -> float:
    """The total variation between the days of the week or month of two columns."""
    size = rhythm.sizes[0]
    shares = [np.bincount(rhythm.fold(part)[1][:, 0], minlength=size) / len(part) for part in moments]
    return float(np.abs(np.subtract(*shares)).sum() / 2)


def _limits(name: str, since: str, moments: Mapping[str, np.ndarray]) -> Iterator[tuple[str, float, float]]:
    """The least and the greatest time since one column, and those that are always before or always after."""
    for other, theirs in moments.items():
        between = (moments[name] - theirs)[np.isfinite(moments[name] - theirs)]
        if other == name or not len(between):  # two that are never there together have no order
            continue
        least, most = float(between.min()), float(between.max())
        if other == since or least >= 0 or most <= 0:
            yield other, least, most


def _width(numbers: np.ndarray) -> float:
    """How wide the middle nine tenths of numbers are."""
    low, high = np.quantile(numbers, (0.05, 0.95))
    return float(high - low)
