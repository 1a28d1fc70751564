"""What the recipes share: arguments, tables in Markdown, pictures."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow says less when it is imported after this
matplotlib.use("Agg")
matplotlib.rcParams.update(
    {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 12,
        "axes.labelsize": 11,
        "font.size": 10,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)

BLUE, RED, GREY, GREEN, YELLOW = "#33658a", "#c8553d", "#8a8d91", "#5a8a4b", "#d9a441"


def main(run: Callable[[bool, pathlib.Path], object]) -> None:
    """Runs a recipe as a script: `--small` for a few seconds' worth, `--out` for where its files go."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument(
        "--small", action="store_true", help="few rows and few steps: shows that it runs, not what it can"
    )
    default = pathlib.Path(__file__).parent / "results"
    parser.add_argument(
        "--out", type=pathlib.Path, default=default, metavar="DIR", help="folder for tables and pictures"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    run(arguments.small, arguments.out)


def write_table(path: pathlib.Path, headers: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
    """Writes a GitHub Markdown table, and prints it.

    Args:
        path: The file, `*.md`.
        headers: One name a column.
        rows: Cells, converted by `str`. Columns after the first are aligned to the right.
        caption: A paragraph above the table: sizes, units, what ± means.
    """
    cells = [[str(cell).replace("|", r"\|") for cell in row] for row in [headers, *rows]]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(headers))]
    aligned = [
        [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in cells
    ]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = ["| " + " | ".join(row) + " |" for row in [aligned[0], rule, *aligned[1:]]]
    text = (caption + "\n\n" if caption else "") + "\n".join(lines) + "\n"
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def save_figure(figure: Figure, path: pathlib.Path) -> None:
    """Writes a picture, `*.png`."""
    figure.savefig(path, dpi=110, bbox_inches="tight")


def mean_and_error(values: Any, digits: int = 3) -> str:
    """Returns the mean of `values` and its standard error as text, such as "-1.234 ± 0.005"."""
    values = np.asarray(values, np.float64).ravel()
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) / np.sqrt(len(values)):.{digits}f}"
