"""Section `flows` of the speed benchmark: one architecture in three sizes, ours beside others and the limit."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speed_options import Options
from speed_sides import Side, measure_in_turn

SIZES: dict[str, dict[str, int]] = {
    "S": {"entries": 2, "couplings": 8, "width": 64, "batch": 256},
    "M": {"entries": 16, "couplings": 8, "width": 128, "batch": 512},
    "L": {"entries": 63, "couplings": 10, "width": 256, "batch": 512},
}
CASES = tuple(SIZES)
ROWS = 20_000

# The script of each side, and its measures; those of one name are measured in turn.
SCRIPTS = {
    "ours": "speed_ours.py",
    "tfb.RealNVP": "speed_tfp.py",
    "zuko": "speed_torch.py",
    "normflows": "speed_torch.py",
    "nflows": "speed_torch.py",
    "FlowJAX": "speed_flowjax.py",
    "limit": "speed_limit.py",
    "machine": "speed_matmul.py",
}
IN_OUR_ENVIRONMENT = ("ours", "tfb.RealNVP", "machine")
USUAL = ("train", "log_prob", "sample")
MEASURES: dict[str, tuple[str, ...]] = dict.fromkeys(SCRIPTS, USUAL) | {
    "ours": (
        "first_step",
        "train",
        *(f"{measure}_{how}" for measure in ("log_prob", "sample") for how in ("xla", "graph")),
        *(f"{measure}_{how}" for measure in ("sampler", "scorer") for how in ("xla", "litert")),
    ),
    "FlowJAX": ("first_step", "train_step", *USUAL),
    "machine": ("matmul_square", "matmul_hidden"),
}


def rows(entries: int) -> NDArray[np.float32]:
    """Standardised rows ``[ROWS, entries]`` of a Gaussian bent into parabolas; what they are makes no difference."""
    x = np.random.default_rng(0).standard_normal((ROWS, entries))
    x[:, 1::2] += x[:, : entries // 2 * 2 : 2] ** 2
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)


def measure(case: str, folder: Path, options: Options) -> dict[str, Any]:
    """Results by side and measure: steps, rows or GFLOP a second, and seconds until the first step is done."""
    size, path = SIZES[case], folder / "rows.npy"
    np.save(path, rows(size["entries"]))
    with ExitStack() as stack:
        sides = []
        for name, script in SCRIPTS.items():
            python = options.python if name in IN_OUR_ENVIRONMENT else options.needed_peers_python
            sides.append(stack.enter_context(Side(python, script, {"side": name, "rows": str(path), **size})))
        figures = measure_in_turn(sides, MEASURES, options.rounds, options.seconds)
        versions = {package: version for side in sides for package, version in side.about["versions"].items()}
    return {"figures": figures, "versions": versions}
