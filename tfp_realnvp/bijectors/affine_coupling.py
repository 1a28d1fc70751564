"""The affine coupling layer of RealNVP as a TFP bijector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.internal import cache_util

from tfp_realnvp.masks import Mask

__all__ = ["AffineCoupling"]


class _FreshLogDetCache(cache_util.BijectorCacheWithGreedyAttrs):
    """TFP's cache of value and log-determinant pairs, forgetting a log-determinant whose value is gone.

    TFP keeps a log-determinant for as long as the *input* lives, also when the output has been
    collected, and would hand out the one from before an optimizer step.
    """

    def _attributes(self, value: Any, fn_name: str, **kwargs: Any) -> dict[str, Any]:
        edge = self._get_or_create_edge(value, fn_name, kwargs)
        if not edge.output_ref:
            edge.attributes.clear()
        attributes: dict[str, Any] = edge.attributes
        return attributes


class AffineCoupling(tfb.Bijector):
    """Scales and shifts some entries of a vector by a network that sees only the others.

    With `a` the kept and `b` the moved entries of `x`, and `c` the clamp:

        (shift, s)              = conditioner(a)
        log_scale               = c * tanh(s / c)
        forward:                  y = merge(a, b * exp(log_scale) + shift)
        inverse:                  x = merge(a, (b - shift) * exp(-log_scale))
        forward log-determinant:  sum(log_scale)
        inverse log-determinant: -sum(log_scale)

    Value and log-determinant come out of one call of the conditioner, in either direction. The
    conditioner's variables are tracked through `tfb.Chain` and `tfd.TransformedDistribution`. Two
    couplings are equal only if they are the same object.

    #### Examples

    >>> import numpy as np
    >>> from tfp_realnvp import AffineCoupling, mlp
    >>> coupling = AffineCoupling(np.array([True, False, False]), mlp(1, 2, hidden_units=[16]))
    >>> coupling.forward(np.ones([4, 3], np.float32)).shape
    TensorShape([4, 3])
    >>> len(coupling.trainable_variables)
    4

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP. ICLR
         2017, section 3.2, equations 4 to 8. https://arxiv.org/abs/1605.08803
    [2]: Lynton Ardizzone et al. Guided image generation with conditional invertible neural networks.
         2019, appendix (the soft clamp). https://arxiv.org/abs/1907.02392
    """

    _cache = _FreshLogDetCache(forward_name="_augmented_forward", inverse_name="_augmented_inverse")

    def __init__(
        self,
        mask: Any,
        conditioner: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        *,
        log_scale_clamp: float | None = 2.0,
        dtype: Any = None,
        validate_args: bool = False,
        name: str = "affine_coupling",
    ) -> None:
        """Creates the coupling and calls `conditioner` once on zeros, to check it and to build it.

        Args:
            mask: Boolean array of shape `[D]`, or a `Mask`. True entries are kept as they are.
            conditioner: `tf.Module` or callable from kept entries, `[n, num_kept]`, to
                `(shift, log_scale)` of the moved ones, each `[n, num_moved]`. Variables that a plain
                function only closes over are found by the call and tracked as well.
            log_scale_clamp: The `c` of the soft clamp, in nats: a coupling scales by at most `exp(c)`.
                None for no clamp.
            dtype: Floating dtype of the event. Default: that of the conditioner's variables, or none
                in particular if it has no variables.
            validate_args: As in `tfb.Bijector`.
            name: As in `tfb.Bijector`.

        Raises:
            TypeError: If `mask` is not boolean, `conditioner` is not callable or is or holds a Keras 3
                layer, or does not return a pair of tensors.
            ValueError: If `mask` keeps or moves nothing or has one entry, if `log_scale_clamp` is not
                positive, or if shift or log-scale have another shape than `[n, num_moved]`.
        """
        parameters = dict(locals())
        if log_scale_clamp is not None and not log_scale_clamp > 0:
            raise ValueError(f"log_scale_clamp must be positive or None, got {log_scale_clamp}.")
        _refuse_keras_3(conditioner)
        if not callable(conditioner):
            raise TypeError(f"conditioner must be callable, got {type(conditioner).__name__}.")
        self._mask = mask if isinstance(mask, Mask) else Mask(mask)
        self._log_scale_clamp = log_scale_clamp
        self._conditioner = conditioner
        dtype = _floating_dtype(getattr(conditioner, "variables", ())) if dtype is None else tf.as_dtype(dtype)
        self._closed_over = _try_conditioner(conditioner, self._mask, dtype or tf.float32)
        built = [*getattr(conditioner, "variables", ()), *self._closed_over]
        super().__init__(
            forward_min_event_ndims=1,
            dtype=dtype or _floating_dtype(built),
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def mask(self) -> Mask:
        """The `Mask` over the event."""
        return self._mask

    @property
    def conditioner(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """The conditioner as it was given."""
        return self._conditioner

    @property
    def log_scale_clamp(self) -> float | None:
        """The soft bound on the log-scale, in nats, or None."""
        return self._log_scale_clamp

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {}  # nothing here has a batch shape

    def _get_parameterization(self) -> int:
        # TFP's cache is shared by all bijectors that compare equal, and two networks never are.
        return id(self)

    def _shift_and_log_scale(self, kept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns shift and clamped log-scale, `[..., num_moved]`, for kept entries `[..., num_kept]`."""
        # tf_keras layers take batches of vectors only: all leading dimensions become one.
        leading = tf.shape(kept)[:-1]
        is_matrix = kept.shape.rank == 2
        rows = kept if is_matrix else tf.reshape(kept, [-1, self._mask.num_kept])
        shift, log_scale = self._conditioner(rows)
        if self._log_scale_clamp is not None:
            log_scale = self._log_scale_clamp * tf.tanh(log_scale / self._log_scale_clamp)
        if not is_matrix:
            shape = tf.concat([leading, [self._mask.num_moved]], axis=0)
            shift, log_scale = tf.reshape(shift, shape), tf.reshape(log_scale, shape)
        return shift, log_scale

    def _split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if event.shape.rank is None or event.shape.rank < 1 or event.shape[-1] != self._mask.event_size:
            raise ValueError(
                f"{self.name}: expected events of shape [..., {self._mask.event_size}], got {event.shape}. "
                "The last dimension must be known when the graph is built."
            )
        return self._mask.split(event)

    def _augmented_forward(self, x: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        kept, moved = self._split(x)
        shift, log_scale = self._shift_and_log_scale(kept)
        y = self._mask.merge(kept, moved * tf.exp(log_scale) + shift)
        fldj = tf.reduce_sum(log_scale, axis=-1)
        return y, {"ildj": -fldj, "fldj": fldj}

    def _augmented_inverse(self, y: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        kept, moved = self._split(y)
        shift, log_scale = self._shift_and_log_scale(kept)
        x = self._mask.merge(kept, (moved - shift) * tf.exp(-log_scale))
        fldj = tf.reduce_sum(log_scale, axis=-1)
        return x, {"ildj": -fldj, "fldj": fldj}

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self._augmented_forward(x)[0]

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self._augmented_inverse(y)[0]

    # TFP asks for these only when the cache holds no log-determinant.
    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return self._augmented_forward(x)[1]["fldj"]

    def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return self._augmented_inverse(y)[1]["ildj"]


def _floating_dtype(variables: Any) -> tf.DType | None:
    """The dtype of the first floating variable, or None."""
    return next((v.dtype for v in variables if v.dtype.is_floating), None)


def _refuse_keras_3(conditioner: Any) -> None:
    """Raises `TypeError` for a Keras 3 layer or for an object or function that holds one.

    TFP finds variables through `tf.Module`, which Keras 3 layers are not: they would stay untrained.
    """
    attributes = getattr(conditioner, "__dict__", {}).values()
    closed_over = [cell.cell_contents for cell in getattr(conditioner, "__closure__", None) or ()]
    for obj in [conditioner, *attributes, *closed_over]:
        for part in obj if isinstance(obj, list | tuple) else [obj]:
            if any(base.__module__.split(".")[0] == "keras" for base in type(part).__mro__):
                raise TypeError(
                    f"conditioner: {type(part).__name__} is a Keras 3 object, whose variables TensorFlow Probability "
                    "cannot see, so it would stay untrained. Build the network with `tf_keras` (import tf_keras)."
                )


def _try_conditioner(conditioner: Any, mask: Mask, dtype: tf.DType) -> list[tf.Variable]:
    """Calls the conditioner on zeros, checks what it returns, and returns variables `tf.Module` does not see."""
    with tf.GradientTape() as tape:
        try:
            shift, log_scale = conditioner(tf.zeros([2, mask.num_kept], dtype))
        except (TypeError, ValueError, tf.errors.OpError) as error:
            raise (TypeError if isinstance(error, TypeError) else ValueError)(
                f"conditioner failed on kept entries of shape [2, {mask.num_kept}] and dtype {dtype.name}, or did not "
                f"return a pair (shift, log_scale): {error}"
            ) from error
    for what, value in [("shift", shift), ("log_scale", log_scale)]:
        shape = getattr(value, "shape", None)
        if shape is None or tuple(shape) != (2, mask.num_moved):
            raise ValueError(
                f"conditioner returned a {what} of shape {shape} for kept entries of shape [2, {mask.num_kept}]; "
                f"expected [2, {mask.num_moved}], as the mask moves {mask.num_moved} of {mask.event_size} entries."
            )
        if value.dtype != dtype:
            raise TypeError(
                f"conditioner returned a {what} of dtype {value.dtype} for kept entries of dtype {dtype.name}."
            )
    tracked = {v.ref() for v in getattr(conditioner, "variables", ())} if isinstance(conditioner, tf.Module) else set()
    return [v for v in tape.watched_variables() if v.ref() not in tracked]
