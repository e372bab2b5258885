# make env         a virtual environment in .venv with the pinned packages
# make quickstart  the bundled recipe: real words to a trained model and a report, under ten minutes
# make test        the whole test suite
# make docs        the documentation as a site, in build/site
# make lint        formatter, linter, types and spelling

PYTHON ?= python3
VENV ?= .venv
OUT ?= quickstart
TESTS ?= tests
WORKERS ?= 2

STAMP := $(VENV)/.instrux-installed

.PHONY: env quickstart test docs lint constraints

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Instrux needs Python 3.11 to 3.13: run make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "Making $(VENV): about 150 packages, two to three minutes the first time." >&2
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -c constraints.txt -e ".[test]"
	@touch $@

quickstart: env
	$(VENV)/bin/instrux quickstart --out $(OUT)

test: env
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

docs: env
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict
	@echo "open build/site/index.html"

lint: env
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/codespell --toml pyproject.toml

# Made by a tool, for every supported Python and platform at once; holds no index address.
constraints:
	$(VENV)/bin/pip install --quiet uv
	$(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade \
	  --extra hf --extra studio --extra gcp --extra dask --extra presidio --extra wandb --extra docs --extra test \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o constraints.txt
