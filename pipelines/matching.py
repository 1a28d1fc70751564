"""A table read for a model: with what the model knows of how such tables are spelled, and checked for its columns."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from pipelines.errors import AugmentError, listed
from pipelines.storage.model_file import ModelFile
from pipelines.tables.files.reading import read_source
from pipelines.tables.files.source import Source
from pipelines.tables.files.writing import output_dialect
from pipelines.tables.texts import parsing
from pipelines.tables.texts.dialect import Dialect, ReadOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_columns", "options_for", "part_of", "read_for", "sample_of", "typed_frame"]


def read_for(
    model: ModelFile,
    data: str | os.PathLike[str] | pd.DataFrame,
    reading: ReadOptions = ReadOptions(),
    *,
    name: str | None = None,
    may_be_empty: bool = False,
) -> Source:
    """Reads a table that a model is to be used on, as `fit` was told to read the model's own.

    What counts as missing in all of the model's columns does so here. What does in one of them only, `Column.missing`,
    is seen to where that column is parsed: in others it may be a value. The decimal mark is the model's, unless the
    table's numbers have the other one.

    Args:
        model: The model.
        data: A CSV or Parquet file, "-" for standard input, or a DataFrame.
        reading: What is said of this table; it comes first.
        name: As for `read_source`.
        may_be_empty: As for `read_source`.

    Raises:
        AugmentError: If it cannot be read (see `read_source`).
    """
    options = options_for(model, data, reading)
    source = read_source(data, options, name=name, may_be_empty=may_be_empty)
    return source if source.is_typed or options.decimal is not None else _with_decimal(model, source)


def _with_decimal(model: ModelFile, source: Source) -> Source:
    """A file of the model's columns with its decimal mark, unless numbers of the file have the one that was found."""
    found, usual = source.dialect, model.dialect
    has_other_delimiter = found.delimiter == "," and usual.delimiter != ","
    has_columns = {column.name for column in model.schema.modelled} <= set(source.table.column_names)
    if found.decimal == usual.decimal or has_other_delimiter or not has_columns:
        return source
    for column in model.schema.of_kind("float", "integer"):
        # Three digits may be thousands in a column that has marks between them.
        digits = r"(\d\d?|\d{4,})" if re.search(r"\{[^:}]", column.format or "") else r"\d+"
        pattern = rf"{re.escape(found.decimal)}{digits}(\D|\z)"
        if pc.any(pc.match_substring_regex(source.table.column(column.name), pattern)).as_py():
            return source
    return dataclasses.replace(source, dialect=dataclasses.replace(found, decimal=usual.decimal))


def options_for(
    model: ModelFile, data: str | os.PathLike[str] | pd.DataFrame, reading: ReadOptions = ReadOptions()
) -> ReadOptions:
    """Returns how `read_for`, whose arguments these are, reads a table."""
    told = dataclasses.replace(model.reading, null_values=model.dialect.null_values, default_nulls=False)
    if told.delimiter is not None and isinstance(data, str | os.PathLike):
        # New rows have another delimiter in a file whose suffix says so; it is found out then.
        delimiter = output_dialect(data, Dialect(delimiter=told.delimiter)).delimiter
        told = dataclasses.replace(told, delimiter=told.delimiter if delimiter == told.delimiter else None)
    return reading.over(told)


def check_columns(model: ModelFile, source: Source) -> None:
    """Raises `AugmentError` if a column of the model is missing."""
    needed = [c.name for c in model.schema.columns if c.is_modelled or c.kind == "constant"]
    missing = [name for name in needed if name not in source.table.column_names]
    if missing:
        raise AugmentError(f"{source.name} has no column {missing[0]!r}; the model needs {listed(needed)}.")


def part_of(source: Source, start: int, rows: int) -> Source:
    """Returns some of the rows of a source, numbered as they were."""
    table = source.table.slice(start, rows)
    if source.rows is not None:
        return dataclasses.replace(source, table=table, rows=source.rows[start : start + rows])
    return dataclasses.replace(source, table=table, first_row=source.first_row + start)


def sample_of(source: Source, rows: int, seed: int) -> Source:
    """Returns a uniform sample of so many rows of a source, numbered as they were, or all if there are no more."""
    if source.table.num_rows <= rows:
        return source
    return source.only(np.sort(np.random.default_rng(seed).permutation(source.table.num_rows)[:rows]))


def typed_frame(model: ModelFile, source: Source) -> pd.DataFrame:
    """Returns the rows of a file with numbers in the columns that the model knows as numbers."""
    import pandas as pd

    frame: pd.DataFrame = source.table.to_pandas()
    if source.is_typed:
        return frame
    columns = {name: frame[name] for name in frame}  # put together once: a frame of many columns is slow to change
    for column in model.schema.of_kind("float", "integer"):
        cells = source.table.column(column.name)
        values = parsing.numbers(cells, column, source.dialect, source.name, source.row_numbers)
        is_whole = column.kind == "integer" and bool((values == np.rint(values)).all())
        columns[column.name] = pd.Series(values.astype(np.int64) if is_whole else values)
    return pd.DataFrame(columns)
