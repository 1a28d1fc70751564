"""Columns that go from one table to another as they are, whatever a model knows of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError
from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.files.outputs import open_output
from pipelines.tables.files.source import Source
from pipelines.tables.files.typed import as_frame, to_table
from pipelines.tables.files.writing import writer_for
from pipelines.tables.schema import Column, Schema
from pipelines.tables.texts import parsing
from pipelines.tables.texts.dialect import Dialect
from pipelines.tables.texts.spelling import spell

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["passed_cells", "passed_column", "spelled_levels", "write_cells"]


def passed_column(source: Source, name: str, known: Column | None = None) -> Column:
    """Returns what a column is whose cells are texts to be written as they are, with the type it has in `source`."""
    arrow_type = str(source.table.schema.field(name).type) if source.is_typed else None
    return Column(name, "categorical", missing=known.missing if known else (), arrow_type=arrow_type)


def passed_cells(source: Source, column: Column) -> Cells:
    """Returns the cells of a column of `source` as they are there.

    Raises:
        AugmentError: If they cannot be spelled as text.
    """
    cells = parsing.plain(source.table.column(column.name))
    try:
        text = cells if pa.types.is_string(cells.type) else pc.cast(cells, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise AugmentError(f"{source.name}: column {column.name!r} cannot be copied: {error}") from error
    found = text.combine_chunks().dictionary_encode()
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks() if found.num_chunks else pa.array([], pa.string()).dictionary_encode()
    levels = found.dictionary
    missing = parsing.is_null_value(parsing.bare_text(levels), source.dialect, column.missing).to_pylist()
    codes = pc.fill_null(found.indices, len(levels)).to_numpy(zero_copy_only=False).astype(np.int32)
    return Cells(codes, (*levels.to_pylist(), ""), (*missing, True), None)


def spelled_levels(column: Column, encoding: ColumnEncoding, decimal: str) -> tuple[str | None, ...]:
    """Returns the texts of a column's classes with another decimal mark than the model's, None for "a number"."""
    if not column.is_numeric or not encoding.levels:
        return encoding.levels
    values = np.array(encoding.values)
    texts = spell(column, np.where(np.isnan(values), 0.0, values), decimal).to_pylist()
    return tuple(
        level if level is None or is_missing else text
        for level, is_missing, text in zip(encoding.levels, encoding.is_missing, texts, strict=True)
    )


def write_cells(
    output: str | os.PathLike[str] | None,
    columns: Sequence[tuple[Column, Cells | None]],
    rows: int,
    dialect: Dialect,
    seed: int,
) -> pd.DataFrame | None:
    """Writes columns to a CSV or Parquet file by its suffix, to standard output (`-`), or returns a DataFrame.

    Args:
        output: Where to, or None for a DataFrame.
        columns: The columns in order with their cells, or None where they are made as in new rows.
        rows: The number of rows.
        dialect: How a CSV is spelled.
        seed: Of identifiers that are made anew.
    """
    schema = Schema(tuple(column for column, _ in columns))
    cells = {column.name: part for column, part in columns if part is not None}
    if output is None:
        return as_frame(to_table(schema, cells, 0, rows, seed=seed, decimal=dialect.decimal), schema)
    with open_output(output) as file:
        writer = writer_for(output, file, schema, dialect, seed=seed)
        writer.write(cells, 0, rows)
        writer.close()
    return None
