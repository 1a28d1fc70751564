"""Section `generate` of the speed benchmark: rows a second and memory of the whole command."""

import json
import subprocess
from pathlib import Path
from typing import Any

from commands import run
from speed_options import Options
from speed_sides import say

CASES = ("moons csv", "moons parquet", "adult csv")
MOONS = Path(__file__).resolve().parents[1] / "data" / "moons.csv"
FIT_STEPS = 500  # what the weights are makes no difference
# The sampler's graph on blocks of noise, in a process of its own and for the seconds that the command line says.
SAMPLER_ALONE = """
import json, sys, time
import numpy as np
from pipelines.engines.local import BLOCK_ROWS, Decoder
from pipelines.storage.model_file import read_model
model = read_model(sys.argv[1])
decoder = Decoder(model)
noise = np.random.default_rng(0).standard_normal((BLOCK_ROWS, len(model.encoding.continuous)), np.float32)
classes = np.zeros((BLOCK_ROWS, 0), np.int32)
decoder(classes, noise)
began, done = time.perf_counter(), 0
while (spent := time.perf_counter() - began) < float(sys.argv[2]):
    done += len(decoder(classes, noise))
print(json.dumps(done / spent))
"""


def measure(case: str, folder: Path, options: Options) -> dict[str, Any]:
    """Rows a second of the command, its peak memory in MB, and for the moons the rate of the sampler's graph alone."""
    name, suffix = case.split()
    if name == "adult" and options.data is None:
        raise ValueError("this section needs --data, the folder with adult/train.csv")
    data = MOONS if options.data is None or name == "moons" else options.data / "adult" / "train.csv"
    model, out = folder / "m.augment", folder / f"out.{suffix}"
    run([options.augment, "fit", data, "-m", model, "--steps", str(FIT_STEPS), "--seed", "0", "-q"], folder)
    most = 100_000 if options.is_small else 10_000_000 if name == "moons" else 1_000_000
    figures: dict[str, list[float]] = {"rows_per_second": [], "peak": [], "peak_of_a_tenth": []}
    for _ in range(options.rounds):
        if name == "moons":
            command = [options.python, "-c", SAMPLER_ALONE, model, str(options.seconds)]
            alone = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            figures.setdefault("sampler_alone", []).append(alone)
        for rows, peak in ((most, "peak"), (most // 10, "peak_of_a_tenth")):
            words = [
                options.augment,
                "generate",
                "-m",
                model,
                "--n",
                str(rows),
                "--seed",
                "0",
                "-o",
                out,
                "--force",
                "-q",
            ]
            done = run(words, folder)
            figures[peak].append(done.peak)
            if rows == most:
                figures["rows_per_second"].append(rows / done.wall)
    say(f"  {case}: {figures['rows_per_second']}")
    return {"rows": most, "figures": {"ours": figures}}
