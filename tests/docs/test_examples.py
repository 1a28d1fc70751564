"""Every recipe of docs/examples runs at small size and leaves a table or a picture of finite figures."""

import importlib.util
import pathlib
import re
import sys
import types

import matplotlib.image
import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "examples"
RECIPES = sorted(
    path for path in FOLDER.glob("*.py") if re.search(r"^def run\(", path.read_text("utf-8"), re.MULTILINE)
)
QUICK = {"density_estimation"}


def import_recipe(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Imports a script as if it were run: with its folder, where recipe.py is, on the path."""
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def check_table(text: str) -> None:
    """Asserts that every row has as many cells as the header and a figure, and that none is NaN or infinite."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert len(rows) >= 3, text
    assert {len(row) for row in rows} == {len(rows[0])}, text
    assert all(re.search(r"\d", " ".join(row)) for row in rows[2:]), text
    assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE), text


def test_recipes_are_scripts():
    assert RECIPES
    for path in RECIPES:
        assert "recipe.main(run)" in path.read_text("utf-8"), path.name


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow) for path in RECIPES],
)
def test_recipe_runs(path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    import_recipe(path, monkeypatch).run(small=True, out=tmp_path)

    tables, pictures = list(tmp_path.glob("*.md")), list(tmp_path.glob("*.png"))
    assert tables or pictures
    for table in tables:
        check_table(table.read_text("utf-8"))
    for picture in pictures:
        pixels = matplotlib.image.imread(picture)[..., :3]
        assert min(pixels.shape[:2]) > 100
        assert np.ptp(pixels) > 0.5, f"{picture.name} is empty"
