"""Numbers that a column of few values could hold as well: each counts as the nearest of the values that were seen.

The class of value k stands for it with probability 1 - e_k. With e_k it stands for the points of the column's
lattice that were not seen and are nearer to it than to another value, the lower one of two as near; the first and
the last class also stand for those beyond. The points in between have equal shares; the j-th one beyond has (1 - r)
r^(j - 1), with an r that puts them a tenth of the values' range away on average. Where there are points of both
sorts, each has half of e_k. So every point of the lattice has a probability, and all of them together have one.

With e_k = 1 / (n_k + 1) for n_k cells of the value, the values not seen have about as many rows as there are values
seen.

References:
    Ian Witten, Timothy Bell. The Zero-Frequency Problem. IEEE Transactions on Information Theory 37(4), 1991,
    method C.
"""

from __future__ import annotations

import numpy as np

__all__ = ["nearest_seen", "unseen_shares"]

_EXACT = 2.0**53  # float64 has no whole steps beyond
# Of a step, or of the number of steps: what a number may be off its lattice, which float32 has to seven digits.
_TOLERANCE = 1e-6
_FARTHEST_OFF = 0.25
_BEYOND = 0.1  # of the range


def unseen_shares(values: np.ndarray, counts: np.ndarray, step: float) -> np.ndarray:
    """Returns e_k, float64 `[K]`, 0 where no point of the lattice is left for the class; `[0]` if there is no lattice.

    Args:
        values: What was seen, `[K]`, increasing.
        counts: How many cells hold each, `[K]`.
        step: What the values are whole multiples of, or 0.
    """
    if not step or not len(values):
        return np.empty(0)
    places, is_on = _places(values, step)
    if not is_on.all() or not (np.diff(places) > 0).all():
        return np.empty(0)
    return np.where(_parts(_between(places)) > 0, 1.0 / (counts + 1.0), 0.0)


def nearest_seen(
    numbers: np.ndarray, values: np.ndarray, shares: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the place of the nearest value and the log of a number's share of its probability, nats, `[n]` each.

    Args:
        numbers: Finite numbers, `[n]`; the place of one that is off the lattice is -1.
        values: What was seen, `[K]`, increasing.
        shares: As `unseen_shares` gives them, `[K]`.
        step: What the values are whole multiples of.
    """
    seen, _ = _places(values, step)
    places, is_on = _places(numbers, step)
    nearest = np.searchsorted((seen[1:] + seen[:-1]) / 2, places)
    between = _between(seen)
    # Of a range of no steps, too, the next point but one has a share.
    mean = max(1.0, _BEYOND * (seen[-1] - seen[0]))
    steps = np.maximum(seen[0] - places, places - seen[-1])
    decay = (steps - 1) * np.log(mean / (mean + 1)) - np.log(mean + 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # where a value has no points beside it
        whole = np.log(shares / _parts(between))
        log_share = whole[nearest] + np.where(steps > 0, decay, -np.log(between)[nearest])
    log_share = np.where(places == seen[nearest], np.log1p(-shares)[nearest], log_share)
    is_on &= np.isfinite(log_share)
    return np.where(is_on, nearest, -1), np.where(is_on, log_share, 0.0)


def _places(values: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Values as numbers of steps, and whether they are whole."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values * np.rint(1 / step)
        places = np.rint(scaled)
        off = np.minimum(_FARTHEST_OFF, _TOLERANCE * np.maximum(1.0, np.abs(places)))
        is_on = (np.abs(places) < _EXACT) & (np.abs(scaled - places) <= off)
    return places, is_on


def _between(places: np.ndarray) -> np.ndarray:
    """How many points between the first and the last value are nearest to each, and none of the values."""
    gaps = np.diff(places)
    above = gaps // 2
    points: np.ndarray = np.r_[0.0, gaps - 1 - above] + np.r_[above, 0.0]
    return points


def _parts(between: np.ndarray) -> np.ndarray:
    """Into how many sorts of points each value's share goes: between the values, below the first, above the last."""
    parts = (between > 0).astype(np.float64)
    parts[0] += 1
    parts[-1] += 1
    return parts
