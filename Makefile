# The two commands of a newcomer are `make audit` and `make test`; everything else is for those who work on mergetrace.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
# A file of tests stays in one worker: its fixtures train models.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 8 --dist loadfile

.PHONY: audit verify test test-real bench-zoo setup lint format lock config-docs clean

audit: setup ## Audit the demo (or another: make audit CONFIG=config/audits/rio.yaml) and print the verdict
	$(BIN)/snakemake --cores $(CORES) $(if $(CONFIG),--configfile $(CONFIG))

verify: setup ## Check an evidence bundle, folder or zip: make verify BUNDLE=results/demo/bundle.zip
	$(BIN)/python scripts/verify.py $(BUNDLE)

test: setup ## Everything that needs no root and no system package
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not real"

test-real: setup ## What needs more: headless Chromium (installed from Debian's packages where we are root)
	.ci/install-real
	$(BIN)/pytest -m real

bench-zoo: setup ## Hundreds of planted audits; writes benchmarks/zoo/README.md; interrupted, it goes on where it was
	$(BIN)/python benchmarks/zoo/run.py

setup: $(VENV)/installed

# The marker is written last, so an interrupted installation is taken up again. vLLM lives in an environment of its own.
$(VENV)/installed: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mergetrace needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

# torch's CPU build carries a local version; the lock names the public one so that every platform gets its own.
lock: ## Pin requirements.in anew, and copy the versions to envs/
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet pip-tools
	$(VENV)-lock/bin/pip-compile --quiet --upgrade --strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements.lock requirements.in
	sed -i -e 's/+cpu//' -e '1i # Made by `make lock` from requirements.in; do not edit.' requirements.lock
	$(PYTHON) envs/pin.py
	rm -rf $(VENV)-lock

config-docs: setup ## Write config/README.md from the schema
	$(BIN)/python config/document.py

clean: ## Remove every result (the environment stays)
	find results -mindepth 1 -not -name README.md -delete
