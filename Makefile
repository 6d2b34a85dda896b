# Every verb sets up what it needs. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Hashes and names alone: a lock file says nothing of where its packages come from.
LOCK_FLAGS := -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --no-emit-build-options

.DEFAULT_GOAL := help
.PHONY: help install demo test browser lint types bench fault lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ganzhi needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing ganzhi and its libraries into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "installing the development tools into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

install: $(VENV)/.runtime  ## ganzhi and its libraries into .venv, nothing more

demo: $(VENV)/.runtime  ## the main job on the embedded stack, e.g. make demo ARGS="--for 90s --json"
	@$(BIN)/ganzhi demo $(ARGS)

test: $(VENV)/.dev lint types browser  ## linters, types and every test, on the real Kafka and the real ClickHouse engine
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# The console's tests drive the Chromium of the system. It is installed where that is allowed; else the tests say what is missing, and skip.
browser:  ## Chromium for the console's tests, where it can be installed
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "installing Chromium for the console's tests (once)" && \
	  { apt-get install -qq -y --no-install-recommends chromium fonts-noto-cjk >/dev/null 2>&1 || \
	    { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-noto-cjk; } >/dev/null 2>&1; }; } || \
	echo "no Chromium: the console's browser tests will be skipped; install one, for example: apt-get install chromium fonts-noto-cjk"

lint: $(VENV)/.dev  ## ruff: style and docstrings
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict
	@$(BIN)/mypy

bench: $(VENV)/.runtime  ## the figures
	@$(BIN)/ganzhi bench $(ARGS)

fault: $(VENV)/.dev  ## nothing lost, nothing twice: long tests, simulation, mutants, hostile bytes, real faults; ARGS="--minutes 10" is shorter
	@$(BIN)/python -m tests.fault $(ARGS)

lock: ## write the lock files anew from pyproject.toml (hashes, no addresses)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile $(LOCK_FLAGS) pyproject.toml .lock-extra.txt -o requirements.lock
	@$(BIN)/uv pip compile $(LOCK_FLAGS) --extra dev -c requirements.lock pyproject.toml .lock-extra.txt -o requirements-dev.lock

clean:  ## remove what the verbs above made here (not the caches and data of the user)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
