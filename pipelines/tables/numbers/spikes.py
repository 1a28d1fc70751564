"""Which values of a column of numbers count for themselves, and not as places on a scale."""

from __future__ import annotations

import numpy as np

__all__ = ["has_few_values", "is_spike"]

# A column of numbers has few values if they are at most so many ...
_MAX_VALUES = 128
# ... and that many rows for each; a short table may have some anyway.
_ROWS_PER_VALUE = 100
_MIN_VALUES = 10
# A value that more of a column's rows hold is a spike, unless the column's other values do the same.
_SPIKE_SHARE = 0.02
_SPIKE_FACTOR = 10


def has_few_values(counts: np.ndarray) -> bool:
    """Whether a column of numbers is modelled value by value.

    Args:
        counts: How many cells hold each value, `[K]`.
    """
    return len(counts) <= min(_MAX_VALUES, max(_MIN_VALUES, int(counts.sum()) // _ROWS_PER_VALUE))


def is_spike(counts: np.ndarray) -> np.ndarray:
    """Returns which values of a column of many are classes of their own, bool `[K]`.

    Args:
        counts: How many cells hold each value, `[K]`.
    """
    if not len(counts):
        return np.zeros(0, bool)
    found: np.ndarray = counts / counts.sum() > max(_SPIKE_SHARE, _SPIKE_FACTOR / len(counts))
    return found
