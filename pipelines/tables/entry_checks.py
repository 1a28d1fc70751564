"""What a person may write in a JSON object: for each entry, which values it takes, and what to call them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pipelines.errors import AugmentError

__all__ = [
    "FLAG",
    "FLAGS",
    "NUMBER",
    "NUMBERS",
    "OBJECT",
    "SHARE",
    "STEP",
    "TEXT",
    "TEXTS",
    "WHOLE",
    "Check",
    "check_entries",
    "check_object",
    "list_of",
    "one_of",
    "or_null",
    "text_up_to",
    "texts_up_to",
    "up_to",
]


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


def check_object(where: str, value: Any, checks: Mapping[str, Check], optional: Collection[str] = ()) -> None:
    """Refuses what is no object, has an entry too many or too few, or a value that its check does not take.

    Args:
        where: What the object is, for messages.
        value: A JSON value.
        checks: A check for each entry there may be.
        optional: The entries that may be left out.

    Raises:
        AugmentError: With what is wrong.
    """
    if not isinstance(value, Mapping):
        raise AugmentError(f"{where} is no object.")
    missing = [name for name in checks if name not in value and name not in optional]
    if missing:
        raise AugmentError(f"{where} has no entry {missing[0]!r}.")
    check_entries(where, value, checks)


def _is_text(value: Any) -> bool:
    # JSON can spell halves of a character, which no file can hold.
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (_is_whole(value) and abs(value) < 1 << 1000) or (isinstance(value, float) and math.isfinite(value))


TEXT = Check(_is_text, "a text")
TEXTS = Check(
    lambda value: isinstance(value, list | tuple) and all(map(_is_text, value)) and len(set(value)) == len(value),
    "a list of different texts",
)
FLAG = Check(lambda value: isinstance(value, bool), "true or false")
OBJECT = Check(lambda value: isinstance(value, Mapping), "an object")
FLAGS = Check(
    lambda value: isinstance(value, list) and all(isinstance(flag, bool) for flag in value), "a list of true and false"
)
NUMBER = Check(_is_number, "a number")
NUMBERS = Check(lambda value: isinstance(value, list) and all(map(_is_number, value)), "a list of numbers")
SHARE = Check(lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
WHOLE = Check(_is_whole, "a whole number")
STEP = Check(lambda value: _is_whole(value) and value != 0, "a whole number other than 0")


def up_to(most: int) -> Check:
    """Whole numbers from 0."""
    return Check(lambda value: _is_whole(value) and 0 <= value <= most, f"a whole number from 0 to {most}")


def or_null(check: Check) -> Check:
    """What another check takes, or null."""
    return Check(lambda value: value is None or check.holds(value), f"{check.wanted} or null")


def one_of(*values: Any) -> Check:
    """Some values, none of which is a number."""
    return Check(lambda value: value in values, f"one of {', '.join(map(json.dumps, values))}")


def list_of(check: Check) -> Check:
    """Lists of what another check takes."""
    return Check(lambda value: isinstance(value, list) and all(map(check.holds, value)), f"a list, each {check.wanted}")


def text_up_to(characters: int) -> Check:
    """Texts of at most so many characters."""
    return Check(
        lambda value: _is_text(value) and len(value) <= characters, f"a text of at most {characters:,} characters"
    )


def texts_up_to(characters: int) -> Check:
    """Lists of different texts that have at most so many characters together."""
    return Check(
        lambda value: TEXTS.holds(value) and sum(map(len, value)) <= characters,
        f"{TEXTS.wanted} of at most {characters:,} characters together",
    )
