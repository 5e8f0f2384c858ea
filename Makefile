# Thin: every target is one command that you could type.
PYTHON ?= python3
BIN := .venv/bin
DEMO ?= $(CURDIR)/demo-out

.PHONY: demo ui test check lint bench faults science clean

.venv: pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && uv pip install --quiet --python $(BIN)/python -c constraints.txt -e ".[dev]"; \
	else \
	  $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"; \
	fi
	@$(BIN)/collapse-guard compile
	@touch .venv

demo: .venv
	$(BIN)/collapse-guard demo --root $(DEMO)

$(DEMO)/demo.json: | .venv
	$(BIN)/collapse-guard demo --root $(DEMO)

ui: .venv $(DEMO)/demo.json
	@mkdir -p $(DEMO)/dagster
	COLLAPSE_GUARD_DEMO=$(DEMO) DAGSTER_HOME=$(DEMO)/dagster $(BIN)/dagster dev -w workspace.yaml

test: .venv
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadgroup

lint: .venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

bench: .venv
	$(BIN)/python -m benchmarks

faults: .venv
	$(BIN)/pytest -q -n 2 tests/faults --long

science: .venv
	$(BIN)/python -m benchmarks science_theory science
	$(BIN)/pytest -q tests/science --long

clean:
	rm -rf .venv demo-out benchmarks/out
