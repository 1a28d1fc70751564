"""New rows behind those of a table, which stay as they are there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from itertools import repeat
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError, UsageError, library_message, listed
from pipelines.matching import read_for
from pipelines.storage.model_file import ModelFile
from pipelines.tables.cells import Cells
from pipelines.tables.files.pandas_types import as_dtype, is_span
from pipelines.tables.files.reading import is_parquet
from pipelines.tables.files.source import Source
from pipelines.tables.files.typed import arrow_schema, arrow_type, as_frame, holds_text, typed_column
from pipelines.tables.files.writing import CsvWriter, ParquetWriter, TableWriter, copy_records, csv_field, writer_for
from pipelines.tables.schema import Column, Schema
from pipelines.tables.texts.parsing import missing_mask, numbers, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["appended", "check_mark", "read_first", "schema_after", "writer_after"]


def read_first(model: ModelFile, data: str | os.PathLike[str] | pd.DataFrame) -> Source:
    """Reads the table whose rows come first.

    Raises:
        AugmentError: If it cannot be read or has other columns than the model makes.
    """
    source = read_for(model, data)
    escapes = model.dialect.escape_formulas
    source = dataclasses.replace(source, dialect=dataclasses.replace(source.dialect, escape_formulas=escapes))
    schema, names = model.schema, source.table.column_names
    kept = [column.name for column in schema.columns if column.kind != "text"]
    if names not in (schema.names, kept):
        raise AugmentError(
            f"{source.name} has the columns {listed(names)}; the model makes {listed(kept)}. Rows can only be "
            "appended to a table of the same columns in the same order; what --drop left out is left out there too."
        )
    return source


def writer_after(
    output: str | os.PathLike[str],
    file: IO[bytes],
    model: ModelFile,
    source: Source | None,
    seed: int,
    mark: str | None,
) -> TableWriter:
    """Returns a writer of new rows to a file in which the rows of `source`, if any, are already.

    Args:
        output: The name of the file: Parquet or CSV, by its suffix.
        file: What it is written to, empty.
        model: Of which the new rows are.
        source: What `read_first` returned, or None if no rows come first.
        seed: Of the new rows.
        mark: Name of a last column that is 0 in the first rows and 1 in the new ones.

    Raises:
        AugmentError: If the rows do not fit the model or the kind of file.
    """
    schema, dialect = model.schema, model.dialect
    if source is None:
        return writer_for(output, file, schema, dialect, seed=seed, mark=mark)
    with_text = source.table.column_names == schema.names
    if is_parquet(output):
        schema = schema_after(model, source)
        first = _typed_table(schema, source, dialect.decimal)
        parquet = ParquetWriter(file, schema, dialect, seed=seed, mark=mark, with_text=with_text)
        parquet.write_table(first, is_new=False)
        return parquet
    if source.path is None or source.is_typed:
        raise UsageError(f"the rows of {source.name} are not CSV; write to a .parquet file, or get a DataFrame.")
    header = None if mark is None else csv_field(mark, source.dialect)
    copy_records(file, source, header, repeat("0"))
    return CsvWriter(file, schema, source.dialect, seed=seed, mark=mark, with_text=with_text)


def schema_after(model: ModelFile, source: Source | None) -> Schema:
    """Returns the model's columns with the types of a table that has types, so that new rows can stand behind its own.

    Numbers keep the type they have in the model: those of the table need not have the digits of the new ones.
    """
    if source is None or not source.is_typed:
        return model.schema
    columns = []
    for column in model.schema.columns:
        if column.name in source.table.column_names:
            given, own = source.table.schema.field(column.name).type, arrow_type(column, model.dialect.decimal)
            if pa.types.is_decimal(given):
                given = pa.decimal128(38, given.scale)
            if not (pa.types.is_null(given) or (_is_number(given) and _is_number(own))):
                column = dataclasses.replace(column, arrow_type=str(given))
        columns.append(column)
    return Schema(tuple(columns))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _typed_table(schema: Schema, source: Source, decimal: str) -> pa.Table:
    """The rows of a table with the types that new rows behind it have, of a schema as `schema_after` returns it."""
    with_text = source.table.column_names == schema.names
    fields = arrow_schema(schema, with_text=with_text, decimal=decimal)
    columns = [_typed_cells(source, schema[field.name], field.type) for field in fields]
    return pa.Table.from_arrays(columns, schema=fields)


def _typed_cells(source: Source, column: Column, target: pa.DataType) -> pa.ChunkedArray:
    """Cells with another type. Texts stay as they are if it is one for texts."""
    cells = plain(source.table.column(column.name))
    try:
        if not pa.types.is_string(cells.type) or holds_text(column):
            return pc.cast(cells, target)
        text = pc.utf8_trim_whitespace(cells)
        if column.kind == "integer" and column.format is None:
            with contextlib.suppress(pa.ArrowInvalid):
                return pc.cast(text, target)  # float64 does not hold all whole numbers
        if column.is_numeric:
            values = numbers(cells, column, source.dialect, source.name, source.row_numbers)
            is_missing = np.isnan(values)
            parsed = Cells(is_missing.astype(np.int32), (None, ""), (False, True), np.nan_to_num(values))
            return pa.chunked_array([typed_column(column, parsed)])
        text = pc.if_else(pa.array(missing_mask(cells, column, source.dialect)), pa.scalar(None, pa.string()), text)
        if pa.types.is_floating(target) or pa.types.is_decimal(target):
            text = pc.replace_substring(text, source.dialect.decimal, ".")
        return pc.cast(text, target)
    except pa.ArrowException as error:
        raise AugmentError(
            f"{source.name} does not fit the model: column {column.name!r}: {library_message(error)}"
        ) from error


def appended(
    model: ModelFile, data: str | os.PathLike[str] | pd.DataFrame, source: Source, frame: pd.DataFrame
) -> pd.DataFrame:
    """Returns the rows of `data`, which was read as `source`, and those of `frame` after them, of the same types."""
    import pandas as pd

    if not isinstance(data, str | os.PathLike):
        first = data
        frame = frame.rename(columns={str(name): name for name in first.columns})
        for name in frame.columns:
            first, frame[name] = _alike(first, frame[name])
    else:
        typed = source.table if source.is_typed else _typed_table(model.schema, source, model.dialect.decimal)
        first = as_frame(typed, model.schema)
    some = [first, frame] if len(frame) else [first]  # none would change the types of the others
    both: pd.DataFrame = pd.concat(some, ignore_index=True)
    return both


def _alike(first: pd.DataFrame, cells: pd.Series[Any]) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """A DataFrame, and new cells of one of its columns, with one type in pandas; categories may come to the first."""
    import pandas as pd

    dtype = first[cells.name].dtype
    if isinstance(dtype, pd.CategoricalDtype) and not is_span(dtype):
        more = [value for value in pd.unique(cells.dropna()) if value not in dtype.categories]
        if more:
            first = first.copy(deep=False)
            first[cells.name] = first[cells.name].cat.add_categories(more)
            dtype = first[cells.name].dtype
    elif pd.api.types.is_numeric_dtype(dtype):  # which have one that holds both
        return first, cells
    with contextlib.suppress(TypeError, ValueError):
        cells = as_dtype(cells, dtype)
    return first, cells


def check_mark(mark: str, schema: Schema) -> None:
    """Raises `UsageError` if a column of that name cannot be added."""
    if not mark:
        raise UsageError("the mark needs a name.")
    if mark in schema.names:
        raise UsageError(f"the table has a column {mark!r} already; choose another name for the mark.")
