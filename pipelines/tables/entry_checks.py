"""What a person may write in a JSON object: for each entry, which values it takes, and what to call them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.errors import AugmentError

__all__ = ["FLAG", "OBJECT", "SHARE", "STEP", "TEXT", "TEXTS", "WHOLE", "Check", "check_entries", "or_null", "up_to"]


@dataclasses.dataclass(frozen=True)
class Check:
    """Which values an entry takes.

    Attributes:
        holds: Whether a JSON value is one of them.
        wanted: What they are, in words.
    """

    holds: Callable[[Any], bool]
    wanted: str


def check_entries(where: str, entries: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    """Refuses an object that has an entry of no check, or one whose value its check does not take.

    Args:
        where: What the object is, for messages.
        entries: The object.
        checks: A check for each entry there may be.

    Raises:
        AugmentError: With the entry, its value and what it takes.
    """
    for name, value in entries.items():
        if name not in checks:
            raise AugmentError(f"{where} has an unknown entry {name!r}; known are {', '.join(checks)}.")
        if not checks[name].holds(value):
            said = json.dumps(value, default=repr)
            said = said if len(said) <= 60 else said[:57] + "..."
            raise AugmentError(f"{where}: its entry {name!r} is {said}, but takes {checks[name].wanted}.")


def _is_text(value: Any) -> bool:
    # JSON can spell halves of a character, which no file can hold.
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


TEXT = Check(_is_text, "a text")
TEXTS = Check(
    lambda value: isinstance(value, list | tuple) and all(map(_is_text, value)) and len(set(value)) == len(value),
    "a list of different texts",
)
FLAG = Check(lambda value: isinstance(value, bool), "true or false")
OBJECT = Check(lambda value: isinstance(value, Mapping), "an object")
SHARE = Check(lambda value: (_is_whole(value) or isinstance(value, float)) and 0 <= value <= 1, "a number from 0 to 1")
WHOLE = Check(_is_whole, "a whole number")
STEP = Check(lambda value: _is_whole(value) and value != 0, "a whole number other than 0")


def up_to(most: int) -> Check:
    """Whole numbers from 0."""
    return Check(lambda value: _is_whole(value) and 0 <= value <= most, f"a whole number from 0 to {most}")


def or_null(check: Check) -> Check:
    """What another check takes, or null."""
    return Check(lambda value: value is None or check.holds(value), f"{check.wanted} or null")
