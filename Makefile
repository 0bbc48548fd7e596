# One place for every command that the project is worked on with. `make` lists them.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
# Every extra but the cluster's, and braindecode, which does not load beside every torch.
EXTRAS := demo,dev,docs,eeg,onnx,tensorboard,test
export OMP_NUM_THREADS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint type format smoke docs bench clean coverage faults

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: .venv/ready  ## make .venv with everything that is needed here

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else \
	  f"error: Python 3.11 or 3.12 is needed, found {v[0]}.{v[1]}; give it: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: setup  ## run the main job on real recordings and say where the result is
	$(BIN)/python examples/demo.py

smoke: setup  ## check the training chain on a few real windows
	$(BIN)/python examples/demo.py --smoke

test: setup  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

coverage: setup  ## run the tests and tell which branches of the package they take
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --cov --cov-report=term:skip-covered

faults: setup  ## damage files, end commands and fill disks, for an hour or two
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.fuzz --inputs 1000 --real "$${BIOSIG_TEST_DATA:-../shared/data}"
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.faults.kills --runs 30
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.mutants
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "slow or not slow" tests/faults

lint: setup  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: setup  ## check types
	$(BIN)/mypy

format: setup  ## mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## build the documentation, strictly, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup  ## time training, reading and EEG windows, and score the gate of quality
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/quality_gate.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/eeg_windows.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/data.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/windows.py

clean:  ## remove what can be made again, but no results
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build dist
