"""Columns of the kind a person says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.kinds.identifier_patterns import find_pattern, find_sequence, is_uuids
from pipelines.tables.kinds.look import Look, UnfitError, count_of, drop_it, is_binary, quote, say
from pipelines.tables.kinds.moment import compact_date, find_moment, moment_of, typed_moment
from pipelines.tables.kinds.number import (
    are_numbers,
    find_float,
    numeric_texts,
    refuse_overflow,
    typed_number,
    values_of_texts,
)
from pipelines.tables.kinds.text import dictionary_order, find_constant, numbered
from pipelines.tables.schema import Column, Kind
from pipelines.tables.texts import date_formats
from pipelines.tables.texts.number_formats import find_number_format
from pipelines.tables.texts.parsing import shorten

__all__ = ["as_given"]


def as_given(look: Look, entry: Mapping[str, Any]) -> Column:
    """A column as the kind a person gave it.

    Raises:
        UnfitError: If the values do not fit.
    """
    kind: Kind = entry["kind"]
    missing = [text for text in entry.get("missing", ()) if text in set(look.distinct.to_pylist())]
    if missing:
        look = look.without(missing)
    why = entry.get("why") or "as asked"
    if kind == "text":
        return Column(look.name, "text", why=why)
    if pa.types.is_nested(look.column.type) or is_binary(look.column.type):
        raise UnfitError(f"cannot be {kind}: its cells are of type {look.column.type}", drop_it(look))
    if not len(look.distinct):
        if kind == "constant":
            return find_constant(look)
        raise UnfitError(f"cannot be {kind}: every cell is missing", drop_it(look))
    if kind in ("float", "integer"):
        found = _as_number(look, kind, entry.get("format"))
    elif kind in ("date", "time", "datetime"):
        found = _as_moment(look, kind, entry.get("format"))
    elif kind == "identifier":
        found = _as_identifier(look, entry)
    elif kind == "constant":
        if len(look.distinct) > 1 or look.missing_count:
            raise UnfitError(f"cannot be constant: it has {count_of(look)} and {look.missing_count:,} missing cells",
                              drop_it(look))  # fmt: skip
        found = find_constant(look)
    elif kind == "ordered":
        found = Column(look.name, "ordered", levels=_levels(look, entry.get("levels", ())))
    else:
        if kind == "boolean" and len(look.distinct) > 2:
            raise UnfitError(f"cannot be boolean: it has {count_of(look)}, not two", f"{say(look, 'categorical')}")
        found = Column(look.name, kind)
    if look.missing and not found.missing:
        found = dataclasses.replace(found, missing=look.missing, missing_share=look.missing_count / look.rows)
    return dataclasses.replace(found, why=why)


def _as_number(look: Look, kind: Kind, format_: str | None) -> Column:
    if look.is_text:
        format_ = format_ or find_number_format(look.distinct, look.source.dialect.decimal)
        if format_:
            return dataclasses.replace(_as_plain_number(look.bare(format_), kind), format=format_)
    return _as_plain_number(look, kind)


def _as_plain_number(look: Look, kind: Kind) -> Column:
    if look.is_text:
        is_number = are_numbers(look)
    else:
        is_number = numeric_texts(look.distinct, ".")
        if pa.types.is_boolean(look.column.type):
            return Column(look.name, kind, decimals=0)
    if not is_number.all():
        odd = look.distinct.filter(pa.array(~is_number))[0].as_py()
        raise UnfitError(
            f"cannot be {kind}: {shorten(odd)} in row {look.row_of(odd)} is no number",
            f"to count such cells as missing: --null-value={quote(odd)}; or {say(look, 'categorical')}",
        )
    if look.is_text:
        refuse_overflow(look)
    if kind == "float":
        return find_float(look) if look.is_text else _typed_number_as_float(look)
    values = _values_of(look)
    if (values != np.floor(values)).any():
        odd = look.distinct[int(np.flatnonzero(values != np.floor(values))[0])].as_py()
        raise UnfitError(
            f"cannot be integer: {shorten(odd)} in row {look.row_of(odd)} is not whole", say(look, "float")
        )
    return Column(look.name, "integer", decimals=0)


def _values_of(look: Look) -> np.ndarray:
    if look.is_text:
        return values_of_texts(look, look.distinct)
    values: np.ndarray = pc.cast(look.distinct, pa.float64()).to_numpy(zero_copy_only=False)
    return values


def _typed_number_as_float(look: Look) -> Column:
    found = typed_number(look)
    if found.kind == "float":
        return found
    return Column(look.name, "float", decimals=0)


def _as_moment(look: Look, kind: Kind, format_: str | None) -> Column:
    if pa.types.is_temporal(look.column.type):
        found = typed_moment(look)
        if found.kind == kind:
            return found
        raise UnfitError(f"cannot be {kind}: it is typed as {look.column.type}", say(look, found.kind))
    if format_ is not None and look.is_text:
        unread = np.isnan(date_formats.parse(look.distinct, format_))
        if unread.any():
            odd = look.distinct.filter(pa.array(unread))[0].as_py()
            raise UnfitError(
                f"cannot be {kind} as {format_}: {shorten(odd)} in row {look.row_of(odd)} is not",
                "correct the format or the cell",
            )
        return moment_of(look, format_)
    moment = (compact_date(look) or find_moment(look)) if look.is_text else None
    if moment is None or moment.kind != kind:
        example = look.distinct[0].as_py()
        is_other = f", but {moment.kind}" if moment else ""
        raise UnfitError(
            f"cannot be {kind}: no format augment knows reads all its cells ({shorten(example)} in row "
            f"{look.row_of(example)}{is_other})",
            f'give its "format" in a schema file, or {say(look, moment.kind if moment else "categorical")}',
        )
    return moment


def _as_identifier(look: Look, entry: Mapping[str, Any]) -> Column:
    if entry.get("identifier"):
        return Column(look.name, "identifier", identifier=entry["identifier"])
    if look.is_unique and is_uuids(look.distinct):
        upper = look.distinct[0].as_py().isupper()
        return Column(look.name, "identifier", identifier={"kind": "uuid", "upper": upper})
    sequence = find_sequence(look.text, look.source.rows, look.source.num_rows) if not look.missing_count else None
    if sequence and look.is_unique:
        return numbered(look, sequence)
    pattern = find_pattern(look.distinct, at_least=1)
    if pattern:
        return Column(look.name, "identifier", identifier=pattern)
    raise UnfitError(
        "cannot be identifier: its values are neither numbered, nor UUIDs, nor texts of one length with digits",
        f"to leave it out: {say(look, 'text')}",
    )


def _levels(look: Look, given: Sequence[str]) -> tuple[str, ...]:
    """The levels from lowest to highest: as given, or by the numbers they begin with."""
    values = look.distinct.to_pylist()
    field = look.source.table.schema.field(look.name).type
    if given:
        lost = next((value for value in values if value not in given), None)
        if lost is not None:
            raise UnfitError(f"has {shorten(lost)} in row {look.row_of(lost)}, which is not among its levels",
                              'add it to "levels"')  # fmt: skip
        return tuple(given)
    if pa.types.is_dictionary(field) and field.ordered:
        return dictionary_order(look)
    starts = [re.match(r"\D{0,3}?([+-]?\d+(?:[.,]\d+)?)", value) for value in values]
    keys = [float(start[1].replace(",", ".")) if start else None for start in starts]
    if None in keys or len(set(keys)) < len(keys):
        raise UnfitError(
            f"cannot be ordered: the order of {', '.join(shorten(value) for value in values[:5])} is not known",
            'give its "levels", from lowest to highest, in a schema file (augment describe --schema writes one)',
        )
    return tuple(value for _, value in sorted(zip(keys, values, strict=True)))
