"""What the flow makes of noise in one column, and the standard Gaussian it should have made (quantile mapping)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

__all__ = ["gaussian", "holds_quantiles", "quantiles_of"]

# Beyond these so few of a block's rows lie that their quantiles would be noise.
_GAUSSIAN = np.arange(-2.5, 2.6, 0.25)
_SHARES = [statistics.NormalDist().cdf(score) for score in _GAUSSIAN.tolist()]
# The standard error of their quantiles is 0.04 standard deviations in the middle and 0.13 at the ends.
_MIN_ROWS = 1_000
_LEAST, _MOST = 1e-6, 1e6  # between two quantiles, and away from zero


def quantiles_of(made: np.ndarray) -> tuple[float, ...]:
    """Returns quantiles of the finite scores that a flow made, float `[n]`, or none if there are too few to tell."""
    made = made[np.isfinite(made)]
    if len(made) < _MIN_ROWS:
        return ()
    found = tuple(np.quantile(made.astype(np.float64), _SHARES).tolist())
    return found if holds_quantiles(found) else ()


def holds_quantiles(quantiles: Sequence[float]) -> bool:
    """Whether these are what `quantiles_of` can give, one or more."""
    found = np.asarray(quantiles, np.float64)
    return len(found) == len(_GAUSSIAN) and bool((np.diff(found) >= _LEAST).all() and (np.abs(found) <= _MOST).all())


def gaussian(scores: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Returns scores, float64 `[n]`, with the standard Gaussian's quantiles in the place of `quantiles`.

    In between the map is linear, beyond a shift. Without quantiles it leaves scores as they are.
    """
    scores = scores.astype(np.float64)
    if not len(quantiles):
        return scores
    inside = np.clip(scores, quantiles[0], quantiles[-1])
    found: np.ndarray = np.interp(inside, quantiles, _GAUSSIAN) + (scores - inside)
    return found
