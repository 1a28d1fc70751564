"""An invertible linear map with a cheap log-determinant."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.last_axis import check_last_axis

__all__ = ["LULinear"]


class LULinear(FusedBijector):
    """Multiplies the last axis by a matrix that is kept as its LU factors.

    With `L` unit lower triangular and `U` upper triangular with the diagonal `exp(log_diagonal)`:

        inverse:                  x = L U y
        forward:                  y = U^-1 L^-1 x
        inverse log-determinant:  sum(log_diagonal)

    The product is in the direction of training, from data to noise. It starts as the identity. On images,
    where the last axis are the channels, it is Glow's invertible 1x1 convolution.

    Args:
        num_channels: Size of the last axis.
        triangles: Variable `[num_channels, num_channels]` with L below the diagonal and U above it, or None for a new
            one of zeros.
        log_diagonal: Variable `[num_channels]`, or None for a new one of zeros.
        dtype: float32 or float64.
        validate_args: As in `tfb.Bijector`.
        name: As in `tfb.Bijector`.

    Raises:
        ValueError: If `num_channels` is less than 1, or `dtype` is neither float32 nor float64.

    References:
        Diederik Kingma, Prafulla Dhariwal. Glow: Generative Flow with Invertible 1x1 Convolutions. NeurIPS
            2018, section 3.2. https://arxiv.org/abs/1807.03039
        Conor Durkan et al. Neural Spline Flows. NeurIPS 2019, section 3.3. https://arxiv.org/abs/1906.04032
    """

    def __init__(
        self,
        num_channels: int,
        *,
        triangles: tf.Variable | None = None,
        log_diagonal: tf.Variable | None = None,
        dtype: Any = tf.float32,
        validate_args: bool = False,
        name: str = "lu_linear",
    ) -> None:
        if num_channels < 1:
            raise ValueError(f"num_channels must be at least 1, got {num_channels}.")
        if tf.as_dtype(dtype) not in (tf.float32, tf.float64):  # TensorFlow solves triangles in no other
            raise ValueError(f"dtype must be float32 or float64, got {tf.as_dtype(dtype).name}.")
        if triangles is None:
            triangles = tf.Variable(tf.zeros([num_channels, num_channels], dtype), name=f"{name}_triangles")
        if log_diagonal is None:
            log_diagonal = tf.Variable(tf.zeros([num_channels], dtype), name=f"{name}_log_diagonal")
        parameters = dict(locals())  # with the variables: a copy shares them
        self._triangles, self._log_diagonal = triangles, log_diagonal
        super().__init__(
            forward_min_event_ndims=1, dtype=dtype, validate_args=validate_args, parameters=parameters, name=name
        )

    def _factors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns L and U."""
        # Products with constant triangles: LiteRT has no operator for band parts.
        ones = np.ones(self._triangles.shape, self._triangles.dtype.as_numpy_dtype)
        identity = np.eye(len(ones), dtype=ones.dtype)
        lower = self._triangles * np.tril(ones, -1) + identity
        return lower, self._triangles * np.triu(ones, 1) + identity * tf.exp(self._log_diagonal)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        lower, upper = self._factors()
        identity = tf.eye(self._log_diagonal.shape[0], dtype=lower.dtype)
        # The inverse of the matrix, not of the rows: there are few channels and many rows.
        inverse = tf.linalg.triangular_solve(
            upper, tf.linalg.triangular_solve(lower, identity, lower=True), lower=False
        )
        return self._multiply(inverse, x), -self._log_det(x)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        lower, upper = self._factors()
        return self._multiply(tf.matmul(lower, upper), y), self._log_det(y)

    def _multiply(self, matrix: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        check_last_axis(self, vectors, matrix.shape[0])
        rows = tf.reshape(vectors, [-1, matrix.shape[0]])
        return tf.reshape(tf.matmul(rows, matrix, transpose_b=True), tf.shape(vectors))

    def _log_det(self, event: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(self._log_diagonal, axis=0) * tf.ones_like(event[..., 0])
