"""A learnable mixture of Gaussians, as the base of a flow for data in separate clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

__all__ = ["gaussian_mixture"]


def gaussian_mixture(
    event_size: int,
    num_components: int,
    *,
    spread: float = 2.0,
    dtype: Any = tf.float32,
    seed: int | None = None,
    name: str | None = None,
) -> tfd.MixtureSameFamily:
    """Builds a mixture of Gaussians with diagonal covariances whose weights, means and scales are variables.

    A flow is continuous: from one Gaussian it draws a thread between separate clusters. From a mixture it
    need not (Stimper, Schölkopf and Hernández-Lobato, 2022, "Resampling base distributions of normalizing flows").

    Args:
        event_size: Number of entries `D`.
        num_components: Number of Gaussians.
        spread: Standard deviation of the means at the start; the scales start at one.
        dtype: Floating dtype.
        seed: Integer seed of the means, or None for fresh ones.
        name: Name of the distribution, TFP's own by default, and prefix of its variables.

    Returns:
        A `tfd.MixtureSameFamily` with event shape `[D]` and batch shape `[]`.

    Raises:
        ValueError: If a size is less than 1.
    """
    if event_size < 1 or num_components < 1:
        raise ValueError(f"event_size and num_components must be at least 1, got {event_size} and {num_components}.")
    shape, prefix = [num_components, event_size], name or "gaussian_mixture"
    means = np.random.default_rng(seed).normal(scale=spread, size=shape)
    return tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.Variable(tf.zeros(num_components, dtype), name=f"{prefix}_logits")),
        tfd.MultivariateNormalDiag(
            tf.Variable(means, dtype=dtype, name=f"{prefix}_means"),
            tfp.util.TransformedVariable(tf.ones(shape, dtype), tfb.Softplus(), name=f"{prefix}_scales"),
        ),
        name=name or "MixtureSameFamily",
    )
