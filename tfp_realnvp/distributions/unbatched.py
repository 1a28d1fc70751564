"""A base for distributions that are always one, never a batch of them."""

from __future__ import annotations

from typing import Any, Self

import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["Unbatched"]


class Unbatched(tfd.Distribution):
    """A `tfd.Distribution` of batch shape `[]`; slicing can only leave it as it is."""

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        return {}

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def __getitem__(self, slices: Any) -> Self:
        if any(part is not Ellipsis for part in (slices if isinstance(slices, tuple) else (slices,))):
            raise ValueError(
                f"{self.name!r} is one distribution, of batch shape []: it cannot be sliced, nor have other axes."
            )
        copied: Self = self.copy()
        return copied
