"""What comes again each week, day or hour is learnt as such, and new rows have it as the table does."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from test_encoding import cells_of, learn, source_of

import pipelines
from pipelines import AugmentError
from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.dates.rhythm import Rhythm
from pipelines.tables.encoding import Encoding
from pipelines.tables.numbers.bounds import are_inside
from pipelines.tables.numbers.margins import Margin
from pipelines.tables.relations.nearest_known import nearest_known
from pipelines.tables.relations.relation import Relation
from pipelines.tables.schema import Column

DAY = 86_400.0


def days_of_months(months, days):
    """Days after 1970-01-01, of months after it and days of these from 0, or from the last one, -1."""
    first = np.array(months).astype("datetime64[M]")
    from_last = (first + 1).astype("datetime64[D]") + np.minimum(days, -1)
    return np.where(np.array(days) < 0, from_last, first.astype("datetime64[D]") + days).astype(np.float64)


NONE = np.empty(0)
RNG = np.random.default_rng(0)
QUARTERS = 900.0 * RNG.integers(1_440_000, 1_800_000, 5_000)
MOMENTS = {  # moments, what a day counts, what is told apart
    "any moments": (RNG.uniform(-1e9, 2e9, 5_000), DAY, ("weekday", "hour")),
    "whole seconds": (np.floor(RNG.uniform(-2e9, 0.0, 5_000)), DAY, ("weekday", "hour")),
    "microseconds": (RNG.integers(10**15, 2 * 10**15, 5_000) / 1e6, DAY, ("weekday", "hour")),
    "quarters of an hour": (QUARTERS, DAY, ("weekday", "hour", "minute")),
    "whole hours": (3_600.0 * RNG.integers(400_000, 420_000, 5_000), DAY, ("weekday", "hour")),
    "three weeks": (RNG.uniform(1e9, 1e9 + 21 * DAY, 5_000), DAY, ("hour",)),
    "midnights": (DAY * RNG.integers(-5_000, 9_000, 5_000), DAY, ("weekday",)),
    "dates": (np.floor(RNG.uniform(-9_000, 20_000, 5_000)), 1.0, ("weekday",)),
    "mostly the first": (
        days_of_months(RNG.integers(-300, 600, 5_000), RNG.choice([0, 0, 14, 27, 30], 5_000)),
        1.0,
        ("monthday",),
    ),
    "the last and some days before": (
        days_of_months(RNG.integers(-300, 600, 5_000), -RNG.choice([1, 1, 2, 5], 5_000)),
        1.0,
        ("monthend",),
    ),
    "the first at any time": (
        DAY * days_of_months(RNG.integers(-300, 600, 5_000), 0) + RNG.integers(0, 86_400, 5_000),
        DAY,
        ("monthday", "hour"),
    ),
    "a few working days": (np.flatnonzero((np.arange(20_000, 20_300) + 3) % 7 < 5) + 20_000.0, 1.0, ("weekday",)),
    "a few first days": (days_of_months(np.arange(400, 600), 0), 1.0, ("monthday",)),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_come_back(name):
    moments, day, told = MOMENTS[name]
    rhythm = Rhythm.learn(moments, day, NONE)
    assert rhythm.names == told
    folded, phases = rhythm.fold(moments)
    np.testing.assert_array_equal(rhythm.unfold(folded, phases), moments)
    assert not rhythm.is_beyond(moments).any()
    assert Rhythm.from_json(json.loads(json.dumps(rhythm.to_json()))) == rhythm
    assert (phases < rhythm.sizes).all()
    assert np.isnan(rhythm.unfold(folded, np.broadcast_to(rhythm.sizes, phases.shape))).all()
    # The same phases as pandas says.
    dates = pd.DatetimeIndex(pd.to_datetime(moments, unit="D" if day == 1 else "s"))
    for phase, part in zip(phases.T, rhythm.names, strict=True):
        said = {"monthday": dates.day - 1, "monthend": dates.days_in_month - dates.day}
        np.testing.assert_array_equal(phase, said[part] if part in said else getattr(dates, part))


def test_a_second_is_a_second():
    """Within an hour of a weekday, time goes on as it did, so no density changes."""
    for moments, day, _ in MOMENTS.values():
        rhythm = Rhythm.learn(moments, day, NONE)
        short = 0.0 if day == 1 else 7.0
        inside = np.floor(moments / 60) * 60 if day > 1 else moments
        np.testing.assert_array_equal(rhythm.fold(inside + short)[0] - rhythm.fold(inside)[0], short)


def test_a_month_without_such_a_day_has_the_nearest():
    firsts = days_of_months(np.arange(600), 0)
    rhythm = Rhythm.learn(firsts, 1.0, NONE)
    assert rhythm.unfold(np.array([1.0, 3.0, 4.0]), np.array([[30], [30], [30]])).tolist() == [58.0, 119.0, 150.0]
    lasts = dataclasses.replace(rhythm, monthday=(), monthend=(0,))
    assert lasts.unfold(np.array([1.0, 3.0]), np.array([[30], [29]])).tolist() == [31.0, 90.0]


def test_days_that_come_again_by_chance_are_no_rhythm():
    """Days of a few months, or many rows of a few days, tell nothing of other months."""
    rng = np.random.default_rng(4)
    bursts = rng.choice(rng.choice(6_000, 150), 5_000).astype(float)
    assert Rhythm.learn(bursts, 1.0, NONE).names == ("weekday",)
    assert Rhythm.learn(bursts[:900], 1.0, NONE) is None
    assert Rhythm.learn(rng.choice(700, 900).astype(float), 1.0, NONE) is None
    assert Rhythm.learn(days_of_months(rng.integers(0, 20, 5_000), 0), 1.0, NONE).names == ("weekday",)  # two years
    assert Rhythm.learn(days_of_months(np.arange(99), 0), 1.0, NONE) is None


def test_where_days_of_the_month_would_be_others_weekdays_are_told_apart():
    """Sales on many days, none of them a Sunday, and more on the first and the fifteenth."""
    rng = np.random.default_rng(5)
    every = np.array([day for day in range(1_200) if (day + 3) % 7 < 6])
    dates = every.astype("datetime64[D]")
    of_month = (dates - dates.astype("datetime64[M]")).astype(int)
    moments = rng.choice(every, 9_000, p=(w := np.where(np.isin(of_month, (0, 14)), 9.0, 1.0)) / w.sum()).astype(float)
    assert Rhythm.learn(moments, 1.0, NONE).names == ("monthday",)
    assert Rhythm.learn(moments, 1.0, np.unique(moments)).names == ("weekday",)


def test_a_date_without_end_costs_no_memory():
    moments = np.r_[days_of_months(RNG.integers(0, 600, 5_000), 0), 2.1e9, 2.1e9]
    assert Rhythm.learn(moments, 1.0, NONE).names == ("monthday",)


def test_what_can_hardly_show_a_rhythm():
    rng = np.random.default_rng(1)
    assert Rhythm.learn(rng.uniform(0, 1e9, 999), DAY, NONE) is None
    assert Rhythm.learn(rng.uniform(0, 13 * DAY, 5_000), DAY, NONE) is None
    assert Rhythm.learn(np.floor(rng.uniform(0, 60, 5_000)), 1.0, NONE) is None
    assert Rhythm.learn(rng.uniform(0, 69 * DAY, 5_000), DAY, NONE).names == ("hour",)
    assert Rhythm.learn(60 * rng.integers(0, 10**6, 50_000), DAY, NONE).names == ("weekday", "hour")  # even minutes
    at_nine = DAY * rng.integers(0, 1_000, 5_000) + 9 * 3_600
    assert Rhythm.learn(at_nine, DAY, NONE).names == ("weekday",)


def test_of_moments_that_are_all_known_no_others_are_new():
    """Five days a week, and a few holidays: what was not seen is drawn again. Of scattered days it would be most."""
    rng = np.random.default_rng(2)
    days = np.array([day for day in range(1_000) if (day + 3) % 7 < 5 and day % 97])
    moments = rng.choice(days, 9_000).astype(float)
    rhythm = Rhythm.learn(moments, 1.0, np.unique(moments))
    assert rhythm.weekday == (0, 1, 2, 3, 4)
    np.testing.assert_array_equal(~rhythm.is_beyond(np.arange(-9.0, 1_009.0)), np.isin(np.arange(-9, 1_009), moments))
    scattered = rng.choice(rng.choice(20_000, 400), 9_000).astype(float)
    assert Rhythm.learn(scattered, 1.0, np.unique(scattered)) is None
    assert Rhythm.learn(scattered, 1.0, NONE) is not None


def test_unseen_phases_and_others_are_beyond():
    moments = QUARTERS[(QUARTERS % DAY >= 8 * 3_600) & (QUARTERS % DAY < 18 * 3_600)]
    rhythm = Rhythm.learn(moments, DAY, NONE)
    assert rhythm.hour == tuple(range(8, 18))
    assert rhythm.minute == (0, 15, 30, 45)
    at = DAY * np.floor(np.median(moments) / DAY)
    asked = np.array([at + 9 * 3_600, at + 7 * 3_600, at + 9 * 3_600 + 60, moments.min() - DAY, np.nan, np.inf])
    np.testing.assert_array_equal(rhythm.is_beyond(asked), [False, True, True, True, True, True])
    column = ColumnEncoding("t", (), (), (), Margin.learn(rhythm.fold(moments)[0], 1.0, RNG), rhythm=rhythm)
    latest = Cells(None, (), (), np.array([moments.max(), moments.max() + 40.0]))  # no whole minute
    np.testing.assert_array_equal(column.is_beyond(latest), [False, True])


def visits(rows=4_000, seed=0):
    """Moments by day and hour, a twentieth of them a placeholder and as many missing, as texts."""
    rng = np.random.default_rng(seed)
    days, hours = rng.integers(0, 300, rows), rng.integers(8, 18, rows)
    when = pd.Timestamp("2021-03-01") + pd.to_timedelta(24 * days + hours, unit="h")
    texts = pd.Series(when.strftime("%d.%m.%Y %H:%M"))
    kind = rng.random(rows)
    return texts.where(kind > 0.1, "").where(kind > 0.05, "01.01.1900 00:00"), when


COLUMN = Column("a", "datetime", decimals=0, format="%d.%m.%Y %H:%M", missing=("",))


def test_cells_come_back_and_numbers_alone_have_phases():
    texts, when = visits()
    encoding, source, schema = learn(texts.tolist(), COLUMN)
    (column,) = encoding.columns
    assert encoding.num_classes == [3, 8, 25]
    assert encoding.num_ordered(schema) == [0, 7, 24]
    assert [phase.name for phase in encoding.phases] == ["weekday of a", "hour of a"]
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    assert cells_of(encoding, schema, rows)["a"] == texts.tolist()
    is_number = rows.is_present[:, 0]
    np.testing.assert_array_equal(is_number, texts.str.contains("2021"))
    np.testing.assert_array_equal(rows.classes[is_number, 2], when.hour[is_number])
    np.testing.assert_array_equal(rows.classes[~is_number, 1:], np.tile([7, 24], ((~is_number).sum(), 1)))
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert again.columns[0].rhythm == column.rhythm
    # A number without an hour is none that new rows may have.
    both = encoding.encode_cells(encoding.cells(source, schema), np.random.default_rng(1))
    np.testing.assert_array_equal(both.classes, rows.classes)
    rows.classes[:, 2] = 24
    np.testing.assert_array_equal(are_inside(encoding, encoding.decode(rows.classes, rows.scores)), ~is_number)


def test_the_density_sums_to_one():
    """Of a model that knows the shares of the phases, over all hours between the first and the last, in seconds."""
    texts, when = visits()
    encoding, source, schema = learn([text for text in texts if "2021" in text], COLUMN)
    rows = encoding.encode(source, schema, np.random.default_rng(1))
    shares = [np.bincount(part, minlength=25)[:25] / len(rows.classes) for part in rows.classes.T]
    far = pd.Timedelta(days=600)
    hours = pd.date_range(when.min() - far, when.max() + far, freq="h")
    grid = source_of({"a": hours.strftime("%d.%m.%Y %H:%M").tolist()})
    coded = encoding.encode(grid, schema, np.random.default_rng(2), spread=False)
    with np.errstate(divide="ignore"):
        log_p = sum(np.log(share)[part] for share, part in zip(shares, coded.classes.T, strict=True))
    log_p += norm.logpdf(coded.scores[:, 0]) + coded.log_det
    assert np.exp(logsumexp(log_p)) * 3_600 == pytest.approx(1.0, abs=0.01)


def test_the_nearest_known_date_is_of_the_same_weekday_if_one_is():
    """A shop that is open or not, by days; on Sundays it always is not."""
    days = np.arange(3_000.0)
    is_open = ((days + 3) % 7 != 6) & (days % 5 > 0)
    rhythm = Rhythm.learn(days, 1.0, days)
    margin = Margin.learn(rhythm.fold(days)[0], 1.0, np.random.default_rng(0))
    columns = {
        "day": ColumnEncoding("day", (), (), (), margin, rhythm=rhythm),
        "open": ColumnEncoding("open", ("no", "yes"), (), (False, False), None),
    }
    relation = Relation("open", ("day",), "names", tuple(days.tolist()), tuple(is_open.astype(int).tolist()))
    asked = 1 - is_open.astype(int)  # the other than it is, of each day
    cells = {"day": Cells(None, (), (), days), "open": Cells(asked, ("no", "yes"), (False, False), None)}
    found = nearest_known(cells, columns, [relation])["day"]
    np.testing.assert_array_equal(is_open[found.astype(int)], asked)
    is_sunday = (days + 3) % 7 == 6
    np.testing.assert_array_equal(((found - days) % 7 == 0), ~is_sunday)


@pytest.mark.parametrize(
    "change",
    [
        {"hour": (24,)},
        {"hour": (3, 3)},
        {"monthday": (31,)},
        {"monthday": (3,), "monthend": (0,)},
        {"monthday": (3,), "weekday": (0,)},
        {"hour": ()},
        {"weekday": ("1",)},
        {"day": 1.0},
        {"day": 3_600.0},
        {"low": 1e9, "high": 0.0},
        {"low": float("nan")},
        {"support": (2.0, 1.0)},
        {"year": 1},
    ],
    ids=str,
)
def test_what_is_no_rhythm_is_refused(change):
    entries = {"low": 0.0, "high": 1e9, "day": DAY, "weekday": [], "hour": [1, 2], "minute": [], "support": []}
    assert Rhythm.from_json(entries).hour == (1, 2)
    with pytest.raises(AugmentError):
        Rhythm.from_json(entries | {key: list(v) if isinstance(v, tuple) else v for key, v in change.items()})


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Sales by moment, more on Saturdays and in the afternoon, none on Sundays or before six; and its model."""
    rng = np.random.default_rng(0)
    rows = 4_000
    hour = np.clip(rng.normal(12, 2.5, rows).round(), 6, 20)
    minutes = 1_440 * rng.integers(0, 300, rows) + 60 * hour + rng.choice([0, 15, 30, 45], rows)
    when = pd.Timestamp("2021-03-01") + pd.to_timedelta(minutes, unit="m")
    value = np.where(when.weekday == 5, 50, 20) + 3 * (hour - 12) + rng.normal(0, 2, rows)
    texts = pd.Series(when.strftime("%d.%m.%Y %H:%M")).where(rng.random(rows) > 0.06, "")
    frame = pd.DataFrame({"when": texts, "value": value.round(2), "part": np.where(hour < 12, "early", "late")})
    path = tmp_path_factory.mktemp("shop") / "shop.csv"
    frame[when.weekday != 6].to_csv(path, index=False)
    result = pipelines.fit(
        path, model=path.with_suffix(".augment"), steps=190, couplings=3, width=32, batch_size=256, seed=0
    )
    assert result.handled["when"] == "numbers by weekday and hour and minute, missing cells"
    return path, path.with_suffix(".augment")


def moments_of(frame):
    return pd.to_datetime(frame["when"], format="%d.%m.%Y %H:%M")


@pytest.mark.slow
def test_new_rows_have_the_rhythm(shop):
    path, model = shop
    old, new = pd.read_csv(path), pipelines.generate(model, 6_000, seed=1)
    before, after = moments_of(old), moments_of(new)
    assert before.min() <= after.min()
    assert after.max() <= before.max()
    assert set(after.dt.weekday.dropna()) == set(range(6))
    assert set(after.dt.minute.dropna()) == {0, 15, 30, 45}
    assert set(after.dt.hour.dropna()) <= set(before.dt.hour.dropna())
    assert new["when"].isna().mean() == pytest.approx(old["when"].isna().mean(), abs=0.02)
    for part in ("weekday", "hour"):
        mean_before, mean_after = (
            frame["value"].astype(float).groupby(getattr(when.dt, part)).mean()
            for frame, when in ((old, before), (new, after))
        )
        common = [at for at in mean_before.index if (getattr(before.dt, part) == at).sum() > 100]
        assert np.abs(mean_after[common] - mean_before[common]).max() < 4, part  # 30 between Fridays and Saturdays
    late = pipelines.generate(model, 300, seed=2, where=["when>=01.10.2021 00:00", "part=late"])
    assert moments_of(late).min() >= pd.Timestamp("2021-10-01")


@pytest.mark.slow
def test_latents_go_back_to_the_same_moments(shop, tmp_path):
    path, model = shop
    latents, back = tmp_path / "z.csv", tmp_path / "back.csv"
    pipelines.encode(path, model=model, output=latents)
    frame = pd.read_csv(latents, dtype=str, keep_default_na=False)
    assert frame.columns[:5].tolist() == ["when", "weekday of when", "hour of when", "minute of when", "z_when"]
    is_there = frame["when"] == "(number)"
    before = moments_of(pd.read_csv(path))
    np.testing.assert_array_equal(frame["hour of when"][is_there].astype(int), before.dt.hour[is_there])
    assert (frame["hour of when"][~is_there] == "").all()
    pipelines.decode(latents, model=model, output=back)
    assert back.read_text() == path.read_text()
    frame.loc[7, "hour of when"] = ""
    with pytest.raises(AugmentError, match=r"row 7 has a date in 'when', but lacks 'weekday of when', 'hour of"):
        pipelines.decode(frame, model=model)
    frame.loc[7, "hour of when"] = "25"
    with pytest.raises(AugmentError, match=r"'hour of when': the model knows no '25' \(row 7\)"):
        pipelines.decode(frame, model=model)


@pytest.mark.slow
def test_missing_moments_are_imputed_by_their_rhythm(shop):
    path, model = shop
    old = pd.read_csv(path)
    is_missing = old["when"].isna()
    for draw in (False, True):
        new = moments_of(pipelines.impute(old, model=model, draw=draw, seed=3))
        assert new.notna().all()
        pd.testing.assert_series_equal(new[~is_missing], moments_of(old)[~is_missing])
        made = new[is_missing]
        assert (made.dt.weekday != 6).mean() > 0.98
        is_high = old["value"][is_missing] > 60  # of an afternoon of a Saturday
        assert is_high.sum() > 5
        assert (made.dt.weekday[is_high] == 5).mean() > 0.9
        is_early = old["part"][is_missing] == "early"
        assert (made.dt.hour[is_early] < 12).mean() > 0.9


@pytest.mark.slow
def test_moments_are_scored(shop):
    path, model = shop
    old = pd.read_csv(path).dropna()
    odd = old.assign(when=[text[:11] + "03" + text[13:] for text in old["when"]])
    usual, unusual = (pipelines.score(frame, model=model)["log_prob"] for frame in (old, odd))
    assert np.isfinite(usual).all()
    assert (unusual < usual).mean() > 0.95  # at three in the night
