# Two commands do everything on a fresh machine: `make bench` and `make test`. Both are safe to repeat.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bench test lint

bench: $(VENV)/installed
	$(BIN)/bench data fetch ami-mini
	$(BIN)/bench run --backend pyannote --backend nemo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadscope

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p diarbench.datasets -p diarbench.backends -p diarbench.benchmarks -p diarbench.reports

# The link shows the type checker the package as it is installed: the root folders under the name diarbench.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	mkdir -p $(VENV)/types && ln -sfn ../.. $(VENV)/types/diarbench
	touch $@
