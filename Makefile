# `make help` lists what there is. Everything runs inside .venv, made on first use.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test quick lint docs site clean

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

# Where torch comes from: the Python of an environment that has it; or what to give to
# `pip install`, such as the wheels of a CPU build. By default pip finds it.
TORCH ?=

# A file of versions that pip keeps to.
CONSTRAINTS ?=

# pip builds onedl-mmcv in an empty environment, where it sees no torch and so
# compiles no operators. Switching build isolation off would start a compiler.
unexport PIP_NO_BUILD_ISOLATION

# Big downloads, source builds and errors are shown; the rest is in the log.
LOG := $(VENV)/install.log
SHOWN := (Downloading|Using cached) [^ ]+ \([0-9.]+ [MG]B\)|Building wheel for [^ ]+|Installing collected packages
define install
	@echo 'Installing $(1) into $(VENV); details in $(LOG)'
	@$(RUN) -m pip install $(if $(CONSTRAINTS),--constraint '$(CONSTRAINTS)') --editable '$(1)' 2>&1 | tee $(LOG) \
	  | sed -unE -e 's/^ *($(SHOWN)).*/  \1/p' -e '/^ *(ERROR|error):/p'
	@touch $@
endef

help:  ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 14

venv: $(VENV)/.runtime  ## create .venv and install the package into it

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'Python 3.10 or newer is needed: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@if [ -x '$(TORCH)' ]; then $(RUN) .ci/borrow_packages.py '$(TORCH)'; \
	  elif [ -n '$(TORCH)' ]; then $(RUN) -m pip install $(TORCH); fi || { rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: setup.py pyproject.toml requirements/runtime.txt | $(RUN)
	$(call install,.)

$(VENV)/.tests $(VENV)/.docs: $(VENV)/.%: requirements/%.txt $(VENV)/.runtime
	$(call install,.[$*])

demo: $(VENV)/.runtime  ## the pipeline from image-level labels to mIoU on synthetic data
	@$(VENV)/bin/wsss prepare synthetic --out data/synthetic --size 64 \
	  --train 2000 --val 400 --seed 0
	@$(VENV)/bin/wsss run acr/synthetic_pipeline

# One process per core, each with one thread. A file stays with one process, which
# makes the fixtures of its module once.
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto --dist loadfile

test: $(VENV)/.tests  ## every test, on all cores
	@$(PYTEST)

quick: $(VENV)/.tests  ## the tests that take no more than a few seconds each
	@$(PYTEST) -m 'not slow'

lint: $(VENV)/.tests  ## ruff, codespell and mypy
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m codespell_lib $$(git ls-files)
	@$(RUN) -m mypy

docs: $(VENV)/.docs  ## the manual, as docs/_build/html/index.html
	@$(RUN) -m sphinx -q -W --keep-going docs docs/_build/html
	@$(RUN) docs/check_links.py docs/_build/html
	@echo 'docs/_build/html/index.html'

site: $(VENV)/.docs  ## the manual of this tree and of every release, in docs/_build/site
	@$(RUN) docs/build_site.py docs/_build/site

clean:  ## remove what tools left behind; keeps .venv, data and work_dirs
	@rm -rf build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
