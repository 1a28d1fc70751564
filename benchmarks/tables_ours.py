"""The tables benchmark's runs of the installed command.

`augment fit` and `augment generate` are timed as whole commands, from start-up to the written file.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from commands import QUIET

AUGMENT = Path(sys.executable).with_name("augment")
RECIPES: dict[str, dict[str, Any]] = {"augment": {"max_time": "60s"}}
PACKAGES = ("tfp-realnvp", "tensorflow", "tensorflow-probability", "ai-edge-litert")


def run(
    table: Path, output: Path, rows: int, *, seed: int, max_fit_seconds: float, recipe: dict[str, Any]
) -> dict[str, Any]:
    """Fits train.csv in the folder ``table``, writes new rows to ``output``, and scores test.csv.

    Parameters
    ----------
    table : Path
        With train.csv and test.csv.
    output : Path
        A CSV file; the model is written beside it.
    rows : int
        How many to write.
    seed : int
        Of both commands.
    max_fit_seconds : float
        The command that fits is ended after this time; the recipe's ``max_time`` is to be well below.
    recipe : dict
        Options of ``augment fit``, without the dashes.

    Returns
    -------
    dict
        The report of a run, with mean log-likelihoods in nats a row in the units of the data.

    Raises
    ------
    RuntimeError
        If a command fails; the message has its standard error.
    """
    model = output.with_suffix(".augment")
    options = [word for name, value in recipe.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    report: dict[str, Any] = {"versions": {name: version(name) for name in PACKAGES}}
    try:
        report["fit_seconds"] = _time(
            ["fit", table / "train.csv", *options, "--seed", seed, "-m", model, "--force"], max_fit_seconds
        )
    except subprocess.TimeoutExpired:
        return report | {"status": "unfinished", "fit_seconds": max_fit_seconds}
    report["sample_seconds"] = _time(["generate", "-m", model, "-n", rows, "--seed", seed, "-o", output, "--force"])
    training = json.loads(_call(["describe", model, "--json"]))["training"]
    scored = output.with_name("scored.csv")
    _call(["score", table / "test.csv", "-m", model, "-o", scored, "--force"])
    log_prob = pd.read_csv(scored)["log_prob"]
    possible = log_prob[log_prob > -math.inf]
    likelihood = {
        "held_out_rows": training["held_out_rows"],
        "held_out": training["log_likelihood"],
        "held_out_independent": training["independent_log_likelihood"],
        "test_rows": len(log_prob),
        "test": float(possible.mean()),
        "test_error": float(possible.std() / math.sqrt(len(possible))),
        "impossible_rows": len(log_prob) - len(possible),
    }
    return report | {"status": "finished", "epochs": training["epochs"], "likelihood": likelihood}


def _time(words: Sequence[Any], timeout: float | None = None) -> float:
    started = time.perf_counter()
    _call(words, timeout)
    return time.perf_counter() - started


def _call(words: Sequence[Any], timeout: float | None = None) -> str:
    command = [str(AUGMENT), *map(str, words)]
    environment = os.environ | QUIET
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    return done.stdout
