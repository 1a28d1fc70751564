"""Numbers with a currency, a unit or marks between thousands are numbers, and are spelled as they were."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipelines
from pipelines import AugmentError
from pipelines.tables.files.source import Source
from pipelines.tables.kinds.inference import infer_schema, read_schema
from pipelines.tables.schema import Column
from pipelines.tables.texts.dialect import Dialect
from pipelines.tables.texts.number_formats import bare_numbers, find_number_format, with_marks
from pipelines.tables.texts.parsing import numbers
from pipelines.tables.texts.spelling import parse, spell

FORMATS = ["-${,}", "{..} €", "(${,})", "$({,})", "({,}) €;- €", "\u2212{.} €", "{ }%", "{}"]
TINY = {"steps": 20, "couplings": 2, "width": 8}


def source_of(cells, decimal="."):
    return Source(pa.table({"a": cells}), "t.csv", None, None, Dialect(decimal=decimal), len(cells), 2, False)


def table_of(delimiter=";", **columns):
    rows = len(next(iter(columns.values())))
    return Source(pa.table(columns), "t.csv", None, None, Dialect(delimiter=delimiter), rows, 2, False)


def column_of(cells, decimal=".", kind=None):
    (column,) = infer_schema(source_of(cells, decimal), kinds={"a": kind} if kind else {}).columns
    return column


@pytest.mark.parametrize(
    ("cells", "decimal", "format_", "values"),
    [
        (["$1,234.50", "$7.99", "$1,000,000.00"], ".", "${,}", [1234.5, 7.99, 1e6]),
        (["$1,234", "-$12"], ".", "-${,}", [1234, -12]),
        (["$1,234", "($12)"], ".", "(${,})", [1234, -12]),
        (["1,234", "999", "-12,345", "7"], ".", "{,}", [1234, 999, -12345, 7]),
        (["1.234,50 €", "12,00 €"], ",", "{.} €", [1234.5, 12]),
        (["R$ 1.234,50", "R$ 12,00"], ",", "R$ {.}", [1234.5, 12]),
        (["1\u202f234,50\u00a0€", "12,00\u00a0€"], ",", "{\u202f}\u00a0€", [1234.5, 12]),
        (["1 234", "12", "1 000 000"], ".", "{ }", [1234, 12, 1e6]),
        (["CHF 1'200.50", "CHF 15.00"], ".", "CHF {'}", [1200.5, 15]),
        (["4.5%", "-0.5%", "12.0%"], ".", "{}%", [4.5, -0.5, 12]),
        (["3 km", "12 km", "1,200 km", "5 km", "9 km"], ".", "{,} km", [3, 12, 1200, 5, 9]),
        (["-5°C", "7°C"], ".", "{}°C", [-5, 7]),
        (["+3.3%", "-2.2%", "+0.5%"], ".", "+{}%", [3.3, -2.2, 0.5]),
        (["+$3", "-$2"], ".", "+${}", [3, -2]),
        (["12.50", "(12.50)", "7.25", "3.00", "(1.10)"], ".", "({})", [12.5, -12.5, 7.25, 3, -1.1]),
        (["$1,234.50", "$(12.00)", "$-"], ".", "$({,});$-", [1234.5, -12, 0]),
        (["$ 1,234", "$ (12)", "$ -"], ".", "$ ({,});$ -", [1234, -12, 0]),
        (["1.234,50 €", "(2.012,00) €", "- €"], ",", "({.}) €;- €", [1234.5, -2012, 0]),
        (["225.000 €", "1.094.000 €", "950 €"], ".", "{..} €", [225_000, 1_094_000, 950]),
        (["1.094.000,50 €", "12,25 €", "(7,00 €)"], ".", "({..} €)", [1_094_000.5, 12.25, -7]),
        (["1,094,000.5", "12,500.0", "7.0"], ",", "{,,}", [1_094_000.5, 12_500, 7]),
        (
            ["1.094.000,125 kg", "12,375 kg", "7,5 kg", "1 kg", "2 kg"],
            ".",
            "{..} kg",
            [1_094_000.125, 12.375, 7.5, 1, 2],
        ),
        (["1.5", "\u22120.5", "\u221212.0"], ".", "\u2212{}", [1.5, -0.5, -12]),
        (["\u2212$7", "$12"], ".", "\u2212${}", [-7, 12]),
        (["+3.3%", "\u22122.2%", "+0.5%"], ".", "+\u2212{}%", [3.3, -2.2, 0.5]),
        (["$(1,234.50)", "$(12.00)", "$7.00"], ".", "$({,})", [-1234.5, -12, 7]),
        (["(12,50) €", "13,25 €", "(1.014,75) €"], ",", "({.}) €", [-12.5, 13.25, -1014.75]),
    ],
)
def test_marks_are_found_read_and_written(cells, decimal, format_, values):
    assert find_number_format(pa.array(cells), decimal) == format_
    column = column_of(cells, decimal)
    assert (column.kind in ("float", "integer"), column.format) == (True, format_)
    dialect = Dialect(decimal=decimal)
    assert numbers(pa.chunked_array([cells]), column, dialect, "t.csv").tolist() == values
    assert spell(column, np.array(values, float), decimal).to_pylist() == cells
    assert [parse(column, cell, decimal) for cell in cells] == values


@pytest.mark.parametrize(
    "cells",
    [
        ["1.5", "2"],
        ["1,234", "1234", "5678"],  # thousands are not set apart for certain
        ["25-34", "35-44"],
        ["4WD", "2WD"],
        ["10+ years", "2 years", "3 years", "4 years", "5 years"],
        ["555 123 456", "555 987 654"],
        ["007 kg", "008 kg", "009 kg", "010 kg", "011 kg"],
        [f"{number}A" for number in range(1000, 1030)],
        ["Chapter 1", "Chapter 2"],
        ["1:30", "2:45"],
        ["10.0.0.1", "10.0.0.2"],
        ["5 km", "5 kg", "7 m", "8 s", "9 t"],
        ["2452 A", "1007 A", "33 A", "7 A", "12 A"],
        ["606xx", "941xx", "100xx", "112xx", "30xx"],
        [f"EUR{number}" for number in range(8900, 8930)],
        ["+1 555 037 091", "+44 207 000 000", "+1 555 037 092"],
        ["(1)", "(2)", "(3)"],
        ["1)", "2)", "3)"],
        ["(1) items", "(2) items", "(3) items", "(12) items", "(5) items"],
        ["(1 items)", "(2 items)", "(3 items)", "(12 items)", "(5 items)"],
        ["$\u22127", "$12"],  # which nobody writes, and which would not be written so
        [*(f"{k} 234,50 €" for k in range(1, 99)), "1.234.567 €"],  # of which one has other marks
        [*(f"{k}234,50 €" for k in range(1, 99)), "1.234.567 €"],
        ["33.191 km", "459 km", "2.156 km", "999 km", "1.000 km"],  # thousands, by another mark than the table's
    ],
)
def test_codes_and_categories_with_digits_are_not_taken_for_numbers_with_marks(cells):
    assert column_of(cells).kind not in ("float", "integer") or column_of(cells).format is None


@given(
    st.lists(st.tuples(st.integers(-(10**15), 10**15), st.text("0123456789", max_size=4)), min_size=1),
    st.sampled_from(FORMATS),
)
def test_marks_come_off_as_they_went_on(values, format_):
    for decimal in ".,":
        # A zero that is written as a dash has lost its decimals.
        parts = [(value, digits if value else "") for value, digits in values]
        plain = [f"{value}{decimal * bool(digits)}{digits}" for value, digits in parts]
        marked = with_marks(pa.array(plain), format_, decimal)
        assert bare_numbers(marked, format_, decimal).to_pylist() == plain


@pytest.mark.parametrize(
    ("cells", "format_", "values"),
    [
        ([*(f"${i}" for i in range(1, 200)), "-$3", "-$4", "$5 (est.)", "$5 (est.)"], "-${}", [-3.0]),
        ([*(str(i) for i in range(-40, 200)), "\u221241", "\u221241"], None, [-3.0]),
        ([*(f"$({i}.25)" for i in range(50)), *(f"${i}.25" for i in range(50)), "($3.25)"], "$({})", [-3.25]),
    ],
)
def test_most_signs_say_how_signs_are_written(cells, format_, values):
    column = column_of(cells)
    assert column.format == format_
    assert spell(column, np.array(values)).to_pylist()[0] in cells


def test_a_zero_is_read_in_all_its_spellings_and_written_in_one():
    column = column_of(["$1.50", "$-", "$ -", "$\u2212", "$-", *(f"${i}.25" for i in range(300))])
    assert (column.format, column.decimals, column.min_decimals, column.missing) == ("${};$-", 2, 2, ())
    cells = pa.chunked_array([["$-", "$ -"], ["$\u2212", "$0.00"]])
    assert numbers(cells, column, Dialect(), "t.csv").tolist() == [0.0] * 4
    assert spell(column, np.array([0.004, -0.004, -0.0, 0.01])).to_pylist() == ["$-", "$-", "$-", "$0.01"]
    assert parse(column, "$ -") == 0
    assert column_of(["$.50", "$.75", "$-"]).min_decimals == 2


@pytest.mark.parametrize("format_", ["US$(k) {}", "{} (net) kg", "Price; {}", "${}; $-", "{};0.0"])
def test_formats_of_schemas_read_what_they_write(format_):
    column = Column("a", "float", decimals=1, min_decimals=1, format=format_)
    written = spell(column, np.array([1.5, 0.0]))
    assert numbers(pa.chunked_array([written]), column, Dialect(), "t.csv").tolist() == [1.5, 0.0]


def test_marks_between_thousands_are_never_the_decimal_mark():
    column = Column("a", "float", decimals=2, min_decimals=2, format="${,}")
    assert spell(column, np.array([1234.5]), ",").to_pylist() == ["$1.234,50"]
    assert parse(column, "$1.234,50", ",") == 1234.5


@pytest.mark.parametrize("said", ["1.500 €", "1.500", "1500", "1500 €", "1.500,0"])
def test_a_condition_may_leave_marks_out(said):
    assert parse(Column("a", "float", decimals=2, format="{.} €"), said, ",") == 1500


def test_any_space_is_one_between_thousands():
    column = Column("a", "integer", format="{\u202f}")
    assert [parse(column, cell) for cell in ("10\u202f000", "10 000", "10\u00a0000")] == [10_000] * 3


def test_plain_numbers_are_read_in_a_column_with_marks():
    column = column_of(["$1,234.50", "$7.99"])
    assert parse(column, "40") == 40
    assert numbers(pa.chunked_array([["40.5"]]), column, Dialect(), "t.csv").tolist() == [40.5]


def test_what_is_no_number_among_them_is_named_or_missing():
    cells = [f"${number}.00" for number in range(100)]
    assert column_of([*cells, "n/a"]).missing == ("n/a",)
    with pytest.raises(AugmentError, match=r"column 'a' is numeric but for 1 cell, 0.99 % \('call us' in row 102\)"):
        column_of([*cells, "call us"])
    with pytest.raises(AugmentError, match=r"column 'a' is no float as \$\{\} \('€5' in row 1\)"):
        numbers(pa.chunked_array([["x", "€5"]]), Column("a", "float", format="${}", missing=("x",)), Dialect(), "t", 0)


@pytest.mark.slow
def test_a_dash_beside_the_currency_is_a_zero_of_as_many_decimals(tmp_path):
    rng = np.random.default_rng(0)
    amounts = np.where(rng.random(300) < 0.6, 0.0, rng.normal(100, 900, 300))
    cells = ["$-" if a == 0 else f"${a:,.2f}" if a > 0 else f"$({-a:,.2f})" for a in amounts]
    column = column_of(cells)
    assert (column.format, column.decimals, column.min_decimals) == ("$({,});$-", 2, 2)
    pd.DataFrame({"due": cells, "rows": np.arange(300) % 7}).to_csv(tmp_path / "due.csv", index=False)
    pipelines.fit(tmp_path / "due.csv", model=tmp_path / "due.augment", seed=0, **TINY)
    pipelines.generate(tmp_path / "due.augment", 200, output=tmp_path / "new.csv", seed=0)
    new = pd.read_csv(tmp_path / "new.csv", dtype=str)["due"]
    assert new.str.fullmatch(r"\$-|\$\(?\d{1,3}(,\d{3})*\.\d\d\)?").all()
    assert (new == "$-").mean() == pytest.approx(0.6, abs=0.15)


def test_the_kind_and_the_format_may_be_given():
    assert column_of(["4WD", "2WD"], kind="categorical").format is None
    assert column_of(["$1,234.50", "$7.99"], kind="float").format == "${,}"
    (column,) = read_schema(source_of(["4WD", "2WD"]), [{"name": "a", "kind": "integer", "format": "{}WD"}]).columns
    assert column.format == "{}WD"
    for format_ in ("$", "({}", "{};", "{};5"):
        with pytest.raises(AugmentError, match=r"the format '.*' is none of numbers"):
            read_schema(source_of(["$4", "$2"]), [{"name": "a", "kind": "integer", "format": format_}])


@pytest.mark.slow
def test_new_rows_have_the_marks(tmp_path):
    rng = np.random.default_rng(0)
    amounts = rng.lognormal(6.0, 1.0, 300)
    table = pd.DataFrame(
        {
            "price": [f"${amount:,.2f}" if amount > 100 else "" for amount in amounts],
            "share": [f"{share:.1f}%" for share in 5 + amounts / 500 + rng.normal(size=300)],
            "rooms": [f"{count} rooms" for count in rng.integers(1, 7, 300)],
        }
    )
    table.to_csv(tmp_path / "homes.csv", index=False)
    model = tmp_path / "homes.augment"
    pipelines.fit(tmp_path / "homes.csv", model=model, seed=0, **TINY)
    pipelines.generate(model, 200, output=tmp_path / "new.csv", where=["price>=$1,000", "rooms=3 rooms"], seed=0)
    new = pd.read_csv(tmp_path / "new.csv", dtype=str)
    assert new["price"].str.fullmatch(r"\$\d{1,3},\d{3}\.\d\d").all()
    assert new["share"].str.fullmatch(r"-?\d+\.\d%").all()
    assert set(new["rooms"]) == {"3 rooms"}
    frame = pipelines.generate(model, 50, seed=0)
    assert [frame[name].dtype.kind for name in frame] == ["f", "f", "i"]
    assert np.isfinite(pipelines.score(tmp_path / "homes.csv", model=model)["log_prob"]).all()


def test_bare_points_are_between_thousands_where_they_cannot_be_decimals():
    cells = ["567", "1.234", "2.790", "88", "950", "1.012.500", "43.871"]
    column = infer_schema(table_of(a=cells[:5], b=["x"] * 5))["a"]
    assert (column.kind, column.format) == ("integer", "{..}")
    assert "--type a=float" in column.why
    assert numbers(pa.chunked_array([cells]), column, Dialect(), "t.csv")[[1, 5]].tolist() == [1234, 1_012_500]
    assert spell(column, np.array([1234.0, 88.0])).to_pylist() == ["1.234", "88"]
    assert infer_schema(table_of(a=cells[:5]), kinds={"a": "float"})["a"].format is None


@pytest.mark.parametrize(
    ("cells", "delimiter", "others"),
    [
        (["567", "1.234", "2.790", "88", "950"], ",", "x"),
        (["567", "1.234", "2.790", "88", "950"], ";", "17.63"),
        (["567", "1.234", "2.79", "88", "950"], ";", "x"),
        (["567", "1.234", "2.791", "88", "950"], ";", "x"),  # decimals without the last zeros
        (["567", "0.234", "2.790", "88", "950"], ";", "x"),
        (["1.250", "1.234", "2.790", "-200", "0.000"], ";", "x"),
        (["1.250", "1.234", "2.790", "-200", "-200"], ";", "x"),
    ],
)
def test_bare_points_are_before_decimals_where_they_may_be(cells, delimiter, others):
    column = infer_schema(table_of(delimiter, a=cells, b=[others] * 5))["a"]
    assert (column.kind, column.format) == ("float", None)


@pytest.mark.parametrize(
    ("cells", "format_", "values"),
    [
        (["45%", "45 %", "12%", "-7\u00a0%", "3%"], "{}%", [45, 45, 12, -7, 3]),
        (["$ 5", "$5", "$ 1,200"], "$ {,}", [5, 5, 1200]),
    ],
)
def test_a_space_beside_a_mark_is_there_or_not_and_new_numbers_have_what_most_have(cells, format_, values):
    column = column_of(cells)
    assert column.format == format_
    assert numbers(pa.chunked_array([cells]), column, Dialect(), "t.csv").tolist() == values
    assert spell(column, np.array([values[1]], float)).to_pylist() == cells[:1]
