"""A zip file that anybody may have made: only known members, each of a bounded size, unpacked no further than that."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO

from pipelines.errors import printable

__all__ = ["Archive", "ArchiveError", "OtherArchiveError"]

_END = struct.Struct("<4s4H2LH")  # the record a zip file ends with, without a comment
_ZIP64_LOCATOR_BYTES = 20
_LOCAL_HEADER_BYTES = 30
_MAX_DIRECTORY_BYTES = 1 << 16
_IS_ENCRYPTED, _IS_PATCH, _IS_STRONGLY_ENCRYPTED, _IS_MASKED = 0x1, 0x20, 0x40, 0x2000
_FORBIDDEN = _IS_ENCRYPTED | _IS_PATCH | _IS_STRONGLY_ENCRYPTED | _IS_MASKED
# A member may be so many times larger than what it is packed in, and so many bytes more.
_MAX_RATIO, _ALWAYS_ALLOWED = 200, 10_000_000
# What `zipfile` raises for bytes that are not what they were.
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, NotImplementedError)


class ArchiveError(Exception):
    """The zip file is not one that was written here, or not any more; the message says what is wrong."""


class OtherArchiveError(ArchiveError):
    """The zip file is one of something else."""


class Archive:
    """The members of a zip file.

    `zipfile` would read a list of members of any length, find a second list of members that another program does not
    see, unpack what overlaps or what claims to be small, and tell nothing of paths, links and duplicates. So this is
    looked at before, and what is not as this library writes it is refused.

    Args:
        file: An open file, which stays open for as long as members are read.
        largest: The bytes each member may have, by name; there are no others.
        needed: The member without which it is a zip file of something else.

    Raises:
        ArchiveError: If there is anything in it that is not to be read.
    """

    def __init__(self, file: IO[bytes], largest: Mapping[str, int], needed: str) -> None:
        self._file, size = file, os.fstat(file.fileno()).st_size
        try:
            start = _check_end(file, size, len(largest))
            self._zip = zipfile.ZipFile(file)
            members = self._zip.infolist()
        except _DAMAGE as error:
            raise ArchiveError(printable(str(error))) from error
        self._members = {info.filename: info for info in members}
        if len(self._members) < len(members):
            raise ArchiveError("a member is there twice")
        if needed not in self._members:
            raise OtherArchiveError(f"it has no {needed}")
        end = start
        for info in sorted(members, key=lambda info: info.header_offset, reverse=True):
            problem = _problem(info, largest)
            if info.header_offset + _LOCAL_HEADER_BYTES + len(info.filename) + info.compress_size > end:
                problem = "overlaps with what follows"
            if problem:
                raise ArchiveError(f"{printable(info.filename[:60])} {problem}")
            end = info.header_offset

    def content(self) -> bytes:
        """Returns the bytes of the whole file, which is the one that was opened even if its name has another by now."""
        content = bytearray()
        while part := os.pread(self._file.fileno(), 1 << 24, len(content)):  # where zipfile reads stays as it is
            content += part
        return bytes(content)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """Returns the bytes of a member.

        Raises:
            ArchiveError: If it is not there, or its bytes are not what they were.
        """
        if name not in self._members:
            raise ArchiveError(f"there is no {name}")
        info = self._members[name]
        try:
            with self._zip.open(info) as member:
                data = member.read(info.file_size + 1)  # stops at the size that was checked
        except _DAMAGE as error:
            raise ArchiveError(printable(str(error))) from error
        if len(data) != info.file_size:
            raise ArchiveError(f"{name} has {len(data):,} bytes instead of {info.file_size:,}")
        return data


def _check_end(file: IO[bytes], size: int, most: int) -> int:
    """Returns where the list of members starts, which has to end where the record of its end starts."""
    file.seek(max(0, size - _END.size - _ZIP64_LOCATOR_BYTES))
    tail = file.read()
    if len(tail) < _END.size:
        raise ArchiveError("it ends too early")
    signature, disk, first_disk, here, count, length, start, comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\5\6" or comment:
        raise ArchiveError("something follows its end")
    if disk or first_disk or here != count or tail.startswith(b"PK\6\7"):
        raise ArchiveError("it is in several parts, or larger than a model can be")
    if count > most or length > _MAX_DIRECTORY_BYTES:
        raise ArchiveError(f"it has {count:,} members; a model has at most {most}")
    if start + length + _END.size != size:
        raise ArchiveError("something stands before its beginning or after its last member")
    return int(start)


def _problem(info: zipfile.ZipInfo, largest: Mapping[str, int]) -> str | None:
    if info.filename not in largest:
        return "is no member of a model"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "is no file"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & _FORBIDDEN:
        return "is packed in a way that is not known, or encrypted"
    if info.file_size > min(largest[info.filename], _ALWAYS_ALLOWED + _MAX_RATIO * info.compress_size):
        return f"claims {info.file_size:,} bytes"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return "has two sizes"
    return None
