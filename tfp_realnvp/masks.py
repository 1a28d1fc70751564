"""Which entries of an event a coupling leaves alone, and how to take an event apart along them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Mask", "half_mask"]


def half_mask(event_size: int) -> np.ndarray:
    """Returns a boolean array of shape `[event_size]` that keeps the first `event_size // 2` entries.

    Args:
        event_size: Number of entries of the event, at least 2.

    Raises:
        ValueError: If `event_size` is less than 2.
    """
    if event_size < 2:
        raise ValueError(f"A coupling needs an event of at least 2 entries, got event_size={event_size}.")
    return np.arange(event_size) < event_size // 2


class Mask:
    """A boolean array over a vector event: True entries are kept as they are, False entries are moved.

    `split` takes an event apart into its kept and its moved entries and `merge` puts them together
    again. A mask whose kept entries are the head or the tail of the event slices and concatenates;
    any other gathers.

    Args:
        kept: Boolean array-like of shape `[D]`, `D >= 2`, with at least one True and one False.

    Raises:
        TypeError: If `kept` is not boolean.
        ValueError: If `kept` is not a vector, is shorter than 2, or is True or False everywhere.
    """

    def __init__(self, kept: Any) -> None:
        kept = np.asarray(kept)
        if kept.dtype != np.bool_:
            raise TypeError(f"mask must be boolean (True = kept as it is), got an array of {kept.dtype}.")
        if kept.ndim != 1:
            raise ValueError(f"mask must be a vector over the event, got shape {kept.shape}.")
        if kept.size < 2:
            raise ValueError(
                f"mask has {kept.size} entry: a coupling needs an event of at least 2, one to keep and one to move. "
                "For a single entry use an elementwise bijector of tfp.bijectors."
            )
        if kept.all() or not kept.any():
            raise ValueError(
                f"mask is {kept[0]} everywhere: at least one entry must be kept (True) and at least one moved (False)."
            )
        self.kept = kept.copy()
        self.kept.flags.writeable = False
        kept_at, moved_at = np.flatnonzero(kept), np.flatnonzero(~kept)
        self.event_size = int(kept.size)
        self.num_kept = int(kept_at.size)
        self.num_moved = int(moved_at.size)
        self._head_is_kept = bool(kept[0])
        self._is_contiguous = int(np.count_nonzero(kept[1:] != kept[:-1])) == 1
        self._kept_at, self._moved_at = kept_at, moved_at
        self._merge_at = np.argsort(np.concatenate([kept_at, moved_at]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.kept, dtype=dtype)

    def __repr__(self) -> str:
        return f"Mask({self.kept.tolist()})"

    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes `event`, of shape `[..., D]`, apart into kept `[..., num_kept]` and moved `[..., num_moved]`."""
        if not self._is_contiguous:
            return tf.gather(event, self._kept_at, axis=-1), tf.gather(event, self._moved_at, axis=-1)
        if self._head_is_kept:
            return event[..., : self.num_kept], event[..., self.num_kept :]
        return event[..., self.num_moved :], event[..., : self.num_moved]

    def merge(self, kept: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        """Puts together what `split` took apart; returns a tensor of shape `[..., D]`."""
        if not self._is_contiguous:
            return tf.gather(tf.concat([kept, moved], axis=-1), self._merge_at, axis=-1)
        return tf.concat([kept, moved] if self._head_is_kept else [moved, kept], axis=-1)
