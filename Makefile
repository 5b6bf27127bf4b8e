# The two commands of the README: `make demo` and `make test`. Both make the environment when it is missing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ROOT := $(CURDIR)
EXTRAS := cpu,audio,export,bench,moses,dev

.PHONY: demo test lint types tests sweep checkpoint browser gpu format clean

demo: $(VENV)/ready
	$(BIN)/zen-edge demo

test: lint types tests

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not follow the package mapping of an editable install: it checks the package as installed.
types: $(VENV)/ready
	rm -rf build/typed build/lib build/bdist*
	$(BIN)/pip install --quiet --no-deps --target build/typed .
	cd build/typed && $(ROOT)/$(BIN)/mypy --config-file $(ROOT)/pyproject.toml -p zen_edge

# Folders of tests side by side in JOBS processes (0: all in this one); then what measures time or where threads run, alone.
JOBS ?= 2
SIDE_BY_SIDE := $(BIN)/pytest --numprocesses $(JOBS) --no-loadscope-reorder
EVERY_TIME := not sweep and not checkpoint and not browser and not gpu_wheel

tests: $(VENV)/ready
	$(SIDE_BY_SIDE) -m "$(EVERY_TIME) and not alone"
	$(BIN)/pytest -m "$(EVERY_TIME) and alone"

# Every size and architecture, one trace each.
sweep: $(VENV)/ready
	$(SIDE_BY_SIDE) -m "sweep and not alone"
	$(BIN)/pytest -m "sweep and alone"

# Real checkpoints, in the folders that ZEN_EDGE_CHECKPOINTS names.
checkpoint: $(VENV)/ready
	$(BIN)/pytest -m checkpoint

# Pages in a real browser: needs playwright, and ZEN_EDGE_BROWSER to name a Chromium.
browser: $(VENV)/ready
	$(BIN)/pytest -m browser

# The GPU build of ONNX Runtime, in an environment of its own, whose Python ZEN_EDGE_GPU_PYTHON names; with a GPU or without.
gpu: $(VENV)/ready
	$(BIN)/pytest -m gpu_wheel

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt --editable ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
