"""Which columns of dates are better learnt as the time since another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipelines.tables.column_encoding import ColumnEncoding, step_of
from pipelines.tables.elapsed import WEEK, Elapsed
from pipelines.tables.margins import Margin
from pipelines.tables.reading import Source
from pipelines.tables.rhythm import DAYS
from pipelines.tables.schema import Schema

__all__ = ["since_others"]

# The time since is learnt if it is so much narrower than the dates themselves; or less so, if all are in one order.
_MAX_WIDTH, _MAX_WIDTH_IN_ORDER = 0.25, 0.5
_MIN_ROWS = 100
_PROBE_ROWS = 20_000
# Where new rows are to have no other dates than old ones, rows of others are drawn again, if they are not more.
_MAX_OTHERS = 0.2
_UNEVEN = 0.05  # total variation between weekdays and those after any of the times that were seen


def since_others(
    columns: Sequence[ColumnEncoding], source: Source, schema: Schema, rng: np.random.Generator
) -> tuple[ColumnEncoding, ...]:
    """Returns columns of which dates close behind others are learnt as the time since these.

    If the time is of some days and hours are told apart, it counts from the beginning of the other's day, and the hours
    remain the column's own; if it is of weeks, and weekdays are not as often as they would be after any time, from that
    of its week, and so do the weekdays.

    Args:
        columns: As they are learnt by themselves.
        source: The table.
        schema: Its columns.
        rng: Where the places within the cells of a lattice come from.
    """
    found = {column.name: column for column in columns}
    for kind, day in DAYS.items():
        dates = [column for column in columns if column.margin is not None and schema[column.name].kind == kind]
        if len(dates) < 2:
            continue
        moments = {}
        for column in dates:
            _, numbers, is_there = column.encode(schema[column.name], source.table.column(column.name), source)
            assert numbers is not None
            assert is_there is not None
            moments[column.name] = np.where(is_there, numbers, np.nan)
        for name, since in _closest(moments).items():
            is_there = np.isfinite(moments[name])
            own, earlier, rhythm = moments[name][is_there], moments[since][is_there], found[name].rhythm
            support = found[name].support
            shuffled = earlier + rng.permutation(own - earlier)
            if len(support) and (~np.isin(shuffled, support)).mean() > _MAX_OTHERS:
                continue  # as of the last days of months, which are nobody's some days later
            unit = 0.0
            if rhythm is not None:
                width, weekdays = _width(own - earlier), (_weekdays(part, day) for part in (own, shuffled))
                if rhythm.weekday and width >= 2 * WEEK * day and np.abs(np.subtract(*weekdays)).sum() / 2 > _UNEVEN:
                    unit, rhythm = WEEK * day, dataclasses.replace(rhythm, support=())
                elif rhythm.hour and width >= day:
                    unit, rhythm = day, dataclasses.replace(rhythm, weekday=(), support=())
            column = dataclasses.replace(
                found[name],
                elapsed=Elapsed(
                    since,
                    unit,
                    *found[name].bounds,
                    found[name].rhythm,
                    tuple(support.tolist()),
                    tuple(_limits(name, since, moments)),
                ),
                rhythm=rhythm if unit else None,
            )
            margin = Margin.learn(column.learnt_of(own, earlier)[0], step_of(schema[name]), rng)
            found[name] = dataclasses.replace(column, margin=margin)
    return tuple(found.values())


def _closest(moments: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The column that each is close behind, if there is one.

    Args:
        moments: Of each column of one kind of dates, float64 `[n]`, NaN where there is none.
    """
    named = {name: own for name, own in moments.items() if np.isfinite(own).sum() >= _MIN_ROWS}
    # What is rarely missing comes first: it must be there wherever a date is that is learnt as the time since.
    order = sorted(named, key=lambda name: (np.isnan(named[name]).sum(), np.nanmean(named[name])))
    found = {}
    for place, name in enumerate(order):
        rows = np.flatnonzero(np.isfinite(named[name]))
        probe = rows[:: -(-len(rows) // _PROBE_ROWS)]
        own, widths = _width(named[name][probe]), {}
        for other in order[:place]:
            width = _width(named[name][probe] - named[other][probe])
            if not width <= _MAX_WIDTH_IN_ORDER * own:  # nor if it is NaN
                continue
            between = named[name][rows] - named[other][rows]
            is_ordered = between.min() >= 0 or between.max() <= 0
            if np.isfinite(between).all() and (is_ordered or width <= _MAX_WIDTH * own):
                widths[other] = width
        if widths:
            found[name] = min(widths, key=lambda other: widths[other])
    return found


def _weekdays(moments: np.ndarray, day: float) -> np.ndarray:
    """The shares of the days of the week."""
    return np.bincount((moments // day % WEEK).astype(int), minlength=WEEK) / len(moments)


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
