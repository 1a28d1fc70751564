"""Contexts become numbers: features standardised, classes embedded, and what is neither is refused."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp import ClassContext, FeatureContext, fit, image_real_nvp, mlp, real_nvp
from tfp_realnvp.binding import context_specs
from tfp_realnvp.testing import randomize


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Features.


def test_features_of_the_training_data_are_standardised_whatever_their_size():
    features = numbers(1000, 3) * [1.0, 1e6, 1e-6] + [0.0, -1e6, 5.0]
    encoded = FeatureContext.of(features, dtype=tf.float64)(tf.constant(features)).numpy()
    # float64; what is lost is 1e-16 of five, over a scale of 1e-6.
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(encoded.std(axis=0), 1, rtol=1e-8)


def test_a_constant_feature_keeps_its_scale():
    context = FeatureContext.of([[1.0, 7.0], [3.0, 7.0]])
    np.testing.assert_array_equal(context.scale, [1.0, 1.0])
    np.testing.assert_array_equal(context(tf.constant([[1.0, 8.0]])), [[-1.0, 1.0]])


def test_features_pass_as_they_are_by_default():
    context, one_hot = FeatureContext(3), np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(context(one_hot), one_hot)
    assert (context.shape, context.size, context.dtype) == ((3,), 3, tf.float32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureContext(0), "num_features must be at least 1, got 0"),
        (lambda: FeatureContext(2, mean=[0.0]), r"mean and scale must have shape \[2\]"),
        (lambda: FeatureContext(2, scale=[1.0, 0.0]), "the scale must be positive"),
        (lambda: FeatureContext(2, scale=[1.0, np.nan]), "the scale must be positive"),
        (lambda: FeatureContext.of([1.0, 2.0]), r"shape \[n, num_features\], got shape \(2,\)"),
        (lambda: FeatureContext.of([[1.0], [np.inf]]), "features must be finite"),
        (lambda: FeatureContext(1).check(np.array([[0.0], [np.nan]])), "a feature is NaN or infinite"),
    ],
)
def test_what_are_no_features_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: real_nvp(2, num_couplings=2, **options),
        lambda **options: image_real_nvp([2, 4, 1], num_scales=1, num_couplings=2, filters=2, num_blocks=1, **options),
    ],
    ids=["vectors", "images"],
)
def test_a_float64_flow_tells_large_features_apart(make):
    """In float32 seconds since 1970 are 128 apart."""
    seconds = 1.7e9 + np.arange(60.0)[:, np.newaxis]
    flow = make(dtype=tf.float64, context=FeatureContext.of(seconds), seed=0)
    randomize(flow)
    x = np.zeros(flow.event_shape)
    assert len(np.unique(flow.given(seconds).log_prob(x))) == 60
    assert len(np.unique(flow.given(tf.Variable(seconds)).log_prob(x))) == 60
    given_less = tf.Variable(np.float32(seconds))  # is cast
    np.testing.assert_array_equal(flow.given(given_less).log_prob(x), flow.given(np.float32(seconds)).log_prob(x))
    flow = make(dtype=tf.float64, context=FeatureContext.of(seconds, dtype=tf.float32), seed=0)
    assert context_specs(flow)[0].dtype == tf.float32


def test_features_that_float32_does_not_tell_apart_are_not_trained_on():
    seconds = 1.7e9 + np.arange(60.0)[:, np.newaxis]
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], context=FeatureContext.of(seconds), seed=0)
    with pytest.raises(
        ValueError, match=r"context has numbers in entry \[0\] of a row, 1.7e\+09 to 1.7e\+09, which float32"
    ):
        fit(flow, numbers(60, 2), context=seconds, epochs=1, verbose=0)


# Classes.


def test_a_class_becomes_its_row_of_the_embeddings():
    context = ClassContext(4, embedding_size=3, seed=0)
    assert (context.shape, context.size, context.dtype) == ((), 3, tf.int32)
    np.testing.assert_array_equal(context(tf.constant([2, 0, 2])), context.embeddings.numpy()[[2, 0, 2]])


def test_several_classifications_are_embedded_side_by_side_each_by_its_own_rows():
    context = ClassContext([2, 3], embedding_size=4, seed=0)
    rows = context.embeddings.numpy()
    assert (context.shape, context.size, context.num_classes) == ((2,), 8, [2, 3])
    expected = [np.concatenate([rows[1], rows[2 + 2]]), np.concatenate([rows[0], rows[2 + 0]])]
    np.testing.assert_array_equal(context(tf.constant([[1, 2], [0, 0]])), expected)


def test_embeddings_follow_from_the_seed_and_are_trained():
    a, b, c = (ClassContext(4, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.embeddings, b.embeddings)
    assert not np.array_equal(a.embeddings, c.embeddings)
    assert [variable.ref() for variable in a.trainable_variables] == [a.embeddings.ref()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassContext(0), "num_classes and embedding_size must be at least 1, got 0"),
        (lambda: ClassContext([]), r"must be at least 1, got \[\]"),
        (lambda: ClassContext([2, 0]), r"must be at least 1, got \[2, 0\]"),
        (lambda: ClassContext(2, embedding_size=0), "must be at least 1, got 2, 0"),
        (lambda: ClassContext(2, num_ordered=3), r"how many of its \[2\] classes lie in an order, got \[3\]"),
        (lambda: ClassContext(3).check(np.array([0, 3])), "class 3 is not one of 0, …, 2"),
        (lambda: ClassContext(3).check(np.array(-1)), "class -1 is not one of 0, …, 2"),
        (lambda: ClassContext([3, 2]).check(np.array([[2, 1], [2, 2]])), "class 2 is not one of 0, …, 1"),
    ],
)
def test_what_are_no_classes_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Both, in a conditioner.


@pytest.mark.parametrize(
    "context",
    [FeatureContext(2, mean=[1.0, 2.0], scale=[3.0, 4.0]), ClassContext(3, seed=0), ClassContext([2, 3], seed=0)],
    ids=["features", "class", "classes"],
)
def test_a_conditioner_reads_the_kept_entries_beside_the_encoded_context(context):
    network = mlp(2, 3, hidden_units=[4], activation="tanh", context=context, seed=0)
    randomize(network)
    kept, given = numbers(5, 2), tf.cast(tf.ones([5, *context.shape]), context.dtype)
    inputs = tf.concat([kept, context(given)], axis=-1)
    assert network.network.input_shape == (None, 2 + context.size)
    np.testing.assert_array_equal(network(kept, given), network.network(inputs))
    assert np.abs(network(kept, given) - network(kept, 0 * given)).max() > 1e-3
    assert network.context_shape == context.shape
    assert network.context_dtype == context.dtype


@pytest.mark.parametrize("context", [FeatureContext(2, scale=[3.0, 4.0], name="f"), ClassContext([2, 3], name="c")])
def test_its_arguments_and_variables_are_all_there_is_to_it(context):
    arguments = {key: getattr(value, "tolist", lambda value=value: value)() for key, value in context.arguments.items()}
    again = type(context)(**json.loads(json.dumps(arguments)))
    for old, new in zip(context.variables, again.variables, strict=True):
        new.assign(old)
    given = tf.cast([[1, 2], [0, 1]], context.dtype)
    np.testing.assert_array_equal(again(given), context(given))
    assert (again.name, again.dtype, again.shape) == (context.name, context.dtype, context.shape)


def test_a_constant_feature_whose_deviation_is_rounding_keeps_its_scale():
    """The deviation of 1,000 times 0.1 is 1e-17, not 0."""
    assert FeatureContext.of(np.full([1000, 1], 0.1)).scale.tolist() == [1.0]


@pytest.mark.parametrize("classes", [np.array([0.7, 1.9]), tf.constant([0.7, 1.9])], ids=["numpy", "tensor"])
def test_classes_that_are_not_integers_are_refused(classes):
    flow = real_nvp(2, context=ClassContext(3), num_couplings=2, hidden_units=[4], seed=0)
    with pytest.raises(TypeError, match="integers, which are classes"):
        flow.given(classes)


@pytest.mark.parametrize(("num_classes", "num_ordered"), [(50, 50), ([50, 2], [50, 0])])
def test_embeddings_of_ordered_classes_start_alike(num_classes, num_ordered):
    embeddings = ClassContext(num_classes, num_ordered=num_ordered, seed=0).embeddings.numpy()
    assert np.abs(np.diff(embeddings[:50], axis=0)).max() < 0.2
    assert np.abs(np.diff(ClassContext(num_classes, seed=0).embeddings[:50], axis=0)).max() > 1


@pytest.mark.parametrize("dtype", [tf.int64, tf.uint8], ids=lambda dtype: dtype.name)
def test_classes_are_variables_of_any_integers(dtype):
    flow = real_nvp(2, context=ClassContext(3), num_couplings=2, hidden_units=[4], seed=0)
    randomize(flow)
    classes = tf.Variable([1, 2], dtype=dtype)
    bound, x = flow.given(classes), numbers(2, 2)
    assert bound.batch_shape == [2]
    classes.assign([2, 0])
    np.testing.assert_array_equal(bound.log_prob(x), flow.given([2, 0]).log_prob(x))
