# `make search` and `make test` are all a newcomer needs; each sets up what is missing first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup docs help search report test sanitize bench check soak cluster-test ui clean
.DEFAULT_GOAL := help

help:
	@echo "make search   set up, then run the default search on the embedded corpus"
	@echo "make report   repeat the studies of the published report, about an hour on two cores, and compare"
	@echo "make test     set up, then run ruff, mypy, the kernels' memory checks and the tests"
	@echo "make sanitize the kernels at every small size under AddressSanitizer and UBSan; a part of make test"
	@echo "make soak     the slow tests: processes killed again and again, full disks, servers away"
	@echo "make cluster-test   several Ray nodes on this machine: lost, joining, autoscaled, launched (root, iproute2, sshd, Postgres)"
	@echo "make ui       the MLflow UI on the local database, at http://127.0.0.1:5000"
	@echo "make bench    every benchmark of docs/performance.md, against plain torch and other tools: hours on two cores"
	@echo "make check    ruff and mypy alone"
	@echo "make docs     the documentation as a site, its pages on commands, specs and Python from the code"
	@echo "make clean    remove .venv and caches; searches, runs and checkpoints stay"

setup: .venv/.complete

.venv/.complete: requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement requirements.txt --requirement requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --editable .  # the command `bakeoff`, and imports in notebooks
	@$(BIN)/python -m models >/dev/null 2>&1 || true  # the kernels; torch does their work where they cannot be compiled
	@touch $@

search: setup
	@$(BIN)/python -m search run

REPORT := rnn-activation rnn-hidden-size gru-activation gru-gate gru-hidden-size learning-rate mlp-depth attention-depth \
	parameter-match

report: setup
	@for study in $(REPORT); do $(BIN)/python -m search run report/$$study || exit 1; done
	@mkdir -p reports
	@$(BIN)/python -m analysis reproduce --out reports/reproduction.md

test: check sanitize
	@$(BIN)/python -m pytest

# The kernels' tests with a library that ends the process at the first access beyond an array. Python itself is not
# built so: the sanitizers' runtime has to be there before it, and its own leaks are not looked for.
sanitize: setup
	@export BAKEOFF_KERNELS=sanitize; if $(BIN)/python -m models >/dev/null; then \
		ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libstdc++.so)" \
		$(BIN)/python -m pytest tests/test_kernels_memory.py; fi

docs: setup
	@$(BIN)/python docs/reference.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "docs: site/index.html"

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

cluster-test: setup
	@$(BIN)/python tests/run_slow.py -m cluster -s

BENCHMARKS := time_loops trained_vectors prediction fixed_work where_time_goes growth time_to_target trained_vectors worth

bench: setup
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --requirement benchmarks/requirements.txt
	@mkdir -p reports/benchmarks
	@for name in $(BENCHMARKS); do \
		$(BIN)/python -m benchmarks.$$name --out reports/benchmarks/$$name.json || exit 1; done
	@$(BIN)/python -m benchmarks.driver 200 2000

soak: setup
	@$(BIN)/python tests/run_slow.py -m slow -s

ui: setup
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --host 127.0.0.1 --allowed-hosts 'localhost:*,127.0.0.1:*' --backend-store-uri sqlite:///$(CURDIR)/mlflow.db

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
