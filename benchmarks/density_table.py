"""The results of the density benchmark as Markdown tables, kept between two comments of README.md."""

import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import density_data
from figures import README

BEGIN, END = "<!-- density: begin -->", "<!-- density: end -->"
TRUTH = "the true density"


def write(records: Sequence[dict[str, Any]], methods: Sequence[str]) -> str:
    """Puts the tables of ``records`` into README.md and returns them.

    Raises
    ------
    ValueError
        If there are no records, or README.md has not both comments.
    """
    if not records:
        raise ValueError("there are no results of this many seconds yet")
    before, found, rest = README.read_text().partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"{README} needs the comments {BEGIN} and {END}, in this order")
    text = tables(records, methods)
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    return text


def tables(records: Sequence[dict[str, Any]], methods: Sequence[str]) -> str:
    """Log-likelihoods, steps and parameters of each method, and what they were measured with."""
    datasets = [name for name in density_data.DATASETS if any(record["dataset"] == name for record in records)]
    likelihoods, efforts = [["test log-likelihood", *datasets]], [["steps; parameters", *datasets]]
    for method in methods:
        cells = [[r for r in records if (r["method"], r["dataset"]) == (method, name)] for name in datasets]
        if any(cells):
            likelihoods.append([method, *(_likelihood([run["test"] for run in runs]) for runs in cells)])
            efforts.append([method, *map(_effort, cells)])
    sentences = [f"{records[0]['seconds']:.0f} s on one core for each fit; mean ± standard deviation over seeds."]
    if "mixture" in datasets:
        true_log_prob = density_data.load("mixture", None).true_log_prob
        assert true_log_prob is not None
        likelihoods.append([TRUTH, *("" if name != "mixture" else f"{true_log_prob.mean():.3f}" for name in datasets)])
        entropy, error = density_data.mixture_entropy()
        sentences.append(f"The entropy of the mixture is {entropy:.4f} ± {error:.4f} nats.")
    sentences.append(_machine(records))
    return "\n\n".join([_table(likelihoods), _table(efforts), " ".join(sentences)])


def _likelihood(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.3f}" for value in values)
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def _effort(runs: Sequence[dict[str, Any]]) -> str:
    return f"{statistics.mean(run['steps'] for run in runs):,.0f}; {runs[0]['parameters']:,}" if runs else ""


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded so that it can be read as text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _machine(records: Sequence[dict[str, Any]]) -> str:
    """A sentence on when and with what the figures were measured."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    versions = {f"{name} {number}": None for record in records for name, number in record["versions"].items()}
    when = max(record["date"] for record in records)
    return f"Measured by {when} with {models[0] if models else platform.machine()}, {', '.join(versions)}."
