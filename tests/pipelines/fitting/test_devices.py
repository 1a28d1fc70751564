"""Several devices train one model together: here, halves of this machine's processor, as TensorFlow can be told."""

import json
import os
import subprocess
import sys

import pytest

import pipelines
from pipelines import UsageError

SCRIPT = """
import dataclasses, json, sys
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import pipelines
import tfp_realnvp.training
from pipelines.fitting import devices, replicas
from pipelines.verbs import fit as fit_module

told, seen = {}, []
batches, train = replicas._batches, fit_module.train


def counted(*arguments):
    for batch in batches(*arguments):
        seen.append(batch)
        yield batch


def placed(*arguments, **options):
    told["device"] = tf.ones(1).device
    return train(*arguments, **options)


def stop(progress):
    if progress.epoch == 5:
        raise KeyboardInterrupt


replicas._batches, fit_module.train = counted, placed
tfp_realnvp.training._MIN_STEPS_TO_COMPILE = 60  # so that XLA compiles the steps of both, as in longer fits
replicas.models.graphs = lambda model: {}  # which take longer than the training
fit_module._as_made = lambda model, rng, *, is_calibrated: model.encoding  # by graphs
options = {"steps": 120, "couplings": 2, "width": 8, "batch_size": 32, "seed": 0}


def fitted(name, device, **more):
    found = pipelines.fit(sys.argv[1], model=f"{sys.argv[2]}/{name}.augment", device=device, **options, **more)
    return dataclasses.asdict(found)


told["both"] = fitted("both", "cpu:0,cpu:1")
told["batches"] = len(seen)
try:
    fitted("again", "cpu:0,cpu:1", on_progress=stop)
except KeyboardInterrupt:
    unpacked = devices.unpacked
    devices.unpacked = lambda content: dataclasses.replace(unpacked(content), seconds=1000.0)
    told["again"] = fitted("again", "cpu:0,cpu:1", resume=True)
built = replicas.models.build


def broken(*arguments):
    model, weighed = built(*arguments)
    return model, lambda part: tuple(float("nan") * x if x.dtype.kind == "f" else x for x in weighed(part))


replicas.models.build = broken
tfp_realnvp.training._MIN_STEPS_TO_COMPILE = 1000  # XLA's seconds would say nothing more here
try:
    fitted("nan", "cpu:0,cpu:1")
except pipelines.AugmentError as error:
    told["nan"] = str(error)
replicas.models.build = built
options["steps"] = 2
told["one"] = fitted("one", "cpu:1")
print(json.dumps(told))
"""


@pytest.mark.slow
def test_two_devices_learn_together_and_go_on_after_a_stop(tmp_path, dice, members_of):
    """A table with classes, whose networks have dropout, and whose weights are averaged."""
    dice.to_csv(tmp_path / "dice.csv", index=False)
    (tmp_path / "models").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "dice.csv", tmp_path / "models"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"TF_USE_LEGACY_KERAS": "1"},
    )
    told = json.loads(done.stdout)
    both, again = told["both"], told["again"]
    assert "2 devices took 60 steps instead of 120, with 32 rows each in a step" in " ".join(both["notes"])
    assert told["batches"] >= 120  # each device has rows of its own in a step
    assert (both["steps"], both["steps_done"]) == (120, 60)
    assert both["log_likelihood"] > both["independent_log_likelihood"] + 0.05
    assert again["log_likelihood"] == both["log_likelihood"]
    assert again["seconds"] > 1000  # those before the stop count
    assert told["nan"].startswith("training diverged: its loss is NaN")  # and its checkpoint is gone, as seen below
    one, other = (members_of(tmp_path / "models" / f"{name}.augment") for name in ("both", "again"))
    for name in ("weights.safetensors", "history.csv"):
        assert one[name] == other[name]
    assert told["device"].endswith("CPU:1")
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        "again.augment", "both.augment", "one.augment",
    ]  # fmt: skip


@pytest.mark.parametrize("device", ["gpu:7", "horse", "gpus", "cpu,cpu:0", ""])
def test_a_device_that_is_not_there_is_told_of(moons, tmp_path, device):
    with pytest.raises(UsageError, match=r"there is no device .*; TensorFlow sees cpu:0"):
        pipelines.fit(moons, model=tmp_path / "m.augment", device=device)
    assert list(tmp_path.iterdir()) == []
