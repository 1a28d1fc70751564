"""Whole thousands and 99 cents are as frequent in new rows as in the table, and densities know of it."""

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
from pipelines.tables.numbers.endings import Endings
from pipelines.tables.relations.relation import Relation

ROWS = 3_000


def homes(rows=ROWS, seed=0):
    """Homes: agents round to whole thousands, most owners to hundreds; fees end in 99 cents; areas are measured."""
    rng = np.random.default_rng(seed)
    seller = rng.choice(["agent", "owner"], rows)
    area = rng.lognormal(4.5, 0.4, rows).round(1)
    exact = 2_000 * area * rng.lognormal(0, 0.2, rows)
    unit = np.where(seller == "agent", 1_000, np.where(rng.random(rows) < 0.8, 100, 1))
    usual = exact / 500 * rng.lognormal(0, 0.3, rows)
    fee = np.where(rng.random(rows) < 0.7, np.ceil(usual) - 0.01, usual.round(2))
    return pd.DataFrame(
        {"area": area, "price": (exact / unit).round().astype(int) * unit, "seller": seller, "fee": fee}
    )


def learnt(frame, path):
    frame.to_csv(path, index=False)
    source = read_source(path)
    schema = infer_schema(source)
    return Encoding.learn(source, schema, np.random.default_rng(0)), source, schema


def share_of(numbers, unit):
    return (np.rint(np.asarray(numbers) * 100) % round(100 * unit) == 0).mean()


def test_endings_that_come_again_are_told_apart(tmp_path):
    encoding, source, schema = learnt(homes(), tmp_path / "t.csv")
    endings = {column.name: column.endings for column in encoding.columns}
    assert endings["area"] is None
    assert endings["seller"] is None
    assert set(endings["price"].suffixes) == {"00", "000"}
    assert endings["fee"].suffixes == ("99",)
    assert [phase.name for phase in encoding.phases] == ["ending of price", "ending of fee"]
    assert encoding.phases[1].levels == ("*99", "others", "")
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert [column.endings for column in again.columns] == [*endings.values()]
    check_encoding(again, schema)
    before = encoding.cells(source, schema)
    for spread in (False, True):
        rows = encoding.encode(source, schema, np.random.default_rng(1), spread=spread)
        cells = encoding.decode(rows.classes, rows.scores.astype(np.float64))
        for name in ("price", "fee", "area"):
            np.testing.assert_allclose(cells[name].values, before[name].values, rtol=1e-15, err_msg=name)


@pytest.mark.parametrize("seed", range(5))
def test_no_ending_is_found_where_all_are_as_frequent(seed):
    rng = np.random.default_rng(seed)
    for rows in (300, 3_000, 60_000):
        for numbers in (
            rng.normal(0, 1_000, rows).round(),
            rng.lognormal(3, 1.5, rows).round(),  # of which 1 to 9 are frequent, and so no ending
            rng.exponential(200, rows).round(1),
            25 * rng.integers(0, 4_000, rows) + 7.0,  # all of which end with 07, 32, 57 or 82
        ):
            whole = np.gcd.reduce(np.diff(np.unique(np.rint(numbers * 10)).astype(int)))
            assert Endings.learn(numbers, whole / 10, 10.0) is None


@pytest.mark.parametrize(
    "endings",
    [
        Endings(("00", "99", "000", "5"), 0, 1, 1),
        Endings(("0",), 0, 1, 100),
        Endings(("00", "50"), 25, 25, 10),
        Endings(("1", "2", "3", "4", "5", "6", "7", "8", "9", "00", "000"), 0, 1, 1),
        Endings(("00", "50"), 0, 10, 1, taken=(0, 100, 200, 250, 260, 270)),
    ],
)
def test_each_place_is_in_the_cell_of_one_number_of_an_ending(endings):
    places = np.arange(-3_000.123, 3_000, 0.31) / endings.per_unit
    for phase in range(len(endings.levels)):
        phases = np.full((len(places), 1), phase, np.int32)
        numbers = endings.nearest(places, phases)
        np.testing.assert_array_equal(endings.phases(numbers), phases)
        whole = np.rint(numbers * endings.per_unit)
        assert not np.isin(whole, endings.taken).any()
        assert ((whole - endings.origin) % endings.step == 0).all()
        below, above = endings.cells(numbers)
        assert ((below <= places) & (places <= above)).all()
        assert (np.diff(numbers) >= 0).all()
        distinct = np.unique(numbers)
        low, high = endings.cells(distinct)
        np.testing.assert_allclose(low[1:], high[:-1], rtol=1e-12)  # they fill the line
        widths = (high - low) * endings.per_unit / endings.step
        np.testing.assert_allclose(endings.log_widths(distinct), np.log(widths), atol=1e-9)
        np.testing.assert_array_equal(endings.nearest(distinct, phases[: len(distinct)]), distinct)
    nothing = endings.nearest(np.array([1.0]), np.array([[len(endings.levels)]]))
    assert np.isnan(nothing).all()
    far = np.array([np.inf, -1e300])
    np.testing.assert_array_equal(endings.nearest(far, np.zeros((2, 1), np.int32)), far)


def test_of_some_numbers_only_these_are_made():
    """Prices at 20, 40, ... and 99 cents: a place anywhere between has the next of its ending."""
    prices = np.sort([*range(20, 400, 20), *(np.arange(5, 300, 7) + 0.99)])
    endings = Endings.learn(np.repeat(prices, 12), 0.01, 100.0, keep=True)
    assert endings.suffixes == ("99",)
    assert endings.were_seen(np.array([20, 21, 5.99, 6.99])).tolist() == [True, False, True, False]
    places = np.arange(5.99, 380, 0.37)
    for phase, known in enumerate((prices[prices % 1 > 0], prices[prices % 1 == 0])):
        phases = np.full((len(places), 1), phase, np.int32)
        made = endings.nearest(places, phases)
        assert endings.were_seen(made).all()
        np.testing.assert_array_equal(endings.phases(made), phases)
        np.testing.assert_allclose(np.abs(made - places), np.abs(known[:, np.newaxis] - places).min(axis=0), atol=1e-9)
        low, high = endings.cells(known)
        np.testing.assert_allclose(low[1:], high[:-1])
        spread = endings.spread(np.repeat(known, 50), np.random.default_rng(phase))
        again = np.full((len(spread), 1), phase, np.int32)
        np.testing.assert_array_equal(endings.nearest(spread, again), np.repeat(known, 50))
    again = Endings.from_json(json.loads(json.dumps(endings.to_json())))
    assert again == endings


def test_a_place_between_what_was_seen_has_a_number_that_may_be():
    endings = Endings(("00", "99"), 0, 1, 100, low=449, high=2_545, taken=(0, 700))
    made = endings.nearest(np.array([4.49, 4.49, 25.44, 7.2, 3.0, 26.0]), np.array([[0], [1], [0], [0], [0], [1]]))
    np.testing.assert_array_equal(made, [5.0, 4.99, 25.0, 8.0, 3.0, 25.99])


def test_values_that_are_classes_of_their_own_are_no_numbers_beside(tmp_path):
    """Of budgets of whole hundreds, those at 600, 800 and 1,000 are classes, and none of the numbers is one of them."""
    rng = np.random.default_rng(0)
    usual = rng.choice([600, 700, 800, 1_000], ROWS, p=[0.3, 0.1, 0.3, 0.3])
    many = rng.lognormal(7, 0.8, ROWS).round() * np.where(rng.random(ROWS) < 0.8, 100, 1) / 10
    budget = np.where(rng.random(ROWS) < 0.12, usual, many.round()).astype(int)
    encoding, source, schema = learnt(pd.DataFrame({"budget": budget, "z": rng.normal(size=ROWS)}), tmp_path / "t.csv")
    column = encoding.by_name["budget"]
    spikes = [value for value in column.values if value > 0]
    assert spikes
    assert set(spikes) <= set(column.endings.taken)
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    rows.scores[:, 0] = np.random.default_rng(2).permutation(rows.scores[:, 0])
    cells = encoding.decode(rows.classes, rows.scores.astype(np.float64))["budget"]
    assert not np.isin(cells.values[column.are_numbers(cells)], spikes).any()


def test_a_special_value_too_large_for_its_digits_is_no_matter(tmp_path):
    frame = homes().astype({"price": object})
    frame.loc[::9, "price"] = -(10**18)
    encoding, *_ = learnt(frame, tmp_path / "t.csv")
    column = encoding.by_name["price"]
    assert -1e18 in column.values
    assert column.endings.taken == (0,)
    assert Encoding.from_json(json.loads(json.dumps(encoding.to_json()))).by_name["price"].endings == column.endings


def test_of_five_decimals_each_counts():
    rng = np.random.default_rng(0)
    rates = np.where(rng.random(ROWS) < 0.9, rng.uniform(0, 9, ROWS).round(2), rng.uniform(0, 9, ROWS).round(5))
    endings = Endings.learn(rates, 1e-5, 1 / 1e-5)
    assert endings.suffixes == ("000",)
    assert (endings.phases(rates)[:, 0] == 0).mean() == pytest.approx(0.9, abs=0.02)


def test_what_follows_from_others_has_the_endings_that_these_give_it(tmp_path):
    frame = homes().assign(twice=lambda t: 2 * t["price"])
    encoding, source, schema = learnt(frame, tmp_path / "t.csv")
    assert encoding.by_name["twice"].endings is not None
    relations = (Relation("twice", ("price",), "sum", (0.0, 2.0), decimals=0),)
    related = encoding.related(relations, source, schema, np.random.default_rng(0))
    assert related.relations == relations
    assert related.by_name["twice"].endings is None
    assert related.by_name["twice"].margin.step > 0
    assert related.by_name["price"] is encoding.by_name["price"]


def test_the_density_sums_to_one_over_each_ending(tmp_path):
    encoding, source, schema = learnt(homes(), tmp_path / "t.csv")
    column = encoding.by_name["price"]
    prices = np.arange(-200_000.0, 2_500_000.0)
    phases = column.endings.phases(prices)[:, 0]
    for rng in (None, np.random.default_rng(1)):
        places, _, log_density = column.places_of(prices, None, rng)
        probs = np.exp(norm.logpdf(column.margin.encode(places)) + log_density)
        np.testing.assert_allclose(np.bincount(phases, probs), 1.0, atol=0.01)
    rows, cells = encoding.encode(source, schema, rng, spread=False), encoding.cells(source, schema)
    parts = [each.places_of(cells[each.name].values, None, None)[-1] for each in encoding.continuous]
    np.testing.assert_allclose(rows.log_det, np.sum(parts, axis=0), atol=1e-9)


def test_numbers_far_beyond_what_was_seen_are_ruled_out_and_stay(tmp_path):
    encoding, _, schema = learnt(homes(), tmp_path / "t.csv")
    homes(4).assign(price=[10**17, -(10**17), 10**9, 0]).to_csv(tmp_path / "far.csv", index=False)
    far = read_source(tmp_path / "far.csv")
    at = [column.name for column in encoding.continuous].index("price")
    for spread in (False, True):
        scores = encoding.encode(far, schema, np.random.default_rng(1), spread=spread).scores[:, at]
        assert scores[0] > 1e3
        assert scores[1] < -1e3
        assert scores[2] > 1e3


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"suffixes": []}, "no digits"),
        ({"suffixes": ["x"]}, "no digits"),
        ({"suffixes": [""]}, "no digits"),
        ({"suffixes": ["1" * 30]}, "no digits"),
        ({"step": 0}, "no digits, or no step"),
        ({"step": 10, "origin": 5}, "no numbers of an ending"),
        ({"step": 1 << 50}, "no numbers of an ending"),
        ({"suffixes": list("0123456789")}, "no numbers of an ending"),
        ({"suffixes": [f"{k:03}" for k in range(13)]}, "no digits"),
        ({"low": 901}, "no order"),
        ({"support": [7, 7]}, "no order"),
        ({"support": [1_000]}, "no order"),
        ({"high": 1 << 60}, "too large"),
        ({"taken": [*range(65)]}, "too many"),
    ],
)
def test_endings_that_are_none_are_refused(entries, said):
    right = {"suffixes": ["00", "99"], "origin": 0, "step": 1, "per_unit": 100, "low": -7, "high": 900}
    right |= {"support": [-7, 100, 199, 900], "taken": [0]}
    assert Endings.from_json(right).to_json() == right
    with pytest.raises(AugmentError, match=said):
        Endings.from_json(right | entries)


def test_classes_and_dates_have_no_endings(tmp_path):
    encoding, _, schema = learnt(homes().assign(day="2020-01-01"), tmp_path / "t.csv")
    endings = encoding.by_name["price"].endings
    columns = [
        dataclasses.replace(column, endings=endings) if column.name == "seller" else column
        for column in encoding.columns
    ]
    with pytest.raises(AugmentError, match="'seller' has numbers, and the column has none"):
        check_encoding(Encoding(tuple(columns)), schema)
    days = homes().assign(day=lambda t: pd.to_datetime("2020-01-01") + pd.to_timedelta(t["price"] // 50, unit="D"))
    encoding, _, schema = learnt(days, tmp_path / "days.csv")
    columns = [dataclasses.replace(column, rhythm=None) for column in encoding.columns]
    columns[-1] = dataclasses.replace(columns[-1], endings=endings)
    with pytest.raises(AugmentError, match="'day' has last digits that come again, and the column no such numbers"):
        check_encoding(Encoding(tuple(columns)), schema)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = tmp_path_factory.mktemp("homes") / "homes.csv"
    frame = homes()
    frame.loc[::9, "price"] = None
    frame.astype({"price": "Int64"}).to_csv(path, index=False)
    result = pipelines.fit(
        path, model=path.with_suffix(".augment"), steps=100, couplings=2, width=16, batch_size=256, seed=0
    )
    assert result.handled["price"] == "numbers by last digits, missing cells"
    return path, path.with_suffix(".augment")


@pytest.mark.slow
def test_new_rows_have_the_endings(fitted):
    path, model = fitted
    old, new = pd.read_csv(path).dropna(), pipelines.generate(model, 6_000, seed=1).dropna()
    for seller in ("agent", "owner"):
        for unit in (100, 1_000):
            shares = [share_of(frame["price"][frame["seller"] == seller], unit) for frame in (old, new)]
            assert shares[1] == pytest.approx(shares[0], abs=0.06), (seller, unit)
    assert share_of(new["fee"] + 0.01, 1) == pytest.approx(share_of(old["fee"] + 0.01, 1), abs=0.06)
    assert new["price"].between(old["price"].min(), old["price"].max()).all()
    assert np.isfinite(pipelines.score(path, model=model)["log_prob"]).all()


@pytest.mark.slow
def test_missing_numbers_are_imputed_with_their_endings(fitted):
    path, model = fitted
    old = pd.read_csv(path)
    for draw in (False, True):
        new = pipelines.impute(old, model=model, draw=draw, seed=1)
        filled = new["price"][old["price"].isna()]
        assert share_of(filled[old["seller"] == "agent"], 1_000) > 0.95
        known = old["price"].notna()
        np.testing.assert_array_equal(new["price"][known], old["price"][known])


@pytest.mark.slow
def test_latents_go_back_to_the_same_numbers(fitted, tmp_path):
    path, model = fitted
    latents, back = tmp_path / "z.csv", tmp_path / "back.csv"
    pipelines.encode(path, model=model, output=latents)
    frame = pd.read_csv(latents, dtype=str, keep_default_na=False)
    assert set(frame["ending of price"]) == {"", "*000", "*00", "others"}
    assert (frame["ending of price"] == "").tolist() == pd.read_csv(path)["price"].isna().tolist()
    pipelines.decode(latents, model=model, output=back)
    assert back.read_text() == path.read_text()
    frame.loc[frame.index[1], "ending of fee"] = ""
    with pytest.raises(AugmentError, match="row 1 has a number in 'fee', but lacks 'ending of fee'"):
        pipelines.decode(frame, model=model)
