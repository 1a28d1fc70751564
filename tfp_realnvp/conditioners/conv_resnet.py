"""The convolutional residual network, for images."""

from __future__ import annotations

from typing import Any

import numpy as np
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
    variable_dtype,
)
from tfp_realnvp.contexts import Context
from tfp_realnvp.masks import Mask

__all__ = ["conv_resnet"]


class _ImageConditioner(Conditioner):
    """Lays the kept entries out as an image, with zeros where entries are moved, and reads the answer off the image."""

    def __init__(self, mask: Mask, num_parameters: int, network: Any, recipe: Any, *, context: Any) -> None:
        super().__init__(network, recipe, context=context)
        self._mask, self._num_parameters = mask, num_parameters

    def __call__(self, kept: tf.Tensor, context: tf.Tensor | None = None) -> tf.Tensor:
        mask = self._mask
        blank = tf.zeros([tf.shape(kept)[0], mask.num_moved], kept.dtype)
        image = mask.merge(kept, blank)
        if self.context is not None:
            encoded = tf.cast(self.context(context), kept.dtype)[:, tf.newaxis, tf.newaxis, :]
            size = [tf.shape(kept)[0], *mask.event_shape[:2], self.context.size]
            image = tf.concat([image, tf.broadcast_to(encoded, size)], axis=-1)
        answer = tf.cast(self.network(image), kept.dtype)
        planes = tf.split(answer, self._num_parameters, axis=-1)
        return tf.stack([mask.split(plane)[1] for plane in planes], axis=-1)


def conv_resnet(
    mask: Mask,
    num_parameters: int = 2,
    *,
    filters: int = 32,
    num_blocks: int = 2,
    activation: str = "relu",
    use_layer_norm: bool = False,
    dropout: float = 0.0,
    context: Context | None = None,
    dtype: Any = tf.float32,
    seed: int | None = None,
    name: str = "conv_resnet",
) -> Conditioner:
    """Builds a convolutional residual network over images `[height, width, channels]`.

    A 3x3 convolution, then blocks `h + conv1x1(dropout(act(conv3x3(act(h)))))`, then an activation and a 3x3
    convolution that starts at zero. The kept entries are seen in their places, the moved ones as zeros.

    Args:
        mask: The coupling's mask.
        num_parameters: Parameters of an entry; see `mlp`.
        filters: Channels of every hidden layer.
        num_blocks: Number of residual blocks.
        activation: Name of a `tf_keras` activation.
        use_layer_norm: Whether to normalise the channels before each activation of a block.
        dropout: Share of the units of a block that are dropped in training; see `residual_mlp`.
        context: How the context is encoded, for a conditional coupling; every pixel sees all of it.
        dtype: Floating dtype, or a Keras policy such as "mixed_bfloat16"; see `mlp`.
        seed: Integer seed of the weights and of the dropout, or None for fresh ones.
        name: Name of the network and the prefix of its variables.

    Returns:
        A `Conditioner`, which is a `tf.Module`.

    Raises:
        ValueError: If the mask is not one over images, a size is less than 1, or `dropout` is not in [0, 1).

    References:
        Laurent Dinh et al. Density estimation using Real NVP. ICLR 2017, section 4.1.
        https://arxiv.org/abs/1605.08803
    """
    mask = mask if isinstance(mask, Mask) else Mask(mask)
    if len(mask.event_shape) != 3:
        raise ValueError(f"mask must be over [height, width, channels], got one over {list(mask.event_shape)}.")
    check_sizes(num_parameters=num_parameters, filters=filters, num_blocks=num_blocks)
    check_dropout(dropout)
    height, width, channels = mask.event_shape
    seed = settled_seed(seed)
    policy, seeds = dtype_name(dtype), iter(layer_seeds(seed, 1 + 3 * num_blocks))

    def convolve(kernel_size: int, scale: float, layer_name: str) -> tf_keras.layers.Conv2D:
        return tf_keras.layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            kernel_initializer=tf_keras.initializers.VarianceScaling(scale, seed=next(seeds)),
            dtype=policy,
            name=layer_name,
        )

    num_inputs = channels + (0 if context is None else context.size)
    inputs = tf_keras.Input([height, width, num_inputs], dtype=variable_dtype(policy))
    h = convolve(3, 2.0, "first")(inputs)
    h = residual_blocks(
        h,
        num_blocks=num_blocks,
        enter=lambda name: convolve(3, 2.0, name),
        leave=lambda name: convolve(1, 2.0 / num_blocks, name),
        activation=activation,
        use_layer_norm=use_layer_norm,
        dropout=dropout,
        next_seed=lambda: next(seeds),
        dtype=policy,
    )
    last = tf_keras.layers.Conv2D(
        channels * num_parameters, 3, padding="same", kernel_initializer="zeros", dtype=policy, name="last"
    )
    network = tf_keras.Model(inputs, last(h), name=name)
    recipe = {
        "function": "conv_resnet",
        "mask": np.asarray(mask).tolist(),
        "num_parameters": num_parameters,
        "filters": filters,
        "num_blocks": num_blocks,
        "activation": activation,
        "use_layer_norm": use_layer_norm,
        "dropout": dropout,
        "seed": seed,  # of the dropout; the weights are kept themselves
        "dtype": policy,
        "name": name,
    }
    return _ImageConditioner(mask, num_parameters, network, recipe, context=context)
