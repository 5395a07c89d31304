# make demo, make test: each sets itself up in .venv, with python3 and the package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test lint bench clean

demo: $(STAMP)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh data_samples/demo.sh demo_out

test: $(STAMP) lint
	$(BIN)/python -m pytest --cov --cov-report=term

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks.frontends
	$(BIN)/python -m benchmarks.prep

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) demo_out .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
