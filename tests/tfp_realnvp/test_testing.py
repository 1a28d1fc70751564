"""The public checks pass on what is right and fail on what is wrong, one wrong thing at a time."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import AffineCoupling, mlp, real_nvp
from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_identity,
    assert_integrates_to_one,
    assert_kept_unchanged,
    assert_log_det_matches_autodiff,
    assert_round_trip,
    assert_samples_match_log_prob,
    randomize,
    tolerance,
)

MASK = np.array([True, False, False])
SIZES = (1.5, 0.5)


class TwoEntries(tfb.Bijector):
    """`y = x * (1.5, 0.5)` over two entries, with one thing wrong at a time."""

    def __init__(self, *, wrong="nothing", dtype=tf.float32):
        super().__init__(forward_min_event_ndims=1, dtype=None, name="two_entries")
        self.wrong = wrong
        self.size = tf.Variable(SIZES, dtype=dtype)
        hidden = tf.Variable(1.0, dtype=dtype)
        self.hidden = lambda: hidden  # tf.Module does not look into functions
        self.unused = tf.Variable(1.0, dtype=dtype) if wrong == "unused variable" else None

    def _used_size(self):
        return self.size * self.hidden() if self.wrong == "untracked variable" else self.size

    def _forward(self, x):
        y = x * self._used_size()
        if self.wrong == "dtype":
            return tf.cast(y, tf.float64)
        return y[..., :1] if self.wrong == "shape" else y

    def _inverse(self, y):
        if self.wrong == "no inverse":
            return y * float("nan")
        return y / self._used_size() * (1.01 if self.wrong == "inverse" else 1.0)

    def _log_det(self, x):
        return tf.ones_like(x[..., 0]) * tf.reduce_sum(tf.math.log(self._used_size()))

    def _forward_log_det_jacobian(self, x):
        return self._log_det(x) + {"log-det": 0.05, "both log-dets": 0.05}.get(self.wrong, 0.0)

    def _inverse_log_det_jacobian(self, y):
        return -self._log_det(y) - {"inverse log-det": 0.05, "both log-dets": 0.05}.get(self.wrong, 0.0)


def over_a_gaussian(bijector, size=2):
    return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), size), bijector)


def normal(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# What is right passes.


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: TwoEntries(dtype=dtype),
        lambda dtype: tfb.Chain([tfb.Softplus(), tfb.Scale(tf.constant(2.0, dtype))]),
        lambda dtype: tfb.ScaleMatvecTriL(tf.constant([[1.0, 0.0], [-3.0, 0.2]], dtype)),
        lambda dtype: tfb.Invert(tfb.SinhArcsinh(tf.constant(0.3, dtype), tf.constant(1.2, dtype))),
    ],
    ids=["own", "chain", "matrix", "invert"],
)
def test_right_bijectors_pass(make, dtype):
    x = np.abs(normal([10, 2], dtype.as_numpy_dtype)) + 0.5
    assert_round_trip(make(dtype), x)
    assert_log_det_matches_autodiff(make(dtype), x)


def test_right_densities_pass():
    for flow in (over_a_gaussian(TwoEntries()), tfd.MultivariateNormalTriL([1.0, 2.0], [[1.0, 0.0], [0.5, 2.0]])):
        assert_integrates_to_one(flow)
        assert_samples_match_log_prob(flow)


def test_right_gradients_kept_entries_and_identities_pass(make_coupling):
    coupling = make_coupling(MASK)
    assert_kept_unchanged(coupling, MASK, normal([4, 5, 3]))
    assert_gradients_reach_all_variables(over_a_gaussian(coupling, 3), normal([20, 3]))
    assert_identity(tfb.Identity(), normal([4, 3]))
    assert_identity(AffineCoupling(MASK, mlp(1, 2)), normal([4, 3]))


# What is wrong fails.


@pytest.mark.parametrize("wrong", ["inverse", "no inverse", "dtype", "shape"])
def test_a_wrong_inverse_dtype_or_shape_fails_the_round_trip(wrong):
    with pytest.raises(AssertionError, match=r"largest difference|became"):
        assert_round_trip(TwoEntries(wrong=wrong), normal([10, 2]))


@pytest.mark.parametrize("wrong", ["log-det", "inverse log-det", "both log-dets"])
def test_a_wrong_log_determinant_fails(wrong):
    with pytest.raises(AssertionError, match=r"log_det_jacobian.*largest difference 0\.05"):
        assert_log_det_matches_autodiff(TwoEntries(wrong=wrong), normal([10, 2]))


def test_a_coupling_that_forgets_the_clamp_in_its_log_determinant_fails(make_coupling):
    class Forgetful(AffineCoupling):
        def _forward_and_log_det(self, x):
            y, _ = super()._forward_and_log_det(x)
            parameters = tf.reshape(self.conditioner(self.mask.split(x)[0]), [-1, 2, 2])
            return y, tf.reduce_sum(parameters[..., 1], axis=-1)

    forgetful = Forgetful(MASK, make_coupling(MASK).conditioner, log_scale_clamp=0.5)
    assert_round_trip(forgetful, normal([10, 3]))
    with pytest.raises(AssertionError, match="forward_log_det_jacobian against autodiff"):
        assert_log_det_matches_autodiff(forgetful, normal([10, 3]))


def test_a_wrong_log_determinant_fails_the_integral_and_the_samples():
    flow = over_a_gaussian(TwoEntries(wrong="both log-dets"))
    with pytest.raises(AssertionError, match=r"integrates to 0\.951"):  # exp(-0.05)
        assert_integrates_to_one(flow)
    with pytest.raises(AssertionError, match=r"estimated over true volume 1\.0[45]"):  # exp(0.05), and sampling noise
        assert_samples_match_log_prob(flow)


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_a_density_that_does_not_integrate_to_one_fails(factor):
    class Scaled(tfd.MultivariateNormalDiag):
        def _log_prob(self, x):
            return super()._log_prob(x) + np.log(factor).astype(np.float32)

    with pytest.raises(AssertionError, match=rf"integrates to {factor}"):
        assert_integrates_to_one(Scaled([0.0, 0.0], [1.0, 1.0]))


def test_samples_of_another_density_fail():
    class Wider(tfd.Normal):
        def _sample_n(self, n, seed=None):
            return 1.1 * super()._sample_n(n, seed=seed)

    with pytest.raises(AssertionError, match="estimated over true volume"):
        assert_samples_match_log_prob(tfd.Sample(Wider(0.0, 1.0), 2))


def test_a_kept_entry_that_changes_in_its_last_bit_fails(make_coupling):
    class Touching(AffineCoupling):
        def _inverse_and_log_det(self, y):
            x, ildj = super()._inverse_and_log_det(y)
            return tf.math.nextafter(x, tf.fill(tf.shape(x), np.float32(np.inf))), ildj

    with pytest.raises(AssertionError, match="inverse: kept entries changed"):
        assert_kept_unchanged(Touching(MASK, make_coupling(MASK).conditioner), MASK, normal([5, 3]))


def test_a_moved_entry_that_does_not_move_fails(make_coupling):
    with pytest.raises(AssertionError, match="forward: some moved entries did not change"):
        assert_kept_unchanged(make_coupling([True, True, False]), MASK, normal([5, 3]))
    with pytest.raises(AssertionError, match="forward: kept entries changed"):
        assert_kept_unchanged(make_coupling(MASK), [True, True, False], normal([5, 3]))


@pytest.mark.parametrize("bijector", [tfb.Shift(0.001), tfb.Scale(1.001), tfb.Permute([1, 0])], ids=lambda b: b.name)
def test_what_is_not_the_identity_fails(bijector):
    with pytest.raises(AssertionError, match="largest difference"):
        assert_identity(bijector, normal([5, 2]))


def test_a_variable_without_a_gradient_fails():
    with pytest.raises(AssertionError, match="gets no gradient"):
        assert_gradients_reach_all_variables(over_a_gaussian(TwoEntries(wrong="unused variable")), normal([5, 2]))


def test_a_gradient_that_is_zero_or_not_finite_fails():
    # At the start the last layers are zero, and nothing passes through them.
    with pytest.raises(AssertionError, match="is zero or not finite"):
        assert_gradients_reach_all_variables(real_nvp(2, num_couplings=2, hidden_units=[4], seed=0), normal([5, 2]))
    with pytest.raises(AssertionError, match="is zero or not finite"):
        assert_gradients_reach_all_variables(over_a_gaussian(TwoEntries()), np.float32([[np.inf, 0.0]]))


def test_no_variables_at_all_fails():
    with pytest.raises(AssertionError, match="no trainable variables"):
        assert_gradients_reach_all_variables(over_a_gaussian(tfb.Exp()), normal([5, 2]))


def test_a_variable_that_is_used_but_not_tracked_fails():
    # It would stay untrained without a word, which is what this check is for.
    with pytest.raises(AssertionError, match="track"):
        assert_gradients_reach_all_variables(over_a_gaussian(TwoEntries(wrong="untracked variable")), normal([5, 2]))


# The helpers.


def test_tolerance_is_the_root_of_the_machine_epsilon():
    assert tolerance(tf.float32) == pytest.approx(3.45e-4, rel=1e-2)
    assert tolerance(np.float64) == pytest.approx(1.49e-8, rel=1e-2)


def test_randomize_fills_every_variable_and_repeats_itself():
    one, other = (real_nvp(3, num_couplings=2, hidden_units=[64], seed=0, dtype=tf.float64) for _ in range(2))
    randomize(one, seed=3)
    randomize(other, seed=3)
    for a, b in zip(one.trainable_variables, other.trainable_variables, strict=True):
        assert np.all(a != 0)
        np.testing.assert_array_equal(a, b)
    randomize(other, seed=4)
    for a, b in zip(one.trainable_variables, other.trainable_variables, strict=True):
        assert np.all(a != b)


def test_randomize_keeps_the_size_of_activations_whatever_the_width():
    # Entries of standard deviation scale / sqrt(inputs): 5 % is five standard errors of 64 * 200 samples.
    matrix, vector = tf.Variable(tf.zeros([200, 64])), tf.Variable(tf.zeros([20_000]))
    module = tf.Module()
    module.variables_of_mine = [matrix, vector]
    randomize(module, scale=2.0)
    assert np.std(matrix) == pytest.approx(2.0 / np.sqrt(200), rel=0.05)
    assert np.std(vector) == pytest.approx(2.0 / 4, rel=0.05)
