"""A CSV is read as text, so that nothing is lost, and a file that cannot be read is explained by line and byte."""

import hashlib
import pathlib
import re

import numpy as np
import pandas as pd
import pytest

from pipelines import AugmentError, UsageError
from pipelines.tables.reading import is_parquet, read_source, records

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def file(tmp_path):
    """Writes bytes to t.csv and returns its path."""

    def write(content, name="t.csv"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def refusal(data, kind=AugmentError):
    with pytest.raises(AugmentError) as caught:
        read_source(data)
    assert type(caught.value) is kind
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
        (b"x,y\n1,2\n3,\xe9\n", "line 3 is not UTF-8 (byte 0xe9)"),
        (b"\xe9,y\n1,2\n", "line 1 is not UTF-8 (byte 0xe9)"),
        (b"\xff\xfex\x00,\x00", "line 1 is not UTF-8 (byte 0xff)"),
        (b"x,y\n1,2\n3,\xc3", "line 3 is not UTF-8 (byte 0xc3)"),
    ],
)
def test_a_file_that_is_no_table_is_explained(file, content, said):
    assert said in refusal(file(content))


def test_undecodable_bytes_come_with_the_command_that_converts_the_file(file):
    path = file(b"x,y\n1,\xe9\n")
    assert f"iconv -f latin1 -t utf-8 {path}" in refusal(path)


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
