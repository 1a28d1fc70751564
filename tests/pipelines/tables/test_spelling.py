"""Numbers, dates and times are spelled as their source spells them, and read back as what they were."""

import dataclasses
import datetime
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import AugmentError
from pipelines.tables.schema import Column
from pipelines.tables.texts.spelling import on_lattice, parse, spell

FIRST, LAST = -62_135_596_800, 253_402_300_799  # the first and the last second of the years 1 to 9999


def spelled(column, values, decimal="."):
    return spell(column, np.array(values, float), decimal).to_pylist()


def number(decimals=None, fewest=0, kind="float"):
    return Column("a", kind, decimals=decimals, min_decimals=fewest)


@pytest.mark.parametrize(
    ("column", "values", "texts"),
    [
        (number(2, 2), [1.5, -3, 0.125, 1234.5], ["1.50", "-3.00", "0.12", "1234.50"]),
        (number(1, 1), [1.0, 12.04], ["1.0", "12.0"]),
        (number(3, 0), [1.5, 2.0, -0.125, 30.0], ["1.5", "2", "-0.125", "30"]),
        (number(3, 1), [1.5, 2.0, -0.125], ["1.5", "2.0", "-0.125"]),
        (number(4, 2), [1.5, 2.0, -0.125, 0.0625], ["1.50", "2.00", "-0.125", "0.0625"]),
        (number(0), [1.4, -2.0, 100000.0], ["1", "-2", "100000"]),
        (number(2, 2), [-0.25, -0.004, 0.0, -0.0], ["-0.25", "0.00", "0.00", "0.00"]),
        (number(2), [-0.25, -0.004, -0.0], ["-0.25", "0", "0"]),
        (number(0), [-0.4, -0.0], ["0", "0"]),
        (number(6, 6), [1e-6, -1e-6, 123456.000001], ["0.000001", "-0.000001", "123456.000001"]),
        (number(9, 9), [1e-9, -1.5, 0.0], ["0.000000001", "-1.500000000", "0.000000000"]),
        (number(9, 1), [1e-9, -1.5, 0.0], ["0.000000001", "-1.5", "0.0"]),
        (number(kind="integer"), [1.4, -0.4, -2.6, 1e15, 1e19], ["1", "0", "-3", "1" + 15 * "0", "1" + 19 * "0"]),
        (number(), [0.1, 5.0, 1e10, 123456789012.25, 1e300], ["0.1", "5", "10000000000", "123456789012.25", "1e+300"]),
        (number(None, 1), [0.1, 5.0, 1e10, 1e300], ["0.1", "5.0", "10000000000.0", "1e+300"]),
    ],
)
def test_numbers_are_spelled_on_their_lattice(column, values, texts):
    assert spelled(column, values) == texts
    assert spelled(column, values, ",") == [text.replace(".", ",") for text in texts]


def test_numbers_that_arithmetic_left_with_more_digits_are_written_with_them():
    column = dataclasses.replace(number(1, 1), noisy=(12.600000000000001, 0.1 + 0.2))
    values = np.array([0.3, 0.1 + 0.2, 0.29, 12.64, -0.3, 0.4, 1e18])
    texts = ["0.30000000000000004"] * 3 + ["12.600000000000001", "-0.3", "0.4", "1000000000000000000.0"]
    assert spelled(column, values) == texts
    np.testing.assert_array_equal(on_lattice(column, values), [float(text) for text in texts])
    assert spelled(column, values[:1], ",") == ["0,30000000000000004"]
    assert [parse(column, text) for text in (*texts[2:5], "1e400")] == [0.3, 12.6, -0.3, None]
    others = dataclasses.replace(number(1, 1), noisy=(12.0, 0.0, 1e300))  # of a person
    assert spelled(others, [12, 0, 0.5]) == ["12.0", "0.0", "0.5"]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.integers(0, 1))
def test_values_at_full_precision_are_not_rounded(values, fewest):
    assert [float(text) for text in spelled(number(None, fewest), values)] == values


@settings(max_examples=200)  # they are fast, and the ways to spell a number are many
@given(st.data())
def test_texts_on_a_lattice_come_back_as_they_were(data):
    """All with as many decimals, or as few as a text needs but at least so many."""
    decimals = data.draw(st.integers(0, 9))
    fewest = data.draw(st.integers(0, decimals))
    texts = []
    for lattice in data.draw(st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=20)):
        whole, fraction = divmod(abs(lattice), 10**decimals)
        digits = f"{fraction:0{decimals}d}" if decimals else ""
        digits = digits[:fewest] + digits[fewest:].rstrip("0")
        texts.append(("-" if lattice < 0 else "") + str(whole) + ("." + digits if digits else ""))
    assert spelled(number(decimals, fewest), [float(text) for text in texts]) == texts


@given(st.lists(st.floats(-1e290, 1e290), min_size=1, max_size=20), st.integers(0, 12))
def test_a_number_on_the_lattice_is_what_its_text_reads_back_as(values, decimals):
    column = number(decimals, decimals // 2)
    assert on_lattice(column, np.array(values)).tolist() == [float(text) for text in spelled(column, values)]


# Dates and times.

DATES = ["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y%m%d", "%d-%b-%Y", "%B %d, %Y", "%Y년 %m월 %d일", "%Y-%j"]
TIMES = ["%H:%M:%S", "%H.%M.%S", "%I:%M:%S %p"]


@pytest.mark.parametrize("pattern", DATES)
@given(days=st.lists(st.integers(FIRST // 86_400, LAST // 86_400), min_size=1, max_size=20))
def test_dates_of_every_year_are_spelled_as_the_format_says(pattern, days):
    texts = spelled(Column("d", "date", format=pattern), days)
    epoch = datetime.date(1970, 1, 1)
    moments = [epoch + datetime.timedelta(days=day) for day in days]
    assert texts == [moment.strftime(pattern.replace("%Y", f"{moment.year:04d}")) for moment in moments]
    assert [parse(Column("d", "date", format=pattern), text) for text in texts] == days


@pytest.mark.parametrize("pattern", [f"{date} {time}" for date, time in zip(DATES, 3 * TIMES, strict=True)])
@given(seconds=st.lists(st.integers(FIRST, LAST), min_size=1, max_size=20))
def test_moments_of_every_year_read_back(pattern, seconds):
    column = Column("d", "datetime", format=pattern)
    assert [parse(column, text) for text in spelled(column, seconds)] == seconds


@pytest.mark.parametrize("pattern", TIMES)
@given(seconds=st.lists(st.integers(0, 86_399), min_size=1, max_size=20))
def test_times_read_back(pattern, seconds):
    column = Column("t", "time", format=pattern)
    assert [parse(column, text) for text in spelled(column, seconds)] == seconds


@given(st.lists(st.floats(FIRST, LAST), min_size=1, max_size=20), st.integers(0, 6))
def test_fractions_of_a_second_have_the_digits_of_the_source(values, decimals):
    column = Column("d", "datetime", format="iso", decimals=decimals, min_decimals=decimals)
    # Half a step, and what float64 leaves of a moment that far from 1970.
    tolerance = 0.5 * 10.0**-decimals + 2 * math.ulp(LAST)
    for value, text in zip(values, spelled(column, values), strict=True):
        assert len(text) == 19 + (decimals > 0) + decimals
        assert abs(parse(column, text) - value) <= tolerance


@pytest.mark.parametrize(
    ("pattern", "decimals", "fewest", "text"),
    [
        ("iso", None, 0, "2023-11-14T22:13:20.25"),
        ("iso", 0, 0, "2023-11-14T22:13:20"),
        ("iso", 3, 3, "2023-11-14T22:13:20.250"),
        ("%Y-%m-%d %H:%M:%S.%f", None, 0, "2023-11-14 22:13:20.250000"),
        ("%Y-%m-%d %H:%M:%S.%f", 4, 1, "2023-11-14 22:13:20.25"),
        ("%Y-%m-%d %H:%M:%S.%f", 9, 9, "2023-11-14 22:13:20.250000000"),
        ("%H:%M:%S,%f", 1, 1, "22:13:20,2"),
        ("%Y-%m-%dT%H:%M:%SZ", None, 0, "2023-11-14T22:13:20Z"),
        ("%Y-%m-%dT%H:%M+02:00", None, 0, "2023-11-14T22:13+02:00"),
        ("%-d/%-m/%y, %-I.%M %P", None, 0, "14/11/23, 10.13 pm"),
        ("%a %^b %e %T 100%%", None, 0, "Tue NOV 14 22:13:20 100%"),
        ("%Y", None, 0, "2023"),
    ],
)
def test_every_part_of_a_format_is_known(pattern, decimals, fewest, text):
    column = Column("d", "datetime", format=pattern, decimals=decimals, min_decimals=fewest)
    assert spelled(column, [1_700_000_000.25]) == [text]


def test_moments_round_to_what_the_format_can_tell_apart():
    assert spelled(Column("t", "time", format="%H:%M"), [89, 91, 86_399]) == ["00:01", "00:02", "23:59"]
    assert spelled(Column("t", "time", format="%H:%M:%S"), [-3, 0.6, 86_399.9]) == ["00:00:00", "00:00:01", "23:59:59"]
    assert spelled(Column("d", "date", format="%Y-%m-%d"), [0.4, 0.6]) == ["1970-01-01", "1970-01-02"]


def test_moments_out_of_all_range_are_the_last_there_are():
    assert spelled(Column("d", "date", format="iso"), [-1e30, 1e30]) == ["0001-01-01", "9999-12-31"]
    column = Column("d", "datetime", format="iso", decimals=0)
    assert spelled(column, [-1e30, 1e30]) == ["0001-01-01T00:00:00", "9999-12-31T23:59:59"]


def test_a_format_that_is_not_known_is_an_error_that_says_what_is():
    with pytest.raises(AugmentError, match=r"column 'd': its format '%Q' has '%Q', which is not known; known are %Y"):
        spelled(Column("d", "date", format="%Q"), [0])


@pytest.mark.parametrize("kind", ["integer", "float", "date", "time", "datetime"])
def test_no_rows_have_no_texts(kind):
    assert spelled(Column("a", kind, format="iso" if kind in ("date", "time", "datetime") else None), []) == []
