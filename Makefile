# Every target sets up what it needs first; `make` alone lists them.

PYTHON := .venv/bin/python
PYTEST_ARGS ?=
ORDERS ?=

.DEFAULT_GOAL := help
.PHONY: help setup up down dev demo test fmt lint type bench soak lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## .venv with the pinned packages, and RabbitMQ if there is none
	@sh ops/setup.sh

demo: setup ## the main job on 830 real orders, from nothing to a table (ORDERS=50 for a short one)
	@$(PYTHON) -m ops.demo $(if $(ORDERS),--orders $(ORDERS))

up: setup ## the whole platform until Ctrl-C
	@$(PYTHON) -m ops.up

dev: setup ## the same, reloading on change
	@$(PYTHON) -m ops.up --reload

down: setup ## stop what is left of `make up`
	@$(PYTHON) -m ops.up --down

test: setup ## all tests, on the real stack (PYTEST_ARGS='-k orders')
	@sh ops/setup.sh browser
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

fmt: setup ## format, and fix what can be fixed
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

lint: setup ## style, format and import contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports

type: setup ## mypy, strict
	@.venv/bin/mypy

bench: setup ## measure this machine, print a table and one JSON line
	@$(PYTHON) -m ops.bench

soak: setup ## the long run: any journey against the books, 50,000 orders, a shop under faults
	@HYPOTHESIS_PROFILE=soak $(PYTHON) -m pytest tests/e2e/test_books.py tests/e2e/test_contract.py
	@$(PYTHON) -m pytest -m long
	@$(PYTHON) -m ops.soak

lock: setup ## pin the newest versions that pyproject.toml allows
	@.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
		--extra dev --extra console --extra telemetry \
		--generate-hashes --no-emit-index-url --no-header --no-annotate \
		pyproject.toml --output-file requirements.lock

clean: ## stop every stack, then delete .venv, .stack and caches
	@[ ! -x $(PYTHON) ] || for state in $(wildcard .stack/*/stack.json); do \
		$(PYTHON) -m ops.stack down --name $$(basename $$(dirname $$state)) || exit 1; done
	@rm -rf .venv .stack .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
