"""A shift, the transform of NICE."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfp_realnvp.transforms.transform import Transform

__all__ = ["Additive"]


@dataclasses.dataclass(frozen=True)
class Additive(Transform):
    """`y = x + shift`, which preserves volume: all log-determinants are zero.

    References:
        Laurent Dinh, David Krueger, Yoshua Bengio. NICE: Non-linear Independent Components
        Estimation. 2014, section 3.2. https://arxiv.org/abs/1410.8516
    """

    @property
    def num_parameters(self) -> int:
        """One: the shift."""
        return 1

    def forward(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        y = x + parameters[..., 0]
        return y, tf.zeros_like(y)

    def inverse(self, y: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = y - parameters[..., 0]
        return x, tf.zeros_like(x)
