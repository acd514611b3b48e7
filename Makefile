# Every target builds the environment that it needs; you need only Python 3.11 or newer, and make.
PYTHON ?= python3
VENV := .venv
SEED ?= 1
# Python takes an empty value as unset: some container images set it, and then each process compiles every module again.
export PYTHONDONTWRITEBYTECODE :=
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run handler capacity prometheus serve check test hostile bench docs wheel lint format clean

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

handler: $(VENV)/.installed-handler  ## load-test a handler in real workers of the vendor's SDK, in about a minute
	$(VENV)/bin/loadtest run scenarios/handler.yaml

capacity: $(VENV)/.installed  ## predict three settings from a run at a fourth, run them, print the errors; about six minutes
	$(VENV)/bin/python -m benchmarks.capacity

prometheus: $(VENV)/.installed-dev  ## let a real Prometheus scrape a run, and compare; needs the prometheus package of Debian
	$(VENV)/bin/python -m tests.prometheus

serve: $(VENV)/.installed  ## serve a local endpoint with simulated workers
	$(VENV)/bin/loadtest serve

check: lint  ## lint and the fast tests: before each commit
	$(VENV)/bin/pytest tests/unit -n 2 --dist worksteal

test: $(VENV)/.installed-dev  ## run every test; those that need the machine to themselves come last
	$(VENV)/bin/pytest tests/unit -n 2 --dist worksteal
	$(VENV)/bin/pytest -m 'not alone' tests/browser tests/integration -n 3 --dist worksteal
	$(VENV)/bin/pytest -m alone tests/browser tests/integration

hostile: $(VENV)/.installed-dev  ## 330 runs with faults drawn from a seed, and a million jobs, in some minutes; SEED=2 draws others
	$(VENV)/bin/python -m tests.hostile --seed $(SEED)
	$(VENV)/bin/python -m tests.hostile --million

bench: $(VENV)/.installed-bench  ## compare loadtest with other clients, in about five minutes; needs nginx, uses wrk and hey if installed
	$(VENV)/bin/python -m benchmarks

docs: $(VENV)/.installed-docs  ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict
	@echo "open build/site/index.html"

wheel: $(VENV)/.installed-dev  ## build the source distribution, and from it the wheel, into dist
	rm -rf dist build/lib
	$(VENV)/bin/python -m build --no-isolation --outdir dist . >/dev/null
	@ls dist/*

# Vulture's variables and attributes are fields that other programs read, so they may stay without a reader here.
lint: $(VENV)/.installed-dev  ## check format, style, types, import contracts, dead code, and files for CI and Docker
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/hadolint docker/Dockerfile
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-actions action.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci ci/gitlab.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yml
	! $(VENV)/bin/vulture | grep -v 'unused \(variable\|attribute\)'

format: $(VENV)/.installed-dev  ## format the code, and fix what ruff can fix
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean:  ## remove everything that was built, runs included
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find reports -mindepth 1 -maxdepth 1 ! -name baselines -exec rm -rf {} +
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
