r"""Measures what evenly spread rows are worth, and what a classifier makes of them, beside independent ones.

    python benchmarks/evenness.py MODEL --data FOLDER --draws 16
    python benchmarks/evenness.py

With a model of FOLDER/train.csv: the mean and standard deviation, over draws of as many rows, of what `score.py`
prints. Without: the area under the ROC curve of a cross-validated classifier that tells independent Gaussian rows from
evenly spread or independent ones, where 0.5 is right.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import scored
from figures import aligned
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict

import pipelines
from pipelines.engines import evenly

FIGURES = ("shape", "trend", "c2st", "tstr")
KINDS = {"independent": False, "evenly spread": True}
# Columns, rows that the classifier sees, of how many that are drawn.
SIZES = ((2, 5_000, 5_000), (2, 5_000, 10_000), (10, 1_902, 17_118), (10, 8_000, 16_000))


def of_a_model(model: Path, data: Path, draws: int) -> list[tuple[str, ...]]:
    """What `score.py` makes of both kinds of rows."""
    with (data / "train.csv").open() as file:
        rows = sum(1 for _ in file) - 1
    lines = [("rows", *FIGURES)]
    for kind, even in KINDS.items():
        found = []
        for seed in range(draws):
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder) / "new.csv"
                pipelines.generate(model, rows, output=made, seed=seed, independent=not even)
                report = scored.score(data, made)
            found.append([report[name] for name in FIGURES])
        means, spreads = np.mean(found, axis=0), np.std(found, axis=0)
        lines.append((kind, *(f"{mean:.4f} ± {spread:.4f}" for mean, spread in zip(means, spreads, strict=True))))
    return lines


def of_gaussian_columns(draws: int) -> list[tuple[str, ...]]:
    """The classifier's figures."""
    lines = [("columns", "rows", "of", *KINDS)]
    for columns, rows, drawn in SIZES:
        means = (
            np.mean([_told_apart(columns, rows, drawn, seed, even=even) for seed in range(draws)])
            for even in KINDS.values()
        )
        lines.append((str(columns), f"{rows:,}", f"{drawn:,}", *(f"{mean:.3f}" for mean in means)))
    return lines


def _told_apart(columns: int, rows: int, drawn: int, seed: int, *, even: bool) -> float:
    rng = np.random.default_rng(seed)
    blocks = [
        evenly.draw(np.random.default_rng([seed, start]), evenly.MAX_ROWS, 0, columns, even=even)[1]
        for start in range(0, drawn, evenly.MAX_ROWS)
    ]
    chosen = np.concatenate(blocks)[:drawn][rng.permutation(drawn)[:rows]]
    features = np.concatenate([rng.standard_normal((rows, columns)), chosen])
    is_new = np.arange(2 * rows) >= rows
    folds = KFold(5, shuffle=True, random_state=seed)
    classifier = HistGradientBoostingClassifier(random_state=0)
    probabilities = cross_val_predict(classifier, features, is_new, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(is_new, probabilities))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--draws", type=int, default=6, help="of each kind (6)")
    options = parser.parse_args()
    if options.model is None:
        lines = of_gaussian_columns(options.draws)
    elif options.data is None:
        parser.error("a model needs --data")
    else:
        lines = of_a_model(options.model, options.data, options.draws)
    print(aligned(lines))


if __name__ == "__main__":
    main()
