"""`AutoregressiveCategorical`: its probabilities sum to one in every order, and its samples follow them."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    AutoregressiveCategorical,
    DivergenceError,
    LikelihoodModel,
    fit,
    from_config,
    load,
    save,
    to_config,
)
from tfp_realnvp.testing import randomize, tolerance

SIZES = [3, 2, 1, 4]
# Columns that share a padded last layer, and columns with one of their own.
UNEQUAL_SIZES = [2, 3, 17, 65, 1]
DTYPES = pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)


def neighbours(num_classes):
    """Parents of each column: the one after it, then the one before it."""
    columns = range(len(num_classes))
    return [[parent for parent in (column + 1, column - 1) if parent in columns] for column in columns]


def random_categorical(num_classes=SIZES, *, scale=2.0, seed=0, **options):
    """With weights so large that probabilities of one column differ tenfold and depend on the others."""
    options = {"width": 8, "embedding_size": 3, "parents": neighbours(num_classes)} | options
    distribution = AutoregressiveCategorical(num_classes, seed=seed, **options)
    randomize(distribution, seed=seed, scale=scale)
    rng = np.random.default_rng(seed)
    for group in distribution.network.groups:
        if group.tables is not None:
            tables = rng.normal(size=group.tables.shape)
            tables[0] = 0  # what is added where no parent is seen
            group.tables.assign(tables)
    return distribution


def all_vectors(num_classes):
    """Every vector of classes, int32 `[prod(num_classes), C]`."""
    return np.array(list(itertools.product(*map(range, num_classes))), np.int32)


def subsets(number):
    return [np.array(flags) for flags in itertools.product([False, True], repeat=number)]


def sums_by_given(classes, log_probs, is_given):
    """The sum of probabilities over the columns that are not given, for each combination of the given ones."""
    _, group = np.unique(classes[:, is_given], axis=0, return_inverse=True)
    return np.bincount(group.reshape(-1), weights=np.exp(np.asarray(log_probs, np.float64)))


def assert_frequencies(samples, num_classes, log_probs):
    """Pearson's statistic over all vectors, less than five standard deviations above its mean: an alarm in 10^5."""
    index = np.ravel_multi_index(samples.T, num_classes)
    expected = len(samples) * np.exp(np.asarray(log_probs, np.float64))
    observed = np.bincount(index, minlength=len(expected))
    assert not observed[expected < 1e-9 * len(samples)].any()
    is_common = expected >= 5  # what is rarer is one cell: the statistic is then close to chi-square
    observed = np.append(observed[is_common], observed[~is_common].sum())
    expected = np.append(expected[is_common], expected[~is_common].sum())
    kept = expected > 0
    statistic = ((observed[kept] - expected[kept]) ** 2 / expected[kept]).sum()
    degrees = kept.sum() - 1
    assert statistic < degrees + 5 * np.sqrt(2 * degrees) + 5, f"{statistic:.1f} for {degrees} degrees of freedom"


def as_training(distribution):
    """A Keras model whose `training=True` reaches the networks, as in `fit`."""
    model = LikelihoodModel(distribution)
    return lambda classes: model(tf.constant(classes), training=True)


# Probabilities.


@DTYPES
@pytest.mark.parametrize("num_classes", [SIZES, [5], [1], [1, 1], [2, 3, 17, 1]], ids=str)
def test_probabilities_of_all_vectors_sum_to_one(num_classes, dtype):
    distribution = random_categorical(num_classes, dtype=dtype)
    log_prob = distribution.log_prob(all_vectors(num_classes))
    assert log_prob.dtype == dtype
    assert sum(np.exp(log_prob.numpy().astype(np.float64))) == pytest.approx(1, abs=tolerance(dtype))


@DTYPES
@pytest.mark.parametrize("is_given", subsets(len(SIZES)), ids=lambda flags: "".join(map(str, flags.astype(int))))
def test_probabilities_of_the_free_columns_sum_to_one_whatever_is_given(is_given, dtype):
    classes = all_vectors(SIZES)
    log_prob = random_categorical(dtype=dtype).log_prob_given(classes, is_given)
    assert log_prob.dtype == dtype
    np.testing.assert_allclose(sums_by_given(classes, log_prob, is_given), 1, atol=tolerance(dtype))
    if is_given.all():
        np.testing.assert_array_equal(log_prob, np.zeros(len(classes)))


@pytest.mark.parametrize("number", range(len(SIZES) + 1))
def test_given_the_first_columns_it_is_the_conditional_of_log_prob(number):
    distribution, classes = random_categorical(dtype=tf.float64), all_vectors(SIZES)
    is_given = np.arange(len(SIZES)) < number
    log_prob = distribution.log_prob(classes).numpy()
    sums = sums_by_given(classes, log_prob, is_given)
    _, group = np.unique(classes[:, is_given], axis=0, return_inverse=True)
    expected = log_prob - np.log(sums)[group.reshape(-1)]
    np.testing.assert_allclose(distribution.log_prob_given(classes, is_given), expected, atol=tolerance(tf.float64))


def test_given_other_columns_it_is_a_conditional_of_its_own():
    # Not that of the canonical order: a network's conditionals in two orders agree after training at best.
    distribution, classes = random_categorical(dtype=tf.float64), all_vectors(SIZES)
    is_given = np.array([False, False, False, True])
    log_prob = distribution.log_prob(classes).numpy()
    conditional = log_prob - np.log(sums_by_given(classes, log_prob, is_given))[classes[:, 3]]
    assert np.abs(distribution.log_prob_given(classes, is_given) - conditional).max() > 0.1


def test_given_columns_may_be_flags_of_any_kind():
    distribution, classes = random_categorical(), all_vectors(SIZES)
    expected = distribution.log_prob_given(classes, np.array([True, False, True, False]))
    for flags in ([1.0, 0.0, 1.0, 0.0], tf.constant([True, False, True, False]), np.array([1, 0, 1, 0])):
        np.testing.assert_array_equal(distribution.log_prob_given(classes.astype(np.int64), flags), expected)


@pytest.mark.parametrize("is_first", [None, [False, True, False, True], [True, True, False, False]], ids=str)
def test_no_column_sees_itself_or_what_comes_after_it(is_first):
    distribution, classes = random_categorical(dtype=tf.float64), all_vectors(SIZES)
    order = np.argsort(~np.array(is_first), kind="stable") if is_first else np.arange(len(SIZES))
    rank = np.argsort(order)
    terms = distribution.network(classes, is_first=None if is_first is None else tf.constant(is_first)).numpy()
    for column, count in enumerate(SIZES):
        if count == 1:
            continue
        changed = classes.copy()
        changed[:, column] = (changed[:, column] + 1) % count
        moved = np.abs(distribution.network(changed, is_first=is_first and tf.constant(is_first)) - terms).max(axis=0)
        assert (moved[rank < rank[column]] == 0).all()
        # A column of one class has probability one, whatever is before it.
        assert (moved[(rank >= rank[column]) & (np.array(SIZES) > 1)] > 1e-3).all()
        # What it sees of itself would show in its normalisation.
        others = np.delete(np.arange(len(SIZES)), column)
        _, group = np.unique(classes[:, others], axis=0, return_inverse=True)
        totals = np.bincount(group.reshape(-1), weights=np.exp(terms[:, column]))
        np.testing.assert_allclose(totals, 1, atol=tolerance(tf.float64))


@DTYPES
def test_classes_that_only_pad_a_group_have_no_probability(dtype):
    # Random weights in the padding, too: it is masked, not only left alone by the gradient.
    distribution = random_categorical(UNEQUAL_SIZES, dtype=dtype)
    shapes = sorted(tuple(group.bias.shape) for group in distribution.network.groups)
    assert shapes == [(1, 1, 1), (1, 1, 17), (1, 1, 65), (2, 1, 3)]
    # Each column by itself, the others fixed: the probabilities of the classes there are sum to one.
    for column, count in enumerate(UNEQUAL_SIZES):
        classes = np.zeros([count, len(UNEQUAL_SIZES)], np.int32)
        classes[:, column] = np.arange(count)
        terms = distribution.network(classes).numpy()[:, column].astype(np.float64)
        assert np.exp(terms).sum() == pytest.approx(1, abs=tolerance(dtype))
    samples = distribution.sample(5000, seed=(0, 1)).numpy()
    assert (samples >= 0).all()
    assert (samples < UNEQUAL_SIZES).all()


def test_the_gradient_leaves_the_padding_alone():
    distribution = random_categorical([2, 3])
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(distribution.log_prob(all_vectors([2, 3])))
    (group,) = distribution.network.groups
    kernel, bias = tape.gradient(loss, [group.rough_kernel, group.bias])
    assert not np.any(kernel[0, :, 2])
    assert bias[0, 0, 2] == 0
    assert np.all(bias[1, 0])


@pytest.mark.parametrize("wrong", [-1, 9])
def test_what_is_no_class_has_no_probability(wrong):
    with pytest.raises(ValueError, match=rf"class {wrong} is not one of 0, …, \d in row 0 of column 1"):
        random_categorical().log_prob([[0, wrong, *[0] * (len(SIZES) - 2)]])


def test_fit_refuses_what_is_no_class():
    with pytest.raises(ValueError, match="class 3 is not one of 0, …, 2 in row 1 of column 0"):
        fit(AutoregressiveCategorical([3, 2]), [[1, 1], [3, 1]], steps=1, verbose=0)


def test_log_prob_has_the_shape_of_its_batch():
    distribution = random_categorical()
    classes = all_vectors(SIZES)
    expected = distribution.log_prob(classes).numpy()
    for shape in [(24,), (2, 12), (2, 3, 4), (24, 1)]:
        found = distribution.log_prob(classes.reshape(*shape, 4))
        assert found.shape == shape
        np.testing.assert_allclose(found, expected.reshape(shape), rtol=1e-6)
    assert distribution.log_prob(classes[5]).shape == ()
    assert distribution.log_prob(classes[5]).numpy() == pytest.approx(expected[5], rel=1e-6)
    assert distribution.log_prob(classes[:0]).shape == (0,)


def test_it_starts_uniform():
    distribution, classes = AutoregressiveCategorical(UNEQUAL_SIZES, seed=0), np.zeros([1, 5], np.int32)
    np.testing.assert_allclose(distribution.log_prob(classes), [-np.log(np.prod(UNEQUAL_SIZES))], rtol=1e-6)


def test_initialize_gives_the_frequencies_of_each_column():
    rng = np.random.default_rng(0)
    classes = np.stack([rng.integers(0, count, 500) ** 2 % count for count in UNEQUAL_SIZES], axis=-1)
    distribution = AutoregressiveCategorical(UNEQUAL_SIZES, seed=0)
    distribution.initialize(classes)
    rows = rng.permuted(classes, axis=0)[:20]  # independent: whatever the other columns are
    expected = np.zeros(len(rows))
    for column, count in enumerate(UNEQUAL_SIZES):
        frequencies = np.bincount(classes[:, column], minlength=count) + 0.1  # a tenth of a row for each class
        expected += np.log(frequencies / frequencies.sum())[rows[:, column]]
    np.testing.assert_allclose(distribution.log_prob(rows), expected, rtol=1e-5)


# Samples.


def test_samples_follow_log_prob():
    distribution = random_categorical()
    samples = distribution.sample(100_000, seed=(0, 1)).numpy()
    assert_frequencies(samples, SIZES, distribution.log_prob(all_vectors(SIZES)))


@pytest.mark.parametrize("is_given", subsets(len(SIZES))[1:], ids=lambda flags: "".join(map(str, flags.astype(int))))
def test_samples_keep_what_is_given_and_follow_log_prob_given(is_given):
    distribution = random_categorical(seed=1)
    row = np.array([2, 1, 0, 3], np.int32)
    num_samples = 20_000
    uniforms = np.random.default_rng(0).random([num_samples, 4], np.float32)
    # What stands in the other columns is of no account, even if it is no class.
    classes = np.tile(np.where(is_given, row, -7), [num_samples, 1])
    samples = distribution.sample_given(uniforms, classes, is_given).numpy()
    again, log_probs = distribution.sample_and_log_prob_given(uniforms, classes, is_given)
    np.testing.assert_array_equal(again, samples)
    np.testing.assert_allclose(log_probs, distribution.log_prob_given(samples, is_given), atol=1e-5)
    assert samples.dtype == np.int32
    np.testing.assert_array_equal(samples[:, is_given], np.tile(row[is_given], [num_samples, 1]))
    vectors = all_vectors(SIZES)
    fits = (vectors[:, is_given] == row[is_given]).all(axis=1)
    log_prob = np.where(fits, distribution.log_prob_given(vectors, is_given), -np.inf)
    assert_frequencies(samples, SIZES, log_prob)


def test_given_nothing_samples_are_those_of_sample_from():
    distribution = random_categorical()
    uniforms = np.random.default_rng(0).random([500, 4], np.float32)
    np.testing.assert_array_equal(
        distribution.sample_given(uniforms, np.zeros([500, 4], np.int32), np.zeros(4)),
        distribution.sample_from(uniforms),
    )


@DTYPES
def test_uniforms_next_to_zero_and_one_give_the_first_and_the_last_class(dtype):
    distribution = random_categorical(UNEQUAL_SIZES, scale=0.5, dtype=dtype)
    below_one = np.nextafter(1.0, 0.0, dtype=dtype.as_numpy_dtype)
    uniforms = np.stack([np.zeros(5), np.full(5, below_one)]).astype(dtype.as_numpy_dtype)
    np.testing.assert_array_equal(distribution.sample_from(uniforms), [[0] * 5, [count - 1 for count in UNEQUAL_SIZES]])


@DTYPES
def test_a_class_of_probability_zero_is_never_drawn(dtype):
    """Whatever the rounding of the cumulative sums, at the least and the greatest uniform numbers there are."""
    below_one = np.nextafter(1.0, 0.0, dtype=dtype.as_numpy_dtype)
    uniforms = np.array([[0.0], [below_one]], dtype.as_numpy_dtype)
    rng = np.random.default_rng(0)
    for _ in range(30):
        distribution = AutoregressiveCategorical([21], width=2, dtype=dtype, seed=0)
        logits = rng.normal(size=21)
        logits[[0, -1]] = -2000
        distribution.network.groups[0].bias.assign(logits[None, None])
        np.testing.assert_array_equal(distribution.sample_from(uniforms), [[1], [19]])


def test_sample_shapes():
    distribution = random_categorical()
    for shape in [(), (4,), (2, 3), (0,)]:
        sample = distribution.sample(shape)
        assert sample.shape == (*shape, 4)
        assert sample.dtype == tf.int32
    assert distribution.event_shape == (4,)
    assert distribution.batch_shape == ()
    np.testing.assert_array_equal(distribution.event_shape_tensor(), [4])
    assert distribution.dtype == tf.int32


# Seeds.


def weights_of(distribution):
    return [variable.numpy() for variable in distribution.trainable_variables]


def test_the_same_seed_gives_the_same_weights_and_samples_whatever_the_global_seeds():
    tf.random.set_seed(1)
    a = AutoregressiveCategorical(SIZES, seed=7)
    tf.random.set_seed(2)
    b = AutoregressiveCategorical(SIZES, seed=np.int64(7))
    for x, y in zip(weights_of(a), weights_of(b), strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(a.sample(50, seed=(0, 1)), b.sample(50, seed=(0, 1)))
    assert np.any(a.sample(50, seed=(0, 1)) != a.sample(50, seed=(0, 2)))


@pytest.mark.parametrize("seeds", [(7, 8), (None, None)], ids=str)
def test_another_seed_and_no_seed_give_other_weights(seeds):
    a, b = (weights_of(AutoregressiveCategorical(SIZES, seed=seed)) for seed in seeds)
    assert not any(np.array_equal(x, y) for x, y in zip(a, b, strict=True) if np.any(x))


# Training.


def test_in_training_calls_differ_and_each_is_a_likelihood():
    distribution, classes = random_categorical(dtype=tf.float64), all_vectors(SIZES)
    canonical = distribution.log_prob(classes).numpy()
    log_prob = as_training(distribution)
    calls = np.stack([log_prob(classes).numpy() for _ in range(60)])
    # One order a call, the same for all its rows: the probabilities of each call sum to one.
    np.testing.assert_allclose(np.exp(calls).sum(axis=1), 1, atol=tolerance(tf.float64))
    is_canonical = np.isclose(calls, canonical, rtol=1e-9).all(axis=1)
    # At least half of the calls; an empty or a first subset, and one of the constant column, are the same order.
    assert 0.4 < is_canonical.mean() < 0.95
    assert len(np.unique(calls[:, 0].round(9))) > 3
    np.testing.assert_array_equal(distribution.log_prob(classes), canonical)  # outside of training: as before


def test_the_orders_follow_from_the_seed():
    classes = all_vectors(SIZES)

    def calls(seed):
        distribution = AutoregressiveCategorical(SIZES, width=8, seed=seed, dropout=0.5, dtype=tf.float64)
        randomize(distribution, scale=2.0)
        log_prob = as_training(distribution)
        return np.stack([log_prob(classes).numpy() for _ in range(5)])

    np.testing.assert_array_equal(calls(3), calls(3))
    assert np.any(calls(3) != calls(4))


def test_dropout_is_for_training_only():
    classes = all_vectors(SIZES)
    plain, dropping = (random_categorical(dropout=dropout, dtype=tf.float64) for dropout in (0.0, 0.5))
    np.testing.assert_array_equal(plain.log_prob(classes), dropping.log_prob(classes))
    # The same seed, so the same orders: what differs is what was dropped. Rows lose different units, so that a call
    # is no distribution any more; the mean of many calls is near the value without.
    a, b = as_training(plain), as_training(dropping)
    differences = np.stack([(b(classes) - a(classes)).numpy() for _ in range(20)])
    assert (np.abs(differences).max(axis=1) > 1e-3).all()


def test_gradients_reach_every_variable():
    distribution = random_categorical([2, 3, 17, 65, 2], dtype=tf.float64)
    rows = distribution.sample(500, seed=(0, 1))
    assert len(distribution.trainable_variables) == 7 + 2 * 3  # three groups of columns
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(distribution.log_prob(rows))
    for variable, gradient in zip(
        distribution.trainable_variables, tape.gradient(loss, distribution.trainable_variables), strict=True
    ):
        gradient = tf.convert_to_tensor(gradient)  # that of a gather is sparse
        assert np.isfinite(gradient).all(), variable.name
        assert np.any(gradient), variable.name


def test_a_column_of_one_class_has_gradients_of_zero():
    distribution = random_categorical([1])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(distribution.log_prob([[0], [0]]))
    assert loss.numpy() == 0
    for gradient in tape.gradient(loss, distribution.trainable_variables):
        assert gradient is not None
        assert not np.any(tf.convert_to_tensor(gradient))


def test_weights_of_two_classes_of_one_column_are_not_shared():
    """Each (column, class) has its own embedding: swapping two classes moves the later columns."""
    distribution = random_categorical()
    terms = distribution.network(np.array([[0, 0, 0, 0], [1, 0, 0, 0]], np.int32)).numpy()
    assert (np.abs(terms[0] - terms[1])[[1, 3]] > 1e-3).all()


def dependent_classes(num_rows, seed):
    """The second column copies the first nine times out of ten, the third is their sum modulo three."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 3, num_rows)
    second = np.where(rng.random(num_rows) < 0.9, first, rng.integers(0, 3, num_rows))
    return np.stack([first, second, (first + second) % 3], axis=-1)


@pytest.fixture(scope="module")
def fitted():
    distribution = AutoregressiveCategorical([3, 3, 3], width=16, embedding_size=4, seed=0)
    history = fit(distribution, dependent_classes(2000, 0), steps=600, learning_rate=2e-2, seed=0, verbose=0)
    return distribution, history


def test_fit_learns_the_conditionals_in_every_order(fitted):
    distribution, history = fitted
    assert history.history["val_loss"][-1] < history.history["val_loss"][0]
    vectors = all_vectors([3, 3, 3])
    copies, others = 0.9 + 0.1 / 3, 0.1 / 3
    truth = np.where(vectors[:, 0] == vectors[:, 1], copies, others) / 3
    truth[vectors[:, 2] != (vectors[:, 0] + vectors[:, 1]) % 3] = 0

    # Distances in total variation. 2,000 rows tell the nine probabilities there are to about 0.03.
    assert np.abs(np.exp(distribution.log_prob(vectors)) - truth).sum() / 2 < 0.06
    for is_given in ([False, False, True], [False, True, False], [False, True, True]):
        _, group = np.unique(vectors[:, is_given], axis=0, return_inverse=True)
        mass = np.bincount(group.reshape(-1), weights=truth)[group.reshape(-1)]
        found = mass * np.exp(distribution.log_prob_given(vectors, is_given))
        # These orders had a part of the steps only.
        assert np.abs(found - truth).sum() / 2 < 0.1, is_given


def test_fit_with_a_seed_repeats_itself():
    def run():
        distribution = AutoregressiveCategorical([3, 3, 3], width=4, seed=0, dropout=0.2)
        fit(distribution, dependent_classes(300, 0), steps=8, batch_size=64, seed=1, jit_compile=False, verbose=0)
        return weights_of(distribution)

    for a, b in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fit_from_the_frequencies_starts_there():
    classes = dependent_classes(300, 0)[:, :2]
    distribution = AutoregressiveCategorical([3, 5], width=4, seed=0)
    distribution.initialize(classes)
    before = -distribution.log_prob(classes).numpy().mean()
    history = fit(distribution, classes, steps=1, learning_rate=1e-6, validation_split=0, jit_compile=False, verbose=0)
    # The loss of the first batch, 256 of 300 rows.
    assert history.history["loss"][0] == pytest.approx(before, abs=0.05)


def test_a_divergence_is_told():
    distribution = AutoregressiveCategorical([3, 3, 3], width=4, seed=0)
    distribution.network.first_bias.assign(np.full([3, 4], np.nan))
    with pytest.raises(DivergenceError, match=r"The validation loss was never finite|became infinite or NaN"):
        fit(distribution, dependent_classes(100, 0), steps=2, jit_compile=False, verbose=0)


# Compiled, saved, restored.


@pytest.mark.slow
def test_compiled_by_xla_it_gives_the_same():
    distribution, classes = random_categorical(UNEQUAL_SIZES), np.array([[1, 2, 16, 64, 0], [0, 0, 0, 0, 0]])
    log_prob = tf.function(distribution.log_prob, jit_compile=True)
    np.testing.assert_allclose(log_prob(classes.astype(np.int32)), distribution.log_prob(classes), rtol=1e-5)
    uniforms = np.random.default_rng(0).random([200, 5], np.float32)
    sample = tf.function(distribution.sample_from, jit_compile=True)
    # A sum that rounds otherwise moves a row in 10,000 to another class.
    assert (sample(uniforms).numpy() != distribution.sample_from(uniforms).numpy()).any(axis=1).sum() <= 1
    draw = tf.function(lambda: distribution.sample(200, seed=(0, 1)), jit_compile=True)  # XLA has other generators
    np.testing.assert_array_equal(draw(), draw())


@DTYPES
def test_a_saved_one_comes_back(tmp_path, dtype):
    distribution = random_categorical(UNEQUAL_SIZES, dropout=0.25, dtype=dtype, name="classes")
    before_saving = as_training(distribution)
    rows = distribution.sample(20, seed=(0, 1)).numpy()
    before_saving(rows)
    save(distribution, tmp_path / "a.flow")
    loaded = load(tmp_path / "a.flow")
    assert loaded.name == "classes"
    np.testing.assert_array_equal(loaded.log_prob(rows), distribution.log_prob(rows))
    np.testing.assert_array_equal(loaded.sample(50, seed=(0, 2)), distribution.sample(50, seed=(0, 2)))
    is_given = [False, True, False, False, True]
    np.testing.assert_array_equal(loaded.log_prob_given(rows, is_given), distribution.log_prob_given(rows, is_given))
    # The orders and the dropout go on where they stood.
    np.testing.assert_array_equal(as_training(loaded)(rows), before_saving(rows))
    save(loaded, tmp_path / "b.flow")
    assert json.dumps(to_config(loaded)[0]) == json.dumps(to_config(distribution)[0])


def test_one_with_a_fresh_seed_comes_back_with_that_seed():
    distribution = AutoregressiveCategorical(SIZES)
    config, tensors = to_config(distribution)
    built = from_config(json.loads(json.dumps(config)), tensors)
    assert isinstance(built.parameters["seed"], int)
    assert built.parameters == distribution.parameters


def test_tensors_of_another_shape_are_refused(tmp_path):
    config, tensors = to_config(random_categorical())
    config["arguments"]["width"] = 9
    with pytest.raises(ValueError, match=r"tensor flow\.\d+ has shape|flow would have \d+ weights"):
        from_config(config, tensors)


def test_a_checkpoint_brings_every_variable_back(tmp_path):
    saved, restored = random_categorical(seed=0), random_categorical(seed=1)
    rows = all_vectors(SIZES)
    assert np.any(saved.log_prob(rows) != restored.log_prob(rows))
    path = tf.train.Checkpoint(model=saved).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=restored).restore(path).assert_consumed()
    np.testing.assert_array_equal(saved.log_prob(rows), restored.log_prob(rows))


def test_tf_module_and_keras_find_the_same_variables():
    distribution = random_categorical(UNEQUAL_SIZES)
    assert isinstance(distribution.network, tf_keras.Model)
    for found in (distribution.variables, distribution.network.weights):
        assert len({variable.ref() for variable in found}) == 7 + 3 * 4 + 1  # and the counter of calls


# Errors.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": []}, "num_columns must be at least 1, got 0"),
        ({"num_classes": [2, 0]}, r"num_classes\[1\] must be at least 1, got 0"),
        ({"num_classes": [2], "width": 0}, "width must be at least 1, got 0"),
        ({"num_classes": [2], "embedding_size": 0}, "embedding_size must be at least 1, got 0"),
        ({"num_classes": [2], "dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"num_classes": [2], "dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"num_classes": [2], "num_ordered": [3]}, r"how many of its \[2\] classes lie in an order, got \[3\]"),
    ],
)
def test_errors_say_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        AutoregressiveCategorical(**arguments)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([[0, 0], [1, 3]], "class 3 is not one of 0, …, 2 in row 1 of column 1"),
        ([[-1, 0]], "class -1 is not one of 0, …, 1 in row 0 of column 0"),
        ([[0, 0, 0]], r"classes must have shape \[n, 2\], got \(1, 3\)"),
        (np.zeros([0, 2], int), r"classes must have shape \[n, 2\], got \(0, 2\)"),
    ],
)
def test_initialize_refuses_what_is_no_class(classes, message):
    with pytest.raises(ValueError, match=message):
        AutoregressiveCategorical([2, 3]).initialize(classes)


# Classes in an order.


ORDERS = [3, 2, 0, 3]


def test_probabilities_of_ordered_classes_sum_to_one_and_are_those_of_samples():
    distribution = random_categorical(num_ordered=ORDERS)
    classes = all_vectors(SIZES)
    log_probs = distribution.log_prob(classes)
    assert np.exp(log_probs.numpy().astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
    assert_frequencies(distribution.sample(20_000, seed=(0, 1)).numpy(), SIZES, log_probs)
    for is_given in subsets(len(SIZES)):
        found = sums_by_given(classes, distribution.log_prob_given(classes, is_given), is_given)
        np.testing.assert_allclose(found, 1, atol=1e-5)


def test_vectors_of_ordered_classes_start_alike():
    distribution = AutoregressiveCategorical([2, 50], num_ordered=[0, 50], seed=0)
    steps = np.diff(distribution.network.embeddings.numpy(), axis=0)
    assert np.abs(steps[2:]).max() < 0.2 < np.abs(steps[0]).max()
    assert distribution.parameters["num_ordered"] == [0, 50]


def test_what_is_learnt_of_an_ordered_class_is_learnt_of_its_neighbours():
    """One step up the likelihood of one class of ten, the last of which is in no order."""
    kernels = {}
    for orders in ([9], None):
        distribution = AutoregressiveCategorical([10], num_ordered=orders, width=8, seed=0)
        (group,) = distribution.network.groups
        assert not group.kernel.numpy().any()
        with tf.GradientTape() as tape:
            loss = -distribution.log_prob([2])
        group.rough_kernel.assign_sub(0.1 * tape.gradient(loss, group.rough_kernel))
        kernels[orders is not None] = group.kernel.numpy()[0]
    along, alone = (kernels[is_ordered].T @ kernels[is_ordered][:, 2] for is_ordered in (True, False))
    assert along[2] == along.max()
    assert along[1] > 0 < along[3]  # nearer ones with it
    assert along[8] < 0  # far ones against it
    assert alone[1] < 0 > alone[3]


def test_a_saved_one_comes_back_with_its_order_and_parents(tmp_path):
    distribution = random_categorical([2, 5], num_ordered=[0, 4])
    save(distribution, tmp_path / "pets.tfr")
    loaded = load(tmp_path / "pets.tfr")
    assert loaded.parameters["num_ordered"] == [0, 4]
    assert loaded.parameters["parents"] == [[1], [0]]
    classes = all_vectors([2, 5])
    np.testing.assert_array_equal(loaded.log_prob(classes), distribution.log_prob(classes))
    plain = AutoregressiveCategorical([2, 5], width=8, embedding_size=3, parents=[[1], [0]], seed=0)
    for mine, other in zip(plain.variables, distribution.variables, strict=True):
        mine.assign(other)
    assert not np.allclose(plain.log_prob(classes), distribution.log_prob(classes))


# Parents.


def graded(num_rows, seed, exceptions=0.02):
    """A rate of 60 classes, the grade of 12 that it is of but for exceptions, and a column of its own."""
    rng = np.random.default_rng(seed)
    rate = rng.integers(0, 60, num_rows)
    grade = np.where(rng.random(num_rows) < exceptions, rng.integers(0, 12, num_rows), rate // 5)
    return np.stack([rate, rng.integers(0, 4, num_rows), grade], axis=1).astype(np.int32)


def test_training_starts_where_parents_say():
    classes = graded(5_000, seed=0)
    distribution = AutoregressiveCategorical([60, 4, 12], parents=[[2], [], [0]], seed=0)
    distribution.initialize(classes)
    fresh = graded(5_000, seed=1)
    # What it costs to say the grade: the entropy of the exceptions, and a little for what 5,000 rows don't tell.
    share = 0.02 * 11 / 12
    entropy = -(1 - share) * np.log(1 - share) - share * np.log(share / 11)
    rate_and_other = np.log(60) + np.log(4)
    assert -np.mean(distribution.log_prob(fresh)) == pytest.approx(rate_and_other + entropy, abs=0.05)
    given = distribution.log_prob_given(fresh, [False, False, True])  # 5 rates of a grade and 4 of the other
    assert -np.mean(given) == pytest.approx(np.log(5 * 4) + entropy, abs=0.05)
    samples = distribution.sample(5_000, seed=(0, 1)).numpy()
    assert np.mean(samples[:, 0] // 5 == samples[:, 2]) == pytest.approx(1 - share, abs=0.02)


def test_the_strongest_parent_that_is_seen_is_asked():
    classes = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 1, 1]] * 100, np.int32)  # the last is the second
    distribution = AutoregressiveCategorical([2, 2, 2], parents=[[], [], [1, 0]], seed=0)
    distribution.initialize(classes)
    assert np.exp(distribution.log_prob([0, 1, 1]) - distribution.log_prob([0, 1, 0])) > 100
    weak = distribution.log_prob_given([[0, 1, 1], [0, 1, 0]], [True, False, False])
    assert np.isfinite(weak).all()
    first = distribution.network(np.array([[0, 1, 1]], np.int32), is_first=tf.constant([True, False, True]))
    assert np.exp(first[0, 2]) == pytest.approx(0.5, abs=0.01)  # of the first column only: 100 of its 200 rows


@pytest.mark.parametrize(
    "copied",
    [
        lambda pets: pets.copy(name="twin"),
        lambda pets: pets[...].copy(),
        lambda pets: tfd.Independent(pets, 0)[...].distribution,
    ],
    ids=["copy", "slice", "part"],
)
def test_a_copy_shares_the_variables(copied):
    pets, classes = random_categorical(), all_vectors(SIZES)
    twin = copied(pets)
    assert {v.ref() for v in twin.variables} == {v.ref() for v in pets.variables}
    np.testing.assert_array_equal(twin.log_prob(classes), pets.log_prob(classes))


def test_what_a_copy_cannot_be_is_refused():
    pets = random_categorical()
    with pytest.raises(ValueError, match="shares its network: it cannot have another width"):
        pets.copy(width=32)
    for slices in (tf.newaxis, 0, (..., tf.newaxis)):
        with pytest.raises(ValueError, match=r"is one distribution, of batch shape \[\]"):
            pets[slices]


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([[0]], r"int32 of shape \(1, 1\)"),
        ([0], r"int32 of shape \(1,\)"),
        (0, r"int32 of shape \(\)"),
        ([[0, 1, 2]], r"int32 of shape \(1, 3\)"),
        ([[0.0, 2.0]], r"float32 of shape \(1, 2\)"),
    ],
)
def test_what_are_no_vectors_of_classes_is_refused(value, got):
    pets = AutoregressiveCategorical([2, 3], width=4, seed=0)
    with pytest.raises(ValueError, match=r"expected classes as integers of shape \[..., 2\], got " + got):
        pets.log_prob(value)


def test_classes_are_integers_of_any_size():
    pets = AutoregressiveCategorical([2, 3], width=4, seed=0)
    for dtype in (np.int64, np.uint8):
        np.testing.assert_array_equal(pets.log_prob(np.array([[0, 2]], dtype)), pets.log_prob([[0, 2]]))
