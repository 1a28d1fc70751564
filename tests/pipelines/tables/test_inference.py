"""What a column is follows from its cells, and a column that fits nothing is named with what to do."""

import datetime
import decimal
import hashlib
import re
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines import AugmentError, UsageError
from pipelines.fitting.fit_result import handled
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.reading import read_source
from pipelines.tables.files.source import Source
from pipelines.tables.kinds.identifiers import make_identifiers
from pipelines.tables.kinds.inference import infer_schema, read_schema
from pipelines.tables.schema import Column, Schema
from pipelines.tables.texts.dialect import Dialect, ReadOptions
from pipelines.tables.texts.spelling import spell


def source_of(columns, is_typed=False, dialect=Dialect(), **more):
    table = pa.table(columns)
    return Source(table, "t.csv", None, None, dialect, table.num_rows, 2, is_typed, **more)


def column_of(cells, kind=None, is_typed=False, **more):
    (column,) = infer_schema(source_of({"a": cells}, is_typed, **more), kinds={"a": kind} if kind else {}).columns
    return column


def refusal(cells, kind=None, error=AugmentError, **more):
    with pytest.raises(error) as caught:
        column_of(cells, kind, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Numbers.


@pytest.mark.parametrize("cells", [["1", "2"], ["-3", "+4"], ["0", "7"], [" 1", "2 "], ["0", "1", "1"]])
def test_whole_numbers_are_integers(cells):
    column = column_of(cells)
    assert (column.kind, column.decimals, column.why) == ("integer", 0, "whole numbers, 2 distinct")


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
        (["1.25", "NA", "2.50"], 2, 2),
        (["9.0", "4.0", "1.5", "-200"], 1, 1),  # as most are
        (["9", "4", "1.5", "2.0"], 1, 0),
        (["1e-3", "0.25"], 3, 2),
        (["9.5e-05", "0.0", "0.0123"], 6, 1),  # as pandas writes them
        (["2.5E10", "1"], 0, 0),
        # At full precision: a step finer than float64 holds with room for the rounding of a sum is none.
        (["1.2e-3", "4.4E-05", "0.25"], None, 0),
        (["0.5", "1e-16"], None, 1),
        (["0.5", "0.25", "0.75", "1e-310"], None, 1),
        (["0.5", "0.25", "0.75", "0e-400"], None, 1),
        (["0.5", "0.25", "0.75", "1e-99999999999999999999"], None, 1),
        (["0.1234567890123456789", "1"], None, 0),
        # What arithmetic left of rounding is no digit; if a number has as many, they all are.
        (["0.30000000000000004", "0.25", "12.600000000000001"], 2, 1),
        (["42.05976099999999", "-93.60538400000002", "1.5"], 6, 1),
        (["5.000000000000001", "7.5"], 1, 0),
        (["8.94956", "8.3945900000000009"], 5, 5),  # all 17 digits of a number of 6
        (["1234567.500000000", "1234567.125000000"], None, 1),
        (["0.30000000000000004", repr(np.pi)], None, 1),
        (["0.30000000000000004", "1.25e-05", "0.25"], 7, 1),
        (["0.30000000000000004", "0.1234567890123456"], None, 1),
        (["1000000000000.000001", "2.5"], None, 1),
        ([repr(np.pi * 1e3), repr(np.e), "0.0"], None, 1),
    ],
)
def test_decimals_are_the_most_and_the_fewest_digits_after_the_point(cells, decimals, min_decimals):
    column = column_of(cells)
    assert (column.kind, column.decimals, column.min_decimals) == ("float", decimals, min_decimals)


def test_frequent_zeros_without_decimals_say_nothing_of_other_numbers():
    cells = [f"{number * 0.37:.2f}" for number in range(1, 300)]
    assert column_of([*cells, *["0"] * 130]).min_decimals == 2
    assert column_of([*(cell.rstrip("0") for cell in cells), *["0"] * 130]).min_decimals < 2


def test_what_arithmetic_left_of_a_few_numbers_is_known_of_each_as_it_is_most_often():
    cells = ["0.30000000000000004", "12.600000000000001", "0.25", "12.6", "12.600000000000001", "0.7", "7e-05"]
    assert column_of(cells).noisy == (0.1 + 0.2, 12.600000000000001)
    assert column_of([float(cell) for cell in cells], is_typed=True).noisy == (0.1 + 0.2, 12.600000000000001)
    assert column_of([*cells, "12.6", "12.6"]).noisy == (0.1 + 0.2,)
    assert column_of(["0,30000000000000004", "2,5"], dialect=Dialect(delimiter=";", decimal=",")).noisy == (0.1 + 0.2,)
    assert column_of([*cells, *[f"{number}.5" for number in range(1000)]]).noisy == ()  # of many, none is


def test_decimal_commas():
    column = column_of(["1,5", "2,25", "3"], dialect=Dialect(delimiter=";", decimal=","))
    assert (column.kind, column.decimals, column.min_decimals) == ("float", 2, 0)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["00501", "10001", "00501"], "categorical"),
        (["007", "07", "7"], "categorical"),
        (["0.5", "00.5"], "float"),
        (["0", "10"], "integer"),
        (["9" * 19, "8" * 19, "9" * 19], "categorical"),
        (["9" * 19, "1"], "float"),
    ],
)
def test_codes_are_no_numbers(cells, kind):
    assert column_of(cells).kind == kind


def test_a_few_leading_zeros_among_whole_numbers_are_numbers_and_named():
    numbers = [str(i * i) for i in range(300)]
    column = column_of([*numbers, "00"])
    assert column.kind == "integer"
    assert "1 cell with leading zeros ('00' in row 302) is read as such; if all are codes" in column.why
    assert "--type a=categorical" in column.why
    assert column_of([*numbers, *(f"0{i}" for i in range(20))]).kind == "text"
    assert column_of([f"{i % 90 + 9:02d}" for i in range(600)]).kind == "categorical"  # all of one length


def test_codes_that_hardly_repeat_are_left_out():
    rng = np.random.default_rng(0)
    numbers = rng.integers(10**6, 10**9, 1000)
    codes = [f"{number:0{digits}d}" for number, digits in zip(numbers, rng.integers(9, 11, 1000), strict=True)]
    assert column_of(codes).kind == "text"
    users = [str(number) for number in rng.integers(10**17, 10**18, 900)]
    assert column_of([*users, *users[:50]]).kind == "text"
    assert column_of([*users[:50]] * 20).kind == "categorical"


def test_texts_among_numbers_are_missing_values_if_they_are_markers_or_rare_and_repeat():
    numbers = [str(i * i) for i in range(300)]
    column = column_of([*numbers, "n.d.", "-", "n.d."])
    assert (column.kind, column.missing) == ("integer", ("n.d.", "-"))
    assert column.missing_share == pytest.approx(3 / 303)
    assert "'n.d.', '-' counts as missing" in column.why
    column = column_of([*numbers, "<LOD", "<LOD", ""])
    assert (column.kind, column.missing) == ("integer", ("", "<LOD"))
    # As the codes of two kinds often are.
    assert column_of([*numbers, *(f"A{i}" for i in range(30))]).kind in ("categorical", "text")


def test_a_few_texts_that_do_not_repeat_among_numbers_are_named():
    message = refusal([*(str(i * i) for i in range(300)), "12a", "1O4"])
    assert "'a' is numeric but for 2 cells, 0.66 % ('12a' in row 302)" in message
    assert "--null-value=12a" in message
    assert "--type a=categorical" in message


@pytest.mark.parametrize(
    "cells",
    [
        [*map(str, range(0, 3000, 7)), "inf"],
        [*map(str, range(0, 300, 7)), *["inf"] * 30],
        ["-Infinity", "1.5", "2.5"],
        [*map(str, range(100)), *["inf"] * 30, *["n.d."] * 3],
        pa.array([1.0, float("inf")]),
    ],
)
def test_infinities_are_named(cells):
    assert re.search(r"'a' is infinite \('(inf|-Infinity)' in row ", refusal(cells))


def test_all_columns_that_cannot_be_read_are_named_at_once():
    odd = [*(str(i * i) for i in range(300)), "12a"]
    with pytest.raises(AugmentError) as caught:
        infer_schema(source_of({"the age": odd, "good": [*map(str, range(301))], "b": odd[::-1]}))
    assert str(caught.value).startswith("t.csv: column 'the age' is numeric but")
    assert "column 'b' is numeric but" in str(caught.value)
    assert "'the age=categorical'" in str(caught.value) or "'the age'=categorical" in str(caught.value)


def test_null_values_that_are_numbers_are_missing_in_every_spelling(tmp_path):
    """As in the AirQuality table of UCI: semicolons, decimal commas, -200 for missing, dotted times, blank ends."""
    rows = [f"{d:02d}/03/2004;{h:02d}.00.00;{t};{c};;" for d in range(10, 20) for h, t, c in
            ((18, "2,6", "1360"), (19, "-200", "-200"), (20, "-200,0", "1292"), (21, "11,9", "1402"))]  # fmt: skip
    (tmp_path / "t.csv").write_bytes("\r\n".join(["Date;Time;CO(GT);S1;;", *rows, ";;;;;", ""]).encode())
    schema = infer_schema(read_source(tmp_path / "t.csv"))
    assert [column.kind for column in schema.columns] == ["date", "time", "float", "integer", "constant", "constant"]
    assert (schema["Date"].format, schema["Time"].format) == ("%d/%m/%Y", "%H.%M.%S")
    assert schema["CO(GT)"].missing == ()
    schema = infer_schema(read_source(tmp_path / "t.csv", ReadOptions(null_values=("-200",))))
    assert schema["CO(GT)"].missing == ("-200", "-200,0")
    assert schema["CO(GT)"].missing_share == 0.5
    assert (schema["CO(GT)"].min_decimals, schema["S1"].missing_share) == (1, 0.25)


# Constants, truth values, categories and texts.


@pytest.mark.parametrize("text", ["5", "1.50", "north, 1", 'say "no"', "-0.0", " x "])
def test_a_column_of_one_value_is_a_constant_in_its_own_spelling(text):
    column = column_of([text, text])
    assert (column.kind, column.value) == ("constant", text)


@pytest.mark.parametrize("cells", [["", ""], ["NA", "NA", ""]])
def test_a_column_of_missing_cells_is_a_constant(cells):
    column = column_of(cells)
    assert (column.kind, column.value, column.missing_share) == ("constant", cells[0], 1.0)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["True", "False", "True"], "boolean"),
        (["yes", "no", "NA"], "boolean"),
        (["Y", "N"], "boolean"),
        (["t", "f"], "boolean"),
        (["male", "female"], "categorical"),
        (["True", "False", "true"], "categorical"),
        (["yes", "", "yes"], "categorical"),
        (["N1A1", "N1A2"] * 50, "categorical"),
        (["1", "Once upon \na time", "7"], "categorical"),
        ([f"site {i % 150}" for i in range(300)], "categorical"),
        ([f"{'long ' * (i % 7 + 4)}{i}" for i in range(200)], "text"),
        ([f"word{'x' * (i % 5)}" if i % 9 == 0 else f"w{i * 7 % 991}{'y' * (i % 3)}" for i in range(200)], "text"),
        (["10:00-11:00", "11:00-12:00"], "categorical"),
    ],
)
def test_texts(cells, kind):
    assert column_of(cells).kind == kind


def test_text_may_be_kept():
    cells = [f"{'long ' * (i % 7 + 4)}{i}" for i in range(200)]
    (column,) = infer_schema(source_of({"a": cells}), kinds={"a": "categorical"}).columns
    assert column.kind == "categorical"


# Dates and times.


@pytest.mark.parametrize(
    ("cells", "kind", "format_"),
    [
        (["2007-11-11", "2008-01-02"], "date", "%Y-%m-%d"),
        (["10/03/2004", "31/03/2004"], "date", "%d/%m/%Y"),
        (["03/10/2004", "03/31/2004"], "date", "%m/%d/%Y"),
        (["3/1/2004", "12/31/2004"], "date", "%-m/%-d/%Y"),
        # Undecided: the order of the rows says, else the day comes first.
        ([f"{m:02d}/{d:02d}/2004" for m in range(1, 12) for d in (2, 5, 9)], "date", "%m/%d/%Y"),
        (["05/04/2004", "04/05/2004", "05/04/2004"], "date", "%d/%m/%Y"),
        (["31.12.1999", "01.01.2000"], "date", "%d.%m.%Y"),
        (["20200131", "20191231", "20200229", "20200301", "20200401"], "date", "%Y%m%d"),
        (["2019-11", "2020-02"], "date", "%Y-%m"),
        (["3/2019", "12/2020"], "date", "%-m/%Y"),
        (["Mar 2019", "Dec 2020"], "date", "%b %Y"),
        (["Mar-19", "Dec-20"], "date", "%b-%y"),
        (["01-JAN-20", "31-MAY-20"], "date", "%d-%^b-%y"),  # as Oracle
        (["01JAN2020", "31MAY2020"], "date", "%d%^b%Y"),  # as SAS
        (["1-JAN-2020", "31-MAY-2020"], "date", "%-d-%^b-%Y"),
        (["Wed 01 Jan 2020", "Sun 31 May 2020"], "date", "%a %d %b %Y"),
        (["JAN-20", "MAY-21"], "date", "%^b-%y"),
        (["2003-04", "2004-05", "2010-11"], "categorical", None),  # seasons
        (["1044-11", "2019-01"], "categorical", None),
        (["2011-1", "2012-4", "2013-3"], "categorical", None),  # quarters
        (["2003-05", "2005-07", "2007-09", "2009-10"], "categorical", None),
        (["2019-11", "2020-13"], "categorical", None),
        (["18.00.00", "19.30.00"], "time", "%H.%M.%S"),
        (["18:00", "07:30", ""], "time", "%H:%M"),
        (["1:05 PM", "11:30 AM"], "time", "%-I:%M %p"),
        (["02/26/2024 9:10 AM", "11/30/2024 12:00 PM"], "datetime", "%m/%d/%Y %-I:%M %p"),
        (["2024-02-26 9:10", "2024-11-30 12:00"], "datetime", "%Y-%m-%d %-H:%M"),
        (["2020-01-31T10:11:12Z", "2020-02-29T10:11:12Z"], "datetime", "%Y-%m-%dT%H:%M:%SZ"),
        (["2020-01-31 10:11", "2020-02-29 00:00"], "datetime", "%Y-%m-%d %H:%M"),
        (["2020-01-31 10:11:12.500+00", "2020-02-29 10:11:12.500+00"], "datetime", "%Y-%m-%d %H:%M:%S.%f+00"),
        ([f"202001{d}235959" for d in range(10, 30)], "datetime", "%Y%m%d%H%M%S"),
        (["20200131", "20200131235959", "1", "2", "3"], "integer", None),
        (["10:30-12", "11:30-12", "09:30-12"], "categorical", None),
        (["2020-01-31", "2020-02-30"], "categorical", None),
        (["2020-01-31", "n/a", "2020-02-01"], "date", "%Y-%m-%d"),
    ],
)
def test_dates_and_times_have_one_format(cells, kind, format_):
    column = column_of(cells)
    assert (column.kind, column.format) == (kind, format_)


DAYS = [f"2020-{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 21)]


def test_a_date_that_is_none_among_dates_is_named():
    said = "holds dates or times but for 1 cell, 0.41 % ('2019-02-30' in row 242)"
    assert said in refusal([*DAYS, "2019-02-30"])
    assert said in refusal([*DAYS[1:], DAYS[0], "2019-02-30"])
    assert "('2019-02-30' in row 2)" in refusal(["2019-02-30", *DAYS])


def test_a_code_among_codes_such_as_months_is_no_date_that_is_none():
    codes = [f"{1_000 + 13 * place}-{place % 12 + 1:02d}" for place in range(150)]
    assert column_of([*codes, *codes, "1500-77"]).kind != "date"


def test_a_marker_beside_a_date_that_is_none_hides_nothing():
    assert "('2019-02-30' in row 262)" in refusal([*DAYS, *20 * ["unknown"], "2019-02-30"])


def test_a_date_beyond_all_others_that_repeats_is_a_missing_cell():
    column = column_of([*DAYS, "9999-12-31", "9999-12-31"])
    assert (column.kind, column.format, column.missing) == ("date", "%Y-%m-%d", ("9999-12-31",))
    assert column.why.endswith("'9999-12-31' counts as missing")


@pytest.mark.parametrize(
    ("repeats", "why"),
    [
        (0, "300 long texts, none of which repeat"),
        (20, "340 texts, 40 of which repeat"),
        (60, "420 long texts, 120 of which repeat; say --type a=categorical to model these"),
    ],
)
def test_left_out_texts_are_advised_to_be_modelled_if_they_repeat(repeats, why):
    cells = [f"{'a long text, the ' * why.count('long')}{number * 7919 % 9973}" for number in range(300)]
    texts = [f"{cell} x{number * 31 % 17}" for number, cell in enumerate(cells)]
    texts = [*texts, *[f"again {text}" for text in texts[:repeats]] * 2]
    column = column_of(texts)
    assert (column.kind, column.why) == ("text", why)
    assert handled(column, Encoding(())) == f"left out: free text ({why})"


def test_what_pandas_counts_as_missing_is_so_among_texts():
    cells = [*["yes", "no", "maybe"] * 100, "n/a", "<NA>", "#N/A", "N/A", "NONE"]
    assert set(column_of(cells).missing) == {"n/a", "<NA>", "#N/A", "N/A"}
    assert column_of(cells, dialect=Dialect(null_values=("",))).missing == ()


@pytest.mark.parametrize("text", ["Null", "NAN", "none", "(null)", "[NULL]"])
def test_a_mark_of_programs_among_numbers_is_a_missing_cell_unless_it_is_said_to_be_a_text(text):
    cells = [*map(str, range(300)), *[text] * 30]
    column = column_of(cells)
    assert (column.kind, column.missing) == ("integer", (text,))
    dialect = Dialect(null_values=("",))
    assert column_of(cells, dialect=dialect).kind != "integer"


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("%Y-%m-%d", "9999-12-31"),
        ("%Y-%m-%d", "0001-01-01"),
        ("%Y-%m-%d", "1900-01-00"),
        ("%d.%m.%Y", "31.12.9999"),
        ("%Y-%m-%d %H:%M:%S", "9999-12-31 23:59:59"),
        ("%Y-%m-%dT%H:%M:%SZ", "0001-01-01T00:00:00Z"),
        ("%Y%m%d", "99991231"),
        ("%Y%m%d", "0"),
        ("%Y%m%d", "-1"),
    ],
)
def test_a_date_that_stands_for_none_is_a_missing_cell(format_, text):
    dates = [datetime.datetime.fromisoformat(day).strftime(format_) for day in DAYS]
    column = column_of([*dates, *[text] * 160, *["-"] * 10])
    assert (column.format, set(column.missing)) == (format_, {"-", text})
    assert column.missing_share == pytest.approx(170 / 410)


@pytest.mark.parametrize(
    "format_",
    [
        "%a, %d %b %Y %H:%M:%S GMT",
        "%a %b %d %H:%M:%S %Y",
        "%Y-%m-%dT%H:%M:%S+0{}:00",
        "%d-%b-%y %H.%M.%S {}M",
        "%d %b (%a) %Y",
        "%d-%y-%m",
    ],
)
def test_dates_in_no_known_format_are_not_made_anew_as_if_they_were_identifiers(format_):
    moments = [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=27 * i, seconds=61 * i) for i in range(200)]
    column = column_of([moment.strftime(format_).format(i % 2 + 1) for i, moment in enumerate(moments)])
    assert column.kind == "text"
    assert "in no known format" in column.why or "with different zones (+01:00, +02:00)" in column.why


def test_dates_of_which_some_have_times_are_told():
    column = column_of([*DAYS, *(f"{day} 12:30:00" for day in DAYS)])
    assert (column.kind, "some have times" in column.why) == ("text", True)
    column = column_of([*DAYS, *(f"{day} 12:30:00" for day in DAYS)] * 4)
    assert (column.kind, "some have times" in column.why) == ("categorical", True)


@pytest.mark.parametrize(
    "cells",
    [
        [f"{i * 7919 % 900 + 100}-{i % 90 + 10}-{i * 31 % 9000 + 1000}" for i in range(300)],
        [":".join(hashlib.md5(str(i).encode()).hexdigest()[j : j + 2] for j in range(0, 12, 2)) for i in range(300)],
        [f"INV-202001{i % 28 + 1:02d}-{i * 7919 % 9000:04d}" for i in range(300)],
        [f"MAR-{i * 7919 % 9000:04d}" for i in range(300)],
        [f"{i * 7919 % 90 + 10}-{i % 90 + 10}-{i * 31 % 9000 + 1000}" for i in range(300)],
        [f"2023-{i % 12 + 1:02d}-{i % 28 + 1:02d}-{i * 7919 % 90000:05d}" for i in range(300)],
        [f"IMG_202001{i % 28 + 1:02d}_{i * 7919 % 240000:06d}" for i in range(300)],
    ],
)
def test_identifiers_with_the_marks_of_dates_are_identifiers(cells):
    assert column_of(cells).kind == "identifier"


def test_whole_numbers_beyond_those_that_are_exact_are_written_without_an_exponent():
    column = column_of(["1000000000000000", "20000000000000000", "2104034738148025600"])
    assert (column.kind, column.decimals) == ("float", 0)
    assert spell(column, np.array([4.875682455989056e17])).to_pylist() == ["487568245598905600"]


def test_a_mark_of_databases_is_a_missing_cell():
    column = column_of([r"\N", "1", "7", "12"])
    assert (column.kind, column.missing) == ("integer", (r"\N",))


def test_fractions_of_a_second_are_counted():
    column = column_of(["2020-01-31 10:11:12.250", "2020-01-31 10:11:12"])
    assert (column.format, column.decimals, column.min_decimals) == ("%Y-%m-%d %H:%M:%S.%f", 3, 0)


def test_a_day_that_might_be_the_month_is_told():
    assert "day first though it might be the month" in column_of(["05/04/2004", "04/05/2004", "05/04/2004"]).why


# Identifiers.


@pytest.mark.parametrize(
    ("cells", "identifier"),
    [
        (
            [str(i) for i in range(1, 892)],
            {"kind": "sequence", "prefix": "", "suffix": "", "width": 0, "start": 1, "step": 1, "count": 891},
        ),
        (
            [f"INV-{i:05d}" for i in range(10, 400, 10)],
            {"kind": "sequence", "prefix": "INV-", "suffix": "", "width": 5, "start": 10, "step": 10, "count": 39},
        ),
        (
            [str((i * 37) % 100 + 5) for i in range(100)],  # in no order
            {"kind": "sequence", "prefix": "", "suffix": "", "width": 0, "start": 5, "step": 1, "count": 100},
        ),
        (
            [f"{i:03d}" for i in range(100)],
            {"kind": "sequence", "prefix": "", "suffix": "", "width": 3, "start": 0, "step": 1, "count": 100},
        ),
        ([str(uuid.UUID(int=i * 7**40)) for i in range(30)], {"kind": "uuid", "upper": False}),
        (
            [f"A{chr(65 + i * 7 % 26)}-{i * 7919 % 10007 % 9000 + 1000}x" for i in range(60)],
            {"kind": "pattern", "pattern": "\\AA-9999x"},
        ),
        (
            [hashlib.md5(str(i).encode()).hexdigest()[:8] for i in range(60)],
            {"kind": "pattern", "pattern": "hhhhhhhh"},
        ),
    ],
)
def test_identifiers_are_made_anew(cells, identifier):
    column = column_of(cells)
    assert (column.kind, column.identifier) == ("identifier", identifier)
    assert column.why.startswith("every value occurs once")


@pytest.mark.parametrize(
    ("cells", "new"),
    [
        ([f"ID-{i}" for i in range(500, 0, -1)], ["ID-501", "ID-502"]),
        ([str(i) for i in range(300, 0, -10)], ["310", "320"]),
        ([f"{i:03d}" for i in range(999, 900, -1)], ["1000", "1001"]),
    ],
)
def test_numbers_that_go_down_go_on_above_the_greatest(cells, new):
    """They are of a table whose newest row comes first; below its last row the numbers would be negative."""
    assert make_identifiers(column_of(cells), 0, 2, seed=0).to_pylist() == new


@pytest.mark.parametrize(
    "cells",
    [
        [str(v) for v in np.random.default_rng(0).choice(10_000, 200, replace=False)],  # prices of a small table
        [str(year) for year in range(1950, 2020)],
        ["1", "2", "3"],
        [str(i) for i in range(100)] + ["7"],
    ],
    ids=["prices", "years", "few rows", "one twice"],
)
def test_numbers_that_happen_to_be_distinct_are_no_identifiers(cells):
    assert column_of(cells).kind == "integer"


def test_a_sequence_is_known_from_a_sample():
    rows = np.sort(np.random.default_rng(0).choice(10_000, 500, replace=False))
    source = source_of({"a": [str(row + 1) for row in rows]}, rows=rows)
    source = Source(**{**source.__dict__, "num_rows": 10_000})
    (column,) = infer_schema(source).columns
    assert column.identifier["start"] == 1
    assert column.identifier["count"] == 10_000


# Typed columns.


@pytest.mark.parametrize(
    ("values", "kind", "decimals", "arrow_type"),
    [
        (np.array([1, 2], np.int64), "integer", 0, "int64"),
        (np.array([1, 2], np.uint8), "integer", 0, "uint8"),
        (np.array([1.0, 2.0]), "float", 0, "double"),  # a float column stays float when all its values are whole
        (np.array([0.25, 1.5]), "float", 2, "double"),
        # The shortest text of a float32 counts, not the digits of its float64 neighbour.
        (np.array([0.1, 0.25], np.float32), "float", 2, "float"),
        (np.array([1 / 3, 0.1]), "float", None, "double"),
        (pa.array([decimal.Decimal("1.10"), decimal.Decimal("2.25")]), "float", 2, "decimal128(3, 2)"),
        (pa.array(["1.0", "2.0"], pa.large_string()), "float", 1, "large_string"),
        (pa.array(["3", "4"]).dictionary_encode(), "categorical", None,
         "dictionary<values=string, indices=int32, ordered=0>"),
        (pa.array([True, False, None]), "boolean", None, "bool"),
        (pa.array([datetime.date(2020, 1, 1), datetime.date(2020, 1, 5)]), "date", 0, "date32[day]"),
        (pa.array([1, 2], pa.timestamp("ms", "Europe/Paris")), "datetime", 3, "timestamp[ms, tz=Europe/Paris]"),
        (pa.array([1_000_000, 2_000_000], pa.timestamp("us")), "datetime", 0, "timestamp[us]"),
        (pa.array([1, 2], pa.time32("s")), "time", 0, "time32[s]"),
        (pa.array([[1.0], [2.0]]), "text", None, "list<item: double>"),
        (pa.array([b"a", b"b"]), "text", None, "binary"),
        (pa.nulls(2), "constant", None, "null"),
    ],
)  # fmt: skip
def test_the_type_of_a_typed_column_counts(values, kind, decimals, arrow_type):
    column = column_of(values, is_typed=True)
    assert (column.kind, column.decimals, column.arrow_type) == (kind, decimals, arrow_type)


def test_an_ordered_category_keeps_its_order():
    frame = pd.DataFrame({"a": pd.Categorical(["m", "s", None], categories=["s", "m", "l"], ordered=True)})
    column = infer_schema(read_source(frame))["a"]
    assert (column.kind, column.levels) == ("ordered", ("s", "m", "l"))
    assert column.missing_share == pytest.approx(1 / 3)


def test_a_data_frame_and_its_parquet_file_have_the_same_schema(tmp_path):
    frame = pd.DataFrame({"i": [1, 2], "f": [0.25, np.nan], "c": [3, 3], "t": ["1.10", "2.25"], "b": [True, False]})
    frame.to_parquet(tmp_path / "t.parquet")
    schemas = [infer_schema(read_source(data)) for data in (frame, tmp_path / "t.parquet")]
    assert [column.kind for column in schemas[0].columns] == ["integer", "float", "constant", "float", "boolean"]
    assert [column.kind for column in schemas[1].columns] == [column.kind for column in schemas[0].columns]
    assert schemas[0]["f"].missing == ("",)


# What a person says.


def test_columns_are_dropped():
    schema = infer_schema(source_of({"a": ["1", "2"], "b": ["x", "y"]}), drop=["a"])
    assert schema.names == ["b"]
    with pytest.raises(UsageError, match=r"t\.csv has no column 'c'; it has 'a', 'b'"):
        infer_schema(source_of({"a": ["1", "2"], "b": ["x", "y"]}), drop=["c"])
    with pytest.raises(UsageError, match="no column is left"):
        infer_schema(source_of({"a": ["1", "2"]}), drop=["a"])


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2"], "float"),
        (["1", "2"], "categorical"),
        (["1.0", "2.0"], "integer"),
        (["00501", "10001"], "integer"),
        (["x", "y"], "boolean"),
        (["x", "y"], "text"),
        (["2020-01-01", "2020-01-02"], "categorical"),
        (["1", "2", "3"], "identifier"),
        (["5", "5"], "integer"),
    ],
)
def test_a_kind_may_be_given(cells, kind):
    column = column_of(cells, kind)
    assert (column.kind, column.why) == (kind, "as asked")


def test_levels_that_begin_with_numbers_have_an_order():
    assert column_of(["25-34", "100+", "18-24"], "ordered").levels == ("18-24", "25-34", "100+")


@pytest.mark.parametrize(
    ("cells", "kind", "said"),
    [
        (["1", "x"], "float", "cannot be float: 'x' in row 3 is no number"),
        (["1", "2.5"], "integer", "cannot be integer: '2.5' in row 3 is not whole"),
        (["a", "b", "c"], "boolean", "cannot be boolean: it has 3 values, not two"),
        (["a", "b"], "date", "cannot be date: no format"),
        (["2020-01-01", "2020-01-02"], "time", "row 2, but date"),
        (["low", "high"], "ordered", "cannot be ordered: the order of 'low', 'high' is not known"),
        (["a", "bcd"], "identifier", "cannot be identifier"),
        (["a", "b"], "constant", "cannot be constant: it has 2 values"),
        (["", ""], "float", "cannot be float: every cell is missing"),
    ],
)
def test_values_that_do_not_fit_the_kind_asked_for_are_named(cells, kind, said):
    assert said in refusal(cells, kind)


def test_a_kind_that_does_not_exist_is_wrong_usage():
    assert "'number' is no kind; kinds are float" in refusal(["1", "2"], "number", UsageError)


def test_a_schema_is_read_as_it_was_written():
    source = source_of({"a": ["1", "2", "NA"], "b": ["05/04/2004", "04/05/2004", "05/04/2004"], "c": ["x", "x", "x"]})
    schema = infer_schema(source)
    assert read_schema(source, schema.to_json()) == schema


def test_a_schema_says_what_counts():
    source = source_of({"a": ["low", "high", "none"], "b": ["05/04/2004", "04/05/2004", "05/04/2004"]})
    entries = [
        {"name": "b", "kind": "date", "format": "%m/%d/%Y"},
        {"name": "a", "kind": "ordered", "levels": ["low", "mid", "high"]},
    ]
    schema = read_schema(source, entries)
    assert schema.names == ["a", "b"]
    assert schema["a"].levels == ("low", "mid", "high")
    assert schema["a"].missing == ("none",)
    assert schema["b"].format == "%m/%d/%Y"


def test_what_a_schema_leaves_open_is_found_out():
    source = source_of(
        {"a": ["1.50", "2.25"], "b": ["25-34", "18-24"], "c": ["x", "x"], "d": ["2020-01-31", "2020-02-01"]}
    )
    entries = [
        {"name": "a", "kind": "float", "decimals": None},  # at full precision
        {"name": "b", "kind": "ordered", "levels": []},
        {"name": "c", "kind": "constant", "value": None},
        {"name": "d", "kind": "date", "format": None},
    ]
    schema = read_schema(source, entries)
    assert schema["a"].decimals is None
    assert schema["b"].levels == ("18-24", "25-34")
    assert schema["c"].value == "x"
    assert schema["d"].format == "%Y-%m-%d"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"name": "a", "kind": "integer"}], "s.json: column 'b' of t.csv is missing"),
        ([{"name": "x", "kind": "integer"}], "s.json: column 'x' is not in t.csv, which has 'a', 'b'"),
        ([{"name": n, "kind": "integer"} for n in "aab"], "s.json: column 'a' has two entries"),
        ([{"name": "a", "kind": "date"}, {"name": "b", "kind": "integer"}], "column 'a' cannot be date"),
    ],
)
def test_a_schema_that_is_not_the_tables_is_explained(entries, said):
    with pytest.raises(AugmentError) as caught:
        read_schema(source_of({"a": ["1", "2"], "b": ["1", "2"]}), entries, "s.json")
    assert said in str(caught.value)


def test_of_a_column_of_very_much_text_the_beginning_is_looked_at(monkeypatch):
    monkeypatch.setattr("pipelines.tables.kinds.look._MAX_BYTES", 20_000)
    texts = [f"{word} and some words more" for word in ("lorem", "ipsum", "dolor")] * 300
    assert column_of([*texts, *["NA"] * 90]).missing == column_of(texts).missing
    monkeypatch.undo()
    assert column_of([*texts, *["NA"] * 90]).missing == ("NA",)


def test_a_schema_goes_to_json_and_back():
    source = source_of({"a": [str(i) for i in range(100)], "b": ["x", "y"] * 50})
    schema = infer_schema(source)
    assert Schema.from_json(schema.to_json()) == schema
    assert isinstance(schema["a"], Column)
