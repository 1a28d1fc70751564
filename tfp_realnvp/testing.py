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


def _event_ndims(bijector: tfb.Bijector) -> int:
    """The rank of what counts as one event; elementwise bijectors are looked at over vectors."""
    return max(1, int(bijector.forward_min_event_ndims))


def _has_batch_shape(bijector: tfb.Bijector) -> bool:
    """Whether it is a batch of bijectors; one that does not say is one bijector."""
    try:
        return bool(bijector.experimental_batch_shape().rank)
    except NotImplementedError:
        return False


def _assert_close(actual: Any, expected: Any, what: str) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    allowed = tolerance(actual.dtype) * max(1.0, float(np.abs(expected).max(initial=0.0)))
    error = float(np.abs(actual - expected).max(initial=0.0))
    if not error <= allowed:
        raise AssertionError(f"{what}: largest difference {error:.3g}, allowed {allowed:.3g} in {actual.dtype}.")


def assert_round_trip(bijector: tfb.Bijector, x: Any) -> None:
    """`inverse(forward(x)) == x` and `forward(inverse(x)) == x`, past TFP's cache, with the dtype kept.

    The shape is kept as well, but for a bijector that says otherwise (`forward_event_shape`), such as
    `Squeeze`: of that the second statement is checked at `forward(x)`.

    Args:
        bijector: The bijector, over events of any rank; if it is bound to a context of shape
            `[*batch, *context_shape]`, `x` has these batch dimensions, too.
        x: Points, `[..., *event_shape]`.
    """
    x = tf.convert_to_tensor(x)
    rank = _event_ndims(bijector)
    batch, event = x.shape[: x.shape.rank - rank], x.shape[x.shape.rank - rank :]
    image = bijector.forward_event_shape(event)
    y = x if image == event else tf.constant(bijector.forward(x).numpy())
    for there, back, start, shape, what in [
        (bijector.forward, bijector.inverse, x, image, "inverse(forward(x)) against x"),
        (bijector.inverse, bijector.forward, y, event, "forward(inverse(x)) against x"),
    ]:
        middle = there(start)
        if middle.dtype != x.dtype or middle.shape != batch + shape:
            raise AssertionError(f"{x.dtype.name}{start.shape} became {middle.dtype.name}{middle.shape}.")
        _assert_close(back(tf.identity(middle)), start, what)


def assert_log_det_matches_autodiff(bijector: tfb.Bijector, x: Any) -> None:
    """Both log-determinants equal that of the autodiff Jacobian, and each other with the sign turned.

    Args:
        bijector: The bijector, over events of any rank; if it is bound to a context, of batch shape `[]` or `[n]`.
        x: Points, `[n, *event_shape]`.
    """
    x = tf.convert_to_tensor(x)
    # One gradient for the whole Jacobian: copy k of the rows is asked for output k alone. It rests on each row of
    # outputs depending on its own row of inputs only.
    num_rows, size = x.shape[0], int(np.prod(x.shape[1:]))
    copies = tf.tile(x[tf.newaxis], [size, *[1] * x.shape.rank])
    if not _has_batch_shape(bijector):  # nothing to broadcast with: rows, as networks expect them
        copies = tf.reshape(copies, [size * num_rows, *x.shape[1:]])
    with tf.GradientTape() as tape:
        tape.watch(copies)
        y = bijector.forward(tf.identity(copies))
        one_each = tf.eye(size, dtype=x.dtype)[:, tf.newaxis]
        asked = tf.reduce_sum(tf.reshape(y, [size, num_rows, size]) * one_each)
    jacobian = tf.reshape(tape.gradient(asked, copies), [size, num_rows, size]).numpy().swapaxes(0, 1)
    _, expected = np.linalg.slogdet(jacobian)
    y = tf.constant(bijector.forward(x).numpy())  # a fresh tensor: the inverse must not come out of the cache
    # What does not depend on the point, TFP may return as one number.
    fldj = tf.broadcast_to(bijector.forward_log_det_jacobian(x, event_ndims=x.shape.rank - 1), expected.shape)
    ildj = tf.broadcast_to(bijector.inverse_log_det_jacobian(y, event_ndims=y.shape.rank - 1), expected.shape)
    _assert_close(fldj, expected, "forward_log_det_jacobian against autodiff")
    _assert_close(ildj, -np.asarray(fldj), "inverse_log_det_jacobian(forward(x)) against -forward_log_det_jacobian(x)")


def assert_kept_unchanged(bijector: tfb.Bijector, mask: Any, x: Any) -> None:
    """The entries where `mask` is True pass to the bit, the others change, in both directions.

    Args:
        bijector: A coupling over events of any rank, with random weights.
        mask: Boolean array of the event's shape, or a `Mask`.
        x: Points, `[..., *event_shape]`, where the transform does something: within the bound of a spline.
    """
    x, mask = np.asarray(x), np.asarray(mask)
    for direction in ("forward", "inverse"):
        y = getattr(bijector, direction)(tf.constant(x)).numpy()
        if not np.array_equal(y[..., mask], x[..., mask]):
            raise AssertionError(f"{direction}: kept entries changed.")
        if (y[..., ~mask] == x[..., ~mask]).any():
            raise AssertionError(f"{direction}: some moved entries did not change.")


def assert_identity(bijector: tfb.Bijector, x: Any) -> None:
    """The bijector maps `x`, `[..., *event_shape]`, to itself with log-determinant zero, as before training."""
    x = tf.convert_to_tensor(x)
    _assert_close(bijector.forward(x), x, "forward(x) against x")
    fldj = bijector.forward_log_det_jacobian(x, event_ndims=_event_ndims(bijector))
    _assert_close(fldj, np.zeros_like(fldj), "forward_log_det_jacobian against 0")


def assert_gradients_reach_all_variables(flow: tfd.Distribution, x: Any) -> None:
    """Every trainable variable gets a finite gradient of the likelihood that is not zero everywhere.

    Args:
        flow: A distribution of batch shape `[]` or `[n]`, with random weights.
        x: Points, `[n, *event_shape]`.
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
        values = tf.convert_to_tensor(gradient).numpy()  # that of a gather comes as slices
        if not np.isfinite(values).all() or not np.any(values):
            raise AssertionError(f"the gradient of variable {variable.name} is zero or not finite.")


def assert_integrates_to_one(
    flow: tfd.Distribution, *, low: float = -12.0, high: float = 12.0, points: int = 801, error: float = 2e-3
) -> None:
    """`exp(log_prob)` sums to one over a grid.

    The trapezoidal rule converges faster than any power of the step for smooth densities that vanish at
    the edges; what `error` allows for are the kinks of ReLU networks, where it is of second order in the
    step of 0.03, and mass outside the grid.

    Args:
        flow: A distribution with event shape `[1]` or `[2]` and batch shape `[]`, with random weights.
        low: The lower edge of the grid, both ways.
        high: The upper edge.
        points: Points a side.
        error: Largest difference from one.
    """
    axis = np.linspace(low, high, points)
    size = int(flow.event_shape[0])
    grid = np.stack(np.meshgrid(*[axis] * size, indexing="ij"), axis=-1).reshape(-1, size)
    grid = grid.astype(tf.as_dtype(flow.dtype).as_numpy_dtype)
    density = np.exp(flow.log_prob(grid).numpy().astype(np.float64))
    total = density.sum() * (axis[1] - axis[0]) ** size
    if not abs(total - 1) <= error:
        raise AssertionError(f"the density integrates to {total:.6f} on [{low}, {high}]^{size}, allowed 1 +- {error}.")


def assert_samples_match_log_prob(flow: tfd.Distribution, *, num_samples: int = 100_000, seed: int = 0) -> None:
    """Samples and `log_prob` speak of the same density: a volume is estimated by importance sampling.

    With `x` drawn from the flow and `B` a ball around their mean, the mean of `1[x in B] / exp(log_prob(x))`
    is the volume of `B`. The ball's radius is the median distance. The check allows five standard
    errors of that mean: about one false alarm in a million, unless the density nearly vanishes somewhere
    in the ball, as that of a strongly curved flow may (give `randomize` a smaller `scale` then).

    Args:
        flow: A distribution of batch shape `[]`, with random weights.
        num_samples: Samples drawn.
        seed: Seed of the samples.

    References:
        `VectorDistributionTestHelpers.run_test_sample_consistent_log_prob` of TensorFlow Probability.
    """
    x = flow.sample(num_samples, seed=(0, seed))
    log_prob = flow.log_prob(tf.identity(x)).numpy().astype(np.float64)
    x = x.numpy().astype(np.float64).reshape(num_samples, -1)
    distance = np.linalg.norm(x - x.mean(axis=0), axis=-1)
    radius, size = np.median(distance), x.shape[-1]
    log_volume = size / 2 * np.log(np.pi) - float(tf.math.lgamma(size / 2 + 1.0)) + size * np.log(radius)
    ratio = np.where(distance < radius, np.exp(-log_prob - log_volume), 0.0)
    mean, standard_error = ratio.mean(), ratio.std() / np.sqrt(num_samples)
    if not abs(mean - 1) <= 5 * standard_error:
        raise AssertionError(f"estimated over true volume {mean:.5f}, standard error {standard_error:.5f}.")
