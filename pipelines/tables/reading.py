"""Reading tables: CSV as text, so that nothing is lost, Parquet and DataFrames with their types."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import hashlib
import mmap
import os
import pathlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipelines.errors import AugmentError, UsageError

if TYPE_CHECKING:
    import pandas as pd

_FIELD = rb'(?:"[^"]*(?:""[^"]*)*(?:"[^,\r\n]*|\Z)|[^",\r\n][^,\r\n]*)?'
_RECORD = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*(?:\r\n|\n|\r|\Z)")

__all__ = ["Source", "is_parquet", "read_source", "records"]


@dataclasses.dataclass(frozen=True)
class Source:
    """A table and where it came from.

    Attributes:
        table: The rows; the columns of a CSV are text.
        name: A name for messages and for the model's file.
        path: The file, or None for a DataFrame.
        sha256: Of the file's bytes, or None.
    """

    table: pa.Table
    name: str
    path: pathlib.Path | None
    sha256: str | None

    @property
    def first_row(self) -> int:
        """The number messages give to the first row: its line in a CSV file, 1 in Parquet, 0 in a DataFrame."""
        if self.path is None:
            return 0
        return 1 if is_parquet(self.path) else 2


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix of a file's name says Parquet; anything else is CSV."""
    return pathlib.Path(path).suffix.lower() in (".parquet", ".pq")


def read_source(data: str | os.PathLike[str] | pd.DataFrame) -> Source:
    """Reads a CSV or Parquet file, or takes a DataFrame.

    Raises:
        UsageError: If there is no such file, or it is a model.
        AugmentError: If it is empty, has no rows, twice the same column, ragged rows or bytes that are
            not UTF-8.
    """
    if not isinstance(data, str | os.PathLike):
        _check_names(list(data.columns), "the DataFrame")
        try:
            table = pa.Table.from_pandas(data, preserve_index=False)
        except pa.ArrowException as error:
            raise AugmentError(f"the DataFrame cannot be read as a table: {_one_line(error)}") from error
        source = Source(table, "the DataFrame", None, None)
    else:
        path = pathlib.Path(data)
        _check_file(path)
        table = _read_parquet(path) if is_parquet(path) else _read_csv(path)
        with path.open("rb") as file:
            source = Source(table, path.name, path, hashlib.file_digest(file, "sha256").hexdigest())
    _check_names(source.table.column_names, source.name)
    if not source.table.num_rows:
        raise AugmentError(f"{source.name} has a header but no rows.")
    return source


def records(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yields the records of a CSV file as they are in the file, line end included, the header first.

    Blank lines are left out, as in reading. A quote opens a quoted field only where a field starts.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in _RECORD.finditer(content):
            record = match.group()
            if record.strip(b"\r\n"):
                yield record


def _check_file(path: pathlib.Path) -> None:
    if not path.exists():
        raise UsageError(f"{path}: no such file.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a file.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise AugmentError(f"{path} cannot be read: {error.strerror}.") from error
    if not start:
        raise AugmentError(f"{path} is empty.")
    if start == b"PK\x03\x04":
        raise UsageError(f"{path} is a zip file or a model, not a table. To use a model: augment generate -m {path}")


def _read_parquet(path: pathlib.Path) -> pa.Table:
    try:
        return pyarrow.parquet.read_table(path)
    except pa.ArrowException as error:
        raise AugmentError(f"{path} is not a readable Parquet file: {_one_line(error)}") from error


def _read_csv(path: pathlib.Path) -> pa.Table:
    try:
        names = _header(path)
        _check_names(names, str(path))
        if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
            raise AugmentError(
                f"{path}: the header {names[0]!r} has no comma. Only comma-separated files are read yet."
            )
        return pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        raise AugmentError(_explain(path, error)) from error


def _header(path: pathlib.Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.reader(file):
            if row:
                return row
    raise AugmentError(f"{path} holds nothing but blank lines.")


def _check_names(names: list[Any], where: str) -> None:
    names = [str(name) for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AugmentError(
            f"{where}: column name {twice[0]!r} occurs {names.count(twice[0])} times; rename all but one."
        )


def _explain(path: pathlib.Path, error: Exception) -> str:
    """Finds the line that reading stumbled over: a second, slow pass, made only for the message."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as binary:
        for number, raw in enumerate(binary, start=1):
            try:
                decoder.decode(raw)
            except UnicodeDecodeError as undecodable:
                return _not_utf8(path, number, undecodable)
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as undecodable:
            return _not_utf8(path, number, undecodable)
    with path.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        width = None
        try:
            for row in reader:
                if row and width is None:
                    width = len(row)
                elif row and len(row) != width:
                    return f"{path}: line {reader.line_num} has {len(row)} fields, the header has {width}."
        except csv.Error as problem:
            return f"{path}: line {reader.line_num}: {problem}."
        if reader.line_num <= 1 or width is None:
            return f"{path.name} has a header but no rows."
    return f"{path} cannot be read as CSV: {_one_line(error)}"


def _not_utf8(path: pathlib.Path, line: int, error: UnicodeDecodeError) -> str:
    return (
        f"{path}: line {line} is not UTF-8 (byte 0x{error.object[error.start]:02x}). Convert the file first, for "
        f"example: iconv -f latin1 -t utf-8 {path} > utf8.csv"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
