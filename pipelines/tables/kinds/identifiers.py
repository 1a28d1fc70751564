r"""Identifiers of new rows, made anew: no two new rows share one, and none is copied from the source.

`Column.identifier` says how:

- `{"kind": "sequence", "start": 1, "step": 1, "width": 6, "prefix": "ID-", "suffix": "", "count": 5000}` goes on where
  the source's `count` rows ended: row i has `prefix`, the number `start + step * (count + i)` with zeros to `width`
  digits, `suffix`. Only `start` is needed. A source that counts down to its last row is gone on with above its first.
- `{"kind": "uuid"}` gives random UUIDs of version 4 (RFC 9562, section 5.4); `"upper": true` in capitals.
- `{"kind": "pattern", "pattern": "AA-9999"}` puts a capital for each A, a small letter for each a, a digit for each 9,
  a hexadecimal digit for each h, or H in capitals; the rest stays, and so does what follows a backslash. Row i has the
  i-th identifier of a random order of all there are, so that no two rows share one until all are used up. A short
  pattern may give one that the source has too.

Row i has the same identifier however the rows are divided into batches. Another seed gives other UUIDs and another
order.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import FLAG, STEP, TEXT, WHOLE, check_entries, text_up_to, up_to
from pipelines.tables.schema import Column
from pipelines.tables.texts.arrays import fixed_width, from_numpy, scalar

__all__ = ["ALPHABETS", "is_plain_sequence", "make_identifiers"]

_BLOCK_ROWS = 4096
_ROUNDS = 8
_LARGEST = 1 << 62
_MAX_LITERAL, _MAX_PATTERN = 1_000, 200  # characters
# The narrower come first: a place of a pattern has the first that fits.
ALPHABETS = {
    "9": string.digits,
    "A": string.ascii_uppercase,
    "a": string.ascii_lowercase,
    "h": string.digits + "abcdef",
    "H": string.digits + "ABCDEF",
}
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint8).reshape(256, 2)
_UUID_DASHES = (8, 13, 18, 23)
_CHECKS = {
    "sequence": {
        "kind": TEXT,
        "start": WHOLE,
        "step": STEP,
        "width": up_to(100),
        "prefix": text_up_to(_MAX_LITERAL),
        "suffix": text_up_to(_MAX_LITERAL),
        "count": WHOLE,
    },
    "uuid": {"kind": TEXT, "upper": FLAG},
    "pattern": {"kind": TEXT, "pattern": text_up_to(_MAX_PATTERN)},
}


def make_identifiers(column: Column, first_index: int, num_rows: int, seed: int) -> pa.Array:
    """Returns the identifiers of new rows as texts.

    Args:
        column: An identifier column.
        first_index: The number of the first row among all new ones, from 0.
        num_rows: How many.
        seed: As for the rows; each column has its own identifiers of it.

    Raises:
        AugmentError: If the column does not say how, or in a way that cannot be followed, or has too few identifiers
            for so many rows.
    """
    how = column.identifier or {}
    kind = str(how.get("kind"))
    if kind not in _CHECKS or (kind == "pattern" and "pattern" not in how):
        raise AugmentError(
            f"column {column.name!r}: identifiers cannot be made from {dict(how)}; kinds are sequence, uuid and "
            "pattern, which needs a pattern."
        )
    check_entries(f"column {column.name!r}: its identifier", how, _CHECKS[kind])
    if kind == "sequence":
        return _sequence(column, how, first_index, num_rows)
    # The noise of the rows has the seed alone as its key; the second word keeps them apart, and columns too.
    digest = hashlib.sha256(column.name.encode()).digest()
    key = seed | int.from_bytes(digest[:8], "little") << 64
    if kind == "uuid":
        return _uuids(first_index, num_rows, key, upper=how.get("upper", False))
    return _patterned(column, how["pattern"], first_index, num_rows, key)


def is_plain_sequence(column: Column) -> bool:
    """Whether the identifiers are numbers with nothing around them, so that Parquet may hold them as integers."""
    how = column.identifier or {}
    return how.get("kind") == "sequence" and not (how.get("prefix") or how.get("suffix") or how.get("width"))


def _sequence(column: Column, how: Mapping[str, Any], first_index: int, num_rows: int) -> pa.Array:
    start, step, done = how.get("start", 1), how.get("step", 1), how.get("count", 0)
    first = start + step * (done + first_index)
    last = first + step * max(num_rows - 1, 0)
    if max(abs(first), abs(last), abs(step)) >= 1 << 63:
        raise AugmentError(f"column {column.name!r}: its numbers do not go on to {last}, beyond 64 bits.")
    numbers = first + step * np.arange(num_rows, dtype=np.int64)
    width, prefix, suffix = how.get("width", 0), how.get("prefix", ""), how.get("suffix", "")
    if width and num_rows and min(first, last) < 0:
        text = pc.utf8_lpad(pc.cast(from_numpy(np.abs(numbers)), pa.string()), width, "0")
        sign = pc.if_else(pc.less(from_numpy(numbers), scalar(0)), scalar("-"), scalar(""))
        text = pc.binary_join_element_wise(sign, text, scalar(""))
    else:
        text = pc.cast(from_numpy(numbers), pa.string())
        text = pc.utf8_lpad(text, width, "0") if width else text
    if prefix or suffix:
        text = pc.binary_join_element_wise(scalar(prefix), text, scalar(suffix), scalar(""))
    return text


def _uuids(first_index: int, num_rows: int, key: int, *, upper: bool) -> pa.Array:
    raw = _random_words(first_index, num_rows, key, 2).view(np.uint8).reshape(num_rows, 16)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40  # version 4
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80  # variant 1
    digits = _HEX[raw].reshape(num_rows, 32)
    text = np.full((num_rows, 36), ord("-"), np.uint8)
    text[:, [place for place in range(36) if place not in _UUID_DASHES]] = digits
    array = fixed_width(text)
    return pc.ascii_upper(array) if upper else array


def _random_words(first_index: int, num_rows: int, key: int, words: int) -> np.ndarray:
    """Random words, uint64, `[num_rows, words]`: the row's block is the highest word of Philox's counter."""
    if not num_rows:
        return np.empty((0, words), np.uint64)
    blocks = range(first_index // _BLOCK_ROWS, (first_index + num_rows - 1) // _BLOCK_ROWS + 1)
    drawn = [np.random.Philox(key=key, counter=[0, 0, 0, block]).random_raw(words * _BLOCK_ROWS) for block in blocks]
    start = first_index - blocks[0] * _BLOCK_ROWS
    return np.concatenate(drawn).reshape(-1, words)[start : start + num_rows]


def _patterned(column: Column, pattern: str, first_index: int, num_rows: int, key: int) -> pa.Array:
    symbols = _symbols(pattern)
    places = [(place, ALPHABETS[symbol]) for place, (symbol, is_drawn) in enumerate(symbols) if is_drawn]
    capacity = 1
    for _, alphabet in places:
        capacity *= len(alphabet)
    if first_index + num_rows > capacity:
        raise AugmentError(
            f"column {column.name!r}: the pattern {pattern!r} has {capacity:,} identifiers, fewer than there are new "
            "rows. Give it a longer pattern in the schema, or leave the column out."
        )
    text = [symbol for symbol, _ in symbols]
    drawn: dict[int, np.ndarray] = {}
    halves: tuple[list[tuple[int, str]], list[tuple[int, str]]] = ([], [])
    sizes = [1, 1]
    rest = []
    for place, alphabet in places:
        half = 0 if sizes[0] <= sizes[1] else 1
        if sizes[half] * len(alphabet) > _LARGEST:
            rest.append((place, alphabet))
            continue
        sizes[half] *= len(alphabet)
        halves[half].append((place, alphabet))
    index = np.arange(first_index, first_index + num_rows, dtype=np.uint64)
    numbers = _permuted(index, sizes[0], sizes[1], key)
    for number, half_places in zip(numbers, halves, strict=True):
        for place, alphabet in reversed(half_places):
            number, digit = np.divmod(number, np.uint64(len(alphabet)))
            drawn[place] = digit
    for place, alphabet in rest:  # the others are enough to tell rows apart
        drawn[place] = _mixed(index, key, _ROUNDS + place) % np.uint64(len(alphabet))
    alphabets = dict(places)
    pieces = []
    for place, symbol in enumerate(text):
        if place in drawn:
            characters = np.frombuffer(alphabets[place].encode(), np.uint8)
            pieces.append(characters[drawn[place].astype(np.int64)][:, None])
        else:
            literal = np.frombuffer(symbol.encode(), np.uint8)
            pieces.append(np.broadcast_to(literal, (num_rows, len(literal))))
    return fixed_width(np.concatenate(pieces, axis=1) if pieces else np.empty((num_rows, 0), np.uint8))


def _symbols(pattern: str) -> Sequence[tuple[str, bool]]:
    """The characters of a pattern, and whether each stands for an alphabet."""
    symbols = []
    is_literal = False
    for character in pattern:
        if character == "\\" and not is_literal:
            is_literal = True
            continue
        symbols.append((character, not is_literal and character in ALPHABETS))
        is_literal = False
    return symbols


def _permuted(index: np.ndarray, left_size: int, right_size: int, key: int) -> tuple[np.ndarray, np.ndarray]:
    """A random permutation of the pairs below `left_size` and `right_size`, at the places `index`.

    A Feistel network whose halves add modulo their sizes (Black and Rogaway, 2002, "Ciphers with arbitrary finite
    domains", section 5): each round adds to one half what a hash of the other half gives, which can be undone.
    """
    left, right = np.divmod(index, np.uint64(right_size))
    for number in range(_ROUNDS):
        if number % 2:
            right = (right + _mixed(left, key, number) % np.uint64(right_size)) % np.uint64(right_size)
        else:
            left = (left + _mixed(right, key, number) % np.uint64(left_size)) % np.uint64(left_size)
    return left, right


def _mixed(numbers: np.ndarray, key: int, number: int) -> np.ndarray:
    """A hash of numbers, uint64 (the finaliser of SplitMix64: Steele et al., 2014, figure 16)."""
    words = np.random.Philox(key=key, counter=[number, 0, 0, 1 << 63]).random_raw(2)
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + words[0]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: np.ndarray = (mixed ^ (mixed >> np.uint64(31))) ^ words[1]
    return result
