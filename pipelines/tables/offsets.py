"""Numbers close to others as what they differ by, so that new rows keep to what two columns have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import FLAG, NUMBER, OBJECT, TEXT, check_object
from pipelines.tables.margins import Margin

__all__ = ["Offset"]

_LEAST = 1e-300
_CHECKS = {"other": TEXT, "slope": NUMBER, "of_logs": FLAG, "alone": OBJECT, "has_ties": FLAG}


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
    """

    other: str
    slope: float
    of_logs: bool
    alone: Margin
    has_ties: bool = False

    def of(self, places: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Returns what is learnt, float64 `[n]`, of places and the other's numbers; NaN where there is none."""
        with np.errstate(all="ignore"):
            learnt: np.ndarray = self._seen(places) - self._start(other)
        return np.where(np.isfinite(learnt), learnt, np.nan)

    def places(self, learnt: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Returns the places, float64 `[n]`, that `of` takes to these."""
        with np.errstate(all="ignore"):
            found: np.ndarray = learnt + self._start(other)
            return np.exp(found) if self.of_logs else found

    def others(self, places: np.ndarray, learnt: np.ndarray) -> np.ndarray:
        """Returns the other's numbers, float64 `[n]`, with which `of` takes places to these; NaN if the slope is 0."""
        if not self.slope:
            return np.full(len(places), np.nan)
        with np.errstate(all="ignore"):
            found: np.ndarray = (self._seen(places) - learnt) / self.slope
            return np.exp(found) if self.of_logs else found

    def log_derivative(self, places: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the derivative of `of` by the place, nats per unit, float64 `[n]`."""
        with np.errstate(all="ignore"):
            return -self._seen(places) if self.of_logs else np.zeros(len(places))

    @property
    def words(self) -> str:
        """What is learnt, in words, if that is more than the numbers and ties."""
        if self.of_logs:
            return f"ratios to {self.other}" + f"^{self.slope:g}" * (self.slope != 1)
        return "differences from " + f"{self.slope:g} times " * (self.slope != 1) + self.other

    def _seen(self, places: np.ndarray) -> np.ndarray:
        """The numbers, or their logarithms."""
        return _logarithms(places) if self.of_logs else places

    def _start(self, other: np.ndarray) -> np.ndarray:
        """What is taken off."""
        start: np.ndarray = self.slope * self._seen(other) if self.slope else np.zeros(len(other))
        return start

    def to_json(self) -> dict[str, Any]:
        """Returns this as a JSON value."""
        return {
            "other": self.other,
            "slope": self.slope,
            "of_logs": self.of_logs,
            "alone": self.alone.to_json(),
            "has_ties": self.has_ties,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Offset:
        """Returns what `to_json` wrote.

        Raises:
            AugmentError: If it is none such.
        """
        check_object("the difference from another column", value, _CHECKS)
        slope = float(value["slope"])
        if not slope and (value["of_logs"] or not value["has_ties"]):
            raise AugmentError("the difference from another column has no slope")
        return cls(value["other"], slope, value["of_logs"], Margin.from_json(value["alone"]), value["has_ties"])


def _logarithms(numbers: np.ndarray) -> np.ndarray:
    """Logarithms, far below all others of numbers that have none."""
    found: np.ndarray = np.log(np.maximum(numbers, _LEAST))
    return found
