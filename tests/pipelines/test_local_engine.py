"""Blocks of rows depend on seed and number alone, and the graphs in a model file say what its TFP flow says."""

import itertools

import numpy as np
import pytest

from pipelines.engines.local import BLOCK_ROWS, Graph, blocks, noise
from pipelines.model_file import read_model

# Float32 accuracy: a hundred machine epsilons, for some sixty operations in a row; 2 were measured.
ACCURACY = 100 * np.finfo(np.float32).eps


def assert_accurate(actual, expected):
    allowed = ACCURACY * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=allowed)


# Noise.


def test_noise_is_standard_gaussian():
    draws = noise(0, 0, 4)
    assert draws.shape == (BLOCK_ROWS, 4)
    assert draws.dtype == np.float32
    # Five standard errors of 65,536 draws: 5 / 256 for the mean, sqrt(2) times that for the variance.
    np.testing.assert_allclose(draws.mean(), 0, atol=0.02)
    np.testing.assert_allclose(draws.var(), 1, atol=0.028)
    np.testing.assert_allclose(np.corrcoef(draws.T), np.eye(4), atol=5 / np.sqrt(BLOCK_ROWS))


def test_noise_follows_seed_and_block():
    np.testing.assert_array_equal(noise(5, 3, 2), noise(5, 3, 2))
    assert (noise(5, 3, 2) != noise(6, 3, 2)).mean() > 0.99
    assert (noise(5, 3, 2) != noise(5, 4, 2)).mean() > 0.99


def test_no_run_of_draws_stands_in_two_blocks():
    """With the block's number in a lower word of the counter, neighbours share all but one draw, shifted."""
    runs = [set(map(bytes, np.lib.stride_tricks.sliding_window_view(noise(0, k, 2).ravel(), 4))) for k in range(3)]
    # Four float32 draws agree by chance in some 1e-28 of all pairs of runs.
    for first, second in itertools.combinations(runs, 2):
        assert not first & second


@pytest.mark.parametrize("block", [1, 2, 1000])
def test_the_number_of_a_block_is_the_highest_word_of_the_counter(block):
    """So each block has 2**192 steps of the counter to itself."""
    far = np.random.Philox(key=9).advance(block << 192)
    expected = np.random.Generator(far).standard_normal((BLOCK_ROWS, 3), dtype=np.float32)
    np.testing.assert_array_equal(noise(9, block, 3), expected)


# Graphs.


@pytest.fixture(params=["moons_model", "orders_model"])
def model(request):
    return read_model(request.getfixturevalue(request.param))


def test_the_sampler_is_the_flow_forward(model, flow_in):
    z = noise(1, 0, len(model.schema.modelled))[:2000]
    assert_accurate(Graph(model, "sampler.tflite")(z), flow_in(model.path).bijector.forward(z).numpy())


def test_the_scorer_is_the_log_density_of_the_flow(model, flow_in):
    x = 1.5 * noise(2, 0, len(model.schema.modelled))[:2000]
    assert_accurate(Graph(model, "scorer.tflite")(x), flow_in(model.path).log_prob(x).numpy())


def test_the_number_of_rows_changes_no_row(model):
    graph = Graph(model, "sampler.tflite")
    z = noise(3, 0, len(model.schema.modelled))[:100]
    whole = graph(z)
    assert_accurate(graph(z[:7]), whole[:7])
    assert_accurate(graph(z[40:41]), whole[40:41])
    np.testing.assert_array_equal(graph(z), whole)


# Blocks.


@pytest.mark.parametrize("num_rows", [1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 5])
def test_blocks_are_of_one_size_but_the_last(orders_model, num_rows):
    sizes = [block.shape for block in blocks(read_model(orders_model), num_rows, 0)]
    assert sum(rows for rows, _ in sizes) == num_rows
    assert {columns for _, columns in sizes} == {4}
    assert {rows for rows, _ in sizes[:-1]} <= {BLOCK_ROWS}


def test_a_block_is_its_noise_through_the_flow_in_data_units(model):
    sampler = Graph(model, "sampler.tflite")
    for number, rows in enumerate(blocks(model, BLOCK_ROWS + 10, 4)):
        expected = model.encoding.decode(sampler(noise(4, number, rows.shape[1])))
        assert rows.dtype == np.float64
        np.testing.assert_array_equal(rows, expected[: len(rows)])


def test_fewer_rows_are_the_first_of_more(model):
    few = np.concatenate(list(blocks(model, 100, 5)))
    many = np.concatenate(list(blocks(model, BLOCK_ROWS + 100, 5)))
    np.testing.assert_array_equal(few, many[:100])
