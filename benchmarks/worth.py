"""Measures how many real rows a model's new rows are worth to a classifier or regression that learns from them.

    python benchmarks/worth.py MODEL --data FOLDER --draws 8

MODEL is one of FOLDER/train.csv. What `score.py` prints as `tstr`, mean and standard deviation, for shares of the real
rows, drawn anew and in an order drawn anew each time, beside as many new rows as there are real ones and ten times as
many.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scored
from figures import aligned

import pipelines

SHARES = (1 / 8, 1 / 4, 1 / 2, 1)  # of the real rows
TIMES = (1, 10)  # as many new rows as there are real ones


def some_real(table: pd.DataFrame, rows: int, output: Path, seed: int) -> None:
    """Writes so many of the real rows."""
    table.iloc[np.random.default_rng(seed).permutation(len(table))[:rows]].to_csv(output, index=False)


def some_new(model: Path, rows: int, output: Path, seed: int) -> None:
    """Writes so many new rows."""
    pipelines.generate(model, rows, output=output, seed=seed)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--draws", type=int, default=8, help="of each (8)")
    options = parser.parse_args()
    table = pd.read_csv(options.data / "train.csv", dtype=str, keep_default_na=False)
    real = len(table)
    sources: list[tuple[str, int, Callable[[int, Path, int], None]]] = [
        *(("real", round(share * real), partial(some_real, table)) for share in SHARES),
        *(("new", times * real, partial(some_new, options.model)) for times in TIMES),
    ]
    shown = [("learnt from", "rows", "tstr")]
    for kind, rows, write in sources:
        found = []
        for seed in range(options.draws):
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder) / "rows.csv"
                write(rows, output, seed)
                found.append(scored.score(options.data, output)["tstr"])
        shown.append((f"{kind} rows", f"{rows:,}", f"{np.mean(found):.4f} ± {np.std(found):.4f}"))
    print(aligned(shown))


if __name__ == "__main__":
    main()
