# make demo, make test, make docs: each first installs what it needs into .venv, with python3 and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs-installed
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
PAGES := build/notebooks
PEERS := .peers
AUDIO ?= data_samples
FUZZ ?= 1000000
PEERS_PYTHON ?= $(PEERS)/bin/python

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test docs notebooks pictures wheel lint search crash chaos bench fuzz fuzz-parsers audit peers clean

demo: $(STAMP)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh data_samples/demo.sh demo_out

# Byte code is kept, or each of the processes that tests start compiles ulmo anew.
test: export PYTHONDONTWRITEBYTECODE =
test: $(STAMP) lint
	$(BIN)/python -m compileall -q ulmo tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --cov --cov-report=term

# The site of docs/, with the notebooks: build/site/index.html. Fails if a link of a page leads nowhere.
docs: notebooks
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "Open build/site/index.html, or, for its search, run: $(BIN)/python -m http.server -b 127.0.0.1 -d build/site"

# Every notebook is run from the top, and becomes a page with its outputs. Fails where one does.
notebooks: $(DOCS_STAMP)
	rm -rf $(PAGES)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m nbconvert --log-level WARN --to markdown --execute \
	    --CoalesceStreamsPreprocessor.enabled=True --output-dir $(PAGES) $(NOTEBOOKS)

# Every picture of docs/, which docs/gallery.md lists. Trainings differ a little from one computer to the next.
pictures: demo
# docs/cost.png is drawn by make bench, which measures what it shows.
	$(BIN)/python docs/pictures.py docs/tokens.png
	$(BIN)/ulmo show data_samples/whistles.wav --tokens --normalization corpus --start 2 --seconds 2 --out docs/show.png
	$(BIN)/ulmo show data_samples/whistles.wav --normalization corpus --out docs/frontends.png
	$(BIN)/ulmo eval --audio data_samples --json demo_out/shipped.json
	cp demo_out/shipped-usage.png docs/usage.png
	cp demo_out/shipped-codes.png docs/codes.png
	cp demo_out/run/pictures/reconstructions.png docs/reconstructions.png
	cp demo_out/repeats.png docs/repeats.png
	$(BIN)/python docs/screenshot.py demo_out/look.html docs/look.png
	$(BIN)/python docs/smaller.py docs/*.png

# Builds the wheel, installs it alone in a fresh environment, and tokenizes a file with it.
wheel: $(STAMP)
	$(BIN)/python -m tests.wheel

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The tests of properties with new inputs at each run, and more of them. `make test` always takes the same ones.
search: $(STAMP)
	$(BIN)/python -m pytest -n auto --no-cov -m hypothesis --hypothesis-profile=search

# MUTANTS mutants through every parser except that of recordings; each byte of each small file changed and cut off.
MUTANTS ?= 100000
fuzz-parsers: $(STAMP)
	$(BIN)/python -m tests.fuzz.parsers --count $(MUTANTS)
	ULMO_ALL=1 $(BIN)/python -m pytest -q --no-cov tests/pipelines/verify/test_every_byte.py

# Known vulnerabilities of the installed packages, as pypi.org lists them. Says so if the index has no such list.
audit: $(STAMP)
	@$(BIN)/python -m pip install --quiet 'pip-audit>=2.7'
	@$(BIN)/python -m tests.audit

# CRASH kills, spread over all calls that write; full disks; 1,000 kills of Dask's processes; kills in ulmo-train;
# then the tests of which `make test` takes a share. Takes about two hours.
CRASH ?= 5000
crash: $(STAMP)
	$(BIN)/python -m tests.crash.campaign kill $(CRASH) full 1000
	$(BIN)/python -m tests.crash.reads 420
	$(BIN)/python -m tests.crash.cluster 1000
	$(BIN)/python -m tests.crash.training saves 200
	$(BIN)/python -m tests.crash.training kill 100
	$(BIN)/python -m tests.crash.training full 50
	$(BIN)/python -m tests.crash.training stops 8
	ULMO_ALL=1 $(BIN)/python -m pytest -n auto --no-cov -m kills
	ULMO_ALL=1 $(BIN)/python -m pytest -q --no-cov tests/sequence/test_scoring.py -k splits

# Several jobs on one output for MINUTES, with signals to all of them and recordings that change meanwhile. Prints how
# many there were, of what. MINUTES may be exceeded by a round.
MINUTES ?= 10
SEED ?= 0
chaos: $(STAMP)
	$(BIN)/python -m tests.chaos.campaign --minutes $(MINUTES) --seed $(SEED)

# All of docs/benchmarks.md, and of docs/scale.md what takes minutes; about 40 minutes on two quiet cores. Memory is
# measured with 1,000 recordings and RECORDINGS: 100000 take some ten minutes more.
RECORDINGS ?= 20000
bench: $(STAMP)
	$(BIN)/python -m benchmarks.tokenize --peers-python $(PEERS_PYTHON) --only start,speed,stream
	$(BIN)/python -m benchmarks.many --recordings 1000 $(RECORDINGS)
	$(BIN)/python -m benchmarks.prep
	$(BIN)/python -m benchmarks.train $(AUDIO) --peers-python $(PEERS_PYTHON)
	$(BIN)/python -m benchmarks.frontends
	$(BIN)/python -m benchmarks.tokenize --only day
	$(BIN)/python -m benchmarks.scale --only efficiency

# FUZZ mutants through the reader of recordings. `make test` has a bounded run of it.
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.reader --count $(FUZZ) --workers 2

# The peers of benchmarks.tokenize and benchmarks.train, in an environment of their own. moshi and snac come without
# their dependencies: Mimi needs few of them, and they ask for older torch, NumPy and huggingface-hub.
peers: $(PEERS)/.installed

$(PEERS)/.installed: Makefile
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet torch==2.13.0
	$(PEERS)/bin/python -m pip install --quiet transformers==5.24.0 soundfile einops sentencepiece
	$(PEERS)/bin/python -m pip install --quiet --no-deps moshi==0.2.13 snac==1.2.1
	$(PEERS)/bin/python -m pip install --quiet vector-quantize-pytorch==1.32.0
	@touch $@

# pip compiles what it installs, but not what is editable: where Python keeps no byte code, as in many containers, each
# command would compile 190 modules, a quarter of a short one.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m compileall -q ulmo
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) demo_out build .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
