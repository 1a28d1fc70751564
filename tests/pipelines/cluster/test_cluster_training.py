"""Several workers train at once, at a rate that fits their number, and go on when one of them is killed."""

import dataclasses
import json
import os
import pathlib
import signal
import zipfile

import numpy as np
import pytest
from descendants import descendants

import pipelines
from pipelines import UsageError
from pipelines.cluster.session import Cluster, connected
from pipelines.fitting.recipe import Recipe
from pipelines.fitting.replicas import _batches, scaled

SMALL = {"couplings": 3, "width": 16}
RECIPE = Recipe.for_table(10_000, [3, 4], 5)


@pytest.fixture(scope="module")
def ray():
    """A cluster of two cores on this machine."""
    ray = pytest.importorskip("ray")
    with connected(Cluster(workers=2)):
        yield ray


def test_several_workers_see_as_many_rows_at_a_rate_that_fits_their_noise():
    recipe, steps = scaled(RECIPE, 1001, 4)
    assert steps == 251
    assert recipe.learning_rate == pytest.approx(2 * RECIPE.learning_rate)
    assert recipe.ema_momentum == pytest.approx(RECIPE.ema_momentum**4)
    assert recipe.weight_decay == pytest.approx(2 * RECIPE.weight_decay)
    assert recipe.discrete_weight_decay == pytest.approx(2 * RECIPE.discrete_weight_decay)
    assert dataclasses.replace(
        recipe,
        learning_rate=RECIPE.learning_rate,
        ema_momentum=RECIPE.ema_momentum,
        weight_decay=RECIPE.weight_decay,
        discrete_weight_decay=RECIPE.discrete_weight_decay,
    ) == RECIPE  # fmt: skip
    assert scaled(RECIPE, 1001, 1) == (RECIPE, 1001)


def test_batches_go_over_all_rows_in_each_pass_and_go_on_anywhere():
    data = (np.arange(10), 10 * np.arange(10))
    batches = list(_batches(data, 4, seed=3, first=0, stop=10))
    rows = np.concatenate([one for one, _ in batches])
    assert all((other == 10 * one).all() for one, other in batches)
    for turn in range(4):
        assert sorted(rows[10 * turn : 10 * turn + 10]) == list(range(10))
    assert list(rows[:10]) != list(rows[10:20])
    for first in (1, 3, 9):
        again = np.concatenate([one for one, _ in _batches(data, 4, seed=3, first=first, stop=10)])
        np.testing.assert_array_equal(again, rows[4 * first :])
    assert [len(one) for one in _batches(np.arange(3), 8, seed=0, first=0, stop=2)] == [8, 8]


@pytest.mark.slow
def test_a_fit_by_two_workers_goes_on_when_one_of_them_is_killed(ray, tmp_path):
    moons = pathlib.Path(__file__).parents[3] / "data" / "moons.csv"
    killed, told = [], []

    def kill(progress):
        told.append(progress)
        if progress.epoch == 3 and not killed:
            killed.extend(descendants("RayTrainWorker")[:1])
            os.kill(killed[0], signal.SIGKILL)

    model = tmp_path / "moons.augment"
    old = tmp_path / "moons.augment.checkpoint" / "ray" / "fit"  # of a process that was killed: not gone on from
    old.mkdir(parents=True)
    (old / "checkpoint_manager_snapshot.json").write_text("not even JSON")
    found = pipelines.fit(moons, model=model, engine="ray", workers=2, steps=80, seed=0, on_progress=kill, **SMALL)
    assert killed
    assert found.log_likelihood > found.independent_log_likelihood + 0.2
    assert (found.steps, told[-1].done) == (80, 1.0)
    assert list(tmp_path.iterdir()) == [model]
    assert len(pipelines.generate(model, 1000, seed=0)) == 1000
    with zipfile.ZipFile(model) as archive:
        assert len(archive.read("history.csv").splitlines()) == 21
        assert "2 workers took 40 steps instead of 80, with 256 rows each in a step" in " ".join(
            json.loads(archive.read("model.json"))["training"]["notes"]
        )


def test_workers_are_not_many_by_accident(moons, tmp_path):
    with pytest.raises(UsageError, match="say how many workers"):
        pipelines.fit(moons, model=tmp_path / "m.augment", engine="ray")


@pytest.mark.parametrize("option", [{"max_time": 60.0}, {"patience": 3}, {"resume": True}])
def test_what_a_cluster_does_not_do_is_wrong_usage(moons_model, tmp_path, option):
    with pytest.raises(UsageError, match="leave max_time, patience and resume away"):
        pipelines.fit("data.csv", model=tmp_path / "m.augment", engine="ray", **option)
