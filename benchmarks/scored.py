"""What a scoring script says of a file of rows; `python benchmarks/tables.py --help` says what such a script is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import pipelines

FIGURES = ("shape", "trend", "c2st", "tstr", "trtr", "memorised")


def score(script: Path, table: Path, rows: Path) -> dict[str, Any]:
    """What the scoring script says of a file of rows.

    Raises
    ------
    RuntimeError
        If the script ends with another exit status than 0; the message has its standard error.
    """
    command = [sys.executable, str(script), str(table), str(rows), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    scored: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return scored


def mean_figures(script: Path, table: Path, model: Path, rows: int, draws: int) -> list[str]:
    """Means of `FIGURES` over so many draws of new rows of a model, of four digits."""
    found = []
    for seed in range(draws):
        output = model.with_suffix(".csv")
        pipelines.generate(model, rows, output=output, seed=seed, force=True)
        found.append(score(script, table, output))
    return [f"{np.mean([figures[name] for figures in found]):.4g}" for name in FIGURES]
