"""Measures what it does to new rows that columns which follow from others do so in them.

    python benchmarks/relations.py --data FOLDER --score SCORE.py --draws 3

FOLDER has a train.csv. Two models, `augment fit` with and without relations, have the same weights. Printed are the
relations, and means of what SCORE.py prints (`python benchmarks/tables.py --help` says what that is) of as many new
rows as there are real ones.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import scored
from figures import aligned

import pipelines
from pipelines.model_file import read_model
from pipelines.tables.relations import words

FIGURES = ("shape", "trend", "c2st", "tstr", "trtr", "memorised")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--score", type=Path, required=True, metavar="SCORE.py")
    parser.add_argument("--draws", type=int, default=3, help="of each (3)")
    options = parser.parse_args()
    target = json.loads((options.data / "meta.json").read_text())["target"]
    shown = [("relations", *FIGURES)]
    with tempfile.TemporaryDirectory() as folder:
        for relations in (False, True):
            model = Path(folder) / f"{relations}.augment"
            rows = pipelines.fit(options.data / "train.csv", model=model, target=target, relations=relations).rows
            found = []
            for seed in range(options.draws):
                output = Path(folder) / "rows.csv"
                pipelines.generate(model, rows, output=output, seed=seed, force=True)
                found.append(scored.score(options.score, options.data, output))
            means = [np.mean([figures[name] for figures in found]) for name in FIGURES]
            shown.append(("in new rows" if relations else "learnt", *(f"{mean:.4g}" for mean in means)))
        for relation in read_model(model).encoding.relations:
            print(f"{relation.column}: {words(relation)}")
    print(aligned(shown))


if __name__ == "__main__":
    main()
