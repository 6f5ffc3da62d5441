# Two commands to know: `make demo` and `make test`. Both make their own environment in .venv first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# torch is asked for by its exact version in the same command: on its own, a later build with gigabytes of
# CUDA libraries would be chosen.
INSTALLED := $(VENV)/.installed

.PHONY: demo test check families stress bench bench-speed bench-quality bench-gpu bench-coverage lock docs clean

demo: $(INSTALLED)
	$(BIN)/tunesmith demo

# Two processes, each with one thread. The tests of a file or class stay together, as they share fixtures; the files
# with slow tests come first (tests/conftest.py).
test: check
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

# Every family of models that transformers knows, about 15 minutes; writes docs/models.md.
families: $(INSTALLED)
	$(BIN)/python tests/families/sweep.py
	$(BIN)/python docs/generate.py

# Three trainings start in one folder at the same moment, 100 times: about a quarter of an hour.
stress: $(INSTALLED)
	$(BIN)/python tests/run/stress_locking.py

bench: bench-speed

# Alone on the machine, about 25 minutes; needs the data sets beside the checkout (docs/performance.md).
bench-speed: $(INSTALLED)
	$(BIN)/python benchmarks/speed.py

# Skips where there is no CUDA device.
bench-gpu: $(INSTALLED)
	$(BIN)/python benchmarks/speed_gpu.py

# About ten minutes: how often the intervals hold the true value (benchmarks/coverage.md).
bench-coverage: $(INSTALLED)
	$(BIN)/python benchmarks/coverage.py

bench-quality: $(INSTALLED)
	$(BIN)/python benchmarks/quality.py

docs: $(INSTALLED)
	$(BIN)/python docs/generate.py

# Writes the versions of the environment at hand into constraints.txt.
lock: $(INSTALLED)
	$(BIN)/pip freeze --exclude-editable | grep -v '^tunesmith' | sed 's/+cpu$$//' > constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tunesmith needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0 --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
