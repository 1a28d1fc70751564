"""A short version of what `make torture` does to fits."""

import random

import killed_fits
import pytest


@pytest.mark.slow
def test_a_fit_that_is_killed_ends_like_one_that_is_not(tmp_path, monkeypatch):
    """After its first epoch, and while the model is written; the other moments are those of `make torture`."""
    monkeypatch.setattr(killed_fits, "OPTIONS", ["--steps", "190", *killed_fits.OPTIONS[2:]])  # not compiled by XLA
    table = killed_fits.write_table(tmp_path / "table.csv")
    sample = killed_fits.Fit(table, tmp_path / "whole")
    whole = sample.finish()
    moments = killed_fits.Moments.of(sample.times)
    kills = ["training", "writing"]
    assert killed_fits.chain(table, tmp_path / "killed", kills, moments, whole, random.Random(0)) is None
