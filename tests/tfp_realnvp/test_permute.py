"""A permutation that is part of a checkpoint, with a gradient that is a gather."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import Permute, real_nvp
from tfp_realnvp.testing import assert_log_det_matches_autodiff, assert_round_trip

permutations = st.integers(1, 9).flatmap(lambda size: st.permutations(range(size)))


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@given(permutation=permutations, batch=st.sampled_from([(), (3,), (2, 3)]))
def test_it_is_tfp_s(permutation, batch):
    ours, theirs = Permute(permutation), tfb.Permute(permutation)
    x = numbers(*batch, len(permutation))
    np.testing.assert_array_equal(ours.forward(x), theirs.forward(x))
    np.testing.assert_array_equal(ours.inverse(x), theirs.inverse(x))
    np.testing.assert_array_equal(ours.forward(x), x[..., permutation])
    np.testing.assert_array_equal(ours.forward_log_det_jacobian(x, event_ndims=1), 0)


def test_it_passes_the_conformance_checks_on_vectors_and_on_channels():
    for x in (numbers(4, 3), numbers(4, 2, 2, 3)):
        assert_round_trip(Permute([2, 0, 1]), x)
        assert_log_det_matches_autodiff(Permute([2, 0, 1]), x)


@given(permutation=permutations)
def test_its_gradient_and_the_gradient_of_that_are_those_of_a_gather(permutation):
    x, weights = tf.constant(numbers(2, len(permutation))), numbers(2, len(permutation), seed=1)
    found = []
    for function in (Permute(permutation).forward, lambda x: tf.gather(x, permutation, axis=-1)):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = tf.reduce_sum(weights * function(tf.identity(x)) ** 3)
            gradient = tape.gradient(total, x)
            again = tf.reduce_sum(gradient * weights)
        found.append((gradient, outer.gradient(again, x)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_there_is_no_scatter_in_its_gradient():
    permute = Permute([2, 0, 1])

    @tf.function(autograph=False)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(permute.forward(x) ** 2)
        return tape.gradient(total, x)

    operations = {op.type for op in gradient.get_concrete_function(tf.TensorSpec([None, 3])).graph.get_operations()}
    assert not {name for name in operations if "Scatter" in name or "Segment" in name}


@pytest.mark.parametrize("wrap", [lambda part: part, lambda part: tfb.Chain([tfb.Shift(1.0), part])], ids=["", "chain"])
def test_a_checkpoint_of_other_indices_raises_and_of_the_same_does_not(tmp_path, wrap):
    path = tf.train.Checkpoint(part=wrap(Permute([2, 0, 1]))).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(part=wrap(Permute([2, 0, 1]))).read(path).assert_consumed()
    with pytest.raises(ValueError, match=r"another permutation, \[2, 0, 1\] instead of \[1, 2, 0\].*with the seed"):
        tf.train.Checkpoint(part=wrap(Permute([1, 2, 0]))).read(path)


def test_a_checkpoint_does_not_load_into_a_flow_of_another_seed(tmp_path):
    # With tfb.Permute it would, without a word, and be another flow.
    flows = [real_nvp(6, num_couplings=4, hidden_units=[], seed=seed) for seed in (0, 0, 1)]
    path = tf.train.Checkpoint(flow=flows[0]).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(flow=flows[1]).read(path).assert_consumed()
    with pytest.raises(ValueError, match="another permutation"):
        tf.train.Checkpoint(flow=flows[2]).read(path)


def test_it_may_be_copied_and_stand_in_a_sliced_distribution():
    assert Permute([1, 0]).copy(name="copy").name == "copy"
    base = tfd.MultivariateNormalDiag(np.zeros([4, 2], np.float32), np.ones(2, np.float32))
    flow = tfd.TransformedDistribution(base, Permute([1, 0]))
    assert flow[1:3].batch_shape == (2,)
    assert flow[1:3].sample().shape == (2, 2)


@pytest.mark.parametrize("permutation", [[0, 0], [1, 2], [[0, 1]], 0, [0.5, 1.0], [-1, 0]], ids=str)
def test_what_is_no_permutation_is_refused(permutation):
    with pytest.raises(ValueError, match="permutation must have each of 0, …, D - 1 once"):
        Permute(permutation)


def test_it_goes_into_and_out_of_functions():
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(np.zeros(3)), Permute([2, 0, 1]))
    x = numbers(4, 3)
    traced = tf.function(lambda distribution, rows: distribution.log_prob(rows), autograph=False)
    np.testing.assert_allclose(traced(flow, x), flow.log_prob(x))
    made = tf.function(lambda: Permute([2, 0, 1]), autograph=False)()
    np.testing.assert_array_equal(made.forward(x), x[:, [2, 0, 1]])


def test_rows_of_another_length_are_refused():
    for direction in ("forward", "inverse"):
        with pytest.raises(ValueError, match=r"the last axis must have size 3, got shape \(4, 4\)"):
            getattr(Permute([2, 0, 1]), direction)(numbers(4, 4))
