"""The records of a CSV file as they are in the file, to the byte."""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import IO

from pipelines.errors import AugmentError
from pipelines.tables.files.csv_problems import problem_of
from pipelines.tables.files.source import Source
from pipelines.tables.texts.dialect import BLOCK_BYTES, Dialect, open_text

__all__ = ["check_records", "is_recoded", "records"]

# A delimiter or a quote may be the second half of a character in these; records are then taken from decoded text.
_UNSAFE = ("utf-16", "utf-32", "cp932", "shift", "big5", "gb", "cp949", "johab")


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
            with open_text(path, dialect) as text:
                while chunk := text.read(BLOCK_BYTES):
                    copy.write(chunk.encode())
        except (UnicodeDecodeError, OSError, EOFError) as error:
            raise problem_of(path, str(path), dialect, error) from error
        copy.flush()
        yield copy
