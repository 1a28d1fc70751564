"""Numbers of at most so many significant digits, as C's `%.4g` and R's `signif` make them: 123.4, 1.234, 0.001234."""

from __future__ import annotations

import numpy as np

__all__ = ["find_digits", "places", "rounded", "to_digits"]

_MOST = 8  # more are those of float32 and float64, which all numbers have
_MIN_DISTINCT = 30  # of one size
# Nine of ten numbers end with another digit than zero.
_FULL_SHARE = 0.75
_LARGEST_POWER = 300.0  # of ten, to scale with


def find_digits(numbers: np.ndarray) -> int | None:
    """Returns how many significant digits numbers have, float64 `[n]`, if it is these that they are rounded to.

    None has more then, and most have as many, of two sizes at least: 12.34 and 1.234. Decimals are fixed otherwise.
    """
    numbers = numbers[numbers != 0]
    digits = next((count for count in range(2, _MOST + 1) if (to_digits(numbers, count) == numbers).all()), None)
    if digits is None or not len(numbers):
        return None
    sizes, size_of = np.unique(places(numbers), return_inverse=True)
    counts = np.bincount(size_of, minlength=len(sizes))
    are_full = np.bincount(size_of, to_digits(numbers, digits - 1) != numbers, len(sizes)) >= _FULL_SHARE * counts
    return digits if (are_full & (counts >= _MIN_DISTINCT)).sum() >= 2 else None


def places(numbers: np.ndarray) -> np.ndarray:
    """Returns how many digits numbers have before the decimal point, 1 of zero, negative for zeros behind it."""
    found: np.ndarray = np.floor(np.log10(np.abs(np.where(numbers == 0, 1.0, numbers)))) + 1
    return found


def to_digits(numbers: np.ndarray, digits: int) -> np.ndarray:
    """Returns numbers rounded to so many significant digits, float64 `[n]`, each the nearest to its spelling."""
    power = np.clip(digits - places(numbers), -_LARGEST_POWER, _LARGEST_POWER)
    scale = 10.0 ** np.abs(power)
    with np.errstate(over="ignore"):  # on the side that is not taken
        found: np.ndarray = np.where(power < 0, np.rint(numbers / scale) * scale, np.rint(numbers * scale) / scale)
    return found


def rounded(numbers: np.ndarray, decimals: int | None, digits: int | None) -> np.ndarray:
    """Returns numbers rounded once, float64 `[n]`, to decimals or to significant digits, whichever are fewer."""
    if digits is None:
        return numbers if decimals is None else np.round(numbers, decimals) + 0.0  # no minus zero
    found = to_digits(numbers, digits)
    if decimals is None:
        return found
    return np.where(places(numbers) + decimals < digits, np.round(numbers, decimals), found) + 0.0
