# Papers That Run. `make book` and `make test` are the two commands; `make help` lists the others.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install book read serve lab demo doctor test benchmarks store clean distclean

VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
PYTHON ?=
PORT ?= 8000

# nothing in this book reports to anybody
export GRADIO_ANALYTICS_ENABLED := False
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:
	@echo "make book        run all chapters here, then build the site"
	@echo "make test        check everything"
	@echo "make read        build the site from the stored outputs and serve it, without training"
	@echo "make serve       serve the site that was built        make lab      open the chapters in JupyterLab"
	@echo "make demo        the demos in the browser             make doctor   what is installed, what will not run"
	@echo "make benchmarks  ours beside a peer, as ratios        make store    write the outputs of the last run into chapters/"
	@echo "make clean       remove what was built                make distclean  remove the environment, too"

$(STAMP): requirements.txt constraints.txt pyproject.toml
	@PYTHON="$(PYTHON)" lib/book/install.sh $(VENV)
	@touch $(STAMP)

install: $(STAMP)

book: $(STAMP)
	@$(BIN)/python -m lib.book book

read: $(STAMP)
	@$(BIN)/python -m lib.book read --port $(PORT)

serve: $(STAMP)
	@$(BIN)/python -m lib.book serve --port $(PORT)

store: $(STAMP)
	@$(BIN)/python -m lib.book store

lab: $(STAMP)
	@$(BIN)/python -m lib.book lab

demo: $(STAMP)
	@$(BIN)/papers demo

doctor: $(STAMP)
	@$(BIN)/papers doctor

test: $(STAMP)
	@lib/book/test.sh $(BIN)

# the peer that the benchmarks compare with is an extra of pyproject.toml: nobody else needs it
$(VENV)/.benchmarks: $(STAMP)
	@PYTHON="$(PYTHON)" lib/book/install.sh $(VENV) benchmarks
	@touch $@

benchmarks: $(VENV)/.benchmarks
	@$(BIN)/python -m benchmarks

clean:
	@rm -rf _build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find lib tests chapters benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Removed what was built. The environment stays; 'make distclean' removes it, too."

distclean: clean
	@rm -rf $(VENV) *.egg-info
