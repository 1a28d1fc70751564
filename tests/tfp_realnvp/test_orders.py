"""What networks know of an order of classes before they are trained."""

import numpy as np
import pytest

from tfp_realnvp.orders import checked_orders, initial_embeddings, polynomials


def test_vectors_of_ordered_classes_start_the_more_alike_the_nearer_they_are():
    size = 200_000
    values = initial_embeddings([2, 5], size, [0, 4], np.random.default_rng(0))
    places = np.arange(4) / 4
    expected = np.eye(7)
    expected[2:6, 2:6] = np.exp(-0.5 * (places[:, np.newaxis] - places) ** 2)
    np.testing.assert_allclose(values @ values.T / size, expected, atol=0.02)  # five standard errors or more


def test_ever_so_many_ordered_classes_take_no_table_of_pairs():
    values = initial_embeddings([1_000_000], 2, [1_000_000], np.random.default_rng(0))
    assert np.abs(np.diff(values, axis=0)).max() < 1e-4
    assert (values.std(axis=0) > 0.05).all()


def test_without_an_order_vectors_are_independent():
    expected = np.random.default_rng(0).normal(size=[5, 3])
    np.testing.assert_array_equal(initial_embeddings([2, 3], 3, [0, 0], np.random.default_rng(0)), expected)
    assert checked_orders(None, [2, 3]) == [0, 0]


@pytest.mark.parametrize("num_ordered", [[1], [3, 0], [-1, 0], [0, 0, 0]])
def test_orders_of_classes_that_are_not_there_are_refused(num_ordered):
    with pytest.raises(ValueError, match=r"how many of its \[2, 3\] classes lie in an order"):
        checked_orders(num_ordered, [2, 3])


def test_polynomials_are_orthonormal_and_add_nothing_to_all_ordered_classes_alike():
    found = polynomials([7, 4, 3, 2, 9], [6, 4, 0, 2, 1], 3)
    assert found.shape == (5, 9, 3)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-12)
    products = found.transpose(0, 2, 1) @ found
    degrees = [3, 3, 0, 1, 0]
    expected = [np.diag([1.0] * degree + [0.0] * (3 - degree)) for degree in degrees]
    np.testing.assert_allclose(products, expected, atol=1e-12)
    assert not found[0, 6:].any()
    steps = np.diff(found[0, :6, 0])
    np.testing.assert_allclose(steps, steps[0])  # the first is a straight line
