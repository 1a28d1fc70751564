"""For the person at the terminal: errors, one line each with an exit code (docs/design.md, decision 14), and texts."""

import pathlib
import shlex
import sys
from collections.abc import Sequence
from numbers import Integral
from typing import Any

__all__ = [
    "MAX_SEED",
    "AugmentError",
    "ShortfallError",
    "UsageError",
    "check_seed",
    "check_whole",
    "library_message",
    "listed",
    "one_line",
    "printable",
    "same_command",
]

MAX_SEED = (1 << 64) - 1
_MAX_MESSAGE = 2_000
_MAX_QUOTED = 300
_MAX_LISTED = 20


class AugmentError(Exception):
    """Something could not be done; the message says what, where, and what to do."""

    exit_code = 1


class UsageError(AugmentError):
    """What was asked for cannot be asked for like this."""

    exit_code = 2


class ShortfallError(AugmentError):
    """There are not as many rows as were asked for."""

    exit_code = 3


def check_seed(seed: int) -> None:
    """Raises `UsageError` if `seed` is not a whole number between 0 and 2**64 - 1."""
    check_whole("seed", seed)
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed must be between 0 and 2**64 - 1, got {seed}.")


def check_whole(name: str, value: Any) -> None:
    """Raises `UsageError` if what is given as `name` is not a whole number."""
    if not isinstance(value, Integral):
        raise UsageError(f"{name} must be a whole number, got {value!r}.")


def same_command(option: str) -> str:
    """Returns how to do again what is being done, with an option that is either "force" or "resume".

    It is the command that was typed, or where there is none the argument of the function.
    """
    program = pathlib.Path(sys.argv[0]).name
    if program != "augment":
        return f"{option}=True"
    typed = [word for word in sys.argv[1:] if word not in ("--force", "--resume")]
    return shlex.join([program, *typed, f"--{option}"])


def printable(text: str) -> str:
    """Returns text with control and direction characters escaped, which could steer the terminal or the eye."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(error: Exception) -> str:
    """Returns what an error says in one printable line; a long one has its beginning and its end."""
    text = printable(str(error))
    half = _MAX_MESSAGE // 2
    return text if len(text) <= _MAX_MESSAGE else f"{text[:half]} ... {text[-half:]}"


def library_message(error: Exception) -> str:
    """Returns what an error of a library says, as a part of a line; it may have said it in several."""
    return printable(" ".join(str(error).split()))[:_MAX_QUOTED]


def listed(names: Sequence[str]) -> str:
    """Returns names as a list for a message, the first of them if there are many."""
    return ", ".join(names[:_MAX_LISTED]) + (f", ... ({len(names):,} in all)" if len(names) > _MAX_LISTED else "")
