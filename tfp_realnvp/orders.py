"""What networks know of classes that lie in an order, such as those of a rating, before they are trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["checked_orders", "initial_embeddings", "polynomials"]

_NUM_POWERS = 10  # what is left out is below 1e-6


def checked_orders(num_ordered: Sequence[int] | None, num_classes: Sequence[int]) -> list[int]:
    """Returns of each column how many of its first classes lie in an order; None is none.

    Raises:
        ValueError: If there is not one number a column, or one is not among 0, ..., `num_classes[j]`.
    """
    orders = [0] * len(num_classes) if num_ordered is None else [int(count) for count in num_ordered]
    if len(orders) != len(num_classes) or any(
        not 0 <= ordered <= count for ordered, count in zip(orders, num_classes, strict=True)
    ):
        raise ValueError(
            f"num_ordered must say of each column how many of its {list(num_classes)} classes lie in an order, "
            f"got {orders}."
        )
    return orders


def initial_embeddings(
    num_classes: Sequence[int], size: int, num_ordered: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Returns standard Gaussian vectors, `[sum(num_classes), size]`, column after column.

    Those of classes in an order are values of smooth random functions of the class: draws of a Gaussian process with a
    squared exponential kernel as wide as the order is long (Rasmussen and Williams, Gaussian Processes for Machine
    Learning, 2006, equation 2.31). So networks start with what is learnt of a class holding for its neighbours too.
    """
    values = rng.normal(size=[sum(num_classes), size])
    first = 0
    for count, ordered in zip(num_classes, num_ordered, strict=True):
        if ordered:
            # exp(-(s - t)^2 / 2) = sum_k phi_k(s) phi_k(t): Taylor's series of exp(s t).
            places = np.arange(ordered)[:, np.newaxis] / ordered
            powers = np.arange(_NUM_POWERS)
            features = np.exp(-0.5 * places**2) * places**powers / np.sqrt([math.factorial(k) for k in powers])
            values[first : first + ordered] = features @ rng.normal(size=[_NUM_POWERS, size])
        first += count
    return values


def polynomials(num_classes: Sequence[int], num_ordered: Sequence[int], degree: int) -> np.ndarray:
    """Returns orthonormal polynomials in the place of a class, without the constant: `[C, max(num_classes), degree]`.

    They are zeros at classes in no order, and where a column has too few in an order for a degree.
    """
    found = np.zeros([len(num_classes), max(num_classes), degree])
    for column, ordered in enumerate(num_ordered):
        if ordered > 1:
            powers = np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, ordered), min(degree, ordered - 1))
            found[column, :ordered, : powers.shape[1] - 1] = np.linalg.qr(powers)[0][:, 1:]
    return found
