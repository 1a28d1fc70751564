"""Missing dates and numbers, of what a model learns of them beside others, which may be missing, too."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.dates.elapsed import in_own_unit
from pipelines.tables.dates.rhythm import Rhythm
from pipelines.tables.encoding import Encoding

__all__ = ["assembled"]


def assembled(
    encoding: Encoding,
    learnt: Mapping[str, tuple[np.ndarray, np.ndarray]],
    known: Mapping[str, np.ndarray],
    classes: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Returns the numbers of columns, float64 `[n]`: those that are known, and the guesses for others.

    Of a column that others are learnt beside, some of these may be known: then it is as far from the closest of them as
    was guessed; and a date not before what it is itself close behind.

    Args:
        encoding: How the columns are seen.
        learnt: Of each column that is guessed in some rows, what its margin is of, float64 `[n]`, and the phases, int32
            `[n, P]`.
        known: Of each column of numbers, float64 `[n]`, NaN where there is none.
        classes: Of each column with classes besides, the numbers of these, float64 `[n]`, NaN where there is none.
    """
    found = {name: numbers.copy() for name, numbers in known.items()}
    order = encoding.in_order()
    columns = {column.name: column for column in order}
    behind = [(column, columns[column.beside]) for column in order if column.beside is not None]
    behind.sort(key=lambda pair: _looseness(pair[0]))
    for _ in behind:  # of a chain of dates, the last may be all that is known
        for column, earlier in behind:
            if column.name in learnt and earlier.name in learnt:
                rows = np.isnan(found[earlier.name]) & ~np.isnan(found[column.name])
                if column.offset is not None and earlier.name in classes:
                    rows &= np.isnan(classes[earlier.name])
                if earlier.elapsed is not None and _own_days(earlier) is not None:
                    rows &= np.isnan(found[earlier.elapsed.since])
                if column.offset is None:
                    numbers = _before(column, earlier, found, learnt)
                else:
                    guess, phases = learnt[column.name]
                    places = column.offset.others(found[column.name], guess)
                    numbers = earlier.nearest(places, learnt[earlier.name][1])
                    numbers = np.where(column.are_tied(phases), found[column.name], numbers)
                found[earlier.name][rows] = earlier.clipped(numbers)[rows]
    for column in order:
        if column.name in learnt:
            since = None
            if column.beside is not None:  # of a placeholder there is no time since
                since, earlier = found[column.beside], columns[column.beside]
                if column.offset is not None and earlier.name in classes:
                    since = np.where(np.isnan(classes[earlier.name]), since, classes[earlier.name])
                since = np.where(np.isnan(since), np.mean(earlier.bounds), since)
            numbers = column.clipped(column.numbers_of(*learnt[column.name], since))
            if column.elapsed is not None and since is not None:
                since, (least, most) = in_own_unit(since, column.elapsed.per), column.elapsed.limits
                numbers = np.clip(numbers, since + least, since + most)
            found[column.name] = np.where(np.isnan(found[column.name]), numbers, found[column.name])
    return {name: np.nan_to_num(numbers, nan=columns[name].bounds[0]) for name, numbers in found.items()}


def _own_days(column: ColumnEncoding) -> Rhythm | None:
    """The rhythm of a date that is learnt as the time since another, if it has days of the week or month of its own."""
    return column.rhythm if column.rhythm is not None and column.rhythm.of_days is not None else None


def _looseness(column: ColumnEncoding) -> tuple[bool, float]:
    """How little a column says of the one it is learnt beside: dates that are so by days less than all others."""
    assert column.margin is not None
    width = column.margin.high - column.margin.low
    if column.offset is not None:  # in units of the other column; where they are tied there is nothing between them
        middle = abs(float(np.mean(column.bounds))) if column.offset.of_logs else 1.0
        return False, width * middle / abs(column.offset.slope) if column.offset.slope else 0.0
    return column.elapsed is not None and column.elapsed.unit > 0, width


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
    between = column.numbers_of(*learnt[column.name], np.zeros(len(own)))
    numbers = own - between
    if elapsed.unit:  # days, weeks or months before, at the time that was guessed of these
        begun = elapsed.start(np.nan_to_num(at))
        within = np.where(np.isnan(at), elapsed.unit / 2, in_own_unit(np.nan_to_num(at), elapsed.per) - begun)
        count = elapsed.count(own) - elapsed.count(between)
        numbers = np.minimum(elapsed.beginning(count) + within, elapsed.beginning(count + 1) - 1)  # of a shorter month
    least, most = elapsed.limits
    low = -_in_unit_of_earlier(most - own, elapsed.per)  # rounded up
    high = _in_unit_of_earlier(own - least, elapsed.per)
    numbers = _in_unit_of_earlier(numbers, elapsed.per)
    if elapsed.per > 1:  # of a day, the time that was guessed
        numbers = numbers + np.where(np.isnan(at), elapsed.per / 2, at % elapsed.per)
        high = high + elapsed.per - 1
    if earlier.elapsed is not None and since is not None:
        if (rhythm := _own_days(earlier)) is not None:
            numbers = rhythm.nearest(numbers, phases)
        since, (least, most) = in_own_unit(since, earlier.elapsed.per), earlier.elapsed.limits
        numbers = np.fmin(np.fmax(numbers, since + least), since + most)
    bounded: np.ndarray = np.clip(numbers, low, high)
    return bounded


def _in_unit_of_earlier(moments: np.ndarray, per: float) -> np.ndarray:
    """Moments in the unit of the column that time is since: of days, their beginning."""
    return moments * per if per >= 1 else np.floor(moments / np.rint(1 / per))
