"""`initialize` reaches every `ActNorm` of a flow, each with the data as they come to it."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import ActNorm, ClassContext, FactorOut, image_real_nvp, initialize, real_nvp
from tfp_realnvp.testing import randomize


def assert_standardises(bijector, batch):
    """Every `ActNorm` gives what comes to it zero mean and unit variance; returns how many there are."""
    count = 0
    for part in getattr(bijector, "bijectors", [bijector]):
        if isinstance(part, FactorOut):
            count += assert_standardises(part.bijector, batch[..., : part.num_channels])
        after = part.inverse(tf.identity(batch))
        if isinstance(part, ActNorm):
            rows = after.numpy().reshape(-1, after.shape[-1])
            # float32, through some layers.
            np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-4)
            np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-4)
            count += 1
        batch = after
    return count


def wide(*shape):
    return (5 + 3 * np.random.default_rng(0).normal(size=shape)).astype(np.float32)


@pytest.mark.parametrize("what", ["flow", "bijector"])
def test_each_layer_of_a_flow_is_set_in_order(what):
    flow = real_nvp(3, num_couplings=3, hidden_units=[4], use_act_norm=True, seed=0)
    randomize(flow)  # what one layer does decides what comes to the next
    initialize(flow if what == "flow" else flow.bijector, wide(100, 3))
    assert assert_standardises(flow.bijector, wide(100, 3)) == 3


def test_the_layers_of_a_factored_out_part_are_set_too():
    flow = image_real_nvp([4, 4, 1], num_scales=2, num_couplings=2, filters=2, num_blocks=1, seed=0)
    randomize(flow)
    initialize(flow, wide(20, 4, 4, 1))
    assert assert_standardises(flow.bijector, wide(20, 4, 4, 1)) == 2 + 2 + 3


def test_a_conditional_flow_takes_the_context_of_each_row():
    context = ClassContext(3, seed=0)
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], use_act_norm=True, context=context, seed=0)
    randomize(flow)
    classes = np.arange(60) % 3
    with pytest.raises(ValueError, match="needs a context"):
        initialize(flow, wide(60, 2))
    initialize(flow, wide(60, 2), context=classes)
    assert assert_standardises(flow.given(classes).bijector, wide(60, 2)) == 2


def test_a_flow_without_the_layer_is_refused():
    with pytest.raises(ValueError, match="'plain' has no ActNorm or MarginalSpline to initialise"):
        initialize(real_nvp(2, num_couplings=2, hidden_units=[4], name="plain"), wide(10, 2))


def test_a_layer_that_data_do_not_reach_in_order_is_named():
    chain = tfb.Chain([tfb.Invert(ActNorm(2), name="hidden")])
    with pytest.raises(
        ValueError, match=r"'hidden', a .*Invert, holds a layer to initialise .* call its initialize yourself"
    ):
        initialize(tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), chain), wide(10, 2))


def test_a_batch_that_is_not_finite_is_refused():
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], use_act_norm=True)
    with pytest.raises(ValueError, match="finite"):
        initialize(flow, np.full([4, 2], np.nan, np.float32))


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint8])
def test_images_of_integers_initialise_as_they_are(dtype):
    flow = image_real_nvp([4, 4, 1], num_levels=5, num_couplings=2, filters=2, num_blocks=1, seed=0)
    batch = np.random.default_rng(0).integers(0, 5, size=[50, 4, 4, 1]).astype(dtype)
    initialize(flow, batch)
    norm = next(part for part in flow.bijector.bijectors if isinstance(part, ActNorm))
    assert np.any(norm.shift.numpy() != 0)


def test_the_flows_a_flow_is_built_on_are_set_after_it():
    """A flow over standardised rows, in the units of the data."""
    inner = real_nvp(2, num_couplings=2, hidden_units=[4], use_act_norm=True, seed=0)
    units = tfb.Chain([tfb.Shift([1.0, 1.0]), tfb.Scale(2.0)])
    initialize(tfd.TransformedDistribution(inner, units), wide(100, 2))
    assert assert_standardises(inner.bijector, units.inverse(wide(100, 2)).numpy()) == 2


def test_a_layer_that_is_turned_round_is_refused():
    with pytest.raises(ValueError, match="holds a layer to initialise that data do not reach"):
        initialize(tfb.Invert(ActNorm(2)), wide(100, 2))


def test_a_layer_of_some_channels_is_set_by_these():
    layer = FactorOut(ActNorm(2), 2)
    initialize(layer, wide(10, 4, 4, 3))
    assert assert_standardises(layer.bijector, wide(10, 4, 4, 3)[..., :2]) == 1


@pytest.mark.parametrize("wrap", [lambda flow: tfd.Independent(flow, 0), lambda flow: tfd.Sample(flow, 4)])
def test_a_flow_within_independent_or_sample_is_set(wrap):
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], use_act_norm=True, seed=0)
    randomize(flow)
    model = wrap(flow)
    rows = wide(100, *model.event_shape)
    initialize(model, rows)
    assert assert_standardises(flow.bijector, rows) == 2
