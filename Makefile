# `make help` lists the targets. The first one that needs it makes .venv, from
# Python 3.10 to 3.13; choose another with PYTHON=/path/to/python.

PYTHON ?=
PY := .venv/bin/python
CODE := $(wildcard vitlib tests tools notebooks experiments)

# Two processes with one thread each are the fastest on two cores.
export OMP_NUM_THREADS ?= 1
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=300

# A Python of a supported version that can make a virtual environment.
FIND_PYTHON = \
  for python in $(if $(PYTHON),"$(PYTHON)",\
    python3.11 python3.12 python3.13 python3.10 python3) ""; do \
    "$$python" -c 'import ensurepip, sys, venv; \
      sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null && break; \
  done; \
  test -n "$$python" || { \
    echo "No Python 3.10 to 3.13 with venv found." \
      "Install one (Debian: python3-venv) or say PYTHON=/path/to/it." >&2; \
    exit 1; }

.PHONY: help book test run lint peers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' \
	  Makefile

# A moved or copied folder needs its environment made again.
ifneq ($(shell cat .venv/ready 2>/dev/null),$(CURDIR))
.PHONY: .venv/ready
endif
ifneq ($(shell cat .venv-peers/ready 2>/dev/null),$(CURDIR))
.PHONY: .venv-peers/ready
endif

.venv/ready: requirements.txt pyproject.toml
	@$(FIND_PYTHON); echo "Making .venv with $$python"; \
	  "$$python" -m venv --clear .venv
	$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	$(PY) -m pip install --disable-pip-version-check -q \
	  --no-deps --no-build-isolation -e .
	@printf '%s\n' "$(CURDIR)" > $@

.venv-peers/ready: requirements-peers.txt pyproject.toml
	@$(FIND_PYTHON); echo "Making .venv-peers with $$python"; \
	  "$$python" -m venv --clear .venv-peers
	.venv-peers/bin/python -m pip install --disable-pip-version-check \
	  -r requirements-peers.txt
	.venv-peers/bin/python -m pip install --disable-pip-version-check -q \
	  --no-deps --no-build-isolation -e .
	@printf '%s\n' "$(CURDIR)" > $@

book: .venv/ready ## build the site; a warning is an error
	@$(PY) tools/book.py

test: .venv/ready ## unit tests, hygiene, then every notebook by nbval
	$(PY) -m pytest -n 2 --dist loadfile --ignore=tests/peers tests
	$(PY) -m pytest -n 2 --dist loadfile $(NBVAL) notebooks

run: .venv/ready ## execute every notebook and store its outputs
	@$(PY) tools/nb.py run

lint: .venv/ready ## ruff, and the state of the notebooks
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	@$(PY) tools/nb.py check

peers: .venv-peers/ready ## compare with timm, torchvision and transformers
	.venv-peers/bin/python -m pytest tests/peers

clean: ## remove the built site and the caches, keep .venv
	rm -rf _build build *.egg-info .pytest_cache .ruff_cache
	find vitlib tests tools notebooks -name __pycache__ -type d -prune \
	  -exec rm -rf {} +
