"""Errors for the person at the terminal: one line, and the exit code it ends with (docs/design.md, decision 14)."""

__all__ = ["AugmentError", "UsageError"]


class AugmentError(Exception):
    """Something could not be done; the message says what, where, and what to do."""

    exit_code = 1


class UsageError(AugmentError):
    """What was asked for cannot be asked for like this."""

    exit_code = 2
