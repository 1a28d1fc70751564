"""What is close to another column is so in new rows, whatever the rest of the row, and densities know of it."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, spearmanr

import pipelines
from pipelines import AugmentError
from pipelines.engines.beside import assembled
from pipelines.tables.encoding import Encoding
from pipelines.tables.encoding_checks import check_encoding
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.numbers.bounds import are_inside, bounded
from pipelines.tables.numbers.margins import Margin
from pipelines.tables.numbers.offset_search import beside_others
from pipelines.tables.numbers.offsets import Offset
from pipelines.tables.relations.fulfilment import related
from pipelines.tables.relations.relation_search import find_relations

ROWS = 3_000


def stones(rows=ROWS, seed=0):
    """Stones: about as wide as they are long, six tenths as deep, and as heavy as the cube of that says.

    `low` is never above `high`, and nothing where that is; `asked` ends in 99 mostly, `paid` is a little less; `chance`
    has nothing to do with all this.
    """
    rng = np.random.default_rng(seed)
    length = rng.lognormal(1.6, 0.3, rows).round(2)
    high = np.where(rng.random(rows) < 0.1, 0, rng.gamma(2, 4_000, rows).round())
    asked = (rng.gamma(3, 9_000, rows) / 100).round() * 100 + np.where(rng.random(rows) < 0.8, 99, 57)
    return pd.DataFrame(
        {
            "length": length,
            "width": (length * rng.normal(1, 0.01, rows)).round(2),
            "depth": (0.61 * length + 2 + rng.normal(0, 0.04, rows)).round(2),
            "weight": 0.0061 * length**3 * rng.lognormal(0, 0.04, rows),
            "high": high.astype(int),
            "low": np.where(high == 0, 0, np.maximum(high - rng.gamma(1, 300, rows).round(), 1)).astype(int),
            "asked": asked.astype(int),
            "paid": (asked * rng.uniform(0.96, 1, rows)).round().astype(int),
            "chance": rng.normal(0, 1, rows).round(3),
        }
    )


def learnt(frame, path, *, relations=False):
    frame.to_csv(path, index=False)
    source = read_source(path)
    schema = infer_schema(source)
    rng = np.random.default_rng(0)
    encoding = Encoding.learn(source, schema, rng)
    if relations:
        encoding = encoding.related(find_relations(source, schema, encoding), source, schema, rng)
    return beside_others(encoding, encoding.cells(source, schema), schema, rng), source, schema


def offsets_of(encoding):
    return {column.name: column.offset for column in encoding.columns if column.offset is not None}


def test_what_is_close_to_what(tmp_path):
    encoding, source, schema = learnt(stones(), tmp_path / "t.csv")
    found = offsets_of(encoding)
    assert {name: offset.other for name, offset in found.items()} == {
        "width": "length",
        "depth": "length",
        "weight": "length",
        "low": "high",
        "paid": "asked",
    }
    assert found["width"].slope == 1
    assert found["depth"].slope == pytest.approx(0.61, abs=0.01)
    assert not found["depth"].of_logs
    assert found["weight"].slope == pytest.approx(3, abs=0.03)
    assert found["weight"].of_logs
    assert found["low"].slope == 1
    assert found["paid"].of_logs
    assert found["weight"].words == f"ratios to length^{found['weight'].slope:g}"
    assert found["width"].words.endswith(" length")
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert again.to_json() == encoding.to_json()
    check_encoding(again, schema)
    before = encoding.cells(source, schema)
    for spread in (False, True):
        rows = encoding.encode(source, schema, np.random.default_rng(1), spread=spread)
        cells = encoding.decode(rows.classes, rows.scores.astype(np.float64))
        for column in encoding.columns:
            old, new = (column.values_in(part[column.name].codes, part[column.name].values) for part in (before, cells))
            if column.name == "weight":  # at full precision, of float32 scores
                np.testing.assert_allclose(new, old, rtol=1e-5)
            else:  # a place at the edge of a cell may be rounded into the next
                assert np.isclose(new, old, rtol=1e-12).mean() >= (0.999 if spread else 1), column.name
    assert are_inside(encoding, before).all()


def test_what_is_not_close_is_learnt_by_itself(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(0, 100, ROWS).round(1)
    exact = rng.normal(size=ROWS)
    frame = pd.DataFrame(
        {
            "x": x,
            "far": (x + rng.normal(0, 40, ROWS)).round(1),
            "twice": (2 * x).round(1),  # follows
            "a": rng.normal(0, 100, ROWS).round(2),
            "exact": exact,
            "steps": exact + rng.integers(1, 4, ROWS) / 100,  # whose differences have no density
            "known": np.where(rng.random(ROWS) < 0.1, np.nan, x + rng.normal(0, 1, ROWS)).round(1),
        }
    )
    frame["b"] = (0.05 * frame["a"]).round(2)
    frame["sum"] = (frame["a"] + frame["b"]).round(2)  # with what is close to it, of which it is a sum
    encoding, *_ = learnt(frame, tmp_path / "t.csv", relations=True)
    follow = {relation.column for relation in encoding.relations}
    assert "twice" in follow
    assert set(offsets_of(encoding)) == {"known"}
    assert offsets_of(encoding)["known"].other == "x"
    assert not offsets_of(encoding)["known"].has_ties  # though one in 25 is equal: about as many are a step apart
    # A number that is there where the other is not
    encoding, *_ = learnt(frame[["known", "x"]].mask(rng.random((ROWS, 2)) < 0.1), tmp_path / "t.csv")
    assert not offsets_of(encoding)
    encoding, *_ = learnt(stones(200), tmp_path / "t.csv")
    assert not offsets_of(encoding)


def often(rows=ROWS, seed=0):
    """Prices: of what was sold the last one is the first one in two of five rows; leisure, often with what is left."""
    rng = np.random.default_rng(seed)
    asked = (rng.gamma(3, 900, rows) / 10).round() * 10 + np.where(rng.random(rows) < 0.8, 9, 5)
    kind = rng.choice(["new", "used"], rows)
    last = np.where(rng.random(rows) < np.where(kind == "new", 0.7, 0.1), asked, (asked * rng.uniform(0.5, 0.97, rows)))
    all_of_it = rng.gamma(4, 10, rows)
    of_it = np.where(rng.random(rows) < 0.3, all_of_it, all_of_it * rng.beta(5, 3, rows))
    frame = pd.DataFrame({"kind": kind, "asked": asked, "last": last.round(), "of_it": of_it, "all_of_it": all_of_it})
    return frame.astype({"asked": "Int64", "last": "Int64"})


def test_what_is_often_equal(tmp_path):
    encoding, source, schema = learnt(often(), tmp_path / "t.csv")
    found = offsets_of(encoding)
    assert {name: (offset.other, offset.has_ties) for name, offset in found.items()} == {
        "last": ("asked", True),
        "all_of_it": ("of_it", True),
    }
    assert found["all_of_it"].slope == 0
    assert [phase.name for phase in encoding.phases if "tie" in phase.name] == ["tie of last", "tie of all_of_it"]
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert again.to_json() == encoding.to_json()
    check_encoding(again, schema)
    before = encoding.cells(source, schema)
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    assert rows.is_known.all()
    cells = encoding.decode(rows.classes, rows.scores.astype(np.float64))
    assert are_inside(encoding, before).all()
    for name, other in (("last", "asked"), ("all_of_it", "of_it")):
        is_tied = before[name].values == before[other].values
        assert 0.2 < is_tied.mean() < 0.6
        np.testing.assert_array_equal(cells[name].values == cells[other].values, is_tied)
        np.testing.assert_allclose(cells[name].values, before[name].values, rtol=1e-5)
        at = [column.name for column in encoding.continuous].index(name)
        np.testing.assert_array_equal(rows.is_present[:, at], ~is_tied)
        made = encoding.learn_made(rows.classes, np.where(rows.is_present, rows.scores, 99.0)).by_name[name].made
        assert max(made) < 9  # noise in the place of what is tied says nothing


@pytest.mark.parametrize("name", ["width", "depth", "low", "paid"])
def test_the_density_given_the_other_sums_to_one(tmp_path, name):
    encoding, *_ = learnt(stones(), tmp_path / "t.csv")
    column = encoding.by_name[name]
    other = {"width": 5.0, "depth": 5.0, "low": 9_000.0, "paid": 30_099.0}[name]
    step = 0.01 if name in ("width", "depth") else 1.0
    numbers = np.arange(step, 3 * other, step).round(2)
    others, rng = np.full(len(numbers), other), np.random.default_rng(2)
    total = []
    for _ in range(30):  # over the cells
        places, _, log_density = column.places_of(numbers, others, rng)
        total.append(step * np.exp(norm.logpdf(column.margin.encode(places)) + log_density))
    _, phases = column.learnt_of(numbers, others)
    phases = np.zeros(len(numbers), int) if column.endings is None else phases[:, 0]
    sums = np.bincount(phases, np.mean(total, axis=0))
    # Beyond all that was seen there are tails, that of `low` above zero cut off.
    np.testing.assert_allclose(sums[sums > 0], 1.0, atol=0.03)


def test_log_densities_are_the_derivatives_of_scores(tmp_path):
    encoding, *_ = learnt(stones(), tmp_path / "t.csv")
    column, eps = encoding.by_name["weight"], 1e-7
    length, weight = np.array([3.0, 5.0, 8.0]), np.array([0.17, 0.75, 3.2])

    def scores(weight):
        return column.margin.encode(column.places_of(weight, length, None)[0])

    *_, log_density = column.places_of(weight, length, None)
    by_differences = (scores(weight * (1 + eps)) - scores(weight * (1 - eps))) / (2 * eps * weight)
    np.testing.assert_allclose(np.exp(log_density), by_differences, rtol=1e-4)


def test_any_scores_make_numbers_as_close(tmp_path):
    """Scores that have nothing to do with each other: what one column is beside another is within what was seen."""
    frame = stones()
    encoding, source, schema = learnt(frame, tmp_path / "t.csv")
    rng = np.random.default_rng(3)
    rows = encoding.encode(source, schema, rng)
    cells = encoding.decode(rng.permuted(rows.classes, axis=0), rng.permuted(rows.scores, axis=0))
    is_inside = are_inside(encoding, cells)
    assert is_inside.mean() > 0.3
    new = {
        column.name: column.values_in(cells[column.name].codes, cells[column.name].values)
        for column in encoding.columns
    }
    new = pd.DataFrame(new)[is_inside]
    assert (new["low"] <= new["high"])[new["high"] > 0].all()
    assert ((new["paid"] / new["asked"]).between(0.9599, 1)).all()
    for part in (new, frame):
        assert spearmanr(part["width"], part["length"]).statistic > 0.99
    extremes = encoding.decode(rows.classes, np.where(np.arange(ROWS)[:, np.newaxis] % 9, rows.scores, 9.0))
    assert not are_inside(encoding, extremes)[::9].any()
    nearest, moved = bounded(encoding, extremes)
    assert 0 < moved < 0.12
    assert are_inside(encoding, nearest).all()
    kept = are_inside(encoding, extremes)
    for name in ("chance", "width", "weight"):  # each is its own nearest, and no copy of another row
        np.testing.assert_allclose(nearest[name].values[kept], extremes[name].values[kept])
    assert len(np.unique(nearest["weight"].values)) > 0.85 * ROWS


def test_a_share_of_the_other_is_no_difference(tmp_path):
    """Populations, some of which are nothing, so that they have no logarithm: of a small one nothing would be left."""
    rng = np.random.default_rng(5)
    before = np.where(rng.random(ROWS) < 0.01, 0, rng.lognormal(12, 3, ROWS)).round()
    frame = pd.DataFrame({"before": before, "after": (before * rng.normal(1.01, 0.02, ROWS)).round()})
    encoding, *_ = learnt(frame, tmp_path / "t.csv")
    assert not offsets_of(encoding)
    encoding, *_ = learnt(frame[before > 0], tmp_path / "t.csv")
    assert offsets_of(encoding)["after"].of_logs


def ratios(odd, where, rows=12_000):
    """Numbers and about as many times others, one of which has no logarithm, whether it is looked at or not."""
    rng = np.random.default_rng(6)
    x = rng.lognormal(3, 1, rows).round(2) + 1
    frame = pd.DataFrame({"x": x, "y": (x * rng.lognormal(0, 0.02, rows)).round(2)})
    frame.loc[where, "y"] = odd
    return frame


def test_differences_that_would_leave_the_range_are_not_learnt(tmp_path):
    """Colours of dark points: many would be below zero, and their rows drawn again, so that dark ones became fewer."""
    rng = np.random.default_rng(4)
    light = rng.gamma(0.6, 60, ROWS)
    red = np.abs(light + rng.normal(0, 2, ROWS))
    frame = pd.DataFrame({"light": light.round(3), "red": red.round(3)})
    encoding, *_ = learnt(frame, tmp_path / "t.csv")
    assert not offsets_of(encoding)
    encoding, *_ = learnt(frame.assign(red=(light + rng.normal(0, 2, ROWS)).round(3)), tmp_path / "t.csv")
    assert offsets_of(encoding)["red"].other == "light"


@pytest.mark.parametrize("odd", [0, -3])
@pytest.mark.parametrize("where", [6, 7])
def test_a_number_that_has_no_logarithm_goes_on_below_them(tmp_path, odd, where):
    encoding, source, schema = learnt(ratios(odd, where), tmp_path / "t.csv")
    offset = next(iter(offsets_of(encoding).values()))
    assert offset.of_logs
    assert sorted(map(bool, offset.linear_below)) == [False, True]  # of the column that has such a number
    rows = encoding.encode(source, schema, np.random.default_rng(0))
    assert np.abs(rows.log_det).max() < 60
    assert np.abs(rows.scores).max() < 10
    cells = encoding.cells(source, schema)
    again = encoding.decode(rows.classes, rows.scores)
    assert again["y"].values[where] == pytest.approx(odd, abs=0.02)
    kept = np.setdiff1d(np.arange(len(rows.scores)), where)
    np.testing.assert_allclose(again["y"].values[kept], cells["y"].values[kept], rtol=1e-3)
    encoding, *_ = learnt(ratios(odd, where).drop(where), tmp_path / "t.csv")
    assert offsets_of(encoding)["y"].linear_below == (0, 0)


def test_many_numbers_without_a_logarithm_rule_logarithms_out(tmp_path):
    encoding, *_ = learnt(ratios(0, slice(0, 15)), tmp_path / "t.csv")
    assert not any(offset.of_logs for offset in offsets_of(encoding).values())


@pytest.mark.parametrize("linear_below", [(0.0, 0.0), (2.0, 0.0), (0.0, 3.0), (2.0, 3.0)])
def test_logarithms_and_what_goes_on_below_them_have_inverses_and_densities(linear_below):
    offset = Offset(
        "other", 0.7, True, Margin.learn(np.arange(100.0), 0.0, np.random.default_rng(0)), False, linear_below
    )
    places, other = (
        np.linspace(-5 if linear_below[0] else 0.01, 9, 50),
        np.linspace(-4 if linear_below[1] else 0.01, 9, 50),
    )
    learnt = offset.of(places, other)
    np.testing.assert_allclose(offset.places(learnt, other), places, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(offset.others(places, learnt), other, rtol=1e-12, atol=1e-12)
    slope = (offset.of(places + 1e-6, other) - offset.of(places - 1e-6, other)) / 2e-6
    np.testing.assert_allclose(offset.log_derivative(places), np.log(slope), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("names", [["price", "paid"], ["paid", "price"]])
def test_ties_are_with_numbers_that_the_column_can_have(tmp_path, names):
    """Of 300 prices, six in ten of which are paid as they are: prices are not learnt beside what was paid."""
    rng = np.random.default_rng(7)
    price = rng.choice(np.unique(rng.lognormal(5, 0.6, 300).round(2)), ROWS)
    paid = np.where(rng.random(ROWS) < 0.6, price, (price * rng.uniform(0.9, 0.99, ROWS)).round(2))
    encoding, source, schema = learnt(pd.DataFrame({"price": price, "paid": paid})[names], tmp_path / "t.csv")
    found = offsets_of(encoding)
    assert set(found) == {"paid"}
    assert found["paid"].has_ties
    assert found["paid"].slope == 1  # the gain of those that are not tied counts, though they are fewer
    rows = encoding.encode(source, schema, rng)
    cells = encoding.decode(rows.classes, rows.scores + rng.normal(0, 0.01, rows.scores.shape))
    assert np.isin(cells["price"].values, price).all()
    np.testing.assert_array_equal(cells["paid"].values == cells["price"].values, paid == price)


def test_a_known_special_value_is_not_guessed_for_what_is_beside_it(tmp_path):
    """Three columns, each beside the one before, of which the second is nothing in a row whose first is missing."""
    rng = np.random.default_rng(8)
    a = rng.gamma(5, 30, ROWS).round() + 1
    b = np.where(rng.random(ROWS) < 0.15, 0, a + rng.integers(1, 9, ROWS))
    c = b + rng.integers(1, 9, ROWS)
    encoding, *_ = learnt(pd.DataFrame({"a": a, "b": b, "c": c}), tmp_path / "t.csv")
    found = offsets_of(encoding)
    assert {name: offset.other for name, offset in found.items()} == {"b": "a", "c": "b"}
    none = np.empty((1, 0), np.int32)
    guesses = {name: (np.array([150.0 if name == "a" else 4.0]), none) for name in "abc"}
    known = {"a": np.array([np.nan]), "b": np.array([np.nan]), "c": np.array([4.0])}
    assert assembled(encoding, guesses, known, {"b": np.array([0.0])})["a"] == 150
    assert assembled(encoding, guesses, known | {"b": np.array([104.0])}, {"b": np.array([np.nan])})["a"] == 100
    both = assembled(encoding, guesses, known | {"c": np.array([208.0])}, {"b": np.array([np.nan])})
    assert (both["a"], both["b"]) == (200, 204)


def test_what_is_exchanged_takes_along_what_is_close_to_it(tmp_path):
    """A total of two parts, and what is charged, which is close to the total."""
    rng = np.random.default_rng(4)
    a, b = rng.gamma(2, 50, ROWS).round(2), rng.gamma(2, 90, ROWS).round(2)
    frame = pd.DataFrame({"a": a, "b": b, "total": (a + b).round(2)})
    frame["charged"] = (frame["total"] * rng.uniform(1.01, 1.03, ROWS)).round(2)
    encoding, source, schema = learnt(frame, tmp_path / "t.csv", relations=True)
    assert [relation.column for relation in encoding.relations] == ["total"]
    assert offsets_of(encoding)["charged"].other == "total"
    total = frame["total"].to_numpy()
    cells = encoding.cells(source, schema)
    moved = cells | {"total": dataclasses.replace(cells["total"], values=total[::-1].copy())}
    moved["charged"] = dataclasses.replace(cells["charged"], values=frame["charged"].to_numpy()[::-1].copy())
    right, is_right = related(encoding, moved)
    assert is_right.all()
    np.testing.assert_allclose(right["total"].values, total)
    np.testing.assert_allclose(
        right["charged"].values / total, (frame["charged"] / frame["total"])[::-1], atol=0.006 / total.min()
    )


def test_the_other_may_be_a_class_and_numbers_without_a_logarithm_are_ruled_out(tmp_path):
    encoding, _, schema = learnt(stones(), tmp_path / "t.csv")
    far = stones(4).assign(paid=[0, -5, 10**12, 30_000], asked=30_099, high=[0, 0, 9_000, 9_000], low=[-7, 0, 0, 9_000])
    far.to_csv(tmp_path / "far.csv", index=False)
    for spread in (False, True):
        rows = encoding.encode(read_source(tmp_path / "far.csv"), schema, np.random.default_rng(1), spread=spread)
        assert np.isfinite(rows.scores).all()
        assert np.isfinite(rows.log_det).all()
        at = [column.name for column in encoding.continuous].index("paid")
        assert (np.abs(rows.scores[:3, at]) > 100).all()
        assert abs(rows.scores[3, at]) < 5


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("width", {"slope": 0}),
        ("width", {"slope": "one"}),
        ("width", {"other": "nothing"}),
        ("width", {"other": "width"}),
        ("width", {"other": "kind"}),
        ("width", {"alone": {}}),
        ("width", {"of_logs": 1}),
        ("width", {"linear_below": [0]}),
        ("width", {"linear_below": [0, -1]}),
        ("width", {"linear_below": [float("nan"), 0]}),
        ("kind", {}),
        ("length", {"other": "depth"}),  # which is learnt beside the length
    ],
)
def test_what_cannot_be_is_refused(tmp_path, name, change):
    frame = stones().assign(kind=lambda t: np.where(t["chance"] > 0, "red", "blue"))
    encoding, _, schema = learnt(frame, tmp_path / "t.csv")
    head = json.loads(json.dumps(encoding.to_json()))
    entries = {column["name"]: column for column in head}
    check_encoding(Encoding.from_json(head), schema)
    entries[name]["offset"] = entries["width"]["offset"] | change
    with pytest.raises(AugmentError):
        check_encoding(Encoding.from_json(head), schema)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = tmp_path_factory.mktemp("stones") / "stones.csv"
    frame = stones()
    frame.loc[::9, ["length", "width", "depth", "weight"]] = np.nan
    frame.to_csv(path, index=False)
    model = path.with_suffix(".augment")
    result = pipelines.fit(path, model=model, steps=100, couplings=2, width=16, batch_size=256, seed=0)
    assert result.handled["width"].startswith("numbers as ")
    assert result.handled["width"].endswith("length, missing cells")
    return path, model


def test_new_rows_are_as_close(fitted):
    path, model = fitted
    old, new = pd.read_csv(path), pipelines.generate(model, 6_000, seed=1)
    assert (new["low"] <= new["high"]).all()
    assert (new["paid"] <= new["asked"]).all()
    assert (new["asked"] % 100 == 99).mean() == pytest.approx(0.8, abs=0.05)
    for name, spread in (("width", 0.01), ("depth", 0.04)):
        widths = [
            np.nanstd(frame[name] / frame["length"] if name == "width" else frame[name] - 0.61 * frame["length"])
            for frame in (old, new)
        ]
        assert widths[0] == pytest.approx(spread, rel=0.1)
        assert widths[1] == pytest.approx(spread, rel=0.35)
    for name in old:
        assert new[name].dropna().between(old[name].min(), old[name].max()).all(), name
    scores = pipelines.score(path, model=model)["log_prob"]
    assert np.isfinite(scores).all()
    swapped = old.assign(low=old["high"] + 500)
    assert pipelines.score(swapped, model=model)["log_prob"].mean() < scores.mean() - 5


@pytest.mark.parametrize("draw", [False, True])
@pytest.mark.parametrize(
    "missing",
    [
        pytest.param(["length"], marks=pytest.mark.slow),
        ["width"],
        pytest.param(["length", "width"], marks=pytest.mark.slow),
        pytest.param(["length", "width", "depth", "weight"], marks=pytest.mark.slow),
    ],
)
def test_imputed_numbers_are_as_close(fitted, missing, draw):
    path, model = fitted
    old = pd.read_csv(path).dropna().head(300).reset_index(drop=True)
    new = pipelines.impute(old.assign(**dict.fromkeys(missing)), model=model, draw=draw, seed=1, columns=missing)
    assert new[missing].notna().all(axis=None)
    ratio = (new["width"] / new["length"]).to_numpy(float)
    assert np.abs(ratio - 1).max() < 0.08
    if missing != ["length", "width", "depth", "weight"]:
        told = new["length"].to_numpy(float) / old["length"]
        assert np.abs(told - 1).mean() < (0.15 if len(missing) > 1 else 0.04)


def test_latents_go_back_to_the_same_numbers(fitted, tmp_path):
    path, model = fitted
    latents, back = tmp_path / "z.csv", tmp_path / "back.csv"
    old = pd.read_csv(path)
    pipelines.encode(path, model=model, output=latents)
    pipelines.decode(latents, model=model, output=back)
    new = pd.read_csv(back)
    for name in old:
        np.testing.assert_allclose(new[name], old[name], rtol=1e-4 if name == "weight" else 1e-12, err_msg=name)


@pytest.fixture(scope="module")
def fitted_ties(tmp_path_factory):
    path = tmp_path_factory.mktemp("often") / "often.csv"
    frame = often()
    frame.loc[::7, "last"] = pd.NA
    frame.to_csv(path, index=False)
    model = path.with_suffix(".augment")
    result = pipelines.fit(path, model=model, steps=100, couplings=2, width=16, batch_size=256, seed=0)
    assert result.handled["last"] == "numbers by last digits, ties with asked, missing cells"
    return path, model


@pytest.mark.slow
def test_new_rows_are_as_often_equal(fitted_ties, tmp_path):
    path, model = fitted_ties
    old, new = pd.read_csv(path), pipelines.generate(model, 6_000, seed=1)
    for kind in ("new", "used"):
        shares = [
            (part["last"] == part["asked"])[(part["kind"] == kind) & part["last"].notna()].mean() for part in (old, new)
        ]
        assert shares[1] == pytest.approx(shares[0], abs=0.07), kind
    shares = [(part["of_it"] == part["all_of_it"]).mean() for part in (old, new)]
    assert shares[1] == pytest.approx(shares[0], abs=0.05)
    assert np.isfinite(pipelines.score(path, model=model)["log_prob"]).all()
    latents, back = tmp_path / "z.csv", tmp_path / "back.csv"
    pipelines.encode(path, model=model, output=latents)
    assert set(pd.read_csv(latents, keep_default_na=False)["tie of last"]) == {"", "no", "yes"}
    pipelines.decode(latents, model=model, output=back)
    again = pd.read_csv(back)
    for name in old:
        if name != "kind":
            np.testing.assert_allclose(again[name], old[name], rtol=1e-4 if "it" in name else 0, err_msg=name)
    np.testing.assert_array_equal(again["of_it"] == again["all_of_it"], old["of_it"] == old["all_of_it"])


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["last", "asked", "of_it", "all_of_it"])
def test_imputed_numbers_are_often_equal(fitted_ties, missing):
    path, model = fitted_ties
    old = pd.read_csv(path).dropna().reset_index(drop=True)
    new = pipelines.impute(old.assign(**{missing: None}), model=model, draw=True, seed=1, columns=[missing])
    pair = ("asked", "last") if missing in ("asked", "last") else ("of_it", "all_of_it")
    shares = [(part[pair[0]].astype(float) == part[pair[1]]).mean() for part in (old, new)]
    assert shares[1] == pytest.approx(shares[0], abs=0.1)
    assert new[missing].astype(float).between(old[missing].min(), old[missing].max()).all()


def test_conditions_of_what_is_close_hold(fitted):
    _, model = fitted
    new = pipelines.generate(model, 200, where=["paid>=40000", "width<7"], seed=1)
    assert (new["paid"] >= 40_000).all()
    assert (new["asked"] >= 40_000).all()
    assert (new["width"] < 7).all()
