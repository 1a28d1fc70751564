"""Sides of the speed benchmark: RealNVP by zuko, normflows and nflows, in PyTorch's usual training loop."""

from typing import Any

import numpy as np
import speed_worker as worker
import torch
from torch import nn


def clamped(log_scale: torch.Tensor) -> torch.Tensor:
    """The soft clamp that all sides have."""
    return worker.CLAMP * torch.tanh(log_scale / worker.CLAMP)


def zuko(job: worker.Job) -> tuple[nn.Module, Any, Any]:
    """`zuko.flows.RealNVP`, whose masks alternate."""
    from zuko.flows import RealNVP
    from zuko.transforms import MonotonicAffineTransform

    class Affine(MonotonicAffineTransform):
        def __init__(self, shift: torch.Tensor, scale: torch.Tensor, **options: Any) -> None:
            super().__init__(shift, scale, **options)
            self.log_scale = clamped(scale)
            self.scale = self.log_scale.exp()

    hidden = [job.width] * 2
    flow = RealNVP(job.entries, transforms=job.couplings, hidden_features=hidden, univariate=Affine)
    return flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,))


def normflows(job: worker.Job) -> tuple[nn.Module, Any, Any]:
    """`AffineCouplingBlock` and `Permute` of normflows."""
    import normflows as nf

    class Clamped(nn.Module):
        """Parameters for `AffineCoupling`: shift and log-scale in turn."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            shift, log_scale = self.network(values).unflatten(-1, (-1, 2)).unbind(-1)
            return torch.stack([shift, clamped(log_scale)], dim=-1).flatten(-2)

    first = (job.entries + 1) // 2  # torch.chunk gives the first part the odd entry
    layers: list[nn.Module] = []
    for index in range(job.couplings):
        network = nf.nets.MLP([first, job.width, job.width, 2 * (job.entries - first)], init_zeros=True)
        mode = "swap" if index % 2 or job.entries == 2 else "shuffle"
        layers += [nf.flows.AffineCouplingBlock(Clamped(network)), nf.flows.Permute(job.entries, mode=mode)]
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(job.entries, trainable=False), layers)
    return flow, flow.log_prob, lambda n: flow.sample(n)[0]


def nflows(job: worker.Job) -> tuple[nn.Module, Any, Any]:
    """`AffineCouplingTransform` and `RandomPermutation` of nflows."""
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.nn.nets import MLP
    from nflows.transforms.base import CompositeTransform
    from nflows.transforms.coupling import AffineCouplingTransform
    from nflows.transforms.permutations import RandomPermutation, ReversePermutation

    class Affine(AffineCouplingTransform):
        def _scale_and_shift(self, transform_params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            shift, log_scale = transform_params.chunk(2, dim=1)
            return clamped(log_scale).exp(), shift

    class Network(MLP):
        def forward(self, inputs: torch.Tensor, context: None = None) -> torch.Tensor:
            return super().forward(inputs)

    mask = (torch.arange(job.entries) >= job.kept).int()
    layers: list[nn.Module] = []
    for index in range(job.couplings):
        layers.append(Affine(mask, lambda kept, out: Network([kept], [out], [job.width] * 2)))
        turned = index % 2 or job.entries == 2
        layers.append(ReversePermutation(job.entries) if turned else RandomPermutation(job.entries))
    flow = Flow(CompositeTransform(layers), StandardNormal([job.entries]))
    return flow, flow.log_prob, flow.sample


def main() -> None:
    """Measures until standard input ends."""
    job, rows = worker.read_job()
    torch.manual_seed(0)
    flow, log_prob, sample = {"zuko": zuko, "normflows": normflows, "nflows": nflows}[job.side](job)
    # What needs no gradient of a library (normflows: the base) is no parameter for Adam.
    parameters = [parameter for parameter in flow.parameters() if parameter.requires_grad]
    betas = (0.9, worker.BETA_2)
    optimizer = torch.optim.Adam(parameters, worker.LEARNING_RATE, betas=betas, eps=worker.EPSILON, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, worker.SCHEDULE_STEPS)
    values = torch.from_numpy(rows)
    order = iter(())

    def step() -> int:
        nonlocal order
        # By index from memory: a DataLoader, which takes rows one by one, would be several times as slow.
        index = next(order, None)
        if index is None:
            order = iter(torch.randperm(len(values)).split(job.batch))
            index = next(order)
        loss = -log_prob(values[index]).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, worker.CLIP_NORM)
        optimizer.step()
        schedule.step()
        return 1

    many = torch.from_numpy(np.ascontiguousarray(worker.density_rows(rows)))

    def density() -> int:
        with torch.no_grad():
            return len(log_prob(many))

    def samples() -> int:
        with torch.no_grad():
            return len(sample(worker.DENSITY_ROWS))

    worker.Rounds(worker.rates(train=step, log_prob=density, sample=samples), job.side, "torch").wait_for()


if __name__ == "__main__":
    main()
