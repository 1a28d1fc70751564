"""Parts are the rows of one output, made each on its own: in any order, again, and never of two kinds in one folder."""

import errno
import gzip
import hashlib
import json
import os
import shutil
import stat

import pyarrow.parquet as pq
import pytest

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.engines.local import BLOCK_ROWS
from pipelines.folders.location import LocalFolder
from pipelines.folders.manifest import MANIFEST, begin, read_manifest, write_manifest
from pipelines.folders.parts import RowParts, RowPlan, differences, new_plan
from pipelines.storage.model_file import read_model

N = 2 * BLOCK_ROWS + 100
NAMES = ["part-00000.csv", "part-00001.csv", "part-00002.csv"]
SMALL = {"seed": 1, "part_rows": BLOCK_ROWS}


@pytest.fixture
def target(tmp_path):
    return tmp_path / "rows"


@pytest.fixture(scope="module")
def made(moons_model, tmp_path_factory):
    """A folder of three parts, to be copied."""
    path = tmp_path_factory.mktemp("made") / "rows"
    pipelines.generate(moons_model, N, parts=path, **SMALL)
    return path


@pytest.fixture
def copy(made, target):
    shutil.copytree(made, target)
    return target


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def inodes(path):
    return {entry.name: entry.stat().st_ino for entry in path.iterdir() if entry.name != MANIFEST}


def without_header(data):
    return data.split(b"\n", 1)[1]


# They are the rows of one output.


@pytest.mark.parametrize(
    ("model", "independent"), [("moons_model", False), ("visits_model", False), ("moons_model", True)]
)
def test_parts_one_after_another_are_one_output(request, model, independent, target, tmp_path):
    """Also where rows are numbered, as identifiers are, or are new for each row."""
    model = request.getfixturevalue(model)
    pipelines.generate(model, N, output=tmp_path / "one.csv", seed=1, independent=independent)
    made = pipelines.generate(model, N, parts=target, independent=independent, **SMALL)
    one, parts = (tmp_path / "one.csv").read_bytes(), contents(target)
    assert sorted(parts) == [MANIFEST, *NAMES]
    assert {parts[name].split(b"\n", 1)[0] for name in NAMES} == {one.split(b"\n", 1)[0]}
    assert b"".join(without_header(parts[name]) for name in NAMES) == without_header(one)
    assert (made.rows, made.parts, made.parts_kept, made.seed) == (N, 3, 0, 1)


@pytest.mark.parametrize(("rows", "names"), [(N, NAMES), (1_000, NAMES[:1])])
def test_parts_of_given_conditions_are_one_output_too(visits_model, target, tmp_path, rows, names):
    where = ["city=Bay", "member=no"]
    pipelines.generate(visits_model, rows, output=tmp_path / "one.csv", seed=1, where=where)
    pipelines.generate(visits_model, rows, parts=target, where=where, **SMALL)
    parts = contents(target)
    assert sorted(parts) == [MANIFEST, *names]
    joined = b"".join(without_header(parts[name]) for name in names)
    assert joined == without_header((tmp_path / "one.csv").read_bytes())


def test_parquet_parts_are_one_output(visits_model, target, tmp_path):
    pipelines.generate(visits_model, N, output=tmp_path / "one.parquet", seed=1)
    pipelines.generate(visits_model, N, parts=target, part_suffix=".parquet", **SMALL)
    files = sorted(target.glob("*.parquet"))
    assert [path.name for path in files] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert pq.read_table(tmp_path / "one.parquet").equals(pq.read_table([str(path) for path in files]))
    assert [pq.read_metadata(path).num_rows for path in files] == [BLOCK_ROWS, BLOCK_ROWS, 100]


def test_the_suffix_compresses_parts(moons_model, made, target):
    pipelines.generate(moons_model, N, parts=target, part_suffix=".csv.gz", **SMALL)
    for name in NAMES:
        assert gzip.decompress((target / f"{name}.gz").read_bytes()) == (made / name).read_bytes()


def test_any_part_is_made_on_its_own(moons_model, made, tmp_path):
    model = read_model(moons_model)
    plan = new_plan(model, rows=N, **SMALL)
    told = []
    for number in (2, 0):
        part = RowParts(plan, LocalFolder(tmp_path)).make(model, number, on_progress=told.append)
        assert (tmp_path / part.name).read_bytes() == (made / part.name).read_bytes()
        assert part.name == NAMES[number]
        assert part.rows == told[-1] == (100 if number == 2 else BLOCK_ROWS)
    assert read_manifest(LocalFolder(made), RowPlan)[0] == plan


@pytest.mark.parametrize("n", [1, BLOCK_ROWS, 2 * BLOCK_ROWS, 2 * BLOCK_ROWS + 1])
def test_the_number_of_rows_is_exact(moons_model, target, n):
    pipelines.generate(moons_model, n, parts=target, **SMALL)
    found = [data.count(b"\n") - 1 for name, data in contents(target).items() if name != MANIFEST]
    assert sum(found) == n
    assert len(found) == -(-n // BLOCK_ROWS)


def test_the_manifest_says_what_is_there(made, moons_model):
    said = json.loads((made / MANIFEST).read_bytes())
    assert said["format"] == 1
    assert said["plan"]["model"] == hashlib.sha256(moons_model.read_bytes()).hexdigest()
    assert (said["plan"]["seed"], said["plan"]["rows"], said["plan"]["part_rows"]) == (1, N, BLOCK_ROWS)
    assert {"numpy", "ai-edge-litert", "pyarrow"} <= said["plan"]["versions"].keys()
    assert [entry["name"] for entry in said["parts"]] == NAMES
    assert [entry["rows"] for entry in said["parts"]] == [BLOCK_ROWS, BLOCK_ROWS, 100]
    for entry in said["parts"]:
        assert hashlib.sha256((made / entry["name"]).read_bytes()).hexdigest() == entry["sha256"]


def test_progress_is_told_in_rows_those_that_are_there_included(moons_model, copy):
    (copy / NAMES[0]).unlink()
    told = []
    pipelines.generate(moons_model, N, parts=copy, resume=True, on_progress=told.append, **SMALL)
    assert told == [BLOCK_ROWS + 100, BLOCK_ROWS]


# What is missing is made, and nothing else.


def spoil(path, how):
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "cut off":
        path.write_bytes(data[:-1])
    elif how == "changed":
        path.write_bytes(data.replace(b"1", b"2", 1))


@pytest.mark.parametrize("how", ["missing", "cut off", "changed"])
def test_only_what_is_missing_or_not_whole_is_made_again(moons_model, made, copy, how):
    spoil(copy / NAMES[1], how)
    before = inodes(copy)
    result = pipelines.generate(moons_model, N, parts=copy, resume=True, **SMALL)
    assert contents(copy) == contents(made)
    after = inodes(copy)
    assert [name for name in NAMES if before.get(name) != after[name]] == [NAMES[1]]
    assert (result.rows, result.parts, result.parts_kept) == (BLOCK_ROWS, 3, 2)


def test_a_part_that_the_manifest_does_not_tell_of_is_made_again(moons_model, made, copy):
    """Its writer died between the two: what is under its name may be anything."""
    plan, parts = read_manifest(LocalFolder(copy), RowPlan)
    write_manifest(LocalFolder(copy), plan, {name: part for name, part in parts.items() if name != NAMES[2]})
    (copy / NAMES[2]).write_bytes(b"anything")
    pipelines.generate(moons_model, N, parts=copy, resume=True, **SMALL)
    assert contents(copy) == contents(made)


def test_what_is_not_said_is_as_it_was_begun(moons_model, made, copy):
    """Nobody was told a seed that was drawn and whose run was killed."""
    (copy / NAMES[1]).unlink()
    pipelines.generate(moons_model, parts=copy, resume=True)
    assert contents(copy) == contents(made)


def test_to_resume_nothing_is_to_begin(moons_model, made, target):
    pipelines.generate(moons_model, N, parts=target, resume=True, **SMALL)
    assert contents(target) == contents(made)


@pytest.mark.parametrize("stop_at", [0, BLOCK_ROWS, 2 * BLOCK_ROWS, N - 1])
def test_an_interrupt_leaves_whole_parts_and_a_resume_the_others(moons_model, made, target, stop_at):
    done = 0

    def interrupt(rows):
        nonlocal done
        done += rows
        if done > stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipelines.generate(moons_model, N, parts=target, on_progress=interrupt, **SMALL)
    whole = contents(made)
    there = contents(target)
    assert MANIFEST in there
    assert len(there) == 1 + min(stop_at // BLOCK_ROWS, 2)
    assert all(there[name] == whole[name] for name in there if name != MANIFEST)
    pipelines.generate(moons_model, N, parts=target, resume=True, **SMALL)
    assert contents(target) == whole


def test_a_disk_that_fills_up_leaves_whole_parts_and_says_how_to_go_on(moons_model, made, target, monkeypatch):
    sync = os.fsync
    calls = []

    def full(descriptor):
        calls.extend([descriptor] * stat.S_ISREG(os.fstat(descriptor).st_mode))
        if len(calls) == 4:  # the plan, a part, the manifest, a part
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    said = r"part-00001\.csv cannot be written: No space left on device\. .*1 of 3 parts are there; .*: resume=True$"
    with pytest.raises(AugmentError, match=said) as caught:
        pipelines.generate(moons_model, N, parts=target, **SMALL)
    assert caught.value.exit_code == 1
    assert sorted(contents(target)) == [MANIFEST, NAMES[0]]
    pipelines.generate(moons_model, N, parts=target, resume=True)
    assert contents(target) == contents(made)


# Parts do not mix.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 2}, "seed 1 and not 2"),
        ({"n": N + 1}, f"rows {N} and not {N + 1}"),
        ({"part_rows": 2 * BLOCK_ROWS}, f"rows of a part {BLOCK_ROWS} and not {2 * BLOCK_ROWS}"),
        ({"part_suffix": ".parquet"}, r"suffix \.csv and not \.parquet"),
        ({"independent": True}, "no independent rows"),
    ],
)
def test_parts_of_another_plan_are_refused(moons_model, made, copy, options, said):
    with pytest.raises(UsageError, match=rf"rows has parts with .*{said}\. Parts do not mix: .*: force=True$"):
        pipelines.generate(moons_model, parts=copy, resume=True, **options)
    assert contents(copy) == contents(made)


def test_parts_of_another_condition_are_refused(visits_model, target):
    pipelines.generate(visits_model, 10, parts=target, where=["city=Bay"], seed=1)
    with pytest.raises(UsageError, match=r"where \('city=Bay',\) and not \('city=Dale',\)"):
        pipelines.generate(visits_model, 10, parts=target, where=["city=Dale"], seed=1, resume=True)


def test_parts_of_another_model_are_refused(visits_model, made, copy):
    with pytest.raises(UsageError, match=r"the model file's SHA-256 [0-9a-f]{12} and not [0-9a-f]{12}\."):
        pipelines.generate(visits_model, N, parts=copy, resume=True, **SMALL)
    assert contents(copy) == contents(made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: plan["versions"].update(numpy="1.0"), r"numpy 1\.0 and not "),
        (lambda plan: plan["versions"].update(torch="1.0"), r"torch 1\.0 and not None"),
        (lambda plan: plan.update(processor="vax"), r"processor vax and not "),
        (
            lambda plan: plan.update(sample="0" * 64),
            "which this processor rounds otherwise, 000000000000 and",
        ),
    ],
    ids=["version", "package", "family", "rounding"],
)
def test_parts_of_other_packages_or_processors_are_refused(moons_model, copy, change, said):
    content = json.loads((copy / MANIFEST).read_bytes())
    change(content["plan"])
    (copy / MANIFEST).write_text(json.dumps(content))
    before = contents(copy)
    with pytest.raises(UsageError, match=said):
        pipelines.generate(moons_model, N, parts=copy, resume=True, **SMALL)
    assert contents(copy) == before


def test_a_plan_is_of_the_model_that_was_opened_not_of_one_that_has_its_name_by_now(moons_model, tmp_path):
    path = tmp_path / "m.augment"
    shutil.copyfile(moons_model, path)
    opened, content = read_model(path), path.read_bytes()
    path.unlink()
    path.write_bytes(b"another")
    assert new_plan(opened, rows=5, seed=0).model == hashlib.sha256(content).hexdigest()
    assert opened.archive.content() == content
    assert opened.member("sampler.tflite") == read_model(moons_model).member("sampler.tflite")


def test_a_plan_differs_from_itself_in_nothing(moons_model):
    model = read_model(moons_model)
    plan, same, other = (new_plan(model, rows=N, seed=seed) for seed in (1, 1, 2))
    assert differences(plan, same) == []
    assert differences(plan, other) == ["seed 1 and not 2"]


def test_parts_that_are_there_are_kept_without_resume_or_force(moons_model, made, copy):
    with pytest.raises(UsageError, match=r"missing: resume=True\. To replace them: force=True$"):
        pipelines.generate(moons_model, N, parts=copy, **SMALL)
    (copy / MANIFEST).unlink()
    with pytest.raises(UsageError, match="has parts already"):
        pipelines.generate(moons_model, N, parts=copy, **SMALL)
    with pytest.raises(UsageError, match=rf"has part-00000\.csv but no {MANIFEST}"):
        pipelines.generate(moons_model, N, parts=copy, resume=True, **SMALL)
    assert inodes(copy).keys() == set(NAMES)


def test_force_replaces_all_parts_and_nothing_else(moons_model, copy):
    for name in ("notes.txt", "part-1.csv", "part-00000.csv.bak"):
        (copy / name).write_text("mine")
    pipelines.generate(moons_model, 5, parts=copy, part_suffix=".tsv", force=True, seed=0)
    assert sorted(contents(copy)) == [MANIFEST, "notes.txt", "part-00000.csv.bak", "part-00000.tsv", "part-1.csv"]


@pytest.mark.parametrize("content", [{"parts": [{"name": "thesis.txt"}]}, {"format": 1}, {"format": 2}])
def test_force_removes_no_file_because_another_programs_manifest_names_it(moons_model, target, content):
    target.mkdir()
    (target / "thesis.txt").write_text("mine")
    content = {"parts": [{"name": "thesis.txt", "rows": 1, "sha256": "0" * 64}]} | content
    (target / MANIFEST).write_text(json.dumps(content))
    pipelines.generate(moons_model, 5, parts=target, force=True, seed=0)
    assert (target / "thesis.txt").read_text() == "mine"


def test_parts_that_are_half_removed_are_not_gone_on_with(moons_model, copy, monkeypatch):
    """What was asked for last is another plan than that of the parts which are left."""
    removed, remove = [], LocalFolder.remove

    def die(folder, name):
        if len(removed) == 2:
            raise KeyboardInterrupt
        remove(folder, name)
        removed.append(name)

    monkeypatch.setattr(LocalFolder, "remove", die)
    with pytest.raises(KeyboardInterrupt):
        pipelines.generate(moons_model, N, parts=copy, force=True, **SMALL | {"seed": 2})
    monkeypatch.undo()
    with pytest.raises(UsageError, match=rf"has part-0000\d\.csv but no {MANIFEST}"):
        pipelines.generate(moons_model, parts=copy, resume=True)


def test_a_manifest_that_is_a_link_to_nowhere_is_replaced_by_force_only(moons_model, target):
    target.mkdir()
    (target / MANIFEST).symlink_to("nowhere.json")
    with pytest.raises(UsageError, match=rf"has a {MANIFEST} that leads nowhere\."):
        pipelines.generate(moons_model, 5, parts=target, resume=True, seed=0)
    pipelines.generate(moons_model, 5, parts=target, force=True, seed=0)
    assert sorted(contents(target)) == [MANIFEST, "part-00000.csv"]


def test_two_at_once_do_not_write_to_one_folder(moons_model, made, copy):
    with LocalFolder(copy).locked(), pytest.raises(AugmentError, match="being written to by another process"):
        pipelines.generate(moons_model, N, parts=copy, resume=True, **SMALL)
    pipelines.generate(moons_model, N, parts=copy, resume=True, **SMALL)
    assert contents(copy) == contents(made)


# What is refused.


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1}', b'{"format": 1, "plan": {}, "parts": []}', b"\xff\xfe"],
)
def test_a_damaged_manifest_is_one_line(moons_model, copy, content):
    (copy / MANIFEST).write_bytes(content)
    with pytest.raises(AugmentError, match=rf"{MANIFEST} (is damaged|has format version)") as caught:
        pipelines.generate(moons_model, N, parts=copy, resume=True, **SMALL)
    assert "\n" not in str(caught.value)
    assert inodes(copy).keys() == set(NAMES)


@pytest.mark.parametrize(
    "entries",
    [
        {"suffix": "/../../gone.csv"},
        {"part_rows": 0},
        {"part_rows": -BLOCK_ROWS},
        {"rows": 0},
        {"seed": -1},
        {"seed": "1"},
        {"where": ["x>0"]},
        {"where": [1]},
        {"versions": []},
        {"more": 1},
    ],
)
def test_a_manifest_that_asks_for_what_cannot_be_is_refused(moons_model, copy, entries):
    content = json.loads((copy / MANIFEST).read_bytes())
    content["plan"].update(entries)
    (copy / MANIFEST).write_text(json.dumps(content))
    before = contents(copy)
    with pytest.raises(AugmentError) as caught:
        pipelines.generate(moons_model, parts=copy, resume=True)
    assert "\n" not in str(caught.value)
    assert contents(copy) == before


def test_a_manifest_names_no_file_outside_its_folder(moons_model, made, copy):
    """What is there is looked up by the plan's names, not by the manifest's."""
    (copy.parent / "mine.csv").write_text("mine")
    content = json.loads((copy / MANIFEST).read_bytes())
    content["parts"].append({"name": "../mine.csv", "rows": 1, "sha256": "0" * 64})
    (copy / MANIFEST).write_text(json.dumps(content))
    pipelines.generate(moons_model, N, parts=copy, resume=True, **SMALL)
    assert {name: data for name, data in contents(copy).items() if name != MANIFEST} == {
        name: data for name, data in contents(made).items() if name != MANIFEST
    }
    assert (copy.parent / "mine.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"part_rows": 1000}, "multiple of 16,384, got 1,000"),
        ({"part_rows": 0}, "multiple of 16,384, got 0"),
        ({"part_suffix": ".xlsx"}, r"'\.xlsx' is not a suffix of parts"),
        ({"part_suffix": "/x.csv"}, "is not a suffix of parts"),
        ({"where": ["x>0"]}, "x>0 is not given to the model"),
        ({"output": "out.csv"}, "no output, balance or append"),
        ({"balance": "x"}, "no output, balance or append"),
        ({"append": "moons.csv"}, "no output, balance or append"),
        ({"resume": True, "force": True}, "either resumed or replaced"),
        ({"n": 0}, "n must be at least 1"),
        ({"seed": -1}, "seed must be between"),
    ],
)
def test_what_parts_cannot_be_is_wrong_usage_and_makes_none(moons_model, target, options, said):
    with pytest.raises(UsageError, match=said):
        pipelines.generate(moons_model, **{"n": 5, "parts": target} | options)
    assert not target.exists()


@pytest.mark.parametrize("options", [{"resume": True}, {"part_rows": BLOCK_ROWS}, {"part_suffix": ".csv"}])
def test_what_is_said_of_parts_needs_them(moons_model, tmp_path, options):
    with pytest.raises(UsageError, match="name their folder"):
        pipelines.generate(moons_model, 5, output=tmp_path / "out.csv", **options)


def test_a_folder_that_cannot_be_is_refused(moons_model, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        pipelines.generate(moons_model, 5, parts=tmp_path / "file")
    with pytest.raises(UsageError, match="does not exist"):
        pipelines.generate(moons_model, 5, parts=tmp_path / "no" / "rows")
    with pytest.raises(AugmentError, match="cannot be written"):
        pipelines.generate(moons_model, 5, parts="/proc/rows")


def test_a_folder_that_vanishes_is_one_line(moons_model, target):
    def remove(_):
        if target.exists() and (target / NAMES[0]).exists():
            shutil.rmtree(target)

    with pytest.raises(AugmentError, match=r"part-00001\.csv cannot be written: .*The folder is gone") as caught:
        pipelines.generate(moons_model, N, parts=target, on_progress=remove, **SMALL)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_plan_may_be_begun_before_any_part(moons_model, target):
    plan = new_plan(read_model(moons_model), rows=N, **SMALL)
    folder = LocalFolder(target)
    with folder.locked():
        assert begin(folder, plan, resume=False, force=False) == {}
    assert read_manifest(folder, RowPlan) == (plan, {})
