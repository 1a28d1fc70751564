"""A page of sections, and its HTML: one file that needs nothing else."""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Sequence

from markupsafe import Markup

from pipelines.evaluation.verdicts import Verdict

__all__ = ["MARKS", "Drawing", "Drawings", "Section", "Table", "page"]

# A grade is told by its mark and its word; colour only repeats it.
MARKS = {"good": "✓", "fair": "≈", "poor": "✗"}


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: What it shows.
        head: The columns: a name, and "number", "grade", "floor", "words" or "".
        rows: Their cells.
        is_verdicts: Whether a phone shows each row as a block.
    """

    caption: str
    head: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]
    is_verdicts: bool = False


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure: the SVG, a name and a caption."""

    svg: Markup
    name: str = ""
    words: str = ""


@dataclasses.dataclass(frozen=True)
class Drawings:
    """Figures side by side, as many as the page is wide; `size` is "small", "" or "wide"."""

    figures: Sequence[Drawing]
    title: str = ""
    text: str = ""
    size: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """A section: verdicts, paragraphs, tables, figures and facts, in this order; `id` is that of its heading."""

    id: str
    title: str
    texts: Sequence[str] = ()
    grades: Sequence[Verdict] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Drawings] = ()
    facts: Sequence[tuple[str, str]] = ()


def page(title: str, subtitle: str, sections: Sequence[Section], footer: str) -> str:
    """Returns an HTML document; all texts are escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = importlib.resources.files("pipelines.reporting").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(
        title=title, subtitle=subtitle, sections=sections, footer=footer, marks=MARKS
    )
