"""A fit can be repeated, says what it did in the units of the data, and refuses before it trains, not after."""

import dataclasses
import json
import math
import pathlib

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.fitting import models, training_set
from pipelines.fitting.models import Trained
from pipelines.fitting.training_set import TrainingSet
from pipelines.storage.model_file import read_model
from pipelines.tables.kinds.inference import infer_schema
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
        key: value for key, value in dataclasses.asdict(orders_fit).items() if key not in ("model", "source", "handled")
    }
    options = head["options"]
    assert (options["couplings"], options["width"], options["batch_size"]) == (4, 8, 64)
    assert head["versions"].keys() >= {"tfp-realnvp", "tensorflow", "numpy", "ai-edge-litert"}


@pytest.mark.parametrize("name", ["moons", "orders"])
def test_likelihoods_are_in_data_units(request, name):
    """So the mean over all rows, which `score` and scipy give, must be near that of the held-out tenth."""
    result, data = request.getfixturevalue(f"{name}_fit"), request.getfixturevalue(name)
    result = result[0] if isinstance(result, tuple) else result
    frame = pd.read_csv(data)
    flow = pipelines.score(data, model=result.model)["log_prob"]
    independent = np.zeros(len(frame))
    for column in read_model(result.model).encoding.columns:
        values = frame[column.name].to_numpy(float)
        independent += stats.norm.logpdf(column.margin.encode(values)) + column.margin.log_derivative(values)
    # Five standard errors of a mean over the held-out rows.
    for actual, rows in ((result.log_likelihood, flow), (result.independent_log_likelihood, independent)):
        np.testing.assert_allclose(actual, rows.mean(), atol=5 * rows.std() / result.held_out_rows**0.5)


def test_the_target_is_written_down(visits_model):
    assert read_model(visits_model).description["target"] == "member"


def test_the_likelihood_is_that_of_the_weights_kept(moons_fit):
    """After a whole schedule those are the last ones, or the best if these are clearly better."""
    result, told = moons_fit
    opened = read_model(result.model)
    lines = opened.member("history.csv").decode().splitlines()
    held_out = [float(line.split(",")[2]) for line in lines[1:]]
    assert len(held_out) == result.epochs
    kept = int(np.argmin(np.abs(np.array(held_out) - result.log_likelihood)))
    assert kept in (len(held_out) - 1, int(np.argmax(held_out)))
    np.testing.assert_allclose(result.log_likelihood, held_out[kept], atol=0.5e-6 * 1.001)  # it has six decimals
    np.testing.assert_allclose(result.log_likelihood, told[1 + kept].held_out)


def test_progress_is_told_after_each_epoch(moons_fit):
    result, told = moons_fit
    assert [progress.epoch for progress in told] == list(range(result.epochs + 1))  # 0 before TensorFlow starts
    done = [progress.done for progress in told]
    assert done == sorted(done)
    assert 0 == done[0] < done[1] <= done[-1] == 1
    assert np.isfinite([told[-1].train, told[-1].held_out]).all()


def test_it_learns(visits_fit, visits_model):
    """More than what the columns are by themselves, which is where training starts."""
    lines = read_model(visits_model).member("history.csv").decode().splitlines()[1:]
    train = [float(line.split(",")[1]) for line in lines]
    assert train[-1] > train[0]
    assert visits_fit.log_likelihood > visits_fit.independent_log_likelihood


# Again.


@pytest.fixture(scope="module")
def halves_fit(fit_tiny, moons, moons_fit, folder):
    """The moons in two files, joined."""
    header, *rows = moons.read_text().splitlines(keepends=True)
    halves = folder / "first.csv", folder / "second.csv"
    for path, part in zip(halves, (rows[:2000], rows[2000:]), strict=True):
        path.write_text(header + "".join(part))
    return fit_tiny(list(halves), "halves", steps=moons_fit[0].steps)


def test_another_seed_or_table_gives_other_weights(moons_fit, orders_fit):
    assert weights(orders_fit.model) != weights(moons_fit[0].model)


def test_files_joined_are_fitted_like_one_and_a_fit_repeats_to_the_bit(halves_fit, moons_fit):
    """With the number of steps that the first fit returned."""
    assert halves_fit.steps == moons_fit[0].steps
    assert halves_fit.log_likelihood == moons_fit[0].log_likelihood
    assert halves_fit.rows == 5000
    assert halves_fit.source == "first.csv, second.csv"
    assert weights(halves_fit.model) == weights(moons_fit[0].model)
    source = read_model(halves_fit.model).description["source"]
    assert [(one["name"], one["rows"]) for one in source] == [("first.csv", 2000), ("second.csv", 3000)]


def test_a_frame_is_fitted_like_a_file_and_has_no_hash(heights, heights_model, tmp_path):
    heights.to_csv(tmp_path / "heights.csv", index=False)
    pipelines.fit(tmp_path / "heights.csv", model=tmp_path / "m.augment")
    file, frame = read_model(tmp_path / "m.augment"), read_model(heights_model)
    assert file.encoding.to_json() == frame.encoding.to_json()
    assert frame.description["source"] == [{"name": "the DataFrame", "sha256": None, "rows": 500}]
    assert len(file.description["source"][0]["sha256"]) == 64


def test_of_many_rows_a_sample_is_learnt_from(heights, tmp_path):
    result = pipelines.fit(heights, model=tmp_path / "m.augment", max_rows=100)
    assert result.rows == 500
    assert result.held_out_rows == 10


@pytest.mark.usefixtures("no_training")
def test_of_many_rows_in_several_files_a_uniform_sample_is_learnt_from(table, target, monkeypatch):
    """Of 100 and 900 rows 200: 20 of the first file, within five standard errors."""
    paths = [table(rows=100, name="a.csv", extra={"file": 0.5}), table(rows=900, name="b.csv", extra={"file": 1.5})]
    seen = {}

    def infer(source, **options):
        seen.update(table=source.table, notes=source.notes, rows=source.num_rows)
        return infer_schema(source, **options)

    monkeypatch.setattr(fit_module, "infer_schema", infer)
    with pytest.raises(_TrainedError):
        pipelines.fit(paths, model=target, max_rows=200)
    assert (len(seen["table"]), seen["rows"]) == (200, 1000)
    first = seen["table"]["file"].to_pylist().count("0.5")
    assert abs(first - 20) < 5 * np.sqrt(200 * 0.1 * 0.9 * 0.8)
    assert "200 of all 1,000 rows are used, a uniform sample." in seen["notes"]


@pytest.mark.usefixtures("no_training")
def test_files_with_other_decimal_marks_are_not_joined(tmp_path, target):
    rows = [f"{i}.25;{i % 7}.5" for i in range(60)]
    for name, lines in (("a.csv", rows), ("b.csv", [row.replace(".", ",") for row in rows])):
        (tmp_path / name).write_text("\n".join(["x;y", *lines]) + "\n")
    assert "b.csv spells numbers with ',' and a.csv with '.'. Say which it is with --decimal" in refusal(
        [tmp_path / "a.csv", tmp_path / "b.csv"], model=target
    )


def test_rare_classes_of_the_target_stay_apart(fit_tiny):
    kind = np.r_[np.repeat(["a", "b"], 100), [f"rare {i}" for i in range(10)]]
    frame = pd.DataFrame({"kind": kind, "other": kind})
    model = fit_tiny(frame, "targeted", target="kind", steps=2)
    assert model.handled["kind"] == "12 values"
    assert model.handled["other"] == "2 values, 10 rare categories as (other)"


def test_rare_categories_of_a_column_without_text_are_missing(fit_tiny):
    code = np.r_[np.repeat([1, 2], 100), np.arange(100, 150)]
    result = fit_tiny(pd.DataFrame({"code": code}), "codes", kinds={"code": "categorical"}, steps=2)
    assert result.handled["code"] == "2 values, 50 rare categories as missing cells"
    new = pipelines.generate(result.model, 500, seed=0)
    assert set(new["code"].dropna().astype(int)) <= {1, 2}
    assert new["code"].isna().any()


@pytest.mark.slow
def test_intervals_and_periods_are_categories_and_dates(fit_tiny):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(200)
    days = pd.PeriodIndex(rng.choice(pd.period_range("2020-01-01", periods=90, freq="D"), 200))
    result = fit_tiny(pd.DataFrame({"x": x, "bin": pd.cut(x, 4), "day": days}), "spans", steps=2)
    new = pipelines.generate(result.model, 20, seed=0)
    assert set(new["bin"]) <= set(pd.cut(x, 4).categories.astype(str))
    assert pd.to_datetime(new["day"]).between("2020-01-01", "2020-03-31").all()


# How long.


@pytest.mark.parametrize("rows", [50, 1000, 30_000, 300_000])
@pytest.mark.parametrize(("options", "passes"), [({}, None), ({"epochs": 3}, 3), ({"steps": 77}, None)])
def test_the_steps_are_those_asked_for_or_20_passes_within_limits(monkeypatch, table, target, rows, options, passes):
    """An epoch of a small table goes over several encodings of it; the steps stay those of passes over the rows."""
    told = {}

    def train(train, held_out, num_classes, recipe, **options):
        told.update(options, rows=len(train.scores), recipe=recipe)
        raise _TrainedError

    monkeypatch.setattr(fit_module, "train", train)
    with pytest.raises(_TrainedError):
        pipelines.fit(table(rows=rows), model=target, **options)
    recipe = told["recipe"]
    per_pass = math.ceil(round(0.9 * rows) / recipe.batch_size)
    per_epoch = math.ceil(told["rows"] / recipe.batch_size)
    steps = told.get("steps") or told["epochs"] * per_epoch
    if "steps" in options:
        assert steps == 77
    elif passes:
        assert steps == passes * per_pass
    else:
        limits = recipe.min_steps, max(recipe.min_steps, training_set._MAX_STEPS)
        expected = np.clip(recipe.passes * per_pass, *limits)
        assert expected <= steps + per_epoch
        assert steps <= expected + training_set._MAX_COPIES * per_pass


# What is refused, before any training.


class _TrainedError(Exception):
    """Training was reached."""


@pytest.fixture
def no_training(monkeypatch):
    def train(*_, **__):
        raise _TrainedError

    monkeypatch.setattr(fit_module, "train", train)


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
        assert "t.csv has 1 row; at least 50 are needed" in refusal(table(rows=1), model=target)

    def test_of_many_rows_too_few_may_be_kept(self, table, target):
        assert "--max-rows 10: 10 rows would be kept; at least 50" in refusal(
            table(), UsageError, model=target, max_rows=10
        )

    @pytest.mark.parametrize("option", ["max_rows", "epochs", "steps", "patience", "batch_size", "width"])
    def test_sizes_are_at_least_one(self, table, target, option):
        assert f"{option} must be at least 1, got 0" in refusal(table(), UsageError, model=target, **{option: 0})

    def test_other_sizes_have_bounds_of_their_own(self, table, target):
        assert "couplings must be at least 2, got 1" in refusal(table(), UsageError, model=target, couplings=1)
        for seconds in (0, -1, float("nan")):
            said = refusal(table(), UsageError, model=target, max_time=seconds)
            assert f"max_time must be more than 0 seconds, and finite (None is no limit), got {seconds}" in said

    @pytest.mark.parametrize("columns", [1, 2, 5])
    def test_any_number_of_columns_is_enough(self, table, target, columns):
        with pytest.raises(_TrainedError):
            pipelines.fit(table(columns=columns), model=target)

    def test_constants_alone_are_nothing_to_learn(self, table, target):
        said = "has no column to model: k (constant), l (constant). To model one: --type COL=categorical"
        assert said in refusal(table(columns=0, extra={"k": [3] * 60, "l": [4] * 60}), model=target)

    def test_a_target_must_be_there(self, table, target):
        assert "t.csv has no column 'z'; it has a, b" in refusal(table(), UsageError, model=target, target="z")

    def test_a_column_to_drop_must_be_there(self, table, target):
        assert "t.csv has no column 'z'; it has" in refusal(table(), UsageError, model=target, drop=["z"])

    def test_dropping_all_columns_leaves_nothing(self, table, target):
        assert "no column is left" in refusal(table(), UsageError, model=target, drop=["a", "b"])

    def test_files_of_other_columns_are_not_joined(self, table, target):
        paths = [table(), table(columns=3, name="u.csv")]
        said = "u.csv has the columns a, b, c; t.csv has a, b. Only files of one schema can be joined"
        assert said in refusal(paths, model=target)

    def test_a_cell_that_is_not_of_the_kind_asked_for_is_named(self, table, target):
        path = table()
        path.write_text(path.read_text() + "1.5,oops\n")
        message = refusal(path, model=target, kinds={"b": "float"})
        assert message.startswith("t.csv: ")
        assert "'b'" in message
        assert "'oops'" in message
        assert "62" in message

    def test_a_frame_needs_a_name_for_its_model(self, table):
        assert "needs a file name: -m FILE, or model=... in Python" in refusal(pd.read_csv(table()), UsageError)

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

    def test_the_widest_numbers_can_be_encoded(self, tmp_path, target):
        rng = np.random.default_rng(0)
        wide = rng.choice([-1.0, 1.0], 60) * 10.0 ** rng.uniform(-300, 300, 60)
        frame = pd.DataFrame({"a": np.arange(60.0), "b": wide})
        frame.to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(_TrainedError):
            pipelines.fit(tmp_path / "t.csv", model=target)


@pytest.mark.slow
def test_rare_values_of_the_target_and_columns_of_many_are_told(target):
    rng = np.random.default_rng(0)
    codes = [f"{code:05d}" for code in rng.choice(400, 300)]
    frame = pd.DataFrame({"x": rng.normal(size=300), "zip": codes, "bought": ["no"] * 290 + ["yes"] * 10})
    fitted = {"target": "bought", "kinds": {"zip": "categorical"}, "steps": 1, "couplings": 2, "width": 4}
    others, rare = pipelines.fit(frame, model=target, **fitted).notes
    assert others.startswith("rare values of 'zip' (")
    assert rare.startswith("few rows have 'yes' (10) in 'bought'")


def test_a_full_disk_after_training_leaves_the_old_model(table, target, monkeypatch, moons_model):
    """Training done, the model is written whole or not at all."""
    opened = read_model(moons_model)
    members = {"weights.safetensors": opened.member("weights.safetensors"), "unwritable": object()}
    trained = Trained({}, members, 1, -1.0, 1, 1, 1, None)
    monkeypatch.setattr(fit_module, "train", lambda *_, **__: trained)
    target.write_bytes(b"old")
    with pytest.raises(TypeError):
        pipelines.fit(table(), model=target, force=True)
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in target.parent.iterdir()) == ["m.augment", "t.csv"]


@pytest.mark.slow
def test_a_fit_that_fell_back_says_so_at_once_and_in_the_end(table, target, monkeypatch):
    """The weights of one epoch are spoilt: a person hears of it when it happens, and the model remembers."""
    report = models._report

    def spoilt(*arguments):
        made = report(*arguments)
        epoch_begins = made.on_epoch_begin

        def spoil(epoch, logs=None):
            epoch_begins(epoch, logs)
            if epoch == 1:
                first = made.model.trainable_variables[0]
                first.assign(np.full(first.shape, np.nan))

        made.on_epoch_begin = spoil
        return made

    monkeypatch.setattr(models, "_report", spoilt)
    told = []
    result = pipelines.fit(table(rows=400), model=target, on_progress=told.append, steps=12, couplings=2, width=4)
    said = (
        "training diverged in epoch 2 (the loss became nan): it went on from the weights of epoch 1, with 0.5 of the "
    )
    assert [progress.epoch for progress in told if progress.notes] == [2]
    assert told[2].notes == (f"{said}learning rate.",)
    assert result.notes == [*told[2].notes]
    assert np.isfinite(result.log_likelihood)
    assert read_model(target).description["training"]["notes"] == result.notes
    assert b"nan" in read_model(target).member("history.csv").splitlines()[2]
    assert pipelines.generate(target, 10, seed=0).notna().all(axis=None)
    data = table(rows=400)
    assert pathlib.Path(pipelines.report(data, model=target)).exists()  # with a gap in the curve


def test_a_loss_that_diverges_is_one_line_and_leaves_no_model(table, target, monkeypatch):
    import tfp_realnvp

    def diverge(*_, **__):
        raise tfp_realnvp.DivergenceError("The loss became nan in epoch 1.")

    monkeypatch.setattr(tfp_realnvp, "fit", diverge)
    assert "The loss became nan in epoch 1" in refusal(table(), models.DivergedError, model=target)
    assert not target.exists()


def test_who_allows_too_little_time_is_told(moons, tmp_path):
    found = pipelines.fit(moons, model=tmp_path / "m.augment", max_time=1.0, couplings=2, width=8)
    assert found.steps_done < 0.2 * 4_032
    assert (
        f"the time was enough for {found.steps_done:,} of the 4,032 steps that would be made without a clock"
        in " ".join(found.notes)
    )


def test_who_has_a_model_of_hardly_a_step_is_told_not_to_use_it(moons, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "_HARDLY_ANY", 0.2)
    found = pipelines.fit(moons, model=tmp_path / "m.augment", max_time=1.0, couplings=2, width=8)
    assert "next to nothing: do not use its rows" in " ".join(found.notes)


@pytest.mark.parametrize(("better", "is_told"), [pytest.param(-1.0, False, marks=pytest.mark.slow), (1.0, True)])
def test_who_has_a_model_that_is_worse_than_independent_columns_is_told(tmp_path, monkeypatch, better, is_told):
    """A step from independent columns the model is as good as these; here these are made better or worse."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc")).assign(g=rng.integers(0, 40, 200))
    likelihood = TrainingSet.independent_log_likelihood
    monkeypatch.setattr(TrainingSet, "independent_log_likelihood", lambda learnt: likelihood(learnt) + better)
    found = pipelines.fit(frame, model=tmp_path / "m.augment", steps=1, couplings=2, width=8, seed=0)
    assert found.log_likelihood == pytest.approx(found.independent_log_likelihood - better, abs=0.03)
    assert any("likelier if all columns are independent" in note for note in found.notes) == is_told
