"""The multilayer perceptron: built at once, zero at the end, repeatable from a seed."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp import mlp
from tfp_realnvp.testing import randomize


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_variables_exist_at_construction_in_the_dtype_asked_for(dtype):
    # tf_keras optimizers refuse variables that appear after their first step.
    conditioner = mlp(3, 2, hidden_units=[5, 7], dtype=dtype)
    assert sorted(tuple(v.shape) for v in conditioner.trainable_variables) == [(3, 5), (4,), (5,), (5, 7), (7,), (7, 4)]
    assert {v.dtype for v in conditioner.trainable_variables} == {dtype}
    shift, log_scale = conditioner(tf.ones([6, 3], dtype))
    assert shift.shape == log_scale.shape == (6, 2)
    assert shift.dtype == log_scale.dtype == dtype


def _kernels(conditioner):
    """The matrices among the variables, as arrays."""
    return [v.numpy() for v in conditioner.trainable_variables if v.shape.rank == 2]


def test_it_starts_at_zero_though_its_hidden_layers_do_not(rng):
    conditioner = mlp(3, 2, hidden_units=[16], seed=0)
    shift, log_scale = conditioner(tf.constant(rng.normal(size=[20, 3]), tf.float32))
    assert not np.any(shift)
    assert not np.any(log_scale)
    assert [np.any(kernel) for kernel in _kernels(conditioner)] == [False, True]  # the last layer's comes first


def test_shift_and_log_scale_are_different_outputs(rng):
    conditioner = mlp(1, 2, hidden_units=[])
    (bias,) = (v for v in conditioner.trainable_variables if v.shape.rank == 1)
    bias.assign([1.0, 2.0, 3.0, 4.0])
    shift, log_scale = conditioner(tf.zeros([1, 1]))
    np.testing.assert_array_equal(shift, [[1.0, 2.0]])
    np.testing.assert_array_equal(log_scale, [[3.0, 4.0]])


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
    shift, _ = mlp(mask.sum(), (~mask).sum(), hidden_units=np.array([4]))(tf.ones([1, 1]))
    assert shift.shape == (1, 2)


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
        ({"num_kept": 0, "num_moved": 1}, "num_kept must be at least 1, got 0"),
        ({"num_kept": 1, "num_moved": 0}, "num_moved must be at least 1, got 0"),
        ({"num_kept": 1, "num_moved": 1, "hidden_units": [8, 0]}, "hidden_units must be at least 1, got 0"),
        ({"num_kept": 1, "num_moved": 1, "activation": "nonsense"}, "nonsense"),
    ],
)
def test_sizes_and_activations_that_do_not_exist_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mlp(**arguments)
