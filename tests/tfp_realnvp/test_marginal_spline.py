"""The spline of each entry by itself, and its initialisation from data."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfp_realnvp as tfr


@pytest.fixture
def skewed():
    """Two columns, standardised: an exponential one and a heavy-tailed one."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.exponential(size=4000), rng.standard_t(3, size=4000)], axis=1)
    return ((rows - rows.mean(axis=0)) / rows.std(axis=0)).astype(np.float32)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_conforms_with_random_parameters(dtype):
    spline = tfr.MarginalSpline(3, dtype=dtype)
    tfr.testing.randomize(spline, scale=1.0)
    x = np.random.default_rng(1).normal(scale=3, size=[50, 3]).astype(dtype.as_numpy_dtype)
    tfr.testing.assert_round_trip(spline, x)
    tfr.testing.assert_log_det_matches_autodiff(spline, x)


def test_starts_as_the_identity():
    tfr.testing.assert_identity(tfr.MarginalSpline(2), np.random.default_rng(0).normal(size=[9, 2]).astype(np.float32))


def test_initialize_makes_margins_gaussian(skewed):
    """Quantiles, also between the knots, come out within 0.25; the worst is next to the exponential's sharp edge."""
    spline = tfr.MarginalSpline(2)
    spline.initialize(skewed)
    z = spline.inverse(skewed).numpy()
    levels = np.array([0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
    expected = tfd.Normal(0.0, 1.0).quantile(levels.astype(np.float32)).numpy()
    # The standard error of the outermost quantile of 4,000 rows is 0.04.
    for column in z.T:
        np.testing.assert_allclose(np.quantile(column, levels), expected, atol=0.25)
    assert abs(np.median(skewed[:, 0])) > 0.25
    tfr.testing.assert_round_trip(spline, skewed[:100])


def test_initialize_raises_the_likelihood(skewed):
    flow = tfr.real_nvp(2, use_marginal_spline=True, num_couplings=2, hidden_units=[4], seed=0)
    before = flow.log_prob(skewed).numpy().mean()
    tfr.initialize(flow, skewed)
    assert flow.log_prob(skewed).numpy().mean() > before + 0.2  # 0.34 in the exponential column alone
    tfr.testing.randomize(flow)
    tfr.testing.assert_gradients_reach_all_variables(flow, skewed)


def test_initialize_takes_constant_and_repeated_values():
    rows = np.zeros([100, 2], np.float32)
    rows[:, 1] = np.repeat([0.0, 1.0], 50)
    spline = tfr.MarginalSpline(2)
    spline.initialize(rows)
    assert np.isfinite(spline.spline_parameters.numpy()).all()
    tfr.testing.assert_round_trip(spline, rows[::10])


@pytest.mark.parametrize(("rows", "match"), [(np.ones([1, 2]), "at least 2 rows"), ([[np.nan, 0], [0, 0]], "finite")])
def test_initialize_refuses(rows, match):
    with pytest.raises(ValueError, match=match):
        tfr.MarginalSpline(2).initialize(rows)


def test_refuses_an_empty_event():
    with pytest.raises(ValueError, match="event_size"):
        tfr.MarginalSpline(0)


def test_saved_shared_and_exported(tmp_path, skewed):
    spline = tfr.MarginalSpline(2, num_bins=8)
    spline.initialize(skewed)
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(2)), tfb.Chain([spline], name="chain"))
    tfr.save(flow, tmp_path / "spline.flow")
    np.testing.assert_allclose(tfr.load(tmp_path / "spline.flow").log_prob(skewed), flow.log_prob(skewed), atol=1e-6)
    assert spline.copy(name="copy").spline_parameters is spline.spline_parameters
    tfr.export_sampler(flow)  # compares the graph with the flow
    tfr.export_scorer(flow)


def test_the_one_knot_of_two_bins_is_the_median():
    batch = np.random.default_rng(0).lognormal(size=[999, 1]).astype(np.float32) - 1
    layer = tfr.MarginalSpline(1, num_bins=2)
    layer.initialize(batch)
    assert np.median(layer.inverse(batch)) == pytest.approx(0, abs=1e-3)
