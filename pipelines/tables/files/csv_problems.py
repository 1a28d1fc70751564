"""What reading a CSV file stumbled over: a second, slow pass, made only for the message."""

from __future__ import annotations

import codecs
import contextlib
import csv
import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa

from pipelines.errors import AugmentError, library_message
from pipelines.tables.texts.dialect import BLOCK_BYTES, HEAD_BYTES, Dialect, open_text

__all__ = ["NotTextError", "endless", "problem_of"]

_OTHERS = 100  # rows that tell whether a first one is like them


class NotTextError(AugmentError):
    """A file has bytes that are no text in its encoding.

    Attributes:
        line: The first line that has.
    """

    def __init__(self, message: str, line: bytes) -> None:
        super().__init__(message)
        self.line = line


def problem_of(path: pathlib.Path, where: str, dialect: Dialect, error: Exception) -> AugmentError:
    """Finds what reading stumbled over.

    Args:
        path: The file.
        where: What messages call it.
        dialect: How it was read.
        error: What was raised.

    Returns:
        The error to raise, `NotTextError` if bytes cannot be decoded.
    """
    try:
        undecodable = _first_undecodable(path, dialect)
        if undecodable is None:
            return AugmentError(_explain(path, where, dialect, error))
    except (pa.ArrowException, OSError, EOFError) as problem:
        return AugmentError(f"{where} cannot be read: {library_message(problem)}")
    number, line, byte = undecodable
    encoding = {"utf-8": "UTF-8"}.get(dialect.encoding, dialect.encoding)
    return NotTextError(
        f"{where}: line {number} is not {encoding} (byte 0x{byte:02x}). Say what it is, for example "
        f"--encoding latin-1, or convert the file: iconv -f latin1 -t utf-8 {where} > utf8.csv",
        line,
    )


def _explain(path: pathlib.Path, where: str, dialect: Dialect, error: Exception) -> str:
    """Which line of a text is no record like the others."""
    with open_text(path, dialect) as text:
        reader = csv.reader(_bounded_lines(text), delimiter=dialect.delimiter)
        header: list[str] = []
        first, has_rows = 1, False
        try:
            for row in reader:
                first = reader.line_num + 1
                if row and not header:
                    header = [row[0].removeprefix("\ufeff"), *row[1:]]
                elif row and len(row) != len(header):
                    below = [] if has_rows else [len(other) for other in itertools.islice(reader, _OTHERS) if other]
                    return _ragged(where, first - 1, row, header, dialect, below)
                elif row:
                    has_rows = True
        except _LongLineError:
            return endless(where, reader.line_num + 1, BLOCK_BYTES)
        except csv.Error as problem:
            return f"{where}: the record that begins in line {first}: {problem}. Is a quote not closed?"
        if reader.line_num <= 1 or not header:
            return f"{path.name} has a header but no rows."
    return f"{where} cannot be read as CSV: {library_message(error)}"


class _LongLineError(Exception):
    """A line is longer than a block, which no record may be."""


def _bounded_lines(text: IO[str]) -> Iterator[str]:
    while line := text.readline(BLOCK_BYTES):
        if len(line) == BLOCK_BYTES:
            raise _LongLineError
        yield line


def _ragged(
    where: str, line: int, row: Sequence[str], header: Sequence[str], dialect: Dialect, below: Sequence[int]
) -> str:
    """What is wrong with a row; of one below the header, `below` has the numbers of fields of those that follow."""
    width, mark = len(header), repr(dialect.delimiter)
    first = "the header" if dialect.has_header else "the first row"
    fields = f"{where}: line {line} has {len(row)} fields, {first} has {width}."
    if below and (width == 1 or header[0].startswith("#")):
        return f"{fields} If {header[0][:30]!r} is a comment or a title, remove that line."
    if below and {len(row), *below} == {width + 1}:
        return (
            f"{fields} So have other lines: complete {first}, by the name of the first column if that has none, or by "
            f"{mark} at its end if the others end so."
        )
    if width > 1 and abs(len(row) - width) < width:
        return f"{fields} Correct or remove the line; a field with {mark} in it needs quotes."
    return f"{fields} If fields are not separated by {mark}, say so with --delimiter."


def _first_undecodable(path: pathlib.Path, dialect: Dialect) -> tuple[int, bytes, int] | None:
    """The number of the first line that cannot be decoded, its bytes near the one at fault, and that byte."""
    with contextlib.closing(pa.input_stream(str(path), compression=dialect.compression)) as stream:
        decoder = codecs.getincrementaldecoder(dialect.encoding)()
        number, is_within_end = 1, False
        while True:
            chunk = stream.read(BLOCK_BYTES)
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


def endless(where: str, line: int, size: int) -> str:
    """Says that a line has more than `size` bytes, so is none."""
    return (
        f"{where}: line {line} is longer than {size >> 20} MB, so this is not a table of lines. Is a quote not closed, "
        "or are the line ends lost?"
    )
