"""The rows that a distribution is trained on and those held out, checked: one array, or a pair with their contexts."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp.bijectors.coupling import BoundCoupling
from tfp_realnvp.binding import given
from tfp_realnvp.distributions.autoregressive_categorical import AutoregressiveCategorical
from tfp_realnvp.distributions.mixed import Mixed
from tfp_realnvp.likelihood_model import is_joint

__all__ = ["split"]

_COARSE = 0.02  # of the range of numbers: what they are rounded to at most


def split(
    flow: tfd.Distribution, x: Any, context: Any, validation_data: Any, validation_split: float, seed: int | None
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Returns training and validation rows: one array of the flow's dtype each, and one of their contexts."""
    rows = _as_rows(flow, "x", x, context)
    if not is_joint(flow):
        _check_precision("x", np.asarray(x), rows[0].dtype)
    if context is not None:
        _check_precision("context", np.asarray(context), rows[1].dtype)
    if validation_data is not None:
        is_pair = context is not None and isinstance(validation_data, tuple | list) and len(validation_data) == 2
        if context is not None and not is_pair:
            raise ValueError("validation_data must be a pair of rows and contexts, as there is a context.")
        return rows, _as_rows(flow, "validation_data", *(validation_data if is_pair else (validation_data, None)))
    if not 0 <= validation_split < 1:
        raise ValueError(f"validation_split must be in [0, 1), got {validation_split}.")
    num_rows = len(rows[0])
    num_held_out = round(validation_split * num_rows)
    if num_held_out == num_rows:
        raise ValueError(f"x has {num_rows} rows, too few to hold out a share of {validation_split}.")
    order = np.random.default_rng(seed).permutation(num_rows)
    return tuple(part[order[num_held_out:]] for part in rows), tuple(part[order[:num_held_out]] for part in rows)


def _as_rows(flow: tfd.Distribution, what: str, value: Any, context: Any) -> tuple[np.ndarray, ...]:
    if isinstance(value, tf.data.Dataset):
        raise TypeError(f"{what} is a tf.data.Dataset; fit takes arrays. LikelihoodModel takes datasets.")
    if is_joint(flow):
        return _as_joint_rows(flow, what, value, context)
    if not isinstance(flow.dtype, tf.DType):
        raise TypeError(f"the events of {flow.name!r} are a {type(flow.dtype).__name__}; fit takes those of tuples.")
    if flow.batch_shape.rank != 0:
        raise ValueError(f"{flow.name!r} has batch shape {flow.batch_shape}; fit trains one distribution, of [].")
    if np.ma.is_masked(value):
        raise ValueError(f"{what} has masked entries, which a density cannot be asked of.")
    rows = _cast(what, value, flow.dtype)
    if rows.ndim == 1 + len(flow.event_shape) and not len(rows):
        raise ValueError(f"{what} has no rows.")
    if rows.ndim != 1 + len(flow.event_shape) or rows.shape[1:] != tuple(flow.event_shape) or not len(rows):
        raise ValueError(f"{what} must have shape [n, {', '.join(map(str, flow.event_shape))}], got {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ValueError(f"{what} holds NaN or infinity in row {np.argwhere(~np.isfinite(rows))[0][0]}.")
    _check_classes(flow, rows)
    if context is None:
        return (rows,)
    contexts = np.asarray(context)
    if contexts.ndim < 1 or len(contexts) != len(rows):
        raise ValueError(f"there are {len(rows)} rows in {what}, but the context has the shape {contexts.shape}.")
    bound = given(flow, contexts)  # checks its values
    if bound.batch_shape.as_list() != [len(rows)]:
        raise ValueError(f"the context of {what} must have one entry a row, got shape {contexts.shape}.")
    dtype = next(part.context.dtype for part in bound.submodules if isinstance(part, BoundCoupling))
    return rows, contexts.astype(dtype.as_numpy_dtype)


def _check_precision(what: str, rows: np.ndarray, dtype: np.dtype[Any]) -> None:
    """Refuses entries, such as seconds since 1970, that would be nearly the same number in another dtype."""
    if dtype.kind != "f" or rows.dtype.kind not in "fiu":
        return
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    size = np.maximum(np.abs(low), np.abs(high))
    is_varying = high - low > 1e-12 * size  # and not constant but for rounding
    is_lost = is_varying & (np.spacing(size.astype(dtype)).astype(np.float64) > _COARSE * (high - low))
    if is_lost.any():
        entry = ", ".join(map(str, np.argwhere(is_lost)[0].tolist()))
        where = f" in entry [{entry}] of a row" if entry else ""
        raise ValueError(
            f"{what} has numbers{where}, {low[is_lost][0]:g} to {high[is_lost][0]:g}, which "
            f"{dtype.name} hardly tells apart. Subtract their mean and divide by their deviation."
        )


def _as_joint_rows(flow: tfd.Distribution, what: str, value: Any, context: Any) -> tuple[np.ndarray, ...]:
    if context is not None:
        raise ValueError(f"{flow.name!r} takes no context; what its parts depend on is in its events.")
    shapes = [tuple(shape) for shape in flow.event_shape]
    if not isinstance(value, tuple | list) or len(value) != len(shapes):
        raise ValueError(f"{what} must be a tuple of {len(shapes)} arrays, with events of the shapes {shapes}.")
    if any(map(np.ma.is_masked, value)):
        raise ValueError(f"{what} has masked entries, which a density cannot be asked of.")
    if any(np.shape(part) != (len(value[0]), *shape) for part, shape in zip(value, shapes, strict=True)):
        raise ValueError(f"{what} must hold arrays [n, …] with events of the shapes {shapes}.")
    parts = tuple(_cast(what, v, t) for v, t in zip(value, flow.dtype, strict=True))
    for part in parts:
        if not np.isfinite(part).all():
            raise ValueError(f"{what} holds NaN or infinity in row {np.argwhere(~np.isfinite(part))[0][0]}.")
    if isinstance(flow, Mixed):
        _check_classes(flow.discrete, parts[0])
    return parts


def _cast(what: str, value: Any, dtype: Any) -> np.ndarray:
    given_as = np.asarray(value)
    if tf.as_dtype(dtype).is_integer and given_as.dtype.kind == "f" and (given_as != np.floor(given_as)).any():
        raise ValueError(f"{what} must be integers, got {given_as[given_as != np.floor(given_as)][0]}.")
    return np.asarray(given_as, tf.as_dtype(dtype).as_numpy_dtype)


def _check_classes(distribution: tfd.Distribution, rows: np.ndarray) -> None:
    if isinstance(distribution, AutoregressiveCategorical):
        distribution.check(rows)
