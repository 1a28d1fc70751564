"""Dates and times as text: which format a column has, and what its cells are as numbers."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["find_formats", "fraction_digits", "is_of_months", "kind_of", "parse", "read_by_most"]

Moment = Literal["date", "time", "datetime"]

_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December"]  # fmt: skip
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_DIRECTIVES = {
    "%Y": r"(?P<Y>[12]\d{3})",
    "%y": r"(?P<y>\d{2})",
    "%m": r"(?P<m>\d{2})",
    "%-m": r"(?P<m>\d{1,2})",
    "%b": rf"(?P<b>{'|'.join(month[:3] for month in _MONTHS)})",
    "%^b": rf"(?P<b>{'|'.join(month[:3].upper() for month in _MONTHS)})",
    "%B": rf"(?P<b>{'|'.join(_MONTHS)})",
    "%a": rf"(?:{'|'.join(_WEEKDAYS)})",
    "%d": r"(?P<d>\d{2})",
    "%-d": r"(?P<d>\d{1,2})",
    "%H": r"(?P<H>\d{2})",
    "%-H": r"(?P<H>\d{1,2})",
    "%I": r"(?P<I>\d{2})",
    "%-I": r"(?P<I>\d{1,2})",
    "%M": r"(?P<M>\d{2})",
    "%S": r"(?P<S>\d{2})",
    ".%f": r"(?:\.(?P<f>\d{1,9}))?",
    ",%f": r"(?:,(?P<f>\d{1,9}))?",
    "%p": r"(?P<p>AM|PM)",
    "%P": r"(?P<p>am|pm)",
}
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y",
          "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%d-%^b-%Y", "%d-%^b-%y",
          "%d%^b%Y", "%a %d %b %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%Y. %m. %d.", "%Y년 %m월 %d일")  # fmt: skip
_OF_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%^b-%y")
_TIMES = ("%H:%M:%S", "%H:%M:%S.%f", "%H:%M:%S,%f", "%H:%M", "%H.%M.%S", "%I:%M:%S %p", "%I:%M %p", "%I:%M:%S %P",
          "%I:%M %P")  # fmt: skip
_JOINTS = (" ", "T", ", ")
_ZONE = re.compile(r"\d(Z| ?UTC|[+-]\d\d:?\d\d)$|:\d\d:\d\d(?:\.\d+)?([+-]\d\d)$")
_NUMBERS = re.compile(r"(?:%-?[YymdHIMSf]|\d)+")
_PADDED = re.compile(r"%([mdHI])")


def kind_of(format_: str) -> Moment:
    """Whether a format spells a date, a time or both."""
    has_date = "%Y" in format_ or "%y" in format_
    has_time = "%M" in format_
    return "datetime" if has_date and has_time else "date" if has_date else "time"


def is_of_months(format_: str) -> bool:
    """Whether a format spells months without their days."""
    has_day = re.search("%[-_^#]?[dejFD]", format_) is not None
    return not has_day and re.search("%[-_^#]?[mbBh]", format_) is not None


def find_formats(texts: pa.Array) -> list[str]:
    """Returns the formats that read every text, the likelier first; none if there are none.

    Args:
        texts: `[n]`, distinct texts, none missing.

    More than one is left where day and month cannot be told apart.
    """
    some = texts.slice(0, 200)
    found: list[str] = []
    for format_ in _fitting(texts[0].as_py()):
        if format_ in found or (found and not _is_swapped(format_, found[0])):
            continue
        if np.isnan(parse(some, format_)).any() or np.isnan(parse(texts, format_)).any():
            continue
        if not is_of_months(format_) or _are_months(texts, format_):
            found.append(format_)
    return found


def read_by_most(texts: pa.Array) -> np.ndarray:
    """Returns which texts, `[n]`, bool, are read by the best of the formats that read the first or the middle one."""
    best = np.zeros(len(texts), bool)
    for first in (texts[0].as_py(), texts[len(texts) // 2].as_py()):
        for format_ in _fitting(first):
            is_read = ~np.isnan(parse(texts, format_))
            if is_of_months(format_) and not _are_months(texts.filter(pa.array(is_read)), format_):
                continue
            best = is_read if is_read.sum() > best.sum() else best
    return best


def parse(texts: pa.Array | pa.ChunkedArray, format_: str) -> np.ndarray:
    """Returns texts as days or seconds, `[n]`, float64: since 1970-01-01, or midnight for times; else NaN.

    A zone in the format is part of the spelling: the clock of the text is what counts. A month is its first day.
    """
    if isinstance(texts, pa.ChunkedArray):
        parts = [parse(chunk, format_) for chunk in texts.chunks]
        return np.concatenate(parts) if parts else np.empty(0)
    fields = pc.extract_regex(texts, pattern=_pattern(format_))
    is_read = pc.is_valid(fields).to_numpy(zero_copy_only=False)
    names = [fields.type.field(i).name for i in range(fields.type.num_fields)]

    def number(name: str) -> np.ndarray:
        digits = pc.if_else(is_read, fields.field(name), "0")
        return pc.cast(digits, pa.int64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    is_read = pa.array(is_read)
    values = np.zeros(len(texts))
    valid = is_read.to_numpy(zero_copy_only=False).copy()
    if "Y" in names or "y" in names:
        year = number("Y") if "Y" in names else number("y")
        if "y" in names:
            year = np.where(year < 69, 2000 + year, 1900 + year)  # as POSIX has it
        if "b" in names:
            short = pc.utf8_capitalize(pc.utf8_slice_codeunits(fields.field("b"), 0, 3))
            index = pc.index_in(short, value_set=pa.array([name[:3] for name in _MONTHS]))
            month = pc.fill_null(index, 0).to_numpy(zero_copy_only=False).astype(np.int64) + 1
        else:
            month = number("m")
        day = number("d") if "d" in names else np.ones(len(texts), np.int64)
        valid &= (month >= 1) & (month <= 12) & (day >= 1)
        months = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (np.clip(month, 1, 12) - 1)
        days = months.astype("datetime64[D]") + (day - 1)
        valid &= days.astype("datetime64[M]") == months
        values = days.astype(np.int64).astype(np.float64)
    if "M" in names:
        if "H" in names:
            hour = number("H")
            valid &= hour < 24
        else:
            hour = number("I")
            valid &= (hour >= 1) & (hour <= 12)
            afternoon = pc.is_in(fields.field("p"), value_set=pa.array(["PM", "pm"])).to_numpy(zero_copy_only=False)
            hour = hour % 12 + 12 * afternoon
        minute = number("M")
        second = number("S") if "S" in names else np.zeros(len(texts))
        valid &= (minute < 60) & (second < 60)
        seconds = 3600.0 * hour + 60.0 * minute + second
        if "f" in names:
            digits = pc.if_else(is_read, fields.field("f"), "")
            fraction = pc.cast(pc.binary_join_element_wise("0.", digits, "0", ""), pa.float64())
            seconds = seconds + fraction.to_numpy(zero_copy_only=False)
        values = seconds if kind_of(format_) == "time" else 86400.0 * values + seconds
    return np.where(valid, values, np.nan)


def fraction_digits(texts: pa.Array, format_: str) -> tuple[int, int]:
    """Returns the most and the fewest digits of the seconds' fraction; no fraction has none."""
    if "%f" not in format_:
        return 0, 0
    digits = pc.utf8_length(pc.extract_regex(texts, pattern=_pattern(format_)).field("f"))
    return pc.max(digits).as_py(), pc.min(digits).as_py()


def _fitting(text: str) -> Iterator[str]:
    """The formats whose shape a text has, though there may be no such date."""
    if any(character.isdigit() for character in text) and len(text) <= 40:
        for format_ in _candidates(text):
            if _may_read(format_, text) and re.fullmatch(_pattern(format_, python=True), text):
                yield format_


def _candidates(first: str) -> Iterator[str]:
    zone = _ZONE.search(first)
    zones = ("", zone[1] or zone[2]) if zone else ("",)
    plain: list[str] = [*_DATES, *_OF_MONTHS, *_TIMES]
    joined = [f"{date}{joint}{time}" for date, joint, time in itertools.product(_DATES, _JOINTS, _TIMES)]
    for format_ in plain:
        yield format_
    for format_, suffix in itertools.product(joined, zones):
        yield format_ + suffix
    for format_, suffix in itertools.product(joined, zones):  # leading zeros in the date or the time alone
        date, time = re.split(r"(?=(?:T|,? )(?:%H|%I))", format_, maxsplit=1)
        yield re.sub(r"%([md])", r"%-\1", date) + time + suffix
        yield date + re.sub(r"%([HI])", r"%-\1", time) + suffix
    for format_, suffix in itertools.product([*plain, *joined], zones):
        if "%Y%m%d" not in format_:
            yield _PADDED.sub(r"%-\1", format_) + suffix


def _may_read(format_: str, text: str) -> bool:
    """Whether a text has as many numbers as a format, which costs less to find out than a match."""
    runs = len(_NUMBERS.findall(format_))
    return len(re.findall(r"\d+", text)) in ((runs - 1, runs) if "%f" in format_ else (runs,))


def _are_months(texts: pa.Array, format_: str) -> bool:
    """Whether what may be months are: no codes such as 1044-11, quarters such as 2012-3, or spans such as 2003-05."""
    months = parse(texts, format_).astype("datetime64[D]").astype("datetime64[M]").astype(int)
    years, number = months // 12 + 1970, months % 12 + 1
    are_years = ((years >= 1800) & (years < 2200)).all()
    if not len(months):
        return False
    are_quarters = len(np.unique(years)) > 1 and number.max(initial=0) <= 4
    are_spans = np.ptp(years) > 2 and (number > years % 100).mean() > 0.9
    return bool(are_years and not are_quarters and not are_spans)


def _is_swapped(one: str, other: str) -> bool:
    """Whether two formats differ in the order of day and month only."""
    swap = {"d": "m", "m": "d"}
    return re.sub(r"(?<=%)(-?)([dm])", lambda match: match[1] + swap[match[2]], one) == other


@functools.cache
def _pattern(format_: str, python: bool = False) -> str:
    pieces = re.split(r"([.,]%f|%[-^]?[a-zA-Z])", format_)
    pattern = "".join(_DIRECTIVES.get(piece) or re.escape(piece) for piece in pieces)
    return pattern if python else rf"\A{pattern}\z"
