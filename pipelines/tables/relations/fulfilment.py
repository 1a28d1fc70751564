"""Rows in which relations hold: what a model makes of the columns that follow from others is exchanged for that."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.encoding import Encoding
from pipelines.tables.numbers.bounds import are_inside
from pipelines.tables.relations import reconciliation
from pipelines.tables.relations.nearest_known import nearest_known
from pipelines.tables.relations.relation import Relation

__all__ = ["keep_attainable", "looked_up", "reconciled", "related"]

# Of a model's rows that hold no number beyond what was seen, and of all, this share must be such that all relations can
# hold in them; others are drawn again.
_LEAST_ATTAINABLE, _LEAST_AT_ALL = 0.25, 0.1


def reconciled(encoding: Encoding, classes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows moved as little as brings the numbers near to what relations ask of them.

    A number that classes follow from goes to the nearest from which those of the row do. Of classes, only its
    phases move.

    Args:
        encoding: How the columns are seen, and what follows from what.
        classes: int32 `[n, C]`.
        scores: float64 `[n, D]`.
    """
    if not encoding.relations or not scores.shape[1]:
        return classes, scores
    columns = encoding.by_name
    known = nearest_known(encoding.decode(classes, scores), columns, encoding.relations)
    classes, scores = _with_numbers(encoding, classes, scores, known)
    named = {column.name: scores[:, d] for d, column in enumerate(encoding.continuous)}
    moved = reconciliation.reconciled(named, encoding.decode(classes, scores), columns, encoding.relations)
    return classes, np.stack([moved[name] for name in named], axis=1)


def _with_numbers(
    encoding: Encoding, classes: np.ndarray, scores: np.ndarray, numbers: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Classes and scores that say other numbers, float64 `[n]` of some columns, where these are not NaN."""
    classes, scores, p = classes.copy(), scores.copy(), len(encoding.discrete)
    for d, column in enumerate(encoding.continuous):
        wanted = numbers.get(column.name, np.empty(0))
        rows, size = np.flatnonzero(~np.isnan(wanted)), len(column.phases)
        if len(rows):
            assert column.margin is not None
            learnt, classes[rows, p : p + size] = column.learnt_of(wanted[rows], None)
            scores[rows, d] = column.margin.encode(learnt)
        p += size
    return classes, scores


def related(
    encoding: Encoding, cells: Mapping[str, Cells], skip: Collection[str] = ()
) -> tuple[dict[str, Cells], np.ndarray]:
    """Returns cells between which all relations hold, and the rows, bool `[n]`, where there are such.

    Args:
        encoding: How the columns are seen, and what follows from what.
        cells: The cells of each column.
        skip: Columns that stay as they are.
    """
    found, is_right = dict(cells), np.ones(len(next(iter(cells.values()))), bool)
    settled: set[str] = set()
    for relation in encoding.relations:
        if relation.column not in skip:
            settled |= {relation.column, *relation.inputs}
            found, is_placed = _placed(encoding, found, relation, settled)
            is_right &= is_placed
    return found, is_right


def _placed(
    encoding: Encoding, cells: Mapping[str, Cells], relation: Relation, settled: Collection[str]
) -> tuple[dict[str, Cells], np.ndarray]:
    """Cells in which a relation holds, and where it does.

    What is learnt beside its column moves along, but `settled` columns, which relations are of that hold already.
    """
    placed, is_placed = relation.place(cells, encoding.by_name)
    found = dict(cells) | {relation.column: placed}
    if all(column.beside is None for column in encoding.continuous):
        return found, is_placed
    moved = {relation.column}
    for column in encoding.in_order():
        if column.beside in moved and column.name not in settled:
            own = cells[column.name]
            new, old = (encoding.numbers_beside(column, part) for part in (found, cells))
            assert own.values is not None
            values = column.numbers_of(*column.learnt_of(own.values, old), new)
            is_moved = np.isfinite(values) & (new != old)
            found[column.name] = dataclasses.replace(own, values=np.where(is_moved, values, own.values))
            moved.add(column.name)
    return found, is_placed


def looked_up(encoding: Encoding, classes: np.ndarray) -> np.ndarray:
    """Returns classes, int32 `[n, C]`, some of which follow from others, of those that the model makes."""
    places = {column.name: place for place, column in enumerate(encoding.discrete)}
    found = classes.copy()
    for relation in encoding.relations:
        if relation.kind == "lookup" and relation.column in places:
            image = np.array(relation.classes)[found[:, places[relation.inputs[0]]]]
            found[:, places[relation.column]] = np.where(image < 0, found[:, places[relation.column]], image)
    return found


def keep_attainable(encoding: Encoding, classes: np.ndarray, scores: np.ndarray) -> Encoding:
    """Returns the encoding without relations that too few of the rows a model makes can be made to fulfil.

    Args:
        encoding: How the columns are seen, and what follows from what.
        classes: int32 `[n, C]`, as the model makes them.
        scores: float32 `[n, D]`, likewise.
    """
    made = encoding.calibrated(scores)
    share = float(are_inside(encoding, encoding.decode(classes, made)).mean())
    least = max(_LEAST_ATTAINABLE * share, min(_LEAST_AT_ALL, share))
    cells = encoding.decode(*reconciled(encoding, classes, made))
    is_right = are_inside(encoding, cells)
    kept: list[Relation] = []
    settled: set[str] = set()
    for relation in encoding.relations:
        placed, is_placed = _placed(encoding, cells, relation, settled | {relation.column, *relation.inputs})
        is_placed &= is_right & are_inside(encoding, placed)
        if is_placed.mean() >= least:
            kept.append(relation)
            settled |= {relation.column, *relation.inputs}
            cells, is_right = placed, is_placed
    found = dataclasses.replace(encoding, relations=tuple(kept))
    # Those that are dropped moved the rows that the others were judged by.
    return found if len(kept) == len(encoding.relations) else keep_attainable(found, classes, scores)
