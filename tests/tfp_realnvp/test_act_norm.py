"""Activation normalisation: set from data when asked to, and never otherwise."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import ActNorm
from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_identity,
    assert_log_det_matches_autodiff,
    assert_round_trip,
    randomize,
    tolerance,
)

DTYPES = pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
SHAPES = pytest.mark.parametrize("shape", [[50, 3], [10, 4, 2, 3]], ids=["vectors", "images"])


def numbers(shape, dtype=tf.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype.as_numpy_dtype)


def wide(shape, dtype=tf.float32):
    return numbers(shape, dtype) * np.array([0.1, 1.0, 30.0], dtype.as_numpy_dtype) + np.array([1.0, 0.0, -20.0])


@DTYPES
@SHAPES
def test_it_passes_the_conformance_checks(dtype, shape):
    layer = ActNorm(3, dtype=dtype)
    assert_identity(layer, numbers(shape, dtype))
    randomize(layer, scale=4.0)
    assert_round_trip(layer, numbers(shape, dtype))
    assert_log_det_matches_autodiff(layer, numbers(shape, dtype))
    base = tfd.Sample(tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)), shape[1:])
    assert_gradients_reach_all_variables(tfd.TransformedDistribution(base, layer), numbers(shape, dtype))


def test_it_is_the_formula_of_the_docstring():
    layer = ActNorm(2)
    layer.shift.assign([1.0, -1.0])
    layer.log_scale.assign(np.log([2.0, 3.0]))
    np.testing.assert_allclose(layer.forward([[1.0, 1.0]]), [[3.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(layer.forward_log_det_jacobian([[1.0, 1.0]]), [np.log(6.0)], rtol=1e-6)


@DTYPES
@SHAPES
def test_initialised_by_a_batch_it_gives_that_batch_zero_mean_and_unit_variance(dtype, shape):
    layer, batch = ActNorm(3, dtype=dtype), wide(shape, dtype).astype(dtype.as_numpy_dtype)
    layer.initialize(batch)
    z = layer.inverse(batch).numpy().reshape(-1, 3).astype(np.float64)
    # The shift is rounded to some epsilons of 20, the scale to some of one.
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=tolerance(dtype))
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=tolerance(dtype))


@pytest.mark.parametrize("what", ["sample", "log_prob", "forward", "inverse"])
def test_nothing_but_initialize_sets_it(what):
    layer = ActNorm(3)
    flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 3), tfb.Chain([layer]))
    {
        "sample": lambda: flow.sample(10),
        "log_prob": lambda: flow.log_prob(wide([10, 3])),
        "forward": lambda: layer.forward(wide([10, 3])),
        "inverse": lambda: layer.inverse(wide([10, 3])),
    }[what]()
    for variable in layer.trainable_variables:
        np.testing.assert_array_equal(variable, np.zeros(3))


def test_a_constant_channel_keeps_its_scale():
    layer = ActNorm(2)
    layer.initialize(np.array([[1.0, 5.0], [3.0, 5.0]]))
    np.testing.assert_array_equal(layer.shift, [2.0, 5.0])
    np.testing.assert_array_equal(layer.log_scale, [0.0, 0.0])


def test_a_copy_shares_the_variables():
    layer = ActNorm(3)
    copy = layer.copy(name="copy")
    layer.initialize(wide([20, 3]))
    np.testing.assert_array_equal(copy.shift, layer.shift)
    assert np.any(copy.shift)
    assert len(copy.trainable_variables) == 2


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.ones([1, 3]), r"act_norm: batch must have at least 2 rows of finite values, got \(1, 3\)"),
        (np.array([[1.0, 1.0, np.nan]] * 3), "finite values"),
        (np.array([[1.0, 1.0, np.inf]] * 3), "finite values"),
    ],
)
def test_a_batch_that_cannot_set_it_is_refused(batch, message):
    layer = ActNorm(3)
    with pytest.raises(ValueError, match=message):
        layer.initialize(batch)
    np.testing.assert_array_equal(layer.shift, np.zeros(3))


def test_a_batch_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="3"):
        ActNorm(3).initialize(numbers([6, 2]))


def test_there_must_be_a_channel():
    with pytest.raises(ValueError, match="num_channels must be at least 1, got 0"):
        ActNorm(0)


def test_a_constant_channel_whose_deviation_is_rounding_keeps_its_scale():
    """The deviation of 1,000 times 0.1 is 1e-17, not 0."""
    layer = ActNorm(2)
    layer.initialize(np.stack([np.full(1000, 0.1), np.random.default_rng(0).normal(size=1000)], axis=1))
    assert layer.log_scale.numpy()[0] == 0
    assert layer.shift.numpy()[0] == pytest.approx(0.1)


def test_events_of_another_size_are_refused():
    for direction in ("forward", "inverse"):  # one channel would be broadcast to three
        with pytest.raises(ValueError, match=r"the last axis must have size 3, got shape \(4, 1\)"):
            getattr(ActNorm(3), direction)(numbers([4, 1]))
