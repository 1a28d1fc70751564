"""Columns of numbers or dates in which a few cells are neither: other spellings of a missing cell, or mistakes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.kinds.look import MAX_ODD_SHARE, MIN_ROWS, Look, UnfitError, quote, with_missing
from pipelines.tables.kinds.moment import find_moment
from pipelines.tables.kinds.number import INFINITY, infinity_error, number_or_code
from pipelines.tables.schema import Column
from pipelines.tables.texts import date_formats
from pipelines.tables.texts.dialect import MISSING
from pipelines.tables.texts.parsing import shorten

__all__ = ["without_odd_cells"]

# What stands for a missing value in a column that is otherwise numbers or dates; in other columns it may be a text.
_MARKERS = ("-", "--", "---", ".", "..", "*", "n/a", "#n/a", "#na", "<na>", "nd", "n.d.", "n.a.", "nil", "missing",
            "unknown", "not available", "not applicable", "#div/0!", "#value!", "#ref!", "#num!", "nat")  # fmt: skip
_NULLS = ("null", "nan", "none", "na", "(null)", "[null]")  # unless these are said to be texts
# Dates that stand for none, with a time or without.
_NO_DATES = (
    r"(?i)\A(?:0000-00-00|0001-01-01|1900-01-00|9999-12-31|00[./]00[./]0000|01[./]01[./]0001|31[./]12[./]9999|12/31/9999)"
    r"(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\z"
)


def without_odd_cells(look: Look, is_number: np.ndarray) -> Column | None:
    """A column of numbers or dates but for a few texts, or None."""
    lowered = pc.utf8_lower(look.distinct)
    words = _MARKERS + (_NULLS if set(MISSING) <= set(look.source.dialect.null_values) else ())
    is_marker = pc.or_(
        pc.is_in(lowered, value_set=pa.array(words)), pc.match_substring_regex(look.distinct, _NO_DATES)
    ).to_numpy(zero_copy_only=False)
    markers = look.distinct.filter(pa.array(is_marker)).to_pylist()
    if markers and not is_marker.all():
        rest = look.without(markers)
        if len(rest.distinct) == 1:
            found = None
        elif is_number[~is_marker].all():
            found = number_or_code(rest)
        else:
            found = find_moment(rest)
        if found and found.is_numeric:
            return with_missing(rest, found, markers)
        return without_odd_cells(rest, is_number[~is_marker]) if len(rest.distinct) > 1 else None
    odd_count = int(look.counts[~is_number].sum())
    odd = look.distinct.filter(pa.array(~is_number))
    infinite = odd.filter(pc.match_substring_regex(odd, INFINITY))
    is_rare = odd_count <= MAX_ODD_SHARE * look.present
    if len(infinite) and is_number.any() and (is_rare or len(infinite) == (~is_number).sum()):
        raise infinity_error(look, infinite[0].as_py())
    if is_rare:
        return _without_a_few(look, is_number, "is numeric", number_or_code)
    return _without_a_few(look, date_formats.read_by_most(look.distinct), "holds dates or times", find_moment)


def _without_a_few(look: Look, is_read: np.ndarray, what: str, find: Callable[[Look], Column | None]) -> Column | None:
    """A column that `find` finds but for a few texts that are not read: they are missing if they repeat, or named."""
    odd_count = int(look.counts[~is_read].sum())
    if is_read.sum() < MIN_ROWS or not 0 < odd_count <= MAX_ODD_SHARE * look.present:
        return None
    texts = look.distinct.filter(pa.array(~is_read)).to_pylist()
    if len(texts) <= 3 and look.counts[~is_read].min() >= 2:
        rest = look.without(texts)
        found = find(rest)
        return with_missing(rest, found, texts) if found and found.is_numeric else None
    first = texts[0]
    share = 100 * odd_count / look.present
    cells = f"{odd_count:,} {'cell' if odd_count == 1 else 'cells'}"
    raise UnfitError(
        f"{what} but for {cells}, {share:.2g} % ({shorten(first)} in row {look.row_of(first)})",
        f"correct such cells, or count them as missing with --null-value={quote(first)}, or say that the column is "
        f"text with --type {quote(look.name)}=categorical",
    )
