# Needs Python 3.11 to 3.13 and make, nothing else: everything is installed into .venv on the first call.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow-test

demo: .venv/installed
	$(BIN)/cnntrain

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 2 --dist worksteal

slow-test: .venv/installed
	$(BIN)/pytest -m slow

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
