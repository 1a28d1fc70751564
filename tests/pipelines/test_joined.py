"""Files read as one are the rows of all of them, or a uniform sample that does not depend on who read which first."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.joined import is_several, read_joined, tables_of
from pipelines.tables.sampling import Sample, SampleOfFiles

LENGTHS = [300, 1, 2000, 50, 700]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A folder of CSV and Parquet files of other lengths, which say which row of which file each row is, and others."""
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


def test_a_model_of_a_pattern_needs_a_name(rows):
    with pytest.raises(UsageError, match="a model fitted to files of a pattern needs a file name"):
        pipelines.fit(rows / "*.csv")


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
            joined.add(number, sample.result(table.schema)[0], sample.keys)
        counts[pa.concat_tables(joined.tables())["row"].to_numpy()] += 1
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
            joined.add(int(number), sample.result(tables[number].schema)[0], sample.keys)
        found.append(pa.concat_tables(joined.tables())["row"].to_pylist())
    assert len(found[0]) == 100
    assert found[0] == sorted(found[0])
    assert found[0] == found[1] == found[2]
    assert joined.below < 0.2


def test_files_of_one_folder_with_other_columns_are_not_joined(rows, tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(AugmentError, match=r"b.csv has the columns x, z; a.csv has x, y"):
        read_joined(tmp_path)


def test_a_frame_and_a_folder_can_be_joined(rows):
    frame = pd.DataFrame({"file": ["9"], "row": ["9"]})
    source, files = read_joined([rows, frame], max_rows=10_000)
    assert frame_of(source).iloc[-1].tolist() == [9, 9]
    assert [one.sha256 is None for one in files] == [False] * 5 + [True]


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
