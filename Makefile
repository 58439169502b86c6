# Tellwire. `make help` says what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help run test sim soak check bench fmt docs clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.venv/bin/python:
	@$(PYTHON) -m venv .venv

.venv/server.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing Tellwire into .venv (only the first time takes long)"
	@$(INSTALL) -e '.[server]'
	@touch $@

# All of it by one call, which takes half as long as two.
.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing Tellwire and what develops it into .venv (only the first time takes long)"
	@$(INSTALL) -e '.[dev]'
	@touch .venv/server.stamp $@

.venv/bench.stamp: .venv/dev.stamp
	@$(INSTALL) -e '.[bench]'
	@touch $@

run: .venv/server.stamp ## install into .venv and start a development server on SQLite
	@exec $(BIN)/tellwire serve --dev

test: .venv/dev.stamp ## everything tests need, then all tests (ARGS="-k name" for some, POSTGRES=14 for another version)
	$(if $(POSTGRES),TELLWIRE_TEST_POSTGRES=$(POSTGRES) )$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

sim: .venv/dev.stamp ## simulations of several processes, for many seeds (SEEDS=5000; SEED=123 tells the story of one)
	$(BIN)/python -m tests.simulation $(if $(SMALL),--small )$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0))

soak: .venv/dev.stamp ## real processes, both stores, all faults for a while, then a ledger (MINUTES=60; SEED=123)
	$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

check: .venv/dev.stamp ## ruff, mypy --strict, import-linter, and whether the HTTP API would break its clients
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.openapi_changes

bench: .venv/bench.stamp ## measure: throughput and latency, or ARGS="--only growth fanout tls idle"
	$(BIN)/python -m benchmarks.bench $(ARGS)

fmt: .venv/dev.stamp ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/dev.stamp ## make the generated reference pages (settings, command line, metrics, OpenAPI) and the SQL of new databases anew
	$(BIN)/python -m docs.generate

clean: ## remove what was installed and generated here
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
