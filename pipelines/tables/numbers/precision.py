"""How exact the numbers of a column are, which says whether another number is the same."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from pipelines.tables.column_encoding import step_of
from pipelines.tables.schema import Column
from pipelines.tables.texts.significant_digits import places, to_digits

__all__ = ["Precision", "decimals_of"]

# Of a number float64 arithmetic may lose so much, and of the largest of its column; of one made in float32 more.
_LOST_OF_ONE, _LOST, _LOST_OF_SINGLE = 1e-12, 1e-13, 4e-7
_COARSEST = 0.02  # of a column's standard deviation, by rounding: else anything like a flag would be one
# Of few values, as of a discount, those that follow from numbers only by rounding would be found in few new rows.
_EXACTLY = 1e-9
_DIGITS = (6, 7, 8, 15)  # as are written of float32, and of float64
_MIN_LONGER = 30  # numbers that would have more digits


@dataclasses.dataclass(frozen=True)
class Precision:
    """How a column's numbers are rounded.

    Attributes:
        decimals: To how many decimals, or None.
        digits: To how many significant digits besides, or None.
        is_single: Whether they are float32.
        coarsest: What rounding may at most count as.
        largest: The largest of them, without its sign.
    """

    decimals: int | None
    digits: int | None
    is_single: bool
    coarsest: float
    largest: float

    @classmethod
    def of(cls, column: Column, numbers: np.ndarray, *, is_few: bool) -> Precision:
        """Finds it out.

        Args:
            column: What the column is.
            numbers: Its numbers, float64 `[n]`, NaN where there is none.
            is_few: Whether they are few values, which have to follow exactly.
        """
        own = numbers[~np.isnan(numbers)]
        decimals = decimals_of(column)
        is_single = decimals is None and bool((own.astype(np.float32) == own).all())
        digits = None
        if column.kind == "float" and not is_single:
            sizes = places(own[own != 0])
            for count in _DIGITS:
                # Decimals may be all there is to the rounding: then few numbers would have more digits by them.
                is_longer = decimals is None or (sizes + decimals > count).sum() >= _MIN_LONGER
                if is_longer and (to_digits(own, count) == own).all():
                    digits = count
                    break
        largest = float(np.abs(own).max(initial=0.0))
        coarsest = (_EXACTLY if is_few else _COARSEST) * float(own.std()) if len(own) else 0.0
        return cls(decimals, digits, is_single, coarsest, largest)

    def tolerance(self, values: np.ndarray) -> np.ndarray:
        """Returns by how much a number may differ from these, float64 `[n]`, if it is the same but for rounding."""
        error: np.ndarray = _LOST_OF_ONE * np.abs(values) + _LOST * self.largest
        if self.decimals is not None:  # and a hundredth more, for weights that are off in their last digits
            error += min(0.505 * 10.0**-self.decimals, self.coarsest)
        if self.digits is not None:
            units = 1.01 if self.digits == max(_DIGITS) else 3.5  # arithmetic in float32 is off by some
            error = np.maximum(error, units * 10.0 ** (places(values) - self.digits))
        if self.is_single:
            error = np.maximum(error, _LOST_OF_SINGLE * np.abs(values))
        return error


def decimals_of(column: Column) -> int | None:
    """Returns how many decimals a column's numbers have, in its unit, or None at full precision."""
    step = step_of(column)
    return None if step == 0 else max(0, round(-math.log10(step)))
