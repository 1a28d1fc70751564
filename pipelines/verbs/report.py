"""`augment report`: a page that shows whether a model's rows can be trusted, and how it came to be."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import UsageError, check_seed, printable
from pipelines.tables.texts.dialect import ReadOptions

if TYPE_CHECKING:
    from pipelines.evaluation.alike import Alike
    from pipelines.reporting.latent import Latents
    from pipelines.reporting.page import Section
    from pipelines.storage.model_file import ModelFile
    from pipelines.tables.files.source import Source

__all__ = ["default_output", "report", "tables_for"]

_MAX_ROWS = 50_000  # that are drawn, and looked at
_MAX_LATENT_ROWS = 20_000
_WALK_ROWS = 1_500
_UNLIKELY = 10


def default_output(model: str | os.PathLike[str]) -> str:
    """Returns the path of a model's report: named as the model and beside it."""
    return str(pathlib.Path(model).with_suffix(".html"))


def report(
    data: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    held_out: str | os.PathLike[str] | None = None,
    target: str | None = None,
    reading: ReadOptions = ReadOptions(),
    seed: int = 0,
    force: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> str:
    """Writes one HTML file about a model and the table it was fitted to; it needs no network.

    As many new rows as the table has, 50,000 at most, are drawn and evaluated (see `pipelines.evaluate`). Then: each
    column and the strongest pairs, real against synthetic; training; how Gaussian the real rows became; the walk from
    noise to data; the least likely real rows; and how the model was made. Of a longer table, a uniform sample is
    looked at.

    Args:
        data: The table the model was fitted to, a CSV or Parquet file.
        model: A model file. Default: the only one in the current folder.
        output: The file to write. Default: named as the model and beside it.
        held_out: Real rows that were not learnt from, for utility and privacy.
        target: The column that models are to predict. Default: that of the model.
        reading: How a CSV is spelled, where it is neither to be found out nor as `fit` was told.
        seed: Of the new rows and everything else that is random.
        force: Replace an existing output.
        on_progress: Called with what is being done.

    Returns:
        The path of the page.

    Raises:
        AugmentError: If the rows do not fit the model, or the page cannot be written.
    """
    check_seed(seed)
    if str(data) == "-":
        raise UsageError("a report needs the data as a file; standard input can be read only once.")
    say = on_progress or (lambda _: None)
    from pipelines.evaluation.evaluation import evaluate_alike
    from pipelines.folders.joined import read_joined
    from pipelines.matching import check_columns, options_for, read_for, sample_of
    from pipelines.reporting import sections
    from pipelines.reporting.latent import latents_of
    from pipelines.reporting.page import page
    from pipelines.storage.model_file import find_model, read_model
    from pipelines.tables.files.outputs import open_output, refuse_existing

    opened = read_model(find_model(model))
    output = default_output(opened.path) if output is None else output
    refuse_existing(output, force)
    if target is None and held_out is not None and opened.description["target"] in opened.schema.names:
        target = opened.description["target"]
    say("drawing rows")
    source = read_for(opened, data, reading)
    check_columns(opened, source)
    others = None
    if held_out is not None:
        told = options_for(opened, held_out, reading)
        others, _ = read_joined(held_out, told, max_rows=_MAX_ROWS, seed=seed + 1)
        check_columns(opened, others)
    sample = sample_of(source, _MAX_ROWS, seed)
    tables = tables_for(opened, sample, others, seed)
    evaluation = evaluate_alike(tables, target, seed, say)
    say("charts")
    pairs = sections.strongest_pairs(tables)
    found: list[Section] = [
        sections.verdict_section(evaluation),
        sections.columns_section(tables, evaluation),
        sections.pairs_section(tables, pairs, evaluation),
        sections.telling_section(evaluation),
        sections.training_section(opened),
    ]
    if opened.encoding.continuous:
        latents = latents_of(opened, source, _MAX_LATENT_ROWS, seed)
        if len(latents.noise):
            found.append(sections.latent_section(latents))
            if len(latents.names) > 1:
                say("the walk from noise to data")
                found.append(_walk(opened, latents, pairs, seed))
    say("the least likely rows")
    found += [
        _unlikely(opened, sample),
        sections.made_section(
            opened,
            {
                "new rows": f"{len(tables.synthetic):,}, independent of each other, seed {seed}",
                "held-out rows": "none" if held_out is None else printable(pathlib.Path(held_out).name),
                "target": printable(target or "none"),
            },
        ),
    ]
    rows = f"{len(tables.real):,} real rows, {len(tables.synthetic):,} synthetic ones"
    text = page(
        f"Can rows like those of {printable(source.name)} be trusted?",
        rows + ("" if tables.held_out is None else f", {len(tables.held_out):,} held out"),
        found,
        "Made by augment report.",
    )
    with open_output(output) as file:
        file.write(text.encode())
    return str(output)


def tables_for(model: ModelFile, source: Source, held_out: Source | None, seed: int) -> Alike:
    """Returns rows of the table a model was fitted to, as many new ones, and held-out ones.

    What the columns are, the model says.

    Args:
        model: The model.
        source: The real rows.
        held_out: Real rows that were not learnt from, or None.
        seed: Of the new rows.
    """
    from pipelines.evaluation.alike import as_alike
    from pipelines.matching import read_for
    from pipelines.verbs.generate import Generated, generate

    # Independent of each other, as tests of them assume.
    drawn = generate(model.path, source.table.num_rows, seed=seed, independent=True)
    assert not isinstance(drawn, Generated)
    sources = [source, dataclasses.replace(read_for(model, drawn), name="the new rows")]
    return as_alike(model.schema.modelled, sources if held_out is None else [*sources, held_out])


def _walk(model: ModelFile, latents: Latents, pairs: list[tuple[str, str]], seed: int) -> Section:
    """Noise on its way, in the two columns of numbers that go together most, under the classes of real rows."""
    from pipelines.fitting.models import walk
    from pipelines.reporting.sections import walk_section

    shown = next((pair for pair in pairs if set(pair) <= set(latents.names)), latents.names[:2])
    entries = (latents.names.index(shown[0]), latents.names.index(shown[1]))
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(latents.noise))[:_WALK_ROWS]
    noise = rng.standard_normal((len(rows), len(latents.names)), dtype=np.float32)
    steps = walk(model.description["flow"], model.member("weights.safetensors"), noise, latents.classes[rows])
    return walk_section(steps, latents, entries)


def _unlikely(model: ModelFile, source: Source) -> Section:
    """Of these rows, as `score` gives them their densities."""
    from pipelines.reporting.sections import unlikely_section
    from pipelines.scoring import log_probs

    found = log_probs(model, source)
    lowest = np.argsort(found, kind="stable")[:_UNLIKELY]
    names = [name for name in source.table.column_names if name in model.schema.names]
    cells: list[list[Any]] = [
        ["" if cell is None else str(cell) for cell in row.values()]
        for row in source.table.select(names).take(lowest).to_pylist()
    ]
    places = lowest if source.rows is None else source.rows[lowest]
    sampled = len(found) if source.num_rows > len(found) else None
    return unlikely_section(cells, found[lowest], names, source.name, places + 1, sampled)
