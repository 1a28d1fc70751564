"""Which entries of an event a coupling leaves alone, and how to take an event apart along them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Mask", "alternating_mask", "channel_mask", "checkerboard_mask", "half_mask", "random_mask"]


class Mask:
    """A boolean array over an event of any rank: True entries are kept as they are, False entries are moved.

    `split` takes an event apart into the vectors of its kept and of its moved entries, in row-major
    order, and `merge` puts them together again. Where the kept entries are the head or the tail of the
    last axis it slices and concatenates; otherwise it gathers.

    Args:
        kept: Boolean array-like of the event's shape, with at least one False. With no True at all the
            coupling can only move by a context.

    Raises:
        TypeError: If `kept` is not boolean.
        ValueError: If `kept` is a scalar, is empty, or is True everywhere.
    """

    def __init__(self, kept: Any) -> None:
        kept = np.asarray(kept)
        if kept.dtype != np.bool_:
            raise TypeError(f"mask must be boolean (True = kept as it is), got an array of {kept.dtype}.")
        if kept.ndim < 1 or not kept.size:
            raise ValueError(f"mask must be an array over the event, with at least one entry; got shape {kept.shape}.")
        if kept.all():
            raise ValueError("mask is True everywhere: at least one entry must be moved (False).")
        self.kept = kept.copy()
        self.kept.flags.writeable = False
        self.event_shape = tuple(int(size) for size in kept.shape)
        self.event_size = int(kept.size)
        self.num_kept = int(kept.sum())
        self.num_moved = self.event_size - self.num_kept
        flat, last = kept.reshape(-1), kept.reshape(-1, kept.shape[-1])
        self._kept_at, self._moved_at = np.flatnonzero(flat), np.flatnonzero(~flat)
        self._merge_at = np.argsort(np.concatenate([self._kept_at, self._moved_at]))
        # The same head or tail of the last axis everywhere: slices do.
        self._head_is_kept = bool(last[0, 0])
        self._is_sliced = bool((last == last[0]).all()) and np.count_nonzero(last[0, 1:] != last[0, :-1]) <= 1
        self._num_head = int(np.count_nonzero(last[0] == last[0, 0]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.kept, dtype=dtype)

    def __repr__(self) -> str:
        return f"Mask({self.kept.tolist()})"

    @property
    def complement(self) -> Mask:
        """The mask that keeps what this one moves; raises `ValueError` if this one keeps nothing."""
        return Mask(~self.kept)

    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes `event`, `[..., *event_shape]`, apart into kept `[..., num_kept]` and moved `[..., num_moved]`."""
        if self._is_sliced:
            head, tail = event[..., : self._num_head], event[..., self._num_head :]
            kept, moved = (head, tail) if self._head_is_kept else (tail, head)
            return self._flatten(kept, self.num_kept), self._flatten(moved, self.num_moved)
        event = self._flatten(event, self.event_size)
        return tf.gather(event, self._kept_at, axis=-1), tf.gather(event, self._moved_at, axis=-1)

    def merge(self, kept: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        """Puts together what `split` took apart; returns a tensor of shape `[..., *event_shape]`."""
        if self._is_sliced:
            kept, moved = self._unflatten(kept, self.num_kept), self._unflatten(moved, self.num_moved)
            return tf.concat([kept, moved] if self._head_is_kept else [moved, kept], axis=-1)
        event = tf.gather(tf.concat([kept, moved], axis=-1), self._merge_at, axis=-1)
        return self._reshape_last(event, 1, self.event_shape)

    def _flatten(self, event: tf.Tensor, size: int) -> tf.Tensor:
        return self._reshape_last(event, len(self.event_shape), (size,))

    def _unflatten(self, entries: tf.Tensor, size: int) -> tf.Tensor:
        leading = self.event_shape[:-1]
        return self._reshape_last(entries, 1, (*leading, size // int(np.prod(leading))))

    @staticmethod
    def _reshape_last(tensor: tf.Tensor, num_last: int, shape: tuple[int, ...]) -> tf.Tensor:
        """Reshapes the last `num_last` dimensions."""
        if num_last == len(shape) == 1:
            return tensor
        leading = tensor.shape[: tensor.shape.rank - num_last]
        if leading.is_fully_defined():
            return tf.reshape(tensor, [*leading, *shape])
        return tf.reshape(tensor, tf.concat([tf.shape(tensor)[: leading.rank], shape], axis=0))


def half_mask(event_size: int) -> Mask:
    """Returns the mask over vectors that keeps the first `event_size // 2` entries.

    Args:
        event_size: Number of entries of the event, at least 2.

    Raises:
        ValueError: If `event_size` is less than 2.
    """
    return Mask(np.arange(_at_least_two(event_size)) < event_size // 2)


def alternating_mask(event_size: int) -> Mask:
    """Returns the mask over vectors that keeps every second entry, from the first on.

    Args:
        event_size: Number of entries of the event, at least 2.

    Raises:
        ValueError: If `event_size` is less than 2.
    """
    return Mask(np.arange(_at_least_two(event_size)) % 2 == 0)


def checkerboard_mask(event_shape: Sequence[int]) -> Mask:
    """Returns the mask over images that keeps the pixels whose row and column add to an even number.

    All channels of a pixel are kept or moved together (Dinh et al., 2017, "Density estimation using Real
    NVP", figure 3, left).

    Args:
        event_shape: `[height, width]` or `[height, width, channels]`, of at least two pixels.

    Raises:
        ValueError: If `event_shape` has another rank or fewer than two pixels.
    """
    shape = tuple(int(size) for size in event_shape)
    if len(shape) not in (2, 3) or shape[0] * shape[1] < 2:
        raise ValueError(f"event_shape must be [height, width] or [height, width, channels], got {list(shape)}.")
    rows, columns = np.indices(shape[:2])
    board = (rows + columns) % 2 == 0
    return Mask(np.broadcast_to(board if len(shape) == 2 else board[..., None], shape))


def channel_mask(event_shape: Sequence[int]) -> Mask:
    """Returns the mask that keeps the first half of the channels, which are the last axis.

    Args:
        event_shape: `[..., channels]`, with at least two channels.

    Raises:
        ValueError: If there are fewer than two channels.
    """
    shape = tuple(int(size) for size in event_shape)
    if not shape or shape[-1] < 2:
        raise ValueError(f"event_shape must end in at least 2 channels, got {list(shape)}.")
    return Mask(np.broadcast_to(np.arange(shape[-1]) < shape[-1] // 2, shape))


def random_mask(event_shape: int | Sequence[int], *, seed: int | None = None) -> Mask:
    """Returns a mask that keeps a random half of the entries, rounded down.

    Args:
        event_shape: The event's shape, or its size for a vector; of at least two entries.
        seed: Integer seed, or None for a fresh draw. The mask itself is what `save` keeps.

    Raises:
        ValueError: If the event has fewer than two entries.
    """
    shape = tuple(int(size) for size in np.atleast_1d(event_shape))
    size = _at_least_two(int(np.prod(shape)))
    return Mask((np.random.default_rng(seed).permutation(size) < size // 2).reshape(shape))


def _at_least_two(event_size: int) -> int:
    if event_size < 2:
        raise ValueError(f"A coupling needs an event of at least 2 entries, got event_size={event_size}.")
    return event_size
