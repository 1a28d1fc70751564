"""A CSV is read as text, so that nothing is lost, and a file that cannot be read is explained by line and byte."""

import gzip
import hashlib
import io
import pathlib
import re
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines import AugmentError, UsageError
from pipelines.tables.files.csv_records import records
from pipelines.tables.files.reading import is_parquet, read_source
from pipelines.tables.texts.dialect import ReadOptions

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def file(tmp_path):
    """Writes bytes to t.csv and returns its path."""

    def write(content, name="t.csv"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def refusal(data, kind=AugmentError, **options):
    with pytest.raises(AugmentError) as caught:
        read_source(data, ReadOptions(**options))
    assert (type(caught.value) is UsageError) == (kind is UsageError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is read.


@pytest.mark.parametrize(
    "content",
    [
        b"x,y\n1.50,2\n-3,4e5\n",
        b"x,y\r\n1.50,2\r\n-3,4e5\r\n",
        b"x,y\n1.50,2\n-3,4e5",
        BOM + b"x,y\n1.50,2\n-3,4e5\n",
        b"\nx,y\n\n1.50,2\n\r\n-3,4e5\n\n",
        b'"x","y"\n"1.50","2"\n-3,"4e5"\n',
    ],
    ids=["plain", "CRLF", "no newline at the end", "BOM", "blank lines", "quotes"],
)
def test_cells_are_the_text_in_the_file(file, content):
    source = read_source(file(content))
    assert source.table.to_pydict() == {"x": ["1.50", "-3"], "y": ["2", "4e5"]}
    assert source.sha256 == hashlib.sha256(content).hexdigest()


def test_no_text_is_taken_for_a_missing_cell_or_another_type(file):
    cells = ["NA", "", "null", "007", "true", "2020-01-01", " 1 "]
    source = read_source(file(("x,y\n" + "".join(f"{cell},0\n" for cell in cells)).encode()))
    assert source.table.column("x").to_pylist() == cells


def test_quoted_cells_may_hold_commas_quotes_and_newlines(file):
    source = read_source(file(b'"a, b","say ""no"""\n"1\n2","x,y"\n'))
    assert source.table.to_pydict() == {"a, b": ["1\n2"], 'say "no"': ["x,y"]}


def test_a_parquet_file_keeps_its_types_by_any_suffix_of_it(tmp_path):
    frame = pd.DataFrame({"i": [1, 2], "f": [0.5, 1.5]})
    for name in ("t.parquet", "t.PQ"):
        frame.to_parquet(tmp_path / name)
        assert [str(t) for t in read_source(tmp_path / name).table.schema.types] == ["int64", "double"]
        assert is_parquet(tmp_path / name)
    assert not is_parquet("t.parquet.csv")


def test_a_data_frame_is_taken_without_its_index():
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=["a", "b"])
    source = read_source(frame)
    assert source.table.to_pydict() == {"x": [1.0, 2.0]}
    assert (source.path, source.sha256, source.first_row) == (None, None, 0)


def test_a_path_may_be_a_string(file):
    assert read_source(str(file(b"x,y\n1,2\n"))).name == "t.csv"


# Records.


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"x,y\n1,2\n", [b"x,y\n", b"1,2\n"]),
        (b"x,y\r\n1,2\r\n", [b"x,y\r\n", b"1,2\r\n"]),
        (b"x,y\n1,2", [b"x,y\n", b"1,2"]),
        (b"x,y\n\n1,2\n\r\n", [b"x,y\n", b"1,2\n"]),
        (b'x,y\n"1\n\n2",3\n4,5\n', [b"x,y\n", b'"1\n\n2",3\n', b"4,5\n"]),
        (b'x,y\n"say ""no""\n",3\n4,5\n', [b"x,y\n", b'"say ""no""\n",3\n', b"4,5\n"]),
        (BOM + b"x,y\n1,2\n", [BOM + b"x,y\n", b"1,2\n"]),
    ],
)
def test_records_are_the_bytes_of_the_file_without_blank_lines(file, content, expected):
    assert list(records(file(content))) == expected


@pytest.mark.parametrize(
    "content",
    [
        b'x,y,z\n1,2,"a\nb"\n3,4,\n\n5,6,"""\n"""\n',
        b'x,y,size\n1,2,5" pipe\n3,4,ok\n5,6,7" pipe\n',
        b"x,y\r1,2\r3,4\r",
        b"x,y\n1,2\r3,4\n",
    ],
    ids=["quoted newlines", "inch signs", "old Mac line ends", "mixed line ends"],
)
def test_there_is_a_record_for_the_header_and_each_row_or_the_file_is_refused(file, content):
    """Score and append pair records with rows by position; one record too few shifts all that follow."""
    path = file(content)
    try:
        rows = read_source(path).table.num_rows
    except AugmentError:
        return
    assert len(list(records(path))) == 1 + rows


# What is refused.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\r\n", "holds nothing but blank lines"),
        (b"x,y\n", "t.csv has a header but no rows"),
        (b"x,y", "t.csv has a header but no rows"),
        (b"x,y\n1,2\n\n3\n", "line 4 has 1 fields, the header has 2"),
        (b"x,y\n1,2\n3,4,5\n6,7\n", "line 3 has 3 fields, the header has 2"),
        (b'x,y\n"1\n1",2\n3,4,5\n', "line 4 has 3 fields, the header has 2"),
        (b"x,y,x,y,x\n1,2,3,4,5\n", "column name 'x' occurs 3 times; rename all but one"),
        (b"x;y\n1;2\n3;4;5\n", "line 3 has 3 fields, the header has 2"),
        (b"5,2\n1,2\n3,4,5\n", "line 3 has 3 fields, the first row has 2"),
        (b"# exported 2024\nx,y\n1,2\n", "If '# exported 2024' is a comment or a title, remove that line."),
        (b"# exported 2024\nx;y\n1;2\n", "If '# exported 2024' is a comment or a title, remove that line."),
        (b"# all, of 2024\nx,y,z\n1,2,3\n", "If '# all' is a comment or a title, remove that line."),
        (b"x,y\n1,2,\n3,4,\n", "line 2 has 3 fields, the header has 2. So have other lines: complete the header"),
        (b"x,y\n1,2,\n3,4\n", "Correct or remove the line"),
        (b"x,y\n1,2\0\n3,4\n", "holds NUL bytes"),
        (b"x,y\n,\n,\n", "t.csv has a header but no rows"),
    ],
)
def test_a_file_that_is_no_table_is_explained(file, content, said):
    assert said in refusal(file(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x,y\n1,2\n3,\xe9\n", "line 3 is not UTF-8 (byte 0xe9)"),
        (b"\xe9,y\n1,2\n", "line 1 is not UTF-8 (byte 0xe9)"),
        (b"\xff\xfex\x00,\x00", "line 1 is not UTF-8 (byte 0xff)"),
        (b"x,y\n1,2\n3,\xc3", "line 3 is not UTF-8 (byte 0xc3)"),
    ],
)
def test_bytes_that_are_not_in_the_encoding_asked_for_are_named(file, content, said):
    message = refusal(file(content), encoding="utf-8")
    assert said in message
    assert "--encoding latin-1" in message
    assert f"iconv -f latin1 -t utf-8 {file(content)}" in message


@pytest.mark.parametrize(
    "content", [b'"x,y\n' + b"1,2\n" * 40_000, b'x,y\n"1,2\n' + b"1,2\n" * 40_000], ids=["header", "row"]
)
def test_a_quote_that_is_never_closed_is_explained(file, content):
    """The rest of a large file is then one field, longer than Python's own CSV reader takes."""
    assert "t.csv" in refusal(file(content))


def test_what_is_not_a_file_is_wrong_usage(tmp_path):
    assert "no such file" in refusal(tmp_path / "gone.csv", UsageError)
    assert "is a folder" in refusal(tmp_path, UsageError)


def test_a_model_is_no_table(moons_model):
    message = refusal(moons_model, UsageError)
    assert f"augment generate -m {moons_model}" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.json", '[\n {"x": 1}\n]'), ("t.jsonl", '\ufeff{"x": 1}\n{"x": 2}\n'), ("T.NDJSON", '\n {"x": 1}\n')],
)
def test_json_is_told_from_a_table(tmp_path, name, content):
    (tmp_path / name).write_text(content, "utf-8")
    assert re.search(r" is JSON\. Save its rows as CSV", refusal(tmp_path / name, UsageError))


def test_a_csv_may_have_the_name_of_another_format(tmp_path):
    (tmp_path / "t.json").write_text("x,y\n1,[2]\n", "utf-8")
    assert read_source(tmp_path / "t.json").table.column_names == ["x", "y"]


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"x": np.arange(100.0)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert re.match(f"{re.escape(str(path))} is not a readable Parquet file", refusal(path))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"x": []}), "no rows"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "'x' occurs 2 times"),
        (pd.DataFrame({"x": [1, 2], "y": [1, "one"]}), "y"),
    ],
    ids=["no rows", "a name twice", "cells of two types"],
)
def test_a_frame_that_is_no_table_is_refused(frame, said):
    assert said in refusal(frame)


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = pathlib.Path("/proc/self/mem")  # opens, and fails at the first byte, for everyone
    assert "cannot be read" in refusal(path)


# How a file is spelled.


def text_of(source):
    return source.table.to_pydict()


@pytest.mark.parametrize(
    ("encoding", "name", "cells"),
    [
        ("utf-8", "utf-8", ["\u00e9", "\uc11c\uc6b8"]),
        ("utf-8-sig", "utf-8", ["\u00e9", "b"]),
        ("utf-16", "utf-16-le", ["\u00e9", "\uc11c\uc6b8"]),
        ("utf-16-be", "utf-16-be", ["abc", "def"]),
        ("latin-1", "cp1252", ["Orl\u00e9ans", "N\u00eemes"]),
        ("cp1252", "cp1252", ["5 \u20ac", "Mu\u00f1oz"]),
        ("cp949", "cp949", ["\uc11c\uc6b8", "\ubd80\uc0b0"]),
        (
            "cp1251",
            "cp1251",
            [
                "\u041c\u043e\u0441\u043a\u0432\u0430 \u0438 \u043e\u0431\u043b\u0430\u0441\u0442\u044c",
                "\u041a\u0430\u0437\u0430\u043d\u044c",
                "\u0421\u0430\u043d\u043a\u0442-\u041f\u0435\u0442\u0435\u0440\u0431\u0443\u0440\u0433",
            ],
        ),
        ("cp932", "cp932", ["\u6771\u4eac", "\u5927\u962a"]),
    ],
)
def test_encodings_are_found_out(file, encoding, name, cells):
    text = "x,y\n" + "".join(f"{cell},1\n" for cell in cells)
    source = read_source(file(text.encode(encoding)))
    assert text_of(source) == {"x": cells, "y": ["1"] * len(cells)}
    assert source.dialect.encoding == name
    assert source.dialect.bom == (encoding in ("utf-8-sig", "utf-16"))
    is_told = any("not UTF-8" in note for note in source.notes)
    assert is_told == (name in ("cp1252", "cp949", "cp1251", "cp932", "utf-16-be"))


@pytest.mark.parametrize("encoding", ["utf-16", "cp949", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("compression", [None, "gzip", "zstd", "bz2"])
def test_records_of_any_file_are_as_many_as_its_rows(tmp_path, encoding, compression):
    content = 'x;y\r\n"a\r\nb";1\r\n;\r\n2;\u00b0\r\n'.encode(encoding)
    path = tmp_path / "t.csv.zst"
    with pa.output_stream(path, compression=compression) as stream:
        stream.write(content)
    source = read_source(path, ReadOptions(encoding=encoding))
    assert text_of(source) == {"x": ["a\r\nb", "2"], "y": ["1", "\u00b0"]}
    assert source.dialect.compression == compression
    found = list(records(path, source.dialect))
    assert len(found) == 3
    assert found[1] == b'"a\r\nb";1\r\n'
    if encoding != "latin-1" or compression:  # then they are UTF-8
        assert found[2].decode() == "2;\u00b0\r\n" or encoding == "cp949"


def test_the_sha256_is_of_the_compressed_bytes(file):
    content = gzip.compress(b"x,y\n1,2\n")
    assert read_source(file(content, "t.csv.gz")).sha256 == hashlib.sha256(content).hexdigest()


def test_a_file_that_is_cut_off_is_explained(file):
    content = gzip.compress(b"x,y\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(10_000)))
    assert "t.csv.gz" in refusal(file(content[:2000], "t.csv.gz"))


@pytest.mark.parametrize("last", ["2,Orl\u00e9ans\n", "2,Jos\u00e9\n", "2,Jos\u00e9"])
def test_bytes_that_are_not_utf8_may_come_late(file, last):
    content = b"x,y\n" + b"1,abc\n" * 300_000 + last.encode("latin-1")
    source = read_source(file(content))
    assert source.table.column("y")[-1].as_py() == last.strip()[2:]
    assert (source.num_rows, source.dialect.encoding) == (300_001, "cp1252")


def test_columns_without_a_name_and_rows_without_anything_are_told_of(file):
    path = file(b"a;b;;\r\n1,5;x;;\r\n;;;\r\n2,5;y;;\r\n;;;\r\n")
    source = read_source(path)
    assert text_of(source) == {"a": ["1,5", "2,5"], "b": ["x", "y"], "column_3": ["", ""], "column_4": ["", ""]}
    assert (source.dialect.delimiter, source.dialect.decimal, source.dialect.end_of_line) == (";", ",", "\r\n")
    assert source.dialect.unnamed == ("column_3", "column_4")
    assert [source.dialect.header_cell(name) for name in source.table.column_names] == ["a", "b", "", ""]
    assert "2 columns have no name" in source.notes[0]
    assert "2 rows without anything" in source.notes[1]
    assert len(list(records(path, source.dialect))) == 3


def test_the_name_of_an_unnamed_column_is_not_taken(file):
    assert read_source(file(b"column_2,,b\n1,2,3\n")).table.column_names == ["column_2", "column_2_", "b"]


def test_a_table_of_one_column_keeps_its_empty_cells(file):
    assert text_of(read_source(file(b'x\n1\n""\n2\n'))) == {"x": ["1", "", "2"]}


def test_a_file_without_header(file):
    path = file(b"1.5,a\n2.5,b\n3.5,a\n")
    source = read_source(path)
    assert text_of(source) == {"column_1": ["1.5", "2.5", "3.5"], "column_2": ["a", "b", "a"]}
    assert not source.dialect.has_header
    assert source.first_row == 1
    assert "not as the header" in source.notes[0]
    assert text_of(read_source(path, ReadOptions(header=True))) == {"1.5": ["2.5", "3.5"], "a": ["b", "a"]}
    assert not read_source(path, ReadOptions(header=False)).notes


@pytest.mark.parametrize(
    "content",
    [
        b"a,b,c\n1,2,3\n",
        b"a,b,c\r\n1,2,3\r\n",
        b'a,b,c\n1,"",""\n2,3,4\n',
        b'first,address\nJohn,"Anytown, WW"\n',
        b'a,b\n1,"ha ""ha"" ha"\n3,4\n',
        b'key,val\n1,"{""type"": ""Point"", ""coordinates"": [102.0, 0.5]}"\n',
        b'a,b,c\n1,2,3\n"Once upon \na time",5,6\n7,8,9\n',
        b'a,b,c\r\n1,2,3\r\n"Once upon \r\na time",5,6\r\n7,8,9\r\n',
        b'a,b\n1,"ha \n""ha"" \nha"\n3,4\n',
        "a,b,c\n1,2,3\n4,5,\u02a4\n".encode(),
        b"a,b\r1,2\r3,4\r",
    ],
)
def test_files_are_read_as_python_reads_them(file, content):
    """The cases of csv-spectrum (max-mapper, https://github.com/maxogden/csv-spectrum), and old Mac line ends."""
    import csv

    path = file(content)
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    source = read_source(path)
    assert source.table.to_pylist() == [dict(zip(header, row, strict=True)) for row in rows]
    assert len(list(records(path, source.dialect))) == 1 + len(rows)


def test_standard_input_is_read(monkeypatch):
    for content in (b"x;y\n1;a\n", gzip.compress(b"x;y\n1;a\n")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        source = read_source("-")
        assert text_of(source) == {"x": ["1"], "y": ["a"]}
        assert (source.name, source.first_row, source.is_typed) == ("standard input", 2, False)
        assert source.path.read_bytes() == content
        assert source.sha256 == hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x,y\n1,2\n3\n")))
    assert refusal("-").startswith("standard input: line 3 has 1 fields")


def test_parquet_from_standard_input_is_typed(monkeypatch):
    buffer = io.BytesIO()
    pd.DataFrame({"x": [1, 2]}).to_parquet(buffer)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(buffer.getvalue())))
    source = read_source("-")
    assert text_of(source) == {"x": [1, 2]}
    assert source.is_typed


def test_a_parquet_file_by_another_name_is_named(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"x": [1, 2]}).to_parquet(path)
    assert "is a Parquet file" in refusal(path, UsageError)


# Samples.


@pytest.fixture(params=["csv", "parquet", "frame"])
def long_table(request, tmp_path):
    """A table of 200,000 rows, numbered."""
    frame = pd.DataFrame({"x": np.arange(200_000), "y": "a"})
    if request.param == "frame":
        return frame
    path = tmp_path / f"t.{request.param}"
    if request.param == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, row_group_size=7_000)
    return path


def test_a_sample_is_uniform_in_order_and_repeatable(long_table):
    source = read_source(long_table, max_rows=1000, seed=1)
    x = np.array([int(cell) for cell in source.table.column("x").to_pylist()])
    assert (source.num_rows, source.table.num_rows) == (200_000, 1000)
    np.testing.assert_array_equal(x, source.rows)
    assert (np.diff(x) > 0).all()
    np.testing.assert_array_equal(source.row_numbers, x + source.first_row)
    # The counts of ten equal parts are multinomial: chi-squared of nine degrees is below 27.9 in 999 of 1,000 cases.
    counts = np.histogram(x, bins=10, range=(0, 200_000))[0]
    assert ((counts - 100) ** 2 / 100).sum() < 27.9
    assert "1,000 of the 200,000 rows" in source.notes[-1]
    again = read_source(long_table, max_rows=1000, seed=1)
    assert again.table.equals(source.table)
    assert not read_source(long_table, max_rows=1000, seed=2).table.equals(source.table)


def test_no_fewer_rows_than_there_are_make_a_sample(long_table):
    source = read_source(long_table, max_rows=200_000)
    assert source.table.num_rows == 200_000
    assert source.rows is None
    assert not source.notes


def test_columns_of_a_data_frame_may_be_periods_under_a_number_or_sparse():
    days = pd.PeriodIndex(["2024-01-02", "2024-01-03"], freq="D")
    frame = pd.DataFrame({0: days, "zeros": pd.arrays.SparseArray([0.0, 1.5])})
    source = read_source(frame)
    assert source.table.to_pydict() == {"0": ["2024-01-02", "2024-01-03"], "zeros": [0.0, 1.5]}
    assert frame[0].dtype == "period[D]"  # the caller's is as it was


def test_a_blank_before_each_field_is_none_of_the_text(file):
    source = read_source(file(b"age, sex, hours\n39, M, 40\n50, ?, \n , , \n"))
    assert source.table.to_pydict() == {"age": ["39", "50", " "], "sex": ["M", "?", ""], "hours": ["40", "", ""]}
    assert source.dialect.between == ", "
