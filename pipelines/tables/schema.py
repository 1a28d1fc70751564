"""What each column of a table is, learnt from its text, so that what came in can go out again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError

__all__ = ["Column", "Schema", "infer_schema", "numbers"]

Kind = Literal["float", "integer", "constant"]

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none", "?")
_INTEGER = r"^[+-]?\d+$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INFINITY = r"^[+-]?[iI][nN][fF](inity)?$"
# Integers up to here are exact in float64; a lattice finer than this is not one any more.
_EXACT = float(1 << 53)


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Its name in the header.
        kind: `float` and `integer` columns are modelled, a `constant` one is written as it is.
        decimals: Digits after the decimal point, at most, or None where values are not rounded.
        min_decimals: Digits after the decimal point, at least.
        value: The text of a constant column.
    """

    name: str
    kind: Kind
    decimals: int | None = None
    min_decimals: int = 0
    value: str | None = None

    @property
    def step(self) -> float:
        """The distance between neighbouring values of the column's lattice, or 0 if there is none."""
        return 0.0 if self.decimals is None else 10.0**-self.decimals


@dataclasses.dataclass(frozen=True)
class Schema:
    """The columns of a table, in order."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """The names of all columns, in order."""
        return [column.name for column in self.columns]

    @property
    def modelled(self) -> list[Column]:
        """The columns a flow is fitted to, in order."""
        return [column for column in self.columns if column.kind != "constant"]

    @property
    def constants(self) -> list[Column]:
        """The columns that hold one value."""
        return [column for column in self.columns if column.kind == "constant"]

    def to_json(self) -> list[dict[str, Any]]:
        """Returns the schema as a JSON value."""
        return [dataclasses.asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]]) -> Schema:
        """Returns the schema that `to_json` wrote."""
        return cls(tuple(Column(**column) for column in columns))


def infer_schema(table: pa.Table, where: str, first_row: int = 1) -> Schema:
    """Finds out what each column is.

    Args:
        table: The table; columns of text are looked at as text.
        where: The name of the table, for messages.
        first_row: The line of its first row, for messages.

    Raises:
        AugmentError: If a column is not numeric, has missing cells or infinities; all of them are named.
    """
    columns: list[Column] = []
    problems: dict[str, str] = {}
    for name in table.column_names:
        found = _infer_column(name, table.column(name), first_row)
        if isinstance(found, Column):
            columns.append(found)
        else:
            problems[name] = found
    if problems:
        named = "; ".join(f"{name!r} {problem}" for name, problem in problems.items())
        raise AugmentError(
            f"{where}: only complete numeric columns can be modelled yet. {named}. Leave such columns out "
            f"({' '.join(f'--drop {_quote(name)}' for name in problems)}), or fill or remove the rows concerned."
        )
    return Schema(tuple(columns))


def numbers(column: pa.ChunkedArray, name: str, where: str, first_row: int = 1) -> np.ndarray:
    """Returns a column as finite float64 values, `[n]`.

    Raises:
        AugmentError: If a cell is missing, infinite or not a number; the first such row is named.
    """
    text = _text(column)
    problem = _problem(text, first_row)
    if problem:
        raise AugmentError(f"{where}: column {name!r} {problem}.")
    values: np.ndarray = pc.cast(text, pa.float64()).to_numpy()
    if not np.isfinite(values).all():  # such as 1e999
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise AugmentError(f"{where}: column {name!r} overflows ({text[row].as_py()} in row {row + first_row}).")
    return values


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column's cells as text without surrounding space, missing ones as empty text."""
    if not pa.types.is_string(column.type):
        column = pc.cast(column, pa.string())
    return pc.fill_null(pc.utf8_trim_whitespace(column), "")


def _problem(text: pa.ChunkedArray, first_row: int) -> str | None:
    """Why a column of text cannot be modelled as numbers, with the row, or None."""
    is_number = pc.match_substring_regex(text, _NUMBER)
    if pc.all(is_number).as_py():
        return None
    is_missing = pc.is_in(text, pa.array(MISSING))
    other = pc.invert(pc.or_(is_number, is_missing))
    if pc.any(other).as_py():
        row = pc.index(other, True).as_py()
        cell = text[row].as_py()
        is_infinite = pc.match_substring_regex(text.slice(row, 1), _INFINITY)[0].as_py()
        return f"{'is infinite' if is_infinite else 'is not numeric'} ({_shorten(cell)} in row {row + first_row})"
    row = pc.index(is_missing, True).as_py()
    return f"has {pc.sum(is_missing).as_py():,} missing cells (the first in row {row + first_row})"


def _infer_column(name: str, column: pa.ChunkedArray, first_row: int) -> Column | str:
    """The column, or what is wrong with it."""
    if pa.types.is_boolean(column.type) or pa.types.is_nested(column.type):
        return f"is not numeric (type {column.type})"
    text = _text(column)
    if pc.count_distinct(text).as_py() == 1:
        return Column(name, "constant", value=text[0].as_py())
    problem = _problem(text, first_row)
    if problem:
        return problem
    if not pa.types.is_floating(column.type) and pc.all(pc.match_substring_regex(text, _INTEGER)).as_py():
        largest = np.abs(pc.cast(text, pa.float64()).to_numpy()).max()
        return Column(name, "integer", decimals=0) if largest < _EXACT else Column(name, "float")
    decimals, min_decimals = _decimals(text)
    return Column(name, "float", decimals=decimals, min_decimals=min_decimals)


def _decimals(text: pa.ChunkedArray) -> tuple[int | None, int]:
    """The most and the fewest digits after the decimal point; the most is None at full precision."""
    if pc.any(pc.match_substring_regex(text, "[eE]")).as_py():
        return None, 0
    point = pc.find_substring(text, ".")
    digits = pc.if_else(pc.less(point, 0), 0, pc.subtract(pc.subtract(pc.utf8_length(text), point), 1))
    most, fewest = pc.max(digits).as_py(), pc.min(digits).as_py()
    largest = np.abs(pc.cast(text, pa.float64()).to_numpy()).max()
    if largest * 10.0**most >= _EXACT / 8 or most > 15:
        return None, 0
    return most, fewest


def _shorten(cell: str) -> str:
    return repr(cell if len(cell) <= 30 else cell[:27] + "...")


def _quote(name: str) -> str:
    import shlex

    return shlex.quote(name)
