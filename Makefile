# Needs Python 3.11 or newer and nothing else. The network is used only to install
# .venv: when it is missing, or older than pyproject.toml or constraints.txt.

PYTHON  ?= python3
WORKERS ?= 2

BIN    := .venv/bin
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test slow format clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "PYTHON=$(PYTHON)  the interpreter that .venv is made from"
	@echo "WORKERS=$(WORKERS)  test processes"

demo: .venv/.demo ## evolve CartPole controllers, plot to build/cartpole.png
	@mkdir -p build
	$(BIN)/diffevo evolve cartpole --seeds 8 --plot build/cartpole.png

test: .venv/.dev ## format check, lint, types, doctests, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(PYTEST)

slow: .venv/.dev ## the tests that take minutes
	$(PYTEST) -m slow

format: .venv/.dev ## format the code, apply safe lint fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean: ## remove all that make made, .venv included
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. Without ensurepip (Debian, minimal images) it has no pip of its
# own, and the pip of $(PYTHON) installs into it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: $(PYTHON) is not Python 3.11 or newer; try make PYTHON=/path/to/python" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv --clear .venv >/dev/null 2>&1 || { \
	  $(PYTHON) -m pip --version >/dev/null 2>&1 && \
	  $(PYTHON) -m venv --clear --without-pip .venv >/dev/null 2>&1; } || { \
	  rm -rf .venv; \
	  echo "error: $(PYTHON) can make no environment; install its venv or pip (Debian: python3-venv)" >&2; \
	  exit 1; }

# Without a working interpreter the stamps mean nothing.
NEW := $(shell test -x $(BIN)/python || echo FORCE)
FORCE:

# $(call install,EXTRA): a stamp is written only after pip has succeeded.
define install
@echo "Installing .[$(1)] into .venv"
@rm -f $@
@if $(BIN)/python -m pip --version >/dev/null 2>&1; \
  then pip="$(BIN)/python -m pip"; \
  else pip="$(PYTHON) -m pip --python $(BIN)/python"; \
fi; \
$$pip install --quiet --disable-pip-version-check \
  --constraint constraints.txt --editable ".[$(1)]"
endef

.venv/.demo: pyproject.toml constraints.txt $(NEW) | $(BIN)/python
	$(call install,viz)
	@touch $@

# The extra dev includes viz, so the demo is installed as well.
.venv/.dev: pyproject.toml constraints.txt $(NEW) | $(BIN)/python
	$(call install,dev)
	@touch .venv/.demo $@
