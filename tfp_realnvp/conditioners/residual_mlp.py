"""The residual multilayer perceptron."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from tfp_realnvp.conditioners.conditioner import Conditioner
from tfp_realnvp.conditioners.layers import (
    check_dropout,
    check_sizes,
    dtype_name,
    layer_seeds,
    residual_blocks,
    settled_seed,
    spread_biases,
    variable_dtype,
)
from tfp_realnvp.contexts import Context

__all__ = ["residual_mlp"]


def residual_mlp(
    num_kept: int,
    num_moved: int,
    num_parameters: int = 2,
    *,
    width: int = 128,
    num_blocks: int = 2,
    activation: str = "relu",
    use_layer_norm: bool = False,
    dropout: float = 0.0,
    context: Context | None = None,
    dtype: Any = tf.float32,
    seed: int | None = None,
    name: str = "residual_mlp",
) -> Conditioner:
    """Builds a residual network from kept entries to the parameters of the moved ones.

    A dense layer, then blocks `h + dense(dropout(act(dense(act(h)))))`, then an activation and a dense layer that
    starts at zero, so that a coupling with this conditioner starts as the identity.

    Args:
        num_kept: Number of entries the network sees.
        num_moved: Number of entries it gives parameters for.
        num_parameters: Parameters of an entry: 2 for an affine coupling, 1 for an additive one,
            `3 * num_bins - 1` for a spline.
        width: Units of every hidden layer.
        num_blocks: Number of residual blocks.
        activation: Name of a `tf_keras` activation.
        use_layer_norm: Whether to normalise before each activation of a block.
        dropout: Share of the units of a block that are dropped in training (`tfp_realnvp.fit`, or any call within a
            Keras model's `training=True`).
        context: How the context is encoded, for a conditional coupling. One object may serve several.
        dtype: Floating dtype, or a Keras policy such as "mixed_bfloat16"; see `mlp`.
        seed: Integer seed of the weights and of the dropout, or None for fresh ones.
        name: Name of the network and the prefix of its variables.

    Returns:
        A `Conditioner`, which is a `tf.Module`.

    Raises:
        ValueError: If a size is less than 1, nothing is kept and there is no context, or `dropout` is not in [0, 1).

    References:
        Conor Durkan et al. Neural Spline Flows. NeurIPS 2019, appendix B.1.
        https://arxiv.org/abs/1906.04032
    """
    num_kept, num_moved, num_parameters, width = int(num_kept), int(num_moved), int(num_parameters), int(width)
    policy, num_inputs = dtype_name(dtype), num_kept + (0 if context is None else context.size)
    check_sizes(num_kept=num_kept, num_moved=num_moved, num_parameters=num_parameters, num_inputs=num_inputs)
    check_sizes(width=width, num_blocks=num_blocks)
    check_dropout(dropout)
    seed = settled_seed(seed)
    seeds = iter(layer_seeds(seed, 1 + 3 * num_blocks))

    def dense(inputs: int, scale: float, layer_name: str) -> tf_keras.layers.Dense:
        layer_seed = next(seeds)
        return tf_keras.layers.Dense(
            width,
            kernel_initializer=tf_keras.initializers.VarianceScaling(scale, seed=layer_seed),
            bias_initializer=spread_biases(inputs, layer_seed),
            dtype=policy,
            name=layer_name,
        )

    inputs = tf_keras.Input([num_inputs], dtype=variable_dtype(policy))
    h = dense(num_inputs, 2.0, "first")(inputs)
    h = residual_blocks(
        h,
        num_blocks=num_blocks,
        enter=lambda name: dense(width, 2.0, name),
        leave=lambda name: dense(width, 2.0 / num_blocks, name),
        activation=activation,
        use_layer_norm=use_layer_norm,
        dropout=dropout,
        next_seed=lambda: next(seeds),
        dtype=policy,
    )
    last = tf_keras.layers.Dense(num_moved * num_parameters, kernel_initializer="zeros", dtype=policy, name="last")
    network = tf_keras.Model(inputs, last(h), name=name)
    recipe = {
        "function": "residual_mlp",
        "num_kept": num_kept,
        "num_moved": num_moved,
        "num_parameters": num_parameters,
        "width": width,
        "num_blocks": num_blocks,
        "activation": activation,
        "use_layer_norm": use_layer_norm,
        "dropout": dropout,
        "seed": seed,  # of the dropout; the weights are kept themselves
        "dtype": policy,
        "name": name,
    }
    return Conditioner(network, recipe, context=context)
