"""A file is there whole or not at all, whatever happens to its writer, and nobody else's file is touched."""

import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines import AugmentError, UsageError
from pipelines.tables.files import whole_files
from pipelines.tables.files.outputs import open_output, refuse_existing
from pipelines.tables.files.whole_files import check_writable, whole_file

OLD, NEW = b"old" * 1000, b"new" * 1000


@pytest.fixture(params=["nameless", "named", "no links"])
def way(request, monkeypatch):
    """The ways a file system allows: files without a name, or none, or such that can never get one."""
    if request.param == "named":
        monkeypatch.setattr(whole_files, "_nameless", lambda _: None)
    if request.param == "no links":

        def refuse(*_, **__):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)
    return request.param


def write(path, then, opening=whole_file):
    with opening(path) as file:
        file.write(NEW)
        then()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_is_there_when_it_is_whole(way, tmp_path):
    with whole_file(tmp_path / "out") as file:
        file.write(NEW)
        assert not (tmp_path / "out").exists()
        assert len(names(tmp_path)) == (way == "named")
    assert (tmp_path / "out").read_bytes() == NEW
    assert names(tmp_path) == ["out"]


def test_an_old_file_is_there_until_the_new_one_is_whole(way, tmp_path):
    (tmp_path / "out").write_bytes(OLD)
    with whole_file(tmp_path / "out") as file:
        file.write(NEW)
        file.flush()
        assert (tmp_path / "out").read_bytes() == OLD
    assert (tmp_path / "out").read_bytes() == NEW
    assert names(tmp_path) == ["out"]


def test_a_file_has_the_permissions_of_any_new_file(way, tmp_path):
    (tmp_path / "other").write_bytes(b"")
    for content in (NEW, OLD):
        with whole_file(tmp_path / "out") as file:
            file.write(content)
        assert (tmp_path / "out").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("old", [None, OLD])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("no")])
def test_a_failure_leaves_what_was_there(way, tmp_path, old, failure):
    if old is not None:
        (tmp_path / "out").write_bytes(old)

    def fail():
        raise failure

    with pytest.raises(type(failure)):
        write(tmp_path / "out", fail)
    assert names(tmp_path) == ([] if old is None else ["out"])
    assert old is None or (tmp_path / "out").read_bytes() == old


def test_two_writers_do_not_mix(way, tmp_path):
    """The last to end has written the file; neither sees the other's."""
    with whole_file(tmp_path / "out") as one, whole_file(tmp_path / "out") as other:
        one.write(OLD)
        other.write(NEW)
        one.flush()
        other.write(NEW)
    assert (tmp_path / "out").read_bytes() == OLD
    assert names(tmp_path) == ["out"]


def test_many_writers_at_once_leave_one_whole_file(way, tmp_path):
    contents = [bytes([number]) * 100_000 for number in range(8)]

    def write(content):
        for _ in range(20):
            with whole_file(tmp_path / "out") as file:
                file.write(content[:50_000])
                file.write(content[50_000:])

    with ThreadPoolExecutor(len(contents)) as pool:
        writers = [pool.submit(write, content) for content in contents]
        while not all(writer.done() for writer in writers):
            if (tmp_path / "out").exists():
                assert (tmp_path / "out").read_bytes() in contents
    for writer in writers:
        writer.result()
    assert (tmp_path / "out").read_bytes() in contents
    assert names(tmp_path) == ["out"]


SCRIPT = """
import pathlib, sys
from pipelines.tables.files import whole_files
if sys.argv[2] == "named":
    whole_files._nameless = lambda folder: None
with whole_files.whole_file(pathlib.Path(sys.argv[1])) as file:
    file.write(b"x" * 100_000)
    file.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


def start(path, way):
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, path, way], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"written\n"
    return process


def stop(process, how):
    process.send_signal(how)
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.mark.parametrize("kind", ["nameless", "named"])
def test_a_killed_writer_leaves_nothing_for_long(tmp_path, kind):
    living, killed = start(tmp_path / "out", kind), start(tmp_path / "out", kind)
    (tmp_path / ".out.notours.tmp").write_bytes(b"")
    (tmp_path / ".other.01234567.tmp").write_bytes(b"")
    others = [".other.01234567.tmp", ".out.notours.tmp"]
    assert len(names(tmp_path)) == 2 + 2 * (kind == "named")
    stop(killed, signal.SIGKILL)
    assert len(names(tmp_path)) == 2 + 2 * (kind == "named")  # a file without a name is gone, the other is not yet
    with whole_file(tmp_path / "out") as file:
        file.write(NEW)
    assert len(names(tmp_path)) == 3 + (kind == "named")  # that of the living one stays
    living.communicate()
    assert living.returncode == 0
    assert (tmp_path / "out").read_bytes() == b"x" * 100_000
    assert names(tmp_path) == [*others, "out"]


def test_a_file_taken_for_abandoned_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_files, "_nameless", lambda _: None)
    lock, taken = whole_files._lock, []

    def late(descriptor):
        if not taken:
            taken.append(descriptor)
            whole_files._remove_abandoned(tmp_path / "out")
            assert names(tmp_path) == []
        lock(descriptor)

    monkeypatch.setattr(whole_files, "_lock", late)
    with whole_file(tmp_path / "out") as file:
        file.write(NEW)
    assert taken
    assert (tmp_path / "out").read_bytes() == NEW


def test_what_cannot_be_locked_is_not_taken_for_abandoned(tmp_path, monkeypatch):
    """A file system without locks."""
    (tmp_path / ".out.01234567.tmp").write_bytes(b"")

    def none(*_):
        raise OSError(errno.EOPNOTSUPP, "no locks")

    monkeypatch.setattr(fcntl, "flock", none)
    with whole_file(tmp_path / "out") as file:
        file.write(NEW)
    assert names(tmp_path) == [".out.01234567.tmp", "out"]


@pytest.mark.parametrize("old", [None, OLD])
def test_a_folder_that_vanishes_is_said_to_be_gone(way, tmp_path, old):
    folder = tmp_path / "folder"
    folder.mkdir()
    if old is not None:
        (folder / "out").write_bytes(old)
    with pytest.raises(AugmentError, match=r"out cannot be written: .*\. The folder is gone; make it again"):
        write(folder / "out", lambda: shutil.rmtree(folder), open_output)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "reading only"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EIO, "fault"),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_each_way_a_disk_fails_is_one_line_with_what_to_do(way, tmp_path, monkeypatch, number, advice, call):
    """The system may say so at any of these calls."""
    (tmp_path / "out").write_bytes(OLD)

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    if call == "rename":
        monkeypatch.setattr("pathlib.Path.replace", fail)
    said = re.escape(f"out cannot be written: {os.strerror(number)}. ") + f".*{re.escape(advice)}"
    with pytest.raises(AugmentError, match=said) as caught:
        write(tmp_path / "out", fail if call == "write" else lambda: None, open_output)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == OLD


@pytest.mark.parametrize("length", [242, 255, 256, 5000])
def test_a_name_that_is_too_long_is_refused_beforehand(tmp_path, length):
    """Also one to which the hidden file's could not be added: it would fail after hours where a file is replaced."""
    path = tmp_path / ("x" * length)
    with pytest.raises(AugmentError, match=r"File name too long\. Give it a shorter name"):
        refuse_existing(path, force=True)
    shorter = tmp_path / ("x" * 241)
    refuse_existing(shorter, force=False)
    for content in (OLD, NEW):
        with open_output(shorter) as file:
            file.write(content)
    assert shorter.read_bytes() == NEW


@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_where_nobody_may_write_is_known_beforehand(folder):
    with pytest.raises(AugmentError, match="cannot be written"):
        check_writable(whole_files.pathlib.Path(folder) / "out")


def test_what_is_checked_beforehand_leaves_nothing(way, tmp_path):
    refuse_existing(tmp_path / "out", force=False)
    assert names(tmp_path) == []
    (tmp_path / "out").write_bytes(OLD)
    with pytest.raises(UsageError, match="exists"):
        refuse_existing(tmp_path / "out", force=False)
    refuse_existing(tmp_path / "out", force=True)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == OLD


def test_no_descriptor_stays_open(way, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with whole_file(tmp_path / "out") as file:
            file.write(NEW)
        refuse_existing(tmp_path / "out", force=True)
        with pytest.raises(ValueError, match="no"), whole_file(tmp_path / "out"):
            raise ValueError("no")
    assert len(os.listdir("/proc/self/fd")) <= before
