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

# The small Sortformer from the start: hours of a CPU; stopped at any time, it goes on.
.PHONY: small-sortformer
SMALL := runs/small-sortformer
small-sortformer: $(VENV)/installed
	$(BIN)/bench data fetch debian-voices
	test -d $(SMALL)-data || $(BIN)/bench data simulate debian-voices $(SMALL)-data --seed 1 --recordings 480 --duration-s 60 \
		--perturb 0.8,1.25 --like ami-mini --like-subset train --measure-on ami-mini \
		--make-rooms --make-noise --snr-db 5,45 --level-db 6 --gain-db -24,0
	$(BIN)/bench run --backend nemo --init scratch:small --dataset $(SMALL)-data --recipe small-sortformer --out $(SMALL)
