"""Looking vectors up: what `tf.gather` gives, with a dense gradient."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp.embedding import embed

CLASSES = np.array([[3, 0, 3], [3, 1, 0]])  # some often, 2 and 4 never


def table(dtype=np.float64):
    return tf.Variable(np.random.default_rng(0).normal(size=(5, 2)), dtype=dtype)


def gradient(look_up, embeddings):
    """That of a function in which each vector looked up counts differently."""
    weights = tf.constant(np.random.default_rng(1).normal(size=(*CLASSES.shape, 2)), embeddings.dtype)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(weights * look_up(embeddings, tf.constant(CLASSES)) ** 2)
    return tape.gradient(value, embeddings)


@pytest.mark.parametrize("options", [None, {}, {"jit_compile": True}], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_is_dense_and_otherwise_that_of_gather(options, dtype):
    embeddings = table(dtype)
    expected = tf.convert_to_tensor(gradient(tf.gather, embeddings))
    ours = (lambda: gradient(embed, embeddings)) if options is None else None
    ours = ours or tf.function(lambda: gradient(embed, embeddings), autograph=False, **options)
    found = ours()
    assert isinstance(found, tf.Tensor)
    np.testing.assert_allclose(found, expected, rtol=10 * np.finfo(dtype).eps)
    assert np.abs(found[3]).min() > 0
    assert not np.any(tf.gather(found, [2, 4]))


def test_it_is_a_row_of_the_table_for_each_class():
    embeddings = table()
    np.testing.assert_array_equal(embed(embeddings, tf.constant(CLASSES)), embeddings.numpy()[CLASSES])
    np.testing.assert_array_equal(embed(embeddings, tf.constant(4)), embeddings.numpy()[4])


def test_second_derivatives_are_those_of_gather():
    embeddings = table()

    def curvature(look_up):
        with tf.GradientTape() as tape:
            by_rows = tf.convert_to_tensor(gradient(look_up, embeddings))
            value = tf.reduce_sum(tf.sin(by_rows))
        return tf.convert_to_tensor(tape.gradient(value, embeddings))

    np.testing.assert_allclose(curvature(embed), curvature(tf.gather), rtol=1e-12)
