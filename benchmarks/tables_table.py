"""The results of the tables benchmark as Markdown tables, kept between two comments of README.md, here and above."""

import statistics
from collections.abc import Sequence
from typing import Any

from figures import README, aligned, measured, write_section

REAL = "real rows"
MARK = "†"
# What the project's own README tells, of these methods.
SHORT = ("augment", "mostlyai-engine 60 s", "TVAE", "CTGAN", "GaussianCopula", "SMOTENC", REAL)

Records = Sequence[dict[str, Any]]


def write(records: Records, methods: Sequence[str]) -> str:
    """Puts the tables of ``records`` into README.md, and the least of them into the project's, and returns them.

    Raises
    ------
    ValueError
        If there are no records, or one of the two has not both comments.
    """
    if not records:
        raise ValueError("there are no results with this cap yet")
    datasets = list(dict.fromkeys(record["dataset"] for record in records))
    parts = [dataset([r for r in records if r["dataset"] == name], methods) for name in datasets]
    parts += [likelihoods(records), notes(records)]
    text = "\n\n".join(part for part in parts if part)
    write_section("tables", text)
    write_section("beside others", summary(records, datasets), README.parents[1] / "README.md")
    return text


def summary(records: Records, datasets: Sequence[str]) -> str:
    """A table of what matters most, for all data sets at once: a line for each of a few methods."""
    head = [""]
    for name in datasets:
        is_number = any(r["task"] == "regression" for r in records if r["dataset"] == name)
        head += [f"{name}: fit, s", "c2st", "tstr, RMSE" if is_number else "tstr, AUC"]
    lines = [head]
    for method in SHORT:
        line = [method]
        for name in datasets:
            runs = [r for r in records if (r["dataset"], r["method"]) == (name, method)]
            cells = _cells(runs) if runs and runs[0]["status"] != "not applicable" else [""] * 9
            line += [cells[0], cells[4], cells[5]]
        lines.append(line)
    return aligned(lines)


def dataset(records: Records, methods: Sequence[str]) -> str:
    """The table of one data set: a line for each method."""
    model = "RMSE" if records[0]["task"] == "regression" else "AUC"
    head = ["fit, s", "sample, s", "shape, %", "trend, %", "c2st", f"tstr {model}", f"aug {model}", "memorised"]
    runs = {method: [record for record in records if record["method"] == method] for method in methods}
    lines = [[method, *_cells(done)] for method, done in runs.items() if done]
    return aligned([[records[0]["dataset"], *head, "copies, %"], *lines])


def _cells(runs: Records) -> list[str]:
    if runs[0]["status"] == "not applicable":
        return [f"not applicable: {runs[0]['why']}", *[""] * 8]
    is_unfinished = any(run["status"] == "unfinished" for run in runs)
    if is_unfinished and not any("shape" in run for run in runs):
        return [f"unfinished after {runs[0]['fit_seconds']:.0f} s", *[""] * 8]
    fit = _mean(runs, "fit_seconds", 1)
    # The real rows' own line has what a model of the target reaches that is trained on train.csv.
    target = "trtr" if runs[0]["method"] == REAL else "tstr"
    return [
        f"{fit} {MARK}" if is_unfinished else fit,
        _mean(runs, "sample_seconds", 1),
        _mean(runs, "shape", 2),
        _mean(runs, "trend", 2),
        _mean(runs, "c2st", 3),
        _mean(runs, target, 3),
        _mean(runs, "aug", 3),
        _mean(runs, "memorised", 3),
        _mean(runs, "copies", 2, factor=100.0),
    ]


def _mean(runs: Records, name: str, decimals: int, factor: float = 1.0) -> str:
    """The mean over the seeds, with the standard deviation where there are several."""
    values = [factor * run[name] for run in runs if name in run]
    if not values:
        return ""
    mean = f"{statistics.mean(values):.{decimals}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{decimals}f}"


def likelihoods(records: Records) -> str:
    """Mean log-likelihoods of rows that were not trained on, in nats a row in the units of the data."""
    judged = [record for record in records if "likelihood" in record]
    if not judged:
        return ""
    head = ["nats a row", "seed", "rows held out", "columns independent", "augment"]
    rows = [[*head, "rows of test.csv", "augment", "rows it rules out"]]
    for record in judged:
        found = record["likelihood"]
        rows.append(
            [
                record["dataset"],
                str(record["seed"]),
                f"{found['held_out_rows']:,}",
                f"{found['held_out_independent']:.3f}",
                f"{found['held_out']:.3f}",
                f"{found['test_rows']:,}",
                f"{found['test']:.3f} ± {found['test_error']:.3f}",
                f"{found['impossible_rows']:,}",
            ]
        )
    return aligned(rows)


def notes(records: Records) -> str:
    """What was marked, and what the figures were measured with."""
    sentences = []
    if any(record["status"] == "unfinished" for record in records):
        cap = records[0]["max_fit_seconds"]
        sentences.append(
            f"{MARK} unfinished: stopped by its own time limit or by the cap of {cap:.0f} s before the end of its "
            "schedule; the rows are those of the model as it was then."
        )
    sentences.append(measured(records, with_cores=True))
    return " ".join(sentences)
