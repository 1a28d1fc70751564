"""Numbers as people write them, in the place of those that are nearly such: 0.085 for 0.0849997."""

from __future__ import annotations

import fractions
from collections.abc import Iterator

import numpy as np

__all__ = ["simple_numbers"]


def simple_numbers(numbers: np.ndarray, scales: np.ndarray, *noise: float) -> Iterator[np.ndarray]:
    """Yields numbers with simple ones, of six decimals or fractions, in the place of those that are nearly such.

    First of those that may be such but for the rounding of what they were found from, then but for that of float64.

    Args:
        numbers: Any.
        scales: By how much a result changes with each, in its standard deviations.
        noise: What they may be off by, in the same; one or several such bounds, tried in turn.
    """
    for close in (*noise, 1e-9):
        found = numbers.copy()
        for place, (number, scale) in enumerate(zip(numbers.tolist(), scales.tolist(), strict=True)):
            fraction = float(fractions.Fraction(number).limit_denominator(100))
            for near in (fraction, *(round(number, decimals) for decimals in range(1, 7))):
                if abs(near - number) * scale <= close * max(1.0, abs(number) * scale):
                    found[place] = near
                    break
        yield found
