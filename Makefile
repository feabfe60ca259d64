PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/quickstart
TYPING := build/typing
ROOMS := tasks checkpoints meta_train eval
WORKERS ?= -n auto --maxprocesses 8 --dist loadfile

.PHONY: quickstart setup test test-all lint docs typing bench clean

quickstart: $(VENV)/ready  ## set up, meta-train, export, evaluate, report
	rm -rf $(OUT)
	$(BIN)/learned-opt meta-train quickstart --out $(OUT)/meta_train
	$(BIN)/learned-opt eval $(OUT)/meta_train/quickstart.safetensors --suite quickstart --quick --out $(OUT)/report

setup: $(VENV)/ready  ## the environment, .venv

test: $(VENV)/ready  ## everything but the slow tests
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

test-all: $(VENV)/ready
	$(BIN)/python -m pytest $(WORKERS)

lint: $(VENV)/ready typing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(VENV)/ready typing  ## the site, in build/site; a broken link or reference is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean

# As it is installed, for pyright and the API pages: links, new at each call, none missing or stale.
typing:
	rm -rf $(TYPING)
	mkdir -p $(TYPING)/learned_opt
	ln -s $(CURDIR)/learned_opt/* $(addprefix $(CURDIR)/,$(ROOMS)) $(TYPING)/learned_opt
	ln -s $(CURDIR)/benchmarks $(CURDIR)/research $(TYPING)

bench: $(VENV)/ready  ## figures measured side by side on this machine
	$(BIN)/python -m benchmarks.meta_train_speed
	$(BIN)/python -m benchmarks.mix --quick
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.variance
	$(BIN)/python -m benchmarks.step_time
	$(BIN)/python -m benchmarks.mapped
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.compile_time
	$(BIN)/python -m benchmarks.start small
	$(BIN)/python -m benchmarks.loads
	$(BIN)/python -m benchmarks.evaluation

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v >= (3, 11) else "learned-opt needs Python 3.11 or newer, got %d.%d; name one with: make PYTHON=python3.11" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	touch $@

clean:
	rm -rf $(VENV) build runs
