"""Which columns of numbers have ranges that are far apart, where other columns are not as they were before the gap."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import step_of
from pipelines.tables.encoding import Encoding
from pipelines.tables.numbers.ranges import Ranges, find_gaps
from pipelines.tables.schema import Schema

__all__ = ["in_ranges"]

# Across a gap the rows of another column are to differ by so much more than they do on either side of it, as a distance
# of distributions from 0 to 1.
_LEAST_CHANGE = 0.5
_TOLD = 0.9  # of the entropy of a column's ranges: if a column of classes tells so much, these are all that it takes
_PROBE_ROWS = 50_000  # are looked at
_MAX_OTHERS = 128  # columns are looked at for each, or it would take minutes where there are a thousand


def in_ranges(encoding: Encoding, cells: Mapping[str, Cells], schema: Schema, rng: np.random.Generator) -> Encoding:
    """Returns the encoding whose columns of numbers in ranges that are far apart have these told apart.

    Args:
        encoding: How the columns are learnt otherwise. Dates stay as they are, and so do numbers that have endings or
            are learnt beside others, and tables of two columns of numbers.
        cells: The cells of each column.
        schema: The columns.
        rng: Where the places within the cells of a lattice come from.
    """
    if len(encoding.columns) <= 2 and not encoding.num_classes:
        return encoding
    rng = rng.spawn(1)[0]  # what else is random is as if nothing was looked for
    columns = []
    for column in encoding.columns:
        is_plain = column.margin is not None and column.endings is None and column.offset is None
        if is_plain and schema[column.name].kind in ("float", "integer"):
            numbers = column.numbers_in(cells[column.name])
            others = [name for name in cells if name != column.name]
            if len(others) > _MAX_OTHERS:
                others = rng.choice(others, _MAX_OTHERS, replace=False).tolist()
            if gaps := _gaps(numbers, {name: cells[name] for name in others}, rng):
                numbers = numbers[np.isfinite(numbers)]
                ranges = Ranges.learn(numbers, step_of(schema[column.name]), gaps, rng)
                column = dataclasses.replace(column, margin=ranges.margin_of(numbers), ranges=ranges)
        columns.append(column)
    return dataclasses.replace(encoding, columns=tuple(columns))


def _gaps(numbers: np.ndarray, others: Mapping[str, Cells], rng: np.random.Generator) -> list[tuple[float, float]]:
    """The numbers on either side of the gaps, increasing, between ranges that are to be told apart.

    Args:
        numbers: float64 `[n]`, NaN where there is none.
        others: The cells of the other columns.
        rng: Of which rows are looked at, where they are many.
    """
    rows = np.flatnonzero(np.isfinite(numbers))
    if len(rows) > _PROBE_ROWS:
        rows = rng.choice(rows, _PROBE_ROWS, replace=False)
    rows = rows[np.argsort(numbers[rows], kind="stable")]
    gaps = [
        gap
        for gap, below, side in find_gaps(numbers[rows])
        if _is_change(others, rows[below - side : below], rows[below : below + side])
    ]
    if not gaps or _most_told(others, rows, np.searchsorted([last for last, _ in gaps], numbers[rows])) >= _TOLD:
        return []
    found = []
    for last, first in gaps:  # of all rows, some may be in the gap of those looked at
        between = np.unique(numbers[(numbers >= last) & (numbers <= first)])
        at = int(np.diff(between).argmax())
        if between[at + 1] - between[at] >= (first - last) / 2:
            found.append((float(between[at]), float(between[at + 1])))
    return found


def _is_change(others: Mapping[str, Cells], below: np.ndarray, above: np.ndarray) -> bool:
    """Whether another column changes more from the rows below a gap to those above than within either.

    Args:
        others: The cells of the other columns.
        below: Rows in the order of the numbers, int `[m]`, the last of which are next to the gap.
        above: Likewise, of which the first are.
    """
    half = len(below) // 2
    parts = below[:-half], below[-half:], above[:half], above[half:]
    for column in _seen(others):
        first, second, third, last = (column[part] for part in parts)
        change = _distance(second, third)
        if change >= _LEAST_CHANGE and change - max(_distance(first, second), _distance(third, last)) >= _LEAST_CHANGE:
            return True
    return False


def _seen(cells: Mapping[str, Cells]) -> Iterator[np.ndarray]:
    """The numbers of each column, NaN where there is none, float64 `[n]`, and the classes, int `[n]`."""
    for part in cells.values():
        if part.values is not None:
            yield part.values
        if part.codes is not None:
            yield part.codes


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Of numbers the Kolmogorov-Smirnov distance, of classes the total variation, from 0 to 1."""
    values, place = np.unique(np.r_[one, other], return_inverse=True)
    own, theirs = (np.bincount(part, minlength=len(values)) for part in np.split(place, [len(one)]))
    differences = own / len(one) - theirs / len(other)
    if one.dtype.kind == "f":
        return float(np.abs(np.cumsum(differences)).max())
    return float(np.abs(differences).sum() / 2)


def _most_told(others: Mapping[str, Cells], rows: np.ndarray, ranges: np.ndarray) -> float:
    """The share of the entropy of ranges, int `[m]`, of rows that the column of classes tells that tells most of it."""
    from scipy import special

    shares = []
    for part in others.values():
        if part.codes is not None and part.values is None:
            _, codes = np.unique(part.codes[rows], return_inverse=True)
            counts = np.zeros((codes.max() + 1, ranges.max() + 1))
            np.add.at(counts, (codes, ranges), 1 / len(rows))
            joint, *alone = (special.entr(table).sum() for table in (counts, counts.sum(axis=0), counts.sum(axis=1)))
            shares.append((sum(alone) - joint) / alone[0])
    return max(shares, default=0.0)
