"""The folder of parts: the manifest that says what they follow from and which have been made."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from pipelines.errors import AugmentError, UsageError, same_command
from pipelines.folders.location import Folder, digest, read, write
from pipelines.folders.parts import Part, Plan, differences
from pipelines.tables.entry_checks import TEXT, WHOLE, check_entries

__all__ = ["MANIFEST", "begin", "kept", "read_manifest", "whole_parts", "write_manifest"]

P = TypeVar("P", bound=Plan)

MANIFEST = "manifest.json"
_FORMAT_VERSION = 1
_PART_CHECKS = {"name": TEXT, "rows": WHOLE, "sha256": TEXT}


def begin(folder: Folder, plan: Plan, *, resume: bool, force: bool) -> dict[str, Part]:
    """Writes the plan of a folder, unless it has it already, and returns the parts that are there, by name.

    Args:
        folder: Where; who calls keeps it `locked`.
        plan: What it is to hold.
        resume: Keep the parts of this plan that are there and whole.
        force: Remove the parts that are there: files with names of such parts, and those that a manifest of ours tells
            of and that are as it says.

    Raises:
        UsageError: If it has parts and neither is set, or both are, or they are of another plan.
    """
    if resume and force:
        raise UsageError("parts are either resumed or replaced; leave one of resume and force away.")
    found = read_manifest(folder, type(plan)) if resume else None
    if found is not None:
        if different := differences(found[0], plan):
            raise UsageError(
                f"{folder} has parts with {'; '.join(different)}. Parts do not mix: ask for the same again, write to "
                f"another folder, or begin anew: {same_command('force')}"
            )
        return whole_parts(folder, plan, found[1])
    names = folder.names()
    listed = _listed_parts(read(folder, MANIFEST) or b"")
    there = [name for name in names if plan.is_part(name) or (name in listed and digest(folder, name) == listed[name])]
    if (there or MANIFEST in names) and not force:
        if resume:
            problem = f"has {there[0]} but no {MANIFEST}" if there else f"has a {MANIFEST} that leads nowhere"
            raise UsageError(f"{folder} {problem}. To replace it: {same_command('force')}")
        raise UsageError(
            f"{folder} has parts already. To make those that are missing: {same_command('resume')}. To replace them: "
            f"{same_command('force')}"
        )
    if MANIFEST in names:
        folder.remove(MANIFEST)  # first: what is left, if this process dies meanwhile, is not gone on with
    for name in there:
        folder.remove(name)
    write_manifest(folder, plan, {})
    return {}


def whole_parts(folder: Folder, plan: Plan, parts: Mapping[str, Part]) -> dict[str, Part]:
    """Returns those of the parts a manifest tells of whose files are as it says."""
    names = map(plan.name, range(plan.num_parts))
    return {name: parts[name] for name in names if name in parts and digest(folder, name) == parts[name].sha256}


def read_manifest(folder: Folder, kind: type[P]) -> tuple[P, dict[str, Part]] | None:
    """Returns the plan of the parts in a folder and those that were made, by their names; None without a manifest.

    Args:
        folder: The folder.
        kind: Of the plan.

    Raises:
        AugmentError: If the manifest cannot be read, or has a plan of another kind.
    """
    path = f"{folder}/{MANIFEST}"
    text = read(folder, MANIFEST)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise AugmentError(
            f"{path} is damaged: it is not JSON ({error}). To begin anew: {same_command('force')}"
        ) from error
    version = content.get("format") if isinstance(content, dict) else None
    if version != _FORMAT_VERSION:
        raise AugmentError(f"{path} has format version {version!r}; this version of augment reads {_FORMAT_VERSION}.")
    entries: dict[str, Any]
    try:
        if content["plan"].keys() - kind.CHECKS.keys() and kind.CHECKS.keys() - content["plan"].keys():
            raise UsageError(
                f"{folder} has other parts: new rows, and not scored tables, or the other way round. To replace them: "
                f"{same_command('force')}"
            )
        check_entries(f"{path}: its plan", content["plan"], kind.CHECKS)
        entries = {key: tuple(value) if isinstance(value, list) else value for key, value in content["plan"].items()}
        plan = kind(**entries)
        for entry in content["parts"]:
            check_entries(f"{path}: a part", entry, _PART_CHECKS)
        return plan, {entry["name"]: Part(**entry) for entry in content["parts"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise AugmentError(f"{path} is damaged: {error!r}. To begin anew: {same_command('force')}") from error


def _listed_parts(manifest: bytes) -> dict[str, str]:
    """The SHA-256 of the parts that a manifest of ours tells of, whatever their plan, by name; of others' none."""
    try:
        content = json.loads(manifest)
        if content["format"] != _FORMAT_VERSION:
            return {}
        return {str(entry["name"]): str(entry["sha256"]) for entry in content["parts"]}
    except (ValueError, KeyError, TypeError):
        return {}


def write_manifest(folder: Folder, plan: Plan, parts: Mapping[str, Part]) -> None:
    """Writes what a folder is to hold and what of it has been made."""
    made = [dataclasses.asdict(parts[name]) for name in map(plan.name, range(plan.num_parts)) if name in parts]
    content = {"format": _FORMAT_VERSION, "plan": dataclasses.asdict(plan), "parts": made}
    write(folder, MANIFEST, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def kept(
    folder: Folder, plan: Plan, done: dict[str, Part], parts: Generator[Part, None, None]
) -> Generator[Part, None, None]:
    """Yields parts as they are made, and keeps the manifest of those that are there.

    Args:
        folder: Where they are.
        plan: What they follow from.
        done: Those that are there already; the others are added.
        parts: Makes the others.

    Raises:
        AugmentError: If one cannot be made; it says how to go on.
    """
    told, due = len(done), 0.0
    try:
        try:
            with contextlib.closing(parts):
                for part in parts:
                    done[part.name] = part
                    started = time.monotonic()
                    if started >= due:  # a long manifest takes half of the time at most
                        write_manifest(folder, plan, done)
                        told, due = len(done), 2 * time.monotonic() - started
                    yield part
        finally:
            if told < len(done):
                write_manifest(folder, plan, done)
    except AugmentError as error:
        raise AugmentError(
            f"{error} {len(done):,} of {plan.num_parts:,} parts are there; to make the others: {same_command('resume')}"
        ) from error
