"""From integers to real numbers and back, and what that does to the density."""

import copy
import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import BoundedLogit, Flow, UniformDequantization, bits_per_dim
from tfp_realnvp.testing import assert_log_det_matches_autodiff, assert_round_trip

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def levels(num_levels, *shape, dtype=np.float32):
    return np.random.default_rng(0).integers(num_levels, size=shape).astype(dtype)


# Dequantisation.


@DTYPES
@pytest.mark.parametrize("num_levels", [None, 2, 256])
def test_integers_come_back_exactly_whatever_the_noise(dtype, num_levels):
    layer, y = UniformDequantization(num_levels, seed=0), levels(num_levels or 10**5, 100, 20, dtype=dtype)
    for _ in range(5):
        x = layer.inverse(tf.constant(y))
        assert x.dtype == dtype
        np.testing.assert_array_equal(layer.forward(tf.identity(x)), y)


def test_noise_that_rounds_up_does_not_reach_the_next_integer():
    # In float32 the numbers around 2^23 are 1 apart: every noise above a half would be rounded up.
    y = np.full(10_000, 2.0**22, np.float32)
    np.testing.assert_array_equal(UniformDequantization(seed=0).inverse(y) < y + 1, True)


def test_the_noise_is_uniform_and_new_at_every_call():
    layer, y = UniformDequantization(seed=0), np.zeros(20_000, np.float32)
    first, second = layer.inverse(tf.constant(y)).numpy(), layer.inverse(tf.constant(y)).numpy()
    assert (first != second).mean() > 0.99
    for noise in (first, second):
        assert noise.min() >= 0
        assert noise.max() < 1
        # Kolmogorov and Smirnov: above 2.5 / sqrt(n) with probability 2 exp(-2 * 2.5^2) = 7e-6.
        distance = np.abs(np.sort(noise) - (np.arange(len(noise)) + 0.5) / len(noise)).max()
        assert distance < 2.5 / math.sqrt(len(noise))


def test_a_seed_repeats_the_noise():
    y = np.zeros(10, np.float32)
    first, again, other, fresh = (UniformDequantization(seed=seed).inverse(y).numpy() for seed in (3, 3, 4, None))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, fresh)


def test_samples_are_levels_and_no_others():
    layer = UniformDequantization(4)
    np.testing.assert_array_equal(
        layer.forward([-1e30, -0.5, 0.0, 0.999, 1.0, 3.99, 4.0, 1e30]), [0, 0, 0, 0, 1, 3, 3, 3]
    )
    np.testing.assert_array_equal(UniformDequantization().forward([-0.5, 7.3]), [-1, 7])


def test_the_density_of_dequantised_integers_is_a_lower_bound_on_their_probability():
    # With z = floor(x), E log p(z + noise) <= log P(z) by Jensen, and the mean of p(z + noise) is P(z).
    normal, z = tfd.Normal(2.0, 1.5), np.arange(-2.0, 7.0, dtype=np.float32)
    flow = tfd.TransformedDistribution(normal, UniformDequantization(seed=0))
    draws = flow.log_prob(tf.constant(np.tile(z, [20_000, 1]))).numpy().astype(np.float64)
    exact = np.log(np.asarray(normal.cdf(z + 1) - normal.cdf(z), np.float64))
    standard_error = draws.std(axis=0) / math.sqrt(len(draws))
    assert (draws.mean(axis=0) <= exact + 5 * standard_error).all()  # a false alarm in a million
    ratio = np.exp(draws - exact)
    assert (np.abs(ratio.mean(axis=0) - 1) <= 5 * ratio.std(axis=0) / math.sqrt(len(draws))).all()


def _sampled(flow):
    samples = flow.sample(50_000, seed=(0, 1))
    return samples, flow.log_prob(samples)


@pytest.mark.parametrize("is_compiled", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize(
    "draw",
    [_sampled, lambda flow: flow.experimental_sample_and_log_prob(50_000, seed=(0, 1))],
    ids=["sampled", "sampled_with"],
)
@pytest.mark.parametrize(
    "bijector",
    [UniformDequantization(seed=0), tfb.Chain([tfb.Chain([UniformDequantization(seed=0)]), tfb.Shift(0.0)])],
    ids=["alone", "chain"],
)
def test_samples_have_the_density_of_any_integers(bijector, draw, is_compiled):
    # What they were rounded from has more on average: log p(x) given 0 <= x < 1 has the mean -0.03.
    normal = tfd.Normal(0.5, 0.3)
    flow = Flow(normal, bijector)
    samples, log_prob = (tf.function(draw, autograph=False) if is_compiled else draw)(flow)
    draws = log_prob.numpy()[samples.numpy() == 0].astype(np.float64)
    noise = np.random.default_rng(0).uniform(size=100_000).astype(np.float32)
    expected = np.asarray(normal.log_prob(noise), np.float64)
    error = math.hypot(draws.std() / math.sqrt(len(draws)), expected.std() / math.sqrt(len(expected)))
    assert abs(draws.mean() - expected.mean()) <= 5 * error  # a false alarm in a million
    assert draws.mean() < math.log(float(normal.cdf(1.0) - normal.cdf(0.0))) - 5 * error


def test_a_dequantized_flow_does_not_pass_for_an_affine_one():
    flow = Flow(tfd.Normal(0.7, 1.0), UniformDequantization())
    for moment in (flow.mean, flow.mode, flow.stddev, flow.entropy):
        with pytest.raises(NotImplementedError):
            moment()
    assert flow.reparameterization_type == tfd.NOT_REPARAMETERIZED
    assert Flow(tfd.Normal(0.7, 1.0), BoundedLogit()).reparameterization_type == tfd.FULLY_REPARAMETERIZED


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_it_draws_anew_at_every_call(jit_compile):
    layer = UniformDequantization(seed=0)
    noise = tf.function(lambda y: layer.inverse(y), jit_compile=jit_compile, autograph=False)
    first, second = noise(tf.zeros([100])).numpy(), noise(tf.zeros([100])).numpy()
    assert (first != second).mean() > 0.9


def test_there_must_be_a_level():
    with pytest.raises(ValueError, match="num_levels must be at least 1 or None, got 0"):
        UniformDequantization(0)


# The logit.


@DTYPES
@pytest.mark.parametrize(("high", "margin"), [(1.0, 0.05), (256.0, 0.05), (16.0, 1e-3)])
def test_the_logit_passes_the_conformance_checks(dtype, high, margin):
    layer = BoundedLogit(high, margin=margin)
    x = np.random.default_rng(0).normal(size=[20, 3]).astype(dtype)
    # Away from the margins, where the logit is not defined.
    x = np.clip(x, -2, 2)
    y = layer.forward(x)
    np.testing.assert_allclose(layer.inverse(tf.identity(y)), x, rtol=0, atol=100 * np.finfo(dtype).eps)
    assert_log_det_matches_autodiff(layer, x)


def test_the_logit_is_the_formula_of_the_docstring():
    layer, y = BoundedLogit(16.0, margin=0.1), np.array([0.0, 4.0, 8.0, 16.0])
    share = 0.1 + 0.8 * y / 16.0
    np.testing.assert_allclose(layer.inverse(y), np.log(share / (1 - share)), atol=1e-12)
    np.testing.assert_allclose(layer.forward(layer.inverse(y).numpy()), y, atol=1e-12)
    np.testing.assert_allclose(
        layer.inverse_log_det_jacobian(y, event_ndims=0), np.log(0.8 / 16.0 / (share * (1 - share))), atol=1e-12
    )


def test_both_ends_are_finite_and_what_is_beyond_is_not_reached_by_data():
    layer, ends = BoundedLogit(256.0), np.float32([0.0, 256.0])
    assert np.isfinite(layer.inverse(ends)).all()
    assert np.isfinite(layer.inverse_log_det_jacobian(ends, event_ndims=0)).all()
    # Noise far out comes out a little beyond the ends, where dequantisation clips it.
    far = layer.forward(np.float32([-1e3, 1e3])).numpy()
    np.testing.assert_allclose(far, [-256 * 0.05 / 0.9, 256 * 0.95 / 0.9], rtol=1e-5)
    clipped = tfb.Chain([UniformDequantization(256), layer]).forward(np.float32([-1e3, 1e3]))
    np.testing.assert_array_equal(clipped, [0.0, 255.0])
    assert np.isfinite(layer.forward_log_det_jacobian(np.float32([-1e3, 1e3]), event_ndims=0)).all()


@pytest.mark.parametrize(("high", "margin"), [(0.0, 0.05), (1.0, 0.5), (1.0, -0.1), (float("nan"), 0.1)])
def test_a_logit_of_no_interval_is_refused(high, margin):
    with pytest.raises(ValueError, match=r"high must be positive and margin in \[0, 0.5\)"):
        BoundedLogit(high, margin=margin)


# Bits.


def test_uniform_levels_cost_their_logarithm_in_bits():
    # 64 pixels of 16 levels, each with probability 1 / 16: four bits a pixel.
    assert bits_per_dim(-64 * math.log(16), [8, 8, 1]) == pytest.approx(4.0, rel=1e-12)
    np.testing.assert_allclose(bits_per_dim(np.array([-math.log(2), 0.0]), 1), [1.0, 0.0])
    uniform = tfd.Independent(tfd.Uniform(np.zeros(5, np.float32), np.full(5, 8.0, np.float32)), 1)
    flow = tfd.TransformedDistribution(uniform, UniformDequantization(8))
    np.testing.assert_allclose(bits_per_dim(flow.log_prob(levels(8, 10, 5)), [5]), np.full(10, 3.0), rtol=1e-6)


def test_the_round_trip_of_both_layers_is_exact_on_integers():
    layers = tfb.Chain([UniformDequantization(16), BoundedLogit(16)])
    y = levels(16, 200, 5)
    np.testing.assert_array_equal(layers.forward(tf.identity(layers.inverse(y))), y)
    assert_round_trip(BoundedLogit(16), np.float32([[0.1, 0.2], [-0.3, 0.5]]))


def test_a_twin_that_would_share_the_cache_is_refused():
    with pytest.raises(TypeError, match="can neither be pickled nor copied"):
        copy.deepcopy(UniformDequantization(3))
