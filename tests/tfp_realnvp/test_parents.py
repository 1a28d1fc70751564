"""Which columns tell much of which, and the tables of what they tell."""

import numpy as np
import pytest

from tfp_realnvp import AutoregressiveCategorical, strong_parents
from tfp_realnvp.parents import parent_table


def table_of(rows, seed=0, exceptions=0.05):
    """A code of 40 classes, its group of 8 but for exceptions, a coin, and a column that the coin biases a little."""
    rng = np.random.default_rng(seed)
    code, coin = rng.integers(0, 40, rows), rng.integers(0, 2, rows)
    group = np.where(rng.random(rows) < exceptions, rng.integers(0, 8, rows), code // 5)
    biased = np.where(rng.random(rows) < 0.6, coin, 1 - coin)
    return np.stack([code, coin, group, biased], axis=1), [40, 2, 8, 2]


def test_what_tells_much_of_a_column_is_its_parent():
    assert strong_parents(*table_of(2_000)) == [[2], [], [0], []]


def test_few_rows_show_no_parents():
    # 60 rows of 30 and 30 classes: whatever is seen with what, by chance, says all of it there, and nothing of others.
    rng = np.random.default_rng(0)
    assert strong_parents(rng.integers(0, 30, [60, 2]), [30, 30]) == [[], []]


def test_of_many_rows_some_are_looked_at():
    assert strong_parents(*table_of(50_000)) == [[2], [], [0], []]


def test_rows_may_be_in_an_order():
    classes, sizes = table_of(15_000)
    assert strong_parents(classes[np.lexsort(classes.T)], sizes) == [[2], [], [0], []]
    assert strong_parents(classes[np.argsort(classes[:, 0])], sizes) == [[2], [], [0], []]


def test_a_weaker_parent_is_kept_if_it_is_the_first_before_the_column():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 4_000)
    noisy = [np.where(rng.random(4_000) < 0.02 * later, rng.integers(0, 4, 4_000), first) for later in (3, 0, 0, 0, 0)]
    classes = np.stack(noisy, axis=1)
    assert strong_parents(classes, [4] * 5)[1] in ([2, 3, 4, 0], [2, 4, 3, 0], [3, 2, 4, 0])


def test_the_share_of_the_entropy_can_be_chosen():
    classes, sizes = table_of(5_000)
    assert strong_parents(classes, sizes, least=0.01) == [[2], [3], [0], [1]]
    assert strong_parents(classes, sizes, least=0.9) == [[], [], [], []]


def test_with_a_table_each_class_has_shares_that_sum_to_one():
    classes, sizes = table_of(300)
    shares = (np.bincount(classes[:, 2], minlength=8) + 0.1) / (300 + 0.8)
    table = parent_table(classes, 0, 2, sizes)
    assert table.shape == (40, 8)
    np.testing.assert_allclose((shares * np.exp(table)).sum(axis=1), 1, rtol=1e-12)


def test_with_many_rows_a_table_is_what_was_counted():
    classes, sizes = table_of(200_000)
    counts = np.zeros(sizes[0:3:2])
    np.add.at(counts, (classes[:, 0], classes[:, 2]), 1)
    expected = np.log(counts / counts.sum(axis=1, keepdims=True)) - np.log(counts.sum(axis=0) / counts.sum())
    assert np.abs(parent_table(classes, 0, 2, sizes) - expected).max() < 0.05  # a cell has some 30 rows or 4,700


def test_of_columns_that_say_nothing_of_each_other_a_table_says_nothing():
    rng = np.random.default_rng(0)
    table = parent_table(rng.integers(0, 5, [2_000, 2]), 0, 1, [5, 5])
    assert np.abs(table).max() < 0.1  # counted, shares would differ by a tenth: 400 rows of a class, 80 of each other


def test_a_class_without_rows_has_the_shares_of_all():
    classes, sizes = table_of(1_000)
    table = parent_table(classes, 0, 2, [41, *sizes[1:]])
    np.testing.assert_allclose(table[40], 0, atol=1e-12)


@pytest.mark.parametrize("parents", [[[1]], [[0], []], [[1, 1], []], [[2], []], [[-1], []]], ids=str)
def test_parents_are_other_columns(parents):
    with pytest.raises(ValueError, match="parents must list some of the other columns for each of 2"):
        AutoregressiveCategorical([2, 3], parents=parents)
