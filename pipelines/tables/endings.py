"""The last digits of numbers, where some come again: whole thousands, halves of hundreds, 99 cents."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import TEXTS, check_object, up_to

__all__ = ["OTHERS", "Endings"]

OTHERS = "others"
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
_CHECKS = {"suffixes": TEXTS, "origin": up_to(_LARGEST), "step": up_to(_LARGEST), "per_unit": up_to(_LARGEST)}


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
    """

    suffixes: tuple[str, ...]
    origin: int
    step: int
    per_unit: int

    @classmethod
    def learn(cls, numbers: np.ndarray, step: float, per_unit: float) -> Endings | None:
        """Learns from numbers; None if all last digits are about as frequent.

        Args:
            numbers: Finite, float64 `[n]` with n > 0.
            step: The numbers are whole multiples of this, apart from what the first of them is beside one.
            per_unit: So many times each number is a whole one.
        """
        size = round(step * per_unit)
        if not size or len(numbers) < _MIN_ROWS or np.abs(numbers).max() * per_unit >= _LARGEST:
            return None
        whole = np.rint(numbers * per_unit).astype(np.int64)
        found = cls((), int(whole[0] % size), size, int(per_unit))
        whole = whole[:: math.ceil(len(whole) / _MAX_LOOKED_AT)]
        options = list(found._frequent(whole))
        gained = 0.0
        while len(found.suffixes) < _MAX_ENDINGS:
            phases = found._phases(whole)
            gains = {suffix: found._gain(suffix, whole, phases) for suffix in options if suffix not in found.suffixes}
            best = max(gains, key=lambda suffix: gains[suffix], default="")
            if not best or gains[best] < max(_LEAST_GAIN, _LEAST_NATS / len(whole)):
                break
            gained += gains[best]
            found = dataclasses.replace(found, suffixes=(*found.suffixes, best))
        return found if gained >= _LEAST_GAIN_OF_ALL else None

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

    def _gain(self, suffix: str, whole: np.ndarray, phases: np.ndarray) -> float:
        """By how many nats a row is likelier if an ending is told apart, with its share in every other period."""
        own = self._parent(suffix)
        more = dataclasses.replace(self, suffixes=(*self.suffixes, suffix))
        rest = more._share_of(len(self.suffixes)) / self._share_of(own)
        has_it = phases == own
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
        return (*(f"*{suffix}" for suffix in self.suffixes), OTHERS)

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

    def cells(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the edges, float64 `[n]`, of the cells of numbers, half the way to the next of their endings."""
        whole = self._whole(numbers)
        phases = self._phases(whole)
        below, above = self._next(whole - 1, phases, -1), self._next(whole + 1, phases, 1)
        return (below + whole) / (2 * self.per_unit), (whole + above) / (2 * self.per_unit)

    def spread(self, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns numbers moved at random within their cells, float64 `[n]`; those far beyond stay."""
        below, above = self.cells(numbers)
        spread = below + (above - below) * rng.random(numbers.shape)
        return np.where(self._have_digits(numbers), spread, numbers)

    def log_widths(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the logarithms of how many times as wide as a step the cells of numbers are, float64 `[n]`."""
        below, above = self.cells(numbers)
        found: np.ndarray = np.log((above - below) * self.per_unit / self.step)
        return found

    def nearest(self, places: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Returns the numbers, float64 `[n]`, in whose cells places are, NaN where a cell is without an ending.

        Args:
            places: float64 `[n]`; those far beyond what was seen stay as they are.
            phases: The classes of their endings, int32 `[n, 1]`.
        """
        own, others = phases[:, 0], len(self.suffixes)
        is_near = self._have_digits(places)
        exact = np.where(is_near, places, 0.0) * self.per_unit
        below = self._next(np.floor(exact).astype(np.int64), np.minimum(own, others), -1)
        above = self._next(below + 1, np.minimum(own, others), 1)
        found = np.where(exact - below <= above - exact, below, above) / self.per_unit
        return np.where(own <= others, np.where(is_near, found, places), np.nan)

    def _next(self, whole: np.ndarray, phases: np.ndarray, sign: int) -> np.ndarray:
        """The first numbers from others on, up or down, that have an ending; all integers `[n]`."""
        found = whole.copy()
        for phase in np.unique(phases).tolist():
            rows = np.flatnonzero(phases == phase)
            first, period = self._progression(phase)
            found[rows] = first + sign * -(-sign * (whole[rows] - first) // period) * period
            while len(rows := rows[self._phases(found[rows]) != phase]):  # those of longer endings
                found[rows] += sign * period
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
        return dataclasses.asdict(self) | {"suffixes": list(self.suffixes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Endings:
        """Returns the endings that `to_json` wrote.

        Raises:
            AugmentError: If it is none, or a class has no numbers.
        """
        check_object("endings", value, _CHECKS)
        found = cls(tuple(value["suffixes"]), value["origin"], value["step"], value["per_unit"])
        is_right = 0 < len(found.suffixes) <= _MAX_ENDINGS and found.step > 0 and found.per_unit > 0
        if not is_right or not all(_is_suffix(suffix) for suffix in found.suffixes):
            raise AugmentError("endings have no digits, or no step")
        if (
            min(map(found._share_of, range(len(found.suffixes) + 1))) <= 1e-12
            or found.step > _LARGEST / 10**_MAX_DIGITS
        ):
            raise AugmentError("there are no numbers of an ending")
        return found


def _is_suffix(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
