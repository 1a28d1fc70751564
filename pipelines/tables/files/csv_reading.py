"""Reading CSV files as text, so that nothing is lost."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipelines.errors import AugmentError, library_message, listed
from pipelines.tables.files.csv_problems import NotTextError, endless, problem_of
from pipelines.tables.files.sampling import Sample
from pipelines.tables.files.source import Source, check_names
from pipelines.tables.texts.arrays import scalar
from pipelines.tables.texts.dialect import (
    BLOCK_BYTES,
    HEAD_BYTES,
    Dialect,
    ReadOptions,
    compression_of,
    decode_head,
    sniff,
)

__all__ = ["read_csv"]


def read_csv(
    path: pathlib.Path, where: str, name: str, sha256: str, start: bytes, options: ReadOptions, sample: Sample
) -> Source:
    """Reads a CSV file.

    Args:
        path: The file, which is not empty.
        where: What messages call it.
        name: What the model's file calls it.
        sha256: Of its bytes.
        start: The first four of them.
        options: How it is spelled, as far as it is not to be found out.
        sample: Takes the rows.

    Raises:
        AugmentError: As `read_source` does.
    """
    compression = compression_of(start)
    head = _head(path, where, compression)
    dialect = dataclasses.replace(sniff(head, options, where=where), compression=compression)
    try:
        return _read_as(path, where, name, sha256, head, dialect, options, sample)
    except NotTextError as error:
        # The beginning of the file was ASCII and what follows is not UTF-8: look at it again from there.
        found = dataclasses.replace(
            sniff(head[:-1] + error.line + b"\n", options, where=where), compression=compression
        )
        if options.encoding is not None or found.encoding == dialect.encoding:
            raise
        sample.restart()
        return _read_as(path, where, name, sha256, head, found, options, sample)


def _read_as(
    path: pathlib.Path,
    where: str,
    name: str,
    sha256: str,
    head: bytes,
    dialect: Dialect,
    options: ReadOptions,
    sample: Sample,
) -> Source:
    notes = []
    try:
        first = _first_record(head, dialect, where)
        if re.fullmatch("(?i)sep=.?", line := dialect.delimiter.join(first)):
            raise AugmentError(f"{where} begins with {line!r}, which tells Excel the delimiter. Delete that line.")
        names, unnamed = _names(first, dialect)
        check_names(names, where)
        blank = 0
        schema = pa.schema([(column, pa.string()) for column in names])
        for batch in _batches(path, dialect, len(names)):
            rows, dropped = _without_blank(pa.Table.from_batches([batch]).rename_columns(names))
            blank += dropped
            sample.add(_without_space(rows) if dialect.has_space else rows)
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error, OSError, EOFError) as error:
        raise problem_of(path, where, dialect, error) from error
    table, positions = sample.result(schema)
    if dialect.encoding != "utf-8" and not dialect.bom and options.encoding is None:
        notes.append(f"the file is not UTF-8 and was read as {dialect.encoding}; --encoding says otherwise.")
    if not dialect.has_header and options.header is None:
        notes.append("the first record is numbers like the others, so it was read as a row, not as the header.")
    if unnamed and dialect.has_header:
        notes.append(f"{_count(len(unnamed), 'column has', 'columns have')} no name: {listed(unnamed)} here.")
    if blank:
        notes.append(f"{_count(blank, 'row', 'rows')} without anything in them left out.")
    dialect = dataclasses.replace(dialect, unnamed=unnamed)
    first_row = 2 if dialect.has_header else 1
    return Source(table, name, path, sha256, dialect, sample.seen, first_row, False, positions, tuple(notes))


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _first_record(head: bytes, dialect: Dialect, where: str) -> list[str]:
    text = decode_head(head, dialect.encoding)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter)
    for row in reader:
        if row:
            if len(head) >= HEAD_BYTES and next(reader, None) is None:  # it may go on beyond the head
                raise AugmentError(endless(where, 1, HEAD_BYTES))
            return row
    if len(head) >= HEAD_BYTES:
        raise AugmentError(f"{where} begins with {HEAD_BYTES >> 20} MB of blank lines, so it is not read as a table.")
    raise AugmentError(f"{where} holds nothing but blank lines.")


def _names(first: Sequence[str], dialect: Dialect) -> tuple[list[str], tuple[str, ...]]:
    """The names of the columns, and those of them that are not in the header."""
    cells = list(first) if dialect.has_header else [""] * len(first)
    if dialect.has_space:
        cells[1:] = [cell.removeprefix(" ") for cell in cells[1:]]
    taken = set(cells)
    unnamed = []
    for i, cell in enumerate(cells):
        if not cell:
            name = f"column_{i + 1}"
            while name in taken:
                name += "_"
            taken.add(name)
            unnamed.append(name)
            cells[i] = name
    return cells, tuple(unnamed)


def _batches(path: pathlib.Path, dialect: Dialect, width: int) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV file as text, in batches."""
    with contextlib.closing(pa.input_stream(str(path), compression=dialect.compression)) as stream:
        reader = pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(
                encoding="utf8" if dialect.encoding == "utf-8" else dialect.encoding,
                autogenerate_column_names=True,  # the header is then checked like a row
                block_size=BLOCK_BYTES,
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types={f"f{i}": pa.string() for i in range(width)}),
        )
        is_header = dialect.has_header
        for batch in reader:
            if is_header and batch.num_rows:
                batch, is_header = batch.slice(1), False
            if batch.num_columns != width:
                raise pa.ArrowInvalid(f"{batch.num_columns} columns where the header has {width}")
            if batch.num_rows:
                yield batch


def _without_blank(rows: pa.Table) -> tuple[pa.Table, int]:
    """The rows that have something in them, and how many have not. A table of one column has no such rows."""
    if rows.num_columns < 2:
        return rows, 0
    is_blank = pc.equal(rows.column(0), scalar(""))
    for column in rows.columns[1:]:
        if not pc.any(is_blank).as_py():
            return rows, 0
        is_blank = pc.and_(is_blank, pc.equal(column, scalar("")))
    kept = rows.filter(pc.invert(is_blank))
    return kept, rows.num_rows - kept.num_rows


def _without_space(rows: pa.Table) -> pa.Table:
    """The rows without the blank that stands before each field but the first."""
    others = [pc.replace_substring_regex(column, r"\A ", "") for column in rows.columns[1:]]
    return pa.table([rows.column(0), *others], names=rows.column_names)


def _head(path: pathlib.Path, where: str, compression: str | None) -> bytes:
    """The first bytes of a file, decompressed."""
    try:
        with contextlib.closing(pa.input_stream(str(path), compression=compression)) as stream:
            head: bytes = stream.read(HEAD_BYTES)
    except (OSError, pa.ArrowException) as error:
        raise AugmentError(f"{where} cannot be decompressed: {library_message(error)}") from error
    if not head:
        raise AugmentError(f"{where} is empty.")
    return head
