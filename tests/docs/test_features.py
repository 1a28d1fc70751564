"""The table of features names tests and examples that exist, and leaves no cell of ours empty."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "features.md").read_text("utf-8")
TESTS = sorted(set(re.findall(r"\]\(\.\./(tests/[\w/]+\.py)#(\w+)\)", TEXT)))
EXAMPLES = sorted(set(re.findall(r"\]\((examples/[\w/]+\.py)\)", TEXT)))


@pytest.mark.parametrize(("file", "name"), TESTS, ids=[f"{pathlib.Path(file).stem}-{name}" for file, name in TESTS])
def test_a_test_that_is_named_exists(file, name):
    functions = [node.name for node in ast.parse((ROOT / file).read_text("utf-8")).body if hasattr(node, "name")]
    assert name in functions


@pytest.mark.parametrize("file", EXAMPLES)
def test_an_example_that_is_named_exists(file):
    assert "\ndef run(" in (ROOT / "docs" / file).read_text("utf-8")


def test_there_is_a_test_or_an_example_for_every_feature_there_is():
    rows = [[cell.strip() for cell in line.split(" | ")] for line in TEXT.splitlines() if line.startswith("| ")]
    header = next(row for row in rows if row[0] == "| Feature")
    features = rows[rows.index(header) + 1 :][: len([row for row in rows if len(row) == len(header)]) - 1]
    assert len(features) >= 38
    for name, ours, *_ in features:
        has_proof = re.search(r"\]\((\.\./tests|examples)/", ours)
        assert has_proof or ours.startswith(("N", "none", "Y all; `mypy --strict`")), f"{name}: {ours}"


def test_every_link_of_the_table_to_code_is_one_that_is_checked():
    links = re.findall(r"\]\(([^)]*\.py[^)]*)\)", TEXT)
    assert len(links) > 60
    assert {link.removeprefix("../") for link in links} == {f"{file}#{name}" for file, name in TESTS} | set(EXAMPLES)
