"""Moves the scores of a row as little as brings its numbers to what relations ask of them (data reconciliation)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.relations import Relation

__all__ = ["reconciled"]

_SMOOTH = ("sum", "product", "log", "exp", "abs")
_SWEEPS = 4
_REACH = 0.1  # of a score to either side: the slope of a margin is that of the line between, not that at one knot
_LONGEST = 0.5  # step of a score


def reconciled(
    scores: Mapping[str, np.ndarray],
    numbers: Mapping[str, np.ndarray],
    columns: Mapping[str, ColumnEncoding],
    relations: Sequence[Relation],
) -> dict[str, np.ndarray]:
    """Returns scores, float64 `[n]` of each column, near to given ones, with whose numbers relations nearly hold.

    Each relation in turn takes the shortest step of the scores to where it holds by its derivatives, several times
    over: by Newton, and Kaczmarz (1937) where relations share columns.

    Args:
        scores: Of each column with a margin, float64 `[n]`.
        numbers: Of each column of numbers, float64 `[n]`: infinite where a cell's number is what its score says, else
            the number of its class, which stays, or NaN if it is missing.
        columns: How the columns are seen.
        relations: What is asked. Those that have no derivative are not looked at.
    """
    found = dict(scores)
    smooth = [
        dataclasses.replace(relation, decimals=None, digits=None, is_single=False, otherwise=None)
        for relation in relations
        if relation.kind in _SMOOTH and any(name in scores for name in (relation.column, *relation.inputs))
    ]
    for _ in range(_SWEEPS):
        for relation in smooth:
            found |= _stepped(found, numbers, columns, relation)
    return found


def _stepped(
    scores: Mapping[str, np.ndarray],
    numbers: Mapping[str, np.ndarray],
    columns: Mapping[str, ColumnEncoding],
    relation: Relation,
) -> dict[str, np.ndarray]:
    """The scores that one relation is of after a step, which is left out where it leads no nearer."""

    def places(name: str, further: np.ndarray | float) -> np.ndarray:
        margin = columns[name].margin
        if margin is None:  # all cells are of classes
            return numbers[name]
        return np.where(np.isinf(numbers[name]), margin.place(scores[name] + further), numbers[name])

    def gap(at: Mapping[str, np.ndarray]) -> np.ndarray:
        missed: np.ndarray = at[relation.column] - relation.number([at[name] for name in relation.inputs])
        return missed

    here = {name: places(name, 0.0) for name in (relation.column, *relation.inputs)}
    before = gap(here)
    moved = [name for name in here if name in scores]
    with np.errstate(all="ignore"):
        slopes = {
            name: (gap(here | {name: places(name, _REACH)}) - gap(here | {name: places(name, -_REACH)})) / (2 * _REACH)
            for name in moved
        }
        size = np.sum([slope**2 for slope in slopes.values()], axis=0)
        steps = {name: np.clip(np.nan_to_num(-before * slopes[name] / size), -_LONGEST, _LONGEST) for name in moved}
        after = gap(here | {name: places(name, steps[name]) for name in moved})
    is_nearer = np.abs(after) < np.abs(before)
    return {name: np.where(is_nearer, scores[name] + steps[name], scores[name]) for name in moved}
