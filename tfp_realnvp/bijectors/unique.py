"""A base for bijectors that equal nothing but themselves."""

from __future__ import annotations

import itertools
from typing import Any

from tensorflow_probability import bijectors as tfb

__all__ = ["UniqueBijector"]


class UniqueBijector(tfb.Bijector):
    """A `tfb.Bijector` that equals nothing but itself.

    TFP's cache is shared by all bijectors that compare equal, and two sets of variables or two generators never are.
    """

    _serial_numbers = itertools.count()

    def __init__(self, **kwargs: Any) -> None:
        self._serial_number = next(UniqueBijector._serial_numbers)
        super().__init__(**kwargs)

    def _get_parameterization(self) -> int:
        return self._serial_number

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"{self.name!r} can neither be pickled nor copied by copy.copy or copy.deepcopy: TFP would take it and its "
            "twin for one. tfr.from_config(*tfr.to_config(flow)) is a twin with variables of its own; tfr.save writes "
            "a file."
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {}  # nothing has a batch shape, unless a subclass says so
