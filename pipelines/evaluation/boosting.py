"""The gradient-boosted trees that judge: fast, at home with missing values, and hard to fool."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

__all__ = ["classifier", "regressor", "trainable"]

_LEAST_PRESENT = 20
_OPTIONS = {"max_iter": 200, "early_stopping": True}


def classifier(seed: int = 0) -> Any:
    """Returns an untrained classifier; `seed` is that of the rows it stops early by."""
    return HistGradientBoostingClassifier(**_OPTIONS, random_state=seed)


def regressor(seed: int = 0) -> Any:
    """Returns an untrained regressor."""
    return HistGradientBoostingRegressor(**_OPTIONS, random_state=seed)


def trainable(features: np.ndarray) -> np.ndarray:
    """Returns features to train on, columns that are missing all but throughout being constant.

    The trees cannot be trained on a column without a value, and rows to stop early by may take the last ones.
    """
    is_absent = (~np.isnan(features)).sum(axis=0) < min(_LEAST_PRESENT, len(features))
    return np.where(is_absent, 0.0, features)
