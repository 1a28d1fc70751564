"""Section `moons` of the speed benchmark: whole processes from start-up to a density that is good enough."""

import statistics
from pathlib import Path
from typing import Any

import moons_density
import numpy as np
from commands import run
from sklearn.datasets import make_moons
from speed_options import Options
from speed_sides import say

CASES = ("moons",)
SIDES = {"ours": "speed_moons_ours.py", "zuko": "speed_moons_zuko.py", "FlowJAX": "speed_moons_flowjax.py"}
GAP = 0.05  # nats
HELD_OUT, HELD_OUT_STATE = 5_000, 30_000  # moons.csv is random_state 0


def measure(_case: str, folder: Path, options: Options) -> dict[str, Any]:
    """Seconds of each side's process, round by round."""
    data = Path(__file__).resolve().parents[1] / "data" / "moons.csv"
    held_out, _ = make_moons(n_samples=HELD_OUT, noise=moons_density.NOISE, random_state=HELD_OUT_STATE)
    np.save(folder / "train.npy", np.loadtxt(data, delimiter=",", skiprows=1))
    np.save(folder / "held_out.npy", held_out)
    # Of these very rows, so that their choice is in both.
    goal = float(-moons_density.log_prob(held_out).mean()) + (1.0 if options.is_small else GAP)
    figures: dict[str, dict[str, list[float]]] = {name: {"seconds": []} for name in SIDES}
    for _ in range(options.rounds):
        for name, script in SIDES.items():
            python = options.python if name == "ours" else options.needed_peers_python
            command = [python, Path(__file__).with_name(script), "train.npy", "held_out.npy", str(goal)]
            figures[name]["seconds"].append(run(command, folder).wall)
    for name, found in figures.items():
        say(f"  seconds, {name}: {statistics.median(found['seconds']):.1f}")
    return {"figures": figures}
