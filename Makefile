# `make help` lists the targets. Everything runs in .venv, which `make setup` creates; no activation needed.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test compose-test mutations check lint format types golden docs bench clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(INSTALLED) ## Create .venv and install the project with its development tools

# Runs again only when the dependencies may have changed.
$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup ## Watch requests go through a real Envoy, and follow your edits
	$(BIN)/xds-server demo

test: setup ## Run the whole test suite
	$(BIN)/python -m pytest -n auto

compose-test: setup ## Drive docker-compose.yml as a user would; needs a Docker engine
	$(BIN)/python -m pytest tests/compose --compose -n 0 -rs

mutations: setup ## Break the delivery in sixty ways, each of which a test must notice; about half an hour
	$(BIN)/python -m tests.protocol.mutations

check: lint types ## Everything but the tests: style, types, layers, spelling
	$(BIN)/lint-imports
	$(BIN)/codespell xds_server tests docs examples benchmarks *.md

lint: setup ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## Check the types
	$(BIN)/mypy

golden: setup ## Rewrite the expected output of tests/golden and examples
	$(BIN)/python -m pytest -n auto tests/golden --update-golden

docs: setup ## Rewrite the generated documentation
	$(BIN)/python -m pytest tests/test_docs.py tests/test_manifests.py --update-docs

protos: setup ## Compile protos/ after a change
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=. --pyi_out=. protos/xds_server/admin/*.proto

bench: setup ## Measure everything beside its floor, in a quarter of an hour on two idle cores
	$(BIN)/python -m benchmarks

clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
