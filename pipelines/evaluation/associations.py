"""How strongly the columns of a table go together."""

from __future__ import annotations

import numpy as np

from pipelines.evaluation.alike import Alike, Rows
from pipelines.evaluation.fidelity import bin_edges, binned, correlations, standardised

__all__ = ["associations"]


def associations(tables: Alike, rows: Rows, columns: list[int]) -> np.ndarray:
    """Returns a symmetric matrix `[P, P]`, 1 on its diagonal.

    Of two numeric columns it is Pearson's correlation, in [-1, 1]; otherwise Cramér's V of their contingency table, in
    [0, 1], numbers in ten bins of the real range. Of independent columns it is near 0 however many classes they have
    (Bergsma, 2013, "A bias-correction for Cramér's V and Tschuprow's T", Journal of the Korean Statistical Society).

    Args:
        tables: What the columns are.
        rows: Some rows of them.
        columns: The places of P columns in `tables.columns`.
    """
    numeric = len(tables.numeric)
    pearson = correlations(standardised(tables.real.numbers, rows.numbers), np.ones(len(rows)))
    codes = [
        binned(rows.numbers[:, place], bin_edges(tables.real.numbers[:, place]))
        if place < numeric
        else rows.classes[:, place - numeric]
        for place in columns
    ]
    codes = [np.unique(part, return_inverse=True)[1] for part in codes]
    found = np.eye(len(columns))
    for a, first in enumerate(columns):
        for b, second in enumerate(columns[:a]):
            is_number = first < numeric and second < numeric
            found[a, b] = found[b, a] = pearson[first, second] if is_number else _cramers_v(codes[a], codes[b])
    return found


def _cramers_v(a: np.ndarray, b: np.ndarray) -> float:
    counts = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(counts, (a, b), 1.0)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / len(a)
    squared = ((counts - expected) ** 2 / expected).sum() / len(a)
    more = np.array(counts.shape) - 1.0
    chance = 1 / max(1, len(a) - 1)
    least = (more - more**2 * chance).min()
    return float(np.sqrt(max(0.0, squared - more.prod() * chance) / least)) if least > 0 else 0.0
