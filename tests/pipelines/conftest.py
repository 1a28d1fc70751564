"""Tables and the few models fitted to them, once a session: starting TensorFlow and compiling is what takes time."""

import json
import pathlib
import zipfile

import numpy as np
import pytest

import pipelines
from pipelines.model_file import read_model, write_model

MOONS = pathlib.Path(__file__).parents[2] / "data" / "moons.csv"
TINY = {"steps": 20, "couplings": 2, "hidden": (8,)}


def orders_csv():
    """A CSV of 300 rows with one column of every kind, and cells and names that need quotes.

    `weight` has two decimals, `size, cm` (in eighths) up to three and as few as needed, `count` is an integer, `drift`
    has full precision, `site` and `batch` are constants.
    """
    rng = np.random.default_rng(7)
    weight = rng.normal(60.0, 9.0, 300)
    count = rng.poisson(weight / 4)
    size = np.round(8 * (1.5 * weight + rng.normal(0.0, 3.0, 300))) / 8
    drift = 0.3 * rng.normal(size=300)
    lines = ['weight,"size, cm",count,site,drift,batch']
    for w, s, c, d in zip(weight, size, count, drift, strict=True):
        shortest = f"{s:.3f}".rstrip("0").rstrip(".")
        lines.append(f'{w:.2f},{shortest},{c},"north, 1",{float(d)!r},1.50')
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def moons():
    """The path of the moons: 5,000 rows of two columns with six decimals."""
    return MOONS


@pytest.fixture(scope="session")
def orders(folder):
    """The path of a table with a column of every kind."""
    path = folder / "orders.csv"
    path.write_text(orders_csv())
    return path


@pytest.fixture(scope="session")
def tiny():
    """Options of `fit` that take the least time."""
    return TINY


@pytest.fixture(scope="session")
def fit_tiny(folder):
    """Fits a tiny model; the options are those of `pipelines.fit`."""

    def fit(data, name, **options):
        return pipelines.fit(data, model=folder / f"{name}.augment", **TINY | options)

    return fit


@pytest.fixture(scope="session")
def moons_fit(fit_tiny, moons):
    """The result of a fit to the moons, and what `on_progress` was told meanwhile."""
    told = []
    return fit_tiny(moons, "moons", on_progress=told.append), told


@pytest.fixture(scope="session")
def moons_model(moons_fit):
    return pathlib.Path(moons_fit[0].model)


@pytest.fixture(scope="session")
def orders_fit(fit_tiny, orders):
    return fit_tiny(orders, "orders", seed=3, batch_size=64, couplings=4)


@pytest.fixture(scope="session")
def orders_model(orders_fit):
    return pathlib.Path(orders_fit.model)


@pytest.fixture(scope="session")
def flow_in():
    """Builds the TFP distribution in a model file from its configuration and weights."""

    def load(path):
        import safetensors.numpy

        import tfp_realnvp

        opened = read_model(path)
        tensors = safetensors.numpy.load(opened.member("weights.safetensors"))
        return tfp_realnvp.from_config(opened.description["flow"], tensors)

    return load


@pytest.fixture(scope="session")
def members_of():
    """The members of a model file, by name."""

    def read(path):
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    return read


@pytest.fixture(scope="session")
def rewrite(members_of):
    """Writes a sound model file like another but for its description, which `edit` changes in place."""

    def write(path, target, edit):
        members = members_of(path)
        description = json.loads(members.pop("model.json"))
        edit(description)
        write_model(target, description, members)
        return target

    return write
