"""From the values of a table to the numbers a flow sees, and back, with the log-determinant of the way there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.schema import Schema

__all__ = ["Standardisation"]


@dataclasses.dataclass(frozen=True)
class Standardisation:
    """Each modelled column to mean zero and variance one.

    Attributes:
        mean: `[D]`, float64, in data units.
        scale: `[D]`, float64, the standard deviation in data units.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def learn(cls, values: np.ndarray, schema: Schema) -> Standardisation:
        """Takes mean and standard deviation from `values`, `[n, D]`.

        Raises:
            AugmentError: If a column's spread is too large or too small for float64.
        """
        with np.errstate(over="ignore"):
            mean, scale = values.mean(axis=0), values.std(axis=0)
        for column, m, s in zip(schema.modelled, mean, scale, strict=True):
            if not (np.isfinite(m) and np.isfinite(s) and s > 1e-150):
                raise AugmentError(f"column {column.name!r}: its values are too large or too close together to model.")
        return cls(mean, scale)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Returns float32 rows for the flow, `[n, D]`, from values in data units."""
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinitely far out
            encoded: np.ndarray = ((values - self.mean) / self.scale).astype(np.float32)
        return encoded

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Returns float64 values in data units, `[n, D]`, from rows of the flow."""
        values: np.ndarray = encoded.astype(np.float64) * self.scale + self.mean
        return values

    @property
    def log_det(self) -> float:
        """The log-determinant of `encode`, in nats: what a row's log-density in data units gains."""
        return -float(np.log(self.scale).sum())

    def to_json(self) -> dict[str, Any]:
        """Returns the encoding as a JSON value."""
        return {"kind": "standardisation", "mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Standardisation:
        """Returns the encoding that `to_json` wrote."""
        return cls(np.array(value["mean"], np.float64), np.array(value["scale"], np.float64))


def dequantise(values: np.ndarray, schema: Schema, rng: np.random.Generator) -> np.ndarray:
    """Adds uniform noise within each column's step, so that a lattice has a density (Theis et al., 2016, section 3.1).

    Args:
        values: `[n, D]`, float64.
        schema: Says each column's step.
        rng: Where the noise comes from.
    """
    steps = np.array([column.step for column in schema.modelled])
    return values + steps * rng.uniform(-0.5, 0.5, values.shape)
