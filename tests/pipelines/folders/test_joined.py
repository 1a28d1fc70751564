"""Files read as one are the rows of all of them, or a uniform sample that does not depend on who read which first."""

import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.folders.joined import is_several, read_joined, tables_of
from pipelines.folders.location import folder_of, write
from pipelines.storage.model_file import default_name
from pipelines.tables.files.sampling import Sample, SampleOfFiles

LENGTHS = [300, 1, 2000, 50, 700]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A folder of CSV files of other lengths, which say which row of which file each row is, and of other files."""
    folder = tmp_path_factory.mktemp("tables") / "rows"
    folder.mkdir()
    for number, length in enumerate(LENGTHS):
        frame = pd.DataFrame({"file": number, "row": np.arange(length)})
        frame.to_csv(folder / f"part-{number}.csv{'.gz' * (number == 1)}", index=False)
    (folder / "manifest.json").write_text("{}")
    (folder / ".hidden.csv").write_text("a\n1\n")
    return folder


# Which files.


@pytest.mark.parametrize(
    ("data", "expected"),
    [("rows", True), ("rows/*.csv", True), ("s3://bucket/rows", True), ("rows/part-0.csv", False), ("-", False)],
)
def test_folders_patterns_and_uris_are_several_files(rows, monkeypatch, data, expected):
    monkeypatch.chdir(rows.parent)
    assert is_several(data) is expected
    assert not is_several(pd.DataFrame())


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    (tmp_path / "a[1].csv").write_text("a\n1\n")
    assert not is_several(tmp_path / "a[1].csv")
    assert is_several(tmp_path / "b[1].csv")


def test_the_tables_of_a_folder_are_the_files_with_suffixes_of_tables(rows, bucket):
    names = ["part-0.csv", "part-1.csv.gz", "part-2.csv", "part-3.csv", "part-4.csv"]
    assert [file.name for file in tables_of(rows)] == names
    assert [file.name for file in tables_of(f"file://{rows}")] == names
    assert [file.name for file in tables_of(rows / "part-[02].*")] == ["part-0.csv", "part-2.csv"]
    assert [file.name for file in tables_of(f"file://{rows}/part-2.csv")] == ["part-2.csv"]
    assert [file.name for file in tables_of(f"file://{rows}/part-?.csv")] == [names[0], *names[2:]]  # no query


def test_a_uri_of_a_folder_that_is_called_like_a_table_is_a_folder(tmp_path, bucket):
    (tmp_path / "rows.parquet").mkdir()
    (tmp_path / "rows.parquet" / "part-0.parquet").touch()
    write(folder_of(bucket.format("rows.parquet")), "part-0.parquet", b"")
    for uri in (f"file://{tmp_path}/rows.parquet", bucket.format("rows.parquet"), bucket.format("rows.parquet/*")):
        assert [file.name for file in tables_of(uri)] == ["part-0.parquet"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("rows/*.parquet", r"rows has no tables whose names fit \*.parquet: files that end in .csv"),
        ("empty", "empty has no tables: files that end in .csv"),
        ("nowhere/*.csv", "nowhere: no such folder"),
    ],
)
def test_where_no_tables_are_is_wrong_usage(rows, tmp_path, monkeypatch, data, said):
    (rows.parent / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(rows.parent)
    with pytest.raises(UsageError, match=said):
        tables_of(data)


@pytest.mark.parametrize("data", ["*.csv", "part-[0-9].csv", "part-?.csv", "."])
def test_a_model_of_a_pattern_needs_a_name(rows, monkeypatch, data):
    monkeypatch.chdir(rows)
    with pytest.raises(UsageError, match=r"a model fitted to .* needs a file name: -m FILE"):
        pipelines.fit(data)


def test_the_model_of_a_uri_is_called_after_its_folder():
    assert default_name("s3://key:secret@bucket/rows?endpoint_override=1.2.3.4:5&scheme=http") == "rows.augment"
    assert default_name("s3://bucket/rows.parquet") == "rows.augment"
    assert default_name("rows/") == "rows.augment"


# Their rows.


def frame_of(source):
    return source.table.to_pandas().astype(int)


def test_all_rows_stand_file_after_file(rows):
    source, files = read_joined(rows)
    expected = pd.concat([pd.DataFrame({"file": n, "row": np.arange(k)}) for n, k in enumerate(LENGTHS)])
    pd.testing.assert_frame_equal(frame_of(source), expected.reset_index(drop=True))
    assert source.num_rows == sum(LENGTHS)
    assert [(one.name, one.num_rows) for one in files][1] == ("part-1.csv.gz", 1)
    assert len({one.sha256 for one in files}) == 5


def test_of_more_rows_the_sample_is_of_all_files_in_their_order(rows):
    source, _ = read_joined(rows, max_rows=500, seed=1)
    frame = frame_of(source)
    assert len(frame) == len(frame.drop_duplicates()) == 500
    assert frame.sort_values(["file", "row"]).index.equals(frame.index)
    assert source.num_rows == sum(LENGTHS)
    assert "500 of all 3,051 rows are used, a uniform sample." in source.notes
    assert frame_of(read_joined(rows, max_rows=500, seed=1)[0]).equals(frame)
    assert not frame_of(read_joined(rows, max_rows=500, seed=2)[0]).equals(frame)


def test_the_sample_is_uniform_over_files_and_within_them():
    """Of 400 samples of 50 of 500 rows in five files, each row is in about 40."""
    tables = [pa.table({"row": np.arange(100 * n, 100 * n + 100)}) for n in range(5)]
    counts = np.zeros(500)
    for seed in range(400):
        joined = SampleOfFiles(50)
        for number, table in enumerate(tables):
            sample = Sample(50, [seed, number], joined.below)
            sample.add(table)
            kept, positions = sample.result(table.schema)
            joined.add(number, kept, sample.keys, positions)
        tables_kept, where = joined.result()
        found = pa.concat_tables(tables_kept)["row"].to_numpy()
        counts[found] += 1
        assert (found == np.concatenate([100 * n + part for n, part in enumerate(where)])).all()
    assert counts.sum() == 400 * 50
    # A sum of 500 squares of binomial counts over their variance; five standard deviations around its mean.
    chi_squared = ((counts - 40) ** 2 / (400 * 0.1 * 0.9)).sum()
    assert abs(chi_squared - 500) < 5 * np.sqrt(2 * 500)
    files = counts.reshape(5, 100).sum(axis=1)
    assert abs(files - 4000).max() < 5 * np.sqrt(400 * 50 * 0.2 * 0.8)


def test_the_sample_does_not_depend_on_the_order_in_which_files_come():
    """Nor on how early it is known that a row cannot be in it."""
    rng = np.random.default_rng(0)
    tables = [pa.table({"row": np.arange(1000 * n, 1000 * n + int(rng.integers(1, 900)))}) for n in range(12)]
    found = []
    for order in (range(12), range(11, -1, -1), rng.permutation(12)):
        joined = SampleOfFiles(100)
        for number in order:
            sample = Sample(100, [7, int(number)], joined.below if number % 2 else np.inf)
            sample.add(tables[number])
            kept, positions = sample.result(tables[number].schema)
            joined.add(int(number), kept, sample.keys, positions)
        found.append(pa.concat_tables(joined.result()[0])["row"].to_pylist())
    assert len(found[0]) == 100
    assert found[0] == sorted(found[0])
    assert found[0] == found[1] == found[2]
    assert joined.below < 0.2


def test_a_cell_at_fault_is_named_with_its_file(rows, tmp_path):
    shutil.copytree(rows, tmp_path / "rows")
    lines = (tmp_path / "rows" / "part-3.csv").read_text().splitlines()
    lines[7] = "3,six"
    (tmp_path / "rows" / "part-3.csv").write_text("\n".join(lines))
    for options in ({}, {"max_rows": 3050, "seed": 1}):
        with pytest.raises(AugmentError, match=r"'row' cannot be integer: 'six' in row 8 of part-3.csv is no"):
            pipelines.fit(tmp_path / "rows", model=tmp_path / "m.augment", kinds={"row": "integer"}, **options)


def test_parquet_files_are_joined_with_their_types(tmp_path):
    for number in range(3):
        pd.DataFrame({"x": np.arange(number, dtype=float)}).to_parquet(tmp_path / f"{number}.parquet")
    source, files = read_joined(tmp_path, max_rows=2, seed=0)
    assert (source.num_rows, source.table.num_rows, str(source.table.schema.field("x").type)) == (3, 2, "double")
    assert [one.num_rows for one in files] == [0, 1, 2]


def test_parts_without_rows_are_passed_over_unless_all_are(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n")
    with pytest.raises(AugmentError, match=r"a.csv: there are no rows"):
        read_joined(tmp_path)
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    assert read_joined(tmp_path)[0].num_rows == 1


def test_text_is_not_joined_with_types(tmp_path):
    frame = pd.DataFrame({"x": [1, 2]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "b.parquet")
    with pytest.raises(AugmentError, match=r"b.parquet and a.csv cannot be joined: one is text and one has types"):
        read_joined(tmp_path)


def test_files_of_one_folder_with_other_columns_are_not_joined(rows, tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(AugmentError, match=r"b.csv has the columns x, z; a.csv has x, y"):
        read_joined(tmp_path)


def test_a_frame_and_a_folder_can_be_joined(tmp_path):
    pd.DataFrame({"x": [1.0, 2.0]}).to_parquet(tmp_path / "a.parquet")
    source, files = read_joined([tmp_path, pd.DataFrame({"x": [3.0]})], max_rows=10)
    assert source.table["x"].to_pylist() == [1.0, 2.0, 3.0]
    assert [one.sha256 is None for one in files] == [False, True]


def test_a_folder_is_fitted_like_its_rows_in_one_file(moons, tmp_path):
    """The weights; margins are those of the same sample."""
    header, *lines = moons.read_text().splitlines(keepends=True)
    (tmp_path / "rows").mkdir()
    for number in range(3):
        part = lines[number * 2000 : (number + 1) * 2000]
        (tmp_path / "rows" / f"{number}.csv").write_text(header + "".join(part))
    tiny = {"steps": 20, "couplings": 2, "width": 8}
    one = pipelines.fit(moons, model=tmp_path / "one.augment", **tiny)
    three = pipelines.fit(tmp_path / "rows", model=tmp_path / "three.augment", **tiny)
    assert (three.rows, three.source) == (5000, "0.csv, 1.csv, 2.csv")
    assert three.log_likelihood == one.log_likelihood
