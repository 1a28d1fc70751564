"""Columns of numbers."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.kinds.identifier_patterns import find_sequence
from pipelines.tables.kinds.look import MAX_ODD_SHARE, MIN_ROWS, Look, UnfitError, count_of, drop_it, quote, say
from pipelines.tables.kinds.moment import compact_date
from pipelines.tables.kinds.text import find_free_text, find_identifier, numbered
from pipelines.tables.schema import Column
from pipelines.tables.texts.decimals import EXACT, decimals_of, noisy_numbers
from pipelines.tables.texts.parsing import LARGEST, numbers, shorten
from pipelines.tables.texts.scientific import find_scientific, find_small_ones, is_scientific
from pipelines.tables.texts.significant_digits import find_digits

__all__ = [
    "INFINITY",
    "are_numbers",
    "find_float",
    "infinity_error",
    "number_or_code",
    "numeric_texts",
    "refuse_overflow",
    "typed_number",
    "values_of_texts",
]

INFINITY = r"\A[+-]?[iI][nN][fF](inity)?\z"
_INTEGER = r"\A[+-]?\d+\z"
_CODE = r"\A0\d+\z"


def number_or_code(look: Look) -> Column:
    """Returns the column of texts that are all numbers, which may be codes or dates."""
    refuse_overflow(look)
    if not pc.all(pc.match_substring_regex(look.distinct, _INTEGER)).as_py():
        return find_float(look)
    if pc.any(pc.match_substring_regex(look.distinct, _CODE)).as_py():
        date = compact_date(look)
        if date:
            return date
        few = _few_codes(look)
        if not few:
            return _codes(look, "with leading zeros")
        found = _integer(look)
        return dataclasses.replace(found, why=f"{found.why}; {few}")
    return compact_date(look) or _integer(look)


def typed_number(look: Look) -> Column:
    """Returns the column of cells that are typed as numbers or durations."""
    infinite = pc.match_substring_regex(look.distinct, INFINITY)
    if pc.any(infinite).as_py():
        raise infinity_error(look, look.distinct.filter(infinite)[0].as_py())
    refuse_overflow(look)
    decimal_look = dataclasses.replace(
        look, source=dataclasses.replace(look.source, dialect=dataclasses.replace(look.source.dialect, decimal="."))
    )
    if pa.types.is_integer(look.column.type):
        return _integer(decimal_look)
    if pa.types.is_duration(look.column.type):
        return Column(look.name, "integer", why=f"durations in {look.column.type.unit}", decimals=0)
    return find_float(decimal_look)


def find_float(look: Look) -> Column:
    """Returns the column of texts that are all numbers, with the decimals they have."""
    mark = look.source.dialect.decimal if look.is_text else "."
    values = values_of_texts(look, look.distinct)
    decimals, min_decimals = decimals_of(look.distinct, look.counts, mark, float(np.abs(values).max()))
    format_, bare_point = None, False
    if look.is_text:
        format_ = find_scientific(look.distinct, mark) if decimals is None else None
        format_ = format_ or find_small_ones(look.distinct, mark)
        zeros, points = (
            pc.match_substring_regex(look.distinct, rf"\A[+-]?{zero}{re.escape(mark)}") for zero in ("0", "")
        )
        bare_point = pc.sum(points).as_py() > pc.sum(zeros).as_py()
    noisy = () if decimals is None else noisy_numbers(values, look.counts, decimals)
    digits = None if noisy or is_scientific(format_) else find_digits(values)
    if is_scientific(format_):
        why = f"numbers with an exponent, such as {look.distinct[0].as_py()}, {len(look.distinct):,} distinct"
    elif digits is not None:
        why = f"numbers with {digits} significant digits, {len(look.distinct):,} distinct"
    elif decimals is None:
        why = f"numbers at full precision, {len(look.distinct):,} distinct"
    else:
        how_many = f"{decimals}" if decimals == min_decimals else f"{min_decimals} to {decimals}"
        why = f"numbers with {how_many} decimal{'s' * (decimals != 1)}, {len(look.distinct):,} distinct"
    return Column(
        look.name,
        "float",
        why=why,
        decimals=decimals,
        min_decimals=min_decimals,
        digits=digits,
        bare_point=bare_point,
        format=format_,
        noisy=noisy,
    )


def are_numbers(look: Look) -> np.ndarray:
    """Returns which of the distinct texts are finite numbers, bool."""
    return numeric_texts(look.distinct, look.source.dialect.decimal)


def numeric_texts(texts: pa.Array, decimal: str) -> np.ndarray:
    """Returns which texts, `[n]`, are finite numbers, bool."""
    mark = re.escape(decimal)
    pattern = rf"\A[+-]?(\d+{mark}?\d*|{mark}\d+)([eE][+-]?\d+)?\z"
    return np.asarray(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False))


def values_of_texts(look: Look, texts: pa.Array) -> np.ndarray:
    """Returns distinct texts of numbers as float64."""
    spec = Column(look.name, "float")
    return numbers(pa.chunked_array([texts]), spec, look.source.dialect, look.source.name)


def refuse_overflow(look: Look) -> None:
    """Raises `UnfitError` if numbers are so large, or so near to each other, that float64 cannot compute with them."""
    large = look.distinct.filter(pc.match_substring_regex(look.distinct, r"[eE]\+?\d{3}|\d{300}"))
    mark = look.source.dialect.decimal if look.is_text else "."
    for text in large.to_pylist():
        if abs(float(text.replace(mark, "."))) > LARGEST:
            raise UnfitError(
                f"has {shorten(text)} in row {look.row_of(text)}; beyond {LARGEST:g} numbers are too large to compute "
                "with",
                f"to count such cells as missing: --null-value={quote(text)}; or {say(look, 'categorical')}",
            )
    if pc.any(pc.match_substring_regex(look.distinct, r"[eE]-\d{3}|0{290}")).as_py():
        values = values_of_texts(look, look.distinct)
        if 0 < values.max() - values.min() < 1 / LARGEST:
            raise UnfitError(
                f"has numbers that differ by less than {1 / LARGEST:g}, which is too little to compute with",
                f"multiply them by a factor; or {drop_it(look)}",
            )


def infinity_error(look: Look, text: str) -> UnfitError:
    """Returns the complaint about an infinite cell."""
    return UnfitError(
        f"is infinite ({text!r} in row {look.row_of(text)})",
        f"to count infinite cells as missing: --null-value={text}; to leave the column out: --drop {quote(look.name)}",
    )


def _few_codes(look: Look) -> str:
    """Returns what to know of a few cells with leading zeros among many whole numbers of other lengths; or nothing."""
    is_code = pc.match_substring_regex(look.distinct, _CODE).to_numpy(zero_copy_only=False)
    count = int(look.counts[is_code].sum())
    has_one_length = pc.count_distinct(pc.utf8_length(look.distinct)).as_py() == 1
    if has_one_length or (~is_code).sum() < MIN_ROWS or count > MAX_ODD_SHARE * look.present:
        return ""
    first = look.distinct.filter(pa.array(is_code))[0].as_py()
    cells = f"{count:,} {'cell' if count == 1 else 'cells'} with leading zeros"
    where = f"{shorten(first)} in row {look.row_of(first)}"
    be = "is" if count == 1 else "are"
    return f"{cells} ({where}) {be} read as such; if all are codes, {say(look, 'categorical')}"


def _codes(look: Look, what: str) -> Column:
    """The column of whole numbers that are codes."""
    why = f"codes {what}, {count_of(look)}"
    return find_identifier(look) or find_free_text(look) or Column(look.name, "categorical", why=why)


def _integer(look: Look) -> Column:
    values = values_of_texts(look, look.distinct)
    if np.abs(values).max() >= EXACT:
        if pc.count_distinct(pc.utf8_length(look.distinct)).as_py() == 1:
            return _codes(look, "of many digits")
        return Column(look.name, "float", why="whole numbers too large to be exact", decimals=0)
    are_years = bool(((values >= 1900) & (values <= 2100)).all())
    if look.is_unique and look.rows >= MIN_ROWS and not look.missing_count and not are_years:
        sequence = find_sequence(look.text, look.source.rows, look.source.num_rows)
        if sequence:
            return numbered(look, sequence)
    return Column(look.name, "integer", why=f"whole numbers, {len(look.distinct):,} distinct", decimals=0)
