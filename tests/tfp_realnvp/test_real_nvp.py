"""The ready-made flow: every entry is transformed, every entry sees every other, and a seed repeats it."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import AffineCoupling, Coupling, half_mask, mlp, real_nvp
from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_identity,
    assert_integrates_to_one,
    assert_log_det_matches_autodiff,
    assert_round_trip,
    assert_samples_match_log_prob,
    randomize,
    tolerance,
)
from tfp_realnvp.transforms import Affine, RationalQuadraticSpline


def normal(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def _random_flow(event_size, num_couplings=4, *, hidden_units=(8,), scale=0.5, seed=0, **options):
    # tanh: a ReLU that is off at a point gives a zero that belongs to the point, not to the structure.
    flow = real_nvp(
        event_size, num_couplings=num_couplings, hidden_units=hidden_units, activation="tanh", seed=seed, **options
    )
    randomize(flow, seed=seed, scale=scale)
    return flow


# Mixing.


def _transforms_every_entry(flow, x):
    """Whether no entry comes out, somewhere, with the bits it went in with."""
    return not np.isin(flow.bijector.forward(x), x).any() and not np.isin(flow.bijector.inverse(x), x).any()


@pytest.mark.parametrize("num_couplings", [4, 5, 6])
@pytest.mark.parametrize("event_size", range(2, 9))
def test_from_four_couplings_on_every_output_depends_on_every_input(jacobian, event_size, num_couplings):
    for seed in range(3 if num_couplings == 4 else 1):  # four are the fewest that can do it
        flow = _random_flow(event_size, num_couplings, hidden_units=[], dtype=tf.float64, seed=seed)
        x = normal([3, event_size], np.float64, seed)
        assert _transforms_every_entry(flow, x), f"seed {seed}"
        for direction in (flow.bijector.forward, flow.bijector.inverse):
            # A structural zero is a zero at every point; random weights make no other zeros.
            assert (jacobian(direction, x) != 0).any(axis=0).all(), f"seed {seed}, {direction.__name__}"


@pytest.mark.parametrize("num_couplings", [2, 3])
@pytest.mark.parametrize("event_size", range(2, 9))
def test_two_couplings_are_enough_to_transform_every_entry(event_size, num_couplings):
    flow = _random_flow(event_size, num_couplings, hidden_units=[])
    assert _transforms_every_entry(flow, normal([event_size]))


@pytest.mark.parametrize("event_size", [3, 4, 5, 8])
def test_all_masks_are_the_same_and_permutations_stand_between_them(event_size):
    # Masks that alternate and permutations can cancel each other (docs/design.md, decision 13).
    layers = real_nvp(event_size, num_couplings=5, hidden_units=[]).bijector.bijectors
    couplings, permutations = layers[::2], layers[1::2]
    assert len(couplings) == 5
    assert all(isinstance(coupling, Coupling) for coupling in couplings)
    for coupling in couplings:
        np.testing.assert_array_equal(coupling.mask, half_mask(event_size))
    for permute in permutations:
        assert sorted(permute.permutation.numpy()) == list(range(event_size))


# The distribution.


@pytest.mark.parametrize(("event_size", "dtype"), [(2, tf.float64), (5, tf.float32)], ids=str)
def test_it_starts_as_the_standard_gaussian(event_size, dtype):
    flow = real_nvp(event_size, num_couplings=4, hidden_units=[8], dtype=dtype)
    x = normal([50, event_size], dtype.as_numpy_dtype)
    expected = -0.5 * (x**2).sum(axis=-1) - event_size / 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=tolerance(dtype), atol=tolerance(dtype))
    for coupling in flow.bijector.bijectors[::2]:
        assert_identity(coupling, x)


@pytest.mark.parametrize(("event_size", "dtype"), [(2, tf.float32), (5, tf.float64)], ids=str)
def test_it_passes_the_conformance_checks(event_size, dtype):
    flow = _random_flow(event_size, dtype=dtype)
    x = normal([20, event_size], dtype.as_numpy_dtype)
    assert_round_trip(flow.bijector, x)
    assert_log_det_matches_autodiff(flow.bijector, x)
    assert_gradients_reach_all_variables(flow, x)


def test_its_density_integrates_to_one():
    assert_integrates_to_one(_random_flow(2))


@pytest.mark.parametrize("event_size", [2, 5])
def test_its_samples_agree_with_log_prob(event_size):
    assert_samples_match_log_prob(_random_flow(event_size))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
def test_sample_and_batch_shapes(dtype):
    flow = _random_flow(3, 2, dtype=dtype)
    assert flow.dtype == dtype
    assert flow.event_shape == (3,)
    assert flow.batch_shape == ()
    for shape in [(), (4,), (2, 4)]:
        sample = flow.sample(shape)
        assert sample.shape == (*shape, 3)
        assert sample.dtype == dtype
        log_prob = flow.log_prob(tf.identity(sample))
        assert log_prob.shape == shape
        assert log_prob.dtype == dtype
        np.testing.assert_allclose(
            log_prob, flow.log_prob(tf.reshape(sample, [-1, 3])).numpy().reshape(shape), rtol=tolerance(dtype)
        )


def test_sample_and_its_log_prob_agree_with_log_prob_of_the_sample():
    flow = _random_flow(3, dtype=tf.float64)
    sample, log_prob = flow.experimental_sample_and_log_prob(50, seed=(0, 1))
    np.testing.assert_allclose(
        log_prob, flow.log_prob(tf.constant(sample.numpy())), rtol=tolerance(tf.float64), atol=tolerance(tf.float64)
    )
    np.testing.assert_array_equal(sample, flow.sample(50, seed=(0, 1)))


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_extreme_inputs_have_finite_densities_and_gradients(size):
    # Without a clamp the log-scales would be of order `size` here, and their exponentials infinite.
    flow = real_nvp(2, num_couplings=8, seed=0)
    randomize(flow)
    x = tf.constant(size * np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = flow.log_prob(x)
    assert np.isfinite(log_prob).all()
    for gradient in tape.gradient(log_prob, [x, *flow.trainable_variables]):
        assert np.isfinite(gradient).all()


def test_a_deep_flow_over_an_odd_event_stays_finite_and_invertible():
    # Weights of this scale keep each log-scale near 0.1, as trained ones do; at 0.5 the 32 couplings of a random
    # network would multiply to 1e12, which is the map's doing and not rounding's.
    flow = _random_flow(19, 32, hidden_units=[16], scale=0.2)
    x = normal([50, 19])
    assert np.isfinite(flow.log_prob(x)).all()
    assert np.isfinite(flow.sample(50, seed=(0, 0))).all()
    assert_round_trip(flow.bijector, x)
    assert_gradients_reach_all_variables(flow, x)


# Seeds and arguments.


def _state(flow):
    permutations = [layer.permutation.numpy() for layer in flow.bijector.bijectors[1::2]]
    return permutations + [v.numpy() for v in flow.trainable_variables]


def _are_equal(a, b):
    return [np.array_equal(x, y) for x, y in zip(_state(a), _state(b), strict=True)]


def test_the_same_seed_gives_the_same_flow_whatever_the_global_seeds():
    tf.random.set_seed(1)
    a = real_nvp(8, num_couplings=6, hidden_units=[4], seed=7)
    tf.random.set_seed(2)
    b = real_nvp(8, num_couplings=6, hidden_units=[4], seed=np.int64(7))
    assert all(_are_equal(a, b))


@pytest.mark.parametrize("seeds", [(7, 8), (None, None)], ids=str)
def test_another_seed_and_no_seed_give_another_flow(seeds):
    a, b = (real_nvp(8, num_couplings=6, hidden_units=[4], seed=seed) for seed in seeds)
    equal = _are_equal(a, b)
    assert not all(equal[:5])  # permutations
    hidden = [np.any(value) for value in _state(a)]
    assert not any(same for same, filled in zip(equal[5:], hidden[5:], strict=True) if filled)  # hidden kernels


def test_two_couplings_of_one_flow_have_different_weights():
    flow = real_nvp(4, num_couplings=3, hidden_units=[4], seed=0)
    kernels = [v.numpy() for v in flow.trainable_variables if "hidden" in v.name and "kernel" in v.name]
    assert len(kernels) == 3
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])


@pytest.mark.parametrize("event_shape", [3, [3], (3,), np.int64(3), np.array([3]), tf.TensorShape([3])], ids=repr)
def test_the_event_shape_is_a_number_or_a_vector_of_one(event_shape):
    assert real_nvp(event_shape, num_couplings=2, hidden_units=[]).event_shape == (3,)


def test_arguments_reach_the_parts():
    flow = real_nvp(3, num_couplings=2, hidden_units=[5, 6], activation="tanh", log_scale_clamp=None, name="mine")
    assert flow.name == "mine"
    coupling = flow.bijector.bijectors[0]
    assert coupling.transform == Affine(None)
    assert coupling.conditioner.recipe["hidden_units"] == [5, 6]
    assert coupling.conditioner.recipe["activation"] == "tanh"
    names = [layer.name for layer in flow.bijector.bijectors]
    assert len(set(names)) == len(names)  # keyword arguments of a Chain are routed by name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": 1}, "at least 2 entries, got event_size=1"),
        ({"event_shape": [0]}, "at least 2 entries, got event_size=0"),
        ({"event_shape": [2, 3]}, r"event_shape must be one number of entries, got \[2, 3\]"),
        ({"event_shape": []}, r"event_shape must be one number of entries, got \[\]"),
        ({"event_shape": 3, "num_couplings": 1}, "num_couplings must be at least 2 .* got 1"),
        ({"event_shape": 3, "hidden_units": [0]}, "hidden_units must be at least 1, got 0"),
        ({"event_shape": 3, "log_scale_clamp": 0.0}, "log_scale_clamp must be positive or None, got 0.0"),
    ],
)
def test_errors_say_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        real_nvp(**arguments)


def test_the_same_can_be_built_by_hand_in_five_lines():
    mask = half_mask(2)
    couplings = [AffineCoupling(mask, mlp(1, 1), name=f"coupling_{i}") for i in range(4)]
    swap = tfb.Permute([1, 0])
    chain = tfb.Chain([couplings[0], swap, couplings[1], swap, couplings[2], swap, couplings[3]])
    flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), chain)

    assert len(flow.trainable_variables) == 4 * 6
    randomize(flow)
    x = normal([20, 2])
    assert_round_trip(chain, x)
    assert_gradients_reach_all_variables(flow, x)
    assert not np.isin(chain.forward(x), x).any()


@pytest.mark.parametrize("num_couplings", [2, 3, 8])
@pytest.mark.parametrize("event_size", [2, 3, 4, 7])
def test_it_starts_as_the_identity(event_size, num_couplings):
    """The permutations undo each other, so a base that tells its entries apart starts in its place."""
    flow = real_nvp(event_size, num_couplings=num_couplings, hidden_units=[4], seed=event_size)
    assert_identity(flow.bijector, np.random.default_rng(0).normal(size=[5, event_size]).astype(np.float32))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"context": 3}, TypeError, r"context must be a Context, such as FeatureContext\(3\)"),
        ({"transform": "spline"}, TypeError, "transform must be a Transform"),
        ({"base": tfd.Normal}, TypeError, "base must be a Distribution"),
        ({"hidden_units": 64}, TypeError, "hidden_units must be a list"),
        ({"base": tfd.MultivariateNormalDiag(np.zeros(2))}, ValueError, "dtype float32, got .* float64"),
    ],
    ids=["context", "transform", "base", "hidden units", "dtype"],
)
def test_arguments_of_another_kind_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        real_nvp(2, **options)


def test_flows_of_the_default_name_share_a_joint_distribution():
    flows = [real_nvp(2, num_couplings=2, seed=seed) for seed in (0, 1)]

    def model():
        first = yield flows[0]
        yield flows[1]
        yield tfd.Independent(tfd.Normal(first, 1.0), 1)

    joint = tfd.JointDistributionCoroutineAutoBatched(model)
    assert np.isfinite(joint.log_prob(joint.sample(seed=(0, 1))))
    pinned = tfd.JointDistributionSequential([flows[0], lambda z: tfd.Normal(z[..., 0], 1.0)]).experimental_pin(
        None, 1.0
    )
    assert np.isfinite(pinned.unnormalized_log_prob(np.zeros(2, np.float32)))


def test_a_base_of_several_tensors_is_refused():
    joint = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0), tfd.Normal(0.0, 1.0)], name="joint")
    with pytest.raises(ValueError, match="base must have events of one tensor, got 'joint'"):
        real_nvp(2, base=joint)


def test_what_is_not_computed_in_few_bits_is_refused():
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], transform=RationalQuadraticSpline(), dtype=tf.bfloat16)
    with pytest.raises(ValueError, match="splines are not computed in bfloat16"):
        flow.log_prob(tf.zeros([2], tf.bfloat16))
    for dtype in (tf.float16, tf.bfloat16):
        with pytest.raises(ValueError, match=f"dtype must be float32 or float64, got {dtype.name}"):
            real_nvp(2, num_couplings=2, hidden_units=[4], use_lu=True, dtype=dtype)
