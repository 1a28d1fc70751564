"""New rows behind those of a table, which stay as they are there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from itertools import repeat
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.errors import AugmentError, UsageError, listed
from pipelines.matching import read_for
from pipelines.storage.model_file import ModelFile
from pipelines.tables.cells import Cells
from pipelines.tables.files.reading import is_parquet
from pipelines.tables.files.source import Source
from pipelines.tables.files.typed import as_frame, typed_column
from pipelines.tables.files.writing import CsvWriter, ParquetWriter, TableWriter, copy_records, csv_field, writer_for
from pipelines.tables.schema import Schema
from pipelines.tables.texts.parsing import numbers, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["appended", "check_mark", "read_first", "writer_after"]


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
        parquet = ParquetWriter(file, schema, dialect, seed=seed, mark=mark, with_text=with_text)
        try:
            parquet.write_table(_plain_table(source), is_new=False)
        except AugmentError as error:
            with contextlib.suppress(AugmentError):
                parquet.close()  # else pyarrow would try when the file is closed
            raise AugmentError(f"{source.name} does not fit the model: {error}") from error
        return parquet
    if source.path is None or source.is_typed:
        raise UsageError(f"the rows of {source.name} are not CSV; write to a .parquet file, or get a DataFrame.")
    header = None if mark is None else csv_field(mark, source.dialect)
    copy_records(file, source, header, repeat("0"))
    return CsvWriter(file, schema, source.dialect, seed=seed, mark=mark, with_text=with_text)


def _plain_table(source: Source) -> pa.Table:
    """A table whose texts have no surrounding space, so that those that are numbers can be cast."""
    import pyarrow.compute as pc

    columns = [plain(column) for column in source.table.columns]
    columns = [pc.utf8_trim_whitespace(c) if pa.types.is_string(c.type) else c for c in columns]
    return pa.table(columns, names=source.table.column_names)


def appended(
    model: ModelFile, data: str | os.PathLike[str] | pd.DataFrame, source: Source | None, frame: pd.DataFrame
) -> pd.DataFrame:
    """Returns the rows of `data`, which was read as `source`, and those of `frame` after them, of the same types."""
    import pandas as pd

    first: Any = data
    if isinstance(data, str | os.PathLike) and source is not None:
        first = as_frame(source.table, model.schema) if source.is_typed else _typed_like(model, source, frame)
    some = [first, frame] if len(frame) else [first]  # none would change the types of the others
    both: pd.DataFrame = pd.concat(some, ignore_index=True)
    return both


def _typed_like(model: ModelFile, source: Source, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a CSV with the types that the new rows have in `frame`."""
    import pandas as pd

    old: pd.DataFrame = source.table.to_pandas()
    for name in frame.columns:
        column, is_number = model.schema[name], pd.api.types.is_numeric_dtype(frame[name].dtype)
        cells = source.table.column(name)
        if column.is_numeric:
            values = numbers(cells, column, source.dialect, source.name, source.row_numbers)
            typed = typed_column(column, Cells(None, (), (), np.nan_to_num(values)))
            old[name] = typed.to_pandas().where(~np.isnan(values), np.nan if is_number else None)
        elif is_number and not pd.api.types.is_bool_dtype(frame[name].dtype):  # a constant, or identifiers
            values = numbers(cells, dataclasses.replace(column, kind="float"), source.dialect, source.name,
                             source.row_numbers)  # fmt: skip
            is_whole = not np.isnan(values).any() and bool((values == np.rint(values)).all())
            old[name] = values.astype(np.int64) if is_whole and frame[name].dtype.kind == "i" else values
    return old


def check_mark(mark: str, schema: Schema) -> None:
    """Raises `UsageError` if a column of that name cannot be added."""
    if not mark:
        raise UsageError("the mark needs a name.")
    if mark in schema.names:
        raise UsageError(f"the table has a column {mark!r} already; choose another name for the mark.")
