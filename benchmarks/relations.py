"""Measures what it does to new rows that columns which follow from others do so in them.

    python benchmarks/relations.py --data FOLDER --draws 3

FOLDER has a train.csv. Two models, `augment fit` with and without relations, have the same weights. Printed are the
relations, and means of what `score.py` prints of as many new rows as there are real ones.
"""

import argparse
import json
import tempfile
from pathlib import Path

import scored
from figures import aligned

import pipelines
from pipelines.storage.model_file import read_model
from pipelines.tables.relations.relation import words


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--draws", type=int, default=3, help="of each (3)")
    options = parser.parse_args()
    target = json.loads((options.data / "meta.json").read_text())["target"]
    shown = [("relations", *scored.FIGURES)]
    with tempfile.TemporaryDirectory() as folder:
        for relations in (False, True):
            model = Path(folder) / f"{relations}.augment"
            rows = pipelines.fit(options.data / "train.csv", model=model, target=target, relations=relations).rows
            means = scored.mean_figures(options.data, model, rows, options.draws)
            shown.append(("in new rows" if relations else "learnt", *means))
        for relation in read_model(model).encoding.relations:
            print(f"{relation.column}: {words(relation)}")
    print(aligned(shown))


if __name__ == "__main__":
    main()
