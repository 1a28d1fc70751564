"""Section `growth` of the speed benchmark: time and memory of `fit` and `generate` over rows and over columns."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from commands import run
from speed_options import Options
from speed_sides import say

CASES = ("rows", "columns")
ROWS, FEW_COLUMNS = (10_000, 30_000, 100_000, 300_000, 1_000_000), 10
COLUMNS, FEW_ROWS = (10, 30, 100, 300, 1000), 5_000
EPOCHS, FIT_STEPS = 2, 100
PLOT = Path(__file__).with_name("speed_growth.png")


def write_table(path: Path, rows: int, columns: int) -> None:
    """A CSV file of as many columns of correlated numbers as of categories that depend on them."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=rows)
    frame = {}
    for i in range(columns // 2):
        x = 0.7 * common + rng.normal(size=rows)
        frame[f"x{i}"] = np.round(x, 4)
        frame[f"c{i}"] = np.array(list("abcd"))[np.digitize(x + 0.5 * rng.normal(size=rows), [-1, 0, 1])]
    pd.DataFrame(frame).to_csv(path, index=False)


def measure(case: str, folder: Path, options: Options) -> dict[str, Any]:
    """Wall seconds and peak MB of `fit`, with equally many epochs or steps, and of `generate`."""
    sizes = ROWS if case == "rows" else COLUMNS
    sizes = sizes[:2] if options.is_small else sizes
    figures: dict[str, list[float]] = {name: [] for name in ("size", "fit", "fit_peak", "generate", "generate_peak")}
    for size in sizes:
        rows, columns = (size, FEW_COLUMNS) if case == "rows" else (FEW_ROWS, size)
        table, model = folder / "t.csv", folder / "m.augment"
        write_table(table, rows, columns)
        length = ["--epochs", str(EPOCHS)] if case == "rows" else ["--steps", str(FIT_STEPS)]
        fitted = run([options.augment, "fit", table, "-m", model, *length, "--seed", "0", "--force", "-q"], folder)
        words = ["generate", "-m", model, "--n", str(rows), "--seed", "0", "-o", folder / "o.csv", "--force", "-q"]
        made = run([options.augment, *words], folder)
        for name, value in zip(figures, (size, fitted.wall, fitted.peak, made.wall, made.peak), strict=True):
            figures[name].append(value)
        say(f"  {case} {size:,}: fit {fitted.wall:.0f} s, {fitted.peak:,.0f} MB; generate {made.wall:.1f} s")
    return {"figures": {"ours": figures}}


def plot(found: dict[str, dict[str, list[float]]]) -> None:
    """Draws seconds and memory over rows and over columns, by case."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(found), figsize=(5 * len(found), 6), sharex="col", squeeze=False)
    for column, (case, figures) in enumerate(found.items()):
        for row, (unit, names) in enumerate(
            {"seconds": ("fit", "generate"), "MB": ("fit_peak", "generate_peak")}.items()
        ):
            axis = axes[row, column]
            for name in names:
                axis.loglog(figures["size"], figures[name], marker="o", label=name.removesuffix("_peak"))
            axis.set_ylabel(unit)
            axis.grid(visible=True, which="major", alpha=0.3)
            axis.legend(frameon=False)
        axes[1, column].set_xlabel(case)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110)
