"""Moves the scores of a row as little as brings its numbers to what relations ask of them (data reconciliation)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.relations.nearest_known import told_by_numbers
from pipelines.tables.relations.relation import SMOOTH, Relation, values_of

__all__ = ["reconciled"]

_SWEEPS = 4  # twice as many brought new rows no nearer to the table
_REACH = 0.1  # of a score to either side: the slope of a margin is that of the line between, not that at one knot
_LONGEST = 0.5  # step of a score


def reconciled(
    scores: Mapping[str, np.ndarray],
    cells: Mapping[str, Cells],
    columns: Mapping[str, ColumnEncoding],
    relations: Sequence[Relation],
) -> dict[str, np.ndarray]:
    """Returns scores, float64 `[n]` of each column, near to given ones, with whose numbers relations nearly hold.

    Numbers that classes follow from stay, and so do moments, whose hour might be left, and what is learnt beside
    others, whose scores say a difference. What is looked up then is as it is found. Each relation that has derivatives
    takes the shortest step of the scores to where it holds, but for rounding, several times over: by Newton, and
    Kaczmarz (1937) where relations share columns. Rows in which a number is missing, or a relation gives none, stay,
    and so do numbers that are classes.

    Args:
        scores: Of each column with a margin, float64 `[n]`.
        cells: The cells of each column, with the numbers that the scores say.
        columns: How the columns are seen.
        relations: What is asked.
    """
    found, cells = dict(scores), dict(cells)
    fixed = {column.name for column in columns.values() if column.rhythm is not None or column.beside is not None}
    fixed |= {column.elapsed.since for column in columns.values() if column.elapsed is not None}
    fixed |= told_by_numbers(columns, relations).keys()
    for relation in relations:
        if relation.kind not in SMOOTH:
            cells[relation.column], _ = relation.place(cells, columns)
            fixed.add(relation.column)
    bare = [
        dataclasses.replace(relation, decimals=None, digits=None, is_single=False, otherwise=None)
        for relation in relations
        if relation.kind in SMOOTH
    ]
    names = {name for relation in bare for name in (relation.column, *relation.inputs)}
    numbers = {name: values_of(cells[name], columns[name]) for name in names}
    is_free = {name: columns[name].are_numbers(cells[name]) for name in (names & found.keys()) - fixed}
    with np.errstate(all="ignore"):
        for _ in range(_SWEEPS):
            for relation in bare:
                found |= _stepped(found, numbers, is_free, columns, relation)
    return found


def _stepped(
    scores: Mapping[str, np.ndarray],
    numbers: Mapping[str, np.ndarray],
    is_free: Mapping[str, np.ndarray],
    columns: Mapping[str, ColumnEncoding],
    relation: Relation,
) -> dict[str, np.ndarray]:
    """The scores that one relation is of after a step, which is left out in rows where it leads no nearer.

    Args:
        scores: Of each column with a margin, float64 `[n]`.
        numbers: Of each column that a relation is of, float64 `[n]`, NaN where it is missing.
        is_free: Of each column whose numbers may move, bool `[n]`: where they are what the scores say.
        columns: How the columns are seen.
        relation: One that has derivatives, without rounding.
    """
    names = [relation.column, *relation.inputs]
    moved = [name for name in names if name in is_free]
    if not moved:
        return {}

    def placed(further: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """The number of the column that follows, and of those it follows from."""
        own, *inputs = (
            np.where(is_free[name], _places(columns[name], scores[name] + further[name], numbers[name]), numbers[name])
            if name in further
            else numbers[name]
            for name in names
        )
        return own, inputs

    own, inputs = placed(dict.fromkeys(moved, np.zeros(())))
    asked = relation.number(inputs)
    before = own - asked
    slopes = {}
    for name in moved:
        above, below = (_places(columns[name], scores[name] + by, numbers[name]) for by in (_REACH, -_REACH))
        slope = (above - below) / (2 * _REACH)
        if name != relation.column:
            slope = -slope * relation.slope(relation.inputs.index(name), inputs, asked)
        slopes[name] = np.where(is_free[name], slope, 0.0)
    largest = np.max([np.abs(slope) for slope in slopes.values()], axis=0)  # so that no square overflows
    size = np.sum([(slope / largest) ** 2 for slope in slopes.values()], axis=0)
    steps = {name: -before / largest * (slope / largest) / size for name, slope in slopes.items()}
    shorter = np.minimum(1.0, _LONGEST / np.max([np.abs(step) for step in steps.values()], axis=0))
    steps = {name: np.nan_to_num(step * shorter) for name, step in steps.items()}
    own, inputs = placed(steps)
    is_nearer = np.abs(own - relation.number(inputs)) < np.abs(before)
    return {name: np.where(is_nearer, scores[name] + steps[name], scores[name]) for name in moved}


def _places(column: ColumnEncoding, scores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The places of scores, in the ranges that numbers are of, NaN where there is no number."""
    phases = np.empty((len(scores), 0), np.int32) if column.ranges is None else column.ranges.phases(numbers)
    return np.where(np.isnan(numbers), np.nan, column.on_scale(scores, phases))
