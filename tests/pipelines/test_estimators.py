"""The contracts of scikit-learn and imbalanced-learn, with untrained models; and two fits that are real."""

import functools
import pickle

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("imblearn")

from imblearn.utils import estimator_checks as imblearn_checks
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from pipelines import impute
from pipelines.errors import AugmentError
from pipelines.estimators import RealNVPDensity, RealNVPSampler
from pipelines.fitting.models import Trained
from pipelines.tables.files.pandas_types import as_dtype
from pipelines.verbs import fit as fitting


@functools.cache
def untrained(num_classes, size):
    """An independent model of classes, and scores that are standard Gaussian: built and exported once a shape."""
    import tensorflow as tf
    from tensorflow_probability import bijectors as tfb
    from tensorflow_probability import distributions as tfd

    import tfp_realnvp as tfr

    members = {"weights.safetensors": b""}
    if num_classes:
        discrete = tfr.AutoregressiveCategorical(num_classes, width=1, seed=0)
        members["discrete_sampler.tflite"] = tfr.export_sampler(discrete)
        members["discrete_sampler_given.tflite"] = tfr.export_sampler(discrete, with_given=True)
        members["discrete_scorer.tflite"] = tfr.export_scorer(discrete)
    if size:
        flow = tfr.Flow(tfd.Sample(tfd.Normal(0.0, 1.0), [size]), tfb.Shift(tf.zeros(size)))
        members["sampler.tflite"] = tfr.export_sampler(flow)
        members["scorer.tflite"] = tfr.export_scorer(flow, with_noise=True)
    return members


@pytest.fixture
def no_training(monkeypatch):
    """The checks ask about arguments, types, shapes and repeatability, not about the weights; a fit takes seconds."""

    def train(rows, held_out, num_classes, recipe, **options):
        members = untrained(tuple(num_classes), rows.scores.shape[1])
        return Trained({}, members, 0, 0.0, 1, 1, 1, None)

    monkeypatch.setattr(fitting, "train", train)


# Nothing is expected to fail: what the checks ask for applies to a density too.
@pytest.mark.filterwarnings("ignore:.*rows are repeated")
@parametrize_with_checks([RealNVPDensity(steps=1, random_state=0)])
def test_density_is_an_estimator_of_scikit_learn(no_training, estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:.*rows are repeated")
@imblearn_checks.parametrize_with_checks([RealNVPSampler(steps=1, random_state=0)])
def test_sampler_is_one_of_imbalanced_learn(no_training, estimator, check):
    check(estimator)


def test_the_density_of_a_gaussian():
    """One column of numbers is all margin. Mean log-density of fresh rows within 0.05 nats of the truth."""
    rng = np.random.default_rng(0)
    density = RealNVPDensity(steps=1, random_state=0).fit(rng.normal(3.0, 2.0, (5000, 1)))
    fresh = rng.normal(3.0, 2.0, (5000, 1))
    truth = -0.5 * np.log(2 * np.pi * 4) - 0.5 * np.square((fresh[:, 0] - 3) / 2)
    assert density.score(fresh) == pytest.approx(truth.mean(), abs=0.05)
    assert density.score_samples(fresh).mean() == density.score(fresh)
    drawn = density.sample(4000, random_state=1)
    assert drawn.shape == (4000, 1)
    assert drawn.mean() == pytest.approx(3.0, abs=4 * 2 / np.sqrt(4000) + 0.1)
    again = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(again.score_samples(fresh), density.score_samples(fresh))
    np.testing.assert_array_equal(again.sample(5, random_state=2), density.sample(5, random_state=2))
    assert not hasattr(clone(density), "model_")


def test_a_frame_in_gives_a_frame_out(no_training):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "height": rng.normal(170, 9, 200).astype(np.float32),
            "count": rng.integers(0, 9, 200),
            "city": pd.Categorical(rng.choice(["Bay", "Dale"], 200)),
            "paid": np.where(rng.random(200) < 0.2, np.nan, rng.normal(size=200)),
        }
    )
    density = RealNVPDensity(steps=1, random_state=0).fit(frame)
    drawn = density.sample(300, random_state=0)
    assert drawn.dtypes.equals(frame.dtypes)
    assert 0 < drawn["paid"].isna().mean() < 1
    assert np.isfinite(density.score_samples(frame)).all()
    assert density.feature_names_in_.tolist() == list(frame)
    with pytest.raises(ValueError, match="feature names"):
        density.score_samples(frame.rename(columns={"city": "town"}))
    assert np.isneginf(density.score_samples(frame.assign(city="Zell"))).all()


def test_types_of_pandas_that_arrow_has_not_are_kept(no_training, tmp_path):
    """Intervals came out missing in every row; a sparse column may have any name."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "age": pd.cut(rng.normal(size=200), [-9, 0, 1, 9]),
            "span": pd.arrays.IntervalArray.from_breaks([0.0, 0.5, 1.5]).take(rng.integers(0, 2, 200)),
            "month": pd.PeriodIndex(rng.choice(["2020-01", "2020-02"], 200), freq="M"),
            "self": pd.arrays.SparseArray(rng.integers(0, 3, 200) * 1.5, fill_value=0.0),
        }
    )
    density = RealNVPDensity(steps=1, random_state=0).fit(frame)
    more, _ = RealNVPSampler(steps=1, random_state=0).fit_resample(frame, np.arange(200) < 150)
    for rows in (density.sample(50, random_state=0), more):
        assert rows.dtypes.equals(frame.dtypes)
        assert not rows.isna().any().any()
    (tmp_path / "m.augment").write_bytes(density.model_)
    for name in frame:
        cells = [None if row < 9 else cell for row, cell in enumerate(frame[name])]
        holes = frame.copy()
        holes[name] = pd.Series(cells, dtype=frame[name].dtype)
        filled = impute(holes, model=tmp_path / "m.augment")
        assert filled[name].dtype == frame[name].dtype
        assert set(filled[name]) <= set(frame[name])


def test_a_cell_that_a_type_does_not_have_is_named_not_lost():
    dtype = pd.CategoricalDtype(pd.IntervalIndex.from_breaks([0, 1, 2]))
    assert as_dtype(pd.Series(["(0, 1]", "(other)"]), dtype).isna().tolist() == [False, True]
    with pytest.raises(AugmentError, match=r"column 'age': '\(7, 8\]' is no value of its type"):
        as_dtype(pd.Series(["(0, 1]", "(7, 8]"], name="age"), dtype)


def test_whole_numbers_beyond_float64_stay_within_those_seen(no_training):
    rng = np.random.default_rng(5)
    X = 2**60 + rng.integers(1, 10**6, (200, 1)) // 1000 * 1000 + 1  # noqa: N806
    more, _ = RealNVPSampler(steps=1, random_state=0).fit_resample(X, np.arange(200) < 150)
    assert more.dtype == X.dtype
    assert X.min() <= more.min() <= more.max() <= X.max()


def test_kinds_are_given_by_the_names_of_columns_whatever_these_are(no_training):
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({0: rng.normal(size=100), 1: rng.integers(0, 50, 100)})
    density = RealNVPDensity(steps=1, random_state=0, kinds={1: "categorical"}).fit(frame)
    assert np.isfinite(density.score_samples(frame)).all()


def test_what_cannot_be_modelled_is_a_value_error(no_training):
    with pytest.raises(ValueError, match="no column to model"):
        RealNVPDensity(steps=1).fit(pd.DataFrame({"same": ["a"] * 60}))
    with pytest.warns(UserWarning, match="10 rows are repeated until there are 50"):
        RealNVPDensity(steps=1).fit(np.random.default_rng(0).normal(size=(10, 1)))


@pytest.mark.slow
def test_new_rows_of_a_class_are_like_the_class():
    """Trained: the classes hold 0, 1, 2 and 4, 5, 6. Few whole numbers are discrete: no flow has to be compiled."""
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(900, int), np.ones(100, int)]
    X = (4 * y + rng.integers(0, 3, 1000)).reshape(-1, 1)  # noqa: N806
    sampler = RealNVPSampler(steps=150, random_state=0)
    more, labels = sampler.fit_resample(X, y)
    assert more.dtype == X.dtype
    np.testing.assert_array_equal(more[:1000], X)
    np.testing.assert_array_equal(labels[:1000], y)
    assert sampler.sampling_strategy_ == {1: 800}
    assert np.bincount(labels).tolist() == [900, 900]
    assert (labels[1000:] == 1).all()
    assert (more[1000:, 0] > 3).mean() > 0.95
    assert set(more[1000:, 0].tolist()) >= {4, 5, 6}


def test_over_sampled_frames_keep_their_types(no_training):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"size": rng.normal(size=120).astype(np.float32), "shop": rng.choice(["a", "b"], 120)}, index=range(7, 127)
    )
    label = pd.Series(np.where(np.arange(120) < 100, "no", "yes"), name="income", index=frame.index)
    more, labels = RealNVPSampler(steps=1, random_state=0, sampling_strategy=0.5).fit_resample(frame, label)
    assert more.dtypes.equals(frame.dtypes)
    pd.testing.assert_frame_equal(more[:120], frame.reset_index(drop=True))
    assert labels.name == "income"
    assert labels.value_counts().to_dict() == {"no": 100, "yes": 50}
    assert set(more["shop"]) == {"a", "b"}
