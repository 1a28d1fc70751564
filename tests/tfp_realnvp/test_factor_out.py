"""A bijector for some channels, the others untouched."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import AffineCoupling, FactorOut, FeatureContext, channel_mask, conv_resnet, given
from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_log_det_matches_autodiff,
    assert_round_trip,
    randomize,
)


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def layer():
    mask = channel_mask([2, 2, 2])
    coupling = AffineCoupling(mask, conv_resnet(mask, filters=4, num_blocks=1, seed=0))
    layer = FactorOut(tfb.Chain([coupling, tfb.Shift(1.0)]), 2)
    randomize(layer, scale=1.0)
    return layer


def test_it_passes_the_conformance_checks(layer):
    x = images(5, 2, 2, 3)
    assert_round_trip(layer, x)
    assert_log_det_matches_autodiff(layer, x)
    base = tfd.Sample(tfd.Normal(0.0, 1.0), [2, 2, 3])
    assert_gradients_reach_all_variables(tfd.TransformedDistribution(base, layer), x)


def test_the_first_channels_go_through_the_bijector_and_the_others_stay(layer):
    x = images(5, 2, 2, 3)
    for direction in ("forward", "inverse"):
        y = getattr(layer, direction)(x)
        np.testing.assert_array_equal(y[..., 2:], x[..., 2:])
        np.testing.assert_array_equal(y[..., :2], getattr(layer.bijector, direction)(x[..., :2]))
    assert layer.num_channels == 2


@pytest.mark.parametrize("what", ["log_prob", "sample", "experimental_sample_and_log_prob"])
def test_the_network_inside_is_called_once(counting_network, what):
    mask = channel_mask([2, 2, 2])
    network = counting_network(conv_resnet(mask, filters=2, num_blocks=1))
    inner = tfb.Chain([AffineCoupling(mask, network), tfb.Shift(1.0)])
    flow = tfd.TransformedDistribution(
        tfd.Sample(tfd.Normal(0.0, 1.0), [2, 2, 4]), tfb.Chain([tfb.Shift(0.5), FactorOut(inner, 2)])
    )
    network.calls = 0
    getattr(flow, what)(*([tf.constant(images(3, 2, 2, 4))] if what == "log_prob" else [3, (0, 0)]))
    assert network.calls == 1


def test_there_must_be_a_channel():
    with pytest.raises(ValueError, match="num_channels must be at least 1, got 0"):
        FactorOut(tfb.Identity(), 0)


def test_points_broadcast_with_the_contexts_it_is_given():
    mask = channel_mask([2, 2, 2])
    coupling = AffineCoupling(mask, conv_resnet(mask, filters=2, num_blocks=1, context=FeatureContext(2), seed=0))
    randomize(coupling)
    contexts, x = np.random.default_rng(0).normal(size=[5, 2]).astype(np.float32), images(2, 2, 4)
    layer = given(FactorOut(coupling, 2), contexts)
    for direction in ("forward", "inverse"):
        together = getattr(layer, direction)(x)
        assert together.shape == (5, 2, 2, 4)
        one = getattr(given(FactorOut(coupling, 2), contexts[3]), direction)(x)
        np.testing.assert_allclose(together[3], one, atol=1e-5)


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_more_channels_than_there_are_are_refused(method):
    with pytest.raises(ValueError, match=r"expected images of 5 channels at least, got shape \(2, 2, 3\)"):
        getattr(FactorOut(tfb.Exp(), 5), method)(tf.ones([2, 2, 3]))
