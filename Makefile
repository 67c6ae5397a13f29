# Everything from a fresh clone: `make demo`, `make test`. Set-up is done once and noticed when something changed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_MEDIA ?= examples/media/demo.mp4

.PHONY: help demo test test-fast test-deepspeed check bench parity clean

help:
	@echo "make demo    answer questions about a real video with sound, on any CPU"
	@echo "make test    the whole test suite"
	@echo "make test-deepspeed  ZeRO-2 and ZeRO-3 against one process (builds DeepSpeed)"
	@echo "make check   lint, format, types"
	@echo "make bench   fast paths against their plain versions, one JSON line each"
	@echo "make parity  largest deviation from the official numbers, by group"
	@echo "make clean   remove the virtual environment and build leftovers"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/python examples/demo.py $(DEMO_MEDIA)

test: $(STAMP)
	@$(BIN)/python -m videollama2.cli.main fetch-default
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not deepspeed"

test-fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not default_model and not deepspeed"

# DeepSpeed is built from source and slow to start: kept out of `make test`.
test-deepspeed: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[deepspeed]'
	$(BIN)/python -m pytest -m deepspeed tests/training/test_engine_deepspeed.py

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	@$(BIN)/python -m benchmarks

parity: $(STAMP)
	@$(BIN)/python -m benchmarks.parity

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis src/*.egg-info
