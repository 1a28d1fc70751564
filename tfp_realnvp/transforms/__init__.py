"""What a coupling does to each moved entry: elementwise monotone functions whose parameters a network gives."""

from tfp_realnvp.transforms.additive import Additive
from tfp_realnvp.transforms.affine import Affine
from tfp_realnvp.transforms.rational_quadratic_spline import RationalQuadraticSpline
from tfp_realnvp.transforms.transform import Transform

__all__ = ["Additive", "Affine", "RationalQuadraticSpline", "Transform"]
