"""Dates and times in formats that are not known, or in several: they are no identifiers, and a person is told."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.texts.date_formats import find_formats

__all__ = ["seem_dates", "why_no_format"]

# A time of day: nearly no other texts have one in every row.
_CLOCK = r"(?:^|[^\d.])(?:[01]\d|2[0-3])[:.][0-5]\d[:.][0-5]\d(?:\D|$)"
_NAMES = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun"
_NAME = rf"(?i)(?:^|[^a-z])(?P<name>{_NAMES})[a-z]*(?:[^a-z]|$)"
_WEEK = r"\A\d{4}-?W\d\d(?:-?\d)?\z"
_PARTS = r"\A(?P<a>\d\d|\d{4})[-/. ](?P<b>\d\d)[-/. ](?P<c>\d\d|\d{4})\z"
_TIME_BEHIND = r"[ T]\d\d?:\d\d.*\z"
_ZONE_AT_END = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)? ?(?P<zone>Z|UTC|[+-]\d\d(?::?\d\d)?)\z"


def seem_dates(texts: pa.Array) -> bool:
    """Whether all distinct texts, `[n]`, have a time of day, the name of a month or weekday, or a month and a day.

    In whatever format: 23:59:59, Mon 04 Jan, 21-12-31. A name that all have is none of dates.
    """
    if _are_all(texts, _CLOCK) or _are_all(texts, _WEEK):
        return True
    if _are_all(texts, _NAME):
        names = pc.utf8_lower(pc.extract_regex(texts, _NAME).field("name"))
        return bool(pc.count_distinct(names).as_py() > 1)
    if not _are_all(texts, _PARTS):
        return False
    parts = pc.extract_regex(texts, _PARTS).flatten()
    ranges = [pc.min_max(pc.cast(part, pa.int64())).as_py() for part in parts]
    greatest = sorted(ends["max"] for ends in ranges if ends["min"] >= 1)
    return len(greatest) > 1 and greatest[0] <= 12 and greatest[1] <= 31


def why_no_format(texts: pa.Array) -> str | None:
    """Returns why no one format reads dates or times, distinct texts, `[n]`, or None if they seem to be none."""
    if _are_all(texts, _ZONE_AT_END):
        zones = pc.unique(pc.extract_regex(texts, _ZONE_AT_END).field("zone")).to_pylist()
        if len(zones) > 1:
            return (
                f"dates or times with different zones ({', '.join(sorted(zones)[:3])}); write all in one, such as UTC"
            )
    if pc.any(pc.match_substring_regex(texts, _TIME_BEHIND)).as_py():
        dates = pc.unique(pc.replace_substring_regex(texts, _TIME_BEHIND, ""))
        if find_formats(dates):
            return "dates of which some have times and some have none; give all or none one"
    return f"dates or times in no known format, such as {texts[0].as_py()!r}" if seem_dates(texts) else None


def _are_all(texts: pa.Array, pattern: str) -> bool:
    """Whether a pattern is in all texts, few of which usually say that it is not."""
    return all(pc.all(pc.match_substring_regex(part, pattern)).as_py() for part in (texts.slice(0, 200), texts))
