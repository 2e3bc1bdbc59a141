# Needs Python 3.11 to 3.13 and make, nothing else: each target installs into .venv what it needs, on its first call.
PYTHON ?= python3
BIN := .venv/bin
DEMO := outputs/demo/$(shell date +%Y-%m-%d_%H-%M-%S)

.PHONY: demo test slow-test

demo: .venv/installed
	@echo "training LeNet-5 on handwritten digits: about a minute"
	@$(BIN)/cnntrain hydra.run.dir=$(DEMO)
	@echo
	@echo "The page of this run:   $(DEMO)/report.html"
	@echo "Use cnntrain:           $(BIN)/cnntrain --help"
	@echo "                        or, once in a shell, . $(BIN)/activate, then cnntrain --help"
	@echo "Train on your photos:   $(BIN)/cnntrain data=folder data.path=PHOTOS (one folder per class)"

test: .venv/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 2 --dist worksteal

slow-test: .venv/installed-for-tests
	$(BIN)/pytest -m slow

.venv/installed: pyproject.toml
	@echo "installing TensorFlow and what else a run needs into .venv: two or three minutes, 2.7 GB"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-for-tests: .venv/installed
	@echo "installing test tools, exporters and trackers into .venv: a few minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
