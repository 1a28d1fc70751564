"""Moves numbers to the nearest that the classes of their rows follow from: to a day of the weekday it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.relations import Relation

__all__ = ["nearest_known"]


def nearest_known(
    numbers: np.ndarray,
    cells: Mapping[str, Cells],
    columns: Mapping[str, ColumnEncoding],
    relations: Sequence[Relation],
) -> np.ndarray:
    """Returns for each number the nearest from which all classes of its row follow, float64 `[n]`, NaN if none does.

    Args:
        numbers: Of the column that is looked up, float64 `[n]`.
        cells: The cells of each column.
        columns: How the columns are seen.
        relations: One or more, of the kinds "names" and "table", by which columns of classes follow from it.
    """
    tables = [_classes_by_number(relation, columns[relation.column]) for relation in relations]
    known = np.array(sorted(set(tables[0]).intersection(*tables[1:])))
    theirs = np.array([[table[number] for table in tables] for number in known.tolist()], np.int64)
    codes = [cells[relation.column].codes for relation in relations]
    asked = np.stack([own for own in codes if own is not None], axis=1)  # each column has classes alone
    _, labels = np.unique(np.concatenate([theirs.reshape(-1, len(tables)), asked]), axis=0, return_inverse=True)
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
