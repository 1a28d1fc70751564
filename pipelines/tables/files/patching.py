"""A CSV file with other texts in some of its cells, and every other byte as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO

from pipelines.errors import AugmentError
from pipelines.tables.files.csv_records import check_records, is_recoded, records
from pipelines.tables.files.fields import record_fields
from pipelines.tables.files.formulas import escape_record
from pipelines.tables.files.source import Source

__all__ = ["patch_records"]


def patch_records(file: IO[bytes], source: Source, patches: Mapping[int, Mapping[int, str]]) -> None:
    """Copies the records of a CSV file with other fields in some places.

    Args:
        file: Where to. The copy is not compressed by itself, and has the source's encoding.
        source: A table read from a CSV file, all of its rows. If its dialect escapes formulas, so does the copy.
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
        if dialect.escape_formulas:
            record = escape_record(record, dialect.delimiter, encoding)
        if patch:
            bare = record.rstrip(b"\r\n")
            fields = record_fields(bare, dialect.delimiter)
            if len(fields) != source.table.num_columns:
                raise AugmentError(
                    f"{source.name}: the quotes of row {row + source.first_row} can be read in two ways."
                )
            for column, text in patch.items():
                try:
                    is_spaced = dialect.has_space and column > 0 and not text.startswith('"')
                    fields[column] = (" " * is_spaced + text).encode(encoding)
                except UnicodeEncodeError as error:
                    raise AugmentError(
                        f"{text!r} cannot be written in {encoding}, the encoding of the source."
                    ) from error
            record = dialect.delimiter.encode().join(fields) + record[len(bare) :]
        file.write(record.decode().encode(dialect.encoding) if recoded else record)
