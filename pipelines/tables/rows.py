"""Rows as a model sees them: classes and real numbers."""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ["Rows"]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows as a model sees them.

    Attributes:
        classes: int32 `[n, C]`, -1 where a cell is none of the classes a model knows: those of the discrete columns,
            then those of the phases.
        scores: float32 `[n, D]`; random where the cell is not present.
        is_present: bool `[n, D]`: whether the cell is a number, and not a class nor tied with another.
        is_known: bool `[n, D]`: whether it is one or the other, as far as a model knows.
        log_det: float64 `[n]`: the log-determinant of the way from the cells that are numbers to `scores`, and the
            logarithm of a cell's share of the probability of its class where the class stands for several; nats.
    """

    classes: np.ndarray
    scores: np.ndarray
    is_present: np.ndarray
    is_known: np.ndarray
    log_det: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Rows:
        """Returns some of the rows."""
        return Rows(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))
