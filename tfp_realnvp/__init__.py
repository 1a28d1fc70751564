"""RealNVP for TensorFlow Probability: couplings, flows, training, saving and export."""

from tfp_realnvp import testing
from tfp_realnvp.bijectors import AffineCoupling
from tfp_realnvp.conditioners import Conditioner, mlp
from tfp_realnvp.distributions import real_nvp
from tfp_realnvp.export import ExportError, export_sampler, export_scorer
from tfp_realnvp.masks import Mask, half_mask
from tfp_realnvp.saving import LoadError, from_config, load, save, to_config
from tfp_realnvp.training import DivergenceError, LikelihoodModel, fit

__all__ = [
    "AffineCoupling",
    "Conditioner",
    "DivergenceError",
    "ExportError",
    "LikelihoodModel",
    "LoadError",
    "Mask",
    "export_sampler",
    "export_scorer",
    "fit",
    "from_config",
    "half_mask",
    "load",
    "mlp",
    "real_nvp",
    "save",
    "testing",
    "to_config",
]
