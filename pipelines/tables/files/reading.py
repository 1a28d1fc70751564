"""Reading tables: CSV as text, Parquet and DataFrames with their types."""

from __future__ import annotations

import codecs
import dataclasses
import hashlib
import os
import pathlib
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from pipelines.errors import AugmentError, UsageError, library_message
from pipelines.tables.files.csv_reading import read_csv
from pipelines.tables.files.pandas_types import known_to_arrow
from pipelines.tables.files.sampling import ROWS_PER_BATCH, Sample
from pipelines.tables.files.source import Source, check_names
from pipelines.tables.texts.dialect import Dialect, ReadOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["is_parquet", "read_source"]

_STDIN = "standard input"
_JSON = (".json", ".jsonl", ".ndjson")
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix of a file's name says Parquet; anything else is CSV."""
    return pathlib.Path(path).suffix.lower() in (".parquet", ".pq")


def read_source(
    data: str | os.PathLike[str] | pd.DataFrame,
    options: ReadOptions = ReadOptions(),
    *,
    max_rows: int | None = None,
    seed: int = 0,
    sample: Sample | None = None,
    name: str | None = None,
    may_be_empty: bool = False,
) -> Source:
    """Reads a CSV or Parquet file, or standard input (`-`), or takes a DataFrame.

    A row of a CSV whose fields are all empty is left out. A column without a name is called after its place, as
    `column_3`; `Dialect.unnamed` remembers it.

    Args:
        data: What to read. A CSV may be compressed with gzip, zstd or bzip2.
        options: How it is spelled, as far as it is not to be found out.
        max_rows: Of more rows, a uniform sample of this many is kept, in their order. Memory then depends on it and
            not on the length of the file.
        seed: The seed of the sample.
        sample: A sample without rows to fill, instead of `max_rows` and `seed`; who hands it over says in words what
            became of the rows.
        name: What messages call a file. Default: its path.
        may_be_empty: Whether a table without rows is one.

    Raises:
        UsageError: If there is no such file, or it is a model.
        AugmentError: If it is empty, has no rows, twice the same column, ragged rows or bytes that are no text.
    """
    is_told = sample is None
    sample = sample or Sample(max_rows, seed)
    if not isinstance(data, str | os.PathLike):
        source = _take_frame(data, options, sample)
    elif str(data) == "-":
        copy = tempfile.NamedTemporaryFile(prefix="augment-")  # noqa: SIM115 (it goes with the source)
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        source = dataclasses.replace(_read_file(pathlib.Path(copy.name), _STDIN, _STDIN, options, sample), copy=copy)
    else:
        path = pathlib.Path(data)
        source = _read_file(path, name or str(path), path.name, options, sample)
    if not source.num_rows and not may_be_empty:
        raise AugmentError(f"{source.name} has {'columns' if source.is_typed else 'a header'} but no rows.")
    if is_told and source.num_rows > source.table.num_rows:
        sampled = f"{source.table.num_rows:,} of the {source.num_rows:,} rows are used, a uniform sample."
        source = dataclasses.replace(source, notes=(*source.notes, sampled))
    return source


def _take_frame(data: pd.DataFrame, options: ReadOptions, sample: Sample) -> Source:
    check_names(list(data.columns), "the DataFrame")
    try:
        table = pa.Table.from_pandas(known_to_arrow(data), preserve_index=False)
    except pa.ArrowException as error:
        raise AugmentError(f"the DataFrame cannot be read as a table: {library_message(error)}") from error
    check_names(table.column_names, "the DataFrame")
    sample.add(table)
    rows, positions = sample.result(table.schema)
    dialect = Dialect(null_values=options.all_null_values)
    return Source(rows, "the DataFrame", None, None, dialect, table.num_rows, 0, True, positions)


def _read_file(path: pathlib.Path, where: str, name: str, options: ReadOptions, sample: Sample) -> Source:
    """Reads a file that messages call `where`."""
    start = _check_file(path, where)
    parquet = start == b"PAR1" if where == _STDIN else is_parquet(path)
    if start == b"PAR1" and not parquet:
        raise UsageError(f"{where} is a Parquet file without its suffix. Rename it: mv {where} {where}.parquet")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if parquet:
        table, positions = _read_parquet(path, where, sample)
        dialect = Dialect(null_values=options.all_null_values)
        return Source(table, name, path, sha256, dialect, sample.seen, 1, True, positions)
    return read_csv(path, where, name, sha256, start, options, sample)


def _check_file(path: pathlib.Path, where: str) -> bytes:
    """Returns the first four bytes of a file that may be a table."""
    if not path.exists():
        raise UsageError(f"{where}: no such file.")
    if path.is_dir():
        raise UsageError(f"{where} is a folder, not a file.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise AugmentError(f"{where} cannot be read: {error.strerror}.") from error
    if not start:
        raise AugmentError(f"{where} is empty.")
    is_packed = start in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
    if is_packed and path.suffix.lower() in SPREADSHEETS:
        raise UsageError(f"{where} is a spreadsheet. Save its sheet as CSV.")
    if path.suffix.lower() in _JSON and start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"[", b"{"):
        raise UsageError(f"{where} is JSON. Save its rows as CSV or Parquet, as by pandas.read_json and to_csv.")
    if start == b"PK\x03\x04":
        raise UsageError(f"{where} is a zip file or a model, not a table. To use a model: augment generate -m {where}")
    return start


def _read_parquet(path: pathlib.Path, where: str, sample: Sample) -> tuple[pa.Table, np.ndarray | None]:
    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
        check_names(schema.names, where)
        for batch in file.iter_batches(ROWS_PER_BATCH):
            batch.validate(full=True)  # what a damaged file says of text and dictionaries need not be so
            sample.add(pa.Table.from_batches([batch], schema))
        return sample.result(schema)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # as UnicodeDecodeError, of a name
        raise AugmentError(f"{where} is not a readable Parquet file: {library_message(error)}") from error
