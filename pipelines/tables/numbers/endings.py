"""The last digits of numbers, where some come again: whole thousands, halves of hundreds, 99 cents."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import TEXTS, WHOLE, check_object, list_of, up_to

__all__ = ["Endings"]

_OTHERS = "others"
_NONE = np.empty(0)
_Neighbours = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
# So many endings are told apart at most, of so many digits, if each tells so many nats of a row and all of them more;
# fewer rows have any only if that is not by chance.
_MAX_ENDINGS, _MAX_DIGITS = 12, 9
_LEAST_GAIN, _LEAST_GAIN_OF_ALL = 0.01, 0.05
_LEAST_NATS = 10.0  # of all rows together
_MIN_ROWS = 300
# An ending is one that comes again: so many times in the middle nine tenths of the numbers.
_MIN_PERIODS = 10
_MIN_SHARE = 0.01  # of the rows that have it
_MAX_LOOKED_AT = 50_000  # rows
_LARGEST = 1 << 52
_MAX_TAKEN = 64
_CHECKS = {
    "suffixes": TEXTS,
    "origin": up_to(_LARGEST),
    "step": up_to(_LARGEST),
    "per_unit": up_to(_LARGEST),
    "low": WHOLE,
    "high": WHOLE,
    "support": list_of(WHOLE),
    "taken": list_of(WHOLE),
}


@dataclasses.dataclass(frozen=True)
class Endings:
    """Which last digits come again, as people round numbers (heaping: Heitjan and Rubin, 1990) and set prices.

    A number is its ending, which is a class, and a place that goes on: any that is nearer to it than to the next
    numbers of its ending, which are its cell. The cells of an ending fill the line, so that going back, each place
    has a number, and probabilities sum to one.

    Attributes:
        suffixes: The endings by their digits, such as "000" or "99". A number has the longest of them that it ends
            with, counted in its last decimal and from below if it is negative, or is one of the others.
        origin: All numbers are so many more, in the last decimal, ...
        step: ... than whole multiples of this.
        per_unit: What a unit counts in the last decimal.
        low: The least number there was, in the last decimal.
        high: The greatest.
        support: The numbers that there were, if there are to be no others; else empty.
        taken: Numbers that are none, of those that would be: they are classes of their own, or were never there.
    """

    suffixes: tuple[str, ...]
    origin: int
    step: int
    per_unit: int
    low: int = -_LARGEST
    high: int = _LARGEST
    support: tuple[int, ...] = ()
    taken: tuple[int, ...] = ()

    @classmethod
    def learn(
        cls, numbers: np.ndarray, step: float, per_unit: float, *, taken: np.ndarray = _NONE, keep: bool = False
    ) -> Endings | None:
        """Learns from numbers; None if all last digits are about as frequent.

        Args:
            numbers: Finite, float64 `[n]` with n > 0.
            step: The numbers are whole multiples of this, apart from what the first of them is beside one.
            per_unit: So many times each number is a whole one.
            taken: Numbers that are classes of their own, float64 `[k]`.
            keep: Whether there are to be no other numbers than these.
        """
        per_unit = round(per_unit)
        size = round(step * per_unit)
        if not size or len(numbers) < _MIN_ROWS or np.abs(numbers).max() * per_unit >= _LARGEST:
            return None
        whole = np.rint(numbers * per_unit).astype(np.int64)
        distinct = np.unique(whole)
        taken = taken[np.abs(taken) < _LARGEST / per_unit]  # others are no numbers that a place could be near
        others = set(np.rint(taken * per_unit).astype(np.int64).tolist()) | ({0} - set(distinct.tolist()))
        found = cls(
            suffixes=(),
            origin=int(whole[0] % size),
            step=size,
            per_unit=per_unit,
            low=int(distinct[0]),
            high=int(distinct[-1]),
            support=tuple(distinct.tolist()) if keep else (),
            taken=tuple(sorted(others)),
        )
        whole = whole[:: math.ceil(len(whole) / _MAX_LOOKED_AT)]
        options = list(found._frequent(whole))
        gained = 0.0
        while len(found.suffixes) < _MAX_ENDINGS:
            phases = found._phases(whole)
            gains = {suffix: found._gain(suffix, whole, phases) for suffix in found._uneven(options, whole, phases)}
            best = max(gains, key=lambda suffix: gains[suffix], default="")
            if not best or gains[best] < max(_LEAST_GAIN, _LEAST_NATS / len(whole)):
                break
            gained += gains[best]
            found = dataclasses.replace(found, suffixes=(*found.suffixes, best))
        counts = np.bincount(found._phases(whole), minlength=len(found.suffixes))
        held = tuple(suffix for suffix, count in zip(found.suffixes, counts, strict=False) if count)
        return dataclasses.replace(found, suffixes=held) if gained >= _LEAST_GAIN_OF_ALL else None

    def _frequent(self, whole: np.ndarray) -> Iterator[str]:
        """The endings that rows enough have, and that come again."""
        width = np.subtract(*np.quantile(whole, (0.95, 0.05)))
        for digits in range(1, _MAX_DIGITS + 1):
            period = 10**digits
            if max(period, self.step) * _MIN_PERIODS > width:
                break
            ends, counts = np.unique(whole % period, return_counts=True)
            for end in ends[counts >= max(_MIN_SHARE * len(whole), 2 * _MIN_PERIODS)].tolist():
                yield f"{end:0{digits}d}"

    def _uneven(self, options: Sequence[str], whole: np.ndarray, phases: np.ndarray) -> Iterator[str]:
        """The endings that tell enough of the rows that their shares are taken from, which are found at once."""
        sizes = np.bincount(phases, minlength=len(self.suffixes) + 1)
        for digits in sorted(set(map(len, options))):
            period = 10**digits
            keys, counts = np.unique(phases.astype(np.int64) * period + whole % period, return_counts=True)
            held = dict(zip(keys.tolist(), counts.tolist(), strict=True))
            for suffix in (each for each in options if len(each) == digits and each not in self.suffixes):
                own = self._parent(suffix)
                share = held.get(own * period + int(suffix), 0) / max(sizes[own], 1)
                if share and (rest := self._rest(suffix)) < share:
                    told = share * math.log(share / rest)
                    told += (1 - share) * math.log((1 - share) / (1 - rest)) if share < 1 else 0.0
                    if told * sizes[own] / len(whole) >= _LEAST_GAIN:
                        yield suffix

    def _rest(self, suffix: str) -> float:
        """The share of an ending in the numbers of the class that it would be told apart from."""
        more = dataclasses.replace(self, suffixes=(*self.suffixes, suffix))
        return more._share_of(len(self.suffixes)) / self._share_of(self._parent(suffix))

    def _gain(self, suffix: str, whole: np.ndarray, phases: np.ndarray) -> float:
        """By how many nats a row is likelier if an ending is told apart, with its share in every other period."""
        has_it, rest = phases == self._parent(suffix), self._rest(suffix)
        if rest >= 1 - 1e-9:
            return 0.0
        period = 10 ** len(suffix)
        ends, half = whole[has_it] % period == int(suffix), whole[has_it] // period % 2
        gained = 0.0
        for part in (0, 1):
            theirs, here = ends[half != part], ends[half == part]
            share = (theirs.sum() + rest) / (len(theirs) + 1)
            if share <= rest:
                return 0.0
            gained += here.sum() * math.log(share / rest) + (~here).sum() * math.log((1 - share) / (1 - rest))
        return gained / len(whole)

    def _parent(self, digits: str) -> int:
        """The class of the numbers that end with digits, if these are no ending of their own."""
        known = [suffix for suffix in self.suffixes if digits.endswith(suffix) and digits != suffix]
        return self.suffixes.index(max(known, key=len)) if known else len(self.suffixes)

    def _share_of(self, phase: int) -> float:
        """Of the numbers there can be, how many are of a class."""
        digits = self.suffixes[phase] if phase < len(self.suffixes) else ""
        return self._share(digits) - sum(self._share(inner) for inner in self.suffixes if self._parent(inner) == phase)

    def _share(self, digits: str) -> float:
        """Of the numbers there can be, how many end with digits."""
        period = 10 ** len(digits)
        common = math.gcd(self.step, period)
        return common / period if (int(digits or 0) - self.origin) % common == 0 else 0.0

    @property
    def levels(self) -> tuple[str, ...]:
        """What the classes are called."""
        return (*(f"*{suffix}" for suffix in self.suffixes), _OTHERS)

    def phases(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the class of each number's ending, int32 `[n, 1]`."""
        return self._phases(self._whole(numbers))[:, np.newaxis]

    def _whole(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers in the last decimal, int64, 0 where they are too large to have one, or none."""
        near = np.where(self._have_digits(numbers), numbers, 0.0)
        whole: np.ndarray = np.rint(near * self.per_unit).astype(np.int64)
        return whole

    def _have_digits(self, numbers: np.ndarray) -> np.ndarray:
        """Which numbers float64 holds to the last decimal."""
        found: np.ndarray = np.abs(numbers) < _LARGEST / self.per_unit
        return found

    def _phases(self, whole: np.ndarray) -> np.ndarray:
        found = np.full(whole.shape, len(self.suffixes), np.int32)
        for suffix in sorted(self.suffixes, key=len):
            found[whole % 10 ** len(suffix) == int(suffix)] = self.suffixes.index(suffix)
        return found

    def were_seen(self, numbers: np.ndarray) -> np.ndarray:
        """Returns which numbers, bool `[n]`, may be in new rows, as far as only some may."""
        found: np.ndarray = np.isin(self._whole(numbers), self.support) if self.support else np.ones(len(numbers), bool)
        return found

    def spread(self, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns numbers moved at random within their cells, float64 `[n]`; those far beyond stay."""
        below, above = self.cells(numbers)
        spread = below + (above - below) * rng.random(numbers.shape)
        return np.where(self._have_digits(numbers), spread, numbers)

    def log_widths(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the logarithms of how many times as wide as a step the cells of numbers are, float64 `[n]`.

        Where there are to be no numbers but those of `support`, their cells are wider, but a part of them belongs to
        other numbers of the ending, which are not made, but scored.
        """
        below, above = self._cells(numbers, self._next)
        found: np.ndarray = np.log((above - below) * self.per_unit / self.step)
        return found

    def cells(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the edges, float64 `[n]`, of the cells of numbers, half the way to the next of their endings."""
        return self._cells(numbers, self._members)

    def _cells(self, numbers: np.ndarray, neighbours: _Neighbours) -> tuple[np.ndarray, np.ndarray]:
        """The edges, float64 `[n]`, of the cells of numbers, half the way to their neighbours."""
        whole = self._whole(numbers)
        phases = self._phases(whole)
        below, above = neighbours(whole - 1, phases, -1), neighbours(whole + 1, phases, 1)
        return (below + whole) / (2 * self.per_unit), (whole + above) / (2 * self.per_unit)

    def nearest(self, places: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Returns the numbers, float64 `[n]`, in whose cells places are, NaN where a cell is without an ending.

        A place between the least and the greatest number that was seen has the nearest of its ending between these.

        Args:
            places: float64 `[n]`; those too large to have a last decimal stay as they are.
            phases: The classes of their endings, int32 `[n, 1]`.
        """
        own, is_near = np.minimum(phases[:, 0], len(self.suffixes)), self._have_digits(places)
        exact = np.where(is_near, places, 0.0) * self.per_unit
        whole = np.floor(exact).astype(np.int64)
        below, above = self._members(whole, own, -1), self._members(whole + 1, own, 1)
        found = np.where(exact - below <= above - exact, below, above)
        is_inside = (self.low <= exact) & (exact <= self.high)
        least, most = self._ends[own].T
        found = np.where(is_inside, np.clip(found, least, most), found) / self.per_unit
        return np.where(phases[:, 0] <= len(self.suffixes), np.where(is_near, found, places), np.nan)

    @property
    def _ends(self) -> np.ndarray:
        """The least and the greatest number of each class that new rows may have, int64 `[C, 2]`."""
        every = np.arange(len(self.suffixes) + 1)
        ends = [self._next(np.full(len(every), end), every, sign) for end, sign in ((self.low, 1), (self.high, -1))]
        support = np.array(self.support, np.int64)
        of_support = self._phases(support)
        for phase in np.unique(of_support).tolist():
            known = support[of_support == phase]
            ends[0][phase], ends[1][phase] = known[0], known[-1]
        return np.stack(ends, axis=1)

    def _members(self, whole: np.ndarray, phases: np.ndarray, sign: int) -> np.ndarray:
        """As `_next`, of the numbers that new rows may have; beyond the last of them, one that is as far as another."""
        found = self._next(whole, phases, sign)
        support = np.array(self.support, np.int64)
        of_support = self._phases(support)
        for phase in np.unique(phases).tolist() if self.support else ():
            known, rows = support[of_support == phase], np.flatnonzero(phases == phase)
            if len(known) > 1:  # of an ending that was hardly there, any
                known = np.r_[2 * known[0] - known[1], known, 2 * known[-1] - known[-2]]
                place = np.searchsorted(known, whole[rows], side="left" if sign > 0 else "right") - (sign < 0)
                is_between = (place >= 0) & (place < len(known))
                found[rows[is_between]] = known[place[is_between]]
        return found

    def _next(self, whole: np.ndarray, phases: np.ndarray, sign: int) -> np.ndarray:
        """The first numbers from others on, up or down, that have an ending; all integers `[n]`."""
        found = whole.copy()
        for phase in np.unique(phases).tolist():
            rows = np.flatnonzero(phases == phase)
            first, period = self._progression(phase)
            found[rows] = first + sign * -(-sign * (whole[rows] - first) // period) * period
            while len(rows := rows[self._are_none(found[rows], phase)]):
                found[rows] += sign * period
        return found

    def _are_none(self, whole: np.ndarray, phase: int) -> np.ndarray:
        """Which numbers that end with the digits of a class are of a longer ending, or classes of their own."""
        found: np.ndarray = (self._phases(whole) != phase) | np.isin(whole, self.taken)
        return found

    def _progression(self, phase: int) -> tuple[int, int]:
        """The first of all numbers from `origin` on with the digits of a class, and how far apart they are."""
        digits = self.suffixes[phase] if phase < len(self.suffixes) else ""
        period = 10 ** len(digits)
        common = math.gcd(self.step, period)
        inverse = pow(self.step // common, -1, period // common)
        steps = (int(digits or 0) - self.origin) // common * inverse % (period // common)
        return self.origin + self.step * steps, math.lcm(self.step, period)

    def to_json(self) -> dict[str, Any]:
        """Returns the endings as a JSON value."""
        lists = {name: list(getattr(self, name)) for name in ("suffixes", "support", "taken")}
        return dataclasses.asdict(self) | lists

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Endings:
        """Returns the endings that `to_json` wrote.

        Raises:
            AugmentError: If it is none, or a class has no numbers.
        """
        check_object("endings", value, _CHECKS)
        lists = {name: tuple(value[name]) for name in ("suffixes", "support", "taken")}
        found = cls(**dict(value) | lists)
        is_right = 0 < len(found.suffixes) <= _MAX_ENDINGS and found.step > 0 and found.per_unit > 0
        if not is_right or not all(_is_suffix(suffix) for suffix in found.suffixes):
            raise AugmentError("endings have no digits, or no step")
        shares = [found._share_of(phase) for phase in range(len(found.suffixes) + 1)]
        if min(shares) <= 1e-12 or found.step > _LARGEST / 10**_MAX_DIGITS:
            raise AugmentError("there are no numbers of an ending")
        ends = (found.low, *found.support, found.high)
        is_in_order = (
            all(one <= other for one, other in itertools.pairwise(ends)) and len({*ends[1:-1]}) == len(ends) - 2
        )
        if not is_in_order or max(map(abs, (*ends, *found.taken))) > _LARGEST or len(found.taken) > _MAX_TAKEN:
            raise AugmentError("the numbers of endings have no order, or are too many or too large")
        return found


def _is_suffix(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
