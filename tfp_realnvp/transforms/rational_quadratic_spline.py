"""The monotone rational-quadratic spline of neural spline flows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.transforms.transform import Transform

__all__ = ["RationalQuadraticSpline"]


@dataclasses.dataclass(frozen=True)
class _Bin:
    """Of each entry, the bin it falls into: corners, size, and slopes at both ends."""

    left: tf.Tensor
    width: tf.Tensor
    bottom: tf.Tensor
    height: tf.Tensor
    slope_left: tf.Tensor
    slope_right: tf.Tensor


@dataclasses.dataclass(frozen=True)
class RationalQuadraticSpline(Transform):
    """A spline of rational-quadratic pieces on `[-bound, bound]`, the identity outside ("linear tails").

    The widths and heights of the bins and the slopes at the knots between them are learnt; the slopes at
    both ends are one, so the function has a continuous derivative everywhere. `inverse`, the direction of
    training, evaluates the spline; `forward` solves a quadratic. Either way the bin is found by comparing
    with all knots and summing, which has no search and converts to LiteRT.

    Attributes:
        num_bins: Number of bins, at least 2.
        bound: Where the tails begin; data should be standardised, so that most of it lies within.
        min_bin_fraction: Smallest width and height of a bin as a share of the interval.
        min_slope: Smallest slope at a knot.

    References:
        Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios. Neural Spline Flows. NeurIPS
        2019, sections 3.1 and 3.2. https://arxiv.org/abs/1906.04032
    """

    num_bins: int = 8
    bound: float = 5.0
    min_bin_fraction: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        if self.num_bins < 2:
            raise ValueError(f"num_bins must be at least 2, got {self.num_bins}.")
        if not self.bound > 0:
            raise ValueError(f"bound must be positive, got {self.bound}.")
        if not 0 < self.min_bin_fraction * self.num_bins < 1:
            raise ValueError(
                f"min_bin_fraction must be between 0 and 1 / num_bins = {1 / self.num_bins:.3g}, "
                f"got {self.min_bin_fraction}."
            )
        if not 0 < self.min_slope < 1:
            raise ValueError(f"min_slope must be between 0 and 1, got {self.min_slope}.")

    @property
    def num_parameters(self) -> int:
        """`3 * num_bins - 1`: widths, heights, and the slopes between bins."""
        return 3 * self.num_bins - 1

    def forward(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._one_by_one(self._solve, x, parameters)

    def inverse(self, y: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._one_by_one(self._spline, y, parameters)

    def _one_by_one(
        self, function: Callable[..., tuple[tf.Tensor, tf.Tensor]], entries: tf.Tensor, parameters: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Calls a function of a vector of entries, and gives what it returns their shape."""
        if entries.dtype == tf.bfloat16:
            raise ValueError(
                "splines are not computed in bfloat16, which tells 256 numbers apart between two powers of two; with "
                'conditioner_dtype="mixed_bfloat16" the networks alone are.'
            )
        # XLA's loops over a last axis of a few columns take 1.4 to 1.5 times as long as those over a vector.
        value, log_derivative = function(tf.reshape(entries, [-1]), tf.reshape(parameters, [-1, self.num_parameters]))
        shape = tf.shape(entries)
        return tf.reshape(value, shape), tf.reshape(log_derivative, shape)

    def _solve(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The inverse of the spline: data are its arguments, noise its values."""
        value = tf.clip_by_value(x, -self.bound, self.bound)
        piece = self._find_bin(value, parameters, by_height=True)
        slope = piece.height / piece.width
        rise = value - piece.bottom
        curvature = piece.slope_left + piece.slope_right - 2 * slope
        a = piece.height * (slope - piece.slope_left) + rise * curvature
        b = piece.height * piece.slope_left - rise * curvature
        c = -slope * rise
        root = tf.sqrt(tf.maximum(b * b - 4 * a * c, np.finfo(x.dtype.as_numpy_dtype).tiny))
        fraction = tf.clip_by_value(2 * c / (-b - root), 0.0, 1.0)
        _, log_slope = self._evaluate(piece, fraction)
        return self._with_tails(x, piece.left + fraction * piece.width, -log_slope)

    def _spline(self, y: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        argument = tf.clip_by_value(y, -self.bound, self.bound)
        piece = self._find_bin(argument, parameters, by_height=False)
        value, log_slope = self._evaluate(piece, (argument - piece.left) / piece.width)
        return self._with_tails(y, value, log_slope)

    def through(self, arguments: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Returns the parameters, `[num_parameters]`, of an increasing spline whose `inverse` goes through given knots.

        Bins that would be narrower than `min_bin_fraction` are widened at the cost of the others.

        Args:
            arguments: The inner knots in data space, increasing, `[num_bins - 1]`.
            values: The inner knots in noise space, increasing, `[num_bins - 1]`.
        """
        shares = []
        for knots in (arguments, values):
            inner = np.clip(knots, -self.bound, self.bound)
            sizes = np.diff(np.concatenate([[-self.bound], inner, [self.bound]])) / (2 * self.bound)
            rest = np.maximum(sizes - self.min_bin_fraction, 1e-3 * self.min_bin_fraction)
            shares.append(rest / rest.sum())
        widths, heights = (self.min_bin_fraction + (1 - self.min_bin_fraction * self.num_bins) * s for s in shares)
        secants = heights / widths
        # The harmonic mean of the slopes on both sides keeps the pieces from overshooting (Fritsch and Butland, 1984).
        slopes = 2 / (1 / secants[:-1] + 1 / secants[1:])
        offset = math.log(math.expm1(1 - self.min_slope))
        excess = np.maximum(slopes - self.min_slope, 1e-3 * self.min_slope)
        raw = excess + np.log(-np.expm1(-excess)) - offset  # the inverse of softplus
        return np.concatenate([np.log(shares[0]), np.log(shares[1]), raw])

    def _with_tails(
        self, entries: tf.Tensor, inside: tf.Tensor, log_derivative: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        # Both branches are finite everywhere, so neither puts NaN into the other's gradient.
        is_inside = tf.abs(entries) <= self.bound
        return tf.where(is_inside, inside, entries), tf.where(is_inside, log_derivative, tf.zeros_like(log_derivative))

    @staticmethod
    def _evaluate(piece: _Bin, fraction: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Value and log-slope at a fraction of the bin: equations 4 and 5 of the paper."""
        slope = piece.height / piece.width
        product = fraction * (1 - fraction)
        denominator = slope + (piece.slope_left + piece.slope_right - 2 * slope) * product
        value = piece.bottom + piece.height * (slope * fraction**2 + piece.slope_left * product) / denominator
        numerator = piece.slope_right * fraction**2 + 2 * slope * product + piece.slope_left * (1 - fraction) ** 2
        return value, 2 * tf.math.log(slope) + tf.math.log(numerator) - 2 * tf.math.log(denominator)

    def _find_bin(self, entries: tf.Tensor, parameters: tf.Tensor, *, by_height: bool) -> _Bin:
        k = self.num_bins
        lowest, shared = 2 * self.bound * self.min_bin_fraction, 2 * self.bound * (1 - self.min_bin_fraction * k)
        # softplus is log(2) at zero, and the slope has to be one there.
        offset = math.log(math.expm1(1 - self.min_slope))

        # The gradient is written out: with autodiff's, of the sums over bins, a spline and its gradient take 1.5 times
        # as long.
        @tf.custom_gradient
        def find(parameters: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Any]:
            width_shares, height_shares = tf.nn.softmax(parameters[..., :k]), tf.nn.softmax(parameters[..., k : 2 * k])
            widths, heights = lowest + shared * width_shares, lowest + shared * height_shares
            lefts, bottoms = self._lower_edges(widths), self._lower_edges(heights)
            raw_slopes = parameters[..., 2 * k :] + offset
            slopes = self.min_slope + tf.math.softplus(raw_slopes)
            one = tf.ones_like(slopes[..., :1])
            inner_knots = (bottoms if by_height else lefts)[..., 1:]
            is_beyond = tf.cast(entries[..., tf.newaxis] >= inner_knots, entries.dtype)
            is_below = tf.concat([is_beyond, tf.zeros_like(one)], axis=-1)  # the bins that end before the entry
            is_here = tf.concat([one, is_beyond], axis=-1) - is_below

            def pick(values: tf.Tensor) -> tf.Tensor:
                return tf.reduce_sum(is_here * values, axis=-1)

            def gradient(*by_picked: tf.Tensor) -> tf.Tensor:
                left, width, bottom, height, slope_left, slope_right = (by[..., tf.newaxis] for by in by_picked)
                by_width_shares = shared * (is_here * width + is_below * left)
                by_height_shares = shared * (is_here * height + is_below * bottom)
                by_slopes = is_here[..., 1:] * slope_left + is_here[..., :-1] * slope_right
                by_parameters = [
                    _through_softmax(width_shares, by_width_shares),
                    _through_softmax(height_shares, by_height_shares),
                    by_slopes * tf.sigmoid(raw_slopes),
                ]
                return tf.concat(by_parameters, axis=-1)

            picked = [pick(values) for values in (lefts, widths, bottoms, heights)]
            ends = [pick(tf.concat(pair, axis=-1)) for pair in ([one, slopes], [slopes, one])]
            return (*picked, *ends), gradient

        return _Bin(*find(parameters))

    def _lower_edges(self, sizes: tf.Tensor) -> tf.Tensor:
        """Lower edges of bins that begin at `-bound`, both `[..., num_bins]`."""
        # A product with a triangle of ones: XLA makes less of tf.cumsum.
        before = np.triu(np.ones([self.num_bins, self.num_bins]), k=1).astype(sizes.dtype.as_numpy_dtype)
        return tf.reshape(tf.matmul(tf.reshape(sizes, [-1, self.num_bins]), before), tf.shape(sizes)) - self.bound


def _through_softmax(shares: tf.Tensor, by_shares: tf.Tensor) -> tf.Tensor:
    """The gradient by the logits of shares, of a function whose gradient by the shares is given."""
    return shares * (by_shares - tf.reduce_sum(shares * by_shares, axis=-1, keepdims=True))
