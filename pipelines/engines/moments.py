"""Missing dates, of what a model learns of them: weekdays, hours, and the time since other dates, missing or not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.elapsed import in_own_unit
from pipelines.tables.encoding import Encoding

__all__ = ["assembled"]


def assembled(
    encoding: Encoding, learnt: Mapping[str, tuple[np.ndarray, np.ndarray]], known: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the numbers of columns, float64 `[n]`: those that are known, and the guesses for others.

    Of a date that others are close behind, some of these may be known: then it is as long before the closest of them as
    was guessed, and not before what it is itself close behind.

    Args:
        encoding: How the columns are seen.
        learnt: Of each column that is guessed in some rows, what its margin is of, float64 `[n]`, and the phases, int32
            `[n, P]`.
        known: Of each column of numbers, float64 `[n]`, NaN where there is none.
    """
    found = {name: numbers.copy() for name, numbers in known.items()}
    order = encoding.in_order()
    columns = {column.name: column for column in order}
    behind = [(column, columns[column.elapsed.since]) for column in order if column.elapsed is not None]
    behind.sort(key=lambda pair: _looseness(pair[0]))
    for _ in behind:  # of a chain of dates, the last may be all that is known
        for column, earlier in behind:
            if column.name in learnt and earlier.name in learnt:
                rows = np.isnan(found[earlier.name]) & ~np.isnan(found[column.name])
                if earlier.elapsed is not None and _has_days(earlier):
                    rows &= np.isnan(found[earlier.elapsed.since])
                found[earlier.name][rows] = np.clip(_before(column, earlier, found, learnt), *earlier.bounds)[rows]
    for column in order:
        if column.name in learnt:
            since = None
            if column.elapsed is not None:  # of a placeholder there is no time since
                since, earlier = found[column.elapsed.since], columns[column.elapsed.since]
                since = np.where(np.isnan(since), np.mean(earlier.bounds), since)
            numbers = np.clip(column.numbers_of(*learnt[column.name], since), *column.bounds)
            if column.elapsed is not None and since is not None:
                since, (least, most) = in_own_unit(since, column.elapsed.per), column.elapsed.limits
                numbers = np.clip(numbers, since + least, since + most)
            found[column.name] = np.where(np.isnan(found[column.name]), numbers, found[column.name])
    return {name: np.nan_to_num(numbers, nan=columns[name].bounds[0]) for name, numbers in found.items()}


def _has_days(column: ColumnEncoding) -> bool:
    """Whether a date that is learnt as the time since another has days of the week or month of its own."""
    return column.rhythm is not None and column.rhythm.of_days is not None


def _looseness(column: ColumnEncoding) -> tuple[bool, float]:
    """How little a date says of the one it is close behind: those that are by days less than all others."""
    assert column.elapsed is not None
    assert column.margin is not None
    return column.elapsed.unit > 0, column.margin.high - column.margin.low


def _before(
    column: ColumnEncoding,
    earlier: ColumnEncoding,
    found: Mapping[str, np.ndarray],
    learnt: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """The dates of the earlier column, as long before those of the other as was guessed."""
    assert column.elapsed is not None
    own, elapsed = found[column.name], column.elapsed
    guess, phases = learnt[earlier.name]
    since = None if earlier.elapsed is None else found[earlier.elapsed.since]
    at = earlier.numbers_of(guess, phases, since)
    numbers = own - (between := column.numbers_of(*learnt[column.name], np.zeros(len(own))))
    if elapsed.unit:  # days, weeks or months before, at the time that was guessed of these
        begun = elapsed.start(np.nan_to_num(at))
        within = np.where(np.isnan(at), elapsed.unit / 2, in_own_unit(np.nan_to_num(at), elapsed.per) - begun)
        numbers = elapsed.beginning(elapsed.count(own) - elapsed.count(between)) + within
    least, most = elapsed.limits
    low, high = (_in_unit_of_earlier(limit, elapsed.per) for limit in (own - most, own - least))
    numbers = _in_unit_of_earlier(numbers, elapsed.per)
    if elapsed.per > 1:  # of a day, the time that was guessed
        numbers = numbers + np.where(np.isnan(at), elapsed.per / 2, at % elapsed.per)
        high = high + np.nextafter(elapsed.per, 0)
    if earlier.elapsed is not None and since is not None:
        if earlier.rhythm is not None and _has_days(earlier):
            numbers = earlier.rhythm.nearest(numbers, phases)
        since, (least, most) = in_own_unit(since, earlier.elapsed.per), earlier.elapsed.limits
        numbers = np.fmin(np.fmax(numbers, since + least), since + most)
    bounded: np.ndarray = np.clip(numbers, low, high)
    return bounded


def _in_unit_of_earlier(moments: np.ndarray, per: float) -> np.ndarray:
    """Moments in the unit of the column that time is since: of days, their beginning."""
    return moments * per if per >= 1 else np.floor(moments / np.rint(1 / per))
