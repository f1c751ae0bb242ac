# A thin door: every target is one or two lines that people can also type themselves.
PYTHON ?= python3
UV ?= $(shell command -v uv || echo $(PYTHON) -m uv)
RUN = .venv/bin
export UV_PYTHON_PREFERENCE ?= only-system
# Files of tests side by side, as many as processors; at most 4, for the sake of memory.
SIDE_BY_SIDE = --numprocesses logical --maxprocesses 4 --dist loadfile

.PHONY: demo test test-full check requirements uv environment

demo: uv ## the main job on a fresh machine: no torch, shipped bundles, a recording that it makes
	$(UV) sync --quiet --inexact --no-dev --extra cpu
	$(RUN)/ethostream demo

test: environment ## the tests
	$(RUN)/python -m pytest -q $(SIDE_BY_SIDE)

test-full: environment ## the long tests that `make test` leaves out
	$(RUN)/python -m pytest -q $(SIDE_BY_SIDE) --full -m full

check: environment ## formats, types, import rules, protocol rules, fresh stubs
	$(RUN)/ruff check . && $(RUN)/ruff format --check . && $(RUN)/mypy && $(RUN)/lint-imports
	$(RUN)/buf lint protos && UV="$(UV)" .ci/protos

requirements: uv ## hash-pinned requirements without addresses
	UV="$(UV)" .ci/requirements

environment: uv
	$(UV) sync --quiet --extra cpu --extra train --extra search --extra tensorrt-rtx --extra dali --group dev

uv:
	@command -v uv >/dev/null || $(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet --user uv 2>/dev/null || $(PYTHON) -m pip install --quiet --user --break-system-packages uv
