"""The networks that read the kept entries of an event, and a context, and say how to move the others."""

from tfp_realnvp.conditioners.conditioner import Conditioner
from tfp_realnvp.conditioners.conv_resnet import conv_resnet
from tfp_realnvp.conditioners.mlp import mlp
from tfp_realnvp.conditioners.residual_mlp import residual_mlp

__all__ = ["Conditioner", "conv_resnet", "mlp", "residual_mlp"]
