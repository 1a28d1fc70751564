"""New rows with the types of their columns, for Parquet and DataFrames."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError
from pipelines.tables.cells import OTHER, Cells
from pipelines.tables.kinds.identifiers import is_plain_sequence, make_identifiers
from pipelines.tables.schema import Column, Schema
from pipelines.tables.texts.arrays import from_numpy, from_texts
from pipelines.tables.texts.spelling import on_lattice, parse, spell, ticks

__all__ = ["arrow_schema", "arrow_type", "as_frame", "holds_text", "to_table", "typed_column"]

if TYPE_CHECKING:
    import pandas as pd

_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_TRUE, _FALSE = {"true", "t", "yes", "y", "1", "1.0", "on"}, {"false", "f", "no", "n", "0", "0.0", "off"}
_ZONED = re.compile(r"timestamp\[(s|ms|us|ns), tz=(.+)\]")
_DECIMAL = re.compile(r"decimal(32|64|128|256)?\((\d+), (-?\d+)\)")
_DICTIONARY = re.compile(r"dictionary<values=(.+), indices=(\w+), ordered=([01])>")
_NULLABLE = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
_BINARY = re.compile(r"fixed_size_binary\[(\d+)\]")
_INTEGER_TEXT = re.compile(r"0|-?[1-9]\d{0,17}")
_FLOAT_TEXT = re.compile(r"-?(0|[1-9]\d*)(\.\d+([eE][+-]?\d+)?|[eE][+-]?\d+)")


def arrow_type(column: Column, decimal: str = ".") -> pa.DataType:
    """Returns the type of a column's cells: `column.arrow_type`, or what suits its kind if that says nothing.

    Args:
        column: The column.
        decimal: The decimal point of a constant's text.
    """
    given = _given_type(column.arrow_type)
    if given is not None:
        return given
    if column.kind == "constant":
        text = (column.value or "").replace(decimal, ".")
        if column.value in column.missing or not (_INTEGER_TEXT.fullmatch(text) or _FLOAT_TEXT.fullmatch(text)):
            return pa.string()
        return pa.int64() if _INTEGER_TEXT.fullmatch(text) else pa.float64()
    if column.kind == "identifier":
        return pa.int64() if is_plain_sequence(column) else pa.string()
    types = {
        "float": pa.float64(),
        "integer": pa.int64(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "datetime": pa.timestamp("us"),
    }
    return types.get(column.kind, pa.string())


def holds_text(column: Column) -> bool:
    """Whether the cells of a column can be any text."""
    return _is_text(_plain(arrow_type(column)))


def arrow_schema(schema: Schema, *, mark: str | None = None, with_text: bool = False, decimal: str = ".") -> pa.Schema:
    """Returns the names and types of the columns of new rows.

    Args:
        schema: The columns; free text is left out unless `with_text` is set.
        mark: The name of a last column of whole numbers, or None.
        with_text: Whether columns of free text are there, without cells.
        decimal: The decimal point of constants.
    """
    columns = [column for column in schema.columns if with_text or column.kind != "text"]
    fields = [(column.name, arrow_type(column, decimal)) for column in columns]
    return pa.schema(fields if mark is None else [*fields, (mark, pa.int64())])


def to_table(
    schema: Schema,
    batch: Mapping[str, Cells],
    first_index: int,
    num_rows: int,
    *,
    seed: int,
    with_text: bool = False,
    decimal: str = ".",
) -> pa.Table:
    """Returns rows with the types of their columns.

    Args:
        schema: The columns.
        batch: The cells of the modelled columns, `num_rows` each, and of any other column that is not to be made anew.
        first_index: The number of the first row among all new ones; identifiers depend on it.
        num_rows: How many.
        seed: Of the identifiers.
        with_text: Whether columns of free text are there, without cells.
        decimal: The decimal point of the texts among the cells.
    """
    arrays = []
    fields = arrow_schema(schema, with_text=with_text, decimal=decimal)
    for name in fields.names:
        column = schema[name]
        if name in batch:
            arrays.append(typed_column(column, batch[name], decimal))
        elif column.kind == "identifier":
            made = make_identifiers(column, first_index, num_rows, seed)
            arrays.append(_cast_texts(column, made, fields.field(name).type))
        else:
            is_missing = column.kind != "constant" or column.value is None or column.value in column.missing
            cells = Cells(np.zeros(num_rows, np.int32), (column.value or "",), (is_missing,), None)
            arrays.append(typed_column(column, cells, decimal))
    return pa.Table.from_arrays(arrays, schema=fields)


def as_frame(table: pa.Table, schema: Schema) -> pd.DataFrame:
    """Returns rows as a DataFrame.

    Whole numbers of Parquet or a DataFrame some of which were missing have pandas's nullable types, such as `Int64`:
    numpy's have no missing ones, and float64 has not all whole numbers.

    Args:
        table: The rows, as `to_table` makes them.
        schema: Their columns.
    """
    import pandas as pd

    nullable = {pa.type_for_alias(name.lower()): pd.api.types.pandas_dtype(name) for name in _NULLABLE}
    frame: pd.DataFrame = table.to_pandas()
    for place, field in enumerate(table.schema):
        column = schema[field.name]
        if column.arrow_type is not None and column.missing and field.type in nullable:
            frame.isetitem(place, table.column(place).to_pandas(types_mapper=nullable.get))
    return frame


def typed_column(column: Column, cells: Cells, decimal: str = ".") -> pa.Array:
    """Returns cells with the type of their column, null where they are missing.

    In a numeric column, a text that is no number is null as well, and so are the rare categories of a column whose type
    has no text for them. Numbers beyond what the type can hold become the last
    it can.

    Args:
        column: What the column is.
        cells: Its cells.
        decimal: The decimal point of the texts among the cells.

    Raises:
        AugmentError: If the text of a cell cannot have the type.
    """
    try:
        return _typed_column(column, cells, decimal)
    except pa.ArrowException as error:
        raise AugmentError(
            f"column {column.name!r}: its cells cannot have the type {arrow_type(column, decimal)}: "
            f"{str(error).splitlines()[0]}."
        ) from error


def _typed_column(column: Column, cells: Cells, decimal: str) -> pa.Array:
    target = arrow_type(column, decimal)
    if column.is_numeric:
        array = _numbers(column, cells, _plain(target), decimal)
        if not pa.types.is_dictionary(target):
            return array
        found = array.dictionary_encode()
        indices = pc.cast(found.indices, target.index_type)
        return pa.DictionaryArray.from_arrays(indices, found.dictionary, ordered=target.ordered)
    codes = np.zeros(0, np.int32) if cells.codes is None else cells.codes
    spare = None if _is_text(_plain(target)) else OTHER
    texts = from_texts(
        [None if gone or text == spare else text for text, gone in zip(cells.levels, cells.is_missing, strict=True)]
    )
    if not pa.types.is_dictionary(target):
        return pc.take(_cast_texts(column, texts, target, decimal), from_numpy(codes))
    return _categories(column, texts, codes, target, decimal)


def _given_type(text: str | None) -> pa.DataType | None:
    """The type that Arrow spells so, or None if new cells cannot have it."""
    if text is None:
        return None
    try:
        return _spelled_type(text)
    except (ValueError, TypeError, OverflowError, NotImplementedError):  # no type, or one of a size it cannot have
        return None


def _spelled_type(text: str) -> pa.DataType | None:
    if match := _ZONED.fullmatch(text):
        pa.lib.string_to_tzinfo(match[2])  # or it is a zone that is not known
        return pa.timestamp(match[1], match[2])
    if match := _DECIMAL.fullmatch(text):
        if not 0 <= int(match[3]) <= int(match[2]):
            return None
        make = getattr(pa, f"decimal{match[1] or 128}")
        found: pa.DataType = make(int(match[2]), int(match[3]))
        return found
    if _BINARY.fullmatch(text):
        return None
    if match := _DICTIONARY.fullmatch(text):
        values, indices = _given_type(match[1]), pa.type_for_alias(match[2])
        return (
            None
            if values is None or pa.types.is_dictionary(values)
            else pa.dictionary(indices, values, match[3] == "1")
        )
    found = pa.type_for_alias(text)
    if pa.types.is_string_view(found):  # which Arrow takes no cells from
        return pa.string()
    has_no_cells = pa.types.is_null(found) or pa.types.is_binary_view(found) or pa.types.is_interval(found)
    return None if has_no_cells else found


def _numbers(column: Column, cells: Cells, target: pa.DataType, decimal: str) -> pa.Array:
    """The cells of a numeric column."""
    if cells.codes is None:
        values, valid = np.asarray(cells.values, np.float64), None
    else:
        of_level = np.array(
            [
                np.nan if text is None or gone or (number := parse(column, text, decimal)) is None else number
                for text, gone in zip(cells.levels, cells.is_missing, strict=True)
            ],
            np.float64,
        )
        values, valid = of_level[cells.codes], ~np.isnan(of_level)[cells.codes]
        if cells.values is not None:
            is_number = np.array([text is None for text in cells.levels])[cells.codes]
            values, valid = np.where(is_number, cells.values, values), valid | is_number
        values = np.where(valid, values, 0.0)
    if _is_text(target):  # the spelling of a text is its own, not that of the number it stands for
        array = _merged_texts(column, cells, decimal)
        return array if pa.types.is_string(array.type) and target == array.type else pc.cast(array, target)
    if column.kind in ("float", "integer"):
        return _typed_numbers(column, on_lattice(column, values), valid, target)
    return _typed_moments(column, values, valid, target)


def _merged_texts(column: Column, cells: Cells, decimal: str) -> pa.Array:
    """The cells of a numeric column as texts, null where they are missing."""
    if cells.codes is None:
        return spell(column, np.asarray(cells.values, np.float64), decimal)
    texts = from_texts([None if gone else text for text, gone in zip(cells.levels, cells.is_missing, strict=True)])
    texts = pc.take(texts, from_numpy(cells.codes))
    if cells.values is None:
        return texts
    is_number = np.array([text is None for text in cells.levels])[cells.codes]
    numbers = spell(column, np.where(is_number, cells.values, 0.0), decimal)
    return pc.if_else(from_numpy(is_number), numbers, texts)


def _typed_numbers(column: Column, values: np.ndarray, valid: np.ndarray | None, target: pa.DataType) -> pa.Array:
    if pa.types.is_floating(target):
        kind = target.to_pandas_dtype()
        limit = float(np.finfo(kind).max)
        return from_numpy(np.clip(values, -limit, limit).astype(kind), valid)
    if pa.types.is_integer(target):
        return from_numpy(_whole(values, np.dtype(target.to_pandas_dtype())), valid)
    if pa.types.is_duration(target):
        return from_numpy(_whole(values, np.dtype(np.int64)), valid, target)
    if pa.types.is_boolean(target):
        return from_numpy(values >= 0.5, valid)
    if pa.types.is_decimal(target):
        decimals = max(target.scale, 0)
        limit = 10.0 ** (target.precision - target.scale)
        # With as many digits as float64 has, nothing rounds up to the limit.
        limit = np.nextafter(limit - 10.0**-decimals, 0.0)
        fixed = dataclasses.replace(column, kind="float", decimals=decimals, min_decimals=decimals)
        text = spell(fixed, np.clip(values, -limit, limit))
        return pc.cast(_masked(text, valid), target)
    return _cast_texts(column, _masked(spell(column, values), valid), target)


def _typed_moments(column: Column, values: np.ndarray, valid: np.ndarray | None, target: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(target) and column.kind != "time":
        digits = _DIGITS[target.unit]
        if digits == 9:  # the years 1678 to 2262
            limit = 9.22e9 / (86_400 if column.kind == "date" else 1)
            values = np.clip(values, -limit, limit)
        count = ticks(column, values, digits)
        return from_numpy(count * (86_400 * 10**digits if column.kind == "date" else 1), valid, target)
    if pa.types.is_time(target) and column.kind == "time":
        return from_numpy(
            ticks(column, values, _DIGITS[target.unit]).astype(f"i{target.bit_width // 8}"), valid, target
        )
    if pa.types.is_date(target) and column.kind != "time":
        days = ticks(column, values, 0) // (1 if column.kind == "date" else 86_400)
        array = from_numpy(days.astype(np.int32), valid, pa.date32())
        return array if target == pa.date32() else pc.cast(array, target)
    return _cast_texts(column, _masked(spell(column, values), valid), target)


def _whole(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Numbers as integers of a type, the last it can hold where they are beyond."""
    info = np.iinfo(kind)
    last = float(info.max)
    if last > info.max:  # as a float64 it is one too many
        last = np.nextafter(last, 0.0)
    whole: np.ndarray = np.clip(np.rint(values), float(info.min), last).astype(kind)
    return whole


def _masked(array: pa.Array, valid: np.ndarray | None) -> pa.Array:
    return array if valid is None else pc.if_else(from_numpy(valid), array, _no_text())


def _no_text() -> pa.Scalar:
    return from_texts([None])[0]


def _plain(target: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary, or the type itself."""
    return target.value_type if pa.types.is_dictionary(target) else target


def _is_text(target: pa.DataType) -> bool:
    return bool(pa.types.is_string(target) or pa.types.is_large_string(target) or pa.types.is_string_view(target))


def _cast_texts(column: Column, texts: pa.Array, target: pa.DataType, decimal: str = ".") -> pa.Array:
    """Texts, null where there is none, as values of a type."""
    if target == texts.type:
        return texts
    if pa.types.is_boolean(target):
        return _booleans(column, texts)
    if decimal != "." and (pa.types.is_floating(target) or pa.types.is_decimal(target)):
        texts = pc.replace_substring(texts, decimal, ".")
    if pa.types.is_dictionary(target):
        encoded = _cast_texts(column, texts, target.value_type, decimal).dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            pc.cast(encoded.indices, target.index_type), encoded.dictionary, ordered=target.ordered
        )
    try:
        try:
            return pc.cast(texts, target)
        except pa.ArrowInvalid:
            if not pa.types.is_integer(target):
                raise
            return pc.cast(pc.cast(texts, pa.float64()), target)  # "1.0" is a whole number too
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise AugmentError(f"column {column.name!r}: a cell cannot be written as {target}: {error}") from error


def _booleans(column: Column, texts: pa.Array) -> pa.Array:
    words = [None if text is None else text.strip().lower() for text in texts.to_pylist()]
    for word in words:
        if word is not None and word not in _TRUE | _FALSE:
            raise AugmentError(f"column {column.name!r}: the cell {word!r} is neither true nor false.")
    return from_numpy(
        np.array([word in _TRUE for word in words], bool), np.array([word is not None for word in words], bool)
    )


def _categories(
    column: Column, texts: pa.Array, codes: np.ndarray, target: pa.DictionaryType, decimal: str
) -> pa.Array:
    """Categories in the order of the column's levels, or of the cells' where it has none."""
    present = [text for text in dict.fromkeys([*column.levels, *texts.to_pylist()]) if text is not None]
    values = _cast_texts(column, from_texts(present), target.value_type, decimal)
    place: dict[object, int] = {}
    kept: list[int] = []  # two spellings of one value are one category
    for i, value in enumerate(values.to_pylist()):
        if place.setdefault(value, len(place)) == len(kept):
            kept.append(i)
    dictionary = pc.take(values, from_numpy(np.array(kept, np.int64)))
    place_of = {text: place[value] for text, value in zip(present, values.to_pylist(), strict=True)}
    to_place = np.array([place_of.get(text, -1) for text in texts.to_pylist()], np.int64)
    indices = to_place[codes] if len(to_place) else np.zeros(len(codes), np.int64)
    valid = indices >= 0
    array = from_numpy(np.where(valid, indices, 0), valid)
    return pa.DictionaryArray.from_arrays(pc.cast(array, target.index_type), dictionary, ordered=target.ordered)
