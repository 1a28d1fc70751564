"""A scale and a shift, the transform of RealNVP."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfp_realnvp.transforms.transform import Transform

__all__ = ["Affine"]


@dataclasses.dataclass(frozen=True)
class Affine(Transform):
    """Scales and shifts, the scale softly clamped.

    With parameters `(shift, s)` and the clamp `c`:

        log_scale = c * tanh(s / c)
        forward:  y = x * exp(log_scale) + shift
        inverse:  x = (y - shift) * exp(-log_scale)

    Attributes:
        log_scale_clamp: The `c` of the soft clamp, in nats: entries are scaled by at most `exp(c)`.
            None for no clamp.

    References:
        Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP. ICLR 2017,
            section 3.2, equations 4 to 8. https://arxiv.org/abs/1605.08803
        Lynton Ardizzone et al. Guided image generation with conditional invertible neural networks.
            2019, appendix (the soft clamp). https://arxiv.org/abs/1907.02392
    """

    log_scale_clamp: float | None = 2.0

    def __post_init__(self) -> None:
        if self.log_scale_clamp is not None and not self.log_scale_clamp > 0:
            raise ValueError(f"log_scale_clamp must be positive or None, got {self.log_scale_clamp}.")

    @property
    def num_parameters(self) -> int:
        """Two: shift and log-scale."""
        return 2

    def forward(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = self._shift_and_log_scale(parameters)
        y = x * tf.exp(log_scale) + shift
        return y, log_scale

    def inverse(self, y: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = self._shift_and_log_scale(parameters)
        x = (y - shift) * tf.exp(-log_scale)
        return x, -log_scale

    def _shift_and_log_scale(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = parameters[..., 0], parameters[..., 1]
        if self.log_scale_clamp is not None:
            log_scale = self.log_scale_clamp * tf.tanh(log_scale / self.log_scale_clamp)
        return shift, log_scale
