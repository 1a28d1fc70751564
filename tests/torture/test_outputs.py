"""A short version of what `make torture` does to those who write, with one model."""

import full_disks
import killed_generates
import pytest


@pytest.fixture(scope="module", autouse=True)
def fitted(tmp_path_factory):
    """Fits once, and writes less."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("fitted")
        killed_generates.fitted(folder)

        def copy(target):
            for name in ("table.csv", "table.augment"):
                (target / name).write_bytes((folder / name).read_bytes())
            return target / "table.augment"

        patch.setattr(killed_generates, "fitted", copy)
        patch.setattr(full_disks, "fitted", copy)
        patch.setattr(killed_generates, "ROWS", 100_000)
        patch.setattr(killed_generates, "PART_ROWS", 65_536)
        patch.setattr(full_disks, "ROWS", "100000")
        patch.setattr(full_disks, "PART_ROWS", "65536")
        yield


@pytest.mark.slow
@pytest.mark.parametrize("harms", [killed_generates, full_disks])
def test_outputs_are_whole_or_as_they_were(harms, tmp_path):
    for tally in harms.run(0.05, 0, tmp_path):
        assert tally.is_good, (tally.harm, tally.failures)
