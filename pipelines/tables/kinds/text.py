"""Columns of texts: constants, truth values, identifiers, free text, categories and their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipelines.tables.kinds.identifier_patterns import find_pattern, find_sequence, is_uuids
from pipelines.tables.kinds.look import MIN_ROWS, Look, count_of, say
from pipelines.tables.schema import Column
from pipelines.tables.texts.parsing import bare_text, plain, shorten
from pipelines.tables.texts.unknown_dates import seem_dates, why_no_format

__all__ = [
    "dictionary_order",
    "few_or_many",
    "find_boolean",
    "find_constant",
    "find_free_text",
    "find_identifier",
    "numbered",
]

# As categories, so many of the texts that repeat would be told apart: were these so few, nearly all would be (other).
_MOST_CATEGORIES, _LEAST_SHARE = 1_000, 0.2
_TRUTH = ({"true", "false"}, {"t", "f"}, {"yes", "no"}, {"y", "n"}, {"on", "off"})


def find_constant(look: Look) -> Column:
    """Returns a column of one value or of none."""
    if not len(look.distinct):
        value = look.missing[0] if look.missing else ""
        return Column(look.name, "constant", why="every cell is missing", value=value)
    # Spelled as in the file, with the space around it, if it is spelled the same everywhere.
    value = look.distinct[0].as_py()
    if look.is_text and pc.count_distinct(look.column).as_py() == 1:
        value = look.column[0].as_py()
    return Column(look.name, "constant", why=f"one value: {shorten(value)}", value=value)


def find_boolean(look: Look) -> Column | None:
    """Returns a column of two values such as yes and no."""
    values = look.distinct.to_pylist() if len(look.distinct) == 2 else []
    if {value.lower() for value in values} in _TRUTH:
        return Column(look.name, "boolean", why=f"2 values: {', '.join(values)}")
    return None


def find_identifier(look: Look) -> Column | None:
    """Returns a column of values that occur once and are UUIDs, numbered, or of one pattern with digits."""
    if not look.is_unique or look.present < MIN_ROWS:
        return None
    if is_uuids(look.distinct):
        upper = look.distinct[0].as_py().isupper()
        return Column(
            look.name, "identifier", why="every value occurs once, UUIDs", identifier={"kind": "uuid", "upper": upper}
        )
    if not look.missing_count:
        sequence = find_sequence(look.text, look.source.rows, look.source.num_rows)
        if sequence:
            return numbered(look, sequence)
    pattern = None if seem_dates(look.distinct) else find_pattern(look.distinct)
    if pattern:
        why = f"every value occurs once, all such as {shorten(look.distinct[0].as_py())}"
        return Column(look.name, "identifier", why=why, identifier=pattern)
    return None


def numbered(look: Look, sequence: Mapping[str, Any]) -> Column:
    """Returns the column of a sequence that `find_sequence` found."""
    first, last = look.text[0].as_py(), look.text[-1].as_py()
    how = f"numbered {first} to {last}" if sequence["in_order"] else "numbered, in no order"
    identifier = {k: v for k, v in sequence.items() if k != "in_order"}
    return Column(look.name, "identifier", why=f"every value occurs once, {how}", identifier=identifier)


def find_free_text(look: Look) -> Column | None:
    """Returns a column of texts that mostly occur once: many, or long."""
    distinct = len(look.distinct)
    share = distinct / look.present
    length = float(np.average(pc.utf8_length(look.distinct).to_numpy(zero_copy_only=False), weights=look.counts))
    is_text = (
        (distinct >= 100 and share > 0.8)
        or (distinct >= MIN_ROWS and share > 0.5 and length >= 20)
        or (distinct >= 100 and share > 0.2 and length >= 50)
    )
    if not is_text:
        return None
    why = why_no_format(look.distinct)
    if why:
        return Column(look.name, "text", why=why)
    repeated = int(look.counts[look.counts > 1].sum())
    long = "long texts" if length >= 20 else "texts"
    why = f"{look.present:,} {long}, {f'{repeated:,}' if repeated else 'none'} of which repeat"
    if np.sort(look.counts[look.counts > 1])[-_MOST_CATEGORIES:].sum() >= _LEAST_SHARE * look.present:
        why += f"; {say(look, 'categorical')} to model these"
    return Column(look.name, "text", why=why)


def few_or_many(look: Look) -> str:
    """Returns what is said of a category's values."""
    if len(look.distinct) > 4:
        return f"{why_no_format(look.distinct) or 'texts'}, {len(look.distinct):,} distinct"
    order = np.argsort(-look.counts, kind="stable")
    values = ", ".join(shorten(look.distinct[int(i)].as_py())[1:-1] for i in order)
    return f"{count_of(look)}: {values}"


def dictionary_order(look: Look) -> tuple[str, ...]:
    """Returns the values of a typed category in their order."""
    column = look.source.table.column(look.name).unify_dictionaries()
    if not column.num_chunks:
        return ()
    return tuple(bare_text(plain(column.chunk(0).dictionary)).to_pylist())
