"""The `.augment` file: a zip of a JSON description, weights, LiteRT graphs and the training history."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from pipelines.errors import AugmentError, UsageError
from pipelines.tables.dialect import Dialect, ReadOptions
from pipelines.tables.encoding import Encoding
from pipelines.tables.schema import Schema
from pipelines.tables.writing import open_output

__all__ = ["FORMAT_VERSION", "SUFFIX", "ModelFile", "default_name", "find_model", "read_model", "write_model"]

FORMAT_VERSION = 2
SUFFIX = ".augment"
_MAX_MEMBER_BYTES = 1 << 31
_MAX_RATIO = 200
_KEYS = (
    "versions",
    "source",
    "seed",
    "dialect",
    "schema",
    "encoding",
    "options",
    "training",
    "parameters",
    "flow",
    "sha256",
)
# What `zipfile` and `json` raise for bytes that are not what they were.
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, NotImplementedError)


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A model that was read.

    Attributes:
        path: Where it is.
        description: The whole of `model.json`.
        schema: The columns of the table it was fitted to.
        encoding: From their cells to classes and scores.
        dialect: How the table was spelled as CSV.
        reading: What of it `fit` was told, and did not find out; nothing in files older than that.
    """

    path: pathlib.Path
    description: Mapping[str, Any]
    schema: Schema
    encoding: Encoding
    dialect: Dialect
    reading: ReadOptions = ReadOptions()

    def has(self, name: str) -> bool:
        """Whether there is a member of that name."""
        return name in self.description["sha256"]

    def member(self, name: str) -> bytes:
        """Returns the bytes of a member, checked against its SHA-256.

        Raises:
            AugmentError: If it is missing or damaged.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                data = _read(archive, name)
        except (KeyError, *_DAMAGE) as error:
            raise AugmentError(f"{self.path} is damaged: {name} cannot be read ({error}).") from error
        if hashlib.sha256(data).hexdigest() != self.description["sha256"].get(name):
            raise AugmentError(f"{self.path} is damaged: {name} does not match its SHA-256.")
        return data


def write_model(path: str | os.PathLike[str], description: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
    """Writes a model file, whole or not at all.

    Args:
        path: The file; an existing one is replaced.
        description: What goes into `model.json`, without format and hashes.
        members: The other members by name.
    """
    head = {
        "format": FORMAT_VERSION,
        **description,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    with open_output(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", json.dumps(head, indent=1, ensure_ascii=False))
        for name, data in members.items():
            archive.writestr(name, data)


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Opens a model file and reads its description.

    Raises:
        UsageError: If there is no such file or it is data.
        AugmentError: If it is damaged or has another format version.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a model file.")
    if not path.exists():
        raise UsageError(f"{path}: no such model file. To make one: augment fit DATA.csv -m {path}")
    if not zipfile.is_zipfile(path):
        try:
            with path.open("rb") as file:
                is_cut_off = file.read(4) == b"PK\x03\x04"
        except OSError as error:
            raise AugmentError(f"{path} cannot be read: {error.strerror}.") from error
        if is_cut_off:
            raise AugmentError(f"{path} is damaged: it ends too early. Fit it again, or fetch it again.")
        raise UsageError(f"{path} is not a model; it looks like data. To fit a model to it: augment fit {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            description = json.loads(_read(archive, "model.json"))
    except KeyError as error:
        raise UsageError(f"{path} is a zip file but not a model: it has no model.json.") from error
    except _DAMAGE as error:
        raise AugmentError(f"{path} is damaged: model.json cannot be read ({error}).") from error
    version = description.get("format") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise AugmentError(f"{path} has format version {version!r}; this version of augment reads {FORMAT_VERSION}.")
    missing = [key for key in _KEYS if key not in description]
    if missing:
        raise AugmentError(f"{path} is damaged: its description has no {missing[0]!r}.")
    try:
        schema = Schema.from_json(description["schema"])
        encoding = Encoding.from_json(description["encoding"])
        dialect = Dialect.from_json(description["dialect"])
        reading = ReadOptions.from_json(description.get("reading", {}))
    except AugmentError as error:
        raise AugmentError(f"{path} is damaged: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AugmentError(f"{path} is damaged: its description is incomplete ({error!r}).") from error
    if [column.name for column in encoding.columns] != [column.name for column in schema.modelled]:
        raise AugmentError(f"{path} is damaged: schema and encoding have different columns.")
    return ModelFile(path, description, schema, encoding, dialect, reading)


def default_name(data: str | os.PathLike[str]) -> str:
    """Returns the name of the model fitted to a file: its stem, without `.gz` and the like, and `.augment`."""
    path = pathlib.Path(data)
    return (path.with_suffix("") if path.suffix.lower() in (".gz", ".zst", ".bz2") else path).stem + SUFFIX


def find_model(path: str | os.PathLike[str] | None) -> pathlib.Path:
    """Returns `path`, or without one the only model file in the current folder.

    Raises:
        UsageError: If there is none or more than one; they are listed.
    """
    if path is not None:
        return pathlib.Path(path)
    found = sorted(pathlib.Path().glob(f"*{SUFFIX}"))
    if not found:
        raise UsageError(f"there is no {SUFFIX} file here. Make one with: augment fit DATA.csv, or name one with -m.")
    if len(found) > 1:
        raise UsageError(f"there are several models here; name one with -m: {', '.join(map(str, found))}")
    return found[0]


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > min(_MAX_MEMBER_BYTES, 10_000_000 + _MAX_RATIO * info.compress_size):
        raise zipfile.BadZipFile(f"{name} claims {info.file_size:,} bytes")
    return archive.read(info)
