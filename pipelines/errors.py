"""For the person at the terminal: errors, one line each with an exit code (docs/design.md, decision 14), and texts."""

__all__ = ["MAX_SEED", "AugmentError", "UsageError", "check_seed", "printable"]

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


def printable(text: str) -> str:
    """Returns text without control characters, which could steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
