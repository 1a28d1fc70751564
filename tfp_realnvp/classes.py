"""Which integers are classes."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["check_classes"]


def check_classes(name: str, classes: Any, num_classes: Any) -> None:
    """Raises `ValueError` if there is a class that does not exist.

    Args:
        name: Of what they are the classes, for the message.
        classes: Integers, `[..., C]`.
        num_classes: Number of classes of each column, `[C]`: column `j` has 0, ..., `num_classes[j] - 1`.
    """
    classes, counts = np.asarray(classes), np.asarray(num_classes)
    is_wrong = (classes < 0) | (classes >= counts)
    if is_wrong.any():
        *row, column = np.argwhere(is_wrong)[0].tolist()
        where = (f" in row {row[0]}" if row else "") + (f" of column {column}" if len(counts) > 1 else "")
        raise ValueError(f"{name}: class {classes[*row, column]} is not one of 0, …, {counts[column] - 1}{where}.")
