"""Outputs appear whole or not at all, compressed as their names say, and what is in the way is told of first."""

import bz2
import errno
import gzip
import io
import os
import stat

import pyarrow as pa
import pytest

from pipelines import AugmentError, UsageError
from pipelines.tables.files.outputs import open_output, refuse_existing

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


# Compression.


@pytest.mark.parametrize(
    ("suffix", "unpack"),
    [
        (".csv.gz", gzip.decompress),
        (".csv.bz2", bz2.decompress),
        (".csv.zst", lambda data: pa.input_stream(io.BytesIO(data), compression="zstd").read()),
    ],
)
def test_the_suffix_compresses_to_the_same_bytes_each_time(tmp_path, suffix, unpack):
    data = b"".join(b"%d,%d\n" % (i, i * i) for i in range(200_000))
    found = []
    for size in (len(data), 4001, 1 << 20):
        path = tmp_path / f"{size}{suffix}"
        with open_output(path) as file:
            for start in range(0, len(data), size):
                file.write(data[start : start + size])
        found.append(path.read_bytes())
    assert unpack(found[0]) == data
    assert len(found[0]) < len(data) / 2
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2"])
def test_a_failure_under_compression_leaves_nothing(tmp_path, suffix):
    def write():
        with open_output(tmp_path / f"out.csv{suffix}") as file:
            file.write(b"new" * 100_000)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write()
    assert list(tmp_path.iterdir()) == []
