"""Blocks of pixels become channels, and back."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import Squeeze
from tfp_realnvp.testing import assert_log_det_matches_autodiff, assert_round_trip


def images(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_block_becomes_the_channels_of_one_pixel():
    y = Squeeze().forward(images(4, 4, 1)).numpy()
    assert y.shape == (2, 2, 4)
    np.testing.assert_array_equal(y[0, 0], [0, 1, 4, 5])
    np.testing.assert_array_equal(y[1, 0], [8, 9, 12, 13])


@pytest.mark.parametrize("factor", [2, 3])
def test_it_is_space_to_depth(factor):
    x = images(5, 6, 12, 3)
    np.testing.assert_array_equal(Squeeze(factor).forward(x), tf.nn.space_to_depth(x, factor))
    y = images(5, 2, 1, 2 * factor**2)
    np.testing.assert_array_equal(Squeeze(factor).inverse(y), tf.nn.depth_to_space(y, factor))


@pytest.mark.parametrize("bijector", [Squeeze(), tfb.Chain([Squeeze(), tfb.Invert(Squeeze())])], ids=lambda b: b.name)
def test_it_passes_the_conformance_checks(bijector):
    x = images(3, 4, 2, 4)
    assert_round_trip(bijector, x)
    assert_log_det_matches_autodiff(bijector, x)


def test_shapes_are_known_and_batches_of_any_rank_pass():
    squeeze = Squeeze()
    assert squeeze.forward_event_shape([4, 6, 1]) == (2, 3, 4)
    assert squeeze.inverse_event_shape([2, 3, 4]) == (4, 6, 1)
    np.testing.assert_array_equal(squeeze.forward_event_shape_tensor([4, 6, 1]), [2, 3, 4])
    np.testing.assert_array_equal(squeeze.inverse_event_shape_tensor([2, 3, 4]), [4, 6, 1])
    for batch in [(), (5,), (2, 3), (0,)]:
        assert squeeze.forward(images(*batch, 4, 6, 1)).shape == (*batch, 2, 3, 4)
    flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), [2, 2, 4]), tfb.Invert(squeeze))
    assert flow.event_shape == (4, 4, 1)
    assert flow.log_prob(flow.sample(3)).shape == (3,)


def test_the_batch_size_may_be_unknown_when_the_graph_is_built():
    traced = tf.function(Squeeze().forward, input_signature=[tf.TensorSpec([None, 4, 4, 1])], autograph=False)
    np.testing.assert_array_equal(traced(images(3, 4, 4, 1)), Squeeze().forward(images(3, 4, 4, 1)))


def traced_over(*shape):
    return tf.function(Squeeze().forward, autograph=False).get_concrete_function(tf.TensorSpec(shape))


def test_event_shapes_are_unknown_if_sizes_are():
    assert Squeeze().forward_event_shape([None, 4, 1]).as_list() == [None, None, None]
    assert Squeeze().inverse_event_shape([None, 4, 4]).as_list() == [None, None, None]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Squeeze(1), "factor must be at least 2, got 1"),
        (lambda: Squeeze().forward(images(3, 4, 1)), r"factor 2 does not divide height and width of \[3, 4, 1\]"),
        (lambda: Squeeze(3).forward_event_shape([3, 4, 1]), "factor 3 does not divide"),
        (lambda: traced_over(None, None, 1), "height, width and channels must be known"),
        (lambda: Squeeze().inverse(images(2, 2, 6)), r"6 channels are not a multiple of 2 \* 2"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
