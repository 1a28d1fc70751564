"""A CSV file with other texts in some of its cells, and every other byte as it was."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import IO

from pipelines.errors import AugmentError
from pipelines.tables.reading import Source, check_records, is_recoded, records

__all__ = ["patch_records"]


def patch_records(file: IO[bytes], source: Source, patches: Mapping[int, Mapping[int, str]]) -> None:
    """Copies the records of a CSV file with other fields in some places.

    Args:
        file: Where to. The copy is not compressed by itself, and has the source's encoding.
        source: A table read from a CSV file, all of its rows.
        patches: New fields, as CSV has them, by row and column, both counted from 0.

    Raises:
        AugmentError: If the file has other records than rows were read, before anything is written, or a character
            cannot be written in its encoding.
    """
    if source.path is None:
        raise ValueError(f"{source.name} is no file.")
    dialect = source.dialect
    check_records(source)
    recoded = is_recoded(dialect)
    encoding = "utf-8" if recoded else dialect.encoding
    for row, record in enumerate(records(source.path, dialect), start=-int(dialect.has_header)):
        patch = patches.get(row)
        if patch:
            bare = record.rstrip(b"\r\n")
            fields = _fields(bare, dialect.delimiter)
            if len(fields) != source.table.num_columns:
                raise AugmentError(
                    f"{source.name}: the quotes of row {row + source.first_row} can be read in two ways."
                )
            for column, text in patch.items():
                try:
                    fields[column] = text.encode(encoding)
                except UnicodeEncodeError as error:
                    raise AugmentError(
                        f"{text!r} cannot be written in {encoding}, the encoding of the source."
                    ) from error
            record = dialect.delimiter.encode().join(fields) + record[len(bare) :]
        file.write(record.decode().encode(dialect.encoding) if recoded else record)


def _fields(record: bytes, delimiter: str) -> list[bytes]:
    """The fields of a record without its line end, as they are. A quote opens a field only where the field starts."""
    pattern = _field_pattern(delimiter)
    fields, position = [], 0
    while True:
        match = pattern.match(record, position)
        assert match is not None  # it matches nothing too
        fields.append(match.group())
        position = match.end() + 1
        if position > len(record):
            return fields


@functools.cache
def _field_pattern(delimiter: str) -> re.Pattern[bytes]:
    mark = re.escape(delimiter.encode())
    return re.compile(rb'"[^"]*(?:""[^"]*)*(?:"[^' + mark + rb"]*|\Z)|[^" + mark + rb"]*")
