"""What ends does so after it began, as long after as in the table, also where one of the two is missing."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import ks_2samp, norm

import pipelines
from pipelines import AugmentError
from pipelines.engines.beside import assembled
from pipelines.tables.dates.elapsed import MONTH, Elapsed
from pipelines.tables.dates.rhythm import Rhythm
from pipelines.tables.encoding import Encoding
from pipelines.tables.encoding_checks import check_encoding
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.numbers.bounds import are_inside, bounded
from pipelines.tables.relations.fulfilment import reconciled, related
from pipelines.tables.relations.relation import values_of
from pipelines.tables.relations.relation_search import find_relations

ROWS = 3_000
FORMAT = "%Y-%m-%d %H:%M"


def repairs(rows=ROWS, seed=0):
    """Repairs of cars: when they came, how long that took, and when they were fetched, in office hours of a later day.

    `called` is a date, `paid` one some days later, missing in a tenth of the rows; `minutes` would tell how long a
    repair took but for its noise; `born` has nothing to do with all this.
    """
    rng = np.random.default_rng(seed)
    came = pd.Timestamp("2022-01-03") + pd.to_timedelta(rng.integers(0, 500, rows), unit="D")
    came += pd.to_timedelta(rng.integers(7 * 60, 12 * 60, rows), unit="m")
    kind = rng.choice(["brakes", "engine", "tyres"], rows)
    minutes = np.select([kind == "tyres", kind == "brakes"], [30, 90], 240) * rng.lognormal(0, 0.2, rows)
    done = came + pd.to_timedelta(minutes.round(), unit="m")
    fetched = came.normalize() + pd.to_timedelta(1 + rng.poisson(1.5, rows), unit="D")
    fetched += pd.to_timedelta(rng.integers(9 * 60, 17 * 60, rows), unit="m")
    called = came.normalize()
    paid = pd.Series(called + pd.to_timedelta(5 + rng.poisson(6, rows), unit="D"))
    born = pd.Timestamp("1980-01-01") + pd.to_timedelta(rng.integers(0, 9_000, rows), unit="D")
    return pd.DataFrame(
        {
            "done": done.strftime(FORMAT),
            "paid": paid.dt.strftime("%Y-%m-%d").where(rng.random(rows) > 0.1, ""),
            "came": came.strftime(FORMAT),
            "called": called.strftime("%Y-%m-%d"),
            "fetched": fetched.strftime(FORMAT),
            "kind": kind,
            "born": born.strftime("%Y-%m-%d"),
            "minutes": (minutes + rng.normal(0, 10, rows)).round(1),
        }
    )


def learnt(frame, path):
    frame.to_csv(path, index=False)
    source = read_source(path)
    schema = infer_schema(source)
    return Encoding.learn(source, schema, np.random.default_rng(0)), source, schema


def named(encoding):
    return {column.name: column for column in encoding.columns}


def between(frame, later, earlier):
    return pd.to_datetime(frame[later]) - pd.to_datetime(frame[earlier])


def test_which_is_learnt_since_which(tmp_path):
    encoding, source, schema = learnt(repairs(), tmp_path / "t.csv")
    elapsed = {name: column.elapsed and column.elapsed.since for name, column in named(encoding).items()}
    since = {"done": "came", "came": "called", "fetched": "called", "paid": "called"}
    assert elapsed == dict.fromkeys(elapsed) | since
    columns = named(encoding)
    assert columns["done"].elapsed.unit == 0
    assert columns["done"].rhythm is None
    assert columns["fetched"].elapsed.unit == 86_400
    assert columns["fetched"].rhythm.names == ("hour",)
    assert columns["fetched"].rhythm.hour == tuple(range(9, 17))
    assert columns["done"].margin.low > 0
    assert columns["came"].elapsed.unit == 86_400  # of a day, and its own hours
    order = [column.name for column in encoding.in_order()]
    assert order.index("called") < order.index("came") < order.index("done")
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert [column.elapsed for column in again.columns] == [column.elapsed for column in encoding.columns]
    check_encoding(again, schema)
    rows = encoding.encode(source, schema, np.random.default_rng(1), spread=False)
    cells, before = encoding.decode(rows.classes, rows.scores), encoding.cells(source, schema)
    assert are_inside(encoding, cells).all()
    for name, column in columns.items():
        if column.margin is not None:
            is_number = column.are_numbers(before[name])
            np.testing.assert_array_equal(cells[name].values[is_number], before[name].values[is_number], err_msg=name)


def test_what_is_not_close_or_not_always_there_is_learnt_by_itself(tmp_path):
    frame = repairs()
    rng = np.random.default_rng(3)
    frame.loc[rng.random(ROWS) < 0.02, "came"] = ""  # so that `done` is there without it
    frame["paid"] = rng.permutation(frame["paid"])
    columns = named(learnt(frame.drop(columns="called"), tmp_path / "t.csv")[0])
    assert columns["done"].elapsed is None
    assert columns["came"].elapsed.since == "done"  # which is always there, and close
    assert columns["paid"].elapsed is None
    few = named(learnt(repairs().head(90), tmp_path / "few.csv")[0])
    assert all(column.elapsed is None for column in few.values())


def test_the_density_given_the_earlier_date_sums_to_one(tmp_path):
    frame = repairs()[["came", "done", "fetched"]]
    encoding, source, schema = learnt(frame, tmp_path / "t.csv")
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    at = [column.name for column in encoding.continuous].index("done")
    minutes = pd.to_datetime(frame["came"][0]) + pd.to_timedelta(np.arange(-3_000, 6_000), unit="m")
    grid = frame.head(1).loc[np.zeros(len(minutes), int)].assign(done=minutes.strftime(FORMAT))
    grid.to_csv(tmp_path / "grid.csv", index=False)
    coded = encoding.encode(read_source(tmp_path / "grid.csv"), schema, np.random.default_rng(2), spread=False)
    # All but `done` is the same in all rows; what the others add to the log-determinant is that of the first row less
    # what `done` adds there.
    margin = named(encoding)["done"].margin
    since = (minutes - pd.to_datetime(frame["came"][0])).total_seconds().to_numpy()
    log_p = norm.logpdf(coded.scores[:, at]) + margin.log_derivative(since)
    assert np.exp(logsumexp(log_p)) * 60 == pytest.approx(1.0, abs=0.01)
    others = coded.log_det - margin.log_derivative(since)
    np.testing.assert_allclose(others, others[0], atol=1e-9)
    assert (rows.classes >= 0).all()


def test_wide_tables_keep_the_order_too(tmp_path):
    """Where numbers are moved into what was seen instead of drawn again."""
    encoding, source, schema = learnt(repairs(), tmp_path / "t.csv")
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    far = 3.0 * np.random.default_rng(2).standard_normal(rows.scores.shape)
    before = encoding.decode(rows.classes, far)
    cells, moved = bounded(encoding, before)
    is_inside = are_inside(encoding, before)
    assert moved > (~is_inside).mean() / len(encoding.continuous)
    assert are_inside(encoding, cells).all()
    assert not is_inside.all()
    took = (cells["done"].values - cells["came"].values) / 60
    real = between(repairs(), "done", "came").dt.total_seconds() / 60
    assert took.min() >= real.min() - 1e-6
    assert took.max() <= real.max() + 1e-6


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("done", {"since": "minutes"}),
        ("done", {"since": "kind"}),
        ("done", {"since": "called"}),
        ("done", {"since": "done"}),
        ("done", {"since": "fetched", "other": "done"}),
        ("done", {"unit": 86_400.0}),
        ("done", {"unit": 3.0}),
        ("done", {"unit": MONTH * 86_400}),
        ("done", {"per": 86_400.0}),
        ("done", {"per": 2.0}),
        ("fetched", {"unit": 0.0}),
        ("fetched", {"unit": MONTH * 86_400}),
        ("fetched", {"per": 1.0}),
        ("fetched", {"unit": 7 * 86_400.0}),
        ("done", {"between": [["minutes", 0.0, 1.0]]}),
        ("done", {"between": [["came", 0.0]]}),
        ("done", {"low": 1e12}),
        ("done", {"low": float("inf")}),
        ("done", {"rhythm": {"day": 1.0}}),
        ("done", {"support": ["x"]}),
        ("done", {"unknown": 1}),
        ("minutes", {}),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(tmp_path, name, change):
    encoding, _, schema = learnt(repairs(), tmp_path / "t.csv")
    head = encoding.to_json()
    entries = {entry["name"]: entry for entry in head}
    elapsed = dict(entries[name].get("elapsed", entries["done"]["elapsed"]))
    if "other" in change:
        entries["fetched"]["elapsed"] = entries["fetched"]["elapsed"] | {"since": change["other"]}
        change = {"since": change["since"]}
    if "rhythm" in change:
        change = {"rhythm": elapsed["rhythm"] | change["rhythm"]}
    entries[name]["elapsed"] = elapsed | change
    with pytest.raises(AugmentError):
        check_encoding(Encoding.from_json(head), schema)


def test_dates_of_the_column_itself_are_bounded():
    seen = Rhythm(0.0, 9e6, 86_400.0, hour=(9, 10))
    elapsed = Elapsed("came", 0.0, 0.0, 9e6, seen, ())
    np.testing.assert_array_equal(elapsed.is_beyond(np.array([9.5, 12.0, 3e3, np.nan]) * 3_600), [0, 1, 1, 1])
    plain = dataclasses.replace(elapsed, rhythm=None)
    np.testing.assert_array_equal(plain.is_beyond(np.array([9.5, 12.0, 3e3, np.nan]) * 3_600), [0, 0, 1, 1])
    only = dataclasses.replace(plain, support=(0.0, 43_200.0))
    np.testing.assert_array_equal(only.is_beyond(np.array([0.0, 9.5, 12.0, 3e3, np.nan]) * 3_600), [0, 1, 0, 1, 1])


def days(dates):
    return pd.Series(pd.Timestamp("2021-01-01") + pd.to_timedelta(dates, unit="D")).dt.strftime("%Y-%m-%d")


def kept_rows(encoding, source, schema, seed=0):
    """Numbers by column of rows made of scores that have nothing to do with each other, where all is right."""
    rng = np.random.default_rng(seed)
    rows = encoding.encode(source, schema, rng)
    mixed = rng.permuted(rows.classes, axis=0), rng.permuted(rows.scores, axis=0)
    cells, is_right = related(encoding, encoding.decode(*reconciled(encoding, *mixed)))
    is_right &= are_inside(encoding, cells)
    return {column.name: values_of(cells[column.name], column)[is_right] for column in encoding.columns}


def with_relations(frame, path):
    encoding, source, schema = learnt(frame, path)
    return dataclasses.replace(encoding, relations=find_relations(source, schema, encoding)), source, schema


def test_dates_that_repeat_are_the_only_new_ones(tmp_path):
    """Goods shipped within days, and not on the ninth of a month; and ones due at the ends of months, by themselves."""
    rng = np.random.default_rng(4)
    ordered = rng.integers(0, 59, 800)
    shipped = ordered + rng.integers(1, 4, 800)
    shipped += np.isin(shipped, (8, 39))
    frame = pd.DataFrame({"ordered": days(ordered), "shipped": days(shipped)})
    encoding, source, schema = learnt(frame, tmp_path / "t.csv")
    elapsed = named(encoding)["shipped"].elapsed
    assert elapsed.since == "ordered"
    assert set(elapsed.support) == set(shipped + 18_628.0)  # 2021-01-01 is day 18,628
    new = kept_rows(encoding, source, schema)
    assert len(new["shipped"]) > 300
    assert set(days(new["shipped"] - 18_628)) <= set(frame["shipped"])
    ordered = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 700, 600), unit="D")
    due = ordered + pd.offsets.MonthEnd(1)
    frame = pd.DataFrame({"ordered": ordered, "due": due}).apply(lambda column: column.dt.strftime("%Y-%m-%d"))
    column = named(learnt(frame, tmp_path / "t.csv")[0])["due"]
    assert len(column.margin.support) == len(set(due))
    assert column.elapsed is None


def test_relations_hold_where_dates_move_along(tmp_path):
    """A reminder is some days after the day that is due less an offset, which is itself learnt since the reminder."""
    rng = np.random.default_rng(5)
    due, offset, lag = rng.integers(0, 900, 3_000), rng.integers(-20, -2, 3_000), rng.integers(1, 9, 3_000)
    reminder = due + offset
    frame = pd.DataFrame({"reminder": days(reminder), "due": days(due), "offset": offset, "closed": days(due + lag)})
    encoding, source, schema = with_relations(frame, tmp_path / "t.csv")
    assert [relation.kind for relation in encoding.relations] == ["sum"]
    assert any(column.elapsed for column in encoding.columns)
    new = kept_rows(encoding, source, schema)
    assert len(new["due"]) > 100
    np.testing.assert_allclose(new["reminder"], new["due"] + new["offset"])
    assert (new["closed"] > new["due"]).all()


def test_relations_of_dates_that_are_learnt_since_others(tmp_path):
    """The next working day of an order, days later the payment, and the day of the month of that."""
    rng = np.random.default_rng(6)
    ordered = rng.integers(0, 700, 6_000)
    shipped = ordered + np.select([(ordered + 4) % 7 == 5, (ordered + 4) % 7 == 4], [2, 3], 1)
    paid = shipped + rng.integers(1, 15, 6_000)
    frame = pd.DataFrame({"ordered": days(ordered), "shipped": days(shipped), "paid": days(paid)})
    frame["day"] = pd.to_datetime(frame["paid"]).dt.day
    encoding, source, schema = with_relations(frame, tmp_path / "t.csv")
    follows = {relation.column: relation.inputs for relation in encoding.relations}
    assert follows["day"] == ("paid",)
    new = kept_rows(encoding, source, schema)
    assert len(new["day"]) > 100
    np.testing.assert_array_equal(pd.to_datetime(new["paid"], unit="D").day, new["day"])
    assert (new["paid"] > new[named(encoding)["paid"].elapsed.since]).all()
    assert follows["shipped"] == ("ordered",)
    known = dict(zip(ordered + 18_628, shipped + 18_628, strict=True))
    np.testing.assert_array_equal([known[day] for day in new["ordered"]], new["shipped"])


def test_weekdays_are_kept_and_no_date_is_beyond_another(tmp_path):
    """Guests arrive on Fridays mostly, weeks after they booked, or cancel in between, and then do not depart."""
    rng = np.random.default_rng(8)
    booked = rng.integers(0, 600, 5_000)
    arrival = booked + rng.integers(0, 120, 5_000)
    arrival += np.where(rng.random(5_000) < 0.7, (4 - (arrival + 4)) % 7, 0)  # 2021-01-01 was a Friday
    is_cancelled = rng.random(5_000) < 0.2
    cancelled = np.floor(booked + rng.random(5_000) * (arrival - booked + 1))
    departure = days(arrival + rng.integers(1, 8, 5_000)).mask(is_cancelled, "")
    frame = pd.DataFrame({"booked": days(booked), "arrival": days(arrival), "departure": departure})
    frame["cancelled"] = days(cancelled).where(is_cancelled, "")
    encoding, source, schema = learnt(frame, tmp_path / "t.csv")
    columns = named(encoding)
    assert columns["arrival"].elapsed.unit == 7
    assert columns["arrival"].rhythm.names == ("weekday",)
    orders = {name: {other for other, *_ in columns[name].elapsed.between} for name in ("departure", "cancelled")}
    assert orders == {"departure": {"booked", "arrival"}, "cancelled": {"booked", "arrival"}}
    check_encoding(Encoding.from_json(json.loads(json.dumps(encoding.to_json()))), schema)
    rows = encoding.encode(source, schema, np.random.default_rng(1), spread=False)
    cells = encoding.decode(rows.classes, rows.scores)
    assert are_inside(encoding, cells).all()
    np.testing.assert_array_equal(days(cells["arrival"].values - 18_628), frame["arrival"])
    new = kept_rows(encoding, source, schema)
    assert len(new["booked"]) > 100
    assert (new["arrival"] >= new["booked"]).all()
    is_there = ~np.isnan(new["cancelled"])
    assert is_there.any()
    assert (new["cancelled"] >= new["booked"])[is_there].all()
    assert (new["cancelled"] <= new["arrival"])[is_there].all()


def invoices(rows=2_000, seed=0):
    """Invoices, due at the end of the next month, and paid around then; and contracts, from a first to a last day."""
    rng = np.random.default_rng(seed)
    sent = pd.Timestamp("2020-01-03") + pd.to_timedelta(rng.integers(0, 900, rows), unit="D")
    due = (sent.to_period("M") + 1).to_timestamp("M").normalize()
    paid = due + pd.to_timedelta(rng.integers(-5, 20, rows), unit="D")
    since = (pd.PeriodIndex(sent, freq="M") - rng.integers(0, 60, rows)).to_timestamp()
    until = pd.PeriodIndex(since, freq="M") + rng.integers(2, 9, rows)
    frame = pd.DataFrame({"sent": sent, "due": due, "paid": paid, "since": since})
    frame["until"] = until.to_timestamp("M").normalize()
    return frame.apply(lambda column: column.dt.strftime("%Y-%m-%d"))


def test_days_of_the_month_are_kept_months_later(tmp_path):
    encoding, source, schema = learnt(invoices(), tmp_path / "t.csv")
    columns = named(encoding)
    learnt_as = {
        name: (column.elapsed and column.elapsed.since, column.rhythm and column.rhythm.names)
        for name, column in columns.items()
    }
    assert learnt_as["due"] == ("sent", ("monthend",))
    assert learnt_as["paid"] == ("due", None)
    assert learnt_as["until"] == ("since", ("monthend",))
    assert columns["due"].elapsed.unit == MONTH
    assert columns["due"].margin.low == columns["due"].margin.high == 1
    check_encoding(Encoding.from_json(json.loads(json.dumps(encoding.to_json()))), schema)
    rows = encoding.encode(source, schema, np.random.default_rng(1), spread=False)
    cells = encoding.decode(rows.classes, rows.scores)
    assert are_inside(encoding, cells).all()
    for name, column in invoices().items():
        np.testing.assert_array_equal(pd.to_datetime(cells[name].values, unit="D").strftime("%Y-%m-%d"), column)
    moved = kept_rows(encoding, source, schema)
    new = pd.DataFrame({name: pd.to_datetime(values, unit="D") for name, values in moved.items()})
    assert len(new) > 100
    assert (new["due"] == (new["sent"].dt.to_period("M") + 1).dt.to_timestamp("M").dt.normalize()).all()
    assert new["until"].dt.is_month_end.all()
    assert (new["since"].dt.day == 1).all()
    assert (new["until"] > new["since"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("missing", [("due",), ("sent",), ("since",), ("until",), ("sent", "due"), ("since", "until")])
def test_imputed_dates_keep_their_days_of_the_month(fitted_invoices, missing):
    old = invoices(80, seed=7)
    new = pipelines.impute(old.assign(**dict.fromkeys(missing, np.nan)), model=fitted_invoices, seed=1)
    assert new.notna().all(axis=None)
    dates = new.apply(pd.to_datetime)
    assert dates["until"].dt.is_month_end.all()
    assert dates["due"].dt.is_month_end.all()
    assert (dates["since"].dt.day == 1).all()
    assert (dates["until"] > dates["since"]).all()
    if missing == ("sent", "due"):  # of a chain, the last alone is known
        assert (dates["paid"] - dates["due"]).dt.days.between(-5, 19).all()
    else:
        months = (dates["due"].dt.to_period("M") - dates["sent"].dt.to_period("M")).map(lambda by: by.n)
        assert (months == 1).all()


@pytest.fixture(scope="module")
def fitted_invoices(tmp_path_factory):
    path = tmp_path_factory.mktemp("invoices") / "invoices.csv"
    invoices().to_csv(path, index=False)
    small = {"couplings": 2, "width": 16, "batch_size": 256, "relations": False}
    result = pipelines.fit(path, model=path.with_suffix(".augment"), steps=150, seed=0, **small)
    assert result.handled["until"] == "numbers since since by monthend"
    return path.with_suffix(".augment")


def test_a_missing_date_after_a_placeholder_is_within_the_others(tmp_path):
    encoding, *_ = learnt(repairs().drop(columns="called"), tmp_path / "t.csv")
    columns = named(encoding)
    unknown = np.full(3, np.nan)
    known = {column.name: unknown for column in encoding.continuous}
    took = np.array([3_600.0, 7_200.0, 1e4])
    found = assembled(encoding, {"done": (took, np.zeros((3, 0), np.int32))}, known, {})["done"]
    np.testing.assert_allclose(found, np.mean(columns["came"].bounds) + took, atol=1)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = tmp_path_factory.mktemp("repairs") / "repairs.csv"
    frame = repairs()
    frame.to_csv(path, index=False)
    result = pipelines.fit(
        path, model=path.with_suffix(".augment"), steps=190, couplings=3, width=32, batch_size=256, seed=0
    )
    assert result.handled["done"] == "numbers since came"
    assert result.handled["came"] == "numbers since called by hour"
    assert result.handled["fetched"] == "numbers since called by hour"
    assert result.handled["paid"] == "numbers since called, missing cells"
    return path, path.with_suffix(".augment")


@pytest.mark.slow
def test_new_rows_take_as_long(fitted):
    path, model = fitted
    old, new = pd.read_csv(path), pipelines.generate(model, 4_000, seed=1)
    for later, earlier in (("done", "came"), ("fetched", "came"), ("paid", "called")):
        real, made = (between(frame, later, earlier).dropna() for frame in (old, new))
        assert real.min() <= made.min()
        assert made.max() <= real.max()
        assert ks_2samp(real.dt.total_seconds(), made.dt.total_seconds(), method="asymp").statistic < 0.06, later
    hours = between(new, "done", "came").dt.total_seconds() / 3_600
    real_hours = between(old, "done", "came").dt.total_seconds() / 3_600
    np.testing.assert_allclose(hours.groupby(new["kind"]).mean(), real_hours.groupby(old["kind"]).mean(), rtol=0.15)
    assert set(pd.to_datetime(new["fetched"]).dt.hour) <= set(range(9, 17))
    assert pd.to_datetime(new["done"]).between("2022-01-03", pd.to_datetime(old["done"]).max()).all()


@pytest.mark.slow
def test_latents_go_back_to_the_same_dates(fitted, tmp_path):
    path, model = fitted
    pipelines.encode(path, model=model, output=tmp_path / "z.csv")
    pipelines.decode(tmp_path / "z.csv", model=model, output=tmp_path / "back.csv")
    back, old = pd.read_csv(tmp_path / "back.csv", dtype=str), pd.read_csv(path, dtype=str)
    pd.testing.assert_frame_equal(back[old.columns], old)


@pytest.mark.slow
@pytest.mark.parametrize(
    "missing", [("done",), ("came",), ("came", "done"), ("came", "fetched"), ("came", "done", "fetched")], ids=str
)
@pytest.mark.parametrize("draw", [False, True])
def test_imputed_dates_are_as_long_apart(fitted, missing, draw):
    _, model = fitted
    old = repairs(100, seed=7)
    new = pipelines.impute(old.assign(**dict.fromkeys(missing, np.nan)), model=model, draw=draw, seed=1)
    assert new.notna().all(axis=None)
    for name in set(old) - {*missing, "paid"}:
        pd.testing.assert_series_equal(new[name], old[name], check_dtype=False)
    took, real = (between(frame, "done", "came").dt.total_seconds() / 60 for frame in (new, old))
    if missing == ("came", "fetched") or len(missing) == 1:
        # One of the two is known, and how long the repair took nearly.
        assert took.min() > 0
        assert np.median(np.abs(took - real)) < 30
    if "done" in missing:
        assert took.min() > 0
    days = between(new, "fetched", "came") / pd.Timedelta(days=1)
    if missing != ("came",):  # of which two others know, and `done` is asked
        assert days.min() > 0
    assert days.median() < 6


@pytest.mark.slow
def test_rows_that_lack_the_earlier_date_are_ruled_out(fitted):
    _, model = fitted
    old = repairs(50, seed=8)
    assert np.isfinite(pipelines.score(old, model=model)["log_prob"]).all()
    assert np.isneginf(pipelines.score(old.assign(came=np.nan), model=model)["log_prob"]).all()
    late = pipelines.score(old.assign(done=old["fetched"]), model=model)["log_prob"]
    assert (late < pipelines.score(old, model=model)["log_prob"] - 5).mean() > 0.9
    with pytest.raises(AugmentError, match="column 'came' has a missing cell in row 0"):
        pipelines.encode(old.assign(came=np.nan), model=model)
    with pytest.raises(AugmentError, match="column 'called' has a missing cell in row 0"):
        pipelines.encode(old.assign(called=np.nan), model=model)  # and `paid` is there, which has classes


def shipments(rows=2_000, seed=0):
    """Orders with a time, shipped on a day and announced at a time, and the day on which they are booked."""
    rng = np.random.default_rng(seed)
    ordered = pd.Timestamp("2022-01-03") + pd.to_timedelta(rng.integers(0, 500 * 86_400, rows), unit="s")
    booked = ordered.normalize()
    shipped = booked + pd.to_timedelta(rng.poisson(1.5, rows), unit="D")
    told = shipped + pd.to_timedelta(rng.integers(9 * 3_600, 17 * 3_600, rows), unit="s")
    frame = pd.DataFrame({"shipped": shipped.strftime("%d.%m.%Y"), "told": told.strftime(FORMAT)})
    frame["ordered"] = ordered.strftime("%Y-%m-%d %H:%M:%S")
    return frame


def test_days_are_learnt_since_times_and_times_since_days(tmp_path):
    frame = shipments()
    encoding, source, schema = learnt(frame, tmp_path / "t.csv")
    columns = named(encoding)
    since = {name: column.elapsed and (column.elapsed.since, column.elapsed.per) for name, column in columns.items()}
    assert since == {"ordered": None, "shipped": ("ordered", 86_400.0), "told": ("shipped", 1 / 86_400)}
    assert columns["shipped"].margin.low == 0
    check_encoding(Encoding.from_json(json.loads(json.dumps(encoding.to_json()))), schema)
    for wrong in (1.0, 1 / 86_400):
        elapsed = dataclasses.replace(columns["shipped"].elapsed, per=wrong)
        changed = [
            dataclasses.replace(column, elapsed=elapsed) if column.name == "shipped" else column
            for column in encoding.columns
        ]
        with pytest.raises(AugmentError, match="there are no such dates"):
            check_encoding(dataclasses.replace(encoding, columns=tuple(changed)), schema)
    rows = encoding.encode(source, schema, np.random.default_rng(1), spread=False)
    cells, before = encoding.decode(rows.classes, rows.scores), encoding.cells(source, schema)
    assert are_inside(encoding, cells).all()
    for name in frame:
        np.testing.assert_array_equal(cells[name].values, before[name].values, err_msg=name)
    new = kept_rows(encoding, source, schema)
    assert len(new["ordered"]) > 200
    assert (new["shipped"] >= new["ordered"] // 86_400).all()
    assert (new["told"] // 86_400 == new["shipped"]).all()


@pytest.fixture(scope="module")
def fitted_shipments(fit_tiny):
    return fit_tiny(shipments(), "shipments", steps=150, couplings=2, width=16, batch_size=256).model


@pytest.mark.slow
@pytest.mark.parametrize(
    "missing", [("ordered",), ("shipped",), ("told",), ("ordered", "shipped"), ("shipped", "told")]
)
def test_imputed_days_and_times_fit_each_other(fitted_shipments, missing):
    old = shipments(80, seed=7)
    new = pipelines.impute(old.assign(**dict.fromkeys(missing, None)), model=fitted_shipments, seed=1)
    assert new.notna().all(axis=None)
    ordered, told = pd.to_datetime(new["ordered"]).dt.normalize(), pd.to_datetime(new["told"]).dt.normalize()
    shipped = pd.to_datetime(new["shipped"], dayfirst=True)
    assert (shipped - ordered).dt.days.between(0, 9).all()
    assert ((told - shipped).dt.days == 0).mean() > 0.95


@pytest.mark.slow
def test_a_date_alone_is_imputed_by_what_it_is_close_behind(fit_tiny):
    """Orders, some of which are not shipped yet, and of those that are some not paid: asked is when they will be."""
    rng = np.random.default_rng(0)
    ordered = rng.integers(0, 900, 1_500)
    shipped, paid = (ordered + rng.integers(1, most, 1_500) for most in (8, 8))
    paid = np.maximum(paid, shipped + 1)
    rows = pd.DataFrame({"ordered": days(ordered), "shipped": days(shipped), "paid": days(paid)})
    rows.loc[::5, ["shipped", "paid"]] = ""
    rows.loc[1::5, "paid"] = ""
    result = fit_tiny(rows, "chain", steps=100, couplings=2, width=16, batch_size=256)
    assert result.handled["paid"] == "numbers since shipped, missing cells"
    new = pipelines.impute(rows, model=result.model, columns=["paid"], seed=1)
    took = between(new, "paid", "ordered").dt.days
    assert took[::5].between(1, 15).all()
    pd.testing.assert_series_equal(new["shipped"].fillna(""), rows["shipped"])


def test_of_a_month_that_is_shorter_the_last_day_is_taken(tmp_path):
    """Sent on last days of months, due on those of the next."""
    rng = np.random.default_rng(0)
    months = pd.Series(pd.period_range("2015-01", periods=90, freq="M").to_numpy()[rng.integers(0, 90, 1_200)])
    frame = pd.DataFrame({"sent": months.map(lambda month: str(month.to_timestamp("M").date()))})
    frame["due"] = months.map(lambda month: str((month + 1).to_timestamp("M").date()))
    encoding, *_ = learnt(frame, tmp_path / "t.csv")
    columns = named(encoding)
    assert columns["due"].elapsed.unit == MONTH
    due = (np.arange("2016-01", "2017-01", dtype="datetime64[M]") + 1).astype("datetime64[D]").astype(float) - 1
    january = np.full(12, 552.0)  # January 2016
    guesses = {
        "sent": (january, np.zeros((12, 1), np.int32)),
        "due": (np.ones(12), np.zeros((12, 1), np.int32)),
    }
    found = assembled(encoding, guesses, {"sent": np.full(12, np.nan), "due": due}, {})["sent"]
    expected = np.arange("2016-01", "2017-01", dtype="datetime64[M]").astype("datetime64[D]").astype(float) - 1
    np.testing.assert_array_equal(found, expected)
