"""Side of `speed_moons.py`: zuko's spline flow in PyTorch's usual loop, sizes as in zuko's tutorials."""

import numpy as np
import speed_moons_target as target
import torch
import zuko

EPOCHS = 200
train, held_out, goal = target.read()
mean, deviation = train.mean(axis=0), train.std(axis=0)
log_det = float(np.log(deviation).sum())
torch.manual_seed(0)
rows = torch.from_numpy((train - mean) / deviation)
unseen = torch.from_numpy((held_out - mean) / deviation)
flow = zuko.flows.NSF(features=2, transforms=3, hidden_features=(64, 64))
optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
reached = float("inf")
for _ in range(EPOCHS):
    for index in torch.randperm(len(rows)).split(64):
        loss = -flow().log_prob(rows[index]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        reached = float(-flow().log_prob(unseen).mean()) + log_det
    if reached <= goal:
        break
target.check(reached, goal)
