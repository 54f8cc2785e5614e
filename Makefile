# `make` alone lists the targets. AIRFLOW picks the minor version, and with it the virtual environment and its pins.

AIRFLOW ?= 3.3
PYTHON ?= python3
VENV ?= .venv-$(AIRFLOW)
ARGS ?=

UV_VERSION := 0.13.9
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
MINORS := 2.11 3.0 3.1 3.2 3.3
# The oldest Airflow, and the oldest version of whatever else pyproject.toml asks for.
LEAST := 2.11-least
comma := ,
space := $() $()
# The last Python of those minors of Airflow that do not go up to 3.13.
LAST_PYTHON_2.11 := 3.12
LAST_PYTHON_$(LEAST) := 3.12
LAST_PYTHON_3.0 := 3.12
# What Airflow's own requirements let in, and what it does not work with; pytest 9.2 makes xdist 3.8 ignore its groups.
NOT_WITH := celery<5.7 pytest<9.2
NOT_WITH_3.0 := cadwyn<5.4.5 fastapi<0.117 pydantic<2.12
NOT_WITH_3.2 := cadwyn<8 fastapi<0.137

ANY_EXTRAS := parquet report zstd
# The client for time stamps needs a newer cryptography than the package does.
EXTRAS = $(subst $(space),$(comma),$(ANY_EXTRAS))$(if $(filter $(LEAST),$(AIRFLOW)),,$(comma)timestamp)

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One worker a core of a small machine. Tests of one `xdist_group` share a worker, as those should that start Airflow.
XDIST ?= -n 2 --dist loadgroup

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The user's own Airflow is never touched.
export AIRFLOW_HOME := $(abspath $(VENV))/airflow-home
export AIRFLOW__CORE__LOAD_EXAMPLES := False

.PHONY: help
help: ## This list
	@echo "make TARGET [AIRFLOW=$(AIRFLOW)] [PYTHON=$(PYTHON)] [ARGS=...]     AIRFLOW is one of: $(MINORS) $(LEAST)"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: venv
venv: $(STAMP) ## The virtual environment, from the pins of constraints/

# Reached only when the file is missing.
constraints/airflow-%.txt:
	@echo "There is no $@: AIRFLOW is one of: $(MINORS) $(LEAST)" >&2; exit 2

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; last = tuple(map(int, "$(or $(LAST_PYTHON_$(AIRFLOW)),3.13)".split("."))); \
	  (3, 10) <= v <= last or sys.exit("Airflow $(AIRFLOW) needs Python 3.10 to %d.%d, $(PYTHON) is %d.%d: set PYTHON" % (*last, *v))'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) cannot make virtual environments: install python3-venv" >&2; exit 2; }
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(STAMP): pyproject.toml $(CONSTRAINTS) | $(BIN)/uv
	@echo "Installing Airflow $(AIRFLOW) and this provider into $(VENV) ..."
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --constraints $(CONSTRAINTS) --build-constraints $(CONSTRAINTS) \
	  --group dev --editable '.[$(EXTRAS)]'
	@touch $@

# Tests that are marked slow take from ten seconds to minutes each.
FAST := -m "not slow and not system"

.PHONY: test
test: $(STAMP) ## Unit and integration tests but the slow ones
	$(BIN)/python -m pytest $(XDIST) $(FAST) $(ARGS)

# A target of its own, since measuring slows the tests down.
.PHONY: coverage
coverage: $(STAMP) ## The same, with branch coverage of the package
	$(BIN)/python -m pytest $(XDIST) $(FAST) --cov --cov-report=term-missing:skip-covered $(ARGS)

.PHONY: test-unit
test-unit: $(STAMP) ## Unit tests but the slow ones
	$(BIN)/python -m pytest $(XDIST) $(FAST) tests/unit $(ARGS)

.PHONY: test-slow
test-slow: $(STAMP) ## The slow tests: every interleaving of two tries, a year of damages, the tutorial, kills by the hundred
	$(BIN)/python -m pytest $(XDIST) -m "slow and not system" $(ARGS)

# Ceph's gateway keeps everything in memory; its packages are radosgw, ceph-mon, ceph-osd, ceph-mgr and ceph-common.
# Below the ports that systems give to clients.
S3_PORT ?= 23080
S3_FOLDER ?= build/ceph
.PHONY: test-s3
test-s3: $(STAMP) ## What speaks S3, against Ceph's gateway instead of moto
	@tests/s3/ceph-rgw.sh start $(S3_FOLDER) $(S3_PORT)
	@trap 'tests/s3/ceph-rgw.sh stop $(S3_FOLDER)' EXIT; \
	CURATION_TEST_S3_URL=http://127.0.0.1:$(S3_PORT) $(BIN)/python -m pytest $(XDIST) -m "not slow" \
	  tests/integration/exporting/test_operator.py tests/integration/exporting/test_s3_failures.py \
	  tests/integration/evidence/test_evidence.py $(ARGS)

.PHONY: test-least
test-least: ## Unit tests and exports with the oldest versions that pyproject.toml lets in
	@$(MAKE) --no-print-directory test AIRFLOW=$(LEAST) ARGS="tests/unit tests/integration/exporting/test_operator.py $(ARGS)"

.PHONY: test-dags
test-dags: $(STAMP) ## The example DAGs only
	$(BIN)/python -m pytest -m "example_dags and not system" tests/integration $(ARGS)

# For several minors side by side: make -j2 test-dags-3.0 test-dags-3.1
.PHONY: $(MINORS:%=test-dags-%)
$(MINORS:%=test-dags-%): test-dags-%:
	@$(MAKE) --no-print-directory test-dags AIRFLOW=$*

# Not among the pins: pyspark alone takes half a gigabyte.
.PHONY: test-spark
test-spark: $(STAMP) ## Spark reads an archive; installs pyspark, and needs Java 17
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --constraints $(CONSTRAINTS) --group spark
	$(BIN)/python -m pytest -m spark tests/integration/documentation $(ARGS)

# Pairs, suites and what is left out are in matrix/pairs.py; each pair has a virtual environment of its own.
.PHONY: test-matrix
test-matrix: ## Every Airflow with every Python, and the compatibility table (ARGS="--suite dags --airflow 3.1")
	$(PYTHON) matrix/run.py $(ARGS)

.PHONY: test-system
test-system: $(STAMP) ## A whole Airflow on PostgreSQL: ranges, deaths, secrets, and the watcher (10 minutes)
	$(BIN)/python -m pytest -m system tests/system $(ARGS)

.PHONY: chaos
chaos: $(STAMP) ## Exports under faults of server, S3 and process, by seed (ARGS="--schedules 200 --seed 1")
	$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: fuzz
fuzz: $(STAMP) ## Mutants of answers and stored files, by seed (ARGS="--mutants 2000 --seed 1")
	$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: lint
lint: $(STAMP) ## ruff (rules and format), spelling, and plain English
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python lint/phrases.py

.PHONY: typecheck
typecheck: $(STAMP) ## mypy, strict, over everything
	$(BIN)/mypy

.PHONY: docs
docs: $(STAMP) ## The documentation, into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# The wheel goes into a virtual environment of its own, laid over the dependencies of $(VENV): an editable install is seen
# through a .pth file, which only counts in its own environment, so what is imported is the wheel.
.PHONY: build
build: $(STAMP) ## The wheel and the sdist, and Airflow run with the wheel installed
	@rm -rf dist build
	@mkdir -p build
	$(BIN)/uv build --quiet --build-constraints $(CONSTRAINTS) --out-dir dist
	@$(BIN)/python -m venv --without-pip build/venv
	@$(BIN)/uv pip install --quiet --python build/venv/bin/python --no-deps dist/*.whl
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(build/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dependencies.pth"
	@build/venv/bin/python -I -c 'import importlib.metadata as m, pathlib, sys; \
	  d = m.distribution("airflow-provider-curation"); \
	  [p] = [p for p in d.entry_points if p.group == "apache_airflow_provider"]; \
	  f = p.load(); \
	  path = pathlib.Path(sys.modules[f.__module__].__file__); \
	  assert pathlib.Path(sys.prefix) in path.parents, path; \
	  assert f()["package-name"] == d.name, f(); \
	  print("entry point:", p.value, d.version)'
	build/venv/bin/python -I -m airflow version
	build/venv/bin/python -I -m airflow providers list --output plain | tee build/providers.txt | grep airflow-provider-curation
	@ls -l dist

.PHONY: demo
demo: $(STAMP) ## A simulated tenant, an S3 API and one DAG run, explained
	$(BIN)/python demo/run.py $(ARGS)

.PHONY: bench
bench: $(STAMP) ## The benchmark, beside its peers
	$(BIN)/python benchmarks/export.py $(ARGS)

.PHONY: bench-poll
bench-poll: $(STAMP) ## What polling costs: requests, rows and the event loop's time
	$(BIN)/python benchmarks/poll.py $(ARGS)

.PHONY: bench-verify
bench-verify: $(STAMP) ## How long a year of manifests takes to verify, and whether memory grows
	$(BIN)/python benchmarks/verify.py $(ARGS)

.PHONY: bench-report
bench-report: $(STAMP) ## How long a report on a million events takes, and whether memory grows
	$(BIN)/python benchmarks/report.py $(ARGS)

.PHONY: bench-query
bench-query: $(STAMP) ## What five questions cost over a month of a million events, JSON lines against Parquet
	$(BIN)/python benchmarks/query.py $(ARGS)

.PHONY: constraints
constraints: $(patsubst %,constraints-%,$(MINORS) $(LEAST)) ## Refresh the pins of every Airflow minor, and of the oldest versions

RESOLVE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header $(ANY_EXTRAS:%=--extra %) pyproject.toml

.PHONY: $(patsubst %,constraints-%,$(MINORS) $(LEAST))
$(patsubst %,constraints-%,$(MINORS) $(LEAST)): constraints-%: $(BIN)/uv
	@echo "Resolving for Airflow $* ..."
	@printf '%s\n' $(foreach each,$(NOT_WITH) $(NOT_WITH_$*),'$(each)') > $(VENV)/limits-$*.txt
	@$(if $(filter $(LEAST),$*),$(RESOLVE) --no-deps --resolution lowest-direct >> $(VENV)/limits-$*.txt)
	@{ echo "# Pins for Airflow $* on Python 3.10 to $(or $(LAST_PYTHON_$*),3.13). Refresh with: make constraints"; \
	  $(RESOLVE) $(if $(filter $(LEAST),$*),,--extra timestamp) --upgrade --group dev <(echo "apache-airflow==$(*:-least=).*") --constraints $(VENV)/limits-$*.txt \
	  | sed -E "s/ and \(sys_platform == 'darwin' or sys_platform == 'linux'\)$$//; s/ ; sys_platform == 'darwin' or sys_platform == 'linux'$$//"; \
	} > $(VENV)/airflow-$*.txt
	@if grep -nE '://|^ *-| @ ' $(VENV)/airflow-$*.txt; then echo "An address or an option is no pin" >&2; exit 1; fi
	@mv $(VENV)/airflow-$*.txt constraints/airflow-$*.txt

.PHONY: matrix-table
matrix-table: ## The compatibility table of README.md and docs, from the last make test-matrix
	$(PYTHON) matrix/table.py

.PHONY: clean
clean: ## Everything that was made here, but the virtual environments
	rm -rf build dist docs/_build .coverage .demo .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
