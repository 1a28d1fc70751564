"""What decides how a fit ends: data, options and packages. Two fits with one fingerprint are the same fit."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.tables.files.source import Source

__all__ = ["differences", "fingerprint_of"]


def fingerprint_of(
    sources: Sequence[Source],
    options: Mapping[str, Any],
    schema: str | os.PathLike[str] | None,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Returns what decides how a fit ends, as JSON.

    Args:
        sources: The tables. Their contents count, their names do not.
        options: JSON values, by name.
        schema: A file of columns, or None. Its content counts.
        versions: Of packages, by name.
    """
    return {
        "data": [source.sha256 or _hash_of_rows(source) for source in sources],
        "options": json.loads(json.dumps(options)),
        "schema": hashlib.sha256(pathlib.Path(schema).read_bytes()).hexdigest() if schema is not None else None,
        "versions": dict(versions),
    }


def differences(before: Any, now: Mapping[str, Any]) -> str:
    """Returns in words what a fingerprint has that another, read from a file, has not."""
    if not isinstance(before, dict):
        return "what it was fitted to is not known"
    words = []
    if before.get("data") != now["data"]:
        words.append("the data have changed")
    if before.get("schema") != now["schema"]:
        words.append("the schema file has changed")
    for part in ("options", "versions"):
        old = before.get(part)
        old = old if isinstance(old, dict) else {}
        for name in {**old, **now[part]}:  # some options are there only if they are given
            was, value = old.get(name), now[part].get(name)
            if was != value:
                words.append(f"{name} was {_spelled(was)} and is {_spelled(value)}")
    return ", ".join(words) or "it is of another version"


def _spelled(value: Any) -> str:
    return "not given" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _hash_of_rows(source: Source) -> str:
    digest = hashlib.sha256(source.table.schema.serialize())
    for batch in source.table.to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()
