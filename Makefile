# Two commands do everything on a fresh machine with Python >= 3.11, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-study
TORCH := torch==2.13.0+cpu
# One worker runs a file, so that the study that its tests share is made once; files that make studies come early.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: setup demo workloads test test-all lint lock clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Assay needs Python 3.11 or newer: set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	$(BIN)/assay study examples/fashion/study.toml --output $(DEMO)

# Every example, fetched and studied: the table docs/workloads.md. The names of some: make workloads EXAMPLES=imagenet
workloads: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/examples.lock
	$(BIN)/python bench/workloads.py $(EXAMPLES)

lint: setup
	$(BIN)/ruff format --check src tests bench examples
	$(BIN)/ruff check src tests bench examples
	$(BIN)/mypy
	$(BIN)/lint-imports

# PyTorch's CPU build, for the tests that need PyTorch, which are skipped without it; never the one for CUDA, which is
# what most indexes have.
$(VENV)/.torch: $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) \
		|| echo "$(TORCH) is not to be had here: what needs PyTorch is skipped"
	@touch $@

# Tests start Assay by the hundred, and where the environment forbids bytecode, each process would compile it anew.
test test-all: export PYTHONDONTWRITEBYTECODE =

test: lint $(VENV)/.torch
	$(PYTEST) -m "not slow"

test-all: lint $(VENV)/.torch
	$(PYTEST) --timeout 3600

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/core.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra parquet --extra tensorrt --extra tvm --group dev requirements/build.in -o requirements/dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra parquet --extra tensorrt --extra tvm --group dev --group examples requirements/build.in -o requirements/examples.lock

clean:
	rm -rf $(VENV) $(DEMO)
