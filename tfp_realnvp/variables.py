"""Many variables read or written at once.

`tf.Variable.numpy` and `assign` spend some fifty microseconds each on devices and scopes: for the hundreds of variables
of a flow and its optimizer as much as tens of steps of a small one, after each epoch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf


def floating_variables(module: tf.Module) -> list[tf.Variable]:
    """Returns the weights of a module, trained or not; the others count calls or are the state of a generator."""
    return [variable for variable in module.variables if variable.dtype.is_floating]


def values_of(variables: Iterable[tf.Variable]) -> list[np.ndarray]:
    """Returns copies of what variables hold."""
    return [np.array(tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype)) for v in variables]


def assign_all(variables: Iterable[tf.Variable], values: Iterable[np.ndarray | tf.Tensor]) -> None:
    """Sets variables to values of their shapes and dtypes."""
    for variable, value in zip(variables, values, strict=True):
        tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)
