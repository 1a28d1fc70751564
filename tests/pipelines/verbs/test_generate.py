"""New rows: exactly as many as asked, the same for a seed however they are made, and spelled like the source."""

import csv
import io
import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.engines.local import BLOCK_ROWS
from pipelines.errors import ShortfallError
from pipelines.storage.model_file import read_model
from pipelines.tables.files import writing
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.verbs import generate as generate_module
from pipelines.verbs.generate import new_seed

BOM = b"\xef\xbb\xbf"
NAMES = ["weight", "size, cm", "count", "site", "drift", "batch"]


@pytest.fixture
def written(tmp_path):
    """The bytes `generate` writes; `name` is that of the file."""

    def write(model, n, *, name="out.csv", **options):
        pipelines.generate(model, n, output=tmp_path / name, force=True, **options)
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []
        return (tmp_path / name).read_bytes()

    return write


def cells(content):
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


# How many, and which.


@pytest.mark.parametrize("n", [1, 2, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 5])
@pytest.mark.parametrize("chunk_size", [1000, 65_536])
def test_the_number_of_rows_is_exact(written, moons_model, n, chunk_size):
    assert written(moons_model, n, seed=0, chunk_size=chunk_size).count(b"\n") == n + 1


def test_chunks_change_no_byte(written, moons_model):
    n = BLOCK_ROWS + 300
    contents = {size: written(moons_model, n, seed=1, chunk_size=size) for size in (7, 1000, BLOCK_ROWS, 10**6)}
    assert len(set(contents.values())) == 1
    assert written(moons_model, 500, seed=1, chunk_size=1) == b"".join(contents[7].splitlines(keepends=True)[:501])


def test_chunks_change_no_byte_of_parquet(written, orders_model):
    n = writing._ROWS_PER_GROUP + 300
    contents = {written(orders_model, n, name="out.parquet", seed=1, chunk_size=size) for size in (1000, 10**6)}
    assert len(contents) == 1


def test_fewer_rows_are_the_first_of_more(written, moons_model):
    few, many = (written(moons_model, n, seed=2) for n in (100, 20_000))
    assert few == b"".join(many.splitlines(keepends=True)[:101])


def test_a_seed_gives_its_rows_and_another_seed_others(written, orders_model):
    first, again, other = (written(orders_model, 1000, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert not set(first.splitlines()[1:]) & set(other.splitlines()[1:])


def test_without_a_seed_the_rows_are_fresh(written, orders_model):
    assert written(orders_model, 100) != written(orders_model, 100)
    assert 0 <= new_seed() < 1 << 32


def test_no_row_comes_twice(orders_model, moons_model):
    """Neither within a block nor in two: at full precision never, on the lattice of six decimals hardly ever."""
    n = 3 * BLOCK_ROWS
    assert not pipelines.generate(orders_model, n, seed=0).duplicated().any()
    assert pipelines.generate(moons_model, n, seed=0).duplicated().mean() <= 0.001


def test_rows_have_the_moments_of_the_flow(moons_model, moons):
    """A decoding that lost the scale or the mean of a column would show here."""
    rows = pipelines.generate(moons_model, 20_000, seed=0)
    source = pd.read_csv(moons)
    # Even a flow of few steps keeps to the standardised data within a third of a standard deviation.
    assert (abs(rows.mean() - source.mean()) < source.std() / 3).all()
    assert (abs(np.log(rows.std() / source.std())) < 1 / 3).all()


# What they look like.


@pytest.mark.parametrize("n", [4096, BLOCK_ROWS])
def test_means_vary_less_than_those_of_independent_rows(moons_model, n):
    means = {
        independent: [
            pipelines.generate(moons_model, n, seed=seed, independent=independent).mean() for seed in range(8)
        ]
        for independent in (False, True)
    }
    even, independent = (np.std(means[which], axis=0, ddof=1) for which in (False, True))
    spread = pipelines.generate(moons_model, BLOCK_ROWS, seed=9).std().to_numpy()
    # By chance a standard deviation of eight is beyond half or twice of the right one in some 1 % of all cases.
    assert (even < independent / 2).all()
    assert (independent > spread / np.sqrt(n) / 3).all()


def test_rows_are_spelled_like_the_source(written, orders_model, tmp_path):
    content = written(orders_model, 20_000, seed=0)  # a whole number among thousandths is one row in a thousand
    header, *rows = cells(content)
    assert content.startswith(b'weight,"size, cm",count,site,drift,batch\n')
    assert header == NAMES
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    assert {len(cell.split(".")[1]) for cell in columns["weight"]} == {2}
    assert {len(cell.partition(".")[2]) for cell in columns["size, cm"]} == {0, 1, 2, 3}
    assert all(cell.lstrip("-").isdigit() for cell in columns["count"])
    assert set(columns["site"]) == {"north, 1"}
    assert set(columns["batch"]) == {"1.50"}
    (tmp_path / "again.csv").write_bytes(content)
    again = infer_schema(read_source(tmp_path / "again.csv"))
    expected = read_model(orders_model).schema
    for name in NAMES:
        one, other = again[name], expected[name]
        assert (one.kind, one.decimals, one.min_decimals) == (other.kind, other.decimals, other.min_decimals)


def test_parquet_has_the_rows_of_the_csv_with_their_types(written, orders_model, tmp_path):
    written(orders_model, 1000, seed=0)
    written(orders_model, 1000, name="out.parquet", seed=0)
    table = pq.read_table(tmp_path / "out.parquet")
    assert [str(t) for t in table.schema.types] == ["double", "double", "int64", "string", "double", "double"]
    pd.testing.assert_frame_equal(table.to_pandas(), pd.read_csv(tmp_path / "out.csv"), check_dtype=False, rtol=1e-15)


def test_without_an_output_the_rows_are_a_frame(orders_model, written, tmp_path):
    frame = pipelines.generate(orders_model, 1000, seed=0)
    assert list(frame.columns) == NAMES
    assert frame.dtypes.astype(str)[["weight", "count", "drift", "batch"]].tolist() == [
        "float64",
        "int64",
        "float64",
        "float64",
    ]
    written(orders_model, 1000, seed=0)
    pd.testing.assert_frame_equal(frame, pd.read_csv(tmp_path / "out.csv"), check_dtype=False, rtol=1e-15)


def test_progress_is_told_in_rows(orders_model, tmp_path):
    told = []
    pipelines.generate(orders_model, 2500, output=tmp_path / "o.csv", chunk_size=1000, on_progress=told.append)
    assert told == [1000, 1000, 500]


# Appending.


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: BOM + text,
        lambda text: text.replace(b",1.50\n", b',"1.50"\n'),
        lambda text: text.replace(b",1.50\n", b" , 1.50 \n"),
        lambda text: text.rstrip(b"\n"),
        lambda text: text.replace(b"\n", b"\r\n").rstrip(b"\r\n"),
    ],
    ids=["plain", "CRLF", "BOM", "quotes", "spaces", "no newline at the end", "CRLF, no newline at the end"],
)
def test_the_appended_source_stays_as_it_is_to_the_byte(written, orders_model, orders, tmp_path, spell):
    source = spell(orders.read_bytes())
    end = b"\r\n" if b"\r\n" in source else b"\n"
    (tmp_path / "source.csv").write_bytes(source)
    content = written(orders_model, 50, seed=0, append=tmp_path / "source.csv")
    before = source if source.endswith(b"\n") else source + end
    assert content.startswith(before)
    new = written(orders_model, 50, seed=0).split(b"\n", 1)[1]
    assert content[len(before) :] == new.replace(b"\n", end)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False], ids=["newline at the end", "none"])
def test_a_mark_tells_new_rows_from_old(written, orders_model, orders, tmp_path, end, last):
    source = orders.read_bytes().replace(b"\n", end)
    source = source if last else source.removesuffix(end)
    (tmp_path / "source.csv").write_bytes(source)
    content = written(orders_model, 50, seed=0, append=tmp_path / "source.csv", mark="new, or not")
    lines, old = content.split(end), source.removesuffix(end).split(end)
    assert lines[0] == old[0] + b',"new, or not"'
    assert lines[1:301] == [line + b",0" for line in old[1:]]
    assert {line[-2:] for line in lines[301:351]} == {b",1"}
    assert lines[351:] == [b""]
    assert {len(row) for row in cells(content)} == {7}


def test_a_record_over_several_lines_is_one_row(written, orders_model, orders, tmp_path):
    """The constant of the model need not be that of the source."""
    source = orders.read_bytes().replace(b'"north, 1"', b'"two\n\n""lines"""')
    (tmp_path / "source.csv").write_bytes(source)
    content = written(orders_model, 50, seed=0, append=tmp_path / "source.csv", mark="new")
    rows = cells(content)
    assert len(rows) == 1 + 300 + 50
    assert [row[-1] for row in rows] == ["new"] + 300 * ["0"] + 50 * ["1"]
    assert written(orders_model, 50, seed=0, append=tmp_path / "source.csv").startswith(source)


def test_appending_in_parquet_keeps_values_and_types(written, orders_model, orders, tmp_path):
    written(orders_model, 50, name="out.parquet", seed=0, append=orders, mark="new")
    table = pq.read_table(tmp_path / "out.parquet")
    types = ["double", "double", "int64", "string", "double", "double", "int64"]
    assert [str(t) for t in table.schema.types] == types
    frame = table.to_pandas()
    pd.testing.assert_frame_equal(frame[NAMES][:300], pd.read_csv(orders), check_dtype=False)
    new = pipelines.generate(orders_model, 50, seed=0)
    pd.testing.assert_frame_equal(frame[NAMES][300:].reset_index(drop=True), new)
    assert frame["new"].tolist() == 300 * [0] + 50 * [1]


def test_appending_to_parquet_in_csv_is_refused_with_what_to_do(orders_model, orders, tmp_path):
    pd.read_csv(orders).to_parquet(tmp_path / "source.parquet")
    with pytest.raises(UsageError, match=r"the rows of source\.parquet are not CSV; write to a \.parquet file"):
        pipelines.generate(orders_model, 5, output=tmp_path / "out.csv", append=tmp_path / "source.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["source.parquet"]


def test_parquet_is_appended_to_parquet(written, orders_model, orders, tmp_path):
    pd.read_csv(orders).to_parquet(tmp_path / "source.parquet")
    written(orders_model, 50, name="out.parquet", seed=0, append=tmp_path / "source.parquet", mark="new")
    frame = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(frame[NAMES][:300], pd.read_csv(orders), check_dtype=False)
    assert frame["new"].tolist() == 300 * [0] + 50 * [1]


def test_appending_in_a_frame_keeps_types_and_marks(orders_model, orders):
    frame = pipelines.generate(orders_model, 50, seed=0, append=orders, mark="new")
    pd.testing.assert_frame_equal(frame[NAMES][:300], pd.read_csv(orders), check_dtype=False)
    assert str(frame["count"].dtype) == "int64"
    assert frame["new"].tolist() == 300 * [0] + 50 * [1]


def test_spaces_around_numbers_are_no_obstacle_to_a_frame(orders_model, orders, tmp_path):
    """`fit` takes them for numbers."""
    (tmp_path / "source.csv").write_bytes(orders.read_bytes().replace(b",1.50\n", b", 1.50\n"))
    frame = pipelines.generate(orders_model, 5, append=tmp_path / "source.csv")
    assert frame["batch"].tolist() == 305 * [1.5]


def test_formatted_numbers_are_numbers_in_parquet_too(moons_model, rewrite, tmp_path):
    model = rewrite(moons_model, tmp_path / "m.augment", lambda head: head["schema"][0].update(format="${,}"))
    (tmp_path / "in.csv").write_text('x,y\n"$1,234.50",0.25\n,0.5\n')
    pipelines.generate(model, 3, seed=0, append=tmp_path / "in.csv", output=tmp_path / "out.parquet")
    frame = pipelines.generate(model, 3, seed=0, append=tmp_path / "in.csv")
    assert frame["x"][0] == 1234.5
    assert np.isnan(frame["x"][1])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), frame)


def test_new_rows_have_the_types_of_the_frame_before_them(moons_model, rewrite, tmp_path):
    """Those of the model are texts, as it was fitted to a CSV."""

    def edit(head):
        values = {"sure": "True", "day": "2024-01-02", "size": "M", "stars": "3"}
        head["schema"] += [{"name": name, "kind": "constant", "value": value} for name, value in values.items()]

    model = rewrite(moons_model, tmp_path / "m.augment", edit)
    rows = {"x": 0.5, "y": "0.25", "sure": False, "day": pd.Timestamp("2020-05-17"), "size": "S", "stars": 2}
    frame = pd.DataFrame(rows, index=range(2)).astype({"size": "category"})
    both = pipelines.generate(model, 3, seed=0, append=frame)
    assert both.drop(columns="size").dtypes.equals(frame.drop(columns="size").dtypes)
    assert both["size"].cat.categories.tolist() == ["S", "M"]
    assert both.loc[4, ["sure", "day", "size", "stars"]].tolist() == [True, pd.Timestamp("2024-01-02"), "M", 3]
    with pytest.raises(AugmentError, match=r"column 'size': a cell cannot be written as int64.*'M'"):
        pipelines.generate(model, 3, seed=0, append=frame.assign(size=7))


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", None])
@pytest.mark.parametrize("change", ["less", "more", "order", "name"])
def test_a_table_of_other_columns_is_refused(orders_model, orders, tmp_path, name, change):
    frame = pd.read_csv(orders)
    frame = {
        "less": frame.drop(columns="drift"),
        "more": frame.assign(z=1),
        "order": frame[NAMES[::-1]],
        "name": frame.rename(columns={"drift": "shift"}),
    }[change]
    frame.to_csv(tmp_path / "source.csv", index=False)
    output = name and tmp_path / name
    with pytest.raises(AugmentError, match=r"source\.csv has the columns .*; the model makes weight, size, cm, count"):
        pipelines.generate(orders_model, 5, output=output, append=tmp_path / "source.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["source.csv"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", None])
def test_a_mark_with_the_name_of_a_column_is_refused(orders_model, orders, tmp_path, name):
    with pytest.raises(UsageError, match="has a column 'count' already"):
        pipelines.generate(orders_model, 5, output=name and tmp_path / name, append=orders, mark="count")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", None])
def test_a_mark_without_a_name_is_refused(orders_model, orders, tmp_path, name):
    with pytest.raises(UsageError, match="the mark needs a name"):
        pipelines.generate(orders_model, 5, output=name and tmp_path / name, append=orders, mark="")
    assert list(tmp_path.iterdir()) == []


def test_cells_that_the_model_has_no_type_for_are_refused_in_a_frame_or_parquet(orders_model, orders, tmp_path):
    (tmp_path / "source.csv").write_bytes(orders.read_bytes().replace(b",1.50\n", b",best\n"))
    for output in (None, tmp_path / "out.parquet"):
        with pytest.raises(AugmentError, match=r"source\.csv.*best") as caught:
            pipelines.generate(orders_model, 5, output=output, append=tmp_path / "source.csv")
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source.csv"]


# What is refused.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"chunk_size": 0}, "chunk_size must be at least 1, got 0"),
        ({"mark": "new"}, "append, which is missing"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"n": 10.0}, "n must be a whole number, got 10.0"),
        ({"chunk_size": 100.5}, "chunk_size must be a whole number, got 100.5"),
        ({"seed": 1 << 128}, "seed"),
    ],
)
def test_options_out_of_range_are_wrong_usage(orders_model, tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        pipelines.generate(orders_model, output=tmp_path / "out.csv", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("output", "said"), [("-", "Rows written before: 2"), ("o.csv", "Nothing was written")])
def test_a_shortfall_says_what_was_written(orders_model, monkeypatch, tmp_path, output, said):
    draw = generate_module._batches

    def falling_short(*arguments, **options):
        for cells, _ in draw(*arguments, **options):
            yield {name: part.between(0, 2) for name, part in cells.items()}, 2
        raise ShortfallError("Too few.")

    monkeypatch.setattr(generate_module, "_batches", falling_short)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ShortfallError, match=rf"Too few\. {said}\."):
        pipelines.generate(orders_model, 3, output=output, chunk_size=1)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept_without_force(orders_model, tmp_path):
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"out\.csv exists"):
        pipelines.generate(orders_model, 5, output=path)
    assert path.read_bytes() == b"old"
    pipelines.generate(orders_model, 5, output=path, force=True)
    assert path.read_bytes().count(b"\n") == 6


def test_an_interrupt_between_chunks_leaves_the_old_output_and_nothing_else(orders_model, tmp_path):
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipelines.generate(orders_model, 5000, output=path, force=True, chunk_size=1000, on_progress=interrupt)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_a_source_may_be_replaced_by_its_augmented_self(orders_model, orders, tmp_path):
    path = tmp_path / "orders.csv"
    path.write_bytes(orders.read_bytes())
    pipelines.generate(orders_model, 5, output=path, append=path, force=True, seed=0)
    assert path.read_bytes().startswith(orders.read_bytes())
    assert path.read_bytes().count(b"\n") == 306
