"""What each column is, found out from its cells: by rows, types and how values repeat, never by names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError, UsageError
from pipelines.tables.files.source import Source
from pipelines.tables.kinds.given import as_given
from pipelines.tables.kinds.look import Look, UnfitError, count_of, is_binary, look_at, quote, say
from pipelines.tables.kinds.moment import find_moment, typed_moment
from pipelines.tables.kinds.number import are_numbers, number_or_code, typed_number
from pipelines.tables.kinds.odd_cells import without_odd_cells
from pipelines.tables.kinds.text import (
    dictionary_order,
    few_or_many,
    find_boolean,
    find_constant,
    find_free_text,
    find_identifier,
)
from pipelines.tables.schema import KINDS, Column, Kind, Schema
from pipelines.tables.texts.number_formats import find_number_format, have_point_thousands
from pipelines.tables.texts.parsing import bare_text

__all__ = ["infer_schema", "read_schema"]

# A point before decimals, as what might be thousands has three digits behind it.
_DECIMALS = r"\A\D{0,4}(\d*\.(\d\d?|\d{4,})|(0\d*|\d{4,})?\.\d+)\D{0,4}\z"


def infer_schema(
    source: Source,
    *,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
) -> Schema:
    """Finds out what each column is.

    In the order of the rules: a column of one value is constant; two values such as yes and no are boolean; numbers are
    integer or float, also with an exponent, a sign, a currency, a unit or marks between thousands, but whole numbers
    with leading zeros are codes, that is categorical, or text if they seldom repeat; dates and times have one format
    throughout; values that are all distinct and numbered, or of one pattern with digits, or UUIDs, are identifiers;
    long or many texts that seldom repeat are text; the rest is categorical. Texts such as "n.d." in a column of numbers
    or dates are further spellings of a missing cell; so are up to three others if they repeat and are rare.

    Args:
        source: The table.
        kinds: The kinds of some columns, by name, instead of what would be found.
        drop: The names of columns to leave out.

    Raises:
        UsageError: If `kinds` or `drop` name a column that does not exist, or nothing is left.
        AugmentError: If columns do not fit the kind asked for, have infinities, or are numbers or dates but for a few
            odd texts; all of them are named.
    """
    given = {name: {"kind": kind} for name, kind in (kinds or {}).items()}
    return _infer(source, given, drop)


def read_schema(source: Source, columns: Sequence[Mapping[str, Any]], where: str = "the schema") -> Schema:
    """Returns the schema a person gave for a table, as entries that `Schema.to_json` makes.

    What an entry leaves out, but name and kind, is found out. The columns come in the table's order.

    Args:
        source: The table.
        columns: An entry for each column of the table.
        where: The schema's file, for messages.

    Raises:
        AugmentError: If an entry is wrong, or the columns are not the table's, or do not fit their kind.
    """
    wanted = Schema.from_json(columns, where)
    names = source.table.column_names
    unknown = [name for name in wanted.names if name not in names]
    absent = [name for name in names if name not in wanted.names]
    if unknown:
        raise AugmentError(f"{where}: column {unknown[0]!r} is not in {source.name}, which has {_listed(names)}.")
    if absent:
        raise AugmentError(
            f"{where}: column {absent[0]!r} of {source.name} is missing. Add an entry, or leave the column out with "
            f"--drop {quote(absent[0])}."
        )
    given = {entry["name"]: {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()} for entry in columns}
    return _infer(source, given, ())


def _infer(source: Source, given: Mapping[str, Mapping[str, Any]], drop: Sequence[str]) -> Schema:
    names = source.table.column_names
    for name in [*given, *drop]:
        if name not in names:
            raise UsageError(f"{source.name} has no column {name!r}; it has {_listed(names)}.")
    for name, entry in given.items():
        if entry["kind"] not in KINDS:
            raise UsageError(f"column {name!r}: {entry['kind']!r} is no kind; kinds are {', '.join(KINDS)}.")
    columns: list[Column] = []
    problems: dict[str, UnfitError] = {}
    for name in names:
        if name in drop:
            continue
        look = look_at(name, source)
        try:
            column = as_given(look, given[name]) if name in given else _find(look)
        except UnfitError as problem:
            problems[name] = problem
            continue
        found = dataclasses.replace(
            column,
            missing=column.missing or look.missing,
            missing_share=column.missing_share or look.missing_count / max(look.rows, 1),
            arrow_type=str(source.table.schema.field(name).type) if source.is_typed else None,
        )
        keep = {k: v for k, v in given.get(name, {}).items() if k not in ("name", "missing_share", "arrow_type")}
        left_open = [k for k, v in keep.items() if (v is None and k != "decimals") or (k == "levels" and not v)]
        columns.append(dataclasses.replace(found, **{k: v for k, v in keep.items() if k not in left_open}))
    if problems:
        named = "; ".join(f"column {name!r} {problem}" for name, problem in problems.items())
        advice = "; ".join(dict.fromkeys(problem.advice for problem in problems.values()))
        raise AugmentError(f"{source.name}: {named}. {advice[:1].upper()}{advice[1:]}.")
    if not columns:
        raise UsageError(f"{source.name}: no column is left.")
    return Schema(tuple(columns))


def _find(look: Look) -> Column:
    """What a column is."""
    kind = look.column.type
    if pa.types.is_nested(kind) or is_binary(kind):
        return Column(look.name, "text", why=f"cells of type {kind}, which are not modelled")
    if not len(look.distinct) or (len(look.distinct) == 1 and not look.missing_count):
        return find_constant(look)
    field = look.source.table.schema.field(look.name).type
    if pa.types.is_dictionary(field):
        if field.ordered:
            return Column(look.name, "ordered", why=f"{count_of(look)} in an order", levels=dictionary_order(look))
        return Column(look.name, "categorical", why=f"{count_of(look)}, typed as categories")
    if pa.types.is_boolean(kind):
        return Column(look.name, "boolean", why="typed as truth values")
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return typed_moment(look)
    if not look.is_text:
        return typed_number(look)
    return _find_text(look)


def _find_text(look: Look) -> Column:
    is_number = are_numbers(look)
    if is_number.all():
        has_plus = pc.any(pc.starts_with(look.distinct, "+")).as_py()
        return (_marked_number(look) if has_plus else _point_thousands(look)) or number_or_code(look)
    moment = find_moment(look)
    if moment:
        return moment
    truth = find_boolean(look)
    if truth:
        return truth
    cleared = _marked_number(look) or without_odd_cells(look, is_number)
    if cleared:
        return cleared
    identifier = find_identifier(look)
    if identifier:
        return identifier
    return find_free_text(look) or Column(look.name, "categorical", why=few_or_many(look))


def _marked_number(look: Look) -> Column | None:
    """A column of numbers with a currency, a unit or marks between thousands, or None."""
    format_ = find_number_format(look.distinct, look.source.dialect.decimal)
    return None if format_ is None else _as_marked(look, format_)


def _as_marked(look: Look, format_: str) -> Column | None:
    """The column of numbers of a format, or None."""
    bare = look.bare(format_)
    is_number = are_numbers(bare)
    found = number_or_code(bare) if is_number.all() else without_odd_cells(bare, is_number)
    if found is None or found.kind not in ("float", "integer"):
        return None
    if found.kind == "integer" and look.is_unique and re.match(r"-?[^\W\d_]", format_):
        return None  # EUR1234 and EUR1235 are rather codes
    example = look.distinct[int(np.argmax(pc.utf8_length(look.distinct).to_numpy(zero_copy_only=False) * is_number))]
    return dataclasses.replace(found, format=format_, why=f"{found.why}, such as {example.as_py()}")


def _point_thousands(look: Look) -> Column | None:
    """A column with points between thousands, in a file of semicolons where no number has one before decimals."""
    source = look.source
    if source.dialect.delimiter != ";" or source.dialect.decimal != "." or not have_point_thousands(look.distinct):
        return None
    texts = (bare_text(column) for column in source.table.columns if pa.types.is_string(column.type))
    if any(pc.any(pc.match_substring_regex(text, _DECIMALS)).as_py() for text in texts):
        return None
    found = _as_marked(look, "{..}")
    why = f"points between thousands; if they are decimals, {say(look, 'float')}"
    return found and dataclasses.replace(found, why=f"{found.why}, {why}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
