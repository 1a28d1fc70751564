"""The conformance checks on whatever can be put together."""

import numpy as np
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from strategies import cases

from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_kept_unchanged,
    assert_log_det_matches_autodiff,
    assert_round_trip,
    tolerance,
)

# Each example builds and traces networks of its own, which takes a second.
few = settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@few
@given(case=cases())
def test_flows_come_back_and_have_the_log_determinant_of_autodiff(case):
    assert_round_trip(case.flow.bijector, case.x)
    assert_log_det_matches_autodiff(case.flow.bijector, case.x)


@few
@given(case=cases())
def test_gradients_reach_every_variable_and_kept_entries_stay(case):
    assert_gradients_reach_all_variables(case.flow, case.x)
    coupling = case.couplings[-1]
    mask = getattr(coupling, "coupling", coupling).mask
    # Within the bounds of every spline: beyond them it is the identity.
    assert_kept_unchanged(coupling, mask, case.x / 4)


@few
@given(case=cases(max_depth=2))
def test_samples_and_their_densities_come_out_of_one_pass_as_out_of_two(case):
    flow = case.flow
    shape = () if flow.batch_shape.rank else 5
    samples, log_prob = flow.experimental_sample_and_log_prob(shape, seed=(0, 1))
    assert samples.dtype == log_prob.dtype == flow.dtype
    assert log_prob.shape == (flow.batch_shape if shape == () else (5,))
    again = flow.log_prob(tf.constant(samples.numpy()))
    allowed = tolerance(flow.dtype) * max(1.0, np.abs(again).max())
    np.testing.assert_allclose(log_prob, again, rtol=0, atol=allowed)
