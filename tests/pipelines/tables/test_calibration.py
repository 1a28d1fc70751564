"""New rows have the table's margins, whatever the flow makes of noise."""

import dataclasses
import statistics

import numpy as np
import pandas as pd
import pytest

from pipelines.engines.local import Sampler
from pipelines.storage.model_file import read_model
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.numbers.calibration import calibrated, holds_quantiles, quantiles_of

ROWS = 20_000
SHARES = [statistics.NormalDist().cdf(score) for score in np.arange(-2.5, 2.6, 0.25)]
MADE = {
    "narrow": lambda z: 0.6 * z + 0.3,
    "skewed": lambda z: np.exp(0.3 * z),
    "two humps": lambda z: z + 1.5 * np.tanh(3 * z),
}


def normals(seed, rows=ROWS):
    return np.random.default_rng(seed).standard_normal(rows)


def distance(scores):
    """Of Kolmogorov and Smirnov, to the standard Gaussian."""
    shares = np.array([statistics.NormalDist().cdf(score) for score in np.sort(scores).tolist()])
    return np.abs(shares - (np.arange(len(shares)) + 0.5) / len(shares)).max()


def uncalibrated(model):
    columns = [dataclasses.replace(column, made=()) for column in model.encoding.columns]
    return dataclasses.replace(model, encoding=Encoding(tuple(columns)))


@pytest.mark.parametrize("name", MADE)
def test_other_rows_of_the_same_flow_become_gaussian(name):
    quantiles = quantiles_of(MADE[name](normals(0)).astype(np.float32))
    others = MADE[name](normals(1))
    assert distance(others) > 0.1
    assert distance(calibrated(others, quantiles)) < 0.02  # twice what 20,000 rows differ by from as many others


@pytest.mark.parametrize("name", MADE)
def test_it_is_increasing_and_a_shift_beyond_the_quantiles(name):
    quantiles = quantiles_of(MADE[name](normals(0)))
    places = np.linspace(quantiles[0] - 3, quantiles[-1] + 3, 1000)
    found = calibrated(places, quantiles)
    assert (np.diff(found) > 0).all()
    assert found[0] == pytest.approx(-2.5 - 3)
    assert found[-1] == pytest.approx(2.5 + 3)


def test_scores_get_the_quantiles_of_the_table_s_own():
    """Between the knots of a margin these are Gaussian only nearly."""
    own = normals(0) + 0.3 * np.sin(4 * normals(0))
    made = 0.6 * normals(1) + 0.3
    found = calibrated(made, quantiles_of(made), quantiles_of(own))
    assert quantiles_of(found) == pytest.approx(quantiles_of(own), abs=0.01)
    assert quantiles_of(calibrated(made, quantiles_of(made))) != pytest.approx(quantiles_of(own), abs=0.1)


def test_what_a_table_has_is_learnt_where_cells_are_numbers():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": rng.standard_normal(3_000), "b": rng.standard_normal(3_000), "c": ["x", "y", "z"] * 1_000}
    )
    frame.loc[:2_499, "b"] = np.nan
    source = read_source(frame)
    schema = infer_schema(source)
    encoding = Encoding.learn(source, schema, rng)
    encoding = encoding.learn_own([encoding.encode(source, schema, rng)])
    assert [len(column.own) for column in encoding.columns] == [21, 0, 0]  # 500 numbers are too few
    assert encoding.columns[0].own == pytest.approx(np.arange(-2.5, 2.6, 0.25), abs=0.05)
    assert [column.own for column in Encoding.from_json(encoding.to_json()).columns] == [
        column.own for column in encoding.columns
    ]


def test_what_cannot_tell_leaves_scores_alone():
    for made in (normals(0, rows=999), np.zeros(ROWS), np.full(ROWS, np.nan)):
        assert quantiles_of(made) == ()
    np.testing.assert_array_equal(calibrated(np.float32([-1, 7]), ()), [-1.0, 7.0])


def test_a_score_that_is_no_number_says_nothing():
    made = normals(0)
    assert quantiles_of(np.r_[made, np.nan, np.full(400, np.inf)]) == quantiles_of(made)


def test_quantiles_increase_and_are_of_a_number_and_size():
    quantiles = np.array(quantiles_of(normals(0)))
    assert holds_quantiles(quantiles)
    for wrong in (quantiles[1:], quantiles[::-1], 0 * quantiles, 1e300 * quantiles, np.nan * quantiles):
        assert not holds_quantiles(wrong)


@pytest.mark.slow
def test_new_rows_have_the_margins_of_the_table(visits_model):
    """Trained for 150 steps, the flow makes scores that are not Gaussian."""
    model = read_model(visits_model)
    raw, mapped = (Sampler(one).block(3, 0) for one in (uncalibrated(model), model))
    for column in model.encoding.continuous:
        assert holds_quantiles(column.made)
        distances = []
        for cells in (raw, mapped):
            part = cells[column.name]
            numbers = part.values if part.codes is None else part.values[part.codes == column.levels.index(None)]
            spread = column.margin.spread(numbers, np.random.default_rng(0))
            below = np.searchsorted(np.sort(column.margin.encode(spread)), column.own) / len(spread)
            distances.append(np.abs(below - SHARES).max())
        assert distances[1] < 0.01  # of blocks of 9,296 numbers and more
        assert distances[1] < distances[0]


def test_an_older_model_is_not_calibrated(visits_model):
    model = read_model(visits_model)
    scores = np.random.default_rng(0).standard_normal((10, len(model.encoding.continuous))).astype(np.float32)
    np.testing.assert_array_equal(uncalibrated(model).encoding.calibrated(scores), scores)
    assert (model.encoding.calibrated(scores) != scores).mean() > 0.9
    entries = [
        {key: value for key, value in entry.items() if key not in ("made", "own")} for entry in model.encoding.to_json()
    ]
    assert {column.made + column.own for column in Encoding.from_json(entries).columns} == {()}
