"""Numbers that all have an exponent, as programs write them: 1.234e+02, 1.500000000000000000e+00, -7E-03.

Their format is that of Python's `format`, such as `{:.3e}`. If small ones alone have one, as Python and R write them
(0.25, 3.68e-05), it is `{!r}`.
"""

from __future__ import annotations

import re
from typing import TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.texts.arrays import from_texts

__all__ = [
    "SMALL",
    "SMALL_ONES",
    "find_scientific",
    "find_small_ones",
    "has_exponents",
    "in_few_digits",
    "is_scientific",
    "spelled",
]

SMALL_ONES = "{!r}"
_FORMAT = re.compile(r"\{:\.\d\d?[eE]\}")
_TEXT = re.compile(r"-?\d(?:\D(\d+))?([eE])[+-]\d\d+")
SMALL = 1e-4  # numbers below have an exponent in Python and R
_ENOUGH = 16  # digits after the first, which tell all numbers of float64 apart


def is_scientific(format_: str | None) -> TypeGuard[str]:
    """Whether a format is one of numbers with an exponent."""
    return format_ is not None and _FORMAT.fullmatch(format_) is not None


def has_exponents(format_: str) -> bool:
    """Whether a format is one of numbers all or some of which have an exponent."""
    return format_ == SMALL_ONES or is_scientific(format_)


def find_scientific(texts: pa.Array, decimal: str) -> str | None:
    """Returns the format that all texts are of, or None.

    Args:
        texts: `[n]`, distinct texts of numbers.
        decimal: The decimal mark.
    """
    first = _TEXT.fullmatch(texts[0].as_py()) if len(texts) else None
    if first is None or len(first[1] or "") > 99:
        return None
    digits, letter = len(first[1] or ""), first[2]
    fraction = rf"{re.escape(decimal)}\d{{{digits}}}" if digits else ""
    # The exponent has two digits unless it needs more.
    are_alike = pc.match_substring_regex(texts, rf"\A-?\d{fraction}{letter}[+-](\d\d|[1-9]\d\d)\z")
    return f"{{:.{digits}{letter}}}" if pc.all(are_alike).as_py() else None


def find_small_ones(texts: pa.Array, decimal: str) -> str | None:
    """Returns `SMALL_ONES` if of texts as in `find_scientific` small numbers have an exponent as in Python, or None."""
    has_exponent = pc.match_substring_regex(texts, "[eE]")
    is_pythons = pc.match_substring_regex(texts, r"e-0[5-9]\z|e[+-][1-9]\d\d?\z")
    is_positional = pc.match_substring_regex(texts, rf"\A[+-]?0?{re.escape(decimal)}0000\d*[1-9]\d*\z")
    is_so = pc.any(has_exponent).as_py() and pc.all(pc.equal(has_exponent, is_pythons)).as_py()
    return SMALL_ONES if is_so and not pc.any(is_positional).as_py() else None


def spelled(values: np.ndarray, format_: str, decimal: str = ".") -> pa.Array:
    """Returns numbers, float64 `[n]`, as texts of a format."""
    text = from_texts([format_.format(value + 0.0) for value in values.tolist()])
    return text if decimal == "." else pc.replace_substring(text, ".", decimal)


def in_few_digits(values: np.ndarray, format_: str) -> np.ndarray:
    """Returns the numbers, float64 `[n]`, that the texts of a format read back as."""
    if int(re.sub(r"\D", "", format_)) >= _ENOUGH:
        return values
    return np.array([float(format_.format(value + 0.0)) for value in values.tolist()], np.float64)
