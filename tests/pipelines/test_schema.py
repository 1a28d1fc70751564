"""What a column is follows from its text alone, and a column that cannot be modelled is named with what to do."""

import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import AugmentError
from pipelines.tables.reading import read_source
from pipelines.tables.schema import Column, Schema, infer_schema, numbers


def column_of(cells):
    (column,) = infer_schema(pa.table({"a": cells}), "t.csv").columns
    return column


def refusal(first_row=2, **columns):
    with pytest.raises(AugmentError) as caught:
        infer_schema(pa.table(columns), "t.csv", first_row)
    return str(caught.value)


# Text.


@pytest.mark.parametrize("cells", [["1", "2"], ["-3", "+4"], ["0", "7"], [" 1", "2 "]])
def test_whole_numbers_are_integers(cells):
    assert column_of(cells) == Column("a", "integer", decimals=0)


@pytest.mark.parametrize(
    ("cells", "decimals", "min_decimals"),
    [
        (["1.0", "2.0"], 1, 1),
        (["0.50", "-2.25"], 2, 2),
        (["0.5", "-2.25"], 2, 1),
        (["1", "2.25"], 2, 0),
        ([".5", "1."], 1, 0),
        (["+0.125", "-0.250"], 3, 3),
        (["123456789.12", "0.01"], 2, 2),
    ],
)
def test_decimals_are_the_most_and_the_fewest_digits_after_the_point(cells, decimals, min_decimals):
    assert column_of(cells) == Column("a", "float", decimals=decimals, min_decimals=min_decimals)


@pytest.mark.parametrize(
    "cells",
    [
        ["1e-3", "0.25"],
        ["2.5E10", "1"],
        ["0.1234567890123456789", "1"],
        # A step of 1e-6 at 1e12 is finer than float64 can hold with room for the rounding of a sum.
        ["1000000000000.000001", "2.5"],
        [repr(np.pi * 1e3), repr(np.e)],
    ],
)
def test_a_column_at_full_precision_is_not_rounded(cells):
    column = column_of(cells)
    assert (column.kind, column.decimals, column.step) == ("float", None, 0.0)


@pytest.mark.parametrize("text", ["5", "1.50", "north, 1", 'say "no"', "", "-0.0"])
def test_a_column_of_one_value_is_a_constant_in_its_own_spelling(text):
    assert column_of([text, text]) == Column("a", "constant", value=text)


def test_the_step_is_the_distance_between_neighbours_of_the_lattice():
    assert column_of(["0.25", "0.5"]).step == 0.01
    assert column_of(["1", "2"]).step == 1.0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=20))
def test_numbers_are_exactly_what_the_text_says(values):
    cells = pa.chunked_array([[repr(value) for value in values]])
    np.testing.assert_array_equal(numbers(cells, "a", "t.csv"), values)


# What cannot be modelled.


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1", "2", "abc"], "'a' is not numeric ('abc' in row 4)"),
        (["1", "1_000", "2"], "'a' is not numeric ('1_000' in row 3)"),
        (["1,5", "2,5", "3,5"], "'a' is not numeric ('1,5' in row 2)"),
        (["1", "x" * 99, "2"], "'a' is not numeric ('" + "x" * 27 + "...' in row 3)"),
        (["1", "inf", "2"], "'a' is infinite ('inf' in row 3)"),
        (["-Infinity", "1", "2"], "'a' is infinite ('-Infinity' in row 2)"),
        (["1", "", "3"], "'a' has 1 missing cells (the first in row 3)"),
        (["1", "2", "NA"], "'a' has 1 missing cells (the first in row 4)"),
        (["nan", "2", "?"], "'a' has 2 missing cells (the first in row 2)"),
        ([None, "2", "3"], "'a' has 1 missing cells (the first in row 2)"),
    ],
)
def test_a_cell_that_is_no_number_is_named_with_its_row(cells, said):
    assert said in refusal(a=cells)


def test_all_columns_that_cannot_be_modelled_are_named_at_once_with_the_options_that_leave_them_out():
    message = refusal(good=["1", "2"], name=["bo", "al"], **{"the age": ["3", ""]}, far=["inf", "1"])
    assert message.startswith("t.csv: ")
    assert "'name' is not numeric ('bo' in row 2)" in message
    assert "'the age' has 1 missing cells (the first in row 3)" in message
    assert "'far' is infinite" in message
    assert "--drop name --drop 'the age' --drop far" in message
    assert "'good'" not in message
    assert "\n" not in message


def test_a_number_beyond_float64_is_named():
    cells = pa.chunked_array([["1e999", "1"]])
    with pytest.raises(AugmentError, match=r"t\.csv: column 'a' overflows \(1e999 in row 2\)"):
        numbers(cells, "a", "t.csv", 2)


# Typed columns, from Parquet and DataFrames.


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1, 2], np.int64), Column("a", "integer", 0)),
        (np.array([1, 2], np.uint8), Column("a", "integer", 0)),
        # A float column stays float when all its values are whole.
        (np.array([1.0, 2.0]), Column("a", "float", 0)),
        (np.array([0.25, 1.5]), Column("a", "float", 2, 1)),
        # The shortest text of a float32 counts, not the digits of its float64 neighbour.
        (np.array([0.1, 0.25], np.float32), Column("a", "float", 2, 1)),
        (np.array([1 / 3, 0.1]), Column("a", "float", None)),
        (np.array([7.5, 7.5]), Column("a", "constant", value="7.5")),
        ([decimal.Decimal("1.10"), decimal.Decimal("2.25")], Column("a", "float", 2, 2)),
        (pa.array(["1.0", "2.0"], pa.large_string()), Column("a", "float", 1, 1)),
        (pa.array(["3", "4"]).dictionary_encode(), Column("a", "integer", 0)),
    ],
)
def test_the_type_of_a_typed_column_counts(values, expected):
    assert column_of(values) == expected


@pytest.mark.parametrize("values", [[True, False], [[1.0], [2.0]], [{"x": 1}, {"x": 2}]])
def test_truth_values_and_nested_columns_are_not_numbers(values):
    assert f"'a' is not numeric (type {pa.array(values).type})" in refusal(a=pa.array(values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, float("nan")], "has 1 missing cells (the first in row 1)"),
        ([None, 2.0], "has 1 missing cells (the first in row 0)"),
        ([1.0, float("inf")], "is infinite ('inf' in row 1)"),
    ],
)
def test_typed_cells_without_a_finite_value_are_named(values, said):
    assert said in refusal(first_row=0, a=pa.array(values, pa.float64()))


def test_a_data_frame_and_its_parquet_file_have_the_same_schema(tmp_path):
    frame = pd.DataFrame({"i": [1, 2], "f": [0.25, 1.5], "c": [3, 3], "t": ["1.10", "2.25"]})
    frame.to_parquet(tmp_path / "t.parquet")
    schemas = [infer_schema(read_source(data).table, "t") for data in (frame, tmp_path / "t.parquet")]
    assert schemas[0] == schemas[1]
    assert [column.kind for column in schemas[0].columns] == ["integer", "float", "constant", "float"]


# The schema.


def test_a_schema_keeps_the_order_and_tells_modelled_columns_from_constants():
    schema = infer_schema(pa.table({"b": ["1", "2"], "k": ["x", "x"], "a": ["0.5", "1"]}), "t.csv")
    assert schema.names == ["b", "k", "a"]
    assert [column.name for column in schema.modelled] == ["b", "a"]
    assert [column.name for column in schema.constants] == ["k"]
    assert Schema.from_json(schema.to_json()) == schema
