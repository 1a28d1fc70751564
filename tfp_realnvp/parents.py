"""Columns whose classes tell much of another column's: which these are, and tables of what they tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import special

__all__ = ["checked_parents", "parent_table", "strong_parents"]

# Rows' worth of a column's shares that are added to what was counted: the number that makes the counts likeliest.
_PRIORS = np.geomspace(0.5, 2048.0, 13)
_MAX_PARENTS = 3
_MAX_CELLS = 1 << 20  # of a table
_MAX_COLUMNS = 300  # whose pairs take half a minute at most
_MAX_ROWS, _FEW_ROWS = 20_000, 2_000  # to find parents by, and of all pairs those that may be


def strong_parents(classes: np.ndarray, num_classes: Sequence[int], *, least: float = 0.1) -> list[list[int]]:
    """Returns of each column the columns that tell much of it, the strongest first: its parents.

    A column is a parent of another if the other's classes are likelier by `least` of their entropy where that column's
    class is known. Three are returned at most, and one more if it is the first that comes before the column.

    Args:
        classes: Classes, int `[n, C]`; of more than 20,000 rows so many random ones are looked at, and of more than 300
            columns none are found.
        num_classes: Number of classes of each column, `[C]`.
        least: Share of the entropy, 0 to 1.

    Returns:
        A list of columns for each column.

    References:
        C. K. Chow, C. N. Liu. Approximating Discrete Probability Distributions with Dependence Trees. IEEE Transactions
        on Information Theory, 1968.
    """
    columns = len(num_classes)
    if columns > _MAX_COLUMNS or not len(classes):
        return [[] for _ in range(columns)]
    if len(classes) > _MAX_ROWS:
        classes = classes[np.random.default_rng(0).choice(len(classes), _MAX_ROWS, replace=False)]
    entropies = [_entropy(np.bincount(classes[:, column])) for column in range(columns)]
    found: list[list[tuple[float, int]]] = [[] for _ in range(columns)]
    few = classes[:: -(-len(classes) // _FEW_ROWS)]  # evenly, as rows may be in an order
    for first, second in _likely_pairs(few, num_classes, least):
        counts = _counts(classes, first, second, num_classes)
        for parent, column, table in ((first, second, counts), (second, first, counts.T)):
            gain = _likeliest(table)[1] / len(classes)
            if gain > least * entropies[column]:
                found[column].append((-gain, parent))
    parents = []
    for column, some in enumerate(found):
        order = [parent for _, parent in sorted(some)]
        kept = order[:_MAX_PARENTS]
        if not any(parent < column for parent in kept):
            kept += [parent for parent in order if parent < column][:1]
        parents.append(kept)
    return parents


def parent_table(classes: np.ndarray, parent: int, column: int, num_classes: Sequence[int]) -> np.ndarray:
    """Returns `log p(column | parent) - log p(column)`, nats, `[num_classes[parent], num_classes[column]]`.

    What was counted in `classes`, `[n, C]`, has some rows' worth of the column's shares added to it, as many as make
    the counts likeliest, so that a class of few rows says little (a Dirichlet-multinomial distribution; Heckerman,
    Geiger, Chickering, "Learning Bayesian Networks", Machine Learning, 1995).
    """
    counts = _counts(classes, parent, column, num_classes)
    shares, totals = _shares(counts), counts.sum(axis=1)
    prior = _likeliest(counts)[0]
    table: np.ndarray = np.log((counts / shares + prior) / (totals + prior)[:, np.newaxis])
    return table


def checked_parents(parents: Sequence[Sequence[int]] | None, num_classes: Sequence[int]) -> list[list[int]]:
    """Returns of each column its parents; None is none.

    Raises:
        ValueError: If there is not one list a column, or one names a column twice, itself, or one that does not exist.
    """
    columns = len(num_classes)
    found = [[] for _ in range(columns)] if parents is None else [[int(one) for one in few] for few in parents]
    if len(found) != columns or any(
        len(set(few)) != len(few) or not set(few) <= set(range(columns)) - {column} for column, few in enumerate(found)
    ):
        raise ValueError(f"parents must list some of the other columns for each of {columns}, got {parents}.")
    return found


def _likely_pairs(classes: np.ndarray, num_classes: Sequence[int], least: float) -> Iterator[tuple[int, int]]:
    """Pairs of columns whose mutual information is a share of the entropy of one of them.

    Few rows overstate it, by about half a row for each pair of classes that is seen (Miller, 1955).
    """
    entropies = np.array([_entropy(np.bincount(column)) for column in classes.T])
    starts, sizes = np.cumsum([0, *num_classes]), np.asarray(num_classes)
    for first in range(1, len(num_classes)):
        width = starts[first]
        cells = classes[:, [first]].astype(np.int64) * width + classes[:, :first] + starts[:first]
        counts = np.bincount(cells.ravel(), minlength=num_classes[first] * width).reshape(-1, width)
        joint = np.add.reduceat(special.entr(counts / len(classes)).sum(axis=0), starts[:first])
        seen = np.add.reduceat((counts > 0).sum(axis=0), starts[:first]) - sizes[first] - sizes[:first] + 1
        information = entropies[first] + entropies[:first] - joint - np.maximum(seen, 0) / (2 * len(classes))
        is_likely = information > least * np.minimum(entropies[first], entropies[:first])
        for second in np.flatnonzero(is_likely).tolist():
            if num_classes[first] * num_classes[second] <= _MAX_CELLS:
                yield first, second


def _counts(classes: np.ndarray, first: int, second: int, num_classes: Sequence[int]) -> np.ndarray:
    sizes = num_classes[first], num_classes[second]
    cells = classes[:, first].astype(np.int64) * sizes[1] + classes[:, second]
    return np.bincount(cells, minlength=sizes[0] * sizes[1]).reshape(sizes)


def _entropy(counts: np.ndarray) -> float:
    return float(special.entr(counts / counts.sum()).sum())


def _shares(counts: np.ndarray) -> np.ndarray:
    shares = counts.sum(axis=0) + 0.1
    return np.asarray(shares / shares.sum())


def _likeliest(counts: np.ndarray) -> tuple[float, float]:
    """The rows' worth of shares that make a table's counts likeliest, and by how many nats they are likelier so."""
    shares, totals = _shares(counts), counts.sum(axis=1)
    cells = np.nonzero(counts)
    found, expected = counts[cells], shares[cells[1]]
    gains = [
        np.sum(special.gammaln(prior) - special.gammaln(totals + prior))
        + np.sum(special.gammaln(found + prior * expected) - special.gammaln(prior * expected))
        for prior in _PRIORS
    ]
    best = int(np.argmax(gains))
    return float(_PRIORS[best]), float(gains[best] - np.sum(found * np.log(expected)))
