# Everything a newcomer needs: `make demo` and `make test`. Python 3.11 or later and make are assumed, nothing else.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench docs clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
MODELS := $(VENV)/.installed-models
EVERYTHING := $(VENV)/.installed-everything
WORKERS ?= 2

# The first interpreter that is new enough and can make virtual environments; PYTHON=/path/to/python overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(EVERYTHING)  ## .venv with all that the tests, the checks and the docs need; does nothing when it is up to date

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "error: no Python 3.11 or later that can make virtual environments was found." >&2; \
	  echo "  Debian, Ubuntu: sudo apt-get install -y python3 python3-venv" >&2; \
	  echo "  elsewhere: make setup PYTHON=/path/to/python3.11" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)

# torch comes first and alone: it is by far the largest download, and a failure there should be seen as what it is.
$(MODELS): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt torch
	$(PIP) install --quiet -c constraints.txt -e '.[models]'
	@touch $@

$(EVERYTHING): $(MODELS)
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

test: $(EVERYTHING)  ## all tests (WORKERS=2 processes of one thread each)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(EVERYTHING)  ## ruff, its formatter, and mypy --strict on src
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(EVERYTHING)  ## rewrite the code as `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(EVERYTHING)  ## speed and memory beside the peers, ratios printed
	@set -e; for script in $(filter-out benchmarks/harness.py,$(wildcard benchmarks/*.py)); do \
	  echo "== $$script"; $(BIN)/python $$script $(ARGS); done

docs: $(EVERYTHING)  ## the documentation site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html"

# The main job twice into one folder: recall on a task made for it, then language modelling on the reference that
# CPython carries, which is real text that every machine has. --resume makes a second `make demo` go on with the first.
DEMO := runs/demo
DEMO_MEMORIES := attention sliding-window:window=16 mamba2 gated-deltanet
# one learning rate for all, to save time; recall's is Mamba-2's best on tuning seeds, text's was never tuned
DEMO_OPTIONS := --output $(DEMO) --resume

demo: $(MODELS)  ## four memories on associative recall and on real text, then both tables and one report
	$(BIN)/mnemic compare mqar:pairs=8,length=64,vocab=256 $(DEMO_MEMORIES) --budget 600 --lr-grid 1e-2 $(DEMO_OPTIONS)
	$(BIN)/mnemic compare text:python-reference,length=128 $(DEMO_MEMORIES) --budget 300 --batch-size 32 --lr-grid 5e-3 $(DEMO_OPTIONS)
	@$(BIN)/python -m mnemic.report $(DEMO)

clean:  ## remove caches and built files; your runs/ and the .venv stay
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
