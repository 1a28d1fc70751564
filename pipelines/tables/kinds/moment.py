"""Columns of dates and times."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.kinds.look import Look, with_missing
from pipelines.tables.schema import Column, Kind
from pipelines.tables.texts import date_formats

__all__ = ["compact_date", "find_moment", "moment_of", "typed_moment"]

# What stands for no date among such as 20200131.
_NO_COMPACT_DATES = ("0", "-1", "00000000", "00010101", "99991231", "00000000000000", "99991231235959")


def find_moment(look: Look) -> Column | None:
    """Returns a column of texts that one format reads, or None."""
    formats = date_formats.find_formats(look.distinct)
    if not formats:
        return None
    format_ = formats[0]
    why = ""
    if len(formats) > 1:
        format_, why = _day_or_month(look, formats)
    return moment_of(look, format_, why)


def moment_of(look: Look, format_: str, why: str = "") -> Column:
    """Returns the column of texts that a format reads."""
    kind = date_formats.kind_of(format_)
    most, fewest = date_formats.fraction_digits(look.distinct, format_)
    noun = {"date": "dates", "time": "times", "datetime": "dates with times"}[kind]
    return Column(
        look.name,
        kind,
        why=f"{noun} such as {look.distinct[0].as_py()}{why}",
        decimals=most if kind != "date" else 0,
        min_decimals=fewest,
        format=format_,
    )


def compact_date(look: Look) -> Column | None:
    """Returns dates such as 20200131, with a time or without: by chance eight digits are one in 30,000 times or so.

    Beside them, 0 and dates such as 99991231 count as missing.
    """
    gone = [text for text in _NO_COMPACT_DATES if pc.index(look.distinct, text).as_py() >= 0]
    if gone and len(look.distinct) > len(gone):
        rest = look.without(gone)
        dates = compact_date(rest)
        return dates and with_missing(rest, dates, gone)
    lengths = pc.min_max(pc.utf8_length(look.distinct)).as_py()
    format_ = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}.get(lengths["min"])
    if format_ is None or lengths["min"] != lengths["max"] or len(look.distinct) < 5:
        return None
    found = date_formats.parse(look.distinct, format_) / (1 if lengths["min"] == 8 else 86_400)
    first, last = np.datetime64("1900-01-01").astype(int), np.datetime64("2100-01-01").astype(int)
    return moment_of(look, format_) if bool(((first <= found) & (found < last)).all()) else None


def typed_moment(look: Look) -> Column:
    """Returns the column of cells that are typed as dates or times."""
    kind = look.column.type
    if pa.types.is_date(kind):
        return Column(look.name, "date", why="typed as dates", decimals=0)
    decimals = 0
    texts = look.distinct
    point = pc.match_substring_regex(texts, r"\.\d*[1-9]")
    if pc.any(point).as_py():
        trimmed = pc.replace_substring_regex(texts, r"\A[^.]*\.(\d*?)0*(Z|[+-][\d:]+)?\z", r"\1")
        decimals = pc.max(pc.if_else(point, pc.utf8_length(trimmed), 0)).as_py()
    found: Kind = "time" if pa.types.is_time(kind) else "datetime"
    return Column(look.name, found, why=f"typed as {kind}", decimals=decimals, format="iso")


def _day_or_month(look: Look, formats: Sequence[str]) -> tuple[str, str]:
    """Which of two formats, by which the rows are rather in order; the day first if they are in neither."""
    day_first = min(formats, key=lambda format_: re.sub("-", "", format_).index("%d"))
    order = []
    for format_ in formats:
        parsed = date_formats.parse(look.text.slice(0, 100_000), format_)
        steps = np.diff(parsed[~np.isnan(parsed)])
        order.append(max((steps >= 0).mean(), (steps <= 0).mean()) if len(steps) else 0.0)
    if max(order) > 0.9 and max(order) - min(order) > 0.02:
        return formats[int(np.argmax(order))], ""
    return day_first, ", read with the day first though it might be the month"
