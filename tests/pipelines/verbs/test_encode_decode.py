"""To the latent space and back: the same rows, and noise that is standard Gaussian."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.cli import main
from pipelines.engines.local import BLOCK_ROWS, Scorer
from pipelines.storage.model_file import read_model
from pipelines.tables.files.reading import read_source

# Floats come back through two passes of the flow in float32: 1e-6 of the column's spread was measured, on 5,000 rows.
ACCURACY = 2e-5


def texts(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture
def there_and_back(tmp_path):
    """The latents and the rows they are decoded to, as texts."""

    def convert(data, model):
        pipelines.encode(data, model=model, output=tmp_path / "z.csv", force=True)
        pipelines.decode(tmp_path / "z.csv", model=model, output=tmp_path / "back.csv", force=True)
        return texts(tmp_path / "z.csv"), tmp_path / "back.csv"

    return convert


def test_every_cell_comes_back_as_it_was(visits, visits_model, there_and_back):
    """Lattices, dates, special values, missing cells, rare categories, identifiers, constants and free text."""
    latents, back = there_and_back(visits, visits_model)
    assert back.read_bytes() == visits.read_bytes()
    assert list(latents) == [
        "id", "city", "paid", "z_paid", "z_nights", "stars", "member", "z_since", "country", "remark", "spare",
    ]  # fmt: skip
    assert set(latents["paid"]) == {"(number)", "0.00", "NA"}
    assert {"Alba", "Zell", "Oban"} <= set(latents["city"])


def test_floats_come_back_to_the_accuracy_of_float32(orders, orders_model, there_and_back):
    _, back = there_and_back(orders, orders_model)
    before, after = texts(orders), texts(back)
    pd.testing.assert_frame_equal(before.drop(columns="drift"), after.drop(columns="drift"))
    drift = before["drift"].astype(float)
    error = (after["drift"].astype(float) - drift).abs().max()
    assert 0 < error < ACCURACY * drift.std()


def test_a_lattice_near_float32_is_off_by_a_step_at_most(moons, moons_model, there_and_back):
    """Steps of a millionth; 3 of 1,000 rows were off before the noise was corrected, 1 after."""
    _, back = there_and_back(moons, moons_model)
    off = np.abs(texts(moons).astype(float) - texts(back).astype(float)).to_numpy()
    assert off.max() < 1.5e-6
    assert (off > 0.5e-6).mean() < 0.01


def test_noise_is_that_of_the_scorer_and_comes_back_from_decoded_rows(moons, moons_model):
    model = read_model(moons_model)
    latents = pipelines.encode(moons, model=moons_model)
    rows = model.encoding.encode(read_source(moons), model.schema, np.random.default_rng(0), spread=False)
    _, noise = Scorer(model)(rows.classes, rows.scores)
    np.testing.assert_allclose(latents[["z_x", "z_y"]], noise, atol=1e-3)


def test_standard_gaussian_noise_decodes_to_rows_like_the_generated(visits, visits_model):
    rng = np.random.default_rng(0)
    latents = pipelines.encode(pipelines.generate(visits_model, 4000, seed=1), model=visits_model)
    for name in ("z_paid", "z_since"):
        # 4,000 draws: the mean within four standard errors, the deviation too.
        assert abs(latents[name].mean()) < 4 / np.sqrt(4000)
        assert abs(latents[name].std() - 1) < 4 / np.sqrt(8000)
    latents["z_paid"] = rng.standard_normal(4000)
    decoded = pipelines.decode(latents, model=visits_model)
    assert list(decoded)[:4] == ["id", "city", "paid", "nights"]


@pytest.mark.parametrize("name", ["answers", "heights", "dice"])
def test_tables_of_one_sort_of_column_come_back(request, name):
    data, model = request.getfixturevalue(name), request.getfixturevalue(f"{name}_model")
    frame = data if isinstance(data, pd.DataFrame) else pd.read_parquet(data)
    back = pipelines.decode(pipelines.encode(frame, model=model), model=model)
    pd.testing.assert_frame_equal(back, frame, check_dtype=False, check_categorical=False)


def test_frames_keep_index_and_other_columns(moons_model):
    frame = pd.DataFrame({"note": [7, 8], "x": [0.5, 1.0], "y": [0.25, -0.125]}, index=[4, 2])
    latents = pipelines.encode(frame, model=moons_model)
    assert list(latents) == ["note", "z_x", "z_y"]
    assert latents.dtypes.astype(str).to_dict() == {"note": "int64", "z_x": "float32", "z_y": "float32"}
    back = pipelines.decode(latents, model=moons_model)
    assert back.index.tolist() == [4, 2]
    np.testing.assert_allclose(back[["x", "y"]], frame[["x", "y"]], atol=1.5e-6)
    assert back["note"].tolist() == [7, 8]


def test_parquet_is_as_good_as_csv(tmp_path, visits, visits_model):
    pipelines.encode(visits, model=visits_model, output=tmp_path / "z.parquet")
    pipelines.decode(tmp_path / "z.parquet", model=visits_model, output=tmp_path / "back.csv")
    assert texts(tmp_path / "back.csv").equals(texts(visits))


def test_a_new_number_of_a_discrete_column_stays_in_its_cell(tmp_path, visits, visits_model, there_and_back):
    rows = texts(visits)
    rows.loc[3, "stars"] = "9"
    rows.to_csv(tmp_path / "in.csv", index=False)
    _, back = there_and_back(tmp_path / "in.csv", visits_model)
    assert texts(back).equals(rows)


def test_noise_of_absent_numbers_follows_the_seed(visits, visits_model):
    first, again, other = (pipelines.encode(visits, model=visits_model, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    is_number = first["paid"] == "(number)"
    assert (first["z_paid"] != other["z_paid"])[~is_number].all()


def test_progress_is_told_in_rows(moons_model):
    told = []
    rows = pipelines.generate(moons_model, BLOCK_ROWS + 5, seed=0)
    latents = pipelines.encode(rows, model=moons_model, on_progress=told.append)
    pipelines.decode(latents, model=moons_model, on_progress=told.append)
    assert told == [BLOCK_ROWS, 5] * 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x\n1\n", "has no column 'y'"),
        (b"x,y\n1,2\n,3\n", r"column 'x' has a missing cell in row 3, which the model does not know"),
        (b"x,y,z_x\n1,2,3\n", "has a column 'z_x' already"),
    ],
)
def test_rows_that_cannot_be_encoded_are_named(tmp_path, moons_model, content, said):
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(AugmentError, match=said):
        pipelines.encode(tmp_path / "in.csv", model=moons_model)


def test_latents_that_cannot_be_decoded_are_named(visits, visits_model):
    latents = pipelines.encode(visits, model=visits_model)
    with pytest.raises(AugmentError, match="has no column 'z_paid'"):
        pipelines.decode(latents.drop(columns="z_paid"), model=visits_model)
    with pytest.raises(AugmentError, match=r"'paid' says '17\.5' in row 0, which is none of its special values"):
        pipelines.decode(latents.assign(paid="17.5"), model=visits_model)
    with pytest.raises(AugmentError, match="'z_since' has no number in row 0"):
        pipelines.decode(latents.assign(z_since=np.nan), model=visits_model)
    with pytest.raises(AugmentError, match="knows no 'perhaps'"):
        pipelines.decode(latents.assign(member="perhaps"), model=visits_model)


@pytest.mark.parametrize(("number", "said"), [("", "has no number in row 3"), ("x", "row 3")])
def test_decode_calls_rows_by_their_lines_as_encode_does(tmp_path, moons_model, number, said):
    (tmp_path / "in.csv").write_text(f"z_x,z_y\n0.5,0.5\n{number},0.5\n")
    with pytest.raises(AugmentError, match=said):
        pipelines.decode(tmp_path / "in.csv", model=moons_model)


def test_an_existing_output_is_kept_without_force(tmp_path, moons, moons_model):
    (tmp_path / "z.csv").write_bytes(b"old")
    with pytest.raises(UsageError, match="exists"):
        pipelines.encode(moons, model=moons_model, output=tmp_path / "z.csv")
    assert (tmp_path / "z.csv").read_bytes() == b"old"


def test_the_commands_compose(tmp_path, visits, visits_model):
    run = CliRunner().invoke
    assert run(main, ["encode", str(visits), "-m", str(visits_model), "-o", str(tmp_path / "z.csv")]).exit_code == 0
    result = run(main, ["decode", str(tmp_path / "z.csv"), "-m", str(visits_model), "-o", "-"])
    assert result.exit_code == 0
    assert result.stdout_bytes == visits.read_bytes()
