"""`augment describe`: what a model file holds."""

from __future__ import annotations

import os
from typing import Any

from pipelines.model_file import find_model, read_model

__all__ = ["describe"]


def describe(model: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Returns what a model was fitted to, how, and with what result.

    Args:
        model: A model file. Default: the only one in the current folder.

    Returns:
        A JSON value with `model`, `columns`, `architecture`, `training`, `source`, `seed`, `versions` and
        `format`.

    Raises:
        AugmentError: If it is not a readable model file.
    """
    opened = read_model(find_model(model))
    head = opened.description
    for name in head["sha256"]:
        opened.member(name)  # a damaged file is not described
    return {
        "model": str(opened.path),
        "columns": head["schema"],
        "architecture": head["options"] | {"parameters": head["parameters"]},
        "training": head["training"],
        "source": head["source"],
        "seed": head["seed"],
        "versions": head["versions"],
        "format": head["format"],
    }
