"""The code on the pages runs, block after block."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [pytest.param("docs/guides/building-flows.md", marks=pytest.mark.slow), "docs/guides/migrating.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_from_the_top_down(page, tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    assert blocks
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
