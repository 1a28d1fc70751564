"""Makes tables of few rows out of larger ones, for `benchmarks/tables.py run --data` (design, decision 39).

    python benchmarks/few_rows.py TABLES FOLDER --rows 1200 3500
    python benchmarks/tables.py run --data FOLDER --envs FOLDER --methods augment --results few.jsonl

TABLES is a folder as `tables.py` takes it. Of each of its tables that is large enough, and each number of rows,
`<table>-<rows>` has so many in train.csv and as many others in test.csv, drawn at random with seed 0 from both files.
"""

import argparse
import json
from pathlib import Path

import pandas as pd


def write(table: Path, rows: int, folder: Path) -> bool:
    """Writes a table of few rows; returns whether there were enough."""
    parts = [pd.read_csv(table / name, dtype=str, keep_default_na=False) for name in ("train.csv", "test.csv")]
    drawn = pd.concat(parts).sample(frac=1, random_state=0)[: 2 * rows]
    if len(drawn) < 2 * rows:
        return False
    meta = json.loads((table / "meta.json").read_text())
    home = folder / f"{table.name}-{rows}"
    home.mkdir(parents=True, exist_ok=True)
    drawn[:rows].to_csv(home / "train.csv", index=False)
    drawn[rows:].to_csv(home / "test.csv", index=False)
    (home / "meta.json").write_text(json.dumps(meta | {"name": home.name}))
    return True


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, metavar="TABLES")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_200, 3_500])
    options = parser.parse_args()
    for meta in sorted(options.tables.glob("*/meta.json")):
        for rows in options.rows:
            if write(meta.parent, rows, options.folder):
                print(options.folder / f"{meta.parent.name}-{rows}")


if __name__ == "__main__":
    main()
