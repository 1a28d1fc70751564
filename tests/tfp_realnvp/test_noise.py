"""The noise that flows start from is TFP's, number by number where XLA does not compile it."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import kstest
from tensorflow_probability import distributions as tfd

from tfp_realnvp import load, real_nvp, save
from tfp_realnvp.distributions.noise import Noise, gaussian_noise


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
def test_it_draws_the_numbers_of_a_normal_with_the_same_seed(dtype):
    noise, normal = gaussian_noise([3], dtype), tfd.Sample(tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)), [3])
    ours, theirs = (base.sample([2, 50], seed=(3, 4)) for base in (noise, normal))
    assert ours.dtype == dtype
    assert ours.shape == [2, 50, 3]
    np.testing.assert_array_equal(ours, theirs)


def test_an_integer_seed_counts_together_with_the_global_one():
    drawn = []
    for kind in (Noise, Noise, tfd.Normal):
        tf.random.set_seed(1)
        drawn.append(kind([0.0, 5.0], [1.0, 2.0]).sample(4, seed=2).numpy())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_location_and_scale_count(jit_compile):
    noise = Noise([0.0, 5.0], [1.0, 2.0])
    sample = tf.function(lambda seed: noise.sample(20_000, seed=seed), jit_compile=jit_compile)
    drawn, again, other = (sample(tf.constant([0, seed])).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(drawn, again)
    assert not (drawn == other).any(axis=1).any()
    assert kstest((drawn - [0.0, 5.0]).ravel() / np.tile([1.0, 2.0], 20_000), "norm").pvalue > 0.01
    np.testing.assert_allclose(drawn.mean(axis=0), [0.0, 5.0], atol=0.06)  # four standard errors
    np.testing.assert_allclose(drawn.std(axis=0), [1.0, 2.0], rtol=0.02)


def test_a_saved_flow_has_it_again(tmp_path):
    save(real_nvp(2, num_couplings=2, seed=0), tmp_path / "flow")
    assert type(load(tmp_path / "flow").distribution.distribution) is Noise
