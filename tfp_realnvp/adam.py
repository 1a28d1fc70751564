"""Keras's Adam, whose step of a variable is one operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

__all__ = ["Adam"]


class Adam(tf_keras.optimizers.Adam):
    """`tf_keras.optimizers.Adam`, by TensorFlow's own operation for a step of Adam (Kingma and Ba, 2015).

    Keras writes the step out in twenty operations for each variable: tracing those of a flow takes a second.
    Sparse gradients, such as those of Keras's embeddings, and options that the operation has not take Keras's own step.

    `weight_decay` may be a mapping from parts of variables' names to shares: the first part that a name has counts.
    """

    weight_decay: float | Mapping[str, float] | None

    def _apply_weight_decay(self, variables: Any) -> None:
        if not isinstance(self.weight_decay, Mapping):  # otherwise `update_step` does it
            super()._apply_weight_decay(variables)

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Moves a variable and its two moments; takes and does what that of Keras does."""
        if isinstance(self.weight_decay, Mapping) and self._use_weight_decay(variable):
            share = next((share for part, share in self.weight_decay.items() if part in variable.name), 0.0)
            rate = tf.cast(self.learning_rate, variable.dtype)
            variable.assign_sub(variable * tf.cast(share, variable.dtype) * rate)
        if self.amsgrad or self.adaptive_epsilon or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        index = self._index_dict[self._var_key(variable)]
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=tf.cast(self.beta_1, variable.dtype) ** step,
            beta2_power=tf.cast(self.beta_2, variable.dtype) ** step,
            lr=tf.cast(self.learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
