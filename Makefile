# make demo   fits data/moons.csv, writes out.csv with 10,000 new rows and moons.png
# make test   runs the tests;  make lint  runs ruff and mypy and builds the documentation
# make docs   builds the documentation into site/;  make bench and make bench-speed  measure (benchmarks/README.md)
# make examples   runs every recipe of docs/examples at full size and writes its tables and pictures
# Each sets up what it needs in .venv first. Needs Python 3.11 to 3.13, make and a package index.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint docs examples bench bench-speed clean

demo: $(READY)
	$(BIN)/augment fit data/moons.csv -m moons.augment --force
	$(BIN)/augment generate -m moons.augment --n 10000 --seed 0 -o out.csv --force
	$(BIN)/python docs/draw_moons.py data/moons.csv out.csv moons.png

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build --strict

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

examples: $(READY)
	for recipe in $$(grep -l '^def run(' docs/examples/*.py); do $(BIN)/python $$recipe || exit 1; done

bench: $(READY)
	$(BIN)/python benchmarks/moons.py all

# PEERS is a virtual environment with the other libraries (benchmarks/speed.py says how to make it), DATA the tables.
bench-speed: $(READY)
	$(BIN)/python benchmarks/speed.py run --peers-python $(PEERS)/bin/python --data $(DATA)
	$(BIN)/python benchmarks/speed.py table

clean:
	rm -rf $(VENV) build site *.egg-info out.csv moons.png moons.augment

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs,lint,test]'
	touch $@
