# Every command anyone types. `make course` and `make test` set themselves up on a fresh machine.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup transformers debian lock course book notebooks wheel grade test test-all test-colab bench lint serve clean

PYTHON ?= $(firstword $(foreach v,python3 python3.13 python3.12 python3.11,$(shell $(v) -c 'import sys; sys.version_info >= (3, 11) and print("$(v)")' 2>/dev/null)))
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PEER := $(VENV)/.transformers
# Programs beside Python: what is missing, as Debian names it.
DEBIAN = $(if $(shell command -v chromium || command -v chromium-browser || command -v google-chrome),,chromium) $(if $(shell command -v bwrap),,bubblewrap)

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: debian $(READY)  ## the virtual environment and the programs that tests and the grader need

debian:
	@missing="$(strip $(DEBIAN))"; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing $$missing with apt-get"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	      || echo "setup: apt-get could not install $$missing; install it by hand."; \
	  else \
	    echo "setup: please install: $$missing (on Debian or Ubuntu: sudo apt-get install $$missing)."; \
	    echo "       Without bubblewrap student code is less isolated; without Chromium the browser tests cannot run."; \
	  fi; \
	fi

$(READY): requirements.txt
	@test -n "$(PYTHON)" || { echo "setup: no Python 3.11 or newer on PATH; install one, or name it: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv $(VENV); \
	  else echo "setup: this Python has no venv module; install it (on Debian or Ubuntu: sudo apt-get install python3-venv)."; exit 1; fi; }
	@echo "Installing the locked requirements into $(VENV) (torch is large: some minutes the first time)"
	@$(PY) -m pip install -q --disable-pip-version-check -r requirements.txt
	@touch $@

transformers: setup $(PEER)  ## the software nobody here wrote, which the slow tests and the benchmarks compare with

$(PEER): requirements-transformers.txt $(READY)
	@$(PY) -m pip install -q --disable-pip-version-check -r requirements.txt -r requirements-transformers.txt
	@touch $@

lock: $(READY)  ## write requirements.txt anew from what pyproject.toml asks for
	$(PY) -m pip install -q --upgrade $$($(PY) -c 'import tomllib; e = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; print(*e["course"], *e["test"])')
	@{ echo "# The lock: every version that builds, grades and tests the course. 'make lock' makes it from pyproject.toml's extras."; \
	  $(PY) -m pip freeze --all --exclude pip --exclude next-token-prediction $(foreach name,$(shell sed -n 's/==.*//p' requirements-transformers.txt),--exclude $(name)) | sed -E 's/^(torch==[0-9.]+)\+.*/\1/'; } > requirements.txt

course: setup  ## the main job: book, notebooks, and the demo class graded
	@$(PY) -m autograder notebooks
	@$(PY) -m autograder.book
	@$(PY) -m autograder.demo_class
	@echo; echo "The book: _build/html/index.html   The notebooks: _build/notebooks/   The demo class: _build/class/"

notebooks: setup  ## student notebooks: _build/notebooks/STEM.ipynb
	@$(PY) -m autograder notebooks

book: notebooks  ## the HTML book: _build/html/index.html
	@$(PY) -m autograder.book

grade: notebooks  ## the demo class graded: _build/class/
	@$(PY) -m autograder.demo_class

test: book  ## every test but the slow ones
	@$(PY) -m pytest -q -n 2 --dist loadgroup -m "not slow and not colab and not transformers"

test-all: book transformers  ## every test, the slow ones too
	@$(PY) -m pytest -q -n 2 --dist loadgroup -m "not colab"

test-colab: notebooks  ## the notebook and the reference under Colab's versions and the newest (Python 3.12, 3.13; 15 GB)
	@$(PY) -m pytest -q -m colab

bench: transformers  ## what the README claims about speed, measured here: _build/bench.json
	@$(PY) -m benchmarks

lint: setup  ## ruff, spelling
	@$(PY) -m ruff check .
	@$(VENV)/bin/codespell

serve: notebooks  ## the book on a local port, rebuilt when a page changes
	@$(PY) -m autograder.book --serve

clean:  ## remove what was built (the virtual environment stays)
	rm -rf _build autograder/course/{source,release,autograded,feedback,submitted,seeds,gradebook.db}
