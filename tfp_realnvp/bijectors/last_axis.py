"""What comes to a layer over the last axis: events, and batches of data that set it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb


def check_last_axis(layer: tfb.Bijector, event: tf.Tensor, size: int) -> None:
    """Raises `ValueError` if the last axis is not known to have this size; broadcasting would hide that it has not."""
    if event.shape.rank is None or event.shape[-1:] != [size]:
        raise ValueError(f"{layer.name}: the last axis must have size {size}, got shape {event.shape}.")


def checked_rows(layer: tfb.Bijector, batch: Any, size: int) -> np.ndarray:
    """Returns `batch`, `[..., size]`, as float64 rows, `[n, size]`.

    Raises:
        ValueError: If it has another size, fewer than two rows, or values that are not finite.
    """
    rows = np.asarray(batch, np.float64)
    if rows.ndim < 1 or rows.shape[-1] != size:
        raise ValueError(f"{layer.name}: the last axis of batch must have size {size}, got shape {rows.shape}.")
    rows = rows.reshape(-1, size)
    if len(rows) < 2 or not np.isfinite(rows).all():
        raise ValueError(f"{layer.name}: batch must have at least 2 rows of finite values, got {rows.shape}.")
    return rows
