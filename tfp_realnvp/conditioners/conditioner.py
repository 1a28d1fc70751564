"""A network with the recipe that built it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfp_realnvp.contexts import Context

__all__ = ["Conditioner"]


class Conditioner(tf.Module):
    """A `tf_keras` network with the call that built it, so that a flow can be saved as its recipe.

    Calling it on kept entries `[n, num_kept]`, and a context `[n, *context_shape]` if it has one, returns
    parameters `[n, num_moved * num_parameters]`, those of an entry side by side.

    Attributes:
        network: The `tf_keras.Model`. Its input is `[n, num_kept + context.size]`.
        context: How the context is encoded, or None.
        recipe: The name of the function that built it and its arguments, all of them JSON values.
    """

    def __init__(self, network: tf_keras.Model, recipe: Mapping[str, Any], *, context: Context | None = None) -> None:
        super().__init__(name=network.name)
        self.network = network
        self.context = context
        self.recipe = self._no_dependency(dict(recipe))

    @property
    def context_shape(self) -> tf.TensorShape | None:
        """Shape of one context, or None."""
        return None if self.context is None else self.context.shape

    @property
    def context_dtype(self) -> tf.DType | None:
        """Dtype of contexts, or None."""
        return None if self.context is None else self.context.dtype

    def check_context(self, context: np.ndarray) -> None:
        """Raises `ValueError` if values, `[..., *context_shape]`, are not contexts."""
        if self.context is not None:
            self.context.check(context)

    def __call__(self, kept: tf.Tensor, context: tf.Tensor | None = None) -> tf.Tensor:
        inputs = kept
        if self.context is not None:
            inputs = tf.concat([kept, tf.cast(self.context(context), kept.dtype)], axis=-1)
        # A network that computes in bfloat16 gives parameters in the dtype of the event all the same.
        return tf.cast(self.network(inputs), kept.dtype)


def check_sizes(**sizes: int) -> None:
    """Raises `ValueError` for a size that is less than 1; `num_kept` may be 0."""
    for what, size in sizes.items():
        least = 0 if what == "num_kept" else 1
        if size < least:
            raise ValueError(f"{what} must be at least {least}, got {size}.")


def variable_dtype(dtype: Any) -> str:
    """The dtype of variables and results under a dtype or a Keras policy such as "mixed_bfloat16"."""
    return str(tf_keras.mixed_precision.Policy(dtype_name(dtype)).variable_dtype)


def dtype_name(dtype: Any) -> str:
    """The name of a dtype or of a Keras policy."""
    return dtype if isinstance(dtype, str) else tf.as_dtype(dtype).name


def layer_seeds(seed: int | None, number: int) -> list[int]:
    """Returns `number` seeds that follow from one."""
    return [int(state) for state in np.random.SeedSequence(seed).generate_state(number)]


def spread_biases(inputs: int, seed: int) -> tf_keras.initializers.Initializer:
    """Biases uniform within two standard deviations of the pre-activations' weights.

    Keras's zeros put the kinks of all units of a ReLU layer with one input on one point: on the moons
    the density then has several times the mass between the crescents (docs/design.md, decision 15).
    """
    limit = 2.0 / np.sqrt(max(inputs, 1))
    return tf_keras.initializers.RandomUniform(-limit, limit, seed=seed + 1)


def layer_norm(dtype: Any, name: str) -> tf_keras.layers.LayerNormalization:
    """Normalises the last axis. With this epsilon Keras does without its fused operator, which LiteRT lacks."""
    return tf_keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name=name)


class SeededDropout(tf_keras.layers.Layer):
    """Dropout whose masks follow from a seed and a counter that is a variable.

    XLA ignores the seed of Keras's own, so that no run could be repeated.

    Args:
        rate: Share of the entries that are dropped in training; the others are scaled up.
        seed: Integer seed.
        dtype: A dtype or Keras policy.
    """

    def __init__(self, rate: float, seed: int, dtype: Any) -> None:
        super().__init__(dtype=dtype)
        self._rate, self._seed = rate, seed % 2**31
        self._calls = self.add_weight(name="calls", shape=[], dtype="int32", initializer="zeros", trainable=False)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Drops entries if `training`."""
        if not training:
            return inputs
        call = self._calls.assign_add(1)
        kept = tf.random.stateless_uniform(tf.shape(inputs), seed=[self._seed, call]) >= self._rate
        return tf.where(kept, inputs / (1 - self._rate), tf.zeros_like(inputs))
