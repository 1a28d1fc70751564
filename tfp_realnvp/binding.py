"""Binding a context to whatever is made of conditional couplings."""

from __future__ import annotations

import copy
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.bijectors.coupling import BoundCoupling, Coupling

__all__ = ["context_specs", "given"]


def given(model: Any, context: Any) -> Any:
    """Returns `model` with every conditional coupling in it bound to `context`.

    TFP's compositions (`tfb.Chain`, `tfb.Invert`, `tfd.TransformedDistribution`, `tfd.Independent`, …) pass no
    argument on to their parts. So a context is not passed but bound: the result is an ordinary TFP object
    whose batch shape is that of the context, and which shares its variables with `model`.

    Args:
        model: A `tfb.Bijector` or `tfd.Distribution` that is made, at any depth, of conditional couplings.
        context: `[*batch, *context_shape]`.

    Raises:
        ValueError: If there is no conditional coupling in `model`, or `context` does not fit one.
    """
    if context is None:
        raise ValueError(f"the context that {getattr(model, 'name', model)!r} is to be given is None.")
    bound = _bind(model, context, {})
    if bound is model:
        raise ValueError(_unbound(model))
    return bound


def _unbound(model: Any) -> str:
    """Why there is nothing to bind."""
    name = repr(getattr(model, "name", model))
    if not isinstance(model, tf.Module) or not context_specs(model):
        if isinstance(model, tf.Module) and any(isinstance(part, BoundCoupling) for part in (model, *model.submodules)):
            return f"{name} is given a context already: give another one to what it was made of."
        return f"{name} takes no context: no conditional coupling is in it."
    return (
        f"{name} has a conditional coupling, but not among the parameters of its parts, from which they are built "
        "anew: a bijector of your own has to give super().__init__ parameters=dict(locals()), and what a function "
        "builds has to be given its context there."
    )


def _bind(value: Any, context: Any, seen: dict[int, Any]) -> Any:
    """Returns `value` itself if nothing in it is conditional; an object that occurs twice is bound once."""
    if isinstance(value, dict):
        items = {key: _bind(part, context, seen) for key, part in value.items()}
        if all(items[key] is value[key] for key in value):
            return value
        bound = copy.copy(value)  # of the same class: an event of a joint distribution is like its model
        bound.update(items)
        return bound
    if isinstance(value, list | tuple):
        parts = [_bind(part, context, seen) for part in value]
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return value._make(parts) if hasattr(value, "_make") else type(value)(parts)
    if not isinstance(value, tfb.Bijector | tfd.Distribution) or isinstance(value, BoundCoupling):
        return value
    if id(value) not in seen:
        if isinstance(value, Coupling) and value.context_shape is not None:
            seen[id(value)] = value.given(context)
        else:
            parameters = {key: (part, _bind(part, context, seen)) for key, part in (value.parameters or {}).items()}
            changed = {key: new for key, (old, new) in parameters.items() if new is not old}
            seen[id(value)] = value.copy(**changed) if changed else value
    return seen[id(value)]


def context_specs(model: tf.Module) -> list[tf.TensorSpec]:
    """Returns what `n` contexts of a conditional model are, `[n, *context_shape]`, or nothing if it takes none."""
    parts = (model, *model.submodules)
    bound = {id(part.coupling) for part in parts if isinstance(part, BoundCoupling)}
    for part in parts:
        if isinstance(part, Coupling) and part.context_shape is not None and id(part) not in bound:
            return [tf.TensorSpec([None, *part.context_shape], part.context_dtype, name="context")]
    return []
