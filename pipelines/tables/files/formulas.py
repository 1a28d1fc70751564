"""Texts that a spreadsheet would take for formulas, and the apostrophe that tells it not to."""

from __future__ import annotations

import codecs
import dataclasses
import os
import re

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import UsageError
from pipelines.tables.files.fields import record_fields
from pipelines.tables.files.reading import is_parquet
from pipelines.tables.texts.dialect import Dialect

__all__ = ["escape", "escape_array", "escape_record", "escape_table", "escaping"]

# What OWASP lists ("CSV injection"), also behind spaces, and the same signs as East Asian keyboards have them.
_START = "^( *[=+@\uff1d\uff0b\uff20\uff0d-]|[\t\r\n])"
# A number with its sign, or signs alone, which often stand for a missing cell, compute nothing.
_CURRENCY = "[$\u20ac\u00a3\u00a5\u20b9]"
_HARMLESS = (
    rf"^ *[+-]* *(?:[A-Z]{{0,3}}{_CURRENCY} ?)?( *[0-9][0-9.,' ]*|[.,][0-9]+|inf|infinity|nan)?"
    rf"([eE][+-]?[0-9]+)? *(?:%|{_CURRENCY})? *$"
)
_IS_FORMULA, _IS_HARMLESS = re.compile(_START), re.compile(_HARMLESS)


def escaping(dialect: Dialect, output: str | os.PathLike[str] | None) -> Dialect:
    """Returns a dialect in which an output's formulas are escaped.

    Raises:
        UsageError: If the output is not CSV, which is where a spreadsheet looks for formulas.
    """
    if output is None or is_parquet(output):
        raise UsageError(f"formulas are escaped in CSV, where a spreadsheet finds them, not in {output or 'a frame'}.")
    return dataclasses.replace(dialect, escape_formulas=True)


def escape(text: str) -> str:
    """Returns a text with an apostrophe before it if it begins like a formula and is no number."""
    return "'" + text if _IS_FORMULA.match(text) and not _IS_HARMLESS.match(text) else text


def escape_array(texts: pa.Array) -> pa.Array:
    """Returns texts as `escape` gives them; null stays null."""
    is_formula = pc.and_(pc.match_substring_regex(texts, _START), pc.invert(pc.match_substring_regex(texts, _HARMLESS)))
    if not pc.any(is_formula).as_py():
        return texts
    return pc.if_else(is_formula, pc.replace_substring_regex(texts, "^", "'", max_replacements=1), texts)


def escape_record(record: bytes, delimiter: str, encoding: str) -> bytes:
    """Returns a record of a CSV file with its fields as `escape` gives their texts, and all else as it is.

    Args:
        record: The record as it stands in the file, its line end included.
        delimiter: Between its fields.
        encoding: One in which ASCII is ASCII.
    """
    mark = codecs.BOM_UTF8 if record.startswith(codecs.BOM_UTF8) else b""
    bare = record.rstrip(b"\r\n")
    fields = [_escape_field(field, encoding) for field in record_fields(bare[len(mark) :], delimiter)]
    return mark + delimiter.encode().join(fields) + record[len(bare) :]


def _escape_field(field: bytes, encoding: str) -> bytes:
    quote = field[:1] if field[:1] == b'"' else b""
    text = field[len(quote) :].removesuffix(quote).decode(encoding, "replace")
    return quote + b"'" + field[len(quote) :] if escape(text) != text else field


def escape_table(table: pa.Table) -> pa.Table:
    """Returns a table with its texts, and the names of its columns, as `escape` gives them."""
    for place, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            plain = pc.cast(table.column(place), kind)
            escaped = pa.chunked_array([escape_array(part) for part in plain.chunks], kind)
            table = table.set_column(place, field.name, escaped)
    return table.rename_columns([escape(name) for name in table.column_names])
