"""The scripts that measure what benchmarks/README.md says can be started."""

import pathlib
import re
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
    "score",
    "speed",
    "tables",
    "tails",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "moons")) for name in COMMANDS]
)
def test_a_benchmark_says_how_it_is_used(name):
    done = subprocess.run([sys.executable, BENCHMARKS / f"{name}.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


@pytest.mark.parametrize(
    "readme", [BENCHMARKS / "README.md", BENCHMARKS.parent / "README.md"], ids=["figures", "project"]
)
def test_what_scripts_write_is_in_sections_that_begin_and_end_once(readme):
    """A script replaces what is between the comments, and would take the text from another mention of one."""
    found = re.findall("<!-- (.+?): (begin|end) -->", readme.read_text())
    names = list(dict.fromkeys(name for name, _ in found))
    assert names
    assert found == [(name, side) for name in names for side in ("begin", "end")]
