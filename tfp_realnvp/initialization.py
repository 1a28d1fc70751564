"""Data-dependent initialisation of the layers of a flow that have one."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.distributions import independent, sample

from tfp_realnvp.bijectors.act_norm import ActNorm
from tfp_realnvp.bijectors.factor_out import FactorOut
from tfp_realnvp.bijectors.marginal_spline import MarginalSpline
from tfp_realnvp.binding import given

__all__ = ["initialize"]

_INITIALIZED = (ActNorm, MarginalSpline)


def initialize(model: Any, batch: Any, *, context: Any = None) -> None:
    """Sets every `ActNorm` and `MarginalSpline` of a flow from data.

    It goes from the data's end inwards, through the flows that are a flow's base; each layer sees what comes to it.

    Args:
        model: A bijector from noise to data, or a `tfd.TransformedDistribution`, also within `tfd.Independent` or
            `tfd.Sample`.
        batch: Data, `[n, *event_shape]`, at least two rows; as many as fit in memory.
        context: `[n, *context_shape]`, if the flow is conditional.

    Raises:
        ValueError: If there is nothing to initialise in `model`, or a batch is not finite.
    """
    if context is not None:
        model = given(model, context)
    bijector = tfb.Chain(_towards_noise(model))
    if not _is_initialized(bijector):
        raise ValueError(f"{model.name!r} has no ActNorm or MarginalSpline to initialise.")
    # The chain of a flow over integers has no dtype of its own, its layers have.
    dtype = next(variable.dtype for variable in bijector.variables if variable.dtype.is_floating)
    _pass_through(bijector, tf.convert_to_tensor(np.asarray(batch, dtype.as_numpy_dtype)))


def _towards_noise(model: Any) -> list[tfb.Bijector]:
    """The bijectors between data and the noise in which a flow and the flows that are its base end."""
    if isinstance(model, tfb.Bijector):
        return [model]
    # TFP builds these where a part is no CompositeTensor; tfd.Independent and tfd.Sample are their subclasses.
    if isinstance(model, independent._Independent | sample._Sample):
        return _towards_noise(model.distribution)
    return [model.bijector, *_towards_noise(model.distribution)] if hasattr(model, "bijector") else []


def _is_initialized(bijector: tfb.Bijector) -> bool:
    return isinstance(bijector, _INITIALIZED) or any(isinstance(part, _INITIALIZED) for part in bijector.submodules)


def _pass_through(bijector: tfb.Bijector, batch: tf.Tensor) -> tf.Tensor:
    """Initialises and returns the batch after the bijector's inverse."""
    if isinstance(bijector, _INITIALIZED):
        bijector.initialize(batch)
    elif isinstance(bijector, FactorOut):
        _pass_through(bijector.bijector, batch[..., : bijector.num_channels])
    elif isinstance(getattr(bijector, "bijectors", None), list | tuple):
        for part in bijector.bijectors:
            batch = _pass_through(part, batch)
        return batch
    elif _is_initialized(bijector):
        raise ValueError(
            f"{bijector.name!r}, a {type(bijector).__name__}, holds a layer to initialise that data do not "
            "reach one after the other; call its initialize yourself."
        )
    return bijector.inverse(tf.identity(batch))
