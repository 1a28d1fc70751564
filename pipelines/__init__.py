"""Rows in, rows out: datasets enlarged with RealNVP flows.

`fit`, `generate`, `score`, `encode`, `decode`, `impute`, `describe`, `evaluate`, `report` and `plot` are the verbs of
the `augment` command as functions. They are imported when they are first used, so that importing this package is free.
The faces for scikit-learn are in `pipelines.estimators`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pipelines.errors import AugmentError, UsageError

if TYPE_CHECKING:
    from pipelines.tables.texts.dialect import ReadOptions
    from pipelines.verbs.decode import decode
    from pipelines.verbs.describe import describe
    from pipelines.verbs.encode import encode
    from pipelines.verbs.evaluate import evaluate
    from pipelines.verbs.fit import FitResult, Progress, fit
    from pipelines.verbs.generate import ShortfallError, generate
    from pipelines.verbs.impute import impute
    from pipelines.verbs.plot import plot
    from pipelines.verbs.report import report
    from pipelines.verbs.score import score

__all__ = [
    "AugmentError",
    "FitResult",
    "Progress",
    "ReadOptions",
    "ShortfallError",
    "UsageError",
    "decode",
    "describe",
    "encode",
    "evaluate",
    "fit",
    "generate",
    "impute",
    "plot",
    "report",
    "score",
]

_HOMES = {"FitResult": "fit", "Progress": "fit", "ReadOptions": "fit", "ShortfallError": "generate"}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"pipelines.verbs.{_HOMES.get(name, name)}"), name)
