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
