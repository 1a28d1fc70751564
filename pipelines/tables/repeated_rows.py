"""Rows that are copies of each other, as in a table whose rows were gathered twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.source import Source
from pipelines.tables.schema import Schema

__all__ = ["groups_of_copies"]

_MOST = 10  # rows that are copies of each other; a row that is there more often is a frequent one
_SHARE = 0.5  # of the pairs of rows that are alike in all else
_MIN_ROWS = 100  # that differ: of fewer, all are needed to learn from


def groups_of_copies(source: Source, schema: Schema, encoding: Encoding) -> np.ndarray | None:
    """Returns a number for each row, int64 `[n]`, which copies have in common, or None if there are none.

    Rows of few columns, or of few values, are alike by chance. Copies are told from them by the two columns with the
    most different numbers: of the pairs of rows that are alike in all else, most are alike in these, too. (Of one
    alone that may be as it nearly follows from another: an age beside a year of birth.) Rows that have all else in
    common with more than nine others say nothing of it. Columns that follow from others are not looked at.

    Args:
        source: The table.
        schema: What its columns are.
        encoding: How they are seen.
    """
    following = {relation.column for relation in encoding.relations}
    numbers = [column.name for column in encoding.continuous if column.name not in following]
    if not numbers:
        return None
    cells = encoding.cells(source, schema)
    parts = {name: _parts(some) for name, some in cells.items() if name not in following}
    numbers.sort(key=lambda name: -len(np.unique(parts[name][-1])))
    finest = [part for name in numbers[:2] for part in parts.pop(name)]
    rest = _groups([part for one in parts.values() for part in one], len(finest[0]))
    groups = _groups([rest, *finest], len(rest))
    counts = np.bincount(groups)
    is_telling = (np.bincount(rest) <= _MOST)[rest]
    alike = _pairs(groups[is_telling])
    if not alike or alike < _SHARE * _pairs(rest[is_telling]) or len(counts) < _MIN_ROWS:
        return None
    is_frequent = (counts > _MOST)[groups]
    return np.where(is_frequent, len(counts) + np.arange(len(groups)), groups)


def _parts(cells: Cells) -> list[np.ndarray]:
    """The classes and the numbers of cells: NaN where a cell is a text."""
    if cells.values is None or cells.codes is None:
        return [part for part in (cells.codes, cells.values) if part is not None]
    is_number = np.array([*(level is None for level in cells.levels), False])[cells.codes]
    return [cells.codes, np.where(is_number, cells.values, np.nan)]


def _groups(columns: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """A number for each row, int64 `[n]`, which those have in common that are alike in these columns."""
    import pandas as pd  # as TensorFlow does later

    if not columns:
        return np.zeros(rows, np.int64)
    grouped = pd.DataFrame(dict(enumerate(columns))).groupby([*range(len(columns))], dropna=False)
    found: np.ndarray = grouped.ngroup().to_numpy()
    return found


def _pairs(groups: np.ndarray) -> int:
    """How many pairs of rows are in a group together."""
    counts = np.bincount(groups)
    return int((counts * (counts - 1) // 2).sum())
