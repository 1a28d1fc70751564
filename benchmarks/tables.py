"""Measures the rows that `augment` makes of whole tables beside those of the tools people would pick instead.

    python benchmarks/tables.py run --data FOLDER --envs FOLDER
    python benchmarks/tables.py table

`run` fits every method to every table, draws as many rows as it was given, scores them, and appends one line of JSON
for each run to a file; a run whose line is there already is left out, so an interrupted benchmark goes on where it
stopped. `table` writes the tables into benchmarks/README.md. `envs` only makes the peers' environments.

--data is a folder of folders, each with train.csv, test.csv and meta.json:

    {"name": "adult", "task": "binclass", "target": "income", "numeric": ["age", ...], "categorical": ["sex", ...]}

--envs is where a virtual environment for each family of peers is made, about 4 GB altogether (`tables_envs.py`); it
needs a package index. Each run is a process of its own on all processors that this one may use, one run at a time.
What is timed, and what stops a fit, is said in `tables_worker.py`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import tables_envs
import tables_mostlyai
import tables_ours
import tables_resampling
import tables_sdv
import tables_table
from commands import QUIET
from figures import processor
from scored import score

HERE = Path(__file__).parent
PEERS = {"mostlyai": tables_mostlyai, "sdv": tables_sdv, "resampling": tables_resampling}
RECIPES: dict[str, dict[str, Any]] = {
    **tables_ours.RECIPES,
    **{method: recipe for worker in PEERS.values() for method, recipe in worker.RECIPES.items()},
    tables_table.REAL: {},
}
KEY = ("dataset", "method", "seed", "max_fit_seconds")
# After the cap on its fit a worker has so long to end the fit and to draw its rows, and then it is killed.
GRACE_SECONDS = 300
METRICS = ("shape", "trend", "c2st", "tstr", "trtr", "aug", "memorised", "copies")


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The runs of a results file."""
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


def run(options: argparse.Namespace) -> int:
    """Does what is not in the results file yet; returns the number of runs that failed."""
    datasets = options.datasets or sorted(path.parent.name for path in options.data.glob("*/meta.json"))
    if not datasets:
        raise ValueError(f"{options.data} has no folder with a meta.json")
    failed = 0
    for seed, dataset, method in product(options.seeds, datasets, options.methods):
        record = {"dataset": dataset, "method": method, "seed": seed, "max_fit_seconds": options.max_fit_seconds}
        if any(all(done[name] == record[name] for name in KEY) for done in records(options.results)):
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                record |= measure(record, Path(folder), options)
        except RuntimeError as error:
            failed += 1
            say(f"{dataset}, {method}, seed {seed} failed: {error}")
            continue
        with options.results.open("a") as file:
            file.write(json.dumps(record) + "\n")
        figures = [f"{name} {record[name]:.3f}" for name in ("fit_seconds", *METRICS) if record.get(name) is not None]
        say(f"{dataset}, {method}, seed {seed}: {', '.join([record['status'], *figures])}")
    return failed


def say(message: str) -> None:
    """A line of progress."""
    print(message, file=sys.stderr, flush=True)


def measure(record: dict[str, Any], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Fits, draws and scores; returns what is to be added to ``record``.

    Raises
    ------
    RuntimeError
        If a process fails; the message has its standard error.
    """
    table, output = options.data.resolve() / record["dataset"], folder / "rows.csv"
    meta = json.loads((table / "meta.json").read_text())
    method = record["method"]
    recipe = RECIPES[method] | options.recipe
    machine = {"cores": len(os.sched_getaffinity(0)), "processor": processor(), "date": str(date.today())}
    common = {"task": meta["task"], "recipe": recipe, **machine}
    if method == tables_table.REAL:
        scored = score(table, table / "test.csv")
        return common | {"status": "finished", **{name: scored[name] for name in ("shape", "trend", "trtr", "copies")}}
    if method in tables_ours.RECIPES:
        rows = sum(1 for _ in (table / "train.csv").open("rb")) - 1
        cap = record["max_fit_seconds"]
        report = tables_ours.run(table, output, rows, seed=record["seed"], max_fit_seconds=cap, recipe=recipe)
    else:
        report = run_peer(record, table, output, meta, recipe, options.envs.resolve())
    if not output.exists():
        return common | report
    scored = score(table, output)
    return common | report | {name: scored[name] for name in ("rows", *METRICS)}


def run_peer(
    record: dict[str, Any], table: Path, output: Path, meta: dict[str, Any], recipe: dict[str, Any], envs: Path
) -> dict[str, Any]:
    """Runs a peer's worker in its environment; it writes ``output`` and its report is returned."""
    family = next(name for name, worker in PEERS.items() if record["method"] in worker.RECIPES)
    python = tables_envs.make(family, envs)
    job = {name: record[name] for name in ("method", "seed", "max_fit_seconds")}
    job |= {name: meta[name] for name in ("target", "task", "numeric", "categorical")}
    job |= {"train": str(table / "train.csv"), "output": str(output), "recipe": recipe, "started": time.time()}
    # Some peers write logs and caches into the home folder.
    environment = os.environ | QUIET | {"HOME": str(output.parent), "HF_HUB_OFFLINE": "1"}
    worker = subprocess.Popen(
        [str(python), str(PEERS[family].__file__), json.dumps(job)],
        cwd=output.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = worker.communicate(timeout=record["max_fit_seconds"] + GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        output.unlink(missing_ok=True)  # a file half written is not scored
        return {"status": "unfinished", "fit_seconds": record["max_fit_seconds"], "versions": {}}
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)  # its own session: the worker and what it started
            worker.communicate()
    if worker.returncode:
        raise RuntimeError(f"the worker ended with status {worker.returncode}:\n{stderr.strip()[-2000:]}")
    report: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return report


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    envs = commands.add_parser("envs", help="make the peers' environments")
    measured = commands.add_parser("run", help="fit, draw, score")
    shown = commands.add_parser("table", help="write the tables into README.md")
    for sub in (envs, measured):
        sub.add_argument("--envs", type=Path, required=True, metavar="FOLDER", help="the peers' environments")
    for sub in (measured, shown):
        sub.add_argument("--results", type=Path, default=HERE / "tables_results.jsonl", metavar="PATH")
        sub.add_argument("--max-fit-seconds", type=float, default=300.0, help="cap on each fit (300)")
    measured.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the tables, a folder each")
    measured.add_argument("--datasets", nargs="+", metavar="NAME", help="default: all folders with a meta.json")
    measured.add_argument("--methods", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="METHOD")
    measured.add_argument("--seeds", nargs="+", type=int, default=[0])
    help_text = "JSON object that replaces values of the recipes, to try others; use a results file of its own"
    measured.add_argument("--recipe", type=json.loads, default={}, metavar="JSON", help=help_text)
    options = parser.parse_args()
    try:
        if options.command == "envs":
            for name in tables_envs.REQUIREMENTS:
                tables_envs.make(name, options.envs)
        elif options.command == "run":
            if failed := run(options):
                raise SystemExit(f"{failed} runs failed")
        else:
            done = [each for each in records(options.results) if each["max_fit_seconds"] == options.max_fit_seconds]
            print(tables_table.write(done, list(RECIPES)))
    except (RuntimeError, ValueError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
