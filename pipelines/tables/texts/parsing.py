"""From the cells of a column to values: numbers, texts, and which are missing."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError
from pipelines.tables.files.sampling import Places
from pipelines.tables.schema import Column
from pipelines.tables.texts import date_formats
from pipelines.tables.texts.decimals import without_noise
from pipelines.tables.texts.dialect import MISSING, Dialect
from pipelines.tables.texts.number_formats import bare_numbers

__all__ = [
    "LARGEST",
    "bare_text",
    "is_null_value",
    "known_truth",
    "missing_codes",
    "missing_mask",
    "numbers",
    "plain",
    "shorten",
    "texts",
]

# Of larger numbers, differences and slopes would overflow.
LARGEST = 1e300
_PLAIN_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?|[+-]?[.,]\d+")
# By the decimal mark, what is a number with the other one.
_OTHER_NUMBER = {".": re.compile(r"[+-]?\d*,\d+"), ",": re.compile(r"[+-]?\d*\.\d+")}
_SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def numbers(
    column: pa.ChunkedArray, spec: Column, dialect: Dialect, where: str, first_row: int | np.ndarray | Places = 1
) -> np.ndarray:
    """Returns a numeric column as float64 values, `[n]`, NaN where a cell is missing.

    Args:
        column: The cells, text or typed.
        spec: What the column is; `spec.kind` gives the unit (see `Column`).
        dialect: Its decimal mark and null values.
        where: The name of the table, for messages.
        first_row: The number of its first row, or `[n]` of each row, for messages (`Source.row_numbers`).

    Raises:
        AugmentError: If a cell is neither missing nor a finite number of the kind; the first such row is named.
    """
    column = plain(column)
    if not pa.types.is_string(column.type):
        values = _typed_numbers(column, spec, where)
        values[missing_mask(column, spec, dialect)] = np.nan
        wrong = np.abs(values) > LARGEST
        complaint = "is infinite"
        text = None
    else:
        text = bare_text(column)
        missing = missing_mask(column, spec, dialect)
        kept = pc.if_else(pa.array(missing), None, text)
        if spec.kind in ("date", "time", "datetime"):
            values = _dates(kept, spec)
        else:
            values = _decimals(bare_numbers(kept, spec.format, dialect.decimal) if spec.format else kept, dialect)
        wrong = ~missing & ~(np.abs(values) <= LARGEST)
        complaint = f"is no {spec.kind} as {spec.format}" if spec.format else "is not numeric"
    if spec.kind == "integer" and not wrong.any():
        wrong = ~np.isnan(values) & (values != np.floor(values))
        complaint = "is not whole"
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        cell = str(column[row].as_py()) if text is None else text[row].as_py()
        if complaint != "is not whole" and _is_infinite(cell):
            complaint = "is infinite"
        elif np.abs(values[row]) > LARGEST and not _is_infinite(cell):
            complaint = f"is beyond {LARGEST:g}, which is too large to compute with"
        number = first_row + row if isinstance(first_row, int) else first_row[row]
        advice = _advice(cell, complaint, dialect)
        raise AugmentError(f"{where}: column {spec.name!r} {complaint} ({shorten(cell)} in row {number}). {advice}")
    if spec.kind == "float" and spec.decimals is not None:
        values = without_noise(values, spec.decimals)
    return values


def texts(column: pa.ChunkedArray, spec: Column, dialect: Dialect, known: Sequence[str | None] = ()) -> pa.ChunkedArray:
    """Returns a column as text, spelled as in the file, null where a cell is missing.

    Booleans and numbers of typed columns are spelled as Arrow casts them: `true`, `7`, `0.25`.

    Args:
        column: The cells, text or typed.
        spec: What the column is.
        dialect: Its null values.
        known: The texts they are compared with: where either are typed as truth values, `true` is spelled as there.
    """
    column = plain(column)
    missing = missing_mask(column, spec, dialect)
    text = column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
    if known and (pa.types.is_boolean(column.type) or spec.arrow_type == "bool"):
        distinct = pc.unique(text)
        meant = [None if cell is None else known_truth(cell, known) for cell in distinct.to_pylist()]
        text = pc.take(pa.array(meant, pa.string()), pc.index_in(text, value_set=distinct))
    return pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), text)


def known_truth(text: str, known: Sequence[str | None]) -> str:
    """Returns the one of the known texts that a truth value is: itself, or what differs in case only, as `True`."""
    if text in known:
        return text
    return next((level for level in known if level is not None and level.strip().lower() == text.lower()), text)


def missing_mask(column: pa.ChunkedArray, spec: Column, dialect: Dialect) -> np.ndarray:
    """Returns which cells are missing, `[n]`, bool: empty, null, not a number, or what dialect or column say."""
    column = plain(column)
    mask = pc.is_null(column, nan_is_null=True)
    if pa.types.is_string(column.type):
        text = bare_text(column)
        mask = pc.or_(mask, is_null_value(text, dialect, spec.missing))
    elif not pa.types.is_temporal(column.type) and not pa.types.is_nested(column.type):
        # Arrow spells numbers its own way, so that one in `spec.missing` counts in every spelling, too.
        both = dataclasses.replace(dialect, null_values=(*dialect.null_values, *filter(None, spec.missing)))
        if _given(both):
            mask = pc.or_(mask, is_null_value(bare_text(column), both))
    return np.asarray(mask.to_numpy())


def missing_codes(column: pa.ChunkedArray, spec: Column, dialect: Dialect) -> np.ndarray:
    """Returns which of `spec.missing` each missing cell says, 0 if none of them, `[n]`, int32; -1 where a value is."""
    column = plain(column)
    codes = np.full(len(column), -1, np.int32)
    mask = missing_mask(column, spec, dialect)
    codes[mask] = 0
    if len(spec.missing) > 1 and mask.any():
        rows = np.flatnonzero(mask)
        said = bare_text(column.take(pa.array(rows)))
        index = pc.index_in(said, value_set=pa.array(spec.missing, pa.string()))
        codes[rows] = pc.fill_null(index, 0).to_numpy()
    return codes


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column without its dictionary, text as `string`, nothing as text without cells."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type) or pa.types.is_null(column.type):
        return pc.cast(column, pa.string())
    if pa.types.is_float16(column.type):
        return pc.cast(column, pa.float32())
    return column


def bare_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a plain column's cells as text without surrounding space, empty where there is none."""
    if not pa.types.is_string(column.type):
        column = pc.cast(column, pa.string())
    return pc.fill_null(pc.utf8_trim_whitespace(column), "")


def is_null_value(text: pa.ChunkedArray, dialect: Dialect, missing: tuple[str, ...] = ()) -> pa.ChunkedArray:
    """Returns which bare texts mean that a cell is missing. A null value that is a number counts in every spelling."""
    found = pc.is_in(text, value_set=pa.array(["", *dialect.null_values, *missing], pa.string()))
    spellings = [_number_pattern(value) for value in _given(dialect) if _PLAIN_NUMBER.fullmatch(value)]
    if spellings:
        found = pc.or_(found, pc.match_substring_regex(text, rf"\A(?:{'|'.join(spellings)})\z"))
    return found


def shorten(cell: str) -> str:
    """Returns a cell for a message: quoted, control characters escaped, not too long."""
    return repr(cell if len(cell) <= 30 else cell[:27] + "...")


def _advice(cell: str, complaint: str, dialect: Dialect) -> str:
    """What to do about a cell that is no number of its column."""
    if complaint == "is not whole":
        return "The column is of whole numbers: round it."
    if len(cell) > 30 or not cell.isprintable():
        return "Correct such cells, or leave them empty."
    missing = f"say --null-value={shlex.quote(cell)} to count such cells as missing."
    if dialect.decimal not in cell and _OTHER_NUMBER[dialect.decimal].fullmatch(cell):
        other = "," if dialect.decimal == "." else "."
        return f"If {other!r} is its decimal mark, say --decimal {other}; or {missing}"
    return f"Correct it, or {missing}"


def _given(dialect: Dialect) -> list[str]:
    return [value for value in dialect.null_values if value not in MISSING]


def _number_pattern(value: str) -> str:
    """A pattern of all spellings of a plain number: -200 is also -200.0 and -200,00."""
    sign = "-" if value.startswith("-") else r"\+?"
    whole, _, fraction = value.lstrip("+-").replace(",", ".").partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if not whole and not fraction:
        return r"[+-]?0*[.,]?0+"
    end = rf"[.,]{fraction}0*" if fraction else r"(?:[.,]0*)?"
    return rf"{sign}0*{whole}{end}"


def _is_infinite(cell: str) -> bool:
    return re.fullmatch(r"[+-]?inf(inity)?", cell, re.IGNORECASE) is not None


def _decimals(text: pa.ChunkedArray, dialect: Dialect) -> np.ndarray:
    """Texts as numbers, NaN where a text is none or missing."""
    if dialect.decimal == ",":
        is_other = pc.match_substring(text, ".")
        text = pc.if_else(is_other, "x", pc.replace_substring(text, ",", "."))
    try:
        return _float64(pc.cast(text, pa.float64()))
    except pa.ArrowInvalid:
        is_number = pc.match_substring_regex(text, r"\A[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\z")
        return _float64(pc.cast(pc.if_else(is_number, text, None), pa.float64()))


def _dates(text: pa.ChunkedArray, spec: Column) -> np.ndarray:
    distinct = text.dictionary_encode().combine_chunks()
    if isinstance(distinct, pa.ChunkedArray):
        distinct = distinct.chunk(0) if distinct.num_chunks else pa.array([], text.type).dictionary_encode()
    values = date_formats.parse(distinct.dictionary, spec.format or "%Y-%m-%d")
    codes = pc.fill_null(distinct.indices, len(values)).to_numpy(zero_copy_only=False)
    found: np.ndarray = np.append(values, np.nan)[codes]
    return found


def _typed_numbers(column: pa.ChunkedArray, spec: Column, where: str) -> np.ndarray:
    kind = column.type
    if pa.types.is_date(kind):
        values = _float64(pc.cast(pc.cast(column, pa.date32()), pa.int32()))
        return values * 86400 if spec.kind == "datetime" else values
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        integer = pa.int32() if pa.types.is_time32(kind) else pa.int64()
        count = pc.cast(column, integer)
        unit = _SECONDS[kind.unit]
        if unit == 1e9:  # whole seconds apart, as float64 holds no nanoseconds since 1970
            whole = pc.divide(count, 1_000_000_000)
            rest = pc.subtract(count, pc.multiply(whole, 1_000_000_000))
            seconds = _float64(whole) + _float64(rest) / unit
        else:
            seconds = _float64(count) / unit
        return seconds / 86400 if spec.kind == "date" else seconds
    if pa.types.is_duration(kind):
        return _float64(pc.cast(column, pa.int64()))
    if pa.types.is_boolean(kind):
        return _float64(pc.cast(column, pa.uint8()))
    try:
        return _float64(column)
    except pa.ArrowException as error:
        raise AugmentError(f"{where}: column {spec.name!r} is not numeric (type {kind}).") from error


def _float64(column: Any) -> np.ndarray:
    """A column as float64 that may be written to, NaN for null."""
    values = pc.fill_null(pc.cast(column, pa.float64(), safe=False), float("nan"))
    return np.array(values.to_numpy(), np.float64)
