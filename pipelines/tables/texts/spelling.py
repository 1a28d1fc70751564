"""From the numbers of a column to the texts its source would have had for them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError
from pipelines.tables.schema import Column
from pipelines.tables.texts.arrays import from_numpy, from_texts, scalar
from pipelines.tables.texts.date_formats import is_of_months
from pipelines.tables.texts.decimals import with_noise, without_noise
from pipelines.tables.texts.number_formats import bare_numbers, with_marks
from pipelines.tables.texts.scientific import SMALL, SMALL_ONES, in_few_digits, is_scientific, spelled
from pipelines.tables.texts.significant_digits import rounded

__all__ = ["on_lattice", "parse", "spell", "ticks"]

# Integers below are exact in float64, so that a number on a lattice is its count of steps and nothing else.
_EXACT = float(1 << 53)
_DAY = 86_400
_HALF_A_MONTH = 15  # days
# The days of the years 1 to 9999, counted from 1970-01-01.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_ISO = {"date": "%Y-%m-%d", "time": "%H:%M:%S", "datetime": "%Y-%m-%dT%H:%M:%S"}
_SHORTHANDS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%D": "%m/%d/%y", "%h": "%b", "%e": "%_d"}
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def spell(column: Column, values: np.ndarray, decimal: str = ".") -> pa.Array:
    """Returns numbers as texts, rounded to the column's lattice.

    Args:
        column: A numeric column.
        values: `[n]`, float64, finite, in the units of the column's kind.
        decimal: The decimal point of floats.

    Raises:
        AugmentError: If the column's format has a directive that is not known.
    """
    if column.kind in ("date", "time", "datetime"):
        return _spell_moments(column, values)
    if is_scientific(column.format):
        return spelled(values, column.format, decimal)
    if column.digits is not None:
        values = on_lattice(column, values)
    if column.kind == "integer":
        text = _spell_fixed(values, 0, 0)
    elif column.decimals is None:
        text = _spell_shortest(values, column.min_decimals)
    else:
        text = _spell_fixed(values, column.decimals, min(column.min_decimals, column.decimals))
        if column.noisy:
            found = on_lattice(column, values)
            is_noisy = np.isin(found, column.noisy) & (found != without_noise(found, column.decimals))
            text = _put(text, is_noisy, _spell_shortest(found[is_noisy], 0))
    if column.format == SMALL_ONES:
        found = on_lattice(column, values)
        is_small = (found != 0) & (np.abs(found) < SMALL)
        text = _put(text, is_small, from_texts([repr(value) for value in found[is_small].tolist()]))
    if column.bare_point:
        text = pc.replace_substring_regex(text, r"\A(-?)0\.", r"\1.")
    text = text if decimal == "." else pc.replace_substring(text, ".", decimal)
    return with_marks(text, column.format, decimal) if column.format and column.format != SMALL_ONES else text


def parse(column: Column, text: str, decimal: str = ".") -> float | None:
    """Returns the number that a text of a numeric column stands for, or None if it stands for none."""
    text = text.strip()
    try:
        if column.kind in ("float", "integer"):
            if column.format:
                text = bare_numbers(from_texts([text]), column.format, decimal)[0].as_py()
            number = float(text.replace(decimal, "."))
            if not np.isfinite(number):
                return None
            if column.kind == "integer" or column.decimals is None:
                return number
            return float(without_noise(np.array(number), column.decimals))
        return _parse_moment(column, text)
    except ValueError:
        return None


def on_lattice(column: Column, values: np.ndarray) -> np.ndarray:
    """Returns the numbers that the texts of `spell` read back as, float64, for integers and floats."""
    if is_scientific(column.format):
        return in_few_digits(values, column.format)
    decimals = 0 if column.kind == "integer" else column.decimals
    if column.digits is not None:
        return rounded(values, decimals, column.digits)
    if decimals is None:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.rint(values * 10.0**decimals)
        found: np.ndarray = np.where(np.abs(steps) < _EXACT, steps / 10.0**decimals + 0.0, values)
    return with_noise(found, column.noisy, decimals) if column.noisy else found


def ticks(column: Column, values: np.ndarray, digits: int) -> np.ndarray:
    """Returns times as whole numbers of `10**-digits` seconds, int64, rounded to what the column's format can say.

    Days count in days whatever `digits`; of a format without them, they are the nearest first of a month. What is
    beyond the years 1 to 9999, or beyond the day for a time, becomes the last moment before.
    """
    if column.kind == "date":
        days: np.ndarray = np.clip(np.rint(values), _FIRST_DAY, _LAST_DAY).astype(np.int64)
        if is_of_months(column.format or ""):
            middle = np.minimum(days + _HALF_A_MONTH, _LAST_DAY).astype("datetime64[D]")
            days = middle.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        return days
    step, fraction = _step(column)
    per_second = 10**fraction
    first, last = (0, _DAY) if column.kind == "time" else (_FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY)
    count = np.rint(np.clip(values, first, last) * per_second / step).astype(np.int64)
    whole: np.ndarray = np.minimum(count, last * per_second // step - 1) * step
    if digits < fraction:
        whole //= 10 ** (fraction - digits)
        return whole
    whole *= 10 ** (digits - fraction)
    return whole


def _spell_fixed(values: np.ndarray, decimals: int, fewest: int) -> pa.Array:
    """At most `decimals` digits after the point, at least `fewest`."""
    with np.errstate(over="ignore"):
        steps = np.rint(values * 10.0**decimals)
    large = np.abs(steps) >= _EXACT
    lattice = np.where(large, 0, steps).astype(np.int64)
    if not decimals:
        text = pc.cast(from_numpy(lattice), pa.string())
    elif decimals <= 6:  # where decimals are never spelled with an exponent
        words = np.stack([lattice, lattice >> 63], axis=1)
        text = pc.cast(
            pa.Array.from_buffers(pa.decimal128(19, decimals), len(lattice), [None, pa.py_buffer(words)]), pa.string()
        )
    else:
        digits = pc.utf8_lpad(pc.cast(from_numpy(np.abs(lattice)), pa.string()), decimals + 1, "0")
        text = pc.binary_replace_slice(digits, -decimals, -decimals, ".")
        sign = pc.if_else(pc.less(from_numpy(lattice), scalar(0)), scalar("-"), scalar(""))
        text = pc.binary_join_element_wise(sign, text, scalar(""))
    if large.any():  # by hand, as their steps are not exact
        text = _put(text, large, from_texts([f"{value:.{decimals}f}" for value in values[large].tolist()]))
    if fewest == decimals:
        return text
    if not fewest:
        return pc.ascii_rtrim(pc.ascii_rtrim(text, "0"), ".")
    optional = decimals - fewest
    kept = pc.utf8_slice_codeunits(text, 0, -optional)
    return pc.binary_join_element_wise(kept, pc.ascii_rtrim(pc.utf8_slice_codeunits(text, -optional), "0"), scalar(""))


def _spell_shortest(values: np.ndarray, fewest: int) -> pa.Array:
    """As few digits as read back as the same number; `.0` after whole numbers if `fewest` is not zero."""
    text = pc.cast(from_numpy(np.asarray(values, np.float64)), pa.string())
    large = np.abs(values) >= 1e10  # Arrow turns to exponents from here on, people much later
    if large.any():
        text = _put(text, large, from_texts([repr(value).removesuffix(".0") for value in values[large].tolist()]))
    if fewest:
        whole = pc.invert(pc.match_substring_regex(text, "[.eEn]"))
        text = pc.if_else(whole, pc.binary_join_element_wise(text, scalar(".0"), scalar("")), text)
    return text


def _put(text: pa.Array, where: np.ndarray, replacements: pa.Array) -> pa.Array:
    """`text` with other texts in some rows."""
    index = np.arange(len(text))
    index[where] = len(text) + np.arange(len(replacements))
    return pc.take(pa.concat_arrays([text, replacements]), from_numpy(index))


class _Moment(NamedTuple):
    """The parts of dates and times, each `[n]`, int64."""

    year: np.ndarray
    month: np.ndarray
    day: np.ndarray
    day_of_year: np.ndarray
    weekday: np.ndarray  # Monday is 0
    second: np.ndarray  # of the day


class _Directive(NamedTuple):
    """How a part is spelled: `digits` of the number `of` gives, or its entry among `names`."""

    of: Callable[[_Moment], np.ndarray]
    last: int
    digits: int = 2
    names: Sequence[str] = ()


_DIRECTIVES = {
    "Y": _Directive(lambda m: m.year, 9999, 4),
    "y": _Directive(lambda m: m.year % 100, 99),
    "m": _Directive(lambda m: m.month, 12),
    "d": _Directive(lambda m: m.day, 31),
    "j": _Directive(lambda m: m.day_of_year, 366, 3),
    "H": _Directive(lambda m: m.second // 3600, 23),
    "I": _Directive(lambda m: (m.second // 3600 + 11) % 12 + 1, 12),
    "M": _Directive(lambda m: m.second // 60 % 60, 59),
    "S": _Directive(lambda m: m.second % 60, 59),
    "B": _Directive(lambda m: m.month - 1, 11, names=_MONTHS),
    "b": _Directive(lambda m: m.month - 1, 11, names=[name[:3] for name in _MONTHS]),
    "A": _Directive(lambda m: m.weekday, 6, names=_WEEKDAYS),
    "a": _Directive(lambda m: m.weekday, 6, names=[name[:3] for name in _WEEKDAYS]),
    "p": _Directive(lambda m: m.second // 43_200, 1, names=("AM", "PM")),
    "P": _Directive(lambda m: m.second // 43_200, 1, names=("am", "pm")),
}
# A literal, a directive with its flag (- without padding, _ padded with blanks, ^ in capitals, # in small letters), or
# a fraction of the second with its point.
_TOKEN = re.compile(r"(?P<point>[.,])?%f|%(?P<flag>[-_^#]?)(?P<letter>[A-Za-z])|(?P<literal>%%|[^%])")


def _spell_moments(column: Column, values: np.ndarray) -> pa.Array:
    """Dates and times, part by part: each part has few texts, which are made once."""
    pattern = _pattern(column)
    _, fraction = _step(column)
    if column.kind == "date":
        day, rest = ticks(column, values, 0), np.zeros(len(values), np.int64)
    else:
        day, rest = np.divmod(ticks(column, values, fraction), _DAY * 10**fraction)
    second, part = np.divmod(rest, 10**fraction)
    moment = _parts(day, second, dates=bool(re.search("%[-_^#]?[YymdjBbAa]", pattern)))
    if column.decimals is not None:
        fewest = min(column.min_decimals, fraction)
    else:
        fewest = 0 if column.format in (None, "iso") else fraction
    pieces: list[pa.Array] = []
    literal = ""
    position = 0
    while position < len(pattern):
        match = _TOKEN.match(pattern, position)
        if match is None:
            raise _unknown(column, pattern[position : position + 2])
        position = match.end()
        if match["literal"]:
            literal += match["literal"][-1]
        elif match["letter"] in ("z", "Z"):
            literal += "+0000" if match["letter"] == "z" else "UTC"
        elif match["letter"]:
            directive = _DIRECTIVES.get(match["letter"])
            if directive is None:
                raise _unknown(column, match.group())
            pieces.append(_named(directive, match["flag"], moment, literal))
            literal = ""
        else:
            pieces.append(_fractions(part, fraction, fewest, match["point"] or "", literal))
            literal = "0" * (column.min_decimals - fraction) if fraction else ""
    if literal or not pieces:
        pieces.append(pa.repeat(scalar(literal), len(values)))
    return pieces[0] if len(pieces) == 1 else pc.binary_join_element_wise(*pieces, scalar(""))


def _pattern(column: Column) -> str:
    """The column's format in the directives of `_DIRECTIVES`; a fraction has its directive where there are digits."""
    pattern = column.format or "iso"
    iso = pattern == "iso"
    if iso:
        pattern = _ISO[column.kind]
    pattern = re.sub("%[FTRDhe]", lambda match: _SHORTHANDS[match.group()], pattern)
    if "%f" not in pattern and (column.decimals or (iso and column.decimals is None)):
        pattern = pattern.replace("%S", "%S.%f", 1)
    return pattern


def _step(column: Column) -> tuple[int, int]:
    """What a time's format can tell apart: a number of steps, and the digits of the second's fraction they count.

    A format without hours tells days apart, but is not rounded to them: an afternoon belongs to its own day.
    """
    pattern = _pattern(column)
    if "%f" in pattern:
        return 1, 6 if column.decimals is None else min(column.decimals, 6)
    if re.search("%[-_]?S", pattern):
        return 1, 0
    if re.search("%[-_]?M", pattern):
        return 60, 0
    return (3600, 0) if re.search("%[-_]?[HI]", pattern) else (1, 0)


def _parts(day: np.ndarray, second: np.ndarray, *, dates: bool) -> _Moment:
    if not dates:
        nothing = np.zeros(len(day), np.int64)
        return _Moment(nothing, nothing, nothing, nothing, nothing, second)
    days = day.astype("datetime64[D]")
    months, years = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
    return _Moment(
        year=years.astype(np.int64) + 1970,
        month=months.astype(np.int64) % 12 + 1,
        day=(days - months.astype("datetime64[D]")).astype(np.int64) + 1,
        day_of_year=(days - years.astype("datetime64[D]")).astype(np.int64) + 1,
        weekday=(day + 3) % 7,
        second=second,
    )


def _named(directive: _Directive, flag: str, moment: _Moment, before: str) -> pa.Array:
    """The texts of one part, with the literal `before` it."""
    numbers = directive.of(moment)
    first = int(numbers.min()) if len(numbers) else 0
    last = int(numbers.max()) if len(numbers) else directive.last
    names = directive.names or [f"{number:0{directive.digits}d}" for number in range(last + 1)]
    if flag == "-":
        names = [name.lstrip("0") or "0" for name in names]
    elif flag == "_":
        names = [(name.lstrip("0") or "0").rjust(directive.digits) for name in names]
    elif flag:
        names = [name.upper() if flag == "^" else name.lower() for name in names]
    texts = from_texts([before + name for name in names[first : last + 1]])
    return pc.take(texts, from_numpy(numbers - first))


def _fractions(part: np.ndarray, digits: int, fewest: int, point: str, before: str) -> pa.Array:
    """The digits of the second's fraction with their point, or nothing where no digit is needed."""
    if not digits:
        return pa.repeat(scalar(before), len(part))
    text = pc.utf8_lpad(pc.cast(from_numpy(part), pa.string()), digits, "0")
    if fewest < digits:
        kept = pc.utf8_slice_codeunits(text, 0, fewest)
        text = pc.binary_join_element_wise(kept, pc.ascii_rtrim(pc.utf8_slice_codeunits(text, fewest), "0"), scalar(""))
    text = pc.binary_join_element_wise(scalar(point), text, scalar(""))
    if point:
        text = pc.if_else(pc.equal(text, scalar(point)), scalar(""), text)
    return pc.binary_join_element_wise(scalar(before), text, scalar("")) if before else text


def _parse_moment(column: Column, text: str) -> float | None:
    if column.format in (None, "iso"):
        if column.kind == "time":
            moment = datetime.datetime.combine(datetime.date(1970, 1, 1), datetime.time.fromisoformat(text))
        else:
            moment = datetime.datetime.fromisoformat(text)
    else:
        pattern = re.sub("%[FTRDhe]", lambda match: _SHORTHANDS[match.group()], column.format or "")
        pattern = re.sub("%[-_^#]", "%", pattern).replace("%P", "%p")
        bare = re.sub("[.,]%f", "", pattern)
        for candidate in (pattern, bare, bare.replace("%S", "%S.%f")):
            try:
                moment = datetime.datetime.strptime(text, candidate)
                break
            except ValueError:
                continue
        else:
            return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    if column.kind == "time":
        moment = moment.replace(year=1970, month=1, day=1)
    seconds = (moment - datetime.datetime(1970, 1, 1)) / datetime.timedelta(seconds=1)
    return seconds // _DAY if column.kind == "date" else seconds


def _unknown(column: Column, directive: str) -> AugmentError:
    return AugmentError(
        f"column {column.name!r}: its format {column.format!r} has {directive!r}, which is not known; known are "
        f"{', '.join('%' + letter for letter in _DIRECTIVES)}, %f, %z, %F, %T, %R, %D and %e."
    )
