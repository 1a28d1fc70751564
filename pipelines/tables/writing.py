"""Writing tables: CSV in the source's own spelling and Parquet, whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import pathlib
import secrets
import shlex
import sys
from collections.abc import Iterator
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from pipelines.errors import AugmentError, UsageError
from pipelines.tables.reading import Source, is_parquet, records
from pipelines.tables.schema import Column, Schema

__all__ = [
    "CsvWriter",
    "ParquetWriter",
    "TableWriter",
    "copy_records",
    "csv_field",
    "open_output",
    "refuse_existing",
    "scalar",
    "to_arrow",
]

# Fixed, so that the bytes of a Parquet file do not depend on how many rows are made at a time.
_ROWS_PER_GROUP = 1 << 17


def refuse_existing(path: str | os.PathLike[str], force: bool) -> None:
    """Raises `UsageError` if `path` exists and `force` is not set, or if its folder does not exist.

    Done before any work, so that an hour's work is not lost to a file in the way.
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder.")
    if path.is_file() and not force:
        program = pathlib.Path(sys.argv[0]).name
        command = shlex.join([program, *sys.argv[1:], "--force"]) if program == "augment" else "force=True"
        raise UsageError(f"{path} exists. To replace it: {command}")
    if not path.exists() or path.is_file():
        trial = _temporary(path)
        try:
            trial.touch(exist_ok=False)
            trial.unlink()
        except OSError as error:
            raise AugmentError(f"{path} cannot be written: {error.strerror}.") from error


@contextlib.contextmanager
def open_output(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Opens a file that appears under its name whole, when the block ends without an error. `-` is standard output.

    Raises:
        AugmentError: If it cannot be written, as on a full disk; nothing is left behind.
    """
    path = pathlib.Path(path)
    try:
        if str(path) == "-":
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        if path.exists() and not path.is_file():  # a pipe or a device is written to, not replaced
            with path.open("wb") as file:
                yield file
            return
        target = path.resolve()  # what a link points to is replaced, not the link
        temporary = _temporary(target)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        if str(path) == "-":  # what is still in Python's buffer cannot be written at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        name = "standard output" if str(path) == "-" else path
        raise AugmentError(f"{name} cannot be written: {error.strerror or error}.") from error


def _temporary(path: pathlib.Path) -> pathlib.Path:
    """A name beside `path` that is not taken. Not `tempfile`, which makes files only their owner may read."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


class TableWriter(Protocol):
    """What writes rows to an open file."""

    def write(self, rows: pa.Table) -> None:
        """Writes rows with the columns of the schema, as `to_arrow` makes them."""

    def close(self) -> None:
        """Writes what is pending."""


class CsvWriter:
    """Writes rows as CSV, spelled as the schema says.

    Args:
        file: An open binary file.
        schema: The columns.
        end_of_line: As in the source.
        mark: A further cell at the end of each row, or None.
    """

    def __init__(self, file: IO[bytes], schema: Schema, *, end_of_line: str = "\n", mark: str | None = None) -> None:
        self._file, self._schema, self._end, self._mark = file, schema, end_of_line, mark

    def write_header(self) -> None:
        """Writes the names of the columns."""
        self._file.write((",".join(map(csv_field, self._schema.names)) + self._end).encode())

    def write(self, rows: pa.Table) -> None:
        """Writes rows."""
        if not rows.num_rows:
            return
        rows = rows.combine_chunks()
        cells = [_spell(column, rows.column(column.name).chunk(0)) for column in self._schema.columns]
        if self._mark is not None:
            cells.append(scalar(self._mark))
        lines = pc.binary_join_element_wise(*cells, scalar(","))
        lines = pc.binary_join_element_wise(lines, scalar(self._end), scalar(""))
        self._file.write(lines.buffers()[2])  # the text of all rows, one after another, is the file's

    def close(self) -> None:
        """Nothing is pending."""


class ParquetWriter:
    """Writes rows as Parquet in row groups of a fixed size.

    Args:
        file: An open binary file.
        schema: The Arrow schema of the rows.
    """

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._writer = pyarrow.parquet.ParquetWriter(file, schema)
        self._pending = pa.Table.from_batches([], schema)  # `empty_table` would import pandas

    def write(self, rows: pa.Table) -> None:
        """Writes rows."""
        self._pending = pa.concat_tables([self._pending, rows.cast(self._pending.schema)])
        while self._pending.num_rows >= _ROWS_PER_GROUP:
            self._writer.write_table(self._pending.slice(0, _ROWS_PER_GROUP).combine_chunks())
            self._pending = self._pending.slice(_ROWS_PER_GROUP)

    def close(self) -> None:
        """Writes what is pending and the footer."""
        if self._pending.num_rows:
            self._writer.write_table(self._pending.combine_chunks())
        self._writer.close()


def to_arrow(schema: Schema, values: np.ndarray) -> pa.Table:
    """Returns rows with the schema's columns, rounded to their lattices.

    Args:
        schema: The columns.
        values: Values of the modelled columns, `[n, D]`, float64, in data units.
    """
    modelled = iter(values.T)
    arrays = []
    for column in schema.columns:
        if column.kind == "constant":
            arrays.append(_constant(column, len(values)))
        elif column.kind == "integer":
            arrays.append(_from_numpy(np.rint(next(modelled)).astype(np.int64)))
        else:
            numbers = next(modelled)
            arrays.append(_from_numpy(numbers if column.decimals is None else np.round(numbers, column.decimals)))
    return pa.table(arrays, names=schema.names)


def writer_for(path: str | os.PathLike[str], file: IO[bytes], schema: Schema) -> TableWriter:
    """Returns the writer the suffix of `path` asks for; the header of a CSV is written."""
    if is_parquet(path):
        return ParquetWriter(file, to_arrow(schema, np.empty((0, len(schema.modelled)))).schema)
    writer = CsvWriter(file, schema)
    writer.write_header()
    return writer


def copy_records(file: IO[bytes], source: Source, header: str | None, cells: Iterator[str]) -> str:
    """Copies the records of a CSV file as they are, with a further cell each if there is a `header` for it.

    Args:
        file: Where to.
        source: A table read from a CSV file.
        header: The further cell of the header, or None for no further cells.
        cells: The further cells of the rows.

    Returns:
        The file's end of line.

    Raises:
        AugmentError: If the file has other records than rows were read, before anything is written.
    """
    if source.path is None:
        raise ValueError(f"{source.name} is no file.")
    found = sum(1 for _ in records(source.path)) - 1
    if found != source.table.num_rows:
        raise AugmentError(
            f"{source.name}: its quotes can be read in two ways ({found} or {source.table.num_rows} rows). Quote "
            "fields that hold quotes, and double the quotes in them."
        )
    end = b""
    for record in records(source.path):
        bare = record.rstrip(b"\r\n")
        cell = b"" if header is None else b"," + (next(cells) if end else header).encode()
        end = end or record[len(bare) :]
        file.write(bare + cell + (record[len(bare) :] or end))
    return end.decode()


def csv_field(text: str) -> str:
    """Returns `text` as a CSV field, quoted if it must be."""
    line = io.StringIO()
    csv.writer(line).writerow([text, ""])  # alone, an empty text would be quoted
    return line.getvalue().removesuffix(",\r\n")


def _from_numpy(values: np.ndarray) -> pa.Array:
    """Returns float64 or int64 values as an Arrow array; `pa.array` would import pandas, half a second's work."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def scalar(value: Any) -> pa.Scalar:
    """Returns a text or a number as an Arrow scalar; `pa.scalar` would import pandas too."""
    if not isinstance(value, str):
        return _from_numpy(np.array([value]))[0]
    data = value.encode()
    return pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data))[0]


def _constant(column: Column, rows: int) -> pa.Array:
    """A constant column as numbers where it is one, so that Parquet and pandas readers get numbers."""
    text = column.value or ""
    for parse in (int, float):
        with contextlib.suppress(ValueError):
            return pa.repeat(scalar(parse(text)), rows)
    return pa.repeat(scalar(text), rows)


def _spell(column: Column, values: pa.Array) -> pa.Array | pa.Scalar:
    """The cells of a column as text."""
    if column.kind == "constant":
        return scalar(csv_field(column.value or ""))
    if not column.decimals:
        text = pc.cast(values, pa.string())
        return text if column.decimals is None else pc.replace_substring_regex(text, r"^-0$", "0")
    # Decimals by hand: a float's own text drops trailing zeros and turns to exponents.
    lattice = pc.cast(pc.round(pc.multiply(values, scalar(10.0**column.decimals))), pa.int64())
    digits = pc.utf8_lpad(pc.abs(lattice).cast(pa.string()), column.decimals + 1, "0")
    text = pc.binary_replace_slice(digits, -column.decimals, -column.decimals, ".")
    if column.min_decimals < column.decimals:
        text = pc.replace_substring_regex(text, rf"(\.\d{{{column.min_decimals}}}\d*?)0*$", r"\1")
        text = pc.utf8_rtrim(text, ".")
    sign = pc.if_else(pc.less(lattice, scalar(0)), scalar("-"), scalar(""))
    return pc.binary_join_element_wise(sign, text, scalar(""))
