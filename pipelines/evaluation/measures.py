"""Figures with their sampling errors, and the measures of predictions, each with what every row adds to it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.stats import rankdata

__all__ = ["Figure", "macro_roc_auc", "roc_auc", "root_mean_squared_error", "standard_error"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        value: What was measured.
        floor: What real rows in the place of the synthetic ones give.
        error: Standard error of `value`, from the number of rows.
    """

    value: float
    floor: float | None
    error: float

    def to_json(self) -> dict[str, Any]:
        """Returns the figure as a JSON value."""
        return dataclasses.asdict(self)


def standard_error(influence: np.ndarray) -> float:
    """Returns the standard error of a measure from its influence function `[n]`, as the measures here return it."""
    return float(influence.std() / np.sqrt(len(influence)))


def roc_auc(is_positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the area under the ROC curve, and its influence function float64 `[n]`.

    Half a pair that ties counts. NaN if all rows are of one class. The influence of a row is how far its own share of
    won pairs is from the mean, by the inverse of its class's share (DeLong et al., 1988, "Comparing the areas under
    two or more correlated receiver operating characteristic curves").

    Args:
        is_positive: bool `[n]`.
        scores: `[n]`, higher for rows that are more probably positive.
    """
    positives = int(is_positive.sum())
    negatives = len(scores) - positives
    influence = np.zeros(len(scores))
    if not positives or not negatives:
        return float("nan"), influence
    rank = rankdata(scores)
    won = np.empty(len(scores))
    won[is_positive] = (rank[is_positive] - rankdata(scores[is_positive])) / negatives
    won[~is_positive] = 1 - (rank[~is_positive] - rankdata(scores[~is_positive])) / positives
    value = float(won[is_positive].mean())
    share = np.where(is_positive, positives, negatives) / len(scores)
    influence = (won - value) / share
    return value, influence


def macro_roc_auc(classes: np.ndarray, probabilities: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the mean of the areas of each class against the rest, and its influence function float64 `[n]`.

    Classes that no row has are left out. Of two classes it is the area of one of them.

    Args:
        classes: int `[n]`, columns of `probabilities`.
        probabilities: `[n, K]`.
    """
    present = [k for k in range(probabilities.shape[1]) if 0 < (classes == k).sum() < len(classes)]
    if not present:
        return float("nan"), np.zeros(len(classes))
    found = [roc_auc(classes == k, probabilities[:, k]) for k in present]
    return float(np.mean([value for value, _ in found])), np.mean([influence for _, influence in found], axis=0)


def root_mean_squared_error(target: np.ndarray, predicted: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the root of the mean squared error, and its influence function float64 `[n]`."""
    squares = (target - predicted) ** 2
    value = float(np.sqrt(squares.mean()))
    return value, (squares - squares.mean()) / max(2 * value, np.finfo(float).tiny)
