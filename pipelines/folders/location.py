"""Where parts are: a folder of this machine, or one of any file system that pyarrow reaches by a URI."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any, Protocol

from pipelines.errors import AugmentError, UsageError, library_message
from pipelines.tables.files.outputs import open_output
from pipelines.tables.files.whole_files import check_writable, write_error

__all__ = ["Folder", "LocalFolder", "RemoteFolder", "digest", "folder_of", "read", "write"]

_OBJECT_STORES = ("s3", "gcs", "abfs")  # where a folder is there as soon as a file is
_COPIED_AT_A_TIME = 1 << 24  # bytes


class Folder(Protocol):
    """A folder of files with plain names."""

    def names(self) -> list[str]:
        """Returns the names of its files, sorted.

        Raises:
            AugmentError: If it cannot be read.
        """

    @property
    def place(self) -> tuple[str, str]:
        """The kind of its file system, and where it is in that: two folders of one place are the same."""

    def size(self, name: str) -> int | None:
        """Returns the bytes of a file, or None if there is none of that name.

        Raises:
            AugmentError: If that cannot be found out.
        """

    def opened(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Opens a file for reading.

        Raises:
            FileNotFoundError: If there is none.
            AugmentError: If it cannot be read.
        """

    def fetched(self, name: str) -> contextlib.AbstractContextManager[pathlib.Path]:
        """Yields where a file is on this machine, for the block.

        Raises:
            AugmentError: If it cannot be read.
        """

    def making(self, name: str) -> contextlib.AbstractContextManager[pathlib.Path]:
        """Yields where to write a whole file on this machine, which is in the folder when the block has ended.

        Raises:
            AugmentError: If it cannot be put there.
        """

    def remove(self, name: str) -> None:
        """Removes a file.

        Raises:
            AugmentError: If it cannot be removed.
        """

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Makes the folder if there is none, and keeps other processes from writing to it, if it can.

        Raises:
            AugmentError: If another process writes to it, or nothing can be written to it.
        """


def folder_of(where: str | os.PathLike[str]) -> Folder:
    """Returns the folder at a path, or at a URI such as `s3://bucket/folder`.

    Raises:
        UsageError: If there is no file system for the URI.
    """
    path = os.fspath(where)
    return RemoteFolder(path) if "://" in path else LocalFolder(path)


def read(folder: Folder, name: str) -> bytes | None:
    """Returns the content of a file, or None if there is none."""
    try:
        with folder.opened(name) as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(folder: Folder, name: str, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    with folder.making(name) as path, open_output(path) as file:
        file.write(content)


def digest(folder: Folder, name: str) -> str | None:
    """Returns the SHA-256 of a file, or None if there is none."""
    if folder.size(name) is None:  # a pipe would be waited for
        return None
    with folder.opened(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


class LocalFolder:
    """A folder of this machine, or on a disk that it shares with others.

    Args:
        path: Where it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def __reduce__(self) -> Any:
        return LocalFolder, (self.path.absolute(),)  # other processes work in other folders

    def names(self) -> list[str]:
        try:
            with os.scandir(self.path) as entries:
                return sorted(entry.name for entry in entries if not entry.is_dir())
        except FileNotFoundError as error:  # where parts are to go: who reads has looked whether it is there
            raise write_error(self.path, error) from error
        except OSError as error:
            raise AugmentError(f"{self.path} cannot be read: {error.strerror}.") from error

    @property
    def place(self) -> tuple[str, str]:
        return "local", str(self.path.resolve())

    def size(self, name: str) -> int | None:
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with (self.path / name).open("rb") as file:
                yield file
        except FileNotFoundError:
            raise
        except OSError as error:
            raise AugmentError(f"{self.path / name} cannot be read: {error.strerror}.") from error

    @contextlib.contextmanager
    def fetched(self, name: str) -> Iterator[pathlib.Path]:
        yield self.path / name

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[pathlib.Path]:
        yield self.path / name

    def remove(self, name: str) -> None:
        try:
            (self.path / name).unlink()
        except OSError as error:
            raise AugmentError(f"{self.path / name} cannot be removed: {error.strerror}.") from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        folder = self.path
        if not folder.parent.is_dir():
            raise UsageError(f"{folder}: the folder {folder.parent} does not exist.")
        is_new = not folder.exists()
        try:
            folder.mkdir(exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileExistsError as error:
            raise UsageError(f"{folder} is a file, not a folder.") from error
        except OSError as error:
            raise write_error(folder, error) from error
        try:
            with contextlib.suppress(OSError):  # some file systems have no locks
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise AugmentError(
                        f"{folder} is being written to by another process; wait for it, or write to another folder."
                    ) from error
            check_writable(folder / "part")
            yield
        finally:
            os.close(descriptor)
            if is_new:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # if nothing came of it


class RemoteFolder:
    """A folder of a file system that pyarrow reaches by a URI. It has no lock: who writes to it must be one.

    A file is made in a folder for temporary files first, which stays if the process is killed. It may be there before
    it is whole if the process that copies it dies; whoever goes on finds that out by its hash.

    Args:
        uri: Such as `s3://bucket/folder` or `gs://bucket/folder`; pyarrow.fs says which there are, and
            where they find credentials.
    """

    def __init__(self, uri: str) -> None:
        from pyarrow import fs

        self.uri = uri
        self._name = re.sub("://[^/@]*@", "://", uri.partition("?")[0].rstrip("/"))  # without what is secret
        try:
            self._files, self._path = fs.FileSystem.from_uri(uri)
        except (ValueError, OSError, NotImplementedError) as error:
            raise UsageError(f"{self._name}: {library_message(error)}") from error
        self._path = self._path.rstrip("/")

    def __str__(self) -> str:
        return self._name

    def __reduce__(self) -> Any:
        return RemoteFolder, (self.uri,)

    def names(self) -> list[str]:
        from pyarrow import fs

        try:
            found = self._files.get_file_info(fs.FileSelector(self._path, allow_not_found=True))
        except OSError as error:
            raise AugmentError(f"{self._name} cannot be read: {error}.") from error
        return sorted(one.base_name for one in found if one.is_file)

    @property
    def place(self) -> tuple[str, str]:
        kind = self._files.type_name
        return kind, str(pathlib.Path(self._path).resolve()) if kind == "local" else self._path

    def size(self, name: str) -> int | None:
        try:
            found = self._files.get_file_info(f"{self._path}/{name}")
            return found.size if found.is_file else None
        except OSError as error:
            raise AugmentError(f"{self._name}/{name} cannot be read: {error}.") from error

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._files.open_input_stream(f"{self._path}/{name}", compression=None) as file:
                yield file
        except FileNotFoundError:
            raise
        except OSError as error:
            raise AugmentError(f"{self._name}/{name} cannot be read: {error}.") from error

    @contextlib.contextmanager
    def fetched(self, name: str) -> Iterator[pathlib.Path]:
        with tempfile.TemporaryDirectory(prefix="augment-") as folder:
            path = pathlib.Path(folder) / name
            try:
                with self.opened(name) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target, _COPIED_AT_A_TIME)
            except FileNotFoundError as error:
                raise UsageError(f"{self._name}/{name}: no such file.") from error
            yield path

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[pathlib.Path]:
        with tempfile.TemporaryDirectory(prefix="augment-") as folder:
            path = pathlib.Path(folder) / name
            yield path
            try:
                with (
                    path.open("rb") as source,
                    self._files.open_output_stream(f"{self._path}/{name}", compression=None) as target,
                ):
                    shutil.copyfileobj(source, target, _COPIED_AT_A_TIME)
            except OSError as error:
                with contextlib.suppress(AugmentError):
                    self.remove(name)
                raise write_error(f"{self._name}/{name}", error) from error

    def remove(self, name: str) -> None:
        try:
            self._files.delete_file(f"{self._path}/{name}")
        except OSError as error:
            raise AugmentError(f"{self._name}/{name} cannot be removed: {error}.") from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        try:
            if self._files.type_name not in _OBJECT_STORES:
                self._files.create_dir(self._path, recursive=True)
        except OSError as error:
            raise write_error(self._name, error) from error
        yield
