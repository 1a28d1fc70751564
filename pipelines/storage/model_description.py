"""What `model.json` must hold: read within bounds, and checked for everything that is taken from it later."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pipelines.errors import MAX_SEED, AugmentError
from pipelines.tables.encoding import Encoding
from pipelines.tables.entry_checks import (
    NUMBER,
    OBJECT,
    TEXT,
    Check,
    check_object,
    list_of,
    or_null,
    up_to,
)
from pipelines.tables.schema import Schema

__all__ = ["check_description", "check_members", "check_rows", "parse_json"]

# What Python makes of JSON takes up to twenty times its bytes, so what there are many of is counted first. The margins
# of 500 columns of a million rows have seven million numbers in 128 MiB.
_MAX_COMMAS, _MAX_CONTAINERS = 8_000_000, 1_000_000
_MAX_DIGITS = 20  # of a whole number: more than a seed has
# Of the cells of a row together: new rows are made and written many at a time.
_MAX_ROW_CHARACTERS = 1 << 20
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_COUNT = up_to(1 << 53)
# Training that went wrong may have ended at no number.
_FIGURE = Check(lambda value: isinstance(value, float) or NUMBER.holds(value), "a number")
_FLAT = Check(lambda value: value is None or isinstance(value, str | int | float), "a text, a number or null")
_ENTRIES = {
    "versions": OBJECT,
    "source": list_of(OBJECT),
    "seed": up_to(MAX_SEED),
    "target": or_null(TEXT),
    "options": OBJECT,
    "training": OBJECT,
    "parameters": _COUNT,
    "flow": OBJECT,
    "sha256": OBJECT,
}
_SOURCE = {"name": TEXT, "sha256": or_null(TEXT), "rows": _COUNT}
_TRAINING = {
    "held_out_rows": _COUNT,
    "log_likelihood": _FIGURE,
    "independent_log_likelihood": _FIGURE,
    "epochs": _COUNT,
    "steps": _COUNT,
    "steps_done": _COUNT,
    "seconds": NUMBER,
}
_OPTIONS = dict.fromkeys(("couplings", "width", "discrete_width", "batch_size"), _COUNT)
_READ_ELSEWHERE = ("format", "dialect", "reading", "schema", "encoding")
_SHA256 = Check(
    lambda value: isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"), "a SHA-256"
)


def parse_json(data: bytes) -> Any:
    """Returns the value of a JSON text.

    Raises:
        ValueError: If it is none, or has an object with two entries of one name or more of anything than a model has.
        RecursionError: If it is nested too deeply.
    """
    if data.count(b",") > _MAX_COMMAS or data.count(b"[") + data.count(b"{") > _MAX_CONTAINERS:
        raise ValueError("it has more entries than a model can have")
    value = json.loads(data.decode(), object_pairs_hook=_object, parse_int=_whole)
    if _SURROGATE.search(data):
        json.dumps(value, ensure_ascii=False).encode()  # halves of a character, which no file can hold
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("an object has two entries of one name")
    return entries


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a whole number has {len(text)} digits")
    return int(text)


def check_description(description: Mapping[str, Any], members: Mapping[str, Any]) -> None:
    """Refuses a description whose entries are not what is taken from them.

    Schema, encoding and dialect are checked where they are read. Entries that nothing reads may be there.

    Args:
        description: The object in `model.json`.
        members: The names of the members there may be beside it.

    Raises:
        AugmentError: With the entry that is wrong.
    """
    where = "its description"
    known = {key: value for key, value in description.items() if key in _ENTRIES}
    check_object(where, known, _ENTRIES, optional=("target",))
    check_object(f"{where}: the hashes", known["sha256"], dict.fromkeys(members, _SHA256), optional=members)
    for entry in known["source"]:
        check_object(f"{where}: a source", entry, _SOURCE)
    for name, checks in (("training", _TRAINING), ("options", _OPTIONS)):
        check_object(f"{where}: {name}", {key: known[name][key] for key in checks if key in known[name]}, checks)
    for name in ("versions", "options"):
        entries = known[name]
        check_object(f"{where}: {name}", entries, dict.fromkeys(entries, TEXT if name == "versions" else _FLAT))


def check_members(encoding: Encoding, names: Mapping[str, Any]) -> None:
    """Refuses a model whose graphs are not those that its columns need.

    Raises:
        AugmentError: With the graph that is missing or too many.
    """
    wanted = {"weights.safetensors"}
    if encoding.continuous:
        wanted |= {"sampler.tflite", "scorer.tflite"}
    if encoding.num_classes:
        wanted |= {"discrete_sampler.tflite", "discrete_sampler_given.tflite", "discrete_scorer.tflite"}
    if wrong := wanted ^ (set(names) - {"history.csv"}):
        raise AugmentError(f"its columns and its members do not go together: {min(wrong)}.")


def check_rows(schema: Schema, encoding: Encoding) -> None:
    """Refuses a model whose rows would be too long to be made many at a time.

    Raises:
        AugmentError: With the length.
    """
    cells = [len(column.value or "") for column in schema.columns]
    cells += [max((len(level or "") for level in column.levels), default=0) for column in encoding.columns]
    if sum(cells) > _MAX_ROW_CHARACTERS:
        raise AugmentError(f"its rows have up to {sum(cells):,} characters; at most {_MAX_ROW_CHARACTERS:,} can be.")
