"""How many new rows of each class balance a column, in imbalanced-learn's words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.errors import UsageError

__all__ = ["STRATEGIES", "apportioned", "new_rows"]

STRATEGIES = ("auto", "not majority", "minority", "not minority", "all")


def new_rows(counts: Mapping[str, int], strategy: str | float) -> dict[str, int]:
    """Returns the number of new rows of each class after which the classes are balanced.

    As in imbalanced-learn's over-sampling, every class that is resampled gets as many rows as the most frequent one:
    with "auto" and "not majority" all but that one, with "minority" the rarest only, with "not minority" all but the
    rarest, with "all" all. Of several rarest classes the first by name counts as the rarest. A number is the ratio, of
    two classes, that the rarer then has to the other, rounded down to whole rows.

    Args:
        counts: The rows each class has.
        strategy: One of `STRATEGIES` or a number in (0, 1].

    Raises:
        UsageError: If it is none of them, or a ratio is asked of more than two classes or is already reached.
    """
    most, rarest = max(counts.values()), min(sorted(counts), key=lambda name: counts[name])
    if isinstance(strategy, str):
        if strategy not in STRATEGIES:
            raise UsageError(f"{strategy!r} is no way to balance; use {', '.join(STRATEGIES)} or a ratio such as 0.5.")
        chosen = {"minority": {rarest}, "not minority": set(counts) - {rarest}}.get(strategy, set(counts))
        return {name: most - count if name in chosen else 0 for name, count in counts.items()}
    if len(counts) != 2:
        raise UsageError(f"a ratio balances two classes; there are {len(counts)}: {', '.join(counts)}.")
    if not 0 < strategy <= 1:
        raise UsageError(f"the ratio must be above 0 and at most 1, got {strategy:g}.")
    more = int(strategy * most - counts[rarest])
    if more <= 0:
        raise UsageError(f"the ratio is {counts[rarest] / most:.3g} already; for {strategy:g} there is nothing to add.")
    return {name: more if name == rarest else 0 for name in counts}


def apportioned(rows: int, shares: Mapping[str, int]) -> dict[str, int]:
    """Returns how many of the rows each class gets: as its share says, the largest remainders rounded up.

    Args:
        rows: How many there are.
        shares: Of each class, in proportion; not all are 0.
    """
    quotas = rows * np.array(list(shares.values()), np.float64) / sum(shares.values())
    whole = np.floor(quotas).astype(int)
    order = np.argsort(whole - quotas, kind="stable")
    whole[order[: rows - whole.sum()]] += 1
    return dict(zip(shares, whole.tolist(), strict=True))
