"""What a report says: a section each for the verdicts, the columns, the pairs, training, the latent space and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.errors import AugmentError, printable
from pipelines.evaluation.alike import Alike
from pipelines.evaluation.associations import associations
from pipelines.evaluation.verdicts import FIGURES, Verdict, spelled
from pipelines.reporting import charts
from pipelines.reporting.latent import Latents
from pipelines.reporting.page import Drawing, Drawings, Section, Table
from pipelines.reporting.svg import drawn
from pipelines.storage.model_file import ModelFile

__all__ = [
    "columns_section",
    "latent_section",
    "made_section",
    "pairs_section",
    "strongest_pairs",
    "telling_section",
    "training_section",
    "unlikely_section",
    "verdict_section",
    "walk_section",
]

_MAX_COLUMNS = 40
_MAX_IN_MATRIX = 24
_NUM_PAIRS = 4
_MAX_ENTRIES = 16


def verdict_section(evaluation: Mapping[str, Any]) -> Section:
    """The verdicts, and all figures beside what real rows give."""
    said = {verdict["about"]: Verdict(**verdict) for verdict in evaluation["verdicts"]}
    rows = []
    for key, shown in FIGURES.items():
        part, _, name = key.partition(".")
        figure = evaluation[part][name]
        if figure is not None:
            value = f"{spelled(key, figure['value'])} ± {spelled(key, figure['error'])}"
            verdict = said.get(key)
            words = (verdict.grade, verdict.words) if verdict else ("", "")
            rows.append((f"{part}: {shown.title}", value, spelled(key, figure["floor"]), *words))
    head = [
        ("figure", ""),
        ("value", "number"),
        ("real rows", "number floor"),
        ("grade", "grade"),
        ("meaning", "words"),
    ]
    texts = [
        "Each figure stands beside what fresh real rows would give in the place of the synthetic ones; ± is its "
        "standard error."
    ]
    texts += [printable(note) + "." for note in evaluation["notes"]]
    texts.append("Ten times the rows are not ten times the information: what a model can learn is in the real rows.")
    return Section(
        "verdicts",
        "Verdicts",
        texts,
        [said[part] for part in ("fidelity", "utility", "privacy") if part in said],
        [Table("All figures", head, rows, is_verdicts=True)],
    )


def columns_section(tables: Alike, evaluation: Mapping[str, Any]) -> Section:
    """Each column, real against synthetic."""
    columns = evaluation["fidelity"]["columns"]
    figures = []
    for entry in columns[:_MAX_COLUMNS]:
        (name,) = entry["names"]
        words = f"error {entry['value']:.2f} %, real rows {entry['floor']:.2f} %"
        svg = drawn(
            lambda axis, name=name: charts.column(axis, tables, name),  # type: ignore[misc]
            f"{printable(name)}: how it is spread in real and synthetic rows; {words}",
        )
        figures.append(Drawing(svg, printable(name), words))
    texts = [
        "Real rows are blue (or filled), synthetic ones orange (or a line). The columns that are most off come first."
    ]
    if len(columns) > _MAX_COLUMNS:
        texts.append(f"The {_MAX_COLUMNS} worst of {len(columns)} columns are shown.")
    return Section("columns", "Columns", texts, figures=[Drawings(figures)])


def strongest_pairs(tables: Alike, count: int = _NUM_PAIRS) -> list[tuple[str, str]]:
    """Returns the pairs of columns that go together most in the real rows, no column twice if it can be helped."""
    places = list(range(min(len(tables.columns), _MAX_IN_MATRIX)))
    found = np.abs(associations(tables, tables.real, places))
    order = [(a, b) for a in places for b in places[a + 1 :]]
    order.sort(key=lambda pair: -found[pair])
    chosen: list[tuple[int, int]] = []
    for may_repeat in (False, True):
        for a, b in order:
            used = {place for pair in chosen for place in pair}
            if len(chosen) < count and (a, b) not in chosen and (may_repeat or not used & {a, b}):
                chosen.append((a, b))
    return [(tables.columns[a], tables.columns[b]) for a, b in chosen]


def pairs_section(tables: Alike, pairs: Sequence[tuple[str, str]], evaluation: Mapping[str, Any]) -> Section:
    """The strongest pairs side by side, the matrices of associations, and the pairs that are most off."""
    off = [
        (printable(" and ".join(entry["names"])), f"{entry['value']:.2f} %", f"{entry['floor']:.2f} %")
        for entry in evaluation["fidelity"]["pairs"]
    ]
    head = [("pair", ""), ("error", "number"), ("real rows", "number")]
    worst = [Table("The pairs that are most off", head, off)] if len(off) > 1 else []
    groups = []
    if pairs:
        figures = [
            Drawing(
                drawn(
                    lambda axes, names=names: charts.pair(axes, tables, names),  # type: ignore[misc]
                    f"{printable(names[0])} against {printable(names[1])}, real rows left, synthetic rows right",
                    size=(5.4, 2.9),
                    panels=2,
                ),
                f"{printable(names[0])} and {printable(names[1])}",
            )
            for names in pairs
        ]
        groups.append(Drawings(figures, "The strongest pairs", "As many rows left, real, as right, synthetic.", "wide"))
    places = list(range(min(len(tables.columns), _MAX_IN_MATRIX)))
    if len(places) > 2:
        names = [tables.columns[place] for place in places]
        real, synthetic = (associations(tables, rows, places) for rows in (tables.real, tables.synthetic))
        largest = max(0.05, float(np.abs(real - synthetic).max()))
        size = (3.6, 3.5)
        parts = [
            ("real rows", real, 1.0),
            ("synthetic rows", synthetic, 1.0),
            ("difference", synthetic - real, largest),
        ]

        def draw(axis: Any, values: np.ndarray, limit: float) -> None:
            image = charts.matrix(axis, values, names, limit)
            axis.figure.colorbar(image, ax=axis, shrink=0.7)

        figures = [
            Drawing(
                drawn(
                    lambda axis, values=values, limit=limit: draw(axis, values, limit),  # type: ignore[misc]
                    f"Associations of the columns, {title}; largest difference {np.abs(synthetic - real).max():.2f}",
                    size=size,
                ),
                title,
            )
            for title, values, limit in parts
        ]
        text = "Pearson's correlation of two columns of numbers, Cramér's V where one holds texts."
        if len(places) < len(tables.columns):
            text += f" The first {len(places)} of {len(tables.columns)} columns."
        groups.append(Drawings(figures, "Associations", text))
    return Section("pairs", "Pairs of columns", tables=worst, figures=groups)


def telling_section(evaluation: Mapping[str, Any]) -> Section:
    """The synthetic rows that the classifier is surest of."""
    rows = evaluation["fidelity"]["telling_rows"]
    names = list(rows[0])
    body = [[_cell(row[name]) for name in names] for row in rows]
    return Section(
        "telling",
        "The most telling synthetic rows",
        ["The classifier is surest that these are not real: what is wrong with them is worth a look."],
        tables=[Table("Synthetic rows", [(printable(name), "") for name in names], body)],
    )


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else printable(str(value))


def training_section(model: ModelFile) -> Section:
    """The curves of training."""
    training = model.description["training"]
    texts = [
        f"{training['steps_done']:,} of {training['steps']:,} steps in {training['seconds']:.0f} s. Held-out rows have "
        f"{training['log_likelihood']:.3f} nats each on average; independent columns would give them "
        f"{training['independent_log_likelihood']:.3f}."
    ]
    if not model.has("history.csv"):
        return Section("training", "Training", texts)
    history = model.member("history.csv").splitlines()[1:]
    try:
        lines = np.array([line.split(b",") for line in history], np.float64)
    except ValueError as error:
        raise AugmentError(f"{model.path} is damaged: history.csv does not hold numbers.") from error
    if lines.ndim != 2 or lines.shape[1] != 3:
        raise AugmentError(f"{model.path} is damaged: history.csv does not hold three columns.")
    svg = drawn(
        lambda axis: charts.curves(axis, *lines.T),
        f"Mean log-density by epoch; at the end {lines[-1, 1]:.3f} for training rows, {lines[-1, 2]:.3f} held out",
        size=(5.4, 2.8),
    )
    return Section(
        "training", "Training", texts, figures=[Drawings([Drawing(svg, "", "mean log-density by epoch")], size="wide")]
    )


def latent_section(latents: Latents) -> Section:
    """How Gaussian the rows became."""
    entries = latents.noise.shape[1]
    texts = [
        "Training asked for real rows to become standard Gaussian noise. On the straight line they are; the figure is "
        "the "
        f"largest distance between the two distributions. As many Gaussian rows ({len(latents.noise):,}) would have "
        f"{100 * latents.expected_distance:.2f} %. Absent numbers are noise from the start."
    ]
    order = np.argsort(-np.array(latents.distances), kind="stable")[:_MAX_ENTRIES]
    figures = [
        Drawing(
            drawn(
                lambda axis, entry=entry: charts.quantiles(axis, latents.noise[:, entry]),  # type: ignore[misc]
                f"Quantiles of the noise of {printable(latents.names[entry])} against those of a Gaussian",
                size=(2.4, 2.2),
            ),
            printable(latents.names[entry]),
            f"{100 * latents.distances[entry]:.2f} %",
        )
        for entry in order
    ]
    norm = Drawing(
        drawn(
            lambda axis: charts.norms(axis, latents.norms, entries),
            f"Norms of the noise of the rows, and chi's density with {entries} degrees of freedom",
            size=(4.0, 2.4),
        ),
        "norm",
        f"against chi with {entries} degrees of freedom: {100 * latents.norm_distance:.2f} %",
    )
    worst = f"The {len(order)} worst of {entries} entries are shown." if len(order) < entries else ""
    return Section(
        "latent",
        "The latent space",
        texts,
        figures=[Drawings(figures, "Entry by entry", worst), Drawings([norm], "All together")],
    )


def walk_section(steps: Sequence[np.ndarray], latents: Latents, entries: tuple[int, int]) -> Section:
    """Noise on its way to data, in two of its entries."""
    limits = [np.quantile(np.concatenate([step[:, entry] for step in steps]), [0.001, 0.999]) for entry in entries]
    names = [printable(latents.names[entry]) for entry in entries]

    def draw(axis: Any, step: np.ndarray) -> None:
        charts.scatter(axis, step[:, entries[0]], step[:, entries[1]], charts.SYNTHETIC)
        axis.set_xlim(limits[0])
        axis.set_ylim(limits[1])

    figures = [
        Drawing(
            drawn(
                lambda axis, step=step: draw(axis, step),  # type: ignore[misc]
                f"{names[0]} against {names[1]} after {number} of {len(steps) - 1} couplings",
                size=(1.9, 1.8),
            ),
            "",
            "noise" if not number else f"coupling {number}",
        )
        for number, step in enumerate(steps)
    ]
    text = f"The same {len(steps[0]):,} points, {names[0]} across, {names[1]} up, as the model sees them."
    return Section(
        "walk", "From noise to data, coupling by coupling", [text], figures=[Drawings(figures, size="small")]
    )


def unlikely_section(
    cells: Any, log_probs: np.ndarray, names: Sequence[str], name: str, rows: np.ndarray, sampled: int | None
) -> Section:
    """The real rows with the lowest density, of all or of a sample of so many."""
    body = [
        (f"{number}", f"{value:.2f}" if np.isfinite(value) else "ruled out", *map(printable, row))
        for number, value, row in zip(rows, log_probs, cells, strict=True)
    ]
    head = [("row", ""), ("log-density", "number"), *((printable(column), "") for column in names)]
    texts = [
        "Errors of entry and rare people are found here. The density is the model's, in nats, in units of the data."
    ]
    if sampled is not None:
        texts.append(f"They are those of {sampled:,} rows, a uniform sample; of all rows, augment score tells.")
    return Section(
        "unlikely",
        "The least likely real rows",
        texts,
        tables=[Table(f"Rows of {printable(name)} as they are", head, body)],
    )


def made_section(model: ModelFile, made: Mapping[str, str]) -> Section:
    """How the model and the report were made."""
    head = model.description
    options = {**head["options"], "numbers": head["parameters"]}
    sources = "; ".join(f"{s['name']}: {s['rows']:,} rows, SHA-256 {s['sha256'] or 'none'}" for s in head["source"])
    facts = [
        ("model", str(model.path.name)),
        ("source", printable(sources)),
        ("seed of the model", str(head["seed"])),
        *made.items(),
        ("architecture", ", ".join(f"{name} {value}" for name, value in options.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in head["versions"].items())),
    ]
    return Section("made", "How it was made", facts=facts)
