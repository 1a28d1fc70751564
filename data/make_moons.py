"""Writes moons.csv and moons_test.csv: 5,000 points each on two interleaving half circles with Gaussian noise."""

import pathlib

import numpy as np
from sklearn.datasets import make_moons

for name, seed in (("moons.csv", 0), ("moons_test.csv", 1)):
    points, _ = make_moons(n_samples=5000, noise=0.05, random_state=seed)
    path = pathlib.Path(__file__).with_name(name)
    np.savetxt(path, points, fmt="%.6f", delimiter=",", header="x,y", comments="")
