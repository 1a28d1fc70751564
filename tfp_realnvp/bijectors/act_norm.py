"""Activation normalisation: a scale and a shift for each channel, set from data."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.last_axis import check_last_axis, checked_rows

__all__ = ["ActNorm"]


class ActNorm(FusedBijector):
    """Scales and shifts each entry of the last axis by variables: `y = x * exp(log_scale) + shift`.

    It starts as the identity. `initialize(batch)` sets the variables so that `inverse` gives that batch
    zero mean and unit variance; after that they are trained like any others. This is never done behind
    your back, by a first call that may be a sample; `tfp_realnvp.initialize(flow, batch)` does it for all
    the layers of a flow, one after the other. On images the last axis are the channels.

    Args:
        num_channels: Size of the last axis.
        shift: Variable `[num_channels]`, or None for a new one of zeros.
        log_scale: Variable `[num_channels]`, in nats, or None for a new one of zeros.
        dtype: Floating dtype.
        validate_args: As in `tfb.Bijector`.
        name: As in `tfb.Bijector`.

    Raises:
        ValueError: If `num_channels` is less than 1.

    References:
        Diederik Kingma, Prafulla Dhariwal. Glow: Generative Flow with Invertible 1x1 Convolutions.
        NeurIPS 2018, section 3.1. https://arxiv.org/abs/1807.03039
    """

    def __init__(
        self,
        num_channels: int,
        *,
        shift: tf.Variable | None = None,
        log_scale: tf.Variable | None = None,
        dtype: Any = tf.float32,
        validate_args: bool = False,
        name: str = "act_norm",
    ) -> None:
        if num_channels < 1:
            raise ValueError(f"num_channels must be at least 1, got {num_channels}.")
        if shift is None:
            shift = tf.Variable(tf.zeros([num_channels], dtype), name=f"{name}_shift")
        if log_scale is None:
            log_scale = tf.Variable(tf.zeros([num_channels], dtype), name=f"{name}_log_scale")
        parameters = dict(locals())  # with the variables: a copy shares them
        self._shift, self._log_scale = shift, log_scale
        super().__init__(
            forward_min_event_ndims=1, dtype=dtype, validate_args=validate_args, parameters=parameters, name=name
        )

    @property
    def shift(self) -> tf.Variable:
        """The shift, `[num_channels]`."""
        return self._shift

    @property
    def log_scale(self) -> tf.Variable:
        """The log-scale in nats, `[num_channels]`."""
        return self._log_scale

    def initialize(self, batch: Any) -> None:
        """Sets shift and log-scale to the mean and the logarithm of the standard deviation of `batch`.

        Args:
            batch: Data as they come to this layer, `[..., num_channels]`, at least two rows. Channels that
                are constant keep their scale.

        Raises:
            ValueError: If there are fewer than two rows, or values are not finite.
        """
        rows = checked_rows(self, batch, self._shift.shape[0])
        scale = rows.std(axis=0)
        self._shift.assign(rows.mean(axis=0))
        self._log_scale.assign(np.log(np.where(rows.max(axis=0) > rows.min(axis=0), scale, 1.0)))

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        check_last_axis(self, x, self._shift.shape[0])
        log_scale = tf.convert_to_tensor(self._log_scale)
        return x * tf.exp(log_scale) + self._shift, self._log_det(log_scale, x)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        check_last_axis(self, y, self._shift.shape[0])
        log_scale = tf.convert_to_tensor(self._log_scale)
        return (y - self._shift) * tf.exp(-log_scale), -self._log_det(log_scale, y)

    @staticmethod
    def _log_det(log_scale: tf.Tensor, event: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(log_scale, axis=0) * tf.ones_like(event[..., 0])
