"""Rows that are copies of each other, as in a table whose rows were gathered twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.encoding import Encoding

__all__ = ["groups_of_copies"]

_MOST = 10  # rows that are copies of each other; a row that is there more often is a frequent one
_SHARE = 0.5  # of the pairs of rows that are alike in all else
_MIN_ROWS = 100  # that differ: of fewer, all are needed to learn from


def groups_of_copies(cells: Mapping[str, Cells], encoding: Encoding) -> np.ndarray | None:
    """Returns a number for each row, int64 `[n]`, which copies have in common, or None if there are none.

    Rows of few columns, or of few values, are alike by chance. Copies are told from them by the two columns with the
    most different numbers: of the pairs of rows that are alike in all else, most are alike in these, too. (Of one
    alone that may be as it nearly follows from another: an age beside a year of birth.) Rows that have all else in
    common with more than nine others say nothing of it. Columns that follow from others are not looked at.

    Args:
        cells: The cells of each column.
        encoding: How they are seen.
    """
    following = {relation.column for relation in encoding.relations}
    parts = {column.name: _parts(cells[column.name]) for column in encoding.columns if column.name not in following}
    kinds = {name: len(np.unique(part[-1])) for name, part in parts.items() if cells[name].values is not None}
    if not kinds:
        return None
    finest = [part for name in sorted(kinds, key=lambda name: -kinds[name])[:2] for part in parts.pop(name)]
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
    groups = np.zeros(rows, np.int64)
    for column in columns:
        if groups.max() + 1 == rows:  # all differ
            break
        own = np.unique(column, return_inverse=True)[1]
        groups = np.unique(groups * (own.max() + 1) + own, return_inverse=True)[1]
    return groups


def _pairs(groups: np.ndarray) -> int:
    """How many pairs of rows are in a group together."""
    counts = np.bincount(groups)
    return int((counts * (counts - 1) // 2).sum())
