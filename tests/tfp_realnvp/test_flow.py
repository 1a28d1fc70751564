"""`Flow` is TFP's transformed distribution, and `context=` is short for `given`."""

import gc

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    AffineCoupling,
    AutoregressiveCategorical,
    BoundCoupling,
    ClassContext,
    FeatureContext,
    Flow,
    Mixed,
    half_mask,
    mlp,
    real_nvp,
)
from tfp_realnvp.testing import randomize


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def flow():
    context = FeatureContext(2)
    flow = real_nvp(3, num_couplings=2, hidden_units=[4], activation="tanh", context=context, seed=0)
    randomize(flow, scale=1.0)
    return flow


X, CONTEXT, SEED = normal(5, 3), normal(5, 2, seed=1), (0, 7)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("log_prob", (X,)),
        ("prob", (X,)),
        ("sample", ((), SEED)),
        ("sample", ((2, 3), SEED)),
        ("experimental_sample_and_log_prob", (4, SEED)),
    ],
)
def test_a_context_as_an_argument_is_given(flow, method, arguments):
    actual = getattr(flow, method)(*arguments, context=CONTEXT)
    expected = getattr(flow.given(CONTEXT), method)(*arguments)
    for a, b in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    other = getattr(flow, method)(*arguments, context=CONTEXT + 1)
    assert np.abs(tf.nest.flatten(other)[0] - tf.nest.flatten(actual)[0]).max() > 1e-3


@pytest.mark.parametrize("method", ["log_prob", "prob"])
def test_without_a_context_an_unconditional_flow_is_tfp_s(method):
    chain = tfb.Chain([AffineCoupling(half_mask(3), mlp(1, 2, hidden_units=[4]))])
    base = tfd.Sample(tfd.Normal(0.0, 1.0), 3)
    ours, theirs = Flow(base, chain), tfd.TransformedDistribution(base, chain)
    randomize(ours)
    np.testing.assert_array_equal(getattr(ours, method)(X), getattr(theirs, method)(X))
    np.testing.assert_array_equal(ours.sample(4, seed=SEED), theirs.sample(4, seed=SEED))
    assert isinstance(ours, type(theirs))  # TFP makes a plain twin of the class where a part owns a network


def test_a_pair_of_integers_repeats_samples(flow):
    first, again, other = (flow.sample(5, seed=seed, context=CONTEXT) for seed in (SEED, SEED, (0, 8)))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_samples_and_log_probs_out_of_one_pass_agree(flow):
    samples, log_prob = flow.experimental_sample_and_log_prob(10, seed=SEED, context=CONTEXT)
    # Two ways through float32 networks.
    np.testing.assert_allclose(log_prob, flow.log_prob(tf.constant(samples.numpy()), context=CONTEXT), rtol=1e-4)


def test_a_copy_shares_the_variables_and_takes_another_base(flow):
    wide = flow.copy(distribution=tfd.Sample(tfd.StudentT(3.0, 0.0, 1.0), 3), name="wide")
    assert isinstance(wide, Flow)
    assert wide.name == "wide"
    assert {v.ref() for v in wide.trainable_variables} == {v.ref() for v in flow.trainable_variables}
    assert np.isfinite(wide.log_prob(X, context=CONTEXT)).all()


def test_what_is_bound_for_a_held_tensor_is_not_kept():
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], context=FeatureContext(1), seed=0)
    mixed = Mixed(
        AutoregressiveCategorical([2], width=4, seed=0), real_nvp(2, num_couplings=2, context=ClassContext([2]))
    )
    x, d = tf.zeros([3, 2]), tf.zeros([3, 1], tf.int32)
    flow.log_prob(x, context=[[1.0]])
    for call in (
        lambda: flow.log_prob(x, context=[[1.0]]),
        lambda: flow.prob(x, context=[[1.0]]),
        lambda: mixed.log_prob((d, x)),
    ):
        gc.collect()
        before = sum(type(item) is BoundCoupling for item in gc.get_objects())
        call()
        gc.collect()
        assert sum(type(item) is BoundCoupling for item in gc.get_objects()) == before
