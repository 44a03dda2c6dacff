# The commands of this repository. Needs make and Python 3.11 or newer with pip and venv; nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first of these that runs and is new enough; `make PYTHON=/path/to/python3.12 setup` overrides it.
# An empty answer is reported by the recipe that needs it, so that `make help` and `make clean` work without Python.
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo "$$python" && break; done)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CODE := tidegate ingest consumer dlq tests

# Tests of these need no server, so that one round of them is enough.
SERVERLESS := tests/ingest/adapters tests/documents tests/fuzz

.PHONY: help setup demo up test test-installed check format docs chaos fuzz bench vectors lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## build .venv from requirements.lock, then .venv/bin/tidegate works

# Hashes pin every dependency; the project itself has none and is therefore installed in a step of its own, with the
# build backend that the lock brought, so that nothing unpinned is ever fetched.
$(INSTALLED): pyproject.toml requirements.lock
	@if ! "$(or $(PYTHON),python3)" -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
		echo 'Tidegate needs Python 3.11 or newer, and "$(or $(PYTHON),python3)" is not:' \
			'install one, or name one with `make PYTHON=/path/to/python3.12 ...`' >&2; exit 2; fi
	@if ! test -x $(BIN)/python || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		"$(PYTHON)" -m venv --clear $(VENV) || { \
		echo '$(PYTHON) cannot make a virtual environment (Debian and Ubuntu: apt install python3-venv)' >&2; exit 2; }; fi
	@echo 'Building $(VENV) from requirements.lock (about half a minute, once)'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## the whole system with signed traffic and a killed worker, then its ledger; ends by itself
	$(BIN)/tidegate demo

up: setup ## serve the sources of tidegate.toml on embedded servers until Ctrl-C; data in ./.tidegate
	$(BIN)/tidegate up

test: setup check ## check, then all tests; servers: TIDEGATE_TEST_SERVERS=auto|embedded|testcontainers|installed
	$(BIN)/python -m pytest

test-installed: setup ## the tests without processes, on the redis-server and PostgreSQL that this machine has installed
	TIDEGATE_TEST_SERVERS=installed $(BIN)/python -m pytest -m 'not process' $(SERVERLESS:%=--ignore %)

check: setup ## formatting, lint, types, import rules; changes nothing
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

docs: setup ## write what is made of the providers' declarations: docs/providers/, ingest/providers/schema.json
	$(BIN)/python -m tests.documents

chaos: setup ## everything killed, stopped, cut and filled under traffic, then the books compared; CHAOS='--seed 7', CHAOS=overload
	$(BIN)/python -m tests.chaos $(CHAOS)

fuzz: setup ## bytes guided by coverage into every parser; FUZZ='lemlist-hostile --seconds 60'
	$(BIN)/python -m tests.fuzz $(or $(FUZZ),all)

bench: setup ## events a second that this machine takes in and applies, and what a request's verification costs; BENCH='--only verifying'
	$(BIN)/python -m tests.bench $(BENCH)

# The SDKs of fifty providers have no business in .venv: they would hold back the versions of what Tidegate runs on.
# NAME counts only where it is given to make: some shells export one.
vectors: ## make the providers' test vectors anew with their SDKs, in a throw-away environment; NAME=stripe
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder/sdks"; \
	"$$folder/sdks/bin/pip" install -qq --disable-pip-version-check -r tests/providers/making/sdks.txt; \
	"$$folder/sdks/bin/python" -m tests.providers.making $(if $(filter command,$(firstword $(origin NAME))),$(NAME))

# uv reads the registry's file list, so the locks cover every platform and Python that has wheels, not only this one.
# editables is what hatchling asks for when it installs the project editable; without build isolation we must bring it.
# The container image installs from the other two, whose versions are those of requirements.lock: what was tested runs.
# Pins that still fit are kept; `make lock UPGRADE=--upgrade` takes the newest of everything.
lock: ## bring the three requirements*.lock into step with pyproject.toml (fetches uv into a throw-away environment)
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder/uv"; \
	"$$folder/uv/bin/pip" install -qq --disable-pip-version-check 'uv>=0.5'; \
	compile() { \
		cp "$$1" "$$folder/pins"; \
		"$$folder/uv/bin/uv" --quiet pip compile "$${@:2}" \
			--universal --python-version 3.11 --generate-hashes \
			--no-annotate --no-header --no-emit-index-url --no-emit-find-links -o "$$folder/pins" >/dev/null; \
		{ grep '^#' "$$1"; cat "$$folder/pins"; } > "$$folder/lock"; \
		cp "$$folder/lock" "$$1"; \
	}; \
	echo 'editables>=0.5' | compile requirements.lock pyproject.toml - --extra dev --extra embedded $(UPGRADE); \
	compile requirements-runtime.lock pyproject.toml --constraint requirements.lock --upgrade; \
	echo 'hatchling' | compile requirements-build.lock - --constraint requirements.lock --upgrade

clean: ## remove .venv, caches and the data of `make up`
	rm -rf $(VENV) .tidegate dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
