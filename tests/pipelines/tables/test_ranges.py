"""Numbers in ranges that are far apart keep to them in new rows, together with what else changes with the range."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import pipelines
from pipelines import AugmentError
from pipelines.tables.encoding import Encoding
from pipelines.tables.encoding_checks import check_encoding
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.numbers.bounds import are_inside, bounded
from pipelines.tables.numbers.endings import Endings
from pipelines.tables.numbers.range_search import in_ranges
from pipelines.tables.numbers.ranges import Ranges, find_gaps
from pipelines.tables.relations.reconciliation import reconciled
from pipelines.tables.relations.relation import Relation

ROWS = 3_000


def players(rows=ROWS, seed=0):
    """Players, a tenth of them keepers, which no column says: keepers dive and do not run, and are paid otherwise."""
    rng = np.random.default_rng(seed)
    is_keeper = rng.random(rows) < 0.1
    skill = rng.normal(size=rows)
    dive = np.where(is_keeper, 70 + 6 * skill + rng.normal(0, 2, rows), 14 + 3 * rng.normal(size=rows))
    run = np.where(is_keeper, 20 + 3 * rng.normal(size=rows), 70 + 8 * skill + rng.normal(0, 3, rows))
    wage = np.where(is_keeper, 1.0, 30.0) * rng.lognormal(0.1 * skill, 0.2)
    return pd.DataFrame({"dive": dive.round().astype(int), "run": run.round(1), "wage": wage, "height": skill})


def learnt(frame, path, relations=()):
    frame.to_csv(path, index=False)
    source = read_source(path)
    schema = infer_schema(source)
    encoding = dataclasses.replace(Encoding.learn(source, schema, np.random.default_rng(0)), relations=relations)
    return in_ranges(encoding, encoding.cells(source, schema), schema, np.random.default_rng(0)), source, schema


def middles(numbers):
    return [np.mean(gap) for gap, _, _ in find_gaps(np.sort(numbers))]


def ranges_of(numbers, step=0.0):
    return Ranges.learn(numbers, step, [gap for gap, _, _ in find_gaps(np.sort(numbers))], np.random.default_rng(0))


def three(rows=4_000, seed=0):
    rng = np.random.default_rng(seed)
    parts = rng.normal(0, 1, rows), rng.normal(30, 2, rows // 3), 60 + rng.exponential(1, rows // 6)
    return np.concatenate(parts)


@pytest.mark.parametrize("seed", range(5))
def test_no_gap_is_found_in_numbers_of_one_range(seed):
    rng = np.random.default_rng(seed)
    for rows in (500, 5_000, 60_000):
        for numbers in (
            rng.normal(size=rows),
            rng.standard_cauchy(rows),
            rng.lognormal(0, 2, rows),
            rng.uniform(size=rows),
            np.exp(-rng.exponential(1, rows)),
            rng.poisson(40, rows).astype(float),
            rng.choice([1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0], rows),  # no ranges, but single values
            np.r_[rng.normal(0, 1, rows), 100 + rng.normal(size=20)],  # too few to be one
        ):
            assert not middles(numbers)
    assert not middles(three(300))


def test_gaps_are_found_whatever_the_scale():
    numbers = three()
    first, second = middles(numbers)
    assert 4 < first < 24
    assert 37 < second < 60
    assert middles(-numbers) == pytest.approx([-second, -first])
    assert middles(1e-9 * numbers + 1) == pytest.approx([1 + 1e-9 * first, 1 + 1e-9 * second])
    topics = np.repeat([0.02, 0.025, 0.04, 0.3], 300) * np.random.default_rng(0).lognormal(0, 0.002, 1_200)
    assert np.searchsorted(middles(topics), [0.02, 0.025, 0.04, 0.3]).tolist() == [0, 1, 2, 3]
    strays = np.r_[numbers, 15.0]
    assert len(middles(strays)) == 2


def test_a_score_is_gaussian_in_each_range_and_leads_back():
    numbers = three()
    ranges = ranges_of(numbers)
    phases = ranges.phases(numbers)
    scores = ranges.scores(numbers, phases)
    np.testing.assert_allclose(ranges.places(scores, phases), numbers, rtol=1e-9, atol=1e-9)
    for phase, rows in enumerate((4_000, 1_333, 666)):
        own = scores[phases[:, 0] == phase]
        assert len(own) == rows
        assert own.mean() == pytest.approx(0, abs=0.03)
        assert own.std() == pytest.approx(1, abs=0.05)
        assert (np.diff(own[np.argsort(numbers[phases[:, 0] == phase])]) > 0).all()
    far = np.array([-1e300, -1e6, 1e5, 1e300])
    scores = ranges.scores(far, ranges.phases(far))
    assert np.isfinite(scores).all()
    assert (np.sign(scores) == [-1, -1, 1, 1]).all()
    np.testing.assert_allclose(ranges.places(scores, ranges.phases(far))[1:3], far[1:3], rtol=1e-6)
    gaps = np.array([-9.0, 0.0, 5.0, 20.0, 30.0, 39.0, 59.0, 60.5, 90.0])
    (last, start), (end, first) = ranges.gaps
    np.testing.assert_array_equal(ranges.outside_gaps(gaps), [-9, 0, last, start, 30, end, first, 60.5, 90])
    assert np.isnan(ranges.places(np.zeros(1), np.full((1, 1), len(ranges.levels), np.int32))).all()


def test_whatever_the_score_a_place_is_in_its_range():
    ranges = ranges_of(three())
    scores = np.r_[-1e6, np.linspace(-40, 40, 999), 1e6]
    for phase in range(3):
        phases = np.full((len(scores), 1), phase, np.int32)
        places = ranges.places(scores, phases)
        np.testing.assert_array_equal(ranges.phases(places), phases)
        assert (np.diff(places) >= 0).all()


def test_the_log_derivative_is_that_of_the_score():
    ranges = ranges_of(three())
    places = np.array([-30.0, -2.0, 0.1, 3.5, 25.0, 30.2, 36.0, 60.1, 63.0, 90.0])
    phases, by = ranges.phases(places), 1e-6
    slopes = (ranges.scores(places + by, phases) - ranges.scores(places - by, phases)) / (2 * by)
    np.testing.assert_allclose(ranges.log_derivative(places, phases), np.log(slopes), atol=1e-5)


def test_the_density_integrates_to_one_over_each_range():
    ranges = ranges_of(three())
    for phase, (low, high) in enumerate(zip((-200, *ranges.cuts), (*ranges.cuts, 300), strict=True)):
        places = np.linspace(low, high, 2_000_001)[1:-1]
        phases = np.full((len(places), 1), phase, np.int32)
        log_prob = norm.logpdf(ranges.scores(places, phases)) + ranges.log_derivative(places, phases)
        assert np.trapezoid(np.exp(log_prob), places) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("decimals", [1, 2, 5])
def test_whatever_the_decimals_no_number_is_cut_off_its_range(decimals):
    """Half the way between two decimals is now a little above, now a little below what float64 has for it."""
    rng = np.random.default_rng(decimals)
    for most in rng.integers(20, 400, 60).tolist():
        low = rng.integers(0, most, 900)
        high = rng.integers(3 * most, 4 * most + rng.integers(1, 50), 600)
        numbers = np.r_[low, high] / 10**decimals
        ranges = ranges_of(numbers, 10.0**-decimals)
        again = Ranges.from_json(json.loads(json.dumps(ranges.to_json())))
        assert again.cuts == ranges.cuts
        np.testing.assert_array_equal(again.phases(numbers)[:, 0], np.r_[np.zeros(900), np.ones(600)])
        np.testing.assert_array_equal(again.outside_gaps(numbers), numbers)
        phases = again.phases(numbers)
        scores = again.scores(again.alone.spread(numbers, rng), phases)
        np.testing.assert_array_equal(again.alone.nearest(again.places(scores, phases)), numbers)


@pytest.mark.parametrize("most", [40, 4_000])  # values that are kept, and a lattice
def test_the_density_of_a_lattice_sums_to_one_over_each_range(most, tmp_path):
    rng = np.random.default_rng(0)
    numbers = np.r_[rng.integers(1, most, 2_500), rng.integers(4 * most, 6 * most, 500)]
    other = np.r_[np.zeros(2_500), np.ones(500)] + rng.normal(0, 0.1, ROWS)
    frame = pd.DataFrame({"x": numbers, "y": other, "z": rng.normal(size=ROWS)})
    encoding, source, schema = learnt(frame, tmp_path / "t.csv")
    column = encoding.by_name["x"]
    assert len(column.ranges.levels) == 2
    whole = column.support if len(column.support) else np.arange(-most, 8 * most + 0.0)
    phases = column.ranges.phases(whole)[:, 0]
    places, _, log_density = column.places_of(whole, None, None)
    probs = np.exp(norm.logpdf(places) + log_density)
    if len(column.support):  # a cell is as wide as it is
        below, above = column.alone.cells(whole)
        grid = np.linspace(below, above, 402)[1:-1]
        phases = np.tile(phases, (400, 1))
        scores = column.ranges.scores(grid.ravel(), phases.reshape(-1, 1))
        log_prob = norm.logpdf(scores) + column.ranges.log_derivative(grid.ravel(), phases.reshape(-1, 1))
        probs = np.exp(log_prob).reshape(grid.shape) * (above - below) / 400
    np.testing.assert_allclose(np.bincount(phases.ravel(), probs.ravel()), 1, atol=0.01)
    for spread in (False, True):
        rows = encoding.encode(source, schema, np.random.default_rng(1), spread=spread)
        cells = encoding.decode(rows.classes, rows.scores.astype(np.float64))
        np.testing.assert_array_equal(cells["x"].values, numbers)


def test_ranges_are_told_apart_where_other_columns_change(tmp_path):
    encoding, source, schema = learnt(players(), tmp_path / "t.csv")
    assert {c.name: c.ranges and len(c.ranges.levels) for c in encoding.columns} == {
        "dive": 2,
        "run": 2,
        "wage": 2,
        "height": None,
    }
    assert [phase.name for phase in encoding.phases] == ["range of dive", "range of run", "range of wage"]
    assert encoding.phases[0].levels == ("0", "1", "")
    assert encoding.num_ordered(schema) == [2, 2, 2]
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    check_encoding(again, schema)
    assert json.dumps(again.to_json()) == json.dumps(encoding.to_json())
    before = encoding.cells(source, schema)
    rows = again.encode(source, schema, np.random.default_rng(1))
    assert (np.abs(rows.scores) < 5).all()
    cells = again.decode(rows.classes, rows.scores.astype(np.float64))
    for name, part in before.items():
        np.testing.assert_allclose(cells[name].values, part.values, rtol=1e-4, atol=1e-4)


def test_ranges_are_not_told_apart_where_all_goes_on_as_before(tmp_path):
    """Times written as numbers have gaps between the hours, and what goes with them goes on."""
    rng = np.random.default_rng(0)
    minutes = rng.uniform(0, 600, 20_000).astype(int)
    late = minutes + rng.exponential(30, 20_000).astype(int) + 60
    frame = pd.DataFrame({"start": 100 * (minutes // 60) + minutes % 60, "stop": 100 * (late // 60) + late % 60})
    assert len(middles(frame["start"].to_numpy(float))) >= 5
    encoding, *_ = learnt(frame, tmp_path / "t.csv")
    assert not encoding.phases


def test_ranges_that_a_class_tells_are_not_told_apart_again(tmp_path):
    frame = players().assign(position=lambda t: np.where(t["dive"] > 40, "keeper", "other"))
    assert not learnt(frame, tmp_path / "t.csv")[0].phases
    frame.loc[::3, "position"] = "unknown"
    assert len(learnt(frame, tmp_path / "some.csv")[0].phases) == 3


def test_a_table_of_two_columns_of_numbers_has_no_ranges(tmp_path):
    frame = players()[["dive", "run"]]
    assert not learnt(frame, tmp_path / "t.csv")[0].phases
    assert learnt(frame.assign(z=players()["height"]), tmp_path / "three.csv")[0].phases


def test_a_number_that_lacks_its_range_is_that_of_another_row(tmp_path):
    encoding, source, schema = learnt(players(), tmp_path / "t.csv")
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    rows.classes[::50, 0] = 2
    cells = encoding.decode(rows.classes, rows.scores.astype(np.float64))
    assert np.isnan(cells["dive"].values[::50]).all()
    assert not are_inside(encoding, cells)[::50].any()
    found, _ = bounded(encoding, cells)
    assert are_inside(encoding, found).all()


def test_few_numbers_in_all_of_a_gap_leave_none():
    """One of each number between two ranges of whole numbers is few, but there is no gap that is wide."""
    rng = np.random.default_rng(0)
    numbers = np.r_[rng.integers(0, 600, 20_000), np.arange(600, 646), rng.integers(646, 1_246, 20_000)].astype(float)
    assert not middles(np.r_[numbers, 2_000 + rng.exponential(1e5, 9_900).round()])
    assert len(middles(numbers[(numbers < 600) | (numbers >= 646)])) == 1


def test_rows_in_turn_have_no_ranges_that_only_some_of_them_have(tmp_path):
    """Of 120,000 rows 50,000 are looked at; if that was every third one, it would be those with a gap."""
    rng = np.random.default_rng(0)
    numbers = rng.uniform(0, 60, 120_000)
    numbers[::3] = np.where(rng.random(40_000) < 0.5, 10, 60) - rng.uniform(0, 10, 40_000)
    frame = pd.DataFrame({"x": numbers, "y": numbers > 30, "z": numbers // 30 + rng.uniform(0, 1.2, 120_000)})
    frame["y"] ^= rng.random(120_000) < 0.05  # so that it does not tell the range
    assert not learnt(frame, tmp_path / "t.csv")[0].phases
    assert [phase.name for phase in learnt(frame[::3], tmp_path / "some.csv")[0].phases] == ["range of x"]


def test_special_values_and_missing_cells_have_no_range(tmp_path):
    frame = players().astype({"dive": "Int64"})
    frame.loc[::2, "dive"] = -1
    frame.loc[::5, "dive"] = None
    encoding, source, schema = learnt(frame, tmp_path / "t.csv")
    assert encoding.phases[0].name == "range of dive"
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    place = len(encoding.discrete)
    is_number = (frame["dive"].fillna(-1) >= 0).to_numpy()
    np.testing.assert_array_equal(rows.classes[:, place] == 2, ~is_number)
    cells = encoding.decode(rows.classes, rows.scores.astype(np.float64))["dive"]
    np.testing.assert_array_equal(cells.values[is_number], frame["dive"][is_number].astype(float))


def test_scores_that_relations_move_stay_in_their_ranges(tmp_path):
    frame = players().assign(total=lambda t: t["dive"] + t["run"])
    relations = (Relation("total", ("dive", "run"), "sum", (0.0, 1.0, 1.0), decimals=1),)
    encoding, source, schema = learnt(frame, tmp_path / "t.csv", relations)
    assert encoding.by_name["total"].ranges is None
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    noise = np.random.default_rng(2).normal(0, 0.3, rows.scores.shape)
    scores = rows.scores + noise
    before = encoding.decode(rows.classes, scores)
    names = [column.name for column in encoding.continuous]
    moved = reconciled(dict(zip(names, scores.T, strict=True)), before, encoding.by_name, relations)
    after = encoding.decode(rows.classes, np.stack([moved[name] for name in names], axis=1))

    def off(cells):
        return np.abs(cells["total"].values - cells["dive"].values - cells["run"].values)

    assert np.median(off(after)) < np.median(off(before)) / 3
    for name in ("dive", "run"):
        ranges = encoding.by_name[name].ranges
        np.testing.assert_array_equal(ranges.phases(after[name].values), ranges.phases(before[name].values))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"cuts": [], "gaps": []}, "no ranges"),
        ({"cuts": [10.0 + k / 10 for k in range(40)]}, "too many"),
        ({"cuts": [12.0]}, "not one gap"),
        ({"gaps": [[11.0, 13.0], [40.0]]}, "not one gap"),
        ({"cuts": [50.0, 12.0]}, "do not increase"),
        ({"cuts": [12.0, 20.0]}, "do not increase"),
        ({"gaps": [[-50.0, 13.0], [40.0, 60.0]]}, "do not increase"),
        ({"cuts": [12.0, 12.0], "gaps": [[12.0, 12.0], [12.0, 12.0]]}, "do not increase"),
        ({"cuts": [12.0, 12.0 + 2e-12], "gaps": [[11.0, 12.0 + 5e-13], [12.0 + 1e-12, 13.0]]}, "has no numbers"),
        ({"cuts": "12"}, "cuts"),
        ({"alone": None}, "alone"),
        ({"more": 1}, "more"),
    ],
)
def test_ranges_that_are_none_are_refused(entries, said):
    right = ranges_of(three()).to_json()
    assert Ranges.from_json(right).to_json() == right
    with pytest.raises(AugmentError, match=said):
        Ranges.from_json(right | entries)


def test_classes_dates_and_what_is_learnt_otherwise_have_no_ranges(tmp_path):
    rng = np.random.default_rng(0)
    frame = players().assign(team=rng.choice(["a", "b"], ROWS))
    frame["day"] = pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 3_000, ROWS), unit="D")
    encoding, _, schema = learnt(frame, tmp_path / "t.csv")
    ranges = encoding.by_name["dive"].ranges

    def replaced(name, **values):
        columns = [dataclasses.replace(c, **values) if c.name == name else c for c in encoding.columns]
        check_encoding(Encoding(tuple(columns)), schema)

    with pytest.raises(AugmentError, match="'team' has numbers, and the column has none"):
        replaced("team", ranges=ranges)
    with pytest.raises(AugmentError, match="'day' has ranges of numbers, and the column no such numbers"):
        replaced("day", ranges=ranges, rhythm=None)
    endings = Endings(("00",), 0, 1, 1)
    with pytest.raises(AugmentError, match="'dive' has ranges of numbers that are learnt otherwise"):
        replaced("dive", endings=endings)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = tmp_path_factory.mktemp("players") / "players.csv"
    frame = players().assign(foot=np.random.default_rng(1).choice(["left", "right"], ROWS))
    frame.loc[::9, "run"] = None
    frame["bonus"] = np.where(frame["wage"] < 5, 1.0, 50.0) + np.random.default_rng(2).normal(0, 0.1, ROWS).round(2)
    frame.loc[frame["height"] > 0, "bonus"] = -1.0
    frame.to_csv(path, index=False)
    result = pipelines.fit(
        path, model=path.with_suffix(".augment"), steps=150, couplings=2, width=16, batch_size=256, seed=0
    )
    low, high = (frame["dive"][frame["dive"] < 40], frame["dive"][frame["dive"] > 40])
    told = f"numbers in 2 ranges ({low.min()} to {low.max()}, {high.min()} to {high.max()})"
    assert result.handled["dive"] == told
    assert result.handled["run"].endswith("), missing cells")
    return path, path.with_suffix(".augment")


def test_new_rows_are_in_the_ranges_together(fitted):
    path, model = fitted
    old, new = pd.read_csv(path), pipelines.generate(model, 6_000, seed=1)
    shares = [(frame["dive"] > 40).mean() for frame in (old, new)]
    assert shares[1] == pytest.approx(shares[0], abs=0.03)
    for frame, most in ((old, 0), (new, 0.02)):
        is_keeper, there = frame["dive"] > 40, frame["run"].notna()
        assert (is_keeper != (frame["wage"] < 5)).mean() <= most
        assert (is_keeper != (frame["run"] < 35))[there].mean() <= most
        assert not frame["dive"].between(old["dive"][old["dive"] < 40].max() + 1, 41).any()
    assert np.isfinite(pipelines.score(path, model=model)["log_prob"]).all()


@pytest.mark.slow
def test_a_missing_number_is_imputed_in_the_range_of_the_others(fitted):
    path, model = fitted
    old, truth = pd.read_csv(path), players()
    rows = old["run"].isna()
    for draw in (False, True):
        new = pipelines.impute(old, model=model, draw=draw, seed=1)
        assert ((new["run"] < 35) == (truth["dive"] > 40))[rows].mean() > 0.95
        np.testing.assert_array_equal(new["run"][~rows], old["run"][~rows])
        known = old["run"].dropna()
        last, first = known[known < 35].max(), known[known > 35].min()
        assert not new["run"].between(last, first, inclusive="neither").any()


@pytest.mark.slow
def test_a_missing_cell_may_have_been_a_special_value(fitted):
    """Only those who are taller than most have no bonus."""
    path, model = fitted
    old = pd.read_csv(path)
    hidden = old.assign(bonus=np.where(np.arange(ROWS) % 4 == 0, np.nan, old["bonus"]))
    for draw in (False, True):
        new = pipelines.impute(hidden, model=model, draw=draw, seed=1)[::4]
        right = (new["bonus"] == -1) == (old["bonus"][::4] == -1)
        assert right.mean() > 0.85
        is_paid = (new["bonus"] > 0) & right
        assert ((new["bonus"] < 25) == (old["wage"][::4] < 5))[is_paid].mean() > 0.95


def test_latents_go_back_to_the_same_numbers(fitted, tmp_path):
    path, model = fitted
    latents, back = tmp_path / "z.csv", tmp_path / "back.csv"
    pipelines.encode(path, model=model, output=latents)
    frame = pd.read_csv(latents, dtype=str, keep_default_na=False)
    assert set(frame["range of run"]) == {"", "0", "1"}
    assert set(frame["range of dive"]) == {"0", "1"}
    pipelines.decode(latents, model=model, output=back)
    pd.testing.assert_frame_equal(pd.read_csv(back), pd.read_csv(path), rtol=1e-5, atol=1e-5)
    frame.loc[frame.index[1], "range of dive"] = ""
    with pytest.raises(AugmentError, match="row 1 has a number in 'dive', but lacks 'range of dive'"):
        pipelines.decode(frame, model=model)
