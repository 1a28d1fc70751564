"""A distribution over rows of classes and real numbers: p(d) p(x | d)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.internal import reparameterization, samplers

from tfp_realnvp.binding import context_specs, given
from tfp_realnvp.distributions.autoregressive_categorical import AutoregressiveCategorical
from tfp_realnvp.distributions.unbatched import Unbatched

__all__ = ["Mixed"]


class Mixed(Unbatched):
    """A distribution over pairs of classes `[C]`, int32, and real numbers `[D]`.

        log_prob((d, x)) = log p(d) + log p(x | d)

    Args:
        discrete: The distribution of the classes, with event shape `[C]` and batch shape `[]`.
        continuous: A conditional flow over `[D]` whose context has the shape `[C]`, as of a
            `ClassContext(num_classes)`.
        name: Name of the distribution.

    Raises:
        ValueError: If `continuous` takes no context, or one of another shape.

    #### Examples

    >>> import tfp_realnvp as tfr
    >>> num_classes = [3, 2]
    >>> mixed = tfr.Mixed(
    ...     tfr.AutoregressiveCategorical(num_classes, seed=0),
    ...     tfr.real_nvp(4, num_couplings=2, context=tfr.ClassContext(num_classes, seed=0), seed=0),
    ... )
    >>> d, x = mixed.sample(10, seed=(0, 1))
    >>> d.shape, x.shape, mixed.log_prob((d, x)).shape
    (TensorShape([10, 2]), TensorShape([10, 4]), TensorShape([10]))
    """

    def __init__(self, discrete: AutoregressiveCategorical, continuous: tfd.Distribution, name: str = "mixed") -> None:
        contexts = context_specs(continuous)
        if not contexts or contexts[0].shape[1:] != discrete.event_shape:
            found = f"contexts of shape {contexts[0].shape[1:]}" if contexts else "no context"
            raise ValueError(
                f"the classes have shape {discrete.event_shape}, but {continuous.name!r} takes {found}: build it with "
                f"context=ClassContext({list(discrete.num_classes)})."
            )
        parameters = {"discrete": discrete, "continuous": continuous, "name": name}
        self.discrete, self.continuous = discrete, continuous
        super().__init__(
            dtype=(discrete.dtype, continuous.dtype),
            reparameterization_type=(reparameterization.NOT_REPARAMETERIZED, continuous.reparameterization_type),
            validate_args=False,
            allow_nan_stats=False,
            parameters=parameters,
            name=name,
        )

    def _event_shape(self) -> tuple[tf.TensorShape, tf.TensorShape]:
        return (self.discrete.event_shape, self.continuous.event_shape)

    def _event_shape_tensor(self) -> tuple[tf.Tensor, tf.Tensor]:
        return (self.discrete.event_shape_tensor(), self.continuous.event_shape_tensor())

    def _log_prob(self, value: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        d, x = value
        # TFP's cache would keep what is bound here for as long as x is held.
        return self.discrete.log_prob(d) + given(self.continuous, d).log_prob(tf.identity(x))

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        seed_d, seed_x = samplers.split_seed(seed, n=2)
        d = self.discrete.sample(n, seed=seed_d)
        return d, given(self.continuous, d).sample(seed=seed_x)
