# Each target sets up what it needs in .venv, if it is not there yet.

PYTHON ?= python3
CARDS ?= 25000
SECONDS ?= 60
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# The embedded server's packages are in .venv, too, so that `make clean` removes everything.
export DATALOADER_CACHE_DIR ?= $(CURDIR)/$(VENV)/cache
# Commands and tests start many processes, and compiling every module each time takes longer than running them.
unexport PYTHONDONTWRITEBYTECODE
# Tests wait for other processes, too: one worker more than there are processors.
WORKERS := $(shell expr 1 + $$(nproc 2>/dev/null || echo 2))
# Use this machine's Node.js if it is new enough; otherwise install Node.js with the extra `embedded`.
NODE_OK := $(shell node -e 'process.exit(+process.versions.node.split(".")[0] >= 18 ? 0 : 1)' >/dev/null 2>&1 && npm --version >/dev/null 2>&1 && echo yes)
comma := ,
EMBEDDED := $(if $(NODE_OK),,embedded)
EXTRAS := test$(comma)bench$(if $(EMBEDDED),$(comma)$(EMBEDDED))

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-rest fuzz bench bench-floors lint types check docs pictures faults format build audit clean setup

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/runtime  ## Run the whole job on the embedded server
	@$(BIN)/dataloader demo

test: lint types  ## Run lint, types, and the tests for every change (five minutes)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not thorough'

test-all: lint types  ## Run lint, types, every test and benchmark, and measure coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --real-processes --hypothesis-profile new
	$(BIN)/coverage combine -q
	$(BIN)/coverage report
	$(BIN)/python -m bench --cards 50 --runs 1 --others 100 --many 0 --json build/small.json

test-rest: setup  ## Run the tests that `make test` skips (ten minutes)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m thorough

fuzz: setup  ## Search for inputs that crash a reader (SECONDS=60 for each)
	$(PIP) --editable '.[fuzz]'
	FUZZ_SECONDS=$(SECONDS) $(BIN)/pytest -n auto tests/fuzz
	$(BIN)/python -m tests.fuzz.run_atheris --seconds $(SECONDS)

bench: setup  ## Measure speed and memory, and compare with other tools (CARDS=25000; COUCHDB_URL)
	$(BIN)/python -m bench --cards $(CARDS)

bench-floors: setup  ## Run a small benchmark, which fails if something is ten times slower than usual
	$(BIN)/python -m bench --cards 2000 --runs 2 --floors

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

docs: setup  ## Write the generated parts of the docs
	$(BIN)/python -m tests.support.command_docs

pictures: setup  ## Draw the pictures of the docs from a real run (needs Chromium)
	$(BIN)/python -m tests.support.pictures

faults: setup  ## Write docs/faults.md from a run of every fault
	$(BIN)/pytest -q tests/faults/test_matrix.py --write-docs

format: setup  ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

build: setup  ## Build wheel, source distribution and bills of materials (CycloneDX) into dist/
	$(BIN)/python -m build
	$(BIN)/python -m tests.support.supply_chain bills

audit: setup  ## Look up known vulnerabilities of the dependencies
	$(BIN)/python -m tests.support.supply_chain audit

clean:  ## Remove everything that make set up or built
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache

setup: $(VENV)/installed

$(VENV)/installed: $(VENV)/runtime pyproject.toml
	$(PIP) --editable '.[$(EXTRAS)]'
	@touch $@

$(VENV)/runtime: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	@echo 'setting up $(VENV) (the first time only) …'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --no-compile --editable '.$(if $(EMBEDDED),[$(EMBEDDED)])'
	@touch $@
