"""A model's file holds what its distribution consists of."""

import dataclasses

import numpy as np
import pytest

from pipelines import AugmentError
from pipelines.fitting.models import offset, train
from pipelines.fitting.recipe import Recipe
from pipelines.storage.model_file import read_model
from pipelines.tables.rows import Rows

GRAPHS = {"continuous": {"sampler.tflite", "scorer.tflite"}, "discrete": {"discrete_sampler.tflite",
          "discrete_sampler_given.tflite", "discrete_scorer.tflite"}}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("moons", {"continuous"}),
        ("visits", {"continuous", "discrete"}),
        ("answers", {"discrete"}),
        ("heights", {"continuous"}),
    ],
)
def test_a_model_has_the_graphs_of_its_parts_and_a_history_if_it_was_trained(request, name, parts):
    opened = read_model(request.getfixturevalue(f"{name}_model"))
    members = set(opened.description["sha256"])
    assert members - {"weights.safetensors", "history.csv"} == set().union(*(GRAPHS[part] for part in parts))
    assert opened.has("history.csv") == (name != "heights")
    assert opened.description["parameters"] > 0 or name == "heights"


def test_one_column_of_numbers_is_its_margin(heights_model, heights, flow_in):
    """There is nothing to train: the scores of the margin are standard Gaussian as they are."""
    flow = flow_in(heights_model)
    scores = np.linspace(-3, 3, 7, dtype=np.float32)[:, None]
    expected = -0.5 * scores[:, 0] ** 2 - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(flow.log_prob(scores), expected, rtol=1e-6)
    assert read_model(heights_model).description["training"]["steps"] == 0


def some_rows(is_present):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=is_present.shape).astype(np.float32)
    classes = np.zeros([len(scores), 0], np.int32)
    return Rows(classes, scores, is_present, np.ones_like(is_present), rng.normal(size=len(scores)))


def test_without_absent_numbers_the_model_lacks_the_log_determinant():
    rows = some_rows(np.ones([50, 3], bool))
    assert offset(rows) == pytest.approx(rows.log_det.mean())


def test_the_noise_in_the_place_of_absent_numbers_is_no_part_of_the_density():
    """Were all numbers absent, a model that learnt the noise would have density one, log-density zero."""
    rows = some_rows(np.zeros([50, 3], bool))
    noise = -0.5 * (rows.scores.astype(np.float64) ** 2 + np.log(2 * np.pi))
    assert offset(rows) + noise.sum(axis=1).mean() == pytest.approx(rows.log_det.mean())


def test_divergence_is_for_the_person(monkeypatch):
    import tfp_realnvp

    def diverge(*_, **__):
        raise tfp_realnvp.DivergenceError("The loss became nan in epoch 1.")

    monkeypatch.setattr(tfp_realnvp, "fit", diverge)
    rows = some_rows(np.ones([60, 2], bool))
    recipe = dataclasses.replace(Recipe.for_table(60, [], 2), couplings=2, width=4)
    with pytest.raises(AugmentError, match="The loss became nan in epoch 1"):
        train(rows, rows, [], recipe, seed=0, max_time=None, on_progress=None)
