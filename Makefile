# make demo   fits data/moons.csv, writes out.csv with 10,000 new rows, moons.png and moons.html, and judges them
# make test   runs the tests, make test-slow those that take long;  make lint  runs ruff and mypy and builds the documentation
# make check-report and make check-sdmetrics  look at reports in a browser, and compare figures with SDMetrics
# make torture   kills, fills disks and mutates files (docs/reliability.md)
# make docs   builds the documentation into site/;  make bench and make bench-speed  measure (benchmarks/README.md)
# make examples   runs every recipe of docs/examples at full size and writes its tables and pictures
# Each sets up what it needs in .venv first. Needs Python 3.11 to 3.13, make and a package index.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A new pip takes two thirds of the time that Python's own takes. Packages are compiled once, on all cores (pip takes
# one), but for what is hardly imported: where that is not kept, each process does it again, for seconds.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-slow torture lint docs examples check-report check-sdmetrics bench bench-speed clean

demo: $(READY)
	$(BIN)/augment fit data/moons.csv -m moons.augment --force
	$(BIN)/augment generate -m moons.augment --n 10000 --seed 0 -o out.csv --force
	$(BIN)/augment plot data/moons.csv -m moons.augment --force
	$(BIN)/augment report data/moons.csv -m moons.augment --holdout data/moons_test.csv --target y --force
	$(BIN)/augment evaluate data/moons.csv out.csv --holdout data/moons_test.csv --target y

test: $(READY)
	$(BIN)/python -m pytest

# Those that train in processes of their own, or do harm at length.
test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# What is left alive after the harm that docs/reliability.md lists.
torture: $(READY)
	$(BIN)/python tests/torture/run.py

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build --strict

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

examples: $(READY)
	for recipe in $$(grep -l '^def run(' docs/examples/*.py); do $(BIN)/python $$recipe || exit 1; done

# Needs npm and BROWSER, a Chromium; with DATA, a folder of tables, adult's report is looked at, too.
check-report: $(READY)
	mkdir -p build/report
	$(BIN)/augment fit data/moons.csv -m build/report/moons.augment --seed 0 --force --quiet
	$(BIN)/augment report data/moons.csv -m build/report/moons.augment --holdout data/moons_test.csv --target y --force
ifdef DATA
	$(BIN)/augment fit $(DATA)/adult/train.csv -m build/report/adult.augment --target income --max-time 60s --force --quiet
	$(BIN)/augment report $(DATA)/adult/train.csv -m build/report/adult.augment --holdout $(DATA)/adult/test.csv --force
endif
	npm install --prefix tests/browser --no-package-lock --no-audit --no-fund --silent
	node tests/browser/check_report.mjs $(BROWSER) build/report/screens build/report/*.html

# With TABLES, pairs of a real table and a synthetic one, these are compared; otherwise made ones.
check-sdmetrics: $(READY)
	$(BIN)/python tests/peers/check_sdmetrics.py build/sdmetrics $(TABLES)

bench: $(READY)
	$(BIN)/python benchmarks/moons.py all

# PEERS is a virtual environment with the other libraries (benchmarks/speed.py says how to make it), DATA the tables.
bench-speed: $(READY)
	$(BIN)/python benchmarks/speed.py run --peers-python $(PEERS)/bin/python --data $(DATA)
	$(BIN)/python benchmarks/speed.py table

clean:
	rm -rf $(VENV) build site *.egg-info tests/browser/node_modules out.csv moons.png moons.html moons.augment

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[docs,lint,test]'
	-$(BIN)/python -m compileall -q -j 0 -x '/(tests?|substrates|ray|moto|botocore|pip|setuptools)/' $(VENV)/lib
	touch $@
