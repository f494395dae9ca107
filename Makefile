# `make help` lists the targets. The first one that needs it makes .venv, from
# Python 3.10 to 3.13; choose another with PYTHON=/path/to/python.

PYTHON ?=
PY := .venv/bin/python
PEERS_PY := .venv-peers/bin/python
BROWSER_PY := .venv-browser/bin/python
CODE := $(wildcard conftest.py vitlib tests tools notebooks experiments \
  book/_ext)

# Two processes with one thread each are the fastest on two cores. The limit is
# for cells that hang: on the slowest machine seen one trained for more than
# five minutes.
export OMP_NUM_THREADS ?= 1
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=1200

# Make a virtual environment, unless it is there and its Python works.
SUPPORTED := import ensurepip, sys, venv; \
  sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
define MAKE_VENV
@$(1)/bin/python -c '$(SUPPORTED)' 2>/dev/null && exit 0; \
for python in $(if $(PYTHON),"$(PYTHON)",\
  python3.11 python3.12 python3.13 python3.10 python3); do \
  if "$$python" -c '$(SUPPORTED)' 2>/dev/null; then \
    echo "Making $(1) with $$python"; \
    exec "$$python" -m venv --clear $(1); \
  fi; \
done; \
echo "No Python 3.10 to 3.13 with venv found. Install one" \
  "(Debian: python3-venv), or say PYTHON=/path/to/python." >&2; exit 1
endef
INSTALL := -m pip --disable-pip-version-check install

.PHONY: help book weights test run lint versions mutants colab peers browser \
  pdf address lock sbom clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' \
	  Makefile

# A moved or copied folder needs its environment made again.
ifneq ($(shell cat .venv/ready 2>/dev/null),$(CURDIR))
.PHONY: .venv/ready
endif
ifneq ($(shell cat .venv-peers/ready 2>/dev/null),$(CURDIR))
.PHONY: .venv-peers/ready
endif

.venv/ready: requirements.txt pyproject.toml
	$(call MAKE_VENV,.venv)
	$(PY) $(INSTALL) -r requirements.txt
	$(PY) $(INSTALL) -q --no-deps --no-build-isolation -e .
	@printf '%s\n' "$(CURDIR)" > $@

.venv-peers/ready: requirements-peers.txt pyproject.toml
	$(call MAKE_VENV,.venv-peers)
	$(PEERS_PY) $(INSTALL) -r requirements-peers.txt
	$(PEERS_PY) $(INSTALL) -q --no-deps --no-build-isolation -e .
	@printf '%s\n' "$(CURDIR)" > $@

.venv-browser/ready: requirements-browser.txt
	$(call MAKE_VENV,.venv-browser)
	$(BROWSER_PY) $(INSTALL) -r requirements-browser.txt
	@touch $@

book: .venv/ready ## build the site; a warning is an error
	@$(PY) tools/book.py

weights: .venv/ready ## prepare the pretrained weights: 90 MB, once
	@$(PY) -m vitlib download dinov2-type-s14 \
	  || echo "Going on without them, with the book's own model instead."

test: weights ## unit tests, hygiene, then every notebook by nbval
	$(PY) -m pytest -n 2 --dist loadfile --ignore=tests/peers \
	  --ignore=tests/browser tests
	$(PY) -m pytest -n 2 --dist loadfile $(NBVAL) notebooks

run: weights ## execute every notebook and store its outputs
	@$(PY) tools/nb.py run

# With what pyproject.toml allows: PACKAGES=oldest or newest. The tests of the
# book itself need its exact versions and stay out.
versions: ## the package's tests with the oldest or newest allowed packages
	$(call MAKE_VENV,.venv-versions)
	.venv-versions/bin/python $(INSTALL) -q uv
	.venv-versions/bin/uv pip install --python .venv-versions/bin/python \
	  --no-build -r pyproject.toml --extra book --extra test --resolution \
	  $(if $(filter oldest,$(PACKAGES)),lowest-direct,highest)
	.venv-versions/bin/python $(INSTALL) -q --no-deps --no-build-isolation -e .
	.venv-versions/bin/python -m pytest -n 2 --dist loadfile \
	  $(addprefix --ignore=tests/,peers browser test_project.py test_lock.py \
	  test_look.py test_figures_zip.py test_light_pages.py) \
	  --ignore-glob='tests/test_[bn]*' tests

# mutmut writes what it breaks into mutants/; `mutmut results` there tells more.
mutants: .venv/ready ## break the model on purpose: do the tests notice?
	$(PY) $(INSTALL) -q mutmut==3.8.1
	VITLIB_PROPERTIES=5 $(PY) -m mutmut run --max-children 2
	$(PY) -m mutmut results

# Where Colab shows a chapter alone: its first cell installs the package.
colab: .venv/ready ## run the chapters as a bare Colab would; ONLY="02 05"
	@$(PY) tools/colab.py $(ONLY)

lint: .venv/ready ## ruff, and the state of the notebooks
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	@$(PY) tools/nb.py check

peers: .venv-peers/ready ## compare with timm, torchvision and transformers
	$(PEERS_PY) -m pytest tests/peers

browser: book .venv-browser/ready ## look at the site in the system's Chromium
	$(BROWSER_PY) -m pytest -n 2 --dist worksteal \
	  --confcutdir=tests/browser tests/browser

pdf: book .venv-browser/ready ## the whole book as one PDF, beside the site
	@$(BROWSER_PY) tools/pdf.py

address: .venv/ready ## write the address of _config.yml into all files
	@$(PY) tools/address.py

lock: .venv/ready ## write the lock files, with a hash of every package
	@$(PY) tools/lock.py

# uv takes the tool from the index, into its own cache.
sbom: .venv/ready ## list all that the book is made with, as _build/sbom.json
	@mkdir -p _build
	$(PY) -m uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py \
	  requirements requirements-index.lock --pyproject pyproject.toml \
	  --output-reproducible --output-file _build/sbom.json

clean: ## remove the built site and the caches, keep .venv
	rm -rf _build build *.egg-info .pytest_cache .ruff_cache
	find vitlib tests tools notebooks -name __pycache__ -type d -prune \
	  -exec rm -rf {} +
