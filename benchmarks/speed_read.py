"""Section `read` of the speed benchmark: a CSV file of 10 million rows and 10 columns, read and understood."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from commands import run
from speed_options import Options
from speed_sides import say

CASES = ("10 million x 10",)
ROWS, ROWS_AT_A_TIME = 10_000_000, 500_000
READ = {
    "ours": "from pipelines.tables.files.reading import read_source\n"
    "from pipelines.tables.kinds.inference import infer_schema\n"
    "from pipelines.verbs.fit import MAX_ROWS\n"
    "began = time.perf_counter(); infer_schema(read_source(sys.argv[1], max_rows=MAX_ROWS))\n",
    "pyarrow.csv.read_csv": "import pyarrow.csv\nbegan = time.perf_counter(); pyarrow.csv.read_csv(sys.argv[1])\n",
}
TIMED = "import json, sys, time\n{}open(sys.argv[2], 'w').write(json.dumps(time.perf_counter() - began))\n"


def write_table(path: Path, rows: int) -> None:
    """A CSV file of five columns with decimals, two of whole numbers, two of categories and one of dates."""
    rng = np.random.default_rng(0)
    words = np.array(["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath"])
    options = pyarrow.csv.WriteOptions(include_header=True)
    with path.open("wb") as file:
        for start in range(0, rows, ROWS_AT_A_TIME):
            n = min(ROWS_AT_A_TIME, rows - start)
            columns: dict[str, Any] = {f"x{i}": np.round(rng.normal(50 * i, 10, n), 3) for i in range(5)}
            columns |= {"count": rng.poisson(7, n), "size": rng.integers(0, 100_000, n)}
            columns |= {"kind": rng.choice(words, n), "place": rng.choice(words[:3], n)}
            columns["day"] = np.datetime64("2020-01-01") + rng.integers(0, 1500, n).astype("timedelta64[D]")
            pyarrow.csv.write_csv(pa.table(columns), file, options)
            options = pyarrow.csv.WriteOptions(include_header=False)


def measure(_case: str, folder: Path, options: Options) -> dict[str, Any]:
    """Seconds of each way to read, without imports, and the peak memory in MB, also of a whole short `fit`."""
    table, told = folder / "t.csv", folder / "seconds.json"
    rows = 200_000 if options.is_small else ROWS
    write_table(table, rows)
    figures: dict[str, dict[str, list[float]]] = {name: {"seconds": [], "peak": []} for name in READ}
    for _ in range(options.rounds):
        for name, code in READ.items():
            done = run([options.python, "-c", TIMED.format(code), table, told], folder)
            figures[name]["seconds"].append(json.loads(told.read_text()))
            figures[name]["peak"].append(done.peak)
    fit = [options.augment, "fit", table, "-m", folder / "m.augment", "--steps", "100", "--seed", "0", "--force", "-q"]
    done = run(fit, folder)
    figures["ours"] |= {"fit_seconds": [done.wall], "fit_peak": [done.peak]}
    say(f"  {figures}")
    return {"rows": rows, "bytes": table.stat().st_size, "figures": figures}
