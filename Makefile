# Everything a person or CI does here. `make check test` is exactly what .ci/run runs.
# PYTHON=3.12 (a version, a name or a path) works in an environment of its own, beside the usual .venv.

PYTHON ?= python3
VENV ?= $(if $(filter 3.%,$(PYTHON)),.venv-$(PYTHON),.venv)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := .demo
ARGS ?=

# a machine that forbids byte code would compile every module in each of the many processes started here
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-fast test-lowest check fmt bench fuzz lock clean

help: ## what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1mmake %-12s\033[0m %s\n", $$1, $$2}' Makefile

$(READY): requirements-dev.lock pyproject.toml scripts/bootstrap
	@scripts/bootstrap $(VENV) $(PYTHON)
	@touch $@

dev: $(READY) ## an environment to work in, from the hash lock: .venv

demo: $(READY) ## install everything, start a server, run a real pipeline on real data, show what the server remembers of it
	@RIVERRUN_HOME="$(CURDIR)/$(DEMO)/home" $(BIN)/python examples/demo.py --output $(DEMO)/output $(ARGS)

test: $(READY) ## the whole test suite (ARGS="tests/meta -k locks" for a part)
	@if [ -f scripts/postgres.py ]; then $(BIN)/python scripts/postgres.py ensure; fi
	@$(BIN)/python scripts/peer.py ensure
	@$(BIN)/python -m pytest $(ARGS)

test-fast: $(READY) ## the suite without slow tests and without PostgreSQL
	@$(BIN)/python -m pytest -m "not slow and not postgres" $(ARGS)

test-lowest: ## the fast suite with the lowest versions pyproject.toml allows
	@scripts/test-lowest $(PYTHON) $(ARGS)

check: lint format types floors ## lint, format, types, floors: all that is judged without running
.PHONY: lint format types floors
lint: $(READY)
	@$(BIN)/ruff check .
format: $(READY)
	@$(BIN)/ruff format --check .
types: $(READY)
	@$(BIN)/mypy
floors: $(READY)
	@$(BIN)/lint-imports --no-cache

fmt: $(READY) ## format, and mend what can be mended
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(READY) ## every figure beside its budget (PEER=1: beside Prefect's too; ARGS="import task" for some)
	@$(BIN)/python -m bench.run $(if $(PEER),--peer) $(ARGS)

fuzz: $(READY) ## bad requests by the ten thousand: no 5xx (ARGS="--database sqlite --quick")
	@$(BIN)/python scripts/fuzz.py $(ARGS)

lock: $(READY) ## write the lock files anew (ARGS=--upgrade: newest versions allowed)
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/lock $(ARGS)

clean: ## remove what was made here: environments, caches, the demo's output
	@rm -rf .venv .venv-* .bench-peer .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
