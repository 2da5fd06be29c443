# Everything a developer or CI does. `make` alone lists it. Needs Python 3.11 or newer and make.
#
# Variables: PYTHON=python3.12 (which Python .venv is made from), ARGS="..." (passed on by test and
# bench), WORKERS=4 (test processes), ROUNDS=20 (of crashes), MINUTES=30 (of a soak), KEEP=1 (the demo leaves its servers up).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

BIN := .venv/bin
INSTALLED := .venv/.installed
WORKERS ?= 4
ROUNDS ?= 5
MINUTES ?= 30
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
UV_COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

.PHONY: install
install: $(INSTALLED)  ## .venv with exactly what the lock files say; at once where nothing changed

.PHONY: demo
demo: $(INSTALLED)  ## the whole service against a simulated iovox; KEEP=1 leaves it running
	$(BIN)/dlr demo $(if $(KEEP),--keep)

.PHONY: test
test: $(INSTALLED)  ## the tests, but for the slow ones; ARGS="-k spool -n 0" for some of them
	$(PYTEST) -m "not slow and not crash" $(ARGS)

.PHONY: test-slow
test-slow: $(INSTALLED)  ## the slow ones: kills, upgrades, load, a browser
	$(PYTEST) -m "slow or crash" $(ARGS)

.PHONY: crash
crash: $(INSTALLED)  ## the crash tests of `test-slow`, longer and with their figures; ROUNDS=20
	TMPDIR=$${TMPDIR:-/tmp} CRASH_ROUNDS=$(ROUNDS) $(BIN)/pytest -m crash -o log_cli=true -o log_cli_level=INFO $(ARGS)

.PHONY: soak
soak: $(INSTALLED)  ## everything under load while each part is restarted; MINUTES=30
	TMPDIR=$${TMPDIR:-/tmp} SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -n 0 -o log_cli=true -o log_cli_level=INFO tests/soak $(ARGS)

.PHONY: mutants
mutants: $(INSTALLED)  ## mutation testing of the rules and the journal; ARGS="app.model.london*"
	rm -rf mutants
	nice -n 19 $(BIN)/mutmut run $(ARGS)
	$(BIN)/mutmut results

.PHONY: lint
lint: $(INSTALLED)  ## all of check but the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/deptry client --config client/pyproject.toml
	$(BIN)/bandit -q -c pyproject.toml -r app client migrations
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

.PHONY: check
check: lint  ## format, lint, types, imports, dependencies, security, Docker files, tests
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory test-slow

.PHONY: format
format: $(INSTALLED)  ## rewrites the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: screenshots
screenshots: $(INSTALLED)  ## docs/screenshots/ anew, by the console's tests; needs Chromium
	CONSOLE_SCREENSHOTS=docs/screenshots $(BIN)/pytest -n 0 -q tests/console/test_screenshots.py

.PHONY: bench
bench: $(INSTALLED)  ## measures the service beside the usual ways; ARGS="--help" shows what else
	$(BIN)/python -m bench $(ARGS)

.PHONY: sbom
sbom: $(INSTALLED)  ## dist/sbom.json: what is installed to run, as CycloneDX
	@mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--mc-type application --of JSON -o dist/sbom.json

.PHONY: docs
docs: $(INSTALLED)  ## the references of settings, commands, errors and metrics anew, from the code
	$(BIN)/python -m docs.generate

# The uv that is pinned makes the locks, its own last: raise the number in requirements-uv.lock to
# get a newer one. No lock records where a package came from, so that any mirror serves.
.PHONY: lock
lock: $(BIN)/uv  ## the three lock files anew, from pyproject.toml
	$(UV_COMPILE) pyproject.toml --extra otel -o requirements.lock
	$(UV_COMPILE) pyproject.toml --extra otel --group dev -c requirements.lock -o requirements-dev.lock
	sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements-uv.lock \
		| $(UV_COMPILE) --no-annotate - -o requirements-uv.lock

.PHONY: clean
clean:  ## deletes .venv, caches and what a build leaves
	rm -rf .venv build dist client/dist mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv reads none of pip's settings (index, proxy, wheels on disk): where it finds nothing, pip may.
$(INSTALLED): requirements-dev.lock pyproject.toml client/pyproject.toml $(BIN)/uv
	@$(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes requirements-dev.lock \
		|| { echo 'uv could not install; trying pip, which takes longer' >&2; \
			$(VENV_PIP) --require-hashes -r requirements-dev.lock; }
	@$(BIN)/uv pip install -q --offline --python $(BIN)/python --no-deps --no-build-isolation \
		-e . -e ./client
	@touch $@
	@echo 'installed into .venv: try `make demo`'

# A .venv that has lost its pip, or never had one, borrows that of the Python it was made from.
VENV_PIP = if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip='$(BIN)/python -m pip'; \
	else pip="$$(cat .venv/.pip) --python $(BIN)/python"; fi; \
	$$pip install -qq --disable-pip-version-check --no-input

$(BIN)/uv: requirements-uv.lock | $(BIN)/python
	@$(VENV_PIP) --require-hashes -r requirements-uv.lock
	@touch $@

$(BIN)/python:
	@python='$(PYTHON)'; \
	for each in python3.11 python3.12 python3.13 python3.14 python3; do \
		[ -n "$$python" ] && break; \
		"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$$each; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'Python 3.11 or newer is needed and none was found: install one, or name yours by' >&2; \
		echo '  make PYTHON=/path/to/python install' >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo "$$python is not Python 3.11 or newer" >&2; exit 1; \
	fi; \
	rm -rf .venv; \
	"$$python" -m venv .venv >/dev/null 2>&1 && exit 0; \
	rm -rf .venv; \
	for pip in "$$python -m pip" pip3 pip; do \
		$$pip --python "$$python" --version >/dev/null 2>&1 || continue; \
		"$$python" -m venv --without-pip .venv && echo "$$pip" >.venv/.pip && exit 0; \
	done; \
	rm -rf .venv; \
	echo "$$python can make no virtual environment with pip. On Debian and Ubuntu:" >&2; \
	echo '  apt install python3-venv' >&2; exit 1
