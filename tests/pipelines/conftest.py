"""Tables and the few models fitted to them, once a session: starting TensorFlow and compiling is what takes time."""

import fcntl
import json
import logging
import os
import pathlib
import pickle
import urllib.request
import zipfile

import numpy as np
import pandas as pd
import pytest
from moto.server import ThreadedMotoServer
from sales import sales
from stock import stock_frame

import pipelines
from pipelines.storage.model_file import read_model, write_model

MOONS = pathlib.Path(__file__).parents[2] / "data" / "moons.csv"
TINY = {"steps": 20, "couplings": 2, "width": 8}


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


WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "juniper", "knoll", "pine"]


def visits_frame(rows=600):
    """Rows of every kind of cell as texts: what depends on what is in the code.

    `city` has five frequent values and three that come once; `paid` is 0 in a third of the rows, missing in a tenth,
    else an amount with two decimals; `nights` is a count, `stars` one of five numbers, `member` yes or no, `since` a
    date; `id` is an identifier, `country` a constant, `remark` free text, `spare` empty.
    """
    rng = np.random.default_rng(5)
    city = rng.choice(["Bay", "Dale", "Ford", "Hill", "Mere"], rows, p=[0.4, 0.25, 0.15, 0.12, 0.08]).astype(object)
    city[[10, 200, 400]] = ["Alba", "Zell", "Oban"]
    is_member = rng.random(rows) < np.where(city == "Bay", 0.8, 0.25)
    stars = np.clip(rng.poisson(np.where(is_member, 3.4, 2.2)), 1, 5)
    nights = rng.poisson(np.where(is_member, 16.0, 9.0))
    paid = np.round(np.exp(rng.normal(np.where(is_member, 5.0, 4.0), 0.4)), 2)
    kind = rng.choice(3, rows, p=[0.57, 0.33, 0.1])
    since = np.datetime64("2019-01-01") + rng.integers(0, 900, rows).astype("timedelta64[D]")
    return pd.DataFrame(
        {
            "id": [f"V-{number:05d}" for number in rng.permutation(90_000)[:rows]],
            "city": city,
            "paid": [(f"{amount:.2f}", "0.00", "NA")[k] for amount, k in zip(paid, kind, strict=True)],
            "nights": nights.astype(str),
            "stars": stars.astype(str),
            "member": np.where(is_member, "yes", "no"),
            "since": since.astype(str),
            "country": "NZ",
            "remark": [" ".join(rng.choice(WORDS, 9)) for _ in range(rows)],
            "spare": "",
        }
    )


def dice_frame():
    """A category of three values and a count that depends on it: a table small enough to sum over."""
    rng = np.random.default_rng(6)
    colour = rng.choice(["red", "green", "blue"], 400, p=[0.5, 0.3, 0.2])
    return pd.DataFrame({"colour": colour, "eyes": rng.poisson(np.where(colour == "red", 15, 25))})


def answers_frame():
    """Classes only, with the types of a DataFrame: text, a category with an order, a truth value, a small number."""
    rng = np.random.default_rng(8)
    size = rng.choice(["S", "M", "L"], 300, p=[0.2, 0.5, 0.3])
    return pd.DataFrame(
        {
            "shop": rng.choice(["east", "west"], 300),
            "size": pd.Categorical(size, categories=["S", "M", "L"], ordered=True),
            "sold": rng.random(300) < np.where(size == "M", 0.9, 0.3),
            "pieces": rng.integers(1, 5, 300).astype(np.int16),
        }
    )


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
def fit_shared(tmp_path_factory):
    """As `fit_tiny`, but what one of pytest-xdist's processes has fitted under a name, the others find.

    Returns the result, and what `on_progress` was told meanwhile.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def fit(data, name, **options):
        path = shared / f"{name}.pickle"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                told = []
                model = shared / f"{name}.augment"
                result = pipelines.fit(data, model=model, on_progress=told.append, **TINY | options)
                path.write_bytes(pickle.dumps((result, told)))
        return pickle.loads(path.read_bytes())

    return fit


@pytest.fixture(scope="session")
def moons_fit(fit_shared, moons):
    """The result of a fit to the moons, and what `on_progress` was told meanwhile."""
    return fit_shared(moons, "moons")


@pytest.fixture(scope="session")
def moons_model(moons_fit):
    return pathlib.Path(moons_fit[0].model)


@pytest.fixture(scope="session")
def orders_fit(fit_shared, orders):
    return fit_shared(orders, "orders", seed=3, batch_size=64, couplings=4)[0]


@pytest.fixture(scope="session")
def orders_model(orders_fit):
    return pathlib.Path(orders_fit.model)


@pytest.fixture(scope="session")
def visits(folder):
    """The path of a table of 600 rows with every kind of cell."""
    path = folder / "visits.csv"
    visits_frame().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def visits_fit(fit_shared, visits):
    """Long enough that the columns depend on each other."""
    return fit_shared(visits, "visits", target="member", steps=150, batch_size=128)[0]


@pytest.fixture(scope="session")
def visits_model(visits_fit):
    return pathlib.Path(visits_fit.model)


@pytest.fixture(scope="session")
def dice():
    return dice_frame()


@pytest.fixture(scope="session")
def dice_model(fit_shared, dice):
    return pathlib.Path(fit_shared(dice, "dice", steps=60)[0].model)


@pytest.fixture(scope="session")
def answers(folder):
    """The path of a Parquet file of classes only."""
    path = folder / "answers.parquet"
    answers_frame().to_parquet(path)
    return path


@pytest.fixture(scope="session")
def answers_model(fit_shared, answers):
    return pathlib.Path(fit_shared(answers, "answers", steps=60)[0].model)


@pytest.fixture(scope="session")
def sales_fit(fit_shared, folder):
    """The result of a fit to a table in which columns follow from others."""
    path = folder / "sales.csv"
    sales().to_csv(path, index=False)
    return fit_shared(path, "sales", steps=60)[0]


@pytest.fixture(scope="session")
def stock_model(fit_shared, folder):
    """A model of a table in which one column nearly determines another."""
    path = folder / "stock.csv"
    stock_frame().to_csv(path, index=False)
    return pathlib.Path(fit_shared(path, "stock", steps=60)[0].model)


@pytest.fixture(scope="session")
def heights():
    """One column of numbers, and nothing else."""
    return pd.DataFrame({"height": np.random.default_rng(9).gamma(9.0, 20.0, 500).round(1)})


@pytest.fixture(scope="session")
def heights_model(fit_shared, heights):
    return pathlib.Path(fit_shared(heights, "heights")[0].model)


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
        members.pop("seal")
        edit(description)
        write_model(target, description, members)
        return target

    return write


@pytest.fixture(scope="session")
def bucket():
    """The URI of a bucket of an S3 server on loopback, to which `.format(name)` gives a folder."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/bucket", method="PUT"))
    with pytest.MonkeyPatch.context() as patched:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "anyone's")
        patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield f"s3://bucket/{{}}?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    server.stop()
