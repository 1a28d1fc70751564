"""What couplings do to an entry: monotone, invertible, the identity at zero, with the right derivative."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.testing import tolerance
from tfp_realnvp.transforms import Additive, Affine, RationalQuadraticSpline

TRANSFORMS = [
    Additive(),
    Affine(),
    Affine(log_scale_clamp=0.5),
    Affine(log_scale_clamp=None),
    RationalQuadraticSpline(),
    RationalQuadraticSpline(num_bins=2, bound=1.0),
    RationalQuadraticSpline(num_bins=5, bound=3.0, min_bin_fraction=0.1, min_slope=0.2),
]
each_transform = pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def draw(transform, shape=(200,), *, seed=0, scale=1.0, dtype=np.float64):
    """Entries, some of them beyond a spline's bounds, and parameters of that size for each."""
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=3.0, size=shape)
    parameters = rng.normal(scale=scale, size=(*shape, transform.num_parameters))
    return tf.constant(x, dtype), tf.constant(parameters, dtype)


def derivative(function, x, parameters):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, _ = function(x, parameters)
    return tape.gradient(y, x).numpy()


@each_transform
@DTYPES
def test_inverse_and_forward_undo_each_other(transform, dtype):
    x, parameters = draw(transform, dtype=dtype)
    for there, back in [(transform.forward, transform.inverse), (transform.inverse, transform.forward)]:
        y, log_derivative = there(x, parameters)
        x_again, opposite = back(y, parameters)
        assert y.dtype == log_derivative.dtype == dtype
        assert np.abs(y - x).min() > 0 or np.abs(x).max() > getattr(transform, "bound", np.inf)
        # y is rounded, and that is multiplied by the slope on the way back, in the thousands for a few bins of these
        # splines; twenty epsilons for the dozen operations on either way.
        allowed = 20 * np.finfo(dtype).eps * (1 + np.abs(x) + np.abs(y)) * (1 + np.exp(-log_derivative))
        assert (np.abs(x_again - x) <= allowed).all()
        np.testing.assert_allclose(opposite, -log_derivative, rtol=0, atol=30 * tolerance(dtype))


@each_transform
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_log_derivatives_are_those_of_autodiff(transform, direction):
    x, parameters = draw(transform)
    function = getattr(transform, direction)
    _, log_derivative = function(x, parameters)
    # Both are float64, which leaves an error of some hundred epsilons in either.
    np.testing.assert_allclose(
        log_derivative, np.log(derivative(function, x, parameters)), rtol=0, atol=tolerance(np.float64)
    )


@each_transform
@DTYPES
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_parameters_of_zero_are_the_identity(transform, dtype, direction):
    x, parameters = draw(transform, dtype=dtype)
    y, log_derivative = getattr(transform, direction)(x, tf.zeros_like(parameters))
    # A spline adds the sizes of its bins up: some ten epsilons of its bound.
    accuracy = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(y, x, rtol=accuracy, atol=accuracy)
    np.testing.assert_allclose(log_derivative, tf.zeros_like(x), atol=accuracy)


@each_transform
def test_it_is_increasing_whatever_the_parameters(transform):
    x = tf.constant(np.broadcast_to(np.linspace(-6, 6, 2001), [5, 2001]))
    parameters = tf.repeat(draw(transform, [5, 1], scale=3.0)[1], 2001, axis=1)
    for function in (transform.forward, transform.inverse):
        y, _ = function(x, parameters)
        assert (np.diff(y, axis=-1) > 0).all()


@each_transform
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradients_by_entries_and_parameters_are_finite_and_reach_them(transform, direction):
    x, parameters = draw(transform)
    with tf.GradientTape() as tape:
        tape.watch([x, parameters])
        y, log_derivative = getattr(transform, direction)(x, parameters)
        total = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(log_derivative)
    for gradient in tape.gradient(total, [x, parameters]):
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).sum(axis=0) > 0).all()


@each_transform
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_are_the_slopes_of_what_they_are_gradients_of(transform, direction, order):
    # A spline's gradient is written out by hand; two differences of the function itself know nothing of that.
    x, parameters = draw(transform, shape=(60,), seed=3)
    rng = np.random.default_rng(4)
    directions = [tf.constant(rng.normal(size=of.shape)) for of in (x, parameters)]
    weights = tf.constant(rng.normal(size=(2, *x.shape)))
    function = getattr(transform, direction)

    def value(x, parameters):
        y, log_derivative = function(x, parameters)
        return weights[0] * tf.sin(y) + weights[1] * log_derivative

    def slope(value, x, parameters):
        """Of each entry's value along the directions; entries do not depend on each other."""
        with tf.GradientTape() as tape:
            tape.watch([x, parameters])
            total = tf.reduce_sum(value(x, parameters))
        by_x, by_parameters = tape.gradient(total, [x, parameters], unconnected_gradients="zero")
        return by_x * directions[0] + tf.reduce_sum(by_parameters * directions[1], axis=-1)

    def differentiated(x, parameters):
        return value(x, parameters) if order == 1 else slope(value, x, parameters)

    step = 1e-5
    ahead, behind = (differentiated(x + s * directions[0], parameters + s * directions[1]) for s in (step, -step))
    found = slope(differentiated, x, parameters)
    assert np.abs(found).max() > 1  # or zeros were compared
    # The differences are off by about step² times the third derivative, which may then be 1e5, and by rounding / step.
    # A second derivative jumps at a knot, and none of these entries has one between the two.
    np.testing.assert_allclose(found, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-5)


# What has no clamp is left out: exp(1000) is infinite, which the clamp is there for.
@pytest.mark.parametrize("transform", [t for t in TRANSFORMS if t != Affine(None)], ids=str)
@pytest.mark.parametrize("size", [1e3, 1e6, 1e30])
def test_extreme_entries_and_parameters_are_finite_in_value_and_gradient(transform, size):
    x = tf.constant([[-size, size, -0.1, 0.1, 0.0]], tf.float32)
    for sign in (-1.0, 1.0):
        # Parameters that differ, so that a softmax has one winner.
        parameters = sign * size * tf.ones([1, 5, 1]) * tf.cast(tf.range(transform.num_parameters) % 2, tf.float32)
        for function in (transform.forward, transform.inverse):
            with tf.GradientTape() as tape:
                tape.watch([x, parameters])
                y, log_derivative = function(x, parameters)
            gradients = tape.gradient([y, log_derivative], [x, parameters])
            for value in (y, log_derivative, *gradients):
                assert np.isfinite(value).all()


# The spline.


def reference(spline, parameters):
    """TFP's spline of the same bins and slopes."""
    k = spline.num_bins

    def sizes(raw):
        shares = np.exp(raw) / np.exp(raw).sum(axis=-1, keepdims=True)
        return 2 * spline.bound * (spline.min_bin_fraction + (1 - k * spline.min_bin_fraction) * shares)

    offset = np.log(np.expm1(1 - spline.min_slope))
    slopes = spline.min_slope + np.log1p(np.exp(parameters[..., 2 * k :] + offset))
    return tfb.RationalQuadraticSpline(
        bin_widths=sizes(parameters[..., :k]),
        bin_heights=sizes(parameters[..., k : 2 * k]),
        knot_slopes=slopes,
        range_min=-spline.bound,
    )


@given(seed=st.integers(0, 1000), index=st.integers(4, 6))
def test_inside_the_interval_the_spline_is_that_of_tfp(seed, index):
    spline = TRANSFORMS[index]
    _, parameters = draw(spline, [100], seed=seed)
    y = tf.constant(np.random.default_rng(seed).uniform(-spline.bound, spline.bound, size=[100]))
    theirs = reference(spline, parameters.numpy())
    x, log_derivative = spline.inverse(y, parameters)
    # Two ways to the same sums in float64; measured differences are below 1e-12.
    np.testing.assert_allclose(x, theirs.forward(y), rtol=0, atol=1e-10)
    np.testing.assert_allclose(log_derivative, theirs.forward_log_det_jacobian(y, event_ndims=0), rtol=0, atol=1e-9)
    back, log_derivative = spline.forward(y, parameters)
    np.testing.assert_allclose(back, theirs.inverse(tf.identity(y)), rtol=0, atol=tolerance(np.float64))
    np.testing.assert_allclose(
        log_derivative, theirs.inverse_log_det_jacobian(tf.identity(y), event_ndims=0), atol=30 * tolerance(np.float64)
    )


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_beyond_its_bounds_the_spline_is_the_identity_and_it_gets_there_smoothly(direction):
    spline = RationalQuadraticSpline(num_bins=4, bound=2.0)
    _, parameters = draw(spline, [1], scale=2.0)
    function = getattr(spline, direction)

    def at(x):
        y, log_derivative = function(tf.constant(x, tf.float64), tf.repeat(parameters, len(x), axis=0))
        return y.numpy(), log_derivative.numpy()

    far = [-1e30, -7.0, -2.0000001, 2.0000001, 7.0, 1e30]
    np.testing.assert_array_equal(at(far)[0], far)
    np.testing.assert_array_equal(at(far)[1], np.zeros(6))
    # Value and slope are continuous: within 1e-6 of the end they are within 1e-6 times the slopes' size of it.
    near = [-2.0 + 1e-6, 2.0 - 1e-6]
    np.testing.assert_allclose(at(near)[0], near, atol=1e-5)
    np.testing.assert_allclose(at(near)[1], 0, atol=1e-3)


def test_on_the_knots_the_spline_takes_the_knots_values():
    # A point that is on an edge belongs to one bin, not to none and not to two.
    spline = RationalQuadraticSpline(num_bins=4, bound=2.0)
    knots = tf.constant([-2.0, -1.0, 0.0, 1.0, 2.0], tf.float64)  # equal bins at zero parameters
    for function in (spline.forward, spline.inverse):
        y, _ = function(knots, tf.zeros([5, spline.num_parameters], tf.float64))
        np.testing.assert_allclose(y, knots, atol=1e-14)


# The clamp.


def test_the_clamp_bounds_the_log_scale_and_leaves_small_ones_alone():
    parameters = tf.stack([tf.zeros(5), [-1e6, -1e-3, 0.0, 1e-3, 1e6]], axis=-1)
    _, log_scale = Affine(0.5).forward(tf.ones(5), parameters)
    np.testing.assert_allclose(log_scale, [-0.5, -1e-3, 0.0, 1e-3, 0.5], rtol=1e-5)  # tanh(s) = s - s^3 / 3
    _, log_scale = Affine(None).forward(tf.ones(5), parameters)
    np.testing.assert_array_equal(log_scale, parameters[:, 1])


# Options.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Affine(0.0), "log_scale_clamp must be positive or None, got 0.0"),
        (lambda: Affine(-1.0), "log_scale_clamp must be positive or None, got -1.0"),
        (lambda: Affine(float("nan")), "log_scale_clamp must be positive or None, got nan"),
        (lambda: RationalQuadraticSpline(num_bins=1), "num_bins must be at least 2, got 1"),
        (lambda: RationalQuadraticSpline(bound=0.0), "bound must be positive, got 0.0"),
        (lambda: RationalQuadraticSpline(bound=float("nan")), "bound must be positive, got nan"),
        (lambda: RationalQuadraticSpline(min_bin_fraction=0.125), r"min_bin_fraction .* 1 / num_bins = 0.125.* 0.125"),
        (lambda: RationalQuadraticSpline(min_bin_fraction=0.0), "min_bin_fraction must be between 0 and"),
        (lambda: RationalQuadraticSpline(min_slope=0.0), "min_slope must be between 0 and 1, got 0.0"),
        (lambda: RationalQuadraticSpline(min_slope=1.0), "min_slope must be between 0 and 1, got 1.0"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@each_transform
def test_it_is_data_and_counts_its_parameters(transform):
    fields = json.loads(json.dumps(dataclasses.asdict(transform)))
    assert type(transform)(**fields) == transform
    assert hash(type(transform)(**fields)) == hash(transform)
    expected = {Additive: 1, Affine: 2}.get(type(transform)) or 3 * transform.num_bins - 1
    assert transform.num_parameters == expected
    with pytest.raises(dataclasses.FrozenInstanceError):
        transform.num_bins = 3
