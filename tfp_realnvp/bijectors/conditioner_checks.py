"""What a coupling asks of a conditioner that may be anyone's: its form, its variables, its dtype."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def check_parameters(
    result: Any, called_with: str, dtype: tf.DType, *, num_moved: int, event_size: int, num_parameters: int
) -> None:
    """Raises `TypeError` or `ValueError` if what a conditioner returned for two rows are not parameters."""
    moved, count = num_moved, num_parameters
    what = f"conditioner, called with {called_with}, returned"
    expected = (
        f"expected {count} for each of the {moved} of {event_size} entries that the mask moves: a "
        f"tensor [2, {moved * count}]" + (f" or a tuple of {count} tensors [2, {moved}]." if count > 1 else ".")
    )
    if isinstance(result, tuple | list):
        parts = [part for part in result if part is not None]
        is_right = len(result) == count and bool(parts)
        shapes: Any = [getattr(part, "shape", None) for part in result]
        is_right = is_right and all(_shape_of(part) == (2, moved) for part in parts)
    else:
        parts, shapes = [result], _shape_of(result)
        is_right = shapes in {(2, moved * count), (2, moved, count)}
    if not all(tf.is_tensor(part) for part in parts):
        raise TypeError(f"{what} {type(result).__name__} {result!r:.60}; {expected}")
    if not is_right:
        raise ValueError(f"{what} parameters of shape {shapes}; {expected}")
    for part in parts:
        if part.dtype != dtype:
            raise TypeError(f"{what} parameters of dtype {part.dtype.name}; expected {dtype.name}.")


def _shape_of(value: Any) -> tuple[int, ...] | None:
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def with_output_units(conditioner: Callable[..., Any], num_moved: int) -> Callable[..., Any]:
    """Gives `output_units` to a function written for `tfb.RealNVP`, `f(x, output_units, **kwargs)`."""
    try:
        # tfb.real_nvp_default_template makes a template, which takes anything and hands it to its _func.
        function = getattr(conditioner, "_func", conditioner)
        parameter = inspect.signature(function).parameters.get("output_units")
    except (TypeError, ValueError):  # no signature to be had
        return conditioner
    if parameter is None or parameter.default is not inspect.Parameter.empty:
        return conditioner
    return functools.partial(conditioner, output_units=num_moved)


def variables_of(conditioner: Any) -> Any:
    """The variables of a module; none of a function, or of a Keras model before its first call."""
    try:
        return getattr(conditioner, "variables", ())
    except ValueError:
        return ()


def floating_dtype(variables: Any) -> tf.DType | None:
    """The dtype of the first floating variable, or None."""
    return next((v.dtype for v in variables if v.dtype.is_floating), None)


def refuse_keras_3(conditioner: Any) -> None:
    """Raises `TypeError` for a Keras 3 layer or for an object or function that holds one.

    TFP finds variables through `tf.Module`, which Keras 3 layers are not: they would stay untrained.
    """
    attributes = getattr(conditioner, "__dict__", {}).values()
    cells = getattr(conditioner, "__closure__", None) or ()
    closed_over = [cell.cell_contents for cell in cells if cell != types.CellType()]  # one is empty before its name is
    for obj in [conditioner, *attributes, *closed_over]:
        for part in obj if isinstance(obj, list | tuple) else [obj]:
            if any(base.__module__.split(".")[0] == "keras" for base in type(part).__mro__):
                raise TypeError(
                    f"conditioner: {type(part).__name__} is a Keras 3 object, whose variables TensorFlow Probability "
                    "cannot see, so it would stay untrained. Build the network with `tf_keras` (import tf_keras)."
                )
