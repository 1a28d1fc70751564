"""Finds which columns are functions of another in every row: a region of a city, a name of a code, a day's rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.relations.relation import Relation

__all__ = ["find_lookups", "find_tables"]

_MIN_ROWS = 300  # without an exception: more than one in a hundred is then unlikely
# The logarithm of the probability that independent columns would agree as well.
_MAX_LOG_CHANCE = -30.0
_MAX_VALUES = 1_000  # of a column of numbers that is looked up


def find_lookups(
    cells: Mapping[str, Cells], columns: Mapping[str, ColumnEncoding], probe: np.ndarray
) -> Iterator[Relation]:
    """Yields a relation for each column that is a function of another, of the one of the fewest classes.

    Of columns that are functions of each other, the first stays.

    Args:
        cells: The cells of each column.
        columns: How each is seen.
        probe: The rows that functions are first tried in.
    """
    labels = {name: _labels(cells[name], column) for name, column in columns.items()}
    known = {name: found for name, found in labels.items() if found is not None}
    if not known:
        return
    names = list(known)
    table = np.stack([known[name] for name in names], axis=1)
    sizes = table.max(axis=0) + 1
    is_told = np.array([len(table) * _entropy(labels) > -_MAX_LOG_CHANCE for labels in table.T])
    possible: dict[int, list[int]] = {}
    for place, name in enumerate(names):
        if columns[name].margin is not None:
            continue
        rows = table[probe[np.argsort(table[probe, place], kind="stable")]]
        is_same = (rows[1:, place] == rows[:-1, place]) & _tell(columns[name], rows[1:, place], missing=False)
        differs = (rows[1:][is_same] != rows[:-1][is_same]).any(axis=0)
        for column in np.flatnonzero(~differs & is_told).tolist():
            if column != place and (sizes[column], place) <= (sizes[place], column):
                possible.setdefault(column, []).append(place)
    for column, places in possible.items():
        for place in sorted(places, key=lambda place: (sizes[place], place)):
            name = names[column]
            given, inputs, own = columns[names[place]], table[:, place], table[:, column]
            relation = _lookup(given, name, cells[name], inputs, own, _tell(given, inputs, missing=True))
            if relation is None and any(given.is_missing):  # what stands beside a missing cell is as the model makes it
                relation = _lookup(given, name, cells[name], inputs, own, _tell(given, inputs, missing=False))
            if relation is not None:
                yield relation
                break


def _tell(given: ColumnEncoding, inputs: np.ndarray, *, missing: bool) -> np.ndarray:
    """Which classes of a column, int `[n]`, may tell of another: not rare ones as one, and missing cells if so said."""
    found: np.ndarray = (inputs >= 0) & (inputs != given.other)
    return found if missing else found & ~np.isin(inputs, np.flatnonzero(given.is_missing))


def _lookup(
    given: ColumnEncoding, name: str, cells: Cells, inputs: np.ndarray, own: np.ndarray, is_told: np.ndarray
) -> Relation | None:
    """The relation by which cells of one column are a function of those of another, if they are where that tells."""
    levels = len(given.levels)
    if is_told.sum() < _MIN_ROWS or (own[is_told] < 0).any():
        return None
    first = np.full(levels, -1)
    first[inputs[is_told][::-1]] = np.flatnonzero(is_told)[::-1]
    of_class = np.where(first >= 0, own[first], -1)
    if (of_class[inputs[is_told]] != own[is_told]).any():
        return None
    shares = np.bincount(own[is_told]) / max(1, is_told.sum())
    if _log_chance(np.bincount(inputs[is_told]), shares) > _MAX_LOG_CHANCE:
        return None
    codes = np.full(levels, -1)
    codes[first >= 0] = 0 if cells.codes is None else cells.codes[first[first >= 0]]
    numbers: list[float | None] = []
    if cells.values is not None:
        is_number = (codes >= 0) & np.array([not cells.levels or cells.levels[code] is None for code in codes])
        numbers = [float(cells.values[row]) if flag else None for row, flag in zip(first, is_number, strict=True)]
    return Relation(name, (given.name,), "lookup", tuple(numbers), tuple(codes.tolist()))


def find_tables(
    numbers: Mapping[str, np.ndarray],
    classes: Mapping[str, np.ndarray],
    columns: Mapping[str, ColumnEncoding],
    probe: np.ndarray,
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields columns that are functions of a column of numbers, that one, and a row for each of its numbers, in order.

    It is a column whose new numbers are all ones that it had before, of not fewer different ones than the other has.

    Args:
        numbers: Of each column of numbers, float64 `[n]`, NaN where there is none.
        classes: Of other columns, their classes, int `[n]`.
        columns: How each is seen.
        probe: The rows that functions are first tried in.
    """
    names = [*numbers, *classes]
    labels = [np.unique(values, return_inverse=True)[1] for values in (*numbers.values(), *classes.values())]
    most = [int(own.max()) for own in labels]
    for place, (given, values) in enumerate(numbers.items()):
        support, is_there = columns[given].support, ~np.isnan(values)
        if not len(support) or len(values) < _MIN_ROWS:
            continue
        seen = np.array(columns[given].values)  # of the classes that are numbers
        if not np.array_equal(np.unique(values[is_there]), np.union1d(support, seen[~np.isnan(seen)])):
            continue  # of one that is not here, nothing would be known
        groups = labels[place]
        first = np.unique(groups, return_index=True)[1]
        for index, (name, own) in enumerate(zip(names, labels, strict=True)):
            if index == place or (most[index], place) > (most[place], index):
                continue
            if (own[first][groups[probe]] != own[probe]).any() or (own[first][groups] != own).any():
                continue
            # What stands beside a missing number follows from nothing: it has to be missing too.
            if not is_there.all() and (name in classes or not np.isnan(numbers[name][~is_there]).all()):
                continue
            if _log_chance(np.bincount(groups), np.bincount(own) / len(own)) <= _MAX_LOG_CHANCE:
                yield name, given, first[is_there[first]]


def _log_chance(sizes: np.ndarray, shares: np.ndarray) -> float:
    """The logarithm of the probability that rows in groups of these sizes agree, each with its own, by chance."""
    with np.errstate(divide="ignore"):
        return float(np.logaddexp.reduce(np.outer(sizes[sizes > 0], np.log(shares)), axis=1).sum())


def _entropy(labels: np.ndarray) -> float:
    """The entropy of a column of classes, nats."""
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(shares * np.log(shares)).sum())


def _labels(cells: Cells, column: ColumnEncoding) -> np.ndarray | None:
    """A number from 0 for each different cell of a column, -1 for cells of no known class; None if there are many."""
    if cells.values is None:
        return cells.codes
    is_number = np.ones(len(cells), bool) if cells.codes is None else cells.codes == column.levels.index(None)
    distinct, places = np.unique(cells.values[is_number], return_inverse=True)
    if len(distinct) > _MAX_VALUES:
        return None
    found = np.zeros(len(cells), np.int32) if cells.codes is None else cells.codes.astype(np.int32)
    found[is_number] = len(column.levels) + places
    return found
