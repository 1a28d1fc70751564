"""A spline for each entry by itself, which can be set to make the margins of data Gaussian."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.last_axis import check_last_axis, checked_rows
from tfp_realnvp.transforms import RationalQuadraticSpline

__all__ = ["MarginalSpline"]


class MarginalSpline(FusedBijector):
    """Moves each entry of a vector by a monotone spline of its own; see `transforms.RationalQuadraticSpline`.

    It starts as the identity. `initialize(batch)` sets the splines so that `inverse` gives each entry of that
    batch a nearly Gaussian margin; after that they are trained like any other variables. As the layer next to the
    data it takes skewness and heavy tails off the couplings, which are left with how entries depend on each other.

    Args:
        event_size: Number of entries `D`.
        num_bins: As in `transforms.RationalQuadraticSpline`.
        bound: As in `transforms.RationalQuadraticSpline`: beyond it entries pass as they are.
        spline_parameters: Variable `[D, 3 * num_bins - 1]`, or None for a new one of zeros.
        dtype: Floating dtype.
        validate_args: As in `tfb.Bijector`.
        name: As in `tfb.Bijector`.

    Raises:
        ValueError: If `event_size` is less than 1 or the spline's options are out of range.

    References:
        Conor Durkan et al. Neural Spline Flows. NeurIPS 2019, section 3.1. https://arxiv.org/abs/1906.04032
        Chenlin Meng et al. Gaussianization Flows. AISTATS 2020, section 3.2. https://arxiv.org/abs/2003.01941
    """

    def __init__(
        self,
        event_size: int,
        *,
        num_bins: int = 16,
        bound: float = 8.0,
        spline_parameters: tf.Variable | None = None,
        dtype: Any = tf.float32,
        validate_args: bool = False,
        name: str = "marginal_spline",
    ) -> None:
        if event_size < 1:
            raise ValueError(f"event_size must be at least 1, got {event_size}.")
        spline = RationalQuadraticSpline(num_bins=num_bins, bound=bound)
        if spline_parameters is None:
            zeros = tf.zeros([event_size, spline.num_parameters], dtype)
            spline_parameters = tf.Variable(zeros, name=f"{name}_parameters")
        parameters = {
            "event_size": event_size,
            "num_bins": num_bins,
            "bound": bound,
            "spline_parameters": spline_parameters,  # the variable: a copy shares it
            "dtype": dtype,
            "validate_args": validate_args,
            "name": name,
        }
        self._spline, self._spline_parameters = spline, spline_parameters
        super().__init__(
            forward_min_event_ndims=1, dtype=dtype, validate_args=validate_args, parameters=parameters, name=name
        )

    @property
    def spline_parameters(self) -> tf.Variable:
        """The parameters of the splines, `[D, 3 * num_bins - 1]`."""
        return self._spline_parameters

    def initialize(self, batch: Any) -> None:
        """Sets the splines to map quantiles of `batch` to the same quantiles of a standard Gaussian.

        Args:
            batch: Data as they come to this layer, roughly standardised, `[..., D]`, at least two rows.

        Raises:
            ValueError: If there are fewer than two rows, or values are not finite.
        """
        rows = checked_rows(self, batch, self._spline_parameters.shape[0])
        # Knots equally far apart in the Gaussian, out to where the batch still has a few rows.
        gaussian = statistics.NormalDist()
        furthest = min(3.0, gaussian.inv_cdf(1 - 1 / (len(rows) + 1)))
        count = self._spline.num_bins - 1
        noise_knots = np.linspace(-furthest, furthest, count) if count > 1 else np.zeros(1)
        levels = [gaussian.cdf(knot) for knot in noise_knots]
        columns = [self._spline.through(np.quantile(column, levels), noise_knots) for column in rows.T]
        self._spline_parameters.assign(np.stack(columns))

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        y, log_derivatives = self._spline.forward(x, self._parameters_for(x))
        return y, tf.reduce_sum(log_derivatives, axis=-1)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, log_derivatives = self._spline.inverse(y, self._parameters_for(y))
        return x, tf.reduce_sum(log_derivatives, axis=-1)

    def _parameters_for(self, event: tf.Tensor) -> tf.Tensor:
        parameters = tf.convert_to_tensor(self._spline_parameters)
        check_last_axis(self, event, parameters.shape[0])
        return tf.broadcast_to(parameters, tf.concat([tf.shape(event), parameters.shape[-1:]], axis=0))
