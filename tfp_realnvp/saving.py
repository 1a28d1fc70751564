"""A flow in one file: a JSON recipe and weights. Nothing in it is executable."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.config_reading import from_config
from tfp_realnvp.config_writing import to_config
from tfp_realnvp.saved_parts import LoadError

__all__ = ["FORMAT_VERSION", "load", "save", "structure_hash"]

FORMAT_VERSION = 2
_MEMBERS = {"flow.json": 1 << 27, "weights.safetensors": 1 << 32}  # and the bytes they may have


def save(flow: tfd.Distribution | tfb.Bijector, path: str | os.PathLike[str]) -> None:
    """Writes a distribution or bijector to one file: `flow.json` and `weights.safetensors` in a zip.

    It must consist of TFP's own classes and this library's; masks, permutations and other fixed
    arrays are kept with it, and an object that occurs twice is stored once. The file appears whole or
    not at all.

    Args:
        flow: What to save.
        path: The file to write; an existing one is replaced.

    Raises:
        TypeError: If a part, such as a function of your own, cannot be written as data. The message
            names it. `tf.train.Checkpoint` saves the variables of such a flow.
        ValueError: If there is more of it than `load` reads.
    """
    config, tensors = to_config(flow)
    weights = safetensors.numpy.save(tensors)
    head = {
        "format": FORMAT_VERSION,
        "versions": {
            "tfp-realnvp": metadata.version("tfp-realnvp"),
            "tensorflow": tf.__version__,  # whatever the name of the package it came in
            "tensorflow-probability": tfp.__version__,
        },
        "sha256": {"weights.safetensors": hashlib.sha256(weights).hexdigest()},
        "flow": config,
    }
    members = {"flow.json": json.dumps(head).encode(), "weights.safetensors": weights}
    for name, content in members.items():
        if len(content) > _MEMBERS[name]:
            raise ValueError(f"{name} would have {len(content)} bytes, of which load reads {_MEMBERS[name]} at most.")
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, content in members.items():
                    archive.writestr(name, content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str]) -> Any:
    """Reads what `save` wrote; the result gives the same `log_prob`.

    Args:
        path: A file written by `save`.

    Raises:
        FileNotFoundError: If there is no such file.
        LoadError: If it is not a saved flow, is damaged, or has another format version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            head = json.loads(_read(archive, "flow.json"))
            weights = _read(archive, "weights.safetensors")
    except (FileNotFoundError, PermissionError):
        raise
    except (
        zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError,
    ) as error:  # fmt: skip
        raise LoadError(f"{path} is not a saved flow or is damaged: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT_VERSION:
        found = head.get("format") if isinstance(head, dict) else None
        raise LoadError(f"{path} has format version {found!r}; this version reads {FORMAT_VERSION}.")
    try:
        if hashlib.sha256(weights).hexdigest() != head["sha256"]["weights.safetensors"]:
            raise LoadError("it is damaged: the weights do not match their SHA-256.")
        return from_config(head["flow"], safetensors.numpy.load(weights))
    except LoadError as error:
        raise LoadError(f"{path}: {error}") from error
    except (KeyError, TypeError, safetensors.SafetensorError) as error:
        raise LoadError(f"{path} is damaged or incomplete: {type(error).__name__}: {error}") from error


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member that is there once, packed as `save` packs it, and no larger than it may be."""
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) != 1:
        raise zipfile.BadZipFile(f"{name} is there {len(found)} times")
    if found[0].compress_type != zipfile.ZIP_STORED:  # so that it is as large as the file holds bytes of it
        raise zipfile.BadZipFile(f"{name} is compressed")
    if found[0].file_size > _MEMBERS[name]:
        raise zipfile.BadZipFile(f"{name} is larger than {_MEMBERS[name]} bytes")
    return archive.read(found[0])


def structure_hash(flow: tfd.Distribution | tfb.Bijector) -> str:
    """Returns the SHA-256 of what a flow is but for the values of its variables, what these began at, and names.

    Of a flow with parts of one's own it is that of the classes of its parts, and of permutations.
    """
    try:
        structure = _bare(*to_config(flow))
    except TypeError:
        structure = [
            [
                type(part).__qualname__,
                np.asarray(part.permutation).tolist() if isinstance(part, tfb.Permute) else None,
            ]
            for part in (flow, *flow.submodules)
        ]
    return hashlib.sha256(json.dumps(structure, sort_keys=True).encode()).hexdigest()


def _bare(config: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    """The same configuration without names, some of which Keras makes up, and seeds of what variables begin at.

    Constants are there as their values.
    """
    if isinstance(config, dict) and "tensor" in config:
        return tensors[config["tensor"]].tolist()
    if isinstance(config, dict):
        return {key: _bare(value, tensors) for key, value in config.items() if key not in ("name", "seed")}
    return [_bare(value, tensors) for value in config] if isinstance(config, list) else config
