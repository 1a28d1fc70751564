"""Parts made by the workers of a Ray cluster are the bytes that this process alone makes, whatever happens to them."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from descendants import descendants

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.cluster.making import made_on_ray
from pipelines.cluster.reading import each_on_ray
from pipelines.cluster.session import Cluster, _check_reachable, connected
from pipelines.engines.local import BLOCK_ROWS
from pipelines.folders.joined import read_joined
from pipelines.folders.location import LocalFolder, folder_of, read, write
from pipelines.folders.manifest import read_manifest
from pipelines.folders.parts import RowParts, RowPlan, new_plan
from pipelines.storage.model_file import read_model
from pipelines.verbs.score import Scored

N = 4 * BLOCK_ROWS + 100
SMALL = {"seed": 1, "part_rows": BLOCK_ROWS}


@pytest.fixture(scope="module")
def ray(bucket):
    """A cluster of two cores on this machine, whose workers may write to the bucket."""
    ray = pytest.importorskip("ray")
    with connected(Cluster(workers=2)) as workers:
        assert workers == 2
        yield ray
    assert not ray.is_initialized()


@pytest.fixture(scope="module")
def here(moons_model, tmp_path_factory):
    """The parts that this process makes."""
    path = tmp_path_factory.mktemp("here") / "rows"
    pipelines.generate(moons_model, N, parts=path, **SMALL)
    return path


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_parts_are_those_made_here(ray, moons_model, here, tmp_path, workers):
    told = []
    made = pipelines.generate(
        moons_model, N, parts=tmp_path / "rows", engine="ray", workers=workers, on_progress=told.append, **SMALL
    )
    assert contents(tmp_path / "rows") == contents(here)
    assert (made.rows, made.parts, sum(told)) == (N, 5, N)


@pytest.mark.slow
def test_so_are_those_of_mixed_columns_under_conditions_in_a_bucket(ray, visits_model, tmp_path, bucket):
    options = {"part_suffix": ".parquet", "where": ["city=Bay"], **SMALL}
    pipelines.generate(visits_model, N, parts=tmp_path / "here", **options)
    pipelines.generate(visits_model, N, parts=bucket.format("visits"), engine="ray", **options)
    there = folder_of(bucket.format("visits"))
    assert {name: read(there, name) for name in there.names()} == contents(tmp_path / "here")


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing_but_its_part(ray, moons_model, here, tmp_path):
    killed = []

    def kill(rows):
        if rows and not killed:
            killed.extend(descendants("_Maker")[:1])
            os.kill(killed[0], signal.SIGKILL)

    pipelines.generate(moons_model, N, parts=tmp_path / "rows", engine="ray", on_progress=kill, **SMALL)
    assert killed
    assert contents(tmp_path / "rows") == contents(here)


@pytest.mark.slow
def test_what_one_engine_began_the_other_goes_on_with(ray, moons_model, here, tmp_path):
    model, folder = read_model(moons_model), LocalFolder(tmp_path)
    pipelines.generate(moons_model, N, parts=tmp_path / "rows", engine="ray", **SMALL)
    for name in ("part-00000.csv", "part-00003.csv"):
        (tmp_path / "rows" / name).unlink()
    made = pipelines.generate(moons_model, parts=tmp_path / "rows", resume=True)
    assert (made.rows, made.parts_kept) == (2 * BLOCK_ROWS, 3)
    (tmp_path / "rows" / "part-00002.csv").unlink()
    made = pipelines.generate(moons_model, parts=tmp_path / "rows", resume=True, engine="ray")
    assert made.parts_kept == 4
    assert contents(tmp_path / "rows") == contents(here)
    assert read_manifest(LocalFolder(here), RowPlan)[0] == new_plan(model, rows=N, **SMALL)
    assert read_manifest(folder, RowPlan) is None


@pytest.mark.slow
def test_no_worker_goes_on_when_nobody_asks_for_parts(ray, moons_model, tmp_path):
    model = read_model(moons_model)
    plan = new_plan(model, rows=400 * BLOCK_ROWS, **SMALL)
    made = made_on_ray(model, RowParts(plan, LocalFolder(tmp_path)), range(plan.num_parts), Cluster())
    next(made)
    made.close()
    give_up = time.monotonic() + 60
    while descendants("_Maker") and time.monotonic() < give_up:
        time.sleep(0.2)
    there = len(contents(tmp_path))
    time.sleep(1)
    assert len(contents(tmp_path)) == there < plan.num_parts


@pytest.mark.slow
def test_a_worker_that_would_round_otherwise_makes_no_part(ray, moons_model, tmp_path):
    model = read_model(moons_model)
    plan = dataclasses.replace(new_plan(model, rows=N, **SMALL), processor="abacus")
    with pytest.raises(AugmentError, match=r"worker on .*: it has processor .* and not abacus.*Parts do not mix"):
        list(made_on_ray(model, RowParts(plan, LocalFolder(tmp_path)), [0, 1], Cluster()))
    assert contents(tmp_path) == {}


@pytest.fixture(scope="module")
def thousands(here, tmp_path_factory):
    """Files of other lengths than a sample's, in the folder that is read."""
    path = tmp_path_factory.mktemp("thousands") / "rows"
    path.mkdir()
    for number, file in enumerate(sorted(here.glob("*.csv"))):
        lines = file.read_text().splitlines(keepends=True)
        (path / file.name).write_text("".join(lines[: 1 + 1000 * (number + 1)]))
    return path


@pytest.mark.slow
def test_files_are_read_as_one_whoever_reads_them(ray, thousands, bucket):
    for path in thousands.iterdir():
        write(folder_of(bucket.format("thousands")), path.name, path.read_bytes())
    expected, _ = read_joined(thousands, max_rows=700, seed=5)
    for data, cluster in ((bucket.format("thousands"), None), (bucket.format("thousands"), Cluster(workers=2))):
        joined, files = read_joined(data, max_rows=700, seed=5, cluster=cluster)
        assert joined.table.equals(expected.table)
        assert [file.num_rows for file in files] == [1000, 2000, 3000, 4000, 100]


@pytest.mark.slow
def test_a_table_that_no_worker_can_read_is_told_of(ray, thousands, tmp_path):
    shutil.copytree(thousands, tmp_path / "rows")
    with (tmp_path / "rows" / "part-00002.csv").open("ab") as file:
        file.write(b"1,2,3\n")
    with pytest.raises(AugmentError, match=r"part-00002.csv: line 3002 has 3 fields, the header has 2"):
        read_joined(tmp_path / "rows", max_rows=700, cluster=Cluster(workers=2))


@pytest.mark.slow
def test_evaluate_says_the_same_whoever_reads(ray, thousands, moons, monkeypatch):
    options, asked = {"max_rows": 600, "seed": 3}, []

    def each(work, jobs, *rest):
        asked.extend(files := list(jobs))
        return each_on_ray(work, files, *rest)

    monkeypatch.setattr("pipelines.folders.joined.each_on_ray", each)
    there = pipelines.evaluate(moons, thousands, engine="ray", **options)
    assert len(asked) == 5
    assert there == pipelines.evaluate(moons, thousands, **options)


@pytest.mark.slow
def test_scored_tables_are_those_scored_here(ray, moons_model, thousands, tmp_path, bucket):
    told = []
    pipelines.score(thousands, model=moons_model, output=tmp_path / "here")
    there = bucket.format("scored")
    made = pipelines.score(thousands, model=moons_model, output=there, engine="ray", on_progress=told.append)
    assert made == Scored(rows=10_100, parts=5, parts_kept=0)
    assert sum(told) == 10_100
    assert {name: read(folder_of(there), name) for name in folder_of(there).names()} == contents(tmp_path / "here")


@pytest.mark.slow
def test_what_a_worker_cannot_write_is_told_of_with_how_to_go_on(ray, moons_model, tmp_path):
    target = tmp_path / "rows"

    def remove(rows):
        if rows == 0:  # the manifest is there, no part is
            (target / "part-00002.csv").mkdir()

    with pytest.raises(AugmentError, match=r"part-00002.csv cannot be written: .* of 5 parts are there; to make"):
        pipelines.generate(moons_model, N, parts=target, engine="ray", on_progress=remove, **SMALL)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "horse"}, "there is no engine 'horse'; there are local and ray"),
        ({"workers": 2}, "go with the engine ray"),
        ({"address": "auto"}, "go with the engine ray"),
        ({"engine": "ray", "workers": 0}, "workers must be at least 1, got 0"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(moons_model, tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        pipelines.generate(moons_model, N, parts=tmp_path / "rows", **options)
    assert not (tmp_path / "rows").exists()


def test_a_cluster_makes_parts_only(moons_model, tmp_path):
    with pytest.raises(UsageError, match="on a cluster parts are made, not one output"):
        pipelines.generate(moons_model, N, output=tmp_path / "rows.csv", engine="ray")


@pytest.mark.slow
def test_more_workers_than_cores_are_an_error(ray):
    with (
        pytest.raises(AugmentError, match="9999 workers need as many cores; the cluster has 2"),
        connected(Cluster(workers=9999)),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:9", ".*refused"),
        ("ray://127.0.0.1:9", ".*refused"),
        ("[::1]:9", ".*(refused|Cannot assign|not supported)"),
        ("127.0.0.1:99999", "there is no port 99999"),
    ],
)
def test_a_cluster_that_does_not_answer_is_told_of_at_once(address, why):
    with pytest.raises(AugmentError, match=f"the Ray cluster at '{re.escape(address)}' cannot be reached: {why}"):
        _check_reachable(address)


def test_without_ray_it_says_what_to_install(monkeypatch, moons_model, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install -c constraints.txt '\.\[ray\]'"):
        pipelines.generate(moons_model, N, parts=tmp_path / "rows", engine="ray", **SMALL)
    assert not (tmp_path / "rows").exists()


def test_nothing_of_ray_is_imported_unless_asked_for(moons_model, tmp_path):
    code = (
        "import sys, pipelines, pipelines.cli, pipelines.cluster.making\n"
        f"pipelines.generate({str(moons_model)!r}, 100, parts={str(tmp_path / 'rows')!r})\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
