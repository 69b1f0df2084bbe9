# Two commands do everything on a fresh machine: `make bench` and `make test`. Both are safe to repeat.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bench test lint

bench: $(VENV)/installed
	$(BIN)/bench data fetch ami-mini
	$(BIN)/bench run --backend pyannote --backend nemo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder

# The tests that need a CUDA device; elsewhere they are skipped. Where `make gpu-wheels` has filled the folder `wheels`,
# everything is installed from it, without a network.
.PHONY: test-gpu gpu-wheels
ifneq ($(wildcard wheels),)
test-gpu: export PIP_FIND_LINKS := $(CURDIR)/wheels
test-gpu: export PIP_NO_INDEX := 1
endif
test-gpu: $(VENV)/installed
	$(BIN)/python -m pytest -m gpu

gpu-wheels:
	$(PYTHON) -m venv $(VENV)/wheels
	$(VENV)/wheels/bin/python -m pip wheel --quiet --wheel-dir wheels ./weights/small-sortformer '.[all]' 'setuptools>=77' wheel

# The tests of the backend nemo-msdd, in an environment of its own with NeMo 2.7.3: another 7 GB.
.PHONY: test-msdd
MSDD := $(VENV)/msdd
test-msdd: $(MSDD)/installed
	OMP_NUM_THREADS=1 $(MSDD)/bin/python -m pytest tests/backends/msdd

$(MSDD)/installed: pyproject.toml backends/msdd/constraints.txt
	$(PYTHON) -m venv $(MSDD)
	$(MSDD)/bin/python -m pip install --quiet --constraint backends/msdd/constraints.txt --editable '.[msdd]' pytest hypothesis
	touch $@

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p diarbench.datasets -p diarbench.backends -p diarbench.benchmarks -p diarbench.reports

# Lists known vulnerabilities of the installed packages; fails where a package cannot be looked up.
.PHONY: audit
audit: $(VENV)/installed
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet pip-audit
	$(VENV)/audit/bin/pip-audit --strict --skip-editable --progress-spinner off --path $(VENV)/lib/python3*/site-packages

# The link shows the type checker the package as it is installed: the root folders under the name diarbench.
$(VENV)/installed: pyproject.toml weights/small-sortformer/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable weights/small-sortformer --editable '.[all]'
	mkdir -p $(VENV)/types && ln -sfn ../.. $(VENV)/types/diarbench
	touch $@

# Trains the small Sortformer from scratch: an hour and a half on two cores. Running it again after an interruption resumes.
.PHONY: small-sortformer
SMALL := runs/small-sortformer
STAGES := backends/nemo/small_sortformer/recipes
DATA := $(BIN)/bench data
OTHERS := --perturb 0.8,1.25 --formants 0.87,1.15 --make-noise --noise ami-mini --level-db 6 --gain-db -24,0 --duration-s 60
SIMULATE := $(DATA) simulate debian-voices $(OTHERS) --turn-db 6 --make-rooms --snr-db 0,40
LIKE := --like ami-mini --like-subset train
TRAIN := $(BIN)/bench run --backend nemo --device cpu --devices 2 --no-tune
small-sortformer: $(VENV)/installed
	$(DATA) fetch ami-mini
	$(DATA) fetch debian-voices
	test -d $(SMALL)-pairs || $(SIMULATE) $(SMALL)-pairs --measure-on ami-mini --seed 4 --recordings 480 --same-speaker-share 0.5 \
		--overlapped 0.1 --pause-s 0.3 --turn-s 1.5,6 --speakers 2
	test -d $(SMALL)-bent || $(SIMULATE) $(SMALL)-bent --add-to $(SMALL)-pairs --seed 3 --recordings 960 --same-speaker-share 0.5 $(LIKE)
	test -d $(SMALL)-more || $(SIMULATE) $(SMALL)-more --add-to $(SMALL)-bent --seed 7 --recordings 480 --same-speaker-share 0.1 $(LIKE)
	test -d $(SMALL)-talk || $(SIMULATE) $(SMALL)-talk --add-to $(SMALL)-more --seed 8 --recordings 160 --same-speaker-share 0.2 \
		--overlapped 0.2 --pause-s 1.0 --turn-s 1,5 --speakers 2
	test -d $(SMALL)-ami || $(DATA) simulate ami-mini $(OTHERS) $(SMALL)-ami --add-to $(SMALL)-talk --seed 5 --recordings 160 \
		--same-speaker-share 0.2 --turn-db 3 --snr-db 5,40 $(LIKE)
	test -d $(SMALL)-mix || $(DATA) perturb ami-mini $(SMALL)-mix --add-to $(SMALL)-ami --seed 6 --copies 30 --speed 0.8,1.25 \
		--formants 0.87,1.15 --make-noise --noise ami-mini --snr-db 15,50 --gain-db -24,6
	$(TRAIN) --init scratch:small --dataset $(SMALL)-pairs --recipe $(STAGES)/stage-1.yaml --seed 1 --out $(SMALL)-1
	$(TRAIN) --init $(SMALL)-1/*/checkpoints/last.ckpt --dataset $(SMALL)-mix --recipe $(STAGES)/stage-2.yaml --seed 2 --out $(SMALL)-2
	$(TRAIN) --init $(SMALL)-2/*/checkpoints/last.ckpt --dataset $(SMALL)-mix --recipe $(STAGES)/stage-3.yaml --seed 3 --out $(SMALL)-3
	$(TRAIN) --init $(SMALL)-3/*/checkpoints/last.ckpt --dataset $(SMALL)-mix --recipe $(STAGES)/stage-4.yaml --seed 4 --out $(SMALL)-4
