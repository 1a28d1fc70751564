"""A matplotlib figure as SVG that stands in a page: in the page's own font and colour, readable aloud."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup, escape

__all__ = ["drawn", "style"]

_INK = "#0a0b0c"  # stands for the colour of the page's text
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a column's name may hold dollars
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
}


@contextmanager
def style(**more: Any) -> Iterator[None]:
    """Figures made within look alike."""
    import matplotlib

    settings: Any = {**_STYLE, **more}
    with matplotlib.rc_context(settings):
        yield


def drawn(draw: Callable[[Any], None], words: str, size: tuple[float, float] = (3.4, 2.3), panels: int = 1) -> Markup:
    """Returns an SVG element.

    Args:
        draw: Is given the axes, or a list of them if there are several panels.
        words: What is to be seen, for people who do not see it.
        size: Width and height in inches, which are 96 pixels at most.
        panels: Axes side by side.
    """
    from matplotlib.figure import Figure

    with style(**{"svg.hashsalt": words}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, panels)
        draw(list(axes) if panels > 1 else axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, dpi=130, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    # Ids of groups are the same in every figure and nothing refers to them; those of clip paths stay.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*" ([^>]*?)>', r"<svg \1\2>", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*" ([^>]*?)>', r"<svg \1\2>", text, count=1)
    label = f'<svg role="img" aria-label="{escape(words)}" style="max-width:{96 * size[0]:.0f}px" '
    text = text.replace("<svg ", label, 1).replace(_INK, "currentColor")
    return Markup(text)  # matplotlib escapes the texts it is given
