"""From integers to unbounded real numbers: uniform dequantisation, then a logit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.unique import UniqueBijector

__all__ = ["BoundedLogit", "UniformDequantization", "bits_per_dim"]


class UniformDequantization(UniqueBijector):
    """Rounds down to integers; the inverse adds uniform noise in `[0, 1)`.

    As the data-side end of a chain it makes a continuous flow one over integers: samples are whole
    numbers, and `log_prob` of whole numbers is a one-sample estimate of a lower bound on the log of
    their probability (Theis, van den Oord and Bethge, 2016, "A note on the evaluation of generative
    models", section 3.1).

    With `num_levels`, samples beyond `0, …, num_levels - 1` become the nearest of these.

    TFP's cache keeps what a sample was rounded from for as long as the sample is held, and its density is on average
    above the bound. `Flow` and what is made of it do without; of a `tfd.TransformedDistribution` ask for the `log_prob`
    of `tf.identity(samples)`.

    It is a bijection between integers and unit intervals only: `forward(inverse(y)) == y`, the other way
    round holds up to the noise. The log-determinant is zero.

    Args:
        num_levels: Number of integers, from 0, or None for all.
        seed: Integer seed of the noise, or None for a fresh one. Every call draws anew, but while a result
            is held, eager TFP hands it out again for the same tensor.
        validate_args: As in `tfb.Bijector`.
        name: As in `tfb.Bijector`.

    Raises:
        ValueError: If `num_levels` is less than 1.
    """

    def __init__(
        self,
        num_levels: int | None = None,
        *,
        seed: int | None = None,
        validate_args: bool = False,
        name: str = "uniform_dequantization",
    ) -> None:
        parameters = dict(locals())
        if num_levels is not None and num_levels < 1:
            raise ValueError(f"num_levels must be at least 1 or None, got {num_levels}.")
        self._num_levels = num_levels
        self._generator = (
            tf.random.Generator.from_non_deterministic_state() if seed is None else tf.random.Generator.from_seed(seed)
        )
        self._noise_state = self._generator.state  # tf.Module finds variables, but not in a Generator
        super().__init__(
            forward_min_event_ndims=0,
            is_constant_jacobian=False,  # or TFP would take it for affine, and round the mean
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        y = tf.floor(x)
        return y if self._num_levels is None else tf.clip_by_value(y, 0.0, self._num_levels - 1.0)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        noisy = y + self._generator.uniform(tf.shape(y), dtype=y.dtype)
        # In float32 the sum may be rounded up to the next integer.
        return tf.minimum(noisy, tf.math.nextafter(y + 1, y))

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return tf.zeros([], x.dtype)

    def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return tf.zeros([], y.dtype)


class BoundedLogit(FusedBijector):
    """Maps real numbers to an interval around `[0, high]`; its inverse is the logit of values shrunk from its ends.

        inverse:  x = logit(margin + (1 - 2 * margin) * y / high)
        forward:  y = high * (sigmoid(x) - margin) / (1 - 2 * margin)

    `forward` reaches beyond `[0, high]`, by `margin * high / (1 - 2 * margin)` on each side. Dinh et al. (2017,
    "Density estimation using Real NVP", section 4.1) shrink by 0.05 on one side.

    Args:
        high: Upper end of the values: the number of levels, for dequantised integers from 0.
        margin: The share of the interval by which both ends are kept from infinity, in `[0, 0.5)`.
        validate_args: As in `tfb.Bijector`.
        name: As in `tfb.Bijector`.

    Raises:
        ValueError: If `high` is not positive or `margin` is out of range.
    """

    def __init__(
        self, high: float = 1.0, *, margin: float = 0.05, validate_args: bool = False, name: str = "bounded_logit"
    ) -> None:
        parameters = dict(locals())
        if not high > 0 or not 0 <= margin < 0.5:
            raise ValueError(f"high must be positive and margin in [0, 0.5), got {high} and {margin}.")
        self._high, self._margin = float(high), float(margin)
        super().__init__(forward_min_event_ndims=0, validate_args=validate_args, parameters=parameters, name=name)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stretch = 1 - 2 * self._margin
        y = self._high * (tf.sigmoid(x) - self._margin) / stretch
        return y, math.log(self._high / stretch) - tf.math.softplus(x) - tf.math.softplus(-x)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stretch = 1 - 2 * self._margin
        share = self._margin + stretch * y / self._high
        log_share, log_rest = tf.math.log(share), tf.math.log1p(-share)
        return log_share - log_rest, math.log(stretch / self._high) - log_share - log_rest


def bits_per_dim(log_prob: Any, event_shape: Any) -> Any:
    """Returns `-log_prob / (dimensions * log(2))`, in bits a dimension.

    Args:
        log_prob: Log-probabilities in nats, of data on the integers: `[...]`.
        event_shape: The event's shape, whose product is the number of dimensions.
    """
    return -log_prob / (float(np.prod(np.atleast_1d(event_shape))) * math.log(2))
