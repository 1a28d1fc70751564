"""Couplings by the name of their transform: affine, additive, spline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfp_realnvp.bijectors.coupling import Coupling
from tfp_realnvp.transforms import Additive, Affine, RationalQuadraticSpline

__all__ = ["AdditiveCoupling", "AffineCoupling", "SplineCoupling"]


class AffineCoupling(Coupling):
    """A coupling that scales and shifts, as in RealNVP; see `Coupling` and `transforms.Affine`.

    Its conditioner gives a shift and a log-scale.
    """

    def __init__(
        self,
        mask: Any,
        conditioner: Callable[..., Any],
        *,
        log_scale_clamp: float | None = 2.0,
        context_shape: Sequence[int] | None = None,
        dtype: Any = None,
        validate_args: bool = False,
        name: str = "affine_coupling",
    ) -> None:
        """Creates the coupling.

        Args:
            mask: As in `Coupling`.
            conditioner: As in `Coupling`, with 2 parameters: shift and log-scale.
            log_scale_clamp: As in `transforms.Affine`.
            context_shape: As in `Coupling`.
            dtype: As in `Coupling`.
            validate_args: As in `tfb.Bijector`.
            name: As in `tfb.Bijector`.
        """
        parameters = {k: v for k, v in locals().items() if k not in {"self", "__class__"}}
        super().__init__(
            mask,
            conditioner,
            Affine(log_scale_clamp),
            context_shape=context_shape,
            dtype=dtype,
            validate_args=validate_args,
            name=name,
            parameters=parameters,
        )

    @property
    def log_scale_clamp(self) -> float | None:
        """The soft bound on the log-scale, in nats, or None."""
        clamp: float | None = self.transform.log_scale_clamp  # type: ignore[attr-defined]
        return clamp


class AdditiveCoupling(Coupling):
    """A coupling that shifts, as in NICE, and so preserves volume; see `Coupling` and `transforms.Additive`.

    Its conditioner gives a shift.
    """

    def __init__(
        self,
        mask: Any,
        conditioner: Callable[..., Any],
        *,
        context_shape: Sequence[int] | None = None,
        dtype: Any = None,
        validate_args: bool = False,
        name: str = "additive_coupling",
    ) -> None:
        """Creates the coupling.

        Args:
            mask: As in `Coupling`.
            conditioner: As in `Coupling`, with 1 parameter: the shift.
            context_shape: As in `Coupling`.
            dtype: As in `Coupling`.
            validate_args: As in `tfb.Bijector`.
            name: As in `tfb.Bijector`.
        """
        parameters = {k: v for k, v in locals().items() if k not in {"self", "__class__"}}
        super().__init__(
            mask,
            conditioner,
            Additive(),
            context_shape=context_shape,
            dtype=dtype,
            validate_args=validate_args,
            name=name,
            parameters=parameters,
        )


class SplineCoupling(Coupling):
    """A coupling by monotone splines; see `Coupling` and `transforms.RationalQuadraticSpline`.

    Its conditioner gives `3 * num_bins - 1` parameters an entry.
    """

    def __init__(
        self,
        mask: Any,
        conditioner: Callable[..., Any],
        *,
        num_bins: int = 8,
        bound: float = 5.0,
        context_shape: Sequence[int] | None = None,
        dtype: Any = None,
        validate_args: bool = False,
        name: str = "spline_coupling",
    ) -> None:
        """Creates the coupling.

        Args:
            mask: As in `Coupling`.
            conditioner: As in `Coupling`, with `3 * num_bins - 1` parameters.
            num_bins: As in `transforms.RationalQuadraticSpline`.
            bound: As in `transforms.RationalQuadraticSpline`.
            context_shape: As in `Coupling`.
            dtype: As in `Coupling`.
            validate_args: As in `tfb.Bijector`.
            name: As in `tfb.Bijector`.
        """
        parameters = {k: v for k, v in locals().items() if k not in {"self", "__class__"}}
        super().__init__(
            mask,
            conditioner,
            RationalQuadraticSpline(num_bins=num_bins, bound=bound),
            context_shape=context_shape,
            dtype=dtype,
            validate_args=validate_args,
            name=name,
            parameters=parameters,
        )
