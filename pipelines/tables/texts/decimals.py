"""How many decimals the numbers of a column are written with."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.numbers.spikes import is_spike

__all__ = ["EXACT", "decimals_of", "noisy_numbers", "with_noise", "without_noise"]

# Integers up to here are exact in float64; a lattice finer than this is not one any more.
EXACT = float(1 << 53)
_MAX_DECIMALS = 15
# What arithmetic, or spelling all 17 digits, adds to numbers of fewer, as in 0.30000000000000004: so many units in
# their last place.
_NOISE = 8
_DIGITS_WITH_NOISE, _DIGITS_WITHOUT = (16, 17), 12
_MAX_NOISY = 1_000  # of a column: more distinct numbers are hardly told by them


def decimals_of(texts: pa.Array, counts: np.ndarray, mark: str, largest: float) -> tuple[int | None, int]:
    """Returns the most digits after the decimal mark, or None at full precision, and the fewest that cells have.

    Programs write small numbers among others as 9e-05, which is 0.00009. Where most are written so, they have as many
    digits as they need. What arithmetic left of rounding, as in 0.30000000000000004, are no digits.

    Args:
        texts: Distinct texts of numbers, `[n]`.
        counts: How many cells have each, `[n]`.
        mark: The decimal mark.
        largest: The largest of their absolute values.
    """
    texts = _without_noise(texts, mark)
    is_scientific = pc.match_substring_regex(texts, "[eE]")
    positional, scientific = texts.filter(pc.invert(is_scientific)), texts.filter(is_scientific)
    if len(positional) < len(scientific):
        return None, 0
    place = pc.find_substring(positional, mark)
    digits = pc.if_else(pc.less(place, 0), 0, pc.subtract(pc.subtract(pc.utf8_length(positional), place), 1))
    most, fewest = pc.max(digits).as_py(), pc.min(digits).as_py()
    for text in scientific.to_pylist():
        mantissa, exponent = re.split("[eE]", text)
        most = max(most, len(mantissa.partition(mark)[2]) - int(exponent))
    if most > _MAX_DECIMALS or largest * 10.0**most >= EXACT / 8:
        return None, min(fewest, 1)  # 0.0 among 0.123456789012345678
    if fewest < most:
        counts, digits = counts[~is_scientific.to_numpy(zero_copy_only=False)], digits.to_numpy(zero_copy_only=False)
        others = (digits > 0) | ~is_spike(counts)  # a frequent 0 is written as it is, and says nothing of 12.50
        fewest = _usual_decimals(positional.filter(pa.array(others)), digits[others], counts[others], fewest, most)
    return most, fewest


def without_noise(numbers: np.ndarray, decimals: int) -> np.ndarray:
    """Returns numbers, float64 `[n]`, without what arithmetic added to such as have so many decimals."""
    with np.errstate(over="ignore"):
        exact = np.round(numbers, decimals)
        is_noise = np.abs(numbers - exact) <= _NOISE * np.spacing(np.abs(numbers))
        is_noise &= np.abs(numbers) * 10.0**decimals < EXACT
    return np.where(is_noise, exact, numbers)


def noisy_numbers(numbers: np.ndarray, counts: np.ndarray, decimals: int) -> tuple[float, ...]:
    """Returns those of a column's numbers that arithmetic left with more digits, ascending; none where there are many.

    Args:
        numbers: The distinct numbers, `[n]`.
        counts: How many cells have each, `[n]`; of those that are the same without noise, the most frequent counts.
        decimals: How many decimals the column has.
    """
    exact = without_noise(numbers, decimals)
    if not (exact != numbers).any():
        return ()
    order = np.argsort(-counts, kind="stable")
    same, first = np.unique(exact[order], return_index=True)
    if len(same) > _MAX_NOISY:
        return ()
    usual = numbers[order][first]
    return tuple(usual[usual != same].tolist())


def with_noise(numbers: np.ndarray, noisy: Sequence[float], decimals: int) -> np.ndarray:
    """Returns numbers, float64 `[n]`, rounded to decimals, with the noise of those that a table has with it."""
    known = np.sort(np.array(noisy, np.float64))
    exact = without_noise(known, decimals)
    places = np.minimum(np.searchsorted(exact, numbers), len(exact) - 1)
    return np.where(exact[places] == numbers, known[places], numbers)


def _without_noise(texts: pa.Array, mark: str) -> pa.Array:
    """The same texts, but all long ones as their numbers are spelled without noise, if that is what makes them long."""
    is_long = pc.greater(pc.utf8_length(texts), min(_DIGITS_WITH_NOISE))
    is_long = pc.and_(is_long, pc.invert(pc.match_substring_regex(texts, "[eE]")))
    places = np.flatnonzero(is_long.to_numpy(zero_copy_only=False))
    if not len(places):
        return texts
    exact = []
    for text in texts.take(pa.array(places)).to_pylist():
        number = float(text.replace(mark, "."))
        exact.append(float(f"{number:.{_DIGITS_WITHOUT}g}"))
        num_digits = len(text.lstrip("+-0" + mark).replace(mark, ""))
        is_noise = num_digits in _DIGITS_WITH_NOISE and not text.endswith("0")
        is_noise &= abs(number - exact[-1]) <= _NOISE * np.spacing(abs(number)) and 1e-4 <= abs(exact[-1]) < 1e15
        if not is_noise:
            return texts
    found = np.array(texts.to_pylist(), object)
    found[places] = [repr(number).removesuffix(".0").replace(".", mark) for number in exact]
    return pa.array(found, pa.string())


def _usual_decimals(texts: pa.Array, digits: np.ndarray, counts: np.ndarray, fewest: int, most: int) -> int:
    """The fewest decimals that most cells agree with: 9,0 and -200 may stand in one column."""
    bare = pc.utf8_length(pc.utf8_rtrim(texts, "0"))
    zeros = pc.subtract(pc.utf8_length(texts), bare).to_numpy(zero_copy_only=False)
    needed = digits - np.minimum(zeros, digits)
    wrong = [int(counts[np.maximum(needed, least) != digits].sum()) for least in range(fewest, most + 1)]
    return fewest + int(np.argmin(wrong))
