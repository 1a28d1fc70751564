"""Standardisation goes there and back, and says by how much it changes a density."""

import numpy as np
import pytest

from pipelines import AugmentError
from pipelines.tables.encoding import Standardisation, dequantise
from pipelines.tables.schema import Column, Schema

SCHEMA = Schema((Column("a", "float"), Column("k", "constant", value="x"), Column("b", "integer", 0)))


@pytest.fixture
def values():
    return np.random.default_rng(0).normal([1e6, -3.0], [0.01, 40.0], (500, 2))


@pytest.fixture
def encoding(values):
    return Standardisation.learn(values, SCHEMA)


def test_encoded_columns_have_mean_zero_and_variance_one(values, encoding):
    encoded = encoding.encode(values)
    assert encoded.dtype == np.float32
    # Each of the 500 values is off by at most half a float32 epsilon of 3; the mean is no worse.
    np.testing.assert_allclose(encoded.mean(axis=0, dtype=np.float64), 0, atol=2e-7)
    np.testing.assert_allclose(encoded.std(axis=0, dtype=np.float64), 1, atol=4e-7)


def test_decode_undoes_encode_to_the_accuracy_of_float32(values, encoding):
    encoded = encoding.encode(values)
    # Half an epsilon of the encoded value, in data units, and a few float64 roundings of the value itself.
    allowed = encoding.scale * np.abs(encoded) * np.finfo(np.float32).eps / 2 + 4 * np.spacing(np.abs(values))
    assert (np.abs(encoding.decode(encoded) - values) <= allowed).all()


def test_log_det_is_the_logarithm_of_the_numerical_derivative(values, encoding):
    step = 4 * encoding.scale  # the map is linear, so a long step is as true as a short one, and rounds less
    slopes = (encoding.encode(values + step).astype(float) - encoding.encode(values - step)) / (2 * step)
    # Two float32 values below 8, their difference 8: relative error at most an epsilon, for each of two columns.
    np.testing.assert_allclose(np.log(slopes).sum(axis=1), encoding.log_det, rtol=0, atol=2 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("bad", [[1e308, -1e308, 1e308], [0.0, 1e-160, 0.0], [5.0, 5.0, 5.0]])
def test_a_spread_that_float64_cannot_hold_is_refused_by_name(bad):
    values = np.stack([[1.0, 2.0, 4.0], bad], axis=1)
    with pytest.raises(AugmentError, match="column 'b': its values are too large or too close together"):
        Standardisation.learn(values, SCHEMA)


def test_json_keeps_every_bit(values, encoding):
    again = Standardisation.from_json(encoding.to_json())
    np.testing.assert_array_equal(again.mean, encoding.mean)
    np.testing.assert_array_equal(again.scale, encoding.scale)


# Dequantisation.


@pytest.fixture
def lattice():
    """Values of three columns: hundredths, integers, and one without a lattice."""
    schema = Schema((Column("h", "float", 2, 2), Column("i", "integer", 0), Column("f", "float")))
    rng = np.random.default_rng(1)
    return schema, np.stack([rng.integers(-500, 500, 4000) / 100, rng.poisson(5, 4000), rng.normal(size=4000)], axis=1)


def test_dequantised_values_stay_within_half_a_step_and_round_back(lattice):
    schema, values = lattice
    noisy = dequantise(values, schema, np.random.default_rng(0))
    half_steps = np.array([0.005, 0.5, 0.0])
    assert (np.abs(noisy - values) <= half_steps * (1 + 1e-9)).all()
    np.testing.assert_array_equal(np.round(noisy[:, 0], 2), values[:, 0])
    np.testing.assert_array_equal(np.rint(noisy[:, 1]), values[:, 1])
    np.testing.assert_array_equal(noisy[:, 2], values[:, 2])


def test_dequantisation_fills_the_whole_step(lattice):
    """Noise narrower than the step would leave gaps for the flow to model."""
    schema, values = lattice
    moved = (dequantise(values, schema, np.random.default_rng(0)) - values)[:, :2] / [0.01, 1.0]
    # Uniform on [-1/2, 1/2]: variance 1/12; the standard error of 4,000 draws is 1/12 * sqrt(0.8 / 4000) = 0.0012.
    np.testing.assert_allclose(moved.var(axis=0), 1 / 12, atol=0.005)


def test_dequantisation_follows_its_generator(lattice):
    schema, values = lattice
    first, again, other = (dequantise(values, schema, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first[:, :2] != other[:, :2]).mean() > 0.99
