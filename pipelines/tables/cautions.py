"""What a person should know of a table's classes before its new rows are trusted."""

from __future__ import annotations

import numpy as np

from pipelines.tables.cells import OTHER
from pipelines.tables.encoding import Encoding

__all__ = ["mostly_other", "rare_values"]

_MAX_OTHER = 0.2  # of the rows
# Of a target with at most so many values it is told which fewer rows have.
_MAX_VALUES = 10
_MIN_ROWS = 30


def mostly_other(encoding: Encoding, classes: np.ndarray) -> list[str]:
    """Returns a note of the columns many of whose values are too rare for a class, or none.

    Args:
        encoding: Of the table.
        classes: int32 `[n, C]`.
    """
    said = []
    for place, column in enumerate(encoding.discrete):
        share = float((classes[:, place] == column.other).mean()) if column.other_count else 0.0
        if share > _MAX_OTHER:
            said.append(f"{column.name!r} ({share:.0%})")
    return [f"rare values of {', '.join(said)} are {OTHER} in new rows; --drop leaves a column out."] if said else []


def rare_values(target: str | None, encoding: Encoding, classes: np.ndarray) -> list[str]:
    """Returns a note of the target's values that too few rows have for a model to tell how they differ, or none.

    Args:
        target: The column, if there is one.
        encoding: Of the table.
        classes: int32 `[n, C]`.
    """
    place = next((place for place, column in enumerate(encoding.discrete) if column.name == target), None)
    if place is None:
        return []
    column = encoding.discrete[place]
    if column.margin is not None or len(column.levels) > _MAX_VALUES:
        return []
    counts = np.bincount(classes[:, place], minlength=len(column.levels))
    said = [
        f"{level!r} ({count})"
        for level, is_missing, count in zip(column.levels, column.is_missing, counts.tolist(), strict=True)
        if count < _MIN_ROWS and not is_missing
    ]
    if not said:
        return []
    return [
        f"few rows have {', '.join(said)} in {target!r}: new ones of these will hardly differ from the others. A model "
        f"needs {_MIN_ROWS} of each, better hundreds."
    ]
