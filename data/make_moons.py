"""Writes moons.csv: 5,000 points on two interleaving half circles with Gaussian noise, from scikit-learn."""

import pathlib

import numpy as np
from sklearn.datasets import make_moons

points, _ = make_moons(n_samples=5000, noise=0.05, random_state=0)
np.savetxt(pathlib.Path(__file__).with_name("moons.csv"), points, fmt="%.6f", delimiter=",", header="x,y", comments="")
