"""Measures what it does to new rows that classes which tell much of others start from counted tables.

    python benchmarks/parents.py --data FOLDER --draws 3

FOLDER has a train.csv. Two models are fitted with `--max-time 60s --seed 0`, without and with the tables. Printed are
the columns that have parents, the held-out rows' mean log-density (nats), and means of what `score.py` prints of as
many new rows as there are real ones.
"""

import argparse
import json
import tempfile
from pathlib import Path
from unittest import mock

import scored
from figures import aligned

import pipelines
from pipelines.fitting import models
from pipelines.storage.model_file import read_model


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--draws", type=int, default=3, help="of each (3)")
    options = parser.parse_args()
    target = json.loads((options.data / "meta.json").read_text())["target"]
    shown = [("parents", "log-density", *scored.FIGURES)]
    with tempfile.TemporaryDirectory() as folder:
        for name, found_by in (("without", lambda recipe, *_: recipe), ("with", models.with_parents)):
            model = Path(folder) / f"{name}.augment"
            with mock.patch.object(models, "with_parents", found_by):
                fitted = pipelines.fit(options.data / "train.csv", model=model, target=target, max_time=60.0)
            means = scored.mean_figures(options.data, model, fitted.rows, options.draws)
            shown.append((name, f"{fitted.log_likelihood:.2f}", *means))
        flow, encoding = read_model(model).description["flow"], read_model(model).encoding
    names = [column.name for column in encoding.discrete]
    for name, parents in zip(names, _parents(flow) or [[] for _ in names], strict=True):
        if parents:
            print(f"{name}: {', '.join(names[parent] for parent in parents)}")
    print(aligned(shown))


def _parents(flow: dict) -> list[list[int]] | None:
    """The parents of the classes of a model, as its configuration has them."""
    arguments = flow["arguments"]
    return (arguments if "num_classes" in arguments else arguments["discrete"]["arguments"])["parents"]


if __name__ == "__main__":
    main()
