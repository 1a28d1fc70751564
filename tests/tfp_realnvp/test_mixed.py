"""`Mixed`: p(d) p(x | d) is a distribution over pairs, with samples, training and a file like any other."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    AffineCoupling,
    AutoregressiveCategorical,
    ClassContext,
    DivergenceError,
    Flow,
    Mixed,
    fit,
    from_config,
    load,
    mlp,
    real_nvp,
    save,
    to_config,
)
from tfp_realnvp.testing import randomize, tolerance

SIZES = [3, 2]
DTYPES = pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)


def make(event_size=3, *, num_classes=SIZES, dtype=tf.float32, seed=0, **options):
    discrete = AutoregressiveCategorical(num_classes, width=8, embedding_size=3, dtype=dtype, seed=seed, **options)
    context = ClassContext(num_classes, embedding_size=3, dtype=dtype, seed=seed)
    continuous = real_nvp(event_size, num_couplings=2, hidden_units=[8], context=context, dtype=dtype, seed=seed)
    return Mixed(discrete, continuous)


def random_mixed(event_size=3, *, seed=0, **options):
    mixed = make(event_size, seed=seed, **options)
    randomize(mixed, seed=seed, scale=1.5)
    return mixed


def pairs(num_rows, event_size=3, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    d = np.stack([rng.integers(0, count, num_rows) for count in SIZES], axis=-1).astype(np.int32)
    return d, rng.normal(size=[num_rows, event_size]).astype(dtype)


def weights_of(mixed):
    return [variable.numpy() for variable in mixed.trainable_variables]


@DTYPES
def test_log_prob_is_the_sum_of_its_parts(dtype):
    mixed = random_mixed(dtype=dtype)
    d, x = pairs(20, dtype=dtype.as_numpy_dtype)
    log_prob = mixed.log_prob((d, x))
    assert log_prob.dtype == dtype
    expected = mixed.discrete.log_prob(d) + mixed.continuous.log_prob(x, context=d)
    np.testing.assert_allclose(log_prob, expected, rtol=tolerance(dtype))
    moved = mixed.log_prob(((d + 1) % SIZES, x))
    assert (np.abs(moved - log_prob) > 1e-3).all()
    np.testing.assert_array_equal(mixed.log_prob([d, x]), log_prob)  # a list is as good as a tuple


@DTYPES
def test_it_sums_and_integrates_to_one(dtype):
    """Over the classes of one column and a line: each class has a scale and a shift of its own."""
    context = ClassContext([4], embedding_size=3, dtype=dtype, seed=0)
    coupling = AffineCoupling([False], mlp(0, 1, hidden_units=[8], context=context, dtype=dtype, seed=0))
    base = tfd.Sample(tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)), 1)
    mixed = Mixed(AutoregressiveCategorical([4], width=8, dtype=dtype, seed=0), Flow(base, coupling))
    randomize(mixed, scale=2.0)
    line = np.linspace(-40, 40, 8001, dtype=dtype.as_numpy_dtype)
    d = np.repeat(np.arange(4, dtype=np.int32), len(line))[:, None]
    density = np.exp(mixed.log_prob((d, np.tile(line, 4)[:, None])).numpy().astype(np.float64))
    masses = density.reshape(4, -1).sum(axis=1) * (line[1] - line[0])
    # The trapezoidal rule is exact to rounding for Gaussians a hundred steps wide.
    allowed = 10 * tolerance(dtype)
    np.testing.assert_allclose(masses, np.exp(mixed.discrete.log_prob(np.arange(4)[:, None])), rtol=allowed)
    assert masses.sum() == pytest.approx(1, abs=allowed)
    assert masses.std() > 0.01


def test_its_samples_agree_with_log_prob():
    """The mean of 1 / p over the samples in a box is the box's volume, for each class: five standard errors."""
    mixed = make(2)
    randomize(mixed, scale=0.7)
    d, x = mixed.sample(100_000, seed=(0, 1))
    log_prob = mixed.log_prob((d, x)).numpy().astype(np.float64)
    is_inside = (np.abs(x) < 1).all(axis=1)
    for classes in np.ndindex(*SIZES):
        ratio = np.where((d == classes).numpy().all(axis=1) & is_inside, np.exp(-log_prob), 0) / 4
        assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(len(ratio)), classes


@DTYPES
def test_sample_shapes(dtype):
    mixed = random_mixed(dtype=dtype)
    assert mixed.dtype == (tf.int32, dtype)
    assert mixed.event_shape == (tf.TensorShape([2]), tf.TensorShape([3]))
    assert mixed.batch_shape == ()
    np.testing.assert_array_equal(mixed.event_shape_tensor()[1], [3])
    for shape in [(), (4,), (2, 3)]:
        d, x = mixed.sample(shape)
        assert (d.shape, x.shape) == ((*shape, 2), (*shape, 3))
        assert (d.dtype, x.dtype) == (tf.int32, dtype)
        log_prob = mixed.log_prob((d, x))
        assert log_prob.shape == shape
        flat = mixed.log_prob((tf.reshape(d, [-1, 2]), tf.reshape(x, [-1, 3])))
        np.testing.assert_allclose(tf.reshape(log_prob, [-1]), flat, rtol=tolerance(dtype), atol=tolerance(dtype))


def test_the_same_seed_gives_the_same_samples():
    mixed = random_mixed()
    a, b, c = (mixed.sample(50, seed=(0, seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])
    assert np.any(a[0] != c[0])
    assert np.all(a[1] != c[1])


def test_gradients_reach_every_variable_of_both_parts():
    mixed = random_mixed(dtype=tf.float64)
    parts = len(mixed.discrete.trainable_variables), len(mixed.continuous.trainable_variables)
    assert len(mixed.trainable_variables) == sum(parts)
    d, x = pairs(100, dtype=np.float64)
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(mixed.log_prob((d, x)))
    for variable, gradient in zip(
        mixed.trainable_variables, tape.gradient(loss, mixed.trainable_variables), strict=True
    ):
        assert gradient is not None, variable.name
        assert np.any(tf.convert_to_tensor(gradient)), variable.name


# Training.


def dependent_pairs(num_rows, seed=0):
    """Classes that copy each other three times out of four, and numbers around a mean that the classes choose."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 2, num_rows)
    second = np.where(rng.random(num_rows) < 0.75, first, 1 - first)
    d = np.stack([first, second], axis=-1).astype(np.int32)
    return d, ((2 * d - 1) + 0.3 * rng.normal(size=[num_rows, 2])).astype(np.float32)


# Of that distribution: log(2), the entropy of a coin of 0.75, and of two Gaussians of deviation 0.3.
ENTROPY = np.log(2) - 0.75 * np.log(0.75) - 0.25 * np.log(0.25) + np.log(2 * np.pi * np.e * 0.09)


def train(**options):
    mixed = make(2, num_classes=[2, 2], dropout=0.1)
    options = {"steps": 400, "learning_rate": 1e-2, "seed": 0, "verbose": 0} | options
    return mixed, fit(mixed, dependent_pairs(1000), **options)


@pytest.mark.slow
def test_fit_takes_a_tuple_and_comes_close_to_the_entropy():
    mixed, history = train()
    x = dependent_pairs(5000, seed=1)
    losses = -mixed.log_prob(x).numpy()
    # Four standard errors of the mean of 5,000 rows, and 0.1 nats for 1,000 rows and 400 steps.
    assert ENTROPY - 4 * losses.std() / np.sqrt(5000) < losses.mean() < ENTROPY + 4 * losses.std() / np.sqrt(5000) + 0.1
    assert history.history["val_loss"][0] > history.history["val_loss"][-1]


@pytest.mark.slow
def test_fit_with_a_seed_repeats_itself():
    (a, first), (b, second) = train(steps=70), train(steps=70)
    for x, y in zip(weights_of(a), weights_of(b), strict=True):
        np.testing.assert_array_equal(x, y)
    assert first.history == second.history


def test_fit_takes_a_tuple_of_validation_data():
    _, history = train(steps=2, validation_data=dependent_pairs(50, seed=3), jit_compile=False)
    assert np.isfinite(history.history["val_loss"]).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda _, x: x, "x must be a tuple of 2 arrays"),
        (lambda d, _: (d,), "x must be a tuple of 2 arrays"),
        (lambda d, x: (d, x, x), "x must be a tuple of 2 arrays"),
        (lambda d, x: (d[:5], x), r"x must hold arrays \[n, …\] with events of the shapes \[\(2,\), \(3,\)\]"),
        (lambda d, x: (d[:, :1], x), r"x must hold arrays \[n, …\] with events of the shapes \[\(2,\), \(3,\)\]"),
        (lambda d, x: (x, d), r"x must hold arrays \[n, …\] with events of the shapes \[\(2,\), \(3,\)\]"),
        (lambda d, x: (d, np.where(np.arange(10)[:, None] == 7, np.nan, x)), "x holds NaN or infinity in row 7"),
        (lambda d, x: (d + 1, x), r"class \d is not one of 0, …, \d in row \d of column \d"),
        (lambda d, x: (d + 0.5, x), r"x must be integers, got \d.5"),
    ],
    ids=["not a tuple", "too few", "too many", "lengths", "classes' shape", "swapped", "NaN", "class", "no integer"],
)
def test_fit_refuses_what_is_no_pair_of_rows(rows, message):
    with pytest.raises(ValueError, match=message):
        fit(random_mixed(), rows(*pairs(10)), steps=1, verbose=0)


def test_fit_takes_no_context_besides():
    with pytest.raises(ValueError, match="'mixed' takes no context"):
        fit(random_mixed(), pairs(10), context=pairs(10)[0], steps=1, verbose=0)


def test_a_divergence_is_told():
    mixed = random_mixed()
    mixed.continuous.trainable_variables[0].assign(np.full(mixed.continuous.trainable_variables[0].shape, np.nan))
    with pytest.raises(DivergenceError, match=r"The validation loss was never finite|became infinite or NaN"):
        fit(mixed, pairs(50), steps=2, jit_compile=False, verbose=0)


# Compiled, saved, restored.


@pytest.mark.slow
def test_compiled_by_xla_it_gives_the_same():
    mixed, (d, x) = random_mixed(), pairs(20)
    log_prob = tf.function(lambda d, x: mixed.log_prob((d, x)), jit_compile=True)
    np.testing.assert_allclose(log_prob(d, x), mixed.log_prob((d, x)), rtol=1e-4)
    draw = tf.function(lambda: mixed.sample(20, seed=(0, 1)), jit_compile=True)
    assert [part.shape for part in draw()] == [(20, 2), (20, 3)]


@DTYPES
def test_a_saved_one_comes_back(tmp_path, dtype):
    mixed = random_mixed(dtype=dtype, dropout=0.25)
    pair = mixed.sample(20, seed=(0, 1))
    save(mixed, tmp_path / "a.flow")
    loaded = load(tmp_path / "a.flow")
    assert isinstance(loaded, Mixed)
    assert (loaded.name, loaded.dtype) == (mixed.name, mixed.dtype)
    np.testing.assert_array_equal(loaded.log_prob(pair), mixed.log_prob(pair))
    for a, b in zip(mixed.sample(20, seed=(0, 2)), loaded.sample(20, seed=(0, 2)), strict=True):
        np.testing.assert_array_equal(a, b)
    config, tensors = to_config(mixed)
    assert from_config(json.loads(json.dumps(config)), tensors).log_prob(pair).shape == (20,)


def test_it_comes_back_out_of_compositions(tmp_path):
    """Its parts stand where TFP's compositions have distributions, and one that stands twice is one."""
    mixed = random_mixed()
    blend = tfd.BatchBroadcast(mixed.discrete, [2])
    continuous = tfd.TransformedDistribution(mixed.continuous, tfb.Scale(2.0))
    again = Mixed(mixed.discrete, continuous, name="again")
    save(again, tmp_path / "a.flow")
    loaded = load(tmp_path / "a.flow")
    pair = pairs(20)
    np.testing.assert_allclose(loaded.log_prob(pair), again.log_prob(pair), rtol=1e-6)
    save(blend, tmp_path / "b.flow")
    loaded = load(tmp_path / "b.flow")
    np.testing.assert_array_equal(loaded.distribution.log_prob(pair[0]), mixed.discrete.log_prob(pair[0]))


def test_a_checkpoint_brings_every_variable_back(tmp_path):
    saved, restored, pair = random_mixed(seed=0), random_mixed(seed=1), pairs(20)
    # Permutations are not variables: the same ones, or the checkpoint says so.
    restored = Mixed(restored.discrete, random_mixed(seed=0).continuous)
    randomize(restored, seed=5)
    assert np.any(saved.log_prob(pair) != restored.log_prob(pair))
    path = tf.train.Checkpoint(model=saved).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=restored).restore(path).assert_consumed()
    np.testing.assert_array_equal(saved.log_prob(pair), restored.log_prob(pair))


# Errors.


@pytest.mark.parametrize(
    ("context", "found"),
    [
        (None, "takes no context"),
        (ClassContext(3), r"takes contexts of shape \(\)"),
        (ClassContext([3, 2, 2]), r"takes contexts of shape \(3,\)"),
    ],
    ids=["none", "a class", "three classes"],
)
def test_a_flow_that_cannot_be_given_the_classes_is_refused(context, found):
    flow = real_nvp(3, num_couplings=2, hidden_units=[4], context=context)
    with pytest.raises(ValueError, match=rf"'flow' {found}: build it with context=ClassContext\(\[3, 2\]\)"):
        Mixed(AutoregressiveCategorical(SIZES), flow)


def test_it_is_one_distribution_whose_copies_share_the_variables():
    mixed = random_mixed()
    for twin in (mixed.copy(), mixed[...]):
        assert {v.ref() for v in twin.variables} == {v.ref() for v in mixed.variables}
    with pytest.raises(ValueError, match=r"is one distribution, of batch shape \[\]"):
        mixed[tf.newaxis]
