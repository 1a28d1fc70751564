"""What `make torture` does with tables, in short."""

import degenerate_tables
import endless_lines
import hostile_data
import pytest


@pytest.mark.parametrize(
    ("harm", "scale"),
    [(hostile_data, 0.01), (endless_lines, 0.02), (degenerate_tables, 0.1)],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_tables_that_do_harm_are_survived(harm, scale, tmp_path):
    tallies = list(harm.run(scale, 0, tmp_path))
    assert tallies
    for tally in tallies:
        assert tally.is_good, tally.failures[:5]
