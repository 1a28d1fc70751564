"""What the cells that are there say of those that are missing, by what follows from what."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.encoding import Encoding
from pipelines.tables.numbers.precision import Precision, decimals_of
from pipelines.tables.relations.relation import Relation, placed_numbers, values_of
from pipelines.tables.schema import Schema

__all__ = ["following", "solved"]

# Where all that a cell may be lies so close, in middle halves of its column, it is the middle of that. What says a cell
# as exactly as it is written comes first: a price follows from its total and tax, not from a tax in whole cents.
_EXACT, _NARROW = 1e-6, 0.01


def solved(
    encoding: Encoding,
    schema: Schema,
    cells: Mapping[str, Cells],
    missing: Mapping[str, np.ndarray],
    *,
    is_guess: bool = False,
) -> tuple[dict[str, Cells], dict[str, np.ndarray]]:
    """Returns cells with those that are missing and follow from others, and which, bool `[n]`, are missing still.

    A total follows from its parts, and the one part that is missing from its total and the others, if that leaves one
    number that its column can have, or several so close that it hardly matters; a class from the one that is looked up
    by it, and if it is the only one of that name, from its name. One relation is looked at at a time, and what leaves
    several numbers only where no other says more.

    Args:
        encoding: How the columns are seen, and which follow from others.
        schema: What they are.
        cells: The cells of each column.
        missing: Of each column, bool `[n]`, which are missing.
        is_guess: Whether cells are guesses: numbers beyond what was seen do not follow from these.
    """
    found, still = dict(cells), {name: rows.copy() for name, rows in missing.items()}
    columns = encoding.by_name
    widths = [_EXACT, _NARROW]
    while widths:
        is_changed = False
        for relation in encoding.relations:
            members = relation.column, *relation.inputs
            for name in members:
                is_alone = still[name] & ~np.any([still[other] for other in members if other != name], axis=0)
                if not is_alone.any():
                    continue
                if name == relation.column:
                    placed, is_right = _forwards(relation, found, columns)
                else:
                    placed, is_right = _backwards(relation, name, found, columns, schema, widths[0])
                is_right &= is_alone
                if is_guess:
                    is_right &= ~columns[name].is_beyond(placed)
                found[name] = placed.where(is_right, found[name])
                still[name] &= ~is_right
                is_changed |= bool(is_right.any())
        widths = [_EXACT, _NARROW] if is_changed else widths[1:]
    return found, still


def following(encoding: Encoding, missing: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns which of the missing cells, of each column bool `[n]`, follow once the others are guessed.

    They are those of columns that follow, and of one that is there, the last of those it follows from.
    """
    found = {name: np.zeros_like(rows) for name, rows in missing.items()}
    for relation in encoding.relations:
        found[relation.column] |= missing[relation.column]
        is_there = ~missing[relation.column]
        for name in reversed(relation.inputs):
            found[name] |= is_there & missing[name]
            is_there &= ~missing[name]
    return found


def _forwards(
    relation: Relation, cells: Mapping[str, Cells], columns: Mapping[str, ColumnEncoding]
) -> tuple[Cells, np.ndarray]:
    """The cells of the column that follows, and where there are such."""
    placed, is_right = dataclasses.replace(relation, may_be_missing=False).place(cells, columns)
    return placed, is_right & ~placed.are_missing


def _backwards(
    relation: Relation,
    name: str,
    cells: Mapping[str, Cells],
    columns: Mapping[str, ColumnEncoding],
    schema: Schema,
    width: float,
) -> tuple[Cells, np.ndarray]:
    """The cells of a column that another follows from, and where that leaves less than a width of choice, or one."""
    own, input_, column = cells[relation.column], cells[name], columns[name]
    if relation.kind == "lookup":
        return _looked_back(relation, own, input_, column)
    if relation.kind == "names":
        return input_, np.zeros(len(own), bool)
    wanted = values_of(own, columns[relation.column])
    inputs = [values_of(cells[other], columns[other]) for other in relation.inputs]
    place, decimals = relation.inputs.index(name), decimals_of(schema[name])
    largest = float(np.abs(np.nan_to_num(wanted)).max(initial=0.0))
    error = Precision(relation.decimals, relation.digits, relation.is_single, np.inf, largest).tolerance(wanted)
    ends = [relation.solve(place, wanted + by, inputs) for by in (-error, error)]
    low, high = np.minimum(*ends), np.maximum(*ends)
    found = relation.solve(place, wanted, inputs)
    if column.margin is None:
        values = np.array(column.values)
        fits = (values >= low[:, None]) & (values <= high[:, None])
        found = np.where(fits.sum(axis=1) == 1, values[fits.argmax(axis=1)], np.nan)
    else:
        found = found if decimals is None else np.round(found, decimals)
        step = 0.0 if decimals is None else 10.0**-decimals
        assert column.alone is not None
        spread = float(np.subtract(*np.quantile(column.alone.values, (0.75, 0.25))))
        is_one = (found >= low) & (found <= high) & (high - low <= max(1.02 * step, width * spread))
        found = np.where(is_one, found, np.nan)
    inputs[place] = found
    bare = dataclasses.replace(relation, otherwise=None)  # of nothing over nothing any would do
    found = np.where(np.isnan(bare.number(inputs)), np.nan, found)
    placed, is_right = placed_numbers(found, input_, column, is_rounded=decimals is not None)
    return placed, is_right & ~placed.are_missing


def _looked_back(relation: Relation, own: Cells, input_: Cells, column: ColumnEncoding) -> tuple[Cells, np.ndarray]:
    """The classes that alone have the name they are to have."""
    if own.codes is None or input_.codes is None or relation.numbers or column.other_count:
        return input_, np.zeros(len(own), bool)
    names, counts = np.unique([name for name in relation.classes if name >= 0], return_counts=True)
    of_name = np.full(len(own.levels) + 1, -1)  # and for -1
    of_name[names] = np.where(counts == 1, [relation.classes.index(name) for name in names], -1)
    codes = of_name[own.codes]
    placed = dataclasses.replace(input_, codes=codes.astype(input_.codes.dtype))
    return placed, ~placed.are_missing
