# make up     installs on the first call, then serves; stop it with Ctrl-C
# make test   linters, types, import contract and all tests
# make lint   the first three of these
# make bench  benchmarks: prints the figures that the documentation quotes
# Another interpreter: make up PYTHON=python3.12   Options of `ni up`: make up ARGS="--port 9000"

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
ARGS ?=

# Few numeric threads: more only fight each other on small tensors, and timings repeat.
test bench: export OMP_NUM_THREADS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check install -c requirements.lock
PROGRESS := sed -un -e 's/^Collecting \([^ ]*\).*/  \1/p' -e 's/^\(Installing\) .*/\1 .../p'

.PHONY: help up test lint format bench openapi lock install install-test clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "No Python 3.11, 3.12 or 3.13 found. Name one: make up PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@$(PYTHON) -c '$(SUPPORTED)' || { \
	  echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13. Name one: make up PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml requirements.lock
	@echo "Installing into $(VENV): a few minutes and about 6 GB on Linux, most of it torch."
	@$(PIP) -e . | $(PROGRESS)
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need."
	@$(PIP) -e '.[test]' | $(PROGRESS)
	@touch $@

up: $(VENV)/.installed
	@exec $(BIN)/ni up $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: lint
	$(BIN)/python -m pytest $(ARGS)

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-test
	@for script in bench/[a-z]*.py; do echo; echo "== $$script"; $(BIN)/python "$$script"; done

openapi: $(VENV)/.installed
	$(BIN)/ni openapi > openapi.yaml

lock: $(VENV)/.installed-test
	$(BIN)/python scripts/lock.py > requirements.lock

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
