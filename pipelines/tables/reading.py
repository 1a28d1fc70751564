"""Reading tables: CSV as text, so that nothing is lost, Parquet and DataFrames with their types."""

from __future__ import annotations

import codecs
import collections
import contextlib
import csv
import dataclasses
import functools
import hashlib
import io
import mmap
import os
import pathlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipelines.errors import AugmentError, UsageError, listed
from pipelines.tables.arrays import scalar
from pipelines.tables.dialect import HEAD_BYTES, Dialect, ReadOptions, compression_of, decode_head, sniff
from pipelines.tables.sampling import ROWS_PER_BATCH, Places, Sample

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Source", "check_records", "is_parquet", "is_recoded", "read_source", "records"]

_BLOCK_BYTES = 1 << 22
_STDIN = "standard input"
_JSON = (".json", ".jsonl", ".ndjson")
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")
# A delimiter or a quote may be the second half of a character in these; records are then taken from decoded text.
_UNSAFE = ("utf-16", "utf-32", "cp932", "shift", "big5", "gb", "cp949", "johab")


@dataclasses.dataclass(frozen=True)
class Source:
    """A table and where it came from.

    Attributes:
        table: The rows; the columns of a CSV are text.
        name: A name for messages and for the model's file.
        path: The file, a passing copy of it for standard input, or None for a DataFrame.
        sha256: Of the file's bytes, or None for a DataFrame.
        dialect: How it is spelled as CSV.
        num_rows: The number of rows there are in the file, blank ones not counted; more than in `table` if that is a
            sample.
        first_row: The number messages give to the first row: its line in a CSV file, 1 in Parquet, 0 in a DataFrame.
        is_typed: Whether the columns have types of their own, as in Parquet and DataFrames.
        rows: `[n]`, int64, where each row of `table` stands among the rows of the file, or None if all are there.
        notes: What a person should know about the way it was read, a sentence each.
        places: What messages call the rows instead, where they are of several files.
        copy: Keeps the passing copy of standard input for as long as it is in use.
    """

    table: pa.Table
    name: str
    path: pathlib.Path | None
    sha256: str | None
    dialect: Dialect
    num_rows: int
    first_row: int
    is_typed: bool = False
    rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    places: Places | None = None
    copy: Any = dataclasses.field(default=None, repr=False)

    @property
    def row_numbers(self) -> int | np.ndarray | Places:
        """The numbers messages give to the rows: of the first if they follow each other, or of each."""
        if self.places is not None:
            return self.places
        return self.first_row if self.rows is None else self.rows + self.first_row


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


def records(path: str | os.PathLike[str], dialect: Dialect = Dialect()) -> Iterator[bytes]:
    """Yields the records of a CSV file as they are in the file, line end included, the header first.

    Records without anything in them are left out, as in reading. A quote opens a quoted field only where a field
    starts. A file that is compressed is decompressed, and one that is not ASCII and more is recoded as UTF-8, the byte
    order mark included: its records are then UTF-8.

    Args:
        path: The file.
        dialect: As `Source.dialect` says.

    Raises:
        AugmentError: If the file cannot be decoded.
    """
    record, blank = _record_patterns(dialect.delimiter)
    with _records_file(pathlib.Path(path), dialect) as file:
        if not os.fstat(file.fileno()).st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for number, match in enumerate(record.finditer(content)):
                found = match.group()
                if found.strip(b"\r\n") and (number == 0 or not blank.fullmatch(found)):
                    yield found


def check_records(source: Source) -> None:
    """Raises `AugmentError` if `records` finds other rows in the file than were read."""
    assert source.path is not None
    found = sum(1 for _ in records(source.path, source.dialect)) - source.dialect.has_header
    if found != source.num_rows:
        raise AugmentError(
            f"{source.name}: its quotes can be read in two ways ({found} or {source.num_rows} rows). Quote "
            "fields that hold quotes, and double the quotes in them."
        )


@functools.cache
def _record_patterns(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """What a record looks like, and one of two and more fields that are all empty."""
    mark = re.escape(delimiter.encode())
    field = rb'(?:"[^"]*(?:""[^"]*)*(?:"[^' + mark + rb"\r\n]*|\Z)|[^\"" + mark + rb"\r\n][^" + mark + rb"\r\n]*)?"
    record = field + rb"(?:" + mark + field + rb")*(?:\r\n|\n|\r|\Z)"
    blank = rb'(?:"")?(?:' + mark + rb'(?:"")?)+(?:\r\n|\n|\r)?'
    return re.compile(record), re.compile(blank)


def is_recoded(dialect: Dialect) -> bool:
    """Whether `records` gives UTF-8 and not the file's own bytes."""
    return dialect.compression is not None or dialect.encoding.startswith(_UNSAFE)


@contextlib.contextmanager
def _records_file(path: pathlib.Path, dialect: Dialect) -> Iterator[IO[bytes]]:
    """An open file of the records' bytes: the file itself, or a passing copy, decompressed and recoded."""
    if not is_recoded(dialect):
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as copy:
        try:
            with _open_text(path, dialect) as text:
                while chunk := text.read(_BLOCK_BYTES):
                    copy.write(chunk.encode())
        except (UnicodeDecodeError, OSError, EOFError) as error:
            raise _problem(path, str(path), dialect, error) from error
        copy.flush()
        yield copy


def _take_frame(data: pd.DataFrame, options: ReadOptions, sample: Sample) -> Source:
    _check_names(list(data.columns), "the DataFrame")
    data = data.assign(**{name: _as_text(data[name]) for name in data.columns if _is_span(data[name].dtype)})
    try:
        table = pa.Table.from_pandas(data, preserve_index=False)
    except pa.ArrowException as error:
        raise AugmentError(f"the DataFrame cannot be read as a table: {_one_line(error)}") from error
    _check_names(table.column_names, "the DataFrame")
    sample.add(table)
    rows, positions = sample.result(table.schema)
    dialect = Dialect(null_values=options.all_null_values)
    return Source(rows, "the DataFrame", None, None, dialect, table.num_rows, 0, True, positions)


def _is_span(dtype: Any) -> bool:
    """Whether cells are intervals or periods, or categories that are."""
    import pandas as pd

    dtype = dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype
    return isinstance(dtype, pd.IntervalDtype | pd.PeriodDtype)


def _as_text(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Intervals and periods as text, in their order if they are ordered categories."""
    import pandas as pd

    if isinstance(cells.dtype, pd.CategoricalDtype):
        return cells.cat.rename_categories(list(map(str, cells.cat.categories)))
    return cells.astype(str).where(cells.notna())


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
    head = _head(path, where)
    dialect = dataclasses.replace(sniff(head, options, where=where), compression=compression_of(start))
    try:
        return _read_csv(path, where, name, sha256, head, dialect, options, sample)
    except _NotTextError as error:
        # The beginning of the file was ASCII and what follows is not UTF-8: look at it again from there.
        found = dataclasses.replace(
            sniff(head[:-1] + error.line, options, where=where), compression=dialect.compression
        )
        if options.encoding is not None or found.encoding == dialect.encoding:
            raise
        sample.restart()
        return _read_csv(path, where, name, sha256, head, found, options, sample)


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
        _check_names(schema.names, where)
        for batch in file.iter_batches(ROWS_PER_BATCH):
            batch.validate(full=True)  # what a damaged file says of text and dictionaries need not be so
            sample.add(pa.Table.from_batches([batch], schema))
        return sample.result(schema)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # as UnicodeDecodeError, of a name
        raise AugmentError(f"{where} is not a readable Parquet file: {_one_line(error)}") from error


class _NotTextError(AugmentError):
    """A file has bytes that are no text in its encoding.

    Attributes:
        line: The first line that has.
    """

    def __init__(self, message: str, line: bytes) -> None:
        super().__init__(message)
        self.line = line


def _read_csv(
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
        _check_names(names, where)
        blank = 0
        schema = pa.schema([(column, pa.string()) for column in names])
        for batch in _batches(path, dialect, len(names)):
            rows, dropped = _without_blank(pa.Table.from_batches([batch]).rename_columns(names))
            blank += dropped
            sample.add(rows)
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error, OSError, EOFError) as error:
        raise _problem(path, where, dialect, error) from error
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
                raise AugmentError(_endless(where, 1, HEAD_BYTES))
            return row
    if len(head) >= HEAD_BYTES:
        raise AugmentError(f"{where} begins with {HEAD_BYTES >> 20} MB of blank lines, so it is not read as a table.")
    raise AugmentError(f"{where} holds nothing but blank lines.")


def _endless(where: str, line: int, size: int) -> str:
    return (
        f"{where}: line {line} is longer than {size >> 20} MB, so this is not a table of lines. Is a quote not closed, "
        "or are the line ends lost?"
    )


def _names(first: Sequence[str], dialect: Dialect) -> tuple[list[str], tuple[str, ...]]:
    """The names of the columns, and those of them that are not in the header."""
    cells = list(first) if dialect.has_header else [""] * len(first)
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
                block_size=_BLOCK_BYTES,
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


def _head(path: pathlib.Path, where: str) -> bytes:
    """The first bytes of a file, decompressed."""
    with path.open("rb") as file:
        compression = compression_of(file.read(4))
    try:
        with contextlib.closing(pa.input_stream(str(path), compression=compression)) as stream:
            head: bytes = stream.read(HEAD_BYTES)
    except (OSError, pa.ArrowException) as error:
        raise AugmentError(f"{where} cannot be decompressed: {_one_line(error)}") from error
    if not head:
        raise AugmentError(f"{where} is empty.")
    return head


@contextlib.contextmanager
def _open_text(path: pathlib.Path, dialect: Dialect) -> Iterator[IO[str]]:
    with contextlib.closing(pa.input_stream(str(path), compression=dialect.compression)) as stream:
        text = io.TextIOWrapper(stream, encoding=dialect.encoding, newline="")
        yield text
        text.detach()


def _check_names(names: Sequence[Any], where: str) -> None:
    counts = collections.Counter(str(name) for name in names)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise AugmentError(f"{where}: column name {twice[0]!r} occurs {counts[twice[0]]} times; rename all but one.")


def _problem(path: pathlib.Path, where: str, dialect: Dialect, error: Exception) -> AugmentError:
    """Finds what reading stumbled over: a second, slow pass, made only for the message."""
    try:
        undecodable = _first_undecodable(path, dialect)
        if undecodable is None:
            return AugmentError(_explain(path, where, dialect, error))
    except (pa.ArrowException, OSError, EOFError) as problem:
        return AugmentError(f"{where} cannot be read: {_one_line(problem)}")
    number, line, byte = undecodable
    encoding = {"utf-8": "UTF-8"}.get(dialect.encoding, dialect.encoding)
    return _NotTextError(
        f"{where}: line {number} is not {encoding} (byte 0x{byte:02x}). Say what it is, for example "
        f"--encoding latin-1, or convert the file: iconv -f latin1 -t utf-8 {where} > utf8.csv",
        line,
    )


def _explain(path: pathlib.Path, where: str, dialect: Dialect, error: Exception) -> str:
    """Which line of a text is no record like the others."""
    with _open_text(path, dialect) as text:
        reader = csv.reader(_bounded_lines(text), delimiter=dialect.delimiter)
        width, first = None, 1
        try:
            for row in reader:
                first = reader.line_num + 1
                if row and row[0].startswith("\ufeff") and width is None:
                    row[0] = row[0][1:]
                if row and width is None:
                    width = len(row)
                elif row and len(row) != width:
                    return _ragged(where, reader.line_num, row, width or 0, dialect)
        except _LongLineError:
            return _endless(where, reader.line_num + 1, _BLOCK_BYTES)
        except csv.Error as problem:
            return f"{where}: the record that begins in line {first}: {problem}. Is a quote not closed?"
        if reader.line_num <= 1 or width is None:
            return f"{path.name} has a header but no rows."
    return f"{where} cannot be read as CSV: {_one_line(error)}"


class _LongLineError(Exception):
    """A line is longer than a block, which no record may be."""


def _bounded_lines(text: IO[str]) -> Iterator[str]:
    while line := text.readline(_BLOCK_BYTES):
        if len(line) == _BLOCK_BYTES:
            raise _LongLineError
        yield line


def _ragged(where: str, line: int, row: Sequence[str], width: int, dialect: Dialect) -> str:
    first = "the header" if dialect.has_header else "the first row"
    fields = f"{where}: line {line} has {len(row)} fields, {first} has {width}."
    if width > 1 and abs(len(row) - width) < width:
        return f"{fields} Correct or remove the line; a field with {dialect.delimiter!r} in it needs quotes."
    return f"{fields} If fields are not separated by {dialect.delimiter!r}, say so with --delimiter."


def _first_undecodable(path: pathlib.Path, dialect: Dialect) -> tuple[int, bytes, int] | None:
    """The number of the first line that cannot be decoded, its bytes near the one at fault, and that byte."""
    with contextlib.closing(pa.input_stream(str(path), compression=dialect.compression)) as stream:
        decoder = codecs.getincrementaldecoder(dialect.encoding)()
        number, is_within_end = 1, False
        while True:
            chunk = stream.read(_BLOCK_BYTES)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                found, at = error.object, error.start
                ends, _ = _line_ends(found[:at].decode(dialect.encoding, "ignore"), is_within_end)
                line = re.split(rb"[\r\n]", found[:at])[-1] + re.split(rb"[\r\n]", found[at:], maxsplit=1)[0]
                return number + ends, line[-HEAD_BYTES:], found[at]
            if not chunk:
                return None
            ends, is_within_end = _line_ends(text, is_within_end)
            number += ends


def _line_ends(text: str, is_within_end: bool) -> tuple[int, bool]:
    """How many lines end in a text, and whether it may end within a line end; the one before may have, too."""
    pairs = text.count("\r\n") + (is_within_end and text.startswith("\n"))
    return text.count("\n") + text.count("\r") - pairs, text.endswith("\r") if text else is_within_end


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
