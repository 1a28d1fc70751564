"""Missing cells from a model: each given the rest of its row, by enumeration of what it may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from pipelines.engines import local, quadrature
from pipelines.engines.beside import assembled
from pipelines.storage.model_file import ModelFile
from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.rows import Rows

__all__ = ["Imputer"]

# Beside a special value, the noise in the place of the number is integrated out over so many draws.
_NOISE_DRAWS = 4
# Where several cells are missing: states a row starts from, each one of so many proposals, and sweeps over its cells.
_CHAINS, _PROPOSALS = 3, 16
_SWEEPS, _BURN_IN = 4, 1
# About the known numbers, of those drawn in their places, in scores.
_SPREAD = 0.5
# Rows the graphs see at a time, for flat memory.
_ROWS_AT_A_TIME = 1 << 17
_LOG_NORMALISER = 0.5 * np.log(2 * np.pi)


@dataclasses.dataclass
class _State:
    """Rows that are complete, and what their hidden cells were found to be.

    Attributes:
        classes: int32 `[n, C]`.
        scores: float32 `[n, D]`.
        hidden: bool `[n, P]`: the cells that are not known, by column, then by phase of a rhythm.
        mass: For each column with classes, float32 `[n, K]`: the mean probability of each class.
        total: For each column with numbers, float64 `[R, 2, n]`: by range, or of all, the sum of the number times its
            probability, and of that.
    """

    classes: np.ndarray
    scores: np.ndarray
    hidden: np.ndarray
    mass: list[np.ndarray | None]
    total: list[np.ndarray | None]


class Imputer:
    """Fills missing cells.

    Let d be the classes of a row and s the scores of its numbers. A hidden cell's conditional given the others is
    proportional to `p(d) p(s | d)` as a function of the cell:

    - of a discrete column, all its classes but "missing" are tried, so it is exact;
    - of a number, three rounds of stratified points over its range are, so it is a quadrature;
    - of a number with special values, both, and the noise in the number's place is integrated out.
    - of a moment, its hour, weekday and minute are such classes, and the seconds beside them such a number;
    - of a number in ranges, the range is such a class, and its score in the range such a number;
    - of a number with special values and such classes, which of these it is cannot change apart from them, so that is
      drawn from proposals.

    If only one cell of a row is hidden, that is its posterior under the model. With several, each is drawn given the
    others in turn (Gibbs sampling; for numbers Ritter & Tanner, 1992, "Facilitating the Gibbs Sampler: The Gibbs
    Stopper and the Griddy-Gibbs Sampler"). The sweeps start from draws of the hidden classes given the known ones, and
    of the hidden numbers given the classes, resampled by what the known numbers say of them (see `_log_weights`), as
    cells that determine each other would otherwise stay where they began.

    Args:
        model: The model file.
    """

    def __init__(self, model: ModelFile) -> None:
        self._encoding, columns = model.encoding, model.encoding.columns
        self._columns = [*columns, *model.encoding.phases]
        owners = [place for place, column in enumerate(columns) for _ in column.phases]
        self._owners = dict(enumerate(owners, start=len(columns)))  # of each phase, whose it is, by their places
        # Of columns with ties, the phase that says so: of each, the last.
        tied = {owner for owner in owners if (offset := columns[owner].offset) is not None and offset.has_ties}
        self._tie_of = {owner: place for place, owner in self._owners.items() if owner in tied}
        self._scorer, self._decoder = local.Scorer(model), local.Decoder(model)
        self._sampler = local.Graph(model, "discrete_sampler_given.tflite") if model.encoding.num_classes else None
        # Of each column, its place among the classes and among the scores.
        self._class_of: list[int | None] = []
        self._score_of: list[int | None] = []
        num_classes = num_scores = 0
        for column in self._columns:
            self._class_of.append(num_classes if column.is_discrete else None)
            self._score_of.append(num_scores if column.margin is not None else None)
            num_classes += column.is_discrete
            num_scores += column.margin is not None
        self._allowed = [_allowed(column) for column in self._columns]
        # Of columns with special values, class and phases cannot change apart.
        self._joint = {owner for owner in owners if self._allowed[owner].sum() > 1}
        for place, owner in self._owners.items():
            if owner in self._joint:
                self._allowed[place][:] = True
        # Of columns with ranges, the phase that says which, by their places.
        self._range_of = {owner: place for place, owner in self._owners.items() if columns[owner].ranges is not None}

    def fill(
        self,
        rows: Rows,
        cells: Mapping[str, Cells],
        missing: np.ndarray,
        rng: np.random.Generator,
        *,
        draw: bool,
        tell: Callable[[float], None] = lambda _: None,
    ) -> dict[str, Cells]:
        """Returns the cells of each column in these rows; only those that are missing are to be used.

        Args:
            rows: Rows with missing cells, as a model sees them. A class of -1 stays unknown: it is integrated out.
            cells: Their cells by column.
            missing: bool `[n, P]`, by modelled column.
            rng: Random numbers.
            draw: Whether to draw from the posterior; else the most probable class or, for numbers, the posterior mean,
                for those of few values the median.
            tell: Called with the share that is done, up to 1.
        """
        hidden = missing.copy()
        places = {column.name: place for place, column in enumerate(self._encoding.columns)}
        for place, (column, index) in enumerate(zip(self._encoding.columns, self._class_of, strict=False)):
            if index is not None:
                hidden[:, place] |= rows.classes[:, index] < 0
            elif column.beside is not None and not column.has_only_ties:  # nor is a time since what is not known
                hidden[:, place] |= missing[:, places[column.beside]]
        hidden = np.concatenate([hidden, hidden[:, [*self._owners.values()]]], axis=1)
        for owner, place in self._tie_of.items():  # nor whether two are the same
            hidden[:, place] |= missing[:, places[str(self._columns[owner].beside)]]
        several = hidden.sum(axis=1) > 1
        found: dict[int, Cells] = {}
        groups = [
            (np.flatnonzero(~several), 1, 1, 0),
            (np.flatnonzero(several), 1 if draw else _CHAINS, _SWEEPS, _BURN_IN),
        ]
        updates = sum(int(hidden[chosen].sum()) * chains * sweeps for chosen, chains, sweeps, _ in groups)
        done = 0
        for chosen, chains, sweeps, burn_in in groups:
            if not len(chosen):
                continue
            repeated = np.repeat(chosen, chains)
            state = _State(rows.classes[repeated], rows.scores[repeated], hidden[repeated], [], [])
            for column, allowed in zip(self._columns, self._allowed, strict=True):
                state.mass.append(np.zeros((len(repeated), len(allowed)), np.float32) if column.is_discrete else None)
                ranges = 1 if column.ranges is None else len(column.ranges.levels) + 1  # and where there is none
                state.total.append(np.zeros((ranges, 2, len(repeated))) if column.margin is not None else None)
            self._start(state, rng)
            for sweep in range(sweeps):
                for place in np.flatnonzero(state.hidden.any(axis=0)).tolist():
                    self._update(state, place, rng, keep=sweep >= burn_in)
                    done += int(state.hidden[:, place].sum())
                    tell(done / updates)
            self._collect(found, state, chosen, chains, len(missing), draw)
        learnt = {}
        nothing = Cells(np.zeros(len(missing), np.int32), (), (), np.full(len(missing), np.nan))
        for place in {self._owners.get(at, at) for at in found}:
            values = found.get(place, nothing).values
            if values is not None:
                phases = [found.get(at, nothing).codes for at, owner in self._owners.items() if owner == place]
                by_row = np.array(phases, np.int32).reshape(len(phases), len(missing)).T
                learnt[self._columns[place].name] = values, by_row
        known, classes = {}, {}
        for column in self._encoding.continuous:
            own, is_missing = cells[column.name], missing[:, places[column.name]]
            known[column.name] = np.where(is_missing, np.nan, column.numbers_in(own))
            if own.codes is not None:
                guess = found.get(places[column.name], own).codes
                codes = own.codes if guess is None else np.where(is_missing, guess, own.codes)
                classes[column.name] = column.values_in(codes, None)
        numbers = assembled(self._encoding, learnt, known, classes)
        return {
            self._columns[place].name: dataclasses.replace(part, values=numbers.get(self._columns[place].name))
            for place, part in found.items()
            if place < missing.shape[1]
        }

    def _start(self, state: _State, rng: np.random.Generator) -> None:
        """Completes rows: hidden classes given the known ones, hidden scores from the flow."""
        columns = [place for place, index in enumerate(self._class_of) if index is not None]
        is_hidden = state.hidden[:, columns]
        known = np.where(is_hidden, 0, state.classes).astype(np.int32)
        several = np.flatnonzero(state.hidden.sum(axis=1) > 1)
        for column, place in enumerate(columns):
            known[is_hidden[:, column], column] = np.flatnonzero(self._allowed[place])[0]
        state.classes = known
        numbers = [place for place, index in enumerate(self._score_of) if index is not None]
        absent = state.hidden[:, numbers]
        state.scores = np.where(absent, 0.0, state.scores).astype(np.float32)
        patterns, group = np.unique(is_hidden[several], axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            members = several[np.asarray(group).ravel() == number]
            size = max(1, _ROWS_AT_A_TIME // _PROPOSALS)
            for start in range(0, len(members), size):
                self._propose(state, members[start : start + size], pattern, absent, columns, rng)

    def _propose(
        self,
        state: _State,
        members: np.ndarray,
        pattern: np.ndarray,
        absent: np.ndarray,
        columns: list[int],
        rng: np.random.Generator,
    ) -> None:
        """Takes one of several proposals for rows with the same hidden classes."""
        index = np.repeat(members, _PROPOSALS)
        classes = state.classes[index]
        is_possible = np.ones(len(index), bool)
        if self._sampler is not None and pattern.any():
            uniforms = rng.random(classes.shape, dtype=np.float32)
            given = (~pattern).astype(np.float32)
            _, drawn = self._sampler(uniforms=uniforms, classes=classes, is_given=given)
            for column in np.flatnonzero(pattern).tolist():
                allowed = self._allowed[columns[column]][drawn[:, column]]
                is_possible &= allowed
                classes[allowed, column] = drawn[allowed, column]
        for place, owner in self._owners.items():
            if owner in self._joint:
                is_possible &= self._go_together(place, classes, classes[:, self._class_of[place]])
        noise = rng.standard_normal(state.scores[index].shape, dtype=np.float32)
        drawn_scores = self._decoder(classes, noise)
        scores = np.where(absent[index], drawn_scores, state.scores[index]).astype(np.float32)
        weights = self._log_weights(classes, scores, drawn_scores, absent[index])
        probs = _normalised(np.where(is_possible, weights, -np.inf).reshape(len(members), _PROPOSALS))
        for place in self._joint:
            of_class, mass = classes[:, self._class_of[place]].reshape(probs.shape), state.mass[place]
            assert mass is not None
            for level in np.unique(of_class).tolist():
                mass[members, level] += (probs * (of_class == level)).sum(axis=1)
        chosen = np.arange(len(members)) * _PROPOSALS + _draw(probs, rng)
        state.classes[members], state.scores[members] = classes[chosen], scores[chosen]

    def _log_weights(
        self, classes: np.ndarray, scores: np.ndarray, drawn: np.ndarray, absent: np.ndarray
    ) -> np.ndarray:
        """Returns the log importance weights of proposals, `[n]`.

        Of classes d that are drawn given the known ones, the weight is `p(s | d)` if all numbers are known. With hidden
        numbers h and known ones k, the flow draws `(h, k')` from `p(h, k' | d)`, of which h is used; `p(h | d)`, by
        which to divide `p(h, k | d)`, is not to be had. So k' stays, as a variable of its own with the density
        `N(k'; k, spread)` in what is to be drawn from:

            w = p(h, k | d) N(k'; k, spread) / p(h, k' | d)

        Summed over k', what is to be drawn from is `p(h, k | d)`, as N integrates to one, so these are right whatever
        N is. About k it prefers draws that are like the row as a whole; if nothing is known, w is 1.

        Args:
            classes: int32 `[n, C]`.
            scores: float32 `[n, D]`: drawn where absent, else known.
            drawn: float32 `[n, D]`: all that the flow drew.
            absent: bool `[n, D]`.
        """
        weights, some = self._scorer.given(classes, scores), np.flatnonzero(absent.any(axis=1))
        beside = np.where(absent[some], 0.0, (drawn[some] - scores[some]) / _SPREAD)
        of_drawn = self._scorer.given(classes[some], drawn[some])
        of_drawn[np.isneginf(of_drawn)] = np.inf  # so far out that float32 has no number for it: not to be taken
        weights[some] -= of_drawn + 0.5 * np.square(beside).sum(axis=1)
        return weights

    def _update(self, state: _State, place: int, rng: np.random.Generator, *, keep: bool) -> None:
        """Draws the hidden cells of a column given the rest, and remembers their conditional if `keep`."""
        rows = np.flatnonzero(state.hidden[:, place])
        column = self._columns[place]
        levels = int(self._allowed[place].sum())
        size = quadrature.POINTS + levels * _NOISE_DRAWS if column.margin is not None else levels
        step = max(1, _ROWS_AT_A_TIME // size)
        update: Callable[..., None] = self._update_class if column.margin is None else self._update_number
        for start in range(0, len(rows), step):
            update(state, place, rows[start : start + step], rng, keep)

    def _update_class(self, state: _State, place: int, rows: np.ndarray, rng: np.random.Generator, keep: bool) -> None:
        index, mass = self._class_of[place], state.mass[place]
        assert index is not None
        assert mass is not None
        levels = np.flatnonzero(self._allowed[place])
        classes = np.repeat(state.classes[rows], len(levels), axis=0)
        classes[:, index] = np.tile(levels, len(rows))
        log_prob, _ = self._scorer(classes, np.repeat(state.scores[rows], len(levels), axis=0))
        log_prob = log_prob.reshape(len(rows), len(levels))
        if self._owners.get(place) in self._joint:
            log_prob = np.where(self._go_together(place, state.classes[rows, np.newaxis], levels), log_prob, -np.inf)
        probs = _normalised(log_prob)
        if keep:
            mass[np.ix_(rows, levels)] += probs
        state.classes[rows, index] = levels[_draw(probs, rng)]

    def _go_together(self, place: int, classes: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Whether phases of a column are such as there are beside its class: a number has one, a special value none.

        Args:
            place: That of the phase.
            classes: int32 `[..., C]`, of rows.
            phases: int `[...]`.
        """
        owner = self._owners[place]
        is_number = classes[..., self._class_of[owner]] == self._columns[owner].levels.index(None)
        found: np.ndarray = is_number != (phases == len(self._columns[place].levels) - 1)
        return found

    def _update_number(self, state: _State, place: int, rows: np.ndarray, rng: np.random.Generator, keep: bool) -> None:
        column, index, number = self._columns[place], self._class_of[place], self._score_of[place]
        mass, total = state.mass[place], state.total[place]
        assert column.margin is not None
        assert number is not None
        assert total is not None
        n = len(rows)

        def log_prob(scores: np.ndarray, level: int | None) -> np.ndarray:
            """The log-density with other scores of the number, `[n, Q]`, and another class."""
            classes = np.repeat(state.classes[rows], scores.shape[1], axis=0)
            others = np.repeat(state.scores[rows], scores.shape[1], axis=0)
            others[:, number] = scores.ravel()
            if index is not None and level is not None:
                classes[:, index] = level
            found, _ = self._scorer(classes, others)
            return found.reshape(scores.shape)

        is_number = column.levels.index(None) if index is not None else None
        edges = np.broadcast_to(quadrature.edges(column.margin), (n, quadrature.POINTS + 1))
        scores, widths = quadrature.stratified(edges, rng)
        found = log_prob(scores, is_number) + np.log(widths)
        for _ in range(quadrature.ROUNDS - 1):
            edges = quadrature.refined(edges, _normalised(found))
            scores, widths = quadrature.stratified(edges, rng)
            found = log_prob(scores, is_number) + np.log(widths)
        terms, values = [found], [scores]
        levels = [np.full(quadrature.POINTS, -1 if is_number is None else is_number)]
        for level in np.flatnonzero(self._allowed[place]).tolist() if index is not None else ():
            if level != is_number:
                noise = rng.standard_normal((n, _NOISE_DRAWS))
                density = -_LOG_NORMALISER - 0.5 * noise**2
                terms.append(log_prob(noise, level) - density - np.log(_NOISE_DRAWS))
                values.append(noise)
                levels.append(np.full(_NOISE_DRAWS, level))
        probs, level_of = _normalised(np.concatenate(terms, axis=1)), np.concatenate(levels)
        if keep:
            weights = probs[:, : quadrature.POINTS]
            if place in self._tie_of:  # of what is tied the score is noise
                tie = self._class_of[self._tie_of[place]]
                weights = weights * (state.classes[rows, tie] != 1)[:, np.newaxis]
            places, own = column.margin.place(scores), np.zeros(n, np.int32)
            if place in self._range_of:
                own = state.classes[rows, self._class_of[self._range_of[place]]]
                phases = np.repeat(own, quadrature.POINTS)[:, np.newaxis]
                places = np.nan_to_num(column.on_scale(scores.ravel(), phases).reshape(scores.shape))
            total[own, 0, rows] += (weights * places).sum(axis=1)
            total[own, 1, rows] += weights.sum(axis=1)
            if mass is not None and place not in self._joint:
                for level in np.unique(level_of).tolist():
                    mass[rows, level] += probs[:, level_of == level].sum(axis=1)
        chosen = _draw(probs, rng)
        state.scores[rows, number] = np.concatenate(values, axis=1)[np.arange(n), chosen]
        if index is not None:
            state.classes[rows, index] = level_of[chosen]

    def _collect(
        self, found: dict[int, Cells], state: _State, chosen: np.ndarray, chains: int, rows: int, draw: bool
    ) -> None:
        """Puts what the hidden cells are into cells of all `rows`."""
        for place in np.flatnonzero(state.hidden.any(axis=0)).tolist():
            column, index, number = self._columns[place], self._class_of[place], self._score_of[place]
            mass, total = state.mass[place], state.total[place]
            codes = values = None
            if index is not None and mass is not None:
                codes = state.classes[:, index] if draw else self._guess(place, mass, chains)
            if number is not None and total is not None and column.margin is not None:
                scores = state.scores[:, number]
                if not draw:
                    scores = self._mean_scores(place, total, state, chains)
                # A model that is wrong may have found no number at all.
                values = np.nan_to_num(column.margin.decode(np.nan_to_num(scores)))
                values = np.clip(values, column.margin.low, column.margin.high)
            if place not in found:
                found[place] = Cells(
                    None if codes is None else np.zeros(rows, np.int32),
                    column.levels,
                    column.is_missing,
                    None if values is None else np.zeros(rows),
                )
            cells = found[place]
            if cells.codes is not None:
                cells.codes[chosen] = codes
            if cells.values is not None:
                cells.values[chosen] = values

    def _guess(self, place: int, mass: np.ndarray, chains: int) -> np.ndarray:
        """The best class of a column, or phase of a number, int32 `[n]`, by the mass of each in every chain."""
        joined = mass.reshape(-1, chains, mass.shape[1]).sum(axis=1)
        if place in self._owners:  # where there is none, none is asked for
            joined[:, self._columns[place].is_missing] = 0
        return _best(self._columns[place], joined)

    def _mean_scores(self, place: int, total: np.ndarray, state: _State, chains: int) -> np.ndarray:
        """The scores, float64 `[n]`, of a column's mean numbers, in their best ranges if these are told apart."""
        column = self._columns[place]
        assert column.margin is not None
        by_range = total.reshape(*total.shape[:2], -1, chains).sum(axis=3)
        best = np.zeros(by_range.shape[2], np.int32)
        if place in self._range_of:
            mass = state.mass[self._range_of[place]]
            assert mass is not None
            best = self._guess(self._range_of[place], mass, chains)
        summed, weight = by_range[best, :, np.arange(len(best))].T
        mean = summed / np.maximum(weight, 1e-300)
        if column.ranges is not None:  # of one that no chain was in, the median
            mean = np.where(weight > 0, column.ranges.scores(mean, best[:, np.newaxis]), 0.0)
        return column.margin.encode(np.clip(mean, column.margin.low, column.margin.high))


def _allowed(column: ColumnEncoding) -> np.ndarray:
    """Which classes a missing cell may be: none that is missing itself, nor `(other)`, if there are any else."""
    allowed = ~np.array(column.is_missing, bool)
    if column.other_count and allowed.sum() > 1:
        allowed[np.flatnonzero(allowed)[-1]] = False
    return allowed


def _best(column: ColumnEncoding, mass: np.ndarray) -> np.ndarray:
    """The best class, int32 `[n]`, by the mass of each, `[n, C]`: the most probable, or of numbers the median."""
    found = mass.argmax(axis=1)
    if column.margin is None and column.values:
        below = mass[:, : column.is_missing.count(False)].cumsum(axis=1)
        found = (below < below[:, -1:] / 2).sum(axis=1)
    classes: np.ndarray = found.astype(np.int32)
    return classes


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis; equal where nothing is possible."""
    highest = log_weights.max(axis=1, keepdims=True)
    weights = np.where(np.isfinite(highest), np.exp(log_weights - np.where(np.isfinite(highest), highest, 0.0)), 1.0)
    probs: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return probs


def _draw(probs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws an index of each row."""
    below = (np.cumsum(probs, axis=1) < rng.random((len(probs), 1))).sum(axis=1)
    drawn: np.ndarray = np.minimum(below, probs.shape[1] - 1)
    return drawn
