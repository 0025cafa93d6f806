# Two commands do everything on a machine with Python 3.11+:  make demo  and  make test
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench simulate chaos clean

demo: .venv/demo.stamp  ## play a year of real flights through a real project
	$(BIN)/headrace demo

test: .venv/dev.stamp check  ## lint, types, imports, and all tests
	$(BIN)/pytest -n 2

check: .venv/dev.stamp  ## lint, types and the arrows of ARCHITECTURE.md
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: .venv/dev.stamp  ## one JSON line per result, with the machine's limits
	$(BIN)/python -m benchmarks.run

simulate: .venv/dev.stamp  ## crash schedules on all cores, to be stopped and gone on with: make simulate N=1000000 SEED=0
	$(BIN)/python -m headrace.testing.simulator --first $(or $(SEED),0) --count $(or $(N),10000) --planted tests/simulation $(if $(TABLES),--tables docs/testing.md)

chaos: .venv/dev.stamp  ## kill and pause real processes under load: make chaos MINUTES=5 SEED=1
	$(BIN)/python -m headrace.testing.chaos --minutes $(or $(MINUTES),5) --seed $(or $(SEED),1)

clean:
	rm -rf .venv build dist

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headrace needs Python 3.11 or newer; try  make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/bin/python requirements/demo.txt pyproject.toml
	@echo 'installing (about 30 s)'
	$(BIN)/pip install --quiet --require-hashes -r requirements/demo.txt
	$(BIN)/pip install --quiet --no-deps -e .
	@touch $@

.venv/dev.stamp: .venv/bin/python requirements/dev.txt pyproject.toml
	@echo 'installing (about 30 s)'
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps -e .
	@touch $@
