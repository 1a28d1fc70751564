"""What a saved flow may consist of: nothing else is written, and nothing else is ever called in reading."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import bijectors, conditioners, contexts, transforms
from tfp_realnvp.distributions.autoregressive_categorical import AutoregressiveCategorical
from tfp_realnvp.distributions.flow import Flow
from tfp_realnvp.distributions.mixed import Mixed
from tfp_realnvp.distributions.noise import Noise
from tfp_realnvp.saved_classes import BIJECTORS, DISTRIBUTIONS

__all__ = [
    "ACTIVATIONS",
    "CONDITIONERS",
    "CONTEXTS",
    "MAX_DEPTH",
    "OWN_CLASSES",
    "OWN_PREFIX",
    "TRANSFORMS",
    "LoadError",
    "find",
    "find_class",
    "is_too_deep",
]

OWN_CLASSES: dict[str, Any] = {
    "AutoregressiveCategorical": AutoregressiveCategorical,
    "Flow": Flow,
    "Mixed": Mixed,
    "Noise": Noise,
    **{name: getattr(bijectors, name) for name in bijectors.__all__ if inspect.isclass(getattr(bijectors, name))},
}
OWN_PREFIX = "tfp_realnvp."  # tells our Permute from TFP's
CONDITIONERS = {name: getattr(conditioners, name) for name in ("conv_resnet", "mlp", "residual_mlp")}
CONTEXTS = {name: getattr(contexts, name) for name in ("ClassContext", "FeatureContext")}
TRANSFORMS = {name: getattr(transforms, name) for name in ("Additive", "Affine", "RationalQuadraticSpline")}
ACTIVATIONS = frozenset(
    [
        "elu",
        "exponential",
        "gelu",
        "hard_sigmoid",
        "leaky_relu",
        "linear",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "softmax",
        "softplus",
        "softsign",
        "swish",
        "tanh",
    ]
)
MAX_DEPTH = 100  # of a configuration: an object within an object


class LoadError(ValueError):
    """The file is not a saved flow, is damaged, or was written in a format this version does not read."""


def find(what: str, name: str, known: Mapping[str, Any]) -> Any:
    """Returns what is known by a name.

    Raises:
        LoadError: If nothing is.
    """
    if name not in known:
        raise LoadError(f"unknown {what} {name!r}: the file was written by another version.")
    return known[name]


def find_class(name: str) -> Any:
    """Returns the class of this library or of TFP with that public name, or None."""
    if name.startswith(OWN_PREFIX):
        return OWN_CLASSES.get(name.removeprefix(OWN_PREFIX))
    for module, base, names in [(tfb, tfb.Bijector, BIJECTORS), (tfd, tfd.Distribution, DISTRIBUTIONS)]:
        cls = getattr(module, name, None) if name in names else None
        if inspect.isclass(cls) and issubclass(cls, base):
            return cls
    return None


def is_too_deep(config: Any) -> bool:
    """Whether a configuration has more than `MAX_DEPTH` objects within each other."""
    level = [config]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True
