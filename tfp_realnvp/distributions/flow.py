"""A flow: a transformed distribution that can be given a context."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.distributions import transformed_distribution
from tensorflow_probability.python.internal import reparameterization

from tfp_realnvp.bijectors.dequantization import UniformDequantization
from tfp_realnvp.binding import given

__all__ = ["Flow"]


# TFP builds this class where `tfd.TransformedDistribution` is written and a part is no CompositeTensor. A subclass of
# the latter would be one itself, and would hide the variables of its networks (docs/design.md, decision 2).
class Flow(transformed_distribution._TransformedDistribution):
    """A `tfd.TransformedDistribution` whose methods also take a `context`.

    `flow.given(context)` is the distribution for a context; `flow.log_prob(x, context=c)`, `prob`, `sample` and
    `experimental_sample_and_log_prob` with a context are short for it. Without one, a conditional flow raises.

    Of a flow that ends in `UniformDequantization`, the log-density of samples is, as that of all integers, estimated
    with noise drawn anew, and samples have no gradients.

    Args:
        distribution: The base distribution, of noise.
        bijector: From noise to data.
        validate_args: As in `tfd.Distribution`.
        name: As in `tfd.Distribution`. Several flows of the default's name may be in one joint distribution.
    """

    def __init__(
        self,
        distribution: tfd.Distribution,
        bijector: tfb.Bijector,
        validate_args: bool = False,
        name: str = "flow",  # not by keyword only: joint distributions look for defaults among the others
    ) -> None:
        parameters = {
            "distribution": distribution,
            "bijector": bijector,
            "validate_args": validate_args,
            "name": name,
        }
        super().__init__(distribution, bijector, validate_args=validate_args, parameters=parameters, name=name)
        self._is_dequantized = _is_dequantized(bijector)
        if self._is_dequantized:
            self._reparameterization_type = reparameterization.NOT_REPARAMETERIZED

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        properties: dict[str, Any] = super()._parameter_properties(dtype, num_classes=num_classes)
        return properties

    def given(self, context: Any) -> Flow:
        """Returns the flow for `context`, `[*batch, *context_shape]`: an ordinary distribution of that batch shape.

        Raises:
            ValueError: If the flow is not conditional, or `context` does not fit it.
        """
        bound: Flow = given(self, context)
        return bound

    def _for(self, context: Any) -> Any:
        return super() if context is None else self.given(context)

    def log_prob(self, value: Any, name: str = "log_prob", *, context: Any = None, **kwargs: Any) -> tf.Tensor:
        """Returns the log-density of `value`, `[..., *event_shape]`, in nats; see the class for `context`."""
        _check_name(name)
        return self._for(context).log_prob(_renewed(value, context), name=name, **kwargs)

    def prob(self, value: Any, name: str = "prob", *, context: Any = None, **kwargs: Any) -> tf.Tensor:
        """Returns the density of `value`, `[..., *event_shape]`; see the class for `context`."""
        _check_name(name)
        return self._for(context).prob(_renewed(value, context), name=name, **kwargs)

    def sample(
        self, sample_shape: Any = (), seed: Any = None, name: str = "sample", *, context: Any = None, **kwargs: Any
    ) -> tf.Tensor:
        """Returns samples, `[*sample_shape, *batch, *event_shape]`; see the class for `context`.

        A pair of integers as the seed, `seed=(0, 42)`, gives the same samples each time; one integer, as
        everywhere in TFP, only together with `tf.random.set_seed`.
        """
        return self._for(context).sample(sample_shape, seed=seed, name=name, **kwargs)

    def experimental_sample_and_log_prob(
        self,
        sample_shape: Any = (),
        seed: Any = None,
        name: str = "sample_and_log_prob",
        *,
        context: Any = None,
        **kwargs: Any,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns samples and their log-densities out of one pass; see the class for `context`."""
        samples, log_prob = self._for(context).experimental_sample_and_log_prob(
            sample_shape, seed=seed, name=name, **kwargs
        )
        return samples, log_prob

    def _log_prob(self, y: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        # What a sample was rounded from is in TFP's cache, and its density is above the mean over the noise.
        return super()._log_prob(tf.identity(y) if self._is_dequantized else y, **kwargs)

    def _sample_and_log_prob(self, sample_shape: Any, seed: Any, **kwargs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        if self._is_dequantized:
            samples = self.sample(sample_shape, seed=seed, **kwargs)
            return samples, self.log_prob(samples, **kwargs)
        samples, log_prob = super()._sample_and_log_prob(sample_shape, seed, **kwargs)
        return samples, log_prob


def _is_dequantized(bijector: tfb.Bijector) -> bool:
    parts = tf.nest.flatten(getattr(bijector, "bijectors", []))
    return isinstance(bijector, UniformDequantization) or any(map(_is_dequantized, parts))


def _renewed(value: Any, context: Any) -> Any:
    """A tensor that lives no longer than the bijectors bound for it: of a held one TFP's cache keeps all of them."""
    return value if context is None or not tf.is_tensor(value) else tf.identity(value)


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {type(name).__name__}; a context is handed over as context=….")
