"""Where what is made goes: files that appear whole, compressed by their suffix, or standard output."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from pipelines.errors import UsageError, same_command
from pipelines.tables.files.reading import SPREADSHEETS
from pipelines.tables.files.whole_files import check_writable, whole_file, write_error

__all__ = ["open_output", "refuse_existing", "refuse_output", "standard_output"]

# A CSV under such a name would not be what it says.
_OTHER_FORMATS = (*SPREADSHEETS, ".json", ".jsonl", ".feather", ".arrow", ".orc", ".avro", ".h5", ".pkl", ".npz",
                  ".zip", ".dta", ".sav")  # fmt: skip
# What is compressed at a time: fixed, so that the bytes do not depend on how they come.
_BLOCK_BYTES = 1 << 20


def refuse_existing(path: str | os.PathLike[str], force: bool) -> None:
    """Raises `UsageError` if `path` exists and `force` is not set, or if its folder does not exist.

    Done before any work, so that an hour's work is not lost to a file in the way.

    Raises:
        AugmentError: If nothing can be written there.
    """
    path = pathlib.Path(path)
    try:
        if not path.parent.is_dir():
            raise UsageError(f"{path}: the folder {path.parent} does not exist.")
        if path.is_dir():
            raise UsageError(f"{path} is a folder.")
        if path.is_file() and not force:
            raise UsageError(f"{path} exists. To replace it: {same_command('force')}")
        is_replaced = not path.exists() or path.is_file()
    except OSError as error:
        raise write_error(path, error) from error
    if is_replaced:
        check_writable(path.resolve())


def refuse_output(path: str | os.PathLike[str] | None, force: bool) -> None:
    """Raises what `refuse_existing` raises, and `UsageError` if a table cannot be written in the format of `path`.

    Neither standard output (`-`) nor a DataFrame (None) is refused.
    """
    if path is None or str(path) == "-":
        return
    path = pathlib.Path(path)
    if path.suffix.lower() in _OTHER_FORMATS:
        stem = path.with_name(path.name.split(".")[0])
        csv, parquet = stem.with_suffix(".csv"), stem.with_suffix(".parquet")
        raise UsageError(f"{path}: tables are written as CSV or Parquet. Write -o {csv} or -o {parquet}")
    refuse_existing(path, force)


@contextlib.contextmanager
def open_output(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Opens a file that appears under its name whole, when the block ends without an error. `-` is standard output.

    What is written is compressed if the suffix is `.gz`, `.zst` or `.bz2`.

    Raises:
        AugmentError: If it cannot be written, as on a full disk; nothing is left behind.
    """
    path = pathlib.Path(path)
    try:
        if str(path) == "-":
            with standard_output():
                yield sys.stdout.buffer
        elif path.exists() and not path.is_file():  # a pipe or a device is written to, not replaced
            with path.open("wb") as device, _compressing(path, device) as output:
                yield output
        else:  # what a link points to is replaced, not the link
            with whole_file(path.resolve()) as file, _compressing(path, file) as output:
                yield output
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise write_error(path, error) from error


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Tells what of the block cannot be written to standard output, which may be a file on a full disk.

    A reader that goes away is not told of: `BrokenPipeError` passes.

    Raises:
        AugmentError: If it cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still held back would fail at exit
        raise write_error("standard output", error) from error


@contextlib.contextmanager
def _compressing(path: pathlib.Path, file: IO[bytes]) -> Iterator[Any]:
    """What is to be written to, so that `file` is compressed as the suffix of `path` says, with no time in it."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        packed: Any = gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0)
    elif suffix == ".bz2":
        packed = bz2.BZ2File(file, "wb")
    elif suffix == ".zst":
        packed = pa.CompressedOutputStream(pa.PythonFile(_Unclosed(file), "wb"), "zstd")
    else:
        yield file
        return
    with packed:
        blocks = _Blocks(packed)
        yield blocks
        blocks.close()


class _Unclosed:
    """A file that stays open for whoever opened it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write, self.closed = file.write, False

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True


class _Blocks:
    """Passes bytes on in blocks of one size."""

    def __init__(self, file: Any) -> None:
        self._file, self._pending = file, bytearray()

    def write(self, data: Any) -> int:
        self._pending += memoryview(data)
        whole = len(self._pending) // _BLOCK_BYTES * _BLOCK_BYTES
        for start in range(0, whole, _BLOCK_BYTES):
            self._file.write(bytes(self._pending[start : start + _BLOCK_BYTES]))
        del self._pending[:whole]
        return memoryview(data).nbytes

    def flush(self) -> None:
        """What is no whole block waits for the end."""

    def close(self) -> None:
        self._file.write(bytes(self._pending))
        self._pending.clear()
