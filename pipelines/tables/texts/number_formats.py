"""Numbers with marks: a currency before, a unit after, marks between thousands, as in $1,234.50, 45 % and 1.234,50 €.

A format says what stands around the number, `{}`, and in its braces what stands between thousands: `${,}`, `{} %`,
`{.} €`; twice, it is the file's decimal mark, and this column has the other one: `{..} €`. Before all of it, `-` says
that the sign stands before the currency (-$5), U+2212 that this is the minus, and `+` that numbers above zero have a
sign, too (+5%, +5). Brackets around all of it or around the number are a minus: ($5) or $(5). After a semicolon stands
how a zero is written, as in the accounts of spreadsheets: `$({,});$-`. Numbers that all have an exponent have a format
of their own (`scientific.py`).
"""

from __future__ import annotations

import collections
import functools
import re
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError
from pipelines.tables.texts.arrays import scalar
from pipelines.tables.texts.scientific import has_exponents

__all__ = ["bare_numbers", "check_number_format", "find_number_format", "have_point_thousands", "with_marks"]

_SPACES = " \u00a0\u202f"
_CURRENCY = (
    r"(?:[A-Z]{0,3}[$€£¥₩₹₽₺₫₪₴₦₱฿¢]|Rs\.?|kr\.?|Kč|zł|Ft|Fr\.?|lei|USD|EUR|GBP|JPY|CNY|INR|CHF|CAD|AUD|NZD|SEK|NOK|DKK|PLN"
    r"|CZK|HUF|RON|BRL|RUB|TRY|KRW|MXN|ZAR|SGD|HKD|TWD|THB|IDR|ILS|AED|SAR)"
)
_SUFFIX = rf"[{_SPACES}]?(?:{_CURRENCY}|[%‰]|°[A-Z]?)"
# Letters that are no known unit belong to a code: 2452 A, 606xx.
_UNITS = (
    r"(?i:km|kms|mi|miles?|m|cm|mm|ft|feet|in|inch(?:es)?|yd|sq\.? ?ft|sqft|sq\.? ?m|sqm|m²|m2|ha|acres?|kg|g"
    r"|mg|lbs?|oz|tons?|l|ml|cl|litres?|liters?|gal|cc|hp|bhp|ps|kw|kwh|w|v|mah|mpg|kmpl|km/l|km/kg|km/h"
    r"|kmh|mph|kph|rpm|kb|mb|gb|tb|mp|px|hz|khz|mhz|ghz|s|sec|secs|seconds?|ms|min|mins|minutes?|h|hrs?"
    r"|hours?|d|days?|nights?|wks?|weeks?|mos?|months?|yrs?|years?|years old|beds?|baths?|rooms?|bedrooms?"
    r"|bathrooms?|people|persons?|guests?|pcs|pieces?|units?|items?|stars?|points?|pts|kcal|cal|k|bn"
    r"|million|billion|mn)"
)
_UNIT = rf"[{_SPACES}]?{_UNITS}\.?"
_MINUS = "\u2212"  # of typesetters
# Between the sign, the currency, the digits and what follows them.
_MARKED = re.compile(
    rf"(?:\(|[+{_MINUS}-]?)(?P<prefix>{_CURRENCY}[{_SPACES}]?)?(?:\(|[+-]?)[.,]?\d[\d.,'\u2019{_SPACES}]*?\)?"
    rf"(?P<suffix>{_SUFFIX}|{_UNIT})?\)?"
)
_DASH = re.compile(rf"{_CURRENCY}[{_SPACES}]*[{_MINUS}-]|[{_MINUS}-][{_SPACES}]*{_CURRENCY}")
_THOUSANDS = (",", ".", *_SPACES, "'", "\u2019")
_NUMBER = rf"\{{(?P<thousands>[{''.join(_THOUSANDS)}]?|\.\.|,,)\}}"
_OTHER = {",": ".", ".": ","}
_PREFIX, _END = (rf"(?P<{name}>[^{{}}();]*)" for name in ("prefix", "suffix"))
# By what `_Format.sign` says of them.
_FORMATS = {
    "(": rf"\({_PREFIX}{_NUMBER}{_END}\)",
    "$(": rf"{_PREFIX}\({_NUMBER}\){_END}",
    **{
        sign: rf"{re.escape(sign)}(?P<prefix>[^{{}}]*){_NUMBER}(?P<suffix>[^{{}};]*)"
        for sign in ("-", _MINUS, f"+{_MINUS}", "+", "")
    },
}
_ZERO = r"(?:; *(?P<zero>[^{};1-9]*[^{};1-9 ]))?"
# Of the distinct texts with a digit as many are read, or it is no column of numbers.
_MIN_SHARE = 0.98
# Fewer values with a unit are categories, such as 4WD and 2WD; fewer with a sign say nothing of others.
_MIN_VALUES = 5
# Fewer whole numbers among others may stand for missing ones.
_MIN_WHOLE = 3


class _Format(NamedTuple):
    """The parts of a format: its sign, what stands before and after, between thousands, and for a zero.

    `sign` is what numbers below zero have before the prefix, "-", U+2212 or "(", or before the digits, "$("; or "+",
    which numbers above zero have before the prefix, and those below a "-", or U+2212 with "+" before that. If it is
    swapped, the file's decimal mark stands between thousands and the other one before decimals.
    """

    sign: str
    prefix: str
    thousands: str
    suffix: str
    zero: str = ""
    is_swapped: bool = False

    @classmethod
    def of(cls, text: str, decimal: str) -> _Format:
        """The parts of a format; a mark between thousands that is the decimal mark becomes the other one."""
        found = ((sign, re.fullmatch(pattern + _ZERO, text)) for sign, pattern in _FORMATS.items())
        sign, match = next(((sign, match) for sign, match in found if match), ("", None))
        if match is None or text.count("(") != text.count(")"):
            raise AugmentError(
                f"the format {text!r} is none of numbers; write for example ${{,}} for $1,234 or {{}} kg, brackets "
                "around all of it or the braces where they are a minus, and after a semicolon how a zero is written."
            )
        mark, is_swapped = match["thousands"][:1], match["thousands"] == 2 * decimal
        thousands = _OTHER[decimal] if mark == decimal and not is_swapped else mark
        return cls(sign, match["prefix"], thousands, match["suffix"], match["zero"] or "", is_swapped)

    @property
    def ends(self) -> tuple[str, str]:
        """What stands before and after the digits of a number below zero."""
        if self.sign == "$(":
            return f"{self.prefix}(", f"){self.suffix}"
        if self.sign == "(":
            return f"({self.prefix}", f"{self.suffix})"
        return ("-" if self.sign == "+" else self.sign.removeprefix("+")) + self.prefix, self.suffix

    @property
    def text(self) -> str:
        """The format as text."""
        before, after = (self.sign + self.prefix, self.suffix) if self.sign.startswith("+") else self.ends
        between = self.thousands * (1 + self.is_swapped)
        return f"{before}{{{between}}}{after}" + (f";{self.zero}" if self.zero else "")

    def patterns(self, decimal: str) -> tuple[str, str]:
        """What reads a number with its sign in two groups and its digits in a third, and what reads one in brackets."""
        mark = re.escape(_OTHER[decimal] if self.is_swapped else decimal)
        between = rf"[{_SPACES}]" if self.thousands and self.thousands in _SPACES else re.escape(self.thousands)
        grouped = rf"[1-9]\d{{0,2}}(?:{between}\d{{3}})+|" if between else ""
        digits = rf"((?:{grouped}\d+)(?:{mark}\d*)?(?:[eE][+-]?\d+)?|{mark}\d+)"
        any_space = rf"[{_SPACES}]?"  # 45% and 45 % stand in one column
        prefix = self.prefix and re.escape(self.prefix.rstrip(_SPACES)) + any_space
        suffix = self.suffix and any_space + re.escape(self.suffix.lstrip(_SPACES))
        return (
            rf"\A([+{_MINUS}-]?){prefix}([+-]?){digits}{suffix}\z",
            rf"\A()((?:\({prefix}|{prefix}\(){digits}(?:\){suffix}|{suffix}\)))\z",
        )


def have_point_thousands(texts: pa.Array) -> bool:
    """Whether bare numbers, distinct texts, `[n]`, have points between thousands: 567, 1.234 and 2.790.

    As decimals, 2.790 would be 2.79, or 567 would be 567.000.
    """
    has_point = pc.match_substring(texts, ".")
    whole, grouped = texts.filter(pc.invert(has_point)), texts.filter(has_point)
    are_grouped = pc.match_substring_regex(grouped, r"\A[+-]?[1-9]\d{0,2}(\.\d{3})+\z")
    return (
        len(whole) >= _MIN_WHOLE
        and bool(pc.all(pc.match_substring_regex(whole, r"\A[+-]?\d{1,3}\z")).as_py())
        and bool(pc.all(are_grouped).as_py() and pc.any(pc.ends_with(grouped, "0")).as_py())
    )


def check_number_format(text: str) -> None:
    """Refuses a format that has no place for the number.

    Raises:
        AugmentError: With what a format looks like.
    """
    if not has_exponents(text):
        _Format.of(text, ".")


def find_number_format(texts: pa.Array, decimal: str) -> str | None:
    """Returns the format that reads nearly all texts that have digits, None if there is none or none is needed.

    Args:
        texts: `[n]`, distinct texts without surrounding space, none missing.
        decimal: The decimal mark.
    """
    has_digit = pc.match_substring_regex(texts, r"\d")
    others, texts = texts.filter(pc.invert(has_digit)), texts.filter(has_digit)
    format_ = _found(texts, others, decimal)
    if format_ is None:  # 1.094.000 € has no decimals, whatever the file's other columns have before theirs
        mark = re.escape(decimal)
        if pc.any(pc.match_substring_regex(texts, rf"\d{mark}\d\d\d{mark}\d\d\d(\D|\z)")).as_py():
            format_ = _found(texts, others, _OTHER[decimal])
            is_swapped = format_ is not None and format_.thousands == decimal
            format_ = format_._replace(is_swapped=True) if format_ is not None and is_swapped else None
    return None if format_ is None else format_.text


def _found(texts: pa.Array, others: pa.Array, decimal: str) -> _Format | None:
    """The format that reads nearly all texts, which have digits, and of others how a zero is written."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for text in texts.slice(0, 200).to_pylist():
        match = _MARKED.fullmatch(text)
        if match:
            found[match["prefix"] or "", match["suffix"] or ""] += 1
    if not found:
        return None
    (prefix, suffix), _ = found.most_common(1)[0]
    bare = _Format("", prefix, "", suffix)
    format_ = bare._replace(thousands=_thousands(texts, bare, decimal))
    format_ = format_._replace(sign=_sign(texts, format_, decimal), zero=_zero(others, bare))
    is_needed = prefix or suffix or format_.thousands or _MINUS in format_.sign
    is_needed = is_needed or (format_.sign in ("+", "(") and len(texts) >= _MIN_VALUES)
    if not is_needed or not _are_numbers(texts, format_, decimal):
        return None
    return format_


def bare_numbers(texts: Any, format_: str, decimal: str) -> Any:
    """Returns texts, an array or a chunked one, without the marks of a format; others as they are, null as null."""
    if has_exponents(format_):
        return texts
    parts = _Format.of(format_, decimal)
    signed, bracketed = parts.patterns(decimal)
    grouped, _ = parts._replace(prefix="", suffix="").patterns(decimal)
    is_zero = pc.match_substring_regex(texts, _any_space(parts.zero)) if parts.zero else None
    are_marked = []
    for pattern, sign in ((signed, r"\1\2"), (bracketed, "-"), (grouped, r"\1\2")):
        is_marked = pc.match_substring_regex(texts, pattern)
        bare = pc.replace_substring_regex(texts, pattern, sign + r"\3")
        bare = pc.replace_substring(bare, _MINUS, "-")
        for mark in _SPACES if parts.thousands and parts.thousands in _SPACES else filter(None, parts.thousands):
            bare = pc.replace_substring(bare, mark, "")
        texts = pc.if_else(is_marked, bare, texts)
        are_marked.append(is_marked)
    if parts.is_swapped:  # once: 12,250 kg is 12.250, and that were 12250
        swapped = pc.replace_substring(texts, _OTHER[decimal], decimal)
        texts = pc.if_else(functools.reduce(pc.or_, are_marked), swapped, texts)
    return texts if is_zero is None else pc.if_else(is_zero, scalar(_zero_like(texts, decimal)), texts)


def with_marks(numbers: pa.Array, format_: str, decimal: str) -> pa.Array:
    """Returns numbers as texts, `[n]`, with the marks of a format."""
    parts = _Format.of(format_, decimal)
    if parts.is_swapped:
        numbers = pc.replace_substring(numbers, decimal, _OTHER[decimal])
    ungrouped = r"\A(-?\d+)(\d{3})(\D|\z)"
    while parts.thousands and pc.any(pc.match_substring_regex(numbers, r"\A-?\d{4}")).as_py():
        numbers = pc.replace_substring_regex(numbers, ungrouped, rf"\1{parts.thousands}\2\3")

    def between(before: str, texts: pa.Array, after: str) -> pa.Array:
        return pc.binary_join_element_wise(scalar(before), texts, scalar(after), scalar(""))

    marked = between(parts.prefix, numbers, parts.suffix)
    if parts.sign.startswith("+"):
        above = between(f"+{parts.prefix}", numbers, parts.suffix)
        marked = pc.if_else(pc.match_substring_regex(numbers, "[1-9]"), above, marked)
    if parts.sign:
        before, after = parts.ends
        negative = between(before, pc.utf8_ltrim(numbers, "-"), after)
        marked = pc.if_else(pc.starts_with(numbers, "-"), negative, marked)
    if parts.zero:
        marked = pc.if_else(pc.match_substring_regex(numbers, "[1-9]"), marked, scalar(parts.zero))
    return marked


def _sign(texts: pa.Array, format_: _Format, decimal: str) -> str:
    """How most signs are written, as `_Format.sign` has them."""
    signed, bracketed = (texts.filter(pc.match_substring_regex(texts, part)) for part in format_.patterns(decimal))
    around = pc.and_(pc.starts_with(bracketed, "("), pc.ends_with(bracketed, ")"))
    styles = {"(": around, "$(": pc.invert(around)}
    styles |= {minus: pc.starts_with(signed, minus + format_.prefix) for minus in (_MINUS, "-")}
    counts = {sign: pc.sum(is_so).as_py() or 0 for sign, is_so in styles.items()}
    minus = max(counts, key=lambda sign: counts[sign]) if any(counts.values()) else ""
    plus = pc.sum(pc.starts_with(signed, "+" + format_.prefix)).as_py() or 0
    if 2 * plus > len(texts) - counts["-"] - counts[_MINUS]:
        return f"+{_MINUS}" if minus == _MINUS else "+"
    return "" if minus == "-" and not format_.prefix else minus


def _zero(texts: pa.Array, bare: _Format) -> str:
    """How a zero is written among texts without digits: by a dash beside the currency; empty if none is."""
    marks = {bare.prefix.strip(_SPACES), bare.suffix.strip(_SPACES)} - {""}
    dashes = (text for text in texts.to_pylist() if _DASH.fullmatch(text))
    return next((text for text in dashes if text.strip(f"-{_MINUS}{_SPACES}") in marks), "")


def _any_space(zero: str) -> str:
    """A pattern of a zero's spellings, with spaces or without, by either minus."""
    signs = (rf"[{_MINUS}-]" if sign in f"-{_MINUS}" else re.escape(sign) for sign in zero if sign not in _SPACES)
    return rf"\A{rf'[{_SPACES}]*'.join(signs)}\z"


def _zero_like(texts: Any, decimal: str) -> str:
    """A zero of as many decimals as the other numbers have: a dash says nothing of them."""
    fractions = pc.extract_regex(texts, rf"\A[+-]?\d*{re.escape(decimal)}(?P<digits>\d+)\z").drop_null()
    digits = pc.max(pc.utf8_length(pc.struct_field(fractions, "digits"))).as_py() if len(fractions) else None
    return f"0{decimal}{'0' * digits}" if digits else "0"


def _thousands(texts: pa.Array, bare: _Format, decimal: str) -> str:
    """What stands between thousands, nothing if most numbers of four digits and more have none."""
    counts = {}
    for mark in _THOUSANDS:
        if mark != decimal:
            patterns = bare._replace(thousands=mark).patterns(decimal)
            is_read = pc.or_(*(pc.match_substring_regex(texts, pattern) for pattern in patterns))
            is_grouped = pc.and_(is_read, pc.match_substring_regex(texts, rf"\d{re.escape(mark)}\d\d\d"))
            counts[mark] = pc.sum(is_grouped).as_py() or 0
    mark = max(counts, key=lambda mark: counts[mark])
    without = pc.sum(pc.match_substring_regex(texts, rf"\A\D*\d{{4,}}({re.escape(decimal)}|[^\d]*\z)")).as_py() or 0
    if counts[mark] <= without:
        return ""
    # Digits in groups of one length with a space between them are a code, such as a number to call.
    is_code = (
        mark in _SPACES
        and not bare.prefix
        and (pc.count_distinct(pc.utf8_length(texts)).as_py() == 1 or pc.any(pc.starts_with(texts, "+")).as_py())
    )
    return "" if is_code else mark


def _are_numbers(texts: pa.Array, format_: _Format, decimal: str) -> bool:
    """Whether a format reads nearly all texts, and what it reads is a number rather than a code or a category."""
    signed, bracketed = (
        pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False) for pattern in format_.patterns(decimal)
    )
    if not len(texts) or (signed | bracketed).mean() < _MIN_SHARE:
        return False
    if not signed.any() and not format_.prefix:
        return False  # (1) items, (2) items
    is_unit = format_.suffix and re.fullmatch(_SUFFIX, format_.suffix) is None
    if is_unit and len(texts) < _MIN_VALUES:
        return False
    return bool(format_.thousands) or not _may_be_thousands(texts, decimal)


def _may_be_thousands(texts: pa.Array, decimal: str) -> bool:
    """Whether, beside whole numbers, there are none but three decimals: the mark may stand between thousands here."""
    fractions = texts.filter(pc.match_substring(texts, decimal))
    if not 0 < len(fractions) < len(texts):
        return False
    groups = rf"\A\D*[1-9]\d{{0,2}}{re.escape(decimal)}\d\d\d(\D|\z)"
    return bool(pc.all(pc.match_substring_regex(fractions, groups)).as_py())
