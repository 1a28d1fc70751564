"""The essentials of a model's rows in one picture."""

from __future__ import annotations

import io

from pipelines.errors import printable
from pipelines.evaluation.alike import Alike
from pipelines.evaluation.fidelity import Errors
from pipelines.reporting import charts
from pipelines.reporting.sections import strongest_pairs
from pipelines.reporting.svg import style

__all__ = ["picture"]

_PAIRS = 2
_DPI = 120


def picture(tables: Alike, shapes: Errors) -> bytes:
    """Returns a PNG: the strongest pairs of columns, real beside synthetic, above the columns that are most off.

    Args:
        tables: The rows.
        shapes: Errors of the columns.
    """
    from matplotlib.figure import Figure

    pairs = strongest_pairs(tables, _PAIRS)
    is_alone = len(tables.columns) == 2  # the pair shows all there is
    across = 2 * max(1, len(pairs))
    worst = [] if is_alone else sorted(shapes.by, key=lambda names: -shapes.by[names][0])[:across]
    down = bool(pairs) + bool(worst)
    with style(**{"text.color": "black", "axes.edgecolor": "black", "axes.labelcolor": "black"}):
        figure = Figure(figsize=(5.0 * across if is_alone else 3.2 * across, 4.4 if is_alone else 3.2 * down))
        figure.set_layout_engine("constrained")
        grid = figure.subplots(down, across, squeeze=False)
        for place, names in enumerate(pairs):
            charts.pair(list(grid[0, 2 * place : 2 * place + 2]), tables, names)
        for axis in grid[0, 2 * len(pairs) :] if pairs else ():
            axis.set_axis_off()
        for place, axis in enumerate(grid[-1] if worst else ()):
            if place >= len(worst):
                axis.set_axis_off()
                continue
            value, floor = shapes.by[worst[place]]
            charts.column(axis, tables, worst[place][0])
            axis.set_title(f"{printable(worst[place][0])}\nerror {value:.2f} %, real rows {floor:.2f} %")
        figure.suptitle(
            f"{len(tables.real):,} real rows (blue), {len(tables.synthetic):,} synthetic rows (orange)", fontsize=11
        )
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()
