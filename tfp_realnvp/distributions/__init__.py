"""Flows as TensorFlow Probability distributions."""

from tfp_realnvp.distributions.real_nvp import real_nvp

__all__ = ["real_nvp"]
