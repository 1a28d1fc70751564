"""What is written reads like the source, and comes back with the types it had."""

import csv
import datetime
import decimal
import gzip
import io
import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import AugmentError
from pipelines.tables.cells import Cells
from pipelines.tables.files import writing
from pipelines.tables.files.reading import read_source
from pipelines.tables.files.typed import arrow_type, to_table
from pipelines.tables.files.writing import (
    CsvWriter,
    ParquetWriter,
    copy_records,
    csv_column,
    csv_field,
    output_dialect,
    to_frame,
    typed_column,
    writer_for,
)
from pipelines.tables.schema import Column, Schema
from pipelines.tables.texts.dialect import Dialect, ReadOptions

SEMICOLONS = Dialect(delimiter=";", decimal=",")


def numeric(values):
    return Cells(None, (), (), np.array(values, float))


def texts(cells, missing=()):
    """Cells that are texts; those in `missing` mean that the cell is missing."""
    levels = tuple(dict.fromkeys(cells))
    codes = np.array([levels.index(cell) for cell in cells], np.int32)
    return Cells(codes, levels, tuple(level in missing for level in levels), None)


def mixed(cells, missing=()):
    """Cells that are numbers or texts."""
    levels = tuple(dict.fromkeys(cell if isinstance(cell, str) else None for cell in cells))
    codes = np.array([levels.index(cell if isinstance(cell, str) else None) for cell in cells], np.int32)
    values = np.array([np.nan if isinstance(cell, str) else cell for cell in cells])
    return Cells(codes, levels, tuple(level in missing for level in levels), values)


def sliced(cells, start, stop):
    return Cells(
        None if cells.codes is None else cells.codes[start:stop],
        cells.levels,
        cells.is_missing,
        None if cells.values is None else cells.values[start:stop],
    )


def batches(batch, rows, size):
    """A batch in parts: their cells, the number of their first row and of their rows."""
    for start in range(0, rows, size):
        stop = min(start + size, rows)
        yield {name: sliced(cells, start, stop) for name, cells in batch.items()}, start, stop - start


def written(schema, batch, rows, *, size=None, dialect=Dialect(), kind=CsvWriter, seed=0, **options):
    file = io.BytesIO()
    writer = kind(file, schema, dialect, seed=seed, **options)
    if kind is CsvWriter:
        writer.write_header()
    for part in batches(batch, rows, size or max(rows, 1)):
        writer.write(*part)
    writer.close()
    return file.getvalue()


def by_csv(data, dialect=Dialect()):
    return list(csv.reader(io.StringIO(data.decode(dialect.encoding), newline=""), delimiter=dialect.delimiter))


def by_arrow(data, dialect=Dialect()):
    table = pyarrow.csv.read_csv(
        io.BytesIO(data),
        read_options=pyarrow.csv.ReadOptions(autogenerate_column_names=True, encoding=dialect.encoding),
        parse_options=pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types={f"f{i}": pa.string() for i in range(99)}),
    )
    return [list(row.values()) for row in table.to_pylist()]


def table(rows=1000):
    """One column of each kind and their cells."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, rows).astype(np.int16)
    columns = (
        Column("weight", "float", decimals=2, min_decimals=2, missing=("NA",), missing_share=0.2),
        Column("drift", "float"),
        Column("count", "integer"),
        Column("id", "identifier", identifier={"kind": "uuid"}),
        Column("city", "categorical"),
        Column("size", "ordered", levels=("S", "M", "L")),
        Column("alive", "boolean"),
        Column("born", "date", format="%b %d, %Y"),
        Column("woke", "time", format="%H.%M"),
        Column("seen", "datetime", format="%d/%m/%Y %H:%M:%S"),
        Column("note", "text"),
        Column("site", "constant", value="north, 1"),
        Column("order", "identifier", identifier={"kind": "sequence", "start": 1, "count": 100}),
    )
    values = rng.normal(60, 9, rows)
    batch = {
        "weight": Cells(codes % 2, (None, "NA"), (False, True), values),
        "drift": Cells(None, (), (), rng.normal(size=rows)),
        "count": Cells(None, (), (), rng.poisson(7, rows).astype(float)),
        "city": Cells(codes, ("Seoul", 'say "no"', "a,b", "two\nlines"), (False,) * 4, None),
        "size": Cells(codes % 3, ("L", "S", "M"), (False,) * 3, None),
        "alive": Cells(codes % 2, ("yes", "no"), (False,) * 2, None),
        "born": Cells(None, (), (), rng.uniform(0, 20_000, rows)),
        "woke": Cells(None, (), (), rng.uniform(0, 86_400, rows)),
        "seen": Cells(None, (), (), rng.uniform(0, 1.7e9, rows)),
    }
    return Schema(columns), batch, rows


# Fields.

DIALECTS = [
    Dialect(),
    SEMICOLONS,
    Dialect(delimiter="\t"),
    Dialect(delimiter="|", end_of_line="\r\n"),
    Dialect(delimiter=" "),
]
SPECIAL = [
    "plain",
    "a,b",
    "a;b",
    "a\tb",
    "a|b",
    'a"b',
    '"',
    "a\nb",
    "a\r\nb",
    "a\rb",
    " a ",
    "ü",
    "서울",
    "",
    "NA",
    "-",
    "1,5",
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("text", SPECIAL)
def test_a_field_is_read_back_as_it_was(text, dialect):
    line = f"{csv_field(text, dialect)}{dialect.delimiter}x\n".encode()
    assert by_csv(line, dialect) == [[text, "x"]]
    assert by_arrow(line, dialect) == [[text, "x"]]


@settings(max_examples=100)
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=20),
    st.sampled_from(DIALECTS),
    st.booleans(),
)
def test_any_text_is_read_back_as_it_was(cells, dialect, alone):
    if alone and cells[0].startswith("\ufeff"):
        return  # at the start of a file it is a byte order mark, in whatever quotes
    columns = [Column("a", "categorical")] if alone else [Column("a", "categorical"), Column("b", "integer")]
    batch = {"a": texts(cells), "b": numeric(range(len(cells)))}
    batch = {column.name: batch[column.name] for column in columns}
    data = written(Schema(tuple(columns)), batch, len(cells), dialect=dialect)
    expected = [[c.name for c in columns], *([c] if alone else [c, str(i)] for i, c in enumerate(cells))]
    assert by_csv(data, dialect) == expected
    assert by_arrow(data, dialect) == expected


def test_quotes_tell_a_text_from_a_missing_cell():
    """To readers that care; the others have `Dialect.null_values`."""
    cells = texts(["", "NA", "x", "?"], missing=["?"])
    assert csv_column(Column("a", "categorical"), cells, Dialect()).to_pylist() == ['""', '"NA"', "x", "?"]
    assert csv_column(Column("a", "categorical"), texts([""], [""]), Dialect()).to_pylist() == [""]


def test_missing_cells_and_spikes_are_spelled_as_they_were():
    column = Column("a", "float", decimals=1, min_decimals=1)
    cells = mixed([1.25, "NA", "0", 2.0, "n/a, really"], missing=["NA", "n/a, really"])
    assert csv_column(column, cells, Dialect()).to_pylist() == ["1.2", "NA", "0", "2.0", '"n/a, really"']
    assert csv_column(column, texts(["NA", ""], ["NA", ""]), Dialect()).to_pylist() == ["NA", ""]


def test_decimal_commas_are_quoted_among_commas_only():
    column = Column("a", "float", decimals=1)
    assert csv_column(column, numeric([1.5, 2]), SEMICOLONS).to_pylist() == ["1,5", "2"]
    assert csv_column(column, numeric([1.5, 2]), Dialect(decimal=",")).to_pylist() == ['"1,5"', "2"]


def test_dates_with_the_delimiter_in_them_are_quoted():
    column = Column("a", "date", format="%b %d, %Y")
    assert csv_column(column, numeric([0]), Dialect()).to_pylist() == ['"Jan 01, 1970"']
    assert csv_column(column, numeric([0]), SEMICOLONS).to_pylist() == ["Jan 01, 1970"]


@pytest.mark.parametrize("text", ["5", "1.50", "north, 1", 'say "no"', "two\nlines", "", "007", "1" * 20, "NA"])
def test_a_constant_is_written_in_its_own_spelling_and_quoted_if_it_must_be(text):
    schema = Schema((Column("k", "constant", value=text), Column("i", "integer")))
    data = written(schema, {"i": numeric([1, 2])}, 2)
    assert by_csv(data) == by_arrow(data) == [["k", "i"], [text, "1"], [text, "2"]]


def test_a_column_of_nothing_is_written_as_nothing():
    empty = (Column("k", "constant", value="", missing=("",)), Column("l", "constant"))
    assert written(Schema((*empty, Column("i", "integer"))), {"i": numeric([1])}, 1) == b"k,l,i\n,,1\n"


def test_a_table_of_nothing_but_constants_has_all_its_rows():
    schema = Schema((Column("k", "constant", value="a"), Column("l", "constant", value="b")))
    assert written(schema, {}, 3) == b"k,l\n" + 3 * b"a,b\n"


def test_an_empty_cell_alone_in_its_row_is_no_blank_line():
    data = written(Schema((Column("a", "integer"),)), {"a": mixed([1.0, ""], [""])}, 2)
    assert by_csv(data) == by_arrow(data) == [["a"], ["1"], [""]]


# Rows.


def test_every_kind_of_column_is_written_as_in_the_source():
    schema, batch, rows = table()
    found = by_csv(written(schema, batch, rows))
    assert found[0] == [name for name in schema.names if name != "note"]  # free text is left out
    assert found == by_arrow(written(schema, batch, rows))
    assert len(found) == rows + 1
    for row, line in enumerate(found[1:]):
        cells = dict(zip(found[0], line, strict=True))
        weight = batch["weight"]
        assert cells["weight"] == ("NA" if weight.codes[row] else f"{weight.values[row]:.2f}")
        assert float(cells["drift"]) == batch["drift"].values[row]
        assert cells["city"] == batch["city"].levels[batch["city"].codes[row]]
        assert abs(datetime.datetime.strptime(cells["born"], "%b %d, %Y").toordinal() - 719_163
                   - batch["born"].values[row]) <= 0.5  # fmt: skip
        assert cells["site"] == "north, 1"
        assert cells["order"] == str(101 + row)
    assert len({line[3] for line in found[1:]}) == rows


@pytest.mark.parametrize("kind", [CsvWriter, ParquetWriter])
def test_the_bytes_do_not_depend_on_how_the_rows_come(kind, monkeypatch):
    monkeypatch.setattr(writing, "_ROWS_PER_GROUP", 300)
    monkeypatch.setattr(writing, "_ROWS_AT_A_TIME", 170)
    schema, batch, rows = table()
    whole = written(schema, batch, rows, kind=kind, mark="new")
    for size in (1, 7, 300, 999):
        assert written(schema, batch, rows, size=size, kind=kind, mark="new") == whole
    assert written(schema, batch, rows, kind=kind, mark="new", seed=1) != whole


@pytest.mark.parametrize("kind", [CsvWriter, ParquetWriter])
def test_no_rows_are_a_header(kind):
    schema, batch, _ = table(1)
    batch = {name: sliced(cells, 0, 0) for name, cells in batch.items()}
    data = written(schema, batch, 0, kind=kind)
    file = io.BytesIO()
    writer = kind(file, schema, Dialect(), seed=0)
    if kind is CsvWriter:
        writer.write_header()
    writer.write(batch, 0, 0)
    writer.close()
    assert file.getvalue() == data


def test_names_line_ends_and_the_mark_are_written_as_asked():
    schema = Schema((Column("a, b", "integer"), Column('say "no"', "integer"), Column("column_3", "integer")))
    batch = {name: numeric([value]) for name, value in zip(schema.names, (1, 2, 3), strict=True)}
    dialect = Dialect(end_of_line="\r\n", unnamed=("column_3",))
    file = io.BytesIO()
    writer = CsvWriter(file, schema, dialect, seed=0, mark="is new, or not")
    writer.write_header()
    writer.write(batch, 0, 1, is_new=False)
    writer.write(batch, 0, 1)
    assert file.getvalue() == b'"a, b","say ""no""",,"is new, or not"\r\n1,2,3,0\r\n1,2,3,1\r\n'


def test_a_table_without_a_header_has_none():
    schema = Schema((Column("column_1", "integer"), Column("column_2", "integer")))
    batch = {name: numeric([1]) for name in schema.names}
    assert written(schema, batch, 1, dialect=Dialect(has_header=False)) == b"1,1\n"


@pytest.mark.parametrize(
    ("encoding", "bom"),
    [("utf-8", True), ("utf-16-le", True), ("utf-16-be", False), ("cp949", False), ("utf-32-le", True)],
)
def test_the_encoding_is_that_of_the_source(encoding, bom):
    schema = Schema((Column("도시", "categorical"), Column("수", "integer")))
    batch = {"도시": texts(["서울", "부산"]), "수": numeric([1, 2])}
    dialect = Dialect(encoding=encoding, bom=bom)
    data = written(schema, batch, 2, dialect=dialect)
    assert data.decode(encoding) == "\ufeff" * bom + "도시,수\n서울,1\n부산,2\n"
    assert written(schema, batch, 2, size=1, dialect=dialect) == data


def test_a_mark_that_the_encoding_does_not_have_is_an_error():
    with pytest.raises(AugmentError, match="the character '새' cannot be written in cp1252"):
        written(Schema((Column("a", "integer"),)), {}, 0, dialect=Dialect(encoding="cp1252"), mark="새")


def test_free_text_is_missing_where_it_must_be_there():
    schema = Schema((Column("i", "integer"), Column("t", "text", missing=("NA",))))
    batch = {"i": numeric([1])}
    assert written(schema, batch, 1, with_text=True) == b"i,t\n1,NA\n"
    data = written(schema, batch, 1, kind=ParquetWriter, with_text=True)
    assert pq.read_table(io.BytesIO(data)).to_pylist() == [{"i": 1, "t": None}]


def test_cells_that_are_given_are_not_made():
    schema = Schema((Column("id", "identifier", identifier={"kind": "uuid"}), Column("t", "text")))
    batch = {"id": texts(["x1"]), "t": texts(["free, text"])}
    assert written(schema, batch, 1, with_text=True) == b'id,t\nx1,"free, text"\n'


# Types.

LEVELS = ["7", "8", "9"]


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        (Column("a", "integer"), numeric([1.6, -2]), pa.array([2, -2])),
        (Column("a", "integer"), mixed([1.6, "NA", "0"], ["NA"]), pa.array([2, None, 0])),
        (Column("a", "integer", arrow_type="uint8"), numeric([-5, 254.6, 1e9]), pa.array([0, 255, 255], pa.uint8())),
        (Column("a", "integer", arrow_type="int64"), numeric([1e30]), pa.array([2**63 - 1024])),
        (Column("a", "integer", arrow_type="double"), mixed([1.6, ""], [""]), pa.array([2.0, None])),
        (Column("a", "integer", arrow_type="string"), mixed([1.6, ""], [""]), pa.array(["2", None])),
        (Column("a", "float", decimals=1), numeric([0.26, 1e300]), pa.array([0.3, 1e300])),
        (Column("a", "float"), mixed([1 / 3, "1e3", "x"]), pa.array([1 / 3, 1000.0, None])),
        (
            Column("a", "float", arrow_type="float"),
            numeric([0.5, 1e300]),
            pa.array([0.5, 3.4028234663852886e38], pa.float32()),
        ),
        (Column("a", "float", arrow_type="halffloat"), numeric([0.5]), pa.array([np.float16(0.5)], pa.float16())),
        (
            Column("a", "float", decimals=2, arrow_type="decimal128(5, 2)"),
            mixed([0.257, 1e9, "NA"], ["NA"]),
            pa.array([decimal.Decimal("0.26"), decimal.Decimal("999.99"), None], pa.decimal128(5, 2)),
        ),
        (Column("a", "date", format="%d/%m/%Y"), mixed([1.2, "31/12/1999"]), pa.array([1, 10_956], pa.date32())),
        (Column("a", "date", format="iso", arrow_type="date32[day]"), numeric([1.2]), pa.array([1], pa.date32())),
        (Column("a", "date", format="iso", arrow_type="date64[ms]"), numeric([1]), pa.array([86_400_000], pa.date64())),
        (Column("a", "date", format="%Y%m%d", arrow_type="int32"), numeric([1]), pa.array([19_700_102], pa.int32())),
        (
            Column("a", "date", format="%Y-%m-%d", arrow_type="large_string"),
            numeric([1]),
            pa.array(["1970-01-02"], pa.large_string()),
        ),
        (
            Column("a", "datetime", format="iso", decimals=0, arrow_type="timestamp[us, tz=UTC]"),
            mixed([1.6, "NA"], ["NA"]),
            pa.array([2_000_000, None], pa.timestamp("us", "UTC")),
        ),
        (
            Column("a", "datetime", format="iso"),
            numeric([1.6, -1e12]),
            pa.array([1_600_000, -62_135_596_800_000_000], pa.timestamp("us")),
        ),
        (
            Column("a", "datetime", format="iso", arrow_type="timestamp[ns]"),
            numeric([1.5, 1e12]),
            pa.array([1_500_000_000, 9_220_000_000 * 10**9], pa.timestamp("ns")),
        ),
        (
            Column("a", "datetime", format="%Y-%m-%d", arrow_type="timestamp[s]"),
            numeric([7]),
            pa.array([7], pa.timestamp("s")),
        ),
        (Column("a", "time", format="%H:%M"), numeric([90]), pa.array([120_000_000], pa.time64("us"))),
        (Column("a", "time", format="iso", arrow_type="time32[s]"), numeric([1.6]), pa.array([1], pa.time32("s"))),
        (Column("a", "categorical"), texts(["x", "NA"], ["NA"]), pa.array(["x", None])),
        (Column("a", "categorical", arrow_type="int16"), texts(["7", "1.0"]), pa.array([7, 1], pa.int16())),
        (Column("a", "categorical", arrow_type="double"), texts(["7", ""], [""]), pa.array([7.0, None])),
        (
            Column("a", "categorical", arrow_type="timestamp[us]"),
            texts(["1970-01-01 00:00:01"]),
            pa.array([1_000_000], pa.timestamp("us")),
        ),
        (Column("a", "boolean", arrow_type="bool"), texts(["True", "false", ""], [""]), pa.array([True, False, None])),
        (Column("a", "boolean"), texts(["yes", "no"]), pa.array(["yes", "no"])),
        (Column("a", "ordered", arrow_type="large_string"), texts(["x"]), pa.array(["x"], pa.large_string())),
    ],
)
def test_cells_have_the_type_of_their_column(column, cells, expected):
    found = typed_column(column, cells)
    assert found.type == expected.type == arrow_type(column)
    assert found.to_pylist() == expected.to_pylist()
    found.validate(full=True)


@pytest.mark.parametrize(
    ("column", "cells", "expected", "categories"),
    [
        (
            Column("a", "categorical", arrow_type="dictionary<values=string, indices=int8, ordered=0>"),
            ["b", "NA", "a"],
            ["b", None, "a"],
            ["b", "a"],
        ),
        (
            Column(
                "a",
                "ordered",
                levels=("S", "M", "L"),
                arrow_type="dictionary<values=large_string, indices=int32, ordered=1>",
            ),
            ["L", "S"],
            ["L", "S"],
            ["S", "M", "L"],
        ),
        (
            Column("a", "categorical", arrow_type="dictionary<values=int64, indices=int8, ordered=0>"),
            ["7", "7.0", "5"],
            [7, 7, 5],
            [7, 5],
        ),
    ],
)
def test_categories_stay_categories(column, cells, expected, categories):
    found = typed_column(column, texts(cells, ["NA"]))
    assert str(found.type) == column.arrow_type
    assert (found.to_pylist(), found.dictionary.to_pylist()) == (expected, categories)


def test_numbers_may_be_categories():
    column = Column("a", "integer", arrow_type="dictionary<values=int64, indices=int32, ordered=0>")
    assert typed_column(column, mixed([3.0, "NA", 3.0], ["NA"])).to_pylist() == [3, None, 3]


@pytest.mark.parametrize(
    ("value", "arrow", "expected"),
    [
        ("5", None, 5),
        ("1.50", None, 1.5),
        ("007", None, "007"),
        ("1" * 20, None, "1" * 20),
        ("x", None, "x"),
        ("1_0", None, "1_0"),
        ("nan", None, "nan"),
        (None, None, None),
        ("5", "int8", 5),
        ("true", "bool", True),
        ("", None, ""),
    ],
)
def test_a_constant_is_a_number_where_its_text_is_one(value, arrow, expected):
    schema = Schema((Column("k", "constant", value=value, arrow_type=arrow), Column("i", "integer")))
    assert to_table(schema, {"i": numeric([1])}, 0, 1, seed=0).to_pylist() == [{"k": expected, "i": 1}]


def test_a_decimal_comma_is_no_thousand():
    column = Column("a", "float", decimals=1)
    assert typed_column(column, mixed([1.0, "2,5"]), ",").to_pylist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("kind", "type_"), [("categorical", "int64"), ("boolean", "bool"), ("categorical", "date32[day]")]
)
def test_a_text_that_cannot_have_the_type_is_an_error_with_the_column(kind, type_):
    with pytest.raises(AugmentError, match="column 'a': "):
        typed_column(Column("a", kind, arrow_type=type_), texts(["maybe"]))


def test_a_frame_has_the_rows_of_all_batches_and_the_same_identifiers_as_a_file():
    schema, batch, rows = table()
    parts = [(part, count) for part, _, count in batches(batch, rows, 300)]
    frame = to_frame(schema, parts, seed=5)
    assert len(frame) == rows
    data = written(schema, batch, rows, kind=ParquetWriter, seed=5)
    assert frame.equals(pq.read_table(io.BytesIO(data)).to_pandas())
    assert list(frame["order"]) == list(range(101, 101 + rows))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Column("i", "integer", missing=("",), arrow_type="int64"), "Int64"),
        (Column("i", "integer", missing=("",), arrow_type="uint8"), "UInt8"),
        (Column("i", "integer", arrow_type="int16"), "int16"),
        (Column("i", "integer", missing=("",)), "int64"),  # of a CSV
        (Column("i", "float", missing=("",), arrow_type="float"), "float32"),
    ],
)
@pytest.mark.parametrize("rows", [0, 3])
def test_whole_numbers_with_missing_ones_are_nullable_integers_in_a_frame(column, expected, rows):
    frame = to_frame(Schema((column,)), [({"i": numeric(range(rows))}, rows)], seed=0)
    assert str(frame["i"].dtype) == expected
    assert frame["i"].tolist() == list(range(rows))


def test_a_missing_whole_number_of_a_frame_is_na_and_large_ones_are_whole():
    column = Column("i", "integer", missing=("",), arrow_type="int64")
    frame = to_frame(Schema((column,)), [({"i": mixed([5.0, "", 2.0**60], missing=("",))}, 3)], seed=0)
    assert frame["i"].tolist() == [5, pd.NA, 2**60]


# Parquet.


def test_parquet_rows_are_read_back_and_marked(monkeypatch):
    monkeypatch.setattr(writing, "_ROWS_PER_GROUP", 100)
    schema = Schema((Column("i", "integer", arrow_type="int16"), Column("f", "float", decimals=2)))
    file = io.BytesIO()
    writer = ParquetWriter(file, schema, Dialect(), seed=0, mark="new")
    old = pa.table({"i": pa.array([1], pa.int16()), "f": [0.123]})
    writer.write_table(old)
    writer.write({"i": numeric(range(250)), "f": numeric(np.full(250, 0.126))}, 0, 250)
    writer.close()
    found = pq.read_table(file)
    assert [str(t) for t in found.schema.types] == ["int16", "double", "int64"]
    assert found.to_pylist()[:2] == [{"i": 1, "f": 0.123, "new": 0}, {"i": 0, "f": 0.13, "new": 1}]
    assert found.num_rows == 251
    with pytest.raises(AugmentError, match="rows with the columns i, new do not fit i, f, new"):
        writer.write_table(old.select(["i"]))


def test_the_suffix_chooses_the_format():
    schema = Schema((Column("i", "integer"), Column("j", "integer")))
    assert isinstance(writer_for("t.parquet", io.BytesIO(), schema, SEMICOLONS, seed=0), ParquetWriter)
    for name, header in (
        ("t.txt", b"i;j\n"),
        ("t.csv", b"i;j\n"),
        ("-", b"i;j\n"),
        ("t.tsv", b"i\tj\n"),
        ("t.TSV.gz", b"i\tj\n"),
    ):
        file = io.BytesIO()
        assert isinstance(writer_for(name, file, schema, SEMICOLONS, seed=0), CsvWriter)
        assert file.getvalue() == header
    tabs = Dialect(delimiter="\t")
    assert output_dialect("t.csv", tabs).delimiter == ","
    assert output_dialect("t.txt", tabs) == output_dialect("-", tabs) == tabs


# Copies.


@pytest.mark.parametrize(
    ("text", "encoding", "pack"),
    [
        ('a;b\r\n1;2\r\n\r\n"x;\r\ny";4', "utf-8", bytes),
        ("a;b\r1;2\r3;4\r", "utf-8", bytes),
        ("\ufeff도시;수\n서울;2\n", "utf-16-le", bytes),
        ("도시;수\n서울;2\n부산;3\n대구;4\n인천;5\n", "cp949", bytes),
        ("naïve;b\n1;é\n", "cp1252", gzip.compress),
    ],
)
def test_records_are_copied_as_they_are_in_their_own_encoding(tmp_path, text, encoding, pack):
    path = tmp_path / "t.csv"
    path.write_bytes(pack(text.encode(encoding)))
    source = read_source(path, ReadOptions(encoding=encoding, delimiter=";"))
    file = io.BytesIO()
    copy_records(file, source, None, itertools.repeat(""))
    end = source.dialect.end_of_line
    expected = text.replace("\r\n\r\n", "\r\n")
    expected += "" if expected.endswith(("\n", "\r")) else end
    assert file.getvalue().decode(encoding) == expected
    file = io.BytesIO()
    copy_records(file, source, "z", map(str, itertools.count()))
    rows = by_csv(file.getvalue(), Dialect(encoding=encoding, delimiter=";"))
    assert [row[-1] for row in rows] == ["z", *map(str, range(source.num_rows))]


def test_a_copy_that_could_be_read_in_two_ways_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    source = read_source(path)
    path.write_text("a,b\n1,2\n")
    file = io.BytesIO()
    with pytest.raises(AugmentError, match=r"read in two ways \(1 or 2 rows\)"):
        copy_records(file, source, None, itertools.repeat(""))
    assert not file.getvalue()


# Without what takes long to start.


def test_neither_pandas_nor_tensorflow_is_needed_to_write():
    script = """
import io, sys
import numpy as np
from pipelines.tables.cells import Cells
from pipelines.tables.texts.dialect import Dialect, ReadOptions
from pipelines.tables.schema import Column, Schema
from pipelines.tables.files.writing import writer_for

two = np.array([0, 1], np.int32)
columns, batch = [], {}
for kind in ("float", "integer", "date", "time", "datetime"):
    for arrow in (None, "string", "dictionary<values=string, indices=int32, ordered=0>"):
        name = f"{kind} {arrow}"
        columns.append(Column(name, kind, arrow_type=arrow, format="-${,}" if kind in ("float", "integer") else "iso"))
        batch[name] = Cells(two, (None, "NA"), (False, True), np.full(2, 40_000.0))
for arrow in (None, "int64", "dictionary<values=string, indices=int8, ordered=0>", "timestamp[us]", "bool"):
    name = f"categorical {arrow}"
    texts = ("1970-01-01", "1970-01-02") if arrow == "timestamp[us]" else ("1", "0")
    columns.append(Column(name, "categorical", arrow_type=arrow))
    batch[name] = Cells(two, texts, (False, False), None)
columns.append(Column("u8", "integer", arrow_type="uint8"))
columns.append(Column("price", "float", arrow_type="decimal128(9, 2)"))
columns.append(Column("f", "float", arrow_type="float"))
for column in columns[-3:]:
    batch[column.name] = Cells(None, (), (), np.ones(2))
columns.append(Column("u", "identifier", identifier={"kind": "uuid"}))
columns.append(Column("p", "identifier", identifier={"kind": "pattern", "pattern": "A9"}))
columns.append(Column("s", "identifier", identifier={"kind": "sequence", "start": 1, "width": 3}))
columns.append(Column("k", "constant", value="5"))
columns.append(Column("t", "text"))
for name in ("out.csv", "out.parquet"):
    file = io.BytesIO()
    writer = writer_for(name, file, Schema(tuple(columns)), Dialect(), seed=1, mark="new")
    writer.write(batch, 0, 2)
    writer.close()
    assert file.getvalue()
print([name for name in ("pandas", "tensorflow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_a_blank_stands_before_each_field_that_needs_no_quotes():
    schema = Schema((Column("a", "integer"), Column("b", "categorical"), Column("c", "constant", value="x")))
    batch = {"a": numeric([1, 2]), "b": texts(["M", "F, or M"], ["M", "F, or M"])}
    data = written(schema, batch, 2, dialect=Dialect(has_space=True), mark="new")
    assert data == b'a, b, c, new\n1, M, x, 1\n2,"F, or M", x, 1\n'
