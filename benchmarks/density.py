"""Measures the test log-likelihood of our flows and of those people would pick instead, after the same wall time.

    python benchmarks/density.py run --data FOLDER --peers-python PEERS/bin/python
    python benchmarks/density.py table

`run` fits every method to every data set and appends one line of JSON for each fit to a file; a run whose line is
there already is left out, so an interrupted benchmark goes on where it stopped. `table` writes the tables into
benchmarks/README.md.

Each fit is a process of its own on one processor core. Its wall time counts from the moment when the libraries are
imported and the rows are in memory; building, compilation and validation are within it, the test is not. All methods
get the same arrays (see `density_data`): rows to fit, rows to judge weights by, rows for the figure.

FOLDER holds tabular/magic and tabular/abalone, each with train.csv, test.csv, and a meta.json that lists the "numeric"
columns; the mixture of Gaussians needs no folder. PEERS is a virtual environment of its own, as PyTorch and JAX do not
belong into this project's:

    python -m venv PEERS
    PEERS/bin/pip install torch==2.13.0 zuko jax jaxlib flowjax equinox optax
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import density_data
import density_ours
import density_peers
import density_table
import density_tfp
import numpy as np

HERE = Path(__file__).parent
RECIPES: dict[str, dict[str, Any]] = {**density_ours.RECIPES, **density_tfp.RECIPES, **density_peers.RECIPES}
KEY = ("dataset", "method", "seed", "seconds")


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The runs of a results file."""
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


def run(options: argparse.Namespace) -> int:
    """Does what is not in the results file yet; returns the number of runs that failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed, dataset, method in product(options.seeds, options.datasets, options.methods):
            record = {"dataset": dataset, "method": method, "seed": seed, "seconds": options.seconds}
            if any(all(done[name] == record[name] for name in KEY) for done in records(options.results)):
                continue
            arrays = Path(folder, f"{dataset}.npz")
            if not arrays.exists():
                write_arrays(dataset, options.data, arrays)
            report = fit(record, arrays, options)
            if report is None:
                failed += 1
                continue
            with options.results.open("a") as file:
                file.write(json.dumps(record | report) + "\n")
            message = f"test {report['test']:.4f}, valid {report['valid']:.4f}, {report['steps']:,} steps"
            say(f"{dataset}, {method}, seed {seed}: {message}, {report['elapsed']:.1f} s")
    return failed


def say(message: str) -> None:
    """A line of progress."""
    print(message, file=sys.stderr, flush=True)


def write_arrays(dataset: str, folder: Path | None, path: Path) -> None:
    """Writes the rows of a data set where the workers read them."""
    split = density_data.load(dataset, folder)
    np.savez(path, train=split.train, valid=split.valid, test=split.test)


def fit(record: dict[str, Any], arrays: Path, options: argparse.Namespace) -> dict[str, Any] | None:
    """One run in a process of its own; None if it failed, after a line that says how."""
    method, python = record["method"], sys.executable
    worker = density_ours if method in density_ours.RECIPES else density_tfp
    if method in density_peers.RECIPES:
        worker, python = density_peers, options.peers_python
    if python is None:
        raise SystemExit(f"{method} needs --peers-python, an interpreter with its library")
    recipe = RECIPES[method] | options.recipe
    job = {name: record[name] for name in ("method", "seed", "seconds")}
    job |= {"arrays": str(arrays), "core": options.core, "recipe": recipe}
    command = [str(python), str(worker.__file__), json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"{record['dataset']}, {method}, seed {record['seed']} failed:\n{done.stderr[-2000:]}")
        return None
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report | {"recipe": recipe, "date": str(date.today())}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("run", "table"):
        sub = commands.add_parser(command)
        sub.add_argument("--results", type=Path, default=HERE / "density_results.jsonl", metavar="PATH")
        sub.add_argument("--seconds", type=float, default=60.0, help="wall time of each fit (60)")
        if command == "run":
            sub.add_argument("--data", type=Path, metavar="FOLDER", help="where tabular/magic and tabular/abalone are")
            sub.add_argument("--peers-python", type=Path, metavar="PATH", help="interpreter with zuko and FlowJAX")
            sub.add_argument("--methods", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="METHOD")
            sub.add_argument("--datasets", nargs="+", default=density_data.DATASETS, choices=density_data.DATASETS)
            sub.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
            sub.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="the core to run on")
            help_text = "JSON object that replaces values of the recipes, to try others; use a results file of its own"
            sub.add_argument("--recipe", type=json.loads, default={}, metavar="JSON", help=help_text)
    options = parser.parse_args()
    try:
        if options.command == "run":
            if failed := run(options):
                raise SystemExit(f"{failed} runs failed")
        else:
            done = [record for record in records(options.results) if record["seconds"] == options.seconds]
            print(density_table.write(done, list(RECIPES)))
    except ValueError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
