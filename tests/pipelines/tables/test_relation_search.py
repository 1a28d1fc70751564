"""What follows from other columns in every row of a table is found, and nothing else is claimed."""

import json

import numpy as np
import pandas as pd
import pytest
from sales import ROWS, sales

import pipelines
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.relations.relation import words
from pipelines.tables.relations.relation_checks import read_relations
from pipelines.tables.relations.relation_search import find_relations
from pipelines.tables.relations.sum_search import find_sums


def found_in(frame, path):
    """The relations of a table, as words by column; they survive being written and read."""
    frame.to_csv(path, index=False)
    source = read_source(path)
    schema = infer_schema(source)
    encoding = Encoding.learn(source, schema, np.random.default_rng(0))
    relations = find_relations(source, schema, encoding)
    written = json.loads(json.dumps([relation.to_json() for relation in relations]))
    assert read_relations(written, encoding.columns) == relations
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


def visits():
    """Visitors and buyers, of whom 1 of 20 rows has none."""
    frame = sales()[["visitors", "buyers"]]
    frame.loc[frame.index % 20 == 7, ["visitors", "buyers"]] = 0
    return frame


def test_a_division_by_zero_is_what_it_is_in_the_table(tmp_path):
    """A rate of no visitors is 0 in most tables, missing in some."""
    frame = visits()
    rate = (frame["buyers"] / frame["visitors"]).round(6)
    assert found_in(frame.assign(rate=rate.fillna(0.0)), tmp_path / "t.csv") == {"rate": "buyers / visitors or else 0"}
    assert found_in(frame.assign(rate=rate), tmp_path / "t.csv") == {"rate": "buyers / visitors"}
    rate[rate.isna()] = np.arange(100) % 2  # neither
    assert "rate" not in found_in(frame.assign(rate=rate), tmp_path / "t.csv")


@pytest.mark.slow
def test_a_division_by_zero_is_so_in_new_rows(tmp_path):
    frame = visits()
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


def test_from_a_price_of_99_cents_its_tax_follows_and_not_the_price_from_this(tmp_path):
    rng = np.random.default_rng(2)
    net = np.where(rng.random(ROWS) < 0.8, rng.integers(5, 900, ROWS) + 0.99, rng.uniform(5, 900, ROWS).round(2))
    frame = pd.DataFrame({"net": net, "tax": (0.19 * net).round(2)})
    frame["gross"] = (frame["net"] + frame["tax"]).round(2)
    assert found_in(frame, tmp_path / "t.csv") == {"tax": "0.19 * net", "gross": "1.19 * net"}  # which is net + tax


def test_a_total_follows_from_its_parts_however_these_are_rounded(tmp_path):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"salary": 100 * rng.integers(200, 900, ROWS), "bonus": rng.integers(500, 9_000, ROWS)})
    is_round = rng.random(ROWS) < 0.7
    frame["bonus"] = frame["bonus"].where(~is_round, frame["bonus"] // 100 * 100)
    frame["total"] = frame["salary"] + frame["bonus"]
    assert found_in(frame, tmp_path / "t.csv") == {"total": "salary + bonus"}


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


@pytest.mark.slow
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


def days(rows=ROWS):
    """Bookings on 300 days, whose weather all rows of a day have, and a price that has nothing to do with them."""
    rng = np.random.default_rng(21)
    day, price = rng.integers(0, 300, rows), rng.gamma(5.0, 10.0, rows).round(2)
    dates = (np.datetime64("2023-01-01") + day.astype("timedelta64[D]")).astype(str)
    warmth, sky = rng.normal(10.0, 6.0, 300).round(2)[day], rng.choice(["clear", "grey", "rain"], 300)[day]
    return pd.DataFrame({"day": dates, "price": price, "warmth": warmth, "sky": sky})


@pytest.mark.slow
def test_what_all_rows_of_a_day_have_is_a_function_of_it(tmp_path):
    frame = days()
    both = {"warmth": "a function of day", "sky": "a function of day"}
    assert found_in(frame, tmp_path / "t.csv") == both
    is_gap = frame["day"] < "2023-02-01"
    gaps = frame.assign(warmth=frame["warmth"].mask(is_gap), sky=frame["sky"].mask(is_gap))
    assert found_in(gaps, tmp_path / "t.csv") == both
    frame.loc[7, "warmth"] += 1
    frame.loc[8, "sky"] = "grey" if frame.loc[8, "sky"] == "rain" else "rain"
    assert found_in(frame, tmp_path / "t.csv") == {}
    model = pipelines.fit(gaps, model=tmp_path / "m.augment", steps=2, couplings=2, width=8).model
    new, filled = pipelines.generate(model, 2_000, seed=0), gaps.assign(warmth=np.nan, sky=None)[:200]
    filled = pipelines.impute(filled, model=model)
    for name in both:
        of_day = gaps.groupby("day")[name].first()
        np.testing.assert_array_equal(new[name].fillna("gap"), of_day[new["day"]].fillna("gap"))
        is_known = gaps[name][:200].notna()
        np.testing.assert_array_equal(filled[name][is_known], gaps[name][:200][is_known])
    rainy = pipelines.generate(model, 200, seed=0, where=["sky=rain"])
    assert (gaps.groupby("day")["sky"].first()[rainy["day"]] == "rain").all()


def test_what_stands_beside_a_missing_number_follows_from_nothing(tmp_path):
    frame = days()
    is_gone = np.random.default_rng(24).random(ROWS) < 0.2
    gone = frame.assign(day=frame["day"].mask(is_gone))
    assert found_in(gone.assign(warmth=frame["warmth"].mask(is_gone, 0.0)), tmp_path / "t.csv") == {}
    both_gone = gone.assign(warmth=frame["warmth"].mask(is_gone))
    assert found_in(both_gone, tmp_path / "t.csv") == {"warmth": "a function of day"}


@pytest.mark.slow
def test_beside_a_missing_class_anything_may_stand(tmp_path):
    """A city that is missing in some rows tells the region of all others."""
    rng = np.random.default_rng(25)
    city = rng.integers(0, 30, ROWS)
    region = pd.Series(rng.choice(["East", "North", "West"], 30)[city])
    is_gone = rng.random(ROWS) < 0.1
    frame = pd.DataFrame({"city": [f"c{k}" for k in city], "region": region, "x": rng.normal(size=ROWS).round(3)})
    frame["city"] = frame["city"].mask(is_gone)
    path = tmp_path / "t.csv"
    assert found_in(frame, path) == {"region": "a function of city"}
    result = pipelines.fit(path, model=tmp_path / "m.augment", steps=2, couplings=2, width=8)
    assert result.handled["region"] == "3 values, a function of city in every row where that is there"
    new = pipelines.generate(result.model, 3_000, seed=1)
    is_there = new["city"].notna()
    assert 0 < is_there.mean() < 1
    of_city = frame.dropna().groupby("city")["region"].first()
    np.testing.assert_array_equal(new["region"][is_there], of_city[new["city"][is_there]])
    assert set(new["region"][~is_there]) == {"East", "North", "West"}
    northern = pipelines.generate(result.model, 300, seed=1, where=["region=North"])
    assert (northern["region"] == "North").all()
    assert northern["city"].isna().any()
    filled = pipelines.impute(frame.assign(region=None)[:300], model=result.model)
    is_there = frame["city"][:300].notna()
    np.testing.assert_array_equal(filled["region"][is_there], frame["region"][:300][is_there])
    one_region = frame.assign(region=region.mask(is_gone, "West"))  # then missing cells tell, too
    assert (
        pipelines.fit(one_region, model=tmp_path / "one.augment", steps=2, couplings=2, width=8).handled["region"]
        == "3 values, a function of city in every row"
    )


def test_a_day_of_many_rows_is_a_day_like_others(tmp_path):
    """It is a class, as its rows are more than 2 % and ten times as many as others'."""
    frame = days(4_000)
    frame = pd.concat([frame, frame[frame["day"] == frame["day"][0]].sample(400, replace=True, random_state=0)])
    assert found_in(frame, tmp_path / "t.csv") == {"warmth": "a function of day", "sky": "a function of day"}


def test_of_a_number_that_is_new_in_each_row_nothing_is_a_function(tmp_path):
    """Each number then says all of a row; there are no two rows that it could have told apart."""
    rng = np.random.default_rng(22)
    frame = pd.DataFrame({"x": rng.normal(size=ROWS), "y": rng.normal(size=ROWS).round(2)})
    assert found_in(frame, tmp_path / "t.csv") == {}


def test_what_rounding_left_is_not_explained_by_others(tmp_path):
    """Of charges of calls by the minute two that cancel each other explain a little of another's rounding.

    So does a number of accounts of a payment that has half a cent more in some rows.
    """
    rng = np.random.default_rng(23)
    minutes = {name: rng.normal(200.0, 50.0, ROWS).clip(1).round(1) for name in ("day", "evening", "night", "abroad")}
    rates = {"day": 0.17, "evening": 0.085, "night": 0.045, "abroad": 0.27}
    charges = {f"{name}_charge": (rates[name] * minutes[name]).round(2) for name in rates}
    accounts = rng.poisson(10, ROWS)
    paid = {"principal": rng.gamma(4.0, 100.0, ROWS).round(2), "interest": rng.gamma(4.0, 20.0, ROWS).round(2)}
    half = np.where(accounts > 17, 0.005, 0.0)
    paid["paid"] = (paid["principal"] + paid["interest"] + half).round(3)
    found = found_in(pd.DataFrame(minutes | charges | {"accounts": accounts} | paid), tmp_path / "t.csv")
    expected = {f"{name}_charge": f"{rate} * {name}" for name, rate in rates.items()}
    assert {name: text for name, text in found.items() if name in expected} == expected
    assert not any("accounts" in text for text in found.values())


def test_an_input_of_no_weight_is_none(monkeypatch):
    """A number of accounts may be needed by the best fit, and be given no weight when this is written simply."""

    def all_needed(inputs, target, table, allowed):
        columns = np.column_stack([np.ones(len(table)), table[:, inputs]])
        return list(inputs), np.linalg.lstsq(columns, table[:, target], rcond=None)[0]

    monkeypatch.setattr("pipelines.tables.relations.sum_search._dependent", lambda *_: [([0, 1, 2, 3], 1e-5)])
    monkeypatch.setattr("pipelines.tables.relations.sum_search._needed", all_needed)
    rng = np.random.default_rng(24)
    accounts = rng.poisson(10, 400)
    principal, interest = rng.gamma(4.0, 100.0, 400).round(2), rng.gamma(4.0, 20.0, 400).round(2)
    table = np.column_stack([accounts, principal, interest, principal + interest + 1e-5 * accounts])
    found = list(find_sums(table, [np.full(400, 0.005)] * 4, [False] * 4))
    assert all(numbers[1:].all() and len(numbers) == 1 + len(inputs) for _, inputs, numbers in found)
    assert any({target, *inputs} == {1, 2, 3} for target, inputs, _ in found)
