# Drumbeat's commands. `make run` starts everything on this machine, `make test` proves it.

VENV := .venv
BIN := $(VENV)/bin
# One process for each core: `make test TESTS_AT_ONCE=4`.
TESTS_AT_ONCE ?= 2
LOCK := uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11

.PHONY: help setup run test check bench storm lock clean
.DEFAULT_GOAL := help

help: ## show these commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## make the virtual environment; find or build the Temporal server
	@scripts/environment $(VENV) requirements-dev.txt
	@PYTHONPATH=. $(BIN)/python -m drumbeat.machine.temporal

# One simple command, which make runs without a shell between: signals reach it.
run: setup ## start everything with the example, until Ctrl-C
	@$(BIN)/python starter.py up --example

test: setup ## run all tests
	@scripts/test-packages
	@PYTHONPATH=. $(BIN)/python -m drumbeat.machine.build
	@$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile

check: ## formatting, lint, types, the arrows between the rooms, replay of histories
	@scripts/environment $(VENV) requirements-dev.txt
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/workflows/test_replay.py

bench: setup ## measure against the floor
	@$(BIN)/python -m bench

storm: setup ## kill processes at random for 20 minutes, and count every email
	@$(BIN)/python -m storm $(STORM)

lock: ## pin what requirements*.in name, by hash (needs uv)
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt

clean: ## remove the virtual environment and the caches, not the data
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
