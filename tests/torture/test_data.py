"""What `make torture` does with tables, in short."""

import pathlib
import subprocess
import sys

import pytest


# In processes of their own, as memory is measured, and what ran before is counted for those that a process starts.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "scale"), [("hostile_data", "0.005"), ("endless_lines", "0.02"), ("degenerate_tables", "0.1")]
)
def test_tables_that_do_harm_are_survived(harm, scale):
    command = [sys.executable, str(pathlib.Path(__file__).with_name("run.py")), harm, "--scale", scale]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
