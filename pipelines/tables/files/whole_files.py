"""Files that appear under their name whole or not at all, whenever the process that writes them dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import re
import secrets
import shutil
from collections.abc import Iterator
from typing import IO

from pipelines.errors import AugmentError

__all__ = ["check_writable", "whole_file", "write_error"]

_ADVICE = {
    errno.ENOSPC: "Free some space, or write to another disk.",
    errno.EDQUOT: "Remove files that count towards the quota, or write to another disk.",
    errno.EFBIG: "The system allows no larger file there; write to another disk, or raise the limit (ulimit -f).",
    errno.EROFS: "Write to a disk that is not mounted for reading only.",
    errno.EACCES: "Write to a folder in which you may make files.",
    errno.EPERM: "Write to a folder in which you may make files.",
    errno.ENOENT: "The folder is gone; make it again, or write to another one.",
    errno.ESTALE: "The folder is gone; make it again, or write to another one.",
    errno.EIO: "The disk has a fault; write to another one.",
    errno.ENAMETOOLONG: "Give it a shorter name.",
}
# A file without a name cannot be given one where a file system has no hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@contextlib.contextmanager
def whole_file(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """Opens a file that is called `path` once the block has ended without an error, in place of what was called so.

    Until then it has no name at all, so that the system removes it when the process dies. Where a file must have one
    (NFS, other systems than Linux), it is hidden beside `path` and locked for as long as its process lives, and whoever
    next writes to `path` removes those that are not.

    Raises:
        OSError: If it cannot be written; nothing is left behind then.
    """
    _remove_abandoned(path)
    temporary = _beside(path)
    try:
        with _nameless(path.parent) or _named(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            _give_name(file, temporary, path)
        _sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def check_writable(path: pathlib.Path) -> None:
    """Raises `AugmentError` if no file could be written at `path`, as far as that is known beforehand."""
    trial = _beside(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            trial.lstat()  # what has no name yet could get one that is too long
        file = _nameless(path.parent)
        if file is None:
            file = _named(trial)
            trial.unlink(missing_ok=True)
        file.close()
    except OSError as error:
        raise write_error(path, error) from error


def write_error(name: str | os.PathLike[str], error: OSError) -> AugmentError:
    """Returns what to tell about an output that cannot be written: what is wrong with it and what to do."""
    advice = _ADVICE.get(error.errno or 0)
    return AugmentError(f"{name} cannot be written: {error.strerror or error}.{' ' + advice if advice else ''}")


def _beside(path: pathlib.Path) -> pathlib.Path:
    """A name beside `path` that is not taken. Not `tempfile`, which makes files only their owner may read."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _nameless(folder: pathlib.Path) -> IO[bytes] | None:
    """A file on the disk of `folder` that has no name yet, or None where there is no such thing."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except (OSError, AttributeError):
        return None  # if it is more than that, the other way will tell
    if not os.path.lexists(f"/proc/self/fd/{descriptor}"):  # by which it gets its name
        os.close(descriptor)
        return None
    _lock(descriptor)
    return os.fdopen(descriptor, "wb")


def _named(temporary: pathlib.Path) -> IO[bytes]:
    """A file with the name `temporary`."""
    while True:
        file = temporary.open("xb")
        _lock(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another process took it for abandoned before it was locked


def _sync(folder: pathlib.Path) -> None:
    """Puts a folder's new names on the disk, as far as its file system can: the power may fail next."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # some file systems have no locks: there nothing is taken for abandoned
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _give_name(file: IO[bytes], temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Calls a finished file `path`; one that has a name already is called `temporary`."""
    if not temporary.exists():
        itself = f"/proc/self/fd/{file.fileno()}"
        try:
            # With a folder's descriptor, which an absolute path does not need, Python follows the link to the file.
            os.link(itself, path, src_dir_fd=file.fileno())
            return
        except FileExistsError:  # a link cannot replace a file, but a name can
            os.link(itself, temporary, src_dir_fd=file.fileno())
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with open(itself, "rb") as original, _named(temporary) as copy:
                shutil.copyfileobj(original, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
                temporary.replace(path)  # while it is locked
                return
    temporary.replace(path)


def _remove_abandoned(path: pathlib.Path) -> None:
    """Removes the unfinished files beside `path` of processes that died."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"[0-9a-f]{8}\.tmp")
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            if pattern.fullmatch(name):
                _remove_unlocked(path.with_name(name))


def _remove_unlocked(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.lstat()):  # and not what has been made there since
                path.unlink()
        finally:
            os.close(descriptor)
