# Needs Python 3.11 or newer and nothing else. The network is used only to install
# .venv: when it is missing, or older than pyproject.toml or constraints.txt.

PYTHON  ?= python3
WORKERS ?= 2

BIN    := .venv/bin
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# The newest interpreter that is here, for the newest versions of everything.
NEWEST  ?= $(shell for p in python3.14 python3.13 python3.12; do \
  $$p -c 0 2>/dev/null && echo $$p && exit; done; echo $(PYTHON))

# The benchmarks of speed: those with a peer or a limit to compare with, and the rest.
COMPARED   := main_job rollouts estimator first_result roofline
BENCHMARKS := $(COMPARED) scaling

# What make ends runs: behaviour, not the look of the source.
ENDS := attention denoisers diffusion flows kernels noise problems pytree running samplers \
  shaping strategies sweeps test_contract.py test_metrics.py test_versions.py

# What mypy leaves alone in benchmarks; that names and arguments exist is checked there too.
VALUES := arg-type assignment call-overload index misc operator return-value type-abstract \
  union-attr

# Many tests start a process, and each would compile the package from its source again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test slow notebooks docs pages ends bench bench-check bench-quick format clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "PYTHON=$(PYTHON)  the interpreter that .venv is made from"
	@echo "NEWEST=$(NEWEST)  the one for the newest versions in make ends"
	@echo "WORKERS=$(WORKERS)  test processes"

demo: .venv/.demo ## evolve CartPole controllers, plot to build/cartpole.png
	@mkdir -p build
	$(BIN)/diffevo evolve cartpole --seeds 8 --plot build/cartpole.png

test: .venv/.dev ## format check, lint, types, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy & package=$$!; \
	$(BIN)/mypy --cache-dir .mypy_cache/benchmarks \
	  $(VALUES:%=--disable-error-code %) benchmarks/*.py && wait $$package
	$(PYTEST) tests

slow: .venv/.dev ## the examples in docstrings, and the tests that take minutes
	$(PYTEST) diffevo_jax
	$(PYTEST) tests -m slow

notebooks: .venv/.dev ## run all notebooks in their fast mode, and each with its obvious edits
	$(PYTEST) --dist loadgroup tests/test_notebooks.py -m "notebooks or not slow"

docs: .venv/.docs ## the site, in build/docs; links and anchors checked
	$(BIN)/python docs/_site/assemble.py build/site
	$(BIN)/sphinx-build --quiet -W --keep-going -n -E -c docs build/site build/docs
	$(BIN)/python docs/_site/check.py build/docs

pages: docs .venv/.pages build/pages/node_modules/axe-core ## the site in Chromium: errors, widths, contrast
	$(PYTEST) tests/pages -m browser

ends: ## test the wheel with the oldest versions allowed, and with the newest
	rm -rf build/ends
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps -w build/ends .
	$(PYTHON) tests/lower_bounds.py pyproject.toml > build/ends/oldest.txt
	touch build/ends/newest.txt
	$(call end,oldest,$(PYTHON))
	$(call end,newest,$(NEWEST))

bench: .venv/.dev ## measure speed and memory, store the results, fill the README
	$(call benchmarks,$(BENCHMARKS),)
	$(BIN)/python benchmarks/readme.py

bench-check: .venv/.dev ## measure again; fail if a ratio fell below 75 % of the stored one
	$(call benchmarks,$(COMPARED),--check)

bench-quick: .venv/.dev ## run every benchmark on small sizes, store nothing
	$(call benchmarks,$(BENCHMARKS),--quick)

format: .venv/.dev ## format the code, apply safe lint fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean: ## remove all that make made, .venv included
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call benchmarks,NAMES,OPTION): all run, and the status is that of the worst.
define benchmarks
@status=0; for name in $(1); do \
  echo "benchmarks/$$name.py $(2)"; \
  $(BIN)/python benchmarks/$$name.py $(2) || status=1; \
done; exit $$status
endef

# $(call end,NAME,PYTHON): an environment with the wheel, and the tests of what it does, in
# a folder without the package's source. What others have deprecated is no error there.
define end
$(2) -m venv build/ends/$(1)
build/ends/$(1)/bin/python -m pip install --quiet --disable-pip-version-check \
  --constraint build/ends/$(1).txt "$$(ls build/ends/*.whl)[dev]"
mkdir build/ends/$(1)/work
cp -r tests conftest.py pyproject.toml README.md docs build/ends/$(1)/work
cd build/ends/$(1)/work && ../bin/python -m pytest -n $(WORKERS) --dist loadfile \
  -W default $(ENDS:%=tests/%)
endef

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

# The checker of contrast. It is a program of its own, which no other target needs.
build/pages/node_modules/axe-core:
	npm install --silent --no-audit --no-fund --prefix build/pages axe-core@4

.venv/.docs: pyproject.toml constraints.txt $(NEW) | $(BIN)/python
	$(call install,docs)
	@touch $@

.venv/.pages: pyproject.toml constraints.txt $(NEW) | $(BIN)/python
	$(call install,pages)
	@touch .venv/.docs $@

# The extra dev includes viz, so the demo is installed as well.
.venv/.dev: pyproject.toml constraints.txt $(NEW) | $(BIN)/python
	$(call install,dev)
	@touch .venv/.demo $@
