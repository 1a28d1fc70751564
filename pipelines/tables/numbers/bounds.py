"""Which rows of a model hold numbers beyond what was seen, and the nearest rows that do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.dates.elapsed import in_own_unit
from pipelines.tables.encoding import Encoding

__all__ = ["are_inside", "bounded"]

_ROUNDING = 1e-9


def are_inside(encoding: Encoding, cells: Mapping[str, Cells]) -> np.ndarray:
    """Returns which rows, bool `[n]`, hold no number beyond what was seen."""
    is_inside = np.ones(len(next(iter(cells.values()))), bool)
    for column in encoding.columns:
        is_inside &= ~_is_beyond(encoding, column, cells)
    return is_inside


def _is_beyond(encoding: Encoding, column: ColumnEncoding, cells: Mapping[str, Cells]) -> np.ndarray:
    """Which cells of a column are beyond what was seen, also beside another."""
    own = cells[column.name]
    is_beyond = column.is_beyond(own)
    if column.elapsed is not None and column.margin is not None and own.values is not None:
        elapsed = column.elapsed
        numbers = {
            name: encoding.by_name[name].numbers_in(cells[name])
            for name in (elapsed.since, *(name for name, *_ in elapsed.between))
        }
        learnt, _ = column.learnt_of(own.values, numbers[elapsed.since])
        is_far = ~((learnt >= column.margin.low) & (learnt <= column.margin.high))
        for name, least, most in elapsed.between:
            since = own.values - (in_own_unit(numbers[name], elapsed.per) if name == elapsed.since else numbers[name])
            is_far |= (since < least) | (since > most)
        is_beyond |= is_far & column.are_numbers(own)
    if column.offset is not None and column.margin is not None and own.values is not None:
        learnt, phases = column.learnt_of(own.values, encoding.numbers_beside(column, cells))
        # Of decimals, the same difference comes out a little otherwise.
        slack = _ROUNDING * (column.margin.high - column.margin.low) if column.is_on_lattice else 0.0
        is_near = (learnt >= column.margin.low - slack) & (learnt <= column.margin.high + slack)
        is_near |= column.are_tied(phases)
        is_beyond |= ~is_near & column.are_numbers(own)
    return is_beyond


def bounded(encoding: Encoding, cells: Mapping[str, Cells]) -> tuple[dict[str, Cells], float]:
    """Returns cells with the nearest number that was seen for each beyond, and the share of numbers that were.

    Dates with a rhythm, or learnt as the time since others, are those of another row where one is beyond: there is
    no nearest.
    """
    found, shares = dict(cells), []
    since = {column.elapsed.since for column in encoding.continuous if column.elapsed is not None}
    dates = [c for c in encoding.continuous if c.rhythm is not None or c.elapsed is not None or c.name in since]
    for column in encoding.in_order():
        part = cells[column.name]
        assert part.values is not None
        shares.append(_is_beyond(encoding, column, cells).mean())
        if column not in dates:
            found[column.name] = _nearest(encoding, column, cells, found)
    is_right = ~np.any([_is_beyond(encoding, column, cells) for column in dates], axis=0) if dates else np.ones(1, bool)
    if not is_right.all() and is_right.any():
        donors = np.arange(len(is_right))
        donors[~is_right] = np.resize(np.flatnonzero(is_right), np.count_nonzero(~is_right))
        found |= {column.name: cells[column.name].take(donors) for column in dates}
    return found, float(np.mean(shares))


def _nearest(
    encoding: Encoding, column: ColumnEncoding, cells: Mapping[str, Cells], found: Mapping[str, Cells]
) -> Cells:
    """Cells of a column with the nearest numbers that were seen, also beside those that were found for another."""
    part = cells[column.name]
    assert part.values is not None
    assert column.margin is not None
    values = column.clipped(part.values)
    if column.offset is not None:
        learnt, phases = column.learnt_of(part.values, encoding.numbers_beside(column, cells))
        learnt = np.clip(learnt, column.margin.low, column.margin.high)
        moved = column.numbers_of(learnt, phases, encoding.numbers_beside(column, found))
        values = np.clip(np.where(np.isfinite(moved), moved, values), *column.bounds)
    if (is_lost := np.isnan(values)).any():  # a number without its ending or range is another row's
        known = values[~is_lost] if not is_lost.all() else np.array(column.bounds[:1])
        values = np.where(is_lost, np.resize(known, len(values)), values)
    return dataclasses.replace(part, values=values)
