"""Deep flows, far-out rows and a curved density: finite, invertible, and trained without divergence."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp import fit, image_real_nvp, real_nvp
from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_samples_match_log_prob,
    randomize,
    tolerance,
)
from tfp_realnvp.transforms import Additive, Affine, RationalQuadraticSpline

TRANSFORMS = {"affine": Affine(), "additive": Additive(), "spline": RationalQuadraticSpline()}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("scale", [pytest.param(0.2, marks=pytest.mark.slow), 0.5])
@pytest.mark.parametrize("transform", ["affine", "spline"])
def test_32_couplings_of_19_entries_are_finite_in_value_and_gradient(transform, scale):
    flow = real_nvp(19, num_couplings=32, transform=TRANSFORMS[transform], hidden_units=[8], seed=0)
    randomize(flow, scale=scale)
    x = tf.constant(normal(20, 19))
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = flow.log_prob(x)
        loss = tf.reduce_mean(log_prob)
    for value in (log_prob, flow.sample(20, seed=(0, 0)), *tape.gradient(loss, [x, *flow.trainable_variables])):
        assert np.isfinite(value).all()
    if scale == 0.2:
        # As large as trained weights are; the round trip's error grows with the condition number of all 32 together.
        back = flow.bijector.forward(tf.identity(flow.bijector.inverse(x)))
        np.testing.assert_allclose(back, x, atol=10 * tolerance(tf.float32))
        assert_gradients_reach_all_variables(flow, normal(100, 19))


@pytest.mark.parametrize("size", [1e3, 1e6])
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("event_shape", [3, [4, 4, 1]], ids=["vectors", "images"])
def test_rows_far_out_are_finite_in_value_and_gradient(event_shape, transform, size):
    if event_shape == 3:
        flow = real_nvp(3, num_couplings=4, transform=TRANSFORMS[transform], hidden_units=[8], use_lu=True, seed=0)
    else:
        options = {"num_couplings": 2, "filters": 2, "num_blocks": 1, "seed": 0}
        flow = image_real_nvp(event_shape, transform=TRANSFORMS[transform], **options)
    randomize(flow)
    rows = np.stack([np.ones(flow.event_shape), -np.ones(flow.event_shape), normal(*flow.event_shape)])
    x = tf.constant(size * rows, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        # An ActNorm or an LU layer of random weights multiplies by a few: squares of 1e7 are finite in float32.
        log_prob, z = flow.log_prob(x), flow.bijector.forward(x)
        total = tf.reduce_mean(log_prob) + tf.reduce_mean(z)
    for value in (log_prob, z, *tape.gradient(total, [x, *flow.trainable_variables])):
        assert np.isfinite(value).all()


def banana(num_rows, seed):
    """`x2 = x1^2 + noise`, and the true log-density of each row."""
    rng = np.random.default_rng(seed)
    first, noise = rng.normal(size=[2, num_rows])
    x = np.stack([first, first**2 + 0.5 * noise], axis=-1)
    return x.astype(np.float32), -0.5 * (first**2 + noise**2) - np.log(2 * np.pi * 0.5)


@pytest.mark.parametrize("transform", ["affine", pytest.param("spline", marks=pytest.mark.slow)])
def test_the_banana_is_learnt_at_the_default_learning_rate_without_divergence(transform):
    """Twelve epochs of 4,000 rows come within 0.15 nats of the truth, the loss never above where it began.

    Rows are paired with their true density: five standard errors of the mean gap, a false alarm in a million.
    """
    x, _ = banana(4000, seed=0)
    # Splines that reach as far as the tail of a square does.
    transform = RationalQuadraticSpline(bound=15.0) if transform == "spline" else TRANSFORMS[transform]
    flow = real_nvp(2, num_couplings=4, transform=transform, hidden_units=[32], seed=0)
    losses = fit(flow, x, epochs=12, batch_size=128, seed=0, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert max(losses) == losses[0]
    fresh, truth = banana(10_000, seed=1)
    gap = truth - flow.log_prob(fresh).numpy()
    assert gap.mean() < 0.15 + 5 * gap.std() / np.sqrt(len(gap))
    assert np.isfinite(flow.sample(10_000, seed=(0, 0))).all()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_samples_of_a_flow_of_each_transform_follow_its_density(transform):
    """A false alarm in a million: the check allows five standard errors of an estimated volume."""
    flow = real_nvp(3, num_couplings=4, transform=TRANSFORMS[transform], hidden_units=[8], use_lu=True, seed=0)
    randomize(flow, scale=0.3)
    assert_samples_match_log_prob(flow, num_samples=50_000)
