"""The fields of a CSV record as they stand in the file."""

from __future__ import annotations

import functools
import re

__all__ = ["record_fields"]


def record_fields(record: bytes, delimiter: str) -> list[bytes]:
    """Returns the fields of a record without its line end, as they are.

    A quote opens a field only where the field starts.
    """
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
