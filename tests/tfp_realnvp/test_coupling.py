"""Couplings against their formula, against autodiff, and against the traps of TFP's cache and tracking."""

import copy
import functools
import pickle

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.internal import cache_util

from tfp_realnvp import (
    AdditiveCoupling,
    AffineCoupling,
    Coupling,
    FeatureContext,
    Mask,
    SplineCoupling,
    checkerboard_mask,
    half_mask,
    mlp,
    to_config,
)
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
from tfp_realnvp.transforms import Additive, Affine, RationalQuadraticSpline, Transform

HEAD, TAIL, SCATTERED = [True, False, False], [False, False, True], [True, False, True, False, True]
MASKS = pytest.mark.parametrize("mask", [HEAD, TAIL, SCATTERED, [True, False], [False, True]], ids=str)
DTYPES = pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)

any_mask = st.lists(st.booleans(), min_size=2, max_size=7).filter(lambda kept: any(kept) and not all(kept))
any_dtype = st.sampled_from([tf.float32, tf.float64])
any_batch = st.sampled_from([(), (3,), (2, 3)])


def normal(shape, dtype=tf.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype.as_numpy_dtype)


# The map.


@pytest.mark.parametrize("clamp", [4.0, 0.5, None])
def test_both_directions_and_log_determinants_are_the_formula_of_the_docstring(clamp):
    weights, bias = normal([2, 4], tf.float64), normal([4], tf.float64, seed=1)
    coupling = AffineCoupling(
        [True, False, True, False],
        lambda kept: tf.split(tf.matmul(kept, weights) + bias, 2, axis=-1),
        dtype=tf.float64,
        log_scale_clamp=clamp,
    )
    x = normal([6, 4], tf.float64, seed=2)
    kept, moved = x[:, [0, 2]], x[:, [1, 3]]
    shift, log_scale = np.split(kept @ weights + bias, 2, axis=-1)
    if clamp is not None:
        log_scale = clamp * np.tanh(log_scale / clamp)
    y, inverse = x.copy(), x.copy()
    y[:, [1, 3]] = moved * np.exp(log_scale) + shift
    inverse[:, [1, 3]] = (moved - shift) * np.exp(-log_scale)
    log_det = log_scale.sum(axis=-1)
    # 1e-12: a few thousand machine epsilons of float64 for a dozen operations.
    np.testing.assert_allclose(coupling.forward(x), y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(coupling.inverse(x), inverse, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(coupling.forward_log_det_jacobian(x), log_det, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(coupling.inverse_log_det_jacobian(x), -log_det, rtol=1e-12, atol=1e-12)


@given(mask=any_mask, dtype=any_dtype, batch=any_batch, seed=st.integers(0, 1000))
def test_round_trip_and_kept_entries_for_any_mask_dtype_and_batch(make_coupling, mask, dtype, batch, seed):
    coupling = make_coupling(mask, dtype=dtype, seed=seed)
    x = normal([*batch, len(mask)], dtype, seed)
    assert_round_trip(coupling, x)
    assert_kept_unchanged(coupling, mask, x)


@MASKS
@DTYPES
def test_kept_entries_pass_to_the_bit_and_moved_ones_come_back(make_coupling, mask, dtype):
    coupling, kept = make_coupling(mask, dtype=dtype), np.array(mask)
    x = normal([50, len(mask)], dtype)
    for there, back in [(coupling.forward, coupling.inverse), (coupling.inverse, coupling.forward)]:
        y = there(tf.constant(x)).numpy()
        np.testing.assert_array_equal(y[:, kept], x[:, kept])
        assert (y[:, ~kept] != x[:, ~kept]).all()
        np.testing.assert_allclose(back(tf.constant(y)), x, rtol=tolerance(dtype), atol=tolerance(dtype))


@pytest.mark.parametrize("mask", [[True, False], HEAD, TAIL, SCATTERED], ids=str)
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)], ids=str)
@DTYPES
def test_log_determinants_are_those_of_the_autodiff_jacobian(make_coupling, jacobian, mask, batch, dtype):
    coupling, size = make_coupling(mask, dtype=dtype), len(mask)
    x = normal([*batch, size], dtype)
    for function, log_det in [
        (coupling.forward, coupling.forward_log_det_jacobian),
        (coupling.inverse, coupling.inverse_log_det_jacobian),
    ]:
        _, expected = np.linalg.slogdet(jacobian(function, x.reshape(-1, size)))
        actual = log_det(tf.constant(x), event_ndims=1)
        assert actual.shape == batch
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected.reshape(batch), rtol=tolerance(dtype), atol=tolerance(dtype))


@pytest.mark.parametrize("mask", [TAIL, SCATTERED], ids=str)
def test_the_public_check_of_log_determinants_passes(make_coupling, mask):
    assert_log_det_matches_autodiff(make_coupling(mask), normal([5, len(mask)]))


@given(mask=any_mask, dtype=any_dtype, batch=any_batch, seed=st.integers(0, 1000))
def test_the_inverse_log_determinant_is_minus_the_forward_one(make_coupling, mask, dtype, batch, seed):
    coupling = make_coupling(mask, dtype=dtype, seed=seed)
    x = normal([*batch, len(mask)], dtype, seed)
    fldj = coupling.forward_log_det_jacobian(tf.constant(x), event_ndims=1).numpy()
    assert np.all(fldj != 0)
    y = tf.constant(coupling.forward(tf.constant(x)).numpy())  # a fresh tensor, which the cache does not know
    np.testing.assert_allclose(
        coupling.inverse_log_det_jacobian(y, event_ndims=1), -fldj, rtol=tolerance(dtype), atol=tolerance(dtype)
    )


@MASKS
@DTYPES
def test_it_starts_as_the_identity(mask, dtype):
    kept = sum(mask)
    coupling = AffineCoupling(mask, mlp(kept, len(mask) - kept, dtype=dtype))
    assert_identity(coupling, normal([20, len(mask)], dtype))
    assert_identity(tfb.Invert(coupling), normal([20, len(mask)], dtype))


@MASKS
def test_every_variable_gets_a_gradient_from_likelihood_and_from_samples(make_coupling, make_flow, mask):
    flow = make_flow(make_coupling(mask), len(mask))
    assert_gradients_reach_all_variables(flow, normal([100, len(mask)]))
    # Variational inference needs the pathwise gradient through the samples as well.
    with tf.GradientTape() as tape:
        sample, log_prob = flow.experimental_sample_and_log_prob(100, seed=(0, 0))
        loss = tf.reduce_mean(log_prob - tf.reduce_sum(tf.cos(sample), axis=-1))
    for gradient in tape.gradient(loss, flow.trainable_variables):
        assert np.isfinite(gradient).all()
        assert np.any(gradient)


@pytest.mark.parametrize("inverted", [False, True])
def test_the_density_integrates_to_one(make_chain, make_flow, inverted):
    assert_integrates_to_one(make_flow(make_chain(2, 2, inverted=inverted), 2))


@MASKS
def test_samples_agree_with_log_prob(make_coupling, make_flow, mask):
    flow = make_flow(tfb.Chain([make_coupling(mask, seed=1), make_coupling(np.invert(mask), seed=2)]), len(mask))
    assert_samples_match_log_prob(flow)


@pytest.mark.parametrize("size", [1e3, 1e6])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_extreme_inputs_give_finite_values_and_gradients(make_coupling, size, direction):
    # A network of random weights gives log-scales of order `size` there; the clamp bounds each of the two.
    coupling = make_coupling(SCATTERED, hidden_units=())
    x = tf.constant(size * np.stack([np.ones(5), -np.ones(5), normal([5])]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = getattr(coupling, direction)(x)
        log_det = getattr(coupling, f"{direction}_log_det_jacobian")(x)
        total = tf.reduce_sum(y) + tf.reduce_sum(log_det)
    gradients = tape.gradient(total, [x, *coupling.trainable_variables])
    for value in (y, log_det, *gradients):
        assert np.isfinite(value).all()
    bound = 2 * coupling.log_scale_clamp
    assert bound / 4 < np.abs(log_det).max() <= bound * (1 + tolerance(tf.float32))


def test_without_a_clamp_the_log_scale_is_the_network_s(make_coupling):
    coupling = make_coupling([True, False], hidden_units=(), log_scale_clamp=None)
    x = tf.constant([[200.0, 0.0]])
    log_scale = coupling.conditioner(x[:, :1])[:, 1]
    assert np.abs(log_scale).max() > 2.0  # more than the usual clamp lets through
    np.testing.assert_array_equal(coupling.forward_log_det_jacobian(x), log_scale)
    assert coupling.log_scale_clamp is None


# One mechanism, many transforms.


class Arcsinh(Transform):
    """A transform of one's own: `y = sinh(arcsinh(x) + shift)`."""

    num_parameters = 1

    def forward(self, x, parameters):
        moved = tf.asinh(x) + parameters[..., 0]
        return tf.sinh(moved), tf.math.log(tf.cosh(moved)) - tf.math.log1p(x * x) / 2

    def inverse(self, y, parameters):
        return self.forward(y, -parameters)


KINDS = {
    "affine": (AffineCoupling, {}, 2),
    "additive": (AdditiveCoupling, {}, 1),
    "spline": (SplineCoupling, {"num_bins": 4, "bound": 3.0}, 11),
    "own": (Coupling, {"transform": Arcsinh()}, 1),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def make_kind(kind, mask, *, dtype=tf.float32, context=None, seed=0, wrap=lambda network: network):
    """A coupling of a kind with random weights."""
    cls, options, num_parameters = KINDS[kind]
    mask = mask if isinstance(mask, Mask) else Mask(mask)
    network = mlp(
        mask.num_kept,
        mask.num_moved,
        num_parameters,
        hidden_units=[8],
        activation="tanh",
        context=context,
        dtype=dtype,
        seed=seed,
    )
    coupling = cls(mask, wrap(network), **options)
    randomize(coupling, seed=seed, scale=1.0)
    return coupling


@each_kind
@DTYPES
@pytest.mark.parametrize("mask", [SCATTERED, checkerboard_mask([2, 3])], ids=["vector", "image"])
def test_each_kind_passes_the_conformance_checks(make_flow, kind, dtype, mask):
    coupling = make_kind(kind, mask, dtype=dtype)
    x = normal([10, *coupling.mask.event_shape], dtype)
    assert_round_trip(coupling, x)
    assert_log_det_matches_autodiff(coupling, x)
    assert_kept_unchanged(coupling, mask, x / 2)  # within a spline's bounds
    base = tfd.Sample(tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)), coupling.mask.event_shape)
    assert_gradients_reach_all_variables(tfd.TransformedDistribution(base, coupling), x)


@each_kind
def test_each_kind_starts_as_the_identity(kind):
    cls, options, num_parameters = KINDS[kind]
    assert_identity(cls(HEAD, mlp(1, 2, num_parameters), **options), normal([20, 3]))


@each_kind
def test_the_density_of_each_kind_integrates_to_one_and_samples_agree_with_it(make_flow, kind):
    flow = make_flow(tfb.Chain([make_kind(kind, [True, False], seed=1), make_kind(kind, [False, True], seed=2)]), 2)
    assert_integrates_to_one(flow)
    assert_samples_match_log_prob(flow)


# Without this file's own one, whose sinh has no bounds.
@pytest.mark.parametrize("kind", ["affine", "additive", "spline"])
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_each_kind_is_finite_at_extreme_inputs_in_value_and_gradient(kind, size):
    coupling = make_kind(kind, SCATTERED)
    x = tf.constant(size * np.stack([np.ones(5), -np.ones(5), normal([5])]), tf.float32)
    for direction in ("forward", "inverse"):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = getattr(coupling, direction)(x)
            log_det = getattr(coupling, f"{direction}_log_det_jacobian")(x)
            total = tf.reduce_sum(y) + tf.reduce_sum(log_det)
        for value in (y, log_det, *tape.gradient(total, [x, *coupling.trainable_variables])):
            assert np.isfinite(value).all()


def test_an_additive_coupling_preserves_volume():
    coupling = make_kind("additive", HEAD)
    np.testing.assert_array_equal(coupling.forward_log_det_jacobian(normal([5, 3])), np.zeros(5))
    assert coupling.transform == Additive()


def test_named_couplings_are_the_general_one_with_a_transform():
    network, x = mlp(1, 2, 11, hidden_units=[4]), normal([5, 3])
    spline = SplineCoupling(HEAD, network, num_bins=4, bound=3.0)
    randomize(spline)
    assert spline.transform == RationalQuadraticSpline(num_bins=4, bound=3.0)
    np.testing.assert_array_equal(spline.forward(x), Coupling(HEAD, network, spline.transform).forward(x))
    assert AffineCoupling(HEAD, mlp(1, 2), log_scale_clamp=3.0).transform == Affine(3.0)


@each_kind
@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "bound"])
@pytest.mark.parametrize("what", ["log_prob", "sample", "experimental_sample_and_log_prob"])
def test_the_network_of_each_kind_is_called_once(counting_network, make_flow, kind, conditional, what):
    context = FeatureContext(2) if conditional else None
    coupling = make_kind(kind, HEAD, context=context, wrap=counting_network)
    flow = make_flow(tfb.Chain([coupling.given(normal([5, 2])) if conditional else coupling]), 3)
    arguments = {"log_prob": [tf.constant(normal([5, 3]))]}.get(what, [() if conditional else 5, (0, 0)])
    coupling.conditioner.calls = 0
    getattr(flow, what)(*arguments)
    assert coupling.conditioner.calls == 1


# Networks of the user's own.


def _matrix(*shape, seed=0):
    return tf.constant(normal(shape, seed=seed) / 2)


def test_a_tensor_a_tensor_by_entry_and_a_tuple_say_the_same():
    shift, log_scale = _matrix(1, 2), _matrix(1, 2, seed=1)
    side_by_side = tf.reshape(tf.stack([shift, log_scale], axis=-1), [1, 4])
    x = normal([5, 3])
    expected = AffineCoupling(HEAD, lambda kept: (kept @ shift, kept @ log_scale)).forward(x)
    assert np.abs(expected - x)[:, 1:].min() > 1e-4
    for conditioner in (
        lambda kept: kept @ side_by_side,
        lambda kept: tf.reshape(kept @ side_by_side, [-1, 2, 2]),
        lambda kept: [kept @ shift, kept @ log_scale],
    ):
        np.testing.assert_allclose(AffineCoupling(HEAD, conditioner).forward(x), expected, rtol=1e-6, atol=1e-6)


def test_none_in_a_tuple_is_zero():
    # As tfb.RealNVP's networks say that there is no scale, or no shift.
    matrix, x = _matrix(1, 2), normal([5, 3])
    no_scale = AffineCoupling(HEAD, lambda kept: (kept @ matrix, None))
    np.testing.assert_array_equal(no_scale.forward_log_det_jacobian(x), np.zeros(5))
    np.testing.assert_allclose(no_scale.forward(x)[:, 1:], x[:, 1:] + x[:, :1] @ matrix, rtol=1e-6)
    no_shift = AffineCoupling(HEAD, lambda kept: (None, kept @ matrix), log_scale_clamp=None)
    np.testing.assert_allclose(no_shift.forward(x)[:, 1:], x[:, 1:] * np.exp(x[:, :1] @ matrix), rtol=1e-5)


@each_kind
@pytest.mark.parametrize(
    "built",
    [
        True,
        False,
    ],
    ids=["built", "built_by_the_first_call"],
)
def test_a_tf_keras_model_is_a_conditioner_and_is_trained(make_flow, kind, built):
    cls, options, num_parameters = KINDS[kind]
    layers = [tf_keras.layers.Dense(8, activation="tanh"), tf_keras.layers.Dense(2 * num_parameters)]
    network = tf_keras.Sequential(([tf_keras.Input([1])] if built else []) + layers)
    coupling = cls(HEAD, network, **options)
    randomize(coupling)
    assert len(coupling.trainable_variables) == 4
    assert_round_trip(coupling, normal([10, 3]))
    assert_gradients_reach_all_variables(make_flow(tfb.Chain([coupling]), 3), normal([10, 3]))


def test_a_function_written_for_tfb_real_nvp_works_as_it_is_and_gives_the_same():
    kernel = _matrix(1, 4)

    def shift_and_log_scale_fn(x, output_units, **kwargs):
        assert not kwargs
        return tf.split(x @ kernel[:, : 2 * output_units], 2, axis=-1)

    ours = AffineCoupling(HEAD, shift_and_log_scale_fn, log_scale_clamp=None)
    theirs = tfb.RealNVP(num_masked=1, shift_and_log_scale_fn=shift_and_log_scale_fn)
    x = tf.constant(normal([5, 3]))
    np.testing.assert_allclose(ours.forward(x), theirs.forward(x), rtol=1e-6)
    np.testing.assert_allclose(ours.inverse(x), theirs.inverse(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        ours.forward_log_det_jacobian(x), theirs.forward_log_det_jacobian(x, event_ndims=1), rtol=1e-6
    )


def test_a_conditional_function_takes_the_context_as_its_second_argument():
    matrix = _matrix(3, 4)

    def conditioner(kept, context):
        return tf.concat([kept, context], axis=-1) @ matrix

    coupling = AffineCoupling(HEAD, conditioner, context_shape=[2])
    x, context = normal([5, 3]), normal([5, 2], seed=1)
    inputs = np.concatenate([x[:, :1], context], axis=-1)
    parameters = (inputs @ matrix.numpy()).reshape(5, 2, 2)
    y = x[:, 1:] * np.exp(2.0 * np.tanh(parameters[..., 1] / 2.0)) + parameters[..., 0]
    np.testing.assert_allclose(coupling.given(context).forward(x)[:, 1:], y, rtol=1e-5, atol=1e-6)
    assert coupling.context_shape == (2,)


# Shapes, dtypes, compilation.


@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,), (0, 3), (2, 1, 3)], ids=str)
def test_batch_shapes_pass_through(make_coupling, batch):
    coupling = make_coupling(SCATTERED)
    x = normal([*batch, 5])
    assert coupling.forward(x).shape == coupling.inverse(x).shape == (*batch, 5)
    assert coupling.forward_log_det_jacobian(x).shape == coupling.inverse_log_det_jacobian(x).shape == batch


def test_rows_do_not_see_each_other(make_coupling):
    coupling = make_coupling(SCATTERED)
    x = normal([2, 3, 5])
    together, log_det = coupling.forward(x).numpy(), coupling.forward_log_det_jacobian(x).numpy()
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(coupling.forward(x[index]), together[index], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(coupling.forward_log_det_jacobian(x[index]), log_det[index], rtol=1e-5, atol=1e-6)


def test_log_determinants_add_up_over_more_event_dimensions(make_coupling):
    coupling = make_coupling(HEAD)
    x = normal([4, 2, 3])
    np.testing.assert_allclose(
        coupling.forward_log_det_jacobian(x, event_ndims=2),
        coupling.forward_log_det_jacobian(x).numpy().sum(axis=-1),
        rtol=1e-5,  # float32, the order of two additions
    )


def test_batch_size_may_be_unknown_when_the_graph_is_built(make_coupling):
    coupling = make_coupling(SCATTERED)
    for batch in [(None,), (None, None)]:
        traced = tf.function(
            lambda x: (coupling.forward(x), coupling.forward_log_det_jacobian(x)),
            input_signature=[tf.TensorSpec([*batch, 5])],
            autograph=False,
        )
        x = normal([3] * len(batch) + [5])
        y, log_det = traced(x)
        np.testing.assert_allclose(y, coupling.forward(x), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(log_det, coupling.forward_log_det_jacobian(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
@DTYPES
def test_compiled_equals_eager(make_chain, make_flow, jit_compile, dtype):
    flow = make_flow(make_chain(3, 2, dtype=dtype), 3, dtype)
    x = normal([10, 3], dtype)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def compiled(x):
        return flow.log_prob(x), flow.bijector.forward(x)

    for actual, expected in zip(compiled(x), (flow.log_prob(x), flow.bijector.forward(x)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance(dtype), atol=tolerance(dtype))
        assert actual.dtype == dtype


def test_training_steps_do_not_retrace(make_chain, make_flow):
    flow = make_flow(make_chain(3, 2), 3)
    traces = []

    @tf.function(autograph=False)
    def train(x):
        traces.append(x)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flow.log_prob(x))
        variables = flow.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(0.01 * gradient)
        return loss

    x = tf.constant(normal([64, 3]))
    losses = [float(train(x)) for _ in range(5)]
    assert len(traces) == 1
    assert losses == sorted(losses, reverse=True)  # the steps are real: plain gradient descent goes down


@DTYPES
def test_dtype_comes_from_the_conditioner_and_goes_from_input_to_output(make_coupling, dtype):
    coupling = make_coupling(HEAD, dtype=dtype)
    assert coupling.dtype == dtype
    for batch in [(), (2,), (2, 3)]:
        x = tf.ones([*batch, 3], dtype)
        for method in ("forward", "inverse", "forward_log_det_jacobian", "inverse_log_det_jacobian"):
            assert getattr(coupling, method)(x).dtype == dtype


@DTYPES
def test_a_tensor_of_another_dtype_is_refused(make_coupling, dtype):
    coupling = make_coupling(HEAD, dtype=dtype)
    other = {tf.float32: tf.float64, tf.float64: tf.float32}[dtype]
    for method in ("forward", "inverse", "forward_log_det_jacobian", "inverse_log_det_jacobian"):
        with pytest.raises((TypeError, ValueError), match=f"{dtype.name}.*{other.name}"):
            getattr(coupling, method)(tf.ones([2, 3], other))


@DTYPES
def test_a_conditioner_may_compute_in_another_dtype_than_the_event(dtype):
    # The kept entries pass by the network, so both directions see the same parameters, whatever these are rounded to.
    other = {tf.float32: tf.float64, tf.float64: tf.float32}[dtype]
    coupling = AffineCoupling(HEAD, mlp(1, 2, hidden_units=[4], dtype=other), dtype=dtype)
    randomize(coupling)
    x = normal([20, 3], dtype)
    assert coupling.dtype == dtype
    assert_round_trip(coupling, x)
    assert_kept_unchanged(coupling, HEAD, x)


@DTYPES
def test_a_function_that_returns_another_dtype_is_refused_at_construction(dtype):
    other = {tf.float32: tf.float64, tf.float64: tf.float32}[dtype]
    with pytest.raises(TypeError, match=f"parameters of dtype {other.name}; expected {dtype.name}"):
        AffineCoupling(HEAD, lambda kept: tf.zeros([tf.shape(kept)[0], 4], other), dtype=dtype)


def test_a_network_that_is_not_built_yet_gives_its_dtype_too():
    network = tf_keras.layers.Dense(4, dtype="float32")

    class Conditioner(tf.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def __call__(self, kept):
            return tf.split(self.network(kept), 2, axis=-1)

    assert AffineCoupling(HEAD, Conditioner()).dtype == tf.float32


def test_a_plain_function_of_another_dtype_is_refused_with_the_dtype_it_was_tried_with():
    # Its variables are not known before it is called, so `dtype` must be given, and the message must say so.
    weights = tf.Variable(tf.ones([1, 2], tf.float64))
    with pytest.raises((TypeError, ValueError), match="float32"):
        AffineCoupling(HEAD, lambda kept: (tf.matmul(kept, weights), tf.matmul(kept, weights)))
    coupling = AffineCoupling(HEAD, lambda kept: (kept * weights, kept * weights), dtype=tf.float64)
    assert coupling.forward(tf.ones([2, 3], tf.float64)).dtype == tf.float64


def test_without_variables_any_float_dtype_goes_through():
    coupling = AffineCoupling([True, False], lambda kept: (kept, kept))
    assert coupling.dtype is None
    for dtype in (tf.float32, tf.float64):
        assert coupling.forward(tf.ones([2, 2], dtype)).dtype == dtype


# One network call.


def _calls(chain, function):
    """How often `function()` calls the conditioner of each coupling."""
    # Not isinstance(part, tfb.Invert): TFP makes a plain twin of that class for bijectors like these.
    couplings = [getattr(part, "bijector", part) for part in chain.bijectors]
    networks = [coupling.conditioner for coupling in couplings if isinstance(coupling, AffineCoupling)]
    for network in networks:
        network.calls = 0
    function()
    return [network.calls for network in networks]


@pytest.mark.parametrize("inverted", [False, True], ids=["chain", "chain_of_invert"])
@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("what", ["log_prob", "sample", "experimental_sample_and_log_prob", "forward", "inverse"])
def test_each_network_is_called_once(make_chain, make_flow, inverted, mode, what):
    chain = make_chain(3, 3, inverted=inverted, counting=True)
    flow = make_flow(chain, 3)
    x = tf.constant(normal([5, 3]))
    function = {
        "log_prob": lambda: flow.log_prob(x),
        "sample": lambda: flow.sample(5, seed=(0, 0)),
        "experimental_sample_and_log_prob": lambda: flow.experimental_sample_and_log_prob(5, seed=(0, 0)),
        "forward": lambda: chain.forward(x),
        "inverse": lambda: chain.inverse(x),
    }[what]
    if mode == "function":
        # Tracing calls the network's Python as often as the graph will hold the network.
        function = tf.function(function, autograph=False).get_concrete_function
    assert _calls(chain, function) == [1, 1, 1]
    if mode == "eager":  # what the first call left in the cache must not spare or cost the second one a call
        assert _calls(chain, function) == [1, 1, 1]


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_value_and_log_determinant_of_a_coupling_come_out_of_one_call(make_coupling, direction):
    chain = tfb.Chain([make_coupling(HEAD, counting=True)])
    (coupling,) = chain.bijectors
    x = tf.constant(normal([5, 3]))

    def both():
        value = getattr(coupling, direction)(x)
        return value, getattr(coupling, f"{direction}_log_det_jacobian")(x)

    assert _calls(chain, both) == [1]


@pytest.mark.parametrize("what", ["forward_log_det_jacobian", "inverse_log_det_jacobian"])
def test_the_log_determinant_of_a_chain_calls_each_network_once_in_a_graph(make_chain, what):
    chain = make_chain(3, 3, counting=True)
    x = tf.constant(normal([5, 3]))
    traced = tf.function(lambda: getattr(chain, what)(x, event_ndims=1), autograph=False)
    assert _calls(chain, traced.get_concrete_function) == [1, 1, 1]


# Variables.


@pytest.mark.parametrize(
    "wrap",
    [
        lambda coupling: coupling,
        tfb.Invert,
        lambda coupling: tfb.Chain([coupling]),
        lambda coupling: tfb.Chain([tfb.Permute([2, 1, 0]), tfb.Invert(coupling), tfb.Shift(1.0)]),
        lambda coupling: tfb.Chain([tfb.Chain([tfb.Invert(tfb.Chain([coupling]))])]),
    ],
    ids=["coupling", "invert", "chain", "chain_of_invert", "nested"],
)
@pytest.mark.parametrize("kind", ["mlp", "closure"])
def test_variables_are_tracked_through_compositions_and_distributions(make_flow, wrap, kind):
    network = mlp(1, 2, hidden_units=[4])
    expected = {v.ref() for v in network.trainable_variables}
    bijector = wrap(AffineCoupling(HEAD, network if kind == "mlp" else lambda kept: network(kept)))
    for module in (bijector, make_flow(bijector, 3), tfd.Independent(make_flow(bijector, 3))):
        assert len(module.trainable_variables) == 4  # each once
        assert {v.ref() for v in module.trainable_variables} == expected


def _in_a_closure(network):
    return lambda kept: tf.split(network(kept), 2, axis=-1)


def _in_a_partial(network):
    return functools.partial(lambda network, kept: tf.split(network(kept), 2, axis=-1), network)


def _in_a_default(network):
    def conditioner(kept, network=network):
        return tf.split(network(kept), 2, axis=-1)

    return conditioner


def _in_a_plain_object(network):
    class Conditioner:
        def __call__(self, kept):
            return tf.split(network(kept), 2, axis=-1)

    return Conditioner()


def _in_a_nested_closure(network):
    inner = _in_a_closure(network)
    return lambda kept: inner(kept)


def _in_a_module(network):
    class Conditioner(tf.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def __call__(self, kept):
            return tf.split(self.network(kept), 2, axis=-1)

    return Conditioner()


def _in_a_list_of_a_module(network):
    class Conditioner(tf.Module):
        def __init__(self):
            super().__init__()
            self.networks = [network]

        def __call__(self, kept):
            return tf.split(self.networks[0](kept), 2, axis=-1)

    return Conditioner()


def _in_a_dict_of_a_module(network):
    class Conditioner(tf.Module):
        def __init__(self):
            super().__init__()
            self.networks = {"first": network}

        def __call__(self, kept):
            return tf.split(self.networks["first"](kept), 2, axis=-1)

    return Conditioner()


def _in_a_module_of_a_module(network):
    class Conditioner(tf.Module):
        def __init__(self):
            super().__init__()
            self.inner = _in_a_module(network)

        def __call__(self, kept):
            return self.inner(kept)

    return Conditioner()


def _as_a_bound_method(network):
    return _in_a_module(network).__call__


WRAPPERS = [
    _in_a_closure,
    _in_a_partial,
    _in_a_default,
    _in_a_plain_object,
    _in_a_nested_closure,
    _in_a_module,
    _in_a_list_of_a_module,
    _in_a_dict_of_a_module,
    _in_a_module_of_a_module,
    _as_a_bound_method,
]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("built", [True, False], ids=["built", "built_by_the_first_call"])
def test_a_tf_keras_network_is_tracked_wherever_it_hides(make_flow, wrap, built):
    network = tf_keras.layers.Dense(4)
    if built:
        network.build([None, 1])
    flow = make_flow(tfb.Chain([AffineCoupling(HEAD, wrap(network))]), 3)
    assert {v.ref() for v in flow.trainable_variables} == {v.ref() for v in network.trainable_variables}
    assert len(flow.trainable_variables) == 2
    assert_gradients_reach_all_variables(flow, normal([20, 3]))


def test_variables_of_a_module_are_not_tracked_a_second_time(make_coupling):
    coupling = make_coupling(HEAD)
    assert len(coupling.trainable_variables) == len({v.ref() for v in coupling.trainable_variables}) == 4


# The cache of TFP: keyed by input tensor and bijector, shared by all.


def _fresh(tensor):
    return tf.constant(tensor.numpy())


@pytest.mark.parametrize("what", ["forward_log_det_jacobian", "inverse_log_det_jacobian"])
@pytest.mark.parametrize("value_first", [False, True])
def test_a_coupling_has_no_stale_log_determinant_after_a_step(make_coupling, step, what, value_first):
    coupling = make_coupling(HEAD)
    x = tf.constant(normal([5, 3]))
    log_det = getattr(coupling, what)
    if value_first:
        getattr(coupling, what.split("_")[0])(x)
    before = log_det(x)
    step(coupling)
    after = log_det(x)
    assert np.abs(after - before).min() > 0.01
    np.testing.assert_array_equal(after, log_det(_fresh(x)))


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize(
    "what",
    [
        lambda flow, y: flow.log_prob(y),
        lambda flow, y: flow.bijector.inverse_log_det_jacobian(y, event_ndims=1),
        lambda flow, y: flow.bijector.forward_log_det_jacobian(y, event_ndims=1),
        lambda flow, y: flow.bijector.inverse(y),
    ],
    ids=["log_prob", "ildj", "fldj", "inverse"],
)
def test_a_flow_has_no_stale_value_after_a_step(make_chain, make_flow, step, inverted, what):
    flow = make_flow(make_chain(3, 2, inverted=inverted), 3)  # a coupling, not a Permute, is at index 0
    y = tf.constant(normal([5, 3]))
    before = what(flow, y).numpy()
    step(flow)
    after = what(flow, y).numpy()
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_array_equal(after, what(flow, _fresh(y)))


@pytest.mark.parametrize(
    "what",
    [
        lambda flow, y: flow.log_prob(y),
        lambda flow, y: flow.bijector.bijectors[0].inverse_log_det_jacobian(y),
        lambda flow, y: flow.bijector.bijectors[0].forward_log_det_jacobian(y),
    ],
    ids=["log_prob", "ildj", "fldj"],
)
def test_the_gradient_is_whole_on_a_tensor_that_was_seen_before(make_chain, make_flow, what):
    flow = make_flow(make_chain(3, 2), 3)
    variables = flow.bijector.bijectors[0].trainable_variables
    y = tf.constant(normal([5, 3]))
    gradients = []
    what(flow, y)  # leaves what it found in the cache
    for tensor in (y, _fresh(y)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(what(flow, tensor))
        gradients.append(tape.gradient(loss, variables, unconnected_gradients="zero"))
    assert any(np.any(gradient) for gradient in gradients[1])
    for seen, fresh in zip(*gradients, strict=True):
        np.testing.assert_array_equal(seen, fresh)


def test_training_on_one_eager_tensor_equals_training_on_copies_of_it(make_chain, make_flow):
    x = tf.constant(normal([20, 3]))
    finals = []
    for give in (lambda: x, lambda: _fresh(x)):
        flow = make_flow(make_chain(3, 2), 3)
        for _ in range(4):
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(flow.log_prob(give()))
            for variable, gradient in zip(
                flow.trainable_variables, tape.gradient(loss, flow.trainable_variables), strict=True
            ):
                variable.assign_sub(0.05 * gradient)
        finals.append([v.numpy() for v in flow.trainable_variables])
    for a, b in zip(*finals, strict=True):
        np.testing.assert_array_equal(a, b)


def test_equal_hyper_parameters_do_not_share_results():
    # TFP's cache is one for all bijectors that compare equal, by their constructor's arguments.
    mask = half_mask(3)
    couplings = [AffineCoupling(mask, mlp(1, 2, hidden_units=[4], seed=0)) for _ in range(2)]
    for seed, coupling in enumerate(couplings):
        randomize(coupling, seed=seed)
    y = tf.constant(normal([5, 3]))
    held = [(coupling.inverse(y), coupling.inverse_log_det_jacobian(y)) for coupling in couplings]
    assert np.abs(held[0][1] - held[1][1]).min() > 1e-3
    for coupling, (x, ildj) in zip(couplings, held, strict=True):
        np.testing.assert_array_equal(x, coupling.inverse(_fresh(y)))
        np.testing.assert_array_equal(ildj, coupling.inverse_log_det_jacobian(_fresh(y)))


def test_two_couplings_of_one_network_do_not_share_results(make_coupling):
    coupling = make_coupling(HEAD)
    clamped = coupling.copy(log_scale_clamp=0.01)
    y = tf.constant(normal([5, 3]))
    held = coupling.inverse(y), clamped.inverse(y)
    assert np.abs(held[0] - held[1]).max() > 0.01
    np.testing.assert_array_equal(held[1], clamped.inverse(_fresh(y)))


def test_a_new_coupling_does_not_inherit_from_a_dead_one(make_coupling):
    # Identity is the key of the cache, and Python gives addresses again.
    y = tf.constant(normal([5, 3]))
    for seed in range(10):
        coupling = make_coupling(HEAD, seed=seed, hidden_units=())
        np.testing.assert_array_equal(
            coupling.inverse_log_det_jacobian(y), coupling.inverse_log_det_jacobian(_fresh(y))
        )
        del coupling


def test_the_cache_keeps_nothing_for_tensors_that_are_gone(make_chain, make_flow):
    flow = make_flow(make_chain(3, 2), 3)
    size = len(AffineCoupling._cache.storage)
    y = tf.constant(normal([5, 3]))
    log_prob = flow.log_prob(y)
    sample = flow.sample(3)
    assert len(AffineCoupling._cache.storage) > size
    del y, log_prob, sample
    assert len(AffineCoupling._cache.storage) == size


def test_the_internal_cache_of_tfp_is_the_one_this_was_written_for():
    # It is not part of TFP's interface: on another version, read internal/cache_util.py and E4, E5 again.
    assert tfp.__version__.startswith("0.25.")
    assert isinstance(AffineCoupling._cache, cache_util.BijectorCacheWithGreedyAttrs)
    assert cache_util._DirectedFunctionInvocation._fields == ("input_ref", "output_ref", "attributes", "dependencies")


def test_the_stock_cache_is_stale_so_ours_is_still_needed(make_coupling, step):
    class StockCoupling(AffineCoupling):
        _cache = cache_util.BijectorCacheWithGreedyAttrs(
            forward_name="_augmented_forward", inverse_name="_augmented_inverse"
        )

    ours = make_coupling(HEAD)
    stock = StockCoupling(HEAD, ours.conditioner)
    y = tf.constant(normal([5, 3]))
    before = stock.inverse_log_det_jacobian(y)
    step(stock)
    np.testing.assert_array_equal(stock.inverse_log_det_jacobian(y), before)
    assert np.abs(ours.inverse_log_det_jacobian(y) - before).min() > 0.01


# Equality and copies.


def test_a_coupling_is_equal_to_itself_alone():
    mask, network = Mask(HEAD), mlp(1, 2)
    one, other = AffineCoupling(mask, network), AffineCoupling(mask, network)
    assert one == one
    assert one != other
    assert one != one.copy()
    assert hash(one) != hash(other)
    assert tfb.Chain([one]) != tfb.Chain([other])


def test_a_copy_shares_the_network_and_the_mask(make_coupling, step):
    coupling = make_coupling(SCATTERED, name="original")
    copy = coupling.copy(name="copy")
    assert (coupling.name, copy.name) == ("original", "copy")
    assert copy.conditioner is coupling.conditioner
    np.testing.assert_array_equal(np.asarray(copy.mask), SCATTERED)
    step(coupling)
    x = normal([5, 5])
    np.testing.assert_array_equal(copy.forward(x), coupling.forward(x))


def test_a_copied_flow_shares_the_network(make_chain, make_flow, step):
    flow = make_flow(make_chain(3, 2), 3)
    copy = flow.copy(name="copy")
    step(flow)
    x = normal([5, 3])
    np.testing.assert_array_equal(copy.log_prob(x), flow.log_prob(x))
    assert {v.ref() for v in copy.trainable_variables} == {v.ref() for v in flow.trainable_variables}


# What is refused.


def _constant(num_shift, num_log_scale):
    return lambda kept: (tf.zeros([tf.shape(kept)[0], num_shift]), tf.zeros([tf.shape(kept)[0], num_log_scale]))


EXPECTED = (
    r"expected 2 for each of the 2 of 3 entries that the mask moves: a tensor \[2, 4\] or a tuple of 2 tensors \[2, 2\]"
)


@pytest.mark.parametrize(
    ("mask", "conditioner", "error", "message"),
    [
        ([True], _constant(1, 1), ValueError, "mask is True everywhere"),
        ([True, True], _constant(1, 1), ValueError, "mask is True everywhere"),
        ([False, False], _constant(2, 2), ValueError, "mask keeps none of 2 entries.*unless it has a context"),
        ([False], _constant(1, 1), ValueError, "single entry use an elementwise bijector"),
        ([1, 0], _constant(1, 1), TypeError, "mask must be boolean"),
        (HEAD, _constant(1, 2), ValueError, rf"returned parameters of shape .*\[2, 1\].*\[2, 2\].*{EXPECTED}"),
        (HEAD, _constant(2, 1), ValueError, EXPECTED),
        (HEAD, _constant(3, 3), ValueError, EXPECTED),
        (HEAD, lambda _: (tf.zeros([2]), tf.zeros([2])), ValueError, EXPECTED),
        (HEAD, lambda _: ([[0.0, 0.0]], [[0.0, 0.0]]), TypeError, rf"returned tuple \(\[\[0.0.*{EXPECTED}"),
        (HEAD, lambda _: tf.zeros([1, 4]), ValueError, rf"shape \(1, 4\); {EXPECTED}"),
        (HEAD, lambda _: tf.zeros([2, 2]), ValueError, rf"shape \(2, 2\); {EXPECTED}"),
        (HEAD, lambda _: tf.zeros([2, 2, 3]), ValueError, rf"shape \(2, 2, 3\); {EXPECTED}"),
        (HEAD, lambda kept: (kept, kept, kept), ValueError, EXPECTED),
        (HEAD, lambda _: (None, None), ValueError, EXPECTED),
        (HEAD, lambda _: (), ValueError, EXPECTED),
        (HEAD, lambda _: None, TypeError, rf"returned NoneType None; {EXPECTED}"),
        (HEAD, lambda: None, TypeError, r"conditioner failed on kept entries of shape \[2, 1\] and dtype float32"),
        (HEAD, lambda kept: tf.matmul(kept, kept), ValueError, r"conditioner failed on kept entries of shape \[2, 1\]"),
        (HEAD, lambda _: tf.zeros([2, 4], tf.int32), TypeError, "parameters of dtype int32; expected float32"),
        (HEAD, 3.0, TypeError, "conditioner must be callable, got float"),
        (HEAD, None, TypeError, "conditioner must be callable, got NoneType"),
    ],
)
def test_constructor_errors_say_what_is_wrong(mask, conditioner, error, message):
    with pytest.raises(error, match=message):
        AffineCoupling(mask, conditioner)


def test_a_conditioner_that_ignores_the_batch_is_refused():
    # Its log-determinant would have shape [1] whatever the batch.
    with pytest.raises(ValueError, match="shape"):
        AffineCoupling(HEAD, lambda _: (tf.zeros([1, 2]), tf.ones([1, 2])))


@pytest.mark.parametrize("clamp", [0, -1.0, float("nan")])
def test_a_clamp_that_is_not_positive_is_refused(clamp):
    with pytest.raises(ValueError, match=f"log_scale_clamp must be positive or None, got {clamp}"):
        AffineCoupling([True, False], _constant(1, 1), log_scale_clamp=clamp)


@pytest.mark.parametrize("shape", [(2,), (4,), (5, 4), (3, 1)], ids=str)
@pytest.mark.parametrize("what", ["forward", "inverse", "forward_log_det_jacobian", "inverse_log_det_jacobian"])
def test_an_event_of_another_size_is_refused_with_both_sizes(make_coupling, shape, what):
    coupling = make_coupling(HEAD, name="third")
    with pytest.raises(ValueError, match=r"third: expected events of shape \[\.\.\., 3\], got \(" + str(shape)[1:-1]):
        getattr(coupling, what)(np.ones(shape, np.float32))


def test_an_event_size_unknown_when_the_graph_is_built_is_refused(make_coupling):
    coupling = make_coupling(HEAD)
    traced = tf.function(coupling.forward, input_signature=[tf.TensorSpec([None, None])], autograph=False)
    with pytest.raises(ValueError, match="must be known when the graph is built"):
        traced(np.ones([2, 3], np.float32))


@pytest.mark.parametrize("wrap", [lambda network: network, _in_a_closure, _in_a_module, _in_a_list_of_a_module])
@pytest.mark.parametrize("kind", ["Dense", "Sequential"])
def test_a_keras_3_network_is_refused_with_what_to_do(wrap, kind):
    import keras

    assert keras.__version__.startswith("3.")
    network = keras.layers.Dense(4)
    with pytest.raises(TypeError, match=f"{kind} is a Keras 3 object.*untrained.*tf_keras"):
        AffineCoupling(HEAD, wrap(network if kind == "Dense" else keras.Sequential([network])))


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_keras_3_network_is_never_silently_untrained(make_flow, wrap):
    import keras

    network = keras.layers.Dense(4)
    network.build((None, 1))
    try:
        coupling = AffineCoupling(HEAD, wrap(network))
    except TypeError:
        return
    flow = make_flow(tfb.Chain([coupling]), 3)
    assert len(flow.trainable_variables) == len(network.trainable_variables) == 2
    assert_gradients_reach_all_variables(flow, normal([20, 3]))


def test_tfps_default_template_is_a_conditioner_and_is_trained():
    """As it is, without `output_units`; `tfb.RealNVP` does not track its variables."""
    coupling = AffineCoupling([True, False, False], tfb.real_nvp_default_template([8], activation=tf.nn.relu))
    assert len(coupling.trainable_variables) == 4
    x = np.random.default_rng(0).normal(size=[5, 3]).astype(np.float32)
    randomize(coupling)
    assert_round_trip(coupling, x)
    assert_log_det_matches_autodiff(coupling, x)


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_twin_that_would_share_the_cache_is_refused(twin):
    chain = tfb.Chain([AffineCoupling(half_mask(2), mlp(1, 1))])
    for part in (chain.bijectors[0], chain)[: 1 if twin is copy.copy else 2]:
        with pytest.raises(TypeError, match=r"can neither be pickled nor copied .* tfr.from_config"):
            twin(part)


def test_a_mask_that_is_changed_in_place_leaves_the_coupling_as_it_is():
    mask = np.array([True, False, False])
    coupling = AffineCoupling(mask, mlp(1, 2, hidden_units=[4], seed=0))
    config, _ = to_config(coupling)
    mask[:] = [False, False, True]
    assert to_config(coupling)[0] == config
    assert coupling.copy().mask.kept.tolist() == [True, False, False]
