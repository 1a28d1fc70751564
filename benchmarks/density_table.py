"""The results of the density benchmark as Markdown tables, kept between two comments of README.md."""

import statistics
from collections.abc import Sequence
from typing import Any

import density_data
from figures import aligned, measured, write_section

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
    text = tables(records, methods)
    write_section("density", text)
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
    sentences.append(measured(records))
    return "\n\n".join([aligned(likelihoods), aligned(efforts), " ".join(sentences)])


def _likelihood(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.3f}" for value in values)
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def _effort(runs: Sequence[dict[str, Any]]) -> str:
    return f"{statistics.mean(run['steps'] for run in runs):,.0f}; {runs[0]['parameters']:,}" if runs else ""
