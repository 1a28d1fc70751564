"""All figures of tables that were read alike, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sklearn

from pipelines.errors import UsageError
from pipelines.evaluation import fidelity, privacy, utility
from pipelines.evaluation.alike import LEAST_ROWS, Alike
from pipelines.evaluation.fidelity import Errors
from pipelines.evaluation.measures import Figure
from pipelines.evaluation.verdicts import verdicts

__all__ = ["evaluate_alike"]

_WORKING_MEMORY = 128  # MB, of distances between rows
_NAMED = 10  # pairs that are named, the worst first
_MANY_COPIES = 0.5  # of the held-out rows
_NEEDS_HELD_OUT = "needs real rows that were not learnt from: --holdout TEST"


def evaluate_alike(tables: Alike, target: str | None, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Returns what `pipelines.evaluate` describes, a JSON value.

    Args:
        tables: The tables.
        target: The column that models are to predict, or None.
        seed: Of everything random.
        say: Called with what is being measured.

    Raises:
        UsageError: If a table has too few rows, or there is no such target.
    """
    for rows, name in zip((tables.real, tables.synthetic, tables.held_out), tables.names, strict=True):
        if rows is not None and len(rows) < LEAST_ROWS:
            raise UsageError(f"{name} has {len(rows)} row{'s' * (len(rows) != 1)}; at least {LEAST_ROWS} are needed.")
    if target is not None:
        utility.check_target(tables, target)
    with sklearn.config_context(working_memory=_WORKING_MEMORY):
        return _evaluate(tables, target, seed, say)


def _evaluate(tables: Alike, target: str | None, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    notes = [f"column {name!r} is not compared: {why}" for name, why in tables.left_out.items()]
    say("columns and pairs")
    marginals = fidelity.Marginals(tables, seed)
    if len(marginals.pairs) < marginals.num_pairs_in_all:
        notes.append(f"{len(marginals.pairs):,} of the {marginals.num_pairs_in_all:,} pairs are compared, at random")
    say("classifier")
    told = fidelity.discriminate(tables, seed)
    found: dict[str, Any] = {
        "real": tables.names[0],
        "synthetic": tables.names[1],
        "held_out": tables.names[2],
        "rows": {
            "real": len(tables.real),
            "synthetic": len(tables.synthetic),
            "held_out": None if tables.held_out is None else len(tables.held_out),
        },
        "target": target,
        "seed": seed,
        "fidelity": {
            "shape": marginals.shape.mean.to_json(),
            "trend": marginals.trend.mean.to_json(),
            "c2st": told.auc.to_json(),
            "columns": _worst(marginals.shape),
            "pairs": _worst(marginals.trend)[:_NAMED],
            "telling_rows": [_cells(tables, row) for row in told.telling],
        },
    }
    names = ("trtr", "tstr", "augmented", "smote", "bootstrap")
    found["utility"] = {"metric": None, "gains": None} | dict.fromkeys(names)
    if target is None:
        notes.append("utility is not measured: --target COL says what models are to predict")
    elif tables.held_out is None:
        notes.append(f"utility is not measured: it {_NEEDS_HELD_OUT}")
    else:
        say("models of the target")
        measured = utility.measure_utility(tables, target, seed)
        found["utility"] |= {"metric": measured.metric, "gains": _json(measured.gains)} | _json(measured.trained_on)
        if measured.why_no_smote is not None:
            notes.append(f"SMOTE is not applicable: {measured.why_no_smote}")
    found["privacy"] = dict.fromkeys(("memorised", "nearest_ratio", "membership"))
    found["privacy"]["copies"] = privacy.measure_copies(tables).to_json()
    if tables.held_out is None:
        notes.append(f"privacy is not measured but for copies: it {_NEEDS_HELD_OUT}")
    else:
        if (share := found["privacy"]["copies"]["floor"]) >= _MANY_COPIES:
            notes.append(
                f"{100 * share:.3g} % of the held-out rows are among the real ones: unless the table has few distinct "
                "rows, --holdout is a part of it; then neither utility nor privacy is measured"
            )
        say("nearest rows")
        near = privacy.measure_privacy(tables, seed)
        found["privacy"] |= _json(
            {"memorised": near.memorised, "nearest_ratio": near.nearest_ratio, "membership": near.membership}
        )
    found["notes"] = notes
    found["verdicts"] = [verdict.to_json() for verdict in verdicts(found)]
    return found


def _json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.to_json() for name, figure in figures.items()}


def _worst(errors: Errors) -> list[dict[str, Any]]:
    worst = sorted(errors.by.items(), key=lambda item: -item[1][0])
    return [{"names": list(names), "value": value, "floor": floor} for names, (value, floor) in worst]


def _cells(tables: Alike, row: int) -> dict[str, Any]:
    """The cells of a synthetic row that are compared; texts the real table does not have are "(new)"."""
    rows = tables.synthetic.take(np.array([row]))
    cells: dict[str, Any] = {} if tables.places is None else {"row": int(tables.places[row]) + 1}
    for name, value in zip(tables.numeric, rows.numbers[0], strict=True):
        cells[name] = None if np.isnan(value) else float(value)
    for name, levels, code in zip(tables.categorical, tables.levels, rows.classes[0], strict=True):
        cells[name] = None if code == 0 else levels[code - 1] if code <= len(levels) else "(new)"
    return cells
