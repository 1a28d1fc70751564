"""Numbers close to others as what they differ by, so that new rows keep to what two columns have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import FLAG, NUMBER, NUMBERS, OBJECT, TEXT, check_object
from pipelines.tables.numbers.margins import Margin

__all__ = ["Offset", "logarithms"]

_LEAST = 1e-300
_CHECKS = {
    "other": TEXT,
    "slope": NUMBER,
    "of_logs": FLAG,
    "alone": OBJECT,
    "has_ties": FLAG,
    "linear_below": NUMBERS,
}


@dataclasses.dataclass(frozen=True)
class Offset:
    """How a column of numbers is learnt as what it is beside another of the same row.

    Numbers are spread over their own cells first, as `Margin.spread` does, so that going back gives numbers that the
    column can have.

    Attributes:
        other: The other column.
        slope: How many times the other's number is taken off; 0 if the numbers are learnt by themselves, but for ties.
        of_logs: Whether logarithms are taken of both first: what is learnt is then that of a ratio, if the slope is 1,
            else of what is left of a power law.
        alone: The column's own margin: its lattice, the numbers it keeps to, and its range.
        has_ties: Whether a class says where the two numbers are equal, so that there is nothing else to be learnt.
        linear_below: Below which of its numbers, and of the other's, logarithms go on as straight lines, so that the
            few that have none do not rule them out; 0 if all have one.
    """

    other: str
    slope: float
    of_logs: bool
    alone: Margin
    has_ties: bool = False
    linear_below: tuple[float, float] = (0.0, 0.0)

    def of(self, places: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Returns what is learnt, float64 `[n]`, of places and the other's numbers; NaN where there is none."""
        with np.errstate(all="ignore"):
            learnt: np.ndarray = self._scaled(places, 0) - self._start(other)
        return np.where(np.isfinite(learnt), learnt, np.nan)

    def places(self, learnt: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Returns the places, float64 `[n]`, that `of` takes to these."""
        with np.errstate(all="ignore"):
            return self._unscaled(learnt + self._start(other), 0)

    def others(self, places: np.ndarray, learnt: np.ndarray) -> np.ndarray:
        """Returns the other's numbers, float64 `[n]`, with which `of` takes places to these; NaN if the slope is 0."""
        if not self.slope:
            return np.full(len(places), np.nan)
        with np.errstate(all="ignore"):
            return self._unscaled((self._scaled(places, 0) - learnt) / self.slope, 1)

    def log_derivative(self, places: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the derivative of `of` by the place, nats per unit, float64 `[n]`."""
        with np.errstate(all="ignore"):
            found: np.ndarray = -np.log(np.maximum(places, self.linear_below[0] or _LEAST))
        return found if self.of_logs else np.zeros(len(places))

    @property
    def words(self) -> str:
        """What is learnt, in words, if that is more than the numbers and ties."""
        if self.of_logs:
            return f"ratios to {self.other}" + f"^{self.slope:g}" * (self.slope != 1)
        return "differences from " + f"{self.slope:g} times " * (self.slope != 1) + self.other

    def _scaled(self, numbers: np.ndarray, which: int) -> np.ndarray:
        """Numbers, its own or the other's, or their logarithms."""
        return logarithms(numbers, self.linear_below[which]) if self.of_logs else numbers

    def _unscaled(self, scaled: np.ndarray, which: int) -> np.ndarray:
        """The numbers, its own or the other's, that `_scaled` takes to these."""
        if not self.of_logs:
            return scaled
        found: np.ndarray = np.exp(scaled)
        if least := self.linear_below[which]:
            found = np.where(found < least, least * (1 + scaled - np.log(least)), found)
        return found

    def _start(self, other: np.ndarray) -> np.ndarray:
        """What is taken off."""
        start: np.ndarray = self.slope * self._scaled(other, 1) if self.slope else np.zeros(len(other))
        return start

    def to_json(self) -> dict[str, Any]:
        """Returns this as a JSON value."""
        return {
            "other": self.other,
            "slope": self.slope,
            "of_logs": self.of_logs,
            "alone": self.alone.to_json(),
            "has_ties": self.has_ties,
            "linear_below": list(self.linear_below),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Offset:
        """Returns what `to_json` wrote.

        Raises:
            AugmentError: If it is none such.
        """
        check_object("the difference from another column", value, _CHECKS, ("linear_below",))  # a model may be older
        slope, linear_below = float(value["slope"]), value.get("linear_below", (0.0, 0.0))
        if not slope and (value["of_logs"] or not value["has_ties"]):
            raise AugmentError("the difference from another column has no slope")
        if len(linear_below) != 2 or min(linear_below) < 0:
            raise AugmentError("the difference from another column has no two bounds of its logarithms")
        own, other = map(float, linear_below)
        alone = Margin.from_json(value["alone"])
        return cls(value["other"], slope, value["of_logs"], alone, value["has_ties"], (own, other))


def logarithms(numbers: np.ndarray, linear_below: float = 0.0) -> np.ndarray:
    """Returns logarithms, float64 `[n]`, below a number that is not 0 their tangent there.

    If it is 0, those of numbers that have none are far below all others.
    """
    found: np.ndarray = np.log(np.maximum(numbers, linear_below or _LEAST))
    return found + np.minimum(numbers / linear_below - 1, 0) if linear_below else found
