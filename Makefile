# `make search` and `make test` are all a newcomer needs; each sets up what is missing first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup help search test check soak ui clean
.DEFAULT_GOAL := help

help:
	@echo "make search   set up, then run the default search on the embedded corpus"
	@echo "make test     set up, then run ruff, mypy and the tests"
	@echo "make soak     the slow tests: processes killed again and again, full disks, servers away"
	@echo "make ui       the MLflow UI on the local database, at http://127.0.0.1:5000"
	@echo "make check    ruff and mypy alone"
	@echo "make clean    remove .venv and caches; searches, runs and checkpoints stay"

setup: .venv/.complete

.venv/.complete: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement requirements.txt
	@touch $@

search: setup
	@$(BIN)/python -m search run

test: check
	@$(BIN)/python -m pytest

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

soak: setup
	@$(BIN)/python -m pytest -m slow -s

ui: setup
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///$(CURDIR)/mlflow.db

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
