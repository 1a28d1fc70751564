r"""Measures whether `generate --where` gives rows of the real conditional distribution, and writes the README's table.

    python benchmarks/conditions.py MODEL --train CSV --test CSV --given COL --of COL=VALUE

For each value of the given column, how often the other column has a value among rows of the training table, of the test
table, which nobody learnt from, and among as many new rows as `--n` says, made with that value as a condition:

    augment fit adult/train.csv -m adult.augment --max-time 60s --seed 0
    python benchmarks/conditions.py adult.augment --train adult/train.csv --test adult/test.csv \\
        --given education --of "income=>50K"
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from figures import aligned, write_section

import pipelines


def shares(table: pd.DataFrame, given: str, of: str, value: str) -> pd.DataFrame:
    """How many rows each value of ``given`` has, and the share of them whose ``of`` is ``value``."""
    cells = table[[given, of]].apply(lambda column: column.str.strip())
    return (cells[of] == value).groupby(cells[given]).agg(["size", "mean"])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--train", type=Path, required=True, metavar="CSV")
    parser.add_argument("--test", type=Path, required=True, metavar="CSV")
    parser.add_argument("--given", required=True, metavar="COL")
    parser.add_argument("--of", required=True, metavar="COL=VALUE")
    parser.add_argument("--n", type=int, default=10_000, help="new rows for each value (10,000)")
    options = parser.parse_args()
    of, value = options.of.split("=", 1)
    train, test = (
        shares(pd.read_csv(path, dtype=str, keep_default_na=False), options.given, of, value)
        for path in (options.train, options.test)
    )
    rows = [(options.given, "rows", "train", "test", "new", "new - train", "standard error")]
    errors, weights, scores = [], [], []
    for name, (size, share) in train.sort_values("mean").iterrows():
        where = [f"{options.given}={name}"]
        new = pipelines.generate(options.model, options.n, seed=0, where=where).astype(str)
        assert isinstance(new, pd.DataFrame)
        assert set(new[options.given].str.strip()) == {name}
        found = float((new[of].str.strip() == value).mean())
        unseen = float(test["mean"].get(name, np.nan))
        error = float(np.sqrt(share * (1 - share) / size + found * (1 - found) / options.n))
        shown = f"{100 * unseen:.1f}" if np.isfinite(unseen) else ""
        rows.append((str(name), f"{int(size):,}", f"{100 * share:.1f}", shown, f"{100 * found:.1f}",
                     f"{100 * (found - share):+.1f}", f"{100 * error:.1f}"))  # fmt: skip
        errors.append(abs(found - share))
        weights.append(size)
        scores.append(abs(unseen - share))
    mean = float(np.average(errors, weights=weights))
    floor = float(np.average(np.nan_to_num(scores), weights=weights))
    text = aligned(rows) + (
        f"\n\nShares of {of}={value} in percent. All new rows have the value they were asked to have. Mean difference "
        f"from train, weighted by its rows: {100 * mean:.2f}; that of the test rows: {100 * floor:.2f}."
    )
    print(text)
    write_section("conditions", text)


if __name__ == "__main__":
    main()
