# The two commands are `make run` and `make test`; each sets up what it needs.
#
# PYTHON  the Python to use, 3.11 to 3.13 (default: the newest that is found)
# TORCH   what to ask pip for, e.g. a CUDA or CPU build by its index
#         (default: the build that the package index offers for this machine)

TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt
SETUP := pyproject.toml constraints.txt tools/setup.sh

.PHONY: run test lint docs install clean

run: $(VENV)/app
	$(BIN)/napari-mtm

install: $(VENV)/app

test: $(VENV)/dev lint
	tools/setup.sh display $(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages of docs/ and the reference of the Python API, as a website in site/.
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site

$(VENV)/python-ready: tools/setup.sh
	tools/setup.sh venv $(VENV)
	@touch $@

$(VENV)/app: $(VENV)/python-ready $(SETUP)
	$(PIP) $(TORCH)
	$(PIP) --editable ".[qt]"
	tools/setup.sh libraries $(VENV)
	@touch $@

$(VENV)/dev: $(VENV)/app $(SETUP)
	$(PIP) --editable ".[all,ibl,dev]"
	tools/setup.sh screen
	@touch $@

$(VENV)/docs: $(VENV)/app $(SETUP)
	$(PIP) --editable ".[docs]"
	@touch $@
