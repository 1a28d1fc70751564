"""A bijector for some of the channels, which leaves the others as they are."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.internal import parameter_properties

from tfp_realnvp.bijectors.fused import FusedBijector

__all__ = ["FactorOut"]


class FactorOut(FusedBijector):
    """Applies a bijector to the first channels of an image; the others are factored out, as they are.

    This is how a multi-scale flow ends the work on half of its dimensions early (Dinh et al., 2017,
    "Density estimation using Real NVP", section 3.6). The factored-out channels stay in their place, so
    the latent is one tensor of the image's shape.

    Args:
        bijector: A bijector over `[height, width, num_channels]` that keeps the shape.
        num_channels: The number of channels it is applied to.
        validate_args: As in `tfb.Bijector`.
        name: As in `tfb.Bijector`.

    Raises:
        ValueError: If `num_channels` is less than 1.
    """

    def __init__(
        self,
        bijector: tfb.Bijector,
        num_channels: int,
        *,
        validate_args: bool = False,
        name: str = "factor_out",
    ) -> None:
        parameters = dict(locals())
        if num_channels < 1:
            raise ValueError(f"num_channels must be at least 1, got {num_channels}.")
        self._bijector, self._num_channels = bijector, int(num_channels)
        super().__init__(
            forward_min_event_ndims=3,
            dtype=bijector.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def bijector(self) -> tfb.Bijector:
        """The bijector that is applied to the first channels."""
        return self._bijector

    @property
    def num_channels(self) -> int:
        """How many channels it is applied to."""
        return self._num_channels

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {"bijector": parameter_properties.BatchedComponentProperties(event_ndims=3)}

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first, rest = self._split(x)
        y, fldj = self._bijector.forward(first), self._bijector.forward_log_det_jacobian(first, event_ndims=3)
        return _joined(y, rest), fldj

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first, rest = self._split(y)
        x = self._bijector.inverse(first)
        # As TransformedDistribution does: the way back is in the cache for every part of a chain.
        ildj = -self._bijector.forward_log_det_jacobian(x, event_ndims=3)
        return _joined(x, rest), ildj

    def _split(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if image.shape.rank is not None and (image.shape[-1] or self._num_channels) < self._num_channels:
            raise ValueError(
                f"{self.name}: expected images of {self._num_channels} channels at least, got shape {image.shape}."
            )
        return image[..., : self._num_channels], image[..., self._num_channels :]


def _joined(first: tf.Tensor, rest: tf.Tensor) -> tf.Tensor:
    """Concatenates channels; the first ones may be of a batch, by the context they were made with."""
    leading = tf.broadcast_dynamic_shape(tf.shape(first)[:-3], tf.shape(rest)[:-3])
    parts = [tf.broadcast_to(part, tf.concat([leading, tf.shape(part)[-3:]], axis=0)) for part in (first, rest)]
    return tf.concat(parts, axis=-1)
