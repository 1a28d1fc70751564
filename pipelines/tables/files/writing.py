"""Writing tables: CSV in the source's own spelling, and Parquet."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipelines.errors import AugmentError
from pipelines.tables.cells import Cells
from pipelines.tables.files.csv_records import check_records, is_recoded, records
from pipelines.tables.files.formulas import escape, escape_array, escape_record, escape_table
from pipelines.tables.files.reading import is_parquet
from pipelines.tables.files.source import Source
from pipelines.tables.files.typed import arrow_schema, as_frame, to_table, typed_column
from pipelines.tables.kinds.identifiers import make_identifiers
from pipelines.tables.schema import Column, Schema
from pipelines.tables.texts.arrays import from_numpy, from_texts, scalar
from pipelines.tables.texts.dialect import Dialect
from pipelines.tables.texts.spelling import spell

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CsvWriter",
    "ParquetWriter",
    "TableWriter",
    "copy_records",
    "csv_column",
    "csv_field",
    "output_dialect",
    "scalar",
    "to_frame",
    "typed_column",
    "write_typed",
    "writer_for",
]

# Fixed, so that the bytes of a Parquet file do not depend on how many rows are made at a time.
_ROWS_PER_GROUP = 1 << 17
# What CSV is made of at a time: more would not be faster, and the text of a batch must stay below 2 GiB.
_ROWS_AT_A_TIME = 1 << 16
_CELLS_AT_A_TIME = 1 << 22


class TableWriter(Protocol):
    """What writes rows to an open file."""

    def write(self, batch: Mapping[str, Cells], first_index: int, num_rows: int, *, is_new: bool = True) -> None:
        """Writes rows; the file does not depend on how they are divided into batches.

        Args:
            batch: The cells of the modelled columns, `num_rows` each. Cells of other columns are written if they are
                there; otherwise identifiers are made, constants are what they are, and free text is missing.
            first_index: The number of the first row among all new ones.
            num_rows: How many.
            is_new: What the mark says, if there is one.

        Raises:
            AugmentError: If a cell cannot be written, or the identifiers are used up.
        """

    def close(self) -> None:
        """Writes what is pending."""


class CsvWriter:
    """Writes rows as CSV, spelled as schema and dialect say.

    Args:
        file: An open binary file.
        schema: The columns. Those of free text are left out unless `with_text` is set.
        dialect: How the file is spelled; its compression is the file's own matter.
        seed: Of the identifiers.
        mark: The name of a last column that is 1 in new rows and 0 in others, or None.
        with_text: Whether columns of free text are there, with missing cells: among rows that have them.
    """

    def __init__(
        self,
        file: IO[bytes],
        schema: Schema,
        dialect: Dialect,
        *,
        seed: int,
        mark: str | None = None,
        with_text: bool = False,
    ) -> None:
        self._file, self._dialect, self._seed, self._mark = file, dialect, seed, mark
        self._columns = [column for column in schema.columns if with_text or column.kind != "text"]
        self._is_alone = len(self._columns) == 1 and mark is None

    def write_header(self) -> None:
        """Writes the byte order mark and the names of the columns, as far as the dialect has them."""
        text = "\ufeff" if self._dialect.bom else ""
        if self._dialect.has_header:
            names = [self._dialect.header_cell(column.name) for column in self._columns]
            fields = [csv_field(name, self._dialect, alone=self._is_alone) for name in names]
            if self._mark is not None:
                fields.append(csv_field(self._mark, self._dialect))
            if self._dialect.has_space:
                fields[1:] = [field if field.startswith('"') else f" {field}" for field in fields[1:]]
            text += self._dialect.delimiter.join(fields) + self._dialect.end_of_line
        self._file.write(_encoded(text, self._dialect))

    def write(self, batch: Mapping[str, Cells], first_index: int, num_rows: int, *, is_new: bool = True) -> None:
        """Writes rows (see `TableWriter`)."""
        size = max(1, min(_ROWS_AT_A_TIME, _CELLS_AT_A_TIME // max(1, len(self._columns))))
        for start in range(0, num_rows, size):
            rows = min(size, num_rows - start)
            part = {name: _slice(cells, start, start + rows) for name, cells in batch.items()}
            self._write(part, first_index + start, rows, is_new)

    def _write(self, batch: Mapping[str, Cells], first_index: int, num_rows: int, is_new: bool) -> None:
        fields: list[pa.Array | pa.Scalar] = []
        for column in self._columns:
            if column.name in batch:
                fields.append(csv_column(column, batch[column.name], self._dialect, alone=self._is_alone))
            elif column.kind == "identifier":
                made = make_identifiers(column, first_index, num_rows, self._seed)
                fields.append(_quoted(_escaped(made, self._dialect), self._dialect))
            else:
                fields.append(scalar(_only_field(column, self._dialect, self._is_alone)))
        if self._mark is not None:
            fields.append(scalar("1" if is_new else "0"))
        if self._dialect.has_space:  # none before quotes, which would be part of the text then
            fields[1:] = [
                pc.if_else(
                    pc.starts_with(field, '"'), field, pc.binary_join_element_wise(scalar(" "), field, scalar(""))
                )
                for field in fields[1:]
            ]
        if not any(isinstance(field, pa.Array) for field in fields):
            fields[0] = pa.repeat(fields[0], num_rows)
        lines = pc.binary_join_element_wise(*fields, scalar(self._dialect.delimiter))
        lines = pc.binary_join_element_wise(lines, scalar(self._dialect.end_of_line), scalar(""))
        text = lines.buffers()[2]  # the text of all rows, one after another, is the file's
        if self._dialect.encoding != "utf-8":
            text = _encoded(str(text, "utf-8"), self._dialect)
        self._file.write(text)

    def close(self) -> None:
        """Nothing is pending."""


class ParquetWriter:
    """Writes rows as Parquet in row groups of a fixed size.

    Args:
        file: An open binary file.
        schema: The columns. Those of free text are left out unless `with_text` is set.
        dialect: Says the decimal point of texts that are numbers.
        seed: Of the identifiers.
        mark: The name of a last column that is 1 in new rows and 0 in others, or None.
        with_text: Whether columns of free text are there, null: among rows that have them.
    """

    def __init__(
        self,
        file: IO[bytes],
        schema: Schema,
        dialect: Dialect,
        *,
        seed: int,
        mark: str | None = None,
        with_text: bool = False,
    ) -> None:
        self._schema, self._seed, self._mark, self._with_text = schema, seed, mark, with_text
        self._decimal = dialect.decimal
        self._fields = arrow_schema(schema, mark=mark, with_text=with_text, decimal=self._decimal)
        self._writer = pyarrow.parquet.ParquetWriter(file, self._fields)
        self._pending = pa.Table.from_batches([], self._fields)  # `empty_table` would import pandas

    def write(self, batch: Mapping[str, Cells], first_index: int, num_rows: int, *, is_new: bool = True) -> None:
        """Writes rows (see `TableWriter`)."""
        rows = to_table(
            self._schema,
            batch,
            first_index,
            num_rows,
            seed=self._seed,
            with_text=self._with_text,
            decimal=self._decimal,
        )
        self.write_table(rows, is_new=is_new)

    def write_table(self, rows: pa.Table, *, is_new: bool = False) -> None:
        """Writes rows that are typed already, without the mark.

        Raises:
            AugmentError: If their columns are not those of the schema, or a cell cannot have its column's type.
        """
        if self._mark is not None:
            mark = from_numpy(np.full(rows.num_rows, int(is_new), np.int64))
            rows = rows.append_column(self._mark, pa.chunked_array([mark]))
        if rows.column_names != self._fields.names:
            raise AugmentError(
                f"rows with the columns {', '.join(rows.column_names)} do not fit {', '.join(self._fields.names)}."
            )
        try:
            rows = rows.cast(self._fields)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise AugmentError(f"a row cannot be written as Parquet: {error}") from error
        self._pending = pa.concat_tables([self._pending, rows])
        while self._pending.num_rows >= _ROWS_PER_GROUP:
            self._write_group(self._pending.slice(0, _ROWS_PER_GROUP))
            self._pending = self._pending.slice(_ROWS_PER_GROUP)

    def _write_group(self, rows: pa.Table) -> None:
        columns = []
        for field, values in zip(self._fields, rows.columns, strict=True):
            if pa.types.is_dictionary(field.type) and not self._keeps_categories(field.name):
                # Its values in the order of this group's rows, whatever came before.
                again = pc.cast(values, field.type.value_type).combine_chunks().dictionary_encode()
                values = pa.DictionaryArray.from_arrays(
                    pc.cast(again.indices, field.type.index_type), again.dictionary, ordered=field.type.ordered
                )
            columns.append(values)
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._fields).combine_chunks())

    def _keeps_categories(self, name: str) -> bool:
        return name != self._mark and self._schema[name].is_categorical

    def close(self) -> None:
        """Writes what is pending and the footer."""
        if self._pending.num_rows:
            self._write_group(self._pending)
        self._writer.close()


def writer_for(
    path: str | os.PathLike[str],
    file: IO[bytes],
    schema: Schema,
    dialect: Dialect,
    *,
    seed: int,
    mark: str | None = None,
) -> TableWriter:
    """Returns the writer the suffix of `path` asks for; the header of a CSV is written."""
    if is_parquet(path):
        return ParquetWriter(file, schema, dialect, seed=seed, mark=mark)
    writer = CsvWriter(file, schema, output_dialect(path, dialect), seed=seed, mark=mark)
    writer.write_header()
    return writer


def output_dialect(path: str | os.PathLike[str], dialect: Dialect) -> Dialect:
    """Returns how a new CSV file is spelled: like the source, but with tabs if its suffix is `.tsv` and only then.

    A source with tabs gives a `.csv` with commas.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() in (".gz", ".zst", ".bz2"):
        path = path.with_suffix("")
    if path.suffix.lower() in (".tsv", ".tab"):
        return dataclasses.replace(dialect, delimiter="\t", has_space=False)
    if path.suffix.lower() == ".csv" and dialect.delimiter == "\t":
        return dataclasses.replace(dialect, delimiter=",")
    return dialect


def to_frame(
    schema: Schema,
    batches: Iterable[tuple[Mapping[str, Cells], int]],
    *,
    seed: int,
    decimal: str = ".",
) -> pd.DataFrame:
    """Returns rows as a DataFrame with the types of their columns.

    Args:
        schema: The columns; free text is left out.
        batches: The cells of the modelled columns and the number of rows, batch by batch.
        seed: Of the identifiers.
        decimal: The decimal point of the texts among the cells.
    """
    tables = [pa.Table.from_batches([], arrow_schema(schema, decimal=decimal))]
    first_index = 0
    for batch, num_rows in batches:
        tables.append(to_table(schema, batch, first_index, num_rows, seed=seed, decimal=decimal))
        first_index += num_rows
    return as_frame(pa.concat_tables(tables), schema)


def write_typed(
    path: str | os.PathLike[str], file: IO[bytes], table: pa.Table, *, escape_formulas: bool = False
) -> None:
    """Writes a table that has types: to Parquet as it is, to CSV with lists and records as JSON."""
    if is_parquet(path):
        pyarrow.parquet.write_table(table, file)
        return
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type) or isinstance(field.type, pa.BaseExtensionType):
            cells = table.column(place).to_pylist()
            texts = [None if cell is None else json.dumps(cell, default=str) for cell in cells]
            table = table.set_column(place, field.name, from_texts(texts))
    table = escape_table(table) if escape_formulas else table
    pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(quoting_style="needed"))


def copy_records(file: IO[bytes], source: Source, header: str | None, cells: Iterator[str]) -> None:
    """Copies the records of a CSV file as they are, with a further cell each if there is a `header` for it.

    Args:
        file: Where to. The copy is not compressed by itself, and has the source's encoding.
        source: A table read from a CSV file. If its dialect escapes formulas, so does the copy.
        header: The further cell of the header, a field as CSV has it, or None for no further cells.
        cells: The further cells of the rows.

    Raises:
        AugmentError: If the file has other records than rows were read, before anything is written.
    """
    if source.path is None:
        raise ValueError(f"{source.name} is no file.")
    dialect = source.dialect
    check_records(source)
    recoded = is_recoded(dialect)
    encoding = "utf-8" if recoded else dialect.encoding
    end = dialect.end_of_line.encode()
    is_header = dialect.has_header
    for record in records(source.path, dialect):
        if dialect.escape_formulas:
            record = escape_record(record, dialect.delimiter, encoding)
        bare = record.rstrip(b"\r\n")
        further = "" if header is None else dialect.between + (header if is_header else next(cells))
        is_header = False
        if recoded:
            file.write(_encoded((bare + further.encode() + (record[len(bare) :] or end)).decode(), dialect))
        else:
            file.write(bare + _encoded(further, dialect) + (record[len(bare) :] or end))


def csv_column(column: Column, cells: Cells, dialect: Dialect, *, alone: bool = False) -> pa.Array:
    """Returns the cells of a column as the fields of a CSV file, quoted where they must be.

    Args:
        column: What the column is; numbers are rounded to its lattice.
        cells: Its cells; texts are written as they are.
        dialect: The delimiter, the decimal point and what means that a cell is missing.
        alone: Whether it is the file's only column, where a field of nothing would be a blank line.
    """
    if cells.codes is None:
        numbers = spell(column, np.asarray(cells.values, np.float64), dialect.decimal)
        return _quoted(_escaped(numbers, dialect), dialect)
    codes = from_numpy(cells.codes)
    fields = pc.take(_level_fields(cells.levels, cells.is_missing, dialect, alone), codes)
    if cells.values is None or None not in cells.levels:
        return fields
    is_number = np.array([text is None for text in cells.levels])[cells.codes]
    if not is_number.any():
        return fields
    numbers = spell(column, np.where(is_number, cells.values, 0.0), dialect.decimal)
    return pc.if_else(from_numpy(is_number), _quoted(_escaped(numbers, dialect), dialect), fields)


def csv_field(text: str, dialect: Dialect = Dialect(), *, is_missing: bool = True, alone: bool = False) -> str:
    """Returns `text` as a CSV field, quoted if it must be, and escaped if the dialect says so.

    Surrounding space needs no quotes: it is part of the field (RFC 4180, section 2).

    Args:
        text: What the field says.
        dialect: The delimiter, and the texts that mean a missing cell.
        is_missing: Whether it may be read as a missing cell; otherwise a text that could be is quoted.
        alone: Whether it is the only field of its record, where a field of nothing would be a blank line.
    """
    text = escape(text) if dialect.escape_formulas else text
    if (
        re.search(f'[{re.escape(dialect.delimiter)}"\r\n]', text)
        or (not is_missing and (not text or text in dialect.null_values))
        or (alone and not text.strip())
    ):
        text = '"' + text.replace('"', '""') + '"'
    return text


@functools.lru_cache(maxsize=1024)  # batch after batch has the same levels
def _level_fields(
    levels: tuple[str | None, ...], is_missing: tuple[bool, ...], dialect: Dialect, alone: bool
) -> pa.Array:
    """The fields of levels, null for those that are numbers."""
    return from_texts(
        [
            None if text is None else csv_field(text, dialect, is_missing=gone, alone=alone)
            for text, gone in zip(levels, is_missing, strict=True)
        ]
    )


def _only_field(column: Column, dialect: Dialect, alone: bool) -> str:
    """The field of every row of a constant, or of free text that is left out."""
    if column.kind != "constant" or column.value is None:
        return csv_field(column.missing[0] if column.missing else "", dialect, alone=alone)
    is_missing = column.value in column.missing or column.value in dialect.null_values
    return csv_field(column.value, dialect, is_missing=is_missing, alone=alone)


def _escaped(texts: pa.Array, dialect: Dialect) -> pa.Array:
    return escape_array(texts) if dialect.escape_formulas else texts


def _quoted(fields: pa.Array, dialect: Dialect) -> pa.Array:
    """Fields in quotes where one has a delimiter, a quote or a line end: dates, decimal commas, identifiers."""
    needs = pc.match_substring(fields, dialect.delimiter)
    for mark in '"\r\n':
        if pc.any(found := pc.match_substring(fields, mark)).as_py():
            needs = pc.or_(needs, found)
    if not pc.any(needs).as_py():
        return fields
    quoted = pc.binary_join_element_wise(scalar('"'), pc.replace_substring(fields, '"', '""'), scalar('"'), scalar(""))
    return pc.if_else(needs, quoted, fields)


def _encoded(text: str, dialect: Dialect) -> bytes:
    try:
        return text.encode(dialect.encoding)
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        raise AugmentError(
            f"the character {character!r} cannot be written in {dialect.encoding}, the encoding of the source."
        ) from error


def _slice(cells: Cells, start: int, stop: int) -> Cells:
    codes = None if cells.codes is None else cells.codes[start:stop]
    return dataclasses.replace(cells, codes=codes, values=None if cells.values is None else cells.values[start:stop])
