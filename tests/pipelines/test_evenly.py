"""Each row by itself is as random as an independent one; together rows are evener."""

import itertools

import numpy as np
import pytest
from scipy import special, stats
from scipy.stats import qmc

from pipelines.engines import evenly


def draw(seed, rows, num_uniforms, num_normals):
    return evenly.draw(np.random.default_rng(seed), rows, num_uniforms, num_normals)


def cubes(seed, rows, columns):
    """Points in the unit cube, the Gaussian numbers among them as the uniform ones that they came of."""
    uniforms, normals = draw(seed, rows, columns // 2, columns - columns // 2)
    return np.hstack([uniforms, special.ndtr(normals.astype(np.float64))])


def test_the_numbers_follow_the_seed():
    for first, second in zip(draw(3, 1000, 2, 3), draw(3, 1000, 2, 3), strict=True):
        np.testing.assert_array_equal(first, second)
    for first, second in zip(draw(3, 1000, 2, 3), draw(4, 1000, 2, 3), strict=True):
        assert (first != second).mean() > 0.99


@pytest.mark.parametrize("sizes", [(0, 0), (3, 0), (0, 1), (1, 1), (2, 5), (65, 3), (63, 4), (10, 100)])
@pytest.mark.parametrize("rows", [1, 2, 100, 1025])
def test_shapes_dtypes_and_ranges(rows, sizes):
    uniforms, normals = draw(0, rows, *sizes)
    assert (uniforms.shape, normals.shape) == ((rows, sizes[0]), (rows, sizes[1]))
    assert uniforms.dtype == normals.dtype == np.float32
    assert ((uniforms >= 0) & (uniforms < 1)).all()
    assert np.isfinite(normals).all()


def test_the_directions_are_scipy_s():
    size = 14
    points = (qmc.Sobol(64, scramble=False).random(1 << size) * (1 << size)).astype(int)
    own = np.zeros((1, 64), int)
    for direction in evenly._directions():
        own = np.concatenate([own, own ^ direction])
    order = np.arange(1 << size)
    np.testing.assert_array_equal(own[order ^ order >> 1], points)  # SciPy's are in the order of Gray's code


@pytest.mark.parametrize("row", [0, 1, 700])
def test_each_row_is_distributed_as_if_it_were_the_only_one(row):
    found = np.array([cubes(seed, 1024, 5)[row] for seed in range(2000)])
    for column in found.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    for first, second in itertools.combinations(found.T, 2):
        cells = np.histogram2d(first, second, bins=4, range=[(0, 1), (0, 1)])[0]
        assert stats.chisquare(cells.ravel()).pvalue > 1e-4


def test_a_block_has_a_number_in_each_cell_of_each_uniform_column():
    uniforms, _ = draw(1, evenly.MAX_ROWS, 4, 4)
    for column in uniforms.T:
        # float32 rounds a few of those near 1 into the next cell.
        counts = np.bincount((column.astype(np.float64) * 4096).astype(int), minlength=4096)
        assert np.abs(counts - 4).max() <= 1


@pytest.mark.parametrize("columns", [2, 8, 15, 33, 64])
def test_any_two_columns_are_even_in_64_cells_of_any_shape(columns):
    """Also in the first group of rows alone."""
    rows = min(evenly.MAX_ROWS, 128 << (columns - 1).bit_length())
    points = evenly._points(np.random.default_rng(2), evenly.MAX_ROWS, columns)[:rows]
    for first, second in itertools.combinations(range(columns), 2):
        for a in range(7):
            cell = (points[:, first] * (1 << a)).astype(int) << (6 - a) | (points[:, second] * (64 >> a)).astype(int)
            np.testing.assert_array_equal(np.bincount(cell, minlength=64), rows // 64)


@pytest.mark.parametrize("rows", [evenly.MAX_ROWS, 5000])
def test_means_are_nearer_to_the_truth_than_those_of_independent_rows(rows):
    """By how much depends on the function; this one needs four numbers at once."""
    errors = []
    for seed in range(30):
        uniforms, normals = draw(seed, rows, 2, 2)
        errors.append((uniforms.prod(axis=1) * np.exp(normals.sum(axis=1) / 4)).mean() - 0.25 * np.exp(1 / 16))
    independent = 0.25 * np.exp(1 / 16) * np.sqrt(((4 / 3) ** 2 * np.exp(1 / 8) - 1) / rows)
    assert np.sqrt(np.mean(np.square(errors))) < independent / (8 if rows == evenly.MAX_ROWS else 1.5)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(30)


def test_neighbours_know_nothing_of_each_other():
    """In the sequence itself the second number is half a unit from the first."""
    uniforms, normals = draw(5, evenly.MAX_ROWS, 3, 4)
    for column in np.hstack([uniforms, normals]).T:
        for distance in (1, 2, 4):
            correlation = np.corrcoef(column[:-distance], column[distance:])[0, 1]
            assert abs(correlation) < 5 / np.sqrt(evenly.MAX_ROWS)


def test_gaussian_numbers_are_gaussian_into_their_tails():
    normals = np.concatenate([draw(seed, evenly.MAX_ROWS, 1, 3)[1] for seed in range(20)]).ravel()
    for bound in (1.0, 2.0, 3.0, 4.0):
        expected = 2 * stats.norm.sf(bound) * len(normals)
        assert abs((np.abs(normals) > bound).sum() - expected) < 5 * np.sqrt(expected)
    assert 4.2 < np.abs(normals).max() < 6.5
    assert abs(np.corrcoef(draw(0, evenly.MAX_ROWS, 0, 2)[1].T)[0, 1]) < 0.01
