"""What is filled is better than a column's median or mode, follows the conditional, and nothing else changes."""

import statistics

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.cli import main
from pipelines.engines import imputer
from pipelines.engines.imputer import Imputer, _best, _normalised
from pipelines.engines.local import Decoder, Sampler, Scorer, generator
from pipelines.engines.quadrature import POINTS, ROUNDS, refined, stratified
from pipelines.storage.model_file import read_model
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.rows import Rows


def people(rows, seed):
    """Weight follows height, size follows weight, being retired follows age, and the pension both."""
    rng = np.random.default_rng(seed)
    age = np.clip(np.rint(rng.normal(45, 14, rows)), 18, 90).astype(int)
    height = rng.normal(170, 9, rows).round(1)
    weight = 0.9 * height - 85 + rng.normal(0, 4, rows)
    retired = np.where(age + rng.normal(0, 3, rows) > 64, "yes", "no")
    pension = np.where(retired == "yes", np.rint(400 + 20 * age + rng.normal(0, 60, rows)), 0)
    return pd.DataFrame(
        {
            "size": np.select([weight < 62, weight < 74], ["S", "M"], "L"),
            "age": age,
            "height": height,
            "weight": weight,
            "retired": retired,
            "pension": pension,
        }
    )


def with_holes(rows, seed, count):
    """The same rows without `count` cells each, and which are missing."""
    rng = np.random.default_rng(seed)
    missing = rng.random(rows.shape).argsort(axis=1) < count
    return rows.mask(missing), missing


@pytest.fixture(scope="module")
def model(fit_tiny):
    table = people(2000, 0)
    table.loc[::20, "size"] = None
    table.loc[1::20, "pension"] = None
    # With 200 steps XLA would compile, for longer than it would save.
    return fit_tiny(table, "people", steps=190, couplings=3, width=32, batch_size=256).model


@pytest.mark.parametrize("count", [1, 2])
def test_better_than_medians_and_modes(model, count):
    """The noise in `weight` is 4; that of the median's error is 9."""
    train, rows = people(2000, 0), people(600, 1)
    holes, missing = with_holes(rows, 2, count)
    filled = pipelines.impute(holes, model=model)
    assert not filled.isna().any().any()
    for place, name in enumerate(rows):
        chosen = missing[:, place]
        if name in ("size", "retired"):
            mode = (rows[name] == train[name].mode()[0])[chosen].mean()
            assert (filled[name] == rows[name])[chosen].mean() > mode + 0.3 * (1 - mode), name
        else:
            error = np.sqrt(np.square(filled[name] - rows[name])[chosen].mean())
            median = np.sqrt(np.square(train[name].median() - rows[name])[chosen].mean())
            assert error < 0.9 * median, name


def test_only_the_columns_asked_for_are_filled(model, tmp_path):
    rows = people(300, 1)
    rows.loc[::2, ["size", "pension"]] = None
    rows.loc[::3, "height"] = np.nan
    filled = pipelines.impute(rows, model=model, columns=["pension"])
    assert not filled["pension"].isna().any()
    pd.testing.assert_frame_equal(filled.drop(columns="pension"), rows.drop(columns="pension"))
    both = pipelines.impute(rows, model=model, columns=["pension", "size", "height"])
    pd.testing.assert_frame_equal(both, pipelines.impute(rows, model=model))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    command = ["impute", "rows.csv", "-m", str(model), "-o", "filled.csv", "--column", "pension"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert CliRunner().invoke(main, command).exit_code == 0
        result = CliRunner().invoke(main, [*command[:-1], "weigth", "--force"])
    written = pd.read_csv(tmp_path / "filled.csv")
    pd.testing.assert_frame_equal(written, filled.astype({"pension": written["pension"].dtype}))
    assert result.exit_code == 2
    assert "does not model such a column; it has size, age, height" in result.output


@pytest.mark.slow
def test_that_a_cell_is_missing_tells_of_the_others(fit_tiny):
    """Who has left has years of service, and a bonus as large as these."""
    rng = np.random.default_rng(0)
    left = rng.random(1_500) < 0.5
    rows = pd.DataFrame({"state": np.where(left, "gone", "here"), "x": rng.normal(size=1_500)})
    rows["years"] = np.where(left, rng.gamma(3, 2, 1_500).round(2), np.nan)
    rows["bonus"] = np.where(rng.random(1_500) < 0.8, (rows["years"] * 100).round(), np.nan)
    model = fit_tiny(rows, "leavers", steps=150, couplings=2, width=32, batch_size=256).model
    holes = rows[:300].assign(state=None)
    told = pipelines.impute(holes, model=model, columns=["state"])
    np.testing.assert_array_equal(told["years"], holes["years"])
    filled = pipelines.impute(holes, model=model, draw=True)
    assert not filled.isna().any(axis=None)
    for new in (told, filled):
        assert (new["state"] == rows["state"][:300]).mean() > 0.97
    in_turn = pipelines.impute(
        pipelines.impute(holes, model=model, columns=["years"], draw=True), model=model, draw=True
    )
    was_there = holes["years"].notna() & holes["bonus"].isna()
    for new in (filled, in_turn):
        close = np.abs(new["bonus"] / 100 - new["years"])
        assert close[was_there].median() < 0.5 * np.abs(rows["bonus"] / 100 - rows["years"].median()).median()


def test_draws_keep_the_variation_that_best_guesses_lose(model):
    rows = people(800, 1)
    holes = rows.assign(weight=np.nan)
    best, drawn = (pipelines.impute(holes, model=model, draw=draw)["weight"] for draw in (False, True))
    # Given the rest, weight keeps a deviation of 3.2 of its 9 (the error above): sqrt(1 - (3.2 / 9)^2) = 0.935.
    assert best.std() < 0.96 * rows["weight"].std()
    assert best.std() < drawn.std()
    # 800 rows: a standard error of 2.5 %; the rest is the small model's.
    assert drawn.std() == pytest.approx(rows["weight"].std(), rel=0.12)
    again, other = (pipelines.impute(holes, model=model, draw=True, seed=seed)["weight"] for seed in (0, 1))
    pd.testing.assert_series_equal(drawn, again)
    assert (drawn != other).mean() > 0.9


def test_numbers_are_on_the_lattice_and_within_what_was_seen(model):
    train, rows = people(2000, 0), people(150, 3)
    for draw in (False, True):
        filled = pipelines.impute(rows.assign(age=np.nan, height=np.nan), model=model, draw=draw)
        assert (filled["age"] == filled["age"].round()).all()
        np.testing.assert_allclose(filled["height"], filled["height"].round(1), rtol=0, atol=1e-9)
        for name in ("age", "height"):
            assert filled[name].between(train[name].min(), train[name].max()).all()


def test_a_discrete_cell_is_drawn_from_the_exact_conditional(dice_model, dice):
    """p(colour | eyes) is p(colour) p(eyes | colour) summed over the colours."""
    model = read_model(dice_model)
    scorer, ours = Scorer(model), Imputer(model)
    place = [column.name for column in model.encoding.discrete].index("colour")
    classes = np.zeros((1, len(model.encoding.discrete)), np.int32)
    scores = np.full((1, len(model.encoding.continuous)), 0.3, np.float32)
    each = np.repeat(classes, 3, axis=0)
    each[:, place] = range(3)
    log_prob, _ = scorer(each, np.repeat(scores, 3, axis=0))
    expected = np.exp(log_prob) / np.exp(log_prob).sum()
    draws = 30_000
    rows = Rows(
        np.repeat(classes, draws, axis=0),
        np.repeat(scores, draws, axis=0),
        np.ones((draws, scores.shape[1]), bool),
        np.ones((draws, scores.shape[1]), bool),
        np.zeros(draws),
    )
    missing = np.zeros((draws, len(model.encoding.columns)), bool)
    missing[:, [column.name for column in model.encoding.columns].index("colour")] = True
    cells = ours.fill(
        rows, model.encoding.decode(rows.classes, rows.scores), missing, np.random.default_rng(0), draw=True
    )["colour"]
    found = np.bincount(cells.codes, minlength=3) / draws
    # Four standard errors.
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / np.sqrt(draws))


def all_hidden(model, rows):
    """What is drawn by `fill` where nothing is known, without any sweep: what they start from."""
    columns = len(model.encoding.columns)
    classes = np.full((rows, len(model.encoding.num_classes)), -1, np.int32)
    scores = np.zeros((rows, len(model.encoding.continuous)), np.float32)
    known = Rows(classes, scores, np.ones(scores.shape, bool), np.ones(scores.shape, bool), np.zeros(rows))
    cells = model.encoding.decode(np.zeros_like(classes), scores)
    return Imputer(model).fill(known, cells, np.ones((rows, columns), bool), np.random.default_rng(0), draw=True)


def test_where_nothing_is_known_what_is_drawn_is_as_the_model_makes_it(model, monkeypatch):
    monkeypatch.setattr(imputer, "_SWEEPS", 0)
    opened, rows = read_model(model), 4_000
    drawn = all_hidden(opened, rows)
    classes, scores = Sampler(opened, even=False).draw(generator(1, 0), 4 * rows)
    made = opened.encoding.decode(classes, scores)
    for name, cells in drawn.items():
        ours, theirs = cells, made[name]
        if ours.values is not None and ours.codes is None:
            error = ours.values.mean() - theirs.values.mean()
            assert abs(error) < 4 * theirs.values.std() * np.sqrt(1.25 / rows), name  # standard errors
        if ours.codes is not None and ours.values is None:
            allowed = [code for code, is_missing in enumerate(theirs.is_missing) if not is_missing]
            found = np.bincount(ours.codes, minlength=len(theirs.levels))[allowed] / rows
            expected = np.bincount(theirs.codes, minlength=len(theirs.levels))[allowed].astype(float)
            np.testing.assert_allclose(found, expected / expected.sum(), atol=4 * 0.5 * np.sqrt(1.25 / rows))


@pytest.mark.parametrize("known", [0.0, 1.2])
def test_weights_have_the_mean_that_importance_weights_have(moons_model, known):
    """Over what the flow draws for a hidden h, that of `p(h, k) / p(h)` is `p(k)`, here a sum over h."""
    model, draws, step = read_model(moons_model), 40_000, 0.01
    ours, empty = Imputer(model), np.zeros((40_000, 0), np.int32)
    drawn = Decoder(model)(empty, np.random.default_rng(0).standard_normal((draws, 2), dtype=np.float32))
    scores, absent = drawn.copy(), np.zeros((draws, 2), bool)
    scores[:, 1], absent[:, 0] = known, True
    weights = np.exp(ours._log_weights(empty, scores, drawn, absent)) / (imputer._SPREAD * np.sqrt(2 * np.pi))
    grid = np.arange(-6, 6, step, dtype=np.float32)
    log_prob, _ = Scorer(model)(empty[: len(grid)], np.stack([grid, np.full_like(grid, known)], axis=1))
    error = weights.mean() - step * np.exp(log_prob).sum()
    assert abs(error) < 4 * weights.std() / np.sqrt(draws)
    assert weights.std() / np.sqrt(draws) < 0.03 * weights.mean()


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.3, 0.2), (-2.0, 0.02)])
def test_rounds_of_points_integrate_narrow_densities(mean, deviation):
    """A Gaussian of known mean and deviation in the place of a conditional; errors of up to 0.2 deviations measured."""
    rng = np.random.default_rng(0)
    shares = np.linspace(3e-6, 1 - 3e-6, POINTS + 1)
    edges = np.broadcast_to([statistics.NormalDist().inv_cdf(share) for share in shares], (2000, POINTS + 1))
    for _ in range(ROUNDS):
        points, widths = stratified(edges, rng)
        probs = _normalised(-0.5 * ((points - mean) / deviation) ** 2 + np.log(widths))
        edges = refined(edges, probs)
    errors = (probs * points).sum(axis=1) - mean
    assert abs(errors.mean()) < 0.03 * deviation
    assert np.sqrt(np.square(errors).mean()) < 0.3 * deviation
    second = (probs * np.square(points - mean)).sum(axis=1).mean()
    assert np.sqrt(second) == pytest.approx(deviation, rel=0.05)


# What is not missing.


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b",NZ,", b',"NZ",'),
        lambda text: text.rstrip(b"\n"),
    ],
    ids=["plain", "CRLF", "BOM", "quotes", "no newline at the end"],
)
def test_only_missing_cells_change(tmp_path, visits, visits_model, spell):
    source = spell(visits.read_bytes())
    (tmp_path / "in.csv").write_bytes(source)
    pipelines.impute(tmp_path / "in.csv", model=visits_model, output=tmp_path / "out.csv")
    changed = 0
    before, after = source.splitlines(keepends=True), (tmp_path / "out.csv").read_bytes().splitlines(keepends=True)
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if b",NA," not in old:
            assert old == new
            continue
        old, new = old.split(b","), new.split(b",")
        assert old[:2] + old[3:] == new[:2] + new[3:]
        assert float(new[2]) >= 0
        changed += 1
    assert changed > 30


def test_cells_the_model_never_missed_are_filled_too(tmp_path, visits, visits_model):
    rows = pd.read_csv(visits, dtype=str, keep_default_na=False)
    rows.loc[:50, ["city", "nights", "since"]] = ""
    rows.to_csv(tmp_path / "in.csv", index=False)
    pipelines.impute(tmp_path / "in.csv", model=visits_model, output=tmp_path / "out.csv")
    filled = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert not filled[["city", "paid", "nights", "since"]].isin(["", "NA", "(other)"]).any().any()
    assert pd.to_datetime(filled["since"], format="%Y-%m-%d").between("2019-01-01", "2021-07-01").all()


def test_a_value_the_model_does_not_know_stays(tmp_path, visits, visits_model):
    rows = pd.read_csv(visits, dtype=str, keep_default_na=False)
    rows.loc[0, ["member", "paid"]] = ["perhaps", "NA"]
    rows.to_csv(tmp_path / "in.csv", index=False)
    pipelines.impute(tmp_path / "in.csv", model=visits_model, output=tmp_path / "out.csv")
    filled = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert filled.loc[0, "member"] == "perhaps"
    assert float(filled.loc[0, "paid"]) >= 0


def test_frames_and_parquet_keep_types(tmp_path, answers, answers_model):
    rows = pd.read_parquet(answers)
    holes = rows.copy()
    holes.loc[:9, "size"] = None
    holes.loc[5:14, "shop"] = None
    filled = pipelines.impute(holes, model=answers_model)
    assert filled.dtypes.equals(holes.dtypes)
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled[15:], rows[15:])
    holes.to_parquet(tmp_path / "in.parquet")
    pipelines.impute(tmp_path / "in.parquet", model=answers_model, output=tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), filled, check_categorical=False)


def test_a_column_without_any_cell_gets_the_type_it_had(tmp_path, model):
    """Without a cell it is of numbers for pandas, and of nothing for Parquet."""
    rows = people(60, 5)
    bare = rows.assign(retired=np.nan, size=None)
    filled = pipelines.impute(bare.assign(age=np.nan), model=model)
    assert set(filled["retired"]) == {"yes", "no"}
    assert filled["age"].between(18, 90).all()
    assert filled.index.equals(rows.index)
    bare.assign(age=None).to_parquet(tmp_path / "bare.parquet")
    pipelines.impute(tmp_path / "bare.parquet", model=model, output=tmp_path / "filled.parquet")
    written = pd.read_parquet(tmp_path / "filled.parquet")
    pd.testing.assert_frame_equal(written, filled, check_dtype=False)


def test_a_table_without_holes_is_copied(tmp_path, moons, moons_model):
    pipelines.impute(moons, model=moons_model, output=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == moons.read_bytes()


def test_what_cannot_be_done_is_refused(tmp_path, moons, moons_model):
    with pytest.raises(UsageError, match="written as they are, so the output is CSV too"):
        pipelines.impute(moons, model=moons_model, output=tmp_path / "out.parquet")
    with pytest.raises(AugmentError, match="has no column 'y'"):
        pipelines.impute(pd.DataFrame({"x": [1.0]}), model=moons_model)


def test_the_command(tmp_path, visits, visits_model):
    line = ["impute", str(visits), "-m", str(visits_model), "-o", str(tmp_path / "out.csv"), "--draw", "--seed", "3"]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0, result.output
    expected = pipelines.impute(visits, model=visits_model, draw=True, seed=3)
    found = pipelines.score(tmp_path / "out.csv", model=visits_model)
    np.testing.assert_allclose(found["paid"].astype(float), expected["paid"].astype(float))


def test_progress_is_told_in_rows_also_within_a_block(model):
    holes, _ = with_holes(people(200, 1), 2, 2)
    told = []
    pipelines.impute(holes, model=model, on_progress=told.append)
    assert sum(told) == 200
    assert len(told) > 5
    assert min(told) > 0


def test_the_best_guess_of_few_numbers_is_the_median_and_of_classes_the_most_probable():
    few = ColumnEncoding("rooms", ("1", "2", "3", ""), (1.0, 2.0, 3.0, np.nan), (False, False, False, True), None)
    mass = np.array([[4.0, 3.0, 3.0, 0.0], [0.0, 0.0, 5.0, 0.0], [6.0, 1.0, 4.0, 0.0]])
    assert _best(few, mass).tolist() == [1, 2, 0]
    classes = ColumnEncoding("size", ("S", "M", "L", ""), (), (False, False, False, True), None)
    assert _best(classes, mass).tolist() == [0, 2, 0]
