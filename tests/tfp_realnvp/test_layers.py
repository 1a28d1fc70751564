"""`drop_units`: which entries are dropped looks random, follows from seed and call, and keeps the mean."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp.conditioners.layers import drop_units

ROWS, UNITS = 500, 64
# Standard errors allowed: of a thousand checks like these, none fails by chance.
MANY = 5.0


def kept(rate=0.3, *, seed=0, call=1, shape=(ROWS, UNITS), dtype=tf.float32):
    """Which entries are kept, as numbers of mean zero and variance one if `rate` is kept to."""
    mask = drop_units(tf.ones(shape, dtype), rate, seed, tf.constant(call)).numpy() != 0
    return (mask - (1 - rate)) / np.sqrt(rate * (1 - rate))


def correlation(a, b):
    """In standard errors: the mean of n products of independent numbers of variance one has 1 / sqrt(n)."""
    return abs(np.mean(a * b)) * np.sqrt(a.size)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_the_share_that_is_dropped_is_the_rate(rate, seed):
    masks = kept(rate, seed=seed)
    assert abs(masks.mean()) * np.sqrt(masks.size) < MANY
    for axis in (0, 1):  # and in every row and column
        means = masks.mean(axis=axis) * np.sqrt(masks.shape[axis])
        assert np.abs(means).max() < MANY + 1  # the distribution of few rare events has longer tails
        assert means.std() == pytest.approx(1, abs=MANY / np.sqrt(2 * len(means)))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_neighbours_rows_and_calls_are_not_correlated(rate):
    masks = kept(rate)
    for lag in (1, 2, 3, 4, 8, 16, 32):
        assert correlation(masks[:, lag:], masks[:, :-lag]) < MANY, f"units {lag} apart"
        assert correlation(masks[lag:], masks[:-lag]) < MANY, f"rows {lag} apart"
    for call in (2, 3, 5, 257, 65537):
        assert correlation(masks, kept(rate, call=call)) < MANY, f"call {call}"
    for seed in (1, 2, 256, 65536):
        assert correlation(masks, kept(rate, seed=seed)) < MANY, f"seed {seed}"
    # The next seed's call is not this seed's next one.
    assert correlation(kept(rate, seed=1, call=1), kept(rate, seed=0, call=2)) < MANY


def test_an_entry_is_dropped_in_its_share_of_the_calls():
    masks = np.stack([kept(0.3, call=call, shape=(16,)) for call in range(400)])
    assert np.abs(masks.mean(axis=0)).max() * np.sqrt(400) < MANY
    assert correlation(masks[1:], masks[:-1]) < MANY


def test_the_same_seed_and_call_drop_the_same():
    np.testing.assert_array_equal(kept(seed=3, call=7), kept(seed=3, call=7))
    compiled = tf.function(lambda: drop_units(tf.ones([ROWS, UNITS]), 0.3, 3, tf.constant(7)), jit_compile=True)
    np.testing.assert_array_equal(compiled().numpy() != 0, kept(seed=3, call=7) > 0)
    assert np.any(kept(seed=3, call=8) != kept(seed=3, call=7))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (0, 4)], ids=str)
def test_what_is_kept_is_scaled_up(shape, dtype):
    inputs = tf.constant(np.random.default_rng(0).normal(size=shape), dtype)
    outputs = drop_units(inputs, 0.25, 0, tf.constant(1))
    assert (outputs.dtype, outputs.shape) == (dtype, shape)
    is_kept = outputs.numpy() != 0
    np.testing.assert_allclose(outputs.numpy()[is_kept], inputs.numpy()[is_kept] / 0.75, rtol=1e-6)


def test_the_mean_is_kept():
    inputs = tf.constant(np.random.default_rng(0).uniform(1, 2, [ROWS, UNITS]), tf.float32)
    outputs = drop_units(inputs, 0.3, 0, tf.constant(1)).numpy().astype(np.float64)
    noise = inputs.numpy().std() + 1.5 * np.sqrt(0.3 / 0.7)  # at most
    assert abs(outputs.mean() - inputs.numpy().mean()) < MANY * noise / np.sqrt(outputs.size)
