"""Measures how near `augment impute` comes to cells that were taken away, beside medians and scikit-learn.

    python benchmarks/imputation.py FOLDER ...

Each FOLDER has train.csv, test.csv and meta.json (`python benchmarks/tables.py --help`). A model learns from the first;
of up to 2,000 rows of test.csv that lack nothing, each cell is missing with a probability of 20 %. Printed are, of the
missing cells, the root mean square error of numbers, in standard deviations of their column, and the share of right
classes, each the mean over columns: of medians and modes of train.csv, of scikit-learn's IterativeImputer for numbers
(Bayesian ridge regressions over these and indicators of classes, learnt from 5,000 rows), and of `augment impute`.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from figures import aligned
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

import pipelines

SHARE, ROWS, LEARNT = 0.2, 2_000, 5_000


def regressed(train: pd.DataFrame, holes: pd.DataFrame, numeric: list[str]) -> pd.DataFrame:
    """What scikit-learn's IterativeImputer fills in, with the classes as indicators."""
    every = pd.concat([train.sample(min(LEARNT, len(train)), random_state=0), holes], keys=["train", "holes"])
    texts = [name for name in train if name not in numeric]
    coded = every[numeric].astype(float)
    for name in texts:
        # All but one: all of them would tell the last from the others, which are missing with it.
        flags = pd.get_dummies(every[name], prefix=name, drop_first=True, dtype=float)
        coded = coded.join(flags.mask(every[name].isna()))
    mean, deviation = coded.mean(), coded.std()
    imputer = IterativeImputer(random_state=0).fit((coded.loc["train"] - mean) / deviation)
    scaled = imputer.transform((coded.loc["holes"] - mean) / deviation)
    found = pd.DataFrame(scaled, holes.index, coded.columns) * deviation + mean
    return holes.fillna(found[numeric])


def errors(filled: pd.DataFrame, rows: pd.DataFrame, holes: pd.DataFrame, scales: pd.Series) -> tuple[str, str]:
    """The mean error of numbers, in standard deviations, and the mean share of right classes."""
    numbers, classes = [], []
    for name in rows:
        is_missing = holes[name].isna()
        new, old = filled[name][is_missing], rows[name][is_missing]
        if new.isna().all():
            continue
        if name in scales:
            numbers.append(np.sqrt(((new.astype(float) - old) ** 2).mean()) / scales[name])
        else:
            classes.append((new == old).mean())
    right, off = (f"{np.mean(found):.3f}" if found else "" for found in (classes, numbers))
    return off, right


def measured(folder: Path, max_time: float) -> list[tuple[str, ...]]:
    """The figures of a table."""
    meta = json.loads((folder / "meta.json").read_text())
    numeric = meta["numeric"]
    train, rows = (pd.read_csv(folder / name) for name in ("train.csv", "test.csv"))
    rows = rows.dropna()[:ROWS].reset_index(drop=True)
    holes = rows.mask(np.random.default_rng(0).random(rows.shape) < SHARE)
    usual = {name: train[name].median() if name in numeric else train[name].mode()[0] for name in train}
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "model.augment"
        pipelines.fit(train, model=model, max_time=max_time, seed=0)
        ways = {
            "medians, modes": holes.fillna(usual),
            "IterativeImputer": regressed(train, holes, numeric),
            "augment impute": pipelines.impute(holes, model=model, seed=0),
        }
    scales = train[numeric].std()
    return [(folder.name, way, *errors(filled, rows, holes, scales)) for way, filled in ways.items()]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--max-time", type=float, default=60, metavar="SECONDS", help="of each fit (60)")
    options = parser.parse_args()
    shown: list[tuple[str, ...]] = [("table", "way", "error of numbers", "right classes")]
    for folder in options.folders:
        shown += measured(folder, options.max_time)
    print(aligned(shown))


if __name__ == "__main__":
    main()
