"""The random numbers that a block of rows is made of: evenly spread, instead of independent from row to row."""

from __future__ import annotations

import functools
import pathlib
import statistics

import numpy as np

__all__ = ["MAX_ROWS", "draw"]

_BITS = 14
MAX_ROWS = 1 << _BITS
# With more columns some pairs of Sobol's are not even; what is beyond is independent.
_MAX_COLUMNS = 64
# With so many rows for each column, any two columns are even in 64 cells of any shape at least (a test counts them).
_ROWS_PER_COLUMN = 128
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))
# Giles (2012), "Approximating the erfinv function", table 5: for shares between 0.0017 and 0.9983.
_CENTRE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
    0.246640727, 1.50140941,
)  # fmt: skip


def draw(
    rng: np.random.Generator, rows: int, num_uniforms: int, num_normals: int, *, even: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers that are uniform in [0, 1), and standard Gaussian ones, float32 `[rows, num_...]`.

    Each row is distributed as if it were the only one, its numbers are independent of each other. Rows together are
    more even than independent ones, so means over them are nearer to what they stand for (Owen, 1997, "Scrambled net
    variance for integrals of smooth functions").

    Args:
        rng: Where all that is random comes from.
        rows: How many, at most `MAX_ROWS`.
        num_uniforms: How many numbers of each are uniform.
        num_normals: How many are Gaussian.
        even: Whether rows are even together, or else independent of each other.
    """
    uniforms = rng.random((rows, num_uniforms), dtype=np.float32)
    normals = rng.standard_normal((rows, num_normals), dtype=np.float32)
    if even:
        even_uniforms = min(num_uniforms, _MAX_COLUMNS)
        even_normals = min(num_normals, _MAX_COLUMNS - even_uniforms)
        points = _points(rng, rows, even_uniforms + even_normals)
        uniforms[:, :even_uniforms] = np.minimum(points[:, :even_uniforms].astype(np.float32), _BELOW_ONE)
        normals[:, :even_normals] = _quantiles(points[:, even_uniforms:])
    return uniforms, normals


def _points(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Points in the unit cube, float64 `[rows, columns]`, none on its faces.

    They are the first ones of Sobol' with the direction numbers of Joe & Kuo (2008), scrambled by a random triangular
    map of each column's digits and a random shift (Matousek, 1998, "On the L2-discrepancy for anchored boxes"), with
    random digits behind those. Each group of rows is even by itself; within it the order is random, as neighbours in
    the sequence are far apart.
    """
    points = rng.random((rows, columns))
    if not columns:
        return points
    size = (rows - 1).bit_length()
    cells = rng.integers(MAX_ROWS, size=(1, columns), dtype=np.uint16)
    for direction in _scrambled_directions(rng, columns)[:size]:
        cells = np.concatenate([cells, cells ^ direction])
    group = min(1 << size, _ROWS_PER_COLUMN << (columns - 1).bit_length())
    order = rng.permuted(np.arange(1 << size).reshape(-1, group), axis=1).ravel()
    points += cells[order[:rows]]
    points /= MAX_ROWS
    return np.clip(points, 2.0**-54, 1 - 2.0**-53)


def _quantiles(shares: np.ndarray) -> np.ndarray:
    """The standard Gaussian's quantiles to float32's accuracy; importing SciPy's would take half of a short command."""
    w = -np.log(4.0 * shares * (1.0 - shares))
    in_tails = w >= 5.0
    quantiles: np.ndarray = np.sqrt(2.0) * np.polyval(_CENTRE, w - 2.5) * (2.0 * shares - 1.0)
    quantiles[in_tails] = [statistics.NormalDist().inv_cdf(share) for share in shares[in_tails].tolist()]
    return quantiles


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
