# Every target makes the environment it needs by itself; only Python 3.11 or newer and make are taken for granted.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run handler test lint serve clean format bench capacity docs

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: $(PYTHON) is Python %d.%d; 3.11 or newer is needed, name it with PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e '.[bench]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-handler: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e '.[handler]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e '.[docs]'
	@touch $@ $(VENV)/.installed

run: $(VENV)/.installed  ## load-test the embedded endpoint and leave a report
	$(VENV)/bin/loadtest run scenarios/smoke.yaml

handler: $(VENV)/.installed-handler  ## load-test a handler in real workers of the vendor's SDK, in a minute
	$(VENV)/bin/loadtest run scenarios/handler.yaml

capacity: $(VENV)/.installed  ## predict three settings from a run at a fourth, run them, print the errors; some six minutes
	$(VENV)/bin/python -m benchmarks.capacity

serve: $(VENV)/.installed  ## a local endpoint with simulated workers
	$(VENV)/bin/loadtest serve

test: $(VENV)/.installed-dev  ## every test; those that need the machine to themselves come last
	$(VENV)/bin/pytest -m 'not alone' -n 5 --dist loadfile --no-loadscope-reorder
	$(VENV)/bin/pytest -m alone tests/browser tests/integration

bench: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e '.[bench]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-handler: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e '.[handler]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e '.[docs]'
	@touch $@ $(VENV)/.installed

run: $(VENV)/.installed  ## load-test the embedded endpoint and leave a report
	$(VENV)/bin/loadtest run scenarios/smoke.yaml

handler: $(VENV)/.installed-handler  ## load-test a handler in real workers of the vendor's SDK, in a minute
	$(VENV)/bin/loadtest run scenarios/handler.yaml

capacity: $(VENV)/.installed  ## predict three settings from a run at a fourth, run them, print the errors; some six minutes
	$(VENV)/bin/python -m benchmarks.capacity

serve: $(VENV)/.installed  ## a local endpoint with simulated workers
	$(VENV)/bin/loadtest serve

test: $(VENV)/.installed-dev  ## every test, two files at a time but for those that want the machine to themselves
	$(VENV)/bin/pytest -m 'not alone' -n 2 --dist loadfile --no-loadscope-reorder
	$(VENV)/bin/pytest -m alone

bench: $(VENV)/.installed-bench  ## the harness beside its peers, in some five minutes; needs nginx, takes wrk and hey if there
	$(VENV)/bin/python -m benchmarks

docs: $(VENV)/.installed-docs  ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict
	@echo "open build/site/index.html"

lint: $(VENV)/.installed-dev  ## format, style, types and the walls between the rooms
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed-dev  ## put the code into its format
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean:  ## remove everything that was made, runs included
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find reports -mindepth 1 -maxdepth 1 ! -name baselines -exec rm -rf {} +
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
