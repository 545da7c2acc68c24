# `make demo` and `make test` set up what they need, in .venv, and are quick when it is there already.

PYTHON ?= python3
CARDS ?= 25000
SECONDS ?= 60
VENV := .venv
BIN := $(VENV)/bin
# The embedded server's packages lie in .venv, too, so that removing it removes everything.
export DATALOADER_CACHE_DIR ?= $(CURDIR)/$(VENV)/cache
# Node.js of this machine if it is new enough, else the one of the extra `embedded`.
NODE_OK := $(shell node -e 'process.exit(+process.versions.node.split(".")[0] >= 18 ? 0 : 1)' >/dev/null 2>&1 && npm --version >/dev/null 2>&1 && echo yes)
comma := ,
EXTRAS := test$(comma)bench$(if $(NODE_OK),,$(comma)embedded)

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz bench bench-floors lint types check docs faults format build audit clean setup

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup  ## See the whole main job happen on the embedded server
	@$(BIN)/dataloader demo

test: setup lint types  ## Lint, types, tests, coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

fuzz: setup  ## Hunt for inputs that are neither taken nor refused (SECONDS=60 for each)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]' \
	    || echo 'atheris can not be installed here; hypothesis hunts alone'
	FUZZ_SECONDS=$(SECONDS) $(BIN)/pytest -n auto tests/fuzz
	$(BIN)/python -m tests.fuzz.run_atheris --seconds $(SECONDS)

bench: setup  ## Measure speed and memory against the ceiling and other tools (CARDS=25000, COUCHDB_URL)
	$(BIN)/python -m bench --cards $(CARDS)

bench-floors: setup
	$(BIN)/python -m bench --cards 2000 --others 0 --many 0 --floors

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

docs: setup  ## Write the --help texts into docs/commands.md anew
	$(BIN)/python -m tests.support.command_docs

faults: setup  ## Put every fault in the way of every command, and write docs/faults.md anew (COUCHDB_URL)
	$(BIN)/pytest -q tests/faults/test_matrix.py --write-docs

format: setup  ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

build: setup  ## Build the wheel, the source distribution and their bills of materials (CycloneDX) into dist/
	$(BIN)/python -m build
	$(BIN)/python -m tests.support.supply_chain bills

audit: setup  ## Ask the registries for known vulnerabilities of what the project depends on
	$(BIN)/python -m tests.support.supply_chain audit

clean:  ## Remove everything that was set up or built
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@
