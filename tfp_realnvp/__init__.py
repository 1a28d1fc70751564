"""RealNVP for TensorFlow Probability: couplings, flows, training, saving and export."""

from tfp_realnvp import testing, transforms
from tfp_realnvp.adam import optimizer
from tfp_realnvp.bijectors import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    BoundCoupling,
    BoundedLogit,
    Coupling,
    FactorOut,
    FusedBijector,
    LULinear,
    MarginalSpline,
    Permute,
    SplineCoupling,
    Squeeze,
    UniformDequantization,
    bits_per_dim,
)
from tfp_realnvp.binding import given
from tfp_realnvp.checkpoints import CheckpointError
from tfp_realnvp.conditioners import Conditioner, conv_resnet, mlp, residual_mlp
from tfp_realnvp.config_reading import from_config
from tfp_realnvp.config_writing import to_config
from tfp_realnvp.contexts import ClassContext, Context, FeatureContext
from tfp_realnvp.distributions import AutoregressiveCategorical, Flow, Mixed, gaussian_mixture, image_real_nvp, real_nvp
from tfp_realnvp.divergence import DivergenceError
from tfp_realnvp.export import ExportError, export_sampler, export_scorer
from tfp_realnvp.initialization import initialize
from tfp_realnvp.likelihood_model import LikelihoodModel
from tfp_realnvp.masks import Mask, alternating_mask, channel_mask, checkerboard_mask, half_mask, random_mask
from tfp_realnvp.parents import strong_parents
from tfp_realnvp.saved_model import export_saved_model
from tfp_realnvp.saved_parts import LoadError
from tfp_realnvp.saving import load, save
from tfp_realnvp.training import fit, is_worth_compiling

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "AutoregressiveCategorical",
    "BoundCoupling",
    "BoundedLogit",
    "CheckpointError",
    "ClassContext",
    "Conditioner",
    "Context",
    "Coupling",
    "DivergenceError",
    "ExportError",
    "FactorOut",
    "FeatureContext",
    "Flow",
    "FusedBijector",
    "LULinear",
    "LikelihoodModel",
    "LoadError",
    "MarginalSpline",
    "Mask",
    "Mixed",
    "Permute",
    "SplineCoupling",
    "Squeeze",
    "UniformDequantization",
    "alternating_mask",
    "bits_per_dim",
    "channel_mask",
    "checkerboard_mask",
    "conv_resnet",
    "export_sampler",
    "export_saved_model",
    "export_scorer",
    "fit",
    "from_config",
    "gaussian_mixture",
    "given",
    "half_mask",
    "image_real_nvp",
    "initialize",
    "is_worth_compiling",
    "load",
    "mlp",
    "optimizer",
    "random_mask",
    "real_nvp",
    "residual_mlp",
    "save",
    "strong_parents",
    "testing",
    "to_config",
    "transforms",
]
