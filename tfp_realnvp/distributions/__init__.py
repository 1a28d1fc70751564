"""Flows as TensorFlow Probability distributions."""

from tfp_realnvp.distributions.autoregressive_categorical import AutoregressiveCategorical
from tfp_realnvp.distributions.flow import Flow
from tfp_realnvp.distributions.gaussian_mixture import gaussian_mixture
from tfp_realnvp.distributions.image_real_nvp import image_real_nvp
from tfp_realnvp.distributions.mixed import Mixed
from tfp_realnvp.distributions.real_nvp import real_nvp

__all__ = ["AutoregressiveCategorical", "Flow", "Mixed", "gaussian_mixture", "image_real_nvp", "real_nvp"]
