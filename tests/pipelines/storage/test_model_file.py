"""A model file is data, damage to it is noticed, and what is not one is told from it."""

import csv
import io
import itertools
import json
import pathlib
import shutil
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from pipelines import AugmentError, UsageError
from pipelines.storage.model_file import FORMAT_VERSION, default_name, find_model, read_model, write_model

MEMBERS = ["model.json", "weights.safetensors", "sampler.tflite", "scorer.tflite", "history.csv", "seal"]


def refusal(path, kind=AugmentError):
    with pytest.raises(AugmentError) as caught:
        read_model(path)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is in it.


def test_its_members_are_data_that_runs_nothing(moons_model, members_of):
    """JSON, safetensors, LiteRT graphs and CSV; a pickle would run what its author likes."""
    members = members_of(moons_model)
    assert list(members) == MEMBERS
    assert json.loads(members["model.json"])["format"] == FORMAT_VERSION
    assert safetensors.numpy.load(members["weights.safetensors"])
    assert {members[name][4:8] for name in ("sampler.tflite", "scorer.tflite")} == {b"TFL3"}
    assert next(csv.reader(io.StringIO(members["history.csv"].decode()))) == ["epoch", "train", "held_out"]


def test_no_row_of_the_source_is_in_it(moons_model, members_of, moons):
    everything = b"\n".join(members_of(moons_model).values())
    for line in moons.read_text().splitlines()[1:1001]:
        assert line.encode() not in everything
    # As numbers too: the same search in the bytes of float32 and float64.
    rows = np.loadtxt(moons, delimiter=",", skiprows=1)[:500]
    for row in rows:
        assert row.tobytes() not in everything
        assert row.astype(np.float32).tobytes() not in everything


def test_what_was_written_is_read(tmp_path, orders_model, orders_fit):
    opened = read_model(orders_model)
    assert opened.schema.names == ["weight", "size, cm", "count", "site", "drift", "batch"]
    assert [c.kind for c in opened.schema.columns] == ["float", "float", "integer", "constant", "float", "constant"]
    assert [column.name for column in opened.encoding.columns] == ["weight", "size, cm", "count", "drift"]
    assert opened.dialect.delimiter == ","
    assert opened.description["seed"] == 3
    assert opened.path == pathlib.Path(orders_fit.model)


# Damage.


def test_no_damaged_byte_goes_unnoticed_or_ends_in_a_traceback(tmp_path, moons_model):
    """Every byte of the file's structure, and one in 17 of all: refused, or harmless to every member."""
    sound = read_model(moons_model)
    members = {name: sound.member(name) for name in MEMBERS[1:-1]}
    content = moons_model.read_bytes()
    starts = [at for at in range(len(content)) if content.startswith(b"PK", at)]
    places = {at + offset for at in starts for offset in range(64)} | set(range(0, len(content), 17))
    refused, unforeseen = 0, {}
    for place, bits in itertools.product(sorted(places & set(range(len(content)))), (0x01, 0x55)):
        damaged = bytearray(content)
        damaged[place] ^= bits
        path = tmp_path / "damaged.augment"
        path.write_bytes(damaged)
        try:
            opened = read_model(path)
            read = {name: opened.member(name) for name in members}
        except AugmentError:
            refused += 1
        except Exception as error:
            unforeseen.setdefault(type(error), f"byte {place} of {len(content)}: {error}")
        else:
            # Dates and such may change; what counts may not.
            assert (opened.description, read) == (sound.description, members), place
    assert not unforeseen
    assert refused > 2 * 0.8 * len(content) / 17  # most of the file is compressed content, where no byte is idle


@pytest.mark.parametrize("share", [0.999, 0.7, 0.3, 0.01])
def test_a_file_that_ends_too_early_is_damaged(tmp_path, moons_model, share):
    path = tmp_path / "cut.augment"
    content = moons_model.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "is damaged: it ends too early" in refusal(path)


def test_a_member_of_another_model_is_noticed(tmp_path, moons_model, orders_model, members_of):
    """Sound by itself, so that only the hash can tell."""
    path = tmp_path / "mixed.augment"
    members = members_of(moons_model) | {"sampler.tflite": members_of(orders_model)["sampler.tflite"]}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    opened = read_model(path)
    assert opened.member("scorer.tflite") == members["scorer.tflite"]
    with pytest.raises(AugmentError, match=r"is damaged: sampler\.tflite does not match its SHA-256"):
        opened.member("sampler.tflite")


def test_a_missing_member_is_named(tmp_path, moons_model, members_of):
    path = tmp_path / "less.augment"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members_of(moons_model).items():
            if name != "scorer.tflite":
                archive.writestr(name, data)
    with pytest.raises(AugmentError, match=r"is damaged: scorer\.tflite cannot be read"):
        read_model(path).member("scorer.tflite")


def test_a_member_that_unpacks_to_far_more_than_it_holds_is_refused(tmp_path, moons_model, members_of):
    """30 MB of zeros in 30 kB: a model's own members are compressed less than three to one."""
    path = tmp_path / "bomb.augment"
    members = members_of(moons_model) | {"sampler.tflite": bytes(30_000_000)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(AugmentError, match=r"sampler\.tflite claims 30,000,000 bytes"):
        read_model(path).member("sampler.tflite")


@pytest.mark.parametrize(
    "edit",
    [
        lambda head: head.pop("schema"),
        lambda head: head.pop("encoding"),
        lambda head: head["schema"][0].pop("name"),
        lambda head: head["schema"][0].update(colour="red"),
        lambda head: head["schema"].pop(),
        lambda head: head["encoding"].pop(),
        lambda head: head["encoding"][0]["margin"]["values"].pop(),
        lambda head: head["encoding"][0]["margin"]["scores"].reverse(),
        lambda head: head.pop("dialect"),
        lambda head: head["dialect"].update(mood="glad"),
        lambda head: head.update(schema="x"),
    ],
)
def test_a_description_that_contradicts_itself_is_damaged(tmp_path, moons_model, rewrite, edit):
    assert "is damaged" in refusal(rewrite(moons_model, tmp_path / "odd.augment", edit))


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_another_format_version_is_refused_with_both_versions(tmp_path, moons_model, rewrite, version):
    path = rewrite(moons_model, tmp_path / "other.augment", lambda head: head.update(format=version))
    assert f"has format version {version!r}; this version of augment reads {FORMAT_VERSION}" in refusal(path)


def test_a_description_that_is_not_an_object_is_refused(tmp_path):
    path = tmp_path / "list.augment"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", "[]")
    assert "format version None" in refusal(path)


# What is no model.


def test_data_is_not_a_model_and_the_message_fits_one_to_it(tmp_path, moons):
    path = shutil.copy(moons, tmp_path / "moons.csv")
    assert f"is not a model; it looks like data. To fit a model to it: augment fit {path}" in refusal(path, UsageError)


def test_another_zip_file_is_not_a_model(tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", b"x")
    assert "is a zip file but not a model: it has no model.json" in refusal(path, UsageError)


def test_a_missing_model_comes_with_the_command_that_makes_it(tmp_path):
    path = tmp_path / "gone.augment"
    assert f"augment fit DATA.csv -m {path}" in refusal(path, UsageError)
    refusal(tmp_path, UsageError)


# Writing and finding.


def test_a_model_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "m.augment"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_model(path, {}, {"sound": b"x" * 100_000, "unsound": object()})
    with pytest.raises(TypeError):
        write_model(path, {"not JSON": object()}, {})
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_only_model_here_is_found_and_several_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no \.augment file here.*augment fit DATA\.csv"):
        find_model(None)
    (tmp_path / "b.augment").write_bytes(b"")
    assert find_model(None) == pathlib.Path("b.augment")
    (tmp_path / "a.augment").write_bytes(b"")
    with pytest.raises(UsageError, match=r"several models here.*: a\.augment, b\.augment$"):
        find_model(None)
    assert find_model("gone.augment") == pathlib.Path("gone.augment")


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.parquet", "t.csv.gz", "t.tsv.zst", "folder/t.csv", "t"])
def test_a_model_is_named_after_its_table(name):
    assert default_name(name) == "t.augment"


def test_a_model_of_standard_input_has_no_name_of_its_own():
    with pytest.raises(UsageError, match="fitted to standard input needs a file name: -m FILE"):
        default_name("-")
