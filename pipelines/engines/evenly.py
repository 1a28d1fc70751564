"""The random numbers that a block of rows is made of: evenly spread, instead of independent from row to row."""

from __future__ import annotations

import functools
import pathlib

import numpy as np

__all__ = ["MAX_ROWS", "draw"]

_BITS = 14
MAX_ROWS = 1 << _BITS
# With more columns some pairs of Sobol's are not even; what is beyond is independent.
_MAX_COLUMNS = 64
# With so many rows for each column, any two columns are even in 64 cells of any shape at least.
_ROWS_PER_COLUMN = 128
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def draw(rng: np.random.Generator, rows: int, num_uniforms: int, num_normals: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers that are uniform in [0, 1), and standard Gaussian ones, float32 `[rows, num_...]`.

    Each row is distributed as if it were the only one, its numbers are independent of each other. Rows together are
    more even than independent ones, so means over them are nearer to what they stand for (Owen, 1997, "Scrambled net
    variance for integrals of smooth functions").

    Args:
        rng: Where all that is random comes from.
        rows: How many, at most `MAX_ROWS`.
        num_uniforms: How many numbers of each are uniform.
        num_normals: How many are Gaussian.
    """
    even_uniforms = min(num_uniforms, _MAX_COLUMNS)
    even_normals = min(num_normals, (_MAX_COLUMNS - even_uniforms) // 2 * 2)
    points = _points(rng, rows, even_uniforms + even_normals + even_normals % 2)
    uniforms = rng.random((rows, num_uniforms), dtype=np.float32)
    uniforms[:, :even_uniforms] = np.minimum(points[:, :even_uniforms].astype(np.float32), _BELOW_ONE)
    normals = rng.standard_normal((rows, num_normals), dtype=np.float32)
    # Two Gaussian numbers of two uniform ones (Box & Muller, 1958); float32 would cut the tails of the radius.
    radius = np.sqrt(-2.0 * np.log1p(-points[:, even_uniforms::2])).astype(np.float32)
    angle = (2.0 * np.pi * points[:, even_uniforms + 1 :: 2]).astype(np.float32)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    normals[:, :even_normals] = pairs.reshape(rows, -1)[:, :even_normals]
    return uniforms, normals


def _points(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Points in the unit cube, float64 `[rows, columns]`.

    They are the first ones of Sobol' with the direction numbers of Joe & Kuo (2008), scrambled by a random triangular
    map of each column's digits and a random shift (Matousek, 1998, "On the L2-discrepancy for anchored boxes"), with
    random digits behind those. Each group of rows is even by itself; within it the order is random, as neighbours in
    the sequence are far apart.
    """
    places = rng.random((rows, columns))
    if not columns:
        return places
    size = (rows - 1).bit_length()
    digits = rng.integers(MAX_ROWS, size=(1, columns), dtype=np.uint16)
    for direction in _scrambled_directions(rng, columns)[:size]:
        digits = np.concatenate([digits, digits ^ direction])
    group = min(1 << size, _ROWS_PER_COLUMN << (columns - 1).bit_length())
    order = rng.permuted(np.arange(1 << size).reshape(-1, group), axis=1).ravel()
    places += digits[order[:rows]]
    places /= MAX_ROWS
    return places


def _scrambled_directions(rng: np.random.Generator, columns: int) -> np.ndarray:
    """Direction numbers, uint16 `[bits, columns]`, each column's digits mapped by a triangle of random ones."""
    triangles = np.tril(rng.integers(2, size=(columns, _BITS, _BITS)), -1) + np.eye(_BITS, dtype=int)
    numbers = _directions()[:, :columns]
    weights = 1 << np.arange(_BITS)[::-1]
    digits = np.einsum("cij,kcj->kci", triangles, (numbers[..., np.newaxis] & weights) > 0) % 2
    found: np.ndarray = (digits @ weights).astype(np.uint16)
    return found


@functools.cache
def _directions() -> np.ndarray:
    """Sobol's direction numbers, int `[bits, columns]`."""
    numbers: np.ndarray = np.loadtxt(pathlib.Path(__file__).with_name("sobol.csv"), dtype=int, delimiter=",").T
    return numbers
