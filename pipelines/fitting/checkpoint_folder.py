"""The folder beside a model in which a fit keeps what must outlive its process; whoever has its lock is who fits.

It holds `fit.json`, what is fitted to what (`pipelines.fitting.fingerprint`), and `training.safetensors`, a checkpoint
of `tfp_realnvp.fit`. It is there while a fit runs, and stays when one is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
from typing import Any

from pipelines.errors import AugmentError
from pipelines.tables.files.whole_files import whole_file, write_error

__all__ = ["CheckpointFolder"]


class CheckpointFolder:
    """The folder of a model, which is locked while the block runs, and removed if it then holds no checkpoint.

    Args:
        model: The model file. One that is a device or a pipe gets no folder.

    Attributes:
        path: The folder, `<model>.checkpoint`, or None.

    Raises:
        AugmentError: When the block is entered, if another process fits this model or the folder cannot be made.
    """

    def __init__(self, model: pathlib.Path) -> None:
        is_replaced = not model.exists() or model.is_file()
        if model.is_symlink():
            model = model.resolve()  # which is what is replaced, whatever the name
        self.path = model.with_name(f"{model.name}.checkpoint") if is_replaced else None
        self._model = model
        self._lock: int | None = None
        self._is_removed = False

    @property
    def training(self) -> pathlib.Path | None:
        """The checkpoint of the training, which may not be there yet."""
        return self.path / "training.safetensors" if self.path is not None else None

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return self.path is not None and all(
            (self.path / name).is_file() for name in ("fit.json", "training.safetensors")
        )

    @property
    def fingerprint(self) -> Any:
        """The fingerprint of the fit that began here, or None if it cannot be read."""
        return self._begun().get("fingerprint")

    @property
    def replaces(self) -> bool:
        """Whether the fit that began here was told to replace the model."""
        return self._begun().get("replaces") is True

    def _begun(self) -> dict[str, Any]:
        try:
            begun = json.loads((self.path / "fit.json").read_text("utf-8")) if self.path is not None else {}
        except (OSError, ValueError):
            return {}
        return begun if isinstance(begun, dict) else {}

    def begin(self, fingerprint: Any, *, replaces: bool) -> None:
        """Forgets the checkpoint there may be, and writes down what is about to be fitted."""
        if self.path is None or self.training is None:
            return
        try:
            self.training.unlink(missing_ok=True)  # first: what is there is never taken for a checkpoint of this fit
            with whole_file(self.path / "fit.json") as file:
                file.write(json.dumps({"replaces": replaces, "fingerprint": fingerprint}, indent=1).encode())
        except OSError as error:
            raise write_error(self.path, error) from error

    def remove(self) -> None:
        """Removes the folder; what is left of it, if the process dies meanwhile, is no checkpoint."""
        if self.path is not None and self.training is not None:
            with contextlib.suppress(OSError):
                self.training.unlink(missing_ok=True)
            shutil.rmtree(self.path, ignore_errors=True)
            self._is_removed = True  # from now on, what is there is another fit's

    def __enter__(self) -> CheckpointFolder:
        try:
            self._take()
        except KeyboardInterrupt:
            with contextlib.suppress(AugmentError, OSError):
                self._take()  # what has been made may be removed only by who has the lock
                self.__exit__()
            raise
        return self

    def _take(self) -> None:
        while self.path is not None and self._lock is None:
            try:
                self.path.mkdir(exist_ok=True)
                lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                is_in_the_way = os.path.lexists(self.path) and not self.path.is_dir()
                is_race = isinstance(error, FileNotFoundError | FileExistsError) and not is_in_the_way
                if is_race and self.path.parent.is_dir():
                    continue  # another fit has just ended, and removed it
                raise write_error(self.path, error) from error
            try:
                self._lock = lock if self._is_taken(lock) else None
            finally:
                if self._lock is None:
                    os.close(lock)

    def _is_taken(self, lock: int) -> bool:
        """Takes the lock of an open file; whether that is the folder's still."""
        assert self.path is not None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AugmentError(
                f"{self._model}: another process is fitting this model now. Wait for it to end, or write to another "
                "file with -m."
            ) from error
        except OSError:  # a file system without locks, where two fits at once are not noticed
            return True
        try:
            return os.path.samestat(os.fstat(lock), os.stat(self.path / "lock"))
        except FileNotFoundError:
            return False

    def __exit__(self, *exc: object) -> None:
        if not (self._is_removed or self.has_checkpoint):
            self.remove()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
