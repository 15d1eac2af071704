# Whence: every target says what it does. `make` alone lists them.
#
# Settings: PYTHON=/path/to/python, PORT=7860 (the explorer takes the next free one, and says so), SERVE=0 (demo stops
# before serving), ARGS="..." (arguments for pytest: `make test ARGS=tests/precompute/store` runs one room, without lint).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo explore test test-slow test-explorer verify bench bench-gpu bench-peers bench-table bench-explorer lint clean
MAKEFLAGS += --no-print-directory

PYTHON ?=
PORT ?= 7860
SERVE ?= 1
ARGS ?=

VENV := .venv
VENV_EXPLORER := .venv-explorer
INSTALLED := $(VENV)/.installed
INSTALLED_EXPLORER := $(VENV_EXPLORER)/.installed
INSTALLED_EXPLORER_DEV := $(VENV_EXPLORER)/.installed-dev
DISK_KB := 9437184          # 9 GB: the environment and what pip unpacks on the way
DISK_EXPLORER_KB := 1048576 # 1 GB
PIP := -m pip install -q --disable-pip-version-check --no-warn-script-location

# $(call python,first version refused,candidates,what for): prints the interpreter, or one line on stderr.
# A candidate counts if it runs (a version manager's stand-in may not) and is 3.10 or later, below the first refused.
define python
for candidate in $(if $(PYTHON),"$(PYTHON)",$(2)); do \
	if "$$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, $(1)))' 2>/dev/null; then echo "$$candidate"; exit 0; fi; \
done; \
seen=$$("$(or $(PYTHON),python3)" -V 2>/dev/null || echo 'no Python'); \
echo "make: $(3), found $$seen at $(or $(PYTHON),python3): install one, or name it with PYTHON=/path/to/python" >&2; exit 1
endef

# $(call space,kilobytes): one line on stderr where this disk has less
define space
free=$$(df -Pk . | awk 'NR == 2 {print $$4}'); \
if [ "$$free" -lt $(strip $(1)) ]; then \
	echo "make: not enough space here: $$((free / 1048576)) GB free, $$(($(strip $(1)) / 1048576)) GB needed" >&2; exit 1; \
fi
endef

# $(call environment,folder,first version refused,candidates,what for,kilobytes)
define environment
if [ ! -x $(1)/bin/python ]; then \
	$(call space,$(5)); \
	python=$$($(call python,$(2),$(3),$(4))); \
	"$$python" -m venv $(1) || { rm -rf $(1); echo "make: $$python cannot make an environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
elif ! $(1)/bin/python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, $(2)))'; then \
	echo "make: $(4), but $(1) holds $$($(1)/bin/python -V): remove it (make clean) and start again" >&2; exit 1; \
fi
endef

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## everything into .venv: Python 3.10 or 3.11, about 7 GB, 2 to 4 minutes

$(INSTALLED): pyproject.toml constraints.txt
	@$(call environment,$(VENV),12,python3.11 python3.10 python3 python,the offline stage needs Python 3.10 or 3.11 (its audio packages have no wheels for others),$(DISK_KB))
	@echo "install: packages of the offline stage, the explorer and the tests into $(VENV); 2 to 4 minutes, about 7 GB"
	@$(VENV)/bin/python $(PIP) -c constraints.txt -e '.[precompute,dev]'
	@touch $@
	@echo "install: done"

$(INSTALLED_EXPLORER): pyproject.toml constraints.txt
	@$(call environment,$(VENV_EXPLORER),14,python3 python3.13 python3.12 python3.11 python3.10 python,the explorer needs Python 3.10 to 3.13,$(DISK_EXPLORER_KB))
	@echo "install: the explorer alone, without torch, into $(VENV_EXPLORER); about a minute, 0.6 GB"
	@sed '/^# Part 2/,$$d' constraints.txt > $(VENV_EXPLORER)/constraints.txt
	@$(VENV_EXPLORER)/bin/python $(PIP) -c $(VENV_EXPLORER)/constraints.txt -e .
	@touch $@

$(INSTALLED_EXPLORER_DEV): $(INSTALLED_EXPLORER)
	@$(VENV_EXPLORER)/bin/python $(PIP) -c $(VENV_EXPLORER)/constraints.txt -e '.[dev]'
	@touch $@

demo: install ## generate clips, unlearn them, publish data/whence.duckdb, serve it (SERVE=0: do not serve)
	@echo "demo: corpus -> latents -> clips -> Fisher -> directions -> scores -> store; stop and start it again as you like"
	@$(VENV)/bin/python -m precompute run --config precompute/configs/demo.toml
	@if [ "$(SERVE)" != 0 ]; then exec $(VENV)/bin/python -m explorer --store data/whence.duckdb --port $(PORT); fi

explore: $(INSTALLED_EXPLORER) ## serve the shipped store: Python 3.10 to 3.13, no torch, about a minute
	@exec $(VENV_EXPLORER)/bin/python -m explorer --store assets/demo/store.duckdb --port $(PORT)

lint: install ## ruff and mypy
	@echo "lint: ruff check, ruff format --check, mypy"
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet . || { echo "make: some files are not in the house format: $(VENV)/bin/ruff format ." >&2; exit 1; }
	@$(VENV)/bin/mypy

test: $(if $(ARGS),install,lint) ## lint and the fast tests; ARGS=tests/precompute/store: one room; browser tests need Chromium
	@echo "test: pytest"
	@$(VENV)/bin/python -m pytest $(ARGS)

verify: install ## recompute a part of the shipped store the naive way, and compare
	@$(VENV)/bin/python -m precompute verify

bench: install ## time the pass on the demo model against the naive way: under 20 minutes on two cores
	@echo "bench: ms a track for 1, 16 and 64 clips by finite difference and gradient product, accuracy, memory; run nothing else meanwhile"
	@$(VENV)/bin/python assets/benchmarks/bench_pass.py

bench-gpu: install ## time the pass at the real size (1.06 billion parameters, random weights): needs a GPU of 80 GB
	@echo "bench-gpu: a gradient and a product at 1,024 and 2,584 frames in bf16; results go where 'precompute plan' finds them"
	@$(VENV)/bin/python assets/benchmarks/bench_gpu.py

bench-peers: install ## time other libraries on the same rows, each in an environment of its own (data/work/peers)
	@echo "bench-peers: whence, dattri-llm, dattri, kronfluence"
	@$(VENV)/bin/python assets/benchmarks/bench_peers.py

bench-table: install ## write the tables of assets/README.md from the kept results of benchmarks and evaluations
	@$(VENV)/bin/python assets/benchmarks/table.py

bench-explorer: $(INSTALLED_EXPLORER) ## time the page over a made-up store of 115,000 tracks: 8 min, 4 GB of disk
	@echo "bench-explorer: store, start, one listener, 20 listeners without and with pauses; nothing else should run meanwhile"
	@$(VENV_EXPLORER)/bin/python assets/benchmarks/bench_explorer.py

test-explorer: $(INSTALLED_EXPLORER_DEV) ## the explorer's tests in its own environment: no torch, current numpy and pandas
	@echo "test-explorer: the explorer's tests without torch"
	@$(VENV_EXPLORER)/bin/python -m pytest tests/explorer $(ARGS)

test-slow: verify test-explorer ## verify, test-explorer, then the tests that take minutes
	@echo "test-slow: pytest -m slow"
	@$(VENV)/bin/python -m pytest -m slow $(ARGS)

clean: ## remove both environments and the tools' caches; data/ stays as it is
	@rm -rf $(VENV) $(VENV_EXPLORER) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	@find explorer precompute tests data/demo -name __pycache__ -type d -prune -exec rm -rf {} +
