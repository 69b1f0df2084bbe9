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

# The small Sortformer from the start: hours of two cores; stopped at any time, it goes on.
.PHONY: small-sortformer
SMALL := runs/small-sortformer
TRAIN := $(BIN)/bench run --backend nemo --dataset $(SMALL)-data --device cpu --devices 2
LAST = small-sortformer-data-nemo-$(1)-seed1/checkpoints/last.ckpt
small-sortformer: $(VENV)/installed
	$(BIN)/bench data fetch debian-voices
	test -d $(SMALL)-data || $(BIN)/bench data simulate debian-voices $(SMALL)-data --seed 3 --recordings 960 --duration-s 60 \
		--perturb 0.8,1.25 --formants 0.87,1.15 --one-voice 0.5 --like ami-mini --like-subset train --measure-on ami-mini \
		--make-rooms --make-noise --snr-db 0,40 --level-db 6 --turn-db 6 --gain-db -24,0
	$(TRAIN) --init scratch:small --recipe small-sortformer --out $(SMALL)
	$(TRAIN) --init $(SMALL)/$(call LAST,small-sortformer) --recipe small-sortformer-long --out $(SMALL)-long
	$(TRAIN) --init $(SMALL)-long/$(call LAST,small-sortformer-long) --recipe docs/small-sortformer-faint.yaml --seed 2 --out $(SMALL)-faint
