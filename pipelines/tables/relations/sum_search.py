"""Finds which columns of numbers are weighted sums of others, to their rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.tables.relations.relation import MAX_INPUTS
from pipelines.tables.relations.simple_numbers import simple_numbers

__all__ = ["find_sums"]

_MAX_WAYS = 3  # of solving one for a column
_NEARLY = 1e-5  # of a column's standard deviation: what an exact sum may leave of it
_ROUNDED = 3.0  # times a column's rounding, that of up to 20 others as fine and its own may leave
_BESIDE = 1.2  # times a column's rounding, what the best fit may be off by where the true sum is off by it once


def find_sums(
    table: np.ndarray, allowed: Sequence[np.ndarray], is_few: Sequence[bool]
) -> Iterator[tuple[int, list[int], np.ndarray]]:
    """Yields what may be sums: a column, those it is of, and its constant and their weights.

    They are columns that are linearly dependent on those before them, in two orders: a total is found after its parts,
    narrow ones first, and what is narrow and rounded after what it is a share of.

    Args:
        table: The rows of columns that vary, float64 `[n, k]`.
        allowed: Of each column, what its numbers may be off by, `[n]`.
        is_few: Whether a column has few values.
    """
    if table.shape[1] < 2:
        return
    deviation = table.std(axis=0)
    for order in (np.argsort(deviation, kind="stable"), np.argsort(-deviation, kind="stable")):
        for members, noise in _dependent(order.tolist(), table, allowed):
            yield from _sums_of(members, table, allowed, is_few, noise)


def _dependent(
    order: Sequence[int], table: np.ndarray, allowed: Sequence[np.ndarray]
) -> Iterator[tuple[list[int], float]]:
    """Columns, the last of which depends on the others, before it in an order, but for some noise (Gram-Schmidt)."""
    deviation = table.std(axis=0)
    centred = (table - table.mean(axis=0)) / deviation
    basis, upper = np.empty((len(table), 0)), np.empty((0, 0))  # of the columns kept: basis @ upper
    kept: list[int] = []
    for place in order:
        rest, parts = centred[:, place], np.zeros(len(kept))
        for _ in range(2):  # once more for what rounding left
            further = basis.T @ rest
            rest, parts = rest - basis @ further, parts + further
        norm = float(np.linalg.norm(rest)) / math.sqrt(len(table))
        precision = float(allowed[place].max() / deviation[place])
        if kept and norm <= max(_NEARLY, _ROUNDED * precision):
            weights = np.linalg.solve(upper, parts)
            noise = 1e-9 + 10 * norm / math.sqrt(len(table))
            members = [kept[index] for index in np.flatnonzero(np.abs(weights) > noise)]
            if 0 < len(members) <= MAX_INPUTS["sum"]:
                yield [*members, place], noise
        if norm > _NEARLY:
            length = norm * math.sqrt(len(table))
            basis = np.column_stack([basis, rest / length])
            upper = np.block([[upper, parts[:, None]], [np.zeros((1, len(kept))), length]])
            kept.append(place)


def _sums_of(
    members: Sequence[int], table: np.ndarray, allowed: Sequence[np.ndarray], is_few: Sequence[bool], noise: float
) -> Iterator[tuple[int, list[int], np.ndarray]]:
    """Columns that are linearly dependent but for some noise, each as a sum of the others, the best ways first.

    A total follows from its parts, as these would be negative now and then if they followed from it; and a column of
    few values does not follow if another can, as there are few numbers it can be.
    """
    *inputs, last = members
    members = [*_needed(inputs, last, table, allowed)[0], last]
    ways = []
    for target in reversed(members):
        inputs = sorted(set(members) - {target})
        design = np.column_stack([np.ones(len(table)), table[:, inputs]])
        found = np.linalg.lstsq(design, table[:, target], rcond=None)[0]
        ways.append((is_few[target], int((found[1:] < 0).sum()), target, inputs))
    for *_, target, inputs in sorted(ways, key=lambda way: way[:2])[:_MAX_WAYS]:
        inputs, found = _needed(inputs, target, table, allowed)
        columns, deviation = table[:, inputs], table[:, target].std()
        error = np.std(found[0] + columns @ found[1:] - table[:, target]) / deviation
        scales = np.r_[1.0, columns.std(axis=0)] / deviation
        # Of prices that end with 99 cents, taxes are rounded alike, which is no noise.
        widest = float(allowed[target].max()) / deviation
        for numbers in simple_numbers(found, scales, widest, max(noise, 10 * error / math.sqrt(len(table)))):
            used = np.flatnonzero(numbers[1:])  # a weight may be nothing but for what rounding left
            if len(used):
                yield target, [inputs[place] for place in used], numbers[[0, *(1 + used)]]


def _needed(
    inputs: Sequence[int], target: int, table: np.ndarray, allowed: Sequence[np.ndarray]
) -> tuple[list[int], np.ndarray]:
    """The inputs of a sum that it needs, and its constant and their weights.

    Of what rounding left of a column, others that have nothing to do with it explain a little, and cancel each other:
    those without which the sum is right to the rounding are left away.
    """
    wanted, close = table[:, target], _BESIDE * allowed[target]
    columns = np.column_stack([np.ones(len(table)), table[:, inputs]])
    scaled = columns / np.linalg.norm(columns, axis=0)
    kept = list(range(columns.shape[1]))
    is_less = True
    while is_less:
        is_less = False
        inverse = np.linalg.pinv(scaled[:, kept].T @ scaled[:, kept])
        weights = inverse @ (scaled[:, kept].T @ wanted)
        errors = np.sqrt(weights**2 / np.diag(inverse) / len(wanted))  # that much more without each
        for index in np.argsort(errors).tolist():
            rest = kept[:index] + kept[index + 1 :]
            if errors[index] > close.max():
                break
            if not any(rest):
                continue
            found = np.linalg.lstsq(scaled[:, rest], wanted, rcond=None)[0]
            if (np.abs(scaled[:, rest] @ found - wanted) <= close).all():
                kept, is_less = rest, True
                break
    numbers = np.zeros(columns.shape[1])
    numbers[kept] = np.linalg.lstsq(columns[:, kept], wanted, rcond=None)[0]
    chosen = [index for index in kept if index]
    return [inputs[index - 1] for index in chosen], numbers[[0, *chosen]]
