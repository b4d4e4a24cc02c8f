# sarlab: `make book` and `make test` are all a newcomer needs. Everything else is listed by `make help`.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLAN ?= quick
SCENES ?=
QUANTITY ?=
RUNS ?= runs
# a value as one word for the shell, with its spaces and quotes
quoted = '$(subst ','\'',$(1))'
SWEEP = $(if $(SCENES),--scenes $(call quoted,$(SCENES))) $(if $(QUANTITY),--quantity $(QUANTITY)) --runs $(call quoted,$(RUNS))

.DEFAULT_GOAL := help
.PHONY: help book report lab test check-slow trust lint benchmarks clean install

help: ## list every target
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(BIN)/.installed ## create .venv and install everything into it

$(BIN)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "sarlab needs Python 3.11 to 3.13; '$(PYTHON)' is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing sarlab and its libraries into $(VENV): some minutes, about 3 GB"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[lab,arrays,slurm,book,dev]'
	@echo "Compiling the codec"
	@$(BIN)/python -c 'import sarlab; scene = sarlab.scene("ben-33UUP-37-88"); \
	  [sarlab.decompress(sarlab.compress(scene, **goal)) for goal in ({}, {"max_error_db": 1.0})]'
	@touch $@

book: install ## run the sweep PLAN=quick [SCENES=… QUANTITY=…] and render the report
	$(BIN)/sarlab sweep $(call quoted,$(PLAN)) $(SWEEP)
	$(BIN)/sarlab report --plan $(call quoted,$(PLAN)) $(SWEEP) --out _build

report: install ## render the tracked book from its published tables, without training
	$(BIN)/sarlab report --published --out _build

lab: install ## open JupyterLab with the notebooks, paired to their text
	JUPYTER_CONFIG_PATH="$(CURDIR)/sarlab/assets/jupyter:$$JUPYTER_CONFIG_PATH" $(BIN)/jupyter lab --ServerApp.root_dir=notebooks

test: install ## run the tests (a few minutes)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow"

check-slow: install ## run the slow checks too
	$(BIN)/python -m pytest -q -m slow

trust: install ## the long tests behind TRUST.md (resumes after an interruption)
	$(BIN)/python tests/trust/run.py

lint: install ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy sarlab

benchmarks: install ## time what is promised, as ratios against peers in the same run
	for name in metrics quantizers training explorers sweeps; do \
	  echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done  # the others take arguments, or hours

clean: ## remove what was built (finished runs stay)
	rm -rf _build
