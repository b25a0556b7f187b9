# make quickstart, make test-fast, make test: each alone does the set-up it needs.

# The first of these that runs; name another with PYTHON=...
PYTHON ?= $(or $(shell for python in python3.11 python3; do $$python -c '' 2>/dev/null && echo $$python && break; done),python3.11)
# Installs in a fifth of the time; pip if there is none, or with UV=
UV ?= $(shell command -v uv)
expected := Python 3.11 on Linux x86_64
found = $(shell $(PYTHON) -c 'import platform as p, sys; print("Python %d.%d on %s %s" % (sys.version_info[:2] + (p.system(), p.machine())))' 2>/dev/null)

# Without the overrides in pyproject.toml, which would replace pins of the lock.
with_uv = $(UV) pip install --no-config --python .venv/bin/python --no-deps --require-hashes -r requirements.txt
with_pip = (while sleep 1; do printf '.'; done) & dots=$$!; trap 'kill $$dots 2>/dev/null; echo' EXIT INT TERM; \
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r requirements.txt

# As many processes as cores, but no more than memory has a place for: each that loads TensorFlow grows to 2 GB.
pytest := .venv/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal

# Written last, so that a set-up which failed or was interrupted is done again, from nothing.
installed := .venv/installed

.PHONY: quickstart test test-fast setup lock

quickstart: $(installed)
	.venv/bin/python -m examples.quickstart

# Every test: the fast ones first, which say within a minute what is wrong at a glance.
test: test-fast
	$(pytest) -m slow

test-fast: $(installed)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(pytest) -m 'not slow'

setup: $(installed)

# The list is complete and its pins contradict what one package asks for (see pyproject.toml), hence --no-deps.
$(installed): requirements.txt
	$(if $(findstring $(expected),$(found)),,$(error Expected $(expected), found $(or $(found),none): name the right one, as in 'make setup PYTHON=/usr/bin/python3.11'))
	@echo 'Installing requirements.txt into .venv with $(if $(UV),uv,pip): 3 GB, $(if $(UV),half a minute,a minute or two).'
	@test ! -L .venv || { echo 'Expected .venv to be a folder, found a link: what it leads to would be emptied; remove the link.' >&2; exit 2; }
	@$(PYTHON) -m venv --clear .venv
	@$(if $(UV),$(with_uv) || { echo 'uv failed: pip is tried instead.' >&2; $(with_pip); },$(with_pip))
	@touch $@

# Needs uv. Keeps the pins that still hold; delete requirements.txt first to move everything to its newest release.
# Wheels only, so that installing runs nobody's build script; for the one platform that TFF has a wheel for.
lock:
	uv pip compile --quiet --extra dev --python-version 3.11 --python-platform x86_64-manylinux_2_31 \
	  --only-binary :all: --emit-build-options --generate-hashes --no-annotate --custom-compile-command 'make lock' \
	  --output-file requirements.txt pyproject.toml
