"""Invertible maps for TensorFlow Probability, one a file."""

from tfp_realnvp.bijectors.affine_coupling import AffineCoupling

__all__ = ["AffineCoupling"]
