"""The scripts that measure what benchmarks/README.md says can be started."""

import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
COMMANDS = (
    "accuracy",
    "again",
    "categories",
    "cluster",
    "conditions",
    "density",
    "endings",
    "evenness",
    "few_rows",
    "moons",
    "offsets",
    "ranges",
    "speed",
    "tables",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "moons")) for name in COMMANDS]
)
def test_a_benchmark_says_how_it_is_used(name):
    done = subprocess.run([sys.executable, BENCHMARKS / f"{name}.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()
