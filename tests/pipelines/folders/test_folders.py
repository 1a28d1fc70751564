"""A folder at a URI gets the same files as one at a path."""

import gzip

import pytest

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.engines.local import BLOCK_ROWS
from pipelines.folders.location import LocalFolder, RemoteFolder, digest, folder_of, read, write
from pipelines.folders.manifest import MANIFEST

N = 2 * BLOCK_ROWS + 100
SMALL = {"seed": 1, "part_rows": BLOCK_ROWS}


@pytest.fixture(params=["path", "uri", "s3"])
def place(request, tmp_path):
    """Empty, and already there."""
    (tmp_path / "rows").mkdir()
    if request.param == "s3":
        return folder_of(request.getfixturevalue("bucket").format(tmp_path.name))
    return folder_of(tmp_path / "rows" if request.param == "path" else f"file://{tmp_path}/rows")


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def test_a_uri_is_a_remote_folder_and_all_else_is_a_path(tmp_path):
    assert isinstance(folder_of("file:///rows"), RemoteFolder)
    assert isinstance(folder_of("rows"), LocalFolder)
    assert isinstance(folder_of(tmp_path), LocalFolder)


def test_what_is_written_is_there_and_can_be_removed(place):
    assert (place.names(), place.size("b"), read(place, "b"), digest(place, "b")) == ([], None, None, None)
    write(place, "b", b"1")
    write(place, "a", b"")
    write(place, "b", b"abc")
    assert place.names() == ["a", "b"]
    assert place.size("b") == 3
    assert read(place, "b") == b"abc"
    assert digest(place, "b") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    place.remove("b")
    assert place.names() == ["a"]
    with pytest.raises(AugmentError, match="b cannot be removed"):
        place.remove("b")


def test_what_is_compressed_stays_so(place):
    content = gzip.compress(b"abc")
    with place.making("a.csv.gz") as path:
        path.write_bytes(content)
    assert read(place, "a.csv.gz") == content
    with place.fetched("a.csv.gz") as path:
        assert path.read_bytes() == content


def test_what_fails_half_way_is_not_there(place):
    with pytest.raises(FileNotFoundError), place.making("a") as path, path.with_name("no such").open("rb"):
        pass
    assert place.names() == []


def test_a_uri_of_no_file_system_is_wrong_usage(moons_model):
    with pytest.raises(UsageError, match=r"^nowhere://rows: "):
        pipelines.generate(moons_model, N, parts="nowhere://rows", **SMALL)


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_parts_at_a_uri_are_those_at_a_path(visits_model, tmp_path, suffix):
    pipelines.generate(visits_model, N, parts=tmp_path / "path", part_suffix=suffix, **SMALL)
    pipelines.generate(visits_model, N, parts=f"file://{tmp_path}/uri", part_suffix=suffix, **SMALL)
    assert contents(tmp_path / "uri") == contents(tmp_path / "path")
    assert len(contents(tmp_path / "uri")) == 4


def test_parts_in_a_bucket_are_those_at_a_path_and_go_on(moons_model, tmp_path, bucket):
    pipelines.generate(moons_model, N, parts=tmp_path / "path", **SMALL)
    uri = bucket.format("moons/rows")
    pipelines.generate(moons_model, N, parts=uri, **SMALL)
    place = folder_of(uri)
    assert {name: read(place, name) for name in place.names()} == contents(tmp_path / "path")
    with pytest.raises(UsageError, match=r"^s3://bucket/moons/rows has parts already"):
        pipelines.generate(moons_model, N, parts=uri, **SMALL)
    place.remove("part-00001.csv")
    write(place, "part-00002.csv", b"half")
    assert pipelines.generate(moons_model, parts=uri, resume=True).parts_kept == 1
    assert {name: read(place, name) for name in place.names()} == contents(tmp_path / "path")


def test_parts_at_a_uri_go_on_and_are_replaced_only_if_told_so(moons_model, tmp_path):
    uri = f"file://{tmp_path}/rows"
    pipelines.generate(moons_model, N, parts=uri, **SMALL)
    before = contents(tmp_path / "rows")
    with pytest.raises(UsageError, match="rows has parts already"):
        pipelines.generate(moons_model, N, parts=uri, **SMALL)
    (tmp_path / "rows" / "part-00001.csv").write_bytes(before["part-00001.csv"][:1000])  # as a process dies
    made = pipelines.generate(moons_model, parts=uri, resume=True)
    assert (made.rows, made.parts_kept) == (BLOCK_ROWS, 2)
    assert contents(tmp_path / "rows") == before
    pipelines.generate(moons_model, 10, parts=uri, seed=2, force=True)
    assert sorted(contents(tmp_path / "rows")) == [MANIFEST, "part-00000.csv"]


def test_a_uri_that_cannot_be_written_to_is_told_of(moons_model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AugmentError, match="file/rows"):
        pipelines.generate(moons_model, N, parts=f"file://{tmp_path}/file/rows", **SMALL)
