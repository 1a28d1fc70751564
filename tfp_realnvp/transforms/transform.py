"""The part of a coupling that moves an entry."""

from __future__ import annotations

import abc

import tensorflow as tf

__all__ = ["Transform"]


class Transform(abc.ABC):
    """A monotone function of one entry with `num_parameters` parameters, applied to many entries at once.

    At parameters of zero it is the identity, so that a coupling whose network ends in a layer of zeros
    starts as the identity. Subclasses are frozen dataclasses whose fields are JSON values.
    """

    @property
    @abc.abstractmethod
    def num_parameters(self) -> int:
        """Parameters an entry needs."""

    @abc.abstractmethod
    def forward(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Moves entries from noise towards data.

        Args:
            x: Entries, `[..., n]`.
            parameters: `[..., n, num_parameters]`, any real numbers.

        Returns:
            The moved entries and the logarithm of the derivative of each, both `[..., n]`.
        """

    @abc.abstractmethod
    def inverse(self, y: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Moves entries from data towards noise; the inverse of `forward`, with its own log-derivatives."""
