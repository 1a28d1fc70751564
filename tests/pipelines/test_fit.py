"""A fit can be repeated, says what it did in the units of the data, and refuses before it trains, not after."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.model_file import read_model
from pipelines.verbs import fit as fit_module


def weights(path):
    return read_model(path).member("weights.safetensors")


# What was done.


def test_the_result_says_what_was_fitted(orders_fit, orders):
    assert orders_fit.source == "orders.csv"
    assert orders_fit.rows == 300
    assert orders_fit.held_out_rows == 30
    assert orders_fit.modelled == ["weight", "size, cm", "count", "drift"]
    assert orders_fit.constants == ["site", "batch"]
    assert orders_fit.stopped_by is None
    assert orders_fit.steps == 20
    assert json.loads(json.dumps(dataclasses.asdict(orders_fit))) == dataclasses.asdict(orders_fit)


def test_the_model_says_how_it_was_fitted(orders_fit, orders_model):
    head = read_model(orders_model).description
    assert head["training"] == {
        key: value for key, value in dataclasses.asdict(orders_fit).items() if key not in ("model", "source")
    }
    assert head["options"] == {"couplings": 4, "hidden": [8], "batch_size": 64, "epochs": head["options"]["epochs"]}
    assert head["versions"].keys() >= {"tfp-realnvp", "tensorflow", "numpy", "ai-edge-litert"}


def test_likelihoods_are_in_data_units(moons_fit, moons):
    """So the mean over all rows, which `score` and scipy give, must be near that of the held-out tenth."""
    result, _ = moons_fit
    flow = pipelines.score(moons, model=result.model)["log_prob"]
    rows = np.loadtxt(moons, delimiter=",", skiprows=1)
    gaussian = stats.multivariate_normal(rows.mean(axis=0), np.cov(rows.T)).logpdf(rows)
    # Five standard errors of a mean over the held-out rows.
    for actual, all_rows in ((result.log_likelihood, flow), (result.gaussian_log_likelihood, gaussian)):
        np.testing.assert_allclose(actual, all_rows.mean(), atol=5 * all_rows.std() / result.held_out_rows**0.5)


def test_the_likelihood_is_that_of_the_weights_kept(moons_fit):
    """After a whole schedule those are the last ones, or the best if these are clearly better."""
    result, told = moons_fit
    opened = read_model(result.model)
    lines = opened.member("history.csv").decode().splitlines()
    losses = [float(line.split(",")[2]) for line in lines[1:]]
    assert len(losses) == result.epochs
    # The history has six decimals.
    kept = int(np.argmin(np.abs(opened.encoding.log_det - np.array(losses) - result.log_likelihood)))
    assert kept in (len(losses) - 1, int(np.argmin(losses)))
    np.testing.assert_allclose(result.log_likelihood, opened.encoding.log_det - losses[kept], atol=0.5e-6 * 1.001)
    np.testing.assert_allclose(result.log_likelihood, told[1 + kept].held_out)


def test_progress_is_told_after_each_epoch(moons_fit):
    result, told = moons_fit
    assert [progress.epoch for progress in told] == list(range(result.epochs + 1))  # 0 before TensorFlow starts
    done = [progress.done for progress in told]
    assert done == sorted(done)
    assert 0 == done[0] < done[1] < done[-1] == 1
    assert told[-1].train > told[1].train  # it learns


# Again.


@pytest.fixture(scope="module")
def frame_fit(fit_tiny, moons):
    """The moons as a frame."""
    return fit_tiny(pd.read_csv(moons), "frame")


@pytest.fixture(scope="module")
def halves_fit(fit_tiny, moons, folder):
    """The moons in two files, joined."""
    header, *rows = moons.read_text().splitlines(keepends=True)
    halves = folder / "first.csv", folder / "second.csv"
    for path, part in zip(halves, (rows[:2000], rows[2000:]), strict=True):
        path.write_text(header + "".join(part))
    return fit_tiny(list(halves), "halves")


@pytest.fixture(scope="module")
def repeated_fit(fit_tiny, moons, moons_fit):
    """The moons again, with the number of steps the first fit returned."""
    return fit_tiny(moons, "repeated", steps=moons_fit[0].steps)


def test_the_same_rows_and_seed_give_the_same_weights_to_the_bit(frame_fit, moons_fit):
    """The same rows as a frame: its columns have other types, and the same values and decimals."""
    assert weights(frame_fit.model) == weights(moons_fit[0].model)
    assert frame_fit.log_likelihood == moons_fit[0].log_likelihood


def test_another_seed_or_table_gives_other_weights(moons_fit, orders_fit):
    assert weights(orders_fit.model) != weights(moons_fit[0].model)


def test_the_steps_of_the_result_repeat_the_run(repeated_fit, moons_fit):
    first, _ = moons_fit
    assert repeated_fit.steps == first.steps
    assert repeated_fit.log_likelihood == first.log_likelihood
    assert weights(repeated_fit.model) == weights(first.model)


def test_files_joined_are_fitted_like_one(halves_fit, moons_fit):
    assert halves_fit.rows == 5000
    assert halves_fit.source == "first.csv, second.csv"
    assert weights(halves_fit.model) == weights(moons_fit[0].model)
    source = read_model(halves_fit.model).description["source"]
    assert [(one["name"], one["rows"]) for one in source] == [("first.csv", 2000), ("second.csv", 3000)]


def test_a_frame_has_no_hash(frame_fit):
    assert read_model(frame_fit.model).description["source"] == [
        {"name": "the DataFrame", "sha256": None, "rows": 5000}
    ]


# The Gaussian it is compared with.


def test_the_baseline_is_the_gaussian_of_the_training_rows():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(900, 3)) @ rng.normal(size=(3, 3))).astype(np.float32)
    train, held_out = rows[:800], rows[800:]
    gaussian = stats.multivariate_normal(train.mean(axis=0), np.cov(train.T))
    # The ridge of 1e-6 moves the log-density of a row by about 1e-6 * (D + z**2) / smallest eigenvalue.
    smallest = np.linalg.eigvalsh(np.cov(train.T))[0]
    actual = fit_module._gaussian_log_likelihood(train, held_out)
    np.testing.assert_allclose(actual, gaussian.logpdf(held_out).mean(), atol=1e-5 / smallest)


def test_the_baseline_of_columns_that_depend_on_each_other_is_finite():
    column = np.random.default_rng(0).normal(size=900).astype(np.float32)
    rows = np.stack([column, -column, 2 * column], axis=1)
    assert np.isfinite(fit_module._gaussian_log_likelihood(rows[:800], rows[800:]))


# How long.


@pytest.mark.parametrize(("rows", "expected"), [(50, 500), (300, 1000), (5000, 4000), (200_000, 7040)])
def test_the_default_is_4000_steps_within_10_and_500_epochs(monkeypatch, table, target, rows, expected):
    """A pass over 45 rows is one step, as one over 250 is; a pass over 180,000 is 704."""
    told = {}

    def train(train, held_out, **options):
        told.update(options, rows=len(train))
        raise _TrainedError

    monkeypatch.setattr(fit_module, "_train", train)
    with pytest.raises(_TrainedError):
        pipelines.fit(table(rows=rows), model=target)
    steps = told["steps"] or told["epochs"] * math.ceil(told["rows"] / told["batch_size"])
    assert expected <= steps <= 1.1 * expected


# What is refused, before any training.


class _TrainedError(Exception):
    """Training was reached."""


@pytest.fixture
def no_training(monkeypatch):
    def train(*_, **__):
        raise _TrainedError

    monkeypatch.setattr(fit_module, "_train", train)


@pytest.fixture
def table(tmp_path):
    """Writes a CSV of random columns of so many rows, `extra` joined to each."""

    def write(rows=60, columns=2, extra=(), name="t.csv"):
        values = np.random.default_rng(0).normal(size=(rows, columns))
        frame = pd.DataFrame(values, columns=list("abcdefgh"[:columns])).assign(**dict(extra))
        frame.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


def refusal(data, kind=AugmentError, **options):
    with pytest.raises(AugmentError) as caught:
        pipelines.fit(data, **options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "m.augment"


@pytest.mark.usefixtures("no_training")
class TestRefusals:
    def test_a_sound_table_reaches_training(self, table, target):
        """Else the tests below would pass for another reason."""
        with pytest.raises(_TrainedError):
            pipelines.fit(table(rows=50), model=target)
        assert not target.exists()

    def test_too_few_rows_say_how_many_are_needed(self, table, target):
        assert "t.csv has 49 rows; at least 50 are needed" in refusal(table(rows=49), model=target)

    @pytest.mark.parametrize(
        ("columns", "extra", "said"),
        [
            (1, {}, "t.csv has 1 column to model; a RealNVP needs at least 2"),
            (1, {"k": "x", "l": 3}, "t.csv has 1 column to model (k, l constant); a RealNVP needs at least 2"),
            (0, {"k": [3] * 60, "l": [4] * 60}, "t.csv has 0 column to model (k, l constant)"),
        ],
    )
    def test_one_column_is_too_few(self, table, target, columns, extra, said):
        assert said in refusal(table(columns=columns, extra=extra), model=target)

    def test_a_column_that_cannot_be_modelled_can_be_dropped(self, table, target):
        path = table(extra={"name": [f"n{i}" for i in range(60)]})
        assert "'name' is not numeric ('n0' in row 2)" in refusal(path, model=target)
        with pytest.raises(_TrainedError):
            pipelines.fit(path, model=target, drop=["name"])

    def test_a_column_to_drop_must_be_there(self, table, target):
        assert "t.csv has no column 'z' to drop; it has a, b" in refusal(table(), UsageError, model=target, drop=["z"])

    def test_dropping_all_columns_leaves_too_few(self, table, target):
        assert "at least 2" in refusal(table(), model=target, drop=["a", "b"])

    def test_files_of_other_columns_are_not_joined(self, table, target):
        paths = [table(), table(columns=3, name="u.csv")]
        said = "u.csv has the columns a, b, c; t.csv has a, b. Only files of one schema can be joined"
        assert said in refusal(paths, model=target)

    def test_a_bad_cell_in_a_joined_file_is_named_with_that_file_and_its_own_row(self, table, target):
        other = table(name="u.csv")
        other.write_text(other.read_text() + "1.5,oops\n")
        message = refusal([table(), other], model=target)
        assert message.startswith("u.csv: ")
        assert "'b' is not numeric ('oops' in row 62)" in message

    def test_parquet_rows_are_counted_from_one(self, tmp_path, target):
        """A Parquet file has no line for its header, so its first row is not row 2."""
        frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
        frame.loc[0, "b"] = np.nan
        frame.to_parquet(tmp_path / "t.parquet")
        assert "(the first in row 1)" in refusal(tmp_path / "t.parquet", model=target)

    def test_a_frame_needs_a_name_for_its_model(self, table):
        assert "needs a file name: model=..." in refusal(pd.read_csv(table()), UsageError)

    def test_no_data_is_wrong_usage(self):
        assert "no data given" in refusal([], UsageError)

    def test_the_model_is_named_after_the_data_in_the_current_folder(self, table, tmp_path, monkeypatch):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        (tmp_path / "here" / "t.augment").write_bytes(b"old")
        assert "t.augment exists" in refusal(table(), UsageError)

    def test_an_existing_model_is_kept_without_force(self, table, target):
        target.write_bytes(b"old")
        assert "m.augment exists. To replace it: " in refusal(table(), UsageError, model=target)
        with pytest.raises(_TrainedError):
            pipelines.fit(table(), model=target, force=True)
        assert target.read_bytes() == b"old"

    @pytest.mark.parametrize("folder", ["gone", "t.csv"])
    def test_a_model_needs_a_folder(self, table, tmp_path, folder):
        refusal(table(), UsageError, model=tmp_path / folder / "m.augment")

    def test_a_folder_that_takes_no_files_is_noticed_before_the_hour_of_training(self, table):
        """/proc takes no files from anyone, the superuser included."""
        assert "cannot be written" in refusal(table(), model="/proc/m.augment")

    def test_values_too_far_apart_are_refused_by_name(self, tmp_path, target):
        frame = pd.DataFrame({"a": np.arange(60.0), "b": np.resize([1.5e308, -1.5e308, 1e308], 60)})
        frame.to_csv(tmp_path / "t.csv", index=False)
        assert "column 'b': its values are too large" in refusal(tmp_path / "t.csv", model=target)


def test_a_full_disk_after_training_leaves_the_old_model(table, target, monkeypatch, moons_model):
    """Training done, the model is written whole or not at all."""
    opened = read_model(moons_model)
    members = {"weights.safetensors": opened.member("weights.safetensors"), "unwritable": object()}
    trained = fit_module._Trained({}, members, 1, -1.0, 1, 1, 1, None)
    monkeypatch.setattr(fit_module, "_train", lambda *_, **__: trained)
    target.write_bytes(b"old")
    with pytest.raises(TypeError):
        pipelines.fit(table(), model=target, force=True)
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in target.parent.iterdir()) == ["m.augment", "t.csv"]


def test_a_loss_that_diverges_is_one_line_and_leaves_no_model(table, target, monkeypatch):
    import tfp_realnvp

    def diverge(*_, **__):
        raise tfp_realnvp.DivergenceError("The loss became nan in epoch 1.")

    monkeypatch.setattr(tfp_realnvp, "fit", diverge)
    assert "The loss became nan in epoch 1" in refusal(table(), model=target)
    assert not target.exists()
