# Every target runs in $(VENV), which the first one to need it makes from constraints.txt.
PYTHON ?= python3
VENV := .venv
# Written last, so that an install that failed or was interrupted is never taken for a whole one.
STAMP := $(VENV)/installed

# A process for each core and one more, because some tests wait for a browser or another process;
# a file's tests in one process, because they share what they make.
PROCESSES := $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count() + 1, 8))' 2>/dev/null)
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

# Only what is installed in $(VENV) is seen.
unexport PYTHONPATH
export PYTHONNOUSERSITE := 1
export PIP_USER := 0

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-lens4 lint format bench docs notebooks pretrained reproduce clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Install the project and its tools into .venv

demo: $(STAMP) ## Run the demo
	$(VENV)/bin/grokinterp demo

test: lint ## Check style and types, then run the quick tests
	$(PYTEST) -m 'not slow and not gpu'

test-all: lint ## Check style and types, then run all tests but those of a GPU
	$(PYTEST) -m 'not gpu'

# The wheel beside TransformerLens 4, whose model is another than that of 3.9.
LENS4 := $(VENV)-lens4
test-lens4: $(STAMP) ## Run the tests of the model and its probes on TransformerLens 4
	@rm -rf $(LENS4) build/lib  # Where a file that is gone would stay in the wheel.
	@$(PYTHON) -m venv $(LENS4)
	@sed 's/^transformer-lens==.*/transformer-lens>=4.3,<5/' constraints.txt > $(LENS4)/constraints.txt
	@$(LENS4)/bin/python -m pip install -qq --no-input --disable-pip-version-check \
		-c $(LENS4)/constraints.txt '.[llc]' beartype hypothesis pytest pytest-xdist
	OMP_NUM_THREADS=1 $(LENS4)/bin/pytest -n $(PROCESSES) --dist loadfile \
		-m 'not slow and not gpu and not hooked_transformer' tests/model tests/hooks tests/probes \
		tests/pretrained tests/test_bridge.py tests/test_snapshot.py

lint: $(STAMP) ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(STAMP) ## Rewrite the code in the project's style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(STAMP) ## Measure the speed of training and the cost of probes
	$(VENV)/bin/python benchmarks/training.py
	$(VENV)/bin/python benchmarks/probes.py

docs: $(STAMP) ## Build the documentation into site/
	$(VENV)/bin/python docs/builder build/docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

notebooks: $(STAMP) ## Open the notebooks in JupyterLab
	@$(VENV)/bin/python -m pip install -qq --no-input --disable-pip-version-check -c constraints.txt -e '.[notebook]'
	$(VENV)/bin/jupyter lab notebooks

reproduce: $(STAMP) ## Redraw the paper's figures from the runs that ship; on a terminal, ask to train the rest
	$(VENV)/bin/grokinterp reproduce all --results docs/results $$([ -t 0 ] || echo --no-train)
	$(VENV)/bin/python docs/tables.py

pretrained: $(STAMP) ## Train the models that ship with the package anew (about an hour)
	$(VENV)/bin/python -m grokinterp.pretrained runs

clean: ## Remove .venv, caches and build outputs; runs are kept
	rm -rf $(STAMP) $(VENV) $(LENS4) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find grokinterp hooks tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@found=$$($(PYTHON) -c 'import sys; sys.stdout.write("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
		|| found="not there"; \
	case "$$found" in 3.11|3.12|3.13|3.14) ;; *) \
		echo "Python 3.11, 3.12, 3.13 or 3.14 is needed, but '$(PYTHON)' is $$found: set PYTHON, as in 'make setup PYTHON=python3.12'." >&2; \
		exit 1 ;; \
	esac
	@echo "Installing into $(VENV), which takes a few minutes the first time"
	@rm -rf $(STAMP) $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -qq --no-input --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
