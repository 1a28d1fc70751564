"""Numbers whose rows lie in clumps, as places on a map, have ranges told apart, so that new rows keep to the clumps."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import pipelines
from pipelines.storage.model_file import read_model
from pipelines.tables.encoding import Encoding
from pipelines.tables.encoding_checks import check_encoding
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.numbers.bounds import are_inside
from pipelines.tables.numbers.clump_search import in_clumps
from pipelines.tables.numbers.ranges import Ranges
from pipelines.tables.relations.relation import Relation

ROWS = 4_000


def towns(rows=ROWS, seed=0, number=20):
    """Houses of towns on a map, whose places are all that tells them."""
    rng = np.random.default_rng(7)
    centres, people = rng.uniform(0, 10, (number, 2)), rng.dirichlet(np.full(number, 2.0))
    rng = np.random.default_rng(seed)
    town = rng.choice(number, rows, p=people)
    east, north = centres[town].T + rng.normal(0, 0.1, (2, rows))
    return pd.DataFrame({"east": east, "north": north, "price": rng.lognormal(np.cos(town)), "age": rng.random(rows)})


def learnt(frame, path, relations=()):
    frame.to_csv(path, index=False)
    source = read_source(path)
    schema = infer_schema(source)
    encoding = dataclasses.replace(Encoding.learn(source, schema, np.random.default_rng(0)), relations=relations)
    return in_clumps(encoding, encoding.cells(source, schema), schema, np.random.default_rng(0)), source, schema


def clumped(frame, path, relations=()):
    return [column.name for column in learnt(frame, path, relations)[0].columns if column.ranges is not None]


def adjoining(numbers, lasts, step=0.0):
    values = np.unique(numbers)
    neighbours = [(last, values[np.searchsorted(values, last) + 1]) for last in lasts]
    return Ranges.learn_adjoining(numbers, step, neighbours, np.random.default_rng(0))


def test_places_on_a_map_have_ranges_and_lead_back(tmp_path):
    encoding, source, schema = learnt(towns(), tmp_path / "t.csv")
    assert [column.name for column in encoding.columns if column.ranges is not None] == ["east", "north"]
    assert 5 <= len(encoding.by_name["east"].ranges.levels) <= 8
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    check_encoding(again, schema)
    assert json.dumps(again.to_json()) == json.dumps(encoding.to_json())
    before = encoding.cells(source, schema)
    assert are_inside(again, before).all()
    rows = again.encode(source, schema, np.random.default_rng(1))
    shares = np.bincount(rows.classes[:, 0]) / ROWS
    assert (shares[:-1] > 0.005).all()
    cells = again.decode(rows.classes, rows.scores.astype(np.float64))
    for name, part in before.items():
        np.testing.assert_allclose(cells[name].values, part.values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_no_ridge_is_a_clump_however_narrow_and_bent(seed, tmp_path):
    rng = np.random.default_rng(seed)
    x, y, z = rng.normal(size=(3, 8_000))
    frame = pd.DataFrame(
        {
            "x": x,
            "line": x + 0.5 * y,
            "narrow": x + 0.001 * z,
            "parabola": x**2 + 0.3 * y,
            "fan": np.exp(x) * y,
            "bow": x**2 + 0.03 * z,
            "wave": np.sin(3 * x) + 0.03 * z,
            "sine": np.sin(2 * np.pi * y) + 0.03 * z,
            "cosine": np.cos(2 * np.pi * y) + 0.03 * x,
            "far": rng.standard_cauchy(8_000),
            "rounded": (x + y).round(1),
        }
    )
    assert clumped(frame, tmp_path / "t.csv") == []


def test_clumps_are_told_of_enough_rows_and_columns_only(tmp_path):
    assert clumped(towns(1_500), tmp_path / "few.csv") == []
    assert clumped(towns()[["east", "north"]], tmp_path / "two.csv") == []
    assert clumped(towns().assign(north=lambda t: t["north"].round()), tmp_path / "values.csv") == []


def test_missing_cells_and_special_values_are_no_places(tmp_path):
    frame = towns(6_000)
    frame.loc[::10, "east"] = None
    frame.loc[5::10, "north"] = -99.0
    encoding, source, schema = learnt(frame, tmp_path / "t.csv")
    assert [phase.name for phase in encoding.phases] == ["range of east", "range of north"]
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    place, sizes = len(encoding.discrete), [len(phase.levels) for phase in encoding.phases]
    np.testing.assert_array_equal(rows.classes[:, place] == sizes[0] - 1, frame["east"].isna())
    np.testing.assert_array_equal(rows.classes[:, place + 1] == sizes[1] - 1, frame["north"] == -99)


def test_what_follows_from_others_has_no_ranges_of_clumps(tmp_path):
    frame = towns().round(3).assign(sum=lambda t: (t["east"] + t["north"]).round(3))
    relation = Relation("north", ("sum", "east"), "sum", (0.0, 1.0, -1.0), decimals=3)
    assert clumped(frame, tmp_path / "t.csv", (relation,)) == ["east", "sum"]


def test_numbers_of_groups_are_no_places(tmp_path):
    """What is the same in all rows of a firm clumps as well, but is told by the other numbers of the firm."""
    firms = towns(300).assign(north=lambda t: t["north"].round(1))
    frame = firms.loc[np.random.default_rng(0).integers(0, 300, ROWS), ["east", "north"]].reset_index(drop=True)
    frame["sales"] = np.random.default_rng(1).normal(size=ROWS)
    assert clumped(frame, tmp_path / "t.csv") == []
    homes = towns().round({"east": 2, "north": 2})  # in one house each now and then
    homes = pd.concat([homes, homes.sample(ROWS // 10, random_state=0)])
    assert clumped(homes, tmp_path / "homes.csv") == ["east", "north"]


def test_what_else_is_random_does_not_change(tmp_path):
    towns().to_csv(tmp_path / "t.csv", index=False)
    source = read_source(tmp_path / "t.csv")
    schema, rng = infer_schema(source), np.random.default_rng(0)
    encoding = Encoding.learn(source, schema, np.random.default_rng(0))
    in_clumps(encoding, encoding.cells(source, schema), schema, rng)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.slow
def test_the_density_integrates_to_one_over_each_range():
    numbers = towns()["east"].to_numpy()
    ranges = adjoining(numbers, np.sort(numbers)[[500, 1_700, 3_400]].tolist())
    assert ranges.spans == [(numbers.min(), numbers.max())]
    np.testing.assert_array_equal(ranges.outside_gaps(numbers), numbers)
    assert np.bincount(ranges.phases(numbers)[:, 0]).tolist() == [501, 1_200, 1_700, 599]
    for phase, (low, high) in enumerate(zip((-50, *ranges.cuts), (*ranges.cuts, 60), strict=True)):
        places = np.linspace(low, high, 2_000_001)[1:-1]
        phases = np.full((len(places), 1), phase, np.int32)
        log_prob = norm.logpdf(ranges.scores(places, phases)) + ranges.log_derivative(places, phases)
        assert np.trapezoid(np.exp(log_prob), places) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("repeats", [0, 60])
def test_next_to_a_cut_scores_are_no_larger_than_elsewhere(repeats):
    numbers = np.sort(towns()["east"].to_numpy())
    lasts = numbers[[500, 1_700, 3_400]].tolist()
    numbers = np.r_[numbers, np.repeat(lasts, repeats)]
    ranges = adjoining(numbers, lasts)
    phases = ranges.phases(numbers)
    assert np.searchsorted(lasts, numbers).tolist() == phases[:, 0].tolist()
    scores = ranges.scores(numbers, phases)
    assert np.abs(scores).max() < 4
    for phase in range(4):
        assert scores[phases[:, 0] == phase].std() == pytest.approx(1, abs=0.1 if repeats else 0.05)


@pytest.mark.parametrize("factor", [1e-200, 1e160, 1e290])
@pytest.mark.filterwarnings("error")
def test_whatever_their_size_numbers_are_cut_alike(factor, tmp_path):
    frame = towns(3_000)
    encoding, *_ = learnt(frame, tmp_path / "t.csv")
    far, *_ = learnt(frame.assign(north=lambda t: t["north"] * factor), tmp_path / "far.csv")
    cuts = np.array(encoding.by_name["north"].ranges.cuts)
    np.testing.assert_allclose(np.array(far.by_name["north"].ranges.cuts) / factor, cuts, rtol=1e-6)


@pytest.mark.parametrize("decimals", [0, 1, 2])
@pytest.mark.parametrize("most", [60, 3_000])  # values that are kept, and a lattice
@pytest.mark.parametrize("coarse", [1, 5])
def test_whatever_the_decimals_each_number_is_of_one_range(decimals, most, coarse):
    rng = np.random.default_rng(decimals)
    numbers = coarse * rng.integers(0, most, ROWS) / 10**decimals
    lasts = np.unique(numbers)[[5, 6, 20, 40]].tolist()
    ranges = adjoining(numbers, lasts, 10.0**-decimals)
    again = Ranges.from_json(json.loads(json.dumps(ranges.to_json())))
    phases = again.phases(numbers)
    np.testing.assert_array_equal(phases[:, 0], np.searchsorted(lasts, numbers))
    scores = again.scores(again.alone.spread(numbers, rng), phases)
    np.testing.assert_array_equal(again.alone.nearest(again.places(scores, phases)), numbers)


@pytest.mark.slow
def test_new_rows_keep_to_the_clumps(tmp_path, monkeypatch):
    towns(6_000, number=60).to_csv(tmp_path / "t.csv", index=False)
    old = towns(20_000, seed=1, number=60)[["east", "north"]].to_numpy()
    away = {}
    for kind in ("with", "without"):
        if kind == "without":
            monkeypatch.setattr("pipelines.verbs.fit.in_clumps", lambda encoding, *_: encoding)
        result = pipelines.fit(tmp_path / "t.csv", model=tmp_path / f"{kind}.augment", steps=800, seed=0)
        new = pipelines.generate(result.model, 3_000, seed=1)
        nearest = np.stack([np.hypot(*(old - place).T).min() for place in new[["east", "north"]].to_numpy()])
        away[kind] = (nearest > 0.1).mean()
        assert (read_model(result.model).encoding.by_name["east"].ranges is None) == (kind == "without")
    assert away["with"] < 0.4 * away["without"]
