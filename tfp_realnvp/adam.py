"""The optimizer of a training: Keras's Adam, whose step of a variable is one operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from tfp_realnvp.schedule import WarmUpCosine

__all__ = ["Adam", "adam", "optimizer"]

# One row far out has a gradient of any size. With a norm near that of an ordinary batch, and a second
# moment that forgets it within a hundred steps, it does no lasting harm (docs/design.md, decision 16).
_CLIP_NORM = 1.0
_BETA_2 = 0.99
# A pattern of names of variables. Biases, embeddings and what bijectors hold themselves have no reason to be small.
_NO_KERNEL = r"^(?!.*kernel)"


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


def optimizer(
    learning_rate: float = 2e-3,
    total_steps: int = 10_000,
    *,
    ema_momentum: float | None = None,
    weight_decay: float | Mapping[str, float] | None = None,
) -> tf_keras.optimizers.Adam:
    """Returns the optimizer that `fit` trains with, for a `LikelihoodModel` that is trained by Keras's own `fit`.

    Adam with warm-up and cosine decay of the rate, and the gradient clipped to a global norm of 1. Under a
    `tf.distribute` strategy, make it in the strategy's scope.

    Args:
        learning_rate: The peak of the schedule.
        total_steps: The step at which the rate has come down to zero.
        ema_momentum: Momentum of a moving average of the weights, which Keras puts in their place when `fit` ends.
        weight_decay: Share of the networks' kernels, times the learning rate, that a step takes off them; see `fit`.
    """
    return adam(WarmUpCosine(learning_rate, total_steps), ema_momentum, weight_decay)


def adam(
    schedule: WarmUpCosine, ema_momentum: float | None, weight_decay: float | Mapping[str, float] | None
) -> tf_keras.optimizers.Adam:
    """Returns the optimizer with a schedule of one's own; see `optimizer`."""
    averaging = {} if ema_momentum is None else {"use_ema": True, "ema_momentum": ema_momentum}
    found = Adam(schedule, beta_2=_BETA_2, global_clipnorm=_CLIP_NORM, weight_decay=weight_decay, **averaging)
    found.exclude_from_weight_decay(var_names=[_NO_KERNEL])
    return found
