"""What MkDocs does not do by itself: code out of the examples by name, and the tests behind the feature table."""

from __future__ import annotations

import ast
import pathlib
import re
import textwrap
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parents[1]
# A line of its own, {code: examples/x.py}, with the name of a function or "the first line" "and the last" if wanted.
CODE = re.compile(
    r'^(?P<indent> *)\{code: (?P<file>[^\s}]+)(?: (?P<name>\w+)| "(?P<first>[^"]+)" "(?P<last>[^"]+)")?\}$',
    re.MULTILINE,
)
# GitHub names a heading after its words and knows no {#name}, so a name of its own stands in an anchor before it.
ANCHOR = re.compile(r'^<a id="(?P<name>[\w-]+)"></a>\n\n(?P<heading>#+ .+)$', re.MULTILINE)
TEST = re.compile(r"\]\(\.\./(?P<file>tests/\w+/(?P<stem>\w+)\.py)#(?P<name>\w+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds a page with the source of every test that the feature table names."""
    cited: dict[str, dict[str, None]] = {}
    for match in TEST.finditer((ROOT / "docs" / "features.md").read_text("utf-8")):
        cited.setdefault(match["file"], {})[match["name"]] = None
    lines = [
        "# Tests that show the features",
        "",
        "The tests that the [table of features](features.md) names, as they are in the repository. `make test` and "
        "`make test-slow` run them and the others.",
    ]
    for path in sorted(cited):
        lines += ["", f"## {path}"]
        for name in cited[path]:
            anchor = f"{pathlib.Path(path).stem}--{name}"
            lines += ["", f"### {name} {{#{anchor}}}", "", "```python", function(ROOT / path, name), "```"]
    files.append(File.generated(config, "tests.md", content="\n".join(lines) + "\n"))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts in code, points links to tests at their page, and gives headings the anchors that stand before them."""
    markdown = CODE.sub(lambda match: textwrap.indent(f"```python\n{code(match)}\n```", match["indent"]), markdown)
    markdown = TEST.sub(r"](tests.md#\g<stem>--\g<name>)", markdown)
    return ANCHOR.sub(r"\g<heading> {#\g<name>}", markdown)


def code(match: re.Match[str]) -> str:
    """The code that a line asks for."""
    path = ROOT / "docs" / match["file"]
    if match["name"]:
        return function(path, match["name"])
    text = path.read_text("utf-8")
    if not match["first"]:
        return text.rstrip()
    lines = text.splitlines()
    start = next((k for k, line in enumerate(lines) if match["first"] in line), len(lines))
    last = next((k for k, line in enumerate(lines) if k >= start and match["last"] in line), None)
    if last is None:
        raise PluginError(f"{path} has no lines from {match['first']!r} to {match['last']!r}.")
    simple = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assign | ast.Expr | ast.Return)]
    # The statement that the last line belongs to is shown to its end.
    ends = [node.end_lineno or 0 for node in simple if node.lineno <= last + 1]
    return textwrap.dedent("\n".join(lines[start : max([last + 1, *ends])]))


def function(path: pathlib.Path, name: str) -> str:
    """The source of a function or class of a file, with its decorators."""
    text = path.read_text("utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "\n".join(text.splitlines()[start - 1 : node.end_lineno])
    raise PluginError(f"{path} has no function {name!r}.")
