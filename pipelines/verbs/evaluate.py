"""`augment evaluate`: can the new rows be trusted? Runs without TensorFlow, on the rows of any tool."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.cluster.session import cluster_of, connected
from pipelines.errors import UsageError, check_seed, printable
from pipelines.tables.texts.dialect import ReadOptions

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.tables.schema import Kind

__all__ = ["check_bounds", "evaluate", "failed", "format_evaluation"]


def evaluate(
    real: str | os.PathLike[str] | pd.DataFrame,
    synthetic: str | os.PathLike[str] | pd.DataFrame,
    *,
    held_out: str | os.PathLike[str] | pd.DataFrame | None = None,
    target: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
    reading: ReadOptions = ReadOptions(),
    max_rows: int | None = 1_000_000,
    seed: int = 0,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measures whether synthetic rows are like real ones, whether they help, and whether they give anyone away.

    Each figure is a JSON object with `value`; `floor`, what real rows in the place of the synthetic ones give; and
    `error`, the standard error of `value` if rows are independent of each other. (`generate` makes them so if it is
    told; of its evenly spread ones errors are smaller, and `c2st` may be low.) What was not measured is None, and
    `notes` says why.

    - `fidelity`: `shape` and `trend`, mean errors of columns and of pairs of columns in percent (Kolmogorov-Smirnov
      and total-variation distances; half the difference of Pearson's correlations or, with a text, the
      total-variation distance of contingency tables, numbers in ten bins of the real range); `c2st`, the area under
      the ROC curve of gradient-boosted trees that tell synthetic rows from held-out ones; `columns`, the worst
      first, and the worst `pairs`; `telling_rows`, the synthetic rows that the trees are surest of, each with its `row`
      in the table, from 1, where that is known (it is not in a sample of several files).
    - `utility`, with a target: the `metric`, and what trees reach on the held-out rows after training on real rows
      (`trtr`), synthetic ones (`tstr`), both (`augmented`), real and SMOTE's (`smote`), real and bootstrapped ones
      (`bootstrap`); `gains` over `trtr`, where above 0 is better.
    - `privacy`: `memorised`, `copies`, `nearest_ratio`, `membership` (see `pipelines.evaluation.privacy`).
    - `verdicts`: `about`, `grade` ("good", "fair", "poor") and `words`.

    Args:
        real: The rows that were learnt from: a CSV or Parquet file or a DataFrame, or the files of a folder: its path
            or URI (`s3://bucket/folder`), or a pattern of names (`rows/*.parquet`).
        synthetic: The rows to judge, from whatever tool, given likewise.
        held_out: Real rows that were not learnt from. Without them neither utility nor privacy can be measured.
        target: The column that models are to predict.
        kinds: The kinds of some columns by name (see `pipelines.fit`).
        drop: Columns to leave out.
        reading: How CSVs are spelled, as far as it is not to be found out.
        max_rows: Of longer tables, a uniform sample of so many rows.
        seed: Of everything random.
        engine: Who reads the files of a folder: "local", this process, or "ray", the workers of a Ray cluster. The
            figures are the same.
        address: Of the cluster; "auto" is the one that this machine belongs to. Default: one that is started on this
            machine for as long as it takes.
        workers: How many of the cluster's cores work. Default: all.
        on_progress: Called with what is being measured.

    Raises:
        AugmentError: If a table cannot be read or lacks a column, or there is no such target.
    """
    check_seed(seed)
    say = on_progress or (lambda _: None)
    cluster = cluster_of(engine, address, workers)
    say("reading")
    from pipelines.evaluation.alike import read_alike
    from pipelines.evaluation.evaluation import evaluate_alike

    with contextlib.nullcontext() if cluster is None else connected(cluster):
        tables = read_alike(
            real,
            synthetic,
            held_out,
            kinds=kinds,
            drop=drop,
            reading=reading,
            max_rows=max_rows,
            seed=seed,
            cluster=cluster,
        )
    return evaluate_alike(tables, target, seed, say)


def check_bounds(bounds: Mapping[str, float], *, has_target: bool, has_held_out: bool) -> None:
    """Raises `UsageError` if there is no such figure or bound, or the figure is not measured.

    Args:
        bounds: By the keys of figures.
        has_target: Whether models are to predict a column.
        has_held_out: Whether there are rows that were not learnt from.
    """
    from pipelines.evaluation.verdicts import FIGURES

    for key, bound in bounds.items():
        if key not in FIGURES:
            raise UsageError(f"there is no figure {key!r}; there are {', '.join(FIGURES)}.")
        if not math.isfinite(bound):
            raise UsageError(f"the bound of {key} must be a finite number, got {bound}.")
        is_utility = key.startswith("utility.")
        lacks_rows = not has_held_out and (is_utility or (key.startswith("privacy.") and key != "privacy.copies"))
        needed = [*["--holdout TEST"] * lacks_rows, *["--target COL"] * (is_utility and not has_target)]
        if needed:
            raise UsageError(f"{key} is not measured without {' and '.join(needed)}.")


def failed(evaluation: Mapping[str, Any], bounds: Mapping[str, float]) -> list[str]:
    """Returns, in words, which figures are worse than their bounds.

    Args:
        evaluation: As `evaluate` returns it.
        bounds: By the keys of figures, such as "fidelity.c2st".

    Raises:
        UsageError: If there is no such figure or bound, or it was not measured.
    """
    from pipelines.evaluation.verdicts import is_worse

    measured = evaluation["target"] is not None, evaluation["held_out"] is not None
    check_bounds(bounds, has_target=measured[0], has_held_out=measured[1])
    wrong = []
    for key, bound in bounds.items():
        part, _, name = key.partition(".")
        figure = evaluation[part][name]
        if figure is None:
            raise UsageError(f"{key} was not measured; {'; '.join(evaluation['notes'])}.")
        if is_worse(key, figure["value"], bound, evaluation["utility"]["metric"]):
            wrong.append(f"{key} is {figure['value']:.4g}, worse than {bound:g}")
    return wrong


def format_evaluation(evaluation: Mapping[str, Any]) -> str:
    """Returns an evaluation as an aligned table for the terminal; control characters are escaped."""
    from pipelines.evaluation.verdicts import FIGURES, spelled

    rows = evaluation["rows"]
    tables = [f"{rows[kind]:,} {words}" for kind, words in _KINDS.items() if rows[kind] is not None]
    names = [evaluation[kind] for kind in _KINDS if evaluation[kind] is not None]
    title = "; ".join(f"{printable(name)}: {words}" for name, words in zip(names, tables, strict=True))
    said = {verdict["about"]: verdict for verdict in evaluation["verdicts"]}
    lines = []
    for key, shown in FIGURES.items():
        part, _, name = key.partition(".")
        figure = evaluation[part][name]
        if figure is None:
            continue
        cells = [spelled(key, figure[entry]) for entry in ("value", "error", "floor")]
        words = said[key]["words"] if key in said else ""
        mark = said[key]["grade"] if key in said else ""
        lines.append((part, shown.title + _metric(key, evaluation), cells[0], f"± {cells[1]}", cells[2], mark, words))
    head = ("", "", "value", "", "real rows", "", "")
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(6)]
    out = [title, ""]
    previous = None
    for line in [head, *lines]:
        first = line[0] if line[0] != previous else ""
        previous = line[0]
        cells = [first.ljust(widths[0]), line[1].ljust(widths[1]), line[2].rjust(widths[2]), line[3].ljust(widths[3])]
        cells += [line[4].rjust(widths[4]), line[5].ljust(widths[5]), line[6]]
        out.append("  ".join(cells).rstrip())
    worst = [printable(" and ".join(entry["names"])) + f" {entry['value']:.2g} %" for entry in _most_off(evaluation)]
    out += ["", *(f"most off: {', '.join(worst)}" for _ in worst[:1])]
    out += [f"{part}: {said[part]['words']}" for part in ("fidelity", "utility", "privacy") if part in said]
    if evaluation["utility"]["metric"] is not None:
        out.append("ten times the rows are not ten times the information: what a model can learn is in the real rows")
    out += [f"note: {printable(note)}" for note in evaluation["notes"]]
    return "\n".join(out)


_KINDS = {"real": "real rows", "synthetic": "synthetic rows", "held_out": "held-out rows"}


def _most_off(evaluation: Mapping[str, Any]) -> list[Any]:
    return [*evaluation["fidelity"]["columns"][:2], *evaluation["fidelity"]["pairs"][:2]]


def _metric(key: str, evaluation: Mapping[str, Any]) -> str:
    metric = evaluation["utility"]["metric"]
    return f", {'AUC' if metric == 'roc_auc' else 'RMSE'}" if key.startswith("utility.") else ""
