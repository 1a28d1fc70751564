"""Blocks of rows depend on seed and number alone, and the graphs in a model file say what its TFP distribution says."""

import dataclasses
import itertools

import numpy as np
import pytest

from pipelines import AugmentError
from pipelines.engines import block_rows, evenly, local
from pipelines.engines.local import BLOCK_ROWS, Decoder, Sampler, Scorer, generator
from pipelines.storage.model_file import read_model

# Float32 accuracy: a hundred machine epsilons, for some sixty operations in a row; 2 were measured.
ACCURACY = 100 * np.finfo(np.float32).eps


def assert_accurate(actual, expected):
    allowed = ACCURACY * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=allowed)


def noise(seed, block, columns):
    return generator(seed, block).standard_normal((BLOCK_ROWS, columns), dtype=np.float32)


# Random numbers.


def test_random_numbers_follow_seed_and_block():
    np.testing.assert_array_equal(noise(5, 3, 2), noise(5, 3, 2))
    assert (noise(5, 3, 2) != noise(6, 3, 2)).mean() > 0.99
    assert (noise(5, 3, 2) != noise(5, 4, 2)).mean() > 0.99


def test_no_run_of_draws_stands_in_two_blocks():
    """With the block's number in a lower word of the counter, neighbours share all but one draw, shifted."""
    runs = [set(map(bytes, np.lib.stride_tricks.sliding_window_view(noise(0, k, 2).ravel(), 4))) for k in range(3)]
    # Four float32 draws agree by chance in some 1e-28 of all pairs of runs.
    for first, second in itertools.combinations(runs, 2):
        assert not first & second


@pytest.mark.parametrize("block", [1, 2, 1000, 1 << 41])
def test_the_number_of_a_block_is_the_highest_word_of_the_counter(block):
    """So each block has 2**192 steps of the counter to itself."""
    far = np.random.Philox(key=9).advance(block << 192)
    expected = np.random.Generator(far).standard_normal((BLOCK_ROWS, 3), dtype=np.float32)
    np.testing.assert_array_equal(noise(9, block, 3), expected)


# Graphs.


@pytest.fixture(params=["moons", "visits", "answers", "heights"])
def model(request):
    """Numbers only, both, classes only, one number."""
    return read_model(request.getfixturevalue(f"{request.param}_model"))


def parts_of(distribution):
    """The distribution of the classes and the flow over the numbers, None where there is none."""
    import tfp_realnvp as tfr

    if isinstance(distribution, tfr.Mixed):
        return distribution.discrete, distribution.continuous
    is_discrete = isinstance(distribution, tfr.AutoregressiveCategorical)
    return (distribution, None) if is_discrete else (None, distribution)


@pytest.mark.parametrize("even", [True, False])
def test_the_sampler_is_the_distribution_s(model, flow_in, even):
    discrete, flow = parts_of(flow_in(model.path))
    classes, scores = Sampler(model).draw(generator(1, 0), 2000, even=even)
    sizes = (len(model.encoding.discrete), len(model.encoding.continuous))
    uniforms, z = evenly.draw(generator(1, 0), 2000, *sizes, even=even)
    assert (classes.shape, scores.shape) == ((2000, len(model.encoding.discrete)), z.shape)
    if discrete is not None:
        expected = discrete.sample_from(uniforms).numpy()
        # A uniform number within rounding of a threshold may fall on either side: some 1e-6 of all.
        assert (classes != expected).any(axis=1).sum() <= 1
    if flow is not None:
        bound = flow if discrete is None else flow.given(classes)
        assert_accurate(scores, bound.bijector.forward(z).numpy())


def test_the_scorer_is_the_log_density_of_the_distribution_and_the_noise_behind(model, flow_in):
    distribution = flow_in(model.path)
    discrete, flow = parts_of(distribution)
    rng = np.random.default_rng(2)
    classes, scores = Sampler(model).draw(rng, 2000)
    log_prob, z = Scorer(model)(classes, scores)
    event = classes if flow is None else scores if discrete is None else (classes, scores)
    assert_accurate(log_prob, distribution.log_prob(event).numpy())
    assert z.shape == scores.shape
    # There and back through splines: a thousandth is what two float32 roundings on a steep stretch can leave.
    np.testing.assert_allclose(Decoder(model)(classes, z), scores, rtol=0, atol=1e-3)


def test_a_class_that_is_not_known_is_impossible(visits_model):
    model = read_model(visits_model)
    classes, scores = Sampler(model).draw(generator(0, 0), 5)
    expected, _ = Scorer(model)(classes, scores)
    classes[3, 1] = -1
    log_prob, _ = Scorer(model)(classes, scores)
    assert np.isneginf(log_prob[3])
    assert_accurate(np.delete(log_prob, 3), np.delete(expected, 3))


def test_the_number_of_rows_changes_no_score(model):
    scorer = Scorer(model)
    classes, scores = Sampler(model).draw(generator(3, 0), 100)
    whole, _ = scorer(classes, scores)
    assert_accurate(scorer(classes[:7], scores[:7])[0], whole[:7])
    assert_accurate(scorer(classes[40:41], scores[40:41])[0], whole[40:41])
    np.testing.assert_array_equal(scorer(classes, scores)[0], whole)


# Blocks.


def test_a_block_does_not_depend_on_how_much_of_it_is_asked_for(model):
    few, many = (Sampler(model).block(5, 1, rows) for rows in (100, BLOCK_ROWS))
    assert list(few) == [column.name for column in model.encoding.columns]
    for name, cells in few.items():
        assert len(cells) == 100
        for one, other in ((cells.codes, many[name].codes), (cells.values, many[name].values)):
            if one is not None:
                np.testing.assert_array_equal(one, other[:100])


def test_no_number_lies_beyond_what_was_seen(model):
    for block in range(2):
        for column in model.encoding.continuous:
            cells = Sampler(model).block(0, block)[column.name]
            is_number = np.ones(BLOCK_ROWS, bool) if cells.codes is None else cells.codes == column.levels.index(None)
            found = cells.values[is_number]
            assert column.margin.low <= found.min() <= found.max() <= column.margin.high


def test_rows_that_are_drawn_again_keep_their_classes(visits_model):
    """Else those would be rare in which numbers are often beyond what was seen: here members, who stay for longer."""
    model = read_model(visits_model)
    high = 18.0
    columns = [
        dataclasses.replace(c, margin=dataclasses.replace(c.margin, high=high)) if c.name == "nights" else c
        for c in model.encoding.columns
    ]
    narrow = dataclasses.replace(model, encoding=dataclasses.replace(model.encoding, columns=tuple(columns)))
    sampler = Sampler(narrow)
    drawn, scores = sampler.draw(generator(0, 0), BLOCK_ROWS, even=True)
    nights = narrow.encoding.decode(drawn, narrow.encoding.calibrated(scores))["nights"].values
    member = [column.name for column in narrow.encoding.discrete].index("member")
    is_beyond, is_member = nights > high, drawn[:, member] == 1
    assert is_beyond[is_member].mean() > 1.5 * is_beyond[~is_member].mean() > 0
    cells = sampler.block(0, 0)
    assert cells["nights"].values.max() <= high
    for place, column in enumerate(narrow.encoding.discrete):
        np.testing.assert_array_equal(cells[column.name].codes, drawn[:, place])


def test_rows_whose_classes_are_never_right_are_drawn_again_whole(visits_model, monkeypatch):
    model = read_model(visits_model)
    member = [column.name for column in model.encoding.discrete].index("member")
    sampler = Sampler(model)
    drawn, _ = sampler.draw(generator(0, 0), BLOCK_ROWS, even=True)
    monkeypatch.setattr(block_rows, "are_inside", lambda _, cells: cells["member"].codes != 1)
    kept = []
    scores = Sampler.scores
    monkeypatch.setattr(
        Sampler, "scores", lambda self, rng, classes: kept.append(len(classes)) or scores(self, rng, classes)
    )
    cells = sampler.block(0, 0)
    assert (cells["member"].codes != 1).all()
    was_right = drawn[:, member] != 1
    for place, column in enumerate(model.encoding.discrete):
        np.testing.assert_array_equal(cells[column.name].codes[was_right], drawn[was_right, place])
    assert len(kept) == 1  # it is given up at once to draw other numbers for them


def test_new_rows_go_to_their_places_or_to_any(visits_model):
    model = read_model(visits_model)
    sampler = Sampler(model)
    classes, scores = sampler.draw(generator(0, 0), 6)
    new = np.zeros((6, classes.shape[1]), np.int32)
    new[:, 0] = np.arange(6) % 5
    new_scores = np.zeros((6, scores.shape[1]), np.float32)
    new_scores[[0, 3]] = 30.0  # far out, so not right

    def block():
        rows = block_rows.BlockRows(model.encoding, {}, classes, np.zeros_like(scores))
        rows.is_right[[1, 4]] = False
        return rows

    name = model.encoding.discrete[0].name
    rows = block()
    assert rows.exchange(new, new_scores, np.array([1, 4, 1, 4, 1, 4])) == 4
    assert rows.cells[name].codes[[1, 4]].tolist() == [2, 1]  # the first right ones of 0, 2, 4 and 1, 3, 0
    rows = block()
    assert rows.exchange(new, new_scores) == 4
    assert rows.cells[name].codes[[1, 4]].tolist() == [1, 2]
    assert not len(rows.wrong)
    assert rows.cells[name].codes[[0, 2, 3, 5]].tolist() == classes[[0, 2, 3, 5], 0].tolist()


def test_blocks_of_given_classes_are_as_small_as_may_be():
    found = [local.block_rows_for(rows, {0: 1}) for rows in (1, 64, 65, 8_192, 8_193, 10**6)]
    assert found == [64, 64, 128, 8_192, BLOCK_ROWS, BLOCK_ROWS]
    assert local.block_rows_for(1, {}) == BLOCK_ROWS


@pytest.mark.parametrize("rows", [64, 256])
def test_blocks_may_have_fewer_rows(visits_model, rows):
    model = read_model(visits_model)
    one, two = local.new_blocks(model, 0, 0, 2, {0: 2}, block_rows=rows)
    for cells in (one, two):
        assert {len(part) for part in cells.values()} == {rows}
        assert (cells[model.encoding.discrete[0].name].codes == 2).all()


@pytest.fixture(params=["waited for", "proposed"])
def how(request, monkeypatch):
    """Both ways to rows with given classes."""
    monkeypatch.setattr(local, "_LEAST_SHARE", 0.0 if request.param == "waited for" else 1.0)
    return request.param


@pytest.mark.usefixtures("how")
def test_given_classes_are_in_every_row_and_the_rest_varies(visits_model):
    model = read_model(visits_model)
    given = {0: 2, 3: 1}
    classes, _ = Sampler(model, given).draw(generator(0, 0), 2000)
    assert {column: set(classes[:, column]) for column in given} == {0: {2}, 3: {1}}
    assert all(len(set(classes[:, column])) > 1 for column in (1, 2))


def test_rows_that_hardly_ever_have_the_given_classes_are_proposed(visits_model):
    model = read_model(visits_model)
    columns = model.encoding.discrete
    rarest = {place: len(column.levels) - 1 for place, column in enumerate(columns)}
    sampler = Sampler(model, rarest)
    assert sampler.share < 1 / 32
    classes, _ = sampler.draw(generator(0, 0), 100)
    assert (classes == list(rarest.values())).all()


@pytest.mark.parametrize(("least", "way"), [(0.9, "_waited_for"), (1.1, "_proposed")])
def test_only_classes_of_fewer_rows_than_a_share_are_proposed(visits_model, monkeypatch, least, way):
    model = read_model(visits_model)
    share = Sampler(model, {0: 0}).share
    monkeypatch.setattr(local, "_LEAST_SHARE", least * share)
    gone = []
    for name in ("_waited_for", "_proposed"):
        draw = getattr(Sampler, name)
        monkeypatch.setattr(
            Sampler, name, lambda *a, name=name, draw=draw, **more: gone.append(name) or draw(*a, **more)
        )
    for known in (None, share):
        classes, _ = Sampler(model, {0: 0}, share=known).draw(generator(0, 0), 5)
        assert (classes[:, 0] == 0).all()
    assert gone == [way, way]


def test_a_model_that_never_gives_the_given_classes_again_ends_in_an_error(visits_model, monkeypatch):
    sampler = Sampler(read_model(visits_model), {0: 0})
    monkeypatch.setattr(sampler, "_matching", lambda *_, **__: np.zeros((0, 4), np.int32))
    with pytest.raises(AugmentError, match="it is damaged"):
        sampler.draw(generator(0, 0), 5)


def test_the_rest_is_drawn_given_the_given_ones_as_the_distribution_has_them(answers_model, flow_in, how):
    """Not as the networks of an order in which these come first, which have hardly been trained, propose them."""
    model = read_model(answers_model)
    discrete = flow_in(answers_model)
    counts = model.encoding.num_classes
    every = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, len(counts))
    every = every.astype(np.int32)
    last = len(counts) - 1
    classes, _ = Sampler(model, {last: 1}).draw(generator(4, 0), BLOCK_ROWS)
    fits = every[:, last] == 1
    p = np.where(fits, np.exp(discrete.log_prob(every).numpy().astype(np.float64)), 0.0)
    is_given = np.arange(len(counts)) == last
    q = np.where(fits, np.exp(discrete.log_prob_given(every, is_given).numpy().astype(np.float64)), 0.0)
    found = (classes[:, None] == every).all(axis=-1).mean(axis=0)

    def distance(wanted):
        return 0.5 * np.abs(found - wanted / wanted.sum()).sum()

    # The mean total variation of so many draws over so few vectors is below the first term.
    assert distance(p) < 0.5 * np.sqrt(len(every) / BLOCK_ROWS) + (how == "proposed") * 0.1 * distance(q)
