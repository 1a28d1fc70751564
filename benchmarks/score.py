"""Scores a CSV file of made rows against the table they were learnt from.

    python benchmarks/score.py FOLDER ROWS.csv [--json]

FOLDER holds train.csv, test.csv and meta.json, as `python benchmarks/tables.py --help` says. The figures are those of
TabSyn (Zhang et al., ICLR 2024) and SDMetrics; errors are in percent, and lower is better:

    shape       mean over columns of the KS distance (numbers) or the total variation (categories) to train.csv
    trend       mean over pairs of columns: half the difference of the correlations (two numbers), or the total
                variation of the contingency tables, for which a number is cut into ten bins of equal width
    c2st        ROC AUC of a boosted classifier, over five folds, that tells the rows from those of test.csv
    tstr, trtr, aug  a boosted model of the target that learns from the rows, from train.csv, or from both, on test.csv:
                ROC AUC, or RMSE if the task is "regression"
    memorised   (share of the rows that are nearer to a row of train.csv than to one of test.csv - e) / (1 - e), where e
                is what fresh rows give: 0 for these, 1 for copies, moved a little or not
    copies      share of the rows that are in train.csv
    worst_shape, worst_trend  the column and the pair that are furthest off

A missing value is a category; of numbers its share counts in `shape`. It is independent of `augment evaluate`, whose
figures have errors and floors: this is what others publish.
"""

import argparse
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score, root_mean_squared_error
from sklearn.neighbors import NearestNeighbors

_MISSING = "<missing>"
_BINS, _FOLDS = 10, 5
_MAX_NEIGHBOURS_OF, _MAX_LEVELS = 10_000, 200
_BOOSTED = {"max_iter": 200, "early_stopping": True, "random_state": 0}


class Table:
    """What meta.json says of a table.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        self.name, self.target, self.is_regression = meta["name"], meta["target"], meta["task"] == "regression"
        self.numeric, self.categorical = meta["numeric"], meta["categorical"]

    def read(self, path: Path) -> pd.DataFrame:
        """The rows of a file: numbers float64, categories str."""
        rows = pd.read_csv(path, dtype=dict.fromkeys(self.categorical, "string"), skipinitialspace=True)
        columns = self.numeric + self.categorical
        if lost := [column for column in columns if column not in rows]:
            raise SystemExit(f"{path}: columns missing: {lost}")
        numbers = rows[self.numeric].apply(pd.to_numeric, errors="coerce").astype(float)
        return pd.concat([numbers, rows[self.categorical].fillna(_MISSING).astype(str)], axis=1)

    def levels(self, train: pd.DataFrame) -> dict[str, dict[str, int]]:
        """The code of each category."""
        return {column: _codes(train[column]) for column in self.categorical}

    def features(self, rows: pd.DataFrame, levels: dict[str, dict[str, int]]) -> pd.DataFrame:
        """Numbers as they are and categories by their codes, those that train.csv lacks by -1."""
        codes = {column: rows[column].map(levels[column]).fillna(-1).astype(int) for column in self.categorical}
        return rows[self.numeric].assign(**codes)


def shape_errors(table: Table, train: pd.DataFrame, rows: pd.DataFrame) -> dict[str, float]:
    """The distance of each column."""
    errors = {}
    for column in table.numeric:
        real, made = train[column].dropna(), rows[column].dropna()
        missing = abs(train[column].isna().mean() - rows[column].isna().mean())
        errors[column] = max(ks_2samp(real, made, method="asymp").statistic if len(made) else 1.0, missing)
    for column in table.categorical:
        errors[column] = _total_variation(train[column], rows[column])
    return errors


def trend_errors(table: Table, train: pd.DataFrame, rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    """The distance of each pair of columns."""
    real, made = _binned(table, train, train), _binned(table, rows, train)
    real_rho, made_rho = (part[table.numeric].corr().fillna(0) for part in (train, rows))
    errors = {}
    for a, b in combinations(table.numeric + table.categorical, 2):
        if b in table.numeric:  # numbers come first
            errors[a, b] = abs(real_rho.loc[a, b] - made_rho.loc[a, b]) / 2
        else:
            errors[a, b] = _total_variation(*(part[a] * 100_000 + part[b] for part in (real, made)))
    return errors


def told_apart(table: Table, train: pd.DataFrame, test: pd.DataFrame, rows: pd.DataFrame, rng: Any) -> float:
    """How well a classifier tells rows from test rows."""
    levels, count = table.levels(train), min(len(rows), len(test))
    parts = [table.features(part.iloc[rng.permutation(len(part))[:count]], levels) for part in (rows, test)]
    inputs, is_made = pd.concat(parts, ignore_index=True), np.repeat([1.0, 0.0], count)
    fold = rng.permutation(2 * count) % _FOLDS
    probability = np.empty(2 * count)
    for k in range(_FOLDS):
        classifier = HistGradientBoostingClassifier(**_BOOSTED).fit(inputs[fold != k], is_made[fold != k])
        probability[fold == k] = classifier.predict_proba(inputs[fold == k])[:, 1]
    return float(roc_auc_score(is_made, probability))


def utility(table: Table, learnt: pd.DataFrame, test: pd.DataFrame, levels: dict[str, dict[str, int]]) -> float:
    """How well the target of test rows is told by a model that learns from others."""
    target = table.target
    inputs, test_inputs = (table.features(part, levels).drop(columns=target) for part in (learnt, test))
    if table.is_regression:
        known, test_known = learnt[target].notna(), test[target].notna()
        regressor = HistGradientBoostingRegressor(**_BOOSTED).fit(inputs[known], learnt[target][known])
        return float(root_mean_squared_error(test[target][test_known], regressor.predict(test_inputs[test_known])))
    labels, test_labels = learnt[target].map(levels[target]), test[target].map(levels[target])
    known = labels.notna()
    if labels[known].nunique() < 2:
        return 0.5
    classifier = HistGradientBoostingClassifier(**_BOOSTED).fit(inputs[known], labels[known].astype(int))
    probability = classifier.predict_proba(test_inputs)
    if probability.shape[1] == 2:
        return float(roc_auc_score(test_labels, probability[:, 1]))
    return float(roc_auc_score(test_labels, probability, multi_class="ovr"))


def memorised(table: Table, train: pd.DataFrame, test: pd.DataFrame, rows: pd.DataFrame, rng: Any) -> float:
    """How much nearer rows are to train rows than fresh ones would be."""
    lowest, width = train[table.numeric].min(), (train[table.numeric].max() - train[table.numeric].min()).replace(0, 1)
    levels = {column: train[column].unique()[:_MAX_LEVELS] for column in table.categorical}

    def embedded(part: pd.DataFrame) -> np.ndarray:
        numbers = ((part[table.numeric] - lowest) / width).fillna(-1).to_numpy(float)
        is_level = [
            np.equal.outer(part[column].to_numpy(), levels[column]).astype(float) / np.sqrt(2)
            for column in table.categorical
        ]
        return np.hstack([numbers, *is_level])

    some = embedded(rows.iloc[rng.permutation(len(rows))[:_MAX_NEIGHBOURS_OF]])
    to_train, to_test = (
        NearestNeighbors(n_neighbors=1, algorithm="brute").fit(embedded(part)).kneighbors(some)[0][:, 0]
        for part in (train, test)
    )
    expected = len(train) / (len(train) + len(test))
    share = np.mean((to_train < to_test) + expected * (to_train == to_test))
    return float((share - expected) / (1 - expected))


def scored(folder: Path, path: Path, seed: int = 0) -> dict[str, Any]:
    """All figures of a file of rows."""
    table = Table(folder)
    train, test, rows = (table.read(file) for file in (folder / "train.csv", folder / "test.csv", path))
    rng, levels = np.random.default_rng(seed), table.levels(train)
    shapes, trends = shape_errors(table, train, rows), trend_errors(table, train, rows)
    hashes, train_hashes = (pd.util.hash_pandas_object(part.round(6), index=False) for part in (rows, train))
    worst_column, worst_pair = max(shapes, key=shapes.__getitem__), max(trends, key=trends.__getitem__)
    return {
        "dataset": table.name,
        "rows": len(rows),
        "shape": 100 * float(np.mean(list(shapes.values()))),
        "trend": 100 * float(np.mean(list(trends.values()))),
        "c2st": told_apart(table, train, test, rows, rng),
        "tstr": utility(table, rows, test, levels),
        "trtr": utility(table, train, test, levels),
        "aug": utility(table, pd.concat([train, rows], ignore_index=True), test, levels),
        "memorised": memorised(table, train, test, rows, rng),
        "copies": float(hashes.isin(set(train_hashes)).mean()),
        "worst_shape": (worst_column, round(100 * shapes[worst_column], 2)),
        "worst_trend": (worst_pair, round(100 * trends[worst_pair], 2)),
    }


def _codes(train: pd.Series) -> dict[str, int]:
    return {value: code for code, value in enumerate(sorted(train.unique()))}


def _total_variation(real: pd.Series, made: pd.Series) -> float:
    shares = [part.value_counts(normalize=True) for part in (real, made)]
    return float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)


def _binned(table: Table, rows: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Numbers by bins and categories by codes, int64."""
    codes = {}
    for column in table.numeric:
        lowest, highest = train[column].min(), train[column].max()
        edges = np.linspace(lowest, highest, _BINS + 1)[1:-1]
        codes[column] = np.where(rows[column].isna(), -1, np.digitize(rows[column].fillna(lowest), edges))
    for column in table.categorical:
        levels = _codes(train[column])
        codes[column] = rows[column].map(levels).fillna(len(levels)).astype(int).to_numpy()
    return pd.DataFrame(codes)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("rows", type=Path, metavar="ROWS.csv")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    options = parser.parse_args()
    figures = scored(options.folder, options.rows)
    if options.json:
        print(json.dumps(figures))
    else:
        print("  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in figures.items()))


if __name__ == "__main__":
    main()
