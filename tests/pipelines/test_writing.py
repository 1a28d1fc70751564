"""What is written reads like the source, and appears whole or not at all."""

import csv
import errno
import io
import os
import stat

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import AugmentError, UsageError
from pipelines.tables import writing
from pipelines.tables.schema import Column, Schema, infer_schema, numbers
from pipelines.tables.writing import (
    CsvWriter,
    ParquetWriter,
    csv_field,
    open_output,
    refuse_existing,
    to_arrow,
    writer_for,
)


def spelled(column, values):
    """The cells a column's values are written as."""
    file = io.BytesIO()
    values = np.array(values, float).reshape(len(values), -1)
    CsvWriter(file, Schema((column,))).write(to_arrow(Schema((column,)), values))
    return file.getvalue().decode().splitlines()


# The spelling of cells.


@pytest.mark.parametrize(
    ("column", "values", "cells"),
    [
        (Column("a", "float", 2, 2), [1.5, -3, 0.125, 1234.5], ["1.50", "-3.00", "0.12", "1234.50"]),
        (Column("a", "float", 1, 1), [1.0, 12.04], ["1.0", "12.0"]),
        (Column("a", "float", 3, 0), [1.5, 2.0, -0.125, 30.0], ["1.5", "2", "-0.125", "30"]),
        (Column("a", "float", 3, 1), [1.5, 2.0, -0.125], ["1.5", "2.0", "-0.125"]),
        (Column("a", "float", 4, 2), [1.5, 2.0, -0.125, 0.0625], ["1.50", "2.00", "-0.125", "0.0625"]),
        (Column("a", "float", 0, 0), [1.4, -2.0, 100000.0], ["1", "-2", "100000"]),
        (Column("a", "float", 2, 2), [-0.25, -0.004, 0.0, -0.0], ["-0.25", "0.00", "0.00", "0.00"]),
        (Column("a", "float", 2, 0), [-0.25, -0.004, -0.0], ["-0.25", "0", "0"]),
        (Column("a", "float", 0, 0), [-0.4, -0.0], ["0", "0"]),
        (Column("a", "float", 6, 6), [1e-6, -1e-6, 123456.000001], ["0.000001", "-0.000001", "123456.000001"]),
        (Column("a", "integer", 0), [1.4, -0.4, -2.6, 1e15], ["1", "0", "-3", "1000000000000000"]),
    ],
)
def test_numbers_are_spelled_on_their_lattice(column, values, cells):
    assert spelled(column, values) == cells


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20))
def test_values_at_full_precision_are_not_rounded(values):
    assert [float(cell) for cell in spelled(Column("a", "float"), values)] == values


@pytest.mark.parametrize("text", ["5", "1.50", "north, 1", 'say "no"', "two\nlines", "", "007", "1" * 20])
def test_a_constant_is_written_in_its_own_spelling_and_quoted_if_it_must_be(text):
    schema = Schema((Column("k", "constant", value=text), Column("i", "integer", 0)))
    file = io.BytesIO()
    CsvWriter(file, schema).write(to_arrow(schema, np.array([[1.0], [2.0]])))
    assert list(csv.reader(io.StringIO(file.getvalue().decode(), newline=""))) == [[text, "1"], [text, "2"]]


@st.composite
def lattice_text(draw):
    """Cells of one column: all with the same number of decimals, or as few as a cell needs but at least so many."""
    decimals = draw(st.integers(0, 6))
    fewest = draw(st.integers(0, decimals))
    cells = []
    for lattice in draw(st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=20)):
        whole, fraction = divmod(abs(lattice), 10**decimals)
        digits = f"{fraction:0{decimals}d}" if decimals else ""
        digits = digits[:fewest] + digits[fewest:].rstrip("0")
        cells.append(("-" if lattice < 0 else "") + str(whole) + ("." + digits if digits else ""))
    return cells


@settings(max_examples=200)  # they are fast, and the ways to spell a number are many
@given(st.lists(lattice_text(), min_size=1, max_size=3))
def test_text_on_a_lattice_comes_back_as_it_was(columns):
    rows = min(map(len, columns))
    cells = {"row": list(map(str, range(rows)))} | {str(i): column[:rows] for i, column in enumerate(columns)}
    table = pa.table(cells)
    schema = infer_schema(table, "t.csv")
    values = [numbers(table.column(column.name), column.name, "t.csv") for column in schema.modelled]
    file = io.BytesIO()
    CsvWriter(file, schema).write(to_arrow(schema, np.stack(values, axis=1)))
    assert file.getvalue().decode() == "".join(",".join(row.values()) + "\n" for row in table.to_pylist())


@pytest.mark.parametrize("size", [1e19, 1e25])
def test_integers_beyond_64_bits_do_not_wrap_round(size):
    """An identifier of twenty digits is a column of digits like any other."""
    cells = [f"{size:.0f}", f"{3 * size:.0f}"]
    (column,) = infer_schema(pa.table({"a": cells}), "t.csv").columns
    assert [float(cell) for cell in spelled(column, [size, 3 * size])] == [size, 3 * size]


# Rows.


def test_names_line_ends_and_the_mark_are_written_as_asked():
    schema = Schema((Column("a, b", "integer", 0), Column('say "no"', "integer", 0), Column("", "integer", 0)))
    file = io.BytesIO()
    writer = CsvWriter(file, schema, end_of_line="\r\n", mark="1")
    writer.write_header()
    writer.write(to_arrow(schema, np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])))
    assert file.getvalue() == b'"a, b","say ""no""",\r\n1,2,3,1\r\n4,5,6,1\r\n'


@pytest.mark.parametrize("text", ["plain", "a,b", 'a"b', "a\nb", "a\r\nb", "", " a ", "ü"])
def test_a_csv_field_is_read_back_as_it_was(text):
    assert next(csv.reader(io.StringIO(f"{csv_field(text)},x", newline=""))) == [text, "x"]


def test_rows_may_come_in_several_writes_and_none():
    schema = Schema((Column("a", "float", 1, 1),))
    rows = to_arrow(schema, np.array([[0.5], [1.5], [2.5]]))
    file = io.BytesIO()
    writer = CsvWriter(file, schema)
    for part in (rows.slice(0, 0), rows.slice(0, 1), pa.concat_tables([rows.slice(1, 1), rows.slice(2, 1)])):
        writer.write(part)
    writer.close()
    assert file.getvalue() == b"0.5\n1.5\n2.5\n"


def test_rows_have_the_types_of_their_columns():
    schema = Schema(
        (
            Column("i", "integer", 0),
            Column("f", "float", 1, 1),
            Column("g", "float"),
            Column("k", "constant", value="3"),
            Column("h", "constant", value="1.50"),
            Column("t", "constant", value="north, 1"),
        )
    )
    rows = to_arrow(schema, np.array([[1.6, 0.26, 1 / 3]]))
    assert [str(t) for t in rows.schema.types] == ["int64", "double", "double", "int64", "double", "string"]
    assert rows.to_pylist() == [{"i": 2, "f": 0.3, "g": 1 / 3, "k": 3, "h": 1.5, "t": "north, 1"}]


# Parquet.


def test_a_parquet_file_does_not_depend_on_how_its_rows_come():
    schema = Schema((Column("i", "integer", 0), Column("f", "float", 2, 2)))
    rows = to_arrow(schema, np.random.default_rng(0).normal(size=(writing._ROWS_PER_GROUP + 1000, 2)))

    def written(sizes):
        file, start = io.BytesIO(), 0
        writer = ParquetWriter(file, rows.schema)
        for size in sizes:
            writer.write(rows.slice(start, size))
            start += size
        writer.close()
        return file.getvalue()

    whole = written([rows.num_rows])
    assert written([1000] * (rows.num_rows // 1000 + 1)) == whole
    assert written([1, rows.num_rows - 1]) == whole
    assert pq.read_table(io.BytesIO(whole)).equals(rows)


def test_the_suffix_chooses_the_format():
    schema = Schema((Column("i", "integer", 0),))
    assert isinstance(writer_for("t.parquet", io.BytesIO(), schema), ParquetWriter)
    file = io.BytesIO()
    assert isinstance(writer_for("t.txt", file, schema), CsvWriter)
    assert file.getvalue() == b"i\n"


# Whole or not at all.


def test_an_output_appears_under_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "out.csv"
    with open_output(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    with open_output(tmp_path / "out.csv") as file:
        file.write(b"new")
    assert (tmp_path / "out.csv").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt(), AugmentError("no")])
def test_a_failure_leaves_the_old_output_and_nothing_else(tmp_path, failure):
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")

    def write():
        with open_output(path) as file:
            file.write(b"new" * 100_000)
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["write", "flush", "fsync"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, call):
    """The system may say so at any of these calls."""
    path = tmp_path / "out.csv"

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write():
        with open_output(path) as file:
            if call == "fsync":
                monkeypatch.setattr(os, "fsync", full)
            file.write(b"new")
            if call != "fsync":
                full()

    with pytest.raises(AugmentError, match=r"out\.csv cannot be written: No space left on device") as caught:
        write()
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_with_the_command_that_replaces_it(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    monkeypatch.setattr("sys.argv", ["/usr/bin/augment", "generate", "-o", "my out.csv"])
    with pytest.raises(UsageError, match=r"exists\. To replace it: augment generate -o 'my out\.csv' --force$"):
        refuse_existing(path, force=False)
    refuse_existing(path, force=True)
    refuse_existing(tmp_path / "new.csv", force=False)


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_is_missing_or_a_file_and_an_output_that_is_a_folder_are_refused(tmp_path, force):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "gone" / "out.csv", tmp_path / "file" / "out.csv"):
        with pytest.raises(UsageError, match=r"the folder .* does not exist"):
            refuse_existing(path, force)
    with pytest.raises(UsageError, match="is a folder"):
        refuse_existing(tmp_path, force)


def test_a_folder_that_takes_no_files_is_one_line():
    with pytest.raises(AugmentError, match=r"/proc/out\.csv cannot be written"), open_output("/proc/out.csv"):
        pass  # /proc takes no files from anyone, the superuser included


def test_a_pipe_is_never_replaced_by_a_file(tmp_path):
    """`-o /dev/null --force` as the superuser would take the device from everyone; a pipe stands for it here."""
    path = tmp_path / "out.csv"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # so that writing into the pipe, if it is done, does not wait
    try:
        refuse_existing(path, force=True)
        with open_output(path) as file:
            file.write(b"new")
    except AugmentError:
        pass
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_an_output_behind_a_link_is_written_where_the_link_points(tmp_path):
    (tmp_path / "real.csv").write_bytes(b"old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    with open_output(tmp_path / "link.csv") as file:
        file.write(b"new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"new"
