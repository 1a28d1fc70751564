"""`augment generate`: new rows from a model file. Runs without TensorFlow and, to a file, without pandas."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from pipelines.engines import local
from pipelines.errors import AugmentError, UsageError, check_seed
from pipelines.model_file import ModelFile, find_model, read_model
from pipelines.tables.reading import is_parquet, read_source
from pipelines.tables.schema import Schema
from pipelines.tables.writing import (
    CsvWriter,
    ParquetWriter,
    TableWriter,
    copy_records,
    csv_field,
    open_output,
    refuse_existing,
    scalar,
    to_arrow,
    writer_for,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["generate", "new_seed"]


def new_seed() -> int:
    """Returns a fresh seed, short enough to be typed again."""
    return secrets.randbelow(1 << 32)


def generate(
    model: str | os.PathLike[str] | None = None,
    n: int = 1000,
    *,
    output: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    chunk_size: int = 65_536,
    append: str | os.PathLike[str] | pd.DataFrame | None = None,
    mark: str | None = None,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> pd.DataFrame | None:
    """Draws new rows from a model.

    Args:
        model: A model file. Default: the only one in the current folder.
        n: Number of new rows, exactly.
        output: A CSV or Parquet file by its suffix, "-" for CSV on standard output, or None for a
            DataFrame.
        seed: Integer seed. The same seed gives the same rows, whatever `chunk_size`. Default: a fresh one.
        chunk_size: Rows made and written at a time; bounds the memory.
        append: A file or DataFrame whose rows come first, as they are there.
        mark: Name of a last column that is 0 in the rows of `append` and 1 in the new ones.
        force: Replace an existing output.
        on_progress: Called with the number of new rows as they are written.

    Returns:
        The rows as a DataFrame if there is no `output`, else None.

    Raises:
        AugmentError: If the model, the source or the output cannot be used; the message says why.
    """
    if n < 1:
        raise UsageError(f"n must be at least 1, got {n}.")
    if chunk_size < 1:
        raise UsageError(f"chunk_size must be at least 1, got {chunk_size}.")
    if mark is not None and append is None:
        raise UsageError("mark says which rows are new among those of append, which is missing.")
    seed = new_seed() if seed is None else seed
    check_seed(seed)
    opened = read_model(find_model(model))
    if mark is not None:
        _check_mark(mark, opened.schema)
    rows = _rows(opened, n, seed, chunk_size)
    if output is None:
        tables = list(rows) if append is None else [_typed_source(append, opened.schema), *rows]
        frame: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
        if mark is not None:
            frame[mark] = np.r_[np.zeros(len(frame) - n, np.int64), np.ones(n, np.int64)]
        return frame
    if str(output) != "-":
        refuse_existing(output, force)
    with open_output(output) as file:
        if append is None:
            writer: TableWriter = writer_for(output, file, opened.schema)
        elif is_parquet(output):
            writer = _append_parquet(file, append, opened.schema, mark)
        else:
            writer = _append_csv(file, append, opened.schema, mark)
        for chunk in rows:
            writer.write(chunk if mark is None or not is_parquet(output) else _marked(chunk, mark, 1))
            if on_progress is not None:
                on_progress(chunk.num_rows)
        writer.close()
    return None


def _rows(model: ModelFile, n: int, seed: int, chunk_size: int) -> Iterator[pa.Table]:
    """Yields `n` new rows in tables of `chunk_size`; the rows do not depend on it."""
    pending: list[np.ndarray] = []
    count = 0
    for block in local.blocks(model, n, seed):
        pending.append(block)
        count += len(block)
        if count >= chunk_size:
            values = np.concatenate(pending)
            whole = count - count % chunk_size
            for start in range(0, whole, chunk_size):
                yield to_arrow(model.schema, values[start : start + chunk_size])
            pending, count = [values[whole:]], count - whole
    if count:
        yield to_arrow(model.schema, np.concatenate(pending))


def _typed_source(path: str | os.PathLike[str] | pd.DataFrame, schema: Schema) -> pa.Table:
    """The rows of a table with the types that new rows have."""
    source = read_source(path)
    _check_columns(source.table.column_names, schema, source.name)
    types = to_arrow(schema, np.empty((0, len(schema.modelled)))).schema
    try:
        trimmed = [pc.utf8_trim_whitespace(c) if pa.types.is_string(c.type) else c for c in source.table.columns]
        return pa.table(trimmed, names=schema.names).cast(types)
    except pa.ArrowInvalid as error:
        raise AugmentError(f"{source.name} does not fit the model: {error}. Nothing was written.") from error


def _append_parquet(
    file: IO[bytes], path: str | os.PathLike[str] | pd.DataFrame, schema: Schema, mark: str | None
) -> TableWriter:
    source = _typed_source(path, schema)
    if mark is not None:
        source = _marked(source, mark, 0)
    writer = ParquetWriter(file, source.schema)
    writer.write(source)
    return writer


def _append_csv(
    file: IO[bytes], path: str | os.PathLike[str] | pd.DataFrame, schema: Schema, mark: str | None
) -> TableWriter:
    """Copies the source's records to `file` and returns a writer that goes on in the same spelling."""
    source = read_source(path)
    _check_columns(source.table.column_names, schema, source.name)
    if source.path is None or is_parquet(source.path):
        writer = CsvWriter(file, schema, mark=None if mark is None else "0")
        names = [*schema.names, *([] if mark is None else [mark])]
        file.write((",".join(map(csv_field, names)) + "\n").encode())
        writer.write(_typed_source(path, schema))
        return CsvWriter(file, schema, mark=None if mark is None else "1")
    header = None if mark is None else csv_field(mark)
    end = copy_records(file, source, header, repeat("0"))
    return CsvWriter(file, schema, end_of_line=end, mark=None if mark is None else "1")


def _marked(rows: pa.Table, mark: str, value: int) -> pa.Table:
    return rows.append_column(mark, pa.repeat(scalar(value), rows.num_rows))


def _check_columns(names: list[str], schema: Schema, where: str) -> None:
    if names != schema.names:
        raise AugmentError(
            f"{where} has the columns {', '.join(names)}; the model makes {', '.join(schema.names)}. Rows can only be "
            "appended to a table of the same columns in the same order; what --drop left out is left out there too."
        )


def _check_mark(mark: str, schema: Schema) -> None:
    if not mark:
        raise UsageError("the mark needs a name.")
    if mark in schema.names:
        raise UsageError(f"the table has a column {mark!r} already; choose another name for the mark.")
