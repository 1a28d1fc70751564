"""Checks that a bijector or a flow must pass, for tests of your own bijectors too.

Each raises `AssertionError` with the measured figure. Give the variables random values first
(`randomize`): a network whose last layer is zero is the identity, about which nothing can be learnt.

Tolerances come from the dtype: `tolerance(dtype)` is the square root of its machine epsilon, 3.5e-4 in
float32 and 1.5e-8 in float64, times the scale of what is compared. Rounding grows with the condition
number of the map; the square root leaves room for condition numbers up to that size, and an error in a
formula is orders of magnitude larger.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

__all__ = [
    "assert_gradients_reach_all_variables",
    "assert_identity",
    "assert_integrates_to_one",
    "assert_kept_unchanged",
    "assert_log_det_matches_autodiff",
    "assert_round_trip",
    "assert_samples_match_log_prob",
    "randomize",
    "tolerance",
]


def randomize(module: tf.Module, *, seed: int = 0, scale: float = 0.5) -> None:
    """Gives every trainable variable random values, in place.

    A matrix gets normal entries of standard deviation `scale / sqrt(number of inputs)`, anything else
    of `scale / 4`, so that activations keep their size whatever the width.
    """
    rng = np.random.default_rng(seed)
    for variable in module.trainable_variables:
        inputs = np.prod(variable.shape[:-1]) if len(variable.shape) > 1 else 16.0
        values = rng.normal(scale=scale / np.sqrt(inputs), size=variable.shape)
        variable.assign(values.astype(variable.dtype.as_numpy_dtype))


def tolerance(dtype: Any) -> float:
    """Returns the square root of the machine epsilon of a floating dtype."""
    return float(np.sqrt(np.finfo(tf.as_dtype(dtype).as_numpy_dtype).eps))


def _assert_close(actual: Any, expected: Any, what: str) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    allowed = tolerance(actual.dtype) * max(1.0, float(np.abs(expected).max(initial=0.0)))
    error = float(np.abs(actual - expected).max(initial=0.0))
    if not error <= allowed:
        raise AssertionError(f"{what}: largest difference {error:.3g}, allowed {allowed:.3g} in {actual.dtype}.")


def assert_round_trip(bijector: tfb.Bijector, x: Any) -> None:
    """`inverse(forward(x)) == x` and `forward(inverse(x)) == x`, past TFP's cache, with dtype and shape kept.

    Args:
        bijector: The bijector, from `[..., D]` to `[..., D]`.
        x: Points, `[..., D]`.
    """
    x = tf.convert_to_tensor(x)
    for there, back, what in [
        (bijector.forward, bijector.inverse, "inverse(forward(x)) against x"),
        (bijector.inverse, bijector.forward, "forward(inverse(x)) against x"),
    ]:
        middle = there(x)
        if middle.dtype != x.dtype or middle.shape != x.shape:
            raise AssertionError(f"{x.dtype.name}{x.shape} became {middle.dtype.name}{middle.shape}.")
        _assert_close(back(tf.identity(middle)), x, what)


def assert_log_det_matches_autodiff(bijector: tfb.Bijector, x: Any) -> None:
    """Both log-determinants equal that of the autodiff Jacobian, and each other with the sign turned.

    Args:
        bijector: The bijector over vectors.
        x: Points, `[n, D]`.
    """
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = bijector.forward(tf.identity(x))
    _, expected = np.linalg.slogdet(tape.batch_jacobian(y, x).numpy())
    y = tf.constant(y.numpy())  # a fresh tensor: the inverse must not come out of the cache
    fldj = bijector.forward_log_det_jacobian(x, event_ndims=1)
    ildj = bijector.inverse_log_det_jacobian(y, event_ndims=1)
    _assert_close(fldj, expected, "forward_log_det_jacobian against autodiff")
    _assert_close(ildj, -np.asarray(fldj), "inverse_log_det_jacobian(forward(x)) against -forward_log_det_jacobian(x)")


def assert_kept_unchanged(bijector: tfb.Bijector, mask: Any, x: Any) -> None:
    """The entries where `mask` is True pass to the bit, the others change, in both directions.

    Args:
        bijector: A coupling over `[D]`, with random weights.
        mask: Boolean array, `[D]`.
        x: Points, `[..., D]`.
    """
    x, mask = np.asarray(x), np.asarray(mask)
    for direction in ("forward", "inverse"):
        y = getattr(bijector, direction)(tf.constant(x)).numpy()
        if not np.array_equal(y[..., mask], x[..., mask]):
            raise AssertionError(f"{direction}: kept entries changed.")
        if (y[..., ~mask] == x[..., ~mask]).any():
            raise AssertionError(f"{direction}: some moved entries did not change.")


def assert_identity(bijector: tfb.Bijector, x: Any) -> None:
    """The bijector maps `x`, `[..., D]`, to itself with log-determinant zero, as at the start of training."""
    x = tf.convert_to_tensor(x)
    _assert_close(bijector.forward(x), x, "forward(x) against x")
    fldj = bijector.forward_log_det_jacobian(x, event_ndims=1)
    _assert_close(fldj, np.zeros_like(fldj), "forward_log_det_jacobian against 0")


def assert_gradients_reach_all_variables(flow: tfd.Distribution, x: Any) -> None:
    """Every trainable variable gets a finite gradient of the likelihood that is not zero everywhere.

    Args:
        flow: A distribution, with random weights.
        x: Points, `[n, D]`.
    """
    variables = flow.trainable_variables
    if not variables:
        raise AssertionError("there are no trainable variables.")
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(flow.log_prob(tf.convert_to_tensor(x)))
    tracked = {variable.ref() for variable in variables}
    for variable in tape.watched_variables():
        if variable.ref() not in tracked:
            raise AssertionError(f"variable {variable.name} is used but not tracked: it would stay untrained.")
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        if gradient is None:
            raise AssertionError(f"variable {variable.name} gets no gradient.")
        if not np.isfinite(gradient).all() or not np.any(gradient):
            raise AssertionError(f"the gradient of variable {variable.name} is zero or not finite.")


def assert_integrates_to_one(
    flow: tfd.Distribution, *, low: float = -12.0, high: float = 12.0, points: int = 801, error: float = 2e-3
) -> None:
    """`exp(log_prob)` sums to one over a square grid.

    The trapezoidal rule converges faster than any power of the step for smooth densities that vanish at
    the edges; what `error` allows for are the kinks of ReLU networks, where it is of second order in the
    step of 0.03, and mass outside the grid.

    Args:
        flow: A distribution with event shape `[2]`, with random weights.
        low: The lower edge of the grid, both ways.
        high: The upper edge.
        points: Points a side.
        error: Largest difference from one.
    """
    axis = np.linspace(low, high, points)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid.astype(tf.as_dtype(flow.dtype).as_numpy_dtype)
    density = np.exp(flow.log_prob(grid).numpy().astype(np.float64))
    total = density.sum() * (axis[1] - axis[0]) ** 2
    if not abs(total - 1) <= error:
        raise AssertionError(f"the density integrates to {total:.6f} on [{low}, {high}]^2, allowed 1 +- {error}.")


def assert_samples_match_log_prob(flow: tfd.Distribution, *, num_samples: int = 100_000, seed: int = 0) -> None:
    """Samples and `log_prob` speak of the same density: a volume is estimated by importance sampling.

    With `x` drawn from the flow and `B` a ball around their mean, the mean of `1[x in B] / exp(log_prob(x))`
    is the volume of `B`. The ball's radius is the median distance. The check allows five standard
    errors of that mean: about one false alarm in a million.

    Args:
        flow: A distribution over vectors, with random weights.
        num_samples: Samples drawn.
        seed: Seed of the samples.

    References: `VectorDistributionTestHelpers.run_test_sample_consistent_log_prob` of TensorFlow Probability.
    """
    x = flow.sample(num_samples, seed=(0, seed))
    log_prob = flow.log_prob(tf.identity(x)).numpy().astype(np.float64)
    x = x.numpy().astype(np.float64)
    distance = np.linalg.norm(x - x.mean(axis=0), axis=-1)
    radius, size = np.median(distance), x.shape[-1]
    log_volume = size / 2 * np.log(np.pi) - float(tf.math.lgamma(size / 2 + 1.0)) + size * np.log(radius)
    ratio = np.where(distance < radius, np.exp(-log_prob - log_volume), 0.0)
    mean, standard_error = ratio.mean(), ratio.std() / np.sqrt(num_samples)
    if not abs(mean - 1) <= 5 * standard_error:
        raise AssertionError(f"estimated over true volume {mean:.5f}, standard error {standard_error:.5f}.")
