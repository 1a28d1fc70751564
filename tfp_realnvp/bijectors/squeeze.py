"""Space to depth: blocks of pixels become channels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb

__all__ = ["Squeeze"]


class Squeeze(tfb.Bijector):
    """Turns images `[height, width, channels]` into `[height / f, width / f, channels * f * f]` and back.

    Each block of `f x f` pixels becomes one pixel with all their channels (Dinh et al., 2017, "Density
    estimation using Real NVP", section 3.6). In a chain from noise to data, where the image grows, it
    stands as `tfb.Invert(Squeeze())`.

    Args:
        factor: The `f`, at least 2; height and width must be multiples of it.
        validate_args: As in `tfb.Bijector`.
        name: As in `tfb.Bijector`.

    Raises:
        ValueError: If `factor` is less than 2, or, when called, does not divide height and width.
    """

    def __init__(self, factor: int = 2, *, validate_args: bool = False, name: str = "squeeze") -> None:
        parameters = dict(locals())
        if factor < 2:
            raise ValueError(f"factor must be at least 2, got {factor}.")
        self._factor = int(factor)
        super().__init__(
            forward_min_event_ndims=3,
            inverse_min_event_ndims=3,
            is_constant_jacobian=True,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def factor(self) -> int:
        """Side of a block, in pixels."""
        return self._factor

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {}

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return tf.TensorShape(self._squeezed(shape)) if shape.is_fully_defined() else tf.TensorShape([None] * 3)

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return tf.TensorShape(self._unsqueezed(shape)) if shape.is_fully_defined() else tf.TensorShape([None] * 3)

    def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.constant(self._squeezed(tf.get_static_value(shape)), tf.int32)

    def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.constant(self._unsqueezed(tf.get_static_value(shape)), tf.int32)

    def _sizes(self, shape: Any) -> list[int]:
        if not tf.TensorShape(shape).is_fully_defined():
            raise ValueError(f"{self.name}: height, width and channels must be known when the graph is built: {shape}.")
        return [int(size) for size in shape]

    def _squeezed(self, shape: Any) -> list[int]:
        height, width, channels = self._sizes(shape)
        f = self._factor
        if height % f or width % f:
            raise ValueError(
                f"{self.name}: factor {f} does not divide height and width of {[height, width, channels]}."
            )
        return [height // f, width // f, channels * f * f]

    def _unsqueezed(self, shape: Any) -> list[int]:
        height, width, channels = self._sizes(shape)
        f = self._factor
        if channels % (f * f):
            raise ValueError(f"{self.name}: {channels} channels are not a multiple of {f} * {f}.")
        return [height * f, width * f, channels // (f * f)]

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        height, width, channels = self._squeezed(x.shape[-3:])
        blocks = self._reshape(x, [height, self._factor, width, self._factor, channels // self._factor**2])
        return self._reshape(self._swap(blocks), [height, width, channels], num_last=5)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        height, width, channels = self._unsqueezed(y.shape[-3:])
        f = self._factor
        blocks = self._reshape(y, [height // f, width // f, f, f, channels])
        return self._reshape(self._swap(blocks), [height, width, channels], num_last=5)

    @staticmethod
    def _swap(blocks: tf.Tensor) -> tf.Tensor:
        """Exchanges the second and the third of the last five dimensions."""
        leading = blocks.shape.rank - 5
        return tf.transpose(blocks, [*range(leading), *(leading + axis for axis in (0, 2, 1, 3, 4))])

    @staticmethod
    def _reshape(tensor: tf.Tensor, shape: list[int], num_last: int = 3) -> tf.Tensor:
        return tf.reshape(tensor, tf.concat([tf.shape(tensor)[: tensor.shape.rank - num_last], shape], axis=0))

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return tf.zeros([], x.dtype)

    def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return tf.zeros([], y.dtype)
