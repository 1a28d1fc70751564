"""Cells become numbers or texts, missing ones are known, and the first that fits neither is named."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import AugmentError
from pipelines.tables.schema import Column
from pipelines.tables.texts.dialect import MISSING, Dialect
from pipelines.tables.texts.parsing import LARGEST, missing_codes, missing_mask, numbers, texts

NAN = float("nan")


def read(cells, kind="float", dialect=Dialect(), first_row=2, **spec):
    cells = cells if isinstance(cells, pa.Array) else pa.array(cells)
    return numbers(pa.chunked_array([cells]), Column("a", kind, **spec), dialect, "t.csv", first_row)


@given(st.lists(st.floats(-LARGEST, LARGEST), min_size=2, max_size=20))
def test_numbers_are_exactly_what_the_text_says(values):
    np.testing.assert_array_equal(read([repr(value) for value in values]), values)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", " +4 ", ".5", "1.", "-2e3"], [1, 4, 0.5, 1, -2000]),
        (["1", "", "NA", None, "?"], [1, NAN, NAN, NAN, NAN]),
    ],
)
def test_missing_cells_are_nan(cells, expected):
    np.testing.assert_array_equal(read(cells), expected)


def test_what_arithmetic_left_of_rounding_is_taken_off():
    cells = ["0.30000000000000004", "12.600000000000001", "0.25", "-7.1000000001", "1e300", ""]
    np.testing.assert_array_equal(read(cells, decimals=1), [0.3, 12.6, 0.25, -7.1000000001, 1e300, NAN])
    np.testing.assert_array_equal(read(cells[:2], decimals=None), [0.1 + 0.2, 12.600000000000001])
    np.testing.assert_array_equal(read(["1000000000000000.25"], decimals=2), [1e15 + 0.25])


def test_decimal_commas():
    comma = Dialect(delimiter=";", decimal=",")
    np.testing.assert_array_equal(read(["1,5", "-0,25", "3"], dialect=comma), [1.5, -0.25, 3])
    with pytest.raises(AugmentError, match=r"'a' is not numeric \('1.234' in row 3\)"):
        read(["1,5", "1.234"], dialect=comma)


def test_a_null_value_that_is_a_number_counts_in_every_spelling():
    dialect = Dialect(delimiter=";", decimal=",", null_values=(*MISSING, "-200"))
    np.testing.assert_array_equal(read(["-200", "-200,0", "-2000", "200", "-200,5"], dialect=dialect),
                                  [NAN, NAN, -2000, 200, -200.5])  # fmt: skip
    np.testing.assert_array_equal(read([-200.0, 1.0], dialect=dialect), [NAN, 1])
    np.testing.assert_array_equal(read([-200, 1], dialect=dialect), [NAN, 1])


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1", "2", "abc"], "'a' is not numeric ('abc' in row 4)"),
        (["1", "1_000", "2"], "'a' is not numeric ('1_000' in row 3)"),
        (
            ["1,5", "2,5", "3,5"],
            "'a' is not numeric ('1,5' in row 2). If ',' is its decimal mark, say --decimal ,; or say",
        ),
        (["1", "-"], "('-' in row 3). Correct it, or say --null-value=- to count such"),
        (["1", "x" * 99, "2"], "'a' is not numeric ('" + "x" * 27 + "...' in row 3)"),
        (["1", "inf", "2"], "'a' is infinite ('inf' in row 3)"),
        (["-Infinity", "1", "2"], "'a' is infinite ('-Infinity' in row 2)"),
        (["1e999", "1"], "'a' is beyond 1e+300, which is too large to compute with ('1e999' in row 2)"),
        ([1.0, float("inf")], "'a' is infinite ('inf' in row 3)"),
        ([[1.0], [2.0]], "'a' is not numeric (type list<"),
    ],
)
def test_a_cell_that_is_no_number_is_named_with_its_row(cells, said):
    with pytest.raises(AugmentError) as caught:
        read(cells)
    assert said in str(caught.value)
    assert str(caught.value).startswith("t.csv: ")


def test_rows_of_a_sample_have_their_own_numbers():
    with pytest.raises(AugmentError, match="in row 70"):
        read(["1", "x"], first_row=np.array([7, 70]))


def test_integers_are_whole():
    np.testing.assert_array_equal(read(["1", "2.0"], "integer"), [1, 2])
    with pytest.raises(AugmentError, match=r"'a' is not whole \('1.5' in row 2\). .* whole numbers: round it"):
        read(["1.5", "2"], "integer")


@pytest.mark.parametrize(
    ("kind", "format_", "cell", "expected"),
    [
        ("date", "%Y-%m-%d", "1970-01-02", 1),
        ("date", "%d/%m/%Y", "01/02/1970", 31),
        ("date", "%m/%d/%Y", "01/02/1970", 1),
        ("date", "%-d.%-m.%Y", "1.2.1970", 31),
        ("date", "%d-%b-%y", "31-Dec-69", -1),
        ("date", "%B %d, %Y", "March 01, 2000", 11017),
        ("date", "%Y-%m", "1970-02", 31),
        ("time", "%H.%M.%S", "18.00.01", 64801),
        ("time", "%H:%M", "23:59", 86340),
        ("time", "%I:%M %p", "12:05 AM", 300),
        ("time", "%-I:%M %p", "1:05 PM", 47100),
        ("datetime", "%Y-%m-%dT%H:%M:%S.%fZ", "1970-01-02T00:00:01.25Z", 86401.25),
        ("datetime", "%Y-%m-%d %H:%M:%S", "1969-12-31 23:59:59", -1),
    ],
)
def test_dates_and_times_count_from_1970_and_midnight(kind, format_, cell, expected):
    np.testing.assert_array_equal(read([cell, "NA", cell], kind, format=format_), [expected, NAN, expected])


@pytest.mark.parametrize("cell", ["2001-02-29", "2000-13-01", "2000-00-01", "2000-01-32", "1/1/2000", "x"])
def test_a_date_that_is_none_is_named(cell):
    with pytest.raises(AugmentError, match=r"'a' is no date as %Y-%m-%d \('.*' in row 3\)"):
        read(["2000-02-29", cell], "date", format="%Y-%m-%d")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array([datetime.date(1970, 1, 2), None]), "date", [1, NAN]),
        (pa.array([datetime.datetime(1970, 1, 1, 0, 0, 1, 500_000)]), "datetime", [1.5]),
        (pa.array([1_500_000_000_250_000_000], pa.timestamp("ns", "UTC")), "datetime", [1.5e9 + 0.25]),
        (pa.array([datetime.time(0, 1)]), "time", [60]),
        (pa.array([61], pa.time32("s")), "time", [61]),
        (pa.array([True, False]), "integer", [1, 0]),
        (pa.array([1.5, NAN, None]), "float", [1.5, NAN, NAN]),
        (pa.array(["1", "2"]).dictionary_encode(), "integer", [1, 2]),
    ],
)
def test_typed_columns(values, kind, expected):
    np.testing.assert_array_equal(read(values, kind), expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([" x", "NA", "", None]), [" x", None, None, None]),
        (pa.array([True, None]), ["true", None]),
        (pa.array([1.5, NAN]), ["1.5", None]),
        (pa.array(["x", None]).dictionary_encode(), ["x", None]),
        (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
    ],
)
def test_texts_are_as_in_the_file_and_null_where_missing(values, expected):
    found = texts(pa.chunked_array([values]), Column("a", "categorical"), Dialect())
    assert found.type == pa.string()
    assert found.to_pylist() == expected


def test_missing_cells_and_how_they_are_spelled():
    column = pa.chunked_array([["x", "NA", " ", "n.d.", None]])
    spec = Column("a", "categorical", missing=("NA", "", "n.d."))
    np.testing.assert_array_equal(missing_mask(column, spec, Dialect()), [False, True, True, True, True])
    np.testing.assert_array_equal(missing_codes(column, spec, Dialect()), [-1, 0, 1, 2, 1])


@pytest.mark.parametrize(
    ("values", "missing", "expected"),
    [
        (pa.array([1.5, -999.0, NAN, None]), ("-999",), [False, True, True, True]),
        (pa.array([1.5, -999.25, NAN, None]), ("-999",), [False, False, True, True]),
        (pa.array([3, -9, None], pa.int16()), ("", "-9"), [False, True, True]),
        (pa.array([True, False, None]), ("false",), [False, True, True]),
        (pa.array([datetime.date(1970, 1, 2), None]), ("1970-01-02",), [False, True]),
    ],
)
def test_what_the_column_says_is_missing_in_typed_columns_too(values, missing, expected):
    """Dates and times aside, which have no text of their own."""
    column, spec = pa.chunked_array([values]), Column("a", "float", missing=missing)
    np.testing.assert_array_equal(missing_mask(column, spec, Dialect()), expected)
