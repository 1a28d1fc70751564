"""The gradient-boosted trees that judge: fast, at home with missing values, and hard to fool."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

__all__ = ["classifier", "regressor"]

_OPTIONS = {"max_iter": 200, "early_stopping": True}


def classifier(seed: int = 0) -> Any:
    """Returns an untrained classifier; `seed` is that of the rows it stops early by."""
    return HistGradientBoostingClassifier(**_OPTIONS, random_state=seed)


def regressor(seed: int = 0) -> Any:
    """Returns an untrained regressor."""
    return HistGradientBoostingRegressor(**_OPTIONS, random_state=seed)
