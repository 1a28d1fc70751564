"""Whether an encoding that came from a file is one that could have been learnt from the columns it is for."""

from __future__ import annotations

import graphlib

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.column_encoding import ColumnEncoding, step_of
from pipelines.tables.dates.elapsed import MONTH, WEEK
from pipelines.tables.dates.rhythm import DAYS
from pipelines.tables.encoding import Encoding
from pipelines.tables.schema import Column, Schema

__all__ = ["check_encoding"]


def check_encoding(encoding: Encoding, schema: Schema) -> None:
    """Refuses an encoding that does not fit its columns, or itself.

    Raises:
        AugmentError: With the column and what is wrong.
    """
    if [column.name for column in encoding.columns] != [column.name for column in schema.modelled]:
        raise AugmentError("schema and encoding have different columns.")
    for column, encoded in zip(schema.modelled, encoding.columns, strict=True):
        problem = _shape_problem(encoded) or (
            _numeric_problem(column, encoded) if column.is_numeric else _categorical_problem(encoded)
        )
        problem = problem or _elapsed_problem(encoded, encoding, schema) or _offset_problem(encoded, encoding, schema)
        if problem:
            raise AugmentError(f"the encoding of column {column.name!r} {problem}.")
    try:
        encoding.in_order()
    except graphlib.CycleError as error:
        raise AugmentError("the encoding has columns of which each is learnt beside the other.") from error


def _elapsed_problem(encoded: ColumnEncoding, encoding: Encoding, schema: Schema) -> str | None:
    """What is wrong with the other column that time is learnt since."""
    if encoded.elapsed is None:
        return None
    kind, since = schema[encoded.name].kind, encoded.elapsed.since
    others = [column.name for column in encoding.continuous if schema[column.name].kind == kind]
    days = {column.name: DAYS.get(schema[column.name].kind) for column in encoding.continuous}
    day, theirs, rhythm = DAYS.get(kind), days.get(since), encoded.rhythm
    if day is None or theirs is None or encoded.margin is None or encoded.elapsed.per != theirs / day:
        return "has the time since a column, and there are no such dates"
    unit = encoded.elapsed.unit
    units = {"weekday": WEEK * day, "monthday": MONTH * day, "monthend": MONTH * day}
    if unit not in (0.0, day, *units.values()) or (encoded.elapsed.rhythm and encoded.elapsed.rhythm.day != day):
        return "has the time since a column, in days of another length"
    if any(name not in (*others, since) for name, _, _ in encoded.elapsed.between):
        return "has the time since columns that are no such dates"
    if unit != (0.0 if rhythm is None else units.get(rhythm.of_days or "", day)):
        return "has the time since a column, and a rhythm that does not go with it"
    return None


def _offset_problem(encoded: ColumnEncoding, encoding: Encoding, schema: Schema) -> str | None:
    """What is wrong with the other column that numbers are learnt beside."""
    if encoded.offset is None:
        return None
    kinds = {column.name: schema[column.name].kind for column in encoding.continuous}
    wanted = ("float", "integer")
    if kinds.get(encoded.name) not in wanted or kinds.get(encoded.offset.other) not in wanted:
        return "has the difference from a column, and there are no such numbers"
    return None


def _shape_problem(encoded: ColumnEncoding) -> str | None:
    """What is wrong whatever the column's kind."""
    levels = len(encoded.levels)
    if not levels and encoded.margin is None:
        return "has neither classes nor numbers"
    if len(encoded.is_missing) != levels:
        return "does not say which of its classes are missing cells"
    if list(encoded.is_missing) != sorted(encoded.is_missing):
        return "has a class after those of missing cells"
    if encoded.other_count and not encoded.is_missing.count(False):
        return "has rare categories without a class"
    return None


def _categorical_problem(encoded: ColumnEncoding) -> str | None:
    if (
        encoded.margin
        or encoded.values
        or encoded.unseen
        or encoded.rhythm
        or encoded.elapsed
        or encoded.endings
        or encoded.offset
        or encoded.ranges
        or None in encoded.levels
    ):
        return "has numbers, and the column has none"
    return None


def _numeric_problem(column: Column, encoded: ColumnEncoding) -> str | None:
    if len(encoded.values) != len(encoded.levels) or encoded.other_count:
        return "has classes without a number"
    if encoded.rhythm is not None and (encoded.margin is None or DAYS.get(column.kind) != encoded.rhythm.day):
        return "has days or hours that come again, and the column no such dates"
    if encoded.endings is not None and (encoded.margin is None or column.kind not in ("float", "integer")):
        return "has last digits that come again, and the column no such numbers"
    if encoded.ranges is not None:
        if encoded.margin is None or column.kind not in ("float", "integer"):
            return "has ranges of numbers, and the column no such numbers"
        if encoded.rhythm or encoded.elapsed or encoded.endings or encoded.offset:
            return "has ranges of numbers that are learnt otherwise"
    first = 0 if encoded.margin is None else 1
    if encoded.levels and [level is None for level in encoded.levels] != [
        index < first for index in range(len(encoded.levels))
    ]:
        return "has a class of numbers that is not its first"
    known = encoded.is_missing.count(False)
    values = np.array(encoded.values)
    if not (np.isfinite(values[first:known]).all() and (np.diff(values[first:known]) > 0).all()):
        return "has numbers that do not increase"
    if not np.isnan(values[:first]).all() or not np.isnan(values[known:]).all():
        return "has a number for a missing cell"
    if encoded.unseen and (
        encoded.margin is not None or len(encoded.unseen) != known or max(encoded.unseen) >= 1 or not step_of(column)
    ):
        return "has shares of numbers between its classes, which have no step"
    return None
