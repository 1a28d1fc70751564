"""The multi-scale flow over images."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp import ClassContext, FactorOut, bits_per_dim, image_real_nvp, initialize
from tfp_realnvp.bijectors import Coupling
from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_identity,
    assert_log_det_matches_autodiff,
    assert_round_trip,
    assert_samples_match_log_prob,
    randomize,
)
from tfp_realnvp.transforms import RationalQuadraticSpline


def images(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def make(event_shape=(4, 4, 1), *, scale=0.5, **options):
    options = {"num_couplings": 2, "filters": 4, "num_blocks": 1, "seed": 0} | options
    flow = image_real_nvp(event_shape, **options)
    randomize(flow, scale=scale)
    return flow


@pytest.mark.parametrize(
    ("event_shape", "options"),
    [
        ([4, 4, 1], {}),
        ([4, 4, 1], {"dtype": tf.float64}),
        pytest.param(
            [2, 4, 2],
            {"dtype": tf.float64, "transform": RationalQuadraticSpline(num_bins=4)},
            marks=pytest.mark.slow,
        ),
        ([2, 3, 1], {"num_scales": 1, "use_act_norm": False}),
        ([4, 8, 1], {"num_scales": 3, "dtype": tf.float64}),
    ],
    ids=["float32", "float64", "splines", "one scale", "three scales"],
)
def test_it_passes_the_conformance_checks(event_shape, options):
    flow = make(event_shape, **options)
    x = images(3, *event_shape, dtype=flow.dtype.as_numpy_dtype)
    assert flow.event_shape == event_shape
    assert_round_trip(flow.bijector, x)
    assert_log_det_matches_autodiff(flow.bijector, x)  # slogdet of the full Jacobian
    # Rows enough for every ReLU to be on for some.
    assert_gradients_reach_all_variables(flow, images(30, *event_shape, dtype=flow.dtype.as_numpy_dtype))


@pytest.mark.parametrize("event_shape", [[4, 4, 1], [2, 4, 3]], ids=str)
def test_every_entry_is_moved_in_both_directions(event_shape):
    flow = make(event_shape, use_act_norm=False, scale=1.0)
    x = images(20, *event_shape)
    for direction in (flow.bijector.forward, flow.bijector.inverse):
        # An entry that no coupling moves would come out with its bits, in this or another place.
        assert not np.isin(direction(x), x).any()


def test_it_starts_as_the_base():
    flow, x = image_real_nvp([4, 4, 1], num_couplings=2, filters=2, num_blocks=1), images(3, 4, 4, 1)
    assert_identity(flow.bijector, x)
    expected = tfd.Sample(tfd.Normal(0.0, 1.0), [4, 4, 1]).log_prob(x)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-5)


def test_samples_agree_with_log_prob():
    assert_samples_match_log_prob(make([2, 2, 1], num_scales=1), num_samples=50_000)


def test_the_architecture_is_the_one_of_the_docstring():
    flow = make([4, 4, 1], num_couplings=3)
    kinds = [type(part).__name__.lstrip("_") for part in flow.bijector.bijectors]
    pair = ["ActNorm", "Coupling"]
    assert kinds == [*pair * 3, "Invert", *pair * 3, "FactorOut", "Squeeze"]
    (factored,) = (part for part in flow.bijector.bijectors if isinstance(part, FactorOut))
    inner = [part for part in factored.bijector.bijectors if isinstance(part, Coupling)]
    assert len(inner) == 4
    couplings = [part for part in flow.bijector.bijectors if isinstance(part, Coupling)]
    for group in (couplings[:3], couplings[3:], inner):
        for first, second in itertools.pairwise(group):
            np.testing.assert_array_equal(second.mask, first.mask.complement)


def test_a_seed_repeats_the_weights():
    def weights(seed):
        flow = image_real_nvp([4, 4, 1], num_couplings=2, filters=2, num_blocks=1, seed=seed)
        return np.concatenate([v.numpy().ravel() for v in flow.trainable_variables])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
    assert not np.array_equal(weights(None), weights(None))


# Images of integers.


@pytest.fixture(scope="module")
def digits():
    return np.random.default_rng(0).integers(17, size=[20, 4, 4, 1]).astype(np.float32)


@pytest.fixture(scope="module")
def integer_flow(digits):
    flow = make([4, 4, 1], num_levels=17)
    initialize(flow, digits)
    return flow


def test_samples_are_levels(integer_flow):
    samples = integer_flow.sample(50, seed=(0, 0)).numpy()
    np.testing.assert_array_equal(samples, np.round(samples))
    assert samples.min() >= 0
    assert samples.max() <= 16
    assert len(np.unique(samples)) > 5


def test_integers_come_back_from_their_latent(integer_flow, digits):
    z = integer_flow.bijector.inverse(tf.constant(digits))
    np.testing.assert_array_equal(integer_flow.bijector.forward(tf.identity(z)), digits)


def test_the_noise_is_drawn_anew_and_log_prob_is_near_itself(integer_flow, digits):
    first, second = (integer_flow.log_prob(tf.constant(digits)).numpy() for _ in range(2))
    assert np.isfinite(first).all()
    assert (first != second).all()
    assert np.isfinite(bits_per_dim(first, [4, 4, 1])).all()


def test_log_prob_of_integers_is_below_their_probability():
    """Over all four images of two levels and two pixels the bound's exponentials add to at most one, and nearly do.

    Mass beyond the levels is what the margin of the logit lets through. Five standard errors: a false alarm in 10^6.
    """
    flow = make([1, 2, 1], num_levels=2, num_scales=1, use_act_norm=False, seed=1)
    all_images = np.float32([[a, b] for a in (0, 1) for b in (0, 1)]).reshape(4, 1, 2, 1)
    draws = flow.log_prob(tf.constant(np.tile(all_images, [2000, 1, 1, 1]))).numpy().reshape(2000, 4).astype(np.float64)
    densities = np.exp(draws)
    standard_error = densities.std(axis=0).sum() / np.sqrt(2000)
    assert np.exp(draws.mean(axis=0)).sum() < densities.mean(axis=0).sum() <= 1 + 5 * standard_error
    # Samples are clipped to the levels: each has at least the probability that log_prob bounds.
    samples = flow.sample(20_000, seed=(0, 0)).numpy().reshape(-1, 2) @ [2, 1]
    share = np.bincount(samples.astype(int), minlength=4) / 20_000
    noise = 5 * np.sqrt(share / 20_000) + 5 * densities.std(axis=0) / np.sqrt(2000)
    assert (share >= densities.mean(axis=0) - noise).all()


# With a context.


def test_it_may_be_conditional():
    flow = make([4, 4, 1], context=ClassContext(3, seed=0))
    classes, x = np.array([0, 1, 2, 0]), images(4, 4, 4, 1)
    bound = flow.given(classes)
    assert bound.batch_shape == (4,)
    assert_round_trip(bound.bijector, x)
    assert_gradients_reach_all_variables(flow.given(np.arange(30) % 3), images(30, 4, 4, 1))
    np.testing.assert_allclose(bound.log_prob(x)[1], flow.given(1).log_prob(x[1]), rtol=1e-4)
    assert abs(bound.log_prob(x[0])[0] - bound.log_prob(x[0])[1]) > 1e-3
    with pytest.raises(ValueError, match="needs a context"):
        flow.log_prob(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": [8, 8]}, r"event_shape must be \[height, width, channels\], got \[8, 8\]"),
        ({"event_shape": [5, 4, 1]}, "height and width must be multiples of 2 for num_scales=2"),
        ({"event_shape": [2, 2, 1]}, "more than one pixel at the last scale"),
        ({"event_shape": [4, 4, 1], "num_scales": 0}, "num_scales must be at least 1"),
        ({"event_shape": [4, 4, 1], "num_couplings": 1}, "num_couplings at least 2, got 2 and 1"),
        ({"event_shape": [4, 4, 1], "num_levels": 0}, "num_levels must be at least 1"),
        ({"event_shape": [4, 4, 1], "base": tfd.Normal(0.0, 1.0)}, r"base must have event shape \[4, 4, 1\]"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        image_real_nvp(**{"filters": 2, "num_blocks": 1} | arguments)
