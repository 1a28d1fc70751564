"""What the flow makes of noise in one column, and what it should have made: the table's scores (quantile mapping)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

__all__ = ["calibrated", "holds_quantiles", "quantiles_of"]

# Beyond these so few of a block's rows lie that their quantiles would be noise.
_GAUSSIAN = np.arange(-2.5, 2.6, 0.25)
_SHARES = [statistics.NormalDist().cdf(score) for score in _GAUSSIAN.tolist()]
# The standard error of their quantiles is 0.04 standard deviations in the middle and 0.13 at the ends.
_MIN_ROWS = 1_000
_LEAST, _MOST = 1e-6, 1e6  # between two quantiles, and away from zero


def quantiles_of(scores: np.ndarray) -> tuple[float, ...]:
    """Returns quantiles of finite scores, float `[n]`, or none if there are too few to tell."""
    scores = scores[np.isfinite(scores)]
    if len(scores) < _MIN_ROWS:
        return ()
    found = tuple(np.quantile(scores.astype(np.float64), _SHARES).tolist())
    return found if holds_quantiles(found) else ()


def holds_quantiles(quantiles: Sequence[float]) -> bool:
    """Whether these are what `quantiles_of` can give, one or more."""
    found = np.asarray(quantiles, np.float64)
    return len(found) == len(_GAUSSIAN) and bool((np.diff(found) >= _LEAST).all() and (np.abs(found) <= _MOST).all())


def calibrated(scores: np.ndarray, made: Sequence[float], own: Sequence[float] = ()) -> np.ndarray:
    """Returns scores, float64 `[n]`, with the quantiles of the table's scores in the place of those that a flow made.

    In between the map is linear, beyond a shift.

    Args:
        scores: That a flow made.
        made: Quantiles of such scores; without these they stay as they are.
        own: Quantiles of the table's scores, which are Gaussian between the knots of their margin only nearly. Without
            these they are taken to be Gaussian.
    """
    scores = scores.astype(np.float64)
    if not len(made):
        return scores
    inside = np.clip(scores, made[0], made[-1])
    aims = np.asarray(own) if len(own) else _GAUSSIAN
    found: np.ndarray = np.interp(inside, made, aims) + (scores - inside)
    return found
