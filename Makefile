# Needs python3 (3.11 to 3.13) with venv, and nothing else installed. Works with GNU make 3.81 and later.

PRESET   ?= classroom
NOTEBOOK ?= notebooks/00_start_here.ipynb
PYTHON   ?=
ARGS     ?=
SUBMISSIONS ?=
MINUTES  ?= 60
SEED     ?=
# processes that share the tests, one more than cores as many tests wait; 0: none but this one, as a
# debugger wants it
WORKERS  ?= 3

# Threads that spin while they wait make training many times slower on a busy machine.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

# Hundreds of processes read the same files: each would compile them anew.
check test: export PYTHONDONTWRITEBYTECODE =

.PHONY: help setup report assignments grade check test soak lint doors lab bench wheel clean

DOORS = $(addprefix dpkit/,__init__.pyi scorers/__init__.py selectors/__init__.py nets/__init__.pyi teaching/checks/__init__.py)
# Tests of seconds: hardly a network is trained, no kernel and no cluster started.
FAST = agreement catalog environment folder_layout kept_list records rooms scorers selectors store types

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Set-up is done once, by whichever comes first. Choose its Python: make report PYTHON=python3.12"

setup: ## make .venv and install dpkit, if that is not done yet
	@PYTHON='$(PYTHON)' sh .ci/setup

report: setup ## run a notebook as a report: make report PRESET=cifar10-quick NOTEBOOK=notebooks/...
	.venv/bin/dpkit report '$(NOTEBOOK)' --preset '$(PRESET)' $(ARGS)

assignments: setup ## make the students' copies of the assignments, in classroom/
	.venv/bin/dpkit assignments $(ARGS)

grade: setup ## grade what students handed in: make grade SUBMISSIONS=folder
	@test -n '$(SUBMISSIONS)' || { echo "make grade needs the folder with the students' folders: make grade SUBMISSIONS=folder" >&2; exit 2; }
	.venv/bin/dpkit grade '$(SUBMISSIONS)' $(ARGS)

check: lint ## check style and run the fast tests, in about a minute
	.venv/bin/python -m pytest -q -n 2 $(FAST:%=tests/test_%.py) $(ARGS)

test: setup ## run all tests: make test ARGS="-k dual"
	.venv/bin/python -m pytest -n $(WORKERS) $(ARGS)

soak: setup ## disturb commands in every way for MINUTES: make soak MINUTES=60 SEED=7
	.venv/bin/python -m benchmarks.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

lint: setup ## check style and types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

doors: setup ## after a new scorer, selector, check or network: write the imports that make it a name
	.venv/bin/python .ci/doors.py
	.venv/bin/ruff check --quiet --fix --select I $(DOORS)
	.venv/bin/ruff format --quiet $(DOORS)

lab: setup ## open the notebooks in JupyterLab, on this machine only
	.venv/bin/jupyter lab --ip=127.0.0.1 notebooks

bench: setup ## measure dpkit beside the plain way
	.venv/bin/python -m benchmarks $(ARGS)

wheel: setup ## build the package from a clean copy of the last commit, in dist/
	rm -rf build/wheel
	mkdir -p build/wheel
	git archive HEAD | tar -x -C build/wheel
	.venv/bin/python -m pip wheel build/wheel --no-deps --no-build-isolation --wheel-dir dist

clean: ## remove .venv and caches (reports stay)
	if [ -e .venv ]; then mv .venv .venv.old; fi
	rm -rf .venv.old build dist dpkit.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
