"""Each row by itself is as random as an independent one; together rows are evener."""

import itertools

import numpy as np
import pytest
from scipy import special, stats
from scipy.stats import qmc

from pipelines.engines import evenly


def draw(seed, rows, num_uniforms, num_normals, **options):
    return evenly.draw(np.random.default_rng(seed), rows, num_uniforms, num_normals, **options)


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


def test_each_scramble_is_another_triangle():
    """A shift alone would leave the distances between points the same."""
    first, second = (evenly._scrambled_directions(np.random.default_rng(seed), 5) for seed in (0, 1))
    assert (first != second).mean() > 0.9
    # The highest digit of each direction stays, so each interval of a column keeps its number of points.
    for scrambled in (first, second):
        np.testing.assert_array_equal(np.log2(scrambled).astype(int), np.log2(evenly._directions()[:, :5]).astype(int))


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize(("rows", "row"), [(1, 0), (3, 0), (3, 2), (1024, 700)])
def test_each_row_is_distributed_as_if_it_were_the_only_one(rows, row, even):
    found = []
    for seed in range(2000):
        uniforms, normals = draw(seed, rows, 2, 3, even=even)
        found.append(np.hstack([uniforms, special.ndtr(normals.astype(np.float64))])[row])
    for column in np.transpose(found):
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    for first, second in itertools.combinations(np.transpose(found), 2):
        cells = np.histogram2d(first, second, bins=4, range=[(0, 1), (0, 1)])[0]
        assert stats.chisquare(cells.ravel()).pvalue > 1e-4


def test_a_block_has_a_number_in_each_cell_of_each_column():
    points = evenly._points(np.random.default_rng(1), evenly.MAX_ROWS, 8)
    for column in (points * evenly.MAX_ROWS).astype(int).T:
        np.testing.assert_array_equal(np.sort(column), np.arange(evenly.MAX_ROWS))


def is_even(points):
    """Whether any two columns are, in 64 cells of any shape."""
    for first, second in itertools.combinations(points.T, 2):
        for a in range(7):
            cells = (first * (1 << a)).astype(int) << (6 - a) | (second * (64 >> a)).astype(int)
            if np.ptp(np.bincount(cells, minlength=64)):
                return False
    return True


@pytest.mark.parametrize("columns", [2, 4, 8, 15, 16, 32, 33, 64])
def test_any_two_columns_are_even_in_the_first_group_of_rows_and_not_in_half_of_it(columns):
    group = evenly._ROWS_PER_COLUMN << (columns - 1).bit_length()
    points = evenly._points(np.random.default_rng(2), evenly.MAX_ROWS, columns)
    assert is_even(points[:group])
    assert not is_even(points[: group // 2])


def test_numbers_beyond_the_64_th_are_independent_and_the_others_stay_even():
    uniforms, normals = draw(0, evenly.MAX_ROWS, 60, 10)
    gaussian = special.ndtr(normals.astype(np.float64))
    for column in [*uniforms.T[::10], *gaussian.T[:4]]:
        assert np.ptp(np.bincount((column * 64).astype(int), minlength=64)) <= 2  # float32 rounds over an edge
    for column in gaussian.T[4:]:
        assert np.ptp(np.bincount((column * 64).astype(int), minlength=64)) > 20
    assert draw(0, 100, 70, 3)[1].shape == (100, 3)


def test_independent_rows_are_not_even():
    uniforms, normals = draw(0, evenly.MAX_ROWS, 3, 3, even=False)
    for column in np.hstack([uniforms, special.ndtr(normals.astype(np.float64))]).T:
        counts = np.bincount((column * 64).astype(int), minlength=64)
        assert stats.chisquare(counts).pvalue > 1e-4
        assert np.ptp(counts) > 20


def test_quantiles_are_scipy_s(monkeypatch):
    shares = np.r_[2.0**-54, 1e-12, np.linspace(1e-6, 1 - 1e-6, 10_001), 1 - 2.0**-53]
    found, expected = evenly._quantiles(shares), special.ndtri(shares)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    # And nothing is infinite, or 1, at the ends of what points can be.
    monkeypatch.setattr(evenly, "_points", lambda _, rows, columns: np.full((rows, columns), 1 - 2.0**-53))
    uniforms, normals = draw(0, 4, 1, 1)
    assert (uniforms < 1).all()
    assert (normals > 8).all()
    assert np.isfinite(normals).all()


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


def test_neighbours_know_hardly_anything_of_each_other():
    """In the sequence itself the second number is half a unit from the first. -1 / (group - 1) is left."""
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
    assert abs(np.corrcoef(draw(0, evenly.MAX_ROWS, 0, 2)[1].T)[0, 1]) < 0.001
