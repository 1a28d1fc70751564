"""What one column follows from in every row of a table, it follows from in every new row; nothing else is claimed."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

import pipelines
from pipelines import AugmentError
from pipelines.engines.local import Sampler
from pipelines.model_file import read_model
from pipelines.tables.encoding import Encoding
from pipelines.tables.inference import infer_schema
from pipelines.tables.reading import read_source
from pipelines.tables.relation_search import find_relations
from pipelines.tables.relations import Relation, date_part, from_json, words

ROWS = 2_000
REGIONS = {"Bay": "north", "Dale": "south", "Ford": "north", "Hill": "east", "Mere": "south"}


def sales(rows=ROWS, seed=0):
    """A table as shops have them: codes and names, totals, rates, parts of a date."""
    rng = np.random.default_rng(seed)
    city = rng.choice(list(REGIONS), rows, p=[0.4, 0.25, 0.15, 0.12, 0.08])
    price = rng.gamma(9.0, 3.0, rows).round(2)
    pieces = rng.integers(1, 7, rows)
    shipping = rng.gamma(4.0, 1.5, rows).round(2)
    visitors = rng.integers(200, 90_000, rows)
    buyers = rng.binomial(visitors, 0.03)
    day = np.datetime64("2021-01-01") + rng.integers(0, 900, rows).astype("timedelta64[D]")
    amount = (price * pieces).round(2)
    return pd.DataFrame(
        {
            "city": city,
            "region": [REGIONS[name] for name in city],
            "price": price,
            "pieces": pieces,
            "amount": amount,
            "shipping": shipping,
            "total": (amount + shipping).round(2),
            "visitors": visitors,
            "buyers": buyers,
            "rate": (100 * buyers / visitors).round(4),
            "log_price": np.log(price),
            "day": day.astype(str),
            "month": pd.to_datetime(day).month,
            "noise": rng.normal(size=rows).round(3),
        }
    )


def found_in(frame, path):
    """The relations of a table, as words by column; they survive being written and read."""
    frame.to_csv(path, index=False)
    source = read_source(path)
    schema = infer_schema(source)
    encoding = Encoding.learn(source, schema, np.random.default_rng(0))
    relations = find_relations(source, schema, encoding)
    written = json.loads(json.dumps([relation.to_json() for relation in relations]))
    assert from_json(written, encoding.columns) == relations
    return {relation.column: words(relation) for relation in relations}


def test_every_kind_is_found_and_nothing_else(tmp_path):
    assert found_in(sales(), tmp_path / "sales.csv") == {
        "region": "a function of city",
        "amount": "price * pieces",
        "total": "amount + shipping",
        "rate": "100 * buyers / visitors",
        "log_price": "log(price)",
        "month": "month of day",
    }


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda t: 2.5 * t.x + 4, "2.5 * x + 4"),
        (lambda t: (t.x - t.y).round(3), "x - y"),
        (lambda t: t.x**2, "x^2"),
        (lambda t: np.exp(0.5 * t.x), "exp(0.5 * x)"),
        (lambda t: np.log1p(t.x), "log(x + 1)"),
        (lambda t: np.log10(t.x), "0.434294 * log(x)"),
        (lambda t: t.x / t.y, "x / y"),
        (lambda t: (t.x - 4.5).abs().round(3), "|x - 4.5|"),
        (lambda t: (t.x - 4.6265).round(3).abs(), "|x - 4.6265|"),
        (lambda t: (100 * t.x / t.y.where(t.y > 2, 0)).replace(np.inf, 0).round(4), None),
    ],
)
def test_formulas(tmp_path, made, said):
    """Of `z = x - y` and its like the widest of the three follows from the others."""
    rng = np.random.default_rng(1)
    x, y = rng.gamma(5.0, 1.0, ROWS).round(3), (rng.gamma(9.0, 0.2, ROWS) + 0.1).round(3)
    frame = pd.DataFrame({"x": x, "y": y})
    found = found_in(frame.assign(z=made), tmp_path / "t.csv")
    expected = {"x": "y + z"} if said == "x - y" else {"z": said} if said else {}
    assert found == expected


def test_a_division_by_zero_is_what_it_is_in_the_table(tmp_path):
    """A rate of no visitors is 0 in most tables, missing in some; here 1 of 20 rows has none."""
    frame = sales()[["visitors", "buyers"]]
    frame.loc[frame.index % 20 == 7, ["visitors", "buyers"]] = 0
    rate = (frame["buyers"] / frame["visitors"]).round(6)
    assert found_in(frame.assign(rate=rate.fillna(0.0)), tmp_path / "t.csv") == {"rate": "buyers / visitors or else 0"}
    assert found_in(frame.assign(rate=rate), tmp_path / "t.csv") == {"rate": "buyers / visitors"}
    rate[rate.isna()] = np.arange(100) % 2  # neither
    assert "rate" not in found_in(frame.assign(rate=rate), tmp_path / "t.csv")
    result = pipelines.fit(
        frame.assign(rate=(frame["buyers"] / frame["visitors"]).round(6).fillna(0.0)),
        model=tmp_path / "m.augment",
        steps=2,
        couplings=2,
        width=8,
    )
    new = pipelines.generate(result.model, 2_000, seed=0)
    assert (new["visitors"] == 0).sum() > 30
    np.testing.assert_allclose(
        new["rate"], (new["buyers"] / new["visitors"]).replace(np.inf, 0).fillna(0).round(6), atol=1e-9
    )


def test_shares_add_up_but_for_their_last_digits(tmp_path):
    shares = np.random.default_rng(13).dirichlet([2.0, 3.0, 1.0, 4.0], ROWS)
    frame = pd.DataFrame((100 * shares).round(1), columns=list("abcd"))
    assert 0.3 < (frame.sum(axis=1).round(1) == 100).mean() < 0.8
    assert found_in(frame, tmp_path / "t.csv") == {"d": "100 - a - b - c"}
    # Games are counted: that some ended in a tie is no rounding. Nor is what a meter rose by.
    rng = np.random.default_rng(14)
    won, lost = rng.integers(0, 500, ROWS), rng.integers(0, 500, ROWS)
    games = pd.DataFrame({"won": won, "lost": lost, "games": won + lost + rng.integers(0, 2, ROWS)})
    assert found_in(games, tmp_path / "t.csv") == {}
    before, more = rng.uniform(0, 900, ROWS).round(2), rng.uniform(0, 400, ROWS).round(2)
    # Nor are fees, what is rounded to five cents, or what is lost at the till.
    for off in (rng.integers(0, 2, ROWS), rng.integers(-1, 2, ROWS), np.where(rng.random(ROWS) < 0.05, 1, 0)):
        paid = pd.DataFrame({"net": before, "tip": more, "paid": (before + more + off / 100).round(2)})
        assert found_in(paid, tmp_path / "t.csv") == {}
        assert found_in(paid.assign(fee=off / 100), tmp_path / "t.csv") == {"paid": "net + tip + fee"}
    cash = pd.DataFrame({"net": before, "tip": more, "paid": (np.rint((before + more) * 20) / 20).round(2)})
    assert found_in(cash, tmp_path / "t.csv") == {}
    meter = pd.DataFrame({"before": before, "after": (before + rng.integers(0, 3, ROWS) / 100).round(2)})
    assert found_in(meter, tmp_path / "t.csv") == {}


def test_numbers_made_in_float32_are_made_so_again(tmp_path):
    """The logarithms of 12 whole numbers are frequent values: a neighbour of one would be told from it."""
    count = np.random.default_rng(2).poisson(5.0, ROWS) + 1
    frame = pd.DataFrame({"count": count, "log": np.log(count).astype(np.float32).astype(float), "x": count * 0.5})
    frame.to_csv(tmp_path / "t.csv", index=False)
    model = pipelines.fit(tmp_path / "t.csv", model=tmp_path / "m.augment", steps=2, couplings=2, width=8).model
    new = pipelines.generate(model, 500, seed=0)
    assert set(new["log"]) <= set(frame["log"])
    np.testing.assert_array_equal(new["log"], np.log(new["count"]).astype(np.float32).astype(float))


def test_one_exception_in_all_rows_is_no_relation(tmp_path):
    frame = sales()
    frame.loc[1_234, "total"] += 0.02
    frame.loc[1_235, "region"] = "east"
    frame.loc[1_236, "rate"] += 0.001
    found = found_in(frame, tmp_path / "t.csv")
    assert not {"total", "region", "rate"} & set(found)
    assert {"amount", "log_price", "month"} <= set(found)


def test_large_numbers_are_as_exact(tmp_path):
    """A meter read twice, times of a year in milliseconds, a price and a small fee: six digits say nothing of these."""
    rng = np.random.default_rng(8)
    meter, price = rng.uniform(3e5, 9e5, ROWS).round(3), rng.uniform(1e6, 9e6, ROWS).round(2)
    start, fee = 1.6e9 + rng.uniform(0, 3e7, ROWS).round(3), rng.uniform(0.0, 4.0, ROWS).round(2)
    near, net = rng.uniform(300, 400, ROWS), rng.gamma(9.0, 20.0, ROWS).round(2)
    frame = pd.DataFrame(
        {
            "meter": meter,
            "later": (meter + rng.uniform(0, 3, ROWS)).round(3),
            "start": start,
            "end": (start + rng.uniform(0, 60, ROWS)).round(3),
            "near": near,
            "nearly": near + rng.normal(0, 2e-4, ROWS),
            "price": price,
            "fee": fee,
            "total": (price + fee).round(2),
            "net": net,
            "tax": (0.19 * net).round(2),
        }
    )
    assert found_in(frame, tmp_path / "t.csv") == {"total": "price + fee", "tax": "0.19 * net"}


def test_what_was_rounded_follows(tmp_path):
    """Not the rate of a tax, though that is the tax over the net, nor the current, which is off by little then."""
    rng = np.random.default_rng(13)
    net, rate = rng.integers(500, 50_000, ROWS), rng.choice([5, 10, 15, 20], ROWS)
    volt, current = rng.normal(230, 3, ROWS).round(1), rng.gamma(5.0, 1.0, ROWS).round(2) + 0.1
    frame = pd.DataFrame({"net": net / 100, "rate": rate, "volt": volt, "current": current.round(2)})
    frame["tax"] = (2 * net * rate + 100) // 200 / 100  # halves of a cent are rounded up
    frame["power"] = (volt * current).round(1)
    assert found_in(frame, tmp_path / "t.csv") == {"tax": "0.01 * net * rate", "power": "volt * current"}


def test_what_varies_little_beside_its_mean_is_no_product(tmp_path):
    pressure = (1013 + np.random.default_rng(9).normal(0, 3, (ROWS, 12))).round(1)
    assert found_in(pd.DataFrame(pressure, columns=list("abcdefghijkl")), tmp_path / "t.csv") == {}


def test_few_rows_say_little_of_classes(tmp_path):
    """Of 200 rows, by chance, none may be an exception of a rule that one in a hundred breaks."""
    code = np.random.default_rng(10).integers(0, 8, 200)
    frame = pd.DataFrame({"code": [f"c{k}" for k in code], "name": [f"n{k // 2}" for k in code], "x": code * 1.5})
    assert found_in(frame, tmp_path / "t.csv") == {}


def test_chance_is_no_relation(tmp_path):
    """A rare flag that is set in the single rows of some classes, and one that is set where another is, by chance."""
    rng = np.random.default_rng(3)
    code = np.r_[np.repeat([f"c{k}" for k in range(40)], 50), [f"s{k}" for k in range(20)] * 2]
    flag = np.r_[np.zeros(2_000, int), np.repeat([1, 0], 10), np.repeat([1, 0], 10)]
    order = rng.permutation(len(code))
    frame = pd.DataFrame(
        {"code": code[order], "flag": flag[order], "same": flag[order], "x": rng.normal(size=len(code))}
    )
    assert found_in(frame, tmp_path / "t.csv") == {}


def test_missing_cells(tmp_path):
    """A sum is missing where a part is, another besides; of a part that is, the sum says what it would be."""
    rng = np.random.default_rng(4)
    a, b, c, d = rng.integers(0, 10_000, (4, ROWS)).astype(float)
    a[rng.random(ROWS) < 0.1] = np.nan
    late = np.where(rng.random(ROWS) < 0.2, np.nan, 2 * c)
    frame = pd.DataFrame({"a": a, "b": b, "sum": a + 3 * b, "c": c, "late": late, "d": d})
    frame["odd"] = d + 2 * frame["b"]
    frame.loc[frame.index % 7 == 0, "d"] = np.nan
    path = tmp_path / "t.csv"
    assert found_in(frame, path) == {"sum": "a + 3 * b", "late": "2 * c", "d": "odd - 2 * b"}
    model = pipelines.fit(path, model=tmp_path / "m.augment", steps=2, couplings=2, width=8).model
    new = pipelines.generate(model, 3_000, seed=1)
    np.testing.assert_array_equal(new["sum"], new["a"] + 3 * new["b"])
    assert new["sum"].isna().any()
    is_there = new["late"].notna()
    assert 0.5 < is_there.mean() < 1
    np.testing.assert_array_equal(new["late"][is_there], 2 * new["c"][is_there])


@pytest.fixture(scope="module")
def fitted(fit_tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("sales") / "sales.csv"
    sales().to_csv(path, index=False)
    return fit_tiny(path, "sales", steps=60)


def problems(rows):
    """By column, how many rows break its relation."""
    made = {
        "region": rows["city"].map(REGIONS),
        "amount": (rows["price"] * rows["pieces"]).round(2),
        "total": (rows["amount"] + rows["shipping"]).round(2),
        "rate": (100 * rows["buyers"] / rows["visitors"]).round(4),
        "log_price": np.log(rows["price"]),
        "month": pd.to_datetime(rows["day"]).dt.month,
    }
    rounding = {"amount": 0.011, "total": 1e-9, "rate": 1.1e-4, "log_price": 1e-12}  # of halves, by other arithmetic
    return {
        name: int((~np.isclose(rows[name], value, rtol=0, atol=rounding[name])).sum() if name in rounding
                  else (rows[name] != value).sum())
        for name, value in made.items()
    }  # fmt: skip


def test_new_rows_fulfil_them(fitted, tmp_path):
    assert problems(sales()) == dict.fromkeys(problems(sales()), 0)
    assert fitted.handled["total"].endswith("amount + shipping in every row")
    assert pipelines.describe(fitted.model)["relations"]["rate"] == "100 * buyers / visitors"
    for options in ({}, {"independent": True}, {"where": ["region=east", "total>=80"]}, {"where": "month=2"}):
        new = pipelines.generate(fitted.model, 1_500, seed=2, **options)
        assert problems(new) == dict.fromkeys(problems(new), 0), options
        if "where" in options:
            assert (new["month"] == 2).all() if options["where"] == "month=2" else (new["city"] == "Hill").all()
            assert options["where"] == "month=2" or (new["total"] >= 80).all()
    out = tmp_path / "new.csv"
    pipelines.generate(fitted.model, 500, output=out, seed=3, balance="region")
    new = pd.read_csv(out)
    assert problems(new) == dict.fromkeys(problems(new), 0)
    assert new["region"].value_counts().tolist() == [167, 167, 166]


def test_rare_classes_that_follow_can_be_given(tmp_path):
    """One of 60 provinces has a sixtieth of the rows, and the few cities it follows from are drawn, not waited for."""
    rng = np.random.default_rng(11)
    city = rng.integers(0, 120, 4_000)
    frame = pd.DataFrame({"city": [f"c{k}" for k in city], "province": [f"p{k % 60}" for k in city], "x": city * 0.1})
    frame["land"] = frame["province"].str[1:].astype(int).mod(6).astype(str).radd("land ")
    frame["x"] += rng.normal(size=len(frame))
    model = pipelines.fit(frame, model=tmp_path / "m.augment", steps=2, couplings=2, width=8).model
    assert pipelines.describe(model)["relations"] == {
        "province": "a function of city",
        "land": "a function of province",
    }
    for where, cities in (("province=p7", {"c7", "c67"}), ("land=land 3", {f"c{k}" for k in range(3, 120, 6)})):
        new = pipelines.generate(model, 2_000, seed=0, where=where)
        assert set(new["city"]) == cities
        assert (new[where.split("=")[0]] == where.split("=")[1]).all()
    balanced = pipelines.generate(model, 600, seed=0, balance="land")
    assert set(balanced["land"].value_counts()) == {100}
    with pytest.raises(AugmentError, match="hardly a row"):
        pipelines.generate(model, 10, seed=0, where=["province=p7", "land=land 3"])


def test_few_numbers_that_follow_are_waited_for(tmp_path):
    """All of four answers are 5 in few rows, and no more are made than it takes."""
    rng = np.random.default_rng(12)
    mood = rng.normal(size=2_000)
    answers = {f"q{k}": np.clip(np.rint(3 + mood + 0.7 * rng.normal(size=2_000)), 1, 5).astype(int) for k in range(4)}
    frame = pd.DataFrame(answers).assign(age=rng.integers(18, 90, 2_000))
    frame["score"] = frame.filter(like="q").sum(axis=1)
    model = pipelines.fit(frame, model=tmp_path / "m.augment", steps=40, couplings=2, width=16).model
    assert pipelines.describe(model)["relations"] == {"score": "q0 + q1 + q2 + q3"}
    new = pipelines.generate(model, 30, seed=0, where="score=20")
    assert (new.filter(like="q") == 5).all(axis=None)
    assert len(new) == 30
    balanced = pipelines.generate(model, 170, seed=0, balance="score")
    assert set(balanced["score"].value_counts()) == {10}
    assert (balanced.filter(like="q").sum(axis=1) == balanced["score"]).all()


def test_what_cannot_be_is_told(fitted, tmp_path):
    out = tmp_path / "new.csv"
    with pytest.raises(AugmentError, match="hardly a row has what is asked of city, region") as caught:
        pipelines.generate(fitted.model, 10, output=out, seed=0, where=["city=Hill", "region=north"])
    assert isinstance(caught.value, pipelines.ShortfallError)
    assert caught.value.exit_code == 3
    assert not out.exists()


def test_numbers_stay_within_what_was_seen(fitted):
    """A product of two large numbers may be larger than any that was seen; such rows are drawn again."""
    seen, new = sales(), pipelines.generate(fitted.model, 20_000, seed=4)
    for name in ("amount", "total", "rate", "month"):
        assert seen[name].min() <= new[name].min() <= new[name].max() <= seen[name].max(), name


def test_they_can_be_left_out(fit_tiny):
    """Then a model that has hardly learnt breaks each of them, which shows what the other tests see."""
    result = fit_tiny(sales(), "unrelated", relations=False)
    assert read_model(result.model).encoding.relations == ()
    assert min(problems(pipelines.generate(result.model, 1_000, seed=5)).values()) > 100


def test_filled_cells_follow(fitted):
    """A total from its parts, a part from its total: what is there says of each of these what it must be."""
    rows = sales(700, seed=6)
    holes = rows.copy()
    single = ["region", "amount", "total", "rate", "log_price", "month", "price", "pieces", "shipping", "buyers"]
    for place, name in enumerate(single):
        holes.loc[place::14, name] = np.nan
    holes.loc[10::14, ["amount", "price", "log_price"]] = np.nan  # amount of total and shipping, then price
    holes.loc[11::14, ["amount", "shipping"]] = np.nan  # amount of price and pieces, then shipping
    holes.loc[12::14, ["region", "rate", "amount", "total"]] = np.nan
    filled = pipelines.impute(holes, model=fitted.model)
    assert problems(filled) == dict.fromkeys(problems(filled), 0)
    pd.testing.assert_frame_equal(filled[single], rows[single], check_dtype=False, rtol=2e-4)
    # Of prices and shipping that are both missing one is a guess, and the other what is left of the total.
    holes = rows.assign(price=np.nan, log_price=np.nan, amount=np.nan, shipping=np.nan)
    filled = pipelines.impute(holes, model=fitted.model, draw=True, seed=1)
    is_right = np.isclose(filled["amount"] + filled["shipping"], rows["total"], atol=0.006)
    seen = filled["shipping"].between(sales()["shipping"].min(), sales()["shipping"].max())
    assert seen.all()
    assert 0.3 < is_right.mean() < 1  # elsewhere the price is so far off that nothing that was seen is left


def test_a_class_of_which_there_is_one_follows_from_what_it_is_looked_up_by(fitted):
    """Hill is the only city in the east; Bay and Ford are both in the north."""
    rows = sales(200, seed=8)
    filled = pipelines.impute(rows.assign(city=np.nan), model=fitted.model)
    assert (filled["city"][rows["region"] == "east"] == "Hill").all()
    assert filled["city"].notna().all()


def test_what_may_be_several_is_guessed(tmp_path):
    """Of a rate that few had, of nothing over nothing, of a name that rare classes share: draws differ by the seed."""
    rng = np.random.default_rng(15)
    town = np.where(rng.random(ROWS) < 0.05, np.array([f"v{k}" for k in range(ROWS)]), rng.choice(["A", "B"], ROWS))
    visitors = np.where(rng.random(ROWS) < 0.1, 0, rng.integers(20, 90_000, ROWS))
    frame = pd.DataFrame({"town": town, "side": np.where(town == "A", "west", "east"), "visitors": visitors})
    frame["buyers"] = np.where(
        visitors > 0, rng.binomial(visitors, rng.uniform(0, 0.5, ROWS)), rng.integers(0, 9, ROWS)
    )
    rate = 100 * frame["buyers"] / frame["visitors"].where(visitors > 0)
    model = pipelines.fit(frame.assign(rate=rate.round(1).fillna(0.0)), model=tmp_path / "m.augment", steps=2).model
    relations = pipelines.describe(model)["relations"]
    assert relations == {"side": "a function of town", "rate": "100 * buyers / visitors or else 0"}
    rows = frame.assign(rate=rate.round(1).fillna(0.0))[:300]
    for name in ("visitors", "buyers", "town"):
        drawn = [pipelines.impute(rows.assign(**{name: np.nan}), model=model, draw=True, seed=k)[name] for k in (1, 2)]
        # A rate below 3 says little of 90,000 visitors when it is rounded to a tenth.
        is_open = {"visitors": rows["rate"] < 3, "buyers": rows["visitors"] == 0, "town": rows["side"] == "east"}[name]
        assert (drawn[0] != drawn[1])[is_open].mean() > 0.2, name
        assert drawn[0].notna().all()


def test_a_class_that_goes_with_missing_cells_is_no_cell(tmp_path):
    """The city is missing wherever the region is unknown, which says nothing of the city."""
    rows = sales()[["city", "region", "price"]]
    rows.loc[::7, ["city", "region"]] = None, "unknown"
    model = pipelines.fit(rows, model=tmp_path / "m.augment", steps=2, couplings=2, width=8).model
    assert pipelines.describe(model)["relations"] == {"region": "a function of city"}
    assert pipelines.impute(rows, model=model)["city"].isin(list(REGIONS)).all()


def test_halves_that_were_rounded_up_are_solved_for(tmp_path):
    rng = np.random.default_rng(16)
    net, rate = rng.integers(500, 50_000, ROWS), rng.choice([5, 10, 15, 20], ROWS)
    frame = pd.DataFrame({"net": net / 100, "rate": rate, "tax": (2 * net * rate + 100) // 200 / 100})
    model = pipelines.fit(frame, model=tmp_path / "m.augment", steps=2, couplings=2, width=8).model
    filled = pipelines.impute(frame.assign(rate=pd.array([None] * ROWS, "Int64")), model=model)
    np.testing.assert_array_equal(filled["rate"], rate)
    filled = pipelines.impute(frame.assign(net=np.nan), model=model)
    np.testing.assert_allclose(filled["net"], frame["net"], atol=0.105)  # half a cent of 5 %, and of its own


def test_what_contradicts_itself_is_guessed(fitted):
    """Half a piece is none, and no row of the table had it."""
    rows = sales(50, seed=9)
    holes = rows.assign(pieces=np.nan, amount=(rows["price"] * (rows["pieces"] + 0.5)).round(2))
    filled = pipelines.impute(holes, model=fitted.model)
    assert set(filled["pieces"]) <= {1, 2, 3, 4, 5, 6}
    pd.testing.assert_series_equal(filled["amount"], holes["amount"])


def test_relations_that_a_model_cannot_fulfil_are_dropped(fitted):
    """Waiting for rows in which all of them hold would take for ever; those that can hold stay."""
    model = read_model(fitted.model)
    encoding, known = model.encoding, list(model.encoding.relations)
    far = Relation("price", ("shipping",), "sum", (1e6, 1.0), decimals=2)
    classes, scores = Sampler(model).draw(np.random.default_rng(7), 4_096)
    for relations in ([far, *known], known):
        kept = dataclasses.replace(encoding, relations=tuple(relations)).keep_attainable(classes, scores)
        assert kept.relations == encoding.relations
    assert len(known) == 6


def test_parts_of_dates():
    days = pd.date_range("1899-12-30 23:59:59", "2101-03-01", freq="1235min")
    seconds = (days - pd.Timestamp(0)) / pd.Timedelta(seconds=1)
    for part in ("year", "quarter", "month", "day", "dayofyear", "weekday", "hour", "minute"):
        np.testing.assert_array_equal(date_part(seconds.to_numpy(), part), getattr(days, part), err_msg=part)
    assert np.isnan(date_part(np.array([np.nan, np.inf, 1e300]), "year")).all()


def edited(name, **entries):
    def edit(description):
        relation = next(entry for entry in description["relations"] if entry["column"] == name)
        relation.update(entries)

    return edit


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda head: head.update(relations={}), "no list"),
        (lambda head: head.update(relations=[7]), "no object"),
        (lambda head: head["relations"].reverse(), "comes after what follows from it"),
        (edited("total", column="amount", inputs=["shipping"]), "other numbers|comes after"),
        (edited("total", column="nothing"), "does not have"),
        (edited("total", inputs=["total", "amount"]), "of itself"),
        (edited("total", inputs=[]), "of itself"),
        (edited("total", inputs=["amount", "city"]), "without numbers"),
        (edited("total", numbers=[0.0, 1.0]), "other numbers"),
        (edited("total", numbers=[0.0, 1.0, None]), "other numbers"),
        (edited("total", kind="eval"), "one of"),
        (edited("total", digits=99), "whole number"),
        (edited("log_price", inputs=["price", "shipping"]), "more than one input"),
        (edited("log_price", kind="abs"), "other numbers"),
        (edited("rate", otherwise="0"), "otherwise"),
        (edited("region", inputs=["price"]), "no class"),
        (edited("region", classes=[0]), "no class"),
        (edited("region", classes=[0, 1, 2, 1, 3]), "that there are not"),
        (edited("region", classes=[0, 1, 2, 1, -2]), "that there are not"),
        (edited("region", numbers=[1.0, 1.0, 1.0, 1.0, 1.0]), "without their numbers"),
        (edited("region", numbers=[1.0]), "that there are not"),
    ],
)
def test_a_strangers_relations_are_checked(fitted, rewrite, tmp_path, edit, problem):
    path = rewrite(fitted.model, tmp_path / "m.augment", edit)
    with pytest.raises(AugmentError, match=problem):
        read_model(path)


def test_a_model_without_relations_is_an_older_one(fitted, rewrite, tmp_path):
    path = rewrite(fitted.model, tmp_path / "m.augment", lambda head: head.pop("relations"))
    assert read_model(path).encoding.relations == ()
