"""A column becomes standard Gaussian and comes back: exactly on a lattice, to rounding without one."""

import dataclasses
import datetime
import itertools
import json

import numpy as np
import pytest
from scipy import stats

from pipelines.errors import AugmentError
from pipelines.tables.numbers.margins import Margin

N = 5000


def generator(seed=0):
    return np.random.default_rng(seed)


def ties(values, share, value):
    """`values` with a share of them replaced by one."""
    return np.where(generator(9).random(len(values)) < share, value, values)


# Values and the step they are multiples of.
LATTICES = {
    "integers": (np.rint(generator().normal(0, 900, N)), 1.0),
    "large integers": (1e15 + np.rint(generator().normal(0, 1e6, N)), 1.0),
    "steps of 0.005": (np.rint(generator().normal(0, 1000, N)) * 5 / 1000, 1e-3),
    "steps of 0.1": (np.rint(generator().normal(0, 2000, N)) / 10, 1e-1),
    "steps of 7 from 3": (3.0 + 7 * np.rint(generator().normal(0, 900, N)), 1.0),
    "steps of 0.7 from 0.1": ((1 + 7 * np.rint(generator().normal(0, 900, N))) / 10, 0.1),
    "microseconds": (np.rint(1.7e9 * 1e6 + 1e6 * generator().normal(0, 900, N)) / 1e6, 1e-6),
    "counts": (generator().poisson(40, N).astype(float), 1.0),
    "counts from one": (generator().geometric(1 / 50, N).astype(float), 1.0),
    "days": (
        np.array([(datetime.date(2020, 1, 1) - datetime.date(1970, 1, 1)).days])
        + np.rint(generator().exponential(900, N)),
        1.0,
    ),
    "a lattice with a frequent value": (ties(np.rint(generator().normal(0, 900, N)), 0.015, 17.0), 1.0),
}
# A step of these is a few roundings of float64, so that a place near the edge of a cell may be the next one's.
NARROW = ("large integers", "microseconds")
SUPPORTS = {
    "few irregular values": (generator().choice(np.sort(generator(1).lognormal(0, 2, 200)), N), 0.0),
    "many irregular values": (generator().choice(np.rint(generator(1).lognormal(9, 1, 1200)), N), 1.0),
    "few values, one rare": (np.r_[0.1, generator().choice([0.25, 1 / 3, 7e5], N)], 0.0),
    "two values": (np.repeat([1.0, 2.0], 50), 1.0),
    "one value": (np.full(50, 0.1), 0.0),
}
FLOATS = {
    "Gaussian": (generator().normal(50, 0.01, N), 0.0),
    "skewed": (np.exp(generator().normal(0, 3, N)), 0.0),
    "very skewed": (np.exp(generator().normal(0, 10, N)), 0.0),
    "heavy-tailed": (generator().standard_cauchy(N), 0.0),
    "two lumps": (np.r_[generator().normal(-100, 1, N), generator().normal(1e5, 10, N)], 0.0),
    "huge": (1e300 * generator().normal(size=N), 0.0),
    "tiny": (1e-300 * generator().normal(size=N), 0.0),
    "few rows": (generator().normal(size=9), 0.0),
    "two rows": (np.array([3.0, 4.5]), 0.0),
    "two rows of one decimal": (np.array([3.0, 4.5]), 0.1),
    "one row": (np.array([3.0]), 0.0),
    "rows that are equal": (np.full(3, 0.1), 0.0),
}
ALL = LATTICES | SUPPORTS | FLOATS


def learn(name):
    values, step = ALL[name]
    margin = Margin.learn(values, step, generator(1))
    return margin, values, margin.spread(values, generator(2))


every = pytest.mark.parametrize("name", ALL)


@pytest.mark.parametrize("name", LATTICES | SUPPORTS)
def test_what_is_on_a_lattice_or_a_support_comes_back_exactly(name):
    margin, values, spread = learn(name)
    np.testing.assert_array_equal(margin.decode(margin.encode(values)), values)  # from the middle of the cell
    if name not in NARROW:
        np.testing.assert_array_equal(margin.decode(margin.encode(spread)), values)


@pytest.mark.parametrize("name", FLOATS)
def test_what_is_not_comes_back_to_rounding(name):
    margin, values, spread = learn(name)
    if not margin.step and not len(margin.support):
        np.testing.assert_array_equal(spread, values)
    # A score's rounding, 4 at most, in the unit of the steepest stretch between two knots; 4 roundings there and back.
    eps = np.finfo(np.float64).eps
    widest = np.exp(-margin.log_derivative(spread))
    allowed = 4 * eps * (np.abs(values) + 4 * widest)
    assert (np.abs(margin.decode(margin.encode(spread)) - values) <= allowed).all()


@pytest.mark.parametrize(
    ("name", "step"),
    [("steps of 0.005", 0.005), ("steps of 7 from 3", 7), ("steps of 0.7 from 0.1", 0.7), ("integers", 1)],
)
def test_the_step_is_the_largest_there_is(name, step):
    assert learn(name)[0].step == step


@pytest.mark.parametrize("name", ["steps of 0.1", "steps of 0.7 from 0.1", "steps of 0.005"])
def test_values_are_the_numbers_their_texts_read_as(name):
    margin, values, _ = learn(name)
    decoded = margin.decode(generator(3).normal(size=2000))
    np.testing.assert_array_equal(decoded, [float(f"{value:.3f}") for value in decoded])
    assert (margin.decode(margin.encode(values[[values.argmax()]])) <= margin.high).all()


@every
def test_encode_increases_with_a_slope_that_is_its_log_derivative(name):
    margin, _, spread = learn(name)
    places = np.sort(np.r_[spread, margin.values, margin.values[[0, -1]] + np.diff(margin.values)[[0, -1]] * [-9, 9]])
    scores = margin.encode(places)
    assert np.isfinite(scores).all()
    assert np.isfinite(margin.log_derivative(places)).all()
    assert (np.diff(scores) >= 0).all()
    middle = (margin.values[1:] + margin.values[:-1]) / 2
    assert (np.diff(margin.encode(middle)) > 0).all()
    slopes = np.diff(margin.encode(margin.values)) / np.diff(margin.values)
    np.testing.assert_allclose(margin.log_derivative(middle), np.log(slopes), rtol=0, atol=1e-9)


@every
def test_the_density_integrates_to_one(name):
    """Of phi(encode(x)) exp(log_derivative(x)), with the trapezoidal rule on each stretch between two knots."""
    margin = learn(name)[0]
    slopes = np.diff(margin.scores) / np.diff(margin.values)
    knots = np.r_[margin.values[0] - 8 / slopes[0], margin.values, margin.values[-1] + 8 / slopes[-1]]
    part = np.linspace(0, 1, 400)
    total = 0.0
    for a, b in itertools.pairwise(knots):
        x = a + (b - a) * part
        inside = a / 2 + b / 2  # the derivative of the stretch, not of its neighbours
        log_density = stats.norm.logpdf(margin.encode(x)) + margin.log_derivative(np.array([inside]))
        # In units of the stretch, as 1e300 squared is no number.
        total += np.trapezoid(np.exp(log_density + np.log(b - a)), part)
    # The rule's error is f'' h^2 / 12 at most; a tail of 10 standard deviations in 400 parts: 5e-5.
    assert total == pytest.approx(1, abs=2e-4)


GAUSSIAN = [name for name, (values, _) in ALL.items() if len(values) >= 1000]


@pytest.mark.parametrize("name", GAUSSIAN)
def test_encoded_columns_are_standard_gaussian(name):
    """As close as fresh draws: Kolmogorov and Smirnov's distance of these exceeds 1.36 / sqrt(n) once in 20 times."""
    margin, values, spread = learn(name)
    distance = stats.kstest(margin.encode(spread), "norm").statistic
    assert distance < 1.36 / np.sqrt(len(values))


@pytest.mark.parametrize("name", GAUSSIAN)
def test_gaussian_draws_become_values_like_those_seen(name):
    margin, values, _ = learn(name)
    drawn = margin.decode(generator(3).normal(size=20_000))
    assert np.mean((drawn < margin.low) | (drawn > margin.high)) < 0.003  # what is beyond one row at either end
    # Two samples: a distance beyond 2.2 / sqrt(n) once in 10,000 times.
    assert stats.ks_2samp(values, drawn).statistic < 2.2 / np.sqrt(len(values))


@pytest.mark.parametrize("name", SUPPORTS)
def test_new_values_within_the_range_are_those_seen(name):
    margin, values, _ = learn(name)
    drawn = margin.decode(generator(3).normal(size=5000))
    drawn = drawn[(drawn >= margin.low) & (drawn <= margin.high)]
    assert np.isin(drawn, values).all()
    assert len(np.unique(drawn)) > 0.5 * len(np.unique(values))


@every
def test_far_out_everything_is_finite(name):
    """A million standard deviations away, and a million of the range."""
    margin, values, _ = learn(name)
    size = max(margin.high - margin.low, abs(margin.high) * 1e-9, 1e-300)
    far = np.array([margin.low - 1e6 * size, margin.high + 1e6 * size])
    assert np.isfinite(margin.encode(far)).all()
    assert np.isfinite(margin.log_derivative(far)).all()
    assert np.isfinite(margin.decode(np.array([-1e6, 1e6]))).all() or name in ("huge", "very skewed")
    assert margin.encode(far)[0] < margin.encode(values).min()
    assert margin.encode(far)[1] > margin.encode(values).max()


def test_ties_are_broken_at_random():
    margin, values, spread = learn("counts")
    is_mode = values == 40
    places = (spread[is_mode] - 39.5).astype(float)
    assert stats.kstest(places, "uniform").pvalue > 1e-4
    again = margin.spread(values, generator(2))
    np.testing.assert_array_equal(spread, again)
    assert (margin.spread(values, generator(3)) != spread).mean() > 0.99


def test_spread_values_stay_in_their_cells():
    for name in LATTICES:
        margin, values, spread = learn(name)
        if not len(margin.support):
            assert (np.abs(spread - values) <= margin.step / 2 + np.spacing(np.abs(values))).all()
            assert np.abs(spread - values).max() > (0.4 if name in NARROW else 0.49) * margin.step


@every
def test_json_keeps_every_bit(name):
    margin, _, spread = learn(name)
    again = Margin.from_json(json.loads(json.dumps(margin.to_json(), allow_nan=False)))
    for field in dataclasses.fields(Margin):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(margin, field.name))
    np.testing.assert_array_equal(again.decode(again.encode(spread)), margin.decode(margin.encode(spread)))


@pytest.mark.parametrize(
    ("name", "knots"),
    [
        ("values", [1.0, 1.0, 2.0]),
        ("scores", [2.0, 1.0, 3.0]),
        ("scores", [1.0, 2.0]),
        ("values", [1, 2, float("nan")]),
    ],
)
def test_knots_that_do_not_increase_are_refused(name, knots):
    value = Margin.learn(np.array([0.0, 1.0, 3.0]), 0.0, generator()).to_json()
    value |= {"values": [0.0, 1.0, 2.0], "scores": [0.0, 1.0, 2.0], name: knots}
    with pytest.raises(
        AugmentError, match="takes a list of numbers" if np.isnan(knots).any() else "knots of a margin must increase"
    ):
        Margin.from_json(value)


@pytest.mark.parametrize("name", [name for name in FLOATS if name != "one row"])
def test_standardised_it_is_a_straight_line(name):
    margin, values, _ = learn(name)
    encoded = margin.standardised(values).encode(values)
    # Rounding of a mean that is 5,000 standard deviations from zero.
    np.testing.assert_allclose(encoded.mean(), 0, atol=1e-9)
    np.testing.assert_allclose(encoded.std(), 0 if np.ptp(values) == 0 else 1, atol=1e-9)


def test_values_do_not_pile_up_beside_gaps():
    """Times of day written as numbers, 0759 and then 0800."""
    minutes = np.clip(generator().normal(800, 250, 20_000), 0, 1_439).astype(int)
    values = (minutes // 60 * 100 + minutes % 60).astype(float)
    margin = Margin.learn(values, 1.0, generator(1))
    assert len(margin.support) > 1_000
    new = margin.decode(generator(2).standard_normal(50_000))
    # The difference of two shares of 1.7 % has a standard error of 0.11 %; piled up, minutes 00 and 59 had 6 % each.
    for of_hour in (0, 1, 30, 58, 59):
        assert np.mean(new % 100 == of_hour) == pytest.approx(np.mean(values % 100 == of_hour), abs=0.004), of_hour


@pytest.mark.parametrize("rows", [10_000, 3_000, 500])
def test_a_value_far_out_draws_no_others_with_it(rows):
    values = np.r_[generator().normal(size=rows - 1), 50.0]
    margin = Margin.learn(values, 0.0, generator())
    made = margin.decode(generator(1).standard_normal(200_000))
    assert (made > 5).mean() < 4 / rows  # of the values one; without knots for the outer ones, 80 of 10,000
