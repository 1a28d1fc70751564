"""Moves numbers to the nearest that the classes of their rows follow from: to a day of the weekday it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.relations.relation import Relation

__all__ = ["nearest_known", "told_by_numbers"]

_NEAR = 31  # days: a date goes so far to stay on its weekday or day of the month, not into another season


def nearest_known(
    cells: Mapping[str, Cells], columns: Mapping[str, ColumnEncoding], relations: Sequence[Relation]
) -> dict[str, np.ndarray]:
    """Returns, by column of numbers that classes follow from, the nearest from which those of the row do.

    They are float64 `[n]`, NaN where none does, or the cell is no number. Of dates whose days are told apart, the
    nearest of the same weekday or day of the month (hour and minute) comes before others, if it is no farther than the
    next such day of a month.

    Args:
        cells: The cells of each column.
        columns: How the columns are seen.
        relations: What follows from what.
    """
    found = {}
    for given, theirs in told_by_numbers(columns, relations).items():
        own, rhythm = cells[given].values, columns[given].rhythm
        assert own is not None
        tables = [_classes_by_number(relation, columns[relation.column]) for relation in theirs]
        known = np.array(sorted(set(tables[0]).intersection(*tables[1:])))
        of_known = np.array([[table[number] for table in tables] for number in known.tolist()], np.int64)
        codes = [cells[relation.column].codes for relation in theirs]  # each column has classes alone
        asked = np.stack([part for part in codes if part is not None], axis=1)
        nearest = _nearest(own, asked, known, of_known)
        if rhythm is not None:
            phases = [rhythm.fold(np.where(np.isfinite(part), part, rhythm.low))[1] for part in (own, known)]
            same = _nearest(own, np.hstack([asked, phases[0]]), known, np.hstack([of_known, phases[1]]))
            is_near = np.abs(same - own) <= _NEAR * rhythm.day
            nearest = np.where(is_near | np.isnan(nearest), same, nearest)
        found[given] = np.where(columns[given].are_numbers(cells[given]), nearest, np.nan)
    return found


def told_by_numbers(columns: Mapping[str, ColumnEncoding], relations: Sequence[Relation]) -> dict[str, list[Relation]]:
    """Returns, by column of numbers, the relations by which columns of classes follow from it."""
    found: dict[str, list[Relation]] = {}
    for relation in relations:
        given = relation.inputs[0]
        if columns[given].margin is None or columns[given].beside is not None:
            continue
        if relation.kind in ("names", "table") and columns[relation.column].margin is None:
            found.setdefault(given, []).append(relation)
    return found


def _nearest(numbers: np.ndarray, asked: np.ndarray, known: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The nearest known number that has all classes asked for, float64 `[n]`, NaN where none has.

    Args:
        numbers: float64 `[n]`.
        asked: The classes for each, int `[n, K]`.
        known: The known numbers in order, float64 `[m]`.
        theirs: The classes of each, int `[m, K]`.
    """
    every = np.concatenate([theirs.reshape(-1, asked.shape[1]), asked])
    _, labels = np.unique(every, axis=0, return_inverse=True)
    of_known, of_rows = np.split(labels.reshape(-1), [len(known)])
    found = np.full(len(numbers), np.nan)
    for label in np.unique(of_known).tolist():
        options, rows = known[of_known == label], np.flatnonzero(of_rows == label)
        found[rows] = options[np.searchsorted((options[1:] + options[:-1]) / 2, numbers[rows])]
    return found


def _classes_by_number(relation: Relation, own: ColumnEncoding) -> dict[float, int]:
    """The class that follows from each known number."""
    numbers = [float(number) for number in relation.numbers if number is not None]  # there is none that is not
    if relation.kind == "names":
        return dict(zip(numbers, relation.classes, strict=True))
    half = len(numbers) // 2
    of_value = {value: code for code, value in enumerate(own.values)}
    pairs = zip(numbers[:half], numbers[half:], strict=True)
    return {number: of_value[value] for number, value in pairs if value in of_value}
