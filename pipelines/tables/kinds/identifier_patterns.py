"""What identifiers have in common: a sequence of numbers, a UUID, or one pattern of digits and letters."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.kinds.identifiers import ALPHABETS

__all__ = ["find_pattern", "find_sequence", "is_uuids"]

_UUID = r"\A([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12})\z"
_MAX_DIGITS = 15  # exact in float64, and in int64 after a step
_MIN_SHUFFLED = 50


def is_uuids(texts: pa.Array) -> bool:
    """Whether every text is a UUID."""
    return bool(pc.all(pc.match_substring_regex(texts, _UUID)).as_py())


def find_sequence(text: pa.ChunkedArray, rows: np.ndarray | None, num_rows: int) -> dict[str, Any] | None:
    """Returns how distinct texts are numbered, or None if they are not.

    They are if their numbers go up or down by the same step from row to row; the new ones of those that go down are
    above the greatest, as those below the least would soon be negative. In no order, they are if they fill more
    than half of the range from the least to the greatest: `n` numbers drawn from a range of `R` would all be
    distinct with a probability of about `exp(-n^2 / 2R)` only, less than `exp(-n / 4)`.

    Args:
        text: `[n]`, all distinct, in the order of the rows.
        rows: `[n]`, where the rows stand among all rows, or None if these are all.
        num_rows: The number of all rows.

    Returns:
        The mapping that `identifiers.py` describes, and `in_order`.
    """
    first = text[0].as_py()
    match = re.fullmatch(r"(.*?)(\d+)(\D*)", first, re.DOTALL)
    if match is None:
        return None
    prefix, _, suffix = match.groups()
    if prefix.endswith("-") and len(prefix) == 1 and not suffix:  # a sign
        prefix = ""
    # Digits that all rows share, as the year in 2024-0001, are in the prefix only if something divides them.
    pattern = rf"\A{re.escape(prefix)}(?P<n>{'-?' if not prefix else ''}\d{{1,{_MAX_DIGITS}}}){re.escape(suffix)}\z"
    digits = pc.extract_regex(text, pattern=pattern)
    digits = pa.chunked_array([chunk.field("n") for chunk in digits.chunks])
    if digits.null_count or pc.any(pc.equal(digits, "")).as_py():
        return None
    numbers = pc.cast(digits, pa.int64()).to_numpy()
    width = 0
    if pc.any(pc.match_substring_regex(digits, r"\A0\d")).as_py():
        if pc.count_distinct(pc.utf8_length(digits)).as_py() > 1:
            return None
        width = len(digits[0].as_py())
    elif pc.any(pc.match_substring_regex(digits, r"\A-0")).as_py():
        return None
    found = {"kind": "sequence", "prefix": prefix, "suffix": suffix, "width": width}
    at = np.arange(len(numbers)) if rows is None else rows
    step, rest = divmod(int(numbers[-1] - numbers[0]), int(at[-1] - at[0]) or 1)
    if step and not rest and np.array_equal(numbers, numbers[0] + step * (at - at[0])):
        start = int(numbers[0] - step * at[0])
        if step < 0:  # the newest row first: new ones are newer still
            return found | {"start": start, "step": -step, "count": 1, "in_order": True}
        return found | {"start": start, "step": step, "count": num_rows, "in_order": True}
    least, greatest = int(numbers.min()), int(numbers.max())
    share = len(numbers) / num_rows  # of a sample, the numbers are as much farther apart
    if len(numbers) >= _MIN_SHUFFLED and len(numbers) > share * 0.5 * (greatest - least + 1):
        return found | {"start": least, "step": 1, "count": greatest - least + 1, "in_order": False}
    return None


def find_pattern(texts: pa.Array, at_least: int = 10) -> dict[str, Any] | None:
    """Returns the pattern of distinct texts of one length, or None if they have none or it leaves too few others.

    Args:
        texts: `[n]`, distinct.
        at_least: How many times `n` texts the pattern must allow for.

    Returns:
        The mapping that `identifiers.py` describes.
    """
    lengths = pc.min_max(pc.binary_length(texts)).as_py()
    length = lengths["min"]
    if length != lengths["max"] or not 0 < length <= 100 or not pc.all(pc.string_is_ascii(texts)).as_py():
        return None
    letters = np.frombuffer("".join(texts.to_pylist()).encode(), np.uint8).reshape(len(texts), length)
    pattern = ""
    capacity = 0.0
    for place in range(length):
        seen = {chr(code) for code in np.unique(letters[:, place])}
        if len(seen) == 1:
            (literal,) = seen
            pattern += f"\\{literal}" if literal in (*ALPHABETS, "\\") else literal
            continue
        symbol = next((symbol for symbol, group in ALPHABETS.items() if seen <= set(group)), None)
        if symbol is None:
            return None
        pattern += symbol
        capacity += np.log10(len(ALPHABETS[symbol]))
    if not re.search(r"(?<!\\)[9hH]", pattern) or capacity < np.log10(at_least * len(texts)):
        return None
    return {"kind": "pattern", "pattern": pattern}
