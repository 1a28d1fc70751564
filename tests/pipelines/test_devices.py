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

told = []
for number, device in enumerate(["cpu:0,cpu:1", "cpu:1"]):
    result = pipelines.fit(
        sys.argv[1], model=f"{sys.argv[2]}/{number}.augment", device=device, on_progress=told.append,
        steps=400, couplings=4, width=16, seed=0,
    )
    print(json.dumps(dataclasses.asdict(result)))
    assert told[-1].done == 1.0
"""


def test_two_devices_learn_what_one_learns(moons, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, moons, tmp_path],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"TF_USE_LEGACY_KERAS": "1"},
    )
    both, one = map(json.loads, done.stdout.splitlines())
    assert "2 devices took 200 steps instead of 400, with 256 rows each in a step" in " ".join(both["notes"])
    assert both["steps"] == one["steps"] == 400
    for result in (both, one):
        assert result["log_likelihood"] > result["independent_log_likelihood"] + 0.4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.augment", "1.augment"]
    assert len(pipelines.generate(tmp_path / "0.augment", 1000, seed=0)) == 1000


@pytest.mark.parametrize("device", ["gpu:7", "horse", "gpus", "cpu,cpu:0", ""])
def test_a_device_that_is_not_there_is_told_of(moons, tmp_path, device):
    with pytest.raises(UsageError, match=r"there is no device .*; TensorFlow sees cpu:0"):
        pipelines.fit(moons, model=tmp_path / "m.augment", device=device)
    assert list(tmp_path.iterdir()) == []
