"""What the cells that are there say of those that are missing is what these become, and no more."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sales import REGIONS, ROWS, problems, sales

import pipelines
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.relations.relation import words
from pipelines.tables.relations.relation_search import find_relations
from pipelines.tables.relations.relation_solving import solved


@pytest.mark.slow
def test_filled_cells_follow(sales_fit):
    """A total from its parts, a part from its total: what is there says of each of these what it must be."""
    rows = sales(700, seed=6)
    holes = rows.copy()
    single = ["region", "amount", "total", "rate", "log_price", "month", "price", "pieces", "shipping", "buyers"]
    for place, name in enumerate(single):
        holes.loc[place::14, name] = np.nan
    holes.loc[10::14, ["amount", "price", "log_price"]] = np.nan  # amount of total and shipping, then price
    holes.loc[11::14, ["amount", "shipping"]] = np.nan  # amount of price and pieces, then shipping
    holes.loc[12::14, ["region", "rate", "amount", "total"]] = np.nan
    filled = pipelines.impute(holes, model=sales_fit.model)
    assert problems(filled) == dict.fromkeys(problems(filled), 0)
    pd.testing.assert_frame_equal(filled[single], rows[single], check_dtype=False, rtol=2e-4)
    # Of prices and shipping that are both missing one is a guess, and the other what is left of the total.
    holes = rows.assign(price=np.nan, log_price=np.nan, amount=np.nan, shipping=np.nan)
    filled = pipelines.impute(holes, model=sales_fit.model, draw=True, seed=1)
    is_right = np.isclose(filled["amount"] + filled["shipping"], rows["total"], atol=0.006)
    seen = filled["shipping"].between(sales()["shipping"].min(), sales()["shipping"].max())
    assert seen.all()
    assert 0.3 < is_right.mean() < 1  # elsewhere the price is so far off that nothing that was seen is left


def test_a_class_of_which_there_is_one_follows_from_what_it_is_looked_up_by(sales_fit):
    """Hill is the only city in the east; Bay and Ford are both in the north."""
    rows = sales(200, seed=8)
    filled = pipelines.impute(rows.assign(city=np.nan), model=sales_fit.model)
    assert (filled["city"][rows["region"] == "east"] == "Hill").all()
    assert filled["city"].notna().all()


@pytest.mark.slow
def test_what_may_be_several_is_guessed(tmp_path):
    """Of a rate that few had, of nothing over nothing, of a name that several share: draws differ by the seed."""
    rng = np.random.default_rng(15)
    town = np.where(
        rng.random(ROWS) < 0.05, np.array([f"v{k}" for k in range(ROWS)]), rng.choice(["A", "B", "C"], ROWS)
    )
    visitors = np.where(rng.random(ROWS) < 0.1, 0, rng.integers(20, 90_000, ROWS))
    frame = pd.DataFrame({"town": town, "side": np.where(town == "A", "west", "east"), "visitors": visitors})
    frame["buyers"] = np.where(
        visitors > 0, rng.binomial(visitors, rng.uniform(0, 0.5, ROWS)), rng.integers(0, 9, ROWS)
    )
    rate = 100 * frame["buyers"] / frame["visitors"].where(visitors > 0)
    rows = frame.assign(rate=rate.round(1).fillna(0.0))
    model = pipelines.fit(rows, model=tmp_path / "m.augment", steps=2, couplings=2, width=8).model
    relations = pipelines.describe(model)["relations"]
    assert relations == {"side": "a function of town", "rate": "100 * buyers / visitors or else 0"}
    rows = rows[:300]
    for name in ("visitors", "buyers", "town"):
        drawn = [pipelines.impute(rows.assign(**{name: np.nan}), model=model, draw=True, seed=k)[name] for k in (1, 2)]
        # A rate below 3 says little of 90,000 visitors when it is rounded to a tenth.
        is_open = {"visitors": rows["rate"] < 3, "buyers": rows["visitors"] == 0, "town": rows["side"] == "east"}[name]
        assert (drawn[0] != drawn[1])[is_open].mean() > 0.2, name
        assert drawn[0].notna().all()


@pytest.mark.slow
def test_a_class_that_goes_with_missing_cells_is_no_cell(tmp_path):
    """The city is missing wherever the region is unknown, which says nothing of the city."""
    rows = sales()[["city", "region", "price"]]
    rows.loc[::7, ["city", "region"]] = None, "unknown"
    model = pipelines.fit(rows, model=tmp_path / "m.augment", steps=2, couplings=2, width=8).model
    assert pipelines.describe(model)["relations"] == {"region": "a function of city"}
    assert pipelines.impute(rows, model=model)["city"].isin(list(REGIONS)).all()


@pytest.mark.slow
def test_halves_that_were_rounded_up_are_solved_for(tmp_path):
    rng = np.random.default_rng(16)
    net, rate = rng.integers(500, 50_000, ROWS), rng.choice([5, 10, 15, 20], ROWS)
    frame = pd.DataFrame({"net": net / 100, "rate": rate, "tax": (2 * net * rate + 100) // 200 / 100})
    model = pipelines.fit(frame, model=tmp_path / "m.augment", steps=2, couplings=2, width=8).model
    filled = pipelines.impute(frame.assign(rate=pd.array([None] * ROWS, "Int64")), model=model)
    np.testing.assert_array_equal(filled["rate"], rate)
    filled = pipelines.impute(frame.assign(net=np.nan), model=model)
    np.testing.assert_allclose(filled["net"], frame["net"], atol=0.105)  # half a cent of 5 %, and of its own


def test_what_says_a_cell_exactly_comes_before_what_leaves_a_choice(tmp_path):
    rng = np.random.default_rng(17)
    net, rate = rng.integers(1_000, 100_000, ROWS) / 100, rng.choice([7, 19], ROWS)
    tax = (net * rate / 100).round(2)
    frame = pd.DataFrame({"net": net, "rate": rate, "tax": tax, "gross": (net + tax).round(2)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    source = read_source(tmp_path / "t.csv")
    schema = infer_schema(source)
    encoding = Encoding.learn(source, schema, np.random.default_rng(0))
    relations = find_relations(source, schema, encoding)
    assert {relation.column: words(relation) for relation in relations} == {
        "tax": "0.01 * net * rate",
        "gross": "net + tax",
    }
    for order in (relations, relations[::-1]):
        encoding = dataclasses.replace(encoding, relations=order)
        missing = {name: np.full(ROWS, name == "net") for name in frame}
        cells = encoding.cells(source, schema)
        cells["net"] = dataclasses.replace(cells["net"], values=np.zeros(ROWS))
        filled, still = solved(encoding, schema, cells, missing)
        np.testing.assert_array_equal(filled["net"].values, net)
        assert not any(rows.any() for rows in still.values())
        # Without the total the tax leaves some cents.
        missing["gross"] |= True
        filled, still = solved(encoding, schema, cells, missing)
        np.testing.assert_allclose(filled["net"].values, net, atol=0.08)
        assert not any(rows.any() for rows in still.values())


def test_what_contradicts_itself_is_guessed(sales_fit):
    """Half a piece is none, and no row of the table had it."""
    rows = sales(50, seed=9)
    holes = rows.assign(pieces=np.nan, amount=(rows["price"] * (rows["pieces"] + 0.5)).round(2))
    filled = pipelines.impute(holes, model=sales_fit.model)
    assert set(filled["pieces"]) <= {1, 2, 3, 4, 5, 6}
    pd.testing.assert_series_equal(filled["amount"], holes["amount"])


@pytest.mark.slow
def test_a_number_learnt_beside_another_is_what_a_third_says(tmp_path):
    """What leaves little of a length leaves it little, though lengths are learnt as ratios, which are narrower."""
    rng = np.random.default_rng(16)
    drawn = rng.lognormal(5, 0.5, ROWS)
    length = drawn * rng.lognormal(0, 0.01, ROWS)
    frame = pd.DataFrame({"drawn": drawn, "length": length, "inches": (length / 2.54).round(1)})
    result = pipelines.fit(frame, model=tmp_path / "m.augment", steps=2, couplings=2, width=8)
    assert result.handled["length"] == "numbers as ratios to drawn"
    assert "length" in result.handled["inches"]
    filled = pipelines.impute(frame[:300].assign(length=np.nan), model=result.model)
    np.testing.assert_allclose(filled["length"], 2.54 * frame["inches"][:300], atol=0.14)
