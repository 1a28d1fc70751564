"""The coupling layer as a TFP bijector: one mechanism, into which the transform of an entry is put."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.internal import parameter_properties, tensor_util

from tfp_realnvp.bijectors.conditioner_checks import (
    check_parameters,
    floating_dtype,
    refuse_keras_3,
    variables_of,
    with_output_units,
)
from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.masks import Mask
from tfp_realnvp.transforms import Transform

__all__ = ["BoundCoupling", "Coupling"]


class Coupling(FusedBijector):
    """Moves some entries of an event by a network that sees only the others.

    With `a` the kept and `b` the moved entries of `x`:

        parameters              = conditioner(a)            or conditioner(a, context)
        forward:                  y = merge(a, transform.forward(b, parameters))
        inverse:                  x = merge(a, transform.inverse(b, parameters))
        forward log-determinant:  sum of the log-derivatives of transform.forward
        inverse log-determinant:  sum of the log-derivatives of transform.inverse

    Value and log-determinant come out of one call of the conditioner, in either direction. The
    conditioner's variables are tracked through `tfb.Chain` and `tfd.TransformedDistribution`. Two
    couplings are equal only if they are the same object.

    A conditional coupling, one whose conditioner also reads a context, has to be bound to one first:
    `coupling.given(context)` is an ordinary bijector whose batch shape is that of the context. Unbound it
    raises, so that a context cannot be forgotten.

    Examples:
        >>> import numpy as np
        >>> from tfp_realnvp import AffineCoupling, mlp
        >>> coupling = AffineCoupling(np.array([True, False, False]), mlp(1, 2, hidden_units=[16]))
        >>> coupling.forward(np.ones([4, 3], np.float32)).shape
        TensorShape([4, 3])
        >>> len(coupling.trainable_variables)
        4

    References:
        Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP. ICLR 2017,
            section 3.2. https://arxiv.org/abs/1605.08803
    """

    def __init__(
        self,
        mask: Any,
        conditioner: Callable[..., Any],
        transform: Transform,
        *,
        context_shape: Sequence[int] | None = None,
        dtype: Any = None,
        validate_args: bool = False,
        name: str = "coupling",
        parameters: dict[str, Any] | None = None,
    ) -> None:
        """Creates the coupling and calls `conditioner` once on zeros, to check it and to build it.

        Args:
            mask: Boolean array of the event's shape, or a `Mask`. True entries are kept as they are.
            conditioner: `tf.Module` or callable from kept entries, `[n, num_kept]`, to the parameters of
                the moved ones: either a tensor that can be reshaped to `[n, num_moved, num_parameters]`
                or a tuple of `num_parameters` tensors `[n, num_moved]`, of which all but one may be None
                (zero). A conditional one takes the context, `[n, *context_shape]`, as its second
                argument. A function with a parameter `output_units`, as `tfb.RealNVP` takes, gets
                `num_moved` for it. Variables that a plain function only closes over are found by the
                call and tracked as well, if they are trainable.
            transform: What is done to each moved entry.
            context_shape: Shape of one context, without batch dimensions. Default: the conditioner's
                `context_shape`, or, if it has none, the coupling is unconditional.
            dtype: Floating dtype of the event. Default: that of the conditioner's variables, or none
                in particular if it has no variables.
            validate_args: As in `tfb.Bijector`.
            name: As in `tfb.Bijector`.
            parameters: For subclasses: their constructor's arguments.

        Raises:
            TypeError: If `mask` is not boolean, `conditioner` is not callable or is or holds a Keras 3
                layer, or returns something else than tensors of the event's dtype.
            ValueError: If `mask` moves nothing, or keeps nothing and there is no context, or if what the
                conditioner returns has the wrong shape.
        """
        parameters = {k: v for k, v in locals().items() if k != "self"} if parameters is None else parameters
        refuse_keras_3(conditioner)
        if not callable(conditioner):
            raise TypeError(f"conditioner must be callable, got {type(conditioner).__name__}.")
        self._mask = mask if isinstance(mask, Mask) else Mask(mask)
        parameters = parameters | {"mask": self._mask}  # what was given may be changed in place
        self._transform = transform
        self._conditioner = conditioner
        if context_shape is None:
            context_shape = getattr(conditioner, "context_shape", None)
        self._context_shape = None if context_shape is None else tf.TensorShape(context_shape)
        if self._context_shape is None and not self._mask.num_kept:
            raise ValueError(
                f"mask keeps none of {self._mask.event_size} entries: a coupling needs at least 1 to keep and 1 to "
                "move, unless it has a context. For a single entry use an elementwise bijector of tfp.bijectors."
            )
        self._network = with_output_units(conditioner, self._mask.num_moved)
        dtype = floating_dtype(variables_of(conditioner)) if dtype is None else tf.as_dtype(dtype)
        self._context_dtype = tf.as_dtype(getattr(conditioner, "context_dtype", None) or dtype or tf.float32)
        self._closed_over = self._try_conditioner(dtype or tf.float32)
        built = [*variables_of(conditioner), *self._closed_over]
        super().__init__(
            forward_min_event_ndims=len(self._mask.event_shape),
            dtype=dtype or floating_dtype(built),
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def mask(self) -> Mask:
        """The `Mask` over the event."""
        return self._mask

    @property
    def conditioner(self) -> Callable[..., Any]:
        """The conditioner as it was given."""
        return self._conditioner

    @property
    def transform(self) -> Transform:
        """What is done to each moved entry."""
        return self._transform

    @property
    def context_shape(self) -> tf.TensorShape | None:
        """Shape of one context, or None for an unconditional coupling."""
        return self._context_shape

    @property
    def context_dtype(self) -> tf.DType:
        """Dtype of contexts."""
        return self._context_dtype

    def given(self, context: Any) -> BoundCoupling:
        """Returns the bijector this is for `context`, of shape `[*batch, *context_shape]`; its batch shape is `batch`.

        Raises:
            ValueError: If the coupling has no context or `context` does not have its shape.
        """
        return BoundCoupling(self, context, name=f"{self.name}_given")

    def transform_event(
        self, event: tf.Tensor, context: tf.Tensor | None, *, inverse: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the event moved by the transform and the log-determinant.

        Args:
            event: `[..., *event_shape]`.
            context: `[..., *context_shape]`, whose leading dimensions broadcast with those of `event`; or None.
            inverse: Whether to go from data to noise.
        """
        rank = len(self._mask.event_shape)
        if event.shape.rank is None or tuple(event.shape[event.shape.rank - rank :]) != self._mask.event_shape:
            raise ValueError(
                f"{self.name}: expected events of shape [..., {', '.join(map(str, self._mask.event_shape))}], got "
                f"{event.shape}. These dimensions must be known when the graph is built."
            )
        kept, moved = self._mask.split(event)
        if context is not None and self._context_shape is not None:
            leading = tf.broadcast_dynamic_shape(
                tf.shape(kept)[:-1], tf.shape(context)[: context.shape.rank - self._context_shape.rank]
            )
            kept = tf.broadcast_to(kept, tf.concat([leading, [self._mask.num_kept]], axis=0))
            moved = tf.broadcast_to(moved, tf.concat([leading, [self._mask.num_moved]], axis=0))
            context = tf.broadcast_to(context, tf.concat([leading, self._context_shape], axis=0))
        parameters = self._parameters_of(kept, context)
        apply = self._transform.inverse if inverse else self._transform.forward
        moved, log_derivatives = apply(moved, parameters)
        return self._mask.merge(kept, moved), tf.reduce_sum(log_derivatives, axis=-1)

    def _parameters_of(self, kept: tf.Tensor, context: tf.Tensor | None) -> tf.Tensor:
        """Calls the network on kept entries, `[..., num_kept]`; returns `[..., num_moved, num_parameters]`."""
        # tf_keras layers take batches of vectors only: all leading dimensions become one.
        shape = [self._mask.num_moved, self._transform.num_parameters]
        if kept.shape.rank == 2:
            return tf.reshape(self._call_network(kept, context), [-1, *shape])
        leading = tf.shape(kept)[:-1]
        # The number of rows is counted: it cannot be inferred where nothing is kept.
        rows = tf.reduce_prod(leading)
        kept = tf.reshape(kept, [rows, self._mask.num_kept])
        if context is not None:
            context = tf.reshape(context, tf.concat([[rows], self._context_shape], axis=0))
        return tf.reshape(self._call_network(kept, context), tf.concat([leading, shape], axis=0))

    def _call_network(self, kept: tf.Tensor, context: tf.Tensor | None) -> tf.Tensor:
        result = self._network(kept) if context is None else self._network(kept, context)
        if not isinstance(result, tuple | list):
            return result
        some = next(part for part in result if part is not None)
        return tf.stack([tf.zeros_like(some) if part is None else part for part in result], axis=-1)

    def _try_conditioner(self, dtype: tf.DType) -> list[tf.Variable]:
        """Calls the network on zeros, checks what it returns, and returns variables `tf.Module` does not see."""
        kept = tf.zeros([2, self._mask.num_kept], dtype)
        context = None
        called_with = f"kept entries of shape [2, {self._mask.num_kept}] and dtype {dtype.name}"
        if self._context_shape is not None:
            context = tf.zeros([2, *self._context_shape], self._context_dtype)
            called_with += f" and a context of shape {context.shape.as_list()}"
        with tf.GradientTape() as tape:
            try:
                result = self._network(kept) if context is None else self._network(kept, context)
            except (TypeError, ValueError, tf.errors.OpError) as error:
                raise (TypeError if isinstance(error, TypeError) else ValueError)(
                    f"conditioner failed on {called_with}: {error}"
                ) from error
        check_parameters(
            result,
            called_with,
            dtype,
            num_moved=self._mask.num_moved,
            event_size=self._mask.event_size,
            num_parameters=self._transform.num_parameters,
        )
        conditioner = self._conditioner
        tracked = conditioner.variables if isinstance(conditioner, tf.Module) else ()
        seen = {handle for variable in tracked for handle in _handles(variable)}
        return [variable for variable in tape.watched_variables() if seen.isdisjoint(_handles(variable))]

    def _refuse_unbound(self) -> None:
        if self._context_shape is not None:
            raise ValueError(
                f"{self.name} needs a context of shape {self._context_shape.as_list()}: bind it with "
                "given(context), of the coupling, the flow or tfp_realnvp.given for anything made of them."
            )

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self._refuse_unbound()
        return self.transform_event(x, None, inverse=False)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self._refuse_unbound()
        return self.transform_event(y, None, inverse=True)


def _handles(variable: tf.Variable) -> list[int]:
    """What tells a variable: under a mixed-precision policy Keras wraps those that the tape knows, and under a
    `tf.distribute` strategy one variable is several.
    """
    parts = variable.values if isinstance(variable, tf.distribute.DistributedValues) else [variable]
    return [id(part.handle) for part in parts]


class BoundCoupling(FusedBijector):
    """A conditional coupling together with its context; `Coupling.given` makes it.

    Args:
        coupling: The conditional coupling, whose variables this one has.
        context: Tensor or variable, `[*batch, *coupling.context_shape]`.
        validate_args: As in `tfb.Bijector`.
        name: As in `tfb.Bijector`.

    Raises:
        ValueError: If the coupling has no context or `context` does not have its shape.
    """

    def __init__(
        self, coupling: Coupling, context: Any, *, validate_args: bool = False, name: str = "bound_coupling"
    ) -> None:
        parameters = dict(locals())
        shape = coupling.context_shape
        if shape is None:
            raise ValueError(f"{coupling.name} takes no context: its conditioner has no context_shape.")
        self._coupling = coupling
        dtype = coupling.context_dtype
        given_dtype = context.dtype if hasattr(context, "dtype") else np.asarray(context).dtype
        if dtype.is_integer and not tf.as_dtype(given_dtype).is_integer:
            raise TypeError(f"{coupling.name} needs a context of integers, which are classes; got {context!r:.60}.")
        if tf.is_tensor(context) and not tensor_util.is_ref(context):
            context = tf.cast(context, dtype)  # an array of int64 is converted below, a tensor would be refused
        elif tensor_util.is_ref(context) and context.dtype != dtype:
            context = tfp.util.DeferredTensor(context, lambda value: tf.cast(value, dtype), dtype=dtype, name="context")
        self._context = tensor_util.convert_nonref_to_tensor(context, dtype=dtype, name="context")
        rank = self._context.shape.rank
        if rank is None or rank < shape.rank or self._context.shape[rank - shape.rank :] != shape:
            raise ValueError(
                f"{coupling.name} needs a context of shape [..., {', '.join(map(str, shape))}], "
                f"got {self._context.shape}."
            )
        value = tf.get_static_value(self._context)
        if value is not None and hasattr(coupling.conditioner, "check_context"):
            coupling.conditioner.check_context(value)
        super().__init__(
            forward_min_event_ndims=coupling.forward_min_event_ndims,
            dtype=coupling.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def coupling(self) -> Coupling:
        """The coupling that was bound."""
        return self._coupling

    @property
    def context(self) -> tf.Tensor:
        """What it was bound to."""
        return self._context

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        properties = parameter_properties.ParameterProperties(
            event_ndims=_context_rank, event_ndims_tensor=_context_rank
        )
        return {"context": properties}

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._coupling.transform_event(x, tf.convert_to_tensor(self._context), inverse=False)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._coupling.transform_event(y, tf.convert_to_tensor(self._context), inverse=True)


def _context_rank(bound: BoundCoupling, x_event_ndims: int) -> int:
    """How many last axes of a context belong to an event of `x_event_ndims` dimensions: the further ones are rows'."""
    shape = bound.coupling.context_shape
    assert shape is not None  # or it could not have been bound
    return int(shape.rank + x_event_ndims - bound.forward_min_event_ndims)
