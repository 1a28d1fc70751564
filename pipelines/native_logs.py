"""Keeps what native libraries print on standard error out of a person's sight."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["quiet_native_logs", "quiet_tensorflow"]


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Does as `quiet_native_logs`, for a block that imports TensorFlow, which is told how to start.

    Keras 3 is left alone then, which saves seconds.
    """
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_native_logs():
        yield


@contextlib.contextmanager
def quiet_native_logs() -> Iterator[None]:
    """Sends file descriptor 2 to a file while the block runs, and shows the file only if the block fails.

    TensorFlow and LiteRT print there from C++ when they load, before any setting can reach them.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except Exception:
            log.seek(0)
            os.write(saved, log.read()[-10_000:])
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
