"""What the networks are made of: layers, how their weights start, and their dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras


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
        self._rate, self._seed = rate, seed
        self._calls = self.add_weight(name="calls", shape=[], dtype="int32", initializer="zeros", trainable=False)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Drops entries if `training`."""
        if not training:
            return inputs
        return drop_units(inputs, self._rate, self._seed, replicas_own(self._calls.assign_add(1)))


def replicas_own(count: tf.Tensor) -> tf.Tensor:
    """A counter that all replicas of a `tf.distribute` strategy have equal, as a number that none shares with another.

    So none of them drops what another does. It is the counter itself where nothing is distributed.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return count
    return count * context.num_replicas_in_sync + tf.cast(context.replica_id_in_sync_group, count.dtype)


def drop_units(inputs: tf.Tensor, rate: float, seed: int, call: tf.Tensor) -> tf.Tensor:
    """Sets a random share `rate` of the entries to zero and scales the others up; seed and call determine the choice.

    The bits are those of a 32-bit mixing function of each entry's number: TensorFlow's counter-based generators, which
    XLA computes in emulated 64-bit arithmetic, took four fifths of a training step.

    References:
        Chris Wellons. Prospecting for Hash Functions. 2018 (`lowbias32`). https://nullprogram.com/blog/2018/07/31/
    """

    def mix(x: tf.Tensor) -> tf.Tensor:
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(shift, tf.uint32)))
            x *= tf.constant(factor, tf.uint32)
        return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(16, tf.uint32)))

    shape = tf.shape(inputs)
    key = mix(mix(tf.constant(seed % 2**32, tf.uint32)) + tf.cast(call, tf.uint32))
    numbers = tf.reshape(tf.cast(tf.range(tf.reduce_prod(shape)), tf.uint32), shape)
    kept = mix(numbers * tf.constant(0x9E3779B9, tf.uint32) + key) >= tf.constant(int(rate * 2**32), tf.uint32)
    return tf.where(kept, inputs / (1 - rate), tf.zeros_like(inputs))


def settled_seed(seed: int | None) -> int:
    """The seed, or a fresh one: a network with dropout is saved with its seed."""
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else int(seed)


def check_dropout(dropout: float) -> None:
    """Raises `ValueError` for a share that is not in [0, 1)."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}.")


def residual_blocks(
    h: tf.Tensor,
    *,
    num_blocks: int,
    enter: Callable[[str], tf_keras.layers.Layer],
    leave: Callable[[str], tf_keras.layers.Layer],
    activation: str,
    use_layer_norm: bool,
    dropout: float,
    next_seed: Callable[[], int],
    dtype: Any,
) -> tf.Tensor:
    """Applies blocks `h + leave(dropout(act(enter(act(h)))))`, then the activation.

    Args:
        h: A symbolic Keras tensor.
        num_blocks: Number of blocks.
        enter: Makes the first layer of a block from its name.
        leave: Makes the second, which should start with a share of `1 / num_blocks` of the variance, so that depth does
            not blow it up.
        activation: Name of a `tf_keras` activation.
        use_layer_norm: Whether to normalise before each activation of a block.
        dropout: Share of the units that are dropped in training.
        next_seed: Gives the seed of a block's dropout; called for each block, between `enter` and `leave`.
        dtype: A dtype or Keras policy.
    """

    def activate(h: tf.Tensor, name: str) -> tf.Tensor:
        if use_layer_norm:
            h = layer_norm(dtype, f"{name}_norm")(h)
        return tf_keras.layers.Activation(activation, dtype=dtype, name=f"{name}_activation")(h)

    for index in range(num_blocks):
        residual = enter(f"block_{index}_in")(activate(h, f"block_{index}_in"))
        residual = activate(residual, f"block_{index}_out")
        dropout_seed = next_seed()
        if dropout:
            residual = SeededDropout(dropout, dropout_seed, dtype)(residual)
        residual = leave(f"block_{index}_out")(residual)
        h = tf_keras.layers.Add(dtype=dtype, name=f"block_{index}_add")([h, residual])
    return tf_keras.layers.Activation(activation, dtype=dtype, name="last_activation")(h)
