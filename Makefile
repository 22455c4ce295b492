# tpuforge: `make help` lists the targets. Everything happens in .venv; PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
ARGS ?=
MUTANTS ?= 100000
FUZZ_SECONDS ?= 600
PYTEST := $(RUN) -m pytest -q -W error --strict-markers $(PYTEST_ARGS)

# what ends up in the wheel: a change of any of it installs again
SOURCES := $(shell find host device evb cmake samples -type f ! -name '*.pyc' ! -name '*.so' 2>/dev/null) \
           pyproject.toml CMakeLists.txt
C_FILES = $(shell find device samples evb tests bench -name '*.[ch]' ! -name '*_fields.h' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test test-model test-parity test-board lint format bench fuzz wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.stamp-demo ## compile EfficientNet-Lite0 and run it on photographs (ARGS="--chip cv180x")
	$(BIN)/tpuforge demo $(ARGS)

test: $(VENV)/.stamp-test ## the fast tests (seconds to a few minutes)
	$(PYTEST) -m "not model and not parity and not board"

test-model: $(VENV)/.stamp-test ## tests on whole networks
	$(PYTEST) -m "model and not parity and not board"

test-board: $(VENV)/.stamp-evb ## tests on the virtual board (qemu)
	$(PYTEST) -m "board"

test-parity: $(VENV)/.stamp-test ## tests against the vendor's libraries (skipped without them)
	$(PYTEST) -m "parity"

lint: $(VENV)/.stamp-dev ## ruff, mypy and clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(if $(strip $(C_FILES)),$(BIN)/clang-format --dry-run --Werror $(C_FILES))

format: $(VENV)/.stamp-dev ## rewrite Python and C sources in the project's style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(if $(strip $(C_FILES)),$(BIN)/clang-format -i $(C_FILES))

bench: $(VENV)/.stamp-test ## the measured figures; JSON in build/bench (fails where a goal is missed)
	@mkdir -p build/bench; failed=; \
	for b in $$(grep -l __main__ bench/*.py); do \
	  echo "== $$b"; \
	  $(RUN) $$b --json build/bench/$$(basename $$b .py).json $(ARGS) || failed="$$failed $$b"; \
	done; \
	if [ -n "$$failed" ]; then echo "a goal is missed in$$failed" >&2; exit 1; fi

fuzz: $(VENV)/.stamp-test ## libFuzzer (FUZZ_SECONDS=600 each) and damaged models (MUTANTS=100000) under sanitizers
	$(RUN) tests/runtime/fuzz.py --seconds $(FUZZ_SECONDS)
	TPUFORGE_MUTANTS=$(MUTANTS) $(PYTEST) -m model tests/runtime/test_mutants.py
	$(PYTEST) -m model tests/runtime/test_native.py -k damaged

wheel: $(RUN) ## build the wheel into dist/
	$(RUN) -m pip wheel -q --no-deps -w dist .

clean: ## remove .venv and everything built
	rm -rf $(VENV) build dist demo_output .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f device/cvi_nn/*.so

$(RUN):
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "could not make $(VENV): Debian and Ubuntu need 'apt install python3-venv'" >&2; exit 1; }

$(VENV)/.stamp-demo: $(SOURCES) | $(RUN)
	$(RUN) -m pip install -q --disable-pip-version-check '.[demo]'
	@touch $@

$(VENV)/.stamp-test: $(SOURCES) | $(RUN)
	$(RUN) -m pip install -q --disable-pip-version-check '.[demo,test]'
	@touch $@ $(VENV)/.stamp-demo

$(VENV)/.stamp-evb: $(SOURCES) | $(RUN)
	$(RUN) -m pip install -q --disable-pip-version-check '.[demo,test,evb]'
	@touch $@ $(VENV)/.stamp-demo $(VENV)/.stamp-test

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-test
	$(RUN) -m pip install -q --disable-pip-version-check '.[demo,test,dev]'
	@touch $@
