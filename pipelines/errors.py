"""For the person at the terminal: errors, one line each with an exit code (docs/design.md, decision 14), and texts."""

import pathlib
import shlex
import sys

__all__ = ["MAX_SEED", "AugmentError", "UsageError", "check_seed", "printable", "same_command"]

MAX_SEED = (1 << 64) - 1


class AugmentError(Exception):
    """Something could not be done; the message says what, where, and what to do."""

    exit_code = 1


class UsageError(AugmentError):
    """What was asked for cannot be asked for like this."""

    exit_code = 2


def check_seed(seed: int) -> None:
    """Raises `UsageError` if `seed` is not between 0 and 2**64 - 1."""
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed must be between 0 and 2**64 - 1, got {seed}.")


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
    """Returns text without control characters, which could steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
