"""Which columns of dates are better learnt as the time since another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.tables.column_encoding import ColumnEncoding, step_of
from pipelines.tables.elapsed import Elapsed
from pipelines.tables.margins import Margin
from pipelines.tables.reading import Source
from pipelines.tables.rhythm import DAYS
from pipelines.tables.schema import Schema

__all__ = ["since_others"]

# The time since is learnt if it is so much narrower than the dates themselves; or less so, if all are in one order.
_MAX_WIDTH, _MAX_WIDTH_IN_ORDER = 0.25, 0.75
_MIN_ROWS = 100
_PROBE_ROWS = 20_000
# Where new rows are to have no other dates than old ones, rows of others are drawn again, if they are not more.
_MAX_OTHERS = 0.2


def since_others(
    columns: Sequence[ColumnEncoding], source: Source, schema: Schema, rng: np.random.Generator
) -> tuple[ColumnEncoding, ...]:
    """Returns columns of which dates close behind others are learnt as the time since these.

    If the time is of some days and hours are told apart, it counts from the beginning of the other's day, and the hours
    remain the column's own.

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
            if len(support) and (~np.isin(earlier + rng.permutation(own - earlier), support)).mean() > _MAX_OTHERS:
                continue  # as of the last days of months, which are nobody's some days later
            by_day = rhythm is not None and bool(rhythm.hour) and _width(own - earlier) >= day
            column = dataclasses.replace(
                found[name],
                elapsed=Elapsed(since, day if by_day else 0.0, *found[name].bounds, rhythm, tuple(support.tolist())),
                rhythm=dataclasses.replace(rhythm, weekday=(), support=()) if rhythm and by_day else None,
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


def _width(numbers: np.ndarray) -> float:
    """How wide the middle nine tenths of numbers are."""
    low, high = np.quantile(numbers, (0.05, 0.95))
    return float(high - low)
