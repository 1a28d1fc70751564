"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from tfp_realnvp.conditioners.conditioner import Conditioner
from tfp_realnvp.conditioners.layers import (
    check_sizes,
    dtype_name,
    layer_norm,
    layer_seeds,
    spread_biases,
    variable_dtype,
)
from tfp_realnvp.contexts import Context

__all__ = ["mlp"]


def mlp(
    num_kept: int,
    num_moved: int,
    num_parameters: int = 2,
    *,
    hidden_units: Sequence[int] = (64, 64),
    activation: str = "relu",
    use_layer_norm: bool = False,
    context: Context | None = None,
    dtype: Any = tf.float32,
    seed: int | None = None,
    name: str = "mlp",
) -> Conditioner:
    """Builds a multilayer perceptron from kept entries to the parameters of the moved ones.

    The variables exist when this returns. The last layer starts at zero, so that a coupling with this
    conditioner starts as the identity (Kingma and Dhariwal, 2018, "Glow", section 3.3). Hidden kernels
    start as in He et al. (2015, "Delving deep into rectifiers"), hidden biases spread out.

    Args:
        num_kept: Number of entries the network sees.
        num_moved: Number of entries it gives parameters for.
        num_parameters: Parameters of an entry: 2 for an affine coupling, 1 for an additive one,
            `3 * num_bins - 1` for a spline.
        hidden_units: Units of each hidden layer.
        activation: Name of a `tf_keras` activation for the hidden layers.
        use_layer_norm: Whether to normalise each hidden layer before its activation.
        context: How the context is encoded, for a conditional coupling. One object may serve several.
        dtype: Floating dtype of the variables and the computation, or a Keras policy: "mixed_bfloat16"
            computes in bfloat16 with variables and results in float32.
        seed: Integer seed of the hidden layers' weights, or None for fresh ones.
        name: Name of the network and the prefix of its variables.

    Returns:
        A `Conditioner`, which is a `tf.Module`.

    Raises:
        ValueError: If a size is less than 1, or nothing is kept and there is no context.
    """
    num_kept, num_moved, num_parameters = int(num_kept), int(num_moved), int(num_parameters)
    hidden_units, policy = [int(units) for units in hidden_units], dtype_name(dtype)
    num_inputs = num_kept + (0 if context is None else context.size)
    check_sizes(num_kept=num_kept, num_moved=num_moved, num_parameters=num_parameters, num_inputs=num_inputs)
    for units in hidden_units:
        check_sizes(hidden_units=units)
    layers: list[tf_keras.layers.Layer] = []
    sizes, seeds = [num_inputs, *hidden_units], layer_seeds(seed, len(hidden_units))
    for index, (units, layer_seed) in enumerate(zip(hidden_units, seeds, strict=True)):
        layers.append(
            tf_keras.layers.Dense(
                units,
                activation=None if use_layer_norm else activation,
                kernel_initializer=tf_keras.initializers.HeNormal(seed=layer_seed),
                bias_initializer=spread_biases(sizes[index], layer_seed),
                dtype=policy,
                name=f"hidden_{index}",
            )
        )
        if use_layer_norm:
            layers.append(layer_norm(policy, f"norm_{index}"))
            layers.append(tf_keras.layers.Activation(activation, dtype=policy, name=f"activation_{index}"))
    layers.append(
        tf_keras.layers.Dense(num_moved * num_parameters, kernel_initializer="zeros", dtype=policy, name="last")
    )
    # With an input layer; a Sequential model that is built by shape casts what it is called with to float32.
    inputs = tf_keras.Input([num_inputs], dtype=variable_dtype(policy))
    network = tf_keras.Sequential([inputs, *layers], name=name)
    recipe = {
        "function": "mlp",
        "num_kept": num_kept,
        "num_moved": num_moved,
        "num_parameters": num_parameters,
        "hidden_units": hidden_units,
        "activation": activation,
        "use_layer_norm": use_layer_norm,
        "dtype": policy,
        "name": name,
    }
    return Conditioner(network, recipe, context=context)
