"""The networks: built at once, zero at the end, repeatable from a seed, in several precisions."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfp_realnvp import (
    AffineCoupling,
    ClassContext,
    FeatureContext,
    Mask,
    checkerboard_mask,
    conv_resnet,
    mlp,
    residual_mlp,
)
from tfp_realnvp.conditioners.layers import SeededDropout
from tfp_realnvp.testing import assert_kept_unchanged, assert_round_trip, randomize


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_variables_exist_at_construction_in_the_dtype_asked_for(dtype):
    # tf_keras optimizers refuse variables that appear after their first step.
    conditioner = mlp(3, 2, hidden_units=[5, 7], dtype=dtype)
    assert sorted(tuple(v.shape) for v in conditioner.trainable_variables) == [(3, 5), (4,), (5,), (5, 7), (7,), (7, 4)]
    assert {v.dtype for v in conditioner.trainable_variables} == {dtype}
    parameters = conditioner(tf.ones([6, 3], dtype))
    assert parameters.shape == (6, 4)
    assert parameters.dtype == dtype


def _kernels(conditioner):
    """The matrices among the variables, as arrays."""
    return [v.numpy() for v in conditioner.trainable_variables if v.shape.rank == 2]


def test_it_starts_at_zero_though_its_hidden_layers_do_not(rng):
    conditioner = mlp(3, 2, hidden_units=[16], seed=0)
    assert not np.any(conditioner(tf.constant(rng.normal(size=[20, 3]), tf.float32)))
    assert [np.any(kernel) for kernel in _kernels(conditioner)] == [False, True]  # the last layer's comes first


def test_the_parameters_of_an_entry_lie_side_by_side():
    conditioner = mlp(1, 2, hidden_units=[])
    (bias,) = (v for v in conditioner.trainable_variables if v.shape.rank == 1)
    bias.assign([1.0, np.log(2.0), 3.0, np.log(4.0)])
    coupling = AffineCoupling([True, False, False], conditioner, log_scale_clamp=None)
    np.testing.assert_allclose(coupling.forward([7.0, 1.0, 1.0]), [7.0, 2.0 + 1.0, 4.0 + 3.0], rtol=1e-6)


def test_a_seed_repeats_the_weights_whatever_the_global_seed():
    tf.random.set_seed(1)
    first = _kernels(mlp(4, 4, hidden_units=[4, 4], seed=3))
    tf.random.set_seed(2)
    for a, b in zip(first, _kernels(mlp(4, 4, hidden_units=[4, 4], seed=3)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_seeds_no_seed_and_other_layers_give_other_weights():
    networks = [mlp(4, 4, hidden_units=[4, 4], seed=seed) for seed in (3, 4, None, None)]
    kernels = [kernel for network in networks for kernel in _kernels(network) if kernel.any()]
    assert len(kernels) == 8
    for a, b in itertools.combinations(kernels, 2):
        assert not np.array_equal(a, b)


def test_hidden_weights_have_the_variance_of_he():
    # 2 / inputs. 65,536 weights: the sample variance of a truncated normal is within 3 % at five standard errors.
    _, kernel = _kernels(mlp(256, 1, hidden_units=[256], seed=0))
    assert np.var(kernel) == pytest.approx(2 / 256, rel=0.03)


def test_sizes_may_be_numpy_integers():
    # mlp(mask.sum(), (~mask).sum()) is the call that suggests itself.
    mask = np.array([True, False, False])
    parameters = mlp(mask.sum(), (~mask).sum(), hidden_units=np.array([4]))(tf.ones([1, 1]))
    assert parameters.shape == (1, 4)


def test_the_recipe_is_json_and_builds_an_equal_network(rng):
    conditioner = mlp(3, 2, hidden_units=(4,), activation="tanh", dtype=tf.float64, seed=0, name="net")
    recipe = json.loads(json.dumps(conditioner.recipe))
    assert recipe.pop("function") == "mlp"
    rebuilt = mlp(**recipe)
    assert rebuilt.name == conditioner.name == "net"
    for network in (conditioner, rebuilt):
        randomize(network, seed=0)
    x = tf.constant(rng.normal(size=[5, 3]))
    np.testing.assert_array_equal(conditioner(x), rebuilt(x))


def test_it_is_a_module_that_other_modules_track():
    outer = tf.Module()
    outer.conditioner = mlp(2, 2, hidden_units=[3])
    assert len(outer.trainable_variables) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_kept": -1, "num_moved": 1}, "num_kept must be at least 0, got -1"),
        ({"num_kept": 0, "num_moved": 1}, "num_inputs must be at least 1, got 0"),
        ({"num_kept": 1, "num_moved": 0}, "num_moved must be at least 1, got 0"),
        ({"num_kept": 1, "num_moved": 1, "hidden_units": [8, 0]}, "hidden_units must be at least 1, got 0"),
        ({"num_kept": 1, "num_moved": 1, "activation": "nonsense"}, "nonsense"),
    ],
)
def test_sizes_and_activations_that_do_not_exist_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mlp(**arguments)


def test_the_float64_network_sees_changes_that_float32_would_not():
    # Once it rounded its inputs to float32, whose steps around 1 are 1e-7: the output then stands still and jumps.
    network = mlp(1, 1, 1, hidden_units=[16], activation="tanh", dtype=tf.float64, seed=0)
    randomize(network, scale=1.0)
    x = 1.0 + 1e-9 * np.arange(200.0)[:, None]
    steps = np.diff(network(tf.constant(x)).numpy()[:, 0])
    # A smooth function is a straight line at this scale: its second derivative adds a share of 1e-7, rounding of 1e-16
    # a share of a millionth.
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-4)
    assert abs(steps.mean()) > 1e-12


# The three of them.

IMAGE = checkerboard_mask([4, 2, 2])


def build(kind, num_parameters=2, **options):
    """A conditioner of 4 of 8 entries, or of half of an image, and inputs for it."""
    if kind == "conv_resnet":
        return conv_resnet(IMAGE, num_parameters, **{"filters": 6, "num_blocks": 2} | options)
    if kind == "residual_mlp":
        return residual_mlp(8, 8, num_parameters, **{"width": 6, "num_blocks": 2} | options)
    return mlp(8, 8, num_parameters, **{"hidden_units": [6, 6]} | options)


each = pytest.mark.parametrize("kind", ["mlp", "residual_mlp", "conv_resnet"])
residual = pytest.mark.parametrize("kind", ["residual_mlp", "conv_resnet"])
OPTIONS = {
    "plain": {},
    "layer norm": {"use_layer_norm": True},
    "activation": {"activation": "elu"},
    "features": {"context": FeatureContext(3)},
    "class": {"context": ClassContext(3, seed=0)},
    "float64": {"dtype": tf.float64},
    "bfloat16": {"dtype": "mixed_bfloat16"},
}
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def inputs(network, num_rows=5, seed=0):
    rng = np.random.default_rng(seed)
    dtype = network.variables[0].dtype
    kept = tf.constant(rng.normal(size=[num_rows, 8]), dtype)
    if network.context is None:
        return (kept,)
    shape, dtype = [num_rows, *network.context_shape], network.context_dtype
    return kept, tf.constant(rng.integers(3, size=shape) if dtype.is_integer else rng.normal(size=shape), dtype)


@each
@each_option
@pytest.mark.parametrize("num_parameters", [1, 3])
def test_each_starts_at_zero_and_gives_the_parameters_in_the_event_s_dtype(kind, options, num_parameters):
    network = build(kind, num_parameters, **options)
    given = inputs(network)
    assert not np.any(network(*given))
    randomize(network)
    result = network(*given)
    assert result.dtype == given[0].dtype != tf.bfloat16
    assert np.prod(result.shape) == 5 * 8 * num_parameters
    assert np.isfinite(result).all()
    assert len(np.unique(result)) > 20


@each
@each_option
def test_each_has_a_recipe_of_json_that_builds_it_again(kind, options):
    network = build(kind, **options, name="net")
    recipe = json.loads(json.dumps(network.recipe))
    assert recipe.pop("function") == kind
    again = {"mlp": mlp, "residual_mlp": residual_mlp, "conv_resnet": conv_resnet}[kind](
        **recipe, context=network.context
    )
    for each_of_both in (network, again):
        randomize(each_of_both)
    np.testing.assert_array_equal(network(*inputs(network)), again(*inputs(network)))


@each
@pytest.mark.parametrize("options", [{"activation": "elu"}, {"use_layer_norm": True}], ids=str)
def test_options_change_the_function(kind, options):
    networks = [build(kind, **more, seed=0) for more in ({}, options)]
    results = []
    for network in networks:
        for index, variable in enumerate(network.trainable_variables):  # the last layer's, too
            variable.assign(np.random.default_rng(index).normal(scale=0.3, size=variable.shape))
        results.append(network(*inputs(network)).numpy())
    assert np.abs(results[0] - results[1]).max() > 1e-2


@each
def test_each_reads_its_context(kind):
    network = build(kind, context=FeatureContext(3), activation="tanh")
    randomize(network, scale=1.0)
    kept, context = inputs(network)
    assert np.abs(network(kept, context) - network(kept, context + 1)).max() > 1e-3


@each
def test_a_seed_repeats_each_and_another_does_not(kind):
    def weights(seed):
        return np.concatenate([v.numpy().ravel() for v in build(kind, seed=seed).variables])

    np.testing.assert_array_equal(weights(3), weights(3))
    for other in (4, None):
        assert not np.array_equal(weights(3), weights(other))


def test_the_convolution_sees_kept_pixels_in_their_places_and_no_moved_ones():
    network = conv_resnet(IMAGE, 1, filters=4, num_blocks=1, activation="tanh", seed=0)
    randomize(network, scale=1.0)
    image = np.random.default_rng(0).normal(size=[1, 4, 2, 2]).astype(np.float32)
    kept, _ = IMAGE.split(tf.constant(image))
    blank = np.where(IMAGE.kept, image, 0)
    expected = network.network(blank).numpy()[0][~IMAGE.kept]
    np.testing.assert_allclose(np.ravel(network(kept)), expected, rtol=1e-5)
    # 3x3, 3x3 and 3x3: what is four rows away is not seen.
    tall = checkerboard_mask([12, 2, 1])
    network = conv_resnet(tall, 1, filters=4, num_blocks=1, activation="tanh", seed=0)
    randomize(network, scale=1.0)
    first = network(tf.zeros([1, 12])).numpy().ravel()
    second = network(tf.concat([tf.ones([1, 1]), tf.zeros([1, 11])], axis=-1)).numpy().ravel()
    assert (first != second)[0]
    np.testing.assert_array_equal(first[4:], second[4:])


@residual
def test_depth_does_not_blow_up_the_variance(kind):
    # Each block adds a share: with blocks of variance two each, 16 of them would multiply it by 2^16.
    deep = {"num_blocks": 16, "width" if kind == "residual_mlp" else "filters": 32}
    network = build(kind, seed=0, **deep).network
    hidden = tf_keras.Model(network.input, network.layers[-2].output)
    shape = network.input_shape[1:]
    activations = hidden(np.random.default_rng(0).normal(size=[50, *shape]).astype(np.float32)).numpy()
    assert 0.1 < np.sqrt((activations**2).mean()) < 10


@residual
def test_dropout_drops_in_training_only_and_scales_up_what_is_left(kind):
    network = build(kind, dropout=0.5, seed=0)
    randomize(network, scale=1.0)
    given = inputs(network)
    still = network(*given).numpy()
    np.testing.assert_array_equal(network(*given), still)

    class Model(tf_keras.Model):
        def call(self, x):
            return network(x)

    model = Model()
    np.testing.assert_array_equal(model(given[0], training=False), still)
    first, second = model(given[0], training=True).numpy(), model(given[0], training=True).numpy()
    assert (first != still).any()
    assert (first != second).any()


def test_dropout_drops_the_share_it_says():
    layer = SeededDropout(0.3, 0, "float32")
    dropped = layer(tf.ones([1000, 100]), training=True).numpy()
    # 100,000 draws: five standard errors of the share are 0.007.
    assert np.mean(dropped == 0) == pytest.approx(0.3, abs=0.008)
    np.testing.assert_allclose(dropped[dropped != 0], 1 / 0.7, rtol=1e-6)
    assert not np.array_equal(layer(tf.ones([10, 10]), training=True), layer(tf.ones([10, 10]), training=True))
    np.testing.assert_array_equal(layer(tf.ones([10, 10])), np.ones([10, 10]))


@each
def test_bfloat16_computes_in_bfloat16_around_an_exact_float32_transform(kind):
    mask = IMAGE if kind == "conv_resnet" else Mask(np.arange(16) < 8)
    network = build(kind, dtype="mixed_bfloat16", seed=0)
    coupling = AffineCoupling(mask, network)
    randomize(coupling)
    assert {v.dtype for v in coupling.trainable_variables} == {coupling.dtype} == {tf.float32}
    # Keras wraps these variables; they are tracked once all the same.
    assert len(coupling.trainable_variables) == len(network.trainable_variables)
    exact = build(kind, seed=0)
    for a, b in zip(exact.variables, network.variables, strict=True):
        a.assign(b)
    difference = np.abs(network(*inputs(network)) - exact(*inputs(network))).max()
    assert 1e-5 < difference < 0.1  # bfloat16 has 8 bits
    x = np.random.default_rng(0).normal(size=[20, *mask.event_shape]).astype(np.float32)
    # float32 accuracy, in spite of the network: both directions see the same parameters.
    assert_round_trip(coupling, x)
    assert_kept_unchanged(coupling, mask, x)


@residual
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"num_parameters": 0}, "num_parameters must be at least 1, got 0"),
        ({"activation": "nonsense"}, "nonsense"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        build(kind, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv_resnet([True, False]), r"mask must be over \[height, width, channels\], got one over \[2\]"),
        (lambda: conv_resnet(IMAGE, filters=0), "filters must be at least 1, got 0"),
        (lambda: residual_mlp(1, 1, width=0), "width must be at least 1, got 0"),
        (lambda: residual_mlp(0, 1), "num_inputs must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_built_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
