"""Model files that somebody made to do harm, or changed: they end in words, and what is sound runs as ever.

What random changes found is kept here as tests of its own; `tests/torture/hostile_models.py` makes new ones.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import stat
import struct
import time
import warnings
import zipfile

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.engines import apart, local
from pipelines.engines.graph_checks import GraphError, checked
from pipelines.engines.runtime import Runtime
from pipelines.engines.signatures import signature_of
from pipelines.storage.model_file import read_model

TORTURE = pathlib.Path(__file__).parents[2] / "torture"
GRAPHS = ["sampler.tflite", "scorer.tflite", "discrete_sampler.tflite", "discrete_sampler_given.tflite",
          "discrete_scorer.tflite"]  # fmt: skip


def write(path, members, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of duplicates
        with zipfile.ZipFile(path, "w", **options) as archive:
            for name, data in members:
                archive.writestr(name, data)
    return path


@pytest.fixture
def foreign(tmp_path, members_of):
    """Writes a model as somebody else would have: with other members, hashes put right, without a seal."""

    def make(model, edit=None, **changed):
        members = members_of(model)
        del members["seal"]
        head = json.loads(members["model.json"])
        for name, data in changed.items():
            members[name.replace("__", ".")] = data
            head["sha256"][name.replace("__", ".")] = hashlib.sha256(data).hexdigest()
        if edit is not None:
            edit(head)
        members["model.json"] = json.dumps(head).encode()
        return write(tmp_path / "foreign.augment", members.items())

    return make


def refused(path, match):
    with pytest.raises(AugmentError, match=match) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)


# The zip.


@pytest.mark.parametrize(
    "name", ["../model.json", "/etc/passwd", "a/b", "model.json/", "C:x", "notes.txt", "MODEL.JSON", "Model.json\0"]
)
def test_only_known_names_are_members(tmp_path, moons_model, members_of, name):
    members = [*members_of(moons_model).items(), (name, b"x")]
    refused(write(tmp_path / "m.augment", members), "is damaged or not a model.*is no member of a model|has 8 members")


def test_a_name_cannot_steer_the_terminal(tmp_path, moons_model, members_of):
    members = members_of(moons_model)
    del members["seal"]
    members["se\n\x1b[2Jal"] = b"x"
    refused(write(tmp_path / "m.augment", list(members.items())), r"se\\n\\x1b\[2Jal is no member of a model")


@pytest.mark.parametrize("name", ["model.json", "sampler.tflite", "seal"])
def test_a_member_is_there_once(tmp_path, moons_model, members_of, name):
    """Two programs may each take another one of two."""
    members = members_of(moons_model)
    refused(write(tmp_path / "m.augment", [*members.items(), (name, members[name])]), "a member is there twice")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_a_member_is_a_file(tmp_path, moons_model, members_of, kind):
    info = zipfile.ZipInfo("history.csv")
    info.external_attr = (kind | 0o777) << 16
    members = members_of(moons_model) | {}
    members.pop("history.csv")
    refused(write(tmp_path / "m.augment", [*members.items(), (info, b"/etc/passwd")]), "history.csv is no file")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, moons_model, members_of, method):
    path = write(tmp_path / "m.augment", members_of(moons_model).items(), compression=method)
    refused(path, "packed in a way that is not known")


def edited(path, place, data):
    content = bytearray(path.read_bytes())
    content[place : place + len(data)] = data
    path.write_bytes(content)
    return path


def test_members_that_overlap_are_refused(tmp_path, moons_model, members_of):
    """Each of a few thousand names may stand for the same bytes, unpacked a few thousand times."""
    path = write(tmp_path / "m.augment", members_of(moons_model).items())
    content = path.read_bytes()
    entries = [at for at in range(len(content)) if content.startswith(b"PK\1\2", at)]
    (offset,) = struct.unpack_from("<L", content, entries[1] + 42)
    refused(edited(path, entries[2] + 42, struct.pack("<L", offset)), "overlaps with what follows")


def test_a_size_that_is_a_lie_is_noticed_without_unpacking_more(tmp_path, moons_model, members_of):
    members = members_of(moons_model) | {"history.csv": b"0" * 9_000_000}
    path = write(tmp_path / "m.augment", members.items(), compression=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    place = next(at for at in range(len(content)) if content.startswith(b"PK\1\2", at) and
                 content[at + 46 :].startswith(b"history.csv"))  # fmt: skip
    edited(path, place + 24, struct.pack("<L", 1000))
    with pytest.raises(AugmentError, match=r"history\.csv"):
        read_model(path).member("history.csv")


@pytest.mark.parametrize(
    ("before", "after", "match"),
    [
        (b"#!/bin/sh\n", b"", "something stands before"),
        (b"", b"x", "something follows its end|ends too early"),
        (b"", b"PK\6\7" + bytes(16), "something follows its end|ends too early"),
    ],
)
def test_there_is_nothing_around_it(tmp_path, moons_model, before, after, match):
    path = tmp_path / "m.augment"
    path.write_bytes(before + moons_model.read_bytes() + after)
    refused(path, match)


def test_a_list_of_many_members_is_not_read(tmp_path):
    path = write(tmp_path / "m.augment", [(f"{number}", b"") for number in range(5000)])
    refused(path, "it has 5,000 members; a model has at most")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.augment")
    with pytest.raises(UsageError, match="is a device or a pipe"):
        read_model(tmp_path / "m.augment")


# The description.


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"[" * 100_000, "cannot be read"),
        (b'{"format": 2, "format": 2}', "two entries of one name"),
        (b'{"format": ' + b"9" * 5000 + b"}", "whole number has 5000 digits"),
        (b"[" + b"0," * 9_000_000 + b"0]", "more entries than a model can have"),
        (b"[" + b"{}," * 1_500_000 + b"0]", "more entries than a model can have"),
        (b'{"format": 2, "a": "\\ud800"}', "surrogates not allowed"),
        (b"\xff", "cannot be read"),
        (b'{"format": true}', "format version True"),
        (b'{"format": 2.0}', "format version 2.0"),
    ],
)
def test_json_is_read_within_bounds(tmp_path, text, match):
    path = write(tmp_path / "m.augment", [("model.json", text)])
    refused(path, match)


def column(name, part="schema"):
    return lambda head: next(entry for entry in head[part] if entry["name"] == name)


PAID, CITY, STARS = (column(name, "encoding") for name in ("paid", "city", "stars"))
SINCE, ID = column("since"), column("id")


@pytest.mark.parametrize(
    "edit",
    [
        lambda head: head["dialect"].update(encoding="idna"),
        lambda head: head["dialect"].update(encoding="os.system"),
        lambda head: head["dialect"].update(delimiter=",,"),
        lambda head: head["dialect"].update(end_of_line="x"),
        lambda head: head["dialect"].update(null_values=["9" * 20_000]),
        lambda head: head.update(reading={"header": 1}),
        lambda head: head["schema"].append(head["schema"][0]),
        lambda head: SINCE(head).update(format="%Y %Y"),  # a pattern with one name twice
        lambda head: SINCE(head).update(format="%Y" * 60),
        lambda head: ID(head).update(identifier={"kind": "pattern", "pattern": "9" * 10_000_000}),
        lambda head: ID(head).update(identifier={"kind": "sequence", "prefix": "x" * 10_000_000}),
        lambda head: PAID(head)["margin"].update(low=float("nan")),
        lambda head: PAID(head)["margin"].update(low=1e308),
        lambda head: PAID(head)["margin"].update(per_unit=0.0),
        lambda head: PAID(head)["margin"].update(step=-1.0),
        lambda head: PAID(head)["margin"].update(values=[0.0, 5e-324], scores=[0.0, 1e308]),
        lambda head: PAID(head).update(margin=None),
        lambda head: PAID(head).update(made=[0.0]),
        lambda head: PAID(head).update(own=[0.0]),
        lambda head: PAID(head)["made"].reverse(),
        lambda head: PAID(head).update(made=[1e300 * quantile for quantile in PAID(head)["made"]]),
        lambda head: CITY(head).update(made=PAID(head)["made"]),
        lambda head: PAID(head)["levels"].reverse(),
        lambda head: PAID(head)["values"].pop(),
        lambda head: PAID(head)["is_missing"].reverse(),
        lambda head: CITY(head)["levels"].append(None),
        lambda head: CITY(head).update(values=[1.0]),
        lambda head: CITY(head).update(other_count=-1),
        lambda head: STARS(head).update(unseen=[0.1]),
        lambda head: STARS(head).update(levels=[], values=[], is_missing=[], unseen=[]),
        lambda head: head["source"][0].update(rows="many"),
        lambda head: head["training"].update(steps=None),
        lambda head: head["options"].update(width=[1]),
        lambda head: head["versions"].update(numpy=1),
        lambda head: head["sha256"].update({"sampler.tflite": "x"}),
        lambda head: head["sha256"].pop("scorer.tflite"),
        lambda head: head["sha256"].update({"../x": "0" * 64}),
        lambda head: head.update(seed=-1),
        lambda head: head["schema"][0].update(name="x" * 2_000_000, kind="constant", value="x" * 2_000_000),
    ],
)
def test_an_entry_that_could_do_harm_later_is_refused_at_once(visits_model, foreign, edit):
    refused(foreign(visits_model, edit), "is damaged: ")


def test_what_nothing_reads_may_be_there(visits_model, foreign):
    read_model(foreign(visits_model, lambda head: head.update(colour="red")))


@pytest.mark.parametrize(
    "arrow_type",
    [
        "dictionary<values=string, indices=string, ordered=0>",
        "dictionary<values=dictionary<values=string, indices=int8, ordered=0>, indices=int8, ordered=1>",
        "timestamp[ns, tz=Mars/Phobos]",
        "decimal128(5, -5)",
        "decimal128(9999, 1)",
        "month_day_nano_interval",
        "string_view",
        "binary_view",
    ],
)
@pytest.mark.parametrize("name", ["city", "paid", "since", "country", "id"])
def test_a_type_that_new_cells_cannot_have_is_another_or_an_error_in_words(
    visits_model, rewrite, tmp_path, name, arrow_type
):
    path = rewrite(visits_model, tmp_path / "m.augment", lambda head: column(name)(head).update(arrow_type=arrow_type))
    for output in (None, path.with_name("rows.parquet")):
        with contextlib.suppress(AugmentError):
            pipelines.generate(path, 20, seed=0, output=output)


@pytest.mark.parametrize("history", [b"", b"x", b"epoch,train,held_out\n1,2\n", b"a\n1,2,x\n", b"a\n\xff,1,2\n"])
def test_a_history_that_is_none_is_told_so(visits_model, foreign, history):
    from pipelines.reporting.sections import training_section

    with pytest.raises(AugmentError, match=r"history\.csv does not hold"):
        training_section(read_model(foreign(visits_model, history__csv=history)))


# The seal.


def test_a_model_made_here_is_known_and_one_with_any_other_byte_is_not(tmp_path, moons_model, members_of):
    assert read_model(moons_model).is_own
    members = members_of(moons_model)
    text = members["model.json"]
    for changed in ({"model.json": text.replace(b'"seed": 0', b'"seed": 1')}, {"seal": b"0" * 64}, {"seal": b""}):
        assert changed.get("model.json") != text
        assert not read_model(write(tmp_path / "m.augment", (members | changed).items())).is_own
    other = write(tmp_path / "m.augment", (members | {"sampler.tflite": b"TFL3"}).items())
    with pytest.raises(AugmentError, match="does not match its SHA-256"):
        read_model(other).member("sampler.tflite")


def test_the_key_is_ones_own_alone(tmp_path, moons_model, monkeypatch):
    key = pathlib.Path(os.environ["XDG_STATE_HOME"], "augment", "key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    copy = tmp_path / "augment" / "key"
    copy.parent.mkdir()
    shutil.copy2(key, copy)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert read_model(moons_model).is_own
    copy.chmod(0o640)
    assert not read_model(moons_model).is_own
    copy.chmod(0o600)
    copy.write_bytes(key.read_bytes()[:-1])
    assert not read_model(moons_model).is_own
    copy.unlink()
    copy.symlink_to(key)
    assert not read_model(moons_model).is_own


@pytest.mark.parametrize("state", ["/proc/no_such", "/dev/null"])
def test_without_a_place_for_a_key_models_are_made_and_count_as_those_of_others(
    tmp_path, moons_model, rewrite, monkeypatch, state
):
    monkeypatch.setenv("XDG_STATE_HOME", state)
    path = rewrite(moons_model, tmp_path / "m.augment", dict)
    assert not read_model(path).is_own
    assert len(pipelines.generate(path, 5, seed=0)) == 5


# The graphs.


@pytest.mark.parametrize("name", ["moons", "visits", "answers"])
def test_graphs_written_anew_give_the_same_bytes(request, name):
    model = read_model(request.getfixturevalue(f"{name}_model"))
    rng = np.random.default_rng(0)
    for member in filter(model.has, GRAPHS):
        signature = signature_of(member, len(model.encoding.discrete), len(model.encoding.continuous))
        content = model.member(member)
        anew = checked(content, signature)
        assert b"min_runtime_version" in content
        assert b"min_runtime_version" not in anew
        assert checked(anew, signature) == anew
        first, second = Runtime(content, 1), Runtime(anew, 1)
        assert first.inputs == second.inputs
        inputs = {
            key: rng.random(signature.inputs[key].shape_for(50)).astype(signature.inputs[key].dtype)
            for key in first.inputs
        }
        for a, b in zip(first(inputs), second(inputs), strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", ["moons", "visits", "answers", pytest.param("stock", marks=pytest.mark.slow)])
def test_a_model_of_another_gives_the_same_rows(request, foreign, name):
    own = request.getfixturevalue(f"{name}_model")
    other = foreign(own)
    assert not read_model(other).is_own
    for where in ([], *{"visits": [["city=Bay"]], "stock": [["kind=C"]]}.get(name, [])):
        frames = [pipelines.generate(path, 500, seed=4, where=where) for path in (own, other)]
        assert frames[0].equals(frames[1])
    scored = [pipelines.score(frames[0].head(50), model=path) for path in (own, other)]
    assert scored[0].equals(scored[1])


def rebuilt(content, edit):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    edit(model, model.subgraphs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator(graph, model, name):
    codes = [code.builtinCode for code in model.operatorCodes]
    wanted = getattr(schema.BuiltinOperator, name)
    return next(one for one in graph.operators if codes[one.opcodeIndex] == wanted)


def unchanged(model, graph):
    pass


def custom(model, graph):
    model.operatorCodes[0].customCode = b"Evil"


def other_code(model, graph):
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.WHILE


def two_subgraphs(model, graph):
    model.subgraphs.append(graph)


def external(model, graph):
    model.buffers[3].offset, model.buffers[3].size = 1, 100


def too_short(model, graph):
    buffer = next(one for one in model.buffers if one.data is not None and len(one.data) > 4)
    buffer.data = buffer.data[:-4]


def too_far(model, graph):
    one = operator(graph, model, "GATHER")
    place = one.inputs[1]
    data = np.frombuffer(bytes(model.buffers[graph.tensors[place].buffer].data), np.int32).copy()
    data[0] = 1 << 20
    model.buffers[graph.tensors[place].buffer].data = np.frombuffer(data.tobytes(), np.uint8)


def backwards(model, graph):
    graph.operators.reverse()


def beyond(model, graph):
    graph.operators[0].inputs = np.array([len(graph.tensors), *graph.operators[0].inputs[1:]], np.int32)


def missing(model, graph):
    graph.operators[0].inputs = np.array([-1, *graph.operators[0].inputs[1:]], np.int32)


def variable(model, graph):
    graph.tensors[0].isVariable = True


def float64(model, graph):
    graph.tensors[int(graph.inputs[0])].type = schema.TensorType.FLOAT64


def negative(model, graph):
    graph.tensors[3].shape = np.array([-5, 2], np.int32)


def enormous(model, graph):
    graph.tensors[3].shape = np.array([1 << 30, 1 << 30], np.int32)


def other_output(model, graph):
    graph.outputs = np.array([*graph.outputs, graph.inputs[0]], np.int32)


def with_gathers():
    """The graph of a flow of two columns whose permutations stay gathers, as those of large ones do."""
    from tfp_realnvp import export_rewrites, export_sampler, real_nvp

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_rewrites, "_MAX_PRODUCT_SIZE", 0)
        return export_sampler(real_nvp(2, num_couplings=2, hidden_units=[4], seed=0))


@pytest.mark.parametrize(
    "edit",
    [custom, other_code, two_subgraphs, external, too_short, too_far, backwards, beyond, missing, variable, float64,
     negative, enormous, other_output],
)  # fmt: skip
def test_a_graph_that_no_export_gives_is_refused(moons_model, foreign, edit):
    content = with_gathers() if edit is too_far else read_model(moons_model).member("sampler.tflite")
    assert checked(rebuilt(content, unchanged), signature_of("sampler.tflite", 0, 2))
    changed = rebuilt(content, edit)
    with pytest.raises(GraphError):
        checked(changed, signature_of("sampler.tflite", 0, 2))
    with pytest.raises(AugmentError, match=r"sampler\.tflite cannot be run \("):
        pipelines.generate(foreign(moons_model, sampler__tflite=changed), 5)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\x10\0\0\0TFL3" + b"\xff" * 200])
def test_bytes_that_are_no_graph_are_refused(content):
    with pytest.raises(GraphError, match=r"it is no graph|it has"):
        checked(content, signature_of("sampler.tflite", 0, 2))


def test_classes_that_there_are_not_are_refused(visits_model, foreign, tmp_path):
    """A sound graph of a sound model, but for a table with fewer classes."""

    def edit(head):
        city = CITY(head)
        city["levels"], city["is_missing"] = city["levels"][:2], city["is_missing"][:2]
        city["other_count"] = 0

    with pytest.raises(AugmentError, match="gives classes that there are not"):
        pipelines.generate(foreign(visits_model, edit), 1000, seed=0)


SERVE = """
from pipelines.engines import apart_child, messages
class Odd:
    inputs = ["noise"]
    def __call__(self, inputs):
        {}
def load(connection):
    messages.receive_bytes(connection, messages.receive(connection)["bytes"])
    return Odd()
apart_child._load = load
apart_child.main(int(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("action", "match"),
    [
        ("import ctypes; ctypes.string_at(0)", r"crashed the process that ran it \(SIGSEGV\)"),
        ("import os; os._exit(7)", r"ended the process that ran it \(status 7\)"),
        ("while True: pass", "was stopped: it took more than"),
        ("return [inputs['noise'][:1]]", "gives something else than it should give"),
        ("return [inputs['noise'].astype('f8')]", "gives something else than it should give"),
        ("raise RuntimeError('one' + chr(10) + 'two' + chr(27) + '[2J')", r"cannot be run \(one two\\x1b\[2J\)"),
        ("bytearray(1 << 45)", "cannot be run .*memory"),
        ("open('made_by_the_graph', 'w').write('x' * 100)", "no longer answers"),
    ],
    ids=["crash", "exit", "hang", "fewer rows", "other type", "several lines", "memory", "file"],
)
def test_whatever_a_graph_does_to_its_process_is_an_error_in_words(
    moons_model, foreign, monkeypatch, tmp_path, action, match
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(apart, "_PATIENCE", 3.0)
    monkeypatch.setattr(
        apart, "_MAIN", "import json, sys; sys.path[:] = json.loads(sys.argv[2])" + SERVE.format(action)
    )
    path = foreign(moons_model)
    with pytest.raises(AugmentError, match=match) as caught:
        pipelines.generate(path, 5, seed=0)
    assert "\n" not in str(caught.value)
    made = tmp_path / "made_by_the_graph"
    assert not made.exists() or not made.read_bytes()


@pytest.mark.parametrize("when", ["between calls", "during one"])
def test_a_process_that_is_killed_is_no_damaged_model(moons_model, foreign, when, monkeypatch):
    """As the kernel does when memory is short."""
    opened = read_model(foreign(moons_model))
    sampler = local.Sampler(opened)
    process = local._processes[opened.archive]._process
    if when == "between calls":
        process.kill()
    else:
        send = apart.send
        monkeypatch.setattr(apart, "send", lambda *arguments: [send(*arguments), process.kill()])
        process.send_signal(signal.SIGSTOP)
    with pytest.raises(AugmentError, match=r"was killed \(SIGKILL\), most likely .* memory") as caught:
        sampler.block(0, 0)
    assert "damaged" not in str(caught.value)


def test_the_process_ends_with_the_model(moons_model, foreign):
    opened = read_model(foreign(moons_model))
    sampler = local.Sampler(opened)
    process = local._processes[opened.archive]._process
    assert process.poll() is None
    del sampler, opened
    for _ in range(100):
        if process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() is not None


def test_a_name_in_the_current_folder_is_not_imported(moons_model, foreign, tmp_path, monkeypatch):
    """`python -m` would look for modules there first."""
    for name in ("json", "numpy", "pipelines", "struct"):
        (tmp_path / f"{name}.py").write_text("import pathlib\npathlib.Path('sprung').touch()\n")
    path = foreign(moons_model)
    monkeypatch.chdir(tmp_path)
    assert len(pipelines.generate(path, 5, seed=0)) == 5
    assert not (tmp_path / "sprung").exists()


# At random.


@pytest.mark.slow
def test_of_files_changed_at_random_none_does_harm(tmp_path, moons_model, visits_model, monkeypatch):
    monkeypatch.syspath_prepend(str(TORTURE))
    import hostile_models

    for path in (moons_model, visits_model):
        shutil.copy(path, tmp_path)
    for tally in hostile_models.run(0.003, 7, tmp_path):
        assert tally.is_good, tally.failures
    assert tally.tried >= 36
