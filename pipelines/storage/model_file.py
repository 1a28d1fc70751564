"""The `.augment` file: a zip of a JSON description, weights, LiteRT graphs and the training history."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import stat
import weakref
import zipfile
from collections.abc import Mapping
from typing import IO, Any

from pipelines.errors import AugmentError, UsageError
from pipelines.storage.archive import Archive, ArchiveError, OtherArchiveError
from pipelines.storage.model_description import check_description, check_members, check_rows, parse_json
from pipelines.storage.provenance import is_sealed_here, seal
from pipelines.tables.encoding import Encoding
from pipelines.tables.encoding_checks import check_encoding
from pipelines.tables.files.outputs import open_output
from pipelines.tables.relations.relation_checks import read_relations
from pipelines.tables.schema import Schema
from pipelines.tables.texts.dialect import Dialect, ReadOptions

__all__ = [
    "FORMAT_VERSION",
    "SUFFIX",
    "ModelFile",
    "UnwrittenModel",
    "default_name",
    "find_model",
    "read_model",
    "write_model",
]

FORMAT_VERSION = 2
SUFFIX = ".augment"
_SEAL = "seal"
# The bytes that the members may have, beside `model.json` and the seal.
_LARGEST = {
    **dict.fromkeys(("sampler.tflite", "scorer.tflite"), 1 << 30),
    **dict.fromkeys(("discrete_sampler.tflite", "discrete_sampler_given.tflite", "discrete_scorer.tflite"), 1 << 30),
    "weights.safetensors": 1 << 30,
    "history.csv": 1 << 24,
}
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
        archive: Its members; the file stays open, so that they are those of one model even if it is replaced.
        is_own: Whether this person made it on this machine. Graphs of others run apart (see `engines/apart.py`).
    """

    path: pathlib.Path
    description: Mapping[str, Any]
    schema: Schema
    encoding: Encoding
    dialect: Dialect
    reading: ReadOptions
    archive: Archive
    is_own: bool

    def has(self, name: str) -> bool:
        """Whether there is a member of that name."""
        return name in self.description["sha256"]

    def member(self, name: str) -> bytes:
        """Returns the bytes of a member, checked against its SHA-256.

        Raises:
            AugmentError: If it is missing or damaged.
        """
        try:
            data = self.archive.read(name)
        except ArchiveError as error:
            raise AugmentError(f"{self.path} is damaged: {name} cannot be read ({error}).") from error
        if hashlib.sha256(data).hexdigest() != self.description["sha256"].get(name):
            raise AugmentError(f"{self.path} is damaged: {name} does not match its SHA-256.")
        return data


@dataclasses.dataclass(frozen=True)
class UnwrittenModel:
    """A model that is yet to be written, for what runs its graphs.

    Attributes:
        path: Where it will be.
        encoding: From cells to classes and scores.
        members: By name.
    """

    path: pathlib.Path
    encoding: Encoding
    members: Mapping[str, bytes]

    def has(self, name: str) -> bool:
        """Whether there is a member of that name."""
        return name in self.members

    def member(self, name: str) -> bytes:
        """Returns the bytes of a member."""
        return self.members[name]


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
    text = json.dumps(head, indent=1, ensure_ascii=False).encode(errors="replace")  # a file's name may be no text
    sealed = seal(text)
    with open_output(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", text)
        for name, data in members.items():
            archive.writestr(name, data)
        if sealed is not None:
            archive.writestr(_SEAL, sealed)


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
    try:
        # Not blocking: a pipe that nobody writes to would be waited for.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise AugmentError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        opened = _read(path, file)
    except BaseException:
        file.close()
        raise
    weakref.finalize(opened.archive, file.close)  # which copies of what is returned share
    return opened


def _read(path: pathlib.Path, file: IO[bytes]) -> ModelFile:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise UsageError(f"{path} is a device or a pipe, not a model file.")
    if not zipfile.is_zipfile(file):
        file.seek(0)
        if file.read(4) == b"PK\x03\x04":
            raise AugmentError(f"{path} is damaged: it ends too early. Fit it again, or fetch it again.")
        raise UsageError(f"{path} is not a model; it looks like data. To fit a model to it: augment fit {path}")
    try:
        archive = Archive(file, _LARGEST | {"model.json": 1 << 27, _SEAL: 64}, "model.json")
        text = archive.read("model.json")
        description = parse_json(text)
        is_own = _SEAL in archive and is_sealed_here(text, archive.read(_SEAL))
    except OtherArchiveError as error:
        raise UsageError(f"{path} is a zip file but not a model: {error}.") from error
    except ArchiveError as error:
        raise AugmentError(f"{path} is damaged or not a model: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise AugmentError(f"{path} is damaged: model.json cannot be read ({error}).") from error
    version = description.get("format") if isinstance(description, dict) else None
    if type(version) is not int or version != FORMAT_VERSION:
        raise AugmentError(f"{path} has format version {version!r}; this version of augment reads {FORMAT_VERSION}.")
    missing = [key for key in _KEYS if key not in description]
    if missing:
        raise AugmentError(f"{path} is damaged: its description has no {missing[0]!r}.")
    try:
        check_description(description, _LARGEST)
        schema = Schema.from_json(description["schema"])
        encoding = Encoding.from_json(description["encoding"])
        dialect = Dialect.from_json(description["dialect"])
        reading = ReadOptions.from_json(description.get("reading", {}))
        check_encoding(encoding, schema)
        relations = read_relations(description.get("relations", []), encoding.columns)  # a model may be older
        encoding = dataclasses.replace(encoding, relations=relations)
        check_members(encoding, description["sha256"])
        if not is_own:  # who made it has such rows
            check_rows(schema, encoding)
    except AugmentError as error:
        raise AugmentError(f"{path} is damaged: {error}") from error
    return ModelFile(path, description, schema, encoding, dialect, reading, archive, is_own)


def default_name(data: str | os.PathLike[str]) -> str:
    """Returns the name of the model fitted to a file or folder: its stem, without `.gz` and the like, and `.augment`.

    Raises:
        UsageError: If it has none of its own, as a pattern or standard input.
    """
    text = os.fspath(data)
    path = pathlib.Path(text.partition("?")[0] if "://" in text else text)
    if text == "-" or not path.stem or (re.search(r"[*?\[]", path.name) and not path.exists()):
        what = "standard input" if text == "-" else path.name or text
        raise UsageError(f"a model fitted to {what} needs a file name: -m FILE, or model=... in Python")
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
