"""Whether a model file was made by this person on this machine: a seal that takes a key nobody else has.

The seal is an HMAC (RFC 2104) with SHA-256 of `model.json`, which holds the SHA-256 of all other members. Its key is
made at the first fit and lies in `augment/key` in `$XDG_STATE_HOME`, or else in `~/.local/state`, readable by its owner
only. Where there can be no such file, models are made without a seal, and all models count as made elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import pathlib
import secrets
import stat

__all__ = ["is_sealed_here", "seal"]

_KEY_BYTES = 32


def seal(description: bytes) -> bytes | None:
    """Returns the seal of a description, `model.json` as it is in the file, or None if there can be no key."""
    key = _read_key() or _make_key()
    return None if key is None else _seal(key, description)


def is_sealed_here(description: bytes, found: bytes) -> bool:
    """Whether `found` is the seal of a description under the key of this person and machine."""
    key = _read_key()
    return key is not None and hmac.compare_digest(_seal(key, description), found)


def _seal(key: bytes, description: bytes) -> bytes:
    return hmac.new(key, b"augment model\0" + description, hashlib.sha256).hexdigest().encode()


def _path() -> pathlib.Path | None:
    state = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(state):  # others are to be ignored, the specification says
        return pathlib.Path(state, "augment", "key")
    home = os.path.expanduser("~")
    return pathlib.Path(home, ".local", "state", "augment", "key") if os.path.isabs(home) else None


def _read_key() -> bytes | None:
    """The key, if it is whole and nobody else could have read or written it."""
    path = _path()
    if path is None:
        return None
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
                return None
            key = file.read(_KEY_BYTES + 1)
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _make_key() -> bytes | None:
    path = _path()
    if path is None:
        return None
    temporary = path.with_name(f".key.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # of two that are made at once, the first one stays
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return _read_key()
