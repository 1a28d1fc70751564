"""The LU layer is a matrix with a cheap log-determinant, over vectors and over the channels of images."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp import LULinear
from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_identity,
    assert_log_det_matches_autodiff,
    assert_round_trip,
    randomize,
    tolerance,
)

DTYPES = pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
SHAPES = pytest.mark.parametrize("shape", [[10, 4], [5, 2, 3, 4]], ids=["vectors", "images"])


def numbers(shape, dtype=tf.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype.as_numpy_dtype)


def make(dtype=tf.float32, size=4):
    layer = LULinear(size, dtype=dtype)
    randomize(layer, scale=1.0)
    return layer


@DTYPES
@SHAPES
def test_it_passes_the_conformance_checks(dtype, shape):
    assert_identity(LULinear(4, dtype=dtype), numbers(shape, dtype))
    assert_round_trip(make(dtype), numbers(shape, dtype))
    assert_log_det_matches_autodiff(make(dtype), numbers(shape, dtype))


def test_both_log_determinants_are_those_of_the_matrix():
    layer = make(tf.float64)
    for function, log_det in [
        (layer.inverse, layer.inverse_log_det_jacobian),
        (layer.forward, layer.forward_log_det_jacobian),
    ]:
        matrix = function(np.eye(4)).numpy().T
        assert np.abs(np.triu(matrix, 1)).max() > 0.1
        assert np.abs(np.tril(matrix, -1)).max() > 0.1
        np.testing.assert_allclose(log_det(np.zeros([1, 4])), [np.linalg.slogdet(matrix)[1]], rtol=1e-12)


@DTYPES
def test_on_images_it_is_a_one_by_one_convolution(dtype):
    layer, images = make(dtype), numbers([2, 3, 5, 4], dtype)
    matrix = layer.inverse(np.eye(4, dtype=dtype.as_numpy_dtype))  # its rows are the images of the unit vectors
    expected = tf.nn.conv2d(images, matrix[tf.newaxis, tf.newaxis], strides=1, padding="VALID")
    np.testing.assert_allclose(layer.inverse(images), expected, rtol=tolerance(dtype), atol=tolerance(dtype))
    # Each pixel counts once.
    of_one = layer.inverse_log_det_jacobian(images[:, 0, 0], event_ndims=1)
    of_all = layer.inverse_log_det_jacobian(images, event_ndims=3)
    np.testing.assert_allclose(of_all, 15 * of_one.numpy(), rtol=tolerance(dtype))


@pytest.mark.parametrize("inverted", [False, True])
def test_gradients_reach_what_is_used_of_its_variables(inverted):
    layer = make(tf.float64)
    base = tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), tf.ones([], tf.float64)), 4)
    flow = tfd.TransformedDistribution(base, layer)
    assert_gradients_reach_all_variables(flow, numbers([20, 4], tf.float64))
    with tf.GradientTape() as tape:
        sample, log_prob = flow.experimental_sample_and_log_prob(20, seed=(0, 0))
        loss = tf.reduce_mean(log_prob + tf.reduce_sum(sample**4, axis=-1))
    triangles, diagonal = tape.gradient(loss, [layer._triangles, layer._log_diagonal])
    assert np.isfinite(triangles).all()
    assert np.all(diagonal != 0)
    # The diagonal of the triangles stands for nothing.
    np.testing.assert_array_equal(triangles.numpy() != 0, ~np.eye(4, dtype=bool))


def test_batch_sizes_may_be_unknown_when_the_graph_is_built():
    layer, x = make(), numbers([3, 2, 4])
    traced = tf.function(
        lambda x: (layer.forward(x), layer.forward_log_det_jacobian(x)),
        input_signature=[tf.TensorSpec([None, None, 4])],
        autograph=False,
    )
    for actual, expected in zip(traced(x), (layer.forward(x), layer.forward_log_det_jacobian(x)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_copy_shares_the_variables():
    layer = make()
    copy = layer.copy(name="copy")
    layer.trainable_variables[0].assign_add(tf.ones([4]) if layer.trainable_variables[0].shape.rank == 1 else tf.eye(4))
    x = numbers([5, 4])
    np.testing.assert_array_equal(copy.forward(x), layer.forward(x))
    assert len(copy.trainable_variables) == 2


def test_an_event_of_another_size_is_refused():
    # Four rows of two have as many numbers as two rows of four.
    with pytest.raises(ValueError, match="4"):
        make().forward(numbers([4, 2]))


def test_there_must_be_a_channel():
    with pytest.raises(ValueError, match="num_channels must be at least 1, got 0"):
        LULinear(0)
