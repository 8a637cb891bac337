# Everything a person types here. `make help` lists it. Works with GNU make 3.81 (macOS) and later.

# The first Python that is new enough; `make demo PYTHON=python3.13` takes another one.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(name))))
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/done
# What is installed is what was tested; CONSTRAINTS=/dev/null takes the newest versions instead.
PINS := tools/constraints.txt
CONSTRAINTS := $(PINS)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

# Options of `make demo`: make demo ITERATIONS=500 PORT=5007 OUT=runs/mine ARGS=--no-serve
DEMO := $(if $(ITERATIONS),--iterations $(ITERATIONS)) $(if $(PORT),--port $(PORT)) $(if $(OUT),--out "$(OUT)") $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench chromium pin clean
.DELETE_ON_ERROR:

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 18

# What the developer's environment holds is more than the demo needs: take it where it is there.
demo: $(if $(wildcard $(DONE)/develop),$(DONE)/develop,$(DONE)/demo) ## train the demo CNN, record it, and serve the app
	@$(BIN)/deeptracker demo $(DEMO)

test: $(DONE)/develop chromium ## run every test (ARGS=... goes to pytest)
	$(BIN)/python tools/run_tests.py $(ARGS)

check: $(DONE)/develop ## format, lint, types, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tools
	$(BIN)/python -m pytest -q tests/docs

bench: $(DONE)/develop $(DONE)/bench chromium ## run the benchmarks and print their tables
	@$(BIN)/python -c "import os, platform as p; print(p.platform(), os.cpu_count(), 'cores, Python', p.python_version())"
	@for script in tests/benchmarks/bench_*.py; do \
		echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

chromium: $(DONE)/develop ## find or install a Chromium for the browser tests
	@$(BIN)/python tools/install_chromium.py

pin: ## install the newest versions that pyproject.toml allows, and write them down to test with
	rm -rf $(VENV)
	$(MAKE) $(DONE)/develop $(DONE)/bench CONSTRAINTS=/dev/null
	@sed -n '/^#/p' $(PINS) > $(DONE)/pins
	@$(BIN)/python -m pip freeze --exclude-editable --exclude torch --exclude uv >> $(DONE)/pins
	@mv $(DONE)/pins $(PINS)

clean: ## remove everything made here, except recorded runs
	rm -rf $(VENV) build dist deeptracker.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One file per finished step, so that a second call installs nothing; a changed pyproject.toml installs again.
$(DONE)/venv:
	@test -n "$(PYTHON)" || { echo "DeepTracker needs Python 3.11 or later, and none was found: install one," \
		"or name it: make demo PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(DONE) && touch $@

# PyTorch goes first and alone: asked for as a dependency, pip would bring gigabytes of CUDA libraries.
$(DONE)/torch: $(DONE)/venv tools/install_torch.py pyproject.toml $(PINS)
	@$(BIN)/python tools/install_torch.py $(CONSTRAINTS)
	@touch $@

$(DONE)/demo $(DONE)/develop $(DONE)/bench: $(DONE)/torch pyproject.toml
	@echo "Installing what is needed (some minutes the first time) ..."
	$(PIP) --constraint $(CONSTRAINTS) -e '.[$(notdir $@)]'
	@touch $@
