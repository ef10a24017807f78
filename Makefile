# A newcomer needs only `make search` and `make test`; both set up what is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup docs help search report test sanitize bench check soak cluster-test ui clean
.DEFAULT_GOAL := help

help:
	@echo "make search   set up, then run the default search on IMDB reviews"
	@echo "make report   repeat the studies of the published report and compare: about an hour on two cores"
	@echo "make test     set up, then run ruff, mypy, the kernels' memory checks and the tests"
	@echo "make sanitize test the kernels at every small size under AddressSanitizer and UBSan (part of make test)"
	@echo "make soak     the slow tests: killed processes, full disks, unreachable servers"
	@echo "make cluster-test   tests with several Ray nodes on this machine (needs root, iproute2, sshd, Postgres)"
	@echo "make ui       start the MLflow UI on the local database, at http://127.0.0.1:5000"
	@echo "make bench    run the benchmarks of docs/performance.md, against plain torch and other tools: hours on two cores"
	@echo "make check    run ruff and mypy only"
	@echo "make docs     generate the pages on commands, specs and Python, and build the documentation site"
	@echo "make clean    remove .venv and caches; searches, runs and checkpoints stay"

setup: .venv/.complete

.venv/.complete: requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement requirements.txt --requirement requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --editable .  # installs the command `bakeoff` and makes notebooks find the packages
	@$(BIN)/python -m models >/dev/null 2>&1 || true  # compiles the kernels; torch replaces them where that fails
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

# Tests the kernels in a build that aborts at the first access outside an array. Python itself is not built that way, so
# the sanitizers' runtime is preloaded, and leaks (which are Python's) are ignored.
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
