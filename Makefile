# Every target does all of its own set-up on a machine that has Rust and a Python of 3.11 or later, and does again only what has changed.
#   make demo   [DEMO_PATH=folder]      find duplicate files, by default in Python's own library; a live page shows the work
#   make host   [HOST="--port 8080"]    a small shop: orders over HTTP, SQLite, a sidecar; until Ctrl-C
#   make test   [PYTEST="-k port -x"]   Rust's tests, loom's models, Python's tests
#   make test-page                      the live page's tests, with the browser that they need
#   make bench  [BENCH="--quick"]       the comparison with other libraries
#   make check                          style, types, floors
#   make docs                           the site, in site/
#   make build                          the optimised module, in .venv
# VENV=.venv-3.12 PYTHON=python3.12 makes another environment beside the first.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: build demo host test test-rust test-python test-page bench check docs clean help

VENV ?= .venv
DEMO_PATH ?= $(shell $(PY) -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
BENCH ?=
HOST ?= --database /tmp/mountain-orders.db
PYTEST ?=

PY := $(abspath $(VENV))/bin/python
MATURIN := env -u CONDA_PREFIX VIRTUAL_ENV=$(abspath $(VENV)) $(abspath $(VENV))/bin/maturin develop --quiet
# Without its pool, pyo3 panics when a reference is dropped on a thread that is not attached: the port's graveyard must have them all.
TEST_RUSTFLAGS := --cfg pyo3_disable_reference_pool
SOURCES := Cargo.toml $(wildcard Cargo.lock) pyproject.toml \
	$(shell find rust -name target -prune -o \( -name '*.rs' -o -name Cargo.toml -o -path '*/page/*' \) -type f -print)

# cargo builds and checks the bridge for the environment's Python.
export PYO3_PYTHON := $(PY)

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

build: $(VENV)/.built-release

demo: $(VENV)/.built-release $(VENV)/.has-examples
	@$(PY) examples/duplicates/main.py --dashboard 127.0.0.1:0 "$(DEMO_PATH)" || { status=$$?; [ $$status = 1 ] || exit $$status; } # 1: there are duplicates

host: $(VENV)/.built-release $(VENV)/.has-examples
	@exec $(PY) examples/host/main.py $(HOST)

test: test-rust test-python

test-rust: $(VENV)/.has-build
	RUSTFLAGS="$(TEST_RUSTFLAGS)" cargo test --quiet --profile light --workspace --exclude mountain-bridge
	scripts/loom

test-python: $(VENV)/.built-light $(VENV)/.has-test
	$(PY) scripts/suite $(PYTEST)

# The live page's tests alone; says what to install where there is no browser for them.
test-page: $(VENV)/.built-light $(VENV)/.has-test
	@scripts/setup --browser
	$(PY) scripts/suite tests/telemetry/page

bench: $(VENV)/.built-release $(VENV)/.has-bench
	$(PY) benches/compare.py $(BENCH)

docs: $(VENV)/.has-docs
	NO_MKDOCS_2_WARNING=1 $(abspath $(VENV))/bin/mkdocs build --quiet --strict
	@echo "site/index.html"

check: $(VENV)/.built-light $(VENV)/.has-test $(VENV)/.has-check $(VENV)/.has-bench $(VENV)/.has-docs
	VENV=$(VENV) RUSTFLAGS="$(TEST_RUSTFLAGS)" scripts/check

# A set of requirements is installed again when its file has changed.
$(VENV)/.has-%: requirements/%.txt scripts/setup
	@scripts/setup $(VENV) $*
	@touch $@
$(VENV)/.has-test: requirements/examples.txt
$(VENV)/.has-check: requirements/examples.txt requirements/test.txt

# One native module stands in python/mountain_runtime for each Python, so a build of one kind replaces the other's.
$(VENV)/.built-release: $(VENV)/.has-build $(SOURCES)
	@rm -f $(VENV)/.built-*
	$(MATURIN) --release
	@touch $@

$(VENV)/.built-light: $(VENV)/.has-build $(SOURCES)
	@rm -f $(VENV)/.built-*
	RUSTFLAGS="$(TEST_RUSTFLAGS)" $(MATURIN) --profile light
	@touch $@

clean:
	rm -rf target site .nox .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@[ ! -f $(VENV)/pyvenv.cfg ] || rm -rf $(VENV)
	rm -f python/mountain_runtime/_native*.so
	find python tests examples benches -name __pycache__ -prune -exec rm -rf {} +
