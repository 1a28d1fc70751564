"""Bases other than the Gaussian: a learnable mixture, heavy tails, and flows over them."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp import fit, gaussian_mixture, load, real_nvp, save
from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_integrates_to_one,
    assert_samples_match_log_prob,
    randomize,
)

BASES = {
    "mixture": lambda: gaussian_mixture(2, 3, seed=0),
    "student": lambda: tfd.Sample(tfd.StudentT(tf.Variable(3.0), 0.0, 1.0), 2),
    "uniform": lambda: tfd.Independent(tfd.Uniform([-4.0, -4.0], [4.0, 4.0]), 1),
    "correlated": lambda: tfd.MultivariateNormalTriL(tf.Variable([1.0, 0.0]), [[1.0, 0.0], [0.5, 1.0]]),
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
def test_a_mixture_starts_with_equal_weights_unit_scales_and_spread_means(dtype):
    base = gaussian_mixture(3, 50, spread=3.0, dtype=dtype, seed=0)
    assert (base.dtype, base.event_shape, base.batch_shape) == (dtype, (3,), ())
    assert len(base.trainable_variables) == 3
    np.testing.assert_allclose(base.mixture_distribution.probs_parameter(), np.full(50, 0.02), rtol=1e-5)
    means, scales = base.components_distribution.mean().numpy(), base.components_distribution.stddev().numpy()
    np.testing.assert_allclose(scales, 1, rtol=1e-5)
    # 150 draws: the sample's standard deviation is within 30 % at five standard errors.
    assert np.std(means) == pytest.approx(3.0, rel=0.3)
    again = gaussian_mixture(3, 50, spread=3.0, dtype=dtype, seed=0)
    np.testing.assert_array_equal(means, again.components_distribution.mean())


@pytest.mark.parametrize("base", BASES.values(), ids=BASES.keys())
def test_any_distribution_is_a_base_and_its_variables_are_trained(base):
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], activation="tanh", base=base(), seed=0)
    before = len(flow.distribution.trainable_variables)
    for layer in flow.bijector.bijectors:
        randomize(layer)
    assert_samples_match_log_prob(flow, num_samples=50_000)
    assert_gradients_reach_all_variables(flow, normal(30, 2))
    assert len(flow.trainable_variables) == 8 + before


def test_a_flow_over_a_mixture_integrates_to_one():
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], activation="tanh", base=gaussian_mixture(2, 3, seed=0))
    for layer in flow.bijector.bijectors:
        randomize(layer)
    assert_integrates_to_one(flow, low=-20.0, high=20.0)


def test_a_student_base_keeps_its_tails():
    # The clamp bounds every scale, so a power stays a power: far out, log p falls by 4 log 10 a factor of ten, in each
    # of two entries, where a Gaussian's would fall without bound.
    base = tfd.Sample(tfd.StudentT(3.0, 0.0, 1.0), 2)
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], activation="tanh", base=base, seed=0)
    randomize(flow)
    log_prob = flow.log_prob(np.float32([[1e4, 1e4], [1e5, 1e5]])).numpy()
    assert log_prob[0] - log_prob[1] == pytest.approx(8 * np.log(10), rel=1e-2)


@pytest.mark.slow
def test_two_separate_clusters_are_learnt_without_a_thread_between_them():
    """The mass within a third of the way between two clusters, by samples of a trained flow.

    The truth has next to none. From one Gaussian the flow draws a thread (a per cent or more at this size); from a
    mixture it need not. Of 20,000 samples, a share of 0.001 is 20 +- 4.5: no false alarm at a bound of 0.005. The means
    start on both sides, so that the test is of the flow and not of a local optimum of the mixture.
    """
    rng = np.random.default_rng(0)
    x = (0.5 * rng.normal(size=[2000, 2]) + 4.0 * rng.choice([-1.0, 1.0], size=[2000, 1])).astype(np.float32)

    def between(base):
        flow = real_nvp(2, num_couplings=2, hidden_units=[16], base=base, seed=0)
        fit(flow, x, epochs=12, batch_size=64, learning_rate=1e-2, seed=0, verbose=0)
        samples = flow.sample(20_000, seed=(0, 0)).numpy()
        return np.mean(np.abs(samples.mean(axis=-1)) < 4.0 / 3)

    clusters = gaussian_mixture(2, 2, seed=0)
    clusters.components_distribution.loc.assign([[-2.0, -2.0], [2.0, 2.0]])
    one, mixture = between(None), between(clusters)
    assert mixture < 0.005
    assert mixture < one / 3


def test_a_mixture_is_saved_with_the_flow(tmp_path):
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], base=gaussian_mixture(2, 3, seed=0), seed=0)
    randomize(flow)
    save(flow, tmp_path / "a.flow")
    x = normal(5, 2)
    np.testing.assert_allclose(load(tmp_path / "a.flow").log_prob(x), flow.log_prob(x), rtol=1e-6)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_sizes_that_are_none_are_refused(sizes):
    with pytest.raises(ValueError, match="event_size and num_components must be at least 1"):
        gaussian_mixture(*sizes)


@pytest.mark.parametrize(
    "base", [tfd.Normal(0.0, 1.0), tfd.Sample(tfd.Normal(0.0, 1.0), 3), tfd.MultivariateNormalDiag(np.zeros([4, 2]))]
)
def test_a_base_of_another_shape_is_refused(base):
    with pytest.raises(ValueError, match=r"base must have event shape \[2\], batch shape \[\] and dtype float32"):
        real_nvp(2, base=base)
