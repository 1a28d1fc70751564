"""Invertible maps for TensorFlow Probability, one a file."""

from tfp_realnvp.bijectors.act_norm import ActNorm
from tfp_realnvp.bijectors.coupling import BoundCoupling, Coupling
from tfp_realnvp.bijectors.dequantization import BoundedLogit, UniformDequantization, bits_per_dim
from tfp_realnvp.bijectors.factor_out import FactorOut
from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.lu_linear import LULinear
from tfp_realnvp.bijectors.marginal_spline import MarginalSpline
from tfp_realnvp.bijectors.named_couplings import AdditiveCoupling, AffineCoupling, SplineCoupling
from tfp_realnvp.bijectors.permute import Permute
from tfp_realnvp.bijectors.squeeze import Squeeze

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "BoundCoupling",
    "BoundedLogit",
    "Coupling",
    "FactorOut",
    "FusedBijector",
    "LULinear",
    "MarginalSpline",
    "Permute",
    "SplineCoupling",
    "Squeeze",
    "UniformDequantization",
    "bits_per_dim",
]
