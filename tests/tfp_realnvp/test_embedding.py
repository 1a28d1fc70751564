"""Looking vectors up: what `tf.gather` gives, with a dense gradient."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp.embedding import embed

CLASSES = np.array([[3, 0, 3], [3, 1, 0]], np.int32)  # some often, 2 and 4 never
GRAPH = functools.partial(tf.function, autograph=False)
each_mode = pytest.mark.parametrize(
    "mode",
    [lambda function: function, GRAPH, functools.partial(GRAPH, jit_compile=True)],
    ids=["eager", "graph", "xla"],
)


def table(dtype=np.float64):
    return tf.Variable(np.random.default_rng(0).normal(size=(5, 2)), dtype=dtype)


def gradient(look_up, embeddings, classes=CLASSES):
    """That of a function in which each vector looked up counts differently."""
    weights = tf.constant(np.random.default_rng(1).normal(size=(*classes.shape, 2)), embeddings.dtype)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(weights * look_up(embeddings, tf.constant(classes)) ** 2)
    return tape.gradient(value, embeddings)


def curvature(look_up, embeddings):
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(tf.sin(tf.convert_to_tensor(gradient(look_up, embeddings))))
    return tf.convert_to_tensor(tape.gradient(value, embeddings))


def allowed(dtype):
    # Of three terms at most, a product of three factors each, added up in another order.
    return 10 * np.finfo(dtype).eps


@each_mode
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("integers", [np.int32, np.int64])
def test_the_gradient_is_dense_and_otherwise_that_of_gather(mode, dtype, integers):
    embeddings, classes = table(dtype), CLASSES.astype(integers)
    expected = tf.convert_to_tensor(gradient(tf.gather, embeddings, classes))
    found = mode(lambda: gradient(embed, embeddings, classes))()
    assert isinstance(found, tf.Tensor)
    np.testing.assert_allclose(found, expected, rtol=allowed(dtype))
    assert np.abs(found[3]).min() > 0
    assert not np.any(tf.gather(found, [2, 4]))


@each_mode
def test_second_derivatives_are_those_of_gather(mode):
    embeddings = table()
    found = mode(lambda: curvature(embed, embeddings))()
    assert np.abs(found[3]).min() > 0
    np.testing.assert_allclose(found, curvature(tf.gather, embeddings), rtol=allowed(np.float64))


def test_it_is_a_row_of_the_table_for_each_class():
    embeddings = table()
    np.testing.assert_array_equal(embed(embeddings, tf.constant(CLASSES)), embeddings.numpy()[CLASSES])
    np.testing.assert_array_equal(embed(embeddings, tf.constant(4)), embeddings.numpy()[4])


def test_no_rows_have_a_gradient_of_zeros():
    embeddings = table()
    assert embed(embeddings, tf.constant(CLASSES[:0])).shape == (0, 3, 2)
    np.testing.assert_array_equal(gradient(embed, embeddings, CLASSES[:0]), np.zeros([5, 2]))
