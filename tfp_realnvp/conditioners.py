"""The networks that read the kept entries of an event and say how to move the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

__all__ = ["Conditioner", "mlp"]


class Conditioner(tf.Module):
    """A `tf_keras` network with the call that built it, so that a flow can be saved as its recipe.

    Calling it on kept entries of shape `[n, num_kept]` returns `(shift, log_scale)`, each of shape
    `[n, num_moved]`.

    Attributes:
        network: The `tf_keras.Model`, from `[n, num_kept]` to `[n, 2 * num_moved]`.
        recipe: The name of the function that built it and its arguments, all of them JSON values.
    """

    def __init__(self, network: tf_keras.Model, recipe: Mapping[str, Any]) -> None:
        super().__init__(name=network.name)
        self.network = network
        self.recipe = self._no_dependency(dict(recipe))

    def __call__(self, kept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = tf.split(self.network(kept), 2, axis=-1)
        return shift, log_scale


def mlp(
    num_kept: int,
    num_moved: int,
    *,
    hidden_units: Sequence[int] = (64, 64),
    activation: str = "relu",
    dtype: Any = tf.float32,
    seed: int | None = None,
    name: str = "mlp",
) -> Conditioner:
    """Builds a multilayer perceptron from kept entries to `(shift, log_scale)` of the moved ones.

    The variables exist when this returns. The last layer starts at zero, so that a coupling with this
    conditioner starts as the identity (Kingma and Dhariwal, 2018, "Glow", section 3.3). Hidden kernels
    start as in He et al. (2015, "Delving deep into rectifiers"), hidden biases spread out (see
    `_spread_biases`).

    Args:
        num_kept: Number of entries the network sees.
        num_moved: Number of entries it gives a shift and a log-scale for.
        hidden_units: Units of each hidden layer.
        activation: Name of a `tf_keras` activation for the hidden layers.
        dtype: Floating dtype of the variables and the computation.
        seed: Integer seed of the hidden layers' weights, or None for fresh ones.
        name: Name of the network and the prefix of its variables.

    Returns:
        A `Conditioner`, which is a `tf.Module`.

    Raises:
        ValueError: If a size is less than 1.
    """
    for what, size in [("num_kept", num_kept), ("num_moved", num_moved), *(("hidden_units", u) for u in hidden_units)]:
        if size < 1:
            raise ValueError(f"{what} must be at least 1, got {size}.")
    num_kept, num_moved, hidden_units = int(num_kept), int(num_moved), [int(units) for units in hidden_units]
    dtype = tf.as_dtype(dtype)
    seeds = np.random.SeedSequence(seed).generate_state(len(hidden_units)).tolist()
    layers = [
        tf_keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=tf_keras.initializers.HeNormal(seed=layer_seed),
            bias_initializer=_spread_biases(inputs, layer_seed),
            dtype=dtype,
            name=f"hidden_{i}",
        )
        for i, (inputs, units, layer_seed) in enumerate(
            zip([num_kept, *hidden_units], hidden_units, seeds, strict=False)
        )
    ]
    layers.append(tf_keras.layers.Dense(2 * num_moved, kernel_initializer="zeros", dtype=dtype, name="last"))
    network = tf_keras.Sequential(layers, name=name)
    network.build((None, num_kept))
    recipe = {
        "function": "mlp",
        "num_kept": int(num_kept),
        "num_moved": int(num_moved),
        "hidden_units": [int(units) for units in hidden_units],
        "activation": activation,
        "dtype": dtype.name,
        "name": name,
    }
    return Conditioner(network, recipe)


def _spread_biases(inputs: int, seed: int) -> tf_keras.initializers.Initializer:
    """Biases uniform within two standard deviations of the pre-activations' weights.

    Keras's zeros put the kinks of all units of a ReLU layer with one input on one point: on the moons
    the density then has several times the mass between the crescents (docs/design.md, decision 15).
    """
    limit = 2.0 / np.sqrt(inputs)
    return tf_keras.initializers.RandomUniform(-limit, limit, seed=seed + 1)
